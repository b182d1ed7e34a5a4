"""Splits: which rows train, which choose, and which judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.errors import ArgumentError, DataError
from handgrad.optional import require
from handgrad.seeds import derive
from handgrad.tables import cells
from handgrad.tables.columns import decide
from handgrad.tables.reading import near
from handgrad.tables.table import Table, column_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The rows of a table in three parts, each in ascending order.

    Attributes:
        seed: the one it was drawn from.
        train: the rows that the encoder and the network learn from.
        validation: those that choose when to stop.
        test: those that judge, seen by nobody before.
    """

    seed: int
    train: Rows
    validation: Rows
    test: Rows

    def __repr__(self) -> str:
        sizes = f"train={len(self.train)}, validation={len(self.validation)}, test={len(self.test)}"
        return f"Split(seed={self.seed}, {sizes})"


def split(
    table: Table,
    seed: int = 0,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    groups: str | None = None,
    time: str | None = None,
) -> Split:
    """Return the split of a table's rows that belongs to a seed: a function of the table, the seed and the shares.

    The classes of a classification have equal shares in all parts, as nearly as their rows allow, and each class has a
    row in training. Two seeds give parts of equal size, but with `groups`, whose shares are those of groups.

    Args:
        table: the rows.
        seed: scikit-learn's splitters draw from the stream (seed, "split").
        validation, test: shares of all rows, 0 for none.
        groups: the name of a column; rows with the same value of it stay together in one part.
        time: the name of a column of dates or numbers: the last rows by it are the test part, those before them the
            validation part. Nothing is drawn.

    Errors: ArgumentError for shares out of range, and for both `groups` and `time`; DataError for an unknown column,
    and where a part that is asked for would be empty.

    Example:
        >>> from handgrad import tables
        >>> table = tables.load({"x": range(40), "y": ["a", "b"] * 20}, "y", kinds={"x": "number"})
        >>> parts = tables.split(table, seed=3)
        >>> parts, sorted(table.targets[parts.test].tolist())
        (Split(seed=3, train=24, validation=8, test=8), [0, 0, 0, 0, 1, 1, 1, 1])
    """
    where = "tables.split"
    if min(validation, test) < 0 or not 0 < validation + test < 1:
        got = f"validation={validation}, test={test}"
        remedy = "Choose shares that leave rows to train with, such as 0.2 and 0.2."
        raise ArgumentError("shares of at least 0 with a sum between 0 and 1", got, remedy, where)
    if groups is not None and time is not None:
        raise ArgumentError("groups or time", "both", "Choose one of them.", where)
    rows = np.arange(len(table))
    if time is not None:
        rows = _in_time(table, time)
        tested, chosen = round(len(rows) * test), round(len(rows) * validation)
        ends = np.cumsum([len(rows) - tested - chosen, chosen])
        parts = np.split(rows, ends)
    else:
        labels = _labels(table, groups)
        state = derive(seed, "split") % 2**32
        rest, last = _cut(rows, labels, test, groups is not None, state)
        first, middle = _cut(rest, labels, validation / (1 - test), groups is not None, state)
        parts = [first, middle, last]
        if groups is None and table.counts:
            parts = _with_every_class(parts, table.targets)
    for name, share, part in zip(("train", "validation", "test"), (1, validation, test), parts):
        if share and not len(part):
            got = f"none of {len(table)}"
            raise DataError(f"at least one row in the {name} part", got, "Take other shares, or more rows.", where)
    train, middle, last = (np.sort(part) for part in parts)
    return Split(seed, train, middle, last)


def _labels(table: Table, groups: str | None) -> Rows:
    """For each row its group or class; 0 where there are neither."""
    if groups is not None:
        words = cells.text(_column(table, groups), table.schema.missing)
        alone = [f"missing in row {row}" if word is None else f"= {word}" for row, word in enumerate(words)]
        return np.unique(alone, return_inverse=True)[1]
    return table.targets.astype(np.int64) if table.counts and table.targets is not None else np.zeros(len(table), int)


def _cut(rows: Rows, labels: Rows, share: float, grouped: bool, state: int) -> tuple[Rows, Rows]:
    """Cut `rows` in two, the second with this share, by one of scikit-learn's splitters."""
    selection = require("sklearn.model_selection", "tables")
    labels = labels[rows]
    kinds = len(np.unique(labels))
    # of groups the share is that of groups, of at least 2; without them that of rows
    count = round((kinds if grouped else len(rows)) * share)
    total = kinds if grouped else len(rows)
    if not 0 < count < total:
        return (rows, rows[:0]) if count == 0 else (rows[:0], rows)
    options: dict[str, Any] = {"n_splits": 1, "test_size": count, "train_size": total - count, "random_state": state}
    if grouped:
        splitter, given = selection.GroupShuffleSplit(**options), {"groups": labels}
    elif kinds > 1 and (strata := _strata(labels, min(count, total - count))) is not None:
        splitter, given = selection.StratifiedShuffleSplit(**options), {"y": strata}
    else:
        splitter, given = selection.ShuffleSplit(**options), {}
    kept, taken = next(splitter.split(np.zeros((len(rows), 1)), **given))
    return rows[kept], rows[taken]


def _strata(labels: Rows, most: int) -> Rows | None:
    """The classes, the rarest of them together until each has 2 rows and there are at most `most`; None if one is left.

    So many scikit-learn asks for.
    """
    values, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(counts, kind="stable")
    for pooled in range(len(values) - 1):  # so many of the rarest join the next rarest
        least = min(counts[order[: pooled + 1]].sum(), counts[order[pooled + 1]])
        if len(values) - pooled <= most and least >= 2:
            joined = np.arange(len(values))
            joined[order[:pooled]] = order[pooled]
            return joined[places]
    return None


def _with_every_class(parts: list[Rows], classes: Any) -> list[Rows]:
    """Let each class have a row in training: one of its rows changes places with one of the most frequent class."""
    parts = [part.copy() for part in parts]
    for lost in np.setdiff1d(classes, classes[parts[0]]):
        other = next(part for part in parts[1:] if (classes[part] == lost).any())
        most = np.bincount(classes[parts[0]]).argmax()
        if (classes[parts[0]] == most).sum() > 1:
            here, there = np.flatnonzero(classes[parts[0]] == most)[0], np.flatnonzero(classes[other] == lost)[0]
            parts[0][here], other[there] = other[there], parts[0][here]
    return parts


def _in_time(table: Table, name: str) -> Rows:
    """The rows from the first to the last; those of one moment in the order of the table."""
    series, known = _column(table, name), {column.name: column for column in table.schema.columns}
    column = known.get(name)
    if column is None or column.kind not in ("number", "date"):  # what is no input may be one all the same
        column = decide(series, table.schema.missing)
    if column.kind in ("number", "date"):
        values = column_values(series, column, table.schema.missing)
    else:
        values = series if series.dtype.is_temporal() else cells.numbers(series, table.schema.missing)
    if values.null_count():
        got = f"{values.null_count()} rows without one"
        remedy = "Leave these rows out, or say how it is written with kinds={…: 'date:…'}."
        raise DataError("a date or number in every row", got, remedy, f"column {name!r}")
    return np.argsort(values.to_numpy(), kind="stable")


def _column(table: Table, name: str) -> Any:
    if name not in table.frame.columns:
        close = near(name, table.frame.columns)
        remedy = f"Did you mean {close}?" if close else "Name a column of the table."
        raise DataError("a column of the table", repr(name), remedy, "tables.split")
    return table.frame[name]
