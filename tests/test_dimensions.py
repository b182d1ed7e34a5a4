"""Dimensions in arguments are counted without the replicas, which none of them reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from handgrad import nn
from handgrad.errors import DimensionError, ShapeError
from tests.cases import explains

MODULES: dict[str, Callable[..., nn.Module]] = {
    "Softmax": nn.Softmax,
    "Softmin": nn.Softmin,
    "LogSoftmax": nn.LogSoftmax,
    "GLU": nn.GLU,
    "Flatten": lambda dim, **options: nn.Flatten(dim, -1, **options),
    "Flatten-end": lambda dim, **options: nn.Flatten(0, dim, **options),
    "Unflatten": lambda dim, **options: nn.Unflatten(dim, (1, -1), **options),
    "Select": lambda dim, **options: nn.Select(dim, 0, **options),
    "Transpose": lambda dim, **options: nn.Transpose(0, dim, **options),
    "Concat": lambda dim, **options: nn.Concat(nn.Tanh(**options), nn.Linear(4, 4, **options), dim=dim),
}
EACH = pytest.mark.parametrize("name", MODULES)
SHAPE = (4, 6, 4)


@EACH
@pytest.mark.parametrize("dim", [-3, -2, -1, 0, 1, 2])
def test_a_dimension_is_the_same_with_replicas(name: str, dim: int) -> None:
    torch.manual_seed(0)
    many = nn.replicate(MODULES[name](dim), [1, 2, 3])
    x = torch.randn(3, *SHAPE)
    y = many(x)
    dx = many.backward(torch.ones_like(y))
    for r in range(3):
        single = many.replica(r)
        expected = single(x[r])
        torch.testing.assert_close(y[r], expected)
        torch.testing.assert_close(dx[r], single.backward(torch.ones_like(expected)))


@EACH
@pytest.mark.parametrize("dim", [-4, -5, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_one_that_is_not_there(name: str, dim: int, shared: bool) -> None:
    alone, many = MODULES[name](dim), MODULES[name](dim, replicas=3)
    inputs: list[tuple[Any, Any]] = [(alone, torch.randn(SHAPE)), (many, torch.randn(1 if shared else 3, *SHAPE))]
    for module, x in inputs:
        with pytest.raises(DimensionError, match=rf"dimensions? .*{dim}") as raised:
            module(x)
        assert explains(raised.value)
        assert isinstance(raised.value, IndexError)  # as PyTorch raises
        assert isinstance(raised.value, ShapeError)


@pytest.mark.parametrize("name", ["Softmax", "Softmin", "LogSoftmax"])
@pytest.mark.parametrize("dim", [0, -1])
def test_a_number_alone_has_the_dimension_that_pytorch_gives_it(name: str, dim: int) -> None:
    x = torch.tensor(0.7)
    assert torch.equal(MODULES[name](dim)(x), getattr(torch.nn, name)(dim)(x))


@pytest.mark.parametrize("name", ["Softmax", "Softmin", "LogSoftmax"])
@pytest.mark.parametrize("dim", [1, -2])
def test_a_number_alone_has_no_other(name: str, dim: int) -> None:
    with pytest.raises(DimensionError, match=rf"dimension {dim}, got shape \(\)"):
        MODULES[name](dim)(torch.tensor(0.7))
