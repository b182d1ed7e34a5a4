"""`handgrad reproduce` and `handgrad figures`: the report's experiment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from handgrad.cli.console import advancing, app, console, errors, guarded, progress_bar
from handgrad.experiments import report
from handgrad.experiments.disk import Options
from handgrad.experiments.figures import draw
from handgrad.experiments.reproduce import reproduce as run
from handgrad.files import read_json, writable_folder, write_atomically

DEFAULTS = Options()


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
    workers: Annotated[int | None, typer.Option(help="Worker processes; by default one a core.")] = None,
) -> None:
    """Run the report's experiment against torch.nn: table 1, figures 1 and 2, and the parity certificate."""

    def action() -> None:
        options = Options(rounds, epochs, lr, batch_size, seed, init, activation, reduction, device, dtype, workers)
        folder = writable_folder(output)
        start = time.perf_counter()
        with progress_bar() as progress:
            results = run(options, advancing(progress))
        write_atomically(folder / "results.json", json.dumps(results, allow_nan=False, indent=1) + "\n")
        _write(results, folder)
        console.print(f"\nFinished in {time.perf_counter() - start:.0f} s.", highlight=False)

    guarded(action)


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(help="Folder of an earlier run, with its results.json.")],
) -> None:
    """Draw table and figures of an earlier run again from its results.json, without training."""
    guarded(lambda: _write(read_json(folder / "results.json"), folder))


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
