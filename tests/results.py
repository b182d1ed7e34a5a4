"""A made-up results dict in the shape that `experiments.reproduce` gives, for the tests of what is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

LABELS = {
    "report": "handgrad, unit-Gaussian initialisation (the report's)",
    "default": "handgrad, PyTorch's default initialisation",
    "best": "handgrad, init='kaiming_normal'",
    "torch_nn": "torch.nn",
    "from_torch": "handgrad, torch.nn's own initial weights",
    "no_batchnorm": "handgrad, default initialisation, no BatchNorm",
}
LEVELS = {
    "report": 0.935,
    "default": 0.955,
    "best": 0.958,
    "torch_nn": 0.955,
    "from_torch": 0.955,
    "no_batchnorm": 0.55,
}


def made_up(rounds: int = 20, epochs: int = 6, accuracy: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Results whose rows end in the given accuracies, or in random ones about those that the real ones have."""
    rng = np.random.default_rng(0)
    given = accuracy or {key: np.clip(rng.normal(level, 0.015, rounds), 0, 1) for key, level in LEVELS.items()}
    progress = np.linspace(0, 1, epochs) if epochs > 1 else np.ones(1)
    rows = []
    for key, values in given.items():
        final = np.asarray(values)[:, None]
        curve = 0.5 + (final - 0.5) * progress
        row = {
            "key": key,
            "label": LABELS[key],
            "framework": "torch.nn" if key == "torch_nn" else "handgrad",
            "init": "gaussian" if key == "report" else "pytorch",
            "batchnorm": key != "no_batchnorm",
            "seeds": list(range(len(final))),
            "seconds": 1.2,
            "accuracy": list(map(float, values)),
            "epoch_loss": (np.exp(-3 * progress) * rng.uniform(0.5, 1.5, final.shape)).tolist(),
            "train_accuracy": np.clip(curve + 0.01, 0, 1).tolist(),
            "test_accuracy": curve.tolist(),
            "diverged": [None] * len(final),
        }
        rows.append(row)
    return {
        "format": 1,
        "versions": {"handgrad": "0.1.0", "torch": "2.13.0"},
        "options": {"rounds": rounds, "epochs": epochs, "lr": 0.06, "batch_size": 500, "init": "kaiming_normal"},
        "published": [
            {"label": "Mini-framework (published)", "mean": 0.9364, "std": 0.0287, "n": 20},
            {"label": "PyTorch (published)", "mean": 0.9604, "std": 0.0096, "n": 20},
        ],
        "rows": rows,
        "figure1": {
            "epochs": list(range(1, epochs + 1)),
            "percentiles": [5, 25, 50, 75, 95],
            "without": _side(rng, epochs, share=0.1, spread=0.15, gradient=-8.0),
            "with": _side(rng, epochs, share=0.99, spread=1.0, gradient=-2.5),
        },
        "certificate": {
            "float64": _certificate(rng, rounds, 100, 1e-15, 1e-10),
            "float32": _certificate(rng, rounds, 20, 1e-6, 1e-4),
        },
    }


def diverge(results: dict[str, Any], key: str, index: int) -> None:
    """Let round `index` of row `key` have diverged in its second epoch."""
    row = next(row for row in results["rows"] if row["key"] == key)
    row["diverged"][index] = {"epoch": 2, "step": 1, "layer": "model.0 (Linear 2→25)"}
    row["accuracy"][index] = None
    for name in ("epoch_loss", "train_accuracy", "test_accuracy"):
        row[name][index][1:] = [None] * (len(row[name][index]) - 1)


def copied(results: dict[str, Any]) -> dict[str, Any]:
    """The same as read from a file."""
    return dict(json.loads(json.dumps(results, allow_nan=False)))


def _side(rng: np.random.Generator, epochs: int, share: float, spread: float, gradient: float) -> dict[str, Any]:
    features = rng.normal(0, spread, (epochs, 500))
    if share < 0.5:
        features = np.maximum(features, 0)
    return {
        "features": _distribution(features, np.linspace(-3, 5, 161))
        | {"sample_share": {"mean": [share] * epochs, "std": [0.005] * epochs}},
        "gradient": _distribution(np.maximum(rng.normal(gradient, 1, (epochs, 500)), -9), np.linspace(-9, 1, 101)),
    }


def _distribution(values: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> dict[str, Any]:
    density = [np.histogram(v, edges, density=True)[0].tolist() for v in values]
    quantiles = np.percentile(values, [5, 25, 50, 75, 95], axis=1).T.tolist()
    return {"quantiles": quantiles, "histogram": {"edges": edges.tolist(), "density": density}}


def _certificate(rng: np.random.Generator, rounds: int, steps: int, size: float, bound: float) -> dict[str, Any]:
    largest = (size * np.sqrt(np.arange(1, steps + 1)) * rng.uniform(0.7, 1.3, steps)).tolist()
    worst = {"loss": size, "gradients": max(largest), "parameters": 2 * size, "statistics": size}
    return {
        "steps": steps,
        "rounds": rounds,
        "worst": worst,
        "bound": bound,
        "holds": True,
        "largest_by_step": largest,
    }
