"""The figures: which are drawn, that the same results give the same files, and what cannot be written."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from handgrad.errors import OutputError
from handgrad.experiments import figures
from handgrad.experiments.figures import draw
from handgrad.files import write_atomically
from tests.results import LABELS, copied, diverge, made_up

NAMES = [f"{name}.{suffix}" for name in ("figure1", "figure2", "certificate") for suffix in ("png", "svg")]


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_every_figure_is_written(tmp_path: Path) -> None:
    files = draw(copied(made_up()), tmp_path / "new" / "folder")
    assert [f.name for f in files] == NAMES
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(NAMES)  # and no temporary file
    assert size(files[0])[0] == 1440  # 7.2 inches at 200 dpi
    assert files[1].read_text().startswith("<?xml")


def test_same_results_same_files_whatever_the_settings(tmp_path: Path) -> None:
    results = made_up(epochs=3)
    first = [f.read_bytes() for f in draw(results, tmp_path / "a")]
    with mpl.rc_context({"font.size": 20, "axes.grid": False, "savefig.dpi": 30}):
        assert [f.read_bytes() for f in draw(results, tmp_path / "b")] == first
        assert mpl.rcParams["font.size"] == 20
    assert b"<dc:date>" not in first[1]


@pytest.mark.parametrize(("rounds", "epochs"), [(1, 1), (3, 1), (1, 60)])
def test_few_rounds_and_epochs(rounds: int, epochs: int, tmp_path: Path) -> None:
    results = made_up(rounds, epochs)
    if rounds == 1:
        for side in ("without", "with"):
            results["figure1"][side]["features"]["sample_share"]["std"] = [None] * epochs
    assert len(draw(results, tmp_path)) == 6


@pytest.mark.parametrize("part", ["figure1", "certificate", "rows"])
def test_a_figure_without_numbers_is_skipped(part: str, tmp_path: Path) -> None:
    results = made_up(rounds=2, epochs=2)
    del results[part]
    gone = "figure2" if part == "rows" else part
    for name in NAMES:
        (tmp_path / name).write_text("of an earlier run")
    kept = [n for n in NAMES if not n.startswith(gone)]
    assert [f.name for f in draw(results, tmp_path)] == kept
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(kept)


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert draw({"figure1": {"without": None}, "certificate": {"float64": {"bound": 1e-10}}}, tmp_path) == []


@pytest.mark.parametrize("missing", list(LABELS))
def test_rows_may_be_missing(missing: str) -> None:
    results = made_up(rounds=2, epochs=2)
    results["rows"] = [row for row in results["rows"] if row["key"] != missing]
    figure = figures._figure2(results)
    assert figure is not None
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 3 - (missing in ("report", "best", "torch_nn"))


def test_diverged_rounds_are_left_out_of_the_curves() -> None:
    results = made_up(rounds=4)
    expected = 100 * np.delete(results["rows"][0]["test_accuracy"], 2, axis=0).mean(axis=0)
    diverge(results, "report", 2)
    figure = figures._figure2(copied(results))
    assert figure is not None
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0].endswith("(1 of 4 rounds diverged, left out)")
    assert "diverged" not in labels[1]
    lines = [np.asarray(line.get_ydata()) for line in figure.axes[1].get_lines()]
    assert any(line.shape == expected.shape and np.allclose(line, expected) for line in lines)
    for i in range(4):
        diverge(results, "report", i)
    figure = figures._figure2(results)
    assert figure is not None
    assert len(figure.legends[0].get_texts()) == 2


def test_a_network_that_stopped_learning_can_be_drawn(tmp_path: Path) -> None:
    results = made_up(rounds=2, epochs=3)
    gradient = results["figure1"]["without"]["gradient"]
    gradient["quantiles"] = [[-9.0] * 5] * 3
    gradient["histogram"]["density"] = [[10.0] + [0.0] * 99] * 3
    features = results["figure1"]["without"]["features"]
    features["quantiles"] = [[None] * 5, [0.0] * 5, [50.0] * 5]
    features["histogram"]["density"][0] = [None] * 160
    features["sample_share"]["mean"][0] = None
    results["certificate"]["float64"]["largest_by_step"][:2] = [0.0, None]
    results["certificate"]["float32"]["largest_by_step"] = [0.0] * 20
    assert len(draw(copied(results), tmp_path)) == 6


def test_share_of_vanished_gradients_is_written_in() -> None:
    results = made_up(epochs=2)
    density = [5.5] + [0.0] * 80 + [0.45] * 10 + [0.0] * 9
    results["figure1"]["without"]["gradient"]["histogram"]["density"] = [density] * 2
    figure = figures._figure1(results)
    assert figure is not None
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts[:2] == ["55 % ≤ $10^{-9}$", "55 %"]


def test_limits_hold_the_quantiles_within_the_histogram() -> None:
    part = {"histogram": {"edges": [-3, 0, 5]}, "quantiles": [[-1, 0, 0, 0, 1]] * 19 + [[-1, 0, 0, 0, 90]]}
    low, high = figures._limits([part])
    assert (low, high) == pytest.approx((-1.16, 1.16))
    low, high = figures._limits([{**part, "quantiles": [[90.0] * 5]}])
    assert -3 <= low < high <= 5
    assert figures._limits([{**part, "quantiles": [[None] * 5]}]) == (-3, 5)


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match=r"file.figure1\.png: expected a file that can be written, got .*Choose"):
        draw(made_up(rounds=2, epochs=2), tmp_path / "file")


def test_write_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomically(tmp_path / "a" / "text.md", "α\n")
    assert path.read_bytes() == "α\n".encode()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"text\.md: .*No space left on device"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["text.md"]


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "figure1.png").mkdir()
    with pytest.raises(OutputError, match="expected a file that can be written"):
        write_atomically(tmp_path / "figure1.png", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["figure1.png"]


def lines(ax: Any, **look: Any) -> list[Any]:
    """Points (2, n) of the lines of an axis that look so, such as label="a"."""
    return [
        np.array(line.get_data())
        for line in ax.get_lines()
        if all(getattr(line, f"get_{k}")() == v for k, v in look.items())
    ]


def bands(ax: Any) -> list[Any]:
    """Lowest and highest points (2, n) of each band, from left to right."""
    found = []
    for band in ax.collections:
        points = band.get_paths()[0].vertices
        columns = [points[points[:, 0] == x, 1] for x in np.unique(points[:, 0])]
        found.append(np.array([[c.min() for c in columns], [c.max() for c in columns]]))
    return found


def test_losses_and_accuracies_of_each_row_are_drawn_under_its_label() -> None:
    results = made_up(rounds=3, epochs=4)
    figure: Any = figures._figure2(results)
    loss, accuracy = figure.axes
    rows = {row["key"]: row for row in results["rows"]}
    assert loss.get_yscale() == "log"
    for i, key in enumerate(("report", "best", "torch_nn")):
        losses, train, test = (np.array(rows[key][f"{k}"]) for k in ("epoch_loss", "train_accuracy", "test_accuracy"))
        x, y = lines(loss)[i]
        assert lines(loss)[i].tolist() == lines(loss, label="\n".join(textwrap.wrap(LABELS[key], 34)))[0].tolist()
        assert x.tolist() == [1, 2, 3, 4]
        logs = np.log10(losses)
        mean, std = logs.mean(0), logs.std(0, ddof=1)
        assert y == pytest.approx(10**mean)
        assert bands(loss)[i] == pytest.approx(10 ** np.array([mean - std, mean + std]))
        solid, dotted = lines(accuracy)[2 * i : 2 * i + 2]
        assert solid[1] == pytest.approx(100 * test.mean(0))
        assert dotted[1] == pytest.approx(100 * train.mean(0))
        mean, std = test.mean(0), test.std(0, ddof=1)
        assert bands(accuracy)[i] == pytest.approx(100 * np.array([mean - std, mean + std]).clip(0, 1))
        colours = {line.get_color() for line in (loss.get_lines()[i], *accuracy.get_lines()[2 * i : 2 * i + 2])}
        assert len(colours) == 1
    solid, dotted = (
        next(line for line in accuracy.get_lines() if line.get_label() == name) for name in ("test", "train")
    )
    looks = [line.get_linestyle() for line in accuracy.get_lines()[:2]]
    assert [solid.get_linestyle(), dotted.get_linestyle()] == looks
    assert looks[0] != looks[1]


def test_distributions_and_shares_of_each_network_are_drawn_at_their_epochs() -> None:
    results = made_up(epochs=20)
    data = results["figure1"]
    for i, side in enumerate(("without", "with")):
        data[side]["features"]["sample_share"] = {
            "mean": [0.1 + 0.5 * i + e / 100 for e in range(20)], "std": [0.01 + i / 100] * 20,
        }  # fmt: skip
    figure: Any = figures._figure1(results)
    chosen = [0, 3, 5, 8, 11, 14, 16, 19]  # of 20 epochs eight as evenly as may be
    for n, part in enumerate(("features", "gradient")):
        *panels, last = figure.axes[3 * n : 3 * n + 3]
        for ax, side in zip(panels, ("without", "with")):
            assert ax.get_title() == f"{side} BatchNorm"
            assert ax.get_yticks().tolist() == [-row for row in range(8)]
            assert [t.get_text() for t in ax.get_yticklabels()] == [f"{e + 1}" for e in chosen]
            q = data[side][part]["quantiles"]
            spans, dots = lines(ax)[::2], lines(ax)[1::2]
            assert [x.tolist() for x, _ in spans] == [[q[e][0], q[e][4]] for e in chosen]
            assert [x.tolist() for x, _ in dots] == [[q[e][2]] for e in chosen]
            assert [round(y[0]) for _, y in (*spans, *dots)] == [-row for row in range(8)] * 2
            for row, e in enumerate(chosen):
                density = np.array(data[side][part]["histogram"]["density"][e])
                if part == "gradient":
                    density[0] = 0
                heights, edges, baseline = ax.patches[2 * row].get_data()
                assert baseline == -row
                assert edges.tolist() == data[side][part]["histogram"]["edges"]
                inside = (edges[1:] > ax.get_xlim()[0]) & (edges[:-1] < ax.get_xlim()[1])
                root = np.sqrt(density) / np.sqrt(density[inside].max())
                assert heights + row == pytest.approx(np.minimum(0.8 * root, 0.8))
        for i, side in enumerate(("without", "with")):
            x, y = lines(last, label=f"{side} BatchNorm")[0]
            assert x.tolist() == list(range(1, 21))
            quartiles = np.array(data[side]["gradient"]["quantiles"])[:, 1:4].T
            share = data[side]["features"]["sample_share"]
            mean, std = 100 * np.array(share["mean"]), 100 * np.array(share["std"])
            low, middle, high = (mean - std, mean, mean + std) if part == "features" else quartiles
            assert y == pytest.approx(middle)
            assert bands(last)[i] == pytest.approx(np.array([low, high]))


def test_differences_of_each_dtype_are_drawn_by_step() -> None:
    results = made_up()
    certificate = results["certificate"]
    certificate["float64"]["largest_by_step"][3] = 0.0
    for k, part in enumerate(certificate.values()):
        sides = {"handgrad": [1e-9, 2e-9, 3e-9], "reversed": [4e-9, 5e-9, 6e-9]}
        part["free"] = {
            side: {"median_by_step": [10**k * v for v in values], "worst_by_step": [10**k * 7 * v for v in values]}
            for side, values in sides.items()
        }
    figure: Any = figures._certificate(results)
    together, free = figure.axes
    for dtype, part in certificate.items():
        x, y = lines(together, label=f"{dtype}, worst of 20 rounds")[0]
        assert x.tolist() == list(range(1, len(x) + 1))
        assert y == pytest.approx(np.array([v or np.nan for v in part["largest_by_step"]]), nan_ok=True)
        for kind in ("median", "worst"):
            x, y = lines(free, label=f"{dtype}, {kind} round")[0]
            assert (x.tolist(), y.tolist()) == ([1, 2, 3], part["free"]["handgrad"][f"{kind}_by_step"])
            assert any(line[1].tolist() == part["free"]["reversed"][f"{kind}_by_step"] for line in lines(free))
        for ax in figure.axes:
            assert any(set(y) == {part["bound"]} for _, y in lines(ax, linestyle="--"))
        (text,) = (t for t in together.texts if t.get_text() == f"bound for {dtype}")
        assert text.xy[1] == part["bound"]
    low, high = together.get_ylim()
    assert low < 1e-15
    assert high > 1e-4
