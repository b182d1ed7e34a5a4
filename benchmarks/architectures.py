"""Work D: a training step of a small ResNet, an LSTM and a transformer block, of one network and of 20 replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.steps import SECONDS, repeated
from benchmarks.timing import THREADS, Contestant, Outcome, Timed, interleaved
from examples.problems import resnet
from examples.torch_side import Namespace
from handgrad import nn, optim

REPLICAS = 20
CLASSES = 10
BUDGET = 40.0
"""Seconds of one architecture's repeats."""


@dataclass(frozen=True)
class Architecture:
    """A network of either library that ends in ten classes, and the shape of its batch."""

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]

    def data(self, lead: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """Gaussian inputs and random classes."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(*lead, *self.shape, generator=generator)
        return x, torch.randint(CLASSES, (*lead, self.shape[0]), generator=generator)


def lstm(n: Any) -> Any:
    return n.Sequential(n.First(n.LSTM(8, 64, batch_first=True)), n.Select(-2, -1), n.Linear(64, CLASSES))


def transformer(n: Any) -> Any:
    block = n.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    return n.Sequential(block, n.Select(-2, 0), n.Linear(64, CLASSES))


ARCHITECTURES = (
    Architecture("ResNet of 7 layers, images of 8 × 8", resnet, (64, 1, 8, 8)),
    Architecture("LSTM 8→64, 16 steps", lstm, (32, 16, 8)),
    Architecture("transformer block, 32 tokens of 64, 4 heads", transformer, (16, 32, 64)),
)

OPTIONS: Any = {"lr": 0.01, "momentum": 0.9}


def compare(one: Architecture, repeats: int, seconds: float = SECONDS) -> tuple[Timed, Timed, Timed, Timed]:
    """torch.nn, torch.nn again, handgrad's single network and a replica of 20, each with its faster thread count."""
    makes = [torch_steps, again, own_steps, replica_steps]
    contestants = [make(one, threads, seconds) for make in makes for threads in THREADS]
    timed = interleaved(contestants, repeats, BUDGET)
    groups = [timed[i : i + len(THREADS)] for i in range(0, len(timed), len(THREADS))]
    peer, control, own, replica = (min(group, key=lambda t: t.median) for group in groups)
    return peer, control, own, replica


def torch_steps(one: Architecture, threads: int, seconds: float = SECONDS, name: str = "torch.nn") -> Contestant:
    """torch.nn, autograd and torch.optim.SGD."""
    torch.manual_seed(0)
    model, (x, t) = one.build(Namespace()), one.data()
    optimizer = torch.optim.SGD(model.parameters(), **OPTIONS)
    criterion = torch.nn.CrossEntropyLoss()

    def step() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(x), t)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return repeated(Contestant(name, lambda: Outcome([]), threads=threads), step, seconds)


def again(one: Architecture, threads: int, seconds: float = SECONDS) -> Contestant:
    """What the machine's noise makes of the same work."""
    return torch_steps(one, threads, seconds, "torch.nn again (control)")


def own_steps(one: Architecture, threads: int, seconds: float = SECONDS) -> Contestant:
    """One network in handgrad, from the weights that torch.nn has under the same seed."""
    torch.manual_seed(0)
    model = one.build(nn)
    step = _step(model, None, *one.data())
    return repeated(Contestant("handgrad", lambda: Outcome([]), threads=threads), step, seconds)


def replica_steps(one: Architecture, threads: int, seconds: float = SECONDS) -> Contestant:
    """20 replicas in handgrad; the seconds are those of one replica's step."""
    model = nn.replicate(one.build(nn), range(REPLICAS))
    step = _step(model, REPLICAS, *one.data((REPLICAS,)))
    contestant = repeated(Contestant("handgrad, 20 replicas", lambda: Outcome([]), threads=threads), step, seconds)

    def run() -> Outcome:
        outcome = contestant.run()
        assert outcome.seconds is not None
        return Outcome(outcome.losses, outcome.seconds / REPLICAS)

    return Contestant(contestant.name, run, threads=threads)


def _step(model: nn.Sequential, replicas: int | None, x: Tensor, t: Tensor) -> Callable[[], Tensor]:
    model = nn.fuse(model).train()
    criterion = nn.CrossEntropyLoss(replicas=replicas)
    optimizer = optim.SGD(model.parameters(), **OPTIONS)

    def step() -> Tensor:
        with torch.inference_mode():  # as in handgrad's own training loop
            optimizer.zero_grad()
            loss: Tensor = criterion(model(x), t)
            model.backward_parameters(criterion.backward())
            optimizer.step()
        return loss.sum()

    return step
