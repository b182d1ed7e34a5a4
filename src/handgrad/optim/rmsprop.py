"""RMSprop, Adagrad and Adadelta: each weight has a step of its own, by the size that its gradients had."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad.errors import ArgumentError
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import (
    Number,
    add_quotient_,
    add_scaled_,
    anything,
    average_,
    average_squares_,
    descended,
    listed,
    roots,
    scale_,
    shift_,
    shifted,
)
from handgrad.optim.optimizer import Optimizer, Params


class RMSprop(Optimizer):
    r"""RMSprop: the gradient over the root of its average square.

    $$v \leftarrow \alpha v + (1 - \alpha) g^2, \quad
      \bar g \leftarrow \alpha \bar g + (1 - \alpha) g, \quad
      b \leftarrow \mu b + \frac{g}{\sqrt{v} + \epsilon}, \quad
      \theta \leftarrow \theta - \eta b, \qquad g = \pm\frac{\partial L}{\partial \theta} + \lambda \theta$$

    all from 0; v − ḡ² stands for v if centered.

    Args:
        params: parameters, or groups of them.
        lr: η.
        alpha: α.
        eps: ε.
        weight_decay: λ.
        momentum: µ.
        centered: divide by the root of the variance, in place of that of the average square.
        maximize: climb instead of descending (the minus sign of ±).
        capturable, foreach, differentiable: PyTorch's implementations; handgrad has one.

    lr, alpha, eps, weight_decay and momentum may each be R numbers, one for each replica.

    Errors: ArgumentError for a negative number.

    Source: Hinton 2012, lecture 6e; Graves 2013 for the centred form.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.RMSprop([p], lr=0.01)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.9000])
    """

    non_negative = ("lr", "alpha", "eps", "weight_decay", "momentum")
    numbers = ("step",)
    memory = ("square_avg",)
    memory_if: ClassVar = {"momentum": "momentum_buffer", "centered": "grad_avg"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        alpha: Number = 0.99,
        eps: Number = 1e-8,
        weight_decay: Number = 0,
        momentum: Number = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        self.count(params)
        lr, alpha, mu = group["lr"], group["alpha"], group["momentum"]
        grads = descended(values, grads, group)
        v = self.recall(params, "square_avg")
        average_squares_(v, grads, alpha)
        if group["centered"]:
            mean = self.recall(params, "grad_avg")
            average_(mean, grads, alpha)
            v = list(torch._foreach_addcmul(v, mean, mean, -1))
        size = roots(v, group["eps"])
        if anything(mu):
            b = self.recall(params, "momentum_buffer")
            scale_(b, mu)
            add_quotient_(b, grads, size, 1)
            add_scaled_(values, b, -lr)
        else:
            add_quotient_(values, grads, size, -lr)


class Adagrad(Optimizer):
    r"""Adagrad: the gradient over the root of the sum of its squares so far.

    $$s \leftarrow s + g^2 \; (s = s_0 \text{ at first}), \quad
      \theta \leftarrow \theta - \frac{\eta}{1 + (t - 1) \kappa} \frac{g}{\sqrt{s} + \epsilon}, \qquad
      g = \pm\frac{\partial L}{\partial \theta} + \lambda \theta$$

    Args:
        params: parameters, or groups of them.
        lr: η.
        lr_decay: κ.
        weight_decay: λ.
        initial_accumulator_value: s₀.
        eps: ε.
        maximize: climb instead of descending (the minus sign of ±).
        foreach, differentiable, fused: PyTorch's implementations; handgrad has one.

    All these numbers may each be R numbers, one for each replica.

    Errors: ArgumentError for a negative number.

    Source: Duchi et al. 2011, Adaptive Subgradient Methods.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.Adagrad([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.9000])
    """

    non_negative = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    numbers = ("step",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        lr_decay: Number = 0,
        weight_decay: Number = 0,
        initial_accumulator_value: Number = 0,
        eps: Number = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())

    def fresh(self, p: Parameter, group: dict[str, Any]) -> dict[str, Any]:
        start = torch.zeros_like(p.value)
        shift_([start], group["initial_accumulator_value"])
        return {**super().fresh(p, group), "sum": start}

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, s = self.count(params), self.recall(params, "sum")
        grads = descended(values, grads, group)
        torch._foreach_addcmul_(s, grads, grads)
        size = roots(s, group["eps"])
        add_quotient_(values, grads, size, -group["lr"] / (1 + (t - 1) * group["lr_decay"]))


class Adadelta(Optimizer):
    r"""Adadelta: the gradient in units of its own average size, times the average size of the steps so far.

    $$v \leftarrow \rho v + (1 - \rho) g^2, \quad
      \delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad
      u \leftarrow \rho u + (1 - \rho) \delta^2, \quad
      \theta \leftarrow \theta - \eta \delta, \qquad
      g = \pm\frac{\partial L}{\partial \theta} + \lambda \theta$$

    Args:
        params: parameters, or groups of them.
        lr: η.
        rho: ρ.
        eps: ε.
        weight_decay: λ.
        maximize: climb instead of descending (the minus sign of ±).
        foreach, capturable, differentiable: PyTorch's implementations; handgrad has one.

    lr, rho, eps and weight_decay may each be R numbers, one for each replica.

    Errors: ArgumentError for a negative number, or a rho above 1.

    Source: Zeiler 2012, ADADELTA.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.Adadelta([p])
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.9968])
    """

    non_negative = ("lr", "rho", "eps", "weight_decay")
    numbers = ("step",)
    memory = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        rho: Number = 0.9,
        eps: Number = 1e-6,
        weight_decay: Number = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def check(self, group: dict[str, Any]) -> None:
        if any(rho > 1 for rho in listed(group["rho"])):
            raise ArgumentError("rho of at most 1", str(group["rho"]), "Pass rho=0.9, say.", "Adadelta")

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        self.count(params)
        rho, eps = group["rho"], group["eps"]
        grads = descended(values, grads, group)
        v, u = self.recall(params, "square_avg"), self.recall(params, "acc_delta")
        average_squares_(v, grads, rho)
        delta, size = shifted(u, eps), shifted(v, eps)
        torch._foreach_div_(delta, size)
        torch._foreach_sqrt_(delta)
        torch._foreach_mul_(delta, grads)
        average_squares_(u, delta, rho)
        add_scaled_(values, delta, -group["lr"])
