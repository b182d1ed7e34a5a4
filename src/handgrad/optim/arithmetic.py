"""Arithmetic on all parameters at once, with one number, or R numbers for the R leading slices.

Either is one call of PyTorch for all tensors: with small networks the calls are what takes time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from handgrad.nn.constants import Number as Number
from handgrad.nn.constants import back, each


def listed(number: Any) -> list[float]:
    """One number or R numbers as a list."""
    return number.tolist() if isinstance(number, Tensor) else [number]


def anything(number: Number) -> bool:
    """Whether a hyper-parameter differs from 0 for some replica."""
    return bool(number.any()) if isinstance(number, Tensor) else number != 0


def descended(
    values: list[Tensor], grads: list[Tensor], group: dict[str, Any], decoupled: bool = False
) -> list[Tensor]:
    """Return the gradients to descend along, g ← ±g + λθ; with decoupled decay ±g, after θ ← (1 − ηλ) θ."""
    decay = group.get("weight_decay", 0)
    if group.get("maximize"):
        grads = list(torch._foreach_neg(grads))
    if decoupled and anything(decay):
        scale_(values, 1 - group["lr"] * decay)
    elif anything(decay):
        decayed = scaled(values, decay)
        torch._foreach_add_(decayed, grads)
        return decayed
    return grads


def scaled(tensors: Sequence[Tensor], factor: float | Tensor) -> list[Tensor]:
    """Return factor · t for each tensor; R factors scale the R leading slices."""
    return back(torch._foreach_mul(list(tensors), each(factor, tensors)), tensors)


def scale_(tensors: list[Tensor], factor: float | Tensor) -> None:
    """Multiply each tensor by a factor in place; R factors scale the R leading slices."""
    torch._foreach_mul_(tensors, each(factor, tensors))


def shift_(tensors: list[Tensor], number: float | Tensor) -> None:
    """Add a number to each tensor in place, or R numbers to the R leading slices."""
    torch._foreach_add_(tensors, each(number, tensors))


def shifted(tensors: list[Tensor], number: float | Tensor) -> list[Tensor]:
    """Return t + a number for each tensor; R numbers go to the R leading slices."""
    return back(torch._foreach_add(tensors, each(number, tensors)), tensors)


def add_scaled_(targets: list[Tensor], tensors: Sequence[Tensor], factor: float | Tensor) -> None:
    """Add factor · t to each target in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        torch._foreach_addcmul_(targets, list(tensors), each(factor, tensors))
    else:
        torch._foreach_add_(targets, list(tensors), alpha=factor)


def add_quotient_(targets: list[Tensor], tops: list[Tensor], bottoms: list[Tensor], factor: float | Tensor) -> None:
    """Add factor · top / bottom to each target in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        tops, factor = scaled(tops, factor), 1
    torch._foreach_addcdiv_(targets, tops, bottoms, factor)


def roots(squares: list[Tensor], eps: float | Tensor) -> list[Tensor]:
    """Return √v + ε for each tensor of squares v; R numbers ε go to the R leading slices."""
    sizes = list(torch._foreach_sqrt(squares))
    shift_(sizes, eps)
    return sizes


def average_(averages: list[Tensor], tensors: list[Tensor], beta: float | Tensor) -> None:
    """Move each average in place: a ← βa + (1 − β) t."""
    weight = back(each(1 - beta, tensors), tensors) if isinstance(beta, Tensor) else 1 - beta
    torch._foreach_lerp_(averages, tensors, weight)


def average_squares_(averages: list[Tensor], tensors: list[Tensor], beta: float | Tensor) -> None:
    """Move each average in place: a ← βa + (1 − β) t²."""
    scale_(averages, beta)
    if isinstance(beta, Tensor):
        torch._foreach_addcmul_(averages, scaled(tensors, 1 - beta), tensors)
    else:
        torch._foreach_addcmul_(averages, tensors, tensors, 1 - beta)


def wide(number: float | Tensor, like: Tensor) -> Any:
    """One number as it is, R numbers as (R, 1, …) in the dtype of a tensor that leads with R."""
    return back(each(number, [like]), [like])[0] if isinstance(number, Tensor) else number


def limited(number: float | Tensor, low: float = -inf, high: float = inf) -> Any:
    """One number, or each of R, limited from below and above."""
    return number.clamp(low, high) if isinstance(number, Tensor) else min(max(low, number), high)
