"""Activations of straight (Hardswish: parabolic) pieces.

Which piece a number lies on is told by floats, 1 or 0, never by booleans: those multiply many times faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.constants import above, constant
from handgrad.nn.elementwise import Elementwise, NeverInplace
from handgrad.nn.init import Constant
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter


class LeakyReLU(NeverInplace):
    r"""ReLU that lets a little of the negative through.

    $$y = s x, \qquad \frac{dy}{dx} = s = 1 \text{ if } x > 0, \text{ else } a$$

    Args:
        negative_slope: a.
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Maas, Hannun and Ng 2013.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.LeakyReLU(0.1)(torch.tensor([-1.0, 2.0]))
        tensor([-0.1000,  2.0000])
    """

    shown = "negative_slope="

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(inplace, replicas=replicas)
        self.negative_slope = negative_slope

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        s = torch.threshold_(above(x, 0), 0, self.negative_slope)
        return x * s, s

    def slope(self, s: Tensor) -> Tensor:
        return s


class PReLU(Module):
    r"""Leaky ReLU whose slope below zero is learnt, one for all channels or one for each.

    $$y = \max(x, 0) + w \min(x, 0), \qquad
      \frac{\partial L}{\partial w} = \sum \frac{\partial L}{\partial y} \min(x, 0), \quad
      \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \cdot (1 \text{ if } x > 0, \text{ else } w)$$

    Shapes: x and y alike, (N, C, …), or any with one parameter; w (1,) or (C,). With R replicas x is (R, N, C, …),
    or (1, N, C, …) for one shared by all, and w (R, 1) or (R, C).

    Args:
        num_parameters: 1 or C.
        init: initial value of w.
        device, dtype: of the parameter.
        replicas: None or R.

    Errors: ShapeError for another channel count, DTypeError and DeviceError for an input unlike the parameter.

    Source: He et al. 2015, arXiv:1502.01852.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> prelu = nn.PReLU()
        >>> prelu(torch.tensor([-4.0, 2.0]))
        tensor([-1.,  2.])
        >>> prelu.backward(torch.tensor([1.0, 1.0])), prelu.weight.grad
        (tensor([0.2500, 1.0000]), tensor([-4.]))
    """

    shown = "num_parameters="

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        self.num_parameters = checks.positive_int("num_parameters", num_parameters, "PReLU")
        super().__init__(replicas)
        self.init = init
        value = torch.empty(num_parameters, device=checks.device(device, self.label), dtype=dtype)
        self.weight = Parameter(value, Constant(init), replicas=replicas)

    def forward(self, x: Tensor) -> Tensor:
        checks.like(x, self.weight.value, self)
        x = self.leading(x)
        w = self._spread(x)
        return self.keep(torch.addcmul(torch.relu(x), x.clamp(max=0), w), x, w)

    def backward(self, dy: Tensor) -> Tensor:
        x, w = self.take(dy)
        dw = (dy * x.clamp(max=0)).sum_to_size(w.shape)
        slope = torch.lerp(w, constant(1, x), above(x, 0))
        self.weight.add_grad(dw.view(self.weight.shape))
        return slope.mul_(dy)

    def _spread(self, x: Tensor) -> Tensor:
        """View w so that it broadcasts: (1, C, 1, …), or (R, 1, C, 1, …)."""
        shape, channel, C = [1] * x.ndim, self.along(1), self.num_parameters
        if self.replicas is not None:
            shape[0] = self.replicas
        if C > 1:
            if x.ndim <= channel or x.shape[channel] != C:
                expected = f"an input of shape {self.written(f'N, {C}, …')}"
                remedy = f"Give the layer {C} channels in the second dimension, or build it for what comes."
                raise ShapeError(expected, str(tuple(x.shape)), remedy, self.label)
            shape[channel] = C
        return self.weight.value.view(shape)


class Threshold(NeverInplace):
    r"""Another number in place of what lies at or below a threshold.

    $$y = x \text{ if } x > \theta, \text{ else } v, \qquad \frac{dy}{dx} = [x > \theta]$$

    Args:
        threshold: θ.
        value: v.
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: torch.nn.Threshold.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Threshold(0.5, -7.0)(torch.tensor([0.5, 2.0]))
        tensor([-7.,  2.])
    """

    found = {"value": "fill"}  # noqa: RUF012

    def __init__(self, threshold: float, value: float, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(inplace, replicas=replicas)
        self.threshold, self.fill = threshold, value

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.threshold(x, self.threshold, self.fill), x

    def slope(self, x: Tensor) -> Tensor:
        return above(x, self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.fill}"


class Hardtanh(NeverInplace):
    r"""Clamp to an interval.

    $$y = \min(\max(x, a), b), \qquad \frac{dy}{dx} = [a < x < b]$$

    Args:
        min_val: a.
        max_val: b.
        inplace: only False; a module never changes its input.
        min_value, max_value: PyTorch's deprecated spelling of the bounds; only None.
        replicas: None or R.

    Errors: ArgumentError unless a < b, NotImplementedError for a deprecated option.

    Source: Collobert 2004.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Hardtanh()(torch.tensor([-3.0, 0.5, 3.0]))
        tensor([-1.0000,  0.5000,  1.0000])
    """

    shown = "min_val=, max_val="
    min_value = max_value = None

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(inplace, replicas=replicas)
        for name, given in (("min", min_value), ("max", max_value)):
            if given is not None:
                message = f"{self.label}({name}_value=…) is deprecated in PyTorch. Use {name}_val= instead."
                raise NotImplementedError(message)
        if not min_val < max_val:
            remedy = "Pass the lower bound first."
            raise ArgumentError("min_val below max_val", f"{min_val} and {max_val}", remedy, self.label)
        self.min_val, self.max_val = min_val, max_val

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x.clamp(self.min_val, self.max_val)
        return y, y

    def slope(self, y: Tensor) -> Tensor:
        # the distance to the nearer bound is 0 on it and outside
        low = y - constant(self.min_val, y)
        return torch.minimum(low, constant(self.max_val, y) - y, out=low).sign_()


class ReLU6(Hardtanh):
    r"""ReLU that stops at 6.

    $$y = \min(\max(x, 0), 6), \qquad \frac{dy}{dx} = [0 < x < 6]$$

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Krizhevsky 2010.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ReLU6()(torch.tensor([-1.0, 2.0, 9.0]))
        tensor([0., 2., 6.])
    """

    shown = ""

    def __init__(self, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(0.0, 6.0, inplace, replicas=replicas)

    def slope(self, y: Tensor) -> Tensor:
        high = constant(6, y) - y
        return torch.minimum(y, high, out=high).sign_()


class Hardsigmoid(NeverInplace):
    r"""A sigmoid of three straight pieces.

    $$y = \min\Big(\max\Big(\frac{x}{6} + \frac12, 0\Big), 1\Big), \qquad \frac{dy}{dx} = \frac16 \, [|x| < 3]$$

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Courbariaux, Bengio and David 2015, arXiv:1511.00363, with PyTorch's slope of 1/6.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Hardsigmoid()(torch.tensor([-4.0, 0.0, 4.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.add(constant(0.5, x), x, alpha=1 / 6).clamp_(0, 1), x

    def slope(self, x: Tensor) -> Tensor:
        return x.abs().lt_(constant(3, x)).mul_(constant(1 / 6, x))


class Hardswish(NeverInplace):
    r"""SiLU with Hardsigmoid h in place of σ.

    $$y = x \, h(x), \qquad \frac{dy}{dx} = h(x) + \frac{x}{6} \, [|x| < 3]$$

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Howard et al. 2019, arXiv:1905.02244.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Hardswish()(torch.tensor([-4.0, 1.5, 4.0]))
        tensor([-0.0000, 1.1250, 4.0000])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        h = torch.add(constant(0.5, x), x, alpha=1 / 6).clamp_(0, 1)
        return x * h, x, h

    def slope(self, x: Tensor, h: Tensor) -> Tensor:
        return h.addcmul_(x.abs().lt_(constant(3, x)), x, value=1 / 6)


class Hardshrink(Elementwise):
    r"""Nothing of what is small.

    $$y = m x, \qquad \frac{dy}{dx} = m = [|x| > \lambda]$$

    Args:
        lambd: λ.
        replicas: None or R.

    Source: Donoho and Johnstone 1994.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Hardshrink()(torch.tensor([-0.5, 0.2, 2.0]))
        tensor([-0., 0., 2.])
    """

    shown = "lambd"

    def __init__(self, lambd: float = 0.5, *, replicas: int | None = None) -> None:
        super().__init__(replicas=replicas)
        self.lambd = lambd

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        m = x.abs().gt_(constant(self.lambd, x))
        return x * m, m

    def slope(self, m: Tensor) -> Tensor:
        return m


class Softshrink(Elementwise):
    r"""Everything moved towards zero by λ, and what is smaller to zero.

    $$y = x - \min(\max(x, -\lambda), \lambda), \qquad \frac{dy}{dx} = [|x| > \lambda]$$

    Args:
        lambd: λ.
        replicas: None or R.

    Errors: ArgumentError for a negative λ.

    Source: Donoho and Johnstone 1994.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Softshrink()(torch.tensor([-2.0, 0.2, 2.0]))
        tensor([-1.5000,  0.0000,  1.5000])
    """

    shown = "lambd"

    def __init__(self, lambd: float = 0.5, *, replicas: int | None = None) -> None:
        super().__init__(replicas=replicas)
        self.lambd = checks.at_least("lambd", lambd, 0, self.label)

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x - x.clamp(-self.lambd, self.lambd)
        return y, y

    def slope(self, y: Tensor) -> Tensor:
        return torch.sign(y).abs_()
