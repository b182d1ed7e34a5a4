"""Runs on real data, as plain data for the report: R replicas trained, baselines from scikit-learn on the same rows."""

from __future__ import annotations

import functools
import math
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from handgrad import nn, optim
from handgrad.data import Batches
from handgrad.metrics import measure, resolve
from handgrad.report import Run, confusion, reliability, residuals, roc
from handgrad.training import History, Watch, train
from handgrad.training.watching import watched

R = 10
PATIENCE = 8


def numbers(x: Tensor) -> list[Any]:
    """As JSON has them."""
    return [numbers(row) if row.ndim else (row.item() if math.isfinite(row.item()) else None) for row in x]


def split(x: Any, t: Any, stratify: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """60, 20 and 20 %, standardised by the mean and spread of what is trained on."""
    rest, test = train_test_split(np.arange(len(x)), test_size=0.2, random_state=0, stratify=stratify)
    kept, checked = train_test_split(
        rest, test_size=0.25, random_state=0, stratify=None if stratify is None else stratify[rest]
    )
    mean, std = x[kept].mean(0), x[kept].std(0)
    parts = {"train": kept, "validation": checked, "test": test}
    return {
        name: (torch.tensor((x[rows] - mean) / std).float(), torch.tensor(t[rows]).float())
        for name, rows in parts.items()
    }


def stopped(curve: Tensor, best: list[int]) -> Tensor:
    """(R, E) without what comes after each replica has waited long enough."""
    epochs = torch.arange(curve.shape[1])
    return curve.masked_fill(epochs > torch.tensor(best).unsqueeze(1) + PATIENCE, math.nan)


def run(task: str, data: Any, classes: list[str] | None, models: dict[str, Any], rates: list[float]) -> Run:
    x, t = data.data, data.target
    sets = split(x, t, t if classes else None)
    metrics = resolve(None, task)
    names = [str(name) for name in data.feature_names]
    out = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    seeds = list(range(R))
    model = nn.replicate(out, seeds)
    mean, std = sets["train"][1].mean(), sets["train"][1].std()

    def scaled(v: Tensor) -> Tensor:
        return v if classes else (v - mean) / std

    def outputs(model: nn.Module, name: str) -> Tensor:
        y: Tensor = model(sets[name][0])
        return y if classes else y * std + mean

    criterion = nn.BCEWithLogitsLoss(replicas=R) if classes else nn.MSELoss(replicas=R)

    def loss(model: nn.Module) -> Tensor:
        y, wanted = model(sets["validation"][0]), scaled(sets["validation"][1])
        found: Tensor = criterion(y, wanted.view(1, -1, 1).expand_as(y))
        return found

    def of(split_: str, name: str) -> Any:
        return lambda model: metrics[name](outputs(model, split_), sets[split_][1])

    measured: dict[str, Any] = {f"{s} {name}": of(s, name) for s in sets for name in metrics}
    history: History = train(
        model,
        criterion,
        optim.SGD(model.parameters(), lr=torch.tensor(rates), momentum=0.9),
        Batches(sets["train"][0], scaled(sets["train"][1]).unsqueeze(1), 32, seeds),
        epochs=40,
        metrics={"validation loss": loss, **measured},
        callbacks=[Watch(every=10)],
    )
    layers = {
        measure: {f"{layer} of the network": values[9::10].tolist() for layer, values in found.items()}
        for measure, found in watched(history).items()
    }
    model.eval()
    best = history.metrics["validation loss"].nan_to_num(nan=math.inf).argmin(1).tolist()
    at_best = {key: values[torch.arange(R), torch.tensor(best)] for key, values in history.metrics.items()}
    shown = next(iter(metrics))
    curves = {
        "train": {"loss": history.loss, shown: history.metrics[f"train {shown}"]},
        "validation": {"loss": history.metrics["validation loss"], shown: history.metrics[f"validation {shown}"]},
    }
    baselines = {}
    for name, estimator in models.items():
        found: dict[str, list[Tensor]] = {}
        for seed in seeds:
            fitted = clone(estimator)
            seeded = {key: seed for key in fitted.get_params() if key.endswith("random_state")}
            fitted.set_params(**seeded).fit(*(v.double().numpy() for v in sets["train"]))
            inputs = sets["test"][0].double().numpy()
            y = np.log(fitted.predict_proba(inputs).clip(1e-12)) if classes else fitted.predict(inputs)
            for key, value in measure(metrics, torch.tensor(y).unsqueeze(0), sets["test"][1]).values.items():
                found.setdefault(key, []).append(value)
        baselines[name] = {key: numbers(torch.cat(values)) for key, values in found.items()}
    y = outputs(model, "test")
    counts = [int((t == k).sum()) for k in range(len(classes or []))]
    made: dict[str, Any] = {
        "title": f"{'Breast cancer' if classes else 'Diabetes'}: {R} replicas of a network",
        "created": "24 November 2026, 21:00 UTC",
        "task": task,
        "target": "diagnosis" if classes else "progression",
        "data": {
            "source": f"{'breast_cancer' if classes else 'diabetes'}, from scikit-learn",
            "rows": len(x),
            "columns": [{"name": name, "kind": "number", "missing": 0, "note": "standardised"} for name in names],
            "dropped": [{"name": "id", "why": "another value in every row"}],
            "split": {
                "rows": {name: len(values) for name, (values, _) in sets.items()},
                "how": "at random" + (", stratified by class" if classes else ""),
                "shared": True,
            },
        },
        "network": {"description": repr(out), "parameters": sum(p.numel() for p in out.parameters())},
        "options": {
            "optimizer": "SGD",
            "momentum": 0.9,
            "lr": rates[0],
            "batch size": 32,
            "epochs": 40,
            "nesterov": False,
        },
        "versions": {"handgrad": "0.4.0", "torch": "2.13.0"},
        "seeds": seeds,
        "layers": {"epochs": [10, 20, 30, 40], "measures": layers},
        "history": {s: {name: numbers(stopped(v, best).T) for name, v in c.items()} for s, c in curves.items()},
        "best_epochs": [b if note is None else None for b, note in zip(best, history.diverged)],
        "diverged": history.diverged,
        "metrics": {s: {name: numbers(at_best[f"{s} {name}"]) for name in metrics} for s in sets},
        "baselines": baselines,
        "seconds": 1.234,
        "device": "cpu",
        "novelty": ["2 of the test rows have a value outside the range of the training rows."],
        "command": f"handgrad train {'breast_cancer' if classes else 'diabetes'}.csv --target y --seeds {R}",
    }
    if classes:
        made["data"] |= {"classes": classes, "counts": counts}
        made |= {
            "confusion": confusion(y, sets["test"][1]),
            "reliability": reliability(y, sets["test"][1]),
            "roc": roc(y, sets["test"][1]),
        }
    else:
        made["residuals"] = residuals(y, sets["test"][1])
        made["unit"] = "points"
    return cast(Run, made)


@functools.cache
def classification() -> Run:
    """Breast cancer, two classes."""
    models = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "gradient boosting": HistGradientBoostingClassifier(max_iter=60),
    }
    return run("classification", load_breast_cancer(), ["malignant", "benign"], models, [0.02] * R)


@functools.cache
def regression() -> Run:
    """Diabetes; the learning rate of one replica is far too large, so that it diverges."""
    models = {
        "ridge regression": make_pipeline(StandardScaler(), RidgeCV()),
        "gradient boosting": HistGradientBoostingRegressor(max_iter=60),
    }
    rates = [0.003] * R
    rates[3] = 30.0
    return run("regression", load_diabetes(scaled=False), None, models, rates)
