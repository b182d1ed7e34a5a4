"""How ONNX says layers: activations, linear maps, convolutions, normalisations and containers."""

from __future__ import annotations

from typing import Any

import torch

from handgrad import nn
from handgrad.interop.graph import Graph, Value, writes

# Activations


def _plain(kind: str, **attributes: Any) -> Any:
    """One node, without options."""
    return lambda g, _, x: g.op(kind, x, **attributes)


for module, kind in {
    nn.ReLU: "Relu",
    nn.SELU: "Selu",
    nn.Mish: "Mish",
    nn.Sigmoid: "Sigmoid",
    nn.Tanh: "Tanh",
    nn.Hardswish: "HardSwish",
    nn.Softsign: "Softsign",
}.items():
    writes(module)(_plain(kind))
writes(nn.Hardsigmoid)(_plain("HardSigmoid", alpha=1 / 6, beta=0.5))
writes(nn.LeakyReLU)(lambda g, m, x: g.op("LeakyRelu", x, alpha=m.negative_slope))
writes(nn.RReLU)(lambda g, m, x: g.op("LeakyRelu", x, alpha=(m.lower + m.upper) / 2))
writes(nn.ELU)(lambda g, m, x: g.op("Elu", x, alpha=m.alpha))
writes(nn.CELU)(lambda g, m, x: g.op("Celu", x, alpha=m.alpha))
writes(nn.GELU)(lambda g, m, x: g.op("Gelu", x, approximate=m.approximate))
writes(nn.Hardtanh, nn.ReLU6)(lambda g, m, x: g.op("Clip", x, g.number(m.min_val), g.number(m.max_val)))
writes(nn.Softshrink)(lambda g, m, x: g.op("Sub", x, g.op("Clip", x, g.number(-m.lambd), g.number(m.lambd))))
writes(nn.SiLU)(lambda g, _, x: g.op("Mul", x, g.op("Sigmoid", x)))
writes(nn.Tanhshrink)(lambda g, _, x: g.op("Sub", x, g.op("Tanh", x)))
writes(nn.LogSigmoid)(lambda g, _, x: g.op("Neg", g.op("Softplus", g.op("Neg", x))))
writes(nn.Softmax, nn.Softmax2d)(lambda g, m, x: g.op("Softmax", x, axis=m.dim))
writes(nn.Softmin)(lambda g, m, x: g.op("Softmax", g.op("Neg", x), axis=m.dim))
writes(nn.LogSoftmax)(lambda g, m, x: g.op("LogSoftmax", x, axis=m.dim))


@writes(nn.Threshold)
def threshold(g: Graph, m: nn.Threshold, x: Value) -> str:
    return g.op("Where", g.op("LessOrEqual", x, g.number(m.threshold)), g.number(m.fill), x)  # NaN is not less


@writes(nn.Hardshrink)
def hardshrink(g: Graph, m: nn.Hardshrink, x: Value) -> str:
    """ONNX's operator makes 0 of NaN."""
    return g.op("Where", g.op("LessOrEqual", g.op("Abs", x), g.number(m.lambd)), g.number(0.0), x)


@writes(nn.Softplus)
def softplus(g: Graph, m: nn.Softplus, x: Value) -> str:
    z = g.op("Mul", x, g.number(m.beta))
    bent = g.op("Div", g.op("Softplus", z), g.number(m.beta))
    return g.op("Where", g.op("Greater", z, g.number(m.threshold)), x, bent)


@writes(nn.PReLU)
def prelu(g: Graph, m: nn.PReLU, x: Value) -> str:
    slope = m.weight.value.reshape(-1, *[1] * max(x.like.ndim - 2, 0))  # (C, 1, …)
    return g.op("PRelu", x, g.constant("weight", slope))


@writes(nn.GLU)
def glu(g: Graph, m: nn.GLU, x: Value) -> str:
    a, b = g.ops("Split", 2, x, axis=m.dim, num_outputs=2)
    return g.op("Mul", a, g.op("Sigmoid", b))


# In evaluation these do nothing


@writes(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
def nothing(g: Graph, m: nn.Module, x: Value) -> str:  # noqa: ARG001
    return x.name


# Linear maps


@writes(nn.Linear)
def linear(g: Graph, m: nn.Linear, x: Value) -> str:
    return g.affine(x, m.weight, m.bias)


@writes(nn.Bilinear)
def bilinear(g: Graph, m: nn.Bilinear, x1: Value, x2: Value) -> str:
    left = g.op("Einsum", x1, g.constant("weight", m.weight), equation="...i,oij->...oj")
    y = g.op("Einsum", left, x2, equation="...oj,...j->...o")
    return y if m.bias is None else g.op("Add", y, g.constant("bias", m.bias))


@writes(nn.Embedding)
def embedding(g: Graph, m: nn.Embedding, i: Value) -> str:
    return g.op("Gather", g.constant("weight", m.weight.torch_value), i, axis=0)


@writes(nn.PositionalEncoding)
def waves(g: Graph, m: nn.PositionalEncoding, x: Value) -> str:
    return g.op("Add", x, g.constant("waves", m.waves(x.like.shape[-2]).to(x.like)))


@writes(nn.PositionalEmbedding)
def positions(g: Graph, m: nn.PositionalEmbedding, x: Value) -> str:
    return g.op("Add", x, g.constant("weight", m.weight.value[: x.like.shape[-2]]))


# Convolutions


def with_batch(g: Graph, x: Value, ndim: int) -> tuple[str, Any]:
    """The input with a batch, and what takes that from a result again, where there was none."""
    if x.like.ndim == ndim:
        return x.name, lambda y: y
    return g.op("Unsqueeze", x, [0]), lambda y: g.op("Squeeze", y, [0])


BORDERS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@writes(nn.Conv1d, nn.Conv2d)
def convolution(g: Graph, m: nn.Conv2d, x: Value) -> str:
    start, end = zip(*m.frame)
    inner, without = with_batch(g, x, m.dims + 2)
    if m.padding_mode != "zeros":
        axes = list(range(2, 2 + m.dims))
        inner = g.op("Pad", inner, [*start, *end], "", axes, mode=BORDERS[m.padding_mode])
        start = end = (0,) * m.dims
    return str(without(_convolved(g, "Conv", m, inner, pads=[*start, *end])))


@writes(nn.ConvTranspose1d, nn.ConvTranspose2d)
def transposed(g: Graph, m: nn.ConvTranspose2d, x: Value) -> str:
    """Output padding takes back padding behind; where there is less of that, zeros are added, and then b."""
    start, end = zip(*m.frame)
    kept = [max(n - more, 0) for n, more in zip(end, m.output_padding)]
    added = [max(more - n, 0) for n, more in zip(end, m.output_padding)]
    inner, without = with_batch(g, x, m.dims + 2)
    if not any(added):
        return str(without(_convolved(g, "ConvTranspose", m, inner, pads=[*start, *kept])))
    y = _convolved(g, "ConvTranspose", m, inner, biased=False, pads=[*start, *kept])
    y = g.op("Pad", y, [0] * m.dims + added, "", list(range(2, 2 + m.dims)))
    return str(without(g.scaled(y, None, m.bias, m.dims)))


def _convolved(g: Graph, kind: str, m: Any, x: str, biased: bool = True, **options: Any) -> str:
    shift = [] if m.bias is None or not biased else [g.constant("bias", m.bias)]
    sizes = {"strides": list(m.stride), "dilations": list(m.dilation), "group": m.groups}
    return g.op(kind, x, g.constant("weight", m.weight), *shift, **sizes, **options)


# Normalisations, in evaluation


@writes(nn.BatchNorm1d, nn.BatchNorm2d)
def batch_norm(g: Graph, m: nn.BatchNorm1d, x: Value) -> str:
    dims = x.like.ndim - 2
    if m.running_mean is None:
        return g.scaled(g.standardised(x, [0, *range(2, x.like.ndim)], m.eps), m.weight, m.bias, dims)
    return _by_statistics(g, m, x, dims)


@writes(nn.InstanceNorm1d, nn.InstanceNorm2d)
def instance_norm(g: Graph, m: nn.InstanceNorm1d, x: Value) -> str:
    dims = m.rank - 2
    if m.running_mean is None:
        return g.scaled(g.standardised(x, list(range(-dims, 0)), m.eps), m.weight, m.bias, dims)
    return _by_statistics(g, m, x, dims)


def _by_statistics(g: Graph, m: Any, x: Value, dims: int) -> str:
    """(x − µ) γ / √(σ² + ε) + β with running statistics."""
    mean, factor = (value.reshape(-1, *[1] * dims) for value in (m.running_mean, (m.running_var + m.eps).rsqrt()))
    y = g.op("Sub", x, g.constant("running_mean", mean))
    return g.scaled(g.op("Mul", y, g.constant("factor", factor)), m.weight, m.bias, dims)


@writes(nn.LayerNorm)
def layer_norm(g: Graph, m: nn.LayerNorm, x: Value) -> str:
    axes = [-1 - n for n in range(len(m.normalized_shape))]
    y = g.standardised(x, axes, m.eps or 0.0)
    return _each(g, y, m)


@writes(nn.RMSNorm)
def rms_norm(g: Graph, m: nn.RMSNorm, x: Value) -> str:
    axes = [-1 - n for n in range(len(m.normalized_shape))]
    eps = torch.finfo(x.like.dtype).eps if m.eps is None else m.eps
    return _each(g, g.standardised(x, axes, eps, centred=False), m)


def _each(g: Graph, y: str, m: Any) -> str:
    y = y if m.weight is None else g.op("Mul", y, g.constant("weight", m.weight))
    return y if m.bias is None else g.op("Add", y, g.constant("bias", m.bias))


@writes(nn.GroupNorm)
def group_norm(g: Graph, m: nn.GroupNorm, x: Value) -> str:
    rows = g.standardised(g.reshape(x, [0, m.num_groups, -1]), [-1], m.eps or 0.0)
    return g.scaled(g.op("Reshape", rows, g.op("Shape", x)), m.weight, m.bias, x.like.ndim - 2)


@writes(nn.LocalResponseNorm)
def local_response(g: Graph, m: nn.LocalResponseNorm, x: Value) -> str:
    """With a matrix that sums neighbours: ONNX's operator knows only windows of odd size, around their channel."""
    C = x.like.shape[1]
    distance = torch.arange(C) - torch.arange(C).unsqueeze(1)
    band = ((distance >= -(m.size // 2)) & (distance <= (m.size - 1) // 2)).float() * (m.alpha / m.size)
    sums = g.op("MatMul", band, g.reshape(g.op("Mul", x, x), [0, C, -1]))
    d = g.op("Add", g.op("Reshape", sums, g.op("Shape", x)), g.number(m.k))
    return g.op("Div", x, g.op("Pow", d, g.number(m.beta)))


# Containers


@writes(nn.Sequential)
def sequential(g: Graph, m: nn.Sequential, x: Any) -> Any:
    for name, part in m.named_parts():
        x = g.module(part, name, x)
    return x


@writes(nn.Parallel)
def parallel(g: Graph, m: nn.Parallel, x: Value) -> tuple[Value, ...]:
    return tuple(g.module(part, name, x) for name, part in m.named_parts())


@writes(nn.Residual)
def residual(g: Graph, m: nn.Residual, x: Value) -> str:
    first, *others = parallel(g, m, x)
    y: str = first.name
    for other in others or [x]:
        y = g.op("Add", y, other)
    return y


@writes(nn.Concat)
def concat(g: Graph, m: nn.Concat, x: Value) -> str:
    return g.op("Concat", *parallel(g, m, x), axis=m.dim)


@writes(nn.First)
def first(g: Graph, m: nn.First, *inputs: Any) -> Value:
    y = g.module(m.module, "module", *inputs)
    one: Value = y if isinstance(y, Value) else y[0]
    return one
