"""How ONNX says what works on sequences: recurrent layers, and attention as matrix products and a softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn
from handgrad.errors import UnsupportedError
from handgrad.interop.graph import Graph, Value, writes
from handgrad.interop.onnx_layers import with_batch

# Recurrent: ONNX's operators, whose gates stand in another order

GATES = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
"""PyTorch's r, z, n are ONNX's z, r, h; its i, f, g, o are i, o, f, c."""


def _gates(value: Tensor, kind: str) -> Tensor:
    """Put the gates, along the last dimension, into ONNX's order."""
    parts = value.chunk(len(GATES[kind]), -1)
    return torch.cat([parts[gate] for gate in GATES[kind]], -1)


def _step(g: Graph, m: Any, kind: str, suffixes: list[str], x: str, starts: list[str]) -> list[str]:
    """One layer, of one or two directions: y (T, D, N, H) and the last states, each (D, N, H)."""
    weights = [m.weights(suffix) for suffix in suffixes]
    W = torch.stack([_gates(w.ih.matrix, kind).mT for w in weights])  # (D, G H, I)
    R = torch.stack([_gates(w.hh.matrix, kind).mT for w in weights])
    shift: str = ""
    if m.bias:
        B = torch.stack([torch.cat([_gates(b.value, kind) for b in (w.bias_ih, w.bias_hh)]) for w in weights])
        shift = g.constant("bias", B)
    options: dict[str, Any] = {"hidden_size": m.hidden_size}
    options["direction"] = "bidirectional" if len(suffixes) == 2 else "forward"
    if kind == "GRU":
        options["linear_before_reset"] = 1
    if kind == "RNN":
        options["activations"] = [m.nonlinearity.capitalize()] * len(suffixes)
    inputs = [x, g.constant("weight_ih", W), g.constant("weight_hh", R), shift, "", *starts]
    return g.ops(kind, m.steps.states + 1, *inputs, **options)


def _states(hx: Any) -> list[Value]:
    return [] if hx is None else [hx] if isinstance(hx, Value) else list(hx)


@writes(nn.RNN, nn.GRU, nn.LSTM)
def recurrent(g: Graph, m: nn.RNN, x: Value, hx: Any = None) -> Any:
    alone = x.like.ndim == 2
    y = g.op("Unsqueeze", x, [1]) if alone else g.swap(x, 1, 0, 2) if m.batch_first else x.name
    given = [g.op("Unsqueeze", state, [1]) if alone else state.name for state in _states(hx)]
    D = 2 if m.bidirectional else 1
    ends = []
    for layer in range(m.num_layers):
        suffixes = [f"_l{layer}", f"_l{layer}_reverse"][:D]
        starts = [g.op("Slice", state, [D * layer], [D * (layer + 1)], [0]) for state in given]
        y, *end = _step(g, m, type(m).__name__, suffixes, y, starts)
        y = g.reshape(g.swap(y, 0, 2, 1, 3), [0, 0, -1])  # (T, N, D H)
        ends.append(end)
    last = [g.op("Concat", *states, axis=0) if len(states) > 1 else states[0] for states in zip(*ends)]
    if alone:
        y, last = g.op("Squeeze", y, [1]), [g.op("Squeeze", state, [1]) for state in last]
    elif m.batch_first:
        y = g.swap(y, 1, 0, 2)
    return y, last[0] if len(last) == 1 else tuple(last)


@writes(nn.RNNCell, nn.GRUCell, nn.LSTMCell)
def cell(g: Graph, m: nn.RNNCell, x: Value, hx: Any = None) -> Any:
    """A sequence of one step."""
    around = [0, 1] if x.like.ndim == 1 else [0]  # in place of T, and of N where there is none
    starts = [g.op("Unsqueeze", state, around) for state in _states(hx)]
    kind = type(m).__name__.removesuffix("Cell")
    _, *ends = _step(g, m, kind, [""], g.op("Unsqueeze", x, around), starts)
    last = [g.op("Squeeze", end, around) for end in ends]
    return last[0] if len(last) == 1 else tuple(last)


# Attention


@writes(nn.MultiheadAttention)
def attention(
    g: Graph, m: nn.MultiheadAttention, query: Value, key: Value | None = None, value: Value | None = None
) -> Any:
    return attended(g, m, [query] if key is None else [query, key, key if value is None else value])


def attended(g: Graph, m: nn.MultiheadAttention, given: list[Value], causal: bool = False) -> tuple[str, str]:
    """The output, and the weights averaged over the heads."""
    for layer, kind in ((m, nn.MultiheadAttention), (m.out_proj, nn.Linear)):
        if type(layer) is not kind or "forward" in vars(layer):
            got, remedy = checks.kind(layer), "Export the network without it."
            raise UnsupportedError(f"{kind.__name__} itself", got, remedy, m.label)
    alone = given[0].like.ndim == 2
    x = [_batch_first(g, m, part) for part in given]
    x = x * 3 if len(x) == 1 else x
    E, d = m.embed_dim, m.embed_dim // m.num_heads
    weights = m.in_proj_weight.matrix.chunk(3, -1) if m.packed else _three(m)
    shifts = [None] * 3 if m.in_proj_bias is None else m.in_proj_bias.value.chunk(3, -1)
    heads = []
    for name, part, W, b in zip(("q", "k", "v"), x, weights, shifts):
        y = g.op("MatMul", part, g.constant(f"{name}_weight", W))
        y = y if b is None else g.op("Add", y, g.constant(f"{name}_bias", b))
        heads.append(g.swap(g.reshape(y, [0, 0, m.num_heads, d]), 0, 2, 1, 3))  # (N, h, T, d)
    q, k, v = heads
    S = g.op("Mul", g.op("MatMul", q, g.swap(k, 0, 1, 3, 2)), g.number(1 / math.sqrt(d)))  # (N, h, T, S)
    if causal:
        T = given[0].like.shape[1 if m.batch_first and not alone else 0]
        S = g.op("Add", S, torch.full((T, T), -math.inf, dtype=torch.float32).triu(1))
    P = g.op("Softmax", S, axis=-1)
    o = g.reshape(g.swap(g.op("MatMul", P, v), 0, 2, 1, 3), [0, 0, E])
    y = g.affine(o, m.out_proj.weight, m.out_proj.bias)
    mean = g.op("ReduceMean", P, [1], keepdims=0)  # (N, T, S)
    if alone:
        return g.op("Squeeze", y, [0]), g.op("Squeeze", mean, [0])
    return y if m.batch_first else g.swap(y, 1, 0, 2), mean


def _batch_first(g: Graph, m: nn.MultiheadAttention, x: Value) -> str:
    if x.like.ndim == 2:
        return with_batch(g, x, 3)[0]
    return x.name if m.batch_first else g.swap(x, 1, 0, 2)


def _three(m: nn.MultiheadAttention) -> list[Tensor]:
    return [m.q_proj_weight.matrix, m.k_proj_weight.matrix, m.v_proj_weight.matrix]


@writes(nn.TransformerEncoderLayer)
def encoder_layer(g: Graph, m: nn.TransformerEncoderLayer, x: Value) -> Value:
    return _blocks(g, m, x, [partial(_looked, g, m), partial(_fed, g, m)])


@writes(nn.TransformerDecoderLayer)
def decoder_layer(g: Graph, m: nn.TransformerDecoderLayer, x: Value, memory: Value) -> Value:
    return _blocks(g, m, x, [partial(_looked, g, m), partial(_looked, g, m, memory=memory), partial(_fed, g, m)])


def _blocks(g: Graph, m: Any, x: Value, blocks: list[Callable[[Value], Value]]) -> Value:
    """Add what each block makes of x to it, with its normalisation before or after."""
    for index, block in enumerate(blocks, 1):
        name = f"norm{index}"
        inner = block(g.module(getattr(m, name), name, x) if m.norm_first else x)
        x = Value(g.op("Add", x, inner), x.like)
        x = x if m.norm_first else g.module(getattr(m, name), name, x)
    return x


def _looked(g: Graph, m: Any, u: Value, memory: Value | None = None) -> Value:
    """Attention of u to itself, or to the memory."""
    if memory is None:
        return Value(attended(g, m.self_attn, [u], m.is_causal)[0], u.like)
    return Value(attended(g, m.multihead_attn, [u, memory, memory])[0], u.like)


def _fed(g: Graph, m: Any, u: Value) -> Value:
    between: Any = m.activation if isinstance(m.activation, nn.Module) else m.between
    h = g.module(between, "activation", g.module(m.linear1, "linear1", u))
    y: Value = g.module(m.linear2, "linear2", h)
    return y


@writes(nn.TransformerEncoder, nn.TransformerDecoder)
def stack(g: Graph, m: nn.TransformerEncoder, x: Value, *memory: Value) -> Any:
    for name, layer in m.layers.named_parts():
        x = g.module(layer, f"layers.{name}", x, *memory)
    return x if m.norm is None else g.module(m.norm, "norm", x)


@writes(nn.ModuleList, nn.ModuleDict)
def modules_alone(g: Graph, m: nn.Module, *inputs: Any) -> Any:  # noqa: ARG001
    remedy = "Put its modules into a Sequential."
    raise UnsupportedError("a module with a forward", "modules alone", remedy, m.label)
