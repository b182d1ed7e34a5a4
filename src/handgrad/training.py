"""train: the training loop of one group of replicas."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad.data import Batches
from handgrad.nn.fuse import fuse
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.random import redraw
from handgrad.nn.sequential import Sequential
from handgrad.optim.optimizer import Optimizer
from handgrad.workers import Stop

Metric = Callable[[Module], Tensor]
"""A number of each replica, (R,), from the model in evaluation mode."""

Advance = Callable[[list[float]], None]
"""Called with the mean losses of the replicas that have just finished an epoch; NaN where there is none to tell."""


@dataclass
class History:
    """What training R replicas for E epochs gave; numbers of a diverged replica are NaN from that epoch on."""

    loss: Tensor
    """(R, E): mean training loss over the batches of an epoch."""
    metrics: dict[str, Tensor]
    """(R, E) each: after every epoch, in evaluation mode."""
    diverged: list[dict[str, Any] | None]
    """For each replica None, or the epoch, step and first layer whose output was not finite, all counted from 0."""
    seconds: float = 0.0
    """Time spent in training steps; evaluation is not counted."""
    epochs: int = 0
    """Epochs that were finished: fewer than asked for if training was stopped."""

    @staticmethod
    def joined(parts: list[History]) -> History:
        """The history of all replicas from those of groups of them; their seconds add up."""
        return History(
            torch.cat([part.loss for part in parts]),
            {name: torch.cat([part.metrics[name] for part in parts]) for name in parts[0].metrics},
            [note for part in parts for note in part.diverged],
            sum(part.seconds for part in parts),
            min(part.epochs for part in parts),
        )

    @staticmethod
    def empty(replicas: int, epochs: int, metrics: tuple[str, ...]) -> History:
        nan = torch.full((replicas, epochs), math.nan, dtype=torch.float64)
        return History(nan, {name: nan.clone() for name in metrics}, [None] * replicas)


def train(
    model: Sequential,
    criterion: Loss,
    optimizer: Optimizer,
    batches: Batches,
    epochs: int,
    *,
    metrics: Mapping[str, Metric] | None = None,
    every: int = 1,
    stop: Stop | None = None,
    advance: Advance = lambda _: None,
) -> History:
    """Train R replicas at once.

    The model runs fused. A replica whose loss stops being finite has diverged: the epoch, the step and the first layer
    with a bad output are noted, its numbers are NaN from there on, and the others go on untouched.

    Args:
        model: a network of R replicas; it is trained in place and left in training mode.
        criterion: a loss of R replicas.
        optimizer: of the model's parameters.
        batches: the data.
        epochs: how often all data are seen.
        metrics: what to measure, by name.
        every: measure after every so many epochs, and after the last.
        stop: ends training before the next epoch once it is set.
        advance: called with the R losses of each epoch, for a progress bar.

    Errors: ArgumentError before training if a batch normalisation would meet a batch of one sample, or if the last
    layer does not go with the loss, as a softmax before CrossEntropyLoss.
    """
    batches.check(model)
    criterion.check(model)
    metrics = metrics or {}
    history = History.empty(batches.replicas, epochs, tuple(metrics))
    fast = fuse(model).train()
    # without autograd's book-keeping, not even its checks, an operation on a small tensor takes a sixth less
    with torch.inference_mode():
        for epoch in range(epochs):
            if stop is not None and stop.is_set():
                break
            start = time.perf_counter()
            losses = []
            redraw(model, batches.seeds, epoch)
            for step, (x, t) in enumerate(batches.epoch(epoch)):
                optimizer.zero_grad()
                losses.append(loss := criterion(fast(x), t))
                if not math.isfinite(float(loss.sum())):
                    own = x if batches.own or batches.shuffle else x.expand(batches.replicas, *x.shape)
                    _note(history, fast, own, loss, epoch, step)
                fast.backward_parameters(criterion.backward())
                optimizer.step()
            history.seconds += time.perf_counter() - start
            history.loss[:, epoch] = torch.stack(losses).mean(0)
            if metrics and ((epoch + 1) % every == 0 or epoch + 1 == epochs):
                fast.eval()
                for name, metric in metrics.items():
                    history.metrics[name][:, epoch] = metric(fast)
                fast.train()
            for r, note in enumerate(history.diverged):
                if note is not None:
                    for values in (history.loss, *history.metrics.values()):
                        values[r, epoch] = math.nan
            history.epochs = epoch + 1
            advance(history.loss[:, epoch].tolist())
    fast.forget()
    optimizer.zero_grad()
    for state in optimizer.state.values():  # made in inference mode, which tensors do not leave by themselves
        state |= {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
    return history


def _note(history: History, model: Sequential, x: Tensor, loss: Tensor, epoch: int, step: int) -> None:
    """Record, for each replica whose loss has just stopped being finite, where the first bad number arose."""
    fresh = [r for r in (~loss.isfinite()).nonzero().flatten().tolist() if history.diverged[r] is None]
    if not fresh:
        return
    history.diverged = [
        {"epoch": epoch, "step": step, "layer": "the loss"} if r in fresh else note
        for r, note in enumerate(history.diverged)
    ]
    for name, part in copy.deepcopy(model).named_children():
        x = part(x)
        for r in [r for r in fresh if not x[r].isfinite().all()]:
            history.diverged[r] = {"epoch": epoch, "step": step, "layer": f"model.{name} ({part.label})"}
            fresh.remove(r)
