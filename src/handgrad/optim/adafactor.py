"""Adafactor: Adam's second moment from its row and column means, and steps relative to the parameter."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad.errors import ArgumentError
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import Number, average_, descended, limited, listed, wide
from handgrad.optim.optimizer import Optimizer, Params


class Adafactor(Optimizer):
    r"""Adafactor: of a matrix it remembers O + I numbers, and steps by a share of the parameter's own size.

    $$\beta = 1 - t^{\tau}, \quad
      r \leftarrow \beta r + (1 - \beta) \operatorname{mean}_{I}(g^2), \quad
      c \leftarrow \beta c + (1 - \beta) \operatorname{mean}_{O}(g^2), \quad
      v = \frac{r\, c}{\max(\operatorname{mean} r, \epsilon_1)}, \quad
      u = \frac{g}{\max(\sqrt v, \epsilon_1)},$$
    $$\theta \leftarrow (1 - \eta\lambda)\, \theta - \min(\eta, 1/\sqrt t)\, \max(\epsilon_2, \operatorname{rms} \theta)
      \, \frac{u}{\max(1, \operatorname{rms}(u) / d)}, \qquad g = \pm\frac{\partial L}{\partial \theta}$$

    with v ← βv + (1 − β) g² for a vector or a number; rms θ is that before the decay. In more than two dimensions,
    rows and columns are the last two.

    Args:
        params: parameters, or groups of them.
        lr: η.
        beta2_decay: τ.
        eps: ε₁, None for the dtype's own, and ε₂.
        d: d, how large the root mean square of u may be.
        weight_decay: λ.
        maximize: climb instead of descending (the minus sign of ±).
        foreach: PyTorch's implementation; handgrad has one.

    All these numbers may each be R numbers, one for each replica; means and norms are each replica's own.

    Errors: ArgumentError for a negative lr, ε or weight_decay, a positive beta2_decay, or d below 1.

    Source: Shazeer and Stern 2018, Adafactor, as torch.optim.Adafactor has it.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.ones(2, 3))
        >>> optimizer = optim.Adafactor([p], lr=0.1)
        >>> p.add_grad(torch.ones(2, 3))
        >>> optimizer.step(); p.value[0]
        tensor([0.9000, 0.9000, 0.9000])
        >>> optimizer.state[p]["row_var"].shape, optimizer.state[p]["col_var"].shape
        (torch.Size([2, 1]), torch.Size([1, 3]))
    """

    non_negative = ("lr", "eps", "weight_decay")
    tuples: ClassVar = {"eps": 2}
    optional = ("eps[0]",)
    numbers = ("step",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        beta2_decay: Number = -0.8,
        eps: tuple[Number | None, Number] = (None, 1e-3),
        d: Number = 1.0,
        weight_decay: Number = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def check(self, group: dict[str, Any]) -> None:
        if any(tau > 0 for tau in listed(group["beta2_decay"])):
            got = str(group["beta2_decay"])
            raise ArgumentError("beta2_decay of at most 0", got, "Pass beta2_decay=-0.8, say.", "Adafactor")
        if not all(d >= 1 for d in listed(group["d"])):
            raise ArgumentError("d of at least 1", str(group["d"]), "Pass d=1.0, say.", "Adafactor")

    def fresh(self, p: Parameter, group: dict[str, Any]) -> dict[str, Any]:
        if not _factored(p):
            return {**super().fresh(p, group), "variance": torch.zeros_like(p.value)}
        means = {name: torch.zeros_like(p.value).sum(d, True) for name, d in zip(("row_var", "col_var"), _dims(p))}
        return {**super().fresh(p, group), **means}

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, lr, (tiny, least) = self.count(params), group["lr"], group["eps"]
        beta, rho = 1 - t ** group["beta2_decay"], limited(lr, high=t**-0.5)
        sizes = [_rms(p, p.value) for p in params]
        grads = descended(values, grads, group, decoupled=True)
        for p, value, g, size in zip(params, values, grads, sizes):
            eps = wide(torch.finfo(value.dtype).eps if tiny is None else tiny, value)
            u = g / self._variance(p, g, beta, eps).sqrt_().clamp_(min=eps)
            clip = (_rms(p, u) / wide(group["d"], u)).clamp_(min=1)
            value.sub_(u.mul_(wide(rho, u) * size.clamp(min=wide(least, u)) / clip))

    def _variance(self, p: Parameter, g: Tensor, beta: Any, eps: Any) -> Tensor:
        """Return v, from the row and column means of g² where there are rows and columns."""
        state, square = self.state[p], g.square()
        if not _factored(p):
            average_([state["variance"]], [square], beta)
            variance: Tensor = state["variance"].clone()
            return variance
        over_row, over_column = _dims(p)
        row: Tensor = state["row_var"]
        column: Tensor = state["col_var"]
        average_([row, column], [square.mean(over_row, True), square.mean(over_column, True)], beta)
        return row * column / row.mean(over_column, keepdim=True).clamp_(min=eps)


def _factored(p: Parameter) -> bool:
    """Whether one replica's value has rows and columns."""
    return p.value.ndim - (p.replicas is not None) > 1


def _dims(p: Parameter) -> tuple[int, int]:
    """The dimensions along a row and along a column of PyTorch's layout."""
    return (-2, -1) if p.transposed else (-1, -2)


def _rms(p: Parameter, t: Tensor) -> Tensor:
    """The root mean square of each replica, with all dimensions kept."""
    dims = tuple(range(0 if p.replicas is None else 1, t.ndim))
    if not dims:
        return t.abs()
    norm: Tensor = torch.linalg.vector_norm(t, dim=dims, keepdim=True)
    return norm.mul_((max(t.numel(), 1) / (p.replicas or 1)) ** -0.5)
