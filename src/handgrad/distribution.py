"""What R replicas gave, as a distribution, and two of them compared seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from handgrad import statistics
from handgrad.errors import ArgumentError
from handgrad.statistics import number


@dataclass(frozen=True)
class SpreadRatio:
    """std(a) / std(b) over `n` pairs and its bootstrap interval."""

    ratio: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Distribution:
    """One number from each replica of a configuration.

    Attributes:
        values: a number for each seed, NaN for a replica that diverged; what is infinite becomes NaN.
        seeds: the replicas' seeds, by which distributions are paired.
        name: what the numbers are, for sentences.
        unfinished: the seeds that an interrupted run has no value of.

    The statistics leave out what diverged, `str` says how much that was. With fewer than two finite values there is no
    spread: `std`, `low` and `high` are NaN.

    Errors: ArgumentError for no values, for more or fewer seeds than values, and for a seed that occurs twice.

    Example:
        >>> d = Distribution((0.94, 0.96, 0.95, float("nan")), (0, 1, 2, 3), "accuracy")
        >>> print(d)
        0.950 ± 0.010 (95 % interval 0.925 to 0.975, n = 3); 1 of 4 diverged
        >>> d.n, d.diverged, round(d.median, 3), d.minimum
        (3, 1, 0.95, 0.94)
    """

    values: tuple[float, ...]
    seeds: tuple[int, ...]
    name: str = ""
    unfinished: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # the one math.nan in place of any other makes equal distributions compare equal
        values = tuple(float(v) if v is not None and math.isfinite(v) else math.nan for v in self.values)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "unfinished", tuple(self.unfinished))
        if not values and not self.unfinished:
            raise ArgumentError("at least one value", "none", "Pass a sequence of numbers.", self._place)
        if len(values) != len(self.seeds):
            got = f"{len(values)} values and {len(self.seeds)} seeds"
            raise ArgumentError("a seed for each value", got, "Pass as many seeds as values.", self._place)
        if len({*self.seeds, *self.unfinished}) != len(self.seeds) + len(self.unfinished):
            raise ArgumentError("different seeds", "one more than once", "Pass each replica once.", self._place)

    @property
    def vector(self) -> list[float]:
        """All values in the seeds' order, NaN where the replica diverged."""
        return list(self.values)

    @property
    def finite(self) -> list[float]:
        """The values that the statistics are of."""
        return [v for v in self.values if not math.isnan(v)]

    @property
    def n(self) -> int:
        """How many values are finite."""
        return len(self.finite)

    @property
    def diverged(self) -> int:
        """How many values are not."""
        return len(self.values) - self.n

    @property
    def mean(self) -> float:
        """m = Σ v / n."""
        return statistics.mean(self.finite)

    @property
    def std(self) -> float:
        """√(Σ (v − m)² / (n − 1))."""
        return statistics.std(self.finite)

    @property
    def median(self) -> float:
        """The middle value, or the mean of the middle two."""
        return statistics.quantile(self.finite, 0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The values below which a quarter, and three quarters, of the values lie, interpolated linearly."""
        return statistics.quantile(self.finite, 0.25), statistics.quantile(self.finite, 0.75)

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return min(self.finite, default=math.nan)

    @property
    def maximum(self) -> float:
        """The largest value."""
        return max(self.finite, default=math.nan)

    @property
    def low(self) -> float:
        """The lower end of the mean's 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """The upper end of the mean's 95 % interval."""
        return self.interval()[1]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's interval of the mean, m ± t_{n−1}((1 + level) / 2) · std / √n (Student, 1908).

        Errors: ArgumentError for a level that is not between 0 and 1; MissingExtraError without scipy.

        Example:
            >>> low, high = Distribution((1.0, 2.0, 3.0, 4.0), (0, 1, 2, 3)).interval(0.9)
            >>> print(f"{low:.3f} to {high:.3f}")
            0.981 to 4.019
        """
        _check_level(level)
        return statistics.t_interval(self.finite, level)

    def __str__(self) -> str:
        """Mean ± standard deviation with the mean's interval, and what was left out, if anything was."""
        mean, std, n = number(self.mean, self.std), number(self.std, self.std), self.n
        if n == 0:
            parts = ["no finite value"]
        elif n == 1:
            parts = [f"{mean} (n = 1, so no interval)"]
        else:
            low, high = (number(v, self.std) for v in self.interval())
            parts = [f"{mean} ± {std} (95 % interval {low} to {high}, n = {n})"]
        return "; ".join([*parts, *self.left_out])

    @property
    def left_out(self) -> list[str]:
        """What the statistics leave out, such as ["1 of 20 diverged"]; empty if nothing."""
        replicas = len(self.values) + len(self.unfinished)
        counts = ((self.diverged, "diverged"), (len(self.unfinished), "not finished"))
        return [f"{count} of {replicas} {what}" for count, what in counts if count]

    def minus(self, other: Distribution) -> Distribution:
        """Return the differences a − b at the seeds that both have, NaN where either diverged.

        A difference that is only one of rounding, below 1e-15 of the values, is 0. Its mean and `interval` are the
        paired t-test's.

        Errors: ArgumentError where the two have no seed in common.

        Example:
            >>> a, b = Distribution((0.96, 0.95, 0.97), (0, 1, 2)), Distribution((0.9, 0.93, 0.94), (3, 0, 1))
            >>> d = a.minus(b)
            >>> d.seeds, [round(v, 2) for v in d.values]
            ((0, 1), [0.03, 0.01])
        """
        common = self._common(other)
        seeds = tuple(seed for seed, _, _ in common)
        return Distribution(
            tuple(statistics.difference(a, b) for _, a, b in common), seeds, f"{self.name} − {other.name}"
        )

    def compare(self, other: Distribution, *, seed: int = 0) -> Comparison:
        """Return the mean difference to `other`, paired by seed, with interval, test, and what would settle it.

        Args:
            other: the distribution to subtract. Pairs of which either diverged are left out, and counted.
            seed: of the bootstrap and, beyond 13 pairs, of the random sign flips.

        Errors: ArgumentError where the two have no seed in common; MissingExtraError without scipy.

        Example:
            >>> a = Distribution((0.96, 0.95, 0.97, 0.96, 0.95, 0.98), tuple(range(6)), "A")
            >>> b = Distribution((0.93, 0.94, 0.95, 0.94, 0.94, 0.95), tuple(range(6)), "B")
            >>> print(a.compare(b))
            A is higher than B by 0.0200 (95 % bootstrap interval 0.0117 to 0.0283, sign-flip p = 0.031, n = 6 pairs).
        """
        d = self.minus(other)
        low, high = statistics.mean_bootstrap(d.finite, 0.95, seed)
        p, more = statistics.sign_flips(d.finite, seed), statistics.more_values(d.finite)
        unpaired = len({*self.seeds, *self.unfinished, *other.seeds, *other.unfinished}) - len(d.seeds)
        return Comparison(self.name, other.name, d.mean, d.std, low, high, p, d.n, d.diverged, unpaired, more)

    def spread_ratio(self, other: Distribution, level: float = 0.95, *, seed: int = 0) -> SpreadRatio:
        """Return std(a) / std(b) with a bootstrap interval that draws seeds, so that each pair stays together.

        The F-test would need normal, independent samples; accuracies are neither. The interval is NaN below 5 pairs.

        Errors: as `compare`, and ArgumentError for a level that is not between 0 and 1.

        Example:
            >>> a, b = Distribution((0, 1, 2, 3, 4), tuple(range(5))), Distribution((0, 2, 4, 6, 8), tuple(range(5)))
            >>> a.spread_ratio(b)
            SpreadRatio(ratio=0.5, low=0.5, high=0.5, n=5)
        """
        _check_level(level)
        both = [(a, b) for _, a, b in self._common(other) if math.isfinite(a - b)]
        a, b = [v for v, _ in both], [v for _, v in both]
        return SpreadRatio(statistics.spread_ratio(a, b), *statistics.spread_bootstrap(a, b, level, seed), len(both))

    def _common(self, other: Distribution) -> list[tuple[int, float, float]]:
        """(seed, a, b) for each seed that both have, in the order of a's."""
        theirs = dict(zip(other.seeds, other.values))
        common = [(seed, v, theirs[seed]) for seed, v in zip(self.seeds, self.values) if seed in theirs]
        if not common:
            got = f"seeds {_listed(self.seeds)} and {_listed(other.seeds)}"
            remedy = "Compare configurations trained from the same seeds."
            raise ArgumentError("at least one seed that both have", got, remedy, f"{self._place} and {other._place}")
        return common

    @property
    def _place(self) -> str:
        return self.name or "Distribution"


@dataclass(frozen=True)
class Comparison:
    """The mean difference a − b over pairs of replicas of the same seed.

    Attributes:
        a, b: what was compared.
        mean, std: of the differences.
        low, high: 95 % bootstrap interval of the mean, drawing pairs; NaN below 5 (`statistics.mean_bootstrap`).
        p: two-sided probability of a mean difference as large if the sign of each pair's difference were chance
            (`statistics.sign_flips`).
        n: pairs of which both are finite.
        diverged: pairs of which either is not, left out.
        unpaired: seeds that not both have, left out.
        more_seeds: how many more pairs the 95 % t-interval would need to exclude 0 with probability 0.8, at least 6 in
            all, if the true effect and spread were those observed; 0 where that of 6 or more excludes 0 already, None
            where n < 3 or where the difference is 0 or next to it.

    Example:
        >>> a = Distribution((3.0, 1.0, 2.5, 2.0, 3.5), (0, 1, 2, 3, 4), "A")
        >>> b = Distribution((2.0, 2.0, 2.0, 2.0, 2.0), (0, 1, 2, 3, 4), "B")
        >>> print(a.compare(b))
        5 pairs do not settle whether A is higher than B: the mean difference is +0.40 (95 % bootstrap interval −0.80 \
to +1.40, sign-flip p = 0.5); about 43 more seeds would, if effect and spread stay as they are.
    """

    a: str
    b: str
    mean: float
    std: float
    low: float
    high: float
    p: float
    n: int
    diverged: int = 0
    unpaired: int = 0
    more_seeds: int | None = None

    @property
    def settled(self) -> bool:
        """Whether the interval excludes 0 and p is below 0.05: only then `str` says which is higher."""
        return self.p < 0.05 and (self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        """One sentence that claims no more than the pairs bear out."""
        a, b = self.a or "the first", self.b or "the second"
        out = ""
        if self.diverged:
            out += f"; {self.diverged} of {_pairs(self.n + self.diverged)} diverged or undefined"
        if self.unpaired:
            out += f"; {self.unpaired} seed{'s' * (self.unpaired > 1)} without a pair left out"
        if not self.n:
            return f"No seed gave a number for both {a} and {b}{out}."
        if self.mean == self.std == 0:
            return f"{a} and {b} are equal in each of {_pairs(self.n)}{out}."
        error = self.std / math.sqrt(self.n) if self.n > 1 else 0.0
        mean, low, high = (number(v, error, signed=True) for v in (self.mean, self.low, self.high))
        interval = f"95 % bootstrap interval {low} to {high}" if math.isfinite(self.low) else "too few for an interval"
        if self.settled:
            side = "higher" if self.mean > 0 else "lower"
            size = number(abs(self.mean), error)
            ends = sorted((abs(self.low), abs(self.high)))
            interval = f"95 % bootstrap interval {number(ends[0], error)} to {number(ends[1], error)}"
            test = f"sign-flip p = {self.p:.2g}, n = {_pairs(self.n)}"
            return f"{a} is {side} than {b} by {size} ({interval}, {test}){out}."
        verb = "does" if self.n == 1 else "do"
        text = f"{_pairs(self.n)} {verb} not settle whether {a} is higher than {b}: the mean difference is {mean} ("
        text += f"{interval}, sign-flip p = {self.p:.2g})"
        if self.more_seeds:
            text += f"; about {self.more_seeds} more seed{'s' * (self.more_seeds > 1)} would, if effect and spread stay"
            text += " as they are"
        return f"{text}{out}."


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ArgumentError("level between 0 and 1", repr(level), "Pass level=0.95, say.", "Distribution")


def _listed(seeds: Sequence[int]) -> str:
    return (", ".join(map(str, seeds[:5])) or "none that is finished") + (", …" if len(seeds) > 5 else "")


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
