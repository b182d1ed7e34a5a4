"""train: replicas on prepared data, judged on rows that nobody has seen, beside baselines on the same rows."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

import handgrad
from handgrad import nn, tables
from handgrad.metrics import DEFAULTS, SCORES, measure, resolve
from handgrad.recipes import Recipe
from handgrad.report import Run, confusion, reliability, roc
from handgrad.report.run import Residuals
from handgrad.runs.prepared import PARTS, Prepared
from handgrad.statistics import margins
from handgrad.tables.table import GONE
from handgrad.training import Advance, Evaluation, History
from handgrad.training.watching import watched

MOST = 500
"""Points in a figure of residuals."""


@dataclass(frozen=True)
class Trained:
    """What `train` gave.

    Attributes:
        model: R networks in one.
        history: of their training.
        recipe: by which they were trained.
        prepared: the data.
        run: the run as a report shows it, with all metrics.
    """

    model: nn.Module
    history: History
    recipe: Recipe
    prepared: Prepared
    run: Run


def train(
    prepared: Prepared,
    recipe: Recipe | None = None,
    *,
    title: str = "",
    source: str = "a table",
    command: str = "",
    baselines: bool = True,
    checkpoints: str | os.PathLike[str] | None = None,
    workers_: int | None = None,
    advance: Advance | None = None,
    judged: Callable[[int], None] | None = None,
) -> Trained | None:
    """Train one replica for each seed, and judge all of them on their test rows.

    Returns None if training was interrupted: with `checkpoints` the same call goes on where it was.

    Args:
        prepared: the data.
        recipe: the network and its training.
        title, source, command: for the report.
        baselines: also fit scikit-learn's linear model and gradient boosting to each split.
        checkpoints: a folder for the state of a run under way.
        workers_: as many as there are cores by default.
        advance: called with the losses of the replicas that have just finished an epoch.
        judged: called with the number of seeds whose baselines are fitted, from 0 on, which take longer than networks.

    Example:
        >>> from handgrad.recipes import Recipe
        >>> from handgrad.runs import prepare, train
        >>> data = {"x": [n / 50 for n in range(200)], "y": [(n / 50) ** 2 for n in range(200)]}
        >>> trained = train(prepare(data, "y", seeds=range(3)), Recipe(epochs=40), baselines=False)
        >>> trained.run["metrics"]["test"]["r2"][0] > 0.9
        True
    """
    recipe = recipe or Recipe()
    task = prepared.task
    names = ["accuracy"] if task == "classification" else []
    start = time.perf_counter()
    model, history = recipe.train(
        prepared.x,
        prepared.t,
        prepared.seeds,
        task=task,
        rows=(prepared.rows["train"], prepared.rows["validation"]),
        measures=resolve(names, task),
        checkpoints=checkpoints,
        advance=advance,
        workers_=workers_,
    )
    if history.interrupted:
        return None
    model.eval()
    seconds = time.perf_counter() - start
    outputs = {name: _outputs(model, history, prepared, name) for name in PARTS}
    metrics = {name: SCORES[name] for name in headed(prepared)}
    found = {name: measure(metrics, *outputs[name]) for name in PARTS}
    y, t = outputs["test"]
    seen = watched(history)
    run: Run = {
        "title": title or f"{prepared.table.schema.target.name} of {source}",  # type: ignore[union-attr]
        "task": task,
        "target": prepared.table.schema.target.name,  # type: ignore[union-attr]
        "data": _data(prepared, source),
        "network": {
            "description": repr(model.replica(0)),
            "parameters": sum(p.numel() for p in model.parameters()) // len(prepared.seeds),
        },
        "seeds": prepared.seeds,
        "diverged": history.diverged,
        "history": _curves(history, seen),
        "metrics": {name: {m: values.tolist() for m, values in one.values.items()} for name, one in found.items()},
        "undefined": found["test"].reasons,
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "options": json.loads(recipe.to_json()),
        "versions": _versions(),
        "best_epochs": history.best or [None] * len(prepared.seeds),
        "seconds": seconds,
        "device": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "warnings": prepared.notes,
        "command": command,
    }
    if seen:
        run["layers"] = _layers(model, seen)
    if task == "classification":
        run["confusion"], run["reliability"] = confusion(y, t), reliability(y, t)
        if len(prepared.labels) == 2:
            run["roc"] = roc(y, t)
    else:
        run["residuals"], run["margins"] = _residuals(prepared, y)
    if baselines:
        run["baselines"], more = _baselines(prepared, workers_, judged)
        run["warnings"] = [*run["warnings"], *more]
    return Trained(model, history, recipe, prepared, run)


def headed(prepared: Prepared) -> list[str]:
    """The metrics of the task, the one first that a reader should look at first.

    Of classes of which one has more than three quarters of the rows that is not the accuracy, which a constant reaches.
    """
    names = list(DEFAULTS[prepared.task])
    counts = list(prepared.table.counts.values())
    first = "auc" if len(counts) == 2 else "balanced_accuracy"
    return sorted(names, key=lambda name: name != first) if counts and max(counts) > 0.75 * sum(counts) else names


def _outputs(model: nn.Module, history: History, prepared: Prepared, part: str) -> tuple[Tensor, Tensor]:
    """Outputs (R, M, …), NaN of a replica that diverged, and targets (R, M, …) of a part's rows."""
    t = prepared.t.expand(len(prepared.seeds), *prepared.t.shape)
    y, t = Evaluation(prepared.x, t, rows=prepared.rows[part], own=True).outputs(model)
    gone = torch.tensor([note is not None for note in history.diverged])  # its best weights may be finite
    return y.masked_fill(gone.view(-1, *[1] * (y.ndim - 1)), math.nan), t


def _curves(history: History, seen: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The history by part and name, without what was seen of the layers."""
    curves: dict[str, dict[str, Any]] = {"train": {}, "validation": {}}
    layers = {f"{measure}/{layer}" for measure, found in seen.items() for layer in found}
    for name, values in history.arrays().items():
        if name in layers:
            continue
        part = "validation" if name.startswith("validation_") else "train"
        curves[part][name.removeprefix("validation_")] = values.tolist()
    return curves


def _layers(model: nn.Module, seen: dict[str, dict[str, Any]]) -> Any:
    """What was seen of the layers, without the epochs after which nobody looked."""
    parts = dict(model.named_modules())
    every = np.array([values for layers in seen.values() for values in layers.values()])
    looked = np.flatnonzero(np.isfinite(every).any((0, 2)))
    measures = {
        measure: {f"{layer} {parts[layer].label}": values[looked].tolist() for layer, values in layers.items()}
        for measure, layers in seen.items()
    }
    return {"epochs": (looked + 1).tolist(), "measures": measures}


def _data(prepared: Prepared, source: str) -> Any:
    schema, table = prepared.table.schema, prepared.table
    missing = _missing(table)
    used = [{"name": c.name, "kind": c.kind, "missing": missing[c.name], "note": c.reason} for c in schema.used]
    data = {
        "source": source,
        "rows": len(table),
        "columns": used,
        "dropped": [{"name": c.name, "why": c.reason} for c in schema.columns if not c.used],
        "split": {
            "rows": {name: prepared.rows[name].shape[1] for name in PARTS},
            "how": prepared.how,
            "shared": prepared.shared,
        },
    }
    if prepared.labels:
        data |= {"classes": prepared.labels, "counts": list(table.counts.values())}
    return data


def _missing(table: tables.Table) -> dict[str, int]:
    """How many rows have no value, by column."""
    found = {c.name: int((table.codes[:, at] == GONE).sum()) for at, c in enumerate(table.schema.categories)}
    at = 0
    for column in table.schema.numbers:
        found[column.name] = int(np.isnan(table.numbers[:, at]).sum())
        at += len(column.features)
    return found


def _residuals(prepared: Prepared, y: Tensor) -> tuple[Residuals, list[float | None]]:
    """Mean and spread, for each row, of the predictions of those replicas in whose test part it is; and the margins."""
    rows = prepared.rows["test"]
    good = torch.tensor([bool(values.isfinite().all()) for values in y])
    place, value = rows[good].flatten(), y[good].double().flatten()
    N = len(prepared.t)
    count = torch.zeros(N).double().index_add_(0, place, torch.ones_like(value))
    mean = torch.zeros(N).double().index_add_(0, place, value) / count
    square = torch.zeros(N).double().index_add_(0, place, (value - mean[place]).square())
    spread = (square / (count - 1)).sqrt()
    there = count.nonzero().flatten()
    order = there[mean[there].argsort(stable=True)]
    chosen = order[torch.linspace(0, len(order) - 1, min(MOST, len(order)), dtype=torch.float64).round().long()]
    found: Residuals = {
        "prediction": mean[chosen].tolist(),
        "spread": [v if math.isfinite(v) else None for v in spread[chosen].tolist()],
        "target": prepared.t[chosen, 0].tolist(),
        "rows": len(there),
    }
    return found, margins((prepared.t[there, 0] - mean[there]).abs().tolist())


def _baselines(
    prepared: Prepared, workers_: int | None, judged: Callable[[int], None] | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The same metrics of scikit-learn's models on the same rows, and what it warned of."""
    names = {
        "linear": "logistic regression" if prepared.labels else "ridge regression",
        "boosting": "gradient boosting",
    }
    metrics = {name: SCORES[name] for name in headed(prepared)}
    targets = prepared.t[prepared.rows["test"]]  # (R, M, …)
    found, notes = {}, []
    fitted = tables.baselines(prepared.table, prepared.splits, workers_=workers_, done=judged)
    for model, fits in fitted.items():
        predicted = torch.stack([torch.from_numpy(fit.predictions) for fit in fits])
        # log p are logits; a p of 0 is as small as a float64 has them
        outputs = predicted.clamp(min=1e-300).log() if prepared.labels else predicted
        values = measure(metrics, outputs, targets).values
        found[names.get(model, model)] = {name: v.tolist() for name, v in values.items()}
        notes += [f"{names.get(model, model)}: {text}" for fit in fits for text in fit.warnings]
    return found, list(dict.fromkeys(notes))


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "scikit-learn", "polars")
    return {"handgrad": handgrad.__version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in packages
    }
