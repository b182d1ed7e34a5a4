"""Summaries, paired differences and the ratio of spreads, against formulas by hand and against scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from handgrad.errors import ArgumentError
from handgrad.experiments.statistics import Paired, Summary, paired, spread_ratio, summarise

rng = np.random.default_rng(0)
A, B = rng.normal(0.95, 0.02, 20), rng.normal(0.93, 0.03, 20)


def test_summary_by_hand() -> None:
    s = summarise([1.0, 2.0, 3.0, 4.0])
    assert (s.mean, s.n) == (2.5, 4)
    assert s.std == pytest.approx(math.sqrt(5 / 3))
    assert s.high - 2.5 == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)
    assert 2.5 - s.low == pytest.approx(s.high - 2.5)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_summary_and_paired_agree_with_scipy(level: float) -> None:
    s, p = summarise(A.tolist(), level), paired(A.tolist(), B.tolist(), level)
    for found, values in ((s, A), (p, A - B)):
        interval = stats.ttest_1samp(values, 0).confidence_interval(level)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert (found.mean, found.std) == pytest.approx((values.mean(), values.std(ddof=1)))
    interval = stats.ttest_rel(A, B).confidence_interval(level)
    assert (p.low, p.high) == pytest.approx((interval.low, interval.high))


def test_one_value_has_no_spread() -> None:
    s, p, r = summarise([0.9]), paired([0.9, math.nan], [0.8, 0.7]), spread_ratio([0.9], [0.8])
    assert isinstance(s, Summary)
    assert isinstance(p, Paired)
    assert (s.mean, p.mean) == pytest.approx((0.9, 0.1))
    assert (s.n, p.n, r.n) == (1, 1, 1)
    assert all(map(math.isnan, (s.std, s.low, s.high, p.std, p.low, p.high, r.ratio, r.low, r.high)))


def test_pairs_with_a_diverged_round_are_left_out() -> None:
    a, b = A.copy(), B.copy()
    a[3], b[7], b[8] = math.nan, math.inf, math.nan
    kept = [i for i in range(20) if i not in (3, 7, 8)]
    assert paired(a.tolist(), b.tolist()) == paired(A[kept].tolist(), B[kept].tolist())
    assert spread_ratio(a.tolist(), b.tolist()) == spread_ratio(A[kept].tolist(), B[kept].tolist())


def test_spread_ratio_is_that_of_the_standard_deviations() -> None:
    s = spread_ratio(A.tolist(), B.tolist())
    assert s.ratio == pytest.approx(A.std(ddof=1) / B.std(ddof=1))
    assert s.low < s.ratio < s.high
    assert s == spread_ratio(A.tolist(), B.tolist())
    assert s != spread_ratio(A.tolist(), B.tolist(), seed=1)
    scaled = spread_ratio((10 * A + 5).tolist(), B.tolist())
    assert (scaled.ratio, scaled.low, scaled.high) == pytest.approx((10 * s.ratio, 10 * s.low, 10 * s.high))


def test_spread_ratio_is_near_scipys_bootstrap_and_a_little_wider() -> None:
    def ratio(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(x.std(axis=axis, ddof=1) / y.std(axis=axis, ddof=1))

    found = spread_ratio(A.tolist(), B.tolist())
    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 10_000}
    low, high = stats.bootstrap((A, B), ratio, rng=np.random.default_rng(1), **options).confidence_interval
    assert 0.85 * low < found.low < low
    assert high < found.high < 1.15 * high


def test_spread_ratio_covers() -> None:
    draw = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        s = spread_ratio(draw.normal(0, 1, 20).tolist(), draw.normal(0, 2, 20).tolist())
        missed += not s.low <= 0.5 <= s.high
    assert missed <= 20  # 10 expected


def test_spread_ratio_keeps_pairs_together() -> None:
    together = spread_ratio((3 * A).tolist(), A.tolist())
    assert (together.ratio, together.low, together.high) == pytest.approx((3, 3, 3))


def test_spread_ratio_of_values_without_spread() -> None:
    flat = [0.1] * 20
    none, small, large = spread_ratio(flat, flat), spread_ratio(flat, B.tolist()), spread_ratio(A.tolist(), flat)
    assert all(map(math.isnan, (none.ratio, none.low, none.high)))
    assert (small.ratio, small.low, small.high) == (0, 0, 0)
    assert (large.ratio, large.low, large.high) == (math.inf, math.inf, math.inf)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_rounds_give_no_interval_of_spread(n: int) -> None:
    s = spread_ratio(A[:n].tolist(), B[:n].tolist())
    assert s.ratio == pytest.approx(A[:n].std() / B[:n].std())
    assert math.isnan(s.low)
    assert math.isnan(s.high)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summarise([]), "at least one value"),
        (lambda: summarise([1.0, math.nan]), "1 of 2 not finite"),
        (lambda: summarise([1.0, 2.0], level=1.0), "level between 0 and 1"),
        (lambda: paired([], []), "at least one pair"),
        (lambda: paired([1.0], [math.nan]), "none of 1"),
        (lambda: paired([1.0, 2.0], [1.0]), "equal length"),
        (lambda: spread_ratio([math.nan], [1.0]), "at least one pair"),
        (lambda: spread_ratio([1.0, 2.0], [1.0, 2.0], level=0.0), "level between 0 and 1"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
