"""`make bench`: speed against torch.nn, interleaved, as ratios of medians."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import disk
from benchmarks.timing import interleaved

WORK = {
    f"report's network, {disk.STEPS} steps of 500 samples": (disk.steps, 15),
    "report's 20 rounds of 50 epochs": (disk.rounds, 5),
}


def main() -> None:
    """Run every benchmark with 1 thread and with all, and print and write one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--quick", action="store_true", help="two repeats of each, to try the benchmark itself")
    arguments = parser.parse_args()
    lines = [
        "| work | torch threads | contestant | median | times as fast as torch.nn (quartiles) |",
        "|---|---|---|---|---|",
    ]
    for work, (contestants, repeats) in WORK.items():
        for threads in sorted({1, torch.get_num_threads()}):
            lines += _timed(work, contestants, 2 if arguments.quick else repeats, threads)
    Console().print("\n".join(lines), highlight=False, soft_wrap=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _timed(work: str, contestants: disk.Work, repeats: int, threads: int) -> list[str]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        timed = interleaved(contestants(), repeats)
    finally:
        torch.set_num_threads(before)
    rows = []
    for name, found in timed.items():
        low, middle, high = found.ratio(timed["torch.nn"])
        rows.append(f"| {work} | {threads} | {name} | {found.median:.3f} s | {middle:.2f}× ({low:.2f} to {high:.2f}) |")
    return rows


if __name__ == "__main__":
    main()
