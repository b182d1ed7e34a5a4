"""Estimators on tabular data beside scikit-learn's own, on the same splits: `python -m benchmarks.tabular`."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed

from handgrad.estimators import HandgradClassifier, HandgradRegressor
from handgrad.statistics import mean, std

CLASSES: dict[str, Callable[[], Any]] = {
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "make_classification": lambda: datasets.make_classification(
        10_000, 30, n_informative=10, n_redundant=5, n_classes=3, n_clusters_per_class=4, flip_y=0.05, random_state=0
    ),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "hastie": lambda: datasets.make_hastie_10_2(4000, random_state=0),
}
NUMBERS: dict[str, Callable[[], Any]] = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "friedman1": lambda: datasets.make_friedman1(1000, noise=1.0, random_state=0),
    "friedman2": lambda: datasets.make_friedman2(1000, noise=100.0, random_state=0),
    "make_regression": lambda: datasets.make_regression(10_000, 30, n_informative=10, noise=20.0, random_state=0),
    "friedman3": lambda: datasets.make_friedman3(1000, noise=0.1, random_state=0),
}
FRESH = ("iris", "hastie", "friedman3")
"""Data on which no default of a recipe was chosen."""

TIMED = ("digits", "make_classification", "friedman1", "make_regression")


@dataclass
class Score:
    """What one estimator gave on one split."""

    score: float
    loss: float
    seconds: float


def contestants(classifies: bool, seed: int) -> dict[str, Any]:
    """Estimators by name; those that need it get standardised features and targets."""
    if classifies:
        return {
            "handgrad, 10 replicas": HandgradClassifier(random_state=seed),
            "MLPClassifier": make_pipeline(StandardScaler(), MLPClassifier((64, 64), random_state=seed)),
            "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            "HistGradientBoosting": HistGradientBoostingClassifier(random_state=seed),
        }
    network = TransformedTargetRegressor(
        MLPRegressor(hidden_layer_sizes=(64, 64), random_state=seed), transformer=StandardScaler()
    )
    return {
        "handgrad, 10 replicas": HandgradRegressor(random_state=seed),
        "MLPRegressor": make_pipeline(StandardScaler(), network),
        "Ridge": make_pipeline(StandardScaler(), Ridge()),
        "HistGradientBoosting": HistGradientBoostingRegressor(random_state=seed),
    }


def measured(estimator: Any, X: Any, y: Any, train: Any, test: Any, classifies: bool) -> Iterator[tuple[str, Score]]:
    """The score of an estimator on a split; of handgrad's also the mean score of its replicas."""
    start = time.perf_counter()
    estimator.fit(X[train], y[train])
    seconds = time.perf_counter() - start

    def of(one: Any) -> tuple[float, float]:
        loss = log_loss(y[test], one.predict_proba(X[test]), labels=one.classes_) if classifies else float("nan")
        return one.score(X[test], y[test]), loss

    yield "", Score(*of(estimator), seconds)
    if hasattr(estimator, "replica"):
        each = [of(estimator.replica(r)) for r in range(estimator.replicas)]
        yield "its replicas alone", Score(mean([s for s, _ in each]), mean([v for _, v in each]), seconds)


def quality(splits: int, names: Sequence[str] = ()) -> Iterator[str]:
    """A Markdown table: score, log loss and seconds of every estimator on every data set, or on those named."""
    yield "| data | estimator | accuracy or R² | log loss | fit, s |"
    yield "|---|---|---:|---:|---:|"
    for name, load in {**CLASSES, **NUMBERS}.items():
        if names and name not in names:
            continue
        classifies = name in CLASSES
        X, y = load()
        kind = StratifiedShuffleSplit if classifies else ShuffleSplit
        found: dict[str, list[Score]] = {}
        for seed, (train, test) in enumerate(kind(splits, test_size=0.25, random_state=0).split(X, y)):
            for who, estimator in contestants(classifies, seed).items():
                for part, score in measured(estimator, X, y, train, test, classifies):
                    found.setdefault(part or who, []).append(score)
        for who, scores in found.items():
            values = [score.score for score in scores]
            loss = f"{mean([score.loss for score in scores]):.3f}" if classifies else ""
            seconds = f"{mean([score.seconds for score in scores]):.2f}"
            yield f"| {name} | {who} | {mean(values):.4f} ± {std(values):.4f} | {loss} | {seconds} |"


def speed(replicas: int, epochs: int, names: Sequence[str] = TIMED) -> Iterator[str]:
    """A Markdown table: R replicas against as many fits of scikit-learn's, of the same network, batches and epochs.

    Both have all cores: handgrad groups of replicas, scikit-learn one joblib worker a core with one BLAS thread.
    """
    Parallel(-1)(delayed(clone)(MLPRegressor()) for _ in range(100))  # the workers are there before the clock runs
    yield f"| data | dtype | {replicas} × MLP, s | handgrad, s | ratio |"
    yield "|---|---|---:|---:|---:|"
    for name in names:
        X, y = {**CLASSES, **NUMBERS}[name]()
        classifies = name in CLASSES
        y = y if classifies else (y - y.mean()) / y.std()
        size = 32 if len(X) < 5000 else 128
        for dtype in (np.float64, np.float32):
            x = StandardScaler().fit_transform(X).astype(dtype)
            peer: Callable[..., Any] = MLPClassifier if classifies else MLPRegressor
            options: dict[str, Any] = {"batch_size": size, "n_iter_no_change": epochs, "max_iter": epochs, "tol": 0}
            fits = [delayed(peer(hidden_layer_sizes=(64, 64), random_state=r, **options).fit) for r in range(replicas)]
            start = time.perf_counter()
            Parallel(-1)(fit(x, y) for fit in fits)
            theirs = time.perf_counter() - start
            own: Callable[..., Any] = HandgradClassifier if classifies else HandgradRegressor
            same = {"optimizer": "Adam", "schedule": "constant", "dropout": 0.0, "patience": None, "weight_decay": 0.0}
            start = time.perf_counter()
            own(replicas, (64, 64), lr=1e-3, batch_size=size, epochs=epochs, n_jobs=-1, random_state=0, **same).fit(
                x, y
            )
            ours = time.perf_counter() - start
            kind = np.dtype(dtype).name
            yield f"| {name} | {kind} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f}× |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--replicas", type=int, default=10, help="of the comparison of time")
    parser.add_argument("--epochs", type=int, default=20, help="of the comparison of time")
    parser.add_argument("--data", nargs="*", default=(), choices=(*CLASSES, *NUMBERS))
    parser.add_argument("--only", choices=("quality", "speed"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn's of networks that have not converged
    if options.only != "speed":
        for line in quality(options.splits, options.data):
            print(line, flush=True)
    if options.only != "quality":
        for line in speed(options.replicas, options.epochs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
