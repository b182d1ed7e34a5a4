"""Addressable randomness: every random number is a function of a seed and a name, not of what was drawn before."""

from __future__ import annotations

import hashlib
import operator

import torch

from handgrad.errors import ArgumentError


def derive(seed: int, *address: str | int) -> int:
    """Return the seed of a stream, such as derive(7, "order", epoch): 63 bits of a hash of seed and address.

    A seed is a whole number of any kind, also NumPy's or a tensor; ArgumentError for another.
    Streams of other addresses are independent, and none depends on how much another has been used.

    Example:
        >>> derive(0, "order", 3) == derive(0, "order", 3), derive(0, "order", 3) == derive(1, "order", 3)
        (True, False)
    """
    try:
        number = operator.index(seed)
    except (TypeError, ValueError):
        remedy = "Pass an integer."
        raise ArgumentError("a seed that is a whole number", repr(seed), remedy, "handgrad.seeds.derive") from None
    text = "/".join(map(str, (number, *address)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *address: str | int) -> torch.Generator:
    """Return a fresh CPU generator of the stream with this address."""
    return torch.Generator().manual_seed(derive(seed, *address))
