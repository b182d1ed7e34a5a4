"""Metrics: scikit-learn's numbers for every replica, the calibration error by hand, and NaN with a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor

from handgrad import scoring
from handgrad.errors import ArgumentError, DTypeError, HandgradError, ShapeError
from handgrad.metrics import DEFAULTS, SCORES, Score, measure, pinball, resolve

Oracle = Callable[[Any, Any, Any], float]
"""From targets, probabilities (N, K) or values, and weights or None."""


def auc(t: Any, p: Any, w: Any) -> float:
    present = [k for k in range(p.shape[1]) if 0 < (t == k).sum() < len(t)]
    if p.shape[1] == 2:
        present = [1]
    return float(np.mean([sk.roc_auc_score(t == k, p[:, k], sample_weight=w) for k in present]))


def f1(t: Any, p: Any, w: Any) -> float:
    average = "binary" if p.shape[1] == 2 else "macro"
    return float(sk.f1_score(t, p.argmax(1), average=average, sample_weight=w, zero_division=0))


ORACLES: dict[str, Oracle] = {
    "accuracy": lambda t, p, w: sk.accuracy_score(t, p.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda t, p, w: sk.recall_score(
        t, p.argmax(1), average="macro", labels=np.unique(t), sample_weight=w
    ),
    "f1": f1,
    "auc": auc,
    "log_loss": lambda t, p, w: sk.log_loss(t, p, labels=range(p.shape[1]), sample_weight=w),
    "brier": lambda t, p, w: (
        sk.brier_score_loss(t, p[:, 1], sample_weight=w)
        if p.shape[1] == 2
        else np.average(((p - np.eye(p.shape[1])[t]) ** 2).sum(1), weights=w)
    ),
    "rmse": lambda t, y, w: sk.root_mean_squared_error(t, y, sample_weight=w),
    "mae": lambda t, y, w: sk.mean_absolute_error(t, y, sample_weight=w),
    "r2": lambda t, y, w: sk.r2_score(t, y, sample_weight=w),
    "median_absolute_error": lambda t, y, w: sk.median_absolute_error(t, y, sample_weight=w),
    "max_error": lambda t, y, w: np.mean([sk.max_error(t[:, o], y[:, o]) for o in range(t.shape[1])]),
}


def test_every_metric_has_an_oracle() -> None:
    assert set(SCORES) - set(ORACLES) == {"calibration_error"}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", [n for n in ORACLES if SCORES[n].task == "classification"])
@given(seed=st.integers(0, 10**6), K=st.integers(1, 5), N=st.integers(12, 60))
def test_classification_agrees_with_scikit_learn(
    name: str, shared: bool, weighted: bool, seed: int, K: int, N: int
) -> None:
    """K = 1: logits of two classes; logits rounded so that there are ties."""
    R, rng = 3, torch.Generator().manual_seed(seed)
    outputs = (3 * torch.randn(R, N, K, generator=rng)).round(decimals=1).double()
    targets = torch.randint(max(K, 2), (N,) if shared else (R, N), generator=rng)
    targets[..., :2] = torch.tensor([0, 1])
    weights = torch.randint(1, 5, (N,) if shared else (R, N), generator=rng).double() if weighted else None
    found = SCORES[name](outputs, targets, weights)
    logits = torch.cat([torch.zeros_like(outputs), outputs], -1) if K == 1 else outputs
    p = logits.softmax(-1).numpy()
    for r in range(R):
        w = None if weights is None else (weights if shared else weights[r]).numpy()
        t = (targets if shared else targets[r]).numpy()
        assert found[r].item() == pytest.approx(ORACLES[name](t, p[r], w), abs=1e-9)
    assert (found.dtype, found.shape) == (torch.float64, (R,))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", [n for n in ORACLES if SCORES[n].task == "regression"])
@given(seed=st.integers(0, 10**6), outs=st.integers(1, 3), N=st.integers(2, 40))
def test_regression_agrees_with_scikit_learn(
    name: str, shared: bool, weighted: bool, seed: int, outs: int, N: int
) -> None:
    R, rng = 3, torch.Generator().manual_seed(seed)
    outputs = torch.randn(R, N, outs, generator=rng).double()
    targets = torch.randn(*(() if shared else (R,)), N, outs, generator=rng).double()
    weights = torch.randint(1, 4, (N,), generator=rng).double() if weighted else None
    found = SCORES[name](outputs, targets, weights)
    for r in range(R):
        t = (targets if shared else targets[r]).numpy()
        w = None if weights is None else weights.numpy()
        assert found[r].item() == pytest.approx(ORACLES[name](t, outputs[r].numpy(), w), abs=1e-9)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_pinball_agrees_with_scikit_learn(q: float) -> None:
    y, t, w = torch.randn(2, 30).double(), torch.randn(30).double(), torch.rand(30).double()
    expected = [sk.mean_pinball_loss(t.numpy(), row.numpy(), sample_weight=w.numpy(), alpha=q) for row in y]
    assert pinball(q)(y, t, w).tolist() == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    """Bins of 1/15: 0.55 lies in (8/15, 9/15], 0.72 and 0.73 in (10/15, 11/15], 0.95 in the last."""
    p = torch.tensor([0.55, 0.72, 0.73, 0.05], dtype=torch.float64)
    t = torch.tensor([1, 1, 0, 0])
    z = torch.stack([(1 - p).log(), p.log()], -1).unsqueeze(0)
    by_hand = (abs(1 - 0.55) + 2 * abs(0.5 - 0.725) + abs(1 - 0.95)) / 4
    assert SCORES["calibration_error"](z, t).item() == pytest.approx(by_hand)
    weighted = (3 * abs(1 - 0.55) + 2 * abs(0.5 - 0.725) + abs(1 - 0.95)) / 6
    assert SCORES["calibration_error"](z, t, torch.tensor([3, 1, 1, 1])).item() == pytest.approx(weighted)


def test_shapes_that_mean_the_same_give_the_same() -> None:
    z, t, y = torch.randn(3, 8, 1), torch.tensor([0, 1] * 4), torch.randn(3, 8)
    for targets in (t, t.float(), t.unsqueeze(-1), t.expand(3, 8), t.expand(3, 8).unsqueeze(-1)):
        assert torch.equal(SCORES["auc"](z, targets), SCORES["auc"](z, t))
    for outputs in (y, y.unsqueeze(-1)):
        for targets in (y[0], y[0].unsqueeze(-1), y[:1].expand(3, 8), y[:1].expand(3, 8).unsqueeze(-1)):
            assert torch.equal(SCORES["r2"](outputs, targets), SCORES["r2"](y, y[0]))
    two = torch.cat([torch.zeros_like(z), z], -1)
    for name in resolve(None, "classification"):
        assert torch.equal(SCORES[name](z, t), SCORES[name](two, t))


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "weights", "reason"),
    [
        ("auc", torch.zeros(2, 3, 1), torch.ones(3), None, "one class only"),
        ("f1", -torch.ones(2, 3, 1), torch.zeros(3), None, "neither"),
        ("r2", torch.zeros(2, 3), torch.full((3,), 0.1), None, "all equal"),
        ("r2", torch.zeros(2, 3), torch.tensor([9.0, 0.1, 0.1]), torch.tensor([0.0, 0.3, 0.6]), "all equal"),
        *((name, torch.zeros(2, 0, 1), torch.zeros(0), None, "no samples") for name in SCORES),
        *((name, torch.zeros(2, 3, 1), torch.tensor([0, 1, 1]), torch.zeros(3), "no samples") for name in SCORES),
    ],
)
def test_undefined_is_nan_with_a_reason(
    name: str, outputs: Tensor, targets: Tensor, weights: Tensor | None, reason: str
) -> None:
    found = measure({name: SCORES[name]}, outputs, targets, weights)
    assert found.values[name].shape == (2,)
    assert found.values[name].isnan().all()
    assert reason in found.reasons[name]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", SCORES)
def test_a_diverged_replica_leaves_the_others_alone(name: str, bad: float) -> None:
    z, t = torch.randn(3, 20, 1), torch.tensor([0, 1] * 10)
    alone = SCORES[name](z, t)
    z[1, 4] = bad
    found = measure({name: SCORES[name]}, z, t)
    assert found.values[name][1].isnan()
    assert torch.equal(found.values[name][[0, 2]], alone[[0, 2]])
    assert found.reasons[name] == "outputs that are not finite numbers"


def test_a_weight_of_zero_leaves_a_sample_out() -> None:
    z, t, w = torch.randn(2, 20, 3), torch.randint(3, (20,)), torch.tensor([1.0] * 12 + [0.0] * 8)
    for name, score in SCORES.items():
        if score.task == "classification":
            assert torch.allclose(score(z, t, w), score(z[:, :12], t[:12])), name
        else:
            assert torch.allclose(score(z[..., 0], t, w), score(z[:, :12, 0], t[:12])), name


@pytest.mark.parametrize("weight", [0.1, 0.3, 1 / 7, 0.7, 1e-9, 1e9])
def test_equal_weights_are_no_weights(weight: float) -> None:
    """Sums of them meet a half of all only but for rounding."""
    for N in range(1, 60):
        errors = torch.arange(N, dtype=torch.float64).unsqueeze(0) ** 1.5
        found = SCORES["median_absolute_error"](errors, torch.zeros(N), torch.full((N,), weight, dtype=torch.float64))
        assert found.item() == pytest.approx(float(np.median(errors)), abs=1e-12)


def test_a_probability_of_zero_costs_what_it_does_in_scikit_learn() -> None:
    z = torch.tensor([[[0.0, -math.inf]]])
    assert SCORES["log_loss"](z, torch.tensor([1])).item() == pytest.approx(36.0437, abs=1e-4)


def test_log_odds_do_not_saturate() -> None:
    z = torch.tensor([[[50.0], [60.0], [70.0]]])  # all of probability 1 in float64
    assert SCORES["auc"](z, torch.tensor([0, 1, 1])).item() == 1


def test_log_odds_do_not_saturate_with_more_classes() -> None:
    """A third class that never comes near leaves the AUC of the two others as it is."""
    z = torch.tensor([[[50.0, 0.0], [60.0, 0.0], [70.0, 0.0]]], dtype=torch.float64)
    t = torch.tensor([1, 0, 0])
    three = torch.cat([z, torch.full((1, 3, 1), -9999.0, dtype=torch.float64)], -1)
    assert SCORES["auc"](three, t).item() == SCORES["auc"](z, t).item() == 1
    none = three.clone()
    none[..., 2] = -math.inf
    assert SCORES["auc"](none, t).item() == 1
    assert SCORES["auc"](torch.tensor([[[0.0, -math.inf, -math.inf]] * 3]), torch.tensor([0, 1, 2])).item() == 0.5


def test_logits_that_differ_by_a_constant_are_tied() -> None:
    assert SCORES["auc"](torch.tensor([[[0.0, 1, 4], [1, 2, 5]]]), torch.tensor([2, 0])).item() == 0.5
    draw = torch.Generator().manual_seed(0)
    for K in (2, 3, 7):
        z = torch.randint(9, (1, 1, K), generator=draw) + torch.randint(99, (1, 40, 1), generator=draw)
        assert SCORES["auc"](z.float(), torch.arange(40) % K).item() == 0.5


def test_logits_of_other_classes_that_change_places_are_tied() -> None:
    """Their softmax is summed in another order, and differed in its last digit."""
    logits, t = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double(), torch.arange(50) % 4
    turned = torch.cat([logits, logits[:, [0, 3, 1, 2]]])
    odds = scoring.of_classes(turned.unsqueeze(0), t.repeat(2)).odds[0]
    assert torch.equal(odds[:50, [0, 3, 1, 2]], odds[50:])


def test_the_reason_is_that_of_the_replica_without_a_number() -> None:
    weights = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    for names, outputs in ((["auc", "f1"], torch.randn(2, 3, 1)), (["r2"], torch.randn(2, 3))):
        task = "regression" if names == ["r2"] else "classification"
        found = measure(resolve(names, task), outputs, torch.tensor([0, 1, 1]), weights)
        assert found.reasons == dict.fromkeys(names, "there are no samples of positive weight")


def test_outputs_of_constant_targets_are_left_out_of_r2() -> None:
    t = torch.tensor([[1.0, 2.0], [1.0, 3.0], [1.0, 5.0]])
    y = torch.tensor([[[1.0, 2.0], [1.0, 3.0], [2.0, 4.0]]])
    assert SCORES["r2"](y, t).item() == pytest.approx(sk.r2_score(t[:, 1], y[0, :, 1]))


def test_resolve() -> None:
    own = lambda y, t: torch.zeros(len(y))  # noqa: E731
    for task, names in DEFAULTS.items():
        assert tuple(resolve(None, task)) == names
    assert list(resolve(["Log loss", "balanced-accuracy", "F1"], "classification")) == [
        "log_loss",
        "balanced_accuracy",
        "f1",
    ]
    assert list(resolve("R²", "regression")) == ["r2"]
    assert resolve({"mine": own, "error": "mae"}, "regression") == {"mine": own, "error": SCORES["mae"]}
    assert list(resolve(pinball(0.9), "regression")) == ["pinball_0.9"]


@pytest.mark.parametrize(
    ("metrics", "error", "says"),
    [
        ("acuracy", ArgumentError, "Did you mean 'accuracy'?"),
        ("rmse", ArgumentError, "RMSE, of regression"),
        ([SCORES["r2"]], ArgumentError, "R², of regression"),
        ([lambda y, t: y], ArgumentError, "{'my name': function}"),
        (["f1", "F1"], ArgumentError, "'f1' twice"),
        ([3], DTypeError, "a name or a function"),
    ],
)
def test_resolve_refuses(metrics: Any, error: type[HandgradError], says: str) -> None:
    with pytest.raises(error, match=re.escape(says)):
        resolve(metrics, "classification")


def test_functions_of_ones_own() -> None:
    y, t = torch.randn(2, 5), torch.randn(5)
    found = measure({"bias": lambda y, t: (y - t).mean(1)}, y, t)
    assert torch.allclose(found.values["bias"], (y - t).mean(1).double())
    weighted = measure({"bias": lambda y, t, w: (w * (y - t)).sum(1)}, y, t, torch.ones(5))
    assert torch.allclose(weighted.values["bias"], (y - t).sum(1).double())
    assert measure({"none": lambda y, t: torch.full((2,), math.nan)}, y, t).reasons == {"none": "the function gave NaN"}
    with pytest.raises(ShapeError, match=r"metric mean: expected a number for each of 2 replicas, got shape \(\)"):
        measure({"mean": lambda y, t: (y - t).mean()}, y, t)


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "weights", "says"),
    [
        ("accuracy", torch.zeros(5, 3), torch.zeros(5), None, ".unsqueeze(0)"),
        ("accuracy", torch.zeros(2, 5, 3), torch.zeros(5, 3), None, "t.argmax(-1)"),
        ("accuracy", torch.zeros(2, 5, 3), torch.full((5,), 3), None, "targets from 0 to 2, got 3"),
        ("accuracy", torch.zeros(2, 5, 3), torch.full((5,), -1), None, "got -1"),
        ("accuracy", torch.zeros(2, 5, 1), torch.full((5,), 0.5), None, "got 0.5"),
        ("accuracy", [[0.0]], torch.zeros(5), None, "torch.as_tensor"),
        ("accuracy", torch.zeros(2, 5, 3), torch.zeros(5), torch.zeros(4), "weights of shape (5,) or (2, 5)"),
        ("accuracy", torch.zeros(2, 5, 3), torch.zeros(5), -torch.ones(5), "at least 0"),
        ("rmse", torch.zeros(5), torch.zeros(5), None, ".unsqueeze(0)"),
        ("accuracy", torch.zeros(1, 5, 3, 7), torch.zeros(5, 7), None, "several labels a sample, pass a function"),
        ("rmse", torch.zeros(2, 5), torch.zeros(4), None, "targets of shape (5,) or (2, 5)"),
        ("rmse", torch.zeros(2, 5, 3), torch.zeros(5), None, "(5, 3) or (2, 5, 3)"),
        ("rmse", torch.zeros(2, 1), torch.tensor([math.nan]), None, "finite targets"),
    ],
)
def test_bad_input_is_told(name: str, outputs: Any, targets: Tensor, weights: Tensor | None, says: str) -> None:
    with pytest.raises(HandgradError, match=re.escape(says)):
        SCORES[name](outputs, targets, weights)


@pytest.mark.parametrize("q", [0, 1, -1])
def test_pinball_refuses(q: float) -> None:
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        pinball(q)


@pytest.mark.parametrize("score", [*SCORES.values(), pinball(0.9)], ids=lambda score: score.name)
def test_a_score_says_what_it_is(score: Score) -> None:
    assert score.task in DEFAULTS
    assert score.takes == "values" if score.task == "regression" else score.takes in ("labels", "probabilities")
    assert score.unit in ("fraction", "nats", "target", "")
    assert score.formula
    better, worse = torch.tensor([[[4.0], [-4.0], [3.0]]]), torch.tensor([[[-4.0], [4.0], [-3.0]]])
    t = torch.tensor([1, 0, 1])
    assert bool(score(better, t) > score(worse, t)) is score.larger


def test_the_documentation_has_every_formula() -> None:
    text = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = {
        cells[1].strip(" `"): cells for line in text.splitlines() if len(cells := re.split(r"(?<!\\)\|", line)) == 6
    }
    for name, score in SCORES.items():
        _, _, takes, better, formula, _ = rows[name]
        assert takes.strip() == score.takes
        assert better.strip() == ("higher" if score.larger else "lower")
        assert formula.strip().replace("\\|", "|") == score.formula
