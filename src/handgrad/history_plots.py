"""Plots of a history: learning curves, and every layer that a `Watch` has seen, with the spread over replicas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError
from handgrad.nn.module import Module
from handgrad.optional import require
from handgrad.plots import BLUE, ORANGE, VERMILION, note, styled
from handgrad.training.history import History
from handgrad.training.watching import WHAT, layers_of, watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 14
"""Layers that a legend names; of more, as many of them, evenly."""
LOGARITHMIC = 20.0
"""Ratio of the largest to the smallest median from which on an axis is logarithmic."""
OTHER = {"validation": ORANGE, "test": VERMILION}
"""What the measures of other data than the training data begin with, and their colours."""
COLORS = {"training": BLUE, **OTHER}


def plot_history(history: History, measures: Sequence[str] | None = None) -> Figure:
    """Draw learning curves: a panel for the loss and each metric, with training and validation data in one.

    A line is the median over the replicas that are still trained, with a band of their middle half. An axis is
    logarithmic where medians of positive numbers go over more than a factor of 20.

    Args:
        history: of any run.
        measures: such as ["loss"], with "validation_loss" in the same panel; all but those of a `Watch` by default,
            which `plot_layers` draws.

    Errors: ArgumentError for measures that the history does not have, or a history of no epoch; MissingExtraError
    without matplotlib.

    Example:
        >>> import torch
        >>> from handgrad import fit, nn, optim
        >>> from handgrad.history_plots import plot_history
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> model = nn.replicate(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), seeds=range(3))
        >>> adam = optim.Adam(model.parameters(), lr=0.01)
        >>> options = {"epochs": 5, "validation": 0.25, "metrics": ["r2"]}
        >>> history = fit(model, nn.MSELoss(replicas=3), adam, (x, x**2), **options)
        >>> [ax.get_title() for ax in plot_history(history).axes]
        ['loss', 'r2']
    """
    layers = {f"{measure}/{layer}" for measure, seen in watched(history).items() for layer in seen}
    panels: dict[str, dict[str, Any]] = {}
    for name, values in history.arrays().items():
        if name not in layers:
            of, _, measure = name.partition("_")
            of, measure = (of, measure) if of in OTHER and measure else ("training", name)
            panels.setdefault(measure, {})[of] = values
    wanted = list(panels) if measures is None else list(measures)
    if not history.epochs or not wanted or not set(wanted) <= set(panels):
        got = str(wanted) if history.epochs else "a history of no epoch"
        remedy = "Ask for measures of the history, without validation_."
        raise ArgumentError(f"measures among {', '.join(panels)}", got, remedy, "plot_history")
    with styled():
        figure, axes = grid_of(len(wanted))
        shown = []
        for ax, measure in zip(axes, wanted):
            medians = curves(ax, range(1, history.epochs + 1), panels[measure], COLORS)
            shown += [of for of in panels[measure] if of not in shown]
            if medians and min(medians) > 0 and max(medians) > LOGARITHMIC * min(medians):
                ax.set_yscale("log")
            ax.set_title(measure)
        legend(figure, {of: COLORS[of] for of in shown}, None)
        best = [epoch + 1 for epoch in history.best if epoch is not None]
        ended = f" Best weights after {min(best)} to {max(best)} epochs." if best else ""
        note(figure, told(history, ended))
    return figure


def plot_layers(history: History, model: Module | None = None, measures: Sequence[str] | None = None) -> Figure:
    """Draw what a `Watch` has seen: a panel for each measure, a line for each layer, from the first to the last.

    A line is the median over the replicas that are still trained, with a band of their middle half.

    Args:
        history: of a run that was watched.
        model: names the layers' classes, too.
        measures: those of the watch by default.

    Errors: ArgumentError for measures, or a history, that nobody watched; MissingExtraError without matplotlib.

    Example:
        >>> import torch
        >>> from handgrad import fit, nn, optim
        >>> from handgrad.history_plots import plot_layers
        >>> from handgrad.training import Watch
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> model = nn.replicate(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), seeds=range(3))
        >>> sgd = optim.SGD(model.parameters(), lr=0.1)
        >>> history = fit(model, nn.MSELoss(replicas=3), sgd, (x, x**2), epochs=5, callbacks=[Watch()])
        >>> [ax.get_title() for ax in plot_layers(history, model).axes]
        ['standard deviation of outputs', 'units without variation over the batch (%)', \
'gradient by outputs, root mean square', 'update of parameters in a step, ‖Δθ‖ / ‖θ‖']
    """
    seen = watched(history)
    wanted = list(seen) if measures is None else list(measures)
    if not wanted or not set(wanted) <= set(seen):
        remedy = "Train with callbacks=[Watch()], and ask for measures of it."
        raise ArgumentError(
            f"measures among {', '.join(seen) or 'those of a Watch'}", str(wanted), remedy, "plot_layers"
        )
    layers = layers_of(seen)
    shades = require("matplotlib", "cli").colormaps["viridis"]
    colors = {layer: shades(0.9 * i / max(len(layers) - 1, 1)) for i, layer in enumerate(layers)}
    parts = {} if model is None else dict(model.named_modules())
    with styled():
        figure, axes = grid_of(len(wanted))
        for ax, measure in zip(axes, wanted):
            panel(ax, measure, range(1, history.epochs + 1), seen[measure], colors)
        chosen = layers
        if len(layers) > NAMED:
            chosen = [layers[round(i * (len(layers) - 1) / (NAMED - 1))] for i in range(NAMED)]
        names = [f"{layer} {parts[layer].label}" if layer in parts else layer for layer in chosen]
        legend(figure, {name: colors[layer] for layer, name in zip(chosen, names)}, "layer")
        note(figure, told(history))
    return figure


def grid_of(panels: int) -> tuple[Figure, list[Any]]:
    """A figure of so many panels, two beside each other."""
    across = min(2, panels)
    down = math.ceil(panels / across)
    figure: Figure = require("matplotlib.figure", "cli").Figure(
        figsize=(3.0 * across + 1.4, 2.1 * down + 0.4), layout="constrained"
    )
    axes: Any = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in axes[panels:]:
        ax.remove()
    return figure, axes[:panels]


def legend(figure: Figure, colors: Mapping[str, Any], title: str | None) -> None:
    """Name the lines beside the panels."""
    line = require("matplotlib.lines", "cli").Line2D
    handles = [line([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside right upper", title=title)


def told(history: History, ended: str = "") -> str:
    """What a figure's note says of its lines."""
    replicas = len(history.loss)
    gone = sum(one is not None for one in history.diverged)
    lines = f"Median and middle half of {replicas} replicas, after each epoch." if replicas > 1 else "After each epoch."
    return lines + ended + (f" {gone} diverged, left out from there on." if gone else "")


def panel(ax: Any, measure: str, epochs: Sequence[int], lines: Mapping[str, Any], colors: Mapping[str, Any]) -> None:
    """Draw one measure: of each layer the median over replicas, with their middle half, from arrays (E, R)."""
    what, share = WHAT[measure]
    if share:
        lines = {layer: 100 * values for layer, values in lines.items()}
    medians = [value for value in curves(ax, epochs, lines, colors) if value > 0]
    if share:
        ax.set_ylim(0, min(1.1 * max(ax.dataLim.y1, 5), 102))
    elif measure != "mean" and medians and max(medians) > LOGARITHMIC * min(medians):
        ax.set_yscale("log")
    elif measure != "mean":
        ax.set_ylim(bottom=0)
    ax.set_title(what)


def curves(ax: Any, epochs: Sequence[int], lines: Mapping[str, Any], colors: Mapping[str, Any]) -> list[float]:
    """Draw the median over replicas of each line, with their middle half, from arrays (E, R); return all medians."""
    import numpy as np

    medians: list[float] = []
    for name, values in lines.items():
        seen = [(epoch, row[np.isfinite(row)]) for epoch, row in zip(epochs, values) if np.isfinite(row).any()]
        if not seen:
            continue
        places = [epoch for epoch, _ in seen]
        low, middle, high = np.transpose([np.quantile(row, [0.25, 0.5, 0.75]) for _, row in seen])
        ax.plot(places, middle, color=colors[name], marker="" if len(places) > 1 else "o", markersize=3)
        ax.fill_between(places, low, high, color=colors[name], alpha=0.2, linewidth=0)
        medians += middle.tolist()
    ax.xaxis.set_major_locator(require("matplotlib.ticker", "cli").MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    return medians
