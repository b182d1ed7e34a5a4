"""Matrix products, plain or one for each of R replicas, with the operand turned that the kernels are fast for."""

from __future__ import annotations

import torch
from torch import Tensor

NARROW, WORK = 16, 4096


def product(a: Tensor, b: Tensor) -> Tensor:
    r"""Return a b; for a result of few columns as $(b^T a^T)^T$, whose kernel is up to seven times as fast.

    Shapes: a (M, K), b (K, N) and a b (M, N), contiguous; or all with a leading R.

    Example:
        >>> import torch
        >>> product(torch.ones(2, 3), torch.ones(3, 4)).shape
        torch.Size([2, 4])
    """
    multiply = torch.mm if b.ndim == 2 else torch.bmm  # asking for the one meant saves `@` the search for it
    return multiply(b.mT, a.mT).mT.contiguous() if _narrow(a, b) else multiply(a, b)


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
