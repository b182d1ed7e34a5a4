"""Activations where numbers overflow, vanish or lie on a kink: value and gradient stay PyTorch's, and finite."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from handgrad import nn
from tests.cases import CASES, Case, close
from tests.cases.activations import ELEMENTWISE

KINKS = [-3.0, -1.2, -1.0, -0.5, -0.3, 0.0, -0.0, 0.3, 0.5, 0.6, 1.0, 1.2, 3.0, 6.0]
EXTREMES = [-1e4, -1e3, -100.0, -88.0, -40.0, -20.0, -1e-30, 1e-30, 20.0, 40.0, 88.0, 100.0, 1e3, 1e4]

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
SINGLE = [case for case in CASES if case.name in ELEMENTWISE or case.name == "PReLU"]
ALONG = [case for case in CASES if case.name in ("Softmax", "Softmin", "LogSoftmax", "GLU")]


def agree(case: Case, x: torch.Tensor) -> None:
    ours, theirs = case.ours(x.dtype), case.theirs(x.dtype) if x.dtype is torch.float64 else case.make(torch.nn)
    leaf = x.clone().requires_grad_()
    expected = theirs(leaf)
    dy = torch.ones_like(expected)
    expected.backward(dy)
    y, dx = ours(x), ours.backward(dy)
    assert y.isfinite().all()
    assert dx.isfinite().all()
    close([y, dx], [expected.detach(), leaf.grad], x.dtype, 1e-5)


@DTYPES
@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_elementwise_at_extremes_and_kinks(case: Case, dtype: torch.dtype) -> None:
    agree(case, torch.tensor(EXTREMES + KINKS, dtype=dtype))


@DTYPES
@pytest.mark.parametrize("case", ALONG, ids=lambda case: case.name)
def test_along_a_dimension_at_extremes(case: Case, dtype: torch.dtype) -> None:
    numbers = torch.tensor(EXTREMES + KINKS, dtype=dtype)
    agree(case, torch.cartesian_prod(numbers, numbers))


@pytest.mark.parametrize("make", [lambda: nn.LogSigmoid(), lambda: nn.Softplus(threshold=1e3)])
def test_small_values_keep_their_digits(make: Callable[[], nn.Module]) -> None:
    """log(1 + e⁻⁵⁰) is e⁻⁵⁰ to every digit, though 1 + e⁻⁵⁰ is 1."""
    module = make()
    y = module(torch.tensor([50.0 if isinstance(module, nn.LogSigmoid) else -50.0], dtype=torch.float64))
    torch.testing.assert_close(y.abs().log(), torch.tensor([-50.0], dtype=torch.float64), rtol=1e-14, atol=0)


def test_softplus_without_threshold_does_not_overflow() -> None:
    softplus = nn.Softplus(threshold=float("inf"))
    assert softplus(torch.tensor([-1e4, 1e4])).tolist() == [0.0, 1e4]
    assert softplus.backward(torch.ones(2)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("beta", [2.0, 1e3, -2.0])
@pytest.mark.parametrize("threshold", [20.0, -1.0, float("inf")])
def test_softplus_is_finite_where_beta_times_x_is_not(beta: float, threshold: float) -> None:
    sign = 1 if beta > 0 else -1
    softplus = nn.Softplus(beta, threshold)
    assert torch.equal(softplus(sign * torch.tensor([3e38, -3e38])), torch.tensor([sign * 3e38, 0.0]))
    assert softplus.backward(torch.ones(2)).tolist() == [1.0, 0.0]
