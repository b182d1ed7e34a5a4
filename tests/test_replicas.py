"""The laws of replicas: R networks in one compute what R networks alone do, and never touch each other."""

from __future__ import annotations

import copy
import inspect
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from handgrad import nn, optim
from handgrad.errors import ArgumentError, ShapeError
from tests.cases import (
    CASES,
    Case,
    Replicated,
    Shape,
    close,
    each,
    explains,
    generator,
    grads,
    ids,
    leaves,
    target,
    upstream,
)

SEEDS = [11, 5, 8]
R = len(SEEDS)
LAYERS = [case for case in CASES if not case.loss]
LOSSES = [case for case in CASES if case.loss]
BUILD = pytest.mark.parametrize("build", ["replicate", "replicas="])


EACH = pytest.mark.parametrize("case", LAYERS, ids=ids(LAYERS))
EACH_SHAPE = pytest.mark.parametrize(
    ("case", "shape"),
    [pytest.param(c, s, id=f"{c.name}-{i}") for c in LAYERS for i, s in enumerate(c.batched())],
)


def built(case: Case, build: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The case with replicas, by either way of building it."""
    module: nn.Module = nn.replicate(case.make(nn), SEEDS) if build == "replicate" else case.make(Replicated(SEEDS))
    return module.to(dtype)


def alone(case: Case, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    module: nn.Module = case.make(nn)
    module.reset(generator(seed))
    return module.to(dtype)


def of(r: int, tree: Any) -> Any:
    """Replica r of every tensor."""
    return each(lambda value: value[r], tree)


def picked(tensors: dict[str, Tensor], r: int) -> dict[str, Tensor]:
    return {name: value[r] for name, value in tensors.items()}


def identical(a: dict[str, Tensor], b: dict[str, Tensor], r: int) -> None:
    for name, value in a.items():
        assert torch.equal(value[r], b[name][r]), f"{name} of replica {r}"


@BUILD
@EACH
def test_starts_from_the_seeds_values(case: Case, build: str) -> None:
    state = built(case, build, torch.float32).state_dict()
    for r, seed in enumerate(SEEDS):
        for name, value in alone(case, seed, torch.float32).state_dict().items():
            assert torch.equal(state[name][r], value), name


@pytest.mark.parametrize(
    "seeds", [np.array(SEEDS), torch.tensor(SEEDS), tuple(SEEDS)], ids=["array", "tensor", "tuple"]
)
def test_seeds_are_the_same_numbers_of_whatever_kind(seeds: Any) -> None:
    layer = nn.Linear(3, 2)
    assert torch.equal(nn.replicate(layer, seeds).weight.value, nn.replicate(layer, SEEDS).weight.value)


def drawing(n: Any) -> nn.Sequential:
    """Modules that draw in forward, before others with parameters."""
    model: nn.Sequential = n.Sequential(
        n.Linear(4, 6),
        n.Dropout(0.3),
        n.Linear(6, 8, init="gaussian"),
        n.AlphaDropout(0.2),
        n.Dropout(0.1),
        n.TransformerEncoderLayer(8, 2, 6, batch_first=True),
        n.First(n.LSTM(8, 4, 2, batch_first=True, dropout=0.4)),
        n.RReLU(),
        n.First(n.MultiheadAttention(4, 2, 0.2, batch_first=True)),
        n.Linear(4, 2),
    )
    return model


class Generated:
    """A namespace like `nn` whose modules are built with a generator where they draw."""

    def __init__(self, seed: int) -> None:
        self.source = generator(seed)

    def __getattr__(self, name: str) -> Any:
        build = getattr(nn, name)
        takes = "generator" in inspect.signature(build.__init__).parameters
        return partial(build, generator=self.source) if takes else build


def test_a_parameter_that_is_not_drawn_is_named_before_anything_is_changed():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(2))

    model = nn.Sequential(Scaled())
    before = model.state_dict()
    for call in (model.reset, lambda: nn.replicate(model, range(3))):
        with pytest.raises(ArgumentError, match=r"an initialiser, got 0\.scale without.*nn\.init\.Constant\(1\.0\)"):
            call()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_input_without_a_leading_replica_tells_how_it_is_shared():
    model = nn.replicate(nn.Embedding(5, 2), range(3))
    with pytest.raises(ShapeError, match=r"got \(4, 6\)\. .* write x\.unsqueeze\(0\), or pass 1 dimension\."):
        model(torch.zeros(4, 6, dtype=torch.long))
    assert model(torch.zeros(1, 4, 6, dtype=torch.long)).shape == (3, 4, 6, 2)


def test_built_reset_and_replicated_networks_of_a_seed_start_alike() -> None:
    x = torch.randn(R, 5, 3, 4)
    many = {"replicate": nn.replicate(drawing(nn), SEEDS), "replicas=": drawing(Replicated(SEEDS))}
    again = drawing(Replicated([1, 2, 3]))
    again.reset([generator(seed) for seed in SEEDS])
    many["reset"] = again
    for r, seed in enumerate(SEEDS):
        one = drawing(nn)
        one.reset(generator(seed))
        for single in (one, drawing(Generated(seed))):
            seeds = {name: part.seeds for name, part in single.named_modules()}
            assert sum(own is not None for own in seeds.values()) == 10
            for how, model in many.items():
                for name, value in single.state_dict().items():
                    assert torch.equal(model.state_dict()[name][r], value), (how, name)
                for name, part in model.named_modules():
                    assert seeds[name] == (part.seeds and part.seeds[r : r + 1]), (how, name)
                close(copy.deepcopy(model)(x)[r], copy.deepcopy(single)(x[r]), torch.float32)


@BUILD
@EACH_SHAPE
def test_replica_equals_network_alone(case: Case, shape: Shape, build: str) -> None:
    module, singles = built(case, build), [alone(case, seed) for seed in SEEDS]
    for training in [True, True, False]:
        module.train(training)
        inputs = case.inputs(shape, torch.float64, lead=(R,))
        y = module(*inputs)
        dy = upstream(y)
        dx = leaves(module.backward(dy))
        for r, single in enumerate(singles):
            single.train(training)
            close([v[r] for v in leaves(y)], leaves(single(*of(r, inputs))))
            close([v[r] for v in dx], leaves(single.backward(of(r, dy))))
            close(picked(grads(module), r), grads(single))
            close(picked(dict(module.named_buffers()), r), dict(single.named_buffers()))


@EACH
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_shared_input_equals_expanded(case: Case, training: bool) -> None:
    """An input of (N, …), or of (1, N, …), is every replica's."""
    shape = case.batched()[0]
    for lead in [(1,)] if case.lone else [(), (1,)]:
        inputs = case.inputs(shape, torch.float64, lead)
        shared, expanded = (built(case, "replicate").train(training) for _ in range(2))
        single = inputs if lead else each(lambda x: x.unsqueeze(0), inputs)
        apart = each(lambda x: x.expand(R, *x.shape[1:]).contiguous(), single)
        y, expected = shared(*inputs), expanded(*apart)
        close([v.expand_as(e) for v, e in zip(leaves(y), leaves(expected))], leaves(expected))
        if leaves(y)[0].shape == leaves(expected)[0].shape:  # a parameter-free module alone has nothing to tell apart
            dy = upstream(y)
            found, wanted = leaves(shared.backward(dy)), leaves(expanded.backward(dy))
            close([v.expand_as(e) for v, e in zip(found, wanted)], wanted)
            close(grads(shared), grads(expanded))
            close(dict(shared.named_buffers()), dict(expanded.named_buffers()))


@EACH_SHAPE
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["input", "parameters"])
def test_what_one_replica_does_stays_in_it(case: Case, shape: Shape, bad: float, where: str) -> None:
    clean, dirty = built(case, "replicate"), built(case, "replicate")
    inputs = case.inputs(shape, torch.float64, lead=(R,))
    spoiled = each(torch.clone, inputs)
    if where == "input":
        for x in leaves(spoiled):
            x[1] = bad if x.dtype.is_floating_point else 0
    for p in dirty.parameters() if where == "parameters" else ():
        p.value[1] = bad
    y, z = clean(*inputs), dirty(*spoiled)
    dy = upstream(y)
    dx, dz = clean.backward(dy), dirty.backward(dy)
    for r in (0, 2):
        for a, b in zip([*leaves(y), *leaves(dx)], [*leaves(z), *leaves(dz)]):
            identical({"y or dx": a}, {"y or dx": b}, r)
        identical(grads(clean), grads(dirty), r)
        identical(dict(clean.named_buffers()), dict(dirty.named_buffers()), r)


@BUILD
@pytest.mark.parametrize("case", LOSSES, ids=ids(LOSSES))
def test_loss_is_never_averaged_over_replicas(case: Case, build: str) -> None:
    criterion = built(case, build)
    assert isinstance(criterion, nn.Loss)
    for shape in case.shapes:
        inputs = case.inputs(shape, torch.float64, lead=(R,))
        loss = criterion(*inputs)
        dloss = upstream(loss)
        dy = leaves(criterion.backward(dloss))
        assert loss.shape[:1] == (R,)
        for r in range(R):
            single = case.ours(torch.float64)
            close(loss[r], single(*of(r, inputs)))
            close([v[r] for v in dy], leaves(single.backward(dloss[r])))
        place = target(criterion, inputs)
        if place is None:
            continue
        t = inputs[place]
        inputs[place] = t[:1].expand_as(t).contiguous()
        expected = criterion(*inputs)
        for inputs[place] in (t[0], t[:1]):
            close(criterion(*inputs), expected)


@pytest.mark.parametrize("case", LOSSES, ids=ids(LOSSES))
def test_nan_in_one_replicas_targets_stays_in_its_loss(case: Case) -> None:
    criterion = built(case, "replicate")
    assert isinstance(criterion, nn.Loss)
    inputs = case.inputs(case.shapes[0], torch.float64, lead=(R,))
    spoiled = each(torch.clone, inputs)
    place = target(criterion, inputs)
    t = spoiled[-1 if place is None else place]
    t[1] = float("nan") if t.dtype.is_floating_point else 0
    a = criterion(*inputs)
    dloss = upstream(a)
    da = leaves(criterion.backward(dloss))
    b = criterion(*spoiled)
    db = leaves(criterion.backward(dloss))
    for r in (0, 2):
        for one, same in zip([a, *da], [b, *db]):
            identical({"loss or dy": one}, {"loss or dy": same}, r)


# Training


def network(n: Any = nn, width: int = 6) -> nn.Sequential:
    model: nn.Sequential = n.Sequential(n.Linear(3, width), n.ReLU(), n.BatchNorm1d(width), n.Linear(width, 2))
    return model


def trained(
    model: nn.Module, replicas: int | None, x: Tensor, t: Tensor, steps: int = 5, **options: Any
) -> dict[str, Tensor]:
    """The state after some steps of SGD."""
    criterion = nn.MSELoss(replicas=replicas)
    optimizer = optim.SGD(model.parameters(), **options)
    for _ in range(steps):
        optimizer.zero_grad()
        criterion(model(x), t)
        model.backward_parameters(criterion.backward())
        optimizer.step()
    return model.state_dict()


def reset(seed: int, dtype: torch.dtype) -> nn.Module:
    model = network()
    model.reset(generator(seed))
    return model.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("build", ["replicate", "replicas="])
def test_training_equals_training_alone(dtype: torch.dtype, tolerance: float, build: str) -> None:
    model = nn.replicate(network(), SEEDS) if build == "replicate" else network(Replicated(SEEDS))
    x, t = torch.randn(R, 32, 3, dtype=dtype), torch.randn(R, 32, 2, dtype=dtype)
    state = trained(model.to(dtype), R, x, t, lr=0.05, momentum=0.9)
    for r, seed in enumerate(SEEDS):
        single = trained(reset(seed, dtype), None, x[r], t[r], lr=0.05, momentum=0.9)
        torch.testing.assert_close(picked(state, r), single, rtol=tolerance, atol=tolerance)


HYPER: list[dict[str, Any]] = [
    {"lr": [0.1, 0.003, 0.0]},
    {"lr": 0.05, "momentum": [0.9, 0.0, 0.3]},
    {"lr": 0.05, "momentum": 0.9, "dampening": [0.1, 0.0, 0.7]},
    {"lr": 0.05, "momentum": [0.9, 0.0, 0.3], "dampening": 0.1},
    {"lr": 0.05, "weight_decay": [0.1, 0.0, 0.03]},
    {"lr": 0.05, "momentum": [0.9, 0.7, 0.3], "nesterov": True},
    {"lr": [0.1, 0.003, 0.01], "momentum": 0.9, "weight_decay": 0.1, "maximize": True},
    {"lr": [1, 0, 2], "weight_decay": [0.1, 0.0, 0.03], "momentum": [0.9, 0.0, 0.3]},
]


@pytest.mark.parametrize("options", HYPER, ids=[" ".join(f"{k}={v}" for k, v in h.items()) for h in HYPER])
@pytest.mark.parametrize("form", ["list", "tensor"])
def test_hyper_parameters_as_r_numbers(options: dict[str, Any], form: str) -> None:
    x, t = torch.randn(16, 3, dtype=torch.float64), torch.randn(R, 16, 2, dtype=torch.float64)
    given_ = {
        name: torch.tensor(value, dtype=torch.float64) if form == "tensor" and isinstance(value, list) else value
        for name, value in options.items()
    }
    state = trained(nn.replicate(network(), SEEDS).double(), R, x, t, steps=3, **given_)
    for r, seed in enumerate(SEEDS):
        own = {name: value[r] if isinstance(value, list) else value for name, value in options.items()}
        single = trained(reset(seed, torch.float64), None, x, t[r], steps=3, **own)
        torch.testing.assert_close(picked(state, r), single, rtol=1e-12, atol=1e-12)


sizes = st.integers(1, 5)


@given(replicas=st.integers(2, 4), N=st.integers(2, 7), width=sizes, broken=st.integers(0, 3), data=st.data())
def test_isolation_through_training(replicas: int, N: int, width: int, broken: int, data: st.DataObject) -> None:
    torch.manual_seed(0)
    broken %= replicas
    x, t = torch.randn(replicas, N, 3), torch.randn(replicas, N, 2)
    spoiled = x.clone()
    bad = data.draw(st.sampled_from([float("nan"), float("inf"), 1e30, 0.0]))
    spoiled[broken] = bad
    model = network(width=width)
    before, after = (
        trained(nn.replicate(model, range(replicas)), replicas, inputs, t, lr=0.1, momentum=0.5, weight_decay=0.01)
        for inputs in (x, spoiled)
    )
    for r in set(range(replicas)) - {broken}:
        identical(before, after, r)
    if math.isnan(bad):  # the spoiling itself did reach the weights
        assert after["0.weight"][broken].isnan().any()


@given(order=st.permutations(range(4)), N=st.integers(2, 6))
def test_permuted_replicas_give_permuted_results(order: list[int], N: int) -> None:
    torch.manual_seed(0)
    x, t = torch.randn(4, N, 3, dtype=torch.float64), torch.randn(4, N, 2, dtype=torch.float64)
    straight = trained(nn.replicate(network(), range(4)).double(), 4, x, t, lr=0.1)
    permuted = trained(nn.replicate(network(), order).double(), 4, x[order], t[order], lr=0.1)
    for name, value in straight.items():
        assert torch.equal(value[order], permuted[name]), name


@given(replicas=st.integers(1, 5), N=st.integers(2, 6), width=sizes, shared=st.booleans(), seed=st.integers(0, 99))
def test_any_replica_equals_its_seed_alone(replicas: int, N: int, width: int, shared: bool, seed: int) -> None:
    torch.manual_seed(seed)
    x, t = torch.randn(N, 3, dtype=torch.float64), torch.randn(replicas, N, 2, dtype=torch.float64)
    seeds = range(seed, seed + replicas)
    rows = x if shared else x * torch.linspace(1, 2, replicas, dtype=torch.float64).view(-1, 1, 1)
    state = trained(nn.replicate(network(width=width), seeds).double(), replicas, rows, t, steps=2, lr=0.01)
    r = replicas - 1
    single = network(width=width)
    single.reset(generator(seeds[r]))
    expected = trained(single.double(), None, rows if shared else rows[r], t[r], steps=2, lr=0.01)
    # a batch of two or of dead units divides by √ε, which multiplies rounding errors by 1/√ε
    torch.testing.assert_close(picked(state, r), expected, rtol=1e-9, atol=1e-9)


# The object itself


def test_replicate_leaves_the_original_alone() -> None:
    model = network()
    model(torch.randn(4, 3))
    before = model.state_dict()
    many = nn.replicate(model, range(R))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.replicas for part in model] == [None] * 4
    model.backward(torch.randn(4, 2))
    assert all(p.grad is None for p in many.parameters())


def test_replicate_keeps_options_dtype_and_mode() -> None:
    model = network().double().eval()
    many = nn.replicate(model, range(R))
    assert not many.training
    assert {p.value.dtype for p in many.parameters()} == {torch.float64}
    assert [p.replicas for p in many.parameters()] == [R] * 6
    assert [tuple(p.shape) for p in many.parameters()][:2] == [(R, 3, 6), (R, 6)]
    assert "replicas=3" in repr(many)


def test_replicate_of_modules_with_one_parameter_in_common() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight  # type: ignore[attr-defined]
    many = nn.replicate(model, range(R))
    assert many(torch.randn(4, 3)).shape == (R, 4, 3)
    assert many[0].weight is many[1].weight  # type: ignore[attr-defined]
    model.reset(generator(1))
    for name, value in many.state_dict().items():
        assert torch.equal(value[1], model.state_dict()[name]), name


def test_state_has_a_leading_r_and_loads_back() -> None:
    many = nn.replicate(network(), SEEDS)
    state = many.state_dict()
    assert [value.shape[0] for value in state.values()] == [R] * len(state)
    other = nn.replicate(network(), [1, 2, 3])
    other.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_one_generator_serves_all_replicas_in_turn() -> None:
    layer = nn.Linear(3, 2, replicas=R, generator=generator(4))
    again = nn.Linear(3, 2, replicas=R, generator=generator(4))
    assert torch.equal(layer.weight.value, again.weight.value)
    assert len({tuple(value.flatten().tolist()) for value in layer.weight.value}) == R


def _sgd(**options: Any) -> optim.SGD:
    return optim.SGD(nn.replicate(nn.Linear(3, 2), SEEDS).parameters(), **options)


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "equal seeds": (lambda: nn.replicate(nn.Linear(3, 2), [1, 2, 1]), ArgumentError, r"\[1\] more than once"),
    "equal seeds in a tensor": (
        lambda: nn.replicate(nn.Linear(3, 2), torch.tensor([1, 1])),  # type: ignore[arg-type]
        ArgumentError,
        r"\[1\] more than once",
    ),
    "a number of seeds": (
        lambda: nn.replicate(nn.Linear(3, 2), 3),  # type: ignore[arg-type]
        ArgumentError,
        r"seeds to be a list of integers, got 3.*range\(R\)",
    ),
    "a seed beyond 64 bits": (
        lambda: nn.replicate(nn.Linear(3, 2), [2**64]),
        ArgumentError,
        "seeds from −2⁶³ to 2⁶⁴ − 1, got 18446744073709551616",
    ),
    "no seeds": (lambda: nn.replicate(nn.Linear(3, 2), []), ArgumentError, r"at least one"),
    "replicated twice": (
        lambda: nn.replicate(nn.replicate(nn.Linear(3, 2), SEEDS), SEEDS),
        ArgumentError,
        r"without replicas",
    ),
    "generators": (
        lambda: nn.Linear(3, 2, replicas=3, generator=[generator(1), generator(2)]),
        ArgumentError,
        r"3 generators, got 2",
    ),
    "generators of dropout": (
        lambda: nn.Dropout(replicas=3, generator=[generator(1), generator(2)]),
        ArgumentError,
        r"Dropout: expected 3 generators, got 2",
    ),
    "input of another R": (
        lambda: nn.Linear(3, 2, replicas=3)(torch.zeros(2, 4, 3)),
        ShapeError,
        r"Linear 3→2: .*leading 3",
    ),
    "input without a batch": (lambda: nn.Linear(3, 2, replicas=3)(torch.zeros(3)), ShapeError, r"leading 3"),
    "norm of another R": (lambda: nn.BatchNorm1d(3, replicas=3)(torch.zeros(2, 4, 3)), ShapeError, r"leading 3"),
    "norm's channels": (
        lambda: nn.BatchNorm1d(3, replicas=2)(torch.zeros(2, 4, 5)),
        ShapeError,
        r"\(2, N, 3\) or \(2, N, 3, L\)",
    ),
    "parts of unequal R": (
        lambda: nn.Sequential(nn.Linear(3, 4, replicas=2), nn.Linear(4, 2, replicas=3))(torch.zeros(5, 3)),
        ShapeError,
        r"model\.1 \(Linear 4→2\): .*leading 3",
    ),
    "loss of another R": (
        lambda: nn.MSELoss(replicas=3)(torch.zeros(2, 4), torch.zeros(2, 4)),
        ShapeError,
        r"leading 3",
    ),
    "loss without a batch": (lambda: nn.MSELoss(replicas=3)(torch.zeros(3), torch.zeros(3)), ShapeError, r"MSELoss"),
    "targets of another R": (
        lambda: nn.MSELoss(replicas=3)(torch.zeros(3, 4), torch.zeros(2, 4)),
        ShapeError,
        r"\(3, 4\), got \(2, 4\)",
    ),
    "two numbers for three": (lambda: _sgd(lr=[0.1, 0.2]), ArgumentError, r"lr to be one number or R of them"),
    "a matrix of numbers": (lambda: _sgd(momentum=torch.zeros(3, 1)), ArgumentError, r"momentum to be one number"),
    "one of R negative": (lambda: _sgd(lr=[0.1, -0.2, 0.1]), ArgumentError, r"lr of at least 0"),
    "R numbers without replicas": (
        lambda: optim.SGD(nn.Linear(3, 2).parameters(), lr=[0.1, 0.2, 0.3]),
        ArgumentError,
        r"replicas=None",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    call, error, match = ERRORS[name]
    with pytest.raises(error, match=match) as raised:
        call()
    assert explains(raised.value)


def test_a_replica_taken_out_is_the_network_it_was():
    seeds = [3, 5, 8]
    model = nn.replicate(network(), seeds)
    model(torch.randn(6, 3))
    for r in range(3):
        one = model.replica(r)
        x = torch.randn(6, 3)
        assert all(part.replicas is None for part in one.modules())
        torch.testing.assert_close(one.eval()(x), model.eval()(x)[r])
        model.train()
    assert model.replicas == 3 or model[0].replicas == 3


def test_stacked_replicas_are_what_they_were():
    model = nn.replicate(network(), [3, 5, 8])
    again = nn.stack([model.replica(r) for r in range(3)])
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    joined = nn.stack([model, model.replica(1)])
    assert torch.equal(joined(torch.ones(4, 3))[3], joined(torch.ones(4, 3))[1])
    assert nn.stack([nn.MSELoss(), nn.MSELoss()]).replicas == 2
    assert nn.stack([nn.HuberLoss(delta=0.5)]).delta == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.stack([]), "at least one network"),
        (lambda: nn.stack([nn.Linear(2, 3), nn.Linear(2, 4)]), "network 1: expected .*out_features=3.*out_features=4"),
        (lambda: nn.stack([nn.BatchNorm1d(2), nn.BatchNorm1d(2, eps=0.1)]), "eps"),
        (lambda: nn.stack([nn.Linear(2, 3), nn.Linear(2, 3).double()]), "float32"),
        (lambda: nn.Linear(2, 3).replica(0), "one without"),
        (lambda: nn.Linear(2, 3, replicas=2).replica(2), "from 0 to 1"),
    ],
)
def test_stack_and_replica_say_what_is_wrong(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_sum_of_branches_of_which_some_have_no_replicas_yet() -> None:
    model = nn.replicate(nn.Residual(nn.ReLU(), nn.Tanh(), nn.Linear(3, 3)), SEEDS).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    y = model(x)
    dy = upstream(y)
    dx = model.backward(dy)
    for r in range(R):
        single = model.replica(r)
        close(y[r], single(x))
        close(dx[r], single.backward(dy[r]))


def test_what_replicas_share_stays_whole_in_one_of_them() -> None:
    """A layer without replicas below layers with them."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, replicas=4)).eval()
    x = torch.randn(5, 3)
    for r in range(4):
        torch.testing.assert_close(model.replica(r)(x), model(x)[r])
    torch.testing.assert_close(nn.stack([model, model])(x), torch.cat([model(x)] * 2))
