"""The examples in short form: every network trains, and as torch.nn trains it from the same weights and orders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from examples import report
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
