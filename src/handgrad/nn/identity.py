"""Identity: nothing, where a module is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from handgrad import checks
from handgrad.nn.module import Module


class Identity(Module):
    r"""Return the input itself.

    $$y = x, \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}$$

    Shapes: x and y alike, any. As in PyTorch y is x itself, not a copy; the gradient is a copy.

    Args:
        args, kwargs: anything, unused, so that it can stand for any other module.
        replicas: None or R.

    Source: torch.nn.Identity.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> identity = nn.Identity(54, unused=True)
        >>> identity(torch.tensor([1.0])), identity.backward(torch.tensor([2.0]))
        (tensor([1.]), tensor([2.]))
    """

    def __init__(self, *args: Any, replicas: int | None = None, **kwargs: Any) -> None:  # noqa: ARG002
        super().__init__(replicas)

    def forward(self, x: Tensor) -> Tensor:
        return self.keep(checks.tensor(x, self))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        return dy.clone()
