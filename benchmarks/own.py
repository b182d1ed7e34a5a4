"""handgrad's side of every comparison, in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.problem import Problem
from benchmarks.timing import CORES, Contestant, Outcome
from handgrad import nn, optim, workers
from handgrad.experiments import disk

Step = Callable[[], Tensor]


def rounds(problem: Problem, threads: int = CORES) -> Contestant:
    """The report's rounds as `handgrad reproduce` trains them; its orders are drawn while the clock runs.

    Args:
        threads: handgrad's own, each with one torch thread, that share the groups of replicas.
    """
    options = dataclasses.replace(problem.options, workers=threads)
    models: dict[int, nn.Sequential] = {}

    def build(seeds: list[int]) -> nn.Sequential:
        key = seeds[0]
        if key not in models:
            models[key] = disk.network(options, "pytorch", problem.batchnorm, seeds)
        return models[key]

    def reset() -> None:
        for first, model in models.items():
            start = options.seeds.index(first)
            part = slice(start, start + len(next(model.parameters()).value))
            model.load_state_dict({name: value[part] for name, value in problem.state.items()})

    def run() -> Outcome:
        history = disk.train_rounds(build, problem.data, options, evaluate=False)
        return Outcome(history.loss[:, -1].tolist())

    for part in workers.groups(options.rounds):  # here, not in a worker, and in no contestant's time
        build(options.seeds[part])
    setting = f"{threads} worker" + "s" * (threads > 1)
    return Contestant(f"handgrad, {options.rounds} replicas", run, reset, setting)


def plain_step(
    widths: tuple[int, ...], batchnorm: bool, lr: float, momentum: float, x: Tensor, t: Tensor
) -> tuple[Step, Callable[[dict[str, Tensor]], None]]:
    """One training step of plain modules, nothing fused, no replicas; and what puts weights (torch.nn's) into them.

    The loop around it is to be in inference mode, as handgrad's own training loop is.
    """
    model = network(widths, batchnorm)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=momentum)

    def load(state: dict[str, Tensor]) -> None:
        model.load_state_dict(state)
        optimizer.state.clear()

    def step() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(x), t)
        model.backward_parameters(criterion.backward())
        optimizer.step()
        return loss

    return step, load


def replicas_step(widths: tuple[int, ...], replicas: int, lr: float, x: Tensor, t: Tensor) -> Step:
    """One training step of R replicas as one group, on (R, N, …)."""
    model = nn.fuse(nn.replicate(network(widths, True), range(replicas))).train()
    criterion = nn.MSELoss(replicas=replicas)
    optimizer = optim.SGD(model.parameters(), lr=lr)

    def step() -> Tensor:
        with torch.inference_mode():
            optimizer.zero_grad()
            loss: Tensor = criterion(model(x), t)
            model.backward_parameters(criterion.backward())
            optimizer.step()
        return loss

    return step


def replicas_runs(widths: tuple[int, ...], lr: float, x: Tensor, t: Tensor) -> dict[str, Callable[[int], None]]:
    """Ways to train R replicas, on (R, N, …), for so many steps: groups of replicas over threads, or all at once."""
    cut = workers.groups(len(x))
    steps = [replicas_step(widths, part.stop - part.start, lr, x[part], t[part]) for part in cut]

    def repeated(step: Step, count: int) -> Step:
        def task() -> Tensor:
            for _ in range(count):
                loss = step()
            return loss

        return task

    def grouped(count: int) -> None:
        tasks = [repeated(step, count) for step in steps]
        # threads: a run here is a few steps, which a process of its own would not be worth
        workers.run([lambda *_, task=task: float(task().sum()) for task in tasks], processes=False)

    whole = replicas_step(widths, len(x), lr, x, t)  # with threads within operations
    return {f"{min(CORES, len(cut))} workers": grouped, "one group": lambda count: (repeated(whole, count)(), None)[1]}


def network(widths: tuple[int, ...], batchnorm: bool) -> nn.Sequential:
    """Linear, ReLU and perhaps BatchNorm1d from each width to the next; Linear alone at the end."""
    parts: list[nn.Module] = []
    for i, o in pairwise(widths[:-1]):
        parts += [nn.Linear(i, o), nn.ReLU(), *([nn.BatchNorm1d(o)] if batchnorm else [])]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))
