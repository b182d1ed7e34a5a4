"""Normalisation."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, Bad, Case, Shape


def _norm(x: Any, **options: Any) -> Any:
    return nn.BatchNorm1d(3, **options)(x)


SIGNALS: tuple[Shape, ...] = ((4, 3), (4, 3, 5), (1, 3, 2))

CASES: list[Case] = [
    Case("BatchNorm1d", lambda n: n.BatchNorm1d(3), SIGNALS),
    Case("BatchNorm1d-eps", lambda n: n.BatchNorm1d(3, 1e-2, 0.7), SIGNALS),
    Case("BatchNorm1d-average", lambda n: n.BatchNorm1d(3, momentum=None), SIGNALS),
    Case("BatchNorm1d-plain", lambda n: n.BatchNorm1d(3, affine=False), SIGNALS),
    Case("BatchNorm1d-no-bias", lambda n: n.BatchNorm1d(3, bias=False), SIGNALS),
    Case("BatchNorm1d-untracked", lambda n: n.BatchNorm1d(3, track_running_stats=False), SIGNALS),
    Case("BatchNorm1d-bare", lambda n: n.BatchNorm1d(3, affine=False, track_running_stats=False), SIGNALS),
]

BAD_INPUTS: list[Bad] = [
    Bad("BatchNorm1d-channels", lambda: _norm(torch.zeros(4, 5)), ShapeError, r"\(N, 3\).*\(4, 5\)"),
    Bad("BatchNorm1d-vector", lambda: _norm(torch.zeros(3)), ShapeError, r"\(N, 3\)"),
    Bad("BatchNorm1d-images", lambda: _norm(torch.zeros(2, 3, 4, 4)), ShapeError, r"\(N, 3\) or \(N, 3, L\)"),
    Bad("BatchNorm1d-one-row", lambda: _norm(torch.zeros(1, 3)), ShapeError, r"at least 2 values"),
    Bad("BatchNorm1d-empty", lambda: _norm(torch.zeros(0, 3)), ShapeError, r"at least 2 values"),
    Bad(
        "BatchNorm1d-one-row-untracked-eval",
        lambda: nn.BatchNorm1d(3, track_running_stats=False).eval()(torch.zeros(1, 3)),
        ShapeError,
        r"at least 2 values",
    ),
    Bad("BatchNorm1d-float64", lambda: _norm(torch.zeros(4, 3, dtype=F64)), DTypeError, r"got float64"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("BatchNorm1d-0", lambda: nn.BatchNorm1d(0), ArgumentError, r"num_features"),
    Bad("BatchNorm1d-eps", lambda: nn.BatchNorm1d(3, eps=-1.0), ArgumentError, r"eps of at least 0"),
    Bad("BatchNorm1d-momentum", lambda: nn.BatchNorm1d(3, momentum=-0.1), ArgumentError, r"momentum of at least 0"),
]
