"""HandgradClassifier: an ensemble of R networks as a scikit-learn classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.estimators.base import Array, HandgradEstimator, sample_weights
from handgrad.optional import require

require("sklearn", "sklearn")
from sklearn.base import ClassifierMixin  # noqa: E402
from sklearn.utils import column_or_1d  # noqa: E402
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets, unique_labels  # noqa: E402
from sklearn.utils.validation import validate_data  # noqa: E402

C = TypeVar("C", bound="HandgradClassifier")


class HandgradClassifier(ClassifierMixin, HandgradEstimator):  # type: ignore[misc]
    r"""R networks that train together, as one scikit-learn classifier; probabilities are their mean.

    $$p_k(x) = \frac{1}{R} \sum_r \text{softmax}(f_r(x))_k$$

    Numeric features are standardised inside, by all samples given to fit. Each replica then has its own initial
    weights, order of the samples and validation samples, and stops when its own validation loss gets no better.

    Args:
        replicas: R.
        hidden: widths of the hidden layers; () is multinomial logistic regression.
        activation, batch_norm, dropout, optimizer, lr, weight_decay, batch_size, epochs, patience, validation,
            schedule, clip_norm, label_smoothing: as of `handgrad.recipes.Recipe`.
        class_weight: None, "balanced", or a dict of a weight for each class.
        dtype: "float32" or "float64", of the network; None takes that of X. float32 takes two thirds of the time.
        n_jobs: processes that share the replicas; None takes as many as torch has threads, −1 all cores. The numbers
            do not depend on it.
        random_state: int, RandomState or None. The first replicas do not depend on how many there are.
        watch: look at every layer after each so many epochs, into `history_` (`handgrad.training.Watch`); 0 for never.

    Attributes:
        classes_: the class labels.
        n_features_in_, feature_names_in_: of X.
        model_: the networks, a `handgrad.nn.Sequential` of R replicas on standardised inputs.
        history_: a `handgrad.training.History`: losses of each epoch and replica, and what was watched.
        loss_curve_: mean training loss of each epoch.
        n_iter_: epochs until the last replica stopped.
        seeds_: of the replicas.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> from sklearn.model_selection import train_test_split
        >>> from handgrad.estimators import HandgradClassifier
        >>> X, X_test, y, y_test = train_test_split(*load_wine(return_X_y=True), random_state=0)
        >>> classifier = HandgradClassifier(replicas=5, random_state=0).fit(X, y)
        >>> classifier.score(X_test, y_test) > 0.9
        True
        >>> p, std = classifier.predict_proba(X_test, return_std=True)
        >>> p.shape, std.shape
        ((45, 3), (45, 3))
    """

    task = "classification"

    def __init__(
        self,
        replicas: int = 10,
        hidden: Sequence[int] = (64, 64),
        *,
        activation: str = "ReLU",
        batch_norm: bool = False,
        dropout: float = 0.0,
        optimizer: str = "AdamW",
        lr: float = 0.01,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        epochs: int = 60,
        patience: int | None = 20,
        validation: float = 0.1,
        schedule: str = "onecycle",
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        class_weight: str | Mapping[Any, float] | None = None,
        dtype: str | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        watch: int = 0,
    ) -> None:
        self.replicas = replicas
        self.hidden = hidden
        self.activation = activation
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.watch = watch

    def fit(self: C, X: Array, y: Array, sample_weight: Array | None = None) -> C:
        """Train all replicas anew on X (N, I) and y (N,)."""
        with self._features_kept():
            X, y = self._validated(X, y, True)
            self._checked_class_weight(["balanced"])
            weights = sample_weights(sample_weight, X)
            classes, t = np.unique(y, return_inverse=True)
            if self.class_weight is not None:
                even = isinstance(self.class_weight, str)
                own = balanced(t, weights) if even else compute_sample_weight(self.class_weight, y)
                weights = sample_weights(own if weights is None else own * weights, X)
            self._fit(X, t, len(classes), weights)
        self.classes_ = classes
        return self

    def partial_fit(self: C, X: Array, y: Array, classes: Array | None = None, sample_weight: Array | None = None) -> C:
        """Train the same replicas on for one epoch of these samples, at a constant learning rate.

        Args:
            classes: all labels that will ever come; needed in the first call.
        """
        first = not hasattr(self, "model_")
        if classes is None and first:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            remedy = "Pass the weights as a dict, or as sample_weight."
            raise ValueError(f"class_weight='balanced' is not supported for partial_fit. {remedy}")
        with self._features_kept():
            X, y = self._validated(X, y, first)
            self._checked_class_weight([])
            weights = sample_weights(sample_weight, X)
            if classes is not None:
                classes = unique_labels(classes)
                if not first and not np.array_equal(self.classes_, classes):
                    got = f"{classes} is not the same as on last call, {self.classes_}"
                    raise ValueError(f"`classes={got}")
            known = self.classes_ if classes is None else classes
            if strange := set(np.unique(y).tolist()) - set(known.tolist()):
                raise ValueError(f"y has labels that are not in classes: {sorted(strange)}")
            t = np.searchsorted(known, y)
            if self.class_weight is not None:
                own = compute_class_weight(self.class_weight, classes=known, y=y)[t]
                weights = sample_weights(own if weights is None else own * weights, X)
            self._pass(X, t, len(known), weights)
        self.classes_ = known
        return self

    def predict_proba(self, X: Array, return_std: bool = False) -> Any:
        """Probabilities (N, K); with `return_std` also their standard deviation over the replicas, 0 for R = 1."""
        p = self._outputs(X).softmax(-1)  # (R, N, K)
        mean = p.mean(0).numpy()
        return (mean, p.std(0, correction=min(len(p) - 1, 1)).numpy()) if return_std else mean

    def predict_log_proba(self, X: Array) -> Array:
        """Logarithms of the probabilities, exact where these are too small for a number."""
        logs = self._outputs(X).log_softmax(-1)
        return (logs.logsumexp(0) - math.log(len(logs))).numpy()

    def predict(self, X: Array) -> Array:
        """The most probable labels (N,)."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def _checked_class_weight(self, words: list[str]) -> None:
        weight = self.class_weight
        if not (weight is None or isinstance(weight, Mapping) or (isinstance(weight, str) and weight in words)):
            expected = f"class_weight to be {', '.join(['None', *map(repr, words)])} or a dict"
            remedy = "Pass a weight for each class as {label: weight}."
            raise ArgumentError(expected, repr(weight), remedy, "HandgradClassifier")

    def _validated(self, X: Array, y: Array, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], reset=reset)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return X, y


def balanced(t: Array, weights: Array | None) -> Array:
    """N / (K N_k) for each sample, of class k, where N adds up weights and K counts the classes that have any."""
    sums = np.bincount(t, np.ones(len(t)) if weights is None else weights)
    each = np.divide(sums.sum() / (sums > 0).sum(), sums, out=np.zeros_like(sums), where=sums > 0)
    return each[t]
