"""Addressable randomness: every random number is a function of a seed and a name, not of what was drawn before."""

from __future__ import annotations

import hashlib
import operator
from typing import Any

import torch

from handgrad.errors import ArgumentError


def whole(seed: Any) -> int:
    """A seed, a whole number of any kind, also NumPy's or a tensor, as Python's; ArgumentError for another.

    Example:
        >>> import torch
        >>> whole(torch.tensor(3))
        3
    """
    try:
        return operator.index(seed)
    except (TypeError, ValueError):
        remedy = "Pass an integer."
        raise ArgumentError("a seed that is a whole number", repr(seed), remedy, "handgrad.seeds.derive") from None


def derive(seed: int, *address: str | int) -> int:
    """Return the seed of a stream, such as derive(7, "order", epoch): 63 bits of a hash of seed and address.

    Streams of other addresses are independent, and none depends on how much another has been used.

    Example:
        >>> derive(0, "order", 3) == derive(0, "order", 3), derive(0, "order", 3) == derive(1, "order", 3)
        (True, False)
    """
    text = "/".join(map(str, (whole(seed), *address)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *address: str | int) -> torch.Generator:
    """Return a fresh CPU generator of the stream with this address."""
    return torch.Generator().manual_seed(derive(seed, *address))
