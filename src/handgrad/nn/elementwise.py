"""Elementwise: the base of activations that treat every number alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.constants import cast
from handgrad.nn.module import Module


class Elementwise(Module):
    r"""Base of the elementwise activations: a subclass gives the value and the slope, the rest stands here.

    $$y = f(x), \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \, f'(x)$$

    At a kink the slope is PyTorch's.

    Shapes: x and y alike, any. With R replicas x may be shared by them, and then y is, too; its upstream gradient
    has the leading R, and so the gradient of x.

    Args:
        replicas: None or R.

    Errors: DTypeError for an input that is not of floating-point numbers.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> class Cube(nn.Elementwise):
        ...     def value(self, x):
        ...         return x**3, x
        ...     def slope(self, x):
        ...         return 3 * x**2
        >>> cube = Cube()
        >>> cube(torch.tensor([2.0]))
        tensor([8.])
        >>> cube.backward(torch.tensor([1.0]))
        tensor([12.])
    """

    slope: Callable[..., Tensor]
    """Return f′(x), fresh, from what `value` returned after y."""

    def __init__(self, *, replicas: int | None = None) -> None:
        super().__init__(replicas)

    def value(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return y = f(x), and after it what `slope` needs."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if checks.tensor(x, self).dtype is not torch.float16:
            return self.keep(*self.value(x))
        y, *kept = self.value(x.float())  # in whose range exponentials and squares are
        return self.keep(y.half(), *kept)

    def backward(self, dy: Tensor) -> Tensor:
        slope = self.slope(*self.take(dy))
        dx = slope.mul_(dy) if slope.shape == dy.shape else slope * dy  # a shared input's gradient is (R, N, …)
        return cast(dx, dy.dtype)


class NeverInplace(Elementwise):
    """Elementwise with PyTorch's option `inplace`, which can only be False: a module never changes its input.

    Args:
        inplace: only False.
        replicas: None or R.

    Errors: NotImplementedError for inplace=True.
    """

    inplace = False

    def __init__(self, inplace: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(replicas=replicas)
        checks.never_inplace(inplace, type(self).__name__)
