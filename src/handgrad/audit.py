"""audit_replica: where, and by how much, two runs of one replica first differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from math import inf
from typing import Any

import torch
from torch import Tensor

from handgrad.data import Batch, Batches
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.random import drawing, redraw
from handgrad.nn.slot import mapped
from handgrad.optim.optimizer import Optimizer
from handgrad.training.calls import judged, outputs, suited
from handgrad.training.listening import listening, of_replica, placed


@dataclass(frozen=True)
class Run:
    """A training run about to start, and which of its replicas to look at."""

    model: Module
    criterion: Loss
    optimizer: Optimizer
    batches: Batches
    replica: int
    """Its place among the R of this run; 0 for a network without replicas."""


@dataclass(frozen=True)
class Difference:
    """The first place at which two runs differ by more than the tolerance."""

    epoch: int
    step: int
    """Within the epoch; both count from 0."""
    where: str
    """Such as "output of model.2 (BatchNorm1d 25)", "gradient of 0.weight" or "0.weight after the step"."""
    size: float
    """max|a − b| / max|b| over what is finite; infinite where only one of the two is.

    Of gradients, of parameters and of a layer's buffers max|b| is that of all together: one that is 0 but for rounding,
    as the gradient of a bias before BatchNorm, has no digits of its own.
    """

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step}: {self.where} differs by {self.size:.1e} of the largest element"


def audit_replica(a: Run, b: Run, epochs: int, tolerance: float = 0.0) -> Difference | None:
    """Train two runs side by side and return the first place at which their replicas differ, or None.

    Batches are compared, then every layer's output in order, the loss, every gradient, every parameter and buffer after
    the step. Two runs of the same seed in other company should differ by rounding at most: by nothing in float64 on
    most machines, by about 10⁻⁷ a step in float32.

    Args:
        a, b: the runs; both are trained, part by part, until they differ or end.
        epochs: how many.
        tolerance: the largest relative difference that counts as none.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> from handgrad.audit import Run, audit_replica
        >>> from handgrad.data import Batches
        >>> x = torch.linspace(-1, 1, 32, dtype=torch.float64).unsqueeze(1)
        >>> def run(seeds, replica, lr):
        ...     model = nn.replicate(nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double(), seeds)
        ...     criterion = nn.MSELoss(replicas=len(seeds))
        ...     return Run(model, criterion, optim.SGD(model.parameters(), lr), Batches(x, x**2, 8, seeds), replica)
        >>> audit_replica(run([3, 7, 137], 2, lr=0.1), run([137], 0, lr=0.1), epochs=2, tolerance=1e-12)
        >>> audit_replica(run([137], 0, lr=0.1), run([137], 0, lr=0.2), epochs=2).where
        '0.weight after the step'
    """
    for run in (a, b):
        run.model.train()
    for epoch in range(epochs):
        for step, (seen_a, seen_b) in enumerate(zip_longest(_steps(a, epoch), _steps(b, epoch))):
            if seen_a is None or seen_b is None:
                return Difference(epoch, step, "the number of batches", inf)
            for (where, value, _), (_, other, all_of_it) in zip(seen_a, seen_b):
                size = _relative(value, other, all_of_it)
                if size > tolerance:
                    return Difference(epoch, step, where, size)
    return None


Seen = tuple[str, Tensor, list[Tensor]]
"""Name and value of something, and all that its largest element is looked for in."""


def _steps(run: Run, epoch: int) -> Iterator[Iterator[Seen]]:
    """Yield, for each step, what can be seen of the replica in it."""
    redraw(drawing(run.model), run.batches.seeds, epoch)
    for batch in run.batches.epoch(epoch):
        yield _step(run, batch)


def _step(run: Run, batch: Batch) -> Iterator[Seen]:
    """Take one step, and yield everything on the way that is the replica's."""

    def seen(where: str, value: Any) -> Iterator[Seen]:
        return ((where, one, [one]) for one in of_replica(value, r, R))

    r, model = run.replica, run.model
    R = replicas_of(model)
    if R is not None and run.batches.shared:
        batch = (*mapped(lambda v: v.expand(R, *v.shape), batch[:2]), *batch[2:])
    else:
        batch = suited(batch, single=R is None, shared=run.batches.shared)
    x, t, *weights = batch
    yield from seen("the inputs", x)
    yield from seen("the targets", t)
    run.optimizer.zero_grad()
    outs: list[tuple[str, tuple[Tensor, ...]]] = []

    def heard(name: str, part: Module, y: Any) -> None:  # clones: what a part returns a module may add to in place
        outs.append((f"output of {placed(name)} ({part.label})", tuple(one.clone() for one in of_replica(y, r, R))))

    with listening(model, heard):
        y = outputs(model, x)
        for where, parts in outs:
            yield from ((where, one, [one]) for one in parts)
        yield from seen("the loss", judged(run.criterion, y, t, *weights))
        model.backward(run.criterion.backward())
    named = dict(model.named_parameters())
    grads = {name: _of(p.grad, p.replicas, r) for name, p in named.items() if p.grad is not None}
    for name, grad in grads.items():
        yield f"gradient of {name}", grad, list(grads.values())
    run.optimizer.step()
    values = {name: _of(p.value, p.replicas, r) for name, p in named.items()}
    for name, value in values.items():
        yield f"{name} after the step", value, list(values.values())
    for path, part in model.named_modules():
        buffers = {name: _of(buffer, part.replicas, r) for name, buffer in part.own_buffers().items()}
        for name, buffer in buffers.items():
            where = f"{path}.{name} after the step" if path else f"{name} after the step"
            yield where, buffer, [one for one in buffers.values() if one.dtype == buffer.dtype]


def _of(value: Tensor, replicas: int | None, r: int) -> Tensor:
    return value if replicas is None else value[r]


def _relative(a: Tensor, b: Tensor, all_of_it: list[Tensor]) -> float:
    if a.shape != b.shape:
        return inf
    a, b = a.double(), b.double()
    same = (a == b) | (a.isnan() & b.isnan())
    if bool(same.all()):
        return 0.0
    largest = torch.stack([v.double().masked_fill(~v.isfinite(), 0).abs().max() for v in all_of_it if v.numel()]).max()
    size = (a - b).abs().masked_fill(same, 0).max() / largest
    return float(size.nan_to_num(nan=inf, posinf=inf))
