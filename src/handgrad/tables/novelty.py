"""Novelty: which rows lie outside what the training rows have shown, and in which columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.tables import cells
from handgrad.tables.columns import Column
from handgrad.tables.encoding import Encoder
from handgrad.tables.table import GONE, UNSEEN, Table, column_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = "missing, which it never was"
MARGIN = 0.05
"""A number may lie beyond those seen by this share of their range."""


@dataclass(frozen=True)
class Novelty:
    """What of some rows lies outside what was seen in training.

    Attributes:
        sentences: one for each row, "" where nothing of it is new, (N,).
        counts: for each column with something new, in how many rows.
    """

    sentences: tuple[str, ...]
    counts: dict[str, int]

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Whether a row has something new, (N,)."""
        return np.array([bool(sentence) for sentence in self.sentences], bool)

    def __str__(self) -> str:
        new = int(self.rows.sum())
        if not new:
            return f"All {len(self.sentences)} rows lie within what was seen in training."
        by = ", ".join(f"{name} in {count}" for name, count in sorted(self.counts.items(), key=lambda c: -c[1]))
        return f"{new} of {len(self.sentences)} rows lie outside what was seen in training: {by}."


def outside(encoder: Encoder, table: Table) -> Novelty:
    """Return what of the table's rows lies outside the encoder's training rows.

    That is a number beyond the least and largest by more than `MARGIN` of their range, a level that no training row
    has, a missing value where none was missing, and a cell that cannot be read.

    Errors: DataError for a table of another schema.

    Example:
        >>> from handgrad import tables
        >>> table = tables.load({"size": [1.5, 3.0, 8.0], "kind": ["a", "b", "a"]})
        >>> encoder = tables.Encoder.fit(table)
        >>> new = tables.Table.of(table.schema, {"size": [2.0, 9.5, None], "kind": ["b", "c", "a"]})
        >>> found = tables.outside(encoder, new)
        >>> for sentence in found.sentences:
        ...     print(sentence or "-")
        -
        size is 9.5, beyond 1.5 to 8; kind is 'c', a level not seen.
        size is missing, which it never was.
        >>> print(found)
        2 of 3 rows lie outside what was seen in training: size in 2, kind in 1.
    """
    encoder.check(table)
    clauses: dict[int, list[str]] = {}
    counts: dict[str, int] = {}
    feature = category = 0
    for column, gone in zip(table.schema.used, encoder.gone):
        if column.kind == "category":
            found = _levels(table, column, table.codes[:, category], encoder.seen[category], gone)
            category += 1
        else:
            seen = encoder.low[feature], encoder.high[feature]
            found = _numbers(table, column, table.numbers[:, feature], *seen, gone)
            feature += len(column.features)
        if found:
            counts[column.name] = len(found)
        for row, clause in found.items():
            clauses.setdefault(row, []).append(f"{column.name} is {clause}")
    sentences = ("; ".join(clauses[row]) + "." if row in clauses else "" for row in range(len(table)))
    return Novelty(tuple(sentences), counts)


def _levels(table: Table, column: Column, codes: Any, seen: Any, gone: bool) -> dict[int, str]:
    found = {} if gone else {int(row): NEVER for row in np.flatnonzero(codes == GONE)}
    unknown = (codes == UNSEEN) | ((codes >= 0) & ~np.append(seen, True)[codes])
    rows = np.flatnonzero(unknown)
    words = cells.text(table.frame[column.name][rows], table.schema.missing)
    return found | {int(row): f"{word!r}, a level not seen" for row, word in zip(rows, words)}


def _numbers(table: Table, column: Column, values: Any, low: float, high: float, gone: bool) -> dict[int, str]:
    series = table.frame[column.name]
    absent = np.isnan(values)
    found: dict[int, str] = {}
    if absent.any():
        read = column_values(series, column, table.schema.missing)
        stray = cells.stray(series, read, table.schema.missing).to_numpy()
        found |= {int(row): NEVER for row in np.flatnonzero(absent & ~stray & (not gone))}
        what = "a finite number" if column.kind == "number" else f"a {column.kind}"
        found |= {int(row): f"{str(series[int(row)])!r}, not {what}" for row in np.flatnonzero(stray)}
    if column.kind != "date" or "year" in column.parts:  # a time of day goes round: none lies beyond
        margin = MARGIN * (high - low)
        for row in np.flatnonzero((values < low - margin) | (values > high + margin)):
            value, least, most = _apart(values[row], low, high)
            value = value if column.kind != "date" else str(series[int(row)])
            found[int(row)] = f"{value}, beyond {least} to {most}"
    return found


def _apart(*values: float) -> list[str]:
    """The numbers with 6 digits each, or as many more as tell them apart."""
    different = len(set(values))
    shown = ([f"{value:.{digits}g}" for value in values] for digits in range(6, 18))
    return next(texts for texts in shown if len(set(texts)) >= different)
