"""The figures of the experiment, drawn from its results."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from handgrad.plots import BLACK, BLUE, GREY, NOTE, ORANGE, VERMILION, discard, save, styled

Array = NDArray[np.float64]

DOTS = (0, (2, 1))
CURVES = (("report", ORANGE), ("best", BLUE), ("torch_nn", BLACK))
SIDES = (("without", "without BatchNorm", VERMILION, "-"), ("with", "with BatchNorm", BLUE, "--"))
RIDGES = 8  # epochs shown of each distribution


def draw(results: Mapping[str, Any], folder: str | os.PathLike[str]) -> list[Path]:
    """Write each figure that `results` has numbers for into `folder`, as PNG and SVG, and return the files' paths.

    Where they have none, a figure of an earlier run is removed.

    figure1 is the report's figure 1 (features and gradients without and with BatchNorm), figure2 its figure 2 (loss
    and accuracy), certificate the step-by-step difference between handgrad and torch.nn. The same results give the
    same files.

    Errors: OutputError where the folder cannot be written.
    """
    folder = Path(folder)
    makers = (("figure1", _figure1), ("figure2", _figure2), ("certificate", _certificate))
    files: list[Path] = []
    with styled():
        for name, make in makers:
            figure = make(results)
            if figure is None:
                discard(folder / name)
            else:
                files += save(figure, folder / name)
    return files


def _figure1(results: Mapping[str, Any]) -> Figure | None:
    data = results.get("figure1")
    if not data or not all(data.get(side) for side, *_ in SIDES):
        return None
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    epochs = _array(data["epochs"])
    parts = (
        ("features", "(a) Input of the third layer", "feature", _shares),
        ("gradient", "(b) Gradient of the second layer's weights", "log₁₀ |gradient|", _medians),
    )
    halves: Any = figure.subfigures(2, 1)
    for part, (quantity, title, label, draw_last) in zip(halves, parts):
        part.suptitle(title, x=0.01, ha="left", fontsize=8, fontweight="bold")
        panels = part.subplots(1, 3, width_ratios=[1, 1, 0.8])
        limits = _limits([data[side][quantity] for side, *_ in SIDES])
        for ax, (side, name, color, _) in zip(panels, SIDES):
            _ridges(ax, data[side][quantity], epochs, limits, color, floored=quantity == "gradient")
            ax.set_title(name)
            ax.set_xlabel(label)
        panels[0].set_ylabel("epoch")
        draw_last(panels[2], data, epochs)
        handles = panels[2].get_legend_handles_labels()
    # in the row of the first heading, where it covers nothing
    figure.legend(*handles, loc="upper right", ncols=len(SIDES), borderpad=0.2)
    floor = _power(data["with"]["gradient"]["histogram"]["edges"][0])
    figure.supxlabel(
        "Densities: square root, each scaled to its own peak; dot and line: median, 5 % to 95 %. Bands: ±1 standard\n"
        f"deviation over rounds in (a), quartiles in (b). In (b) {floor} stands for all that is smaller, 0 included.",
        **NOTE,
    )
    return figure


def _ridges(
    ax: Axes, data: Mapping[str, Any], epochs: Array, limits: tuple[float, float], color: str, floored: bool
) -> None:
    """One density a row, first epoch on top. `floored`: the first bin holds all that is too small, told as a share."""
    edges = _array(data["histogram"]["edges"])
    quantiles = _array(data["quantiles"])
    inside = (edges[1:] > limits[0]) & (edges[:-1] < limits[1])
    chosen = np.unique(np.linspace(0, len(epochs) - 1, RIDGES).round().astype(int))
    for row, e in enumerate(chosen):
        density = np.nan_to_num(_array(data["histogram"]["density"][e]))
        if floored:
            share = 100 * density[0] * (edges[1] - edges[0])
            density[0] = 0
            if share >= 0.5:
                text = f"{share:.0f} %" + (f" ≤ {_power(edges[0])}" if row == 0 else "")
                ax.text(0.02, 0.12 - row, text, transform=ax.get_yaxis_transform(), **NOTE)
        # the root keeps a spike, such as that of ReLU at 0, from hiding the rest
        height = np.sqrt(density)
        peak = height[inside].max(initial=0)
        height = np.minimum(0.8 * height / peak, 0.8) if peak > 0 else height
        ax.stairs(height - row, edges, baseline=-row, fill=True, color=color, alpha=0.35, linewidth=0)
        ax.stairs(height - row, edges, baseline=None, color=color, linewidth=0.7)
        ax.plot(quantiles[e][[0, -1]], [-row - 0.08] * 2, color="black", linewidth=0.8)
        ax.plot(quantiles[e][quantiles.shape[1] // 2], -row - 0.08, "o", color="black", markersize=2.4)
    ax.set_xlim(*limits)
    ax.set_ylim(0.7 - len(chosen), 1)
    ax.set_yticks([-row for row in range(len(chosen))], [f"{epochs[e]:g}" for e in chosen])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")


def _shares(ax: Axes, data: Mapping[str, Any], epochs: Array) -> None:
    for side, name, color, line in SIDES:
        share = data[side]["features"].get("sample_share")
        if share:
            mean, std = 100 * _array(share["mean"]), np.nan_to_num(100 * _array(share["std"]))
            _band(ax, epochs, mean, mean - std, mean + std, color, line, name)
    ax.set_ylim(-4, 104)
    ax.set_title("variance due to the sample")
    ax.set_ylabel("share of feature variance (%)")
    _epoch_axis(ax, epochs)


def _medians(ax: Axes, data: Mapping[str, Any], epochs: Array) -> None:
    for side, name, color, line in SIDES:
        quantiles = _array(data[side]["gradient"]["quantiles"])
        middle = quantiles.shape[1] // 2
        _band(ax, epochs, quantiles[:, middle], quantiles[:, 1], quantiles[:, -2], color, line, name)
    ax.set_title("median and quartiles")
    ax.set_ylabel("log₁₀ |gradient|")
    _epoch_axis(ax, epochs)


def _figure2(results: Mapping[str, Any]) -> Figure | None:
    rows = {row["key"]: row for row in results.get("rows") or ()}
    curves = [(rows[key], color) for key, color in CURVES if key in rows and _kept(rows[key]).any()]
    if not curves:
        return None
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for row, color in curves:
        kept = _kept(row)
        losses, train, test = (_array(row[name])[kept] for name in ("epoch_loss", "train_accuracy", "test_accuracy"))
        epochs = np.arange(1.0, losses.shape[1] + 1)
        # by logarithm: the band stays above 0, and one wild round does not carry the mean away
        mean, low, high = (10**v for v in _mean_band(np.log10(np.maximum(losses, np.finfo(float).tiny))))
        _band(loss, epochs, mean, low, high, color, "-", _label(row, kept))
        mean, low, high = (100 * v.clip(0, 1) for v in _mean_band(test))
        _band(accuracy, epochs, mean, low, high, color, "-")
        _line(accuracy, epochs, 100 * train.mean(axis=0), color, DOTS)
    loss.set_yscale("log")
    loss.set_ylabel("training loss (MSE)")
    accuracy.set_ylabel("accuracy (%)")
    for ax, title in ((loss, "(a) Training loss"), (accuracy, "(b) Accuracy")):
        _epoch_axis(ax, epochs)
        ax.set_title(title, loc="left", fontweight="bold")
    for label, line in (("test", "-"), ("train", DOTS)):
        _line(accuracy, np.full(len(epochs), np.nan), np.full(len(epochs), np.nan), GREY, line, label)
    accuracy.legend(loc="lower right")
    legend = figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves))
    # as the legend's title: two things placed at the lower edge would overlap
    note = "Lines: mean over rounds, in (a) of log₁₀ loss. Bands: ±1 standard deviation, in (b) of the test accuracy."
    legend.set_title(note)
    legend.get_title().set(**NOTE)
    return figure


def _certificate(results: Mapping[str, Any]) -> Figure | None:
    parts = {k: c for k, c in (results.get("certificate") or {}).items() if c.get("largest_by_step")}
    if not parts:
        return None
    free = {dtype: part["free"] for dtype, part in parts.items() if part.get("free")}
    figure = Figure(figsize=(7.2 if free else 4.8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2 if free else 1, squeeze=False, sharey=True)[0]
    looks = dict(zip(parts, ((BLUE, "-"), (ORANGE, "-"), (BLACK, "-"))))
    for dtype, part in parts.items():
        color, line = looks[dtype]
        _steps(panels[0], part["largest_by_step"], color, line, f"{dtype}, worst of {part['rounds']} rounds")
        for ax in panels:
            ax.axhline(part["bound"], color=color, linestyle="--", linewidth=0.9)
        panels[0].annotate(
            f"bound for {dtype}",
            (1, part["bound"]),
            (-2, 3),
            ("axes fraction", "data"),
            "offset points",
            ha="right",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
            **NOTE,
        )
    for dtype, drift in free.items():
        color, _ = looks[dtype]
        _steps(panels[1], drift["handgrad"]["median_by_step"], color, "-", f"{dtype}, median round")
        _steps(panels[1], drift["handgrad"]["worst_by_step"], color, "-.", f"{dtype}, worst round")
        _steps(panels[1], drift["reversed"]["median_by_step"], GREY, DOTS)
        _steps(panels[1], drift["reversed"]["worst_by_step"], GREY, DOTS)
    if free:
        _steps(panels[1], [math.nan, math.nan], GREY, DOTS, "torch.nn against itself, samples reversed")
    for ax, title in zip(panels, ("(a) Each step from the same weights", "(b) Running free")):
        ax.set_yscale("log")
        ax.set_xlabel("training step")
        ax.set_title(title, loc="left", fontweight="bold")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)
    shown = np.concatenate([line.get_ydata() for ax in panels for line in ax.get_lines()])
    shown = shown[np.isfinite(shown)]
    panels[0].set_ylim(shown.min() / 10, shown.max() * 10)
    panels[0].set_ylabel("largest relative difference to torch.nn")
    return figure


def _steps(ax: Axes, values: Any, color: str, line: Any, label: str = "_") -> None:
    """A curve over training steps; equality to the bit has no place on a logarithmic axis."""
    y = _array(values)
    y = np.where(np.isfinite(y) & (y > 0), y, np.nan)
    _line(ax, np.arange(1.0, len(y) + 1), y, color, line, label)


def _limits(parts: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The range that holds the 5 % to 95 % quantiles in nine epochs of ten, with a margin, within the histograms."""
    edges = np.concatenate([_array(part["histogram"]["edges"]) for part in parts])
    ends = []
    for part in parts:
        quantiles = _array(part["quantiles"])
        quantiles = quantiles[np.isfinite(quantiles).all(axis=1)]
        if len(quantiles):
            ends += [np.quantile(quantiles[:, 0], 0.1), np.quantile(quantiles[:, -1], 0.9)]
    low, high = (min(ends), max(ends)) if ends else (edges.min(), edges.max())
    low, high = np.clip((low, high), edges.min(), edges.max())
    margin = 0.08 * (high - low) or 0.5
    return max(float(low - margin), float(edges.min())), min(float(high + margin), float(edges.max()))


def _mean_band(values: Array) -> tuple[Array, Array, Array]:
    """Mean over rounds, and one standard deviation below and above it."""
    mean = values.mean(axis=0)
    std = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    return mean, mean - std, mean + std


def _band(ax: Axes, x: Array, middle: Array, low: Array, high: Array, color: str, line: Any, label: str = "") -> None:
    ax.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    _line(ax, x, middle, color, line, label=label or "_")


def _line(ax: Axes, x: Array, y: Array, color: str, line: Any, label: str = "_") -> None:
    look: dict[str, Any] = {"linestyle": line, "linewidth": 1 if line == DOTS else 1.4}
    if len(x) == 1:  # a line of one point would not be seen
        look |= {"marker": "o", "markersize": 4, "fillstyle": "full" if line == "-" else "none"}
    ax.plot(x, y, color=color, label=label, **look)


def _epoch_axis(ax: Axes, epochs: Array) -> None:
    ax.set_xlabel("epoch")
    ax.set_xlim(0, epochs[-1] + 1)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def _power(exponent: float) -> str:
    return f"$10^{{{exponent:g}}}$"


def _kept(row: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which rounds did not diverge."""
    kept = np.array([d is None for d in row["diverged"]])
    for name in ("epoch_loss", "train_accuracy", "test_accuracy"):
        kept &= np.isfinite(_array(row[name])).all(axis=1)
    return kept


def _label(row: Mapping[str, Any], kept: NDArray[np.bool_]) -> str:
    lines = textwrap.wrap(row["label"], 34)
    if not kept.all():
        lines.append(f"({int((~kept).sum())} of {len(kept)} rounds diverged, left out)")
    return "\n".join(lines)


def _array(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)
