"""HandgradRegressor: an ensemble of R networks as a scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from handgrad.estimators.base import Array, HandgradEstimator, sample_weights
from handgrad.optional import require

require("sklearn", "sklearn")
from sklearn.base import RegressorMixin  # noqa: E402
from sklearn.utils.validation import validate_data  # noqa: E402

G = TypeVar("G", bound="HandgradRegressor")


class HandgradRegressor(RegressorMixin, HandgradEstimator):  # type: ignore[misc]
    r"""R networks that train together, as one scikit-learn regressor; predictions are their mean and std.

    $$\hat y(x) = \frac{1}{R} \sum_r f_r(x), \qquad
      s(x)^2 = \frac{1}{R - 1} \sum_r \left(f_r(x) - \hat y(x)\right)^2$$

    Numeric features and targets are standardised inside, by all samples given to fit. Each replica then has its own
    initial weights, order of the samples and validation samples, and stops when its own validation loss gets no better.

    Args:
        replicas: R.
        hidden: widths of the hidden layers; () is linear regression.
        activation, batch_norm, dropout, optimizer, lr, weight_decay, batch_size, epochs, patience, validation,
            schedule, clip_norm: as of `handgrad.recipes.Recipe`.
        loss: "mse", "huber" or "mae", of standardised targets.
        dtype: "float32" or "float64", of the network; None takes that of X. float32 takes two thirds of the time.
        n_jobs: processes that share the replicas; None takes as many as torch has threads, −1 all cores. The numbers
            do not depend on it.
        random_state: int, RandomState or None. The first replicas do not depend on how many there are.
        watch: look at every layer after each so many epochs, into `history_` (`handgrad.training.Watch`); 0 for never.

    Attributes:
        n_features_in_, feature_names_in_: of X.
        model_: R replicas of a `handgrad.nn.Sequential`, from standardised inputs to standardised targets.
        history_: a `handgrad.training.History`: losses of each epoch and replica, and what was watched.
        loss_curve_: mean training loss of each epoch.
        n_iter_: epochs until the last replica stopped.
        seeds_: of the replicas.

    Example:
        >>> from sklearn.datasets import make_friedman1
        >>> from handgrad.estimators import HandgradRegressor
        >>> X, y = make_friedman1(300, random_state=0)
        >>> regressor = HandgradRegressor(replicas=5, random_state=0).fit(X[:200], y[:200])
        >>> regressor.score(X[200:], y[200:]) > 0.8
        True
        >>> mean, std = regressor.predict(X[200:], return_std=True)
        >>> mean.shape, std.shape
        ((100,), (100,))
    """

    task = "regression"

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
        loss: str = "mse",
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
        self.loss = loss
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.watch = watch

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self: G, X: Array, y: Array, sample_weight: Array | None = None) -> G:
        """Train all replicas anew on X (N, I) and y, (N,) or (N, O)."""
        with self._features_kept():
            X, y = self._validated(X, y, True)
            t = y.reshape(len(y), -1)
            self._fit(X, t, t.shape[1], sample_weights(sample_weight, X))
        self._flat = y.ndim == 1
        return self

    def partial_fit(self: G, X: Array, y: Array, sample_weight: Array | None = None) -> G:
        """Train the same replicas on for one epoch of these samples, at a constant learning rate."""
        first = not hasattr(self, "model_")
        with self._features_kept():
            X, y = self._validated(X, y, first)
            t = y.reshape(len(y), -1)
            if not first and t.shape[1] != self._scaled.width:
                raise ValueError(f"y has {t.shape[1]} outputs, but HandgradRegressor expects {self._scaled.width}")
            self._pass(X, t, t.shape[1], sample_weights(sample_weight, X))
        self._flat = y.ndim == 1
        return self

    def predict(self, X: Array, return_std: bool = False) -> Any:
        """Predictions of y's shape; with `return_std` also their standard deviation over the replicas, 0 for R = 1."""
        outputs = self._outputs(X)
        y = self._scaled.restored(outputs)  # (R, N, O)
        y = y.squeeze(-1) if self._flat else y
        mean = y.mean(0).numpy()
        return (mean, y.std(0, correction=min(len(y) - 1, 1)).numpy()) if return_std else mean

    def _validated(self, X: Array, y: Array, reset: bool) -> tuple[Array, Array]:
        kinds: dict[str, Any] = {"dtype": [np.float64, np.float32], "multi_output": True, "y_numeric": True}
        X, y = validate_data(self, X, y, reset=reset, **kinds)
        return X, np.asarray(y, dtype=np.float64)
