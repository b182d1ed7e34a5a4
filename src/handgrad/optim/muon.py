"""Muon: momentum of matrices, orthogonalised."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn.constants import each
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import Number, average_, descended, scaled, wide
from handgrad.optim.optimizer import Optimizer, Params, turned

ADJUSTMENTS = (None, "original", "match_rms_adamw")


class Muon(Optimizer):
    r"""Momentum whose matrix is replaced by the nearest one with singular values near 1.

    $$b \leftarrow \mu b + (1 - \mu) g, \quad
      X_0 = \frac{\tilde b}{\max(\lVert \tilde b \rVert, \epsilon)}, \quad
      X_{k+1} = a X_k + (b\, G + c\, G^2) X_k \text{ with } G = X_k X_k^T, \quad
      \theta \leftarrow (1 - \eta\lambda)\, \theta - \eta\, s\, X_K$$

    with b̃ = b, or (1 − µ) g + µ b with nesterov. s is √max(1, O/I) for a matrix of O rows and I columns, as
    torch.nn has them, or 0.2 √max(O, I) to match the size of AdamW's steps. As in PyTorch, X is in bfloat16.

    Shapes: parameters of two dimensions; the others of a network are for another optimiser, such as AdamW.

    Args:
        params: parameters, or groups of them.
        lr: η.
        weight_decay: λ.
        momentum: µ.
        nesterov: look ahead along the momentum.
        ns_coefficients: a, b, c, the same for all replicas.
        eps: ε.
        ns_steps: K, the same for all replicas.
        adjust_lr_fn: None or "original", or "match_rms_adamw".

    lr, weight_decay, momentum and eps may each be R numbers, one for each replica; norms are each replica's own.

    Errors: ArgumentError for a negative lr, weight_decay or momentum, a parameter that is not a matrix, a number of
    steps outside 0 to 99, or an unknown adjustment.

    Source: Jordan et al. 2024, Muon; Liu et al. 2025, Muon is Scalable for LLM Training; as torch.optim.Muon has it.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.zeros(2, 2))
        >>> optimizer = optim.Muon([p], lr=0.1)
        >>> p.add_grad(torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
        >>> optimizer.step(); p.value.diag() < -0.06
        tensor([True, True])
    """

    non_negative = ("lr", "weight_decay", "momentum", "eps")
    tuples: ClassVar = {"ns_coefficients": 3}
    single = ("ns_coefficients", "ns_steps")
    texts = ("adjust_lr_fn",)
    numbers = ()
    memory = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        weight_decay: Number = 0.1,
        momentum: Number = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: Number = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(params, locals())

    def check(self, group: dict[str, Any]) -> None:
        checks.one_of("adjust_lr_fn", group["adjust_lr_fn"], ADJUSTMENTS, "Muon")
        if group["ns_steps"] not in range(100):
            raise ArgumentError("ns_steps from 0 to 99", str(group["ns_steps"]), "Pass ns_steps=5, say.", "Muon")
        for p in group["params"]:
            if p.value.ndim - (p.replicas is not None) != 2:
                remedy = "Give the other parameters to another optimiser, such as AdamW."
                raise ArgumentError("parameters that are matrices", str(p), remedy, "Muon")

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        lr, mu, b = group["lr"], group["momentum"], self.recall(params, "momentum_buffer")
        average_(b, grads, mu)
        ahead = b
        if group["nesterov"]:
            ahead = scaled(grads, 1)
            average_(ahead, b, 1 - mu)
        descended(values, grads, group, decoupled=True)
        for p, value, direction in zip(params, values, ahead):
            rows, columns = p.torch_value.shape[-2:]
            if group["adjust_lr_fn"] == "match_rms_adamw":
                size = 0.2 * math.sqrt(max(rows, columns))
            else:
                size = math.sqrt(max(1, rows / columns))
            rate = each(lr, [value])[0] if isinstance(lr, Tensor) else lr
            X = turned(orthogonal(turned(direction, p), group), p)
            value.sub_(X.to(value.dtype) * (rate * size))


def orthogonal(matrix: Tensor, group: dict[str, Any]) -> Tensor:
    """Return X_K of one matrix, or of R: K steps of Newton and Schulz towards U Vᵀ, where matrix = U S Vᵀ."""
    a, b, c = group["ns_coefficients"]
    X, flat = matrix.bfloat16(), matrix.shape[-2] <= matrix.shape[-1]
    X = X if flat else X.mT  # the smaller G
    norm = torch.linalg.matrix_norm(X, keepdim=True)
    X = X / norm.clamp(min=wide(group["eps"], X))
    multiply = torch.addmm if X.ndim == 2 else torch.baddbmm
    for _ in range(group["ns_steps"]):
        G = X @ X.mT
        X = multiply(X, multiply(G, G, G, beta=b, alpha=c), X, beta=a)
    return X if flat else X.mT
