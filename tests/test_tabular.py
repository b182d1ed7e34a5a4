"""The benchmark of tabular data measures what its tables say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from benchmarks import tabular
from handgrad.estimators import HandgradClassifier


@pytest.mark.filterwarnings("ignore")
def test_quality_has_a_row_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "CLASSES", {"wine": tabular.CLASSES["wine"]})
    monkeypatch.setattr(tabular, "NUMBERS", {"diabetes": tabular.NUMBERS["diabetes"]})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tabular.quality(2)][2:]
    assert [row[0] for row in rows] == ["wine"] * 5 + ["diabetes"] * 5
    scores = [float(row[2].split(" ± ")[0]) for row in rows]
    assert all(score > 0.9 for score in scores[:5])
    assert all(0 < score < 0.7 for score in scores[5:])


def test_replicas_are_scored_alone() -> None:
    X, y = tabular.CLASSES["wine"]()
    train, test = np.arange(0, 178, 2), np.arange(1, 178, 2)
    model = HandgradClassifier(3, epochs=4, random_state=0)
    (_, whole), (name, alone) = tabular.measured(model, X, y, train, test, True)
    assert name == "its replicas alone"
    assert whole.score == model.score(X[test], y[test])
    assert alone.score == pytest.approx(np.mean([model.replica(r).score(X[test], y[test]) for r in range(3)]))
    assert whole.loss < alone.loss


def test_speed_trains_as_many_epochs_as_asked_for() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = list(tabular.speed(2, 1, ["friedman1"]))
    assert len(rows) == 4
    assert all(float(row.split("|")[5].strip().rstrip("×")) > 0 for row in rows[2:])
