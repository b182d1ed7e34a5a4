"""The table: rows as arrays, read by a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.errors import DataError
from handgrad.optional import require
from handgrad.tables import cells
from handgrad.tables.columns import Column
from handgrad.tables.reading import read_as
from handgrad.tables.schema import Schema

if TYPE_CHECKING:
    import polars
    from numpy.typing import NDArray

GONE, UNSEEN = -1, -2
"""Codes of a missing level, and of one that the schema does not know."""


@dataclass(frozen=True)
class Table:
    """Rows as arrays. Made by `load`, or for further files by `Table.of`.

    Attributes:
        schema: what the columns hold.
        frame: the rows as they were read.
        rows: for each of them its place in the source, (N,): rows without a target are left out.
        numbers: numbers, booleans and the parts of dates, (N, F) float64 with NaN where missing.
        codes: for each category the place of the level in `Column.levels`, or GONE or UNSEEN, (N, C).
        targets: classes as int64 or numbers as float64, (N,); None without a target.
        notes: what was left out, in sentences.
    """

    schema: Schema
    frame: polars.DataFrame
    rows: NDArray[np.int64]
    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    targets: NDArray[Any] | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: Schema, source: Any, *, targets: bool = False, where: str = "the table") -> Table:
        """Return the rows of `source` (whatever `read` takes) as `schema` reads them.

        Columns may come in any order, and others are ignored. With `targets`, rows without one are left out; without,
        all rows stay and the target need not be there.

        Errors: DataError for a column that is used and is not there, for a class that the schema does not know, and if
        no row is left; and as `read`.

        Example:
            >>> from handgrad import tables
            >>> schema = tables.Schema.of({"x": [1.0, 2.0, 4.0], "y": ["a", "b", "a"]}, target="y")
            >>> tables.Table.of(schema, {"y": ["b", None], "x": ["3", "4"]}, targets=True).rows
            array([0])
        """
        pl = require("polars", "tables")
        frame, _ = read_as(source, schema.written)
        schema.check(frame, where, targets=targets)
        values, notes, rows = None, [], np.arange(frame.height)
        if targets and schema.target is not None:
            found = schema.target.values(frame[schema.target.name], schema.missing)
            kept = ~np.isnan(found)
            lost = int((~kept).sum())
            if lost == len(found):
                remedy = "Check the target's column."
                raise DataError("a target in some row", "none in any row", remedy, f"target {schema.target.name!r}")
            if lost:
                notes.append(f"{lost} of {len(found)} rows have no target and were left out.")
                frame, rows = frame.filter(pl.Series(kept)), rows[kept]
            values = found[kept].astype(np.int64 if schema.target.task == "classification" else np.float64)
        parts = [_numbers(frame[column.name], column, schema.missing) for column in schema.numbers]
        codes = [_codes(frame[column.name], column, schema.missing) for column in schema.categories]
        empty = np.zeros((len(rows), 0))
        return cls(
            schema,
            frame,
            rows,
            np.concatenate([empty, *parts], 1),
            np.stack(codes, 1) if codes else empty.astype(np.int64),
            values,
            tuple(notes),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        aim = self.schema.target
        what = "" if aim is None else f", {aim.task} of {aim.name!r}"
        return f"Table({len(self)} rows, {len(self.schema.inputs)} inputs of {len(self.schema.used)} columns{what})"

    @property
    def counts(self) -> dict[Any, int]:
        """How many rows each class has, in the order of the labels; empty for a regression."""
        if self.schema.target is None or self.targets is None or not self.schema.target.labels:
            return {}
        labels = self.schema.target.labels
        return dict(zip(labels, np.bincount(self.targets, minlength=len(labels)).tolist()))


def load(
    source: Any,
    target: str | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    task: str | None = None,
    missing: Sequence[str] = (),
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str = "utf-8",
) -> Table:
    """Return the table in `source`, with a schema decided from it.

    Args:
        source, separator, decimal, encoding: as for `read`.
        target, kinds, task, missing: as for `Schema.of`. Rows without a target are left out, and noted.

    Errors: as `read` and `Schema.of`.

    Example:
        >>> from handgrad import tables
        >>> flowers = {"petal": [1.4, 4.7, 6.0, 1.3], "place": ["a", "b", "b", "a"], "kind": ["s", "v", "v", None]}
        >>> table = tables.load(flowers, target="kind")
        >>> table
        Table(3 rows, 3 inputs of 2 columns, classification of 'kind')
        >>> table.notes, table.counts
        (('1 of 4 rows have no target and were left out.',), {'s': 1, 'v': 2})
    """
    frame, written = read_as(source, None, separator=separator, decimal=decimal, encoding=encoding)
    schema = replace(Schema.of(frame, target, kinds=kinds, task=task, missing=missing), written=written)
    return Table.of(schema, frame, targets=target is not None)


def column_values(series: polars.Series, column: Column, missing: Sequence[str] = ()) -> polars.Series:
    """The cells as the column's kind reads them, with null where they are missing or cannot be read."""
    if column.kind == "date":
        return cells.moments(series, column.form, missing)
    readers = {"number": cells.numbers, "boolean": cells.booleans, "category": cells.text}
    return readers[column.kind](series, missing)


def _numbers(series: polars.Series, column: Column, missing: Sequence[str]) -> NDArray[np.float64]:
    """(N, F of this column)."""
    pl = require("polars", "tables")
    values = column_values(series, column, missing)
    if column.kind != "date":
        return _array(values)[:, None]
    hour = _array(values.dt.hour()) + _array(values.dt.minute()) / 60 + _array(values.dt.second()) / 3600
    found = []
    for part in column.parts:
        if part == "hour":
            found += _circle(hour, 24)
        elif part == "weekday":
            found += _circle(_array(values.dt.weekday()), 7)
        elif part == "month":
            found += _circle(_array(values.dt.month()), 12)
        else:
            days = 365.0 + _array(values.dt.is_leap_year().cast(pl.Float64))
            found.append(_array(values.dt.year()) + (_array(values.dt.ordinal_day()) - 1 + hour / 24) / days)
    return np.stack(found, 1)


def _array(values: polars.Series) -> NDArray[np.float64]:
    """As float64, NaN for null."""
    return values.cast(require("polars", "tables").Float64).to_numpy().astype(np.float64)


def _circle(values: NDArray[np.float64], length: int) -> list[NDArray[np.float64]]:
    """Sine and cosine, so that December lies beside January. Rounded, for the sine of a half turn is not quite 0."""
    angle = 2 * np.pi * values / length
    return [np.asarray(np.round(f(angle), 12), np.float64) for f in (np.sin, np.cos)]


def _codes(series: polars.Series, column: Column, missing: Sequence[str]) -> NDArray[np.int64]:
    pl = require("polars", "tables")
    words = cells.text(series, missing)
    codes = words.replace_strict(
        list(column.levels), list(range(len(column.levels))), default=UNSEEN, return_dtype=pl.Int64
    )
    codes = codes.set(words.is_null(), GONE)
    return codes.to_numpy().astype(np.int64)
