"""float16, whose range ends at 65,504: what is finite in PyTorch is finite here; and bfloat16's ε."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn

HALF: dict[str, Any] = {"dtype": torch.float16}
NORMS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "BatchNorm1d": (lambda n: n.BatchNorm1d(4, **HALF), (500, 4)),
    "BatchNorm2d": (lambda n: n.BatchNorm2d(4, **HALF), (8, 4, 12, 12)),
    "BatchNorm2d-average": (lambda n: n.BatchNorm2d(4, momentum=None, **HALF), (8, 4, 3, 3)),
    "LayerNorm": (lambda n: n.LayerNorm(512, **HALF), (2, 512)),
    "RMSNorm": (lambda n: n.RMSNorm(512, **HALF), (2, 512)),
    "GroupNorm": (lambda n: n.GroupNorm(2, 4, **HALF), (2, 4, 99)),
    "InstanceNorm1d": (lambda n: n.InstanceNorm1d(4, affine=True, track_running_stats=True, **HALF), (2, 4, 99)),
    "AvgPool2d": (lambda n: n.AvgPool2d(40), (1, 2, 40, 80)),
    "AdaptiveAvgPool2d": (lambda n: n.AdaptiveAvgPool2d((1, 3)), (1, 2, 80, 40)),
}
ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("ReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Tanhshrink", "LogSigmoid")),
    ("Hardswish", {}),
    ("GELU", {"approximate": "tanh"}),
]


def compared(ours: Any, theirs: Any, x: Tensor, rtol: float = 2e-3, atol: float = 2e-2) -> None:
    """Outputs and gradients agree, and all are halves."""
    given = x.clone().requires_grad_()
    y = theirs(given)
    dy = torch.randn_like(y)
    y.backward(dy)
    found = [ours(x), ours.backward(dy), *(p.grad for p in ours.parameters()), *ours.buffers()]
    expected = [y.detach(), given.grad, *(p.grad for p in theirs.parameters()), *theirs.buffers()]
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NORMS)
def test_sums_beyond_the_range(name: str) -> None:
    build, shape = NORMS[name]
    torch.manual_seed(0)
    ours, theirs = build(nn), build(torch.nn)
    compared(ours, theirs, (torch.randn(shape) * 40 + 60).half())
    if list(ours.buffers()):
        x = torch.randn(shape).half()
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x).detach(), rtol=2e-3, atol=2e-3)


def test_replicas_of_float16() -> None:
    x = (torch.randn(2, 8, 4, 12, 12) * 300).half()
    norm = nn.BatchNorm2d(4, replicas=2, **HALF)
    torch.testing.assert_close(norm(x)[1], nn.BatchNorm2d(4, **HALF)(x[1]))
    assert norm.backward(x).isfinite().all()


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations_of_large_numbers(name: str, options: dict[str, Any]) -> None:
    x = torch.tensor([-300.0, -12.0, -6.0, -1.0, 0.5, 6.0, 12.0, 300.0]).half()
    compared(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x, atol=1e-2)


def test_the_eps_of_rms_norm_is_that_of_float32() -> None:
    x = (torch.randn(4, 64) * 0.1).bfloat16()
    found, expected = (n.RMSNorm(64, dtype=torch.bfloat16)(x).float() for n in (nn, torch.nn))
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("build", [lambda: nn.GroupNorm(1, 1), lambda: nn.InstanceNorm1d(1, affine=True)])
def test_dense_permuted_inputs_of_one_channel(build: Callable[[], nn.Module]) -> None:
    """Of float32, too: a product of such an input has strides that no view of its channels may be written through."""
    x, dy = torch.randn(9, 3, 1).permute(0, 2, 1), torch.randn(9, 3, 1).permute(0, 2, 1)
    norm, plain = build(), build()
    norm(x), plain(x.contiguous())
    torch.testing.assert_close(norm.backward(dy), plain.backward(dy.contiguous()))
    model = nn.Sequential(nn.Permute(1, 2, 0), build())
    assert model.backward(torch.randn_like(model(torch.randn(9, 3, 1)))).shape == (9, 3, 1)


def test_numbers_have_the_digits_of_float32_where_the_default_dtype_was_a_half_before_the_import() -> None:
    """0.999, such as Adam's second β, is 1 in bfloat16."""
    lines = (
        "import torch; torch.set_default_dtype(torch.bfloat16)",
        "from handgrad.nn.constants import each",
        "print(each(0.999, [torch.ones(2)])[0].item())",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert 0.998 < float(done.stdout) < 0.9995
