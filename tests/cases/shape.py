"""Flatten, Unflatten and pads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import INT, Bad, Case, Shape

SIGNALS: tuple[Shape, ...] = ((2, 3, 5), (1, 2, 8), (2, 4))
IMAGES: tuple[Shape, ...] = ((2, 3, 5, 4), (1, 2, 4, 7), (3, 4, 6))
BATCHES: tuple[Shape, ...] = ((2, 3, 4), (2, 3, 4, 2), (1, 2, 3))


class _Torch(torch.nn.Module):
    """The PyTorch side of a module that torch.nn lacks."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x)


def _own(text: str, make: Any, change: Callable[[Tensor], Tensor], shapes: tuple[Shape, ...] = BATCHES) -> Case:
    return Case(text, make, shapes, peer=lambda: _Torch(change), repr=text, lone=True, rank=1)


def _shape(name: str, make: Any, *shapes: Shape) -> Case:
    return Case(name, make, shapes, lone=True, rank=1)


def _mixed(name: str, make: Any, *shapes: Shape) -> Case:
    return Case(name, make, shapes, lone=True, rank=4)


def _signals(name: str, make: Any, **options: Any) -> Case:
    return Case(name, make, SIGNALS, rank=3, **options)


def _images(name: str, make: Any, **options: Any) -> Case:
    return Case(name, make, IMAGES, rank=4, **options)


CASES: list[Case] = [
    _shape("Flatten", lambda n: n.Flatten(), (2, 3, 4), (2, 3, 4, 2), (2, 3), (1, 2, 3, 2)),
    _shape("Flatten-all", lambda n: n.Flatten(0), (2, 3, 4), (5,)),
    _shape("Flatten-some", lambda n: n.Flatten(start_dim=-3, end_dim=2), (2, 3, 4, 2), (2, 3, 4)),
    _shape("Flatten-one", lambda n: n.Flatten(1, 1), (2, 3, 4)),
    _shape("Unflatten", lambda n: n.Unflatten(1, (2, 3)), (4, 6), (4, 6, 2)),
    _shape("Unflatten-last", lambda n: n.Unflatten(-1, torch.Size([2, -1])), (4, 6), (4, 3, 8), (2,)),
    _shape("Unflatten-list", lambda n: n.Unflatten(0, [1, 4, 1]), (4,), (4, 3)),
    _own("Select(dim=1, index=-1)", lambda n: n.Select(1, -1), lambda x: x.select(1, -1)),
    _own("Select(dim=-1, index=1)", lambda n: n.Select(-1, 1), lambda x: x.select(-1, 1), ((4,), (2, 3))),
    _own("Permute(0, 2, 1)", lambda n: n.Permute(0, 2, 1), lambda x: x.permute(0, 2, 1), ((2, 3, 4),)),
    _own("Permute(1, -1, 0)", lambda n: n.Permute(1, -1, 0), lambda x: x.permute(1, 2, 0), ((2, 3, 4),)),
    _own("Transpose(dim0=0, dim1=-1)", lambda n: n.Transpose(0, -1), lambda x: x.transpose(0, -1)),
    _own("Transpose(dim0=2, dim1=1)", lambda n: n.Transpose(2, 1), lambda x: x.transpose(2, 1)),
    _mixed("PixelShuffle", lambda n: n.PixelShuffle(2), (2, 8, 3, 1), (4, 2, 3), (2, 1, 4, 1, 2)),
    _mixed("PixelShuffle-3", lambda n: n.PixelShuffle(upscale_factor=3), (2, 9, 1, 2)),
    _mixed("PixelUnshuffle", lambda n: n.PixelUnshuffle(2), (2, 3, 4, 6), (1, 2, 4)),
    _shape("Upsample", lambda n: n.Upsample(scale_factor=2), (2, 3, 5), (2, 3, 2, 4)),
    _shape("Upsample-whole", lambda n: n.Upsample(None, (3, 2)), (2, 3, 2, 4)),
    _shape("Upsample-less", lambda n: n.Upsample(scale_factor=0.4), (2, 3, 5), (2, 3, 6, 5)),
    _shape("Upsample-size", lambda n: n.Upsample(size=(5, 3)), (2, 3, 4, 4), (1, 2, 5, 3)),
    _shape("Upsample-number", lambda n: n.Upsample(7), (2, 3, 4), (2, 3, 7, 3)),
    _shape("Upsample-linear", lambda n: n.Upsample(scale_factor=1.7, mode="linear"), (2, 3, 4), (1, 2, 1)),
    _shape("Upsample-corners", lambda n: n.Upsample((7,), mode="linear", align_corners=True), (2, 3, 4), (1, 2, 1)),
    _shape("Upsample-bilinear", lambda n: n.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 3, 4), (2, 1, 1, 5)),
    _shape("Upsample-shrink", lambda n: n.Upsample(size=(2, 9), mode="bilinear", align_corners=False), (2, 3, 5, 4)),
    _shape("Upsample-bicubic", lambda n: n.Upsample(scale_factor=(2, 1.5), mode="bicubic"), (2, 3, 4, 5)),
    _shape(
        "Upsample-ratio",
        lambda n: n.Upsample(scale_factor=1.4, mode="bicubic", recompute_scale_factor=True),
        (2, 3, 4, 6),
    ),
    _shape("Upsample-cubic-corners", lambda n: n.Upsample((6, 1), None, "bicubic", True), (2, 3, 4, 5)),
    _shape("UpsamplingNearest2d", lambda n: n.UpsamplingNearest2d(scale_factor=3), (2, 3, 2, 1)),
    _shape("UpsamplingBilinear2d", lambda n: n.UpsamplingBilinear2d((4, 5)), (2, 3, 2, 3)),
    _signals("ConstantPad1d", lambda n: n.ConstantPad1d((3, 1), 2.5)),
    _signals("ConstantPad1d-crop", lambda n: n.ConstantPad1d((-1, -2), 2.5)),
    _signals("ConstantPad1d-move", lambda n: n.ConstantPad1d(padding=(2, -3), value=1)),
    _images("ConstantPad2d", lambda n: n.ConstantPad2d((1, 2, 3, -2), -1.0)),
    _signals("ZeroPad1d", lambda n: n.ZeroPad1d(2)),
    _images("ZeroPad2d", lambda n: n.ZeroPad2d(1)),
    _images("ZeroPad2d-four", lambda n: n.ZeroPad2d((0, -2, 1, 3))),
    _signals("ReflectionPad1d", lambda n: n.ReflectionPad1d(3)),
    _signals("ReflectionPad1d-crop", lambda n: n.ReflectionPad1d((1, -2))),
    _images("ReflectionPad2d", lambda n: n.ReflectionPad2d((3, 0, 1, 2))),
    _signals("ReplicationPad1d", lambda n: n.ReplicationPad1d((7, 1))),
    _images("ReplicationPad2d", lambda n: n.ReplicationPad2d(2)),
    _images("ReplicationPad2d-crop", lambda n: n.ReplicationPad2d((1, -1, -2, 2))),
    _signals("CircularPad1d", lambda n: n.CircularPad1d((4, 1))),
    _signals("CircularPad1d-crop", lambda n: n.CircularPad1d((-1, 2))),
    _images("CircularPad2d", lambda n: n.CircularPad2d((2, 4, 1, 3))),
]

BAD_INPUTS: list[Bad] = [
    Bad("Flatten-vector", lambda: nn.Flatten()(torch.zeros(3)), ShapeError, r"dimensions 1, -1, got shape \(3,\)"),
    Bad("Flatten-order", lambda: nn.Flatten(2, 1)(torch.zeros(2, 3, 4)), ShapeError, r"2 not to come after .* 1"),
    Bad("Flatten-integers", lambda: nn.Flatten()(torch.zeros(2, 3, dtype=INT)), DTypeError, r"got int64"),
    Bad("Flatten-replicas", lambda: nn.Flatten(replicas=3)(torch.zeros(2, 3, 4)), ShapeError, r"leading 3"),
    Bad(
        "Flatten-over-replicas",
        lambda: nn.Flatten(-3, replicas=3)(torch.zeros(3, 2, 4)),
        ShapeError,
        r"dimensions -3, -1.*the replicas are the first",
    ),
    Bad("Unflatten-size", lambda: nn.Unflatten(1, (2, 3))(torch.zeros(2, 5)), ShapeError, r"6 numbers .*got 5"),
    Bad("Unflatten-rest", lambda: nn.Unflatten(1, (2, -1))(torch.zeros(2, 5)), ShapeError, r"2 numbers.*multiple"),
    Bad("Unflatten-rank", lambda: nn.Unflatten(2, (2, 3))(torch.zeros(2, 6)), ShapeError, r"dimension 2"),
    Bad("Select-rank", lambda: nn.Select(1, 0)(torch.zeros(3)), ShapeError, r"dimension 1"),
    Bad("Select-scalar", lambda: nn.Select(0, 0)(torch.tensor(1.0)), ShapeError, r"entry 0"),
    Bad("Select-index", lambda: nn.Select(1, 3)(torch.zeros(2, 3)), ShapeError, r"entry 3 along dimension 1"),
    Bad("Select-negative", lambda: nn.Select(1, -4)(torch.zeros(2, 3)), ShapeError, r"entry -4"),
    Bad("Permute-rank", lambda: nn.Permute(1, 0)(torch.zeros(2, 3, 4)), ShapeError, r"2 dimensions"),
    Bad("Permute-short", lambda: nn.Permute(2, 1, 0)(torch.zeros(2, 3)), ShapeError, r"dimensions 2, 1, 0"),
    Bad("Transpose-rank", lambda: nn.Transpose(1, 2)(torch.zeros(2, 3)), ShapeError, r"dimensions 1, 2"),
    Bad("PixelShuffle-3", lambda: nn.PixelShuffle(2)(torch.zeros(2, 3, 4, 4)), ShapeError, r"multiple of 4, got"),
    Bad("PixelUnshuffle-3", lambda: nn.PixelUnshuffle(2)(torch.zeros(2, 3, 3)), ShapeError, r"multiples of 2"),
    Bad("PixelShuffle-rank", lambda: nn.PixelShuffle(1, replicas=2)(torch.zeros(2, 3, 4)), ShapeError, r"\(2, …, C"),
    Bad("Upsample-rank", lambda: nn.Upsample(2)(torch.zeros(3, 4)), ShapeError, r"\(N, C, L\) or \(N, C, H, W\)"),
    Bad("Upsample-mode", lambda: nn.Upsample(2, mode="linear")(torch.zeros(1, 1, 3, 4)), ShapeError, r"N, C, L\), got"),
    Bad("Upsample-sizes", lambda: nn.Upsample((2, 3))(torch.zeros(1, 1, 3)), ShapeError, r"as many spatial"),
    Bad("Upsample-empty", lambda: nn.Upsample(2)(torch.zeros(1, 1, 0)), ShapeError, r"at least one place"),
    Bad("Upsample-nothing", lambda: nn.Upsample(None, 0.1)(torch.zeros(1, 1, 3)), ShapeError, r"\(0,\) of \(3,\)"),
    Bad("Upsample-integers", lambda: nn.Upsample(2)(torch.zeros(1, 1, 3, dtype=INT)), DTypeError, r"int64"),
    Bad("ZeroPad1d-rank", lambda: nn.ZeroPad1d(1)(torch.zeros(3)), ShapeError, r"\(N, C, L\), got \(3,\)"),
    Bad("ZeroPad2d-rank", lambda: nn.ZeroPad2d(1)(torch.zeros(3, 4)), ShapeError, r"\(N, C, H, W\)"),
    Bad("ZeroPad2d-list", lambda: nn.ZeroPad2d(1)([[1.0]]), DTypeError, r"got list"),
    Bad("ConstantPad1d-all", lambda: nn.ConstantPad1d((-2, -2), 1.0)(torch.zeros(2, 4)), ShapeError, r"more than 4"),
    Bad("ReflectionPad1d-4", lambda: nn.ReflectionPad1d((4, 0))(torch.zeros(2, 4)), ShapeError, r"at most 3 .*got 4"),
    Bad("ReflectionPad2d-3", lambda: nn.ReflectionPad2d((0, 0, 0, 3))(torch.zeros(2, 3, 9)), ShapeError, r"at most 2"),
    Bad("ReplicationPad1d-image", lambda: nn.ReplicationPad1d(1)(torch.zeros(1, 2, 3, 4)), ShapeError, r"C, L\)"),
    Bad("CircularPad1d-5", lambda: nn.CircularPad1d((0, 5))(torch.zeros(2, 4)), ShapeError, r"at most 4 .*got 5"),
    Bad("CircularPad2d-empty", lambda: nn.CircularPad2d(0)(torch.zeros(2, 0, 4)), ShapeError, r"\(2, 0, 4\)"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("Unflatten-floats", lambda: nn.Unflatten(1, (2.0,)), ArgumentError, r"integers"),  # type: ignore[arg-type]
    Bad("Unflatten-number", lambda: nn.Unflatten(1, 6), ArgumentError, r"integers"),  # type: ignore[arg-type]
    Bad("Unflatten-twice", lambda: nn.Unflatten(1, (-1, -1)), ArgumentError, r"integers.*at most one -1"),
    Bad("Unflatten-name", lambda: nn.Unflatten("c", (2, 3)), NotImplementedError, r"named dimension"),
    Bad(
        "Unflatten-names",
        lambda: nn.Unflatten(1, (("a", 2), ("b", 3))),  # type: ignore[arg-type]
        NotImplementedError,
        r"named dimension",
    ),
    Bad("Permute-twice", lambda: nn.Permute(0, 0), ArgumentError, r"0 to 1 in some order"),
    Bad("Permute-list", lambda: nn.Permute([1, 0]), ArgumentError, r"Permute\(0, 2, 1\)"),  # type: ignore[arg-type]
    Bad("Permute-far", lambda: nn.Permute(0, 2), ArgumentError, r"0 to 1 in some order"),
    Bad("Upsample-none", lambda: nn.Upsample(), ArgumentError, r"size or scale_factor, got neither"),
    Bad("Upsample-both", lambda: nn.Upsample(2, 2), ArgumentError, r"got both"),
    Bad("Upsample-size-float", lambda: nn.Upsample(2.5), ArgumentError, r"2\.5"),  # type: ignore[arg-type]
    Bad("Upsample-scale-0", lambda: nn.Upsample(None, (2, 0)), ArgumentError, r"positive numbers, got \(2, 0\)"),
    Bad("Upsample-corners-nearest", lambda: nn.Upsample(2, align_corners=True), ArgumentError, r"no align_corners"),
    Bad("Upsample-ratio-size", lambda: nn.Upsample(2, recompute_scale_factor=True), ArgumentError, r"ratio"),
    Bad("Upsample-area", lambda: nn.Upsample(2, mode="area"), NotImplementedError, r"mode='area'"),
    Bad("PixelShuffle-0", lambda: nn.PixelShuffle(0), ArgumentError, r"upscale_factor"),
    Bad("ZeroPad1d-three", lambda: nn.ZeroPad1d((1, 2, 3)), ArgumentError, r"2 of them"),
    Bad("ZeroPad2d-two", lambda: nn.ZeroPad2d((1, 2)), ArgumentError, r"4 of them, got \(1, 2\)"),
    Bad("CircularPad2d-float", lambda: nn.CircularPad2d(1.0), ArgumentError, r"got 1\.0"),  # type: ignore[arg-type]
    Bad("ReflectionPad1d-replicas", lambda: nn.ReflectionPad1d(1, replicas=0), ArgumentError, r"replicas"),
]
