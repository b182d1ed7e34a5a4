"""Stochastic gradient descent (report, section 1.5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ArgumentError
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import Number, add_scaled_, anything, descended, scale_, scaled
from handgrad.optim.optimizer import Optimizer, Params


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum and weight decay as in PyTorch.

    $$g \leftarrow \pm\frac{\partial L}{\partial \theta} + \lambda \theta, \quad
      b \leftarrow \mu b + (1 - \tau) g \; (b = g \text{ at first}), \quad
      d = \begin{cases} g & \mu = 0 \\ g + \mu b & \text{nesterov} \\ b & \text{else} \end{cases}, \quad
      \theta \leftarrow \theta - \eta d$$

    Args:
        params: parameters, or groups of them.
        lr: η.
        momentum: µ.
        dampening: τ.
        weight_decay: λ.
        nesterov: look ahead along the momentum; needs momentum and no dampening.
        maximize: climb instead of descending (the minus sign of ±).
        foreach, differentiable, fused: PyTorch's implementations; handgrad has one.

    lr, momentum, dampening and weight_decay may each be R numbers, one for each replica.

    Errors: ArgumentError for a negative lr, momentum or weight_decay, or nesterov without momentum or with dampening.

    Source: the report, section 1.5 (lr = 0.01); Sutskever et al. 2013 for the momentum as torch.optim.SGD has it.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.SGD([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.8000])
    """

    non_negative = ("lr", "momentum", "weight_decay")
    memory = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: Number = 0.01,
        momentum: Number = 0.0,
        dampening: Number = 0.0,
        weight_decay: Number = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())

    def check(self, group: dict[str, Any]) -> None:
        if group["nesterov"] and (not anything(group["momentum"]) or anything(group["dampening"])):
            got = f"momentum={group['momentum']}, dampening={group['dampening']}"
            raise ArgumentError("momentum and no dampening with nesterov", got, "Set momentum=0.9, dampening=0.", "SGD")

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        lr, mu = group["lr"], group["momentum"]
        grads = descended(values, grads, group)
        if anything(mu):
            buffers = self._momentum(params, grads, mu, group["dampening"])
            if group["nesterov"]:
                ahead = scaled(buffers, mu)
                torch._foreach_add_(ahead, grads)
                grads = ahead
            else:
                grads = buffers
        add_scaled_(values, grads, -lr)

    def _momentum(self, params: list[Parameter], grads: list[Tensor], mu: Any, tau: Any) -> list[Tensor]:
        """Return every parameter's momentum b after this step."""
        if isinstance(mu, Tensor):
            tau = tau * (mu != 0).double()  # a replica without momentum follows g itself, as it does alone
        held = [p in self.state for p in params]
        old = [self.state[p]["momentum_buffer"] for p, seen in zip(params, held) if seen]
        if old:
            scale_(old, mu)
            add_scaled_(old, [g for g, seen in zip(grads, held) if seen], 1 - tau)
        for p, g, seen in zip(params, grads, held):
            if not seen:
                self.state[p] = {"momentum_buffer": g.clone()}
        return [self.state[p]["momentum_buffer"] for p in params]
