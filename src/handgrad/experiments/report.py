"""The results of the experiment as a table and as sentences that say no more than the numbers do."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from handgrad.errors import ArgumentError
from handgrad.results import Distribution, SpreadRatio

Results = Mapping[str, Any]

HEADINGS = ("Framework", "Accuracy (%)", "Std (points)", "95 % interval (%)", "n", "Time")
TOLERANCE = 0.5  # points by which "at least as accurate" may fall short
TINY = 0.1  # points below which a difference between frameworks is of no account

NAMES = {"lr": "learning rate", "init": "initialisation"}


@dataclass(frozen=True)
class TableRow:
    """One line of the table. Accuracies are fractions; what a published row does not say is None."""

    framework: str
    mean: float
    std: float
    low: float | None
    high: float | None
    n: int
    rounds: int
    seconds: float | None

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts under `HEADINGS`, in percent.

        Example:
            >>> TableRow("handgrad", 0.9575, 0.013, 0.9511, 0.9639, 19, 20, 75.2).cells()
            ('handgrad', '95.75', '1.30', '95.11 to 96.39', '19 of 20 (1 diverged)', '1 min 15 s')
        """
        interval = "" if self.low is None or self.high is None else f"{_percent(self.low)} to {_percent(self.high)}"
        if not _finite(self.low, self.high):
            interval = ""
        diverged = self.rounds - self.n
        n = f"{self.n} of {self.rounds} ({diverged} diverged)" if diverged else str(self.n)
        return (self.framework, _percent(self.mean), _percent(self.std), interval, n, _time(self.seconds))


def table_rows(results: Results) -> list[TableRow]:
    """Return the table's rows: the published ones, then the measured ones in their order."""
    rows = [
        TableRow(r["label"], _number(r["mean"]), _number(r["std"]), None, None, int(r["n"]), int(r["n"]), None)
        for r in results.get("published") or ()
    ]
    for row in results.get("rows") or ():
        d = distribution(row)
        rows.append(TableRow(row["label"], d.mean, d.std, d.low, d.high, d.n, len(d.values), row.get("seconds")))
    return rows


def accuracies(row: Mapping[str, Any]) -> list[float]:
    """Return a row's accuracy by round, NaN where the round diverged.

    Example:
        >>> accuracies({"accuracy": [0.9, 0.5, None], "diverged": [None, {"epoch": 3}, None]})
        [0.9, nan, nan]
    """
    diverged = row.get("diverged") or [None] * len(row["accuracy"])
    return [_number(v) if d is None else math.nan for v, d in zip(row["accuracy"], diverged)]


def distribution(row: Mapping[str, Any]) -> Distribution:
    """Return a row's accuracies with the seeds of its rounds, by which rows are paired.

    Example:
        >>> distribution({"key": "best", "accuracy": [0.9, None], "seeds": [7, 8]}).seeds
        (7, 8)
    """
    values = accuracies(row)
    return Distribution(tuple(values), tuple(row.get("seeds") or range(len(values))), row.get("key", ""))


def rich_table(results: Results) -> Table:
    """Return the table for a terminal."""
    table = Table(title=_title(results), title_justify="left")
    for heading in HEADINGS:
        table.add_column(Text(heading), justify="left" if heading == "Framework" else "right", overflow="fold")
    published = len(results.get("published") or ())
    for i, row in enumerate(table_rows(results), start=1):
        # as Text, for a label may hold square brackets, which are markup to rich
        table.add_row(*map(Text, row.cells()), end_section=i == published)
    return table


def markdown(results: Results) -> str:
    """Return the report: options, table, what the numbers say, certificate, and how to draw the figures again."""
    lines = [f"# {_title(results)}", ""]
    for name in ("options", "versions"):
        if results.get(name):
            items = (f"{NAMES.get(k, k.replace('_', ' '))} {v}" for k, v in results[name].items())
            lines += [f"{name.capitalize()}: {', '.join(items)}.", ""]
    lines += [_pipe(HEADINGS), _pipe(["---", *["---:"] * (len(HEADINGS) - 1)])]
    lines += [_pipe(row.cells()) for row in table_rows(results)]
    lines += ["", "Std and the t-interval of the mean are over rounds, those that diverged left out.", ""]
    for paragraph in (*sentences(results), *certificate_lines(results)):
        lines += [paragraph, ""]
    return "\n".join([*lines, "To draw the figures again: `handgrad figures FOLDER`.", ""])


def csv_text(results: Results) -> str:
    """Return the table as CSV with plain numbers: accuracies in percent, time in seconds."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(["framework", "accuracy_percent", "std_points", "low_percent", "high_percent", "n", "rounds", "seconds"])
    for r in table_rows(results):
        percents = [_plain(_number(v), 100) for v in (r.mean, r.std, r.low, r.high)]
        write([r.framework, *percents, r.n, r.rounds, _plain(_number(r.seconds))])
    return out.getvalue()


def sentences(results: Results) -> list[str]:
    """Return what the rounds say about the report's gap to PyTorch, and about what closes it.

    Each is left out where a row that it needs was not measured, and claims only what the intervals bear out.
    """
    rows = {row["key"]: row for row in results.get("rows") or ()}
    return [s for s in (_gap(results, rows), _closing(rows)) if s]


def certificate_lines(results: Results) -> list[str]:
    """Return a paragraph for each dtype in which handgrad's and torch.nn's training were compared step by step."""
    return [" ".join(_certified(dtype, c)) for dtype, c in (results.get("certificate") or {}).items()]


def _certified(dtype: str, c: Mapping[str, Any]) -> Iterator[str]:
    worst = ", ".join(f"{what} {_scientific(v)}" for what, v in c["worst"].items())
    verdict = "holds" if c["holds"] else "**does not hold**"
    yield (
        f"Certificate in {dtype}: over {c['steps']} steps of {_rounds(c['rounds'])}, each step from the same weights, "
        f"the largest relative differences between handgrad and torch.nn are {worst}; "
        f"the bound {_scientific(c['bound'])} {verdict}."
    )
    if c.get("flipped"):
        yield (
            f"Left out are {c['flipped']} of the {c['of']} steps, in which a ReLU input within rounding of 0 fell on "
            f"the other side: both gradients are right there, and differ by up to {_scientific(c['worst_flipped'])}."
        )
    if dtype == "float32" and "same_dtype" in c:
        same, own = c["same_dtype"], c["torch_error"]
        yield (
            "The reference is torch.nn in float64 from the same weights. Against torch.nn in float32, handgrad is "
            f"within the bound in {same['within']} of {same['of']} steps, and so is torch.nn in float32 against the "
            f"reference in {own['within']}: a step's median error is {_scientific(own['median'])} for torch.nn and "
            f"{_scientific(c['median'])} for handgrad."
        )
    if "free" in c:
        own_rounds, again = (c["free"][side]["rounds_within"] for side in ("handgrad", "reversed"))
        yield (
            f"Running free from the same initial weights, handgrad stays within the bound of torch.nn to the end in "
            f"{own_rounds} of {_rounds(c['rounds'])}; torch.nn stays within it of itself, with each batch's samples in "
            f"reverse order, in {again}."
        )


def warnings(results: Results) -> list[str]:
    """Return one line for each row of which rounds diverged, with the first place, and for a certificate that fails.

    Example:
        >>> where = {"epoch": 3, "step": 1, "layer": "model.0 (Linear 2→25)"}
        >>> warnings({"rows": [{"label": "torch.nn", "accuracy": [None, 0.9], "diverged": [where, None]}]})
        ['torch.nn: 1 of 2 rounds diverged, round 0 in model.0 (Linear 2→25) at epoch 3, step 1 (counted from 0).']
    """
    lines = []
    for row in results.get("rows") or ():
        bad = [i for i, v in enumerate(accuracies(row)) if not math.isfinite(v)]
        if bad:
            d = (row.get("diverged") or {bad[0]: None})[bad[0]]
            where = ""
            if d:
                where = f", round {bad[0]} in {d['layer']} at epoch {d['epoch']}, step {d['step']} (counted from 0)"
            lines.append(f"{row['label']}: {len(bad)} of {_rounds(len(row['accuracy']))} diverged{where}.")
    for dtype, c in (results.get("certificate") or {}).items():
        if not c["holds"]:
            lines.append(
                f"The certificate in {dtype} does not hold: handgrad and torch.nn differ by more than its bound."
            )
    return lines


def _gap(results: Results, rows: Mapping[str, Mapping[str, Any]]) -> str:
    gap = _difference(rows, "torch_nn", "report")
    if gap is None:
        return ""
    init, same = _difference(rows, "default", "report"), _difference(rows, "from_torch", "torch_nn")
    parts = [
        "What explains the report's gap: by round, torch.nn minus handgrad with the report's unit-Gaussian weights is "
        f"{_points(gap)}{_published_gap(results)}."
    ]
    if init is not None:
        parts.append(f"Changing only the initialisation, to torch.nn's default, adds {_points(init)} to handgrad.")
    if same is not None:
        parts.append(f"Changing only the framework, torch.nn's own weights moved to handgrad, adds {_points(same)}.")
    return " ".join([*parts, _explanation(gap, init, same, _difference(rows, "torch_nn", "default"))])


def _published_gap(results: Results) -> str:
    means = {r["label"].split()[0]: _number(r["mean"]) for r in results.get("published") or ()}
    gap = means.get("PyTorch", math.nan) - means.get("Mini-framework", math.nan)
    return f"; the report has {_signed(100 * gap)}" if math.isfinite(gap) else ""


def _explanation(
    gap: Distribution, init: Distribution | None, same: Distribution | None, rest: Distribution | None
) -> str:
    if gap.high < 0:
        return "There is no gap to explain: here torch.nn is the less accurate."
    if not gap.low > 0:
        return f"{_rounds(gap.n, 'do')} not settle whether there is a gap."
    if init is None or same is None:
        missing = [name for name, p in (("default", init), ("from_torch", same)) if p is None]
        return f"What explains the gap was not measured: it takes {' and '.join(missing)}."
    if init.high < 0:
        return "The initialisation does not explain the gap."
    if not init.low > 0 or not _finite(same.low, same.high):
        return f"{_rounds(init.n, 'do')} not settle whether the initialisation explains the gap."
    largest = 100 * max(abs(same.low), abs(same.high))
    if not (largest <= TINY or (same.low <= 0 <= same.high and largest < 100 * init.mean)):
        return "The initialisation matters, but these numbers do not clear the framework itself."
    if rest is not None and rest.low > 0:
        return f"The initialisation explains part of the gap, not the framework; {_points(rest)} remain."
    return "The initialisation explains the gap, not the framework."


def _closing(rows: Mapping[str, Mapping[str, Any]]) -> str:
    difference = _difference(rows, "best", "torch_nn")
    if difference is None:
        return ""
    spread = distribution(rows["best"]).spread_ratio(distribution(rows["torch_nn"]))
    label = rows["best"]["label"]
    text = f"Whether another initialisation closes it: by round, “{label}” minus torch.nn is {_points(difference)}"
    if _finite(spread.ratio):
        text += f", and its standard deviation is {spread.ratio:.2f} times torch.nn's"
        if _finite(spread.low):
            text += f" (95 % bootstrap interval {spread.low:.2f} to {spread.high:.2f})"
    return f"{text}. {_accuracy_verdict(difference)} {_spread_verdict(spread)}"


def _accuracy_verdict(d: Distribution) -> str:
    low, high = 100 * d.low, 100 * d.high
    if low > 0:
        return "It is more accurate than torch.nn."
    if high < 0:
        return "It is less accurate than torch.nn" + (
            f", by less than {TOLERANCE} points." if low > -TOLERANCE else "."
        )
    if low > -TOLERANCE:
        return f"It is at least as accurate as torch.nn, to within {TOLERANCE} points."
    return f"{_rounds(d.n, 'do')} not settle whether it is as accurate as torch.nn."


def _spread_verdict(s: SpreadRatio) -> str:
    if s.high < 1:
        return "It is steadier."
    if s.low > 1:
        return "It is less steady."
    return f"{_rounds(s.n, 'do')} not settle which of the two is steadier."


def _difference(rows: Mapping[str, Mapping[str, Any]], a: str, b: str) -> Distribution | None:
    if a not in rows or b not in rows:
        return None
    try:
        difference = distribution(rows[a]).minus(distribution(rows[b]))
    except ArgumentError:  # no round in common
        return None
    return difference if difference.n else None


def _title(results: Results) -> str:
    rounds = (results.get("options") or {}).get("rounds")
    return "handgrad and torch.nn" + (f" over {_rounds(rounds)}" if rounds else "")


def _points(p: Distribution) -> str:
    unit = "point" if _signed(100 * p.mean) in ("+1.00", "−1.00") else "points"
    if not _finite(p.low, p.high):
        return f"{_signed(100 * p.mean)} {unit} ({_rounds(p.n)}, so no interval)"
    interval = f"{_signed(100 * p.low)} to {_signed(100 * p.high)}"
    return f"{_signed(100 * p.mean)} {unit} (95 % interval {interval}, {_rounds(p.n)})"


def _signed(v: float) -> str:
    text = f"{v:+.2f}".replace("-", "−")
    return "0.00" if text in ("+0.00", "−0.00") else text


def _rounds(n: int, verb: str = "") -> str:
    if verb:
        return "1 round does" if n == 1 else f"{n} rounds do"
    return "1 round" if n == 1 else f"{n} rounds"


def _percent(v: float) -> str:
    return f"{100 * v:.2f}" if math.isfinite(v) else ""


def _plain(v: float, scale: float = 1) -> str:
    return f"{scale * v:.6g}" if math.isfinite(v) else ""


def _scientific(v: float | None) -> str:
    return f"{v:.1e}" if _finite(v) else "not finite"


def _time(seconds: float | None) -> str:
    if not _finite(seconds):
        return ""
    assert seconds is not None
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s"


def _number(v: float | None) -> float:
    return math.nan if v is None else float(v)


def _finite(*values: float | None) -> bool:
    return all(v is not None and math.isfinite(v) for v in values)


def _pipe(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
