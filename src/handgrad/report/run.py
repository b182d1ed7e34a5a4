"""The shape of a run: plain data, as its JSON holds it, from which `render` makes the report."""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from typing import Any, TypedDict, cast

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.metrics import TASKS
from handgrad.training.watching import WHAT

Numbers = list[float | None]
"""A number for each replica, (R,); None where there is none, as of a replica that diverged."""
Curve = list[Numbers]
"""(E, R): for each epoch a number for each replica; None from where a replica diverged or stopped."""

SPLITS = ("test", "validation", "train")
"""In the order of how much they count: a report is about the first that there is."""


class Column(TypedDict, total=False):
    """A column that the network reads."""

    name: str
    kind: str
    """"number", "category", "date" and so on."""
    missing: int
    """How many of the rows have no value."""
    note: str
    """What was made of it, such as "12 categories, one-hot"."""


class Dropped(TypedDict):
    """A column that the network does not read."""

    name: str
    why: str


class Split(TypedDict):
    """How rows were divided."""

    rows: dict[str, int]
    """By "train", "validation" and "test"."""
    how: str
    """In words, such as "at random, stratified by class, 60/20/20"."""
    shared: bool
    """Whether all replicas have the same split: intervals then do not cover the choice of rows."""


class Data(TypedDict, total=False):
    """What was read. `source`, `rows`, `columns` and `split` are needed."""

    source: str
    rows: int
    columns: list[Column]
    dropped: list[Dropped]
    classes: list[str]
    """Of a classification, in the order of the outputs."""
    counts: list[int]
    """Rows of each class."""
    split: Split


class Network(TypedDict):
    """The network of one replica."""

    description: str
    """Its `repr`."""
    parameters: int


class Layers(TypedDict):
    """What a `training.Watch` has seen of the layers."""

    epochs: list[int]
    """(E,), counted from 1: after which it has looked."""
    measures: dict[str, dict[str, Curve]]
    """By measure, such as "std", and layer, such as "0 Linear 2→25"."""


class Reliability(TypedDict):
    """From `curves.reliability`, (R, B) each."""

    confidence: list[Numbers]
    accuracy: list[Numbers]
    count: list[Numbers]


class Roc(TypedDict):
    """From `curves.roc`."""

    false: list[float]
    """(G,): shares of the negatives that are called positive."""
    true: list[Numbers]
    """(R, G): shares of the positives that then are."""


class Residuals(TypedDict):
    """From `curves.residuals`: M of `rows` samples."""

    prediction: list[float]
    """(M,): mean over replicas."""
    spread: Numbers
    """(M,): standard deviation over replicas."""
    target: list[float]
    rows: int


class _Needed(TypedDict):
    title: str
    task: str
    """"classification" or "regression"."""
    target: str
    data: Data
    network: Network
    seeds: list[int]
    """(R,)."""
    diverged: list[dict[str, Any] | None]
    """(R,): as in `training.History`."""
    history: dict[str, dict[str, Curve]]
    """By split and metric; "loss" is what training makes small."""
    metrics: dict[str, dict[str, Numbers]]
    """At the end, by split and metric."""


class Run(_Needed, total=False):
    """A run; see the fields of `_Needed` for those that must be there. Figures are of the split that counts most."""

    created: str
    """Date and time, as a text."""
    baselines: dict[str, dict[str, Numbers]]
    """By the baseline's name and metric, on the split that counts most; one number alone stands for all replicas."""
    options: dict[str, Any]
    versions: dict[str, str]
    best_epochs: list[int | None]
    """(R,): the epoch, counted from 0, whose weights were kept."""
    unit: str
    """Of a regression's target."""
    layers: Layers
    undefined: dict[str, str]
    """Why a metric is undefined, from `metrics.measure`."""
    seconds: float
    """Of training."""
    device: str
    confusion: list[list[list[float]]]
    """(R, K, K): from `curves.confusion`."""
    reliability: Reliability
    roc: Roc
    residuals: Residuals
    margins: Numbers
    """(99,): from `statistics.margins`, of the mean of those replicas that had not seen a row."""
    novelty: list[str]
    """About inputs that lie outside what training saw."""
    warnings: list[str]
    command: str
    """The command line that repeats the run."""


NEEDED = tuple(_Needed.__annotations__)
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, which HTML forbids; those that turn text around, so that it reads as what it is not; halves."""


def checked(run: Run) -> Run:
    """Return the run with texts that can be printed and None for every number that is not finite.

    Errors: ArgumentError for what is missing or has another number of replicas.
    """
    where = "render"
    missing = [key for key in NEEDED if key not in run]
    missing += [f"data[{key!r}]" for key in ("source", "rows", "columns") if key not in run.get("data", {})]
    if missing:
        raise ArgumentError(
            f"a run with {', '.join(NEEDED)}", f"no {', '.join(missing)}", "Add what is missing.", where
        )
    checks.one_of("task", run["task"], TASKS, where)
    if unknown := [split for split in (*run["metrics"], *run["history"]) if split not in SPLITS]:
        remedy = "Give the split one of these names: it would not be shown."
        raise ArgumentError(f"metrics and history of {', '.join(SPLITS)}", repr(unknown[0]), remedy, where)
    R = checks.positive_int("the number of seeds", len(run["seeds"]), where)
    rows: list[tuple[str, Any]] = [("diverged", run["diverged"]), ("best_epochs", run.get("best_epochs"))]
    rows += [("confusion", run.get("confusion")), ("roc", run.get("roc", {}).get("true"))]
    rows += [(f"{key} of reliability", values) for key, values in run.get("reliability", {}).items()]
    rows += [(f"{name} of {split}", v) for split, found in run["metrics"].items() for name, v in found.items()]
    for split, found in run["history"].items():
        rows += [(f"the history of {split} {name}", row) for name, curve in found.items() for row in curve]
    for name, seen in _seen(run):
        rows += [(f"{name} of the layers", row) for row in seen]
    for who, table in run.get("baselines", {}).items():
        rows += [(f"{name} of {who}", v) for name, v in table.items() if len(v) != 1]
    for what, row in rows:
        if row is not None and len(row) != R:
            remedy = "Give a number, or None, for each seed."
            raise ArgumentError(f"{what} of {R} replicas", f"{len(row)} numbers", remedy, where)
    for whose, scores in (*run["metrics"].items(), *run.get("baselines", {}).items()):
        for name, numbers in scores.items():
            if odd := [v for v in numbers if not (v is None or isinstance(v, (int, float)))]:
                remedy = "Pass plain numbers, as x.tolist() gives them."
                raise ArgumentError(f"{name} of {whose} in numbers", repr(odd[0]), remedy, where)
    _check_sizes(run)
    for name in run.get("layers", {}).get("measures", {}):
        checks.one_of("a measure of layers", name, tuple(WHAT), where)
    if not any(run["metrics"].get(split) for split in SPLITS):
        remedy = "Pass run['metrics']['test']."
        raise ArgumentError(f"metrics of {', '.join(SPLITS)}", "none", remedy, where)
    return cast(Run, _clean(run))


def _check_sizes(run: Run) -> None:
    """Raise for lists that belong together and differ in length."""
    data, found = run["data"], run.get("residuals")
    pairs: list[tuple[str, Sized, Sized]] = []
    if found:
        pairs += [("spread of {} residuals", found["prediction"], found["spread"])]
        pairs += [("target of {} residuals", found["prediction"], found["target"])]
    if "classes" in data and "confusion" in run:
        pairs.append(("names of {} classes", run["confusion"][0], data["classes"]))
    for name, seen in _seen(run):
        pairs.append((f"{name} of layers after {{}} epochs", run["layers"]["epochs"], seen))
    if "counts" in data:
        pairs.append(("counts of {} classes", data.get("classes", []), data["counts"]))
    for what, wanted, given in pairs:
        if len(wanted) != len(given):
            raise ArgumentError(what.format(len(wanted)), str(len(given)), "Give one for each.", "render")


def _seen(run: Run) -> list[tuple[str, Curve]]:
    """What was seen of each layer, with the measure's name."""
    measures = run["layers"]["measures"] if "layers" in run else {}
    return [(name, curve) for name, by_layer in measures.items() for curve in by_layer.values()]


def chief(run: Run) -> str:
    """The split that the report is about."""
    return next(split for split in SPLITS if run["metrics"].get(split))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_clean(str(k)): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return value if value is None or isinstance(value, (bool, int)) else _clean(str(value))
