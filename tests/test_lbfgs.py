"""LBFGS against torch.optim: the same evaluations, the same points."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.errors import ArgumentError, StateError
from tests.cases import explains, generator


@pytest.fixture(autouse=True)
def exactly() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def networks() -> tuple[nn.Sequential, torch.nn.Sequential]:
    ours = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


X, T = torch.randn(2, 16, 3, dtype=torch.float64, generator=generator(4))
T = T[:, :2].contiguous()


def closures(ours: Any, theirs: Any, mine: Any, yours: Any) -> tuple[Callable[[], Any], Callable[[], Any], list[int]]:
    """What the two optimisers call, and how often they have."""
    criterion, calls = nn.MSELoss(), [0, 0]

    def closure() -> Tensor:
        calls[0] += 1
        mine.zero_grad()
        loss: Tensor = criterion(ours(X), T)
        ours.backward(criterion.backward())
        return loss

    def torch_closure() -> Tensor:
        calls[1] += 1
        yours.zero_grad()
        loss: Tensor = torch.nn.functional.mse_loss(theirs(X), T)
        loss.backward()
        return loss

    return closure, torch_closure, calls


def same(ours: nn.Module, theirs: torch.nn.Module) -> None:
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=1e-6, atol=1e-8)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"lr": 0.3, "max_iter": 4},
    {"lr": 0.5, "max_iter": 7, "history_size": 2},
    {"max_iter": 5, "max_eval": 3, "lr": 0.1},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 3, "lr": 3.0},
    {"line_search_fn": "strong_wolfe", "history_size": 1, "lr": 0.01, "max_iter": 9},
    {"line_search_fn": "strong_wolfe", "max_iter": 6, "max_eval": 4, "lr": 20.0},
    {"tolerance_grad": 0.05, "lr": 0.3},
    {"tolerance_change": 0.03, "lr": 0.3},
    {"tolerance_grad": 100.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("exchange", [False, True], ids=["", "exchange"])
def test_steps_equal_torch(options: dict[str, Any], exchange: bool) -> None:
    torch.manual_seed(3)
    ours, theirs = networks()
    mine, yours = optim.LBFGS(ours.parameters(), **options), torch.optim.LBFGS(theirs.parameters(), **options)
    closure, torch_closure, calls = closures(ours, theirs, mine, yours)
    for _ in range(3):
        torch.testing.assert_close(mine.step(closure), yours.step(torch_closure).detach(), rtol=1e-6, atol=1e-9)
        assert calls[0] == calls[1]
        same(ours, theirs)
        if exchange:
            state, expected = mine.state_dict(), copy.deepcopy(yours.state_dict())
            assert set(state["param_groups"][0]) == {*expected["param_groups"][0], "maximize"}  # torch has it from 2.14
            assert set(state["state"][0]) <= set(expected["state"][0])
            mine.load_state_dict(expected)
            yours.load_state_dict(state)


def test_the_maximum_of_minus_f_is_found_as_the_minimum_of_f():
    found = []
    for sign in (1, -1):
        p = nn.Parameter(torch.tensor([-1.2, 1.0]))
        optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe", maximize=sign < 0)

        def closure(p: nn.Parameter = p, sign: int = sign) -> float:
            a, b = p.value.tolist()
            p.grad = sign * torch.tensor([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
            return float(sign * ((1 - a) ** 2 + 100 * (b - a * a) ** 2))

        losses = [sign * optimizer.step(closure) for _ in range(3)]
        found.append((losses, p.value.tolist()))
    assert found[0] == found[1]
    assert found[0][1] == pytest.approx([1, 1], abs=1e-3)


ROSENBROCK: list[dict[str, Any]] = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "lr": 5.0},
    {"line_search_fn": "strong_wolfe", "max_eval": 9, "lr": 0.001},
    {"lr": 0.001},
]


@pytest.mark.parametrize("options", ROSENBROCK, ids=str)
@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -3.0), (0.0, 10.0)])
def test_curved_valley_equals_torch(options: dict[str, Any], start: tuple[float, float]) -> None:
    p, q = nn.Parameter(torch.tensor(start)), torch.nn.Parameter(torch.tensor(start))
    mine, yours = optim.LBFGS([p], **options), torch.optim.LBFGS([q], **options)
    counts = [0, 0]

    def closure() -> float:
        counts[0] += 1
        a, b = p.value.tolist()
        p.grad = torch.tensor([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
        return float((1 - a) ** 2 + 100 * (b - a * a) ** 2)

    def torch_closure() -> Tensor:
        counts[1] += 1
        yours.zero_grad()
        loss = (1 - q[0]) ** 2 + 100 * (q[1] - q[0] ** 2) ** 2
        loss.backward()
        return loss

    for _ in range(3):
        mine.step(closure)
        yours.step(torch_closure)
        torch.testing.assert_close(p.value, q.detach(), rtol=1e-6, atol=1e-8)
        assert counts[0] == counts[1]
    if options == ROSENBROCK[0]:
        torch.testing.assert_close(p.value, torch.ones(2), rtol=1e-4, atol=1e-4)


def test_loading_resumes_bit_by_bit() -> None:
    torch.manual_seed(3)
    ours, theirs = networks()
    mine = optim.LBFGS(ours.parameters(), lr=0.3, max_iter=3)
    closure, *_ = closures(ours, theirs, mine, mine)
    mine.step(closure)
    again = copy.deepcopy(ours)
    state = mine.state_dict()
    mine.step(closure)
    resumed = optim.LBFGS(again.parameters())
    resumed.load_state_dict(state)
    resumed.step(closures(again, theirs, resumed, resumed)[0])
    for name, value in ours.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_a_parameter_without_gradient_stays() -> None:
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def closure() -> float:
        p.grad = 2 * p.value
        return float(p.value.square().sum())

    optim.LBFGS([p, q], line_search_fn="strong_wolfe").step(closure)
    assert q.value.tolist() == [1, 1]
    torch.testing.assert_close(p.value, torch.zeros(2))


def test_errors() -> None:
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    with pytest.raises(ArgumentError, match="one group") as raised:
        optim.LBFGS([{"params": [p]}, {"params": [q]}])
    assert explains(raised.value)
    with pytest.raises(ArgumentError, match=r"LBFGS: expected step\(closure\)") as raised:
        optim.LBFGS([p]).step()
    assert explains(raised.value)
    with pytest.raises(NotImplementedError, match="replicas"):
        optim.LBFGS(nn.Linear(2, 3, replicas=2).parameters())
    with pytest.raises(StateError, match=r"vectors of shape \(2,\), got \(3,\)") as error:
        optim.LBFGS([p]).load_state_dict(
            {
                "state": {0: {"func_evals": 1, "n_iter": 1, "d": torch.ones(3)}},
                "param_groups": optim.LBFGS([q]).state_dict()["param_groups"],
            }
        )
    assert explains(error.value)
    with pytest.raises(StateError, match="func_evals") as error:
        optim.LBFGS([p]).load_state_dict(
            {"state": {0: {"step": 1}}, "param_groups": optim.LBFGS([q]).state_dict()["param_groups"]}
        )
    assert explains(error.value)


def test_a_straight_slope_is_followed_as_torch_follows_it() -> None:
    """Its two points have one slope, and the cubic through them no minimum."""
    p, q = nn.Parameter(torch.tensor([5.0, -4.0])), torch.nn.Parameter(torch.tensor([5.0, -4.0]))
    mine, theirs = (
        optim.LBFGS([p], line_search_fn="strong_wolfe"),
        torch.optim.LBFGS([q], line_search_fn="strong_wolfe"),
    )

    def closure() -> Tensor:
        p.grad = p.value.sign()
        return p.value.abs().sum()

    def other() -> Tensor:
        theirs.zero_grad()
        loss = q.abs().sum()
        loss.backward()
        return loss

    assert mine.step(closure) == theirs.step(other)
    torch.testing.assert_close(p.value, q.detach(), rtol=1e-6, atol=1e-6)


def test_a_loss_beyond_all_bounds_ends_the_search_within_them() -> None:
    """exp(800 x) is 10^173 at the first trial: squares of such slopes are no numbers."""
    p = nn.Parameter(torch.tensor([-0.5]))
    optimizer = optim.LBFGS([p], lr=1.0, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        p.grad = 800 * torch.exp(800 * p.value) - 1
        return (torch.exp(800 * p.value) - p.value).sum()

    first = float(closure())
    optimizer.step(closure)
    assert float(closure()) < first
    assert bool(p.value.isfinite().all())
