"""Prepared: a table as replicas are trained on it, each with its own split and encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, tables
from handgrad.errors import ArgumentError
from handgrad.optional import require
from handgrad.seeds import generator
from handgrad.tables import Encoder, Split, Table
from handgrad.tables.columns import unsupported
from handgrad.workers import free_memory

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """A table, and for each of R seeds a split of its rows and an encoder of the split's training rows.

    Attributes:
        table: the rows.
        seeds: R different ones.
        encoders: one for each seed; what they are fitted to are the training rows alone.
        x: inputs as each replica's encoder gives them, (R, N, I).
        t: class indices (N,), or numbers in their own unit, (N, 1), in float64.
        rows: by "train", "validation" and "test", which rows each replica has there, (R, M).
        how: how rows were divided, in words.
        shared: whether all replicas have the same split.
        digest: of rows and target, by which runs on the same data know each other.
        notes: what was left out, in sentences.
    """

    table: Table
    seeds: list[int]
    encoders: list[Encoder]
    x: Tensor
    t: Tensor
    rows: dict[str, Tensor]
    how: str
    shared: bool
    digest: str
    notes: list[str]

    @property
    def task(self) -> str:
        """ "classification" or "regression"."""
        assert self.table.schema.target is not None
        return self.table.schema.target.task

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of the outputs; none for a regression."""
        assert self.table.schema.target is not None
        return [str(label) for label in self.table.schema.target.labels]

    @property
    def splits(self) -> list[Split]:
        """The split of each seed."""
        parts = zip(self.seeds, *(self.rows[name] for name in PARTS))
        return [Split(seed, *(part.numpy() for part in three)) for seed, *three in parts]


def prepare(
    source: Any,
    target: str,
    seeds: Sequence[int],
    *,
    validation: float = 0.2,
    test: float = 0.2,
    groups: str | None = None,
    time: str | None = None,
    **reading: Any,
) -> Prepared:
    """Read data, split their rows by each seed, and encode them by the training rows of each split.

    Args:
        source: a CSV or Parquet file, or what else `tables.read` takes.
        target: the name of the column to predict.
        seeds: different ones, one for each replica.
        validation, test, groups, time: as of `tables.split`, but neither share is 0. The column of the groups is left
            out of the inputs. Groups give parts of unequal size, which are cut to the smallest, at random.
        reading: as of `tables.load`, such as kinds, task, missing, separator.

    Errors: DataError and ArgumentError as `tables.load` and `tables.split`; ArgumentError for more than fits into
    memory.

    Example:
        >>> from handgrad.runs import prepare
        >>> data = {"size": [n % 7 / 2 for n in range(50)], "kind": [*"ab"] * 25, "y": [n % 3 / 2 for n in range(50)]}
        >>> prepared = prepare(data, "y", seeds=[0, 1], task="regression")
        >>> prepared.x.shape, {name: tuple(rows.shape) for name, rows in prepared.rows.items()}
        (torch.Size([2, 50, 3]), {'train': (2, 30), 'validation': (2, 10), 'test': (2, 10)})
    """
    for name, value in (("validation", validation), ("test", test)):
        if value == 0:
            remedy = "Take 0.2, say: networks stop by their validation rows and are judged on their test rows."
            raise ArgumentError(f"{name} above 0", str(value), remedy, "prepare")
    for name, column in (("groups", groups), ("time", time)):
        if column == target:
            raise ArgumentError(f"{name} of another column than the target", repr(column), "Name another.", "prepare")
    if groups is not None:  # a group's own number says nothing of other groups
        reading = {**reading, "kinds": {groups: "drop", **(reading.get("kinds") or {})}}
    table = tables.load(source, target, **reading)
    seeds = list(seeds)
    checks.positive_int("the number of seeds", len(seeds), "prepare")
    need, free = 4 * len(seeds) * len(table) * len(table.schema.inputs), free_memory()
    if need > free / 2:
        got = f"{need / 2**30:.1f} GiB for {len(seeds)} replicas"
        remedy = "Train fewer seeds at a time."
        raise ArgumentError(f"data of at most half of the {free / 2**30:.1f} GiB that are free", got, remedy, "prepare")
    splits = [tables.split(table, seed, validation=validation, test=test, groups=groups, time=time) for seed in seeds]
    rows, notes = {}, list(table.notes)
    for name in PARTS:
        parts = [torch.from_numpy(getattr(split, name)) for split in splits]
        least = min(map(len, parts))
        if any(len(part) != least for part in parts):
            notes.append(f"Groups give {name} parts of {least} to {max(map(len, parts))} rows: all are cut to {least}.")
        rows[name] = torch.stack([_some(part, least, seed) for part, seed in zip(parts, seeds)])
    encoders = [Encoder.fit(table, part.numpy()) for part in rows["train"]]
    x = torch.empty(len(seeds), len(table), len(table.schema.inputs), dtype=torch.float32)  # as encoders give it
    for own, encoder in zip(x, encoders):  # stacked at the end they would be there twice
        own.copy_(encoder.transform(table))
    targets = torch.from_numpy(table.targets)
    notes += _untested(table, targets[rows["test"]])
    share = 1 - validation - test
    sizes = "/".join(f"{100 * part:.0f}" for part in (share, validation, test))
    kind = f"by groups of {groups!r}" if groups else f"in the order of {time!r}" if time else "at random"
    stratified = "" if targets.is_floating_point() or groups or time else ", stratified by class"
    return Prepared(
        table,
        seeds,
        encoders,
        x,
        targets.unsqueeze(1) if targets.is_floating_point() else targets,
        rows,
        f"{kind}{stratified}, {sizes} % for training, validation and test",
        time is not None,
        _digest(table),
        notes,
    )


def _some(rows: Tensor, count: int, seed: int) -> Tensor:
    """So many of the rows, drawn by the seed; all in their order if so many there are."""
    chosen = torch.randperm(len(rows), generator=generator(seed, "cut"), device="cpu")[:count].sort().values
    return rows[chosen]


def _untested(table: Table, tested: Tensor) -> list[str]:
    """A note on classes of which no replica has a test row."""
    assert table.schema.target is not None
    names = [str(label) for k, label in enumerate(table.schema.target.labels) if not (tested == k).any()]
    some = ", ".join(names[:5]) + ", …" * (len(names) > 5)
    return [f"Classes of so few rows that no split tests them, and no metric is about them: {some}."] if names else []


def _digest(table: Table) -> str:
    """Of the rows as they were read, so that runs that use other columns of them can be compared."""
    pl = require("polars", "tables")
    frame = table.frame.select(series for series in table.frame if not unsupported(series))
    frame = frame.with_columns(pl.col(pl.Duration).dt.total_microseconds())  # which CSV has no form for
    digest = hashlib.sha256(frame.write_csv().encode())
    digest.update(b"" if table.targets is None else table.targets.tobytes())
    return digest.hexdigest()
