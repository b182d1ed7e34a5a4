"""Matrix products, plain or one for each of R replicas, with the operand turned that the kernels are fast for."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

NARROW, WORK = 16, 4096
TALL, LARGE, START, MOVED = 128, 20_480, 6_000_000, 40
"""Rows and numbers of a from which on a product may be a convolution; the multiplications that are worth its start, and
the moving of a number."""
JOINED, FEATURES, OPENING, COPIED = 20_000_000, 32, 4_000_000, 10
"""Multiplications of a replica up to which all replicas may be one convolution, and features from which on; the
multiplications that are worth its start on each thread, and the copying of a number."""


def product(a: Tensor, b: Tensor) -> Tensor:
    r"""Return a b; for a result of few columns as $(b^T a^T)^T$, whose kernel is up to seven times as fast.

    On some processors large products, and those of many replicas, are convolutions, see `_convolved` and `_joined`.

    Shapes: a (M, K), b (K, N) and a b (M, N), contiguous; or all with a leading R.

    Example:
        >>> import torch
        >>> product(torch.ones(2, 3), torch.ones(3, 4)).shape
        torch.Size([2, 4])
    """
    multiply = torch.mm if b.ndim == 2 else torch.bmm  # asking for the one meant saves `@` the search for it
    if _narrow(a, b):
        return multiply(b.mT, a.mT).mT.contiguous()
    return (_wide(a, b) or multiply)(a, b)


def affine(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    """Return x W + b, or x W if b is None.

    Shapes: x (N, I), W (I, O), b (O,) and x W + b (N, O), contiguous; or all with a leading R.

    Example:
        >>> import torch
        >>> affine(torch.ones(2, 3), torch.ones(3, 1), torch.ones(1)).T
        tensor([[4., 4.]])
    """
    if b is None:
        return product(x, W)
    add = torch.addmm if W.ndim == 2 else torch.baddbmm
    if _narrow(x, W):
        return add(b.unsqueeze(-1), W.mT, x.mT).mT.contiguous()
    if convolved := _wide(x, W):
        return convolved(x, W, b)
    return add(b if W.ndim == 2 else b.unsqueeze(1), x, W)


def rows(x: Tensor, W: Tensor) -> Tensor:
    """Flatten everything between R and the features of x into one N: one product with W then does it all."""
    return x if x.ndim == W.ndim else x.reshape(*x.shape[: W.ndim - 2], -1, x.shape[-1])


def unrows(y: Tensor, x: Tensor) -> Tensor:
    """Undo `rows` of x for a result y with a last dimension of its own."""
    return y if x.ndim == y.ndim else y.view(*x.shape[:-1], y.shape[-1])


def _narrow(a: Tensor, b: Tensor) -> bool:
    """Whether a product has so few columns, and so much work, that turning its result pays.

    It asks for the shapes of one replica only, so that a replica's product is of the same kind in any company.
    """
    columns = b.shape[-1]
    return columns < NARROW and a.shape[-1] * a.shape[-2] >= WORK and (columns > 1 or b.ndim == 3)


def _wide(a: Tensor, b: Tensor) -> Callable[..., Tensor] | None:
    """The way in which a product is faster as a convolution, if it is so large that it is.

    Found by timing 300 sizes of one replica: a convolution multiplies twice as fast, but puts the numbers of a side by
    side by rows and those of b by columns, where they do not lie so, and those of b into blocks in any case. Of the
    turned product, all that is said of a is said of b; and what it gives is turned back. And by timing 2,700 sizes of
    several: small ones are worth it together, for which those of a, and the result, are copied.
    """
    (M, K), N = a.shape[-2:], b.shape[-1]
    work = M * K * N
    if (work if b.ndim == 2 else len(b) * work) <= OPENING or a.dtype is not torch.float32 or not a.is_cpu:
        return None
    lying, standing = a.stride(-1) == 1, b.stride(-2) == 1
    if b.ndim == 3 and lying and work <= JOINED and K >= FEATURES <= N:
        moved = K * N * (2 if standing else 8) + M * (K + N)
        start = OPENING * torch.get_num_threads()
        if len(b) * (work - COPIED * moved) > start and convolutions_are_faster():
            return _joined
    if work <= START:
        return None
    straight = K * (2 * N * (2 - standing) + M * (1 - lying)) if M >= TALL and M * K > LARGE else math.inf
    turned = K * (2 * M * (2 - lying) + N * (1 - standing)) + 4 * M * N if N >= TALL and N * K > LARGE else math.inf
    if work <= START + MOVED * min(straight, turned) or not convolutions_are_faster():
        return None
    return _convolved if straight <= turned else _convolved_turned


def _convolved(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """A b, as the convolution with a kernel of one pixel of an image whose pixels are the rows of a.

    The rows, whose numbers lie side by side, are pixels with their channels last, and so are those of the result. With
    a dilation, which one pixel cannot have, PyTorch leaves the convolution to oneDNN also on one thread.
    """
    if b.ndim == 3:
        return torch.stack([_convolved(*same) for same in zip(a, b, [None] * len(b) if bias is None else bias)])
    image = a.contiguous()[None, :, None].permute(0, 3, 1, 2)  # (1, K, M, 1)
    kernels = b.mT.contiguous()[..., None, None]  # (N, K, 1, 1)
    return torch.conv2d(image, kernels, bias, dilation=(1, 2))[0, :, :, 0].mT.contiguous()  # (M, N)


def _joined(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """A b of all replicas as one convolution, whose pixels have a group of channels for each."""
    (R, M, K), N = a.shape, b.shape[-1]
    image = a.transpose(0, 1).contiguous().view(1, M, 1, R * K).permute(0, 3, 1, 2)  # (1, R K, M, 1)
    kernels = b.mT.contiguous().view(R * N, K, 1, 1)
    y = torch.conv2d(image, kernels, None if bias is None else bias.reshape(-1), dilation=(1, 2), groups=R)
    return y.permute(0, 2, 3, 1).view(M, R, N).transpose(0, 1).contiguous()  # (R, M, N)


def _convolved_turned(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same as (bᵀ aᵀ)ᵀ, whose pixels are the columns of b."""
    y = _convolved(b.mT, a.mT).mT.contiguous()
    return y if bias is None else y.add_(bias.unsqueeze(-2))


@cache
def convolutions_are_faster() -> bool:
    """Whether the processor multiplies 16 numbers at a time in oneDNN's convolutions, but 8 in MKL's products.

    So it is with AMD's processors that have AVX-512, which MKL uses on Intel's alone.
    """
    backends = torch.backends
    if backends.cpu.get_cpu_capability() != "AVX512" or not backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        with Path("/proc/cpuinfo").open("rb", buffering=0) as cpus:
            return b"AuthenticAMD" in cpus.read(512)
    except OSError:  # of a system that is not Linux
        return False
