"""sweep: every configuration of a grid from every seed, as groups of replicas over all cores."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn, optim, workers
from handgrad.data import Batches
from handgrad.errors import ArgumentError, ShapeError
from handgrad.grid import Grid, same
from handgrad.metrics import measure
from handgrad.nn.replicas import described
from handgrad.results import Results, check_names
from handgrad.seeds import derive
from handgrad.training import Advance, History, train

Pair = tuple[Tensor, Tensor]
Data = Pair | Callable[[int], Pair]
"""Inputs and targets: one set (N, …) that all replicas share, or a function from a seed to a set of its own."""
Measure = Callable[[Tensor, Tensor], Tensor]
"""From outputs (R, N, …) and targets (R, N, …) to a number of each replica, (R,)."""


@dataclass(frozen=True)
class Task:
    """Replicas that are trained together: one architecture, one batch size, numbers that may differ."""

    replicas: list[int]
    """Their places in the grid."""
    seeds: list[int]
    configs: list[dict[str, Any]]
    """For each replica its hyper-parameters."""


def sweep(
    build: nn.Sequential | Callable[..., nn.Sequential],
    data: Data,
    grid: Grid,
    *,
    criterion: nn.Loss | Callable[..., nn.Loss] | None = None,
    optimizer: Callable[..., optim.Optimizer] = optim.SGD,
    epochs: int,
    batch_size: int | None = None,
    last: str = "keep",
    test: Data | None = None,
    metrics: Mapping[str, Measure] | None = None,
    every: int = 0,
    workers_: int | None = None,
    advance: Advance = lambda _: None,
) -> Results:
    """Train all configurations of a grid from all of its seeds, and return their results as distributions.

    A name of the grid goes to the one of `build`, `optimizer` and `criterion` that is a function, or class, that takes
    it; "batch_size" is the batch size. Numbers of the optimiser and the loss differ between replicas of one program;
    what changes the architecture is trained in a program of its own. Replicas of the same seed start, in every
    configuration, from the same stream of random numbers and see the data in the same order, which is what pairs
    configurations.

    Where two take the same name, such as eps, fix it in one of them, optimizer=partial(optim.Adam, eps=1e-6), or let a
    function give it another name: criterion=lambda smooth: nn.PoissonNLLLoss(eps=smooth).

    Ctrl-C ends the sweep with what is finished: the results say which replicas are not.

    Args:
        build: a network without replicas, or a function from hyper-parameters to one; its values are drawn anew.
        data: training data.
        grid: configurations and seeds, from `handgrad.grid.grid`.
        criterion: the loss, without replicas, or from hyper-parameters to one, as nn.HuberLoss; MSELoss by default.
        optimizer: from parameters and hyper-parameters to an optimiser, such as optim.SGD.
        epochs: how often all data are seen.
        batch_size: samples in a batch, unless the grid says.
        last: what becomes of a short last batch: "keep", "drop" or "merge".
        test: data for the metrics; the training data by default.
        metrics: what to measure at the end, by name. The training loss, "loss", is always there.
        every: measure the metrics after every so many epochs too, into `results.history`; 0 only at the end.
        workers_: threads, by default as many as there are cores; the numbers do not depend on it.
        advance: called with the losses of the replicas that have just finished an epoch.

    Errors: ArgumentError, all before training, for a name that nobody takes, or two, a missing batch size, a last
    layer that does not go with the loss, a batch of one sample before batch normalisation, or more memory than the
    machine has.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> from handgrad.grid import grid
        >>> from handgrad.sweeps import sweep
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> results = sweep(model, (x, x**2), grid(lr=[0.01, 0.1], seeds=5), epochs=20, batch_size=16)
        >>> results.best("loss", largest=False)
        {'lr': 0.1}
    """
    plan = _Plan(
        build, optimizer, criterion or nn.MSELoss(), data, test, batch_size, last, metrics or {}, epochs, every
    )
    plan.check(grid)
    tasks = plan.tasks(grid)
    start = time.perf_counter()
    plan.check_memory(tasks, workers_ or workers.default_workers())
    found = workers.run([plan.job(task) for task in tasks], workers_, advance)
    return _results(grid, plan, tasks, found, time.perf_counter() - start)


@dataclass(frozen=True)
class _Plan:
    """Everything of a sweep but its grid."""

    build: nn.Sequential | Callable[..., nn.Sequential]
    optimizer: Callable[..., optim.Optimizer]
    criterion: nn.Loss | Callable[..., nn.Loss]
    data: Data
    test: Data | None
    batch_size: int | None
    last: str
    metrics: Mapping[str, Measure]
    epochs: int
    every: int

    def taken(self, function: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        """The hyper-parameters that the optimiser takes, or the function for the network or the loss."""
        names = _parameters(function)
        return {name: value for name, value in config.items() if name in names}

    def network(self, config: Mapping[str, Any]) -> nn.Sequential:
        return self.build if isinstance(self.build, nn.Sequential) else self.build(**self.taken(self.build, config))

    def loss(self, config: Mapping[str, Any]) -> nn.Loss:
        """The loss of a configuration, without replicas."""
        given = self.criterion
        made: Any = given if isinstance(given, nn.Loss) else given(**self.taken(given, config))
        if not isinstance(made, nn.Loss) or made.replicas is not None:
            remedy = "Pass a loss, a class of losses, or a function that returns one, without replicas=."
            raise ArgumentError("criterion to be a loss without replicas", repr(made), remedy, "sweep")
        return made

    def check(self, grid: Grid) -> None:
        """Raise for what would only fail after hours."""
        checks.positive_int("epochs", self.epochs, "sweep")
        takers = {"build": self.build, "optimizer": self.optimizer, "criterion": self.criterion}
        names = {taker: _parameters(function) for taker, function in takers.items()}
        for name in grid.names:
            by = [taker for taker, known in names.items() if name in known]
            if not by and name != "batch_size":
                listed = ", ".join(sorted({"batch_size"}.union(*names.values())))
                remedy = "Give build, as a function, an argument of that name, or choose a name that is taken."
                raise ArgumentError(f"hyper-parameters among {listed}", name, remedy, "sweep")
            if len(by) > 1:
                remedy = (
                    f"Fix it in one, {by[-1]}=functools.partial(…, {name}=…), or give it another name by a function."
                )
                raise ArgumentError(f"{name} to be taken by one", f"{name} of {' and of '.join(by)}", remedy, "sweep")
        if self.batch_size is None and "batch_size" not in grid.names:
            remedy = "Pass batch_size=32, say, or put it into the grid."
            raise ArgumentError("a batch size", "none", remedy, "sweep")
        metrics: Any = self.metrics
        if not isinstance(metrics, Mapping):
            got, remedy = repr(metrics), "Pass {'my name': function}, or handgrad.metrics.resolve(names, task)."
            raise ArgumentError("metrics to be a mapping from names to functions", got, remedy, "sweep")
        check_names(metrics, grid, "sweep", taken=["loss"])
        for config in grid.configs:
            model = self.network(config)
            self.optimizer(model.parameters(), **self.taken(self.optimizer, config))
            self.loss(config).check(model)
            self.batches(self.size(config), grid.seeds[:1]).check(model)
        first = nn.replicate(self.network(grid.configs[0]), [derive(grid.seeds[0], "init")]).eval()
        for metric in self.measures(grid.seeds[:1]).values():
            metric(first)

    def measures(self, seeds: Sequence[int]) -> dict[str, Callable[[nn.Module], Tensor]]:
        """What is measured of a model, by name."""
        test = self.test or self.data
        x, t = _drawn(test, seeds)
        targets = t if callable(test) else t.expand(len(seeds), *t.shape)
        return {name: _metric(name, function, x, targets) for name, function in self.metrics.items()}

    def size(self, config: Mapping[str, Any]) -> int:
        return checks.positive_int("batch_size", config.get("batch_size", self.batch_size), "sweep")

    def batches(self, size: int, seeds: Any) -> Batches:
        x, t = _drawn(self.data, seeds)
        return Batches(x, t, size, seeds, own=callable(self.data), last=self.last)

    def tasks(self, grid: Grid) -> list[Task]:
        """Cut the replicas into groups: first by what cannot differ within one program, then by number."""
        families: dict[str, list[int]] = {}
        values = {name: grid.values(name) for name in grid.names}
        S = len(grid.seeds)
        for place, config in enumerate(grid.configs):
            loss, of_loss = self.loss(config), self.taken(self.criterion, config)
            own = [getattr(loss, name) for name in loss.number_names]  # what the loss may have R of
            numbers = {**self.taken(self.optimizer, config), **{n: v for n, v in of_loss.items() if v in own}}
            # by place, for two values may look alike in print
            fixed = {
                name: next(i for i, other in enumerate(values[name]) if other is value or same(other, value))
                for name, value in config.items()
                if name not in numbers or not _is_number(value)
            }
            key = repr((sorted(fixed.items()), described(loss)))
            families.setdefault(key, []).extend(range(place * S, (place + 1) * S))
        cut = [family[part] for family in families.values() for part in workers.groups(len(family))]
        replicas = grid.replicas
        return [Task(part, [replicas[i][1] for i in part], [replicas[i][0] for i in part]) for part in cut]

    def check_memory(self, tasks: list[Task], threads: int) -> None:
        """Raise if the groups that run at once need more memory than is free."""
        need = max(_bytes(self, task) for task in tasks) * min(threads, len(tasks))
        free = workers.free_memory()
        if need > free:
            remedy = "Take smaller batches or data, fewer workers, or a smaller network."
            got = f"about {need / 2**30:.1f} GiB for {min(threads, len(tasks))} groups of replicas at a time"
            raise ArgumentError(f"at most the {free / 2**30:.1f} GiB that are free", got, remedy, "sweep")

    def job(self, task: Task) -> workers.Task[History]:
        """What a worker does with one group."""
        config = task.configs[0]
        template = self.network(config)  # not on the worker: it may draw from torch's default generator
        losses = [self.loss(config) for config in task.configs]

        def run(stop: workers.Stop, send: workers.Send) -> History:
            seeds = [derive(seed, "init") for seed in task.seeds]
            model = nn.stack([nn.replicate(template, [seed]) for seed in seeds])
            criterion = nn.stack(losses)
            numbers = {name: _column(name, task.configs) for name in self.taken(self.optimizer, config)}
            optimizer = self.optimizer(model.parameters(), **numbers)
            return train(
                model,
                criterion,
                optimizer,
                self.batches(self.size(config), task.seeds),
                self.epochs,
                metrics=self.measures(task.seeds),
                every=self.every or self.epochs,
                stop=stop,
                advance=send,
            )

        return run


def _results(grid: Grid, plan: _Plan, tasks: list[Task], found: list[History | None], seconds: float) -> Results:
    R, names = len(grid), list(plan.metrics)
    final = {name: [float("nan")] * R for name in ("loss", *names)}
    curves = {
        name: [[float("nan")] * plan.epochs for _ in range(R)] for name in ("loss", *(names if plan.every else ()))
    }
    diverged: list[dict[str, Any] | None] = [None] * R
    finished = [False] * R
    for task, history in zip(tasks, found):
        if history is None:
            continue
        values = {"loss": history.loss, **history.metrics}
        for row, place in enumerate(task.replicas):
            finished[place] = history.epochs == plan.epochs
            diverged[place] = history.diverged[row]
            for name in final:
                final[name][place] = float(values[name][row, -1])
            for name in curves:
                curves[name][place] = values[name][row].tolist()
    options = {
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "last": plan.last,
        "optimizer": _named(plan.optimizer),
        "criterion": repr(plan.criterion) if isinstance(plan.criterion, nn.Loss) else _named(plan.criterion),
    }
    return Results(grid, final, curves, diverged, options, seconds, finished)


def _metric(name: str, function: Measure, x: Tensor, t: Tensor) -> Callable[[nn.Module], Tensor]:
    return lambda model: measure({name: function}, model(x), t).values[name]


def _drawn(data: Data, seeds: Any) -> Pair:
    """The shared set, or those of the seeds with a leading R."""
    if not callable(data):
        return data
    sets = [data(seed) for seed in seeds]
    shapes = list(dict.fromkeys((tuple(x.shape), tuple(t.shape)) for x, t in sets))
    if len(shapes) > 1:
        remedy = "Give every seed as many samples."
        raise ShapeError("sets of one shape for all seeds", f"{shapes[0]} and {shapes[1]}", remedy, "sweep")
    return torch.stack([x for x, _ in sets]), torch.stack([t for _, t in sets])


def _column(name: str, configs: list[dict[str, Any]]) -> Any:
    """One value if all replicas have it, or R numbers."""
    values = [config[name] for config in configs]
    return values[0] if all(value == values[0] for value in values) else values


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parameters(function: Any) -> set[str]:
    """The names that a grid may give to a function or class; none for a network or a loss that exists already."""
    if isinstance(function, nn.Module):
        return set()
    fixed = set(function.keywords) if isinstance(function, partial) else set()
    return set(inspect.signature(function).parameters) - {"params", "replicas"} - fixed


def _named(function: Any) -> str:
    return str(getattr(function, "__name__", repr(function)))


def _bytes(plan: _Plan, task: Task) -> int:
    """Bytes of a group under way: values, gradients and state; what each layer keeps of a batch; data of its own."""
    model, R = plan.network(task.configs[0]), len(task.seeds)
    parameters = list(model.parameters())
    numbers = 4 * sum(p.numel() for p in parameters)
    kept = 4 * plan.size(task.configs[0]) * sum(max(p.shape) for p in parameters if len(p.shape) > 1)
    own = sum(v.numel() for source in (plan.data, plan.test) if callable(source) for v in source(task.seeds[0]))
    return R * (numbers + kept + own) * (parameters[0].value.element_size() if parameters else 4)
