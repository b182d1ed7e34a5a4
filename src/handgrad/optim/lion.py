"""Lion: steps by the sign of an average gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import Number, add_scaled_, average_, descended, scaled
from handgrad.optim.optimizer import Optimizer, Params


class Lion(Optimizer):
    r"""Evolved sign momentum: all weights step equally far, with decoupled weight decay.

    $$c = \beta_1 m + (1 - \beta_1) g, \quad
      \theta \leftarrow (1 - \eta\lambda)\, \theta - \eta \operatorname{sign}(c), \quad
      m \leftarrow \beta_2 m + (1 - \beta_2) g, \qquad g = \pm\frac{\partial L}{\partial \theta}$$

    Args:
        params: parameters, or groups of them.
        lr: η, a third to a tenth of Adam's.
        betas: β₁ and β₂.
        weight_decay: λ, three to ten times AdamW's.
        maximize: climb instead of descending (the minus sign of ±).

    lr, each of betas and weight_decay may be R numbers, one for each replica.

    Errors: ArgumentError for a negative lr or weight_decay, or betas outside [0, 1).

    Source: Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, program 1. torch.optim has no Lion.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> optimizer = optim.Lion([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0, -0.1]))
        >>> optimizer.step(); p.value
        tensor([0.9000, 1.1000])
    """

    non_negative = ("lr", "weight_decay")
    fractions = ("betas",)
    numbers = ()
    memory = ("exp_avg",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        m, (beta1, beta2) = self.recall(params, "exp_avg"), group["betas"]
        grads = descended(values, grads, group, decoupled=True)
        c = scaled(m, beta1)
        add_scaled_(c, grads, 1 - beta1)
        torch._foreach_sign_(c)
        add_scaled_(values, c, -group["lr"])
        average_(m, grads, beta2)
