"""Metrics by name: from the outputs of R replicas to R numbers, with the reason where one is undefined.

A metric is a few tensor operations for all replicas at once. Calls of scikit-learn, one for each replica, give the same
numbers, which the tests hold, but take longer than an epoch of training a small network.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, scoring
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.nn.slot import several
from handgrad.scoring import Classes, Values, of_classes, of_values

Measure = Callable[..., Tensor]
"""From outputs (R, N, …) and targets, and weights of the samples where there are some, to (R,)."""
Wanted = str | Measure | Iterable[str | Measure] | Mapping[str, str | Measure] | None

TASKS = ("classification", "regression")
DEFAULTS = {
    "classification": ("accuracy", "balanced_accuracy", "f1", "auc", "log_loss", "calibration_error"),
    "regression": ("rmse", "mae", "r2"),
}
BAD = "outputs that are not finite numbers"
EMPTY = "there are no samples of positive weight"


@dataclass(frozen=True)
class Score:
    """A metric that knows what it is; called with outputs and targets it gives one number for each replica.

    Attributes:
        name: by which `resolve` finds it, and under which results keep it.
        label: for readers.
        task: "classification" or "regression".
        takes: "labels" (the most probable class), "probabilities" or "values".
        larger: whether larger is better.
        unit: "fraction" (differences are told in points), "nats", "target", the target's unit, or "", a bare number.
        formula: t is the target, y the prediction, p a probability, w the sample's weight; sums run over samples.
        undefined: when there is no number.

    Example:
        >>> import torch
        >>> outputs = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 3.0]]])  # (R, N, K)
        >>> SCORES["accuracy"](outputs, torch.tensor([0, 1]))
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """

    name: str
    label: str
    task: str
    takes: str
    larger: bool
    unit: str
    formula: str
    undefined: str
    of: Callable[[Any], Tensor] = field(repr=False, compare=False)

    def __call__(self, outputs: Any, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        return measure({self.name: self}, outputs, targets, weights).values[self.name]


@dataclass(frozen=True)
class Measured:
    """What `measure` found."""

    values: dict[str, Tensor]
    """(R,) float64 each, NaN where undefined."""
    reasons: dict[str, str]
    """Why a metric is NaN, for those that are in some replica."""


def measure(metrics: Mapping[str, Measure], outputs: Any, targets: Tensor, weights: Tensor | None = None) -> Measured:
    """Return every metric for every replica.

    Args:
        metrics: from `resolve`. A function of your own is called with outputs, targets and, where there are some,
            weights, and returns (R,).
        outputs: of classification logits (R, N, K), or (R, N, 1) of two classes; log p are logits, too. Of regression
            values (R, N) or (R, N, O). Of a tuple functions get all, metrics by name the first.
        targets: classes (N,) or (R, N); values (N,), (R, N), (N, O) or (R, N, O). A last dimension of 1 may be there.
        weights: of the samples, (N,) or (R, N), by default all equal.

    Errors: ShapeError, DTypeError or ArgumentError for what is not like this. What is only undefined is NaN.

    Example:
        >>> import torch
        >>> found = measure(resolve(["accuracy", "auc"], "classification"), torch.zeros(2, 3, 1), torch.zeros(3))
        >>> found.values["accuracy"].tolist(), found.reasons
        ([1.0, 1.0], {'auc': 'the targets have one class only'})
    """
    ready: dict[str, Classes | Values] = {}
    values, reasons = {}, {}
    first = several(outputs)[0]
    for name, metric in metrics.items():
        if not isinstance(metric, Score):
            found = metric(outputs, targets) if weights is None else metric(outputs, targets, weights)
            values[name] = _per_replica(found, len(first), name)
            if values[name].isnan().any():
                reasons[name] = "the function gave NaN"
            continue
        if metric.task not in ready:
            ready[metric.task] = (of_classes if metric.task == "classification" else of_values)(first, targets, weights)
        data = ready[metric.task]
        values[name] = metric.of(data) if data.t.shape[1] else data.w.new_full((len(first),), math.nan)
        values[name] = values[name].masked_fill(data.bad, math.nan)
        if (undefined := values[name].isnan()).any():
            lost = bool((undefined & ~data.bad).any())
            reasons[name] = (metric.undefined if data.w[undefined & ~data.bad].any() else EMPTY) if lost else BAD
    return Measured(values, reasons)


def resolve(metrics: Wanted, task: str | None) -> dict[str, Measure]:
    """Return metrics by name.

    Args:
        metrics: names of `SCORES`, functions, or a mapping from names to either; None for what suits the task.
        task: "classification" or "regression"; None for that of the first name.

    Errors: ArgumentError for a name that does not exist or belongs to the other task, a function without a name, and
    two metrics of one name.

    Example:
        >>> list(resolve(None, "regression"))
        ['rmse', 'mae', 'r2']
        >>> resolve("acuracy", "classification")
        Traceback (most recent call last):
        handgrad.errors.ArgumentError: metrics: expected a metric of classification (accuracy, balanced_accuracy, f1, \
auc, log_loss, brier, calibration_error), got 'acuracy'. Did you mean 'accuracy'?
    """
    if task is not None:
        checks.one_of("task", task, TASKS, "metrics")
    if metrics is None:
        metrics = DEFAULTS[task or TASKS[1]]
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    pairs = list(metrics.items()) if isinstance(metrics, Mapping) else [("", metric) for metric in metrics]
    if task is None:
        names = [checks.one_of("a metric", metric, SCORES, "metrics") for _, metric in pairs if isinstance(metric, str)]
        task = SCORES[names[0]].task if names else TASKS[1]
    found: dict[str, Measure] = {}
    for given, metric in pairs:
        score = _named(metric, task) if isinstance(metric, str) else metric
        if not callable(score):
            raise DTypeError("a name or a function", repr(metric), "Pass metrics=['accuracy'], say.", "metrics")
        if isinstance(score, Score) and score.task != task:
            raise ArgumentError(f"a metric of {task}", f"{score.label}, of {score.task}", _near("", task), "metrics")
        name = given or (score.name if isinstance(score, Score) else getattr(score, "__name__", "<lambda>"))
        if name == "<lambda>":
            raise ArgumentError("a name for each function", name, "Pass {'my name': function}.", "metrics")
        if name in found:
            raise ArgumentError("different names", f"{name!r} twice", "Pass each metric once.", "metrics")
        found[name] = score
    return found


def pinball(q: float) -> Score:
    """Return the pinball loss of the q-quantile, Σ w max(q(t − y), (q − 1)(t − y)) / Σ w.

    Errors: ArgumentError for q that is not between 0 and 1.

    Source: Koenker and Bassett, Regression quantiles, 1978.

    Example:
        >>> import torch
        >>> pinball(0.9)(torch.tensor([[1.0, 1.0]]), torch.tensor([2.0, 0.0])).item()
        0.5
    """
    if not 0 < q < 1:
        raise ArgumentError("q between 0 and 1", repr(q), "Pass pinball(0.9), say.", "pinball")

    def of(d: Values) -> Tensor:
        return d.mean(torch.maximum(q * (d.t - d.y), (q - 1) * (d.t - d.y))).mean(-1)

    formula = f"Σ w max({q:g}(t − y), {q - 1:g}(t − y)) / Σ w"
    return Score(f"pinball_{q:g}", f"pinball loss {q:g}", TASKS[1], "values", False, "target", formula, EMPTY, of)


def _table() -> dict[str, Score]:
    one, constant = "the targets have one class only", "the targets are all equal"
    rows: list[tuple[str, str, str, bool, str, str, str, Callable[[Any], Tensor]]] = [
        ("accuracy", "accuracy", "labels", True, "fraction", "Σ w [y = t] / Σ w", EMPTY, scoring.accuracy),
        (
            "balanced_accuracy", "balanced accuracy", "labels", True, "fraction",
            "mean over the classes k among the targets of Σ w [y = t = k] / Σ w [t = k]", EMPTY,
            scoring.balanced_accuracy,
        ),
        (
            "f1", "F1", "labels", True, "",
            "2 Σ w [y = t = 1] / (Σ w [t = 1] + Σ w [y = 1]); of several classes the mean over those that occur",
            "neither targets nor predictions have class 1", scoring.f1,
        ),
        (
            "auc", "AUC", "probabilities", True, "",
            "the probability that p is higher for a sample of the class than for another one, ties counted half; "
            "of several classes the mean over those that occur", one, scoring.auc,
        ),
        (
            "log_loss", "log loss", "probabilities", False, "nats", "−Σ w log p_t / Σ w, p_t at least 2⁻⁵²", EMPTY,
            scoring.log_loss,
        ),
        (
            "brier", "Brier score", "probabilities", False, "",
            "Σ w Σ_k (p_k − [t = k])² / Σ w; of two classes half of it, Σ w (p_1 − t)² / Σ w", EMPTY, scoring.brier,
        ),
        (
            "calibration_error", "calibration error", "probabilities", False, "fraction",
            "Σ_b w_b |accuracy_b − mean max_k p_k in b| / Σ w, b one of 15 bins of max_k p_k of equal width",
            EMPTY, scoring.calibration_error,
        ),
        ("rmse", "RMSE", "values", False, "target", "√(Σ w (y − t)² / Σ w)", EMPTY, scoring.rmse),
        ("mae", "MAE", "values", False, "target", "Σ w |y − t| / Σ w", EMPTY, scoring.mae),
        (
            "r2", "R²", "values", True, "",
            "1 − Σ w (y − t)² / Σ w (t − mean t)²; of several outputs the mean over those whose targets differ",
            constant, scoring.r2,
        ),
        (
            "median_absolute_error", "median absolute error", "values", False, "target",
            "the weighted median of |y − t|", EMPTY, scoring.median_absolute_error,
        ),
        ("max_error", "largest error", "values", False, "target", "max |y − t|", EMPTY, scoring.max_error),
    ]  # fmt: skip
    return {row[0]: Score(row[0], row[1], TASKS[row[2] == "values"], *row[2:]) for row in rows}


SCORES = _table()
"""All metrics by name. Of regression with O outputs each is the mean over the outputs."""


def _named(name: str, task: str) -> Score:
    """The score of a name, however it is spelt: "log loss", "Log-Loss", "R²"."""
    key = name.strip().casefold().replace("²", "2").replace(" ", "_").replace("-", "_")
    if key in SCORES:
        return SCORES[key]
    listed = ", ".join(score.name for score in SCORES.values() if score.task == task)
    raise ArgumentError(f"a metric of {task} ({listed})", repr(name), _near(key, task), "metrics")


def _near(key: str, task: str) -> str:
    names = [score.name for score in SCORES.values() if score.task == task]
    near = difflib.get_close_matches(key, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(names)}."


def _per_replica(found: Any, R: int, name: str) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != (R,):
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ShapeError(f"a number for each of {R} replicas", got, "Return a tensor of shape (R,).", f"metric {name}")
    return found.detach().to("cpu", torch.float64)
