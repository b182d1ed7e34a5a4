"""Plots of results: what they show for none to three hyper-parameters, and that the files depend on nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from handgrad import plots
from handgrad.errors import ArgumentError, OutputError
from handgrad.grid import grid
from handgrad.plots import plot, save
from handgrad.results import Results


def made_up(seeds: int = 6, dead: Callable[[dict[str, Any], int], bool] = lambda c, s: False, **hyper: Any) -> Results:
    """Losses about 1, those diverged that `dead` names."""
    g = grid(seeds=seeds, **hyper)
    values = np.random.default_rng(0).normal(1, 0.1, len(g)).tolist()
    diverged: list[dict[str, Any] | None] = [{"epoch": 1} if dead(c, s) else None for c, s in g.replicas]
    return Results(g, {"loss": values}, diverged=diverged)


def texts(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.mark.parametrize("seeds", [1, 2, 19, 40])
def test_a_distribution_shows_every_replica(seeds: int) -> None:
    results = made_up(seeds, dead=lambda _, s: s == 1)
    figure = plot(results, "loss")
    d = results.distribution("loss")
    dots = figure.axes[0].get_lines()[0]
    assert sorted(np.asarray(dots.get_xdata())) == sorted(d.finite)
    heights = [bar.get_height() for bar in figure.axes[0].patches if isinstance(bar, Rectangle)]
    assert sum(heights) == (d.n if seeds == 40 else 0)
    assert figure.axes[0].get_xlabel() == "loss"
    assert str(d).split(";")[0] in texts(figure)
    assert (f"1 of {seeds} diverged" in texts(figure)) == (seeds > 1)
    assert (figure.axes[0].get_ylabel() == "replicas") == (seeds == 40)


def test_below_the_dots_are_mean_interval_and_standard_deviation() -> None:
    results = made_up(7, dead=lambda _, s: s == 1)
    d = results.distribution("loss")
    ax: Any = plot(results, "loss").axes[0]
    _, std, interval, mean = ax.get_lines()
    assert tuple(std.get_xdata()) == (d.mean - d.std, d.mean + d.std)
    assert tuple(interval.get_xdata()) == d.interval()
    assert tuple(mean.get_xdata()) == (d.mean,)
    assert interval.get_linewidth() > std.get_linewidth()  # as the note says
    one = plot(made_up(1), "loss").axes[0].get_lines()
    assert [len(np.atleast_1d(np.asarray(line.get_xdata()))) for line in one] == [1, 1]


def test_one_numeric_hyper_parameter() -> None:
    results = made_up(lr=[0.1, 0.001, 0.01], dead=lambda c, s: c["lr"] == 0.1 and s < 2)
    figure = plot(results, "loss")
    ax = figure.axes[0]
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "lr", "loss")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.1", "0.001", "0.01"]
    line, *_, bars = ax.containers[0]
    order = [0.001, 0.01, 0.1]
    found = [results.distribution("loss", lr=lr) for lr in order]
    np.testing.assert_allclose(line.get_xdata(orig=False), order)
    np.testing.assert_allclose(line.get_ydata(orig=False), [d.mean for d in found])
    ends = np.array([segment[:, 1] for segment in bars[0].get_segments()])
    np.testing.assert_allclose(ends, [d.interval() for d in found])
    assert texts(figure).count("2/6\ndiverged") == 1
    assert "What diverged is left out and counted." in texts(figure).replace("\n", " ")
    for line, lr in zip(ax.get_lines(), (0.1, 0.001, 0.01)):  # each beside its value
        x, y = (np.asarray(v) for v in line.get_data())
        assert sorted(y) == sorted(results.distribution("loss", lr=lr).finite)
        assert all(np.abs(np.log10(x) - np.log10(lr)) < 0.25)
    marks = [(t.xy[0], t.get_text()) for t in ax.texts if t.get_text()]  # type: ignore[attr-defined]
    assert marks == [(0.1, "2/6\ndiverged")]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1e-3, 1e-2, 1e-1], "log"),
        ([0.001, 1.0], "log"),
        ([16, 32, 64, 128], "log"),
        ([1, 2, 3, 4], "linear"),
        (list(range(1, 21)), "linear"),
        ([0.0, 0.01, 1.0], "symlog"),
        ([0, 1e-4, 1e-3, 1e-2, 0.1], "symlog"),
        ([0.0, 0.1, 0.2], "linear"),
        ([0.0, 1.0], "linear"),
        ([-1.0, 100.0], "linear"),
        (["a", "b"], "linear"),
        ([True, False], "linear"),
        ([None, 0.1], "linear"),
    ],
)
def test_scale_follows_the_values(values: list[Any], scale: str) -> None:
    ax = plot(made_up(2, x=values), "loss").axes[0]
    assert ax.get_xscale() == scale
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    line = ax.containers[0][0]
    np.testing.assert_allclose(line.get_xdata(orig=False), values if numeric else range(len(values)))
    assert line.get_linestyle() == ("-" if numeric else "None")


@pytest.mark.parametrize(
    "values",
    [[0, 1e-4, 1e-3, 1e-2, 0.1], [0.0, 1e-3, 2e-3, 1.0], [1e-5, 2e-5, 1.0, 1.5], [-1.0, 100.0, 101.0], [1, 2, 3]],
    ids=str,
)
def test_labels_do_not_overlap_and_no_mark_is_cut_off(values: list[Any], tmp_path: Path) -> None:
    figure = plot(made_up(5, wd=values), "loss")
    save(figure, tmp_path / "wd")
    ax: Any = figure.axes[0]
    ends = ax.transData.transform([(v, ax.get_ylim()[0]) for v in (min(values), max(values))])[:, 0]
    box = ax.get_window_extent()
    assert box.x0 + 3 < ends[0]  # more than a mark's radius, at 100 pixels an inch
    assert ends[1] < box.x1 - 3
    labels = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
    shown = [label for label in labels if box.x0 <= (label.x0 + label.x1) / 2 <= box.x1]
    assert len(shown) > 1
    assert all(a.x1 < b.x0 for a, b in pairwise(sorted(shown, key=lambda label: float(label.x0))))


@pytest.mark.parametrize("across", [["kaiming_uniform", "xavier_uniform", "pytorch"], [(64, 64, 64, 64), (128,) * 4]])
def test_long_labels_below_a_heat_map_do_not_overlap(across: list[Any], tmp_path: Path) -> None:
    figure = plot(made_up(2, a=["CosineAnnealingWarmRestarts", "OneCycleLR"], b=across), "loss")
    save(figure, tmp_path / "heat")
    labels = figure.axes[0].get_xticklabels()
    # at 25 degrees two lines of text are apart if their ends are further apart than a line's height by its sine
    assert {t.get_rotation() for t in labels} == {25.0}
    ends = [t.get_window_extent().x1 for t in labels]
    assert all(b - a > 7 / 72 * figure.dpi / math.sin(math.radians(25)) for a, b in pairwise(ends))


def test_names_that_are_longer_than_their_axis_are_wrapped(tmp_path: Path) -> None:
    g = grid(seeds=2, a=["x" * 20, "y"], b=["z" * 20, "w"], c=[1, 2], d=[3, 4])
    metric = "a metric with a long name indeed, that goes on and on"
    figure = plot(Results(g, {metric: [1.0] * len(g)}), metric, a="x" * 20, b="z" * 20)
    save(figure, tmp_path / "long")
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [t.get_window_extent() for t in figure.findobj(mpl.text.Text) if t.get_visible() and t.get_text()]
    assert all(b.x0 > -3 and b.x1 < width + 3 and b.y0 > -3 and b.y1 < height + 3 for b in boxes)


@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_the_heading_of_a_distribution_is_whole(scale: float, tmp_path: Path) -> None:
    g = grid(seeds=40)
    values = (scale * np.random.default_rng(0).normal(0.9123, 0.004, 40)).tolist()
    dead: list[dict[str, Any] | None] = [{"epoch": 1} if s < 7 else None for s in range(40)]
    figure = plot(Results(g, {"loss": values}, diverged=dead, finished=[s < 30 for s in range(40)]), "loss")
    save(figure, tmp_path / "strip")
    left, right = (figure.axes[0].get_title(loc=side) for side in ("left", "right"))
    told, gone = (next(t for t in figure.findobj(mpl.text.Text) if t.get_text() == title) for title in (left, right))
    assert right == "7 of 40 diverged, 10 of 40 not finished"
    assert left.endswith("\n")  # its last line is the right one's
    assert told.get_window_extent().x1 < figure.get_figwidth() * figure.dpi
    assert gone.get_window_extent().y1 < told.get_window_extent().y1


def test_values_in_steps_that_are_as_frequent_have_bars_as_high() -> None:
    """Bars of two steps beside bars of three looked like values that are rare and frequent by turns."""
    results = Results(grid(seeds=120), {"accuracy": [0.9 + (i % 30) / 300 for i in range(120)]})
    bars: list[Any] = [p for p in plot(results, "accuracy").axes[0].patches if isinstance(p, Rectangle)]
    assert {bar.get_height() for bar in bars} == {8}
    assert bars[0].get_x() + bars[0].get_width() / 2 == pytest.approx(0.9 + 0.5 / 300)  # about the first two


def test_many_names_stand_upright(tmp_path: Path) -> None:
    figure = plot(made_up(2, init=[f"initialiser_{i}" for i in range(40)]), "loss")
    save(figure, tmp_path / "many")
    labels = [t.get_window_extent() for t in figure.axes[0].get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(labels))


def test_one_value_far_from_the_others_does_not_make_bars_without_number() -> None:
    values = (1 + 1e-3 * np.random.default_rng(0).normal(size=29)).tolist()
    figure = plot(Results(grid(seeds=30), {"loss": [*values, 1e3]}), "loss")
    assert sum(isinstance(bar, Rectangle) for bar in figure.axes[0].patches) == 6  # √30, rounded up


def test_integers_that_are_equal_as_floats_have_places_of_their_own() -> None:
    ax = plot(made_up(2, k=[10**18, 10**18 + 1]), "loss").axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1000000000000000000", "1000000000000000001"]


def test_zero_stands_a_gap_below_the_least_of_values_by_logarithm() -> None:
    ax: Any = plot(made_up(3, wd=[0.1, 0, 0.001, 0.01]), "loss").axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.1", "0", "0.001", "0.01"]
    places = ax.transData.transform([(v, 1) for v in (0, 0.001, 0.01, 0.1)])[:, 0]
    np.testing.assert_allclose(np.diff(places), np.diff(places)[0])


def test_two_hyper_parameters_make_a_heat_map() -> None:
    def dead(c: dict[str, Any], s: int) -> bool:
        return c == {"init": "b", "lr": 0.1} or (c == {"init": "a", "lr": 0.1} and s == 0)

    results = made_up(init=["a", "b"], lr=[0.1, 0.2, 0.3], dead=dead)
    figure = plot(results, "loss")
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lr", "init")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.1", "0.2", "0.3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    cells = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}
    for i, init in enumerate("ab"):
        for j, lr in enumerate([0.1, 0.2, 0.3]):
            d = results.distribution("loss", init=init, lr=lr)
            assert cells[i, j].startswith(f"{d.mean:.3f}\n± {d.std:.3f}" if d.n else "6 of 6 diverged")
    assert cells[0, 0].endswith("\n1 of 6 diverged")
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 2.5), (1.5, -0.5))  # all cells, the first row on top
    colours: Any = figure.axes[1].collections[-1]
    means = {cell: results.distribution("loss", init="ab"[cell[0]], lr=[0.1, 0.2, 0.3][cell[1]]).mean for cell in cells}
    for patch, (i, j) in zip(ax.patches, [(i, j) for i in range(2) for j in range(3)]):
        box: Any = patch
        assert (box.get_x() + 0.49, box.get_y() + 0.49) == pytest.approx((j, i))
        shade = colours.cmap(colours.norm(means[i, j]))
        assert box.get_facecolor() == (shade if math.isfinite(means[i, j]) else (0.93, 0.93, 0.93, 1.0))
    assert figure.axes[1].get_ylabel() == "mean loss"


def test_text_in_cells_can_be_read() -> None:
    results = made_up(2, a=list(range(5)), b=list(range(5)))
    ax = plot(results, "loss").axes[0]
    colors = {t.get_color() for t in ax.texts}
    assert colors == {"white", "black"}
    for patch, text in zip(ax.patches, ax.texts):
        back = plots._luminance(patch.get_facecolor())  # type: ignore[arg-type]
        ink = 1.0 if text.get_color() == "white" else 0.0
        assert (max(back, ink) + 0.05) / (min(back, ink) + 0.05) > 4.5  # WCAG 2, level AA


def test_three_make_a_panel_each_with_one_scale() -> None:
    results = made_up(2, width=[16, 32, 64], init=["a", "b"], lr=[0.1, 0.2])
    figure = plot(results, "loss")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["width = 16", "width = 32", "width = 64"]
    assert all(len(ax.texts) == 4 for ax in panels)
    assert len(figure.axes) == len(panels) + 1
    for ax, width in zip(panels, [16, 32, 64]):
        for text, (init, lr) in zip(ax.texts, [(init, lr) for init in "ab" for lr in (0.1, 0.2)]):
            mean = results.distribution("loss", width=width, init=init, lr=lr).mean
            assert text.get_text().startswith(f"{mean:.3f}\n")


def test_one_replica_each_has_no_spread() -> None:
    figure = plot(made_up(1, init=["a", "b"], lr=[0.1, 0.2]), "loss")
    assert all("±" not in t.get_text() for t in figure.axes[0].texts)
    assert "One replica each." in texts(figure)
    _, _, bars = plot(made_up(1, lr=[0.1, 0.2]), "loss").axes[0].containers[0]
    assert all(np.ptp(segment[:, 1]) == 0 for segment in bars[0].get_segments())


def test_values_can_be_chosen_and_single_ones_do_not_count() -> None:
    results = made_up(3, width=[16, 32], init=["a", "b"], lr=[0.1, 0.2], wd=[0.0])
    figure = plot(results, "loss", width=32, init="a")
    assert figure.axes[0].get_xlabel() == "lr"
    assert figure.get_suptitle() == "width = 32, init = a"
    means = figure.axes[0].containers[0][0].get_ydata(orig=False)
    np.testing.assert_allclose(
        means, [results.distribution("loss", width=32, init="a", lr=lr).mean for lr in (0.1, 0.2)]
    )
    assert plot(results, "loss", width=32, init="a", lr=0.1).axes[0].get_xlabel() == "loss"


@pytest.mark.parametrize("hyper", [{}, {"lr": [0.1, 0.2]}, {"lr": [0.1, 0.2], "init": ["a", "b"]}])
@pytest.mark.parametrize("seeds", [1, 3])
def test_everything_diverged(hyper: dict[str, Any], seeds: int, tmp_path: Path) -> None:
    figure = plot(made_up(seeds, dead=lambda c, s: True, **hyper), "loss")
    assert len(save(figure, tmp_path / "all")) == 2
    told = texts(figure).count(f"{seeds} of {seeds} diverged") + texts(figure).count(f"{seeds}/{seeds}\ndiverged")
    assert told == math.prod(map(len, hyper.values()))


@pytest.mark.parametrize("hyper", [{}, {"lr": [0.1, 0.2]}, {"lr": [0.1, 0.2], "init": ["a", "b"]}])
def test_replicas_not_finished_are_told(hyper: dict[str, Any]) -> None:
    results = made_up(3, **hyper)
    results.finished[-1] = False
    told = texts(plot(results, "loss"))
    assert "1 of 3 not finished" in told or "1/3\nnot finished" in told


def test_ticks_tell_values_apart() -> None:
    assert plots._ticks([0.1, 10**-1.5, "a", 3]) == ["0.1", "0.0316", "a", "3"]
    assert plots._ticks([0.12345, 0.12346]) == ["0.12345", "0.12346"]


def test_equal_values_can_be_drawn(tmp_path: Path) -> None:
    for hyper in ({}, {"lr": [0.1, 0.2]}, {"lr": [0.1, 0.2], "init": ["a", "b"]}):
        g = grid(seeds=25, **hyper)
        save(plot(Results(g, {"loss": [0.5] * len(g)}), "loss"), tmp_path / "equal")


def test_values_that_differ_in_their_last_digit_can_be_drawn() -> None:
    results = Results(grid(seeds=25), {"loss": [0.3] * 24 + [0.1 + 0.2]})
    ax = plot(results, "loss").axes[0]
    assert sorted(np.asarray(ax.get_lines()[0].get_xdata())) == sorted(results.metrics["loss"])


@pytest.mark.parametrize("odd", [math.inf, -math.inf, 1e308])
def test_values_that_no_axis_has_are_drawn_as_names(odd: float, tmp_path: Path) -> None:
    """Such as a clipping norm of ∞, which clips nothing."""
    figure = plot(made_up(2, max_norm=[0.5, odd]), "loss")
    np.testing.assert_allclose(figure.axes[0].containers[0][0].get_xdata(orig=False), [0, 1])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.5", str(odd)]
    save(figure, tmp_path / "odd")


def test_values_too_near_for_logarithms() -> None:
    assert plot(made_up(2, x=[1e10, 1e10 + 2e-6, 1e12]), "loss").axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c")])
def test_names_are_not_formulas(names: tuple[str, ...], tmp_path: Path) -> None:
    g = grid(seeds=2, **{name: ["$x^{$", "y"] for name in names})
    results = Results(g, {"cost in $ per $\\frac": [1.0] * len(g)})
    png, svg = save(plot(results, "cost in $ per $\\frac"), tmp_path / "odd")
    assert size(png)[0] > 0
    assert svg.stat().st_size > 0


def test_many_values_on_a_logarithmic_axis() -> None:
    figure = plot(made_up(2, lr=[10.0**-n for n in range(9)]), "loss")
    figure.canvas.draw()
    told = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert "0.01" in told
    assert not any("$" in text for text in told)


def test_files(tmp_path: Path) -> None:
    results = made_up(lr=[0.1, 0.2])
    files = save(plot(results, "loss"), tmp_path / "new" / "lr0.5")
    assert [f.name for f in files] == ["lr0.5.png", "lr0.5.svg"]
    assert sorted(f.name for f in files[0].parent.iterdir()) == ["lr0.5.png", "lr0.5.svg"]
    assert size(files[0])[0] == 720  # 3.6 inches at 200 dpi
    assert b"<dc:date>" not in files[1].read_bytes()
    first = [f.read_bytes() for f in files]
    with mpl.rc_context({"font.size": 20, "axes.grid": False, "savefig.dpi": 30}):
        again = save(plot(results, "loss"), str(tmp_path / "again.svg"))
        assert mpl.rcParams["font.size"] == 20
    assert [f.name for f in again] == ["again.png", "again.svg"]
    assert [f.read_bytes() for f in again] == first


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match=r"a\.png: expected a file that can be written"):
        save(plot(made_up(), "loss"), tmp_path / "file" / "a")


@pytest.mark.parametrize(
    ("hyper", "config", "message"),
    [
        ({name: [1, 2] for name in "abcd"}, {}, r"at most 3 hyper-parameters to draw, got a, b, c, d\. .*metric, a=1"),
        ({"a": range(13), "b": [1, 2], "c": [1, 2]}, {}, r"at most 12 values of a, each a panel, got 13\. .*a=0"),
        ({"a": [1, 2]}, {"b": 1}, r"a hyper-parameter of the grid \(a\), got 'b'"),
        ({"a": [1, 2]}, {"a": 3}, "a to be one of 1, 2, got 3"),
    ],
)
def test_wrong_arguments(hyper: dict[str, Any], config: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        plot(made_up(1, **hyper), "loss", **config)


def test_an_unknown_metric() -> None:
    with pytest.raises(ArgumentError, match=r"a metric of the results \(loss\), got 'acc'"):
        plot(made_up(lr=[0.1, 0.2]), "acc")
