"""Distributions and comparisons, against formulas by hand, against scipy, and in what they promise over many draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from handgrad import statistics
from handgrad.distribution import Comparison, Distribution, SpreadRatio
from handgrad.errors import ArgumentError

rng = np.random.default_rng(0)
A, B = rng.normal(0.95, 0.02, 20), rng.normal(0.93, 0.03, 20)
NAN = math.nan


def of(values: Sequence[float] | np.ndarray, name: str = "", start: int = 0) -> Distribution:
    return Distribution(tuple(map(float, values)), tuple(range(start, start + len(values))), name)


def test_distribution_by_hand() -> None:
    d = of([4.0, 1.0, NAN, 3.0, 2.0])
    assert (d.mean, d.median, d.n, d.diverged, d.minimum, d.maximum) == (2.5, 2.5, 4, 1, 1.0, 4.0)
    assert d.quartiles == (1.75, 3.25)
    assert d.std == pytest.approx(math.sqrt(5 / 3))
    low, high = d.interval()
    assert high - 2.5 == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)
    assert 2.5 - low == pytest.approx(high - 2.5)
    assert (d.low, d.high) == (low, high)
    assert math.isnan(d.vector[2])
    assert d.finite == [4.0, 1.0, 3.0, 2.0]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_intervals_agree_with_scipys_t_tests(level: float) -> None:
    interval = stats.ttest_1samp(A, 0).confidence_interval(level)
    assert of(A).interval(level) == pytest.approx((interval.low, interval.high))
    assert (of(A).mean, of(A).std) == pytest.approx((A.mean(), A.std(ddof=1)))
    interval = stats.ttest_rel(A, B).confidence_interval(level)
    assert of(A).minus(of(B)).interval(level) == pytest.approx((interval.low, interval.high))


def test_t_interval_covers() -> None:
    draw = np.random.default_rng(3)
    hits = sum(low <= 1 <= high for low, high in (of(draw.normal(1, 2, 6)).interval() for _ in range(1000)))
    assert abs(hits - 950) < 28  # four standard errors


@pytest.mark.parametrize(
    ("n", "skewed", "failing"), [(3, 0.89, 0.30), (5, 0.88, 0.41), (10, 0.90, 0.66), (20, 0.92, 0.88)]
)
def test_t_interval_covers_as_often_as_the_docs_say(n: int, skewed: float, failing: float) -> None:
    draw = np.random.default_rng(7)
    mixed = np.where(draw.random((1500, n)) < 0.1, 0.5, 0.95) + draw.normal(0, 0.01, (1500, n))
    for values, mean, share in ((draw.exponential(size=(1500, n)), 1, skewed), (mixed, 0.905, failing)):
        hits = sum(low <= mean <= high for low, high in (of(row).interval() for row in values))
        assert hits / 1500 == pytest.approx(share, abs=0.04)


def test_the_best_of_many_equal_ones_is_lucky() -> None:
    """As docs/replicas.md says: seven of ten, and three of ten."""
    draw = np.random.default_rng(8)
    told = above = 0
    for _ in range(60):
        ordered = sorted(draw.normal(size=(15, 20)), key=np.mean)
        told += of(ordered[-1]).compare(of(ordered[0])).settled
        above += of(ordered[-1]).low > 0
    assert 29 <= told <= 55
    assert 7 <= above <= 29


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_moments_agree_with_numpy(values: list[float]) -> None:
    d = of(values)
    assert d.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert d.std == pytest.approx(np.std(values, ddof=1), rel=1e-7, abs=1e-7)
    assert d.quartiles == pytest.approx(tuple(np.percentile(values, [25, 75])))
    assert d.low <= d.mean <= d.high


def test_what_is_not_finite_counts_as_diverged_and_compares_equal() -> None:
    d = of([0.5, math.inf, -math.inf, float("nan")])
    assert (d.n, d.diverged) == (1, 3)
    assert d == of([0.5, NAN, NAN, NAN])


@pytest.mark.parametrize(
    ("d", "text"),
    [
        (of([95.0, 96.0, 97.0]), "96.0 ± 1.0 (95 % interval 93.5 to 98.5, n = 3)"),
        (of([0.95, 0.96, NAN, NAN]), "0.9550 ± 0.0071 (95 % interval 0.8915 to 1.0185, n = 2); 2 of 4 diverged"),
        (of([0.95]), "0.95 (n = 1, so no interval)"),
        (of([0.25, NAN]), "0.25 (n = 1, so no interval); 1 of 2 diverged"),
        (of([0.1, 0.1]), "0.1 ± 0 (95 % interval 0.1 to 0.1, n = 2)"),
        (of([NAN] * 3), "no finite value; 3 of 3 diverged"),
        (of([-2.0, -4.0]), "−3.0 ± 1.4 (95 % interval −15.7 to 9.7, n = 2)"),
        (
            Distribution((1.0, NAN), (0, 1), unfinished=(2, 3)),
            "1 (n = 1, so no interval); 1 of 4 diverged; 2 of 4 not finished",
        ),
        (Distribution((), (), unfinished=(2,)), "no finite value; 1 of 1 not finished"),
    ],
)
def test_a_distribution_tells_what_it_leaves_out(d: Distribution, text: str) -> None:
    assert str(d) == text


def test_pairs_are_found_by_seed() -> None:
    a = Distribution((1.0, 2.0, NAN, 4.0), (7, 8, 9, 10), "a")
    b = Distribution((0.5, 1.0, 0.0), (10, 9, 7), "b")
    d = a.minus(b)
    assert (d.seeds, d.name) == ((7, 9, 10), "a − b")
    assert d == Distribution((1.0, NAN, 3.5), (7, 9, 10), "a − b")
    c = a.compare(b)
    assert (c.a, c.b, c.n, c.diverged, c.unpaired, c.mean) == ("a", "b", 2, 1, 1, 2.25)
    assert "1 of 3 pairs diverged or undefined; 1 seed without a pair left out" in str(c)


def test_seeds_not_finished_in_both_are_told() -> None:
    a = Distribution((1.0, 2.0), (0, 1), "a", unfinished=(2, 3))
    b = Distribution((1.0, 2.5, 3.0), (0, 1, 2), "b", unfinished=(3,))
    assert a.compare(b).unpaired == 2
    assert str(a.compare(b)).endswith("; 2 seeds without a pair left out.")


def test_pairs_with_a_diverged_replica_are_left_out() -> None:
    a, b = A.copy(), B.copy()
    a[3], b[7], b[8] = NAN, math.inf, NAN
    kept = [i for i in range(20) if i not in (3, 7, 8)]
    found, clean = of(a).compare(of(b)), of(A[kept]).compare(of(B[kept]))
    assert (found.mean, found.low, found.high, found.p, found.n) == (
        clean.mean,
        clean.low,
        clean.high,
        clean.p,
        clean.n,
    )
    assert (found.diverged, clean.diverged) == (3, 0)
    assert of(a).spread_ratio(of(b)) == of(A[kept]).spread_ratio(of(B[kept]))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_sign_flips_are_exact_for_few_pairs(n: int) -> None:
    d = (A - B)[:n] - 0.01
    means = [abs(np.mean(d * signs)) for signs in itertools.product([1, -1], repeat=n)]
    p = np.mean(np.asarray(means) >= abs(d.mean()) * (1 - 1e-12))
    assert statistics.sign_flips(d.tolist()) == pytest.approx(p)


def test_random_sign_flips_are_near_the_exact_test_and_seeded() -> None:
    d = ((A - B) - 0.012).tolist()
    exact = stats.permutation_test((d[:16],), np.mean, permutation_type="samples", vectorized=True, n_resamples=2**16)
    assert statistics.sign_flips(d[:16]) == pytest.approx(exact.pvalue, abs=0.02)
    c = of(A).compare(of(B))
    assert c == of(A).compare(of(B))
    assert c != of(A).compare(of(B), seed=1)
    assert c.p == pytest.approx(stats.ttest_rel(A, B).pvalue, abs=0.01)


def test_p_is_uniform_under_the_null() -> None:
    draw = np.random.default_rng(4)
    p = np.array([statistics.sign_flips(draw.normal(0, 1, 10).tolist()) for _ in range(400)])
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.02 < (p <= 0.05).mean() < 0.09


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_bootstrap_interval_covers(draw: str) -> None:
    source = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        low, high = statistics.mean_bootstrap(getattr(source, draw)(size=20).tolist())
        hits += low <= (draw == "exponential") <= high
    assert (270 if draw == "normal" else 262) <= hits <= 297  # 285 expected, fewer of a skewed distribution


def test_bootstrap_interval_is_near_scipys_and_a_little_wider() -> None:
    options = {"method": "percentile", "n_resamples": 10_000, "rng": np.random.default_rng(1)}
    low, high = stats.bootstrap((A - B,), np.mean, **options).confidence_interval
    c = of(A).compare(of(B))
    assert low - 0.1 * (high - low) < c.low < low
    assert high < c.high < high + 0.1 * (high - low)
    student = of(A).minus(of(B))
    assert (c.low, c.high) == pytest.approx((student.low, student.high), abs=0.15 * (high - low))


def test_chunks_draw_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = statistics.mean_bootstrap(A.tolist())
    monkeypatch.setattr(statistics, "AT_ONCE", 6000)
    assert statistics.mean_bootstrap(A.tolist()) == pytest.approx(whole, rel=1e-3)


def power(effect: float, n: int, trials: int = 4000) -> float:
    draw = np.random.default_rng(6).normal(effect, 1, (trials, n))
    return float((stats.ttest_1samp(draw, 0, axis=1, alternative="two-sided").pvalue < 0.05).mean())


@pytest.mark.parametrize("effect", [0.3, 0.7])
def test_more_seeds_settle_it(effect: float) -> None:
    d = rng.normal(0, 1, 6)
    d = (d - d.mean()) / d.std(ddof=1) + effect
    more = of(d).compare(of(np.zeros(6))).more_seeds
    assert more is not None
    assert more > 0
    assert power(effect, 6 + more) > 0.78
    assert power(effect, 6 + more - 2) < 0.82


@pytest.mark.parametrize(("n", "effect"), [(3, 2.4), (3, 9.0), (4, 1.5), (5, 1.3), (5, 9.0)])
def test_as_many_more_seeds_can_settle_it(n: int, effect: float) -> None:
    """Of five pairs no sign-flip p is below 0.05, however large the effect."""
    d = rng.normal(0, 1, n)
    c = of((d - d.mean()) / d.std(ddof=1) + effect).compare(of(np.zeros(n)))
    assert c.more_seeds
    together = of(np.full(n + c.more_seeds, effect))
    assert together.compare(of(np.zeros(together.n))).settled
    assert f"about {c.more_seeds} more seed" in str(c)


def test_many_more_seeds_are_counted_by_the_normal_distribution() -> None:
    d = np.array([1.0, -1.0, 1.0, -1.0]) + 0.02
    more = of(d).compare(of(np.zeros(4))).more_seeds
    assert more == pytest.approx((2.8016 / (0.02 / d.std(ddof=1))) ** 2, rel=1e-3)
    assert of(d - 0.02 + 1e-6).compare(of(np.zeros(4))).more_seeds is None


@pytest.mark.parametrize("shift", [0.0300, 0.0306, 0.0307, 0.0313])
def test_the_count_has_no_jump_where_the_normal_distribution_takes_over(shift: float) -> None:
    d = np.array([1.0, -1.0] * 3) + shift
    needed = 6 + (of(d).compare(of(np.zeros(6))).more_seeds or 0)
    assert needed == pytest.approx((2.8015852 / (shift / d.std(ddof=1))) ** 2 + 1.92, abs=1.1)


def test_nothing_more_is_needed_where_it_is_settled() -> None:
    c = of(A).compare(of(A - 0.01 + 0.001 * B))
    assert c.more_seeds == 0
    assert c.settled


def test_one_pair() -> None:
    c = of([0.9], "A").compare(of([0.8], "B"))
    assert (c.n, c.p, c.more_seeds, c.settled) == (1, 1.0, None, False)
    assert all(map(math.isnan, (c.std, c.low, c.high)))
    assert str(c) == (
        "1 pair does not settle whether A is higher than B: the mean difference is +0.1 (too few for an interval, "
        "sign-flip p = 1)."
    )


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_equal_values(n: int) -> None:
    c = of([0.3] * n, "A").compare(of([0.3] * n, "B"))
    assert (c.mean, c.p, c.more_seeds) == (0, 1.0, None)
    if n > 1:
        assert str(c) == f"A and B are equal in each of {n} pairs."


def test_differences_without_spread() -> None:
    c = of([0.5] * 10, "A").compare(of([0.25] * 10, "B"))
    assert (c.mean, c.std, c.low, c.high, c.p, c.more_seeds) == (0.25, 0, 0.25, 0.25, 2 / 1024, 0)
    assert (
        str(c)
        == "A is higher than B by 0.25 (95 % bootstrap interval 0.25 to 0.25, sign-flip p = 0.002, n = 10 pairs)."
    )
    few = of([0.5] * 3).compare(of([0.25] * 3))
    assert (few.p, few.more_seeds, few.settled) == (0.25, 3, False)


def test_differences_of_rounding_are_none() -> None:
    c = of([0.1 + 0.2] * 8, "A").compare(of([0.3] * 8, "B"))
    assert str(c) == "A and B are equal in each of 8 pairs."
    assert not c.settled
    assert of([1e-17] * 8).compare(of([0.0] * 8)).settled


def test_small_differences_are_settled_too() -> None:
    """The product of two such ends is 0."""
    assert of([1e-170 * (i + 5) for i in range(10)]).compare(of([0.0] * 10)).settled


@pytest.mark.parametrize("scale", [2.0**-600, 2.0**600])
def test_spreads_whose_squares_no_float_holds(scale: float) -> None:
    """Such as those of a replica about to diverge in float64."""
    values, others = A.tolist(), B.tolist()
    large, plain = of([scale * v for v in values]), of(values)
    assert large.std == scale * plain.std
    assert large.interval() == tuple(scale * v for v in plain.interval())
    assert large.spread_ratio(of(others)).ratio == scale * plain.spread_ratio(of(others)).ratio
    assert large.compare(of([scale * v for v in others])).more_seeds == plain.compare(of(others)).more_seeds


def test_no_pair_that_both_finished() -> None:
    c = of([NAN, 1.0], "A").compare(of([1.0, NAN], "B"))
    assert (c.n, c.diverged, c.more_seeds) == (0, 2, None)
    assert all(map(math.isnan, (c.mean, c.low, c.p)))
    assert str(c) == "No seed gave a number for both A and B; 2 of 2 pairs diverged or undefined."
    assert of([NAN]).spread_ratio(of([1.0])).n == 0


def test_lower_is_said_with_positive_numbers() -> None:
    c = of(B - 0.1, "B").compare(of(A, "A"))
    text = str(c)
    assert text.startswith(
        f"B is lower than A by {-c.mean:.4f} (95 % bootstrap interval {-c.high:.4f} to {-c.low:.4f}, "
    )
    assert "−" not in text


def test_only_what_interval_and_test_agree_on_is_said() -> None:
    base = {"a": "A", "b": "B", "mean": 0.1, "std": 0.1, "n": 20}
    cases = {(0.05, 0.15, 0.01): True, (-0.05, 0.15, 0.01): False, (0.05, 0.15, 0.06): False, (NAN, NAN, 0.01): False}
    for (low, high, p), settled in cases.items():
        c = Comparison(**base, low=low, high=high, p=p)  # type: ignore[arg-type]
        assert c.settled is settled
        assert ("do not settle" in str(c)) is not settled


def test_spread_ratio_is_that_of_the_standard_deviations() -> None:
    s = of(A).spread_ratio(of(B))
    assert s.ratio == pytest.approx(A.std(ddof=1) / B.std(ddof=1))
    assert s.low < s.ratio < s.high
    assert s == of(A).spread_ratio(of(B))
    assert s != of(A).spread_ratio(of(B), seed=1)
    scaled = of(10 * A + 5).spread_ratio(of(B))
    assert (scaled.ratio, scaled.low, scaled.high) == pytest.approx((10 * s.ratio, 10 * s.low, 10 * s.high))


def test_spread_ratio_is_near_scipys_bootstrap_and_a_little_wider() -> None:
    def ratio(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(x.std(axis=axis, ddof=1) / y.std(axis=axis, ddof=1))

    found = of(A).spread_ratio(of(B))
    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 10_000}
    low, high = stats.bootstrap((A, B), ratio, rng=np.random.default_rng(1), **options).confidence_interval
    assert 0.85 * low < found.low < low
    assert high < found.high < 1.15 * high


def test_spread_ratio_covers() -> None:
    draw = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        s = of(draw.normal(0, 1, 20)).spread_ratio(of(draw.normal(0, 2, 20)))
        missed += not s.low <= 0.5 <= s.high
    assert missed <= 20  # 10 expected


def test_spread_ratio_keeps_pairs_together() -> None:
    together = of(3 * A).spread_ratio(of(A))
    assert (together.ratio, together.low, together.high) == pytest.approx((3, 3, 3))
    shuffled = Distribution(tuple(A[::-1].tolist()), tuple(range(20))[::-1])
    assert of(3 * A).spread_ratio(shuffled) == together


def test_spread_ratio_of_values_without_spread() -> None:
    flat = of([0.1] * 20)
    none, small, large = flat.spread_ratio(flat), flat.spread_ratio(of(B)), of(A).spread_ratio(flat)
    assert all(map(math.isnan, (none.ratio, none.low, none.high)))
    assert (small.ratio, small.low, small.high) == (0, 0, 0)
    assert large == SpreadRatio(math.inf, math.inf, math.inf, 20)
    nearly = of([0.3, 0.1 + 0.2, 0.3, 0.3, 0.3])  # equal but for the last digit
    assert nearly.std == 0
    assert of([1.0, 2.0, 3.0, 4.0, 5.0]).spread_ratio(nearly) == SpreadRatio(math.inf, math.inf, math.inf, 5)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_rounds_give_no_interval_of_spread(n: int) -> None:
    s = of(A[:n]).spread_ratio(of(B[:n]))
    assert s.n == n
    assert s.ratio == pytest.approx(A[:n].std() / B[:n].std() if n > 1 else NAN, nan_ok=True)
    assert math.isnan(s.low)
    assert math.isnan(s.high)


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.0, 0.1, "0.00"),
        (-0.001, 0.1, "0.00"),
        (1e9, 1e7, "1000000000"),
        (0.5, NAN, "0.5"),
        (1 / 3, 0.0, "0.3333"),
        (1e5, 0.0, "100000"),
        (-12345.678, NAN, "−12346"),
        (9999.7, 0.0, "10000"),
        (1e15, 0.0, "1e+15"),
        (-1e-9, 1e-10, "−1e-09"),
        (0.123456789, 1.2e-8, "0.123456789"),
        (1.25e35, 0.01, "1.25e+35"),
        (-1.25e35, 3e34, "−1.25e+35"),
        (1234.5678, 1e-9, "1234.5678"),
        (-1.25e-5, 2e-8, "−1.25e-05"),
        (1.2345678e-5, 2e-8, "1.2346e-05"),
    ],
)
def test_numbers_have_as_many_decimals_as_their_spread_bears(value: float, spread: float, text: str) -> None:
    assert statistics.number(value, spread) == text


def test_quantities_of_nothing() -> None:
    assert math.isnan(statistics.mean([]))
    assert math.isnan(statistics.quantile([], 0.5))
    assert math.isnan(statistics.sign_flips([]))
    assert statistics.more_values([]) is None
    d = Distribution((), (), unfinished=(0,))
    assert all(map(math.isnan, (d.mean, d.std, d.median, d.minimum, d.maximum, *d.quartiles, *d.interval())))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of([]), "Distribution: expected at least one value, got none"),
        (
            lambda: Distribution((1.0,), (1, 2), "loss"),
            "loss: expected a seed for each value, got 1 values and 2 seeds",
        ),
        (lambda: Distribution((1.0, 2.0), (1, 1)), "different seeds, got one more than once"),
        (lambda: Distribution((1.0,), (1,), unfinished=(1,)), "different seeds"),
        (lambda: of([1.0, 2.0]).interval(1.0), "level between 0 and 1, got 1.0"),
        (
            lambda: of([1.0, 2.0], "a").compare(of([1.0], "b", 7)),
            "a and b: expected at least one seed that both have, got",
        ),
        (lambda: of([1.0]).minus(Distribution((), (), unfinished=(0,))), "got seeds 0 and none that is finished"),
        (lambda: of(A).minus(of([1.0], start=30)), "got seeds 0, 1, 2, 3, 4, … and 30"),
        (lambda: of([1.0]).spread_ratio(of([1.0], start=1)), "at least one seed that both have"),
        (lambda: of([1.0, 2.0]).spread_ratio(of([1.0, 2.0]), level=0.0), "level between 0 and 1"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
