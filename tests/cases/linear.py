"""Linear maps: Linear, Bilinear, Identity, Embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, INT, Bad, Case, Shape, indices

PAIRS: tuple[Any, ...] = (((4, 3), (4, 4)), ((2, 5, 3), (2, 5, 4)), ((0, 3), (0, 4)))
INDICES: tuple[Shape, ...] = ((9,), (4, 5), (2, 3, 4), (), (0, 3))
WORDS = (indices(6),)
TABLE = torch.arange(12.0).view(4, 3)


def words(shape: Shape) -> Tensor:
    return torch.randint(6, shape)


def _bilinear(*inputs: Any, replicas: int | None = None) -> Any:
    return nn.Bilinear(3, 4, 2, replicas=replicas)(*inputs)


def _linear(x: Any) -> Any:
    return nn.Linear(3, 2)(x)


def _tied(n: Any, words: int) -> Any:
    """A language model's embedding and head, which share a weight."""
    model = n.Sequential(n.Embedding(words, 3), n.Tanh(), n.Linear(3, words, bias=False))
    model[2].weight = model[0].weight
    return model


CASES: list[Case] = [
    Case("Linear", lambda n: n.Linear(3, 2), ((4, 3), (1, 3), (3,), (2, 5, 3), (2, 1, 4, 3))),
    Case("Linear-float64", lambda n: n.Linear(3, 2, dtype=torch.float64, device="cpu"), ((4, 3),)),
    Case("Linear-no-bias", lambda n: n.Linear(3, 2, bias=False), ((4, 3), (3,), (2, 5, 3))),
    Case("Linear-one-feature", lambda n: n.Linear(1, 1), ((4, 1),)),
    Case("Bilinear", lambda n: n.Bilinear(3, 4, 2), (*PAIRS, ((3,), (4,)))),
    Case("Bilinear-no-bias", lambda n: n.Bilinear(3, 4, 2, bias=False), PAIRS),
    Case("Bilinear-float64", lambda n: n.Bilinear(1, 2, 1, dtype=F64, device="cpu"), (((4, 1), (4, 2)),)),
    Case("Identity", lambda n: n.Identity(), ((4, 3), (7,), (2, 3, 4, 2), (0, 3))),
    Case("Identity-anything", lambda n: n.Identity(54, unused=True), ((4, 3),)),
    Case("Embedding", lambda n: n.Embedding(6, 3), INDICES, draws=WORDS, rank=1),
    Case("Embedding-padding", lambda n: n.Embedding(7, 3, padding_idx=-1), INDICES, draws=WORDS, rank=1),
    Case("Embedding-int32", lambda n: n.Embedding(6, 3), INDICES, draws=(lambda s, _: words(s).int(),), rank=1),
    Case("Embedding-float64", lambda n: n.Embedding(6, 1, dtype=F64, device="cpu"), INDICES, draws=WORDS, rank=1),
    Case("Embedding-given", lambda n: n.Embedding(4, 3, _weight=TABLE), INDICES, draws=(indices(4),), rank=1),
    Case("Sequential-tied", lambda n: _tied(n, 6), INDICES, draws=WORDS, rank=1),
    Case("Sequential-tied-square", lambda n: _tied(n, 3), INDICES, draws=(indices(3),), rank=1),
]

BAD_INPUTS: list[Bad] = [
    Bad("Linear-features", lambda: _linear(torch.zeros(4, 5)), ShapeError, r"Linear 3→2: .*\(…, 3\).*\(4, 5\)"),
    Bad("Linear-scalar", lambda: _linear(torch.tensor(1.0)), ShapeError, r"\(…, 3\)"),
    Bad("Linear-float64", lambda: _linear(torch.zeros(4, 3, dtype=F64)), DTypeError, r"float32.*got float64"),
    Bad("Linear-integers", lambda: _linear(torch.zeros(4, 3, dtype=INT)), DTypeError, r"got int64"),
    Bad("Linear-list", lambda: _linear([[1.0, 2.0, 3.0]]), DTypeError, r"torch.Tensor.*got list"),
    Bad(
        "Bilinear-first", lambda: _bilinear(torch.zeros(5, 4), torch.zeros(5, 4)), ShapeError, r"first input.*\(…, 3\)"
    ),
    Bad("Bilinear-second", lambda: _bilinear(torch.zeros(5, 3), torch.zeros(5, 3)), ShapeError, r"second.*\(…, 4\)"),
    Bad("Bilinear-rows", lambda: _bilinear(torch.zeros(5, 3), torch.zeros(4, 4)), ShapeError, r"\(5, 4\).*\(4, 4\)"),
    Bad("Bilinear-scalar", lambda: _bilinear(torch.zeros(()), torch.zeros(4, 4)), ShapeError, r"\(…, 3\)"),
    Bad("Bilinear-integers", lambda: _bilinear(torch.zeros(5, 3), torch.zeros(5, 4).long()), DTypeError, r"got int64"),
    Bad(
        "Bilinear-replicas", lambda: _bilinear(torch.zeros(5, 3), torch.zeros(5), replicas=3), ShapeError, r"leading 3"
    ),
    Bad("Identity-number", lambda: nn.Identity()(1.0), DTypeError, r"Identity: .*got float"),
    Bad("Embedding-floats", lambda: nn.Embedding(6, 3)(torch.zeros(2)), DTypeError, r"int64 or int32, got float32"),
    Bad("Embedding-list", lambda: nn.Embedding(6, 3)([1, 2]), DTypeError, r"Embedding 6→3: .*got list"),
    Bad("Embedding-replicas", lambda: nn.Embedding(6, 3, replicas=3)(words((4, 5))), ShapeError, r"leading 3"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("Linear-0", lambda: nn.Linear(0, 2), ArgumentError, r"in_features to be a positive integer, got 0"),
    Bad("Linear-float", lambda: nn.Linear(3, 2.0), ArgumentError, r"out_features"),  # type: ignore[arg-type]
    Bad("Linear-init", lambda: nn.Linear(3, 2, init="he"), ArgumentError, r"kaiming_normal.*got 'he'"),
    Bad("Linear-replicas", lambda: nn.Linear(3, 2, replicas=0), ArgumentError, r"replicas"),
    Bad("Bilinear-in1", lambda: nn.Bilinear(0, 2, 2), ArgumentError, r"in1_features"),
    Bad("Bilinear-in2", lambda: nn.Bilinear(2, 0, 2), ArgumentError, r"in2_features"),
    Bad("Bilinear-out", lambda: nn.Bilinear(2, 2, 0), ArgumentError, r"out_features"),
    Bad("Embedding-0", lambda: nn.Embedding(0, 2), ArgumentError, r"num_embeddings"),
    Bad("Embedding-dim", lambda: nn.Embedding(2, 0), ArgumentError, r"embedding_dim"),
    Bad("Embedding-padding-beyond", lambda: nn.Embedding(6, 3, 6), ArgumentError, r"padding_idx from -6 to 5, got 6"),
    Bad("Embedding-max", lambda: nn.Embedding(6, 3, max_norm=1.0), NotImplementedError, r"max_norm"),
    Bad("Embedding-freq", lambda: nn.Embedding(6, 3, scale_grad_by_freq=True), NotImplementedError, r"scale_grad_by"),
    Bad("Embedding-sparse", lambda: nn.Embedding(6, 3, sparse=True), NotImplementedError, r"sparse"),
    Bad("Embedding-weight", lambda: nn.Embedding(6, 3, _weight=TABLE), ShapeError, r"\(6, 3\), got \(4, 3\)"),
    Bad("Embedding-rows", lambda: nn.Embedding.from_pretrained(torch.zeros(3)), ShapeError, r"\(V, E\), got \(3,\)"),
]
