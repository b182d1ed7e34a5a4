"""HandgradEstimator: what the classifier and the regressor share, from scikit-learn's arrays to trained replicas."""

from __future__ import annotations

import copy
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.data import Batches
from handgrad.errors import ArgumentError
from handgrad.estimators.scaling import Scaled, follow_inputs
from handgrad.optional import require
from handgrad.recipes import Recipe
from handgrad.seeds import derive
from handgrad.training import History, Trainer, Watch
from handgrad.workers import default_workers

require("sklearn", "sklearn")
from sklearn.base import BaseEstimator  # noqa: E402
from sklearn.utils import check_array, check_random_state  # noqa: E402
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: E402

Array = Any
"""A NumPy array, or what scikit-learn makes one of."""
E = TypeVar("E", bound="HandgradEstimator")

CHUNK = 4096
"""Samples predicted at a time."""


class HandgradEstimator(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Base of the estimators: subclasses make targets of y, and predictions of the replicas' outputs."""

    task: str
    replicas: int
    dtype: str | None
    n_jobs: int | None
    random_state: Any

    def recipe(self) -> Recipe:
        """The options of the network and its training."""
        options = {n: plain(v) for n, v in self.get_params(deep=False).items() if n in Recipe.__dataclass_fields__}
        options["hidden"] = options["hidden"] if isinstance(options["hidden"], list) else [options["hidden"]]
        return Recipe(**options)

    def replica(self: E, r: int) -> E:
        """Replica r as a fitted estimator of its own, with `replicas=1`.

        Errors: NotFittedError before fit, ArgumentError for an r that is not one of them.
        """
        check_is_fitted(self, "model_")
        one = copy.copy(self).set_params(replicas=1)
        one.model_, one.seeds_ = nn.stack([self.model_.replica(r)]).eval(), [self.seeds_[r]]
        one.__dict__.pop("_optimizer", None)
        row = slice(r, r + 1 or None)
        metrics = {name: values[row] for name, values in self.history_.metrics.items()}
        history = History(self.history_.loss[row], metrics, self.history_.diverged[row], self.history_.seconds)
        history.epochs, history.best = self.history_.epochs, self.history_.best[row]
        one._remember(history)
        return one  # type: ignore[no-any-return]

    # Training

    def _fit(self, X: Array, t: Array, outputs: int, weights: Array | None) -> None:
        """Train replicas anew, from validated arrays."""
        recipe, seeds = self.recipe(), self._seeds()
        X, t, weights = positive(X, t, weights)
        scaled = Scaled(self.task).update(X, t, weights)
        x = scaled.inputs(X, self._dtype(X))
        sample_weight = None if weights is None else torch.as_tensor(weights, dtype=x.dtype)
        model, history = recipe.train(
            x,
            scaled.targets(t),
            seeds,
            task=self.task,
            outputs=outputs,
            weights=sample_weight,
            workers_=self._workers(),
        )
        if history.interrupted:
            raise KeyboardInterrupt
        self._some(model)
        self.model_, self.seeds_, self._scaled, self._passes = model.eval(), seeds, scaled, 0
        self.__dict__.pop("_optimizer", None)
        self._remember(history)

    def _pass(self, X: Array, t: Array, outputs: int, weights: Array | None) -> None:
        """Train the same replicas on for one epoch."""
        recipe, first = self.recipe(), not hasattr(self, "model_")
        X, t, weights = positive(X, t, weights)
        before = Scaled(self.task) if first else self._scaled
        scaled = copy.deepcopy(before).update(X, t, weights)
        if first:
            seeds = self._seeds()
            with torch.random.fork_rng(devices=[]):  # the weights are the seeds', not the caller's
                model = nn.replicate(recipe.network(X.shape[1], outputs).to(self._dtype(X)), seeds)
            passes, known = 0, History.empty(len(seeds), 0, ())
        else:
            seeds, model, passes, known = self.seeds_, self.model_, self._passes, self.history_
        optimizer = self._optimiser(recipe.optimiser(model))
        x = scaled.inputs(X, dtype_of(model))
        sample_weight = None if weights is None else torch.as_tensor(weights, dtype=x.dtype)
        target = scaled.targets(t)
        target = target.to(x.dtype) if target.is_floating_point() else target
        order = [derive(seed, "pass", passes) for seed in seeds]
        batches = Batches(x, target, recipe.batch(len(x)), order, last="merge", weights=sample_weight)
        criterion = recipe.criterion(self.task, len(seeds))
        watch = [Watch()] if recipe.watch and (passes + 1) % recipe.watch == 0 else []
        trainer = Trainer(model, criterion, optimizer, batches, 1, clip_norm=recipe.clip_norm, callbacks=watch)
        follow_inputs(model, before, scaled)  # from here on nothing is refused any more
        if not first:
            self._scaled = scaled  # also if Ctrl-C ends it midway
        try:
            found = trainer.run()
        finally:
            model.eval()
        history = known.resized(known.epochs + 1)
        history.loss[:, -1], history.epochs = found.loss[:, 0], known.epochs + 1
        for name, values in found.metrics.items():
            history.note(name, known.epochs, values)
        history.diverged = [a or (b and {**b, "epoch": known.epochs}) for a, b in zip(known.diverged, found.diverged)]
        history.seconds += found.seconds
        self.model_, self.seeds_, self._scaled, self._optimizer = model, seeds, scaled, optimizer
        self._passes = passes + 1
        self._remember(history)

    def _optimiser(self, now: optim.Optimizer) -> optim.Optimizer:
        """The optimiser of the last pass with the numbers of `now`, that of the options; `now` if it is another."""
        last: optim.Optimizer = getattr(self, "_optimizer", now)
        if type(last) is not type(now):
            return now
        for group, new in zip(last.param_groups, now.param_groups):
            group.update({**new, "params": group["params"]})
        return last

    def _some(self, model: nn.Sequential) -> Tensor:
        """Indices of the replicas that have not diverged, of which there must be one."""
        found = sound(model)
        if not len(found):
            got, remedy = f"{model.replicas} that diverged", "Choose a smaller lr, or clip_norm=1.0."
            raise ArgumentError("at least one replica with finite weights", got, remedy, type(self).__name__)
        return found

    @contextmanager
    def _features_kept(self) -> Iterator[None]:
        """Within it a refusal, or Ctrl-C, leaves what is known of X as it was."""
        names = ("n_features_in_", "feature_names_in_")
        before = {name: self.__dict__[name] for name in names if name in self.__dict__}
        try:
            yield
        except BaseException:
            for name in names:
                self.__dict__.pop(name, None)
            self.__dict__.update(before)
            raise

    def _remember(self, history: History) -> None:
        trained = (~history.loss.isnan()).sum(1)
        self.history_, self.n_iter_ = history, max(int(trained.max()), 1)
        self.loss_curve_: list[float] = history.loss.nanmean(0)[: self.n_iter_].tolist()

    def _seeds(self) -> list[int]:
        """Of the replicas; the first ones do not depend on how many there are."""
        if not isinstance(self.replicas, (int, np.integer)) or self.replicas < 1:
            got, remedy = repr(self.replicas), "Pass replicas=1 or more."
            raise ArgumentError("replicas to be a positive integer", got, remedy, type(self).__name__)
        start = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return [derive(start, "replica", r) for r in range(self.replicas)]

    def _dtype(self, X: Array) -> torch.dtype:
        """Of the network: that of X, unless there is an option."""
        kinds = {"float32": torch.float32, "float64": torch.float64}
        name = X.dtype.name if self.dtype is None else self.dtype
        if name not in kinds:
            got, remedy = repr(name), "Pass one of these."
            raise ArgumentError("dtype to be 'float32', 'float64' or None", got, remedy, type(self).__name__)
        return kinds[name]

    def _workers(self) -> int:
        """Processes to train on: by default as many as torch has threads, which joblib limits in its own workers."""
        if multiprocessing.current_process().daemon or threading.current_thread() is not threading.main_thread():
            return 1  # the one may not have children, the other must not fork
        if self.n_jobs is None:
            return min(torch.get_num_threads(), default_workers())
        if not isinstance(self.n_jobs, (int, np.integer)) or self.n_jobs == 0:
            got, remedy = repr(self.n_jobs), "Pass the number of processes, −1 for all cores, or None."
            raise ArgumentError("n_jobs to be an integer other than 0, or None", got, remedy, type(self).__name__)
        return max(self.n_jobs if self.n_jobs > 0 else default_workers() + 1 + self.n_jobs, 1)

    # Prediction

    def _outputs(self, X: Array) -> Tensor:
        """What each replica gives, (R, N, O) in float64, without those that have diverged."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        found = self._some(self.model_)
        x = self._scaled.inputs(X, dtype_of(self.model_))
        with torch.inference_mode():
            parts = [self.model_(part) for part in torch.split(x, CHUNK)]
        self.model_.forget()
        return torch.cat(parts, 1)[found].double()


def dtype_of(model: nn.Module) -> torch.dtype:
    """Of a model's parameters."""
    return next(model.parameters()).value.dtype


def sound(model: nn.Module) -> Tensor:
    """Indices of the replicas whose weights and running statistics are all finite."""
    values = [*(parameter.value for parameter in model.parameters()), *model.buffers()]
    finite = [value.reshape(len(value), -1).isfinite().all(1) for value in values]
    return torch.stack(finite).all(0).nonzero().flatten()


def plain(value: Any) -> Any:
    """Python's own numbers, and lists of them: a grid of options is often made by NumPy."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def sample_weights(given: Array | None, X: Array) -> Array | None:
    """Weights (N,) in float64, of which at least one is above 0."""
    if given is None:
        return None
    given = np.full(len(X), given) if isinstance(given, Real) else given
    # a copy: those of a Series are read-only, of which PyTorch warns
    weights = check_array(given, dtype=np.float64, ensure_2d=False, copy=True, input_name="sample_weight")
    if weights.shape != (len(X),):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(len(X),)}!")
    if (weights < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def positive(X: Array, t: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """Without the samples of weight 0, which count as if they were not there."""
    if weights is None or weights.all():
        return X, t, weights
    kept = weights > 0
    return X[kept], t[kept], weights[kept]
