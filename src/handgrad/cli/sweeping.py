"""`handgrad sweep`: the disk experiment, or any data file, over a grid."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from handgrad import plots
from handgrad.cli.console import INTERRUPTED, advancing, app, console, errors, guarded, progress_bar, widths
from handgrad.cli.reading import Decimal, Drop, Encoding, Groups, Kind, Missing, Separator, Task, Time, reading
from handgrad.errors import ArgumentError
from handgrad.experiments.disk import Options
from handgrad.experiments.disk_sweep import KINDS as OF_DISK
from handgrad.experiments.disk_sweep import disk_sweep
from handgrad.files import made, write_atomically
from handgrad.grid import grid
from handgrad.recipes import Recipe
from handgrad.results import Results

Values = Annotated[str | None, typer.Option(help="Comma-separated values.")]


OF_FILES: dict[str, Callable[[str], Any]] = {
    "lr": float,
    "weight_decay": float,
    "batch_size": int,
    "hidden": widths,
    "dropout": float,
    "activation": str,
    "optimizer": str,
    "schedule": str,
}
"""What a sweep of a data file may vary, and how its values are read."""
METRICS = ("accuracy", "rmse")
"""What is shown, of classes and of numbers."""


@app.command()
def sweep(
    data: Annotated[Path | None, typer.Argument(help="CSV or Parquet file; without one the report's disk.")] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict, of a data file.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that it leaves.")] = Path("sweep"),
    lr: Values = None,
    momentum: Values = None,
    weight_decay: Values = None,
    batch_size: Values = None,
    width: Values = None,
    hidden: Annotated[str | None, typer.Option(help="Widths of a data file's networks, as 64x64,128x128.")] = None,
    dropout: Values = None,
    optimizer: Values = None,
    schedule: Values = None,
    init: Values = None,
    activation: Values = None,
    task: Task = None,
    drop: Drop = None,
    kind: Kind = None,
    missing: Missing = None,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: Encoding = "utf-8",
    groups: Groups = None,
    time_column: Time = None,
    seeds: Annotated[int, typer.Option(help="Networks of each configuration.")] = 20,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each network; at most, of a data file.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; by default one a core.")] = None,
) -> None:
    """Train networks for every combination of the values given, from every seed: table, plot, results.

    Without a data file the report's network on its disk, by lr, momentum,
    weight_decay, batch_size, width, init, activation.

    With one tabular networks, measured on the validation rows, by lr,
    weight_decay, batch_size, hidden, dropout, activation, optimizer, schedule.
    """
    given = {
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "width": width,
        "hidden": hidden,
        "dropout": dropout,
        "optimizer": optimizer,
        "schedule": schedule,
        "init": init,
        "activation": activation,
    }
    lists = {name: text for name, text in given.items() if text is not None}

    def action() -> None:
        of_file = reading(task, drop, kind, missing, separator, decimal, encoding, groups, time_column)
        if data is None and (target is not None or of_file):
            remedy = "Name the file before the options, or leave them out."
            raise ArgumentError("a data file with --target and what says how it is read", "none", remedy, "sweep")
        _check(lists, OF_DISK if data is None else OF_FILES, "the disk" if data is None else "a data file")
        with made(output) as folder:
            with progress_bar() as progress:
                start = advancing(progress)
                if data is None:
                    count = Options().epochs if epochs is None else epochs
                    results = disk_sweep(lists, seeds, count, workers, lambda total: start("networks × epochs", total))
                    name = "accuracy"
                else:
                    results, name = _of_file(data, target, of_file, lists, seeds, epochs, workers, start)
            write_atomically(folder / "results.json", json.dumps(results.to_json(), allow_nan=False, indent=1) + "\n")
            write_atomically(folder / "table.md", results.markdown(name))
            console.print(results.table(name))
            names = ["results.json", "table.md", *(path.name for path in _drawn(results, name, folder))]
            left = results.finished.count(False)
            console.print(f"{len(results.grid) - left} networks in {results.seconds:.1f} s.", highlight=False)
            console.print(f"In {folder}: {', '.join(names)}.", highlight=False, markup=False)
            if left:
                errors.print(f"Stopped: {left} networks are not finished.", style="yellow", highlight=False)
                raise typer.Exit(INTERRUPTED)

    guarded(action)


def _drawn(results: Results, metric: str, folder: Path) -> list[Path]:
    """Draw the plot, if results of so many hyper-parameters have one."""
    for earlier in METRICS:
        plots.discard(folder / earlier)
    try:
        return plots.save(plots.plot(results, metric), folder / metric)
    except ArgumentError as error:
        errors.print(f"No plot: {error}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        return []


def _check(lists: Mapping[str, str], known: Mapping[str, Any], what: str) -> None:
    if unknown := [name for name in lists if name not in known]:
        remedy = "Leave the others out." if what == "the disk" else "Leave the others out; hidden=64x64 sets widths."
        raise ArgumentError(f"options of {what} ({', '.join(known)})", ", ".join(unknown), remedy, "sweep")


def _of_file(
    data: Path,
    target: str | None,
    options: Mapping[str, Any],
    lists: Mapping[str, str],
    seeds: int,
    epochs: int | None,
    workers: int | None,
    start: Callable[..., Any],
) -> tuple[Results, str]:
    """The results, and the metric that is shown."""
    from handgrad import runs

    if target is None:
        raise ArgumentError("a column to predict", "none", "Pass --target NAME.", "sweep")
    values = {name: [_read(name, text) for text in texts.split(",")] for name, texts in lists.items()}
    chosen = grid(seeds=seeds, **values)
    recipe = Recipe() if epochs is None else Recipe(epochs=epochs)
    prepared = runs.prepare(data, target, chosen.seeds, **options)
    advance = start("networks × epochs", len(chosen) * recipe.epochs)
    results = runs.sweep(prepared, chosen, recipe, workers_=workers, advance=advance)
    return results, "accuracy" if prepared.task == "classification" else "rmse"


def _read(name: str, text: str) -> Any:
    try:
        return OF_FILES[name](text.strip())
    except ValueError:
        remedy = "Write values with commas between them; widths as 64x64."
        raise ArgumentError(f"values of {name}", repr(text), remedy, "sweep") from None
