"""Numbers as tensors: an operation with a Python number makes a tensor of it first, which costs more than the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

Number = float | Sequence[float] | Tensor
"""A hyper-parameter: one number, or R numbers, one for each replica."""

SINGLE = torch.zeros((), dtype=torch.float32)


@lru_cache(maxsize=4096)
def _made(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=device)


def constant(value: float, like: Tensor) -> Tensor:
    """Return `value` as a tensor of no dimensions with the dtype and device of `like`, the same one each time.

    A product with it takes half as long as with the number itself, at the sizes of a channel's statistics.

    Example:
        >>> import torch
        >>> constant(0.5, torch.ones(3))
        tensor(0.5000)
    """
    return _made(value, like.dtype, like.device)


def above(x: Tensor, bound: float, out: Tensor | None = None) -> Tensor:
    """Return [x > bound] as numbers, 1 or 0: they multiply many times faster than booleans select.

    Example:
        >>> import torch
        >>> above(torch.tensor([-1.0, 0.0, 2.0]), 0)
        tensor([0., 0., 1.])
    """
    return torch.gt(x, constant(bound, x), out=torch.empty_like(x) if out is None else out)


def widened(x: Tensor) -> Tensor:
    """Return float16 as float32, in whose range sums, squares and exponentials are; what is not float16 as it is."""
    return x.float() if x.dtype is torch.float16 else x


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x in this dtype; `x.to` costs most of a microsecond also where there is nothing to do."""
    return x if x.dtype is dtype else x.to(dtype)


def each(number: float | Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return a number as a tensor for each of several; R numbers as (R, 1, …), in their dtype and on their device.

    So one call of PyTorch serves all tensors. For halves they have the digits of float32: in bfloat16 0.999 is 1. What
    changes a half in place leaves it one; other results are to be brought `back`.

    Example:
        >>> import torch
        >>> each(torch.tensor([1.0, 2.0]), [torch.ones(2, 3)])
        [tensor([[1.],
                [2.]])]
    """
    if not isinstance(number, Tensor):
        return [constant(number, t if t.element_size() > 2 else SINGLE) for t in tensors]
    kinds = [(t.ndim, t.dtype, t.device) for t in tensors]
    made = {
        (ndim, dtype, device): spread(number.to(device, torch.promote_types(dtype, SINGLE.dtype)), t)
        for (ndim, dtype, device), t in dict(zip(kinds, tensors)).items()
    }
    return [made[kind] for kind in kinds]


def clip_(tensors: list[Tensor], low: float | Tensor, high: float | Tensor) -> None:
    """Limit each tensor from below and above in place, with one number or R for each bound."""
    torch._foreach_clamp_min_(tensors, each(low, tensors))
    torch._foreach_clamp_max_(tensors, each(high, tensors))


def back(results: Iterable[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return results in the dtype of the tensors that they were made from."""
    if all(t.element_size() > 2 for t in tensors):
        return list(results)
    return [result.to(t.dtype) for result, t in zip(results, tensors)]


def spread(values: Tensor, like: Tensor) -> Tensor:
    """View R values as (R, 1, …), to go with a tensor that leads with R; a single one stays as it is."""
    return values.view(-1, *[1] * (like.ndim - 1)) if values.ndim else values
