"""Normalisation."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, INT, Bad, Case, Shape


def _tracked(x: Any) -> Any:
    return nn.InstanceNorm1d(3, track_running_stats=True)(x)


def _many(x: Any) -> Any:
    return nn.InstanceNorm1d(3, replicas=2)(x)


def _norm(x: Any, **options: Any) -> Any:
    return nn.BatchNorm1d(3, **options)(x)


ROWS: tuple[Shape, ...] = ((4, 5), (5,), (2, 3, 5), (2, 1, 3, 5), (0, 5))
GROUPED: tuple[Shape, ...] = ((4, 6), (2, 6, 5), (3, 6, 2, 3), (1, 6, 1), (0, 6, 2))
SERIES: tuple[Shape, ...] = ((4, 3, 5), (3, 4), (1, 3, 2))
IMAGES: tuple[Shape, ...] = ((4, 3, 2, 5), (1, 3, 2, 1), (2, 3, 1, 1), (2, 3, 5, 13))  # few places, and more
PLANES: tuple[Shape, ...] = ((4, 3, 2, 5), (3, 3, 2), (1, 3, 2, 1))
PLACES: tuple[Shape, ...] = ((4, 6, 2), (2, 5, 3, 2), (1, 1, 3), (0, 3, 2))
SIGNALS: tuple[Shape, ...] = ((4, 3), (4, 3, 5), (1, 3, 2), (2, 3, 65))

CASES: list[Case] = [
    Case("BatchNorm1d", lambda n: n.BatchNorm1d(3), SIGNALS),
    Case("BatchNorm1d-eps", lambda n: n.BatchNorm1d(3, 1e-2, 0.7), SIGNALS),
    Case("BatchNorm1d-average", lambda n: n.BatchNorm1d(3, momentum=None), SIGNALS),
    Case("BatchNorm1d-plain", lambda n: n.BatchNorm1d(3, affine=False), SIGNALS),
    Case("BatchNorm1d-no-bias", lambda n: n.BatchNorm1d(3, bias=False), SIGNALS),
    Case("BatchNorm1d-untracked", lambda n: n.BatchNorm1d(3, track_running_stats=False), SIGNALS),
    Case("BatchNorm1d-bare", lambda n: n.BatchNorm1d(3, affine=False, track_running_stats=False), SIGNALS),
    Case("BatchNorm2d", lambda n: n.BatchNorm2d(3), IMAGES, rank=4),
    Case("BatchNorm2d-eps", lambda n: n.BatchNorm2d(3, 1e-2, 0.7), IMAGES, rank=4),
    Case("BatchNorm2d-average", lambda n: n.BatchNorm2d(3, momentum=None), IMAGES, rank=4),
    Case("BatchNorm2d-plain", lambda n: n.BatchNorm2d(3, affine=False), IMAGES, rank=4),
    Case("BatchNorm2d-no-bias", lambda n: n.BatchNorm2d(3, bias=False), IMAGES, rank=4),
    Case("BatchNorm2d-bare", lambda n: n.BatchNorm2d(3, affine=False, track_running_stats=False), IMAGES, rank=4),
    Case("LayerNorm", lambda n: n.LayerNorm(5), ROWS),
    Case("LayerNorm-eps", lambda n: n.LayerNorm(5, eps=0.1), ROWS),
    Case("LayerNorm-two", lambda n: n.LayerNorm((3, 5)), ((4, 3, 5), (3, 5), (2, 2, 3, 5), (0, 3, 5)), rank=3),
    Case("LayerNorm-list", lambda n: n.LayerNorm([2, 1, 3]), ((4, 2, 1, 3), (2, 1, 3)), rank=4),
    Case("LayerNorm-plain", lambda n: n.LayerNorm(5, elementwise_affine=False), ROWS),
    Case("LayerNorm-no-bias", lambda n: n.LayerNorm(5, bias=False), ROWS),
    Case("LayerNorm-single", lambda n: n.LayerNorm(1), ((4, 1), (1,)), rough=1e-3),
    Case("RMSNorm", lambda n: n.RMSNorm(5), ROWS),
    Case("RMSNorm-eps", lambda n: n.RMSNorm(5, 0.1), ROWS),
    Case("RMSNorm-two", lambda n: n.RMSNorm((3, 5)), ((4, 3, 5), (3, 5), (2, 2, 3, 5)), rank=3),
    Case("RMSNorm-plain", lambda n: n.RMSNorm(5, elementwise_affine=False), ROWS),
    Case("GroupNorm", lambda n: n.GroupNorm(2, 6), GROUPED),
    Case("GroupNorm-eps", lambda n: n.GroupNorm(3, 6, eps=0.1), GROUPED),
    Case("GroupNorm-one", lambda n: n.GroupNorm(1, 6), GROUPED),
    Case("GroupNorm-each", lambda n: n.GroupNorm(6, 6), ((2, 6, 5), (2, 6, 2, 3)), rank=3, lone=True),
    Case("GroupNorm-plain", lambda n: n.GroupNorm(2, 6, affine=False), GROUPED),
    Case("GroupNorm-no-bias", lambda n: n.GroupNorm(2, 6, bias=False), GROUPED),
    Case("InstanceNorm1d", lambda n: n.InstanceNorm1d(3), SERIES, rank=3),
    Case("InstanceNorm1d-affine", lambda n: n.InstanceNorm1d(3, 1e-2, affine=True), SERIES, rank=3),
    Case("InstanceNorm1d-no-bias", lambda n: n.InstanceNorm1d(3, affine=True, bias=False), SERIES, rank=3),
    Case(
        "InstanceNorm1d-tracked", lambda n: n.InstanceNorm1d(3, momentum=0.7, track_running_stats=True), SERIES, rank=3
    ),
    Case("InstanceNorm1d-all", lambda n: n.InstanceNorm1d(3, affine=True, track_running_stats=True), SERIES, rank=3),
    Case(
        "InstanceNorm1d-still", lambda n: n.InstanceNorm1d(3, momentum=None, track_running_stats=True), SERIES, rank=3
    ),
    Case("InstanceNorm2d", lambda n: n.InstanceNorm2d(3), PLANES, rank=4),
    Case("InstanceNorm2d-affine", lambda n: n.InstanceNorm2d(3, 1e-2, affine=True), PLANES, rank=4),
    Case("InstanceNorm2d-no-bias", lambda n: n.InstanceNorm2d(3, affine=True, bias=False), PLANES, rank=4),
    Case(
        "InstanceNorm2d-tracked", lambda n: n.InstanceNorm2d(3, momentum=0.7, track_running_stats=True), PLANES, rank=4
    ),
    Case("InstanceNorm2d-all", lambda n: n.InstanceNorm2d(3, affine=True, track_running_stats=True), PLANES, rank=4),
    Case(
        "InstanceNorm2d-still", lambda n: n.InstanceNorm2d(3, momentum=None, track_running_stats=True), PLANES, rank=4
    ),
    Case("LocalResponseNorm", lambda n: n.LocalResponseNorm(3, 0.5), PLACES, rank=3, lone=True),
    Case("LocalResponseNorm-even", lambda n: n.LocalResponseNorm(4, 0.5, 2.0, 0.7), PLACES, rank=3, lone=True),
    Case("LocalResponseNorm-one", lambda n: n.LocalResponseNorm(1, 0.5), PLACES, rank=3, lone=True),
    Case("LocalResponseNorm-wide", lambda n: n.LocalResponseNorm(9, 0.5), PLACES, rank=3, lone=True),
    Case("LocalResponseNorm-default", lambda n: n.LocalResponseNorm(2), PLACES, rank=3, lone=True),
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
    Bad("BatchNorm2d-signals", lambda: nn.BatchNorm2d(3)(torch.zeros(4, 3, 5)), ShapeError, r"\(N, 3, H, W\)"),
    Bad("BatchNorm2d-channels", lambda: nn.BatchNorm2d(3)(torch.zeros(4, 5, 3, 3)), ShapeError, r"got \(4, 5, 3, 3\)"),
    Bad("BatchNorm2d-one-value", lambda: nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1)), ShapeError, r"at least 2 values"),
    Bad("LayerNorm-end", lambda: nn.LayerNorm((3, 5))(torch.zeros(3, 4)), ShapeError, r"LayerNorm 3×5: .*\(…, 3, 5\)"),
    Bad("LayerNorm-rank", lambda: nn.LayerNorm((3, 5))(torch.zeros(5)), ShapeError, r"got \(5,\)"),
    Bad("LayerNorm-float64", lambda: nn.LayerNorm(5)(torch.zeros(5, dtype=F64)), DTypeError, r"got float64"),
    Bad("LayerNorm-list", lambda: nn.LayerNorm(1, elementwise_affine=False)([1.0]), DTypeError, r"got list"),
    Bad("LayerNorm-replicas", lambda: nn.LayerNorm(5, replicas=3)(torch.zeros(2, 4, 5)), ShapeError, r"leading 3"),
    Bad("RMSNorm-end", lambda: nn.RMSNorm(5)(torch.zeros(5, 4)), ShapeError, r"RMSNorm 5: .*\(…, 5\)"),
    Bad("GroupNorm-channels", lambda: nn.GroupNorm(2, 6)(torch.zeros(2, 4)), ShapeError, r"2 of 6: .*\(N, 6, …\)"),
    Bad("GroupNorm-vector", lambda: nn.GroupNorm(2, 6)(torch.zeros(6)), ShapeError, r"\(N, 6, …\)"),
    Bad("InstanceNorm1d-channels", lambda: nn.InstanceNorm1d(3)(torch.zeros(2, 4, 5)), ShapeError, r"\(N, 3, L\)"),
    Bad("InstanceNorm1d-images", lambda: nn.InstanceNorm1d(3)(torch.zeros(2, 3, 4, 4)), ShapeError, r"\(N, 3, L\)"),
    Bad("InstanceNorm1d-one", lambda: nn.InstanceNorm1d(3)(torch.zeros(2, 3, 1)), ShapeError, r"at least 2 values"),
    Bad("InstanceNorm1d-float64", lambda: _tracked(torch.zeros(2, 3, 4, dtype=F64)), DTypeError, r"got float64"),
    Bad("InstanceNorm1d-replicas", lambda: _many(torch.zeros(2, 1, 2, 3, 4)), ShapeError, r"\(2, N, 3, L\)"),
    Bad("InstanceNorm2d-vector", lambda: nn.InstanceNorm2d(3)(torch.zeros(3)), ShapeError, r"\(N, 3, H, W\)"),
    Bad("LocalResponseNorm-rows", lambda: nn.LocalResponseNorm(2)(torch.zeros(2, 3)), ShapeError, r"3 dimensions"),
    Bad(
        "LocalResponseNorm-integers",
        lambda: nn.LocalResponseNorm(2)(torch.ones(1, 1, 1, dtype=INT)),
        DTypeError,
        r"int64",
    ),
]

BAD_OPTIONS: list[Bad] = [
    Bad("BatchNorm1d-0", lambda: nn.BatchNorm1d(0), ArgumentError, r"num_features"),
    Bad("BatchNorm1d-eps", lambda: nn.BatchNorm1d(3, eps=-1.0), ArgumentError, r"eps of at least 0"),
    Bad("BatchNorm1d-text", lambda: nn.BatchNorm1d(3, eps="1e-5"), ArgumentError, r"eps of at least 0, got '1e-5'"),  # type: ignore[arg-type]
    Bad("BatchNorm1d-momentum", lambda: nn.BatchNorm1d(3, momentum=-0.1), ArgumentError, r"momentum of at least 0"),
    Bad("LayerNorm-0", lambda: nn.LayerNorm((3, 0)), ArgumentError, r"normalized_shape .*got 0"),
    Bad("LayerNorm-none", lambda: nn.LayerNorm(()), ArgumentError, r"at least one size"),
    Bad("LayerNorm-eps", lambda: nn.LayerNorm(3, eps=-1.0), ArgumentError, r"eps of at least 0"),
    Bad("RMSNorm-eps", lambda: nn.RMSNorm(3, eps=-1.0), ArgumentError, r"eps of at least 0"),
    Bad("GroupNorm-groups", lambda: nn.GroupNorm(4, 6), ArgumentError, r"a multiple of 4, got 6"),
    Bad("GroupNorm-0", lambda: nn.GroupNorm(0, 6), ArgumentError, r"num_groups"),
    Bad("InstanceNorm1d-0", lambda: nn.InstanceNorm1d(0), ArgumentError, r"num_features"),
    Bad("LocalResponseNorm-0", lambda: nn.LocalResponseNorm(0), ArgumentError, r"size to be a positive integer"),
]
