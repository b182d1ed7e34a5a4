"""RNN, GRU, LSTM and their cells."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, INT, Bad, Case


class First(torch.nn.Module):
    """The first output of a module, as PyTorch users write it."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)[0]


def _layers(name: str, cell: bool) -> list[Case]:
    """The rows of one layer, I = 3 and H = 2, with a state that is h, or (h, c) where there is a cell's."""

    def state(*shape: int) -> Any:
        return (shape, shape) if cell else shape

    def build(**options: Any) -> Any:
        return lambda n: getattr(n, name)(3, 2, **options)

    both, deep = {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}
    rows: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
        ("", {}, ((4, 5, 3), (1, 2, 3), (6, 1, 3), (4, 0, 3), (4, 3))),
        ("-state", {}, (((4, 5, 3), state(1, 5, 2)), ((1, 1, 3), state(1, 1, 2)), ((4, 3), state(1, 2)))),
        ("-no-bias", {"bias": False}, ((3, 4, 3), ((3, 4, 3), state(1, 4, 2)))),
        ("-batch-first", {"batch_first": True}, ((5, 4, 3), ((5, 4, 3), state(1, 5, 2)), (4, 3))),
        ("-layers", {"num_layers": 3}, ((3, 4, 3), ((3, 4, 3), state(3, 4, 2)))),
        ("-bidirectional", both, ((3, 4, 3), (1, 4, 3), ((3, 4, 3), state(2, 4, 2)), ((4, 3), state(2, 2)))),
        ("-deep", deep, ((3, 4, 3), (2, 1, 3), ((3, 4, 3), state(4, 4, 2)), (4, 3))),
        (
            "-deep-all",
            {**deep, "bias": False, "batch_first": True, "dtype": F64, "device": "cpu"},
            ((5, 3, 3), ((5, 3, 3), state(4, 5, 2))),
        ),
        ("-dropout", {"num_layers": 3, "dropout": 0.4}, ((3, 4, 3), ((3, 4, 3), state(3, 4, 2)), (4, 3))),
        ("-dropout-deep", {**deep, "dropout": 0.4, "batch_first": True}, ((4, 3, 3), ((4, 3, 3), state(4, 4, 2)))),
        ("-dropout-1", {"num_layers": 2, "dropout": 1.0}, ((3, 4, 3),)),
    ]
    return [Case(name + suffix, build(**options), shapes, rank=3) for suffix, options, shapes in rows]


def _cells(name: str, cell: bool) -> list[Case]:
    def state(*shape: int) -> Any:
        return (shape, shape) if cell else shape

    shapes: tuple[Any, ...] = ((4, 3), ((4, 3), state(4, 2)), ((1, 3), state(1, 2)), (0, 3), (3,), ((3,), state(2)))
    return [
        Case(name, lambda n: getattr(n, name)(3, 2), shapes),
        Case(f"{name}-no-bias", lambda n: getattr(n, name)(3, 2, bias=False), (((4, 3), state(4, 2)), (4, 3))),
    ]


CASES: list[Case] = [
    *_layers("RNN", False),
    Case(
        "RNN-relu",
        lambda n: n.RNN(3, 2, 2, "relu", bidirectional=True),
        ((3, 4, 3), ((3, 4, 3), (4, 4, 2))),
        rank=3,
        rough=1e-3,
    ),
    *_layers("GRU", False),
    *_layers("LSTM", True),
    *_cells("RNNCell", False),
    Case("RNNCell-relu", lambda n: n.RNNCell(3, 2, nonlinearity="relu"), ((4, 3), ((4, 3), (4, 2)))),
    *_cells("GRUCell", False),
    *_cells("LSTMCell", True),
    Case("First", lambda n: n.First(n.LSTM(3, 2)), ((4, 5, 3),), peer=lambda: First(torch.nn.LSTM(3, 2)), rank=3),
    Case(
        "First-state",
        lambda n: n.First(n.GRU(3, 2, batch_first=True)),
        (((5, 4, 3), (1, 5, 2)),),
        peer=lambda: First(torch.nn.GRU(3, 2, batch_first=True)),
        rank=3,
    ),
    Case(
        "First-in-Sequential",
        lambda n: n.Sequential(n.First(n.LSTM(3, 4)), n.Tanh(), n.First(n.GRU(4, 2)), n.Linear(2, 3)),
        ((4, 5, 3),),
        peer=lambda: torch.nn.Sequential(
            First(torch.nn.LSTM(3, 4)), torch.nn.Tanh(), First(torch.nn.GRU(4, 2)), torch.nn.Linear(2, 3)
        ),
        rank=3,
    ),
]

BAD_INPUTS: list[Bad] = []

BAD_OPTIONS: list[Bad] = []
