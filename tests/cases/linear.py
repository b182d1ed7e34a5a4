"""Linear maps: Linear, Bilinear, Identity, Embedding."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, INT, Bad, Case


def _linear(x: Any) -> Any:
    return nn.Linear(3, 2)(x)


CASES: list[Case] = [
    Case("Linear", lambda n: n.Linear(3, 2), ((4, 3), (1, 3), (3,), (2, 5, 3), (2, 1, 4, 3))),
    Case("Linear-float64", lambda n: n.Linear(3, 2, dtype=torch.float64, device="cpu"), ((4, 3),)),
    Case("Linear-no-bias", lambda n: n.Linear(3, 2, bias=False), ((4, 3), (3,), (2, 5, 3))),
    Case("Linear-one-feature", lambda n: n.Linear(1, 1), ((4, 1),)),
]

BAD_INPUTS: list[Bad] = [
    Bad("Linear-features", lambda: _linear(torch.zeros(4, 5)), ShapeError, r"Linear 3→2: .*\(…, 3\).*\(4, 5\)"),
    Bad("Linear-scalar", lambda: _linear(torch.tensor(1.0)), ShapeError, r"\(…, 3\)"),
    Bad("Linear-float64", lambda: _linear(torch.zeros(4, 3, dtype=F64)), DTypeError, r"float32.*got float64"),
    Bad("Linear-integers", lambda: _linear(torch.zeros(4, 3, dtype=INT)), DTypeError, r"got int64"),
    Bad("Linear-list", lambda: _linear([[1.0, 2.0, 3.0]]), DTypeError, r"torch.Tensor.*got list"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("Linear-0", lambda: nn.Linear(0, 2), ArgumentError, r"in_features to be a positive integer, got 0"),
    Bad("Linear-float", lambda: nn.Linear(3, 2.0), ArgumentError, r"out_features"),  # type: ignore[arg-type]
    Bad("Linear-init", lambda: nn.Linear(3, 2, init="he"), ArgumentError, r"kaiming_normal.*got 'he'"),
    Bad("Linear-replicas", lambda: nn.Linear(3, 2, replicas=0), ArgumentError, r"replicas"),
]
