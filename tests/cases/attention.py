"""Attention and what transformers are made of."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, Bad, Case, Replicated

E = 6


class SelfAttention(torch.nn.MultiheadAttention):
    """x looks at itself, which is one argument in handgrad, or at keys that are the values, too."""

    def _get_name(self) -> str:
        return "MultiheadAttention"

    def forward(self, x: Tensor, key: Tensor | None = None) -> Any:  # type: ignore[override]
        key = x if key is None else key
        return super().forward(x, key, key)


def _attend(*inputs: Any, **options: Any) -> Any:
    return nn.MultiheadAttention(E, 2)(*inputs, **options)


def alone(name: str, shapes: tuple[Any, ...], **options: Any) -> Case:
    """A row of self-attention."""
    return Case(
        f"MultiheadAttention-{name}",
        lambda n: n.MultiheadAttention(E, 2, **options),
        shapes,
        peer=lambda: SelfAttention(E, 2, **options),
        rank=3,
        rough=1e-3,  # the gradient of k's bias is 0 but for rounding
    )


def crossed(name: str, shapes: tuple[Any, ...], **options: Any) -> Case:
    """A row in which query, key and value are three inputs."""
    return Case(
        f"MultiheadAttention-{name}",
        lambda n: n.MultiheadAttention(E, 3, **options),
        shapes,
        peer=lambda: torch.nn.MultiheadAttention(E, 3, **options),
        rank=3,
        rough=1e-3,
    )


def _looking(build: Any, **options: Any) -> Any:
    """Attention whose forward always gets these options, such as masks."""
    module = build(E, 2)
    module.forward = partial(module.forward, **options)
    return module


def masked(name: str, **options: Any) -> Case:
    """A row of T = 4 tokens that look at S = 5, with options of forward."""
    return Case(
        f"MultiheadAttention-{name}",
        lambda n: _looking(n.MultiheadAttention, **options),
        (((4, 2, E), (5, 2, E), (5, 2, E)),),
        peer=lambda: _looking(torch.nn.MultiheadAttention, **options),
        rank=3,
        rough=1e-3,
    )


HIDDEN = torch.arange(5) > torch.tensor([[1], [4], [0], [2]])
PADDED = torch.tensor([[False, False, False, True, True], [False, True, False, False, False]])


class Waves(torch.nn.Module):
    """Sines and cosines added to (…, T, 6), written out."""

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.zeros(x.shape[-2], E, dtype=torch.float64)
        for t in range(x.shape[-2]):
            for e in range(E):
                angle = torch.tensor(t / 10000 ** ((e - e % 2) / E), dtype=torch.float64)
                waves[t, e] = angle.cos() if e % 2 else angle.sin()
        return x + waves.to(x)


class Positions(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(7, E).normal_())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[: x.shape[-2]]


def _layer(kind: str, mask: str, name: str, shapes: tuple[Any, ...], *args: Any, **options: Any) -> Case:
    """A row of one transformer layer; PyTorch's is causal by its `mask`."""
    causal = options.pop("causal", False)

    def peer() -> torch.nn.Module:
        layer = getattr(torch.nn, kind)(E, 2, 8, *args, **options)
        if causal:
            layer.forward = partial(layer.forward, **{mask: torch.ones(4, 4, dtype=torch.bool).triu(1)})
        return layer  # type: ignore[no-any-return]

    extra = {"is_causal": True} if causal else {}
    return Case(
        f"{kind}-{name}",
        lambda n: getattr(n, kind)(E, 2, 8, *args, **options, **extra),
        shapes,
        peer=peer,
        rank=3,
        rough=1e-3,
    )


block = partial(_layer, "TransformerEncoderLayer", "src_mask")
decoding = partial(_layer, "TransformerDecoderLayer", "tgt_mask")


def _encoder(n: Any, last: bool = False) -> Any:
    # what it is copied from draws nothing from a replica's stream, or the copies would start later in it
    replicas: Any = {"replicas": len(n.seeds)} if isinstance(n, Replicated) else {}
    build = nn.TransformerEncoderLayer if replicas else n.TransformerEncoderLayer
    layer = build(E, 2, 8, 0.0, batch_first=True, **replicas)
    return n.TransformerEncoder(layer, 2, n.LayerNorm(E) if last else None, enable_nested_tensor=False)


def _decoder(n: Any, last: bool = False) -> Any:
    replicas: Any = {"replicas": len(n.seeds)} if isinstance(n, Replicated) else {}
    build = nn.TransformerDecoderLayer if replicas else n.TransformerDecoderLayer
    layer = build(E, 2, 8, 0.0, batch_first=True, **replicas)
    return n.TransformerDecoder(layer, 2, n.LayerNorm(E) if last else None)


def _stacked(name: str, last: bool) -> Case:
    return Case(
        f"TransformerDecoder{name}",
        lambda n: _decoder(n, last),
        (((2, 4, E), (2, 3, E)),),
        peer=lambda: _decoder(torch.nn, last),
        rank=3,
        rough=1e-3,
    )


CASES: list[Case] = [
    Case(
        "PositionalEncoding",
        lambda n: n.PositionalEncoding(E),
        ((2, 4, E), (5, E)),
        peer=Waves,
        repr="PositionalEncoding(6)",
    ),
    Case(
        "PositionalEmbedding",
        lambda n: n.PositionalEmbedding(7, E),
        ((2, 4, E), (5, E), (2, 7, E)),
        peer=Positions,
        rank=3,
        repr="PositionalEmbedding(7, 6)",
    ),
    block("post", ((4, 2, E), (4, E)), dropout=0.0),
    block("pre", ((4, 2, E),), dropout=0.0, norm_first=True),
    block("gelu", ((2, 4, E),), 0.0, "gelu", 1e-3, batch_first=True, bias=False),
    block("causal", ((2, 4, E),), 0.0, batch_first=True, causal=True),
    Case("TransformerEncoder", _encoder, ((2, 4, E),), peer=lambda: _encoder(torch.nn), rank=3, rough=1e-3),
    Case(
        "TransformerEncoder-norm",
        lambda n: _encoder(n, True),
        ((2, 4, E),),
        peer=lambda: _encoder(torch.nn, True),
        rank=3,
        rough=1e-3,
    ),
    decoding("post", (((4, 2, E), (5, 2, E)), ((4, E), (3, E))), dropout=0.0),
    decoding("pre", (((4, 2, E), (5, 2, E)),), dropout=0.0, norm_first=True),
    decoding("gelu", (((2, 4, E), (2, 4, E)),), 0.0, "gelu", 1e-3, batch_first=True, bias=False),
    decoding("causal", (((2, 4, E), (2, 5, E)),), 0.0, batch_first=True, causal=True),
    _stacked("", False),
    _stacked("-norm", True),
    alone("self", ((4, 3, E), (4, E), (1, 2, E))),
    alone("batch-first", ((2, 4, E),), batch_first=True),
    alone("no-bias", ((4, 2, E),), bias=False),
    alone("dropout", ((4, 3, E),), dropout=0.3),
    alone("keyed", (((4, 2, E), (5, 2, E)), ((4, E), (5, E)))),
    masked("mask", attn_mask=HIDDEN),
    masked("mask-each", attn_mask=torch.stack([HIDDEN, HIDDEN.flip(1), HIDDEN, HIDDEN.roll(1, 1)])),
    masked("padding", key_padding_mask=PADDED),
    masked("padding-mask", key_padding_mask=PADDED, attn_mask=torch.arange(5) > torch.tensor([[1], [4], [0], [3]])),
    masked("heads", average_attn_weights=False),
    masked("no-weights", need_weights=False),
    crossed("crossed", (((4, 2, E), (5, 2, E), (5, 2, E)), ((4, E), (5, E), (5, E)))),
    crossed("crossed-first", (((2, 4, E), (2, 5, E), (2, 5, E)),), batch_first=True),
    crossed("widths", (((4, 2, E), (5, 2, 4), (5, 2, 7)),), kdim=4, vdim=7),
    crossed("widths-no-bias", (((4, 2, E), (5, 2, 4), (5, 2, 7)),), kdim=4, vdim=7, bias=False),
]

BAD_INPUTS: list[Bad] = [
    Bad("MultiheadAttention-width", lambda: _attend(torch.zeros(4, 2, 5)), ShapeError, r"\(T, N, 6\).*\(4, 2, 5\)"),
    Bad(
        "MultiheadAttention-widths-alone",
        lambda: nn.MultiheadAttention(E, 2, kdim=4)(torch.zeros(4, 2, E)),
        ShapeError,
        r"three inputs",
    ),
    Bad(
        "TransformerDecoderLayer-memory",
        lambda: nn.TransformerDecoderLayer(E, 2, 8)(torch.zeros(4, 2, E), torch.zeros(4, 2, 5)),
        ShapeError,
        r"\(T, N, 6\), got \(4, 2, 5\)",
    ),
    Bad("PositionalEncoding-width", lambda: nn.PositionalEncoding(6)(torch.zeros(4, 5)), ShapeError, r"\(…, T, 6\)"),
    Bad(
        "PositionalEmbedding-long", lambda: nn.PositionalEmbedding(3, 6)(torch.zeros(1, 4, 6)), ShapeError, r"at most 3"
    ),
    Bad(
        "PositionalEmbedding-width",
        lambda: nn.PositionalEmbedding(3, 6)(torch.zeros(1, 3, 5)),
        ShapeError,
        r"\(…, T, 6\)",
    ),
    Bad("MultiheadAttention-vector", lambda: _attend(torch.zeros(E)), ShapeError, r"\(T, N, 6\)"),
    Bad("MultiheadAttention-float64", lambda: _attend(torch.zeros(4, 2, E, dtype=F64)), DTypeError, r"got float64"),
    Bad(
        "MultiheadAttention-mask",
        lambda: _attend(torch.zeros(4, 2, E), attn_mask=torch.zeros(3, 4)),
        ShapeError,
        r"attn_mask of shape \(4, 4\) or \(4, 4, 4\).*\(3, 4\)",
    ),
    Bad(
        "MultiheadAttention-padding",
        lambda: _attend(torch.zeros(4, 2, E), key_padding_mask=torch.zeros(4, 2)),
        ShapeError,
        r"key_padding_mask of shape \(2, 4\).*\(4, 2\)",
    ),
]

BAD_OPTIONS: list[Bad] = [
    Bad("MultiheadAttention-heads", lambda: nn.MultiheadAttention(5, 2), ArgumentError, r"embed_dim=5.*num_heads=2"),
    Bad("PositionalEncoding-odd", lambda: nn.PositionalEncoding(5), ArgumentError, r"an even embed_dim, got 5"),
    Bad(
        "TransformerEncoderLayer-activation",
        lambda: nn.TransformerEncoderLayer(6, 2, activation="tanh"),
        ArgumentError,
        r"'relu', 'gelu'",
    ),
    Bad(
        "TransformerEncoder-0",
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2), 0),
        ArgumentError,
        r"num_layers",
    ),
    Bad("MultiheadAttention-0", lambda: nn.MultiheadAttention(0, 2), ArgumentError, r"embed_dim"),
    Bad("MultiheadAttention-dropout", lambda: nn.MultiheadAttention(4, 2, 1.5), ArgumentError, r"dropout from 0 to 1"),
    Bad(
        "MultiheadAttention-bias-kv",
        lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True),
        NotImplementedError,
        r"add_bias_kv",
    ),
    Bad(
        "MultiheadAttention-zero",
        lambda: nn.MultiheadAttention(4, 2, add_zero_attn=True),
        NotImplementedError,
        r"add_zero_attn",
    ),
]
