"""Takers: what functions and classes take of a grid's hyper-parameters."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from handgrad import nn


def taken_by(function: Any) -> set[str]:
    """The names that a grid may give to a function or class; none for a network or a loss that exists already."""
    if isinstance(function, nn.Module):
        return set()
    fixed = set(function.keywords) if isinstance(function, partial) else set()
    return set(inspect.signature(function).parameters) - {"params", "replicas"} - fixed


def class_of(function: Any) -> type[Any] | None:
    """The class behind it, or None for a function."""
    made = function.func if isinstance(function, partial) else function
    return made if isinstance(made, type) else None


def named(function: Any) -> str:
    """Its name, or what it prints."""
    return str(getattr(function, "__name__", repr(function)))


def is_number(value: Any) -> bool:
    """Whether a value may differ between the replicas of one program."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
