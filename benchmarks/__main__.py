"""`make bench`: speed and memory against other ways of doing the same work, interleaved, as ratios of medians."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import architectures, charts, memory, report, rounds, scaling, steps
from handgrad.files import write_atomically

DOCS = Path(__file__).parent.parent / "docs"

Work = Callable[[bool, Path | None], str]
"""Measures, quickly or well, writes its charts into a folder if there is one, and returns the section's text."""


def run_rounds(quick: bool, folder: Path | None) -> str:
    """Work A."""
    rows = rounds.with_batchnorm(2 if quick else 9, 1 if quick else 5, compiling=not quick)
    if folder is None:
        return report.rounds(rows, report.ROUNDS_NOTE)
    charts.bars(rows, folder / "images" / "benchmarks.png")
    return report.rounds(rows, report.ROUNDS_NOTE) + "\n\n![Time of the 20 rounds](images/benchmarks.png)"


def run_sklearn(quick: bool, _: Path | None) -> str:
    """Work A without BatchNorm."""
    return report.rounds(rounds.without_batchnorm(2 if quick else 7, 1 if quick else 5), report.SKLEARN_NOTE)


def run_steps(quick: bool, _: Path | None) -> str:
    """Work B."""
    limits = (3, 1, 0.03) if quick else (15, 5, steps.SECONDS)
    return report.steps([(network, steps.compare(network, *limits)) for network in steps.NETWORKS])


def run_architectures(quick: bool, _: Path | None) -> str:
    """Work D."""
    limits = (3, 0.03) if quick else (11, steps.SECONDS)
    found = [(one, architectures.compare(one, *limits)) for one in architectures.ARCHITECTURES]
    return report.architectures(found)


def run_memory(quick: bool, _: Path | None) -> str:
    """Work C."""
    return report.memory(memory.measure(100 if quick else memory.REPLICAS))


def run_scaling(quick: bool, folder: Path | None) -> str:
    """Work E."""
    limits = scaling.Limits(0.02, 1, 0.1, 0.5) if quick else scaling.Limits()
    plots = {
        "replicas": [("", scaling.against_replicas(limits=limits))],
        "width": [(f"R = {R}", scaling.against_width(R, limits=limits)) for R in (1, 10)],
        "batch": [(f"R = {R}", scaling.against_batch(R, limits=limits)) for R in (1, 10)],
    }
    text = [
        "Microseconds of one replica's step, each contestant with its fastest threads at every point: the report's"
        " network against the number of replicas and, with three hidden layers of other widths, against the width, both"
        " with batches of 500; then three layers of 64 against the batch."
    ]
    for label, panels in plots.items():
        text.append(scaling.table(panels, label))
        if folder is not None:
            charts.curves(panels, label, folder / "images" / f"scaling_{label}.png")
            text.append(f"![Time of a replica's step against {label}](images/scaling_{label}.png)")
    return "\n\n".join([*text, report.machine()])


WORKS: dict[str, Work] = {
    "rounds": run_rounds,
    "sklearn": run_sklearn,
    "steps": run_steps,
    "architectures": run_architectures,
    "memory": run_memory,
}


def main() -> None:
    """Measure, print, and write the page and its charts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, to try the benchmark itself; writes nothing")
    parser.add_argument("--only", choices=WORKS, help="one part of the default run")
    parser.add_argument("--scaling", action="store_true", help="time against replicas, width and batch instead")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the page and images/ (default: docs)")
    arguments = parser.parse_args()
    folder: Path | None = arguments.output or (None if arguments.quick else DOCS)
    console = Console()
    for name, work in _chosen(arguments.only, arguments.scaling):
        console.print(f"[bold]{report.SECTIONS[name]}[/bold]\n")
        body = work(arguments.quick, folder)
        console.print(body + "\n", highlight=False, soft_wrap=True, markup=False)
        if folder is not None:
            page = folder / "benchmarks.md"
            before = page.read_text(encoding="utf-8") if page.exists() else ""
            write_atomically(page, report.inserted(before, name, body))


def _chosen(only: str | None, scale: bool) -> Iterator[tuple[str, Work]]:
    if scale:
        yield "scaling", run_scaling
    elif only:
        yield only, WORKS[only]
    else:
        yield from WORKS.items()


if __name__ == "__main__":
    main()
