"""Batches: in-memory data for R replicas, each with an order of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.module import Module
from handgrad.seeds import derive

LAST = ("keep", "drop", "merge")

WHOLE = {4: torch.int32, 8: torch.int64, 16: torch.complex128}
"""By the bytes of a row, the dtype that holds it in one element; only moved, never computed with."""


class Batches:
    """Batches of inputs and targets, as (R, n, …): replica r sees its own order, a function of its seed and the epoch.

    Args:
        x: inputs, (N, …) that all replicas share, or (R, N, …) with `own`.
        t: targets, (N, …) or (R, N, …) alike.
        batch_size: samples in a batch.
        seeds: one for each replica; those of the same seed see the same order. The order of epoch e comes from the
            stream (seed, "order", e): it does not depend on other replicas, earlier epochs, or what else was drawn.
        own: each replica has data of its own.
        shuffle: False takes the samples as they stand, and shared data then need no leading R.
        last: what becomes of a last batch that is too short: "keep" it, "drop" it, or "merge" it into the one before.

    Errors: ArgumentError for a batch size out of range, no seeds or an unknown `last`; ShapeError if x and t have
    different numbers of samples, or not one data set for each seed.

    Example:
        >>> import torch
        >>> from handgrad.data import Batches
        >>> batches = Batches(torch.arange(5.0).unsqueeze(1), torch.zeros(5, 1), 2, seeds=[0, 1], last="merge")
        >>> [tuple(x.shape) for x, t in batches.epoch(0)]
        [(2, 2, 1), (2, 3, 1)]
    """

    def __init__(
        self,
        x: Tensor,
        t: Tensor,
        batch_size: int,
        seeds: Sequence[int],
        *,
        own: bool = False,
        shuffle: bool = True,
        last: str = "keep",
    ) -> None:
        where = "Batches"
        self.seeds = list(seeds)
        if not self.seeds:
            raise ArgumentError("at least one seed", "none", "Pass seeds=range(R), say.", where)
        lead = 1 if own else 0
        if min(x.ndim, t.ndim) <= lead or x.shape[: lead + 1] != t.shape[: lead + 1]:
            shape = "(R, N, …)" if own else "(N, …)"
            got = f"{tuple(x.shape)} and {tuple(t.shape)}"
            remedy = "Give every input its target; with own=True, in every replica's data."
            raise ShapeError(f"inputs and targets of shape {shape} with equal N", got, remedy, where)
        if own and len(x) != len(self.seeds):
            remedy = "Pass one seed for each replica's data."
            raise ShapeError(f"data for {len(self.seeds)} replicas, as many as seeds", str(len(x)), remedy, where)
        self.count = x.shape[lead]
        checks.positive_int("batch_size", batch_size, where)
        if batch_size > self.count:
            remedy = f"Choose at most {self.count}."
            raise ArgumentError(f"batches of at most the {self.count} samples", str(batch_size), remedy, where)
        self.x, self.t, self.own, self.shuffle = x, t, own, shuffle
        self.last = checks.one_of("last", last, LAST, where)
        self.slices = self._slices(batch_size)

    def _slices(self, size: int) -> list[slice]:
        starts = list(range(0, self.count, size))
        if self.count % size and len(starts) > 1 and self.last != "keep":
            starts.pop()
        ends = [*starts[1:], self.count if self.last != "drop" else starts[-1] + size]
        return [slice(*bounds) for bounds in zip(starts, ends)]

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.seeds)

    def order(self, epoch: int) -> Tensor:
        """Which sample comes when: (R, N)."""
        order = torch.empty(self.replicas, self.count, dtype=torch.long)
        source = torch.Generator()
        for row, seed in zip(order, self.seeds):
            torch.randperm(self.count, generator=source.manual_seed(derive(seed, "order", epoch)), out=row)
        return order.to(self.x.device)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch."""
        if not self.shuffle:
            for part in self.slices:
                yield (self.x[:, part], self.t[:, part]) if self.own else (self.x[part], self.t[part])
            return
        order = self.order(epoch)
        x, t = self.x, self.t
        if self.own:  # row r·N + i of all data sets one below the other: one selection for all replicas
            order += torch.arange(self.replicas, device=order.device).unsqueeze(1) * self.count
            x, t = x.flatten(0, 1), t.flatten(0, 1)
        for part in self.slices:
            rows = order[:, part].contiguous()  # (R, n)
            yield _selected(x, rows), _selected(t, rows)

    def check(self, model: Module) -> None:
        """Raise if a batch normalisation of the model would meet a batch of one sample, before training starts."""
        shortest = min(part.stop - part.start for part in self.slices)
        norms = [name for name, part in model.named_modules() if getattr(part, "spatial", ())[:1] == (0,)]
        if shortest < 2 and norms:
            remedy = 'Choose another batch size, or last="drop" or last="merge".'
            got = f"a batch of {shortest} of {self.count} samples"
            raise ArgumentError(f"at least 2 samples in every batch, for model.{norms[0]}", got, remedy, "Batches")


def _selected(values: Tensor, rows: Tensor) -> Tensor:
    """values[rows]: as a selection, which takes half as long as an index, and a short row as one wide number."""
    flat, size = rows.flatten(), values[0].numel() * values.element_size()
    whole = values.is_contiguous() and size in WHOLE and values.storage_offset() * values.element_size() % size == 0
    if values.ndim == 2 and whole and values.device.type == "cpu":
        chosen = values.view(WHOLE[size]).view(-1).index_select(0, flat).unsqueeze(-1).view(values.dtype)
    else:
        chosen = values.index_select(0, flat)
    return chosen.view(*rows.shape, *values.shape[1:])
