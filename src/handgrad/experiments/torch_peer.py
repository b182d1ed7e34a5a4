"""The PyTorch side of the comparison: the same network, data and batch order in torch.nn with autograd."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import Tensor, nn

from handgrad.experiments.disk import HIDDEN, Data, Options
from handgrad.seeds import derive
from handgrad.training import Advance, History


def network(options: Options, seed: int, batchnorm: bool = True) -> nn.Sequential:
    """The report's network with torch.nn's own initial weights, those of one round."""
    parts: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "torch.nn"))
        for width in (2, HIDDEN, HIDDEN):
            parts.append(nn.Linear(width, HIDDEN, dtype=options.torch_dtype))
            parts.append(nn.ReLU() if options.activation == "relu" else nn.Tanh())
            if batchnorm:
                parts.append(nn.BatchNorm1d(HIDDEN, dtype=options.torch_dtype))
        parts.append(nn.Linear(HIDDEN, 2, dtype=options.torch_dtype))
    return nn.Sequential(*parts).to(options.device)


def criterion(y: Tensor, t: Tensor, reduction: str) -> Tensor:
    """torch's MSE, with the report's sum over outputs as "batchmean"."""
    if reduction == "batchmean":
        return nn.functional.mse_loss(y, t, reduction="sum") / len(y)
    return nn.functional.mse_loss(y, t, reduction=reduction)


def stacked_state(models: list[nn.Sequential]) -> dict[str, Tensor]:
    """The state of R networks as one of R replicas: every tensor gets a leading R."""
    states = [model.state_dict() for model in models]
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def train(
    models: list[nn.Sequential],
    data: Data,
    options: Options,
    *,
    evaluate: bool = True,
    advance: Advance = lambda _: None,
) -> History:
    """Train each round's network, one after another, on the batches that handgrad gets, and measure the same."""
    history = History.empty(options.rounds, options.epochs, ("train_accuracy", "test_accuracy") if evaluate else ())
    batches = data.batches(options)
    orders = [batches.order(epoch) for epoch in range(options.epochs)]
    for r, model in enumerate(models):
        optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)
        for epoch, order in enumerate(orders):
            if history.diverged[r] is None:
                start = time.perf_counter()
                x, t = data.x[r, order[r]], data.t[r, order[r]]
                losses = []
                for step, batch in enumerate(batches.slices):
                    optimizer.zero_grad()
                    loss = criterion(model(x[batch]), t[batch], options.reduction)
                    losses.append(loss.item())
                    if not math.isfinite(losses[-1]):
                        note = {"epoch": epoch, "step": step, "layer": _first_bad(model, x[batch])}
                        history.diverged[r] = note
                        break
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                history.seconds += time.perf_counter() - start
            if history.diverged[r] is None:
                history.loss[r, epoch] = sum(losses) / len(losses)
                if evaluate:
                    history.metrics["train_accuracy"][r, epoch] = _accuracy(model, data.x[r], data.labels[r])
                    history.metrics["test_accuracy"][r, epoch] = _accuracy(model, data.test_x[r], data.test_labels[r])
            advance([float(history.loss[r, epoch])])
    return history


@torch.no_grad()
def _accuracy(model: nn.Sequential, x: Tensor, labels: Tensor) -> float:
    y = model.eval()(x)
    model.train()
    return float((y.argmax(-1) == labels).double().mean())


@torch.no_grad()
def _first_bad(model: nn.Sequential, x: Tensor) -> str:
    """Name the first layer whose output is not finite."""
    for name, part in copy.deepcopy(model).named_children():
        x = part(x)
        if not x.isfinite().all():
            return f"model.{name} ({part})"
    return "the loss"
