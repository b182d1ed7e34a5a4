"""The page and the figure of the examples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from examples.problems import Problem
from examples.running import Curves
from handgrad.files import write_atomically
from handgrad.plots import BLUE, VERMILION, styled

INTRODUCTION = """# Examples

Real networks on real data, each built from the same lines in handgrad and in torch.nn ([examples/](../examples)):
`make examples` trains all of them and writes this page. handgrad trains R replicas at once, each with its own random
split, weights and orders; torch.nn then trains some of the very same replicas, from the same weights, with the same
batches. Scores are of the test set after the last epoch, mean ± std over replicas; "apart" is the largest difference
between handgrad's and torch.nn's training loss of an epoch, relative to that loss, over the first epoch and over all.
Rounding grows through training, so that curves may part after a while ([parity](parity.md) shows it for the report's
network, and for torch.nn against itself); the ResNet's do. Times are of the whole training with its evaluations:
handgrad trains its replicas in groups on all cores, torch.nn one after another on one thread, as a loop over seeds;
it is not a benchmark ([those](benchmarks.md) interleave their contestants).
"""


@dataclass(frozen=True)
class Compared:
    """A problem's curves on both sides."""

    problem: Problem
    ours: Curves
    theirs: Curves

    def apart(self, epochs: int | None = None) -> float:
        """The largest relative difference of a training loss, in the first epochs or in all."""
        own = self.ours.loss[: len(self.theirs.seeds), :epochs].double()
        other = self.theirs.loss[:, :epochs].double()
        return float(((own - other).abs() / other.abs()).max())


def table(found: Sequence[Compared]) -> str:
    """One line a problem."""
    lines = [
        "| network and data | score | handgrad, mean ± std | the compared replicas | torch.nn, the same replicas "
        "| apart, 1 epoch | apart, all | time a replica, torch.nn / handgrad |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        d = one.ours.final(one.problem.measure)
        compared = len(one.theirs.seeds)
        own, other = (
            ", ".join(f"{value:.4g}" for value in curves.score[:compared, -1].tolist())
            for curves in (one.ours, one.theirs)
        )
        lines.append(
            f"| {one.problem.name} | {one.problem.measure} | {d.mean:.4g} ± {d.std:.2g} (R = {d.n}) | {own} | {other} "
            f"| {one.apart(1):.0e} | {one.apart():.0e} | {one.theirs.seconds:.2f} s / {one.ours.seconds:.2f} s "
            f"= {one.theirs.seconds / one.ours.seconds:.1f}× |"
        )
    return "\n".join(lines)


def figure(found: Sequence[Compared], path: Path) -> None:
    """Test scores by epoch: mean and a band of one std over the replicas, and torch.nn's single curves."""
    with styled():
        rows = -(-len(found) // 3)
        chart = Figure(figsize=(7.2, 2.3 * rows), layout="constrained")
        panels = chart.subplots(rows, min(3, len(found)), squeeze=False).flatten()
        for ax, one in zip(panels, found):
            score = one.ours.score.double()
            epochs = torch.arange(1, score.shape[1] + 1)
            mean, std = score.mean(0), score.std(0)
            ax.fill_between(epochs, mean - std, mean + std, color=BLUE, alpha=0.2, linewidth=0)
            ax.plot(epochs, mean, color=BLUE, label=f"handgrad, mean ± std of {len(score)}")
            for r, curve in enumerate(one.theirs.score):
                label = "handgrad, a replica" if r == 0 else None
                ax.plot(epochs, score[r], color=BLUE, linewidth=0.8, label=label)
                label = "torch.nn, the same replica" if r == 0 else None
                ax.plot(epochs, curve, color=VERMILION, linewidth=1.2, linestyle=(0, (1, 2)), label=label)
            low, high = (score[:, score.shape[1] // 4 :].min(), score.max())
            ax.set_ylim(float(low - 0.3 * (high - low)), float(high + 0.1 * (high - low)))
            ax.set_title(one.problem.name, fontsize=8)
            ax.set_xlabel("epoch")
            ax.set_ylabel(one.problem.measure)
        for ax in panels[len(found) :]:
            ax.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        chart.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
        FigureCanvasAgg(chart)
        buffer = io.BytesIO()
        chart.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
        write_atomically(path, buffer.getvalue())
