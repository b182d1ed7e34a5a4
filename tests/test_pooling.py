"""What the table of members does not say of pooling: equal maxima, NaN, and empty batches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from handgrad import nn
from tests.cases import CASES, Case, ids

POOLS = [case for case in CASES if "Pool" in case.name]


def torch_pass(module: torch.nn.Module, x: torch.Tensor, dy: torch.Tensor) -> tuple[torch.Tensor, Any]:
    x = x.clone().requires_grad_()
    y = module(x)
    y.backward(dy)
    return y.detach(), x.grad


@pytest.mark.parametrize("case", POOLS, ids=ids(POOLS))
@pytest.mark.parametrize("values", [1, 2, 3])
def test_equal_numbers(case: Case, values: int) -> None:
    """The first of equal maxima gets the gradient, and a norm of zeros gives none."""
    ours, theirs = case.ours(), case.theirs()
    for shape in case.shapes:
        x = torch.randint(values, shape).float()
        y = ours(x)
        dy = torch.randn(y.shape)
        expected, dx = torch_pass(theirs, x, dy)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(ours.backward(dy), dx)


@pytest.mark.parametrize("case", POOLS, ids=ids(POOLS))
def test_nan_reaches_the_windows_it_is_in(case: Case) -> None:
    ours, theirs = case.ours(), case.theirs()
    x = case.inputs(case.shapes[0])[0]
    x[0, 1, 2] = float("nan")
    torch.testing.assert_close(ours(x), theirs(x), equal_nan=True)


@pytest.mark.parametrize("make", [lambda n: n.MaxPool2d(3, 1, 1), lambda n: n.AdaptiveMaxPool2d((3, 2))])
def test_gradient_of_nan_is_not_lost(make: Any) -> None:
    x = torch.randn(2, 3, 5, 5)
    x[0, 1, 2] = float("nan")
    pool = make(nn)
    dy = torch.rand_like(pool(x))
    torch.testing.assert_close(pool.backward(dy).sum(), dy.sum())


@pytest.mark.parametrize("case", POOLS, ids=ids(POOLS))
def test_empty_batch(case: Case) -> None:
    shape = (0, *case.shapes[0][1:])
    ours, theirs = case.ours(), case.theirs()
    y = ours(torch.zeros(shape))
    assert y.shape == theirs(torch.zeros(shape)).shape
    assert ours.backward(torch.zeros(y.shape)).shape == shape


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_every_choice_of_sizes(k: int, ceil_mode: bool) -> None:
    for s, p in itertools.product((1, 2, 3, 5), range(k // 2 + 1)):
        for L in range(max(k - 2 * p, 1), 9):
            for counted in (False, True):
                check("AvgPool1d", L, k, s, p, ceil_mode, counted)
            check("MaxPool1d", L, k, s, p, ceil_mode=ceil_mode)
            if L > 1 and L + 2 * p > 2 * (k - 1):  # of one input a dilated window can see the padding alone
                check("MaxPool1d", L, k, s, p, dilation=2, ceil_mode=ceil_mode)


def test_every_adaptive_size() -> None:
    for L, size in itertools.product(range(1, 9), range(1, 12)):
        check("AdaptiveMaxPool1d", L, size)
        check("AdaptiveAvgPool1d", L, size)


def check(member: str, L: int, *args: Any, **options: Any) -> None:
    x = torch.randn(2, L)
    ours = getattr(nn, member)(*args, **options)
    y = ours(x)
    dy = torch.randn(y.shape)
    expected, dx = torch_pass(getattr(torch.nn, member)(*args, **options), x, dy)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours.backward(dy), dx)
