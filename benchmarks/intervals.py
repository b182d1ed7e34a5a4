"""How many true values of new rows the intervals of `handgrad predict` hold: `python -m benchmarks.intervals`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars
import torch

from benchmarks.tabular import NUMBERS
from handgrad.recipes import Recipe
from handgrad.runs import Folder, prepare, train, write
from handgrad.statistics import mean, std

LEVELS = (0.5, 0.8, 0.9, 0.95)
NEW, MOST = 0.3, 2000
"""Share of the rows that no run sees, and how many rows of a data set are used."""


def held(X: Any, y: Any, seed: int, seeds: int) -> tuple[list[float], float]:
    """The shares of new rows at each level, and the width of the 90 % interval in standard deviations of y."""
    order = np.random.default_rng(seed).permutation(len(y))[:MOST]
    count = int(NEW * len(order))
    table = polars.DataFrame(X, schema=[f"x{i}" for i in range(X.shape[1])])
    seen, new = order[count:], order[:count]
    made = train(prepare(table[seen].with_columns(y=y[seen]), "y", range(seeds)), Recipe(), baselines=False)
    assert made is not None
    found, width = [], 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Folder.open(write(made, Path(place) / "model"))
        for level in LEVELS:
            frame = folder.predict(table[new], level)
            low, high = frame["low"].to_numpy(), frame["high"].to_numpy()
            found.append(float(((low <= y[new]) & (y[new] <= high)).mean()))
            width = float(high[0] - low[0]) / float(y.std()) if level == 0.9 else width
    return found, width


def rows(repeats: int, seeds: int) -> Iterator[str]:
    """A Markdown table, mean ± std over other new rows."""
    yield "| data | " + " | ".join(f"{100 * level:.0f} %" for level in LEVELS) + " | width of 90 %, in std of y |"
    yield "|---|" + "---:|" * (len(LEVELS) + 1)
    for name, load in NUMBERS.items():
        X, y = load()
        shares, widths = zip(*(held(X, y, seed, seeds) for seed in range(repeats)))
        cells = [f"{100 * mean(each):.1f} ± {100 * std(each):.1f}" for each in zip(*shares)]
        yield f"| {name} ({min(len(y), MOST):,}) | " + " | ".join(cells) + f" | {mean(widths):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for line in rows(options.repeats, options.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
