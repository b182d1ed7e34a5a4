"""sweep: every configuration of a grid from every seed, as groups of replicas over all cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn, optim, workers
from handgrad.data import Batches, Inputs
from handgrad.errors import ArgumentError, HandgradError, ShapeError
from handgrad.grid import Grid, same
from handgrad.metrics import measure, resolve
from handgrad.nn.replicas import described, expanded
from handgrad.nn.slot import several
from handgrad.results import Results, check_names
from handgrad.seeds import derive
from handgrad.takers import class_of, is_number, named, taken_by
from handgrad.training import Advance, Evaluation, History, Measure, train
from handgrad.training.fit import samples
from handgrad.training.together import together

Pair = tuple[Any, Any]
Data = Pair | Callable[[int], Pair]
"""Inputs and targets, tensors or arrays: one set (N, …) that all replicas share, or a function from a seed to one."""

BEYOND = ("can't allocate memory", "overflowed", "Overflow")  # what PyTorch says of tensors that no memory holds
NOTES, NUMBER = 1000, 40
"""Bytes of a replica beside its training: hyper-parameters, seed and so on, and each number of its history."""


@dataclass(frozen=True)
class Task:
    """Replicas that are trained together: one architecture, one batch size, numbers that may differ."""

    replicas: list[int]
    """Their places in the grid."""
    seeds: list[int]
    configs: list[dict[str, Any]]
    """For each replica its hyper-parameters."""


def sweep(
    build: nn.Module | Callable[..., nn.Module],
    data: Data,
    grid: Grid,
    *,
    criterion: nn.Loss | Callable[..., nn.Loss] | None = None,
    optimizer: Callable[..., optim.Optimizer] = optim.SGD,
    epochs: int,
    batch_size: int | None = None,
    last: str = "keep",
    test: Data | None = None,
    metrics: Mapping[str, Measure] | str | Sequence[str | Measure] | None = None,
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

    An `optimizer` that is a function, and no class, is called once for a group of replicas. It is given each number as
    a tensor of R float64, one a replica, with which it computes as it would with one: lr=0.1 / k. What one would choose
    by `if`, it chooses by torch.where(on > 0, 0.9, 0.0).

    Where two take the same name, such as eps, fix it in one of them, optimizer=partial(optim.Adam, eps=1e-6), or let a
    function give it another name: criterion=lambda smooth: nn.PoissonNLLLoss(eps=smooth).

    Ctrl-C ends the sweep with what is finished: the results say which replicas are not.

    Args:
        build: a network without replicas, or a function from hyper-parameters to one; its values are drawn anew.
        data: training data (x, t), as tensors or NumPy arrays, whose floating-point numbers get the network's dtype; x
            may be a tuple, for a network of several inputs.
        grid: configurations and seeds, from `handgrad.grid.grid`.
        criterion: the loss, without replicas, or from hyper-parameters to one, as nn.HuberLoss; MSELoss by default.
        optimizer: from parameters and hyper-parameters to an optimiser, such as optim.SGD.
        epochs: how often all data are seen.
        batch_size: samples in a batch, unless the grid says.
        last: what becomes of a short last batch: "keep", "drop" or "merge".
        test: data for the metrics; the training data by default.
        metrics: what to measure at the end: names, such as ["r2"], or functions by name. The training loss, "loss", is
            always there.
        every: measure the metrics after every so many epochs too, into `results.history`; 0 only at the end.
        workers_: threads, by default as many as there are cores; the numbers do not depend on it.
        advance: called with the losses of the replicas that have just finished an epoch.

    Errors: ArgumentError, all before training, for a name that nobody takes, or two, a missing batch size, a last
    layer that does not go with the loss, a batch of one sample before batch normalisation, a number that the network's
    dtype does not have, a function that cannot compute with R numbers, or more memory than the machine has.

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
    sizes = checks.own((epochs, every))
    measures = metrics if isinstance(metrics, Mapping) else {} if metrics is None else resolve(metrics, None)
    plan = _Plan(build, optimizer, criterion or nn.MSELoss(), data, test, batch_size, last, measures, *sizes)
    plan.check(grid)
    tasks = plan.tasks(grid)
    start = time.perf_counter()
    plan.check_tasks(tasks, workers_ or workers.default_workers())
    plan.check_metrics(grid)
    found = workers.run([plan.job(task) for task in tasks], workers_, advance)
    return _results(grid, plan, tasks, found, time.perf_counter() - start)


@dataclass(frozen=True)
class _Plan:
    """Everything of a sweep but its grid."""

    build: nn.Module | Callable[..., nn.Module]
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
        names = taken_by(function)
        return {name: value for name, value in config.items() if name in names}

    def network(self, config: Mapping[str, Any]) -> nn.Module:
        """The network of a configuration."""
        if isinstance(self.build, nn.Module):
            return self.build
        try:
            return self.build(**self.taken(self.build, config))
        except (RuntimeError, TypeError) as error:
            if not any(words in str(error) for words in BEYOND):
                raise
            raise _too_large(f"a network beyond them, with {config}", "Take a smaller network.") from error

    def optimiser(self, model: nn.Module, configs: Sequence[dict[str, Any]]) -> optim.Optimizer:
        """The optimiser of a model with a replica for each configuration; they differ in numbers alone."""
        given = self.taken(self.optimizer, configs[0])
        for name, first in given.items():
            values = [config[name] for config in configs]
            # a function is always given R, so that it can be written without knowing how replicas are grouped
            if is_number(first) and (class_of(self.optimizer) is None or any(value != first for value in values)):
                given[name] = torch.tensor(values, dtype=torch.float64)
        try:
            return self.optimizer(model.parameters(), **given)
        except Exception as error:
            several = [name for name, value in given.items() if isinstance(value, Tensor)]
            if isinstance(error, HandgradError) or not several:
                raise
            expected = f"optimizer to compute with tensors of R numbers, one a replica: {', '.join(several)}"
            got = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            remedy = f"Write torch.where({several[0]} > 0, a, b) for `a if {several[0]} > 0 else b`, say."
            raise ArgumentError(expected, got, remedy, "sweep") from error

    def loss(self, config: Mapping[str, Any]) -> nn.Loss:
        """The loss of a configuration, without replicas."""
        given = self.criterion
        made: Any = given if isinstance(given, nn.Loss) else given(**self.taken(given, config))
        if not isinstance(made, nn.Loss) or made.replicas is not None:
            remedy = "Pass a loss, a class of losses, or a function that returns one, without replicas=."
            raise ArgumentError("criterion to be a loss without replicas", repr(made), remedy, "sweep")
        return made

    def check(self, grid: Grid) -> None:
        """Raise for what would only fail after hours, as far as the grid shows it."""
        checks.positive_int("epochs", self.epochs, "sweep")
        takers = {"build": self.build, "optimizer": self.optimizer, "criterion": self.criterion}
        names = {taker: taken_by(function) for taker, function in takers.items()}
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
        check_names(self.metrics, grid, "sweep", taken=["loss"])
        curves = 1 + len(self.metrics) * bool(self.every)
        _check_memory(len(grid) * (NOTES + NUMBER * self.epochs * curves), f"the numbers of {len(grid):,} replicas")

    def check_tasks(self, tasks: list[Task], threads: int) -> None:
        """Raise if groups cannot be trained, or if those that run at once need more memory than is free."""
        at_once = min(threads, len(tasks))
        for task in tasks:
            R, config = len(task.seeds), task.configs[0]
            model = self.network(config)
            self.batches(model, self.size(config), task.seeds[:1]).check(model)
            _check_memory(_bytes(self, model, task) * at_once, f"{at_once} groups of replicas at a time")
            self.loss(config).check(model)
            one = expanded(model, 1)
            for alone in task.configs:  # first, since an error then tells the number at fault alone
                self.optimiser(one, [alone])
            self.optimiser(expanded(model, R), task.configs)

    def check_metrics(self, grid: Grid) -> None:
        """Raise if a metric cannot measure the first replica."""
        first = nn.replicate(self.network(grid.configs[0]), [derive(grid.seeds[0], "init")])
        self.measures(first, grid.seeds[:1])(first)

    def measures(self, model: nn.Module, seeds: Sequence[int]) -> Evaluation:
        """What is measured of such a model."""
        test = self.test or self.data
        x, t = _drawn(test, seeds, model)
        return Evaluation(x, t, measures={n: _metric(n, f) for n, f in self.metrics.items()}, own=callable(test))

    def size(self, config: Mapping[str, Any]) -> int:
        return checks.positive_int("batch_size", config.get("batch_size", self.batch_size), "sweep")

    def batches(self, model: nn.Module, size: int, seeds: Sequence[int]) -> Batches:
        x, t = _drawn(self.data, seeds, model)
        return Batches(x, t, size, seeds, own=callable(self.data), last=self.last)

    def tasks(self, grid: Grid) -> list[Task]:
        """Cut the replicas into groups: first by what cannot differ within one program, then by number."""
        families: dict[str, list[int]] = {}
        values = {name: grid.values(name) for name in grid.names}
        S, kind, losses = len(grid.seeds), class_of(self.optimizer), [self.loss(config) for config in grid.configs]
        numbers = {n for n in self.taken(self.optimizer, grid.configs[0]) if n not in getattr(kind, "single", ())}
        # what the loss may have R of: in one configuration another option may be such a number by chance
        owned = [[getattr(loss, name) for name in loss.number_names] for loss in losses]
        numbers |= {
            name
            for name in self.taken(self.criterion, grid.configs[0])
            if all(config[name] in own for config, own in zip(grid.configs, owned))
        }
        for place, (config, loss) in enumerate(zip(grid.configs, losses)):
            # by place, for two values may look alike in print
            fixed = {
                name: next(i for i, other in enumerate(values[name]) if same(other, value))
                for name, value in config.items()
                if name not in numbers or not is_number(value)
            }
            key = repr((sorted(fixed.items()), described(loss)))
            families.setdefault(key, []).extend(range(place * S, (place + 1) * S))
        replicas, cut = grid.replicas, []
        for family in families.values():
            config, seed = replicas[family[0]]
            cut += [family[part] for part in workers.groups(len(family), self.together(config, seed))]
        return [Task(part, [replicas[i][1] for i in part], [replicas[i][0] for i in part]) for part in cut]

    def together(self, config: Mapping[str, Any], seed: int) -> int:
        """How many replicas of a configuration go into one group."""
        with torch.random.fork_rng(devices=[]):
            model = self.network(config)
            return together(model, self.batches(model, self.size(config), [seed]))

    def job(self, task: Task) -> workers.Task[History]:
        """What a worker does with one group."""
        config = task.configs[0]
        template = self.network(config)  # not on the worker: it may draw from torch's default generator
        losses = [self.loss(config) for config in task.configs]

        def run(stop: workers.Stop, send: workers.Send) -> History:
            seeds = [derive(seed, "init") for seed in task.seeds]
            model = nn.stack([nn.replicate(template, [seed]) for seed in seeds])
            criterion = nn.stack(losses)
            return train(
                model,
                criterion,
                self.optimiser(model, task.configs),
                self.batches(model, self.size(config), task.seeds),
                self.epochs,
                metrics=self.measures(model, task.seeds) if self.metrics else None,
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
            # one that was interrupted early may have measured nothing yet
            for name in final.keys() & values.keys():
                final[name][place] = float(values[name][row, -1])
            for name in curves.keys() & values.keys():
                curves[name][place] = values[name][row].tolist()
    options = {
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "last": plan.last,
        "optimizer": named(plan.optimizer),
        "criterion": named(plan.criterion),
    }
    return Results(grid, final, curves, diverged, options, seconds, finished)


def _metric(name: str, function: Measure) -> Measure:
    return lambda y, t: measure({name: function}, y, t).values[name]


def _drawn(data: Data, seeds: Sequence[int], model: nn.Module) -> tuple[Inputs, Tensor]:
    """The shared set, or those of the seeds with a leading R, in the dtype of the model."""
    if not callable(data):
        return _tensors(data, model)
    sets = [_tensors(data(seed), model) for seed in seeds]
    shapes = list(dict.fromkeys(tuple(tuple(v.shape) for v in (*several(x), t)) for x, t in sets))
    if len(shapes) > 1:
        remedy = "Give every seed as many samples."
        raise ShapeError("sets of one shape for all seeds", f"{shapes[0]} and {shapes[1]}", remedy, "sweep")
    xs, ts = zip(*sets)
    return tuple(map(torch.stack, zip(*xs))) if isinstance(xs[0], tuple) else torch.stack(xs), torch.stack(ts)


def _tensors(pair: Any, model: nn.Module) -> tuple[Inputs, Tensor]:
    """One set, as `fit` takes it, but for the weights."""
    try:
        found = samples(pair, _dtype(model))
    except HandgradError as error:
        error.where = "sweep"
        raise
    if found is None or found[2] is not None:
        got = type(pair).__name__ if found is None else "weights, too"
        remedy = "Pass (x, t), or a function from a seed to (x, t)."
        raise ArgumentError("inputs and targets as tensors or arrays", got, remedy, "sweep")
    return found[0], found[1]


def _dtype(model: nn.Module) -> torch.dtype:
    return next((p.value.dtype for p in model.parameters()), torch.float32)


def _check_memory(need: int, what: str) -> None:
    if need > workers.free_memory():
        remedy = "Take smaller batches or data, a smaller network, fewer workers or seeds."
        raise _too_large(f"about {need / 2**30:.1f} GiB for {what}", remedy)


def _too_large(got: str, remedy: str) -> ArgumentError:
    return ArgumentError(f"at most the {workers.free_memory() / 2**30:.1f} GiB that are free", got, remedy, "sweep")


def _bytes(plan: _Plan, model: nn.Module, task: Task) -> int:
    """Bytes of a group under way: values, gradients and state; what each layer keeps of a batch; data of its own."""
    R = len(task.seeds)
    parameters = list(model.parameters())
    numbers = 4 * sum(p.numel() for p in parameters)
    kept = 4 * plan.size(task.configs[0]) * sum(max(p.shape) for p in parameters if len(p.shape) > 1)
    drawn = [_drawn(source, task.seeds[:1], model) for source in (plan.data, plan.test) if callable(source)]
    own: int = sum(v.numel() for x, t in drawn for v in (*several(x), t))
    return R * (numbers + kept + own) * (parameters[0].value.element_size() if parameters else 4)
