"""Baselines: what a constant, a linear model and gradient boosting make of the same splits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from handgrad import checks, workers
from handgrad.errors import DataError
from handgrad.optional import require
from handgrad.seeds import derive
from handgrad.tables.encoding import Encoder
from handgrad.tables.splitting import Split
from handgrad.tables.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIBRARY = {"constant": "sklearn.dummy", "linear": "sklearn.linear_model", "boosting": "sklearn.ensemble"}
MODELS = tuple(LIBRARY)
PENALTIES = (1.0, 0.1, 10.0, 100.0)
"""Of the linear model's squared weights: Ridge's alpha, 1 / C of LogisticRegression. Without validation the first.

None below 0.1: a few validation rows would now and then choose a model that is sure of itself and wrong.
"""


BYTES = 32
"""Of each number of a split's inputs: in float32, in float64, and in scikit-learn's copies."""


@dataclass(frozen=True)
class Baseline:
    """One model fitted to one split.

    Attributes:
        model: one of MODELS.
        seed: of the split.
        predictions: for the test rows the probabilities of the classes, (N, K), or numbers in the target's unit, (N,).
        chosen: what the validation rows chose, such as {"penalty": 1.0}.
        warnings: what scikit-learn warned of, each once.
    """

    model: str
    seed: int
    predictions: NDArray[np.float64]
    chosen: dict[str, float]
    warnings: tuple[str, ...]


def baselines(
    table: Table,
    splits: Iterable[Split],
    models: Sequence[str] = MODELS,
    *,
    workers_: int | None = None,
    done: Callable[[int], None] | None = None,
) -> dict[str, list[Baseline]]:
    """Return what scikit-learn's models predict for the test rows of each split.

    They get just what a network gets: the same encoded inputs, by an encoder of the split's training rows, to fit; the
    validation rows to choose by their log loss or squared error, here the linear model's penalty and the number of
    boosting's rounds, as a network's epochs are chosen by them; and the split's seed.

    - "constant": the training rows' class shares, or mean.
    - "linear": LogisticRegression or Ridge.
    - "boosting": HistGradientBoostingClassifier or -Regressor.

    Splits are shared by the cores, each on one thread: several threads of one small model wait for each other most of
    the time, and where another process wants a core, fifty times as long as they compute.

    Args:
        table: the data.
        splits: of its rows.
        models: of MODELS.
        workers_: as many as there are cores by default, fewer where memory is short; the numbers do not depend on it.
        done: called with the number of splits that are finished, from 0 on.

    Errors: ArgumentError for an unknown model; DataError for a table without a target; MissingExtraError without
    scikit-learn; KeyboardInterrupt for Ctrl-C or SIGTERM, after the models under way.

    Example:
        >>> from handgrad import tables
        >>> table = tables.load({"x": range(200), "y": [2.0 * n + n % 3 for n in range(200)]}, "y", task="regression",
        ...                     kinds={"x": "number"})
        >>> found = tables.baselines(table, [tables.split(table, seed) for seed in range(2)])
        >>> rows = tables.split(table, 1).test
        >>> errors = {name: abs(fits[1].predictions - table.targets[rows]).mean() for name, fits in found.items()}
        >>> sorted(errors, key=errors.get)
        ['linear', 'boosting', 'constant']
    """
    for model in models:
        checks.one_of("models", model, MODELS, "tables.baselines")
    if table.targets is None:
        raise DataError("a table with a target", "one without", "Name it: load(…, target=…).", "tables.baselines")
    splits, finished = list(splits), 0
    if empty := [part for part in splits if not len(part.test)]:
        raise DataError("splits with a test part", repr(empty[0]), "Choose test=0.2, say.", "tables.baselines")
    for name in {"constant", *models}:  # here once, not in each worker
        require(LIBRARY[name], "tables")
    limits = require("threadpoolctl", "tables").threadpool_limits

    def task(part: Split) -> workers.Task[list[Baseline]]:
        def run(stop: workers.Stop, send: workers.Send) -> list[Baseline]:
            encoder = Encoder.fit(table, part.train)
            parts = (part.train, part.validation, part.test)
            # float64, for probabilities of float32 do not sum to 1 as scikit-learn's metrics ask for
            inputs = [encoder.transform(table, rows).double().numpy() for rows in parts]
            data = [(x, encoder.targets(table, rows).numpy()) for x, rows in zip(inputs, parts)]
            with limits(1):
                found = [_best(model, part.seed, encoder, *data) for model in models if not stop.is_set()]
            send(None)
            return found

        return run

    def one_more(_: Any) -> None:
        nonlocal finished
        finished += 1
        if done is not None:
            done(finished)

    if done is not None:
        done(0)
    fit = max(workers.free_memory() // (BYTES * len(table) * max(len(table.schema.inputs), 1)), 1)
    count = min(workers_ or workers.default_workers(), fit)
    # one thread elsewhere: limits and warnings are of a whole process
    found = workers.run([task(part) for part in splits], count if workers.forks() else 1, one_more)
    fits = [one for one in found if one is not None and len(one) == len(models)]
    if len(fits) < len(splits):
        raise KeyboardInterrupt
    return {model: [one[at] for one in fits] for at, model in enumerate(models)}


Data = tuple[Any, Any]


def _best(model: str, seed: int, encoder: Encoder, train: Data, validation: Data, test: Data) -> Baseline:
    """The choice with the least loss on the validation rows, of equal ones the first."""
    target = encoder.schema.target
    classes = len(target.labels) if target else 0
    best, least = None, np.inf
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for chosen, guess, predictions in _choices(model, seed, classes, *train, validation[0], test[0]):
            loss = np.inf if guess is None else _loss(guess, validation[1])
            if best is None or loss < least:
                best, least = (chosen, predictions), loss
    assert best is not None
    noted = dict.fromkeys(f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in caught)
    predictions = best[1] if classes else encoder.original(torch.from_numpy(best[1])).numpy()
    return Baseline(model, seed, predictions, best[0], tuple(noted))


def _choices(
    model: str, seed: int, classes: int, x: Any, t: Any, validation: Any, test: Any
) -> Iterator[tuple[dict[str, float], Any, Any]]:
    """What can be chosen, with what it predicts for the validation rows (None if there are none) and the test rows."""
    state = derive(seed, "baseline", model) % 2**32
    alone = classes > 0 and len(np.unique(t)) < 2  # scikit-learn's classifiers refuse a single class
    if model == "constant" or alone:
        dummy = require(LIBRARY["constant"], "tables")
        constant = dummy.DummyClassifier(strategy="prior") if classes else dummy.DummyRegressor()
        constant.fit(x, t)
        yield {}, *(_predicted(constant, rows, classes) for rows in (validation, test))
    elif model == "linear":
        linear = require(LIBRARY["linear"], "tables")
        for penalty in PENALTIES if len(validation) else PENALTIES[:1]:
            if classes:
                fitted = linear.LogisticRegression(C=1 / penalty, max_iter=1000, random_state=state).fit(x, t)
            else:
                fitted = linear.Ridge(alpha=penalty, random_state=state).fit(x, t)
            yield {"penalty": penalty}, *(_predicted(fitted, rows, classes) for rows in (validation, test))
    else:
        ensemble = require(LIBRARY["boosting"], "tables")
        kind = ensemble.HistGradientBoostingClassifier if classes else ensemble.HistGradientBoostingRegressor
        fitted = kind(early_stopping=False, random_state=state).fit(x, t)
        if not len(validation):
            yield {"rounds": fitted.n_iter_}, None, _predicted(fitted, test, classes)
            return
        stages = fitted.staged_predict_proba if classes else fitted.staged_predict
        for rounds, (guess, predictions) in enumerate(zip(stages(validation), stages(test)), 1):
            yield (
                {"rounds": rounds},
                *(_in_columns(fitted, values, classes) for values in (guess, predictions)),
            )


def _predicted(fitted: Any, rows: Any, classes: int) -> Any:
    if not len(rows):
        return None
    return _in_columns(fitted, fitted.predict_proba(rows) if classes else fitted.predict(rows), classes)


def _in_columns(fitted: Any, values: Any, classes: int) -> Any:
    """As float64; probabilities in the columns of all classes, those that the training rows lack with 0."""
    if not classes:
        return np.asarray(values, np.float64)
    columns = np.zeros((len(values), classes))
    columns[:, fitted.classes_] = values
    return columns


def _loss(predictions: Any, t: Any) -> float:
    """The mean log loss of probabilities, the mean squared error of numbers."""
    if predictions.ndim == 1:
        return float(((predictions - t) ** 2).mean())
    return float(-np.log(np.maximum(predictions[np.arange(len(t)), t], 1e-15)).mean())
