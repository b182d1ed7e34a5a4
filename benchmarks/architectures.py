"""Work D: a training step of a CNN, a small ResNet, an LSTM and a transformer block, of one network and of 20."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.steps import SECONDS, repeated
from benchmarks.targets import REPLICA, SINGLE, Target
from benchmarks.timing import THREADS, Contestant, Outcome, Timed, interleaved
from examples.problems import resnet
from examples.torch_side import Namespace
from handgrad import nn, optim, workers
from handgrad.data import Batches
from handgrad.training.together import together

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
    targets: tuple[Target | None, Target | None] = (SINGLE, REPLICA)

    def data(self, lead: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """Gaussian inputs and random classes."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(*lead, *self.shape, generator=generator)
        return x, torch.randint(CLASSES, (*lead, self.shape[0]), generator=generator)


def cnn(n: Any) -> Any:
    first = n.Conv2d(1, 16, 3, padding=1), n.ReLU(), n.MaxPool2d(2)
    second = n.Conv2d(16, 32, 3, padding=1), n.ReLU(), n.MaxPool2d(2)
    return n.Sequential(*first, *second, n.Flatten(-3), n.Linear(32 * 7 * 7, 128), n.ReLU(), n.Linear(128, CLASSES))


def lstm(n: Any) -> Any:
    return n.Sequential(n.First(n.LSTM(8, 64, batch_first=True)), n.Select(-2, -1), n.Linear(64, CLASSES))


def transformer(n: Any) -> Any:
    block = n.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    return n.Sequential(block, n.Select(-2, 0), n.Linear(64, CLASSES))


ARCHITECTURES = (
    # whose operations are large: replicas have few calls to save
    Architecture("CNN of 4 layers, images of 28 × 28", cnn, (64, 1, 28, 28), (SINGLE, None)),
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
    """20 replicas in handgrad, in groups over so many workers, as sweeps train them; a run's seconds are one replica's.

    Every group's steps are timed where they run, and their sum is shared by the workers: neither a worker's start nor
    a wait for the last one counts, which belong to a sweep and not to a step.
    """
    network = one.build(nn)
    model, (x, t) = nn.replicate(network, range(REPLICAS)), one.data((REPLICAS,))
    parts = workers.groups(REPLICAS, together(network, Batches(*one.data(), len(t[0]), seeds=[0])))
    each = range(REPLICAS)
    steps = [_step(nn.stack([model.replica(r) for r in each[p]]), len(each[p]), x[p], t[p]) for p in parts]
    contestant = repeated(Contestant("", lambda: Outcome([]), threads=1), steps[0], seconds)
    probe = contestant.run().seconds
    assert probe is not None
    count = max(3, int(seconds / probe / len(parts) * threads))

    def task(step: Callable[[], Tensor]) -> workers.Task[tuple[float, float, float]]:
        def work(_stop: object, _send: object) -> tuple[float, float, float]:
            step()
            start = time.perf_counter()
            for _ in range(count):
                loss = step()
            return start, time.perf_counter(), float(loss)

        return work

    def run() -> Outcome:
        found = [done for done in workers.run([task(step) for step in steps], threads) if done is not None]
        busy = sum(end - start for start, end, _ in found) / threads
        return Outcome([loss for _, _, loss in found], busy / count / REPLICAS)

    return Contestant("handgrad, 20 replicas", run, setting=f"{threads} worker" + "s" * (threads > 1))


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
