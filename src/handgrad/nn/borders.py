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
def border(mode: str, positions: range, n: int, device: torch.device) -> Tensor:
    """Which of n numbers stand at some positions, as indices.

    Example:
        >>> import torch
        >>> border("reflect", range(-2, 5), 3, torch.device("cpu"))
        tensor([2, 1, 0, 1, 2, 1, 0])
    """
    return BORDERS[mode](torch.arange(len(positions), device=device) + positions.start, n)


def framed(x: Tensor, mode: str, dim: int, before: int, after: int) -> Tensor:
    """Put borders of so many of x's own numbers before and after it along a dimension.

    Example:
        >>> framed(torch.tensor([1, 2, 3]), "circular", 0, 1, 2)
        tensor([3, 1, 2, 3, 1, 2])
    """
    n = x.shape[dim]
    first, last = (border(mode, places, n, x.device) for places in (range(-before, 0), range(n, n + after)))
    return torch.cat([x.index_select(dim, first), x, x.index_select(dim, last)], dim)


def backward_framed(dy: Tensor, mode: str, dim: int, before: int, after: int) -> Tensor:
    """The gradient by `framed`'s x: each number's, summed over where a border repeats it."""
    n = dy.shape[dim] - before - after
    first, last = (border(mode, places, n, dy.device) for places in (range(-before, 0), range(n, n + after)))
    d_first, d_inner, d_last = torch.split(dy, [before, n, after], dim)
    return d_inner.clone().index_add_(dim, first, d_first).index_add_(dim, last, d_last)
