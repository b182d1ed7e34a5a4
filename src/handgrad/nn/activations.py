"""Elementwise activations (report, section 1.2, equations 1 and 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.module import Module


class ReLU(Module):
    r"""Rectified linear unit.

    $$y = \max(x, 0), \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \cdot [x > 0]$$

    At x = 0 the derivative is 0, as in PyTorch; the report's, which is 1 there, is `handgrad.mini.ReLU`.

    Shapes: x and y alike, any.

    Args:
        inplace: only False; a module never changes its input.

    Errors: NotImplementedError for inplace=True.

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

    def __init__(self, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        if inplace:
            raise NotImplementedError("ReLU(inplace=True): a module never changes its input. Leave inplace out.")

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(checks.tensor(x, self))
        return self.keep(y, y)

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.take(dy)
        # y ≥ 0, so its sign is the mask; a float mask multiplies many times faster than a bool one selects
        mask = torch.sign(y)
        return mask.mul_(dy) if mask.shape == dy.shape else mask * dy  # a shared input's gradient is (R, N, …)


class Tanh(Module):
    r"""Hyperbolic tangent.

    $$y = \tanh x, \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \, (1 - y^2)$$

    Shapes: x and y alike, any.

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

    def __init__(self, *, replicas: int | None = None) -> None:
        super().__init__(replicas)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(checks.tensor(x, self))
        return self.keep(y, y)

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.take(dy)
        slope: Tensor = 1 - y * y
        return slope.mul_(dy) if slope.shape == dy.shape else slope * dy
