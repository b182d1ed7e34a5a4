"""Work B: one training step of one network, torch.nn against handgrad's plain modules."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks import own
from benchmarks.peers_torch import SGD
from benchmarks.timing import THREADS, Contestant, Outcome, Timed, fastest, interleaved

SECONDS = 0.1
"""Roughly what one run takes: so many steps that the clock and the first, cold step do not count."""


BUDGET = 25.0
"""Seconds of one network's repeats."""


@dataclass(frozen=True)
class Network:
    """A network, its batch and its SGD."""

    name: str
    widths: tuple[int, ...]
    batch: int
    batchnorm: bool
    lr: float
    momentum: float

    def data(self) -> tuple[Tensor, Tensor]:
        """Gaussian inputs, one-hot targets."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.batch, self.widths[0], generator=generator)
        labels = torch.randint(self.widths[-1], (self.batch,), generator=generator)
        return x, torch.eye(self.widths[-1])[labels]

    def torch_network(self, seed: int = 0) -> torch.nn.Sequential:
        """The network in torch.nn, with its default initial weights."""
        parts: list[torch.nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for i, o in pairwise(self.widths[:-1]):
                parts += [torch.nn.Linear(i, o), torch.nn.ReLU()]
                if self.batchnorm:
                    parts.append(torch.nn.BatchNorm1d(o))
            return torch.nn.Sequential(*parts, torch.nn.Linear(self.widths[-2], self.widths[-1]))


REPORT = Network("report's network (2-25-25-25-2, BatchNorm)", (2, 25, 25, 25, 2), 500, True, 0.06, 0.0)
NETWORKS = (
    REPORT,
    Network("64-256-256-10", (64, 256, 256, 10), 128, False, 0.01, 0.9),
    Network("784-1024-1024-10", (784, 1024, 1024, 10), 512, False, 0.01, 0.9),
)


def compare(network: Network, repeats: int, trials: int, seconds: float = SECONDS) -> tuple[Timed, Timed, Timed]:
    """torch.nn, torch.nn once more and handgrad, each with its faster thread count. A run's seconds are one step's.

    Args:
        network: what to train.
        repeats: interleaved runs of each.
        trials: runs by which the SGD of torch is chosen.
        seconds: of one run.
    """
    control = "torch.nn again (control)"
    peers = [fastest([torch_steps(network, n, sgd, seconds) for sgd in SGD], trials) for n in THREADS]
    again = [torch_steps(network, n, peer.setting, seconds, control) for n, peer in zip(THREADS, peers)]
    timed = interleaved([*peers, *again, *(own_steps(network, n, seconds) for n in THREADS)], repeats, BUDGET)
    count = len(THREADS)
    best = min(range(count), key=lambda index: timed[index].median)
    return timed[best], timed[count + best], min(timed[2 * count :], key=lambda one: one.median)


def torch_steps(
    network: Network, threads: int, sgd: str, seconds: float = SECONDS, name: str = "torch.nn"
) -> Contestant:
    """torch.nn, autograd and torch.optim.SGD."""
    model, (x, t) = network.torch_network(), network.data()
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    settings = {"lr": network.lr, "momentum": network.momentum}
    optimizer = torch.optim.SGD(model.parameters(), **settings, **SGD[sgd])  # type: ignore[arg-type]
    criterion = torch.nn.MSELoss()

    def step() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(x), t)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    def reset() -> None:
        model.load_state_dict(initial)
        optimizer.state.clear()

    return repeated(Contestant(name, lambda: Outcome([]), reset, sgd, threads), step, seconds)


def own_steps(network: Network, threads: int, seconds: float = SECONDS) -> Contestant:
    """handgrad's plain modules."""
    initial = network.torch_network().state_dict()
    x, t = network.data()
    step, load = own.plain_step(network.widths, network.batchnorm, network.lr, network.momentum, x, t)
    empty = Contestant("handgrad, plain modules", lambda: Outcome([]), lambda: load(initial), "", threads)
    contestant = repeated(empty, step, seconds)
    return dataclasses.replace(contestant, run=torch.inference_mode()(contestant.run))


def repeated(contestant: Contestant, step: Callable[[], Tensor], seconds: float) -> Contestant:
    """The contestant that runs the step until about `seconds` are over, always as often."""
    contestant.reset()
    step()
    start = time.perf_counter()
    step()
    count = max(3, int(seconds / (time.perf_counter() - start)))

    def run() -> Outcome:
        start = time.perf_counter()
        for _ in range(count):
            loss = step()
        elapsed = time.perf_counter() - start
        return Outcome([float(loss)], elapsed / count)

    return Contestant(contestant.name, run, contestant.reset, contestant.setting, contestant.threads)
