"""Elementwise activations, softmaxes and gates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from tests.cases.base import F64, Bad, Case, Shape, mapped

SHAPES: tuple[Shape, ...] = ((4, 3), (2, 3, 4, 2), (), (0, 3))

ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "ReLU": lambda n: n.ReLU(),
    "ReLU6": lambda n: n.ReLU6(),
    "LeakyReLU": lambda n: n.LeakyReLU(),
    "LeakyReLU-steep": lambda n: n.LeakyReLU(negative_slope=1.7),
    "LeakyReLU-falling": lambda n: n.LeakyReLU(-0.4),
    "ELU": lambda n: n.ELU(),
    "ELU-deep": lambda n: n.ELU(alpha=1.8),
    "CELU": lambda n: n.CELU(),
    "CELU-deep": lambda n: n.CELU(alpha=1.8),
    "SELU": lambda n: n.SELU(),
    "GELU": lambda n: n.GELU(),
    "GELU-tanh": lambda n: n.GELU(approximate="tanh"),
    "SiLU": lambda n: n.SiLU(),
    "Mish": lambda n: n.Mish(),
    "Sigmoid": lambda n: n.Sigmoid(),
    "LogSigmoid": lambda n: n.LogSigmoid(),
    "Tanh": lambda n: n.Tanh(),
    "Tanhshrink": lambda n: n.Tanhshrink(),
    "Hardtanh": lambda n: n.Hardtanh(),
    "Hardtanh-wide": lambda n: n.Hardtanh(-0.3, 1.2),
    "Hardsigmoid": lambda n: n.Hardsigmoid(),
    "Hardswish": lambda n: n.Hardswish(),
    "Hardshrink": lambda n: n.Hardshrink(),
    "Hardshrink-wide": lambda n: n.Hardshrink(1.2),
    "Softshrink": lambda n: n.Softshrink(),
    "Softshrink-wide": lambda n: n.Softshrink(1.2),
    "Softplus": lambda n: n.Softplus(),
    "Softplus-below": lambda n: n.Softplus(1.0, -0.6),
    "Softplus-sharp": lambda n: n.Softplus(beta=2.5, threshold=1.5),
    "Softsign": lambda n: n.Softsign(),
    "Threshold": lambda n: n.Threshold(0.3, -1.5),
}
"""What treats every number alike."""


class ExactHardsigmoid(torch.nn.Module):
    """Whose slope is 1/6: torch.nn's rounds it to float32 in float64 as well."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.relu6(x + 3) / 6


class ExactCELU(torch.nn.Module):
    """Whose slope is e^(x/α): torch.nn's rounds 1/α to float32 in float64 as well."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 1.8 * torch.expm1(x.clamp(max=0) / 1.8))


EXACT: dict[str, Callable[[], torch.nn.Module]] = {"Hardsigmoid": ExactHardsigmoid, "CELU-deep": ExactCELU}

CASES: list[Case] = [
    *(Case(name, make, SHAPES, peer=EXACT.get(name), repr=repr(make(torch.nn))) for name, make in ELEMENTWISE.items()),
    Case("ReLU6-wide", lambda n: n.ReLU6(), SHAPES, draws=(mapped(lambda x: 6 * x),)),
    Case("PReLU", lambda n: n.PReLU(), ((4, 3), (7,), (2, 3, 4, 2), (0, 3)), lone=True),
    Case("PReLU-channels", lambda n: n.PReLU(3, init=0.1), ((4, 3), (2, 3, 4, 2), (0, 3)), lone=True),
    Case("PReLU-float64", lambda n: n.PReLU(3, dtype=F64, device="cpu"), ((4, 3),), lone=True),
    Case("RReLU", lambda n: n.RReLU(), ((4, 3), (2, 3, 4, 2), (), (0, 3)), lone=True),
    Case("RReLU-steep", lambda n: n.RReLU(-0.5, 1.7), ((4, 3), (7,)), lone=True),
    Case("RReLU-alike", lambda n: n.RReLU(0.2, 0.2), ((4, 3),), lone=True),
    Case("Softmax", lambda n: n.Softmax(dim=-1), ((4, 3), (7,), (2, 3, 4, 2), (0, 3)), lone=True),
    Case("Softmax-channels", lambda n: n.Softmax(1), ((4, 3), (2, 3, 4, 2)), lone=True),
    Case("Softmin", lambda n: n.Softmin(dim=-1), ((4, 3), (7,), (2, 3, 4, 2)), lone=True),
    Case("Softmin-batch", lambda n: n.Softmin(0), ((4, 3), (2, 3, 4, 2)), lone=True),
    Case("Softmax2d", lambda n: n.Softmax2d(), ((2, 3, 4, 2), (3, 4, 2)), lone=True),
    Case("LogSoftmax", lambda n: n.LogSoftmax(dim=-1), ((4, 3), (7,), (2, 3, 4, 2), (0, 3)), lone=True),
    Case("LogSoftmax-channels", lambda n: n.LogSoftmax(1), ((4, 3), (2, 3, 4, 2)), lone=True),
    Case("GLU", lambda n: n.GLU(), ((4, 6), (2,), (2, 3, 4, 2), (0, 4)), lone=True),
    Case("GLU-channels", lambda n: n.GLU(dim=1), ((4, 6), (2, 4, 3)), lone=True),
]

INTEGERS = torch.tensor([[1, 2]])


def _integers(make: Callable[[Any], Any]) -> Any:
    return make(nn)(INTEGERS)


BAD_INPUTS: list[Bad] = [
    *(
        Bad(f"{name}-integers", partial(_integers, make), DTypeError, r"floating-point.*got int64")
        for name, make in ELEMENTWISE.items()
    ),
    Bad("ReLU-number", lambda: nn.ReLU()(1.0), DTypeError, r"ReLU: .*got float"),
    Bad("PReLU-integers", lambda: nn.PReLU()(INTEGERS), DTypeError, r"PReLU: .*got int64"),
    Bad("PReLU-float64", lambda: nn.PReLU()(torch.zeros(3, dtype=F64)), DTypeError, r"float32.*got float64"),
    Bad("PReLU-channels", lambda: nn.PReLU(3)(torch.zeros(2, 4)), ShapeError, r"\(N, 3, …\), got \(2, 4\)"),
    Bad("PReLU-vector", lambda: nn.PReLU(3)(torch.zeros(3)), ShapeError, r"\(N, 3, …\), got \(3,\)"),
    Bad("PReLU-replicas", lambda: nn.PReLU(replicas=3)(torch.zeros(2, 4)), ShapeError, r"leading 3"),
    Bad("RReLU-integers", lambda: nn.RReLU()(INTEGERS), DTypeError, r"RReLU: .*got int64"),
    Bad("RReLU-replicas", lambda: nn.RReLU(replicas=3)(torch.zeros(2, 4)), ShapeError, r"leading 3"),
    Bad("Softmax-integers", lambda: nn.Softmax(0)(INTEGERS), DTypeError, r"Softmax: .*got int64"),
    Bad("Softmax-replicas", lambda: nn.Softmax(0, replicas=3)(torch.zeros(2, 4)), ShapeError, r"leading 3"),
    Bad("Softmax2d-rows", lambda: nn.Softmax2d()(torch.zeros(2, 4)), ShapeError, r"\(N, C, H, W\) or.*got \(2, 4\)"),
    Bad("Softmax2d-replicas", lambda: nn.Softmax2d(replicas=2)(torch.zeros(2, 3, 4)), ShapeError, r"\(R, C, H, W\)"),
    Bad("Softmin-integers", lambda: nn.Softmin(0)(INTEGERS), DTypeError, r"Softmin: .*got int64"),
    Bad("LogSoftmax-list", lambda: nn.LogSoftmax(0)([1.0]), DTypeError, r"LogSoftmax: .*got list"),
    Bad("GLU-integers", lambda: nn.GLU()(INTEGERS), DTypeError, r"GLU: .*got int64"),
    Bad("GLU-number", lambda: nn.GLU()(torch.zeros(())), ShapeError, r"even length of dimension -1, got 1"),
    Bad("GLU-odd", lambda: nn.GLU()(torch.zeros(4, 3)), ShapeError, r"even length of dimension -1, got 3"),
    Bad("GLU-replicas", lambda: nn.GLU(replicas=3)(torch.zeros(2, 4)), ShapeError, r"leading 3"),
]

INPLACE: dict[str, Callable[[], Any]] = {
    "ReLU": lambda: nn.ReLU(inplace=True),
    "ReLU6": lambda: nn.ReLU6(True),
    "LeakyReLU": lambda: nn.LeakyReLU(inplace=True),
    "ELU": lambda: nn.ELU(inplace=True),
    "CELU": lambda: nn.CELU(inplace=True),
    "SELU": lambda: nn.SELU(True),
    "SiLU": lambda: nn.SiLU(True),
    "Mish": lambda: nn.Mish(True),
    "Hardtanh": lambda: nn.Hardtanh(inplace=True),
    "Hardsigmoid": lambda: nn.Hardsigmoid(True),
    "Hardswish": lambda: nn.Hardswish(True),
    "RReLU": lambda: nn.RReLU(inplace=True),
    "Threshold": lambda: nn.Threshold(1.0, 2.0, True),
}

BAD_OPTIONS: list[Bad] = [
    *(
        Bad(f"{name}-inplace", call, NotImplementedError, rf"{name}\(inplace=True\).*never changes its input")
        for name, call in INPLACE.items()
    ),
    Bad("ReLU-replicas", lambda: nn.ReLU(replicas=-1), ArgumentError, r"replicas"),
    Bad("CELU-alpha", lambda: nn.CELU(alpha=0), ArgumentError, r"alpha other than 0"),
    Bad("Softplus-beta", lambda: nn.Softplus(beta=0), ArgumentError, r"beta other than 0"),
    Bad("GELU-approximate", lambda: nn.GELU("erf"), ArgumentError, r"'none', 'tanh'.*got 'erf'"),
    Bad("Hardtanh-bounds", lambda: nn.Hardtanh(1.0, 1.0), ArgumentError, r"min_val below max_val"),
    Bad("Hardtanh-min", lambda: nn.Hardtanh(min_value=1.0), NotImplementedError, r"min_val="),
    Bad("Hardtanh-max", lambda: nn.Hardtanh(max_value=1.0), NotImplementedError, r"max_val="),
    Bad("Softshrink-lambd", lambda: nn.Softshrink(-0.1), ArgumentError, r"lambd of at least 0"),
    Bad("RReLU-bounds", lambda: nn.RReLU(0.3, 0.1), ArgumentError, r"lower of at most upper, got 0\.3 and 0\.1"),
    Bad("RReLU-nan", lambda: nn.RReLU(0.1, float("nan")), ArgumentError, r"upper to be a number, got nan"),
    Bad("PReLU-0", lambda: nn.PReLU(0), ArgumentError, r"num_parameters"),
    Bad("Softmax-dim", lambda: nn.Softmax(), NotImplementedError, r"Softmax\(dim=None\)"),
    Bad("Softmin-dim", lambda: nn.Softmin(), NotImplementedError, r"Softmin\(dim=None\)"),
    Bad("LogSoftmax-dim", lambda: nn.LogSoftmax(), NotImplementedError, r"LogSoftmax\(dim=None\)"),
]
