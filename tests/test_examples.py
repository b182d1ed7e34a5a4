"""The examples in short form: every network trains, and as torch.nn trains it from the same weights and orders."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from examples import initialisation, pictures, report
from examples.problems import PROBLEMS, Problem, characters
from examples.running import ours, theirs

pytest.importorskip("sklearn")


def short(problem: Problem) -> Problem:
    """Fewer windows of text; the other data sets are small as they are."""
    return (
        dataclasses.replace(problem, split=lambda seed: characters(seed, 64))
        if problem.split is characters
        else problem
    )


def compared(name: str, epochs: int = 1) -> report.Compared:
    problem = short(PROBLEMS[name])
    return report.Compared(problem, ours(problem, range(2), epochs, lambda _: None), theirs(problem, range(1), epochs))


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_epoch_is_torchs(name: str) -> None:
    one = compared(name)
    assert one.ours.loss.shape == (2, 1)
    assert one.ours.loss.isfinite().all()
    assert one.apart() < 1e-5
    assert abs(float(one.ours.score[0, 0] - one.theirs.score[0, 0])) < 0.5


def test_page_and_figure(tmp_path: Path) -> None:
    found = [compared("diabetes", 4), compared("friedman", 4)]
    text = report.table(found)
    assert text.count("\n") == 3
    assert "(R = 2)" in text
    report.figure(found, tmp_path / "examples.png")
    assert (tmp_path / "examples.png").stat().st_size > 10_000


def test_the_page_of_initialisations_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialisation, "INITS", dict(list(initialisation.INITS.items())[:3]))
    page = tmp_path / "initialisation.md"
    page.write_text(f"Before.\n{initialisation.BEGIN}\nold\n{initialisation.END}\nAfter.\n", encoding="utf-8")
    initialisation.main(rounds=6, epochs=1, output=tmp_path)
    begin, _, *rows, end = page.read_text(encoding="utf-8").split("\n")[1:-2]
    assert (begin, end) == (initialisation.BEGIN, initialisation.END)
    assert [row.count("|") for row in rows] == [5] * 5
    assert rows[1].startswith("| torch.nn | ")
    assert "old" not in rows
    peer, default = (float(row.split("|")[2].split("±")[0]) for row in rows[1:3])
    difference = float(rows[2].split("|")[3].split("(")[0].replace("−", "-"))
    assert difference == pytest.approx(default - peer, abs=0.011)


@pytest.mark.skipif(not any(map(shutil.which, pictures.BROWSERS)), reason="no browser is installed")
def test_a_report_has_its_picture_taken(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    page = tmp_path / "report.html"
    page.write_text('<div id="baselines"><p class="grid">Dots</p></div><div id="training">Curves</div>')
    taken = pictures.photographed(page)
    assert set(taken) == {"report", "report_baselines", "report_layers"}
    assert all(picture.startswith(b"\x89PNG") for picture in taken.values())
