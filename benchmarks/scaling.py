"""Work E: the time of one replica's step against the number of replicas, the width and the batch."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from benchmarks import own
from benchmarks.peers_vmap import Models
from benchmarks.steps import REPORT, Network
from benchmarks.timing import CORES, THREADS, torch_threads

REPLICAS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)

Run = Callable[[int], None]
"""Trains for so many steps."""


@dataclass(frozen=True)
class Limits:
    """What one point may cost."""

    seconds: float = 0.08
    """Of one measurement, where several steps fit."""
    repeats: int = 5
    slow: float = 1.5
    """From this time of a step on, one measurement has to do."""
    longest: float = 6.0
    """A contestant whose step is expected to take longer is left out, and so at all larger points."""


@dataclass
class Curve:
    """Seconds of a replica's step, by x."""

    name: str
    x: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)


def against_replicas(values: Sequence[int] = REPLICAS, limits: Limits | None = None) -> list[Curve]:
    """The report's network; x is R."""
    return _curves([(R, REPORT, R) for R in values], limits or Limits())


def against_width(replicas: int, values: Sequence[int] = WIDTHS, limits: Limits | None = None) -> list[Curve]:
    """The report's network with other hidden widths; x is the width."""
    points = [(w, Network("", (2, w, w, w, 2), 500, True, 0.01, 0.0), replicas) for w in values]
    return _curves(points, limits or Limits())


def against_batch(replicas: int, values: Sequence[int] = BATCHES, limits: Limits | None = None) -> list[Curve]:
    """The report's network with hidden layers of 64; x is the batch."""
    points = [(n, Network("", (2, 64, 64, 64, 2), n, True, 0.01, 0.0), replicas) for n in values]
    return _curves(points, limits or Limits())


def _curves(points: Sequence[tuple[int, Network, int]], limits: Limits) -> list[Curve]:
    curves = {name: Curve(name) for name in MAKERS}
    step: dict[str, float] = dict.fromkeys(MAKERS, 0.0)  # the step's time at the last point
    grown = 1.0
    previous = 0.0
    for x, network, replicas in points:
        work = replicas * network.batch * sum(i * o for i, o in pairwise(network.widths))
        grown, previous = (work / previous if previous else 1.0), work
        batch = torch.rand(replicas, network.batch, 2), torch.rand(replicas, network.batch, 2)
        runs: dict[tuple[str, str], tuple[Run, int | None]] = {}
        for name, make in MAKERS.items():
            if step[name] * grown <= limits.longest:
                runs |= {(name, setting): run for setting, run in make(network, *batch).items()}
            else:
                step[name] = float("inf")
        for (name, setting), seconds in _measured(runs, limits).items():
            curve = curves[name]
            if curve.x and curve.x[-1] == x:
                if seconds / replicas < curve.seconds[-1]:
                    curve.seconds[-1], curve.settings[-1], step[name] = seconds / replicas, setting, seconds
            else:
                curve.x.append(x)
                curve.seconds.append(seconds / replicas)
                curve.settings.append(setting)
                step[name] = seconds
        gc.collect()
    return list(curves.values())


def _measured(runs: dict[tuple[str, str], tuple[Run, int | None]], limits: Limits) -> dict[tuple[str, str], float]:
    """Median seconds of a step of each, interleaved."""
    counts, slowly, found = {}, {}, {}
    for key, run in runs.items():
        _seconds(run, 1)
        slowly[key] = first = _seconds(run, 1)
        counts[key] = max(1, int(limits.seconds / first))
        found[key] = [first] if first >= limits.slow else []
    for repeat in range(limits.repeats):
        for key, run in runs.items():
            if slowly[key] < limits.slow and (repeat < 3 or slowly[key] < limits.slow / 10):
                found[key].append(_seconds(run, counts[key]))
    return {key: statistics.median(seconds) for key, seconds in found.items()}


def _seconds(run: tuple[Run, int | None], count: int) -> float:
    train, threads = run
    with torch_threads(threads):
        start = time.perf_counter()
        train(count)
        return (time.perf_counter() - start) / count


def _own(network: Network, x: Tensor, t: Tensor) -> dict[str, tuple[Run, int | None]]:
    return {name: (run, CORES) for name, run in own.replicas_runs(network.widths, network.lr, x, t).items()}


def _torch(network: Network, x: Tensor, t: Tensor) -> dict[str, tuple[Run, int | None]]:
    models = [network.torch_network(seed) for seed in range(len(x))]
    optimizers = [torch.optim.SGD(model.parameters(), lr=network.lr, fused=True) for model in models]

    def train(count: int) -> None:
        for r, (model, optimizer) in enumerate(zip(models, optimizers)):
            for _ in range(count):
                optimizer.zero_grad()
                mse_loss(model(x[r]), t[r]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    return {f"{n} threads": (train, n) for n in THREADS}


def _vmap(network: Network, x: Tensor, t: Tensor) -> dict[str, tuple[Run, int | None]]:
    models = Models([network.torch_network(seed) for seed in range(len(x))], network.lr)

    @torch.no_grad()
    def train(count: int) -> None:
        for _ in range(count):
            models.step(x, t)

    return {f"{n} threads": (train, n) for n in THREADS}


MAKERS = {"handgrad": _own, "torch.nn": _torch, "torch.func vmap": _vmap}


def table(panels: Sequence[tuple[str, Sequence[Curve]]], label: str) -> str:
    """Microseconds of a replica's step, one line a value of x."""
    names = list(MAKERS)
    lines = [f"| {label} | " + " | ".join(f"{t + ', ' if t else ''}{n}" for t, _ in panels for n in names) + " |"]
    lines.append("|" + "---:|" * (1 + len(panels) * len(names)))
    for x in sorted({x for _, curves in panels for curve in curves for x in curve.x}):
        cells = []
        for _, curves in panels:
            for curve in curves:
                seconds = dict(zip(curve.x, curve.seconds)).get(x)
                cells.append("" if seconds is None else f"{seconds * 1e6:,.0f}")
        lines.append(f"| {x:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
