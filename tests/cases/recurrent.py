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

    deep = {"num_layers": 2, "bidirectional": True}
    all_of_them = {**deep, "bias": False, "batch_first": True, "dtype": F64, "device": "cpu"}
    rows: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
        ("", {}, ((4, 5, 3), (1, 1, 3), (4, 3))),
        ("-state", {}, (((3, 4, 3), state(1, 4, 2)), ((1, 1, 3), state(1, 1, 2)), ((4, 3), state(1, 2)))),
        ("-batch-first", {"batch_first": True}, ((5, 4, 3), ((5, 4, 3), state(1, 5, 2)), (4, 3))),
        ("-deep", deep, ((3, 4, 3), ((3, 4, 3), state(4, 4, 2)), ((2, 3), state(4, 2)))),
        ("-deep-state", all_of_them, (((5, 3, 3), state(4, 5, 2)), (5, 1, 3))),
        ("-dropout", {**deep, "dropout": 0.4, "batch_first": True}, ((4, 3, 3), ((4, 3, 3), state(4, 4, 2)), (4, 3))),
    ]
    return [Case(name + suffix, build(**options), shapes, rank=3) for suffix, options, shapes in rows]


def _cells(name: str, cell: bool) -> list[Case]:
    def state(*shape: int) -> Any:
        return (shape, shape) if cell else shape

    shapes: tuple[Any, ...] = ((4, 3), ((4, 3), state(4, 2)), ((1, 3), state(1, 2)), (3,), ((3,), state(2)))
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
    Case("RNN-dropout-1", lambda n: n.RNN(3, 2, num_layers=2, dropout=1.0), ((3, 4, 3),), rank=3),
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


def _lstm(*inputs: Any, **options: Any) -> Any:
    return nn.LSTM(3, 2, **options)(*inputs)


def _packed() -> Any:
    return torch.nn.utils.rnn.pack_sequence([torch.zeros(4, 3), torch.zeros(2, 3)])


X, H = torch.zeros(4, 5, 3), torch.zeros(1, 5, 2)

BAD_INPUTS: list[Bad] = [
    Bad("LSTM-features", lambda: _lstm(torch.zeros(4, 5, 2)), ShapeError, r"LSTM 3→2: .*\(T, N, 3\) or \(T, 3\)"),
    Bad("LSTM-rank", lambda: _lstm(torch.zeros(3)), ShapeError, r"\(T, N, 3\) or \(T, 3\), got \(3,\)"),
    Bad("LSTM-batch-first", lambda: _lstm(torch.zeros(3), batch_first=True), ShapeError, r"\(N, T, 3\) or \(T, 3\)"),
    Bad("LSTM-replicas", lambda: _lstm(torch.zeros(2, 4, 5, 3, 3), replicas=2), ShapeError, r"\(R, T, N, 3\)"),
    Bad("LSTM-other-replicas", lambda: _lstm(torch.zeros(3, 4, 5, 3), replicas=2), ShapeError, r"leading 2"),
    Bad("LSTM-unbatched-replicas", lambda: _lstm(torch.zeros(4, 3), replicas=2), ShapeError, r"leading 2"),
    Bad("LSTM-no-steps", lambda: _lstm(torch.zeros(0, 5, 3)), ShapeError, r"at least one step"),
    Bad("LSTM-float64", lambda: _lstm(X.double()), DTypeError, r"float32.*got float64"),
    Bad("LSTM-integers", lambda: _lstm(torch.zeros(4, 5, 3, dtype=INT)), DTypeError, r"got int64"),
    Bad("LSTM-packed", lambda: _lstm(_packed()), DTypeError, r"PackedSequence.*pad_packed_sequence"),
    Bad("LSTM-state-alone", lambda: _lstm(X, H), DTypeError, r"two tensors, \(h, c\), got Tensor"),
    Bad("LSTM-state-of-one", lambda: _lstm(X, (H,)), DTypeError, r"two tensors, \(h, c\), got 1"),
    Bad("LSTM-state-batch", lambda: _lstm(X, (H, H[:, :4])), ShapeError, r"\(1, 5, 2\), got \(1, 4, 2\)"),
    Bad("LSTM-state-float64", lambda: _lstm(X, (H, H.double())), DTypeError, r"state of dtype float32.*got float64"),
    Bad("GRU-state-pair", lambda: nn.GRU(3, 2)(X, (H, H)), DTypeError, r"state to be a torch.Tensor, got tuple"),
    Bad("RNN-state-unbatched", lambda: nn.RNN(3, 2)(X, H[:, 0]), ShapeError, r"\(1, 5, 2\), got \(1, 2\)"),
    Bad("RNNCell-features", lambda: nn.RNNCell(3, 2)(X[0, :, :2]), ShapeError, r"\(N, 3\) or \(3\), got \(5, 2\)"),
    Bad("RNNCell-rank", lambda: nn.RNNCell(3, 2)(X), ShapeError, r"\(N, 3\) or \(3\), got \(4, 5, 3\)"),
    Bad("GRUCell-state", lambda: nn.GRUCell(3, 2)(X[0], H), ShapeError, r"\(5, 2\), got \(1, 5, 2\)"),
    Bad("LSTMCell-state", lambda: nn.LSTMCell(3, 2)(X[0], H[0]), DTypeError, r"two tensors"),
    Bad("First", lambda: nn.Sequential(nn.First(nn.GRU(2, 2)))(X), ShapeError, r"^model\.0\.module \(GRU 2→2\): "),
]

BAD_OPTIONS: list[Bad] = [
    Bad("LSTM-input-0", lambda: nn.LSTM(0, 2), ArgumentError, r"input_size to be a positive integer, got 0"),
    Bad("GRU-hidden-0", lambda: nn.GRU(3, 0), ArgumentError, r"hidden_size"),
    Bad("RNN-layers-0", lambda: nn.RNN(3, 2, 0), ArgumentError, r"num_layers"),
    Bad("RNN-nonlinearity", lambda: nn.RNN(3, 2, 1, "sigmoid"), ArgumentError, r"'tanh', 'relu', got 'sigmoid'"),
    Bad("RNNCell-nonlinearity", lambda: nn.RNNCell(3, 2, True, "elu"), ArgumentError, r"nonlinearity"),
    Bad("GRU-dropout", lambda: nn.GRU(3, 2, 2, dropout=1.5), ArgumentError, r"dropout between 0 and 1, got 1.5"),
    Bad("GRU-dropout-negative", lambda: nn.GRU(3, 2, 2, dropout=-0.1), ArgumentError, r"dropout"),
    Bad("GRU-dropout-bool", lambda: nn.GRU(3, 2, 2, dropout=True), ArgumentError, r"dropout between 0 and 1"),
    Bad("LSTM-proj_size", lambda: nn.LSTM(3, 2, proj_size=1), NotImplementedError, r"proj_size=1"),
    Bad("LSTMCell-replicas", lambda: nn.LSTMCell(3, 2, replicas=0), ArgumentError, r"replicas"),
    Bad("First-torch", lambda: nn.First(torch.nn.LSTM(3, 2)), DTypeError, r"handgrad module"),  # type: ignore[arg-type]
]
