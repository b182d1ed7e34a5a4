"""Work A: the report's 20 rounds, every peer at its best; and without BatchNorm, for scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import own, peers_jax, peers_sklearn, peers_torch, peers_vmap
from benchmarks.problem import Problem
from benchmarks.targets import JAX as JAX_TARGET
from benchmarks.targets import LOOP, PROCESSES, VMAP, Target
from benchmarks.timing import THREADS, Contestant, Timed, Unavailable, interleaved, run_once

TRIAL_EPOCHS = 10
"""Of the shorter problem by which settings are chosen."""

Make = Callable[[], list[Contestant]]
"""The same way with each of its settings, of which the fastest one counts."""

BUDGET = 110.0
"""Seconds of one table's repeats."""


@dataclass(frozen=True)
class Row:
    """A line of the table: a contestant's times, or the reason why it has none."""

    name: str
    timed: Timed | None
    target: Target | None = None
    reason: str = ""


def with_batchnorm(repeats: int, trials: int, compiling: bool = True) -> list[Row]:
    """The report's network: every peer, a control, and handgrad last.

    Args:
        repeats: interleaved runs of each.
        trials: runs by which settings are chosen.
        compiling: also torch.compile, which needs a minute before it runs.
    """
    problem = Problem()
    trial = dataclasses.replace(problem, options=dataclasses.replace(problem.options, epochs=TRIAL_EPOCHS))
    loop = peers_torch.best_loop(problem, trial, trials)
    apart = peers_torch.in_process
    entries: list[tuple[str, Make, Target | None]] = [
        ("torch.nn", lambda: [loop], LOOP),
        ("control", lambda: [dataclasses.replace(loop, name="torch.nn again (control)")], None),
        ("torch.nn over 2 processes", lambda: [peers_torch.processes(problem, loop.setting)], PROCESSES),
        ("torch.func vmap", lambda: [peers_vmap.rounds(problem, n) for n in THREADS], VMAP),
        (
            "torch.func vmap, keeping freed memory",
            lambda: [apart(peers_vmap.keeping_memory, problem.fresh(), n) for n in THREADS],
            None,
        ),
        ("JAX", lambda: [apart(peers_jax.rounds, problem.fresh())], JAX_TARGET),
        ("JAX over all cores", lambda: [apart(peers_jax.sharded, problem.fresh())], JAX_TARGET),
    ]
    if compiling:
        entries += [
            ("torch.nn under torch.compile", lambda: [apart(peers_torch.compiled, problem.fresh())], None),
            ("torch.func vmap under torch.compile", lambda: [apart(peers_vmap.compiled, problem.fresh())], None),
        ]
    return _run(
        [*entries, ("handgrad", lambda: [apart(own.rounds, problem.fresh(), n) for n in THREADS], None)], repeats
    )


def without_batchnorm(repeats: int, trials: int) -> list[Row]:
    """The network that scikit-learn can train too."""
    problem = Problem(batchnorm=False)
    trial = dataclasses.replace(problem, options=dataclasses.replace(problem.options, epochs=TRIAL_EPOCHS))
    loop, apart = peers_torch.best_loop(problem, trial, trials), peers_torch.in_process
    entries: list[tuple[str, Make, Target | None]] = [
        ("torch.nn", lambda: [loop], None),
        ("control", lambda: [dataclasses.replace(loop, name="torch.nn again (control)")], None),
        ("scikit-learn MLPRegressor", lambda: [peers_sklearn.rounds(problem, n) for n in THREADS], None),
        ("handgrad", lambda: [apart(own.rounds, problem.fresh(), n) for n in THREADS], None),
    ]
    return _run(entries, repeats)


def _run(entries: list[tuple[str, Make, Target | None]], repeats: int) -> list[Row]:
    """Build what can be built, run all of it interleaved, close it; keep the fastest setting of each way."""
    made: list[tuple[str, Target | None, list[Contestant] | str]] = []
    for name, make, target in entries:
        try:
            candidates = make()
            for candidate in candidates:
                run_once(candidate)  # a program that compiles may still fail when it runs
            made.append((name, target, candidates))
        except Unavailable as error:
            made.append((name, target, str(error)))
    contestants = [one for _, _, found in made if not isinstance(found, str) for one in found]
    try:
        timed = iter(interleaved(contestants, repeats, BUDGET))
    finally:
        for contestant in contestants:
            contestant.close()
    rows = []
    for name, target, found in made:
        if isinstance(found, str):
            rows.append(Row(name, None, target, found))
        else:
            best = min((next(timed) for _ in found), key=lambda one: one.median)
            rows.append(Row(best.contestant.name, best, target))
    return rows
