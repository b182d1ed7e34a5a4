"""Data for R replicas: batches in memory, each replica in an order of its own; loaders; splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.nn.module import Module
from handgrad.nn.slot import mapped, several
from handgrad.seeds import derive, generator, whole

LAST = ("keep", "drop", "merge")

WHOLE = {4: torch.int32, 8: torch.int64, 16: torch.complex128}
"""By the bytes of a row, the dtype that holds it in one element; only moved, never computed with."""

BLOCK = 2**20
"""Bytes of small batches that are selected at once: one by one they cost more in calls than in copying."""

Inputs = Tensor | tuple[Tensor, ...]
"""What a model is called with: one tensor, or several."""

Batch = tuple[Any, ...]
"""Inputs, targets and, where samples have them, weights."""


class Batches:
    """Batches of inputs and targets, as (R, n, …): replica r sees its own order, a function of its seed and the epoch.

    Args:
        x: inputs, (N, …) that all replicas share, or (R, N, …) with `own`; a tuple of such for a model of several.
        t: targets, (N, …) or (R, N, …) alike.
        batch_size: samples in a batch.
        seeds: one for each replica; those of the same seed see the same order. The order of epoch e comes from the
            stream (seed, "order", e): it does not depend on other replicas, earlier epochs, or what else was drawn.
        own: each replica has data of its own.
        shuffle: False takes the samples as they stand, and shared data then need no leading R.
        last: what becomes of a last batch that is too short: "keep" it, "drop" it, or "merge" it into the one before.
        weights: of the samples in the loss, (N,), or (R, N) with `own`; batches then are of three tensors.
        rows: which samples each replica sees, (R, M) indices, as `split` gives them; all by default.

    Errors: ArgumentError for a batch size out of range, no seeds or an unknown `last`; ShapeError if x and t have
    different numbers of samples, or not one data set for each seed; DTypeError for rows that are no indices, such as a
    mask.

    Example:
        >>> import torch
        >>> from handgrad.data import Batches
        >>> batches = Batches(torch.arange(5.0).unsqueeze(1), torch.zeros(5, 1), 2, seeds=[0, 1], last="merge")
        >>> [tuple(x.shape) for x, t in batches.epoch(0)]
        [(2, 2, 1), (2, 3, 1)]
    """

    def __init__(
        self,
        x: Inputs,
        t: Tensor,
        batch_size: int,
        seeds: Sequence[int],
        *,
        own: bool = False,
        shuffle: bool = True,
        last: str = "keep",
        weights: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        where = "Batches"
        self.seeds = [whole(seed) for seed in seeds]
        if not self.seeds:
            raise ArgumentError("at least one seed", "none", "Pass seeds=range(R), say.", where)
        lead = 1 if own else 0
        if any(min(v.ndim, t.ndim) <= lead or v.shape[: lead + 1] != t.shape[: lead + 1] for v in several(x)):
            shape = "(R, N, …)" if own else "(N, …)"
            got = " and ".join(str(tuple(v.shape)) for v in (*several(x), t))
            remedy = "Give every input its target; with own=True, in every replica's data."
            raise ShapeError(f"inputs and targets of shape {shape} with equal N", got, remedy, where)
        if own and len(t) != len(self.seeds):
            remedy = "Pass one seed for each replica's data."
            raise ShapeError(f"data for {len(self.seeds)} replicas, as many as seeds", str(len(t)), remedy, where)
        if weights is not None and weights.shape != t.shape[: lead + 1]:
            got = str(tuple(weights.shape))
            raise ShapeError(f"weights of shape {tuple(t.shape[: lead + 1])}", got, "Give one to each sample.", where)
        if rows is not None:
            check_rows(rows, t.shape[lead], len(self.seeds), where)
        self.rows = rows
        self.count = t.shape[lead] if rows is None else rows.shape[1]
        batch_size = checks.positive_int("batch_size", batch_size, where)
        if batch_size > self.count:
            remedy = f"Choose at most {self.count}."
            raise ArgumentError(f"batches of at most the {self.count} samples", str(batch_size), remedy, where)
        self.x, self.t, self.weights, self.own, self.shuffle = x, t, weights, own, shuffle
        self._starts = starts(t) if own else None
        self.last = checks.one_of("last", last, LAST, where)
        self.slices = self._slices(batch_size)

    def _slices(self, size: int) -> list[slice]:
        starts = list(range(0, self.count, size))
        if self.count % size and self.last != "keep":
            starts.pop()
        ends = [*starts[1:], self.count if self.last != "drop" else starts[-1] + size]
        return [slice(*bounds) for bounds in zip(starts, ends)]

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.seeds)

    @property
    def shared(self) -> bool:
        """Whether batches have no leading R, since all replicas see the same."""
        return not (self.own or self.shuffle or self.rows is not None)

    def __len__(self) -> int:
        return len(self.slices)

    def order(self, epoch: int) -> Tensor:
        """Which sample comes when: (R, N), or (R, M) of given rows."""
        if not self.shuffle:
            return (torch.arange(self.count).expand(self.replicas, -1) if self.rows is None else self.rows).clone()
        order = torch.empty(self.replicas, self.count, dtype=torch.long, device="cpu")  # as its generator
        source = torch.Generator()
        for row, seed in zip(order, self.seeds):
            torch.randperm(
                self.count, generator=source.manual_seed(derive(seed, "order", epoch)), out=row, device="cpu"
            )
        if self.rows is not None:
            order = self.rows.gather(1, order)
        return order.to(self.t.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        inputs = len(self.x) if isinstance(self.x, tuple) else 0
        for values in self._epoch(epoch):
            yield (values[:inputs], *values[inputs:]) if inputs else values

    def _epoch(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        values = [*several(self.x), self.t, *(() if self.weights is None else (self.weights,))]
        if not self.shuffle and self.rows is None:
            for part in self.slices:
                yield tuple(v[:, part] if self.own else v[part] for v in values)
            return
        order = self.order(epoch)  # (R, N)
        if self._starts is not None:  # row r·N + i of all data sets one below the other: one selection for all replicas
            order += self._starts
            values = [v.flatten(0, 1) for v in values]
        for block, parts in self._blocks(sum(v[0].numel() * v.element_size() for v in values)):
            chosen = [selected(v, order[:, block]) for v in values]
            yield from (tuple(v[:, part] for v in chosen) for part in parts)

    def _blocks(self, size: int) -> Iterator[tuple[slice, list[slice]]]:
        """Batches that are selected at once, being small, and where each begins and ends in that selection.

        `size` is that of a sample, in bytes.
        """
        start, parts = 0, list[slice]()
        for part in self.slices:
            if parts and (part.stop - start) * size * self.replicas > BLOCK:
                yield slice(start, start + parts[-1].stop), parts
                start, parts = part.start, []
            parts.append(slice(part.start - start, part.stop - start))
        yield slice(start, start + parts[-1].stop), parts

    def fingerprint(self) -> list[Any]:
        """What tells these batches from others: hashes of the data, and cuts, as JSON has them."""
        values = fingerprint(x=self.x, t=self.t, weights=self.weights, rows=self.rows)
        cuts = [[part.start, part.stop] for part in self.slices[:1] + self.slices[-1:]]
        return [values, cuts, self.own, self.shuffle]

    def check(self, model: Module) -> None:
        """Raise if a batch normalisation of the model would meet a batch of one sample, before training starts."""
        shortest = min(part.stop - part.start for part in self.slices)
        norms = [name for name, part in model.named_modules() if getattr(part, "spatial", ())[:1] == (0,)]
        if shortest < 2 and norms:
            remedy = 'Choose another batch size, or last="drop" or last="merge".'
            got = f"a batch of {shortest} of {self.count} samples"
            raise ArgumentError(f"at least 2 samples in every batch, for model.{norms[0]}", got, remedy, "Batches")


class Loader:
    """Batches from anything that yields (x, t), such as a torch DataLoader: all replicas see the same.

    What the loader draws, such as its order, comes from torch's default generator, which each epoch is seeded by the
    stream (seed, "loader", epoch) and afterwards is as it was. So an epoch's batches are a function of seed and epoch,
    as long as the loader draws from nothing else.

    Args:
        loader: iterated once an epoch; yields pairs of tensors or arrays, or with a third of weights. The inputs may be
            a list or tuple of several.
        seeds: one for each replica; the first is the loader's.

    Errors: ArgumentError for a batch that is neither a pair nor a triple, or an epoch without batches.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from handgrad.data import Loader
        >>> data = TensorDataset(torch.randn(6, 2), torch.randn(6, 1))
        >>> loader = Loader(DataLoader(data, batch_size=4, shuffle=True), seeds=[0])
        >>> [tuple(x.shape) for x, t in loader.epoch(0)]
        [(4, 2), (2, 2)]
    """

    own, shared = False, True
    count: int | None = None

    def __init__(self, loader: Iterable[Any], seeds: Sequence[int]) -> None:
        self.loader, self.seeds = loader, [whole(seed) for seed in seeds]

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.seeds)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seeds[0], "loader", epoch))
            batches = iter(self.loader)
            state = torch.get_rng_state()
        empty = True
        while True:
            with torch.random.fork_rng(devices=[]):  # not around a yield: what is trained draws, too
                torch.set_rng_state(state)
                batch = next(batches, None)
                state = torch.get_rng_state()
            if batch is None:
                break
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                remedy = "Let the loader yield (x, t), or (x, t, weights)."
                got = f"{len(batch)} values" if isinstance(batch, (tuple, list)) else type(batch).__name__
                raise ArgumentError("batches of inputs and targets", got, remedy, "Loader")
            empty = False
            x, *others = batch
            yield mapped(torch.as_tensor, tuple(x) if are_several(x) else x), *map(torch.as_tensor, others)
        if empty:
            remedy = "Pass a DataLoader or a list: something that can be iterated once each epoch."
            raise ArgumentError("at least one batch each epoch", f"none in epoch {epoch}", remedy, "Loader")

    def fingerprint(self) -> list[Any]:
        """Nothing is known of what a loader yields."""
        return ["a loader"]

    def check(self, model: Module) -> None:
        """What a loader will yield is not known before it does."""


def split(
    samples: int | Tensor, fraction: float, seeds: Sequence[int], *, stratify: bool = False
) -> tuple[Tensor, Tensor]:
    """Split N samples in two for each replica, a function of its seed alone: (R, N − m) and (R, m) indices.

    Args:
        samples: N, or the targets, (N,) or (N, …).
        fraction: m / N for the second part, above 0 and below 1; both parts have at least one sample.
        seeds: one for each replica; the split comes from the stream (seed, "split").
        stratify: take the same fraction of each class, as near as can be; the targets are then the classes, (N,).

    Errors: ArgumentError for a fraction out of range, fewer than two samples, no seeds, or no classes to stratify by.

    Example:
        >>> import torch
        >>> from handgrad.data import split
        >>> train, test = split(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, seeds=range(3), stratify=True)
        >>> train.shape, test.shape
        (torch.Size([3, 6]), torch.Size([3, 2]))
    """
    samples, seeds = checks.own(samples), list(seeds)
    N = samples if isinstance(samples, int) else len(samples)
    if not seeds:
        raise ArgumentError("at least one seed", "none", "Pass seeds=range(R), say.", "split")
    if not 0 < fraction < 1:
        raise ArgumentError("a fraction above 0 and below 1", str(fraction), "Pass 0.2, say.", "split")
    if N < 2:
        raise ArgumentError("at least 2 samples to split", str(N), "Validate on data of their own.", "split")
    if stratify and (isinstance(samples, int) or samples.ndim != 1):
        raise ArgumentError("classes (N,) to stratify by", "none", "Pass the targets, or stratify=False.", "split")
    count = min(max(round(N * fraction), 1), N - 1)
    first, second = [], []
    for seed in seeds:
        order = torch.randperm(N, generator=generator(seed, "split"), device="cpu")
        if stratify:
            assert isinstance(samples, Tensor)
            order = order[_spread(samples.cpu()[order])]
        second.append(order[:count].sort().values)
        first.append(order[count:].sort().values)
    return torch.stack(first), torch.stack(second)


def _spread(classes: Tensor) -> Tensor:
    """An order in which every beginning has the classes in their proportions, as near as can be."""
    _, index, counts = torch.unique(classes, return_inverse=True, return_counts=True)
    by_class = index.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(index)
    rank[by_class] = torch.arange(len(classes), device=classes.device) - starts[index[by_class]]
    place: Tensor = (rank + 0.5) / counts[index]
    return place.argsort(stable=True)


def check_rows(rows: Any, samples: int, replicas: int | None, where: str) -> None:
    """Raise unless rows are (R, M) indices of samples; without `replicas` R may be any.

    Errors: DTypeError for what is no tensor of indices, such as a mask; ShapeError; ArgumentError for one out of range.
    """
    if not isinstance(rows, Tensor) or rows.dtype not in (torch.int64, torch.int32):
        got = checks.short(rows.dtype) if isinstance(rows, Tensor) else type(rows).__name__
        remedy = "Pass indices of the samples; those of a mask (R, N) are mask.nonzero()[:, 1].view(R, -1)."
        raise DTypeError("rows as a tensor of int64", got, remedy, where)
    if rows.ndim != 2 or len(rows) != (replicas or len(rows)) or rows.numel() == 0:
        got, remedy = str(tuple(rows.shape)), "Pass the indices that handgrad.data.split returns."
        raise ShapeError(f"rows of shape ({replicas or 'R'}, M)", got, remedy, where)
    low, high = int(rows.min()), int(rows.max())
    if not 0 <= low <= high < samples:
        raise ArgumentError(f"rows from 0 to {samples - 1}", f"{low} to {high}", "Pass indices of the samples.", where)


def selected(values: Tensor, rows: Tensor) -> Tensor:
    """values[rows]: as a selection, which takes half as long as an index, and a short row as one wide number."""
    flat, size = rows.flatten(), values[0].numel() * values.element_size()
    whole = values.is_contiguous() and size in WHOLE and values.storage_offset() * values.element_size() % size == 0
    if values.ndim == 2 and whole and values.device.type == "cpu":
        chosen = values.view(WHOLE[size]).view(-1).index_select(0, flat).unsqueeze(-1).view(values.dtype)
    else:
        chosen = values.index_select(0, flat)
    return chosen.view(*rows.shape, *values.shape[1:])


def starts(values: Tensor) -> Tensor:
    """Where each replica's own data, (R, N, …), begin with all of them one below the other: (R, 1)."""
    return torch.arange(0, values.shape[0] * values.shape[1], values.shape[1], device=values.device).unsqueeze(1)


def rowwise(values: Tensor, rows: Tensor, own: bool) -> Tensor:
    """values[rows], (R, M, …), of (N, …) that all replicas share, or of each one's own (R, N, …)."""
    if own:
        rows = rows + starts(values)
        values = values.flatten(0, 1)
    return selected(values, rows)


def are_several(x: Any) -> bool:
    """Whether these are several inputs: a tuple or list of tensors or arrays."""
    return isinstance(x, (tuple, list)) and len(x) > 0 and all(hasattr(value, "shape") for value in x)


def fingerprint(**values: Inputs | None) -> list[Any]:
    """Dtype, shape and a hash of the numbers of each tensor, or of each of several, by its name, as JSON has them.

    Example:
        >>> import torch
        >>> fingerprint(t=torch.tensor([1, 2])) == fingerprint(t=torch.tensor([2, 1]))
        False
    """
    found = []
    for name, given in values.items():
        for value in () if given is None else several(given):
            numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            kind = str(value.dtype).removeprefix("torch.")
            found.append([name, kind, list(value.shape), hashlib.blake2b(numbers.data, digest_size=16).hexdigest()])
    return found
