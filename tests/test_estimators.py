"""The estimators keep scikit-learn's conventions, and their error bars mean what they say."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.parallel import Parallel, delayed

from handgrad import training
from handgrad.errors import ArgumentError
from handgrad.estimators import HandgradClassifier, HandgradRegressor, base
from handgrad.estimators.scaling import Scaled, follow_inputs
from handgrad.recipes import Recipe
from handgrad.training.watching import watched

pandas: Any = pytest.importorskip("pandas")

BOTH = pytest.mark.parametrize("kind", [HandgradClassifier, HandgradRegressor])
X, Y = load_iris(return_X_y=True)
ORDER = np.random.RandomState(0).permutation(150)
NUMBERS = X[:, 2] * X[:, 3]


def target(kind: Any) -> Any:
    return Y if kind is HandgradClassifier else NUMBERS


def quick(kind: Any, **options: Any) -> Any:
    return kind(**{"replicas": 3, "hidden": (8,), "epochs": 5, "random_state": 0, **options})


@parametrize_with_checks([HandgradClassifier(2), HandgradRegressor(2)])  # type: ignore[untyped-decorator]
def test_keeps_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


@BOTH
def test_options_are_those_of_the_recipe(kind: Any) -> None:
    assert kind().recipe() == Recipe(loss=None if kind is HandgradClassifier else "mse")
    assert kind(hidden=7, epochs=3).recipe() == Recipe((7,), epochs=3, loss=kind().recipe().loss)
    assert kind(hidden=np.array([7, 8])).recipe().hidden == (7, 8)


@BOTH
def test_works_where_scikit_learn_does(kind: Any) -> None:
    y, model = target(kind), make_pipeline(MinMaxScaler(), quick(kind, epochs=30, lr=0.02))
    found = cross_validate(model, X, y, cv=3 if kind is HandgradClassifier else 4, error_score="raise")
    assert np.isfinite(found["test_score"]).all()
    name = kind.__name__.lower()
    grid = {f"{name}__lr": np.array([1e-6, 0.02]), f"{name}__epochs": np.arange(30, 31)}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X[ORDER], y[ORDER])
    assert search.best_params_[f"{name}__lr"] == 0.02
    copies = [pickle.loads(pickle.dumps(model.fit(X, y))), Parallel(2)([delayed(model.fit)(X, y)])[0]]
    for other in copies:
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert not hasattr(clone(model)[-1], "model_")


def test_works_on_a_transformed_target() -> None:
    model = TransformedTargetRegressor(
        quick(HandgradRegressor, epochs=60, lr=0.02), func=np.log1p, inverse_func=np.expm1
    )
    assert model.fit(X, NUMBERS).score(X, NUMBERS) > 0.9


@BOTH
def test_numbers_do_not_depend_on_workers(kind: Any) -> None:
    one, two = (quick(kind, replicas=7, n_jobs=n).fit(X, target(kind)) for n in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.model_.state_dict().values(), two.model_.state_dict().values()))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The workers that training is asked to take, of 4 cores and 2 of torch's threads."""
    found: list[int] = []

    def train(*args: Any, workers_: int, **options: Any) -> Any:
        found.append(workers_)
        return original(*args, workers_=1, **options)

    original = Recipe.train
    monkeypatch.setattr(Recipe, "train", train)
    monkeypatch.setattr(base, "default_workers", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return found


@BOTH
@pytest.mark.parametrize(("n_jobs", "workers"), [(None, 2), (1, 1), (3, 3), (-1, 4), (-2, 3), (-9, 1)])
def test_workers_are_counted_as_scikit_learn_does(kind: Any, n_jobs: Any, workers: int, counted: list[int]) -> None:
    quick(kind, n_jobs=n_jobs, epochs=1).fit(X, target(kind))
    assert counted == [workers]


@BOTH
@pytest.mark.parametrize("place", ["thread", "daemon"])
def test_there_is_one_worker_where_none_can_be_forked(
    kind: Any, place: str, counted: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setitem(vars(multiprocessing.current_process())["_config"], "daemon", place == "daemon")
    model = quick(kind, n_jobs=3, epochs=1)
    with ThreadPoolExecutor(1) as pool:
        call = model.fit if place == "daemon" else lambda *data: pool.submit(model.fit, *data).result()
        call(X, target(kind))
    assert counted == [1]


@BOTH
def test_random_state_decides(kind: Any) -> None:
    y = target(kind)
    a, b = quick(kind).fit(X, y), quick(kind, replicas=2).fit(X, y)
    assert a.seeds_[:2] == b.seeds_
    np.testing.assert_allclose(a.replica(1).predict(X), b.replica(1).predict(X), rtol=1e-9)
    state = np.random.RandomState(0)
    assert quick(kind, random_state=state).fit(X, y).seeds_ == a.seeds_
    assert quick(kind, random_state=state).fit(X, y).seeds_ != a.seeds_
    unlike = [quick(kind, random_state=None).fit(X, y).seeds_ for _ in range(2)]
    assert unlike[0] != unlike[1]


# Predictions and their error bars


@BOTH
def test_a_prediction_is_the_mean_of_the_replicas_and_its_spread(kind: Any) -> None:
    model = quick(kind).fit(X, target(kind))
    method = "predict_proba" if kind is HandgradClassifier else "predict"
    mean, std = getattr(model, method)(X, return_std=True)
    each = np.stack([getattr(model.replica(r), method)(X) for r in range(3)])
    np.testing.assert_allclose(mean, each.mean(0), rtol=1e-9)
    np.testing.assert_allclose(std, each.std(0, ddof=1), rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(mean, getattr(model, method)(X))
    assert (std > 0).all()
    one, none = getattr(model.replica(0), method)(X, return_std=True)
    np.testing.assert_allclose(one, each[0], rtol=1e-9)
    assert (none == 0).all()


@BOTH
def test_a_replica_is_an_estimator(kind: Any) -> None:
    model = quick(kind).fit(X, target(kind))
    one = model.replica(-1)
    assert (one.replicas, model.replicas, len(one.seeds_), len(model.seeds_)) == (1, 3, 1, 3)
    assert one.history_.loss.shape == (1, 5)
    assert one.loss_curve_ == model.history_.loss[2].tolist()
    before = model.predict(X)
    one.partial_fit(3 * X + 1, target(kind))
    np.testing.assert_array_equal(model.predict(X), before)
    assert one.n_iter_ == 6
    assert model.n_iter_ == 5
    with pytest.raises(ArgumentError, match="a replica from 0 to 2"):
        model.replica(3)
    with pytest.raises(NotFittedError):
        kind().replica(0)


@BOTH
def test_one_replica_is_enough(kind: Any) -> None:
    model = quick(kind, replicas=np.int64(1)).fit(X, target(kind))
    assert model.seeds_ == quick(kind).fit(X, target(kind)).seeds_[:1]
    assert model.model_.replicas == 1


def test_spread_grows_away_from_the_data() -> None:
    x = np.random.RandomState(0).uniform(-1, 1, (300, 1))
    model = HandgradRegressor(random_state=0, epochs=60).fit(x, np.sin(3 * x[:, 0]))
    _, std = model.predict(np.array([[0.0], [4.0]]), return_std=True)
    assert std[1] > 5 * std[0]


def test_logarithms_of_small_probabilities_are_exact() -> None:
    x = np.array([[-1.0], [1.0]] * 20)
    model = HandgradClassifier(replicas=2, hidden=(), epochs=50, lr=0.5, random_state=0).fit(x, [0, 1] * 20)
    logs = model.predict_log_proba([[3000.0]])
    assert np.isfinite(logs).all()
    assert logs.min() < -1000
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), model.predict_proba(x))


def test_history() -> None:
    model = HandgradClassifier(replicas=6, epochs=200, patience=3, lr=0.02, random_state=0).fit(X, Y)
    assert isinstance(model.history_, training.History)
    assert 3 < model.n_iter_ < 200
    assert len(model.loss_curve_) == model.n_iter_
    assert np.isfinite(model.loss_curve_).all()
    assert max(best for best in model.history_.best if best is not None) + 3 + 1 == model.n_iter_


@BOTH
def test_layers_are_watched_in_fit_and_in_passes(kind: Any) -> None:
    model = quick(kind, watch=2).fit(X, target(kind))
    for _ in range(3):
        model.partial_fit(X, target(kind))
    found = watched(model.history_)
    assert set(found) == {"std", "dead", "gradient", "update"}
    assert np.isfinite(found["std"]["1"]).all(1).tolist() == [False, True, False, True, False, False, True, False]
    assert watched(model.replica(1).history_)["std"]["1"][1] == found["std"]["1"][1, 1]
    assert watched(quick(kind).fit(X, target(kind)).history_) == {}


# Weights


@pytest.mark.parametrize("weights", ["balanced", {0: 50 / 60, 1: 50 / 15, 2: 50 / 75}])
def test_class_weights_are_sample_weights(weights: Any) -> None:
    y = np.repeat([0, 1, 2], [60, 15, 75])
    counts = {0: 60, 1: 15, 2: 75}
    a = quick(HandgradClassifier, class_weight=weights).fit(X, y)
    b = quick(HandgradClassifier).fit(X, y, sample_weight=[50 / counts[label] for label in y])
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X))
    assert not np.allclose(a.predict_proba(X), quick(HandgradClassifier).fit(X, y).predict_proba(X))
    both = quick(HandgradClassifier, class_weight=weights).fit(X, y, sample_weight=np.full(150, 2.0))
    np.testing.assert_allclose(a.predict_proba(X), both.predict_proba(X))


def test_balanced_weights_count_as_many_rows_as_sample_weights_say() -> None:
    weights = np.random.RandomState(1).randint(0, 4, 150) * (Y != 2)  # of class 2 there is nothing
    rows = np.repeat(np.arange(150), weights)
    options: dict[str, Any] = {"class_weight": "balanced", "patience": None, "batch_size": 10**6, "lr": 0.05}
    a = quick(HandgradClassifier, **options).fit(X, Y, sample_weight=weights)
    b = quick(HandgradClassifier, **options).fit([*X[rows], X[0]], [*Y[rows], 2], sample_weight=[1] * len(rows) + [0])
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X))
    few = quick(HandgradClassifier).fit(X, Y, np.bincount(Y, weights)[np.where(Y == 0, 1, 0)] * weights)
    np.testing.assert_allclose(
        quick(HandgradClassifier, class_weight="balanced").fit(X, Y, weights).predict_proba(X), few.predict_proba(X)
    )


def test_class_weights_shift_the_decision() -> None:
    g = np.random.RandomState(0)
    x, y = g.randn(600, 1), np.repeat([0, 1], [550, 50])
    x[y == 1] += 1
    plain, balanced = (HandgradClassifier(3, class_weight=w, random_state=0).fit(x, y) for w in (None, "balanced"))
    assert balanced.predict(x).mean() > plain.predict(x).mean() + 0.2


@BOTH
def test_weights_count_in_fit_and_score(kind: Any) -> None:
    x, y = X[ORDER], target(kind)[ORDER]
    weights = np.where(np.arange(150) < 100, 1.0, 0.0)
    a, b = quick(kind).fit(x, y, sample_weight=weights), quick(kind).fit(x[:100], y[:100])
    np.testing.assert_allclose(a.predict(x), b.predict(x))
    assert a.score(x, y, sample_weight=weights) == pytest.approx(a.score(x[:100], y[:100]))


@BOTH
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_weight_of_two_counts_as_two_rows(kind: Any, call: str) -> None:
    weights, method = np.arange(150) % 3, "predict_proba" if kind is HandgradClassifier else "predict"
    rows = np.repeat(np.arange(150), weights)
    first = {"classes": [0, 1, 2]} if (kind, call) == (HandgradClassifier, "partial_fit") else {}
    a, b = (quick(kind, patience=None, batch_size=10**6, lr=0.05) for _ in range(2))
    getattr(a, call)(X, target(kind), sample_weight=weights, **first)
    getattr(b, call)(X[rows], target(kind)[rows], **first)
    np.testing.assert_allclose(getattr(a, method)(X), getattr(b, method)(X))


def test_a_class_of_weight_zero_keeps_its_place() -> None:
    model = quick(HandgradClassifier).fit(X, Y, sample_weight=np.where(Y == 2, 0, 1))
    assert model.predict_proba(X).shape == (150, 3)


@BOTH
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(150), "at least one non-zero"),
        (np.full(150, -1.0), "Negative values"),
        (np.ones(149), r"expected \(150,\)"),
        (np.full(150, np.nan), "contains NaN"),
    ],
)
def test_bad_weights_are_refused(kind: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(kind).fit(X, target(kind), sample_weight=weights)


# Going on


@BOTH
def test_partial_fit_learns(kind: Any) -> None:
    y, model = target(kind), quick(kind, lr=0.02, hidden=(16,))
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    for turn in range(30):
        for part in np.array_split(ORDER, 5):
            model.partial_fit(X[part], y[part], **(first if turn == 0 else {}))
    assert model.score(X, y) > 0.9
    assert model.n_iter_ == len(model.loss_curve_) == model.history_.epochs == 150
    scaler = StandardScaler().fit(np.tile(X, (30, 1)))
    np.testing.assert_allclose(model._scaled.x.mean_, scaler.mean_)
    np.testing.assert_allclose(model._scaled.x.scale_, scaler.scale_)


@BOTH
def test_partial_fit_goes_on_from_fit(kind: Any) -> None:
    model = quick(kind, epochs=40, lr=0.02).fit(X, target(kind))
    before, seconds = model.score(X, target(kind)), model.history_.seconds
    model.partial_fit(X, target(kind))
    assert model.n_iter_ == 41
    assert model.history_.seconds > seconds
    assert abs(model.score(X, target(kind)) - before) < 0.1
    assert model.fit(X, target(kind)).n_iter_ == 40


@BOTH
def test_a_pass_trains_the_networks_of_now(kind: Any) -> None:
    """Not those of an earlier pass, whose parameters that one's optimiser has."""
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    model = quick(kind).partial_fit(X, target(kind), **first)
    for now in (model.replica(0), model.fit(X, target(kind))):
        weight = next(now.model_.parameters()).value.clone()
        now.partial_fit(X, target(kind))
        assert not torch.equal(next(now.model_.parameters()).value, weight)


@BOTH
def test_partial_fit_is_a_function_of_random_state(kind: Any) -> None:
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    a, b = (quick(kind, dropout=0.2).partial_fit(X, target(kind), **first) for _ in range(2))
    for model in (a, b):
        model.partial_fit(X[::-1], target(kind)[::-1])
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    c = pickle.loads(pickle.dumps(a))
    np.testing.assert_array_equal(a.partial_fit(X, target(kind)).predict(X), c.partial_fit(X, target(kind)).predict(X))


@BOTH
def test_each_replica_and_pass_has_an_order_of_its_own(kind: Any, monkeypatch: Any) -> None:
    orders: list[torch.Tensor] = []

    def run(trainer: Any) -> Any:
        orders.extend(trainer.batches.order(0))
        return original(trainer)

    original = training.Trainer.run
    monkeypatch.setattr(training.Trainer, "run", run)
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    quick(kind).partial_fit(X, target(kind), **first).partial_fit(X, target(kind))
    assert len({tuple(order.tolist()) for order in orders}) == 6


@BOTH
def test_predicting_keeps_nothing(kind: Any) -> None:
    """As a model that is pickled, or served, would."""
    model = quick(kind).fit(X, target(kind))
    model.predict(X)
    assert all(part.kept is None for _, part in model.model_.named_modules())


@BOTH
def test_partial_fit_takes_the_options_of_now(kind: Any) -> None:
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    model = quick(kind).partial_fit(X, target(kind), **first)
    before, optimizer = model.predict(X), model._optimizer
    model.set_params(lr=0).partial_fit(X, target(kind))
    np.testing.assert_allclose(model.predict(X), before)
    assert model._optimizer is optimizer  # with what it remembers
    model.set_params(lr=0.01, optimizer="SGD").partial_fit(X, target(kind))
    assert type(model._optimizer).__name__ == "SGD"


@BOTH
def test_a_pass_clips_gradients(kind: Any) -> None:
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    options: list[dict[str, Any]] = [{"lr": 0}, {"clip_norm": 1e-9}, {}]
    none, clipped, free = (quick(kind, optimizer="SGD", **o).partial_fit(X, target(kind), **first) for o in options)
    weights = [next(model.model_.parameters()).value for model in (none, clipped, free)]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-7)
    assert not torch.allclose(weights[2], weights[0], rtol=0, atol=1e-7)


@BOTH
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_training_leaves_the_callers_random_numbers(kind: Any, call: str) -> None:
    options = {"classes": [0, 1, 2]} if (kind, call) == (HandgradClassifier, "partial_fit") else {}
    before = torch.get_rng_state()
    getattr(quick(kind, dropout=0.1), call)(X, target(kind), **options)
    assert torch.equal(torch.get_rng_state(), before)


def test_partial_fit_may_see_one_class_at_a_time() -> None:
    model = quick(HandgradClassifier, lr=0.01)
    for _ in range(20):
        for label in range(3):
            for sample in X[label == Y][:5]:
                model.partial_fit(sample[None], [label], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (150, 3)
    assert np.isfinite(model.predict_proba(X)).all()


def test_partial_fit_needs_its_classes() -> None:
    model = quick(HandgradClassifier)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"labels that are not in classes: \[2\]"):
        model.partial_fit(X, Y, classes=[0, 1])
    model.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X, Y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="balanced"):
        quick(HandgradClassifier, class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_partial_fit_takes_class_weights() -> None:
    a = quick(HandgradClassifier, class_weight={1: 3}).partial_fit(X, Y, classes=[0, 1, 2])
    b = quick(HandgradClassifier).partial_fit(X, Y, [0, 1, 2], np.where(Y == 1, 3, 1))
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


@BOTH
def test_new_standardisation_leaves_what_was_learnt(kind: Any) -> None:
    y = target(kind).reshape(150, -1) if kind is HandgradRegressor else Y
    model = quick(kind, epochs=20).fit(X, target(kind))
    before = model.predict(X) if kind is HandgradRegressor else model.predict_proba(X)
    old, new = model._scaled, Scaled(kind.task).update(X, y, None).update(3 * X + 7, y * 2, None)
    follow_inputs(model.model_, old, new)
    model._scaled = new
    np.testing.assert_allclose(model.predict(X) if kind is HandgradRegressor else model.predict_proba(X), before)


# Odd data


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_network_has_the_dtype_of_the_data(kind: Any, dtype: Any) -> None:
    y, x = target(kind), X.astype(dtype)
    assert next(quick(kind).fit(x, y).model_.parameters()).value.dtype is torch.as_tensor(x).dtype
    assert np.isfinite(quick(kind).fit(x, y).partial_fit(x, y).loss_curve_).all()
    other = "float64" if dtype is np.float32 else "float32"
    assert next(quick(kind, dtype=other).fit(x, y).model_.parameters()).value.dtype is getattr(torch, other)
    with pytest.raises(ArgumentError, match="dtype to be 'float32', 'float64' or None"):
        quick(kind, dtype="float16").fit(x, y)


@BOTH
def test_tiny_and_flat_data(kind: Any) -> None:
    y = target(kind)[[0, 60, 120, 1, 61]]
    few = X[[0, 60, 120, 1, 61]]
    assert quick(kind, epochs=150, lr=0.02).fit(few, y).score(few, y) > 0.9
    assert np.isfinite(quick(kind).fit(np.ones((20, 3)), target(kind)[:140:7]).predict(np.zeros((2, 3)))).all()
    assert quick(kind).fit(X[:, :1], target(kind)).predict(X[:, :1]).shape == (150,)
    assert quick(kind).fit(X[:1], target(kind)[:1]).predict(X).shape == (150,)


def test_a_single_value_is_predicted() -> None:
    assert (quick(HandgradClassifier).fit(X, ["only"] * 150).predict(X) == "only").all()
    np.testing.assert_allclose(
        quick(HandgradRegressor, epochs=300, lr=0.02).fit(X, np.full(150, 7.0)).predict(X), 7, 0.1
    )


def test_large_offsets_lose_nothing() -> None:
    options: dict[str, Any] = {"dtype": "float32", "epochs": 30, "lr": 0.02}
    a = quick(HandgradRegressor, **options).fit(X, NUMBERS)
    b = quick(HandgradRegressor, **options).fit(X + 1e8, 1e8 + NUMBERS)
    assert b.score(X + 1e8, 1e8 + NUMBERS) == pytest.approx(a.score(X, NUMBERS), abs=0.01)


def test_several_outputs() -> None:
    x, y = make_regression(300, 5, n_targets=3, noise=1, random_state=0)
    model = HandgradRegressor(3, epochs=60, random_state=0).fit(x, y)
    mean, std = model.predict(x, return_std=True)
    assert mean.shape == std.shape == (300, 3)
    assert model.score(x, y) > 0.9
    model.partial_fit(x, y)
    with pytest.raises(ValueError, match="y has 1 outputs, but HandgradRegressor expects 3"):
        model.partial_fit(x, y[:, 0])


@BOTH
def test_names_of_features_are_kept(kind: Any) -> None:
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = quick(kind).fit(frame, target(kind))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


@BOTH
@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_frames_as_the_output_of_transformers_change_nothing(kind: Any, frames: str) -> None:
    pytest.importorskip(frames)
    with config_context(transform_output=frames), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quick(kind).fit(X, target(kind)).partial_fit(X, target(kind)).predict(X)
    np.testing.assert_array_equal(found, quick(kind).fit(X, target(kind)).partial_fit(X, target(kind)).predict(X))


@BOTH
def test_sparse_input_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="Sparse data was passed"):
        quick(kind).fit(sparse.csr_array(X), target(kind))


@BOTH
@pytest.mark.parametrize(
    "options", [{"replicas": 0}, {"replicas": 2.5}, {"epochs": 0}, {"hidden": (0,)}, {"lr": -1.0}, {"optimizer": "x"}]
)
def test_bad_options_are_refused_in_fit(kind: Any, options: dict[str, Any]) -> None:
    model = quick(kind, **options)
    with pytest.raises(ArgumentError, match=next(iter(options))):
        model.fit(X, target(kind))


@BOTH
def test_interruption_reaches_the_caller(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **options: Any) -> Any:
        model, history = original(*args, **options)
        history.interrupted = True
        return model, history

    original = Recipe.train
    monkeypatch.setattr(Recipe, "train", interrupted)
    model = quick(kind)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, target(kind))
    assert not hasattr(model, "model_")


def test_no_warnings_in_normal_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HandgradRegressor(2, epochs=5).fit(*load_diabetes(return_X_y=True)).predict(load_diabetes().data)
        HandgradClassifier(2, epochs=5).fit(X, Y).predict_proba(X)


def test_a_missing_scikit_learn_is_told() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import handgrad.estimators"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: expected the package sklearn" in done.stderr
    assert "pip install 'handgrad[sklearn]'" in done.stderr


@BOTH
def test_a_refused_fit_leaves_the_model_as_it_was(kind: Any) -> None:
    model = quick(kind).fit(X, target(kind))
    before = model.predict(X)
    for options in ({"dtype": "float16"}, {"lr": -1.0}):
        with pytest.raises(ArgumentError):
            model.set_params(**options).fit(X, target(kind)[::-1].copy())
        np.testing.assert_array_equal(model.predict(X), before)
        model.set_params(dtype=None, lr=0.003)
    never = quick(kind, lr=-1.0)
    with pytest.raises(ArgumentError):
        never.fit(X, target(kind))
    with pytest.raises(NotFittedError):
        never.predict(X)


@BOTH
def test_a_refused_pass_leaves_the_model_as_it_was(kind: Any) -> None:
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    never = quick(kind, batch_norm=True)
    with pytest.raises(ArgumentError, match="at least 2 samples"):
        never.partial_fit(X[:1], target(kind)[:1], **first)
    with pytest.raises(NotFittedError):
        never.predict(X)
    model = quick(kind, batch_norm=True).partial_fit(X, target(kind), **first)
    before = model.predict(X)
    with pytest.raises(ArgumentError, match="at least 2 samples"):
        model.partial_fit(100 * X[:1], target(kind)[:1])
    np.testing.assert_array_equal(model.predict(X), before)


@BOTH
def test_replicas_that_diverge_are_left_out(kind: Any) -> None:
    model = quick(kind).fit(X, target(kind))
    sound = [model.replica(0).predict(X), model.replica(2).predict(X)]
    next(model.model_.parameters()).value[1] = float("nan")
    model._remember(model.history_)
    assert np.isfinite(model.predict(X)).all()
    if kind is HandgradRegressor:
        np.testing.assert_allclose(model.predict(X), np.mean(sound, 0))
    options: dict[str, Any] = {"optimizer": "SGD", "lr": 1e30, "patience": None}
    with pytest.raises(ArgumentError, match=r"3 that diverged\. Choose a smaller lr"):
        quick(kind, **options).fit(X, target(kind))


@BOTH
def test_trains_in_a_thread_and_refuses_no_processes(kind: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        model = pool.submit(quick(kind, replicas=7, n_jobs=2).fit, X, target(kind)).result()
    np.testing.assert_array_equal(model.predict(X), quick(kind, replicas=7, n_jobs=1).fit(X, target(kind)).predict(X))
    with pytest.raises(ArgumentError, match="n_jobs to be an integer other than 0"):
        quick(kind, n_jobs=0).fit(X, target(kind))


@BOTH
def test_a_replica_that_diverged_predicts_nothing(kind: Any) -> None:
    model = quick(kind).fit(X, target(kind))
    next(model.model_.parameters()).value[1] = float("nan")
    model._remember(model.history_)
    assert np.isfinite(model.replica(0).predict(X).astype(float)).all()
    with pytest.raises(ArgumentError, match="at least one replica with finite weights, got 1 that diverged"):
        model.replica(1).predict(X)
    first = {"classes": [0, 1, 2]} if kind is HandgradClassifier else {}
    passed = quick(kind, optimizer="SGD", lr=1e30).partial_fit(X, target(kind), **first)
    with pytest.raises(ArgumentError, match="got 3 that diverged"):
        passed.partial_fit(X, target(kind)).predict(X)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({0: 0.0, 1: 0.0, 2: 0.0}, "at least one non-zero"),
        ({0: -1.0, 1: 0.0, 2: 1.0}, "Negative values"),
        ({0: -1.0}, "Negative values"),
    ],
)
def test_bad_class_weights_are_refused(weights: Any, message: str) -> None:
    model = quick(HandgradClassifier, class_weight=weights)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, Y, classes=[0, 1, 2])


@pytest.mark.parametrize("weights", [{"1": 3.0}, {0: 1.0, 3: 2.0}])
def test_weights_of_unknown_classes_are_refused(weights: Any) -> None:
    model = quick(HandgradClassifier, class_weight=weights)
    for call in (lambda: model.fit(X, Y), lambda: model.partial_fit(X, Y, classes=[0, 1, 2])):
        with pytest.raises(ValueError, match="are not in class_weight"):
            call()


@pytest.mark.parametrize("weights", ["uniform", [1.0, 2.0, 3.0]])
def test_class_weights_of_another_kind_are_refused(weights: Any) -> None:
    model = quick(HandgradClassifier, class_weight=weights)
    for call in (lambda: model.fit(X, Y), lambda: model.partial_fit(X, Y, classes=[0, 1, 2])):
        with pytest.raises(ArgumentError, match="class_weight"):
            call()


@BOTH
def test_a_refused_fit_of_other_features_leaves_the_model_as_it_was(kind: Any) -> None:
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = quick(kind).fit(frame, target(kind))
    before = model.predict(frame)
    with pytest.raises(ArgumentError):
        model.set_params(lr=-1.0).fit(X[:, :2], target(kind))
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict(frame), before)
    never = quick(kind, lr=-1.0)
    with pytest.raises(ArgumentError):
        never.fit(X, target(kind))
    assert not hasattr(never, "n_features_in_")


@BOTH
def test_an_interrupted_pass_leaves_a_model_that_fits_its_standardisation(kind: Any, monkeypatch: Any) -> None:
    model = quick(kind, dropout=0.5, epochs=20).fit(X, target(kind))
    before = model.predict(X)

    def interrupted(trainer: Any) -> None:
        trainer.model.train()
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Trainer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(3 * X + 7, target(kind))
    np.testing.assert_allclose(model.predict(X), before)


def test_a_divergence_in_a_pass_is_noted_with_its_epoch() -> None:
    model = quick(HandgradRegressor).fit(X, NUMBERS)
    next(model.model_.parameters()).value[1] = float("nan")
    model.partial_fit(X, NUMBERS)
    assert [note and note["epoch"] for note in model.history_.diverged] == [None, 5, None]


@BOTH
def test_weights_may_be_a_series_or_one_number(kind: Any) -> None:
    wanted = quick(kind).fit(X, target(kind), sample_weight=np.full(150, 2.0)).predict(X)
    for weights in (pandas.Series(np.full(150, 2.0)), [2.0] * 150, 2, np.float32(2)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = quick(kind).fit(X, target(kind), sample_weight=weights).predict(X)
        np.testing.assert_array_equal(found, wanted)
