"""Losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, Bad, Case


class BatchMeanMSE(torch.nn.Module):
    """The report's equation 5."""

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        return ((y - t) ** 2).sum() / len(y)


def _mse(y: Any, t: Any, **options: Any) -> Any:
    return nn.MSELoss(**options)(y, t)


CASES: list[Case] = [
    Case("MSELoss", lambda n: n.MSELoss(), ((4, 3), (4,), (2, 3, 2), (1, 1)), loss=True),
    Case(
        "MSELoss-sum",
        lambda n: n.MSELoss(reduction="sum"),
        ((4, 3), (4,)),
        loss=True,
        repr="MSELoss(reduction='sum')",
    ),
    Case(
        "MSELoss-none",
        lambda n: n.MSELoss(reduction="none"),
        ((4, 3), (4,)),
        loss=True,
        repr="MSELoss(reduction='none')",
    ),
    Case(
        "MSELoss-batchmean",
        lambda n: n.MSELoss(reduction="batchmean"),
        ((4, 3), (4,)),
        peer=BatchMeanMSE,
        loss=True,
        repr="MSELoss(reduction='batchmean')",
    ),
]

BAD_INPUTS: list[Bad] = [
    Bad("MSELoss-transposed", lambda: _mse(torch.zeros(4, 3), torch.zeros(3, 4)), ShapeError, r"\(4, 3\).*\(3, 4\)"),
    Bad("MSELoss-column", lambda: _mse(torch.zeros(4, 1), torch.zeros(4)), ShapeError, r"targets\.unsqueeze\(-1\)"),
    Bad("MSELoss-row", lambda: _mse(torch.zeros(4), torch.zeros(4, 1)), ShapeError, r"targets\.squeeze\(-1\)"),
    Bad("MSELoss-replicas", lambda: _mse(torch.zeros(5, 4, 1), torch.zeros(4, 1)), ShapeError, r"replicas=5"),
    Bad("MSELoss-empty", lambda: _mse(torch.zeros(0, 3), torch.zeros(0, 3)), ShapeError, r"at least one prediction"),
    Bad("MSELoss-float64", lambda: _mse(torch.zeros(2), torch.zeros(2, dtype=F64)), DTypeError, r"got float64"),
    Bad("MSELoss-integers", lambda: _mse(torch.tensor([1]), torch.tensor([1])), DTypeError, r"got int64"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("MSELoss-reduction", lambda: nn.MSELoss(reduction="avg"), ArgumentError, r"'mean', 'sum'.*got 'avg'"),
    Bad("MSELoss-size", lambda: nn.MSELoss(size_average=True), NotImplementedError, r"reduction"),  # type: ignore[arg-type]
    Bad("MSELoss-reduce", lambda: nn.MSELoss(reduce=False), NotImplementedError, r"reduction"),  # type: ignore[arg-type]
]
