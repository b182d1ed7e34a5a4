"""Attention and what transformers are made of."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, Bad, Case

E = 6


class SelfAttention(torch.nn.MultiheadAttention):
    """x looks at itself, which is one argument in handgrad."""

    def _get_name(self) -> str:
        return "MultiheadAttention"

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x, x, x)


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

CASES: list[Case] = [
    alone("self", ((4, 3, E), (4, E), (1, 2, E))),
    alone("batch-first", ((2, 4, E),), batch_first=True),
    alone("no-bias", ((4, 2, E),), bias=False),
    alone("dropout", ((4, 3, E),), dropout=0.3),
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
