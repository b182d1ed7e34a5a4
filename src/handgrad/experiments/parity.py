"""The parity certificate: how far handgrad and torch.nn come apart with the same weights on the same batches.

In lockstep, both start every step from torch.nn's weights, so that a step's difference is rounding and nothing else,
but for one case: a ReLU input within rounding of 0, which falls on either side; both gradients are right there and
differ by what that sample weighs. Such steps are counted and shown apart.

Running free, both start from the same weights once: differences then grow, by such samples and since BatchNorm
magnifies a nearly dead channel up to 1/√eps times. How much of that is in the numbers themselves is measured, not
argued: torch.nn runs a second time on the same batches with their samples in reverse order, the same sums in another
order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.experiments import disk, torch_peer
from handgrad.experiments.disk import Options

PRECISIONS: dict[str, tuple[int, float]] = {"float64": (100, 1e-10), "float32": (20, 1e-4)}
"""For each dtype the number of steps that are compared, and the bound on the relative difference."""

KINDS = ("loss", "gradients", "parameters", "statistics")

Step = dict[str, list[Tensor]]
"""What one step gave: for each kind its tensors, all (R, …) and in torch.nn's layout, and the "sides" of each ReLU."""


class OwnSide:
    """handgrad's R replicas."""

    def __init__(self, options: Options) -> None:
        self.model = disk.network(options, init="pytorch", batchnorm=True)
        self.criterion = nn.MSELoss(reduction=options.reduction, replicas=options.rounds)
        self.optimizer = optim.SGD(self.model.parameters(), lr=options.lr)

    def step(self, x: Tensor, t: Tensor) -> Step:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), t)
        sides = [part.kept[0] > 0 for part in self.model if isinstance(part, nn.ReLU) and part.kept]
        self.model.backward_parameters(self.criterion.backward())
        self.optimizer.step()
        gradients = [p.grad.mT if p.transposed else p.grad for p in self.model.parameters() if p.grad is not None]
        return {"loss": [loss], "gradients": gradients, "sides": sides, **_states(self.model.state_dict())}


class TorchSide:
    """R networks of torch.nn, one after another."""

    def __init__(self, options: Options, models: list[torch.nn.Sequential]) -> None:
        self.options, self.models = options, models
        self.optimizers = [torch.optim.SGD(model.parameters(), lr=options.lr) for model in models]

    def state(self) -> dict[str, Tensor]:
        return torch_peer.stacked_state(self.models)

    def in_float64(self) -> TorchSide:
        """The same networks, their present weights converted."""
        return TorchSide(self.options, [copy.deepcopy(model).double() for model in self.models])

    def step(self, x: Tensor, t: Tensor) -> Step:
        losses, sides = [], []
        for r, (model, optimizer) in enumerate(zip(self.models, self.optimizers)):
            optimizer.zero_grad()
            y, found = x[r], []
            for part in model:
                y = part(y)
                found += [y > 0] if isinstance(part, torch.nn.ReLU) else []
            losses.append(loss := torch_peer.criterion(y, t[r], self.options.reduction))
            sides.append(found)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        rounds = [[p.grad for p in model.parameters() if p.grad is not None] for model in self.models]
        gradients = [torch.stack(grads) for grads in zip(*rounds)]
        return {
            "loss": [torch.stack(losses).detach()],
            "gradients": gradients,
            "sides": [torch.stack(masks) for masks in zip(*sides)],
            **_states(self.state()),
        }


def _states(state: dict[str, Tensor]) -> Step:
    """Parameters and running statistics of a state dict."""
    counted = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    return {
        "parameters": [value for name, value in counted.items() if "running" not in name],
        "statistics": [value for name, value in counted.items() if "running" in name],
    }


def relative(a: Tensor, b: Tensor) -> Tensor:
    """Return max|a − b| / max|b| for each round: (R,).

    It is relative to the tensor's largest element, as elements near 0 have no digits to agree in; 0 where all are
    equal, and infinite where only one side is finite.
    """
    a, b = (v.double().reshape(len(v), -1) for v in (a, b))
    same = (a == b) | (a.isnan() & b.isnan())
    difference = torch.where(same, 0.0, (a - b).abs()).amax(1)
    return torch.where(difference == 0, 0.0, difference / b.abs().amax(1)).nan_to_num(nan=torch.inf)


def difference(a: Step, b: Step) -> Tensor:
    """The largest relative difference of each kind's tensors: (kinds, R)."""
    return torch.stack([torch.stack([relative(p, q) for p, q in zip(a[k], b[k])]).amax(0) for k in KINDS])


def flips(a: Step, b: Step) -> Tensor:
    """How many ReLU inputs lie on another side of 0 in `a` than in `b`: (R,)."""
    counts = [(p != q).flatten(1).sum(1) for p, q in zip(a["sides"], b["sides"])]
    return torch.stack(counts).sum(0) if counts else torch.zeros(len(a["loss"][0]), dtype=torch.long)


def certificate(options: Options) -> dict[str, Any]:
    """Compare both sides in each precision, in lockstep and running free; see `lockstep` and `free`."""
    found = {}
    for dtype, (steps, bound) in PRECISIONS.items():
        here = replace(options, dtype=dtype)
        found[dtype] = lockstep(here, steps, bound) | {"free": free(here, steps, bound)}
    return found


def lockstep(options: Options, steps: int, bound: float) -> dict[str, Any]:
    """Take each step from torch.nn's weights on both sides, and measure the difference of what the step gives.

    The reference is torch.nn in float64, from the same weights. For float32 the difference to torch.nn's own float32
    is given too (`same_dtype`), and torch.nn's own error (`torch_error`), which may be larger than the bound.

    Args:
        options: rounds, learning rate, batches, dtype.
        steps: how many steps, or as many as the epochs have.
        bound: what the difference to the reference must not exceed in any round, step and tensor.
    """
    own, peer = OwnSide(options), _peer(options)
    exact, same, error = _Differences(bound), _Differences(bound), _Differences(bound)
    for x, t in _batches(options, steps):
        own.model.load_state_dict(peer.state())
        reference = peer.in_float64()
        found, theirs = own.step(x, t), peer.step(x, t)
        truth = theirs if options.dtype == "float64" else reference.step(x.double(), t.double())
        exact.add(found, truth)
        same.add(found, theirs)
        error.add(theirs, truth)
    return {
        "steps": len(exact.values),
        "rounds": options.rounds,
        "bound": bound,
        **exact.summary(),
        "same_dtype": same.summary(),
        "torch_error": error.summary(),
    }


class _Differences:
    """Differences of all rounds and steps, with those where a ReLU input changed side apart."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.values: list[Tensor] = []
        self.flips: list[Tensor] = []

    def add(self, a: Step, b: Step) -> None:
        self.values.append(difference(a, b))
        self.flips.append(flips(a, b))

    def summary(self) -> dict[str, Any]:
        values, flips = torch.stack(self.values), torch.stack(self.flips)  # (steps, kinds, R), (steps, R)
        flipped = (flips > 0).unsqueeze(1)
        smooth = values.masked_fill(flipped, 0.0)
        return {
            "holds": bool(smooth.max() <= self.bound),
            "worst": dict(zip(KINDS, smooth.amax((0, 2)).tolist())),
            "median": float(values.amax(1).median()),
            "largest_by_step": smooth.amax((1, 2)).tolist(),
            "within": int((values.amax(1) <= self.bound).sum()),
            "of": flips.numel(),
            "flipped": int((flips > 0).sum()),
            "worst_flipped": float((values * flipped).nan_to_num().max()),
        }


def free(options: Options, steps: int, bound: float) -> dict[str, Any]:
    """Start both sides from the same weights once, and torch.nn again with each batch's samples in reverse order."""
    own, peer, again = OwnSide(options), _peer(options), _peer(options)
    own.model.load_state_dict(peer.state())
    differences, control = [], []
    for x, t in _batches(options, steps):
        theirs = peer.step(x, t)
        differences.append(difference(own.step(x, t), theirs).amax(0))
        control.append(difference(again.step(x.flip(1), t.flip(1)), theirs).amax(0))
    return {
        "handgrad": _drift(torch.stack(differences), bound),
        "reversed": _drift(torch.stack(control), bound),
    }


def _peer(options: Options) -> TorchSide:
    return TorchSide(options, [torch_peer.network(options, seed) for seed in options.seeds])


def _batches(options: Options, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Points and targets (R, N, 2) of the first steps."""
    batches = disk.data(options).batches(options)
    every = ((x, t) for epoch in range(options.epochs) for x, t in batches.epoch(epoch))
    return islice(every, steps)


def _drift(values: Tensor, bound: float) -> dict[str, Any]:
    """Median and worst round by step of (steps, R), and the rounds that stay within the bound to the end."""
    return {
        "median_by_step": values.median(1).values.tolist(),
        "worst_by_step": values.amax(1).tolist(),
        "rounds_within": int((values.amax(0) <= bound).sum()),
    }
