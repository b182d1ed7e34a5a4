"""Elementwise activations, softmaxes and gates."""

from __future__ import annotations

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError
from tests.cases.base import Bad, Case

CASES: list[Case] = [
    Case("ReLU", lambda n: n.ReLU(), ((4, 3), (7,), (2, 3, 4, 2))),
    Case("Tanh", lambda n: n.Tanh(), ((4, 3), (7,), (2, 3, 4, 2))),
]

BAD_INPUTS: list[Bad] = [
    Bad("ReLU-integers", lambda: nn.ReLU()(torch.tensor([1])), DTypeError, r"ReLU: .*floating-point.*got int64"),
    Bad("ReLU-number", lambda: nn.ReLU()(1.0), DTypeError, r"got float"),
    Bad("Tanh-integers", lambda: nn.Tanh()(torch.tensor([1])), DTypeError, r"Tanh: .*floating-point.*got int64"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("ReLU-inplace", lambda: nn.ReLU(inplace=True), NotImplementedError, r"never changes its input"),
    Bad("ReLU-replicas", lambda: nn.ReLU(replicas=-1), ArgumentError, r"replicas"),
]
