"""Recipes: their options, what they make, and that each replica is trained as if it were alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handgrad import nn, optim
from handgrad.errors import ArgumentError, HandgradError, StateError
from handgrad.recipes import ACTIVATIONS, OPTIMIZERS, SCHEDULES, Recipe
from handgrad.targets import StandardisedLoss, centre, rescale
from handgrad.training.watching import watched

SHORT = Recipe(hidden=(8,), epochs=3, patience=2)


def curve(N: int = 120, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(seed))
    return x, 1000 + 50 * torch.stack((x[:, 0] * x[:, 1], x[:, 2]), 1).double()


def classes(N: int = 120, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()


# Options


@given(
    st.builds(
        Recipe,
        hidden=st.lists(st.integers(1, 999), max_size=3).map(tuple),
        activation=st.sampled_from(ACTIVATIONS),
        batch_norm=st.booleans(),
        dropout=st.floats(0, 0.9),
        optimizer=st.sampled_from(OPTIMIZERS),
        lr=st.floats(0, 10),
        batch_size=st.none() | st.integers(1, 10**6),
        patience=st.none() | st.integers(1, 10**6),
        schedule=st.sampled_from(SCHEDULES),
        clip_norm=st.none() | st.floats(0, 10),
        loss=st.sampled_from([None, "mse", "huber", "mae", "cross_entropy"]),
        watch=st.integers(0, 10**6),
    )
)
def test_json_holds_all_options(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert json.loads(recipe.to_json()).keys() == Recipe.__dataclass_fields__.keys()


def test_numbers_of_numpy_and_torch_are_options() -> None:
    """A run writes them as JSON when all is trained."""
    options: dict[str, Any] = {"lr": np.float32(0.5), "dropout": torch.tensor(0.25), "epochs": np.int64(3)}
    recipe = Recipe(hidden=(np.int64(8),), **options)  # type: ignore[arg-type]
    assert Recipe.from_json(recipe.to_json()) == recipe == Recipe(hidden=(8,), lr=0.5, dropout=0.25, epochs=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a recipe as JSON"),
        ("[1]", "expected an object with some of hidden, .*got list"),
        ('{"hidden": [8], "later": 1}', "got later. Read it with the version of handgrad that wrote it"),
        ('{"hidden": 8}', "expected hidden to be a list of widths, got 8"),
        ('{"hidden": [0]}', "expected hidden to be a positive integer"),
    ],
)
def test_foreign_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": (8, 0)},
        {"hidden": (8.5,)},
        {"hidden": 8},
        {"hidden": "88"},
        {"batch_norm": "no"},
        {"activation": "Softmax"},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"optimizer": "LBFGS"},
        {"optimizer": "adam"},
        {"lr": -1.0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"weight_decay": float("inf")},
        {"weight_decay": -1.0},
        {"batch_size": 0},
        {"epochs": 0},
        {"patience": 0},
        {"validation": 1.0},
        {"schedule": "linear"},
        {"clip_norm": -1.0},
        {"label_smoothing": 1.0},
        {"loss": "bce"},
        {"watch": -1},
        {"watch": 0.5},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(options))):
        Recipe(**options)


def test_network_has_what_was_asked_for() -> None:
    model = Recipe(hidden=(8, 4), activation="Tanh", batch_norm=True, dropout=0.2).network(3, 2)
    kinds = [type(part).__name__ for part in model.children()]
    block = ["Linear", "Tanh", "BatchNorm1d", "Dropout"]
    assert kinds == [*block, *block, "Linear"]
    assert model(torch.ones(5, 3)).shape == (5, 2)
    assert [type(part).__name__ for part in Recipe(hidden=()).network(3, 2).children()] == ["Linear"]


def test_outputs_start_at_about_one() -> None:
    x = torch.randn(1000, 20, generator=torch.Generator().manual_seed(0))
    model = nn.replicate(Recipe().network(20, 1), range(50))
    assert 0.7 < float(model(x).std()) < 2


@pytest.mark.parametrize(
    ("task", "loss", "kind"),
    [
        ("classification", None, nn.CrossEntropyLoss),
        ("regression", None, nn.MSELoss),
        ("regression", "huber", nn.HuberLoss),
        ("regression", "mae", nn.L1Loss),
    ],
)
def test_loss_follows_the_task(task: str, loss: str | None, kind: type) -> None:
    assert type(Recipe(loss=loss).criterion(task, 2)) is kind


def test_a_watched_training_is_the_same_and_tells_of_its_layers() -> None:
    x = torch.randn(120, 3, generator=torch.Generator().manual_seed(0))
    runs = [
        Recipe(hidden=(4,), epochs=7, watch=every).train(x, x[:, :1], range(3), task="regression", size=2)
        for every in (0, 3)
    ]
    (plain, bare), (model, history) = runs
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), model.state_dict().values()))
    assert list(bare.metrics) == ["validation_loss"]
    found = watched(history)
    assert {measure: list(layers) for measure, layers in found.items()} == {
        "std": ["0", "1", "2"], "dead": ["0", "1", "2"], "gradient": ["0", "1", "2"], "update": ["0", "2"],
    }  # fmt: skip
    for values in (v for layers in found.values() for v in layers.values()):
        assert np.isfinite(values).all(1).tolist() == [False, False, True, False, False, True, False]


def test_label_smoothing_is_the_losss() -> None:
    y, t = torch.randn(9, 3), torch.randint(3, (9,))
    smooth = Recipe(label_smoothing=0.3).criterion("classification", None)
    assert torch.equal(smooth(y, t), nn.CrossEntropyLoss(label_smoothing=0.3)(y, t))


@pytest.mark.parametrize(
    ("optimizer", "given", "decay"),
    [("AdamW", None, 0.5), ("AdamW", 0.1, 0.1), ("AdamW", 0.0, 0.0), ("Adam", None, 0.0), ("SGD", 0.2, 0.2)],
)
def test_weight_decay_is_adamws_by_default(optimizer: str, given: float | None, decay: float) -> None:
    recipe = Recipe(optimizer=optimizer, weight_decay=given, lr=0.25)
    group = recipe.optimiser(recipe.network(3, 1)).param_groups[0]
    assert (group["weight_decay"], group["lr"]) == (decay, 0.25)


@pytest.mark.parametrize(("task", "loss"), [("classification", "mse"), ("regression", "cross_entropy")])
def test_loss_of_the_other_task_is_refused(task: str, loss: str) -> None:
    with pytest.raises(ArgumentError, match=f"a loss for {task}"):
        Recipe(loss=loss).criterion(task, 2)
    with pytest.raises(ArgumentError, match="task to be one of"):
        Recipe().criterion("clustering", 2)


def test_batches_grow_with_the_samples() -> None:
    assert [Recipe().batch(N) for N in (5, 100, 1500, 4000, 10**6)] == [5, 32, 64, 128, 256]
    assert [Recipe(batch_size=7).batch(N) for N in (5, 100)] == [5, 7]


def test_rows_are_in_proportion_and_few_are_not_divided() -> None:
    t = torch.tensor([0] * 160 + [1] * 40)
    training, held = Recipe(validation=0.1).rows(t, [3, 4], "classification")
    assert held is not None
    assert training.shape == (2, 180)
    assert t[held].sum(1).tolist() == [4, 4]
    assert not torch.equal(held[0], held[1])
    assert Recipe(validation=0.1).rows(t[:90], [3], "regression")[1] is None
    assert Recipe(patience=None).rows(t, [3], "regression")[1] is None


# Training


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains(optimizer: str) -> None:
    x, t = curve()
    lr = {"Adadelta": 1.0, "Rprop": 0.01, "SGD": 0.05, "ASGD": 0.05, "Adagrad": 0.05, "Adafactor": 0.05}
    recipe = Recipe(optimizer=optimizer, lr=lr.get(optimizer, 0.003), epochs=20, patience=None)
    model, history = recipe.train(x, t, [0, 1], task="regression", workers_=1)
    assert (history.loss[:, -1] < 0.8 * history.loss[:, 0]).all()
    assert model(x).shape == (2, 120, 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_schedule_trains(schedule: str, task: str) -> None:
    x, t = curve() if task == "regression" else classes()
    recipe = Recipe(schedule=schedule, epochs=20, lr=0.01, dropout=0.1, batch_norm=True, clip_norm=1.0)
    _, history = recipe.train(x, t, [0, 1], task=task, workers_=1)
    held = history.metrics["validation_loss"]
    assert held.shape == (2, 20)
    assert all(
        float(held[r, best]) < 0.8 * float(held[r, 0]) for r, best in enumerate(history.best) if best is not None
    )
    assert None not in history.best


@pytest.mark.parametrize(
    ("schedule", "patience", "batch_size", "expected"),
    [
        ("constant", None, 100, [2.0] * 15),
        ("cosine", None, 100, [1 + math.cos(math.pi * epoch / 15) for epoch in range(15)]),
        ("onecycle", None, 10, [0.08, *(1 + math.cos(math.pi * (step - 14.1) / 135.9) for step in range(15, 150))]),
        ("plateau", 6, 90, [2.0] * 4 + [1.0] * 3),
        ("plateau", None, 100, [2.0] * 12 + [1.0] * 3),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    schedule: str, patience: int | None, batch_size: int, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an optimiser that does nothing, so that nothing gets better."""
    rates: list[float] = []

    def step(sgd: optim.SGD) -> None:
        rates.append(float(sgd.param_groups[0]["lr"]))
        assert sgd.param_groups[0]["momentum"] == 0

    monkeypatch.setattr(optim.SGD, "step", step)
    x, t = curve(100)
    options: dict[str, Any] = {"schedule": schedule, "patience": patience, "batch_size": batch_size}
    recipe = Recipe(hidden=(), optimizer="SGD", lr=2.0, epochs=15, **options)
    recipe.train(x, t, [0], task="regression", workers_=1)
    rising = 14 if schedule == "onecycle" else 0  # a tenth of the steps
    assert rates[: rising + 1] == sorted(rates[: rising + 1])
    assert rates[0] == pytest.approx(expected[0])
    assert rates[rising + 1 :] == pytest.approx(expected[1:], rel=1e-4, abs=1e-4)


def test_predictions_are_in_the_unit_of_the_targets() -> None:
    x, t = curve(400)
    model, _ = Recipe(epochs=40).train(x, t, range(3), task="regression", workers_=1)
    error = (model.eval()(x) - t).square().mean((0, 1)).sqrt()
    assert (error < 0.4 * t.std(0)).all(), error


def test_measures_are_in_the_unit_of_the_targets() -> None:
    x, t = curve()
    measures = {"mean": lambda y, t: y.mean((1, 2)), "target": lambda y, t: t.mean((1, 2))}
    _, history = SHORT.train(x, t, range(2), task="regression", measures=measures, workers_=1)
    assert (history.metrics["validation_mean"][:, :1] - 1000).abs().max() < 100
    assert (history.metrics["validation_target"][:, :1] - 1000).abs().max() < 30


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_each_replica_is_trained_as_alone_on_any_workers(task: str) -> None:
    x, t = curve() if task == "regression" else classes()
    recipe = Recipe(hidden=(8,), epochs=4, dropout=0.2, batch_norm=True, patience=1)
    three, history = recipe.train(x, t, [5, 6, 7], task=task, workers_=2, size=2)
    alone, own = recipe.train(x, t, [6], task=task, workers_=1)
    torch.testing.assert_close(three.replica(1).eval()(x), alone.replica(0).eval()(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(history.loss[1], own.loss[0], equal_nan=True, rtol=1e-5, atol=1e-5)
    assert history.best[1] == own.best[0]


@pytest.mark.parametrize(
    ("task", "outputs", "width"), [("classification", None, 3), ("classification", 4, 4), ("regression", None, 2)]
)
def test_there_are_as_many_outputs_as_classes_or_targets(task: str, outputs: int | None, width: int) -> None:
    x, t = curve() if task == "regression" else classes()
    model, _ = SHORT.train(x, t, [0], task=task, outputs=outputs, workers_=1)
    assert model(x).shape == (1, 120, width)


@pytest.mark.parametrize("weights", [torch.linspace(0.5, 2, 120), None])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_inputs_may_be_each_replicas_own(task: str, weights: torch.Tensor | None) -> None:
    x, t = curve() if task == "regression" else classes()
    shared, a = SHORT.train(x, t, [0, 1, 2], task=task, weights=weights, workers_=1, size=2)
    own, b = SHORT.train(x.expand(3, -1, -1), t, [0, 1, 2], task=task, weights=weights, workers_=1, size=2)
    for one, other in zip(shared.state_dict().values(), own.state_dict().values()):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(a.metrics["validation_loss"], b.metrics["validation_loss"], equal_nan=True)
    different = torch.stack((x, 2 * x, x))
    model, _ = SHORT.train(different, t, [0, 1, 2], task=task, weights=weights, workers_=1, size=2)
    assert torch.equal(model.replica(2)(x), own.replica(2)(x))
    assert not torch.equal(model.replica(1)(x), own.replica(1)(x))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_weight_of_two_counts_twice(task: str) -> None:
    x, t = curve(20) if task == "regression" else classes(20)
    weights = torch.tensor([1.0, 2.0] * 10).double()
    recipe = Recipe(hidden=(8,), epochs=5, batch_size=99)
    weighted, _ = recipe.train(x.double(), t, [0], task=task, outputs=3 if t.ndim == 1 else None, weights=weights)
    twice = weights.long()
    repeated, _ = recipe.train(
        x.double().repeat_interleave(twice, 0),
        t.repeat_interleave(twice, 0),
        [0],
        task=task,
        outputs=3 if t.ndim == 1 else None,
    )
    torch.testing.assert_close(weighted(x.double()), repeated(x.double()))


def test_validation_is_weighted() -> None:
    x, t = curve(200)
    rows = (torch.arange(100).unsqueeze(0), torch.arange(100, 200).unsqueeze(0))
    weights = torch.ones(200)
    weights[150:] = 0
    _, a = SHORT.train(x, t, [0], task="regression", rows=rows, weights=weights, workers_=1)
    first = (rows[0], rows[1][:, :50])
    _, b = SHORT.train(x, t, [0], task="regression", rows=first, workers_=1)
    torch.testing.assert_close(a.metrics["validation_loss"], b.metrics["validation_loss"])


def test_targets_are_standardised_by_the_training_rows_alone() -> None:
    x, t = curve(200)
    rows = (torch.arange(100).unsqueeze(0), torch.arange(100, 150).unsqueeze(0))
    other = t.clone()
    other[150:] = 1e6
    a, _ = SHORT.train(x, t, [0], task="regression", rows=rows, workers_=1)
    b, _ = SHORT.train(x, other, [0], task="regression", rows=rows, workers_=1)
    assert torch.equal(a(x), b(x))


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    x, t = curve()
    recipe = Recipe(hidden=(8,), epochs=6, patience=6, schedule="onecycle")
    run: dict[str, Any] = {"task": "regression", "workers_": 1, "size": 2}
    whole, history = recipe.train(x, t, [0, 1, 2], **run)

    class Enough(Exception):
        pass

    heard = []

    def advance(losses: list[float]) -> None:
        heard.append(losses)
        if len(heard) == 8:  # the first group has ended, the second is on its way
            raise Enough

    with pytest.raises(Enough):
        recipe.train(x, t, [0, 1, 2], checkpoints=tmp_path, advance=advance, **run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replicas-0-1", "replicas-2-2"]
    heard.clear()
    resumed, again = recipe.train(x, t, [0, 1, 2], checkpoints=tmp_path, advance=heard.append, **run)
    assert len(heard) < 6
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))
    assert torch.equal(history.loss, again.loss)
    with pytest.raises(StateError, match="a checkpoint of this run"):
        recipe.train(x + 1, t, [0, 1, 2], checkpoints=tmp_path, **run)


def test_a_checkpoint_knows_the_validation_rows(tmp_path: Path) -> None:
    x, t = curve()
    run: dict[str, Any] = {"task": "regression", "workers_": 1, "checkpoints": tmp_path}
    rows = torch.arange(120).unsqueeze(0)
    SHORT.train(x, t, [0], rows=(rows[:, :100], rows[:, 100:110]), **run)
    with pytest.raises(StateError, match="a checkpoint of this run"):
        SHORT.train(x, t, [0], rows=(rows[:, :100], rows[:, 110:]), **run)


def test_training_leaves_the_random_numbers_of_others_alone() -> None:
    x, t = curve()
    state = torch.get_rng_state()
    first, _ = SHORT.train(x, t, [0], task="regression", workers_=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again, _ = SHORT.train(x, t, [0], task="regression", workers_=1)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))


def test_flat_targets_are_refused() -> None:
    x, t = curve()
    with pytest.raises(ArgumentError, match=r"targets \(N, O\).*unsqueeze"):
        SHORT.train(x, t[:, 0], [0], task="regression")
    with pytest.raises(ArgumentError, match="task to be one of"):
        SHORT.train(x, t, [0], task="ranking")


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": torch.zeros(3, 120, 3)}, r"inputs of 2 replicas, got \(3, 120, 3\)"),
        ({"x": torch.zeros(100, 3)}, "inputs and targets"),
        ({"weights": torch.ones(100)}, r"weights of shape \(120,\), got \(100,\)"),
        ({"x": torch.zeros(2, 120, 3), "weights": torch.ones(2, 120)}, r"weights of shape \(120,\), got \(2, 120\)"),
        ({"rows": (torch.zeros(3, 9).long(), None)}, r"rows of shape \(2, M\), got \(3, 9\)"),
        ({"rows": (torch.zeros(2, 9).long(), torch.zeros(3, 9).long())}, r"rows of shape \(2, M\), got \(3, 9\)"),
        ({"rows": (torch.full((2, 9), 120), None)}, "rows from 0 to 119"),
        ({"rows": (torch.ones(2, 120).bool(), None)}, "rows as a tensor of int64, got bool"),
    ],
)
def test_data_that_do_not_fit_are_refused(task: str, options: dict[str, Any], message: str) -> None:
    x, t = curve() if task == "regression" else classes()
    with pytest.raises(HandgradError, match=message):
        SHORT.train(**{"x": x, "t": t, "seeds": [0, 1], "task": task, **options})


def test_a_measure_does_not_hide_the_validation_loss() -> None:
    with pytest.raises(ArgumentError, match=r"Recipe.train: expected measures of other names than the loss"):
        SHORT.train(*curve(), [0], task="regression", measures={"loss": lambda y, t: (y - t).abs().mean((1, 2))})


# Parts


def test_standardised_loss_is_the_loss_of_standardised_targets() -> None:
    g = torch.Generator().manual_seed(0)
    y, t, mean, scale, weights = (torch.randn(*s, generator=g) for s in ((2, 5, 3), (2, 5, 3), (2, 3), (2, 3), (2, 5)))
    scale, weights = scale.abs() + 0.1, weights.abs()
    plain, standardised = nn.HuberLoss(replicas=2), StandardisedLoss(nn.HuberLoss(replicas=2), mean, scale)
    z = (t - mean[:, None]) / scale[:, None]
    assert torch.equal(standardised(y, t, weights=weights), plain(y, z, weights=weights))
    assert torch.equal(standardised.backward(), plain.backward())


def test_centre_weighs_and_leaves_constants() -> None:
    t = torch.tensor([[1.0, 7.0], [2.0, 7.0], [4.0, 7.0]])
    rows = torch.arange(3).unsqueeze(0)
    mean, scale = centre(t, rows, torch.tensor([1.0, 2.0, 1.0]))
    repeated = t[[0, 1, 1, 2]].double()
    torch.testing.assert_close(mean[0], repeated.mean(0))
    torch.testing.assert_close(scale[0], torch.stack((repeated[:, 0].std(correction=0), torch.tensor(1.0).double())))


@pytest.mark.parametrize("constant", [0.0, -7.0])
def test_centre_is_exact_far_from_0_and_of_constants(constant: float) -> None:
    t = torch.tensor([[1e8, constant], [1e8 + 8, constant], [1e8 + 16, constant]])
    mean, scale = centre(t, torch.arange(3).unsqueeze(0))
    assert mean.tolist() == [[pytest.approx(1e8 + 8, abs=1e-6), pytest.approx(constant)]]
    assert scale.tolist() == [[pytest.approx(8 * math.sqrt(2 / 3)), 1]]


def test_rescale() -> None:
    model = nn.replicate(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), range(2))
    x, mean, scale = torch.randn(5, 3), torch.randn(2, 2), torch.rand(2, 2)
    before = model(x)
    rescale(model, mean, scale)
    torch.testing.assert_close(model(x), before * scale[:, None] + mean[:, None])


def test_all_optimizers_of_the_list_exist() -> None:
    assert {"AdamW", "SGD", "Lion"} < set(OPTIMIZERS)
    assert all(issubclass(getattr(optim, name), optim.Optimizer) for name in OPTIMIZERS)
