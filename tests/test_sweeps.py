"""A sweep is what training every replica alone would give, as distributions."""

import math
import os
import signal
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from handgrad import nn, optim, sweeps, workers
from handgrad.data import Batches
from handgrad.errors import ArgumentError, HandgradError, ShapeError
from handgrad.grid import grid
from handgrad.metrics import SCORES
from handgrad.seeds import derive
from handgrad.sweeps import sweep
from handgrad.training import together, train
from tests.cases import explains

X = torch.linspace(-1, 1, 40, dtype=torch.float64).unsqueeze(1)
T = torch.sin(3 * X)


def build(width=6, init="pytorch"):
    return nn.Sequential(
        nn.Linear(1, width, init=init), nn.Tanh(), nn.BatchNorm1d(width), nn.Linear(width, 1, init=init)
    ).double()


def rmse(y, t):
    return (y - t).square().mean((1, 2)).sqrt()


def alone(seed, *, width=6, lr=0.1, momentum=0.0, batch_size=8, epochs=4):
    """The same replica, trained as a program of its own."""
    model = nn.replicate(build(width), [derive(seed, "init")])
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    batches = Batches(X, T, batch_size, [seed])
    return train(model, nn.MSELoss(replicas=1), optimizer, batches, epochs).loss[0, -1].item()


def test_every_replica_is_what_it_is_alone():
    chosen = grid(seeds=[3, 5, 7], width=[4, 6], lr=[0.05, 0.2], momentum=[0.0, 0.9], batch_size=[8, 10])
    results = sweep(build, (X, T), chosen, epochs=4)
    expected = [alone(seed, **config) for config, seed in chosen.replicas]
    torch.testing.assert_close(torch.tensor(results.metrics["loss"]), torch.tensor(expected), rtol=1e-9, atol=0)


def test_the_numbers_do_not_depend_on_the_workers():
    chosen = grid(seeds=25, lr=[0.05, 0.2])
    one, three = (sweep(build(), (X, T), chosen, epochs=2, batch_size=8, workers_=w) for w in (1, 3))
    assert one.metrics == three.metrics


@pytest.mark.parametrize(("size", "expected"), [(2**18, [3, 2]), (600, [2, 2, 1]), (1, [1] * 5)])
def test_groups_are_as_large_as_the_cache_holds(size, expected, monkeypatch):
    x, t = torch.randn(6, 1, 5, 5), torch.randn(6, 2)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Dropout(0.2), nn.Flatten(), nn.Linear(50, 2))
    asked: dict[str, Any] = {"epochs": 2, "batch_size": 6}
    whole = sweep(model, (x, t), grid(seeds=5), **asked)
    state, mode = torch.random.get_rng_state(), model.training
    spy = Mock(wraps=train)
    monkeypatch.setattr(together, "CACHED", size)
    monkeypatch.setattr(sweeps, "train", spy)
    cut = sweep(model, (x, t), grid(seeds=5), workers_=1, **asked)
    assert [call.args[0].replicas for call in spy.call_args_list] == expected
    torch.testing.assert_close(torch.tensor(cut.metrics["loss"]), torch.tensor(whole.metrics["loss"]))
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training is mode


def test_metrics_are_named_as_in_fit():
    def of(metrics):
        return sweep(build(), (X, T), grid(seeds=3), epochs=2, batch_size=8, metrics=metrics).metrics

    expected = of({"r2": SCORES["r2"], "max_error": SCORES["max_error"]})
    assert of(["r2", "max_error"]) == expected
    assert of("r2")["r2"] == expected["r2"]
    assert list(of([rmse, "r2"])) == ["loss", "rmse", "r2"]
    with pytest.raises(ArgumentError, match="a metric of regression"):
        of(["r2", "accuracy"])


def test_metrics_and_history():
    results = sweep(
        build(), (X, T), grid(seeds=3), epochs=5, batch_size=8, test=(X[:7], T[:7]), metrics={"rmse": rmse}, every=2
    )
    curve = torch.tensor(results.history["rmse"], dtype=torch.float64)
    assert curve.shape == (3, 5)
    assert curve.isfinite().tolist() == [[False, True, False, True, True]] * 3
    assert results.metrics["rmse"] == curve[:, -1].tolist()
    assert [row[-1] for row in results.history["loss"]] == results.metrics["loss"]


def test_data_of_its_own_for_each_seed():
    def data(seed):
        x = torch.rand(40, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return x, 2 * x

    results = sweep(build(), data, grid(seeds=[4, 9], lr=[0.1]), epochs=2, batch_size=8, metrics={"rmse": rmse})
    again = sweep(build(), data, grid(seeds=[9], lr=[0.1]), epochs=2, batch_size=8, metrics={"rmse": rmse})
    assert list(results.history) == ["loss"]
    assert results.options["criterion"] == "MSELoss()"
    assert results.metrics["rmse"][1] == pytest.approx(again.metrics["rmse"][0], rel=1e-9)


def test_a_diverged_replica_is_counted_and_the_others_are_untouched():
    chosen = grid(seeds=4, lr=[0.1, 1e200])
    results = sweep(build(), (X, T), chosen, epochs=3, batch_size=8)
    clean = sweep(build(), (X, T), grid(seeds=4, lr=[0.1]), epochs=3, batch_size=8)
    assert [note is None for note in results.diverged] == [True] * 4 + [False] * 4
    torch.testing.assert_close(results.metrics["loss"][:4], clean.metrics["loss"], rtol=1e-9, atol=0)
    assert "4 of 4 diverged" in str(results.distribution("loss", lr=1e200))
    assert all(math.isnan(v) for v in results.metrics["loss"][4:])


def test_ctrl_c_leaves_what_is_finished(monkeypatch):
    monkeypatch.setattr(workers, "GROUP", 2)
    done = []

    def advance(losses):
        done.append(len(losses))
        if len(done) == 201:  # the first of four groups is finished, and hundreds of epochs are left
            os.kill(os.getpid(), signal.SIGINT)

    results = sweep(build(), (X, T), grid(seeds=8), epochs=200, batch_size=8, workers_=1, advance=advance)
    assert results.finished[:2] == [True, True]
    assert not all(results.finished)
    assert "not finished" in str(results.distribution("loss"))


@pytest.mark.parametrize("every", [0, 100])
def test_a_group_that_was_stopped_before_it_was_measured_is_not_finished(monkeypatch, every):
    monkeypatch.setattr(workers, "GROUP", 2)
    done = []

    def advance(losses):
        done.append(len(losses))
        if len(done) == 203:  # a few epochs into the second of three groups
            os.kill(os.getpid(), signal.SIGINT)

    given: dict[str, Any] = {"epochs": 200, "batch_size": 8, "metrics": {"rmse": rmse}, "every": every}
    results = sweep(build(), (X, T), grid(seeds=6), workers_=1, advance=advance, **given)
    assert results.finished == [True, True, False, False, False, False]
    assert [math.isfinite(value) for value in results.metrics["rmse"]] == results.finished


def test_the_users_random_numbers_are_left_alone():
    model = build()
    state = torch.get_rng_state()
    sweep(model, (X, T), grid(seeds=3), epochs=1, batch_size=8)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"grid": grid(seeds=2, depth=[1, 2])}, {}, "depth"),
        ({"batch_size": None}, {}, "batch size"),
        ({"batch_size": 8.5}, {}, "batch_size to be a positive integer, got 8.5"),
        ({"grid": grid(seeds=2, batch_size=[8, 8.5])}, {}, "batch_size to be a positive integer, got 8.5"),
        ({"grid": grid(seeds=2, batch_size=[True])}, {}, "batch_size to be a positive integer, got True"),
        ({"batch_size": 13}, {}, "at least 2 samples"),
        ({"batch_size": 41}, {}, "at most the 40 samples"),
        ({"epochs": 0}, {}, "epochs"),
        ({"grid": grid(seeds=2, lr=[0.1, -0.1])}, {}, "lr"),
    ],
)
def test_mistakes_are_found_before_training(arguments, options, message):
    given = {"grid": grid(seeds=2), "batch_size": 8, "epochs": 2, **arguments}
    chosen = given.pop("grid")
    with pytest.raises(ArgumentError, match=message):
        sweep(build, (X, T), chosen, **given)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"lr": rmse}, "names of their own, got 'lr'"),
        ({"mean": rmse}, "names of their own, got 'mean'"),
        ({"loss": rmse}, "names of their own, got 'loss'"),
        ({"error": lambda y, t: (y - t).abs().mean()}, r"metric error: expected a number for each of 1 replicas"),
        (["rmze"], "a metric to be one of 'accuracy', "),
    ],
)
def test_mistakes_with_metrics_are_found_before_training(metrics, message):
    trained: list[Any] = []
    with pytest.raises(HandgradError, match=message):
        sweep(build, (X, T), grid(seeds=2, lr=[0.1]), epochs=1, batch_size=8, metrics=metrics, advance=trained.append)
    assert not trained


def test_data_that_fit_no_layout():
    with pytest.raises(ShapeError, match="equal N"):
        sweep(build(), (X, T[:-1]), grid(seeds=2), epochs=1, batch_size=8)


def test_sets_of_unequal_size_are_told():
    with pytest.raises(ShapeError, match=r"one shape for all seeds, got .*\(20, 1\).*\(21, 1\)"):
        sweep(build(), lambda seed: (X[: 20 + seed], T[: 20 + seed]), grid(seeds=2), epochs=1, batch_size=8)


def test_too_large_for_memory_is_said_before_training(monkeypatch):
    monkeypatch.setattr(workers, "free_memory", lambda: 3000)
    with pytest.raises(ArgumentError, match=r"GiB for .* groups"):
        sweep(build(), (X, T), grid(seeds=2), epochs=1, batch_size=8)
    with pytest.raises(ArgumentError, match=r"GiB for the numbers of 3 replicas.*fewer workers or seeds"):
        sweep(build(), (X, T), grid(seeds=3), epochs=1, batch_size=8)


def test_data_and_curves_of_each_replica_count_as_memory(monkeypatch):
    x = torch.rand(5000, 1, dtype=torch.float64)
    monkeypatch.setattr(workers, "free_memory", lambda: 60_000)
    given: dict[str, Any] = {"epochs": 1, "batch_size": 8, "metrics": {"rmse": rmse}}
    sweep(build(), (x, x), grid(seeds=1), **given)
    with pytest.raises(ArgumentError, match="groups of replicas"):
        sweep(build(), lambda seed: (x, x), grid(seeds=1), **given)
    with pytest.raises(ArgumentError, match="numbers of 1 replicas"):
        sweep(build(), (X, T), grid(seeds=1), **{**given, "epochs": 1000, "every": 1})


@pytest.mark.parametrize("width", [10**8, 10**10, 2**65], ids=["memory", "elements", "integer"])
def test_a_network_beyond_memory_is_never_made(width):
    def wide(width):
        return nn.Sequential(nn.Linear(1, 4), nn.Linear(width, width))

    with pytest.raises(ArgumentError, match=r"that are free, got a network beyond them, with .* smaller") as raised:
        sweep(wide, (X, T), grid(seeds=2, width=[4, width]), epochs=1, batch_size=8)
    assert explains(raised.value)


def test_training_can_go_on_by_hand():
    """train runs in inference mode, whose tensors could not be changed outside."""
    model = nn.replicate(build(), [0, 1])
    criterion = nn.MSELoss(replicas=2)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, criterion, optimizer, Batches(X, T, 8, [0, 1]), 2)
    before = model.state_dict()
    for _ in range(2):
        criterion(model(X), T)
        model.backward(criterion.backward())
        optimizer.step()
    assert not any(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_free_memory_is_read_from_the_system():
    assert workers.free_memory() > 2**20


# The loss's hyper-parameters


def alone_with(criterion, seed, lr=0.1):
    model = nn.replicate(build(), [derive(seed, "init")])
    criterion = nn.stack([criterion])
    batches = Batches(X, T, 8, [seed])
    return train(model, criterion, optim.SGD(model.parameters(), lr=lr), batches, 3).loss[0, -1].item()


def smoothed(slack, reduction="mean"):
    return nn.SmoothL1Loss(beta=slack, reduction=reduction)


@pytest.mark.parametrize(
    ("criterion", "option", "values"),
    [(nn.HuberLoss, "delta", [0.05, 0.3, 2.0]), (smoothed, "slack", [0.0, 0.3, 2])],
    ids=["class", "function"],
)
def test_numbers_of_the_loss_are_trained_in_one_program(criterion, option, values):
    chosen = grid(seeds=[3, 5], lr=[0.1, 0.02], **{option: values})
    results = sweep(build, (X, T), chosen, criterion=criterion, epochs=3, batch_size=8)
    expected = [
        alone_with(criterion(**{option: config[option]}), seed, config["lr"]) for config, seed in chosen.replicas
    ]
    torch.testing.assert_close(torch.tensor(results.metrics["loss"]), torch.tensor(expected), rtol=1e-9, atol=0)
    assert results.options["criterion"] == criterion.__name__
    assert {config[option] for config in plan(criterion).tasks(chosen)[0].configs} == set(values)


def plan(criterion):
    return sweeps._Plan(build, optim.SGD, criterion, (X, T), None, 8, "keep", {}, 3, 0)


class Power(nn.Loss):
    """|d|ᵖ, whose p it keeps under another name."""

    def __init__(self, p=2.0, *, replicas=None):
        super().__init__(replicas=replicas)
        self.exponent = p

    def elements(self, y, t):
        d = y - t
        return d.abs() ** self.exponent, self.exponent * d.abs() ** (self.exponent - 1) * d.sign()


def test_what_no_loss_has_r_of_is_trained_apart():
    chosen = grid(seeds=2, p=[2.0, 3.0])
    assert [len(task.seeds) for task in plan(Power).tasks(chosen)] == [2, 2]
    results = sweep(build, (X, T), grid(seeds=2, p=[2.0, 3.0], lr=[0.01]), criterion=Power, epochs=3, batch_size=8)
    expected = [alone_with(Power(config["p"]), seed, 0.01) for config, seed in chosen.replicas]
    torch.testing.assert_close(torch.tensor(results.metrics["loss"]), torch.tensor(expected), rtol=1e-9, atol=0)
    words = grid(seeds=1, reduction=["mean", "sum"], delta=[0.5, 1.0])
    assert [len(task.seeds) for task in plan(nn.HuberLoss).tasks(words)] == [2, 2]


class Scaled(Power):
    number_names = ("scale",)

    def __init__(self, p=2.0, scale=1.0, *, replicas=None):
        super().__init__(p, replicas=replicas)
        self.scale = scale


def test_an_option_that_equals_a_number_of_the_loss_by_chance_is_trained_apart():
    tasks = plan(Scaled).tasks(grid(seeds=1, p=[2.0, 3.0], scale=[2.0, 3.0]))
    assert [{config["p"] for config in task.configs} for task in tasks] == [{2.0}, {3.0}]


class Width:
    """A hyper-parameter whose print does not tell what it is."""

    def __init__(self, width):
        self.width = width

    def __repr__(self):
        return "Width()"


def test_values_that_look_alike_are_trained_apart():
    chosen = grid(seeds=2, size=[Width(3), Width(6)])
    results = sweep(lambda size: build(size.width), (X, T), chosen, epochs=2, batch_size=8)
    plain = sweep(build, (X, T), grid(seeds=2, width=[3, 6]), epochs=2, batch_size=8)
    assert results.metrics == plain.metrics


def test_a_name_that_two_take():
    chosen = grid(seeds=2, eps=[1e-8, 1e-3])
    given: dict[str, Any] = {"optimizer": optim.Adam, "criterion": nn.PoissonNLLLoss, "epochs": 1, "batch_size": 8}
    counts = (X, T.abs())
    with pytest.raises(ArgumentError, match=r"eps of optimizer and of criterion.*functools\.partial") as raised:
        sweep(build, counts, chosen, **given)
    assert explains(raised.value)
    for name, function in (("criterion", nn.PoissonNLLLoss), ("optimizer", partial(optim.Adam, lr=0.01))):
        results = sweep(build, counts, chosen, **{**given, name: partial(function, eps=1e-6)})
        assert all(results.finished)
    with pytest.raises(ArgumentError, match="lr of build and of optimizer"):
        sweep(lambda lr: build(), (X, T), grid(seeds=2, lr=[0.1]), epochs=1, batch_size=8)


@pytest.mark.parametrize(
    ("criterion", "values", "message"),
    [
        (nn.HuberLoss, {"delta": [0.5, -1.0]}, "delta above 0"),
        (nn.HuberLoss, {"beta": [0.5, 1.0]}, "hyper-parameters among .*delta.*, got beta"),
        (nn.HuberLoss, {"replicas": [2]}, "got replicas"),
        (nn.HuberLoss(), {"delta": [0.5]}, "got delta"),
        (lambda: nn.HuberLoss(replicas=2), {}, "loss without replicas, got HuberLoss"),
        (nn.MSELoss(replicas=2), {}, "loss without replicas, got MSELoss"),
        (lambda: None, {}, "loss without replicas, got None"),
    ],
)
def test_mistakes_with_the_loss_are_found_before_training(criterion, values, message):
    with pytest.raises(ArgumentError, match=message) as raised:
        sweep(build, (X, T), grid(seeds=2, **values), criterion=criterion, epochs=1, batch_size=8)
    assert explains(raised.value)


def test_a_last_layer_that_does_not_go_with_the_loss_is_found_before_training():
    model = nn.Sequential(nn.Linear(1, 3), nn.Softmax(1)).double()
    with pytest.raises(ArgumentError, match="Leave out the Softmax"):
        sweep(model, (X, torch.zeros(40).long()), grid(seeds=2), criterion=nn.CrossEntropyLoss, epochs=1, batch_size=8)


# Data as arrays


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_arrays_are_data_too(dtype):
    x, t = X.to(dtype), T.to(dtype)
    given: dict[str, Any] = {"epochs": 2, "batch_size": 8, "metrics": {"rmse": rmse}}
    expected = sweep(build, (x.double(), t.double()), grid(seeds=2), **given).metrics
    arrays = (x.numpy(), t.numpy())
    assert sweep(build, arrays, grid(seeds=2), **given).metrics == expected
    own = sweep(build, lambda seed: arrays, grid(seeds=2), **given, test=arrays).metrics
    for name in ("loss", "rmse"):
        torch.testing.assert_close(own[name], expected[name], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, T, T), "inputs and targets as tensors or arrays, got weights, too"),
        ([(X, T)], "inputs and targets as tensors or arrays, got list"),
        (3, "sweep: expected data to train or measure on, got int"),
    ],
)
def test_data_that_are_none(data, message):
    with pytest.raises(ArgumentError, match=message):
        sweep(build(), data, grid(seeds=2), epochs=1, batch_size=8)


# What makes the optimiser


@pytest.mark.parametrize("seeds", [3, 10])
def test_a_function_gives_each_replica_its_own_numbers(seeds):
    def optimizer(params, on, k):
        return optim.SGD(params, lr=0.1 / k, momentum=torch.where(on > 0, 0.5, 0.0))

    chosen, same = grid(seeds=seeds, on=[0, 1], k=[1, 2]), grid(seeds=seeds, momentum=[0.0, 0.5], lr=[0.1, 0.05])
    results = sweep(build, (X, T), chosen, optimizer=optimizer, epochs=2, batch_size=8)
    expected = sweep(build, (X, T), same, epochs=2, batch_size=8)
    torch.testing.assert_close(results.metrics["loss"], expected.metrics["loss"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda params, on: optim.SGD(params, lr=0.1, momentum=0.9 if on else 0.0),
        lambda params, on: optim.SGD(params, lr=[0.1, 0.2][on]),
        lambda params, on: optim.SGD(params, lr=max(on, 0.1)),
    ],
    ids=["if", "index", "max"],
)
def test_a_function_that_does_not_take_r_numbers_is_found_before_training(optimizer, seeds):
    trained: list[Any] = []
    given: dict[str, Any] = {"optimizer": optimizer, "epochs": 1, "batch_size": 8, "advance": trained.append}
    with pytest.raises(ArgumentError, match=r"one a replica: on, got .*Error: .*torch\.where\(on > 0") as raised:
        sweep(build, (X, T), grid(seeds=seeds, on=[0, 1]), **given)
    assert explains(raised.value)
    assert not trained


def test_an_error_of_the_users_own_is_not_changed():
    def optimizer(params, lr):
        raise KeyError(lr)

    with pytest.raises(ArgumentError, match="got KeyError"):
        sweep(build, (X, T), grid(seeds=2, lr=[0.1]), optimizer=optimizer, epochs=1, batch_size=8)
    with pytest.raises(KeyError):
        sweep(build, (X, T), grid(seeds=2), optimizer=partial(optimizer, lr=0.1), epochs=1, batch_size=8)


def test_what_an_optimiser_has_one_of_is_trained_apart():
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.Linear(4, 1, bias=False)).double()
    given: dict[str, Any] = {"optimizer": optim.Muon, "epochs": 2, "batch_size": 8}
    results = sweep(model, (X, T), grid(seeds=3, ns_steps=[2, 5]), **given)
    alone = [sweep(model, (X, T), grid(seeds=3, ns_steps=[steps]), **given).metrics["loss"] for steps in (2, 5)]
    assert results.metrics["loss"] == alone[0] + alone[1]


@pytest.mark.parametrize("optimizer", [optim.SGD, lambda params, lr: optim.SGD(params, lr=lr)])
def test_a_rate_that_the_dtype_does_not_have_is_found_before_training(optimizer):
    given: dict[str, Any] = {"optimizer": optimizer, "epochs": 1, "batch_size": 8}
    with pytest.raises(ArgumentError, match=r"lr of at most 3\.4e\+38, the largest float32, got 1e\+39") as raised:
        sweep(build().float(), (X, T), grid(seeds=2, lr=[0.1, 1e39]), **given)
    assert explains(raised.value)
    sweep(build(), (X, T), grid(seeds=2, lr=[0.1, 1e39]), **given)
