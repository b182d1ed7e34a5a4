"""What a sweep gives: for every configuration of a grid a distribution over its seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from handgrad.distribution import Comparison, Distribution, SpreadRatio
from handgrad.errors import ArgumentError
from handgrad.grid import RESERVED, Grid, frozen, grid
from handgrad.optional import require
from handgrad.statistics import number

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMAT", "Comparison", "Distribution", "Results", "SpreadRatio"]

FORMAT = 1
"""Of `Results.to_json`."""


@dataclass(repr=False)
class Results:
    """The outcome of R replicas, those of `grid`, in its order.

    Attributes:
        grid: the configurations and seeds.
        metrics: for each metric the final value of each replica, (R,).
        history: for each metric its value after each epoch, (R, E); may be empty.
        diverged: for each replica None, or where it diverged. Its numbers are then left out of every statistic.
        options: what else the replicas were trained with.
        seconds: how long that took.
        finished: for each replica whether it was trained to the end; others are left out, and counted.

    What is not finite becomes NaN and counts as diverged. Without `diverged` none is noted, without `finished` all are.

    Errors: ArgumentError where a list does not have R entries, or a metric has the name of a hyper-parameter.

    Example:
        >>> accuracy = [0.94, 0.96, 0.95, 0.91, 0.93, 0.95]
        >>> results = Results(grid(seeds=3, lr=[0.1, 0.01]), {"accuracy": accuracy})
        >>> results
        Results(2 configurations × 3 seeds: accuracy)
        >>> print(results.distribution("accuracy", lr=0.1))
        0.950 ± 0.010 (95 % interval 0.925 to 0.975, n = 3)
        >>> results.best("accuracy")
        {'lr': 0.1}
    """

    grid: Grid
    metrics: dict[str, list[float]]
    history: dict[str, list[list[float]]] = field(default_factory=dict)
    diverged: list[dict[str, Any] | None] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        replicas = len(self.grid)
        self.metrics = {name: _numbers(values, f"metrics[{name!r}]") for name, values in self.metrics.items()}
        self.history = {
            name: [_numbers(row, f"history[{name!r}]") for row in rows] for name, rows in self.history.items()
        }
        self.diverged = list(self.diverged) or [None] * replicas
        self.finished = [bool(done) for done in self.finished] or [True] * replicas
        lists: Mapping[str, list[Any]] = {
            **{f"metrics[{name!r}]": values for name, values in self.metrics.items()},
            **{f"history[{name!r}]": rows for name, rows in self.history.items()},
            "diverged": self.diverged,
            "finished": self.finished,
        }
        for name, entries in lists.items():
            if len(entries) != replicas:
                remedy = "Give one for each replica of the grid, in the grid's order."
                raise ArgumentError(f"{replicas} entries in {name}", str(len(entries)), remedy, "Results")
        check_names(self.metrics, self.grid, "Results")

    def __repr__(self) -> str:
        configs, seeds = len(self.grid.configs), len(self.grid.seeds)
        sizes = f"{configs} configuration{'s' * (configs != 1)} × {seeds} seed{'s' * (seeds != 1)}"
        metrics = ", ".join(self.metrics) or "no metric"
        return f"Results({'; '.join([f'{sizes}: {metrics}', *self.left_out])})"

    @property
    def left_out(self) -> list[str]:
        """How many replicas diverged or were not finished, as ["3 of 200 diverged"]; empty if none."""
        counts = ((sum(self._bad), "diverged"), (self.finished.count(False), "not finished"))
        return [f"{count} of {len(self.grid)} {what}" for count, what in counts if count]

    def distribution(self, metric: str, /, **config: Any) -> Distribution:
        """Return the values of a metric over the seeds of the one configuration that has these hyper-parameters.

        Those with a single value in the grid need not be named.

        Errors: ArgumentError for an unknown metric, hyper-parameter or value, and where several configurations fit.
        """
        chosen = self.grid.matching(**config)
        if len(chosen) != 1:
            listed = _choices({n: v for n in self.grid.names if n not in config and len(v := self.grid.values(n)) > 1})
            got = f"{len(chosen)} that fit {_label(config)}" if config else f"none named of {len(chosen)}"
            raise ArgumentError("one configuration", got, f"Name a value of {listed} too.", "Results")
        return self._distribution(metric, chosen[0])

    def best(self, metric: str, largest: bool = True) -> dict[str, Any]:
        """Return the configuration with the largest mean of a metric, or the smallest; of equal ones the first.

        It is the best of what was seen, and of many configurations partly lucky: its mean and interval, and `compare`
        with another one, take no account of the choice. Train it again from other seeds to know what it is worth. A
        mean leaves out the replicas that diverged, so look at their number too.

        Errors: ArgumentError for an unknown metric, and where no configuration has a finite value.
        """
        means = [self._distribution(metric, i).mean for i in range(len(self.grid.configs))]
        kept = [(mean if largest else -mean, -i) for i, mean in enumerate(means) if math.isfinite(mean)]
        if not kept:
            got = "; ".join(self.left_out) or "none"
            raise ArgumentError(f"a finite {metric} in some replica", got, "Look at results.diverged.", "Results")
        return dict(self.grid.configs[-max(kept)[1]])

    def compare(self, metric: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparison:
        """Return the comparison of two configurations, paired by seed.

        Errors: as `distribution`; MissingExtraError without scipy.

        Example:
            >>> results = Results(grid(seeds=2, lr=[0.1, 0.01]), {"loss": [1.0, 1.1, 1.2, 1.4]})
            >>> c = results.compare("loss", {"lr": 0.1}, {"lr": 0.01})
            >>> round(c.mean, 2), c.n
            (-0.25, 2)
        """
        return self.distribution(metric, **a).compare(self.distribution(metric, **b))

    def rows(self, metric: str) -> list[dict[str, Any]]:
        """Return a dict for each configuration: hyper-parameters, mean, std, low, high (95 %), median, n, diverged, \
unfinished.

        Errors: ArgumentError for an unknown metric; MissingExtraError without scipy.
        """
        rows = []
        for i, config in enumerate(self.grid.configs):
            d = self._distribution(metric, i)
            low, high = d.interval()
            numbers = {"mean": d.mean, "std": d.std, "low": low, "high": high, "median": d.median, "n": d.n}
            rows.append({**config, **numbers, "diverged": d.diverged, "unfinished": len(d.unfinished)})
        return rows

    def table(self, metric: str) -> Table:
        """Return `rows` as a table for the terminal.

        Errors: as `rows`; MissingExtraError without rich.
        """
        text = require("rich.text", "cli").Text
        # as Text, for a value may hold square brackets, which are markup to rich
        table: Table = require("rich.table", "cli").Table(title=text(metric), title_justify="left")
        headings, cells = self._cells(metric)
        for i, heading in enumerate(headings):
            # folded where the terminal is narrow: a number that is cut off reads as another one
            table.add_column(text(heading), justify="left" if i < len(self.grid.names) else "right", overflow="fold")
        for row in cells:
            table.add_row(*map(text, row))
        return table

    def markdown(self, metric: str) -> str:
        """Return `rows` as a table in Markdown.

        Example:
            >>> results = Results(grid(seeds=3, lr=[0.1]), {"loss": [1.0, 1.1, float("inf")]})
            >>> print(results.markdown("loss"))
            | lr | loss | std | 95 % interval | median | n |
            | --- | ---: | ---: | ---: | ---: | ---: |
            | 0.1 | 1.050 | 0.071 | 0.415 to 1.685 | 1.050 | 2 of 3 (1 diverged) |
        """
        headings, cells = self._cells(metric)
        names = len(self.grid.names)
        rule = ["---"] * names + ["---:"] * (len(headings) - names)
        return "\n".join(
            "| " + " | ".join(" ".join(c.splitlines()).replace("|", "\\|") for c in row) + " |"
            for row in (headings, rule, *cells)
        )

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with a row for each replica: hyper-parameters, seed, metrics, diverged, finished.

        A metric is NaN where the replica diverged or was not finished.

        Errors: MissingExtraError without pandas.
        """
        columns: dict[str, list[Any]] = {name: self.grid.column(name) for name in (*self.grid.names, "seed")}
        columns |= {name: self._kept(name) for name in self.metrics}
        columns |= {"diverged": self._bad, "finished": list(self.finished)}
        return require("pandas", "pandas").DataFrame(columns)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as a dict that json can write, with None for NaN.

        Errors: ArgumentError where a hyper-parameter, an option or a note on a divergence is not made of JSON's types.
        """
        seeds = list(self.grid.seeds)
        values = {name: self.grid.values(name) for name in self.grid.names}
        plain = {"grid": {"seeds": seeds, "values": values}, "options": self.options, "diverged": self.diverged}
        try:
            plain = json.loads(json.dumps(plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            remedy = "Name such things by strings, in the grid and in the options."
            raise ArgumentError("values that JSON has", str(error), remedy, "Results.to_json") from error
        return {
            "format": FORMAT,
            **plain,
            "metrics": {name: _nones(row) for name, row in self.metrics.items()},
            "history": {name: [_nones(row) for row in rows] for name, rows in self.history.items()},
            "seconds": self.seconds,
            "finished": list(self.finished),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Results:
        """Return the results that `to_json` gave.

        Errors: ArgumentError for another format, and for what does not keep to it.

        Example:
            >>> results = Results(grid(seeds=2, lr=[0.1]), {"loss": [1.0, float("nan")]})
            >>> Results.from_json(results.to_json()) == results
            True
        """
        found = data.get("format")
        missing = [f.name for f in fields(cls) if f.name not in data]
        if found != FORMAT or missing:
            got = f"format {found!r}" + (f" without {', '.join(missing)}" if missing else "")
            remedy = "Pass what Results.to_json gave."
            raise ArgumentError(f"results of format {FORMAT}", got, remedy, "Results.from_json")
        values = {f.name: data[f.name] for f in fields(cls)}
        try:
            return cls(**{**values, "grid": grid(seeds=data["grid"]["seeds"], **data["grid"]["values"])})
        except (AttributeError, KeyError, TypeError) as error:
            got, remedy = f"{type(error).__name__}: {error}", "Pass what Results.to_json gave."
            raise ArgumentError(f"results of format {FORMAT}", got, remedy, "Results.from_json") from error

    @property
    def _bad(self) -> list[bool]:
        """(R,): whether a replica that was finished diverged or has a number that is not finite."""
        lost = [any(map(math.isnan, numbers)) for numbers in zip(*self.metrics.values())] or [False] * len(self.grid)
        return [done and (d is not None or nan) for d, done, nan in zip(self.diverged, self.finished, lost)]

    def _distribution(self, metric: str, config: int) -> Distribution:
        values, seeds = self._kept(metric), self.grid.seeds
        at = {seed: config * len(seeds) + i for i, seed in enumerate(seeds)}
        done = [seed for seed in seeds if self.finished[at[seed]]]
        name = " at ".join([metric, *([_label(self.grid.configs[config])] if self.grid.names else [])])
        unfinished = tuple(seed for seed in seeds if not self.finished[at[seed]])
        return Distribution(tuple(values[at[seed]] for seed in done), tuple(done), name, unfinished)

    def _kept(self, metric: str) -> list[float]:
        """(R,): a metric, NaN where the replica diverged or was not finished."""
        if metric not in self.metrics:
            listed = ", ".join(self.metrics) or "none"
            raise ArgumentError(f"a metric of the results ({listed})", repr(metric), "Choose one of these.", "Results")
        state = zip(self.metrics[metric], self.diverged, self.finished)
        return [v if d is None and done else math.nan for v, d, done in state]

    def _cells(self, metric: str) -> tuple[list[str], list[list[str]]]:
        rows = self.rows(metric)
        spread = min((row["std"] for row in rows if row["std"] > 0), default=math.nan)

        def cell(std: float, *values: float) -> str:
            texts = [number(v, precision(spread, std)) for v in values]
            return " to ".join(texts) if all(map(math.isfinite, values)) else ""

        cells = []
        for row in rows:
            given, std = [_text(row[name]) for name in self.grid.names], row["std"]
            numbers = [cell(std, row["mean"]), cell(std, std), cell(std, row["low"], row["high"])]
            numbers += [cell(std, row["median"]), _count(row)]
            cells.append([*given, *numbers])
        return [*self.grid.names, metric, "std", "95 % interval", "median", "n"], cells


def precision(least: float, std: float) -> float:
    """The spread that gives a number of a table its decimals: the smallest of the table, so that they stand in line.

    A number whose own spread is far larger has no more than three digits beyond those that it bears out.

    Example:
        >>> precision(0.01, 0.5), precision(1e-9, 50.0)
        (0.01, 0.05)
    """
    return max(least, std / 1000)


def check_names(metrics: Iterable[str], grid: Grid, where: str, *, taken: Iterable[str] = ()) -> None:
    """Raise if a metric has the name of a hyper-parameter or of another column of results."""
    for name in metrics:
        if name in (*grid.names, *RESERVED, *taken):
            remedy = "Give the metric another name."
            raise ArgumentError("metrics with names of their own", repr(name), remedy, where)


def _count(row: Mapping[str, Any]) -> str:
    gone = [
        f"{row[key]} {what}" for key, what in (("diverged", "diverged"), ("unfinished", "not finished")) if row[key]
    ]
    total = row["n"] + row["diverged"] + row["unfinished"]
    return f"{row['n']} of {total} ({', '.join(gone)})" if gone else str(row["n"])


def _numbers(values: Iterable[Any], where: str) -> list[float]:
    def number(value: Any) -> float:
        try:
            if isinstance(value, str):
                raise TypeError
            found = math.nan if value is None else float(value)
        except OverflowError:  # an integer beyond all floats
            return math.nan
        except (TypeError, ValueError, RuntimeError):
            remedy = "Give one number for each replica, and epoch."
            raise ArgumentError(f"numbers in {where}", repr(value), remedy, "Results") from None
        return found if math.isfinite(found) else math.nan

    return list(map(number, values))


def _nones(values: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(v) else v for v in values]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _label(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_text(frozen(value))}" for name, value in config.items())


def _choices(values: Mapping[str, list[Any]]) -> str:
    def listed() -> Iterator[str]:
        for name, choices in values.items():
            yield f"{name} ({', '.join(map(repr, choices))})"

    return ", ".join(listed())
