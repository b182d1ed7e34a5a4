"""The command line: `handgrad reproduce` and `handgrad figures`."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import handgrad
from handgrad import plots
from handgrad.errors import HandgradError
from handgrad.experiments import report
from handgrad.experiments.disk import Options
from handgrad.experiments.disk_sweep import disk_sweep
from handgrad.experiments.figures import draw
from handgrad.experiments.reproduce import reproduce as run
from handgrad.files import read_json, writable_folder, write_atomically
from handgrad.statistics import mean, std
from handgrad.training import Advance

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="handgrad: a deep-learning framework whose gradients are written by hand.",
)
console = Console()
errors = Console(stderr=True)
DEFAULTS = Options()


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"handgrad {handgrad.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """handgrad: a deep-learning framework whose gradients are written by hand."""


def _guarded(action: Callable[[], None]) -> None:
    """Run `action`; an error of handgrad ends in its message and exit code 2, without a traceback."""
    try:
        action()
    except HandgradError as error:
        errors.print(f"handgrad: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


@app.command()
def reproduce(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that it leaves.")] = Path("reproduce"),
    rounds: Annotated[int, typer.Option(help="Each with data, order and weights of its own.")] = DEFAULTS.rounds,
    epochs: Annotated[int, typer.Option(help="Epochs a round.")] = DEFAULTS.epochs,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULTS.lr,
    batch_size: Annotated[int, typer.Option(help="Samples a batch, of 1,000 an epoch.")] = DEFAULTS.batch_size,
    seed: Annotated[int, typer.Option(help="Seed of the first round.")] = DEFAULTS.seed,
    init: Annotated[str, typer.Option(help="Name in nn.init, for the third row.")] = DEFAULTS.init,
    activation: Annotated[str, typer.Option(help="relu or tanh.")] = DEFAULTS.activation,
    reduction: Annotated[str, typer.Option(help="mean, sum, or the report's batchmean.")] = DEFAULTS.reduction,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = DEFAULTS.device,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = DEFAULTS.dtype,
    workers: Annotated[int | None, typer.Option(help="Threads; by default one a core.")] = None,
) -> None:
    """Run the report's experiment against torch.nn: table 1, figures 1 and 2, and the parity certificate."""

    def action() -> None:
        options = Options(rounds, epochs, lr, batch_size, seed, init, activation, reduction, device, dtype, workers)
        folder = writable_folder(output)
        start = time.perf_counter()
        with _progress() as progress:
            results = run(options, _advancing(progress))
        write_atomically(folder / "results.json", json.dumps(results, allow_nan=False, indent=1) + "\n")
        _write(results, folder)
        console.print(f"\nFinished in {time.perf_counter() - start:.0f} s.", highlight=False)

    _guarded(action)


Values = Annotated[str | None, typer.Option(help="Comma-separated values.")]


@app.command()
def sweep(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that it leaves.")] = Path("sweep"),
    lr: Values = None,
    momentum: Values = None,
    weight_decay: Values = None,
    batch_size: Values = None,
    width: Values = None,
    init: Values = None,
    activation: Values = None,
    seeds: Annotated[int, typer.Option(help="Networks of each configuration.")] = 20,
    epochs: Annotated[int, typer.Option(help="Epochs of each network.")] = DEFAULTS.epochs,
    workers: Annotated[int | None, typer.Option(help="Threads; by default one a core.")] = None,
) -> None:
    """Train the report's network for every combination of the values given, from every seed: table, plot, results."""
    given = {
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "width": width,
        "init": init,
        "activation": activation,
    }

    def action() -> None:
        folder = writable_folder(output)
        lists = {name: text for name, text in given.items() if text is not None}
        with _progress() as progress:
            start = _advancing(progress)
            results = disk_sweep(lists, seeds, epochs, workers, lambda total: start("networks × epochs", total))
        write_atomically(folder / "results.json", json.dumps(results.to_json(), allow_nan=False, indent=1) + "\n")
        write_atomically(folder / "table.md", results.markdown("accuracy"))
        drawn = plots.save(plots.plot(results, "accuracy"), folder / "accuracy")
        console.print(results.table("accuracy"))
        names = ["results.json", "table.md", *(path.name for path in drawn)]
        console.print(f"{len(results.grid)} networks in {results.seconds:.1f} s.", highlight=False)
        console.print(f"In {folder}: {', '.join(names)}.", highlight=False, markup=False)

    _guarded(action)


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(help="Folder of an earlier run, with its results.json.")],
) -> None:
    """Draw table and figures of an earlier run again from its results.json, without training."""
    _guarded(lambda: _write(read_json(folder / "results.json"), folder))


def _write(results: dict[str, Any], folder: Path) -> None:
    """Write table and figures, and print the table."""
    write_atomically(folder / "table1.md", report.markdown(results))
    write_atomically(folder / "table1.csv", report.csv_text(results))
    drawn = draw(results, folder)
    console.print(report.rich_table(results))
    for sentence in report.sentences(results):
        console.print("\n" + sentence, highlight=False, markup=False)
    for line in report.certificate_lines(results):
        console.print("\n" + line.replace("**", ""), highlight=False, markup=False)
    for warning in report.warnings(results):
        errors.print(warning, style="yellow", highlight=False, markup=False)
    names = ["results.json", "table1.md", "table1.csv", *(path.name for path in drawn)]
    console.print(f"\nIn {folder}: {', '.join(names)}.", highlight=False, markup=False)


def _progress() -> Progress:
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times, console=errors, transient=True
    )


def _advancing(progress: Progress) -> Callable[[str, int], Advance]:
    """One bar for each label, with mean ± standard deviation of the latest losses."""

    def start(label: str, total: int) -> Advance:
        task = progress.add_task(label, total=total)
        latest: deque[float] = deque(maxlen=100)

        def advance(losses: list[float]) -> None:
            latest.extend(loss for loss in losses if math.isfinite(loss))
            band = f"  loss {mean(latest):.3f} ± {std(latest):.3f}" if len(latest) > 1 else ""
            progress.update(task, advance=len(losses), description=label + band)

        return advance

    return start
