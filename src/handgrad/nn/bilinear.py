"""Bilinear: a linear map of the products of two inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn.init import Uniform
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter
from handgrad.nn.products import rows


class Bilinear(Module):
    r"""Every output is a bilinear form of two inputs: with z the products of all pairs, a Linear of z.

    $$z_{ij} = x^1_i x^2_j, \quad y_o = \sum_{ij} A_{oij} z_{ij} + b_o, \qquad
      \frac{\partial L}{\partial A_{oij}} = \sum \frac{\partial L}{\partial y_o} z_{ij}, \quad
      \frac{\partial L}{\partial b} = \sum \frac{\partial L}{\partial y}, \quad
      \frac{\partial L}{\partial z_{ij}} = \sum_o \frac{\partial L}{\partial y_o} A_{oij}$$

    $$\frac{\partial L}{\partial x^1_i} = \sum_j \frac{\partial L}{\partial z_{ij}} x^2_j, \quad
      \frac{\partial L}{\partial x^2_j} = \sum_i \frac{\partial L}{\partial z_{ij}} x^1_i$$

    Shapes: x¹ (…, I), x² (…, J), y (…, O), A (O, I, J), b (O,). With R replicas x¹ and x² are (R, …, I) and
    (R, …, J), A (R, O, I, J) and b (R, O); an input of (N, I), or of (1, …, I), is shared by all replicas.

    Args:
        in1_features: I.
        in2_features: J.
        out_features: O.
        bias: False leaves b out.
        device, dtype: of the parameters.
        generator: source of the initial values (R of them for R replicas); torch's default one if None.
        replicas: None or R.

    Errors: ShapeError for other feature counts, or inputs unlike in what precedes the features; DTypeError and
    DeviceError for an input unlike the weight.

    Source: torch.nn.Bilinear.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.Bilinear(3, 4, 2)
        >>> layer(torch.ones(5, 3), torch.ones(5, 4)).shape
        torch.Size([5, 2])
        >>> dx1, dx2 = layer.backward(torch.ones(5, 2))
        >>> dx1.shape, dx2.shape, layer.weight.grad.shape
        (torch.Size([5, 3]), torch.Size([5, 4]), torch.Size([2, 3, 4]))
    """

    shown = "in1_features=, in2_features=, out_features=, bias="

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.in1_features = checks.positive_int("in1_features", in1_features, "Bilinear")
        self.in2_features = checks.positive_int("in2_features", in2_features, "Bilinear")
        self.out_features = checks.positive_int("out_features", out_features, "Bilinear")
        super().__init__(replicas)
        device = checks.device(device, self.label)
        rule = Uniform(1 / math.sqrt(in1_features))
        value = torch.empty(out_features, in1_features, in2_features, device=device, dtype=dtype)
        self.weight = Parameter(value, rule, generator, replicas=replicas)
        self.bias = Parameter(value.new_empty(out_features), rule, generator, replicas=replicas) if bias else None

    @property
    def label(self) -> str:
        return f"Bilinear {self.in1_features}×{self.in2_features}→{self.out_features}"

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        x1 = self._checked(x1, self.in1_features, "first input")
        x2 = self._checked(x2, self.in2_features, "second input")
        shape = x1.shape[:-1]
        if shape != x2.shape[:-1]:
            expected = f"a second input of shape {(*shape, self.in2_features)}, like the first"
            remedy = "Give the layer two inputs that differ in their last dimension alone."
            raise ShapeError(expected, str(tuple(x2.shape)), remedy, self.label)
        A = self._matrix
        x1, x2 = rows(x1, A), rows(x2, A)  # (N, I) and (N, J)
        y = self._products(x1, x2) @ A  # (N, O)
        if self.bias is not None:
            y.add_(self.bias.value.unsqueeze(-2))
        return self.keep(y.view(*shape, self.out_features), x1, x2, shape)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2, shape = self.take(dy)
        A = self._matrix
        dy = rows(dy, A)  # (N, O)
        self.weight.add_grad((dy.mT @ self._products(x1, x2)).view(self.weight.shape))
        if self.bias is not None:
            self.bias.add_grad(dy.sum(-2))
        dz = (dy @ A.mT).view(*dy.shape[:-1], *self.weight.shape[-2:])  # (N, I, J)
        dx1 = (dz @ x2.unsqueeze(-1)).view(*shape, self.in1_features)
        dx2 = (dz.mT @ x1.unsqueeze(-1)).view(*shape, self.in2_features)
        return dx1, dx2

    @property
    def _matrix(self) -> Tensor:
        """View A as the weight (I J, O) of a Linear."""
        return self.weight.value.flatten(-2).mT

    def _products(self, x1: Tensor, x2: Tensor) -> Tensor:
        """All products z (N, I J) of one number of x¹ and one of x²."""
        return (x1.unsqueeze(-1) * x2.unsqueeze(-2)).flatten(-2)

    def _checked(self, x: Tensor, features: int, what: str) -> Tensor:
        """An input with its leading R, or an error."""
        checks.like(x, self.weight.value, self, what)
        x = self.replicated(x, rank=2)
        if x.ndim == 0 or x.shape[-1] != features:
            remedy = f"Give the layer {features} features there, or build it for what comes."
            raise ShapeError(f"a {what} of shape (…, {features})", str(tuple(x.shape)), remedy, self.label)
        return x
