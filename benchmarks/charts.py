"""The charts of the README and of the benchmark page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.rounds import Row
from benchmarks.scaling import Curve
from handgrad.files import write_atomically
from handgrad.plots import BLUE, GREY, NOTE, ORANGE, VERMILION, styled

PEER, COMPILED = "#999999", "#CCCCCC"
LOOKS = {"handgrad": (BLUE, "o"), "torch.nn": (VERMILION, "s"), "torch.func vmap": (ORANGE, "^")}


def bars(rows: Sequence[Row], path: Path) -> None:
    """Seconds of the 20 rounds, one bar a contestant, with quartiles; the last row is handgrad."""
    kept = [row for row in rows if row.timed is not None and "control" not in row.name]
    own = kept[-1].timed
    assert own is not None
    kept.sort(key=lambda row: -row.timed.median if row.timed else 0)
    with styled():
        figure = Figure(figsize=(7.2, 0.38 * len(kept) + 0.8), layout="constrained")
        ax = figure.subplots()
        longest = max(row.timed.quartiles[2] for row in kept if row.timed)
        for y, row in enumerate(kept):
            assert row.timed is not None
            low, middle, high = row.timed.quartiles
            compiling = row.timed.contestant.preparation
            color = BLUE if row.timed is own else COMPILED if compiling else PEER
            ax.barh(y, middle, height=0.62, color=color)
            whiskers = [[middle - low], [high - middle]]
            ax.errorbar(middle, y, xerr=whiskers, color="black", elinewidth=0.8, capsize=2, capthick=0.8)
            text = f"{middle:.2f} s"
            if row.timed is not own:
                text += f" · {own.ratio(row.timed)[1]:.1f}×"
            note = f"  after {compiling:.1f} s of compiling" if compiling >= 0.05 else ""
            label = ax.text(high + 0.012 * longest, y, text, va="center", fontsize=7)
            if row.timed is own:
                label.set_fontweight("bold")
            if note:
                ax.annotate(note, (1, 0.5), xycoords=label, va="center", **NOTE)
        ax.set_yticks(
            range(len(kept)), [row.name.replace(", ", ",\n") if len(row.name) > 32 else row.name for row in kept]
        )
        ax.get_yticklabels()[[row.timed for row in kept].index(own)].set_fontweight("bold")
        ax.tick_params(axis="y", length=0)
        ax.invert_yaxis()
        ax.grid(False, axis="y")
        ax.set_xlim(0, 1.3 * longest)
        ax.set_xlabel("seconds for 20 rounds of 50 epochs (median and quartiles; ×: median ratio to handgrad)")
        _write(figure, path)


def curves(panels: Sequence[tuple[str, Sequence[Curve]]], label: str, path: Path) -> None:
    """Time of a replica's step against the number on the x axis, log-log, one panel each."""
    with styled():
        figure = Figure(figsize=(3.6 * len(panels) if len(panels) > 1 else 4.8, 3.2), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (title, found) in zip(axes, panels):
            for curve in found:
                color, marker = LOOKS[curve.name]
                ax.plot(curve.x, curve.seconds, color=color, marker=marker, markersize=3.5, label=curve.name)
            _log_axes(ax, [x for curve in found for x in curve.x])
            ax.set_xlabel(label)
            if title:
                ax.set_title(title, loc="left", fontweight="bold")
        axes[0].set_ylabel("time of one replica's step")
        axes[0].legend(loc="best")
        _write(figure, path)


def _log_axes(ax: Axes, values: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = sorted(set(values))
    ax.set_xticks(ticks if len(ticks) <= 9 else [tick for tick in ticks if str(tick)[0] == "1"])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    if high / low < 1000:  # one label a decade would be too few
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _time(value)))
    ax.grid(True, which="minor", axis="y", linewidth=0.25)
    ax.tick_params(axis="y", which="minor", labelleft=False)
    ax.tick_params(axis="both", labelcolor=GREY)


def _time(seconds: float) -> str:
    for unit, name in ((1, "s"), (1e-3, "ms")):
        if seconds >= 0.999 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
