"""ASGD: stochastic gradient descent that averages where it has been."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import Number, add_scaled_, average_, descended, limited, scale_
from handgrad.optim.optimizer import Optimizer, Params, as_number


class ASGD(Optimizer):
    r"""Averaged stochastic gradient descent.

    $$\theta \leftarrow (1 - \lambda \eta_t)\, \theta - \eta_t\, g, \quad
      \bar\theta \leftarrow \bar\theta + \mu_t (\theta - \bar\theta), \quad
      \eta_{t+1} = \frac{\eta}{(1 + \lambda \eta t)^\alpha}, \quad
      \mu_{t+1} = \frac{1}{\max(1, t - t_0)}, \qquad
      g = \pm\frac{\partial L}{\partial \theta} + \lambda_2 \theta$$

    with η₁ = η and µ₁ = 1. The average θ̄ is `state[p]["ax"]`; θ itself is not averaged.

    Args:
        params: parameters, or groups of them.
        lr: η.
        lambd: λ.
        alpha: α.
        t0: t₀, the step at which averaging starts.
        weight_decay: λ₂.
        maximize: climb instead of descending (the minus sign of ±).
        foreach, differentiable, capturable: PyTorch's implementations; handgrad has one.

    All these numbers may each be R numbers, one for each replica.

    Errors: ArgumentError for a negative lr or weight_decay.

    Source: Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; Bottou 2010 for η_t.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.ASGD([p], lr=0.1, lambd=0.0)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.8000])
    """

    non_negative = ("lr", "weight_decay")
    numbers = ("step", "eta", "mu")
    memory = ("ax",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        lambd: Number = 1e-4,
        alpha: Number = 0.75,
        t0: Number = 1e6,
        weight_decay: Number = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def fresh(self, p: Parameter, group: dict[str, Any]) -> dict[str, Any]:
        return {**super().fresh(p, group), "eta": as_number(group["lr"]), "mu": 1.0}

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, lr, lambd = self.count(params), group["lr"], group["lambd"]
        eta, mu = (self.number(params, name) for name in ("eta", "mu"))
        grads = descended(values, grads, group)
        scale_(values, 1 - lambd * eta)
        add_scaled_(values, grads, -eta)
        average_(self.recall(params, "ax"), values, 1 - mu)
        self.note(params, "eta", lr / (1 + lambd * lr * t) ** group["alpha"])
        self.note(params, "mu", 1 / limited(t - group["t0"], low=1))
