"""The encoder: rows become the inputs of a network, by what its training rows have shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from handgrad.errors import DataError, ShapeError
from handgrad.tables.schema import Schema, check_format
from handgrad.tables.table import GONE, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""Of `Encoder.to_json`."""
STEADY = 1e-13
"""A spread below this share of the largest value is rounding: the column is constant."""
TINY = 1e-150
"""Squares of a spread below it are lost."""
FARTHEST = 1e6
"""Standard deviations beyond which a number is cut off, so that it fits into float32; no training row is so far out."""


@dataclass(frozen=True)
class Encoder:
    r"""What the training rows have shown, and how it makes numbers of rows.

    Which inputs there are, and their order, is the schema's business and the same for every split, so that replicas
    with splits of their own fit into one network. The training rows decide these:

    - A number is filled with the median where it is missing, then standardised, $x' = (x - \mu) / \sigma$. Where the
      training rows all have one value there is nothing to learn from: the input is 0 whatever comes.
    - Another input is 1 where a number was missing, else 0.
    - A category is 1 at its level, else 0. A level that no training row has is taken as one of the pooled levels, where
      a training row has any, and otherwise as none of them.
    - Where no training row misses a value, its input for that is 0 whatever comes: its weights have learnt nothing.
    - The target of a regression is standardised, the classes of a classification are numbered.

    Attributes:
        schema: what the columns hold.
        fill, mean, scale, low, high: the median, mean, standard deviation (0 where constant), least and largest value
            of each number, (F,) float64.
        gone: for each of the columns of `schema.used` whether a value was missing in a training row.
        seen: for each category which of its levels the training rows have, (levels,) booleans.
        target: mean and standard deviation of a regression's target.

    Example:
        >>> from handgrad import tables
        >>> table = tables.load({"size": [1.0, 3.0, None, 8.0], "kind": list("aabc"), "y": [0.5, 1.5, 2.5, 9.5]}, "y")
        >>> encoder = tables.Encoder.fit(table, [0, 1, 2])
        >>> encoder.inputs
        ('size', 'size: missing', 'kind = a', 'kind = b', 'kind = c')
        >>> encoder.transform(table, [0, 2])
        tensor([[-1.2247,  0.0000,  1.0000,  0.0000,  0.0000],
                [ 0.0000,  1.0000,  0.0000,  1.0000,  0.0000]])
        >>> encoder.targets(table, [0, 2]), encoder.original(torch.tensor([0.0]))
        (tensor([-1.2247,  1.2247]), tensor([1.5000], dtype=torch.float64))
    """

    schema: Schema
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    gone: tuple[bool, ...]
    seen: tuple[NDArray[np.bool_], ...]
    target: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def fit(cls, table: Table, rows: Sequence[int] | NDArray[Any] | Tensor | None = None) -> Encoder:
        """Return the encoder that these rows of the table (places, or a mask) make, all rows by default.

        Errors: DataError for no rows.
        """
        numbers, codes, targets = _chosen(table, rows)
        if not len(numbers):
            raise DataError("at least one training row", "none", "Choose a larger training part.", "Encoder.fit")
        absent = np.isnan(numbers)
        some = ~np.asarray(absent.all(0))
        fill = np.zeros(numbers.shape[1])
        for f in np.flatnonzero(some):
            fill[f] = np.median(numbers[~absent[:, f], f])
        low = np.where(some, np.where(absent, np.inf, numbers).min(0, initial=np.inf), 0.0)
        high = np.where(some, np.where(absent, -np.inf, numbers).max(0, initial=-np.inf), 0.0)
        mean, scale = _moments(np.where(absent, fill, numbers))
        missing = {c.name: bool((codes[:, at] == GONE).any()) for at, c in enumerate(table.schema.categories)}
        missing |= {name: bool(absent[:, at].any()) for name, at in _places(table.schema).items()}
        gone = tuple(missing[c.name] for c in table.schema.used)
        seen = []
        for at, column in enumerate(table.schema.categories):
            there = np.zeros(len(column.levels), bool)
            there[codes[codes[:, at] >= 0, at]] = True
            seen.append(there)
        target = (0.0, 1.0)
        if targets is not None and targets.dtype == np.float64:
            centre, spread = _moments(targets[:, None])
            target = (float(centre[0]), float(spread[0]) or 1.0)
        return cls(table.schema, fill, mean, scale, low, high, gone, tuple(seen), target)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, (I,)."""
        return self.schema.inputs

    def transform(self, table: Table, rows: Sequence[int] | NDArray[Any] | Tensor | None = None) -> Tensor:
        """Return the inputs of these rows of a table, all rows by default: (N, I) float32, never NaN or infinite.

        Errors: DataError for a table of another schema.
        """
        self.check(table)
        numbers, codes, _ = _chosen(table, rows)
        absent = np.isnan(numbers)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(self.scale > 0, 1 / self.scale, 0.0)
        blocks = [((np.where(absent, self.fill, numbers) - self.mean) * inverse).clip(-FARTHEST, FARTHEST)]
        places = _places(self.schema)
        known = {column.name: gone for column, gone in zip(self.schema.used, self.gone)}
        gone = [np.any(absent[:, places[c.name]], 1) & known[c.name] for c in self.schema.numbers if c.missing]
        blocks += [column[:, None] for column in gone]
        for at, (column, seen) in enumerate(zip(self.schema.categories, self.seen)):
            # the place of each level's slot; len(slots) for none. The last two are those of codes UNSEEN and GONE
            none, pooled = len(column.slots), seen[column.kept :].any()
            slot = np.append(np.arange(len(column.levels)), [0, 0])
            other = column.kept if pooled else none
            slot[:-2][(slot[:-2] >= column.kept) | ~seen] = other
            slot[-2:] = other, none - 1 if column.missing and known[column.name] else none
            blocks.append(np.eye(none + 1, none, dtype=np.float32)[slot[codes[:, at]]])
        return torch.from_numpy(np.concatenate([b.astype(np.float32) for b in blocks], 1))

    def targets(self, table: Table, rows: Sequence[int] | NDArray[Any] | Tensor | None = None) -> Tensor:
        """Return the targets of these rows, (N,): classes as int64, or standardised numbers as float32.

        Errors: DataError for a table without targets, or of another schema.
        """
        self.check(table)
        targets = _chosen(table, rows)[2]
        if targets is None:
            remedy = "Name the target in load, or read the table with Table.of(…, targets=True)."
            raise DataError("a table with targets", "one without", remedy, "Encoder.targets")
        if targets.dtype != np.float64:
            return torch.tensor(targets)
        mean, scale = self.target
        return torch.from_numpy(((targets - mean) / scale).astype(np.float32))

    def original(self, y: Tensor) -> Tensor:
        """Return standardised predictions of a regression, of any shape, in the target's own unit, as float64."""
        mean, scale = self.target
        return y.double() * scale + mean

    def to_json(self) -> dict[str, Any]:
        """Return all but the schema as a dict that json can write: many encoders share one schema."""
        numbers = {name: getattr(self, name).tolist() for name in ("fill", "mean", "scale", "low", "high")}
        # the levels that are not seen are few, or none
        unseen = [np.flatnonzero(~seen).tolist() for seen in self.seen]
        return {"format": FORMAT, **numbers, "gone": list(self.gone), "unseen": unseen, "target": list(self.target)}

    @classmethod
    def from_json(cls, schema: Schema, data: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` gave.

        Errors: DataError for another format, or what belongs to another schema.

        Example:
            >>> from handgrad import tables
            >>> table = tables.load({"x": [1.0, 2.5, None], "c": list("aab"), "y": [0.5, 1.5, 3.5]}, "y")
            >>> encoder = tables.Encoder.fit(table)
            >>> again = tables.Encoder.from_json(table.schema, encoder.to_json())
            >>> torch.equal(again.transform(table), encoder.transform(table))
            True
        """
        check_format(data, FORMAT, "Encoder")
        remedy = "Pass the schema that it was fitted with, and what Encoder.to_json gave."
        try:
            numbers = {n: np.array(data[n], np.float64) for n in ("fill", "mean", "scale", "low", "high")}
            seen = [np.ones(len(column.levels), bool) for column in schema.categories]
            for there, places in zip(seen, data["unseen"], strict=True):
                there[places] = False
            gone, (mean, scale) = tuple(map(bool, data["gone"])), data["target"]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            got = f"{type(error).__name__} {error}"
            raise DataError("an encoder of this schema", got, remedy, "Encoder.from_json") from error
        features = sum(len(column.features) for column in schema.numbers)
        sizes = {name: value.shape for name, value in numbers.items() if value.shape != (features,)}
        if sizes or len(gone) != len(schema.used):
            got = f"{sizes or len(gone)}"
            raise ShapeError(f"{features} numbers of {len(schema.used)} columns", got, remedy, "Encoder.from_json")
        return cls(schema, **numbers, gone=gone, seen=tuple(seen), target=(float(mean), float(scale)))

    def check(self, table: Table) -> None:
        """Raise unless the encoder's schema has read the table."""
        if table.schema is not self.schema and table.schema != self.schema:
            remedy = "Read the file with Table.of(encoder.schema, …)."
            raise DataError("a table read by the encoder's schema", "one of another", remedy, "Encoder")


def _chosen(table: Table, rows: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[Any] | None]:
    if rows is None:
        return table.numbers, table.codes, table.targets
    rows = np.asarray(rows)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
    return table.numbers[rows], table.codes[rows], None if table.targets is None else table.targets[rows]


def _places(schema: Schema) -> dict[str, slice]:
    """For each column of numbers the places of its features."""
    places, start = {}, 0
    for column in schema.numbers:
        places[column.name] = slice(start, start + len(column.features))
        start += len(column.features)
    return places


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean and standard deviation of each column, (F,), the latter 0 where the values differ by rounding only."""
    mean, scale = values.mean(0), values.std(0)
    scale[scale <= np.maximum(STEADY * np.abs(values).max(0), TINY)] = 0.0
    return mean, scale
