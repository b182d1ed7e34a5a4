"""How ONNX says what moves over places: pooling, pads and shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from handgrad import nn
from handgrad.interop.graph import Graph, Value, writes
from handgrad.interop.onnx_layers import with_batch
from handgrad.nn.windows import adaptive


def _pooled(g: Graph, kind: str, m: Any, x: Value, *weight: str, padded: bool = False, **options: Any) -> str:
    """Sliding windows; as many places are added behind as the last one, with `ceil_mode`, hangs over.

    ONNX's own ceil_mode has another opinion on whether a window may start in the padding. With `padded` the padding is
    zeros like any input, which a mean counts, but not what lies behind it.
    """
    inner, without = with_batch(g, x, m.dims + 2)
    before, after = [], []
    sizes: dict[str, list[int]] = {"kernel_shape": [], "strides": [], "dilations": []}
    for dim, windows in zip(range(-m.dims, 0), reversed(m.along_each(x.like))):
        k, s, p, d = m.sizes_along(dim)
        before.append(p)
        after.append(max(windows.stops[-1] - windows.inputs, 0))
        for name, size in zip(sizes, (k, s, d)):
            sizes[name].append(size)
    if padded and any(before):
        ends = [min(p, n) for p, n in zip(before, after)]
        inner = g.op("Pad", inner, [*before, *ends], "", list(range(2, 2 + m.dims)))
        before, after = [0] * m.dims, [n - end for n, end in zip(after, ends)]
    return str(without(g.op(kind, inner, *weight, pads=[*before, *after], **sizes, **options)))


@writes(nn.MaxPool1d, nn.MaxPool2d)
def max_pool(g: Graph, m: nn.MaxPool1d, x: Value) -> str:
    return _pooled(g, "MaxPool", m, x)


@writes(nn.AvgPool1d, nn.AvgPool2d)
def average_pool(g: Graph, m: nn.AvgPool2d, x: Value) -> str:
    if m.divisor_override is None:
        return _pooled(g, "AveragePool", m, x, padded=m.count_include_pad)
    # sums, as the convolution of each channel with a number
    C, kernel = x.like.shape[-1 - m.dims], [m.sizes_along(dim)[0] for dim in range(-m.dims, 0)]
    W = g.constant("kernel", torch.full((C, 1, *kernel), 1 / m.divisor_override, dtype=torch.float32))
    return _pooled(g, "Conv", m, x, W, group=C)


@writes(nn.LPPool1d, nn.LPPool2d)
def lp_pool(g: Graph, m: nn.LPPool1d, x: Value) -> str:
    """ONNX's operator takes absolute values; this one, as PyTorch's, does not."""
    powers = Value(g.op("Pow", x, g.number(m.norm_type)), x.like)
    count = math.prod(m.sizes_along(dim)[0] for dim in range(-m.dims, 0))
    means = _pooled(g, "AveragePool", m, powers)
    return g.op("Pow", g.op("Mul", means, g.number(count)), g.number(1 / m.norm_type))


@writes(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
def adaptive_pool(g: Graph, m: nn.AdaptiveAvgPool1d, x: Value) -> str:
    """Dimension by dimension, for windows of any place: the sizes are those of the example."""
    reduce = "ReduceMax" if isinstance(m, nn.AdaptiveMaxPool1d) else "ReduceMean"
    asked = m.output_size if isinstance(m.output_size, (tuple, list)) else (m.output_size,) * m.dims
    y = x.name
    for dim, outputs in zip(range(-m.dims, 0), asked):
        L = x.like.shape[dim]
        windows = adaptive(L, L if outputs is None else outputs)
        if len(windows) == L:
            continue
        parts = [
            g.op(reduce, g.op("Slice", y, [start], [stop], [dim]), [dim])
            for start, stop in zip(windows.starts, windows.stops)
        ]
        y = parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=dim)
    return y


# Pads: negative ones crop first


def _padded(mode: str) -> Any:
    def write(g: Graph, m: Any, x: Value) -> str:
        y, each = x.name, m.along_each()
        if any(before < 0 or after < 0 for _, before, after in each):
            starts = [max(-before, 0) for _, before, _ in each]
            stops = [x.like.shape[dim] + min(after, 0) for dim, _, after in each]
            y = g.op("Slice", y, starts, stops, [dim for dim, _, _ in each])
        before = [max(one, 0) for _, one, _ in each]
        after = [max(one, 0) for _, _, one in each]
        fill = g.number(m.value) if mode == "constant" else ""
        return g.op("Pad", y, [*before, *after], fill, [dim % x.like.ndim for dim, _, _ in each], mode=mode)

    return write


writes(nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d)(_padded("constant"))
writes(nn.ReflectionPad1d, nn.ReflectionPad2d)(_padded("reflect"))
writes(nn.ReplicationPad1d, nn.ReplicationPad2d)(_padded("edge"))
writes(nn.CircularPad1d, nn.CircularPad2d)(_padded("wrap"))


# Upsampling


@writes(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def upsample(g: Graph, m: nn.Upsample, x: Value) -> str:
    """ONNX's operator, told the scales, or the sizes, whose ratio it then takes."""
    sizes = list(m(x.like).shape[2:])
    scaled = m.scale_factor is not None and not m.recompute_scale_factor
    factors = torch.ones(len(sizes)) * torch.tensor(m.scale_factor if scaled else 1.0)
    coordinates = "asymmetric" if m.mode == "nearest" else "align_corners" if m.align_corners else "half_pixel"
    return g.op(
        "Resize",
        x,
        "",
        g.constant("scales", factors) if scaled else "",
        "" if scaled else sizes,
        axes=list(range(2, x.like.ndim)),
        mode={"nearest": "nearest", "bicubic": "cubic"}.get(m.mode, "linear"),
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
        cubic_coeff_a=-0.75,
    )


def _mixed(order: list[int], factor: Callable[[Any], int], back: bool) -> Any:
    """Channels and places parted, put into another order and joined."""

    def write(g: Graph, m: Any, x: Value) -> str:
        f, (*lead, C, H, W) = factor(m), x.like.shape
        parts = [C, H // f, f, W // f, f] if back else [C // f**2, f, f, H, W]
        joined = [C * f**2, H // f, W // f] if back else [C // f**2, H * f, W * f]
        n = len(lead)
        y = _joined(g, x, n, n + 3, parts)
        y = g.swap(y, *range(n), *(n + place for place in order))
        shape = g.constant("sizes", torch.tensor(joined))
        return g.op("Reshape", y, g.op("Concat", g.op("Shape", x, start=0, end=n), shape, axis=0) if n else shape)

    return write


writes(nn.PixelShuffle)(_mixed([0, 3, 1, 4, 2], lambda m: m.upscale_factor, back=False))
writes(nn.PixelUnshuffle)(_mixed([0, 2, 4, 1, 3], lambda m: m.downscale_factor, back=True))


# Shapes


def _joined(g: Graph, x: Value, start: int, end: int, sizes: list[int]) -> str:
    """Put `sizes` in place of the dimensions from start to before end."""
    shape = [g.op("Shape", x, start=0, end=start)] if start else []
    shape.append(g.constant("sizes", torch.tensor(sizes)))
    if end < x.like.ndim:
        shape.append(g.op("Shape", x, start=end))
    return g.op("Reshape", x, g.op("Concat", *shape, axis=0) if len(shape) > 1 else shape[0])


@writes(nn.Flatten)
def flatten(g: Graph, m: nn.Flatten, x: Value) -> str:
    if x.like.ndim == 0:
        return g.reshape(x, [1])
    return _joined(g, x, m.start_dim % x.like.ndim, m.end_dim % x.like.ndim + 1, [-1])


@writes(nn.Unflatten)
def unflatten(g: Graph, m: nn.Unflatten, x: Value) -> str:
    dim = m.dim % x.like.ndim
    return _joined(g, x, dim, dim + 1, list(m.unflattened_size))


@writes(nn.Select)
def select(g: Graph, m: nn.Select, x: Value) -> str:
    return g.op("Gather", x, torch.tensor(m.index), axis=m.dim)


@writes(nn.Permute)
def permute(g: Graph, m: nn.Permute, x: Value) -> str:
    return g.swap(x, *(dim % x.like.ndim for dim in m.dims))


@writes(nn.Transpose)
def transpose(g: Graph, m: nn.Transpose, x: Value) -> str:
    order = list(range(x.like.ndim))
    order[m.dim0], order[m.dim1] = order[m.dim1], order[m.dim0]
    return g.swap(x, *order)
