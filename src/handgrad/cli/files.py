"""`handgrad train`, `predict`, `show` and `compare`: from a data file to a model folder, and what is done with one."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from handgrad import workers as pool
from handgrad.cli.console import INTERRUPTED, advancing, app, console, errors, guarded, progress_bar, widths, write
from handgrad.cli.reading import Decimal, Drop, Encoding, Groups, Kind, Missing, Separator, Task, Time, reading
from handgrad.errors import ArgumentError, OutputError
from handgrad.files import alone, write_atomically
from handgrad.recipes import Recipe
from handgrad.tables.reading import PARQUET

if TYPE_CHECKING:
    from handgrad.report import Run

Data = Annotated[Path, typer.Argument(help="CSV or Parquet file.")]
Model = Annotated[Path, typer.Argument(help="Folder that `handgrad train` left.")]
RECIPE = Recipe()
LOOKS = 20
"""By default, at every layer in a run."""
HIDDEN = "x".join(map(str, RECIPE.hidden))


@app.command()
def train(
    data: Data,
    target: Annotated[str, typer.Option(help="Column to predict.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder that it leaves.")] = Path("model"),
    seeds: Annotated[int, typer.Option(help="Networks, each with its own split, order and initial weights.")] = 20,
    task: Task = None,
    drop: Drop = None,
    kind: Kind = None,
    missing: Missing = None,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: Encoding = "utf-8",
    groups: Groups = None,
    time_column: Time = None,
    hidden: Annotated[str, typer.Option(help='Widths of the hidden layers; "" for none.')] = HIDDEN,
    epochs: Annotated[int, typer.Option(help="At most.")] = RECIPE.epochs,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = RECIPE.lr,
    dropout: Annotated[float, typer.Option(help="Probability.")] = RECIPE.dropout,
    weight_decay: Annotated[float | None, typer.Option(help="By default 0.5 for AdamW, 0 for others.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="By default a 32nd of the rows, from 32 to 256.")] = None,
    optimizer: Annotated[str, typer.Option(help="Of handgrad.optim.")] = RECIPE.optimizer,
    baselines: Annotated[bool, typer.Option(help="Also fit a constant, a linear model, gradient boosting.")] = True,
    watch: Annotated[
        int | None, typer.Option(help="Look at every layer after so many epochs, 0 for never; by default 20 times.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a finished model in the folder.")] = False,
    workers: Annotated[int | None, typer.Option(help="Worker processes; by default one a core.")] = None,
) -> None:
    """Train networks on a data file, and judge them beside baselines on rows that nobody has seen.

    Leaves a model folder with a report. Stopped by Ctrl-C or killed, the same command goes on where it was.
    """

    def action() -> None:
        with alone(output) as folder:  # another command would end by replacing what this one has left
            trained_in(folder)

    def trained_in(folder: Path) -> None:
        from handgrad import runs

        if (folder / "model.safetensors").exists() and not overwrite:
            remedy = "Choose another folder with --output, or pass --overwrite."
            raise OutputError("a folder without a finished model", "one with", remedy, str(folder))
        start = time.perf_counter()
        options = reading(task, drop, kind, missing, separator, decimal, encoding, groups, time_column)
        with errors.status("Reading and encoding"):
            prepared = runs.prepare(data, target, range(seeds), **options)
        recipe = Recipe(
            hidden=widths(hidden),
            epochs=epochs,
            lr=lr,
            dropout=dropout,
            weight_decay=weight_decay,
            batch_size=batch_size,
            optimizer=optimizer,
            watch=-(-epochs // LOOKS) if watch is None else watch,
        )
        console.print(prepared.table.schema.report(), highlight=False, markup=False)
        for note in prepared.notes:
            console.print(note, highlight=False, markup=False)
        checkpoints = folder / "checkpoints"
        if _goes_on(checkpoints, seeds):
            console.print("Going on where an earlier run was stopped.", highlight=False)
        with progress_bar() as progress:
            advance = advancing(progress)(f"{seeds} networks", seeds * recipe.epochs)
            fitting = progress.add_task("baselines", start=False, total=seeds, visible=False)

            def judged(done: int) -> None:
                progress.start_task(fitting)
                progress.update(fitting, completed=done, visible=True)

            trained = runs.train(
                prepared,
                recipe,
                title=f"{target} from {data.name}",
                source=data.name,
                command=shlex.join(["handgrad", *sys.argv[1:]]),
                baselines=baselines,
                checkpoints=checkpoints,
                workers_=workers,
                advance=advance,
                judged=judged,
            )
        if trained is None:
            errors.print("Stopped. The same command goes on from here.", style="yellow", highlight=False)
            raise typer.Exit(INTERRUPTED)
        runs.write(trained, folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        _show(trained.run)
        console.print(f"\nFinished in {time.perf_counter() - start:.0f} s.", highlight=False)
        console.print(f"Report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)

    guarded(action)


@app.command()
def predict(
    model: Model,
    data: Data,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV or Parquet file; else printed.")] = None,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: Encoding = "utf-8",
    level: Annotated[float, typer.Option(help="Share of true numbers that are to lie from low to high.")] = 0.9,
) -> None:
    """Predict a file's rows with a model folder's ensemble: mean, interval, and what lies outside what was seen."""

    def action() -> None:
        from handgrad.runs import Folder

        suffix = ".csv" if output is None else output.suffix.lower()
        if suffix not in (".csv", *PARQUET):
            remedy = "Name a file of one of these formats."
            raise ArgumentError(f"an output ending in {', '.join(('.csv', *PARQUET))}", str(output), remedy, "predict")
        if output is not None and output.resolve() == data.resolve():
            remedy = "The rows would be lost: name another file."
            raise ArgumentError("an output beside the data", f"{output}, which is the data", remedy, "predict")
        folder = Folder.open(model)
        frame = folder.predict(data, level=level, separator=separator, decimal=decimal, encoding=encoding)
        outside = int((frame["outside"] != "").sum())
        if output is None:
            write(frame.write_csv().encode())  # UTF-8 as in a file, whatever the terminal's
        elif suffix in PARQUET:
            import io

            content = io.BytesIO()
            frame.write_parquet(content)
            write_atomically(output, content.getvalue())
        else:
            write_atomically(output, frame.write_csv())
        gone = sum(folder.diverged)
        said = [f"{len(frame)} rows by {len(folder.diverged) - gone} networks"]
        said += [f"{gone} of {len(folder.diverged)} diverged and are left out"] if gone else []
        said += [f"outside what was seen in training {outside}, as the column outside says"] if outside else []
        errors.print("; ".join(said) + ".", highlight=False)

    guarded(action)


@app.command()
def show(model: Model) -> None:
    """Show what a model folder holds: the data, the network, its metrics beside the baselines."""

    def action() -> None:
        from handgrad.runs import Folder

        folder = Folder.open(model)
        console.print(folder.schema.report(), highlight=False, markup=False)
        console.print(f"\n{folder.model.replica(0)}", highlight=False, markup=False)
        _show(folder.run)
        for line in (f"command: {folder.run.get('command', '')}", f"report: {folder.path / 'report.html'}"):
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    guarded(action)


@app.command()
def compare(
    first: Model,
    second: Model,
) -> None:
    """Compare two model folders trained on the same file, metric by metric, paired by seed."""

    def action() -> None:
        from handgrad.report.words import of_rows
        from handgrad.runs import Folder
        from handgrad.runs import compare as compared

        one = Folder.open(first)
        found = compared(one, Folder.open(second))
        for name, comparison in found.items():
            console.print(f"{name}: {comparison}", highlight=False, markup=False, soft_wrap=True)
        console.print(of_rows(one.run), highlight=False, markup=False)

    guarded(action)


def _show(run: Run) -> None:
    """Print a run's summary, its table of metrics on the test rows, with the baselines', and what it does not cover."""
    from handgrad.report.words import caveats, cells, kind, of_baselines, of_network, summary

    console.print()
    for sentence in summary(run):
        console.print(sentence, highlight=False, markup=False)
    headings = ("test rows", "network", "95 % interval", "n", *run.get("baselines", {}))
    table = Table(*(Column(heading, overflow="fold") for heading in headings))
    for name, d in of_network(run, "test").items():
        others = of_baselines(run, name)
        values = [cells(others[other])[0] if other in others else "" for other in run.get("baselines", {})]
        table.add_row(kind(name, run.get("unit", "")).label, *cells(d), *values)
    console.print(table)
    for sentence in caveats(run):
        console.print(sentence, highlight=False, markup=False)


def _goes_on(checkpoints: Path, seeds: int) -> bool:
    """Whether an earlier run of as many networks left checkpoints; what else tells runs apart stands in these.

    Errors: OutputError for those of another number of networks: the run would begin anew, and at its end delete them.
    """
    groups = {path.parent.name for path in checkpoints.glob("*/*.safetensors")}
    # as `Recipe.train` names them
    own = {f"replicas-{part.start}-{part.stop - 1}" for part in pool.groups(seeds)}
    if others := sorted(groups - own):
        remedy = "Pass the --seeds of that run to go on with it, choose another --output, or delete them."
        raise OutputError(f"checkpoints of a run of {seeds} networks", ", ".join(others), remedy, str(checkpoints))
    return bool(groups)
