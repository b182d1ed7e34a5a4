"""The numbers of a run as distributions, and what they say in words, no more than they bear out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from handgrad.metrics import SCORES
from handgrad.report.run import Numbers, Run, chief
from handgrad.results import Comparison, Distribution
from handgrad.statistics import FEWEST, number

POINTS = "percentage points"


@dataclass(frozen=True)
class Kind:
    """How a metric is spoken of; of one that handgrad does not know it is unknown whether larger is better."""

    label: str
    larger: bool | None = None
    points: bool = False
    """Whether it is a fraction, whose differences are told in points of 100."""
    unit: str = ""

    @property
    def better(self) -> str:
        return {True: "higher is better", False: "lower is better", None: ""}[self.larger]

    def difference(self, *values: float, spread: float, signed: bool = False) -> list[str]:
        scale = 100 if self.points else 1
        return [number(scale * v, scale * spread, signed) for v in values]


def kind(name: str, unit: str = "") -> Kind:
    """What is known of a metric; `unit` is the target's.

    Example:
        >>> kind("balanced_accuracy").label, kind("my own").larger
        ('balanced accuracy', None)
    """
    if name == "loss":
        return Kind("loss", False)
    score = SCORES.get(name)
    if score is None:
        return Kind(name.replace("_", " "))
    return Kind(score.label, score.larger, score.unit == "fraction", unit if score.unit == "target" else "")


def distribution(run: Run, values: Numbers, name: str = "") -> Distribution:
    """A number of each replica, those of diverged ones left out; one number alone stands for every replica."""
    if len(values) == 1:
        values = values * len(run["seeds"])
    return Distribution(tuple(math.nan if v is None else v for v in values), tuple(run["seeds"]), name)


def of_network(run: Run, split: str) -> dict[str, Distribution]:
    """Each metric of the network."""
    gone = [d is not None for d in run["diverged"]]
    return {
        name: distribution(run, [None if g else v for v, g in zip(values, gone)], "network")
        for name, values in run["metrics"].get(split, {}).items()
    }


def of_baselines(run: Run, metric: str) -> dict[str, Distribution]:
    """A metric of each baseline that has it."""
    found = run.get("baselines", {}).items()
    return {name: distribution(run, table[metric], name) for name, table in found if metric in table}


def cells(d: Distribution, spread: float = 0.0) -> tuple[str, str, str]:
    """Mean ± std, the mean's 95 % interval, and n; `spread` gives the decimals where there is none.

    Example:
        >>> cells(Distribution((0.94, 0.96, 0.95, float("nan")), (0, 1, 2, 3)))
        ('0.950 ± 0.010', '0.925 to 0.975', '3 of 4')
    """
    n = f"{d.n} of {len(d.values)}" if d.n < len(d.values) else str(d.n)
    spread = d.std if d.std > 0 else spread
    if d.n < 2:
        return (number(d.mean, spread) if d.n else "—", "—", n)
    low, high = (number(v, spread) for v in d.interval())
    return f"{number(d.mean, spread)} ± {number(d.std, d.std)}", f"{low} to {high}", n


def verdict(c: Comparison, of: Kind) -> str:
    """A word or two on a comparison of the network with a baseline.

    Example:
        >>> a, b = (Distribution(v, tuple(range(6))) for v in ((3.0, 4.0, 5.0, 4.0, 3.0, 4.0), (1.0,) * 6))
        >>> verdict(a.compare(b), kind("rmse")), verdict(b.compare(b), kind("rmse"))
        ('worse', 'equal')
    """
    if c.n < FEWEST:
        return f"too few: {c.n}"
    if c.mean == c.std == 0:
        return "equal"
    if not c.settled:
        more = f" (needs about {c.more_seeds} more seed{'s' * (c.more_seeds > 1)})" if c.more_seeds else ""
        return f"not settled{more}"
    if of.larger is None:
        return "higher" if c.mean > 0 else "lower"
    return "better" if (c.mean > 0) == of.larger else "worse"


def versus(c: Comparison, of: Kind, name: str) -> str:
    """A clause on a comparison, such as "0.8 percentage points (0.2 to 1.4) better than logistic regression"."""
    word = verdict(c, of)
    if c.n < FEWEST:
        return f"too few pairs ({c.n}) to compare with {name}"
    if word == "equal":
        return f"equal to {name}"
    error = c.std / math.sqrt(c.n)
    unit = f" {POINTS}" if of.points else f" {of.unit}" if of.unit else ""
    if not c.settled:
        mean, low, high = of.difference(c.mean, c.low, c.high, spread=error, signed=True)
        few = f"{c.n} pairs, too few to settle the difference" if 2 ** (1 - c.n) >= 0.05 else "no clear difference"
        return f"{few} from {name} ({mean}{unit}, {low} to {high})"  # no p-value of n pairs is below 2 / 2^n
    ends = sorted((abs(c.low), abs(c.high)))
    size, low, high = of.difference(abs(c.mean), *ends, spread=error)
    return f"{size}{unit} ({low} to {high}) {word} than {name}"


def summary(run: Run) -> list[str]:
    """The result in sentences: the first metric, the baselines, what diverged."""
    split = chief(run)
    metric, d = next(iter(of_network(run, split).items()))
    of = kind(metric, run.get("unit", ""))
    rows = run["data"].get("split", {"rows": {}})["rows"].get(split)
    where = f"on the {rows:,} {split} rows" if rows else f"in {split}"
    value, interval, _ = cells(d)
    if not d.n:
        why = run.get("undefined", {}).get(metric, "undefined")
        return [f"There is no {of.label}: {why if None in run['diverged'] else 'every replica diverged'}."]
    unit = f" {of.unit}" if of.unit else ""
    text = f"{of.label[:1].upper()}{of.label[1:]} {value}{unit} over {d.n} replica{'s' * (d.n > 1)} {where}"
    text += f" (95 % interval of the mean {interval})." if d.n > 1 else ", so without an error bar."
    if others := run["diverged"].count(None) - d.n:
        why = run.get("undefined", {}).get(metric, "")
        text += f" In {others} other{'s' * (others > 1)} it is undefined{': ' * bool(why)}{why}."
    found = [versus(d.compare(other), of, name) for name, other in of_baselines(run, metric).items() if d.n > 1]
    return [text, *([f"Against the baselines: {'; '.join(found)}."] if found else []), f"{diverged(run)}."]


def diverged(run: Run) -> str:
    """How many replicas diverged, in words."""
    gone, R = sum(d is not None for d in run["diverged"]), len(run["seeds"])
    return f"{gone} of {R} replicas diverged" + (f" and {'is' if gone == 1 else 'are'} left out" if gone else "")


def caveats(run: Run) -> Iterable[str]:
    """What the error bars do not cover."""
    which = chief(run)
    if run["data"].get("split"):
        yield of_rows(run)
    if which != "test":
        yield f"There is no test split: these are the numbers of the {which} split, which training has used."
    tests = sum(len(set(table) & set(run["metrics"][which])) for table in run.get("baselines", {}).values())
    if tests > 1:
        yield f"{tests} comparisons were made; their p-values are not corrected for that."


def of_rows(run: Run) -> str:
    """What the error bars cover of the choice of rows.

    Splits of the same rows are not independent. By Nadeau and Bengio (Inference for the generalization error, 2003) the
    variance of a mean over n of them is not s² / n but s² (1 / n + tested / other rows), as a statement about new rows.
    """
    which = chief(run)
    counts, network = run["data"]["split"]["rows"], of_network(run, which)
    rows = counts.get(which, 0)
    if run["data"]["split"]["shared"]:
        text = "All replicas share one split of the data. Intervals and tests cover what the seed changes (initial "
        text += f"weights, order of the samples), not the choice of the {rows:,} {which} rows."
        accuracy = network.get("accuracy")
        if accuracy and accuracy.n and rows and 0 < accuracy.mean < 1:
            error = 100 * math.sqrt(accuracy.mean * (1 - accuracy.mean) / rows)
            text += f" That choice alone gives an accuracy of {accuracy.mean:.3f} a standard error of "
            text += f"{number(error, error)} {POINTS}."
        return text
    text = "Each replica has its own split of the same rows, so intervals and tests cover the choice of the split, and "
    text += "not that of the rows"
    n, others = max(d.n for d in network.values()), sum(counts.values()) - rows
    if n > 1 and which != "train" and others > 0:
        text += f": for new rows of the same kind, intervals are about {math.sqrt(1 + n * rows / others):.1f} times as "
        text += "wide (Nadeau and Bengio, 2003), and more seeds narrow those only so far"
    return f"{text}."
