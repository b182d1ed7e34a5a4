"""The figures of a report: each an svg element, a text for who cannot see it, and a caption."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handgrad.history_plots import panel
from handgrad.optional import require
from handgrad.plots import DOT, _jitter
from handgrad.report.run import Curve, Reliability, Residuals, Roc
from handgrad.report.svg import HEIGHT, INK, ONE, PAPER, SOFT, TWO, drawn
from handgrad.results import Distribution
from handgrad.statistics import number
from handgrad.training.watching import WHAT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SPOT = {**DOT, "markersize": 4.5}
DARKEST = 0.5  # of the cells of a confusion matrix, so that texts in them can be read in both colour schemes
LOOKS = {"train": (SOFT, "--"), "validation": (ONE, "-"), "test": (TWO, "-.")}
MOST_LINES, MOST_POINTS, MOST_CLASSES, MOST_NUMBERS = 20, 120, 30, 10


READ = {
    "mean": "Of each layer's outputs the mean.",
    "std": "How far each layer's outputs spread. Where that shrinks from layer to layer, less and less of the input "
    "comes through; where it grows, training may become unstable.",
    "zeros": "How many of each layer's outputs are 0, such as a ReLU makes of half of them.",
    "dead": "Units that give the same for all samples, such as a ReLU that lets nothing through. They learn nothing, "
    "and nothing is learnt through them.",
    "gradient": "The gradient of the loss by each layer's outputs. Where it shrinks by powers of ten towards the first "
    "layers, these hardly learn.",
    "norm": "How large each layer's parameters are.",
    "gradient_norm": "How large the gradient of each layer's parameters is.",
    "update": "How far a step moves each layer's parameters, as a share of their size. A thousandth is usual; a "
    "layer with much less stands still, and one with much more forgets.",
}
"""How to read the measures of a `Watch`."""


@dataclass(frozen=True)
class Drawing:
    """A figure of the page."""

    svg: str
    alt: str
    caption: str


def strips(name: str, label: str, better: str, found: Mapping[str, Distribution]) -> Drawing:
    """One metric of the network and of each baseline: every replica a dot, the mean and its interval.

    A baseline far from all others, as a constant often is, is told at the edge: drawn, it would crowd them together.
    """
    rows = [(who, d) for who, d in found.items() if d.n]
    far = _far([d for _, d in rows])

    def draw(_: Any, ax: Any) -> None:
        for place, (_, d) in enumerate(rows):
            if place == far:
                left = d.mean < rows[0][1].mean
                mean = number(d.mean, d.std)
                x, side, text = (0.01, "left", f"← {mean}") if left else (0.99, "right", f"{mean} →")
                ax.text(x, place, text, color=SOFT, va="center", ha=side, transform=ax.get_yaxis_transform())
                continue
            colour = ONE if place == 0 else SOFT
            ax.plot(d.finite, [place - 0.2 + 0.14 * _jitter(i) for i in range(d.n)], "o", color=colour, **SPOT)
            if d.n > 1:
                ax.plot(d.interval(), [place + 0.18] * 2, color=colour, linewidth=3, solid_capstyle="butt")
            ax.plot(d.mean, place + 0.18, "o", color=PAPER, markeredgecolor=colour, markersize=6, zorder=3)
        ax.set_yticks(range(len(rows)), ["\n".join(textwrap.wrap(who, 16)[:3]) for who, _ in rows])
        ax.set_ylim(len(rows) - 0.5, -0.55)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.margins(x=0.06)
        ax.xaxis.set_major_locator(require("matplotlib.ticker", "cli").MaxNLocator(5))
        ax.set_xlabel(_short(label, 26))

    told = "; ".join(f"{who} {str(d).replace('diverged', 'without a number')}" for who, d in found.items())
    caption = _upper(label) + (f", {better}." if better else ".")
    if far is not None:
        caption += f" The arrow: the mean of {rows[far][0]}, beyond the axis."
    return Drawing(drawn(name, draw, 0.75 + 0.5 * max(len(rows), 1)), f"{label}: {told}.", caption)


def curves(
    name: str, label: str, found: Mapping[str, Curve], diverged: Sequence[bool], best: Sequence[int | None]
) -> Drawing:
    """A metric over the epochs, by split: mean and standard deviation over replicas, and each replica faint.

    On a logarithmic axis both are of the logarithms, which no single large loss moves far, and the band stays above 0.
    Replicas that diverged are left out. Where some have no number, such as those that have stopped early, the mean of
    the others is dotted, for it is not the mean of the same replicas.
    """
    import numpy as np

    kept = [r for r, gone in enumerate(diverged) if not gone]
    series = {
        split: np.array(curve, dtype=np.float64).reshape(len(curve), -1)[:, kept] for split, curve in found.items()
    }
    every = np.concatenate([s.ravel() for s in series.values()])
    every = every[np.isfinite(every)]
    log = every.size > 0 and every.min() > 0 and every.max() > 30 * every.min()
    shown = list(series)[-1]
    counted = [[n for n in np.isfinite(s).sum(1) if n] for s in series.values()]  # in the epochs that were measured
    fewer = any(max(counts) > min(counts) for counts in counted if counts)

    def draw(_: Any, ax: Any) -> None:
        for split, values in series.items():
            colour, line = LOOKS[split]
            epochs, counts = np.arange(1, len(values) + 1), np.isfinite(values).sum(1)
            measured = counts > 0
            if not measured.any():
                continue
            if len(kept) <= MOST_LINES and split == shown:
                step = max(1, len(values) // MOST_POINTS)
                ax.plot(epochs[measured][::step], values[measured][::step], color=colour, alpha=0.22, linewidth=0.6)
            mean, low, high = _band(values[measured], log)
            x, whole = epochs[measured], counts[measured] == counts.max()
            ax.fill_between(x, low, high, where=whole, color=colour, alpha=0.2, linewidth=0)
            few = {"marker": "o", "markersize": 3} if len(x) == 1 else {}
            ax.plot(x, np.where(whole, mean, np.nan), color=colour, linestyle=line, label=_short(split, 20), **few)
            rest = np.convolve(~whole, [1, 1, 1])[1:-1] > 0  # with their neighbours, to which it is joined
            ax.plot(x, np.where(rest, mean, np.nan), color=colour, linestyle=":", linewidth=1)
        marks = [best[r] for r in kept if r < len(best)]
        if any(b is not None for b in marks):
            ax.plot([b + 1 for b in marks if b is not None], [0.0] * sum(b is not None for b in marks), "|", color=INK,
                    markersize=7, alpha=0.6, transform=ax.get_xaxis_transform(), clip_on=False)  # fmt: skip
        if log:
            ax.set_yscale("log")
            _plain(ax)
        ax.xaxis.set_major_locator(
            require("matplotlib.ticker", "cli").MaxNLocator(6, integer=True, steps=[1, 2, 5, 10])
        )
        ax.set_xlabel("epoch")
        ax.set_ylabel(_short(label, 26))
        if len(series) > 1:
            ax.legend()

    what = f"mean and ± standard deviation{' of logarithms' if log else ''}"
    caption = f"{_upper(label)} over the epochs{', logarithmic' if log else ''}: {_over(len(kept), what)}"
    caption += f"; faint, each of them in {shown}." if 1 < len(kept) <= MOST_LINES else "."
    if fewer:
        caption += " Dotted: the mean of fewer replicas, as of those still in training once the first has stopped."
    if any(b is not None for b in best):
        caption += " Marks at the foot: the epoch whose weights each replica kept."
    ends = [f"{split} {_ends(_band(values, log)[0])}" for split, values in series.items()]
    return Drawing(
        drawn(name, draw), f"{label} over {len(next(iter(series.values())))} epochs: {'; '.join(ends)}.", caption
    )


def layers(name: str, measure: str, epochs: Sequence[int], found: Mapping[str, Curve], order: Sequence[str]) -> Drawing:
    """One measure of every layer over the epochs: of each the median over replicas, with their middle half."""
    import numpy as np

    lines = {layer: np.array(curve, dtype=np.float64) for layer, curve in found.items()}
    colors = {layer: f"#{0xA0A000 + i:06X}" for i, layer in enumerate(order)}
    mixed = {color: shade(i, len(order)) for i, color in enumerate(colors.values())}
    what, share = WHAT[measure]
    told = []
    for layer, values in lines.items():
        medians = np.array([np.median(row[np.isfinite(row)]) for row in values if np.isfinite(row).any()])
        told.append(f"{layer} {_ends(100 * medians if share else medians)}")

    def draw(_: Any, ax: Any) -> None:
        panel(ax, measure, epochs, lines, colors)
        if ax.get_yscale() == "log":
            _plain(ax)

    svg = drawn(name, draw, mixed=mixed)
    return Drawing(svg, f"{what}, by layer: {'; '.join(told)}.", READ[measure])


def shade(i: int, count: int) -> str:
    """The colour of layer i in CSS, between the page's two from the first layer to the last."""
    return f"color-mix(in oklab, var(--two) {100 * i / max(count - 1, 1):.0f}%, var(--one))"


def confusion(name: str, counts: Any, classes: Sequence[str]) -> Drawing:
    """Shares of each class, down, that are predicted as each, across: mean and standard deviation over replicas."""
    import numpy as np

    cells = np.array(counts, dtype=np.float64)  # (R, K, K)
    cells = cells[cells.sum((1, 2)) > 0]
    total = cells.sum(2, keepdims=True)
    shares = np.divide(cells, total, out=np.full_like(cells, np.nan), where=total > 0)
    R, K = shares.shape[:2]
    mean, std = np.full((K, K), np.nan), np.full((K, K), np.nan)
    for k in range(K):
        having = shares[np.isfinite(shares[:, k, 0]), k]  # the rows of a replica may lack a class
        mean[k] = having.mean(0) if len(having) else np.nan
        std[k] = having.std(0, ddof=1) if len(having) > 1 else np.nan
    names = _labels([str(c) for c in classes])
    turned = K > 4 or K * max(map(len, names)) > 34  # else they stand beside each other

    def draw(_: Any, ax: Any) -> None:
        rectangle = require("matplotlib.patches", "cli").Rectangle
        for i in range(K):
            for j in range(K):
                share = float(mean[i, j]) if np.isfinite(mean[i, j]) else 0.0
                cell = rectangle((j - 0.48, i - 0.48), 0.96, 0.96, facecolor=ONE, alpha=DARKEST * share, linewidth=0)
                ax.add_patch(cell)
                if K <= MOST_NUMBERS and np.isfinite(mean[i, j]):
                    size = 11 if K <= 4 else 9
                    text = f"{100 * mean[i, j]:.1f}" if K <= 7 else f"{100 * mean[i, j]:.0f}"
                    if K <= 4 and np.isfinite(std[i, j]):
                        text += f"\n± {100 * std[i, j]:.1f}"
                    ax.text(j, i, text, ha="center", va="center", fontsize=size, color=INK)
        ax.set_xlim(-0.5, K - 0.5)
        ax.set_ylim(K - 0.5, -0.5)
        step = 1 if K <= MOST_CLASSES else K // MOST_CLASSES + 1
        ax.set_xticks(range(0, K, step), names[::step], rotation=90 if turned else 0)
        ax.set_yticks(range(0, K, step), names[::step])
        ax.tick_params(length=0, labelsize=10.5 if K <= 4 else 9 if K <= 10 else 6)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")

    right = ", ".join(f"{c} {100 * mean[i, i]:.1f} %" for i, c in enumerate(classes[:K]) if np.isfinite(mean[i, i]))
    spread = " ± standard deviation" if R > 1 and K <= 4 else ""
    caption = f"Of each class, the percentage predicted as each: {_over(R, f'mean{spread}')}. Rows sum to 100."
    return Drawing(drawn(name, draw, HEIGHT + 0.5 * turned), f"Confusion matrix. Right: {right}.", caption)


def reliability(name: str, found: Reliability) -> Drawing:
    """How often the network is right when it is so sure, and how often it is so sure."""
    import numpy as np

    sure, right, count = (np.array(found[key], dtype=np.float64) for key in ("confidence", "accuracy", "count"))
    live = np.isfinite(count).all(1)
    bins, R = count.shape[1], int(live.sum())
    share = count[live].sum(0) / max(count[live].sum(), 1)
    # a bin that only some replicas reach has no mean over replicas
    full = (np.isfinite(right[live]).sum(0) >= max(1, R / 2)) & (share > 0)
    x, mean, low, high = (np.full(bins, np.nan) for _ in range(4))
    for b in np.flatnonzero(full):
        d = Distribution(tuple(right[live][:, b]), tuple(range(R)))
        x[b], mean[b] = np.nanmean(sure[live][:, b]), d.mean
        low[b], high[b] = d.interval()

    def draw(figure: Any, ax: Any) -> None:
        ax.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle="--", label="calibrated")
        centres = (np.arange(bins) + 0.5) / bins
        ax.bar(centres, share, 0.9 / bins, color=SOFT, alpha=0.25, linewidth=0, label="share")
        half = np.nan_to_num(np.stack([mean - low, high - mean]))
        ax.errorbar(x[full], mean[full], half[:, full], color=ONE, fmt="none", linewidth=1.2, capsize=2)
        ax.scatter(x[full], mean[full], 12 + 60 * share[full], color=ONE, linewidths=0, label="network", zorder=3)
        first = np.flatnonzero(share > 0)
        ax.set_xlim(first[0] / bins if first.size else 0, 1.01)
        ax.set_ylim(0, 1.03)
        ax.set_xlabel("confidence")
        ax.set_ylabel("accuracy")
        figure.legend(loc="outside upper left", ncols=3)

    told = ", ".join(f"{x[b]:.2f}: {mean[b]:.2f}" for b in np.flatnonzero(full))
    caption = f"Calibration: accuracy at each confidence, {_over(R, 'mean and 95 % interval')}. On the dashed line "
    caption += "the network is right as often as it says. Bars, and the points' size: the share of the predictions."
    return Drawing(drawn(name, draw), f"Accuracy by confidence: {told}.", caption)


def roc(name: str, found: Roc) -> Drawing:
    """True against false positive rate."""
    import numpy as np

    false, true = np.array(found["false"]), np.array(found["true"], dtype=np.float64)
    true = true[np.isfinite(true).all(1)]

    def draw(_: Any, ax: Any) -> None:
        ax.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle="--", label="chance")
        if len(true):
            mean, low, high = _band(true.T, False)
            ax.fill_between(false, low.clip(0, 1), high.clip(0, 1), color=ONE, alpha=0.2, linewidth=0)
            ax.plot(false, mean, color=ONE, label="network")
        ax.set_xlim(-0.01, 1.01)
        ax.set_ylim(-0.01, 1.02)
        ax.set_xlabel("false positive rate")
        ax.set_ylabel("true positive rate")
        ax.legend(loc="lower right")

    told = (
        [f"{t:.2f} at {false[i]:.2f}" for i, t in enumerate(true.mean(0)) if i in (1, 5, 10, 20)] if len(true) else []
    )
    caption = f"ROC curve: {_over(len(true), 'mean and ± standard deviation at each false positive rate')}."
    return Drawing(drawn(name, draw), f"True against false positive rate: {', '.join(told)}.", caption)


def residuals(name: str, found: Residuals, target: str, margins: Sequence[float | None] = ()) -> Drawing:
    """What the mean of the replicas' predictions gets wrong, against the prediction, with the spread over replicas.

    Between lines at the 90th of the `margins` a share of 90 % of new rows is to be.
    """
    import numpy as np

    y, t = np.array(found["prediction"], dtype=np.float64), np.array(found["target"], dtype=np.float64)
    spread = np.nan_to_num(np.array(found["spread"], dtype=np.float64))
    wide = margins[90 - 1] if margins else None

    def draw(_: Any, ax: Any) -> None:
        ax.axhline(0, color=INK, linewidth=0.8)
        for place in [] if wide is None else [-wide, wide]:
            ax.axhline(place, color=INK, linewidth=0.8, linestyle="--")
        ax.vlines(y, t - y - spread, t - y + spread, color=ONE, alpha=0.18, linewidth=0.8)
        ax.plot(y, t - y, "o", color=ONE, **SPOT)
        ax.set_xlabel(f"prediction of {_short(target, 20)}")
        ax.set_ylabel("true − predicted")

    shown = f"{len(y)} of {found['rows']} rows" if len(y) < found["rows"] else f"{len(y)} rows"
    caption = f"Residuals of {shown}: true value minus the replicas' mean prediction; bars are ± their standard "
    caption += "deviation. A trend or a funnel would mean that something is left to model."
    if wide is not None:
        caption += f" Of rows like these 90 % are to lie between the dashed lines, within {number(wide, 0.0)}."
    alt = "No prediction."
    if len(y):
        mean, std, least, most = (number(v, 0.0) for v in ((t - y).mean(), (t - y).std(), y.min(), y.max()))
        alt = f"Residuals have mean {mean} and standard deviation {std}, for predictions from {least} to {most}."
    return Drawing(drawn(name, draw), alt, caption)


def predictions(name: str, found: Residuals, target: str) -> Drawing:
    """True values against the mean of the replicas' predictions."""
    import numpy as np

    y, t = np.array(found["prediction"], dtype=np.float64), np.array(found["target"], dtype=np.float64)

    def draw(_: Any, ax: Any) -> None:
        if len(y):
            ends = [min(y.min(), t.min()), max(y.max(), t.max())]
            ax.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--")
        ax.plot(y, t, "o", color=ONE, **SPOT)
        ax.set_xlabel(f"prediction of {_short(target, 20)}")
        ax.set_ylabel("true value")

    defined = len(y) > 1 and y.std() > 0 and t.std() > 0
    told = f", correlation {np.corrcoef(y, t)[0, 1]:.3f}" if defined else ""
    caption = "True values against the mean of the replicas' predictions; on the dashed line they are equal."
    return Drawing(drawn(name, draw), f"True against predicted values{told}.", caption)


def _far(found: Sequence[Distribution]) -> int | None:
    """Which of the baselines, all but the first, is farther from all others than these are from each other."""
    ends = [(min(d.finite), max(d.finite)) for d in found]
    for place in range(1, len(ends)):
        others = ends[:place] + ends[place + 1 :]
        low, high = min(least for least, _ in others), max(most for _, most in others)
        if max(low - ends[place][1], ends[place][0] - high) > 1.5 * (high - low) > 0:
            return place
    return None


def _band(values: Array, log: bool) -> tuple[Array, Array, Array]:
    """(E, R) to mean and one standard deviation below and above; by logarithm, so that the band stays above 0."""
    import numpy as np

    x = np.ma.masked_invalid(np.log(values) if log else values)
    mean = x.mean(1).filled(np.nan)
    std = (x.std(1, ddof=1) if x.shape[1] > 1 else np.ma.zeros(len(x))).filled(0.0)
    found = mean, mean - std, mean + std
    return tuple(np.exp(v) for v in found) if log else found


def _plain(ax: Any) -> None:
    """Powers of ten as numbers: matplotlib writes formulas, which are not parsed here."""
    ticker = require("matplotlib.ticker", "cli")
    ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_formatter(ticker.NullFormatter())


def _ends(means: Array) -> str:
    """'from 0.5 to 0.1234'."""
    found = means[means == means]
    return f"from {number(found[0], 0.0)} to {number(found[-1], 0.0)}" if found.size else "none"


def _over(replicas: int, what: str) -> str:
    return "one replica" if replicas == 1 else f"{what} over {replicas} replicas"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _labels(texts: Sequence[str], most: int = 12) -> list[str]:
    """Each short, at the cost of its middle where the beginnings do not tell them apart."""
    ends = [_short(text, most) for text in texts]
    if len(set(ends)) == len(set(texts)):
        return ends
    return [text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}" for text in texts]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
