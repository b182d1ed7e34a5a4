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
