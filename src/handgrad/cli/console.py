"""What all commands share: the application, the console, errors as one message, a progress bar."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import handgrad
from handgrad.errors import ArgumentError, HandgradError
from handgrad.statistics import band
from handgrad.training import Advance

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="handgrad: a deep-learning framework whose gradients are written by hand.",
)
INTERRUPTED = 130
"""Exit code of a run that was stopped, as shells have it for Ctrl-C."""
console = Console()
errors = Console(stderr=True)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"handgrad {handgrad.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """handgrad: a deep-learning framework whose gradients are written by hand."""


def guarded(action: Callable[[], None]) -> None:
    """Run `action`; an error of handgrad ends in its message and exit code 2, without a traceback."""
    try:
        action()
    except HandgradError as error:
        errors.print(f"handgrad: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def write(content: bytes) -> None:
    """Write to the standard output, all of it: one that has no buffer takes what there is room for, in silence."""
    left = memoryview(content)
    while left and sys.stdout is not None:
        left = left[sys.stdout.buffer.write(left) :]
    typer.echo(nl=False)  # what a buffer holds


def widths(text: str) -> tuple[int, ...]:
    """The widths in a text such as 64x64; an empty one has none.

    Errors: ArgumentError for another text.
    """
    try:
        return tuple(int(width) for width in text.split("x")) if text else ()
    except ValueError:
        remedy = "Write numbers with x between them."
        raise ArgumentError("widths such as 64x64", repr(text), remedy, "hidden") from None


def progress_bar() -> Progress:
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times, console=errors, transient=True
    )


def advancing(progress: Progress) -> Callable[[str, int], Advance]:
    """One bar for each label, with mean ± standard deviation of the latest losses."""

    def start(label: str, total: int) -> Advance:
        task = progress.add_task(label, total=total)
        latest: deque[float] = deque(maxlen=100)

        def advance(losses: list[float]) -> None:
            latest.extend(loss for loss in losses if math.isfinite(loss))
            loss = f"  loss {band(latest)}" if latest else ""
            progress.update(task, advance=len(losses), description=label + loss)

        return advance

    return start
