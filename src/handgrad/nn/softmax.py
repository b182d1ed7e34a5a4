"""Activations along one dimension: Softmax, Softmin, LogSoftmax, and the gate GLU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn.constants import constant
from handgrad.nn.module import Module


class _Along(Module):
    """What works along a dimension."""

    shown = "dim="

    def __init__(self, dim: int | None = None, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        if dim is None:
            raise NotImplementedError(f"{self.label}(dim=None) is deprecated in PyTorch. Pass dim=-1, say.")
        self.dim = dim

    def checked(self, x: Tensor) -> tuple[Tensor, int]:
        """The input and the dimension to go along, past the leading R where there is one."""
        (dim,) = checks.places(self.leading(checks.tensor(x, self)), (self.dim,), self.along(0), self)
        return x, dim


class Softmax(_Along):
    r"""Numbers to probabilities.

    $$y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}, \qquad
      \frac{\partial L}{\partial x_i} = y_i \Big( \frac{\partial L}{\partial y_i}
      - \sum_j \frac{\partial L}{\partial y_j} \, y_j \Big)$$

    The largest x is taken off all first, which changes nothing but the overflow.

    Shapes: x and y alike, any. With R replicas x leads with R, or with 1 where they share it, and `dim` counts past
    it.

    Args:
        dim: the dimension along which y sums to one.
        replicas: None or R.

    Errors: NotImplementedError without `dim`, DimensionError for one that is not there.

    Source: Bridle 1990.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> softmax = nn.Softmax(dim=-1)
        >>> softmax(torch.tensor([1000.0, 1000.0]))
        tensor([0.5000, 0.5000])
        >>> softmax.backward(torch.tensor([1.0, 0.0]))
        tensor([ 0.2500, -0.2500])
    """

    def forward(self, x: Tensor) -> Tensor:
        x, dim = self.checked(x)
        y = torch.softmax(x, dim)
        return self.keep(y, y, dim)

    def backward(self, dy: Tensor) -> Tensor:
        y, dim = self.take(dy)
        dx: Tensor = dy * y
        total = dx.sum(dim, keepdim=True)
        return dx.addcmul_(y, total, value=-1)


class Softmin(Softmax):
    r"""Softmax of −x: the smallest number gets the largest probability.

    $$y_i = \frac{e^{-x_i}}{\sum_j e^{-x_j}}, \qquad
      \frac{\partial L}{\partial x_i} = -y_i \Big( \frac{\partial L}{\partial y_i}
      - \sum_j \frac{\partial L}{\partial y_j} \, y_j \Big)$$

    Args:
        dim: the dimension along which y sums to one.
        replicas: None or R.

    Errors: as of Softmax.

    Source: torch.nn.Softmin.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Softmin(dim=-1)(torch.tensor([0.0, 100.0]))
        tensor([1.0000e+00, 3.7835e-44])
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(-checks.tensor(x, self))

    def backward(self, dy: Tensor) -> Tensor:
        return super().backward(dy).neg_()


class Softmax2d(Softmax):
    r"""Softmax over the channels of each pixel.

    Shapes: x and y alike, (N, C, H, W) or (C, H, W). With R replicas x leads with R, or with 1 where they share it.

    Errors: ShapeError for another rank.

    Source: torch.nn.Softmax2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Softmax2d()(torch.zeros(1, 4, 2, 2)).unique()
        tensor([0.2500])
    """

    shown = ""

    def __init__(self, *, replicas: int | None = None) -> None:
        super().__init__(-3, replicas=replicas)

    def forward(self, x: Tensor) -> Tensor:
        lead = "" if self.replicas is None else "R, "
        if checks.tensor(x, self).ndim not in (self.along(3), self.along(4)):
            expected = f"an input of shape ({lead}N, C, H, W) or ({lead}C, H, W)"
            raise ShapeError(expected, str(tuple(x.shape)), "Pass images.", self.label)
        return super().forward(x)


class LogSoftmax(_Along):
    r"""Logarithm of Softmax, of which no probability is too small.

    $$y_i = x_i - \log \sum_j e^{x_j}, \qquad
      \frac{\partial L}{\partial x_i} = \frac{\partial L}{\partial y_i}
      - e^{y_i} \sum_j \frac{\partial L}{\partial y_j}$$

    The largest x is taken off all first, which changes nothing but the overflow.

    Shapes: as of Softmax.

    Args:
        dim: the dimension along which the exponentials of y sum to one.
        replicas: None or R.

    Errors: as of Softmax.

    Source: Bridle 1990.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.LogSoftmax(dim=-1)(torch.tensor([0.0, 1000.0]))
        tensor([-1000.,     0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        x, dim = self.checked(x)
        y = torch.log_softmax(x, dim)
        return self.keep(y, y, dim)

    def backward(self, dy: Tensor) -> Tensor:
        y, dim = self.take(dy)
        p = (y * constant(1 / math.log(2), y)).exp2_()  # eʸ; exp takes thrice as long
        return torch.addcmul(dy, p, dy.sum(dim, keepdim=True), value=-1)


class GLU(_Along):
    r"""Gated linear unit: one half of the input gates the other.

    $$x = (a, b), \quad y = a \, \sigma(b), \qquad
      \frac{\partial L}{\partial a} = \frac{\partial L}{\partial y} \, \sigma(b), \quad
      \frac{\partial L}{\partial b} = \frac{\partial L}{\partial y} \, y \, (1 - \sigma(b))$$

    Shapes: x any, y half as long along `dim`. With R replicas x leads with R, or with 1 where they share it, and
    `dim` counts past it.

    Args:
        dim: the dimension that is halved.
        replicas: None or R.

    Errors: ShapeError for an odd length, DimensionError for a dimension that is not there.

    Source: Dauphin et al. 2017, arXiv:1612.08083.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> glu = nn.GLU()
        >>> glu(torch.tensor([3.0, 0.0]))
        tensor([1.5000])
        >>> glu.backward(torch.tensor([1.0]))
        tensor([0.5000, 0.7500])
    """

    def __init__(self, dim: int = -1, *, replicas: int | None = None) -> None:
        super().__init__(dim, replicas=replicas)

    def forward(self, x: Tensor) -> Tensor:
        x, dim = self.checked(x)
        length = x.size(dim) if x.ndim else 1
        if length % 2:
            remedy = "Give the layer twice the features that it shall return."
            raise ShapeError(f"an even length of dimension {self.dim}", str(length), remedy, self.label)
        s = torch.sigmoid(x.narrow(dim, length // 2, length // 2))
        y = x.narrow(dim, 0, length // 2) * s
        return self.keep(y, y, s, dim)

    def backward(self, dy: Tensor) -> Tensor:
        y, s, dim = self.take(dy)
        return torch.cat([dy * s, torch.addcmul(y, y, s, value=-1).mul(dy)], dim)
