"""Activations that are linear above zero and saturate exponentially below: ELU, CELU, SELU."""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad.errors import ArgumentError
from handgrad.nn.constants import above, constant
from handgrad.nn.elementwise import NeverInplace


class ELU(NeverInplace):
    r"""Exponential linear unit.

    $$y = \max(x, 0) + \alpha \, (e^{\min(x, 0)} - 1), \qquad
      \frac{dy}{dx} = 1 \text{ if } x > 0, \text{ else } \alpha \, e^x$$

    Args:
        alpha: α.
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Clevert, Unterthiner and Hochreiter 2016, arXiv:1511.07289.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ELU(alpha=2.0)(torch.tensor([-100.0, 3.0]))
        tensor([-2.,  3.])
    """

    shown = "alpha="

    def __init__(self, alpha: float = 1.0, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(inplace, replicas=replicas)
        self.alpha = alpha

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        low = x.clamp(max=0).expm1_()  # 0 where x > 0
        return torch.add(torch.relu(x), low, alpha=self.alpha), x, low

    def slope(self, x: Tensor, low: Tensor) -> Tensor:
        # 1 + 0, or α + α (eˣ − 1)
        return torch.threshold_(above(x, 0), 0, self.alpha).add_(low, alpha=self.alpha)


class CELU(NeverInplace):
    r"""Continuously differentiable exponential linear unit.

    $$y = \max(x, 0) + \alpha \, (e^{\min(x, 0) / \alpha} - 1), \qquad
      \frac{dy}{dx} = e^{\min(x, 0) / \alpha}$$

    Args:
        alpha: α.
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Errors: ArgumentError for α = 0.

    Source: Barron 2017, arXiv:1704.07483.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.CELU(alpha=2.0)(torch.tensor([-2.0, 3.0]))
        tensor([-1.2642,  3.0000])
    """

    shown = "alpha="

    def __init__(self, alpha: float = 1.0, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(inplace, replicas=replicas)
        if alpha == 0:
            raise ArgumentError("alpha other than 0", str(alpha), "Pass alpha=1.0, say.", self.label)
        self.alpha = alpha

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        low = x.clamp(max=0).mul_(constant(1 / self.alpha, x)).expm1_()  # 0 where x > 0
        return torch.add(torch.relu(x), low, alpha=self.alpha), low

    def slope(self, low: Tensor) -> Tensor:
        return low.add_(constant(1, low))


class SELU(ELU):
    r"""Scaled exponential linear unit, under which activations keep mean 0 and variance 1.

    $$y = \lambda \, \text{ELU}_\alpha(x), \qquad
      \frac{dy}{dx} = \lambda \text{ if } x > 0, \text{ else } \lambda \alpha \, e^x$$

    with λ ≈ 1.0507 and α ≈ 1.6733.

    Args:
        inplace: only False; a module never changes its input.
        replicas: None or R.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.SELU()(torch.tensor([-100.0, 1.0]))
        tensor([-1.7581,  1.0507])
    """

    shown = ""
    SCALE = 1.0507009873554804934193349852946
    ALPHA = 1.6732632423543772848170429916717

    def __init__(self, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(self.ALPHA, inplace, replicas=replicas)

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        y, *kept = super().value(x)
        return y.mul_(constant(self.SCALE, y)), *kept

    def slope(self, x: Tensor, low: Tensor) -> Tensor:
        return super().slope(x, low).mul_(constant(self.SCALE, x))
