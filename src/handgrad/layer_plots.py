"""Plots of what a `Watch` has seen: every layer through training, with the spread over replicas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError
from handgrad.nn.module import Module
from handgrad.optional import require
from handgrad.plots import note, styled
from handgrad.training.history import History
from handgrad.training.watching import WHAT, layers_of, watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 14
"""Layers that a legend names; of more, as many of them, evenly."""
LOGARITHMIC = 20.0
"""Ratio of the largest to the smallest median from which on an axis is logarithmic."""


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
        >>> from handgrad.layer_plots import plot_layers
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
        across = min(2, len(wanted))
        down = math.ceil(len(wanted) / across)
        figure: Figure = require("matplotlib.figure", "cli").Figure(
            figsize=(3.0 * across + 1.4, 2.1 * down + 0.4), layout="constrained"
        )
        axes: Any = figure.subplots(down, across, squeeze=False)
        for ax, measure in zip(axes.flat, wanted):
            panel(ax, measure, range(1, history.epochs + 1), seen[measure], colors)
        for ax in axes.flat[len(wanted) :]:
            ax.remove()
        chosen = layers
        if len(layers) > NAMED:
            chosen = [layers[round(i * (len(layers) - 1) / (NAMED - 1))] for i in range(NAMED)]
        line = require("matplotlib.lines", "cli").Line2D
        names = [f"{layer} {parts[layer].label}" if layer in parts else layer for layer in chosen]
        handles = [line([], [], color=colors[layer], label=name) for layer, name in zip(chosen, names)]
        figure.legend(handles=handles, loc="outside right upper", title="layer")
        replicas = len(history.loss)
        told = (
            f"Median and middle half of {replicas} replicas, after each epoch." if replicas > 1 else "After each epoch."
        )
        gone = sum(one is not None for one in history.diverged)
        note(figure, told + (f" {gone} diverged, left out from there on." if gone else ""))
    return figure


def panel(ax: Any, measure: str, epochs: Sequence[int], lines: Mapping[str, Any], colors: Mapping[str, Any]) -> None:
    """Draw one measure: of each layer the median over replicas, with their middle half, from arrays (E, R)."""
    import numpy as np

    what, share = WHAT[measure]
    medians, highest = [], 0.0
    for layer, values in lines.items():
        values = 100 * values if share else values
        seen = [(epoch, row[np.isfinite(row)]) for epoch, row in zip(epochs, values) if np.isfinite(row).any()]
        if not seen:
            continue
        places = [epoch for epoch, _ in seen]
        low, middle, high = np.transpose([np.quantile(row, [0.25, 0.5, 0.75]) for _, row in seen])
        ax.plot(places, middle, color=colors[layer], marker="" if len(places) > 1 else "o", markersize=3)
        ax.fill_between(places, low, high, color=colors[layer], alpha=0.2, linewidth=0)
        medians += [value for value in middle if value > 0]
        highest = max(highest, *high)
    if share:
        ax.set_ylim(0, min(1.1 * max(highest, 5), 102))
    elif measure != "mean" and medians and max(medians) > LOGARITHMIC * min(medians):
        ax.set_yscale("log")
    elif measure != "mean":
        ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(require("matplotlib.ticker", "cli").MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.set_title(what)
    ax.set_xlabel("epoch")
