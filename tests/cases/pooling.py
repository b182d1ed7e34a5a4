"""Pooling."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import INT, Bad, Case, Shape, mapped

SIGNALS: tuple[Shape, ...] = ((2, 3, 9), (1, 2, 8), (2, 7))
IMAGES: tuple[Shape, ...] = ((2, 3, 7, 6), (1, 2, 6, 8), (2, 9, 5))
POSITIVE = (mapped(lambda x: x.abs() + 0.1),)


def _signals(name: str, make: Any, shapes: tuple[Shape, ...] = SIGNALS, **options: Any) -> Case:
    return Case(name, make, shapes, rank=3, **options)


def _images(name: str, make: Any, shapes: tuple[Shape, ...] = IMAGES, **options: Any) -> Case:
    return Case(name, make, shapes, rank=4, **options)


CASES: list[Case] = [
    _signals("MaxPool1d", lambda n: n.MaxPool1d(2)),
    _signals("MaxPool1d-overlapping", lambda n: n.MaxPool1d(3, 1, 1)),
    _signals("MaxPool1d-gaps", lambda n: n.MaxPool1d((2,), stride=(3,))),
    _signals("MaxPool1d-dilation", lambda n: n.MaxPool1d(3, 2, padding=1, dilation=2)),
    _signals("MaxPool1d-ceil", lambda n: n.MaxPool1d(2, ceil_mode=True)),
    # the last window would start in the padding: 2 windows of 9 and 8, not 3
    _signals("MaxPool1d-ceil-dropped", lambda n: n.MaxPool1d(4, 5, 2, ceil_mode=True), ((2, 3, 9), (2, 3, 8))),
    _signals("MaxPool1d-everything", lambda n: n.MaxPool1d(9), ((2, 3, 9),)),
    _signals("MaxPool1d-large", lambda n: n.MaxPool1d(9, 1, 3, 2), ((2, 3, 11), (2, 11))),
    _images("MaxPool2d", lambda n: n.MaxPool2d(2)),
    _images("MaxPool2d-overlapping", lambda n: n.MaxPool2d(3, stride=2, padding=1)),
    _images("MaxPool2d-oblong", lambda n: n.MaxPool2d((2, 3), (3, 1), (1, 0))),
    _images("MaxPool2d-dilation", lambda n: n.MaxPool2d(2, 1, (1, 0), (3, 2))),
    _images("MaxPool2d-ceil", lambda n: n.MaxPool2d((3, 2), 2, (1, 0), ceil_mode=True)),
    _signals("AvgPool1d", lambda n: n.AvgPool1d(2)),
    _signals("AvgPool1d-padding", lambda n: n.AvgPool1d(3, 2, 1)),
    _signals("AvgPool1d-unpadded-count", lambda n: n.AvgPool1d(3, 1, 1, count_include_pad=False)),
    _signals("AvgPool1d-ceil", lambda n: n.AvgPool1d((4,), (3,), (2,), ceil_mode=True)),
    _signals("AvgPool1d-ceil-dropped", lambda n: n.AvgPool1d(4, 5, 2, ceil_mode=True), ((2, 3, 9), (2, 3, 8))),
    _signals("AvgPool1d-everything", lambda n: n.AvgPool1d(9), ((2, 3, 9), (2, 10))),
    _signals("AvgPool1d-everything-padded", lambda n: n.AvgPool1d(9, padding=4), ((2, 3, 5),)),
    _images("AvgPool2d", lambda n: n.AvgPool2d(2)),
    _images("AvgPool2d-padding", lambda n: n.AvgPool2d((3, 2), (1, 2), (1, 0))),
    _images("AvgPool2d-unpadded-count", lambda n: n.AvgPool2d(3, 2, 1, count_include_pad=False)),
    _images("AvgPool2d-ceil", lambda n: n.AvgPool2d((3, 4), 2, 1, ceil_mode=True)),
    _images("AvgPool2d-ceil-unpadded-count", lambda n: n.AvgPool2d(4, 3, 2, True, False)),
    _images("AvgPool2d-divisor", lambda n: n.AvgPool2d(2, divisor_override=3)),
    _signals("AdaptiveAvgPool1d", lambda n: n.AdaptiveAvgPool1d(3)),
    _signals("AdaptiveAvgPool1d-uneven", lambda n: n.AdaptiveAvgPool1d((5,))),
    _signals("AdaptiveAvgPool1d-more", lambda n: n.AdaptiveAvgPool1d(11)),
    _images("AdaptiveAvgPool2d-one", lambda n: n.AdaptiveAvgPool2d(1)),
    _images("AdaptiveAvgPool2d-oblong", lambda n: n.AdaptiveAvgPool2d((4, 2))),
    _images("AdaptiveAvgPool2d-none", lambda n: n.AdaptiveAvgPool2d((None, 4))),
    _images("AdaptiveAvgPool2d-same", lambda n: n.AdaptiveAvgPool2d((None, None))),
    _signals("AdaptiveMaxPool1d", lambda n: n.AdaptiveMaxPool1d(3)),
    _signals("AdaptiveMaxPool1d-uneven", lambda n: n.AdaptiveMaxPool1d(5)),
    _signals("AdaptiveMaxPool1d-more", lambda n: n.AdaptiveMaxPool1d(11)),
    _images("AdaptiveMaxPool2d-one", lambda n: n.AdaptiveMaxPool2d(1)),
    _images("AdaptiveMaxPool2d-oblong", lambda n: n.AdaptiveMaxPool2d((4, 2))),
    _images("AdaptiveMaxPool2d-none", lambda n: n.AdaptiveMaxPool2d((None, 4))),
    _signals("LPPool1d", lambda n: n.LPPool1d(2, 3)),
    _signals("LPPool1d-cubes", lambda n: n.LPPool1d(3, 3, stride=1), draws=POSITIVE),
    _signals("LPPool1d-ceil", lambda n: n.LPPool1d(2, 2, ceil_mode=True)),
    _images("LPPool2d", lambda n: n.LPPool2d(2, 2)),
    _images("LPPool2d-sum", lambda n: n.LPPool2d(1, (2, 3), (1, 2))),
    _images("LPPool2d-ceil", lambda n: n.LPPool2d(1.5, (3, 2), 2, ceil_mode=True), draws=POSITIVE),
]

BAD_INPUTS: list[Bad] = [
    Bad("MaxPool1d-rank", lambda: nn.MaxPool1d(2)(torch.zeros(4)), ShapeError, r"\(N, C, L\), got \(4,\)"),
    Bad("MaxPool1d-image", lambda: nn.MaxPool1d(2)(torch.zeros(1, 2, 4, 4)), ShapeError, r"\(N, C, L\)"),
    Bad("MaxPool1d-short", lambda: nn.MaxPool1d(3, dilation=2)(torch.zeros(2, 4)), ShapeError, r"at least 5 inputs"),
    Bad("MaxPool1d-integers", lambda: nn.MaxPool1d(2)(torch.zeros(2, 4, dtype=INT)), DTypeError, r"got int64"),
    Bad("MaxPool2d-rank", lambda: nn.MaxPool2d(2)(torch.zeros(4, 4)), ShapeError, r"\(N, C, H, W\), got \(4, 4\)"),
    Bad("MaxPool2d-short", lambda: nn.MaxPool2d((1, 3))(torch.zeros(2, 4, 2)), ShapeError, r"at least 3 inputs"),
    Bad(
        "MaxPool2d-replicas",
        lambda: nn.MaxPool2d(2, replicas=3)(torch.zeros(3, 2, 2, 2, 4, 4)),
        ShapeError,
        r"\(3, N, C, H, W\)",
    ),
    Bad("AvgPool2d-list", lambda: nn.AvgPool2d(2)([[1.0]]), DTypeError, r"torch.Tensor"),
    Bad("AvgPool2d-rank", lambda: nn.AvgPool2d(2)(torch.zeros(4, 4)), ShapeError, r"\(N, C, H, W\)"),
    Bad("AvgPool1d-short", lambda: nn.AvgPool1d(5, padding=1)(torch.zeros(2, 2)), ShapeError, r"at least 3 inputs"),
    Bad("AdaptiveAvgPool2d-rank", lambda: nn.AdaptiveAvgPool2d(2)(torch.zeros(4, 4)), ShapeError, r"\(N, C, H, W\)"),
    Bad("AdaptiveMaxPool1d-empty", lambda: nn.AdaptiveMaxPool1d(2)(torch.zeros(2, 3, 0)), ShapeError, r"\(2, 3, 0\)"),
    Bad("LPPool1d-rank", lambda: nn.LPPool1d(2, 2)(torch.zeros(4)), ShapeError, r"\(N, C, L\)"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("MaxPool1d-0", lambda: nn.MaxPool1d(0), ArgumentError, r"kernel_size to be an integer of at least 1, got 0"),
    Bad("MaxPool1d-pair", lambda: nn.MaxPool1d((2, 2)), ArgumentError, r"kernel_size to be an integer"),
    Bad("MaxPool1d-indices", lambda: nn.MaxPool1d(2, return_indices=True), NotImplementedError, r"return_indices"),
    Bad("MaxPool2d-three", lambda: nn.MaxPool2d((2, 2, 2)), ArgumentError, r"kernel_size .*or two of them"),
    Bad("MaxPool2d-stride", lambda: nn.MaxPool2d(2, stride=0), ArgumentError, r"stride"),
    Bad("MaxPool2d-padding", lambda: nn.MaxPool2d((4, 3), padding=2), ArgumentError, r"at most 1, half the window"),
    Bad("MaxPool2d-negative", lambda: nn.MaxPool2d(2, padding=-1), ArgumentError, r"padding .*at least 0"),
    Bad("MaxPool2d-dilation", lambda: nn.MaxPool2d(2, dilation=(1, 0)), ArgumentError, r"dilation"),
    Bad("MaxPool2d-float", lambda: nn.MaxPool2d(2.0), ArgumentError, r"got 2\.0"),  # type: ignore[arg-type]
    Bad("AvgPool1d-padding", lambda: nn.AvgPool1d(3, padding=2), ArgumentError, r"at most 1, half the window"),
    Bad("AvgPool2d-divisor", lambda: nn.AvgPool2d(2, divisor_override=0), ArgumentError, r"divisor_override"),
    Bad("AdaptiveAvgPool1d-0", lambda: nn.AdaptiveAvgPool1d(0), ArgumentError, r"output_size"),
    Bad("AdaptiveAvgPool2d-three", lambda: nn.AdaptiveAvgPool2d((1, 1, 1)), ArgumentError, r"output_size"),
    Bad("AdaptiveMaxPool2d-indices", lambda: nn.AdaptiveMaxPool2d(1, True), NotImplementedError, r"return_indices"),
    Bad("LPPool1d-0", lambda: nn.LPPool1d(0, 2), ArgumentError, r"norm_type"),
    Bad("LPPool1d-infinite", lambda: nn.LPPool1d(float("inf"), 2), NotImplementedError, r"norm_type=inf"),
    Bad("LPPool2d-replicas", lambda: nn.LPPool2d(2, 2, replicas=0), ArgumentError, r"replicas"),
]
