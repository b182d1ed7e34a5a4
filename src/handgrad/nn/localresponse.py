"""Local response normalisation."""

from __future__ import annotations

from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn.module import Module


class LocalResponseNorm(Module):
    r"""Divide each channel by what it and its neighbours respond at the same place.

    With the window w(c) of the `size` channels from c − ⌊size/2⌋ to c + ⌊(size − 1)/2⌋, those that there are:

    $$d_c = k + \frac{\alpha}{\text{size}} \sum_{j \in w(c)} x_j^2, \qquad y_c = x_c \, d_c^{-\beta}$$

    $$\frac{\partial L}{\partial x_c} = \frac{\partial L}{\partial y_c} d_c^{-\beta}
      - \frac{2 \alpha \beta}{\text{size}} \, x_c \sum_{j : c \in w(j)}
      \frac{\partial L}{\partial y_j} \, x_j \, d_j^{-\beta - 1}$$

    Shapes: x and y (N, C, L, …). With R replicas (R, N, C, L, …), or (1, N, C, L, …) shared by all.

    Args:
        size: width of the window.
        alpha, beta, k: α, β and k.
        replicas: None or R.

    Errors: ShapeError for fewer dimensions.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.LocalResponseNorm(3, alpha=3.0, beta=1.0)(torch.ones(1, 4, 1)).flatten()
        tensor([0.3333, 0.2500, 0.2500, 0.3333])
    """

    shown = "size, alpha=, beta=, k="

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, replicas: int | None = None
    ) -> None:
        super().__init__(replicas)
        self.size = checks.positive_int("size", size, self.label)
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        x = self.leading(checks.tensor(x, self))
        if x.ndim < self.along(3):
            expected = f"an input of at least {self.along(3)} dimensions"
            remedy = "Give the layer channels in the second dimension, and places after them."
            raise ShapeError(expected, str(tuple(x.shape)), remedy, self.label)
        before, after = self.size // 2, (self.size - 1) // 2
        d = self._window(x * x, before, after).mul_(self.alpha / self.size).add_(self.k)
        scale = d.pow(-self.beta)
        return self.keep(x * scale, x, d, scale)

    def backward(self, dy: Tensor) -> Tensor:
        x, d, scale = self.take(dy)
        before, after = self.size // 2, (self.size - 1) // 2
        direct: Tensor = dy * scale
        # c is in the window of j if j is in that of c with its sides exchanged
        sums = self._window((direct * x).div_(d), after, before)
        return direct.addcmul_(sums, x, value=-2 * self.alpha * self.beta / self.size)

    def _window(self, values: Tensor, before: int, after: int) -> Tensor:
        """Sum each channel with so many before and after it."""
        dim = self.along(1)
        channels, sums = values.shape[dim], values.clone()
        for step in range(1, min(max(before, after) + 1, channels)):
            if step <= before:
                sums.narrow(dim, step, channels - step).add_(values.narrow(dim, 0, channels - step))
            if step <= after:
                sums.narrow(dim, 0, channels - step).add_(values.narrow(dim, step, channels - step))
        return sums
