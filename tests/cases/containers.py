"""Containers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch

from handgrad import nn
from handgrad.errors import DTypeError
from tests.cases.base import Bad, Case, Shape


def _named(n: Any) -> Any:
    return n.Sequential(OrderedDict(first=n.Linear(3, 4), act=n.Tanh(), norm=n.BatchNorm1d(4)))


def _nested(n: Any) -> Any:
    return n.Sequential(
        n.Linear(3, 5),
        n.Sequential(n.ReLU(), n.Sequential(n.BatchNorm1d(5)), n.Linear(5, 4, bias=False)),
        n.Tanh(),
    )


VECTORS: tuple[Shape, ...] = ((5, 3), (9, 3))

CASES: list[Case] = [
    Case("Sequential", lambda n: n.Sequential(n.Linear(3, 4), n.ReLU(), n.BatchNorm1d(4), n.Linear(4, 2)), VECTORS),
    Case("Sequential-activation-first", lambda n: n.Sequential(n.ReLU(), n.Linear(3, 2)), VECTORS),
    Case("Sequential-norm-first", lambda n: n.Sequential(n.BatchNorm1d(3), n.Tanh(), n.Linear(3, 2)), VECTORS),
    Case("Sequential-parameter-free", lambda n: n.Sequential(n.Tanh(), n.ReLU()), VECTORS),
    Case("Sequential-named", _named, VECTORS),
    Case("Sequential-nested", _nested, VECTORS),
]

BAD_INPUTS: list[Bad] = [
    Bad("Sequential-list", lambda: nn.Sequential(nn.Linear(3, 2))([1.0]), DTypeError, r"got list"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("Sequential-torch", lambda: nn.Sequential(torch.nn.Tanh()), DTypeError, r"got torch\.nn"),  # type: ignore[arg-type]
    Bad("Sequential-class", lambda: nn.Sequential(nn.ReLU), DTypeError, r"handgrad module"),  # type: ignore[arg-type]
    Bad("Sequential-list", lambda: nn.Sequential([nn.ReLU()]), DTypeError, r"got builtins\.list"),  # type: ignore[arg-type]
]
