"""`python -m examples`: train the examples on both sides and write docs/examples.md with its figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from examples.problems import PROBLEMS
from examples.report import INTRODUCTION, Compared, figure, table
from examples.running import ours, theirs
from handgrad.files import write_atomically
from handgrad.workers import one_thread


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which of {', '.join(PROBLEMS)}; all if none.")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="R, networks that handgrad trains.")] = 10,
    compared: Annotated[int, typer.Option(min=1, help="How many of them torch.nn trains too.")] = 2,
    epochs: Annotated[int | None, typer.Option(min=1, help="Fewer or more than each problem's own.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of examples.md and images/.")] = None,
) -> None:
    """Train real networks on real data, in handgrad and in torch.nn."""
    chosen = names or list(PROBLEMS)
    if unknown := [name for name in chosen if name not in PROBLEMS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose among {', '.join(PROBLEMS)}.")
    found = []
    with Progress(console=Console(stderr=True), transient=True) as progress, one_thread():
        for name in chosen:
            problem = PROBLEMS[name]
            count = epochs or problem.epochs
            bar = progress.add_task(problem.name, total=replicas * count)

            def advance(done: list[float], bar: TaskID = bar) -> None:
                progress.advance(bar, len(done))

            own = ours(problem, range(replicas), count, advance)
            progress.update(bar, description=f"{problem.name}, torch.nn")
            other = theirs(problem, range(min(compared, replicas)), count)
            found.append(Compared(problem, own, other))
            progress.remove_task(bar)
            progress.console.print(f"{problem.name}: {own.final(problem.measure)}")
    page = table(found)
    print(page)
    if output is not None:
        figure(found, output / "images" / "examples.png")
        image = "![Test scores by epoch](images/examples.png)"
        write_atomically(output / "examples.md", f"{INTRODUCTION}\n{page}\n\n{image}\n")


if __name__ == "__main__":
    typer.run(main)
