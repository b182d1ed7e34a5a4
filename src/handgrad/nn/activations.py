"""Elementwise activations (report, section 1.2, equations 1 and 2): ReLU, and the smooth ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn.constants import above, constant
from handgrad.nn.elementwise import Elementwise, NeverInplace


class ReLU(NeverInplace):
    r"""Rectified linear unit.

    $$y = \max(x, 0), \qquad \frac{dy}{dx} = [x > 0]$$

    At x = 0 the derivative is 0, as in PyTorch; the report's, which is 1 there, is `handgrad.mini.ReLU`.

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: the report, equation 2.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> relu = nn.ReLU()
        >>> relu(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
        >>> relu.backward(torch.tensor([5.0, 5.0]))
        tensor([0., 5.])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        y = torch.relu(x)
        return y, y

    def slope(self, y: Tensor) -> Tensor:
        return above(y, 0)


class Tanh(Elementwise):
    r"""Hyperbolic tangent.

    $$y = \tanh x, \qquad \frac{dy}{dx} = 1 - y^2$$

    Source: the report, equation 1.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> tanh = nn.Tanh()
        >>> tanh(torch.tensor([0.0]))
        tensor([0.])
        >>> tanh.backward(torch.tensor([3.0]))
        tensor([3.])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        y = torch.tanh(x)
        return y, y

    def slope(self, y: Tensor) -> Tensor:
        return 1 - y * y


class Tanhshrink(Elementwise):
    r"""What tanh takes away.

    $$y = x - \tanh x, \qquad \frac{dy}{dx} = \tanh^2 x$$

    Source: torch.nn.Tanhshrink.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Tanhshrink()(torch.tensor([0.0, 20.0]))
        tensor([ 0., 19.])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        t = torch.tanh(x)
        return x - t, t

    def slope(self, t: Tensor) -> Tensor:
        return t.mul_(t)


class Sigmoid(Elementwise):
    r"""Logistic function.

    $$y = \sigma(x) = \frac{1}{1 + e^{-x}}, \qquad \frac{dy}{dx} = y - y^2$$

    Source: Rumelhart, Hinton and Williams 1986.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> sigmoid = nn.Sigmoid()
        >>> sigmoid(torch.tensor([0.0]))
        tensor([0.5000])
        >>> sigmoid.backward(torch.tensor([1.0]))
        tensor([0.2500])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        y = torch.sigmoid(x)
        return y, y

    def slope(self, y: Tensor) -> Tensor:
        return torch.addcmul(y, y, y, value=-1)


class LogSigmoid(Elementwise):
    r"""Logarithm of the logistic function, written so that nothing overflows.

    $$y = \log \sigma(x) = \min(x, 0) + \log(1 - \sigma(-|x|)), \qquad \frac{dy}{dx} = \sigma(-x)$$

    Source: torch.nn.LogSigmoid.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.LogSigmoid()(torch.tensor([-100.0, 0.0]))
        tensor([-100.0000,   -0.6931])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.clamp(max=0).add_(_log_bend(x)), x

    def slope(self, x: Tensor) -> Tensor:
        return x.neg().sigmoid_()


class Softplus(Elementwise):
    r"""A smooth ReLU, written so that nothing overflows.

    $$y = \frac{1}{\beta} \log(1 + e^{\beta x})
        = \max(x, 0) - \frac{1}{\beta} \log(1 - \sigma(-|\beta x|)), \qquad
      \frac{dy}{dx} = \sigma(\beta x)$$

    and y = x where βx > threshold.

    Args:
        beta: β.
        threshold: above which the function is linear.
        replicas: None or R.

    Errors: ArgumentError for β = 0.

    Source: Dugas et al. 2001.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Softplus()(torch.tensor([0.0, 100.0]))
        tensor([  0.6931, 100.0000])
    """

    shown = "beta=, threshold="

    def __init__(self, beta: float = 1.0, threshold: float = 20.0, *, replicas: int | None = None) -> None:
        super().__init__(replicas=replicas)
        if beta == 0:
            raise ArgumentError("beta other than 0", str(beta), "Pass beta=1.0, say.", self.label)
        self.beta, self.threshold = beta, threshold

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        z = x if self.beta == 1 else x * self.beta
        bend, linear = _log_bend(z), self._linear(z)
        if linear is not None:
            bend.addcmul_(bend, linear, value=-1)
        steep = torch.relu(x) if self.beta > 0 else x.clamp(max=0)  # not of βx, which is infinite where x is large
        y = steep.sub_(bend if self.beta == 1 else bend.mul_(1 / self.beta))
        return (y if linear is None or self.threshold >= 0 else torch.where(linear > 0, x, y)), z

    def slope(self, z: Tensor) -> Tensor:
        s, linear = torch.sigmoid(z), self._linear(z)
        return s if linear is None else torch.maximum(s, linear)

    def _linear(self, z: Tensor) -> Tensor | None:
        """[z > threshold], or None if from there on rounding makes the function linear by itself."""
        if self.threshold > -math.log(torch.finfo(z.dtype).eps / 4):
            return None
        return above(z, self.threshold)


class Softsign(Elementwise):
    r"""A sigmoid that saturates polynomially.

    $$y = \frac{x}{1 + |x|}, \qquad \frac{dy}{dx} = \frac{1}{(1 + |x|)^2}$$

    Source: Bergstra et al. 2009.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Softsign()(torch.tensor([-3.0, 1.0]))
        tensor([-0.7500,  0.5000])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        r = x.abs().add_(constant(1, x)).reciprocal_()
        return x * r, r

    def slope(self, r: Tensor) -> Tensor:
        return r.mul_(r)


class SiLU(NeverInplace):
    r"""Sigmoid linear unit, also called swish.

    $$y = x \, \sigma(x), \qquad \frac{dy}{dx} = \sigma(x) + y \, (1 - \sigma(x))$$

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Elfwing, Uchibe and Doya 2017, arXiv:1702.03118.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.SiLU()(torch.tensor([-100.0, 0.0, 1.0]))
        tensor([-0.0000, 0.0000, 0.7311])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        s = torch.sigmoid(x)
        y = x * s
        return y, y, s

    def slope(self, y: Tensor, s: Tensor) -> Tensor:
        return torch.addcmul(y, y, s, value=-1).add_(s)


class GELU(Elementwise):
    r"""Gaussian error linear unit.

    $$y = x \, \Phi(x), \qquad \frac{dy}{dx} = \Phi(x) + x \, \varphi(x)$$

    with the distribution function Φ and density φ of N(0, 1); or, with `approximate="tanh"`,

    $$y = x \, \sigma(u), \quad u = \sqrt{8/\pi} \, (x + 0.044715 \, x^3), \qquad
      \frac{dy}{dx} = \sigma(u) + y \, (1 - \sigma(u)) \, u'$$

    which is PyTorch's formula, as 1 + tanh(u/2) = 2 σ(u).

    Args:
        approximate: "none" or "tanh".
        replicas: None or R.

    Errors: ArgumentError for another approximation.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.GELU()(torch.tensor([1.0])), nn.GELU("tanh")(torch.tensor([1.0]))
        (tensor([0.8413]), tensor([0.8412]))
    """

    LINEAR, CUBIC = math.sqrt(8 / math.pi), math.sqrt(8 / math.pi) * 0.044715

    def __init__(self, approximate: str = "none", *, replicas: int | None = None) -> None:
        super().__init__(replicas=replicas)
        self.approximate = checks.one_of("approximate", approximate, ("none", "tanh"), self.label)

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.approximate == "none":
            erf = (x * constant(math.sqrt(0.5), x)).erf_()
            phi = torch.add(constant(0.5, x), erf, alpha=0.5, out=erf)
            return x * phi, x, phi
        squares = x * x
        s = torch.add(constant(self.LINEAR, x), squares, alpha=self.CUBIC).mul_(x).sigmoid_()
        y = x * s
        return y, squares, s, y

    def slope(self, *kept: Tensor) -> Tensor:
        if self.approximate == "none":
            x, phi = kept
            density = (x * x).mul_(constant(-0.5 / math.log(2), x)).exp2_()  # times √(2π); exp takes thrice as long
            return phi.add_(density.mul_(x), alpha=1 / math.sqrt(2 * math.pi))
        squares, s, y = kept
        du = torch.add(constant(self.LINEAR, s), squares, alpha=3 * self.CUBIC)
        return torch.addcmul(s, torch.addcmul(y, y, s, value=-1), du)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Mish(NeverInplace):
    r"""A smooth unit that dips below zero.

    $$y = x \tanh(\log(1 + e^x)) = x \, t, \quad t = \frac{n}{n + 2}, \quad n = e^x (e^x + 2), \qquad
      \frac{dy}{dx} = t + 4 x \, \frac{e^x (1 + e^x)}{(n + 2)^2}$$

    From x = 40 on t is 1 to the last digit of float64, so that no larger power is taken.

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Misra 2019, arXiv:1908.08681.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Mish()(torch.tensor([0.0, 1.0, 100.0]))
        tensor([  0.0000,   0.8651, 100.0000])
    """

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        two = constant(2, x)
        e = x.clamp(max=40).exp_()
        n = (e + two).mul_(e)
        r = (n + two).reciprocal_()
        t = n.mul_(r)
        return x * t, x, e, r, t

    def slope(self, x: Tensor, e: Tensor, r: Tensor, t: Tensor) -> Tensor:
        # e (1 + e) = n − e, and n r = t
        return torch.addcmul(t, torch.addcmul(t, e, r, value=-1).mul_(r), x, value=4)


def _log_bend(x: Tensor) -> Tensor:
    """log(1 − σ(−|x|)) = −log(1 + e^−|x|), by how much log σ stays below min(x, 0)."""
    return x.abs().neg_().sigmoid_().neg_().log1p_()
