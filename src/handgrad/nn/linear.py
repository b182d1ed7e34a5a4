"""Linear: y = x W + b (report, section 1.3, equations 3 and 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn.init import Initialiser, named
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter
from handgrad.nn.products import affine, product, rows, unrows


class Linear(Module):
    r"""Fully connected layer.

    $$y = x W + b, \qquad
      \frac{\partial L}{\partial W} = x^T \frac{\partial L}{\partial y}, \quad
      \frac{\partial L}{\partial b} = 1^T \frac{\partial L}{\partial y}, \quad
      \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} W^T$$

    Shapes: x (…, I), y (…, O), W (I, O), b (O,). With R replicas x is (R, …, I), W (R, I, O) and b (R, O); an x
    of (N, I), or of (1, …, I), is shared by all replicas, and backward returns its gradient for each of them.

    Args:
        in_features: I.
        out_features: O.
        bias: False leaves b out.
        device, dtype: of the parameters.
        init: name or `nn.init.Initialiser`; by default PyTorch's, number for number under the same seed.
        generator: source of the initial values (R of them for R replicas); torch's default one if None.
        replicas: None or R.

    Errors: ShapeError for another feature count or rank, DTypeError and DeviceError for an input unlike the weight.

    Source: the report, equations 3 and 4.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.Linear(3, 2)
        >>> layer(torch.ones(5, 3)).shape
        torch.Size([5, 2])
        >>> layer.backward(torch.ones(5, 2)).shape, layer.weight.grad.shape
        (torch.Size([5, 3]), torch.Size([3, 2]))
    """

    shown = "in_features=, out_features=, bias="

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        init: str | Initialiser = "pytorch",
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.in_features = checks.positive_int("in_features", in_features, "Linear")
        self.out_features = checks.positive_int("out_features", out_features, "Linear")
        super().__init__(replicas)
        self.init = init
        rules, fans = named(init), (in_features, out_features)
        W = torch.empty(out_features, in_features, device=checks.device(device, self.label), dtype=dtype)
        self.weight = Parameter(W, rules.weight(*fans), generator, replicas=replicas, transposed=True)
        b = W.new_empty(out_features)
        self.bias = Parameter(b, rules.bias(*fans), generator, replicas=replicas) if bias else None

    @property
    def label(self) -> str:
        return f"Linear {self.in_features}→{self.out_features}"

    def forward(self, x: Tensor) -> Tensor:
        W, x = self.weight.matrix, self.checked(x)
        flat = rows(x, W)  # (N, I), or (R, N, I)
        y = affine(flat, W, None if self.bias is None else self.bias.value)  # (N, O)
        return self.keep(unrows(y, x), flat)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.take(dy)
        dx = product(self._backward_own(x, dy), self.weight.matrix.mT)  # (N, I)
        return unrows(dx, dy)

    def backward_parameters(self, dy: Tensor) -> None:
        (x,) = self.take(dy)
        self._backward_own(x, dy)

    def _backward_own(self, x: Tensor, dy: Tensor) -> Tensor:
        """Accumulate the gradients of W and b; return dy as rows."""
        dy = rows(dy, self.weight.value)  # (N, O)
        self.weight.add_grad(product(x.mT, dy), transposed=True)  # (I, O)
        if self.bias is not None:
            self.bias.add_grad(dy.sum(-2))  # (O,)
        return dy

    def checked(self, x: Tensor) -> Tensor:
        """The input with its leading R, or an error."""
        checks.like(x, self.weight.value, self)
        x = self.replicated(x, rank=2)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            remedy = f"Give the layer {self.in_features} features in the last dimension, or build it for what comes."
            raise ShapeError(f"an input of shape (…, {self.in_features})", str(tuple(x.shape)), remedy, self.label)
        return x
