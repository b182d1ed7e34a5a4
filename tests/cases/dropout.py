"""Dropout."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import INT, Bad, Case, Shape

ANY: tuple[Shape, ...] = ((6, 5), (7,), (2, 3, 4, 2), (0, 3))
IMAGES: tuple[Shape, ...] = ((4, 3, 2, 5), (1, 7, 3, 2), (0, 3, 2, 2))
CHANNELS: tuple[Shape, ...] = ((6, 5), (4, 3, 5), (2, 3, 4, 2), (0, 3, 2))

CASES: list[Case] = [
    Case("Dropout", lambda n: n.Dropout(), ANY, lone=True),
    Case("Dropout-0.2", lambda n: n.Dropout(0.2), ANY, lone=True),
    Case("Dropout-0", lambda n: n.Dropout(p=0.0), ((6, 5),), lone=True),
    Case("Dropout-1", lambda n: n.Dropout(1), ((6, 5),), lone=True),
    Case("Dropout1d", lambda n: n.Dropout1d(0.3), ((4, 3, 5), (6, 2), (1, 7, 2), (0, 3, 2)), rank=3),
    Case("Dropout2d", lambda n: n.Dropout2d(0.3), IMAGES, rank=4),
    Case("AlphaDropout", lambda n: n.AlphaDropout(), ANY, lone=True),
    Case("AlphaDropout-0.2", lambda n: n.AlphaDropout(0.2), ANY, lone=True),
    Case("AlphaDropout-0", lambda n: n.AlphaDropout(0.0), ((6, 5),), lone=True),
    Case("AlphaDropout-1", lambda n: n.AlphaDropout(1.0), ((6, 5),), lone=True),
    Case("FeatureAlphaDropout", lambda n: n.FeatureAlphaDropout(0.3), CHANNELS, lone=True),
]


def _drop(shape: Shape, **options: Any) -> Any:
    return nn.Dropout(**options)(torch.zeros(shape))


def _joined() -> Any:
    """What was given three numbers later on, for more replicas."""
    many = nn.stack([nn.Dropout([0.1, 0.2, 0.3], replicas=3) for _ in range(2)])
    many.p = (0.1, 0.2, 0.3)
    return many(torch.zeros(6, 2))


BAD_INPUTS: list[Bad] = [
    Bad("Dropout-integers", lambda: nn.Dropout()(torch.zeros(3, dtype=INT)), DTypeError, r"Dropout: .*got int64"),
    Bad("Dropout-replicas", lambda: _drop((4, 5), replicas=3), ShapeError, r"leading 3 .*or 1, got \(4, 5\)"),
    Bad("Dropout-lengths", _joined, ArgumentError, r"one for each replica, got 3 numbers for 6 replicas"),
    Bad("Dropout1d-images", lambda: nn.Dropout1d()(torch.zeros(1, 2, 3, 4)), ShapeError, r"\(N, C, L\)"),
    Bad("Dropout1d-vector", lambda: nn.Dropout1d()(torch.zeros(3)), ShapeError, r"\(N, C, L\)"),
    Bad("Dropout2d-signals", lambda: nn.Dropout2d()(torch.zeros(2, 3, 4)), ShapeError, r"\(N, C, H, W\)"),
    Bad(
        "Dropout2d-replicas",
        lambda: nn.Dropout2d(replicas=2)(torch.zeros(2, 2, 2, 2, 2, 2)),
        ShapeError,
        r"\(2, N, C, H, W\)",
    ),
    Bad("FeatureAlphaDropout-vector", lambda: nn.FeatureAlphaDropout()(torch.zeros(3)), ShapeError, r"2 dimensions"),
]


BAD_OPTIONS: list[Bad] = [
    Bad("Dropout-p", lambda: nn.Dropout(-0.1), ArgumentError, r"p from 0 to 1, got -0\.1"),
    Bad("Dropout-2", lambda: nn.Dropout(1.5), ArgumentError, r"p from 0 to 1, got 1\.5"),
    Bad("Dropout-nan", lambda: nn.Dropout(float("nan")), ArgumentError, r"p from 0 to 1, got nan"),
    Bad("Dropout-numbers", lambda: nn.Dropout([0.1, 0.2]), ArgumentError, r"2 numbers for no replicas"),
    Bad("Dropout-two", lambda: nn.Dropout([0.1, 0.2], replicas=3), ArgumentError, r"2 numbers for 3 replicas"),
    Bad("Dropout-inplace", lambda: nn.Dropout(inplace=True), NotImplementedError, r"Dropout.inplace=True"),
    Bad("AlphaDropout-inplace", lambda: nn.AlphaDropout(0.5, True), NotImplementedError, r"AlphaDropout.inplace=True"),
]
