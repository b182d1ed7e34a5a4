"""Arithmetic on all parameters at once, with one number, or R numbers for the R leading slices.

One number runs in one call of PyTorch for all tensors: with small networks the calls are what takes time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Number = float | Sequence[float] | Tensor
"""A hyper-parameter: one number, or R numbers, one for each replica."""


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
    if isinstance(factor, Tensor):
        return [t * spread(factor, t) for t in tensors]
    return list(torch._foreach_mul(list(tensors), factor))


def scale_(tensors: list[Tensor], factor: float | Tensor) -> None:
    """Multiply each tensor by a factor in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        for t in tensors:
            t.mul_(spread(factor, t))
    else:
        torch._foreach_mul_(tensors, factor)


def shift_(tensors: list[Tensor], number: float | Tensor) -> None:
    """Add a number to each tensor in place, or R numbers to the R leading slices."""
    if isinstance(number, Tensor):
        for t in tensors:
            t.add_(spread(number, t))
    else:
        torch._foreach_add_(tensors, number)


def shifted(tensors: list[Tensor], number: float | Tensor) -> list[Tensor]:
    """Return t + a number for each tensor; R numbers go to the R leading slices."""
    if isinstance(number, Tensor):
        return [t + spread(number, t) for t in tensors]
    return list(torch._foreach_add(tensors, number))


def add_scaled_(targets: list[Tensor], tensors: Sequence[Tensor], factor: float | Tensor) -> None:
    """Add factor · t to each target in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        for target, t in zip(targets, tensors):
            target.addcmul_(t, spread(factor, t))
    else:
        torch._foreach_add_(targets, list(tensors), alpha=factor)


def add_quotient_(targets: list[Tensor], tops: list[Tensor], bottoms: list[Tensor], factor: float | Tensor) -> None:
    """Add factor · top / bottom to each target in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        for target, top, bottom in zip(targets, tops, bottoms):
            target.addcdiv_(top * spread(factor, top), bottom)
    else:
        torch._foreach_addcdiv_(targets, tops, bottoms, factor)


def average_(averages: list[Tensor], tensors: list[Tensor], beta: float | Tensor) -> None:
    """Move each average in place: a ← βa + (1 − β) t."""
    if isinstance(beta, Tensor):
        for a, t in zip(averages, tensors):
            a.lerp_(t, spread(1 - beta, t))
    else:
        torch._foreach_lerp_(averages, tensors, 1 - beta)


def average_squares_(averages: list[Tensor], tensors: list[Tensor], beta: float | Tensor) -> None:
    """Move each average in place: a ← βa + (1 − β) t²."""
    scale_(averages, beta)
    if isinstance(beta, Tensor):
        for a, t in zip(averages, tensors):
            a.addcmul_(t * spread(1 - beta, t), t)
    else:
        torch._foreach_addcmul_(averages, tensors, tensors, 1 - beta)


def clip_(tensors: list[Tensor], low: float | Tensor, high: float | Tensor) -> None:
    """Limit each tensor from below and above in place, with one number or R for each bound."""
    for bound, every, one in (
        (low, torch._foreach_clamp_min_, torch.clamp_min_),
        (high, torch._foreach_clamp_max_, torch.clamp_max_),
    ):
        if isinstance(bound, Tensor):
            for t in tensors:
                one(t, spread(bound, t))
        else:
            every(tensors, bound)


def lowest(a: Any, b: Any) -> Any:
    """The lower of two numbers, or of R and one."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.minimum(*(torch.as_tensor(number, dtype=torch.float64) for number in (a, b)))
    return min(a, b)


def highest(a: Any, b: Any) -> Any:
    """The higher of two numbers, or of R and one."""
    return -lowest(-a, -b)


def spread(factor: Tensor, like: Tensor) -> Tensor:
    """View R numbers as (R, 1, …), in the dtype and on the device of `like`."""
    return factor.to(like).view(-1, *[1] * (like.ndim - 1))
