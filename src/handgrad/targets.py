"""Targets of a regression, standardised for each replica by what it is trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.data import selected


class StandardisedLoss(nn.Loss):
    r"""A loss of standardised targets, by a mean m and a scale s of each replica.

    $$L(y, t) = \ell\left(y, \frac{t - m}{s}\right)$$

    Shapes: y and t (R, N, O); m and s (R, O); loss (R,).

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = StandardisedLoss(nn.MSELoss(replicas=1), torch.tensor([[5.0]]), torch.tensor([[2.0]]))
        >>> criterion(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 9.0))
        tensor([4.])
    """

    buffer_names = ("mean", "scale")

    def __init__(self, loss: nn.Loss, mean: Tensor, scale: Tensor) -> None:
        super().__init__(replicas=loss.replicas)
        self.loss, self.mean, self.scale = loss, mean.unsqueeze(1), scale.unsqueeze(1)

    def forward(self, y: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:
        z = (t - self.mean) / self.scale  # (R, N, O), in float64
        return self.loss.forward(y, z.to(y.dtype), weights)

    def backward(self, dloss: Tensor | None = None) -> Any:
        return self.loss.backward(dloss)


def centre(t: Tensor, rows: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (R, O) each in float64, of the targets of each replica's rows; 1 for a constant.

    Example:
        >>> import torch
        >>> centre(torch.tensor([[1.0], [3.0], [3.0]]), torch.tensor([[0, 1], [1, 2]]))
        (tensor([[2.],
                [3.]], dtype=torch.float64), tensor([[1.],
                [1.]], dtype=torch.float64))
    """
    z = selected(t.double(), rows)  # (R, M, O)
    w = torch.ones_like(rows, dtype=z.dtype) if weights is None else selected(weights.double(), rows)
    w = (w / w.sum(1, keepdim=True)).unsqueeze(2)  # (R, M, 1)
    mean = (w * z).sum(1)  # (R, O)
    scale = (w * (z - mean.unsqueeze(1)).square()).sum(1).sqrt()
    constant = scale <= 1e-12 * mean.abs()
    return mean, scale.masked_fill(constant, 1)


def rescale(model: nn.Sequential, mean: Tensor, scale: Tensor) -> None:
    """Let a model that ends in a Linear give s y + m in place of y, for m and s of (R, O), or of (O,) for all."""
    last = list(model.children())[-1]
    assert isinstance(last, nn.Linear)
    assert last.bias is not None
    last.weight.value = (last.weight.value * scale.unsqueeze(-2)).to(last.weight.value.dtype)
    last.bias.value = (last.bias.value * scale + mean).to(last.bias.value.dtype)
