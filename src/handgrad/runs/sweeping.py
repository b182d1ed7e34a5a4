"""sweep: many recipes on the same data and seeds."""

from __future__ import annotations

import dataclasses
from typing import Any

from handgrad.errors import ArgumentError
from handgrad.grid import Grid
from handgrad.metrics import measure, resolve
from handgrad.recipes import Recipe
from handgrad.results import Results
from handgrad.runs.prepared import PARTS, Prepared
from handgrad.training import Advance, Evaluation


def sweep(
    prepared: Prepared,
    grid: Grid,
    recipe: Recipe | None = None,
    *,
    part: str = "validation",
    workers_: int | None = None,
    advance: Advance | None = None,
) -> Results:
    """Train every configuration of a grid from every seed, and measure all on one part of their rows.

    That is the validation part by default: what is chosen by the test part is not judged by it any more.

    Args:
        prepared: the data; the grid has their seeds.
        grid: options of a `Recipe`, by name.
        recipe: the options that all have in common.
        part: "validation", "test" or "train".
        workers_: as many as there are cores by default.
        advance: called with the losses of the replicas that have just finished an epoch.

    Errors: ArgumentError for options that a recipe does not have, or other seeds.

    Example:
        >>> from handgrad.grid import grid
        >>> from handgrad.recipes import Recipe
        >>> from handgrad.runs import prepare, sweep
        >>> data = {"x": [n / 50 for n in range(200)], "y": [(n / 50) ** 2 for n in range(200)]}
        >>> prepared = prepare(data, "y", seeds=[0, 1])
        >>> results = sweep(prepared, grid(seeds=2, lr=[1e-5, 0.01]), Recipe(epochs=20))
        >>> results.best("rmse", largest=False)
        {'lr': 0.01}
    """
    known = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := [name for name in grid.names if name not in known]:
        remedy = "Name options of a Recipe."
        raise ArgumentError(f"options among {', '.join(known)}", ", ".join(unknown), remedy, "sweep")
    if list(grid.seeds) != prepared.seeds:
        got = f"{list(grid.seeds)} and {prepared.seeds}"
        raise ArgumentError("a grid with the seeds of the data", got, "Prepare the data with grid.seeds.", "sweep")
    if part not in PARTS:
        raise ArgumentError(f"a part among {', '.join(PARTS)}", repr(part), 'Pass part="test", say.', "sweep")
    metrics = resolve(None, prepared.task)
    found: dict[str, list[float]] = {name: [] for name in metrics}
    diverged: list[Any] = []
    finished: list[bool] = []
    recipes = [dataclasses.replace(recipe or Recipe(), **config) for config in grid.configs]  # all checked beforehand
    stopped, seconds = False, 0.0
    t = prepared.t.expand(len(prepared.seeds), *prepared.t.shape)
    for one in recipes:
        R = len(prepared.seeds)
        if stopped:
            for values in found.values():
                values += [float("nan")] * R
            diverged, finished = diverged + [None] * R, finished + [False] * R
            continue
        model, history = one.train(
            prepared.x,
            prepared.t,
            prepared.seeds,
            task=prepared.task,
            rows=(prepared.rows["train"], prepared.rows["validation"]),
            advance=advance,
            workers_=workers_,
        )
        y, targets = Evaluation(prepared.x, t, rows=prepared.rows[part], own=True).outputs(model)
        for name, values_ in measure(metrics, y, targets).values.items():
            found[name] += values_.tolist()
        stopped, seconds = history.interrupted, seconds + history.seconds
        diverged, finished = diverged + history.diverged, finished + [not stopped] * R
    options = {"part": part, "target": prepared.table.schema.target and prepared.table.schema.target.name}
    return Results(grid, found, {}, diverged, options, seconds, finished)
