"""Rprop: steps by the sign of the gradient, of a size that each weight learns."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad.errors import ArgumentError
from handgrad.nn.constants import clip_
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import Number, add_scaled_, descended, listed, scaled, shift_
from handgrad.optim.optimizer import Optimizer, Params


class Rprop(Optimizer):
    r"""Resilient backpropagation, for full batches: a step grows while the gradient keeps its sign.

    $$s = \operatorname{sign}(g\, g_{\text{old}}), \quad
      \Delta \leftarrow \operatorname{clip}\left(\Delta \cdot
      \begin{cases} \eta_+ & s = 1 \\ 1 & s = 0 \\ \eta_- & s = -1 \end{cases},
      \Delta_{\min}, \Delta_{\max}\right), \quad
      g \leftarrow 0 \text{ where } s = -1, \quad
      \theta \leftarrow \theta - \Delta \operatorname{sign}(g), \quad g_{\text{old}} \leftarrow g$$

    Args:
        params: parameters, or groups of them.
        lr: Δ at first.
        etas: η₋ and η₊.
        step_sizes: Δ_min and Δ_max.
        maximize: climb instead of descending: −g stands for g.
        capturable, foreach, differentiable: PyTorch's implementations; handgrad has one.

    All these numbers may each be R numbers, one for each replica.

    Errors: ArgumentError for a negative lr, or etas other than 0 < η₋ < 1 < η₊.

    Source: Riedmiller and Braun 1993; Igel and Hüsken 2000, the variant iRprop⁻.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.Rprop([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); optimizer.step(); p.value  # 0.1, then 0.12
        tensor([0.7800])
    """

    tuples: ClassVar = {"etas": 2, "step_sizes": 2}
    numbers = ("step",)
    memory = ("prev",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        etas: tuple[Number, Number] = (0.5, 1.2),
        step_sizes: tuple[Number, Number] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def check(self, group: dict[str, Any]) -> None:
        less, more = map(listed, group["etas"])
        if not (all(0 < eta < 1 for eta in less) and all(eta > 1 for eta in more)):
            raise ArgumentError("etas below and above 1", str(group["etas"]), "Pass etas=(0.5, 1.2), say.", "Rprop")

    def fresh(self, p: Parameter, group: dict[str, Any]) -> dict[str, Any]:
        start = torch.zeros_like(p.value)
        shift_([start], group["lr"])
        return {**super().fresh(p, group), "step_size": start}

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        self.count(params)
        old, size, (less, more) = self.recall(params, "prev"), self.recall(params, "step_size"), group["etas"]
        grads = descended(values, grads, group)
        change = torch._foreach_mul(grads, old)
        torch._foreach_sign_(change)  # s
        down = list(torch._foreach_clamp_max(change, 0))  # −1 where the sign turned
        up = list(torch._foreach_clamp_min(change, 0))
        factor = scaled(up, more - 1)
        add_scaled_(factor, down, 1 - less)
        shift_(factor, 1)
        torch._foreach_mul_(size, factor)
        clip_(size, *group["step_sizes"])
        shift_(down, 1)
        torch._foreach_copy_(old, torch._foreach_mul(grads, down))
        torch._foreach_addcmul_(values, torch._foreach_sign(old), size, -1)
