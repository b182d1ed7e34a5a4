"""Adam and its kin: a step along an average of gradients, divided by their size."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad.nn.constants import each
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import (
    Number,
    add_quotient_,
    add_scaled_,
    average_,
    average_squares_,
    descended,
    roots,
    scale_,
    shift_,
)
from handgrad.optim.optimizer import Optimizer, Params

Betas = tuple[Number, Number]


class Moments(Optimizer):
    r"""Base of those that average gradients and their squares, both from 0.

    $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2$$
    """

    non_negative = ("lr", "eps", "weight_decay", "momentum_decay")
    fractions = ("betas",)
    numbers: tuple[str, ...] = ("step",)
    memory = ("exp_avg", "exp_avg_sq")

    def moments(self, params: list[Parameter], grads: list[Tensor], betas: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Return m and v of every parameter after this step."""
        m, v = self.recall(params, "exp_avg"), self.recall(params, "exp_avg_sq")
        average_(m, grads, betas[0])
        average_squares_(v, grads, betas[1])
        return m, v


class Adam(Moments):
    r"""Adam: each weight steps by its average gradient over the root of its average squared gradient.

    $$g \leftarrow \pm\frac{\partial L}{\partial \theta} + \lambda \theta, \quad
      m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
      \theta \leftarrow \theta - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}$$

    Args:
        params: parameters, or groups of them.
        lr: η.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ.
        amsgrad: divide by the root of the highest v so far.
        maximize: climb instead of descending (the minus sign of ±).
        decoupled_weight_decay: shrink θ by 1 − ηλ before the step, in place of adding λθ to g: AdamW.
        foreach, capturable, differentiable, fused: PyTorch's implementations; handgrad has one.

    lr, each of betas, eps and weight_decay may be R numbers, one for each replica.

    Errors: ArgumentError for a negative lr, eps or weight_decay, or betas outside [0, 1).

    Source: Kingma and Ba 2015, Adam; Reddi et al. 2018 for amsgrad.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.Adam([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value  # the first step is of size lr
        tensor([0.9000])
    """

    memory_if: ClassVar = {"amsgrad": "max_exp_avg_sq"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, lr, (beta1, beta2) = self.count(params), group["lr"], group["betas"]
        grads = descended(values, grads, group, group["decoupled_weight_decay"])
        m, v = self.moments(params, grads, group["betas"])
        if group["amsgrad"]:
            top = self.recall(params, "max_exp_avg_sq")
            torch._foreach_maximum_(top, v)
            v = top
        root = (1 - beta2**t) ** 0.5  # multiplied into numerator and ε, it saves a division of all v
        size = roots(v, group["eps"] * root)
        add_quotient_(values, m, size, -lr * root / (1 - beta1**t))


class AdamW(Adam):
    r"""Adam with decoupled weight decay, which the averages do not see.

    $$\theta \leftarrow (1 - \eta\lambda)\, \theta
      - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}$$

    with m and v as in `Adam`, of the gradient alone.

    Args:
        params, lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused: as in `Adam`.
        weight_decay: λ.

    Errors: as in `Adam`.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.AdamW([p], lr=0.1, weight_decay=0.5)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.8500])
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        Optimizer.__init__(self, params, {**locals(), "decoupled_weight_decay": True})

    def check(self, group: dict[str, Any]) -> None:
        group["decoupled_weight_decay"] = True  # also with a state of Adam


class NAdam(Moments):
    r"""Adam with Nesterov's momentum: it looks ahead along m, with a momentum that grows.

    $$\mu_t = \beta_1 \left(1 - \tfrac{1}{2} 0.96^{t\psi}\right), \quad
      \theta \leftarrow \theta - \eta
      \left(\frac{(1 - \mu_t)\, g}{1 - \prod_{i \le t} \mu_i} + \frac{\mu_{t+1}\, m}{1 - \prod_{i \le t+1} \mu_i}\right)
      \Big/ \left(\sqrt{v / (1 - \beta_2^t)} + \epsilon\right)$$

    with g, m and v as in `Adam`.

    Args:
        params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay: as in `Adam`.
        momentum_decay: ψ.
        foreach, capturable, differentiable: PyTorch's implementations; handgrad has one.

    lr, each of betas, eps, weight_decay and momentum_decay may be R numbers, one for each replica.

    Errors: as in `Adam`, and ArgumentError for a negative momentum_decay.

    Source: Dozat 2016, Incorporating Nesterov Momentum into Adam.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.NAdam([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.8944])
    """

    numbers = ("step", "mu_product")

    def __init__(
        self,
        params: Params,
        lr: Number = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0,
        momentum_decay: Number = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def fresh(self, p: Parameter, group: dict[str, Any]) -> dict[str, Any]:
        return {**super().fresh(p, group), "mu_product": 1.0}

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, lr, (beta1, beta2) = self.count(params), group["lr"], group["betas"]
        grads = descended(values, grads, group, group["decoupled_weight_decay"])
        m, v = self.moments(params, grads, group["betas"])
        mu, ahead = (beta1 * (1 - 0.5 * 0.96 ** (i * group["momentum_decay"])) for i in (t, t + 1))
        product = mu * self.number(params, "mu_product")
        self.note(params, "mu_product", product)
        root = (1 - beta2**t) ** 0.5
        size = roots(v, group["eps"] * root)
        add_quotient_(values, grads, size, -lr * root * (1 - mu) / (1 - product))
        add_quotient_(values, m, size, -lr * root * ahead / (1 - product * ahead))


class RAdam(Moments):
    r"""Adam that divides only once v has seen enough, and rectifies the step by what v's variance then is.

    $$\rho_\infty = \frac{2}{1 - \beta_2} - 1, \quad
      \rho = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \quad
      r = \sqrt{\frac{(\rho - 4)(\rho - 2) \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2) \rho}}, \quad
      \theta \leftarrow \theta - \eta \frac{m}{1 - \beta_1^t}
      \begin{cases} r \sqrt{1 - \beta_2^t} / (\sqrt{v} + \epsilon) & \rho > 5 \\ 1 & \text{else} \end{cases}$$

    with g, m and v as in `Adam`.

    Args:
        params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay: as in `Adam`.
        foreach, capturable, differentiable: PyTorch's implementations; handgrad has one.

    lr, each of betas, eps and weight_decay may be R numbers, one for each replica.

    Errors: as in `Adam`.

    Source: Liu et al. 2020, On the Variance of the Adaptive Learning Rate and Beyond.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.RAdam([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value  # not divided yet
        tensor([0.8000])
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, lr, (beta1, beta2) = self.count(params), group["lr"], group["betas"]
        grads = descended(values, grads, group, group["decoupled_weight_decay"])
        m, v = self.moments(params, grads, group["betas"])
        seen, limit = 1 - beta2**t, 2 / (1 - beta2) - 1
        rho = limit - 2 * t * beta2**t / seen
        many, lr = isinstance(rho, Tensor), lr / (1 - beta1**t)
        if not many and rho <= 5:
            add_scaled_(values, m, -lr)
            return
        rectified = seen * (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        size = roots(v, group["eps"])
        if many:  # some replicas may not divide yet
            size = [torch.where(r > 5, s, 1) for r, s in zip(each(rho, size), size)]
            rectified = torch.where(rho > 5, rectified.abs(), 1)
        add_quotient_(values, m, size, -lr * rectified**0.5)


class Adamax(Moments):
    r"""Adam with the highest recent gradient in place of the root of the average square.

    $$u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
      \theta \leftarrow \theta - \frac{\eta}{1 - \beta_1^t} \frac{m}{u}$$

    with g and m as in `Adam`, and u from 0.

    Args:
        params, lr, betas, eps, weight_decay, maximize: as in `Adam`.
        foreach, differentiable, capturable: PyTorch's implementations; handgrad has one.

    lr, each of betas, eps and weight_decay may be R numbers, one for each replica.

    Errors: as in `Adam`.

    Source: Kingma and Ba 2015, Adam, section 7.1.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = optim.Adamax([p], lr=0.1)
        >>> p.add_grad(torch.tensor([2.0]))
        >>> optimizer.step(); p.value
        tensor([0.9000])
    """

    memory = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Params,
        lr: Number = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        t, (beta1, beta2) = self.count(params), group["betas"]
        grads = descended(values, grads, group)
        m, u = self.recall(params, "exp_avg"), self.recall(params, "exp_inf")
        average_(m, grads, beta1)
        size = list(torch._foreach_abs(grads))
        shift_(size, group["eps"])
        scale_(u, beta2)
        torch._foreach_maximum_(u, size)
        add_quotient_(values, m, u, -group["lr"] / (1 - beta1**t))
