"""Borders of a line's own numbers: reflected, replicated, or those of its other end."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

BORDERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": lambda i, n: n - 1 - (n - 1 - i.abs()).abs(),
    "replicate": lambda i, n: i.clamp(0, n - 1),
    "circular": lambda i, n: i % n,
}
"""Which of n numbers stands at position i, before the first and after the last too."""


@lru_cache(maxsize=1024)
def borders(mode: str, before: int, n: int, after: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which of n numbers stand before the first and after the last, as indices.

    Example:
        >>> import torch
        >>> borders("reflect", 2, 3, 1, torch.device("cpu"))
        (tensor([2, 1]), tensor([1]))
    """
    positions = torch.arange(-before, 0, device=device), torch.arange(n, n + after, device=device)
    return BORDERS[mode](positions[0], n), BORDERS[mode](positions[1], n)


def framed(x: Tensor, mode: str, dim: int, before: int, after: int) -> Tensor:
    """Put borders of so many of x's own numbers before and after it along a dimension.

    Example:
        >>> import torch
        >>> framed(torch.tensor([1, 2, 3]), "circular", 0, 1, 2)
        tensor([3, 1, 2, 3, 1, 2])
    """
    first, last = borders(mode, before, x.shape[dim], after, x.device)
    return torch.cat([x.index_select(dim, first), x, x.index_select(dim, last)], dim)


def backward_framed(dy: Tensor, mode: str, dim: int, before: int, after: int) -> Tensor:
    """The gradient by `framed`'s x: each number's, summed over where a border repeats it.

    Example:
        >>> import torch
        >>> backward_framed(torch.tensor([1.0, 2, 3, 4, 5, 6]), "circular", 0, 1, 2)
        tensor([7., 9., 5.])
    """
    n = dy.shape[dim] - before - after
    first, last = borders(mode, before, n, after, dy.device)
    d_first, d_inner, d_last = torch.split(dy, [before, n, after], dim)
    return d_inner.clone().index_add_(dim, first, d_first).index_add_(dim, last, d_last)
