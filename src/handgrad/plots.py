"""Plots of results, with the spread over replicas and what diverged in each, and the style that every figure shares."""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError
from handgrad.files import write_atomically
from handgrad.optional import require
from handgrad.results import Distribution, Results, precision
from handgrad.statistics import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# from Okabe and Ito's palette, told apart with any colour vision, and in grey by lightness or line style
BLACK, BLUE, ORANGE, VERMILION = "#000000", "#0072B2", "#E69F00", "#D55E00"
GREY = "#444444"
NOTE: dict[str, Any] = {"fontsize": 6.5, "color": GREY}
ALARM: dict[str, Any] = {"fontsize": 6.5, "color": VERMILION}

STYLE: Any = {  # matplotlib 3.11 types the names of its settings, earlier ones do not
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "savefig.dpi": 200,
    "svg.fonttype": "path",  # looks the same where the font is missing
    "svg.hashsalt": "handgrad",  # ids, and so the file, are the same each time
}

DOT: dict[str, Any] = {"alpha": 0.45, "markersize": 3, "markeredgewidth": 0}

GOLDEN = (math.sqrt(5) - 1) / 2
BARS_FROM = 20  # replicas from which a histogram says more than the dots do
PANELS = 12
FITTING = 14  # characters of a label that a cell of a heat map is as wide as


@contextmanager
def styled() -> Iterator[None]:
    """The style of handgrad's figures, whatever the user's matplotlibrc says."""
    with require("matplotlib.style", "cli").context(["default", STYLE]):
        yield


def plot(results: Results, metric: str, /, **config: Any) -> Figure:
    """Draw a metric over the hyper-parameters that are left when those in `config` have the given value.

    None left: the distribution over the seeds. One: the mean with its 95 % t-interval against the values, each replica
    a faint dot. Two: a heat map with mean ± standard deviation in each cell, the first down, the second across. Three:
    a heat map for each value of the first. Hyper-parameters of a single value do not count. What diverged is told.

    Errors: ArgumentError where more are left, and for what the grid or the results do not have; MissingExtraError
    without matplotlib.

    Example:
        >>> from handgrad.grid import grid
        >>> results = Results(grid(seeds=2, lr=[0.1, 0.01]), {"loss": [1.0, 1.1, 0.8, 0.9]})
        >>> figure = plot(results, "loss")
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('lr', 'loss')
    """
    grid = results.grid
    grid.matching(**config)
    names = [name for name in grid.names if name not in config and len(grid.values(name)) > 1]
    if len(names) > 3:
        remedy = f"Choose a value of the others: plot(results, metric, {names[0]}={grid.values(names[0])[0]!r}, …)."
        raise ArgumentError("at most 3 hyper-parameters to draw", ", ".join(names), remedy, "plot")
    if len(names) == 3 and len(grid.values(names[0])) > PANELS:
        remedy = f"Choose one: plot(results, metric, {names[0]}={grid.values(names[0])[0]!r})."
        got = f"{len(grid.values(names[0]))}"
        raise ArgumentError(f"at most {PANELS} values of {names[0]}, each a panel", got, remedy, "plot")
    with styled():
        if not names:
            figure = _strip(results.distribution(metric, **config), metric)
        elif len(names) == 1:
            figure = _errorbars(results, metric, names[0], config)
        else:
            figure = _heatmaps(results, metric, names, config)
        fixed = [f"{name} = {_ticks([value])[0]}" for name, value in config.items()]
        if fixed:
            figure.suptitle(_wrapped(", ".join(fixed), figure.get_figwidth()), fontsize=8)
        for text in figure.findobj(require("matplotlib.text", "cli").Text):
            text.set_parse_math(False)  # names and values may hold $
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> list[Path]:
    """Write the figure as PNG and as SVG, `path` with each ending, and return the files' paths.

    The same figure gives the same files: they hold no date and no version.

    Errors: OutputError where they cannot be written.

    Example:
        >>> import tempfile
        >>> from handgrad.grid import grid
        >>> figure = plot(Results(grid(seeds=2), {"loss": [1.0, 1.1]}), "loss")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in save(figure, Path(folder) / "loss.png")]
        ['loss.png', 'loss.svg']
    """
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".png", ".svg") else path
    files = []
    with styled():
        require("matplotlib.backends.backend_agg", "cli").FigureCanvasAgg(figure)
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            files.append(write_atomically(stem.with_name(stem.name + suffix), buffer.getvalue()))
    return files


def discard(path: str | os.PathLike[str]) -> None:
    """Remove what `save` left under this path in an earlier run: beside new numbers it would be taken for theirs."""
    for suffix in (".png", ".svg"):
        Path(f"{os.fspath(path)}{suffix}").unlink(missing_ok=True)


def _figure(width: float, height: float) -> Figure:
    figure: Figure = require("matplotlib.figure", "cli").Figure(figsize=(width, height), layout="constrained")
    return figure


def _strip(d: Distribution, metric: str) -> Figure:
    """Every replica as a dot, mean, interval and standard deviation below; many are counted in bars above."""
    bars = d.n >= BARS_FROM and d.maximum - d.minimum > 1e-12 * max(abs(d.minimum), abs(d.maximum))
    figure = _figure(4.8, 2.6 if bars else 1.6)
    ax: Any = figure.subplots()
    top = 0.0
    if bars:
        counts, _, _ = ax.hist(d.finite, _edges(d.finite), color=BLUE, alpha=0.45, edgecolor="white", linewidth=0.6)
        top = float(max(counts))
        ax.set_ylabel("replicas")
        ax.yaxis.set_major_locator(require("matplotlib.ticker", "cli").MaxNLocator(4, integer=True))
        ax.spines["left"].set_bounds(0, 1.08 * top)
    else:
        ax.yaxis.set_visible(False)
        ax.spines["left"].set_visible(False)
    unit = 0.1 * top or 1.0
    ax.plot(d.finite, [unit * (-0.9 + 0.5 * _jitter(i)) for i in range(d.n)], "o", color=BLUE, **DOT)
    below = -2.1 * unit
    if d.n > 1:
        low, high = d.interval()
        ax.plot([d.mean - d.std, d.mean + d.std], [below] * 2, color=GREY, linewidth=0.8)
        ax.plot([low, high], [below] * 2, color=BLACK, linewidth=3, solid_capstyle="butt")
    if not d.n:
        ax.set_xticks([])
    else:
        ax.plot(d.mean, below, "o", color="white", markeredgecolor=BLACK, markersize=4.5, zorder=3)
    ax.set_ylim(-2.9 * unit, 1.08 * top)
    ax.margins(x=0.08)
    ax.grid(bars, axis="y")
    ax.set_xlabel(metric)
    told = _wrapped(str(d).split("; ", 1)[0], figure.get_figwidth() - 0.6)
    ax.set_title(told + "\n" * bool(d.left_out), loc="left")  # what is left out has a line of its own
    if d.left_out:
        ax.set_title(", ".join(d.left_out), loc="right", **ALARM)
    note(figure, "Each dot is a replica. Below: mean, its 95 % t-interval (thick), ± standard deviation (thin).")
    return figure


def _edges(values: Sequence[float]) -> Any:
    """Edges of about √n bars; of values in steps, as accuracies are, each bar is of as many steps about their middle.

    Else bars of one and of two steps, side by side, would look like values that are rare and frequent by turns.
    """
    import numpy as np

    least, span = min(values), max(values) - min(values)
    places = (np.asarray(values, dtype=np.float64) - least) / span
    step = np.diff(np.unique(places.round(12))).min()  # those that differ by rounding are one
    steps, bars = math.ceil(round(1 / step, 6)) + 1, math.ceil(math.sqrt(len(values)))
    each = min(max(steps // bars, 1), math.ceil(steps / bars), key=lambda each: -steps % each)  # fewest beyond the last
    return least + span * step * (each * np.arange(math.ceil(steps / each) + 1) - 0.5)


def _errorbars(results: Results, metric: str, name: str, config: dict[str, Any]) -> Figure:
    """Mean with 95 % interval against the values of one hyper-parameter."""
    values = results.grid.values(name)
    found = [results.distribution(metric, **config, **{name: value}) for value in values]
    texts = _ticks(values)
    longest = max(map(len, texts))
    figure = _figure(max(3.6, min(1.0 + max(0.6, 0.08 * longest) * len(values), 7.2)), 2.8)
    ax: Any = figure.subplots()
    numeric = all(map(_has_a_place, values))
    places = [float(v) if numeric else float(i) for i, v in enumerate(values)]
    least = min((v for v in places if v > 0), default=1.0)
    zero = numeric and 0 in places and _logarithmic([v for v in places if v])  # beside values by logarithm
    log = zero or (numeric and _logarithmic(values))
    # on a logarithmic axis in powers of ten; 0 has its place, and a straight scale about it, below the least of others
    drawn = sorted(math.log10(v) if log else v for v in places if v or not zero)
    gap = min((b - a for a, b in pairwise(drawn)), default=1.0)
    drawn = [drawn[0] - gap, *drawn] if zero else drawn

    def at(place: float) -> float:
        """The value at a place of the axis."""
        if zero and place < drawn[1]:
            return least * (place - drawn[0]) / gap
        return 10**place if log else place

    def beside(value: float, shift: float) -> float:
        """What is drawn beside a value, by a share of the smallest gap between values."""
        place = drawn[0] if zero and not value else math.log10(value) if log else value
        return at(place + shift * gap)

    for place, d in zip(places, found):
        x = [beside(place, 0.2 * _jitter(i)) for i in range(d.n)]
        ax.plot(x, d.finite, "o", color=GREY, **{**DOT, "alpha": 0.25}, zorder=1)
    kept = [i for i in sorted(range(len(values)), key=places.__getitem__) if found[i].n]
    means = [found[i].mean for i in kept]
    half = [found[i].high - found[i].mean if found[i].n > 1 else 0.0 for i in kept]
    line = "-" if numeric else "none"
    ax.errorbar(
        [places[i] for i in kept], means, half, color=BLUE, linestyle=line, linewidth=1, marker="o", markersize=4,
        elinewidth=1.4, capsize=2.5, capthick=1.4, zorder=2,
    )  # fmt: skip
    margin = max(0.6 * gap, 0.04 * (drawn[-1] - drawn[0]))  # room for a mark, where others are very near
    room = gap / (drawn[-1] - drawn[0] + 2 * margin) * (figure.get_figwidth() - 0.8)  # inches, for a tick's label
    if log:
        ax.set_xscale("symlog", linthresh=least, linscale=0.9 * gap) if zero else ax.set_xscale("log")
    ticker = require("matplotlib.ticker", "cli")
    if log:
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))  # others write formulas
    if not numeric or (len(values) <= 8 and room > 0.06 * longest):
        ax.set_xticks(places, texts)
        ax.xaxis.set_minor_locator(ticker.NullLocator())
    if not numeric and 0.08 * longest * len(values) > 6.2:
        _turn(ax, room)
    ax.grid(False, axis="x")
    ax.set_xlim(at(drawn[0] - margin), at(drawn[-1] + margin))
    ax.set_xlabel(name)
    ax.set_ylabel(_wrapped(metric, 2.2))
    for place, d in zip(places, found):
        text = "\n".join(part.replace(" of ", "/").replace(" ", "\n", 1) for part in d.left_out)
        ax.annotate(text, (place, 1), (0, 2), ("data", "axes fraction"), "offset points", ha="center", **ALARM)
    seeds = len(results.grid.seeds)
    what = f"Mean and its 95 % t-interval over {seeds} replicas; each dot is one." if seeds > 1 else "One replica each."
    note(figure, what + _omission(found))
    return figure


def _heatmaps(results: Results, metric: str, names: Sequence[str], config: dict[str, Any]) -> Figure:
    """Mean ± standard deviation for each pair of the last two names; a panel for each value of a first of three."""
    colors = require("matplotlib.colors", "cli")
    down, across = names[-2:]
    panels: list[dict[str, Any]] = [{}]
    if len(names) == 3:
        panels = [{names[0]: value} for value in results.grid.values(names[0])]
    rows, columns = results.grid.values(down), results.grid.values(across)
    found = [
        [[results.distribution(metric, **config, **p, **{down: r, across: c}) for c in columns] for r in rows]
        for p in panels
    ]
    every = [d for panel in found for row in panel for d in row]
    means = [d.mean for d in every if d.n]
    spread = min((d.std for d in every if d.std > 0), default=math.nan)
    scale = colors.Normalize(min(means, default=0), max(means, default=1))
    beside = min(len(panels), max(1, 9 // (len(columns) + 1)))
    stacked = math.ceil(len(panels) / beside)
    left, below = (max(map(len, _ticks(values))) for values in (rows, columns))  # characters of the longest label
    width = 0.5 + 0.058 * max(left - 6, 0) + 0.85 * len(columns)
    height = 0.65 + 0.025 * below * (below > FITTING) + 0.5 * len(rows)
    figure = _figure(1.5 + beside * width, 0.5 + stacked * height)
    axes: Any = figure.subplots(stacked, beside, squeeze=False)
    shades = require("matplotlib", "cli").colormaps["cividis"]
    for ax, panel, cells in zip(axes.flat, panels, found):
        for i, row in enumerate(cells):
            for j, d in enumerate(row):
                _cell(ax, i, j, d, shades(scale(d.mean)) if d.n else (0.93, 0.93, 0.93, 1.0), spread)
        ax.set_xlim(-0.5, len(columns) - 0.5)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xticks(range(len(columns)), _ticks(columns))
        if below > FITTING:
            _turn(ax, 0.85)
        ax.set_yticks(range(len(rows)), _ticks(rows))
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_xlabel(across)
        ax.set_ylabel(_wrapped(down, 0.4 + 0.5 * len(rows)))
        ax.set_title(", ".join(f"{name} = {_ticks([value])[0]}" for name, value in panel.items()))
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    mappable = require("matplotlib.cm", "cli").ScalarMappable(scale, shades)
    label = _wrapped(f"mean {metric}", stacked * height - 0.4)
    bar = figure.colorbar(mappable, ax=axes.ravel().tolist(), label=label, aspect=25, pad=0.02)
    bar.outline.set_visible(False)
    seeds = len(results.grid.seeds)
    what = f"Mean ± standard deviation over {seeds} replicas." if seeds > 1 else "One replica each."
    note(figure, what + _omission(every))
    return figure


def _cell(ax: Axes, i: int, j: int, d: Distribution, color: tuple[float, ...], spread: float) -> None:
    patches = require("matplotlib.patches", "cli")
    hatch = {} if d.n else {"hatch": "///", "edgecolor": "#BBBBBB"}
    ax.add_patch(patches.Rectangle((j - 0.49, i - 0.49), 0.98, 0.98, facecolor=color, linewidth=0, **hatch))
    lines = []
    if d.n:
        lines.append(number(d.mean, precision(spread, d.std)))
    if d.n > 1:
        lines.append(f"± {number(d.std, precision(spread, d.std))}")
    lines += d.left_out
    ink = "white" if _luminance(color) < 0.18 else "black"
    ax.text(j, i, "\n".join(lines), ha="center", va="center", color=ink, fontsize=6.5 if len(lines) < 3 else 5.8)


def note(figure: Figure, text: str) -> None:
    figure.supxlabel(_wrapped(text, figure.get_figwidth(), 6.5), **NOTE)


def _wrapped(text: str, inches: float, points: float = 8) -> str:
    """In lines that are no longer, in letters of so many points."""
    return "\n".join(textwrap.wrap(text, int(inches / (0.0077 * points))))


def _turn(ax: Axes, room: float) -> None:
    """Labels below that are too long to stand beside each other, with so many inches for each."""
    upright = room < 0.28  # inches, from where on lines at 25 degrees touch
    ax.tick_params(axis="x", labelrotation=90 if upright else 25)
    for label in ax.get_xticklabels():
        label.set(horizontalalignment="right", rotation_mode="anchor")
        if upright:
            label.set(verticalalignment="center")


def _omission(found: Iterable[Distribution]) -> str:
    """A sentence where something is left out."""
    found = list(found)
    whats = [(sum(d.diverged for d in found), "diverged"), (sum(len(d.unfinished) for d in found), "is not finished")]
    told = " or ".join(what for count, what in whats if count)
    return f" What {told} is left out and counted." if told else ""


def _luminance(color: Sequence[float]) -> float:
    """Relative luminance (WCAG 2); at 0.18 black and white text contrast equally."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in color[:3]]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear))


def _jitter(i: int) -> float:
    """The i-th of numbers that fill −1 to 1 evenly however many there are."""
    return 2 * ((i + 1) * GOLDEN % 1) - 1


def _logarithmic(values: Sequence[float]) -> bool:
    """Whether positive values span a factor of 8 or more and lie more evenly by logarithm."""
    ordered = sorted(values)
    if len(ordered) < 2 or ordered[0] <= 0 or ordered[-1] < 8 * ordered[0]:
        return False

    def unevenness(places: list[float]) -> float:
        gaps = [b - a for a, b in pairwise(places)]
        return max(gaps) / min(gaps) if min(gaps) > 0 else math.inf

    return len(ordered) == 2 or unevenness([math.log(v) for v in ordered]) < unevenness(list(ordered))


def _has_a_place(value: Any) -> bool:
    """Whether a value is a number that an axis can show, unlike True, ∞ and integers that are equal as floats."""
    most = 2**53 if isinstance(value, int) else 1e300
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= most


def _ticks(values: Sequence[Any]) -> list[str]:
    """The values as texts, floats with three digits or as many more as tell them apart."""
    texts = list(map(str, values))
    for digits in range(3, 18):
        texts = [f"{v:.{digits}g}" if isinstance(v, float) else str(v) for v in values]
        if len(set(texts)) == len(values):
            break
    return texts
