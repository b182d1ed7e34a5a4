"""A figure as SVG that stands inside a page: the page's colours, light or dark, and ids of its own."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from handgrad.optional import require
from handgrad.plots import BLUE, STYLE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# what is drawn in these colours gets the page's variable of that name, which the colour scheme sets
INK, SOFT, GRID, PAPER, ONE, TWO = "#101010", "#505050", "#DDDDDD", "#FEFEFE", BLUE, VERMILION
VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper", ONE: "one", TWO: "two"}

WIDTH, HEIGHT = 4.6, 3.3  # inches: at 72 points an inch the width of a telephone, so that texts keep their size there

LOOK: dict[str, Any] = {
    **STYLE,
    **{f"font.{name}": value for name, value in (("size", 11), ("family", "DejaVu Sans"))},
    **{f"{name}size": 11 for name in ("axes.title", "axes.label")},
    **{f"{name}.labelsize": 10.5 for name in ("xtick", "ytick")},
    "legend.fontsize": 10.5,
    "svg.fonttype": "none",  # texts stay texts
    "text.parse_math": False,  # a column may be called "$x"
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


def drawn(
    name: str, draw: Callable[[Figure, Any], None], height: float = HEIGHT, mixed: Mapping[str, str] | None = None
) -> str:
    """Return what `draw(figure, axes)` draws, as an svg element.

    Args:
        name: different for each figure of a page, for the ids.
        draw: draws in the colours of this module.
        height: in inches.
        mixed: colours of its own, and what stands for each in the page's style.
    """
    with require("matplotlib.style", "cli").context(["default", {**LOOK, "svg.hashsalt": name}]):
        figure = require("matplotlib.figure", "cli").Figure(figsize=(WIDTH, height), layout="constrained")
        ax = figure.subplots()
        draw(figure, ax)
        buffer = io.StringIO()
        with warnings.catch_warnings():
            # the browser writes the texts, in fonts of its own
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            warnings.filterwarnings("ignore", message=".*constrained_layout not applied", category=UserWarning)
            _thin(figure, ax)
            figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    styles = {color: f"var(--{variable})" for color, variable in VARIABLES.items()}
    return _inlined(buffer.getvalue(), name, {**styles, **(mixed or {})})


def _thin(figure: Figure, ax: Any) -> None:
    """Fewer ticks below, until no two of their labels touch."""
    for most in (4, 3, 2, 1):
        figure.draw_without_rendering()
        boxes = sorted((t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()), key=lambda box: box.x0)
        if all(a.x1 + 4 < b.x0 for a, b in pairwise(boxes)):
            return
        ax.locator_params(axis="x", nbins=most)


def _inlined(text: str, name: str, styles: Mapping[str, str]) -> str:
    """Without what only a file needs; styles of its own would hold for the whole page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub("<[^>]*>", lambda tag: _tag(tag[0], name, styles), body)  # not the texts between them
    body = "\n".join(line.strip() for line in body.splitlines() if line.strip())
    return f'<svg {box[0] if box else ""} aria-hidden="true" focusable="false">{body}'


def _tag(text: str, name: str, styles: Mapping[str, str]) -> str:
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text.replace("xlink:href", "href"))
    for color, style in styles.items():
        text = re.sub(color, style, text, flags=re.IGNORECASE)
    return text.replace("'DejaVu Sans'", "inherit").replace("font-family: inherit; ", "")
