"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, INT, Bad, Case, Shape

IMAGES: tuple[Shape, ...] = ((2, 4, 7, 6), (4, 5, 5))
SIGNALS: tuple[Shape, ...] = ((3, 4, 9), (4, 6))
EMPTY: tuple[Shape, ...] = ((0, 4, 7, 6),)
WIDE: tuple[Shape, ...] = ((3, 8, 7, 6), (8, 5, 5))
"""With so many channels that the weight's gradient is a convolution, not a product with patches."""


def _sized(module: Any, *size: int) -> Any:
    """A transposed convolution that is always asked for this output_size."""
    module.forward = partial(module.forward, output_size=size)
    return module


def _rows(name: str, shapes: Sequence[Shape], *options: tuple[str, dict[str, Any]]) -> list[Case]:
    """Rows of a member with a kernel of 3, or that of the options, and as many channels as the shapes have."""
    dims = int(name[-2])
    C = shapes[0][1]

    def row(label: str, named: dict[str, Any]) -> Case:
        kernel = named.pop("kernel_size", 3)
        return Case(
            f"{name}-{label}",
            lambda n: getattr(n, name)(C, 6, kernel, **named),
            tuple(shapes),
            rank=dims + 2,
            rough=1e-3,
        )

    return [row(label, dict(named)) for label, named in options]


DOWN: list[tuple[str, dict[str, Any]]] = [
    ("plain", {}),
    ("no-bias", {"bias": False}),
    ("one", {"kernel_size": 1}),
    ("one-stride", {"kernel_size": 1, "stride": 2}),
    ("one-groups", {"kernel_size": 1, "stride": 3, "groups": 2, "bias": False}),
    ("one-padding", {"kernel_size": 1, "padding": 1}),
    ("one-reflect", {"kernel_size": 1, "padding": 1, "padding_mode": "reflect"}),
    ("stride", {"stride": 2}),
    ("stride-padding", {"stride": 2, "padding": 1}),
    ("stride-3", {"kernel_size": 2, "stride": 3, "padding": 1}),
    ("dilation", {"dilation": 2, "padding": 2}),
    ("dilation-stride", {"dilation": 2, "stride": 2, "padding": 1}),
    ("groups", {"groups": 2, "padding": 1}),
    ("groups-stride", {"groups": 2, "stride": 2, "bias": False}),
    ("valid", {"padding": "valid"}),
    ("same", {"padding": "same"}),
    ("same-even", {"kernel_size": 4, "padding": "same"}),
    ("same-dilation", {"kernel_size": 2, "padding": "same", "dilation": 3}),
    ("reflect", {"padding": 2, "padding_mode": "reflect"}),
    ("replicate", {"padding": 2, "padding_mode": "replicate", "stride": 2}),
    ("circular", {"padding": 2, "padding_mode": "circular", "groups": 2}),
    ("circular-same", {"kernel_size": 4, "padding": "same", "padding_mode": "circular"}),
    ("circular-valid", {"padding": "valid", "padding_mode": "circular"}),
]

UP: list[tuple[str, dict[str, Any]]] = [
    ("plain", {}),
    ("no-bias", {"bias": False}),
    ("one", {"kernel_size": 1}),
    ("one-stride", {"kernel_size": 1, "stride": 2}),
    ("one-groups", {"kernel_size": 1, "stride": 3, "groups": 2, "output_padding": 2}),
    ("one-output", {"kernel_size": 1, "dilation": 2, "output_padding": 1}),
    ("stride", {"stride": 2, "padding": 1}),
    ("stride-output", {"stride": 2, "padding": 1, "output_padding": 1}),
    ("stride-3", {"kernel_size": 2, "stride": 3, "output_padding": 2}),
    ("dilation", {"dilation": 2, "padding": 2}),
    ("dilation-output", {"dilation": 2, "output_padding": 1}),
    ("dilation-stride", {"dilation": 3, "stride": 2, "padding": 1, "output_padding": 2}),
    ("groups", {"groups": 2, "padding": 1}),
    ("groups-stride", {"groups": 2, "stride": 2, "output_padding": 1, "bias": False}),
]

LINE = {
    "plain",
    "one",
    "one-stride",
    "stride-padding",
    "dilation-stride",
    "groups-stride",
    "same-even",
    "replicate",
    "circular",
}
"""Of one dimension fewer: the code is that of two."""

CASES: list[Case] = [
    *_rows("Conv2d", IMAGES, *DOWN),
    *_rows("Conv1d", SIGNALS, *[option for option in DOWN if option[0] in LINE]),
    *_rows("ConvTranspose2d", IMAGES, *UP),
    *_rows("ConvTranspose1d", SIGNALS, *[option for option in UP if option[0] in LINE]),
    *_rows(
        "Conv2d",
        WIDE,
        ("wide", {"padding": 1}),
        ("wide-stride", {"stride": 2, "padding": 1}),
        ("wide-pairs", {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 3)}),
        ("wide-groups", {"groups": 2, "stride": 2, "padding": "valid"}),
        ("wide-reflect", {"padding": (2, 1), "padding_mode": "reflect", "stride": (2, 1), "dilation": (1, 2)}),
        ("wide-same-even", {"kernel_size": (2, 4), "padding": "same", "groups": 2}),
        ("wide-groups-padding", {"groups": 2, "padding": (2, 1)}),
        ("wide-dilation", {"kernel_size": (2, 3), "padding": (0, 3), "dilation": (2, 3)}),
    ),
    *_rows(
        "ConvTranspose2d",
        WIDE,
        ("wide", {"padding": 1}),
        ("wide-stride", {"stride": 2, "padding": 1, "output_padding": 1}),
        (
            "wide-pairs",
            {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 3), "output_padding": (1, 2)},
        ),
        ("wide-groups", {"groups": 2, "stride": 2}),
    ),
    *_rows("Conv1d", ((3, 8, 9), (8, 6)), ("wide", {"kernel_size": 5, "stride": 2, "padding": 2, "dilation": 1})),
    *_rows("ConvTranspose1d", ((3, 8, 9), (8, 6)), ("wide", {"kernel_size": 6, "stride": 2, "padding": 2})),
    *_rows("Conv2d", IMAGES, ("pairs", {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)})),
    *_rows("ConvTranspose2d", IMAGES, ("pairs", {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)})),
    *_rows("Conv2d", EMPTY, ("empty", {"padding": 1}), ("empty-reflect", {"padding": 1, "padding_mode": "reflect"})),
    *_rows("Conv2d", EMPTY, ("one-empty", {"kernel_size": 1, "stride": 2})),
    *_rows("ConvTranspose2d", EMPTY, ("empty", {"padding": 1}), ("one-empty", {"kernel_size": 1, "stride": 2})),
    Case("Conv2d-depthwise", lambda n: n.Conv2d(4, 8, 3, padding=1, groups=4), IMAGES, rank=4),
    Case("Conv2d-wide-empty", lambda n: n.Conv2d(8, 2, 3), ((0, 8, 7, 6),), rank=4),
    Case("Conv2d-float64", lambda n: n.Conv2d(4, 2, 3, dtype=torch.float64, device="cpu"), IMAGES, rank=4),
    Case("Conv1d-depthwise", lambda n: n.Conv1d(4, 4, (3,), stride=[2], groups=4), SIGNALS, rank=3),
    Case("ConvTranspose2d-depthwise", lambda n: n.ConvTranspose2d(4, 8, 3, stride=2, groups=4), IMAGES, rank=4),
    Case(
        "ConvTranspose2d-output-size",
        lambda n: _sized(n.ConvTranspose2d(4, 2, 3, stride=(2, 3), padding=1), 14, 18),
        ((2, 4, 7, 6), (4, 7, 6)),
        rank=4,
    ),
    Case(
        "ConvTranspose1d-output-size",
        lambda n: _sized(n.ConvTranspose1d(4, 2, 3, stride=3), 28),
        ((3, 4, 9), (4, 9)),
        rank=3,
    ),
]


def _conv(*shape: int, **options: Any) -> Any:
    return nn.Conv2d(3, 2, 3, **options)(torch.zeros(*shape))


def _up(*shape: int, size: tuple[int, ...] | None = None, **options: Any) -> Any:
    return nn.ConvTranspose2d(3, 2, 3, **options)(torch.zeros(*shape), size)


BAD_INPUTS: list[Bad] = [
    Bad("Conv2d-channels", lambda: _conv(4, 2, 5, 5), ShapeError, r"Conv2d 3→2: .*\(N, 3, H, W\).*\(4, 2, 5, 5\)"),
    Bad("Conv2d-rank", lambda: _conv(3, 5), ShapeError, r"\(N, 3, H, W\), got \(3, 5\)"),
    Bad("Conv2d-rank-5", lambda: _conv(1, 1, 3, 5, 5), ShapeError, r"got \(1, 1, 3, 5, 5\)"),
    Bad("Conv2d-unbatched-channels", lambda: _conv(2, 5, 5), ShapeError, r"got \(2, 5, 5\)"),
    Bad("Conv2d-small", lambda: _conv(1, 3, 2, 5), ShapeError, r"at least 3 pixels.*got 2 in \(2, 5\)"),
    Bad("Conv2d-small-padded", lambda: _conv(1, 3, 5, 2, padding=1, dilation=2), ShapeError, r"at least 5.*got 4"),
    Bad("Conv2d-replicas-channels", lambda: _conv(2, 4, 1, 5, 5, replicas=2), ShapeError, r"\(2, N, 3, H, W\)"),
    Bad("Conv2d-replicas-unbatched", lambda: _conv(3, 5, 5, replicas=2), ShapeError, r"leading 2"),
    Bad(
        "Conv2d-reflect",
        lambda: _conv(1, 3, 4, 3, padding=3, padding_mode="reflect"),
        ShapeError,
        r"at least 4 pixels.*reflect.*got 3 in \(4, 3\)",
    ),
    Bad(
        "Conv2d-circular",
        lambda: _conv(1, 3, 2, 4, padding=3, padding_mode="circular"),
        ShapeError,
        r"at least 3 pixels.*circular.*got 2 in \(2, 4\)",
    ),
    Bad("Conv2d-float64", lambda: nn.Conv2d(3, 2, 3)(torch.zeros(3, 5, 5, dtype=F64)), DTypeError, r"got float64"),
    Bad("Conv2d-integers", lambda: nn.Conv2d(3, 2, 3)(torch.zeros(3, 5, 5, dtype=INT)), DTypeError, r"got int64"),
    Bad("Conv1d-channels", lambda: nn.Conv1d(3, 2, 3)(torch.zeros(4, 2, 5)), ShapeError, r"\(N, 3, L\)"),
    Bad("ConvTranspose2d-channels", lambda: _up(4, 2, 5, 5), ShapeError, r"\(N, 3, H, W\)"),
    Bad("ConvTranspose2d-empty", lambda: _up(4, 3, 1, 1, padding=2), ShapeError, r"leaves an output"),
    Bad("ConvTranspose2d-size", lambda: _up(4, 3, 5, 5, size=(7, 8)), ShapeError, r"from \(7, 7\) to \(7, 7\)"),
    Bad("ConvTranspose2d-few", lambda: _up(4, 3, 5, 5, stride=2, size=(11,)), ShapeError, r"output_size from"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("Conv2d-0", lambda: nn.Conv2d(0, 2, 3), ArgumentError, r"in_channels"),
    Bad("Conv2d-out", lambda: nn.Conv2d(3, -1, 3), ArgumentError, r"out_channels"),
    Bad("Conv2d-kernel", lambda: nn.Conv2d(3, 2, 0), ArgumentError, r"kernel_size.*at least 1, or 2 of them, got 0"),
    Bad("Conv2d-kernel-3", lambda: nn.Conv2d(3, 2, (3, 3, 3)), ArgumentError, r"kernel_size"),
    Bad("Conv2d-stride", lambda: nn.Conv2d(3, 2, 3, -1), ArgumentError, r"stride .* got -1"),
    Bad("Conv2d-stride-float", lambda: nn.Conv2d(3, 2, 3, 1.5), ArgumentError, r"stride"),  # type: ignore[arg-type]
    Bad("Conv2d-padding", lambda: nn.Conv2d(3, 2, 3, padding=(1, -1)), ArgumentError, r"padding .* at least 0"),
    Bad("Conv2d-padding-name", lambda: nn.Conv2d(3, 2, 3, padding="full"), ArgumentError, r"'same', 'valid'"),
    Bad("Conv2d-dilation", lambda: nn.Conv2d(3, 2, 3, dilation=0), ArgumentError, r"dilation"),
    Bad("Conv2d-groups", lambda: nn.Conv2d(3, 2, 3, groups=2), ArgumentError, r"2 for 3 and 2 channels"),
    Bad("Conv2d-groups-out", lambda: nn.Conv2d(4, 3, 3, groups=2), ArgumentError, r"2 for 4 and 3 channels"),
    Bad("Conv2d-groups-0", lambda: nn.Conv2d(4, 3, 3, groups=0), ArgumentError, r"groups"),
    Bad("Conv2d-same", lambda: nn.Conv2d(3, 2, 3, 2, "same"), ArgumentError, r"stride 1 with padding=\"same\""),
    Bad("Conv2d-mode", lambda: nn.Conv2d(3, 2, 3, padding_mode="mirror"), ArgumentError, r"'reflect'.*got 'mirror'"),
    Bad("Conv2d-init", lambda: nn.Conv2d(3, 2, 3, init="he"), ArgumentError, r"got 'he'"),
    Bad("Conv2d-replicas", lambda: nn.Conv2d(3, 2, 3, replicas=0), ArgumentError, r"replicas"),
    Bad("ConvTranspose1d-mode", lambda: nn.ConvTranspose1d(3, 2, 3, padding_mode="reflect"), ArgumentError, r"'zeros'"),
    Bad(
        "ConvTranspose1d-same",
        lambda: nn.ConvTranspose1d(3, 2, 3, padding="same"),  # type: ignore[arg-type]
        ArgumentError,
        r"padding to be an integer",
    ),
    Bad(
        "ConvTranspose2d-output",
        lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=2),
        ArgumentError,
        r"output_padding below stride or dilation, got 2",
    ),
]
