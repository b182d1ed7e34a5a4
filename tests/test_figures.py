"""The figures: which are drawn, that the same results give the same files, and what cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

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
    assert [f.name for f in draw(results, tmp_path)] == [n for n in NAMES if not n.startswith(gone)]


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
