"""The figures of the HTML report: that they draw the numbers that they are given, each under its own name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from handgrad.distribution import Distribution
from handgrad.report import figures, svg
from handgrad.report.figures import DARKEST, Drawing
from handgrad.report.svg import ONE, VARIABLES

INTERVAL = [0.925, 0.975]  # of 0.94, 0.95, 0.96


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Drawing]]:
    """Calls what makes a figure and returns the axes that it draws on, before they become a text, and the figure."""

    def made(make: Callable[..., Drawing], *args: Any) -> tuple[Any, Drawing]:
        figure = Figure(layout="constrained")
        ax: Any = figure.subplots()
        monkeypatch.setattr(figures, "drawn", lambda name, draw, height=0, mixed=None: str(draw(figure, ax)))
        return ax, make("name", *args)

    return made


def lines(ax: Any, **look: Any) -> list[Any]:
    """x and y of the lines that look so, such as marker="o" or linestyle=":"."""
    found = [line for line in ax.get_lines() if all(getattr(line, f"get_{k}")() == v for k, v in look.items())]
    return [tuple(np.asarray(v, dtype=float).tolist() for v in line.get_data()) for line in found]


def near(*points: Sequence[float]) -> Any:
    return pytest.approx(np.array(points), nan_ok=True, abs=1e-12)


def band(ax: Any) -> np.ndarray[Any, Any]:
    """Columns x, low and high of what is filled."""
    points = ax.collections[0].get_paths()[0].vertices
    places = np.unique(points[:, 0]).tolist()
    return np.array([[x, *(f(points[points[:, 0] == x, 1]) for f in (np.min, np.max))] for x in places])


# The element


def test_colours_fonts_and_ids_are_the_pages() -> None:
    def draw(figure: Figure, ax: Any) -> None:
        for place, colour in enumerate(VARIABLES):
            ax.axhline(place, color=colour, clip_on=True)
        ax.legend(ax.get_lines(), list(VARIABLES))

    found = svg.drawn("one", draw)
    assert found.startswith("<svg ")
    tags = re.sub(">[^<]*<", "><", found)
    assert set(re.findall(r"var\(--(\w+)\)", tags)) == set(VARIABLES.values())
    assert not re.search(r"#[0-9a-f]{6}\b|font-family|DejaVu", tags, re.IGNORECASE)
    assert set(re.findall(">(#[0-9A-F]{6})<", found)) == set(VARIABLES)  # texts stay as they are
    ids = re.findall(r'\bid="([^"]*)', tags)
    assert all(name.startswith("one-") for name in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', tags)) <= set(ids)


def test_ticks_with_room_for_their_labels_stay() -> None:
    figure = Figure(figsize=(4, 3))
    ax = figure.subplots()
    ax.set_xticks(places := [0.0, 0.25, 0.5, 0.75, 1.0])
    ax.set_xlim(0, 1)
    svg._thin(figure, ax)
    assert ax.get_xticks().tolist() == places


# Strips


def test_a_row_of_strips_holds_the_numbers_of_its_name(drawn: Any) -> None:
    seeds = (0, 1, 2, 3)
    found = {
        "network": Distribution((0.94, 0.96, math.nan, 0.95), seeds),
        "nothing": Distribution((math.nan,) * 4, seeds),
        "one": Distribution((math.nan, 0.7, math.nan, math.nan), seeds),
        "a stump": Distribution((0.5, 0.5, 0.6, 0.4), seeds),
    }
    ax, drawing = drawn(figures.strips, "AUC", "higher is better", found)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the network on top
    assert [t.get_text() for t in ax.get_yticklabels()] == ["network", "one", "a stump"]
    rows: dict[int, list[list[float]]] = {}
    for x, y in lines(ax):
        assert round(min(y)) == round(max(y))
        rows.setdefault(round(y[0]), []).append(x)
    assert rows[0] == [[0.94, 0.96, 0.95], pytest.approx(INTERVAL, abs=5e-4), [pytest.approx(0.95)]]
    assert rows[1] == [[0.7], [0.7]]
    assert rows[2] == [[0.5, 0.5, 0.6, 0.4], pytest.approx(found["a stump"].interval()), [0.5]]
    assert drawing.alt.startswith("AUC: network 0.950 ± 0.010 (95 % interval 0.925 to 0.975, n = 3); 1 of 4 without")
    assert drawing.caption == "AUC, higher is better."


@pytest.mark.parametrize(("constant", "told", "side"), [(0.5, "← 0.5", "left"), (1.4, "1.4 →", "right")])
def test_a_baseline_far_from_all_others_is_told_at_the_edge(drawn: Any, constant: float, told: str, side: str) -> None:
    seeds = (0, 1, 2)
    found = {
        "network": Distribution((0.94, 0.96, 0.95), seeds),
        "constant": Distribution((constant,) * 3, seeds),
        "a line": Distribution((0.9, 0.92, 0.91), seeds),
    }
    ax, drawing = drawn(figures.strips, "AUC", "", found)
    assert [(t.get_text(), t.get_position()[1], t.get_ha()) for t in ax.texts] == [(told, 1, side)]
    assert all(0.85 < min(x) <= max(x) < 1 for x, _ in lines(ax))
    assert drawing.caption == "AUC. The arrow: the mean of constant, beyond the axis."
    near_by = {**found, "constant": Distribution((0.85,) * 3, seeds)}
    assert len(drawn(figures.strips, "AUC", "", near_by)[0].texts) == 0


# Layers


def test_layers_are_drawn_at_the_epochs_that_were_seen(drawn: Any) -> None:
    found = {"0 ReLU": [[1.0, 2.0, 4.0], [None, 0.001, 0.003]], "1 Linear": [[None] * 3, [5.0, 5.0, 5.0]]}
    ax, drawing = drawn(figures.layers, "std", [5, 10], found, ["0 ReLU", "1 Linear"])
    assert lines(ax) == [([5.0, 10.0], pytest.approx([2.0, 0.002])), ([10.0], [5.0])]
    assert band(ax) == near([5, 1.5, 3], [10, 0.0015, 0.0025])
    assert [text.get_text() for text in ax.get_yticklabels() if text.get_text()][-1] == "10"  # no formula
    assert drawing.alt.endswith("outputs, by layer: 0 ReLU from 2 to 0.002; 1 Linear from 5 to 5.")


# Curves


def test_curves_are_mean_and_deviation_of_what_did_not_diverge(drawn: Any) -> None:
    train = [[1.0, 50.0, 2.0], [0.5, None, 0.7], [0.4, None, 0.6]]
    checked = [[1.5, 60.0, 2.5], [None, None, None], [0.6, None, 0.9]]
    found = {"train": train, "validation": checked}
    ax, drawing = drawn(figures.curves, "loss", found, [False, True, False], [2, 1, 0])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["train", "validation"]
    assert ax.get_yscale() == "linear"
    (mean,) = lines(ax, label="train")
    assert mean == ([1, 2, 3], pytest.approx([1.5, 0.6, 0.5]))
    (mean,) = lines(ax, label="validation")
    assert mean == ([1, 3], pytest.approx([2, 0.75]))  # the second epoch was not measured
    faint = lines(ax, color=ONE, linestyle="-", alpha=0.22)
    assert faint == [([1, 3], [1.5, 0.6]), ([1, 3], [2.5, 0.9])]  # of the last split
    halves = [[1, 1.5, math.sqrt(0.5)], [2, 0.6, math.sqrt(0.02)], [3, 0.5, math.sqrt(0.02)]]
    assert band(ax) == near(*([x, middle - std, middle + std] for x, middle, std in halves))
    assert lines(ax, marker="|") == [([3, 1], [0, 0])]  # epochs count from 1
    assert "over 2 replicas; faint, each of them in validation." in drawing.caption
    assert "Marks at the foot" in drawing.caption
    assert drawing.alt == "loss over 3 epochs: train from 1.5 to 0.5; validation from 2 to 0.75."


def test_a_part_looks_the_same_alone(drawn: Any) -> None:
    ax, _ = drawn(figures.curves, "accuracy", {"validation": [[0.5, 0.7], [0.6, 0.8]]}, [False] * 2, [])
    assert lines(ax, label="validation", color=ONE, linestyle="-") == [([1, 2], pytest.approx([0.6, 0.7]))]


def test_a_logarithmic_curve_is_of_the_logarithms(drawn: Any) -> None:
    ax, _ = drawn(figures.curves, "loss", {"train": [[1.0, 100.0], [0.1, 10.0]]}, [False] * 2, [])
    assert ax.get_yscale() == "log"
    assert lines(ax, linestyle="--", label="train")[0][1] == pytest.approx([10, 1])
    std = 10 ** math.sqrt(2)  # of log₁₀ 1 and log₁₀ 100
    assert band(ax) == near([1, 10 / std, 10 * std], [2, 1 / std, std])
    assert len(lines(ax)) == 4  # the mean, two replicas, and nothing dotted


@pytest.mark.parametrize(
    ("least", "most", "scale"),
    [
        (1.0, 30.0, "linear"),
        (1.0, 31.0, "log"),
        (0.0, 31.0, "linear"),
        (-1.0, 1e3, "linear"),
    ],
)
def test_a_range_of_more_than_30_is_drawn_by_logarithm(drawn: Any, least: float, most: float, scale: str) -> None:
    ax, _ = drawn(figures.curves, "loss", {"train": [[most], [least]]}, [False], [])
    assert ax.get_yscale() == scale


def test_a_mean_over_fewer_replicas_is_dotted(drawn: Any) -> None:
    curve = [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, None], [0.0, None, None]]
    ax, drawing = drawn(figures.curves, "loss", {"train": curve}, [False] * 3, [None] * 3)
    assert lines(ax, label="train") == [([1, 2, 3, 4], pytest.approx([2, 2, math.nan, math.nan], nan_ok=True))]
    assert lines(ax, linestyle=":") == [([1, 2, 3, 4], pytest.approx([math.nan, 2, 1.5, 0], nan_ok=True))]
    assert band(ax) == near([1, 1, 3], [2, 1, 3])
    assert "Dotted" in drawing.caption
    early = [[0.5, None, None], [1.0, 2.0, 3.0], [1.0, None, 2.0], *[[1.0, 2.0, 3.0]] * 3]  # as F1 is, at first
    ax, drawing = drawn(figures.curves, "F1", {"train": early}, [False] * 3, [])
    ((_, whole),), ((_, dotted),) = lines(ax, label="train"), lines(ax, linestyle=":")
    assert whole == pytest.approx([math.nan, 2, math.nan, 2, 2, 2], nan_ok=True)
    assert dotted == pytest.approx([0.5, 2, 1.5, 2, math.nan, math.nan], nan_ok=True)
    assert "Dotted" in drawing.caption
    assert "Marks" not in drawing.caption


# Predictions


def test_cells_of_a_confusion_matrix_are_shares_of_their_row(drawn: Any) -> None:
    counts = [[[8.0, 2.0], [1.0, 3.0]], [[6.0, 4.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]
    ax, drawing = drawn(figures.confusion, counts, ["no", "yes"])
    std = [math.sqrt(200), math.sqrt(312.5)]
    assert {t.get_position(): t.get_text() for t in ax.texts} == {
        (0, 0): f"70.0\n± {std[0]:.1f}",
        (1, 0): f"30.0\n± {std[0]:.1f}",
        (0, 1): f"12.5\n± {std[1]:.1f}",
        (1, 1): f"87.5\n± {std[1]:.1f}",
    }
    assert [(p.get_x() + 0.48, p.get_y() + 0.48, p.get_alpha()) for p in ax.patches] == [
        pytest.approx(cell) for cell in ((0, 0, 0.35), (1, 0, 0.15), (0, 1, 0.0625), (1, 1, 0.4375))
    ]
    assert DARKEST == 0.5
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 1.5), (1.5, -0.5))  # the first class on top
    for axis in (ax.xaxis, ax.yaxis):
        assert [t.get_text() for t in axis.get_ticklabels()] == ["no", "yes"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    assert drawing.alt == "Confusion matrix. Right: no 70.0 %, yes 87.5 %."
    assert "mean ± standard deviation over 2 replicas" in drawing.caption


@pytest.mark.parametrize(("K", "text"), [(4, "100.0\n± 0.0"), (5, "100.0"), (7, "100.0"), (8, "100"), (11, None)])
def test_many_classes_have_shorter_numbers(drawn: Any, K: int, text: str | None) -> None:
    ax, _ = drawn(figures.confusion, [np.eye(K).tolist()] * 2, [f"{k}" for k in range(K)])
    assert {t.get_text() for t in ax.texts if t.get_position() == (3, 3)} == ({text} if text else set())
    assert len(ax.texts) == (K * K if text else 0)


def test_every_name_of_many_classes_stands_at_its_class(drawn: Any) -> None:
    ax, _ = drawn(figures.confusion, [np.eye(61).tolist()], [f"{k}" for k in range(61)])
    for axis in (ax.xaxis, ax.yaxis):
        named = [(t.get_text(), place) for t, place in zip(axis.get_ticklabels(), axis.get_ticklocs())]
        assert named == [(f"{k}", k) for k in range(0, 61, 3)]


def test_points_of_calibration(drawn: Any) -> None:
    """Of four bins the first is empty, the second is reached by one of four replicas."""
    found: Any = {
        "confidence": [[None, 0.4, 0.7, 0.9], [None, None, 0.66, 0.8], [None, None, 0.7, 1.0], [None, None, 0.7, 0.9]],
        "accuracy": [[None, 0.1, 0.94, 0.5], [None, None, 0.96, 0.5], [None, None, 0.95, 0.5], [None, None, None, 0.5]],
        "count": [[0.0, 4.0, 2.0, 4.0], [0.0, 0.0, 6.0, 4.0], [0.0, 0.0, 6.0, 4.0], [0.0, 0.0, 6.0, 4.0]],
    }
    bad: Any = {name: [*rows, [None] * 4] for name, rows in found.items()}
    for given in (found, bad):
        ax, drawing = drawn(figures.reliability, given)
        scatter = next(c for c in ax.collections if c.get_label() == "network")
        assert np.asarray(scatter.get_offsets()) == near([0.69, 0.95], [0.9, 0.5])
        assert scatter.get_sizes().tolist() == pytest.approx([12 + 60 * 0.5, 12 + 60 * 0.4])
        bars = [(p.get_x() + p.get_width() / 2, p.get_height()) for p in ax.patches]
        assert bars == [pytest.approx(bar) for bar in ((0.125, 0), (0.375, 0.1), (0.625, 0.5), (0.875, 0.4))]
        low, high = (np.array([s[i, 1] for s in ax.containers[1][2][0].get_segments()]) for i in (0, 1))
        assert (low[0], high[0]) == pytest.approx(tuple(INTERVAL), abs=5e-4)
        assert (low[1], high[1]) == (0.5, 0.5)
        assert lines(ax, label="calibrated") == [([0, 1], [0, 1])]
        assert ax.get_xlim()[0] == 0.25  # the first bin with samples
        assert drawing.alt == "Accuracy by confidence: 0.69: 0.95, 0.90: 0.50."
        assert "over 4 replicas" in drawing.caption


def test_the_mean_of_the_roc_curves(drawn: Any) -> None:
    false = [i / 20 for i in range(21)]
    up = [min(1.0, 0.2 + x) for x in false]
    ax, drawing = drawn(figures.roc, {"false": false, "true": [up, false, [None] * 21]})
    (mean,) = lines(ax, label="network")
    middle = (np.array(up) + false) / 2
    assert mean == (false, pytest.approx(middle))
    std = (np.array(up) - false) / math.sqrt(2)
    assert band(ax) == near(*zip(false, (middle - std).clip(0, 1), (middle + std).clip(0, 1)))
    assert lines(ax, label="chance") == [([0, 1], [0, 1])]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("false positive rate", "true positive rate")
    assert drawing.alt == "True against false positive rate: 0.15 at 0.05, 0.35 at 0.25, 0.60 at 0.50, 1.00 at 1.00."
    assert "over 2 replicas" in drawing.caption


POINTS = {"prediction": [1.0, 2.0, 4.0], "spread": [0.5, None, 0.25], "target": [2.0, 1.0, 4.5], "rows": 9}


def test_residuals_are_true_minus_predicted(drawn: Any) -> None:
    ax, drawing = drawn(figures.residuals, POINTS, "price")
    assert lines(ax, marker="o") == [([1, 2, 4], [1, -1, 0.5])]
    bars = np.array(ax.collections[0].get_segments())
    assert bars[:, :, 0] == near([1, 1], [2, 2], [4, 4])
    assert bars[:, :, 1] == near([0.5, 1.5], [-1, -1], [0.25, 0.75])
    assert lines(ax, linestyle="-", marker="None") == [([0, 1], [0, 0])]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("prediction of price", "true − predicted")
    assert "Residuals of 3 of 9 rows" in drawing.caption
    assert drawing.alt == "Residuals have mean 0.1667 and standard deviation 0.8498, for predictions from 1 to 4."
    _, whole = drawn(figures.residuals, {**POINTS, "rows": 3}, "price")
    assert "Residuals of 3 rows" in whole.caption


def test_lines_beside_the_residuals_are_at_the_margin_of_90_percent(drawn: Any) -> None:
    margins = [percent / 100 for percent in range(1, 100)]
    ax, drawing = drawn(figures.residuals, POINTS, "price", margins)
    assert lines(ax, linestyle="--") == [([0, 1], [-0.9, -0.9]), ([0, 1], [0.9, 0.9])]
    assert "90 % are to lie between the dashed lines, within 0.9" in drawing.caption
    ax, drawing = drawn(figures.residuals, POINTS, "price", [*margins[:50], *[None] * 49])
    assert not lines(ax, linestyle="--")
    assert "dashed" not in drawing.caption


def test_predictions_lie_below_true_values(drawn: Any) -> None:
    ax, drawing = drawn(figures.predictions, POINTS, "price")
    assert lines(ax, marker="o") == [([1, 2, 4], [2, 1, 4.5])]
    assert lines(ax, linestyle="--") == [([1, 4.5], [1, 4.5])]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("prediction of price", "true value")
    assert drawing.alt == f"True against predicted values, correlation {np.corrcoef([1, 2, 4], [2, 1, 4.5])[0, 1]:.3f}."
