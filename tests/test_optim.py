"""Optimisers against torch.optim, step by step."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.errors import ArgumentError, DTypeError
from tests.cases import explains

SHAPES = [(3, 2), (4,), ()]


def twins() -> tuple[list[nn.Parameter], list[torch.nn.Parameter]]:
    """The same three values on both sides."""
    values = [torch.randn(shape, dtype=torch.float64) for shape in SHAPES]
    return [nn.Parameter(v.clone()) for v in values], [torch.nn.Parameter(v.clone()) for v in values]


def hand_gradients(ours: list[nn.Parameter], theirs: list[torch.nn.Parameter], skip: int | None = None) -> None:
    for i, (p, q) in enumerate(zip(ours, theirs)):
        g = torch.randn(q.shape, dtype=torch.float64)
        p.grad, q.grad = (None, None) if i == skip else (g.clone(), g.clone())


def same(ours: list[nn.Parameter], theirs: list[torch.nn.Parameter]) -> None:
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p.value, q.detach(), rtol=1e-12, atol=0)


GRID = [
    {
        "lr": lr,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    for lr, momentum, dampening, decay, nesterov, maximize in itertools.product(
        [0.0, 0.1], [0.0, 0.9], [0.0, 0.3], [0.0, 0.05], [False, True], [False, True]
    )
    if not nesterov or (momentum and not dampening)
]


@pytest.mark.parametrize("options", GRID, ids=["-".join(str(value) for value in o.values()) for o in GRID])
def test_ten_steps_equal_torch(options: dict[str, Any]) -> None:
    ours, theirs = twins()
    sgd, expected = optim.SGD(ours, **options), torch.optim.SGD(theirs, **options)
    for step in range(10):
        if step % 2 == 0:  # at odd steps the old gradients serve again: momentum must not live in them
            hand_gradients(ours, theirs, skip=1 if step in (0, 4) else None)  # momentum starts late, and pauses
        before = [None if p.grad is None else p.grad.clone() for p in ours]
        sgd.step()
        expected.step()
        for p, g in zip(ours, before):
            assert (p.grad is None) if g is None else (p.grad is not None and torch.equal(p.grad, g))
    same(ours, theirs)


def test_defaults_are_torchs() -> None:
    ours, theirs = twins()
    sgd, expected = optim.SGD(ours, 0.01), torch.optim.SGD(theirs, 0.01)
    shared = set(sgd.defaults) & set(expected.defaults)
    assert {"lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"} <= shared
    assert {name: sgd.defaults[name] for name in shared} == {name: expected.defaults[name] for name in shared}


def test_parameters_without_gradient_are_skipped() -> None:
    ours, _ = twins()
    sgd = optim.SGD(ours, lr=0.1, momentum=0.9, weight_decay=0.1)
    before = [p.value.clone() for p in ours]
    sgd.step()
    assert all(torch.equal(p.value, b) for p, b in zip(ours, before))
    ours[1].grad = torch.ones(4, dtype=torch.float64)
    sgd.step()
    assert [torch.equal(p.value, b) for p, b in zip(ours, before)] == [True, False, True]
    assert list(sgd.state) == [ours[1]]


def test_groups_have_options_of_their_own() -> None:
    ours, theirs = twins()
    options: list[dict[str, Any]] = [{"lr": 0.5}, {"momentum": 0.9, "weight_decay": 0.1}, {}]
    groups: list[dict[str, Any]] = [{"params": [p], **o} for p, o in zip(ours, options)]
    sgd = optim.SGD(groups, lr=0.1)
    expected = torch.optim.SGD([{"params": [q], **o} for q, o in zip(theirs, options)], lr=0.1)
    for step in range(4):
        hand_gradients(ours, theirs)
        sgd.step()
        expected.step()
        if step == 1:  # a schedule writes into the groups
            sgd.param_groups[2]["lr"] = expected.param_groups[2]["lr"] = 0.7
    same(ours, theirs)


def test_group_added_later() -> None:
    ours, theirs = twins()
    sgd, expected = optim.SGD(ours[:1], lr=0.1, momentum=0.5), torch.optim.SGD(theirs[:1], lr=0.1, momentum=0.5)
    sgd.add_param_group({"params": ours[1], "lr": 0.3})
    expected.add_param_group({"params": theirs[1], "lr": 0.3})
    for _ in range(3):
        hand_gradients(ours[:2], theirs[:2])
        sgd.step()
        expected.step()
    same(ours[:2], theirs[:2])
    assert [group["lr"] for group in sgd.param_groups] == [0.1, 0.3]


def test_what_is_loaded_into_two_optimisers_is_each_ones_own() -> None:
    first, second = (optim.SGD([nn.Parameter(torch.ones(2), replicas=2)], lr=[0.1, 0.2]) for _ in range(2))
    state = first.state_dict()
    for sgd in (first, second):
        sgd.load_state_dict(state)
    first.param_groups[0]["lr"][0] = 0.5
    assert second.param_groups[0]["lr"].tolist() == state["param_groups"][0]["lr"].tolist() == [0.1, 0.2]


def test_zero_grad_clears_all_groups() -> None:
    ours, theirs = twins()
    hand_gradients(ours, theirs)
    optim.SGD([{"params": ours[:1]}, {"params": ours[1:]}], lr=0.1).zero_grad()
    assert [p.grad for p in ours] == [None] * 3


def test_takes_one_parameter_or_a_generator_of_them() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert optim.SGD(model.parameters(), lr=0.1).param_groups[0]["params"] == list(model.parameters())
    p = nn.Parameter(torch.ones(2))
    assert optim.SGD(p, lr=0.1).param_groups[0]["params"] == [p]  # type: ignore[arg-type]


def test_step_trains_a_network_as_torch_does() -> None:
    torch.manual_seed(1)
    ours = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    torch.manual_seed(1)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    theirs.load_state_dict(ours.state_dict())
    x, t = torch.randn(16, 3, dtype=torch.float64), torch.randn(16, 1, dtype=torch.float64)
    sgd = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    expected = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    criterion, torch_criterion = nn.MSELoss(), torch.nn.MSELoss()
    losses: list[Tensor] = []
    for _ in range(10):
        sgd.zero_grad()
        losses.append(criterion(ours(x), t))
        ours.backward(criterion.backward())
        sgd.step()
        expected.zero_grad()
        torch_criterion(theirs(x), t).backward()
        expected.step()
    assert losses[-1] < losses[0]
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-11, atol=1e-13)


def test_repr_shows_groups_and_options() -> None:
    ours, _ = twins()
    groups: list[dict[str, Any]] = [{"params": ours[:1], "lr": 0.5}, {"params": ours[1:]}]
    text = repr(optim.SGD(groups, lr=0.1))
    assert "group 0: 6 parameters, lr=0.5" in text
    assert "group 1: 5 parameters, lr=0.1" in text


def _p() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2))]


def _twice() -> list[nn.Parameter]:
    return _p() * 2


def _twice_in_groups() -> list[dict[str, Any]]:
    p = _p()
    return [{"params": p}, {"params": p}]


ERRORS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "negative lr": (_p, {"lr": -0.1}, ArgumentError, r"lr of at least 0, got -0\.1"),
    "lr is not a number": (_p, {"lr": float("nan")}, ArgumentError, r"lr of at least 0, got nan"),
    "lr beyond the dtype": (
        _p,
        {"lr": 1e39},
        ArgumentError,
        r"lr of at most 3\.4e\+38, the largest float32, got 1e\+39",
    ),
    "lr as text": (_p, {"lr": "0.1"}, ArgumentError, r"at least 0"),
    "negative momentum": (_p, {"momentum": -1.0}, ArgumentError, r"momentum of at least 0"),
    "negative weight_decay": (_p, {"weight_decay": -1.0}, ArgumentError, r"weight_decay of at least 0"),
    "dampening as text": (_p, {"momentum": 0.9, "dampening": "none"}, ArgumentError, r"dampening"),
    "nesterov without momentum": (_p, {"nesterov": True}, ArgumentError, r"momentum and no dampening"),
    "nesterov with dampening": (
        _p,
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        ArgumentError,
        r"dampening=0\.1",
    ),
    "duplicate": (_twice, {}, ArgumentError, r"each parameter once"),
    "duplicate in groups": (_twice_in_groups, {}, ArgumentError, r"each parameter once"),
    "no parameters": (list, {}, ArgumentError, r"at least one parameter"),
    "parameters of a layer without any": (lambda: nn.ReLU().parameters(), {}, ArgumentError, r"at least one parameter"),
    "torch's parameters": (
        lambda: torch.nn.Linear(2, 2).parameters(),
        {},
        DTypeError,
        r"handgrad\.nn\.Parameter, got Parameter",
    ),
    "tensors": (lambda: [torch.ones(2)], {}, DTypeError, r"got Tensor"),
    "the model itself in a list": (lambda: [nn.Linear(2, 2)], {}, DTypeError, r"got Linear"),
    "unknown option": (lambda: [{"params": _p(), "beta": 1.0}], {}, ArgumentError, r"options among lr, .*got beta"),
    "option of a group": (lambda: [{"params": _p(), "lr": -1.0}], {}, ArgumentError, r"at least 0"),
    "group without params": (lambda: [{"lr": 0.1}], {}, ArgumentError, r"params"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    params, options, error, match = ERRORS[name]
    with pytest.raises(error, match=match) as raised:
        optim.SGD(params(), **{"lr": 0.1, **options})
    assert explains(raised.value)


def test_refused_group_leaves_the_optimiser_as_it_was() -> None:
    ours, _ = twins()
    sgd = optim.SGD(ours[:1], lr=0.1)
    with pytest.raises(ArgumentError):
        sgd.add_param_group({"params": ours[1:], "lr": -1.0})
    assert len(sgd.param_groups) == 1
    sgd.add_param_group({"params": ours[1:]})
