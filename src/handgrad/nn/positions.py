"""What tells a transformer where a token stands: fixed waves, or an embedding that is learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.init import Normal
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter


class PositionalEncoding(Module):
    r"""Add waves of geometrically growing length to the features of each token.

    $$y_{te} = x_{te} + \begin{cases} \sin(t \, 10000^{-e/E}) & e \text{ even} \\
      \cos(t \, 10000^{-(e-1)/E}) & e \text{ odd} \end{cases}, \qquad
      \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}$$

    Shapes: x and y (…, T, E).

    Args:
        embed_dim: E.
        replicas: None or R.

    Errors: ArgumentError for an odd E, ShapeError for another number of features.

    Source: Vaswani et al. 2017, section 3.5, arXiv:1706.03762.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.PositionalEncoding(4)(torch.zeros(1, 2, 4))[0, 1]
        tensor([0.8415, 0.5403, 0.0100, 0.9999])
    """

    shown = "embed_dim"

    def __init__(self, embed_dim: int, *, replicas: int | None = None) -> None:
        self.embed_dim = checks.positive_int("embed_dim", embed_dim, "PositionalEncoding")
        super().__init__(replicas)
        if embed_dim % 2:
            remedy = "Choose an even one: sines and cosines come in pairs."
            raise ArgumentError("an even embed_dim", str(embed_dim), remedy, self.label)
        self._waves: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        T = tokens(checks.tensor(x, self), self.embed_dim, self)
        waves = self._waves
        if waves is None or len(waves) < T or waves.dtype is not x.dtype or waves.device != x.device:
            self._waves = waves = self.waves(T).to(x)
        return self.keep(x + waves[:T])

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        return dy.clone()

    def waves(self, T: int) -> Tensor:
        """What is added to T tokens, (T, E) in float64."""
        even = torch.arange(0, self.embed_dim, 2, dtype=torch.float64)
        angles = torch.arange(T, dtype=torch.float64).unsqueeze(1) * torch.exp(even * (-math.log(1e4) / self.embed_dim))
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)  # (T, E)


class PositionalEmbedding(Module):
    r"""Add a learned vector for each position.

    $$y_t = x_t + w_t, \qquad \frac{\partial L}{\partial w_t} = \sum_n \frac{\partial L}{\partial y_{nt}}, \quad
      \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}$$

    Shapes: x and y (N, T, E) with T ≤ max_len, w (max_len, E). With R replicas x is (R, N, T, E), or (N, T, E) shared
    by all, and w (R, max_len, E).

    Args:
        max_len: how many positions there are.
        embed_dim: E.
        device, dtype: of the parameter.
        generator: source of the initial values, N(0, 1).
        replicas: None or R.

    Errors: ShapeError for another number of features, or more tokens than positions.

    Source: Radford et al. 2018, Improving language understanding by generative pre-training.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> positions = nn.PositionalEmbedding(16, 4)
        >>> positions(torch.zeros(2, 3, 4)).shape, positions.weight.shape
        (torch.Size([2, 3, 4]), torch.Size([16, 4]))
    """

    shown = "max_len, embed_dim"

    def __init__(
        self,
        max_len: int,
        embed_dim: int,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.max_len = checks.positive_int("max_len", max_len, "PositionalEmbedding")
        self.embed_dim = checks.positive_int("embed_dim", embed_dim, "PositionalEmbedding")
        super().__init__(replicas)
        value = torch.empty(max_len, embed_dim, device=checks.device(device, self.label), dtype=dtype)
        self.weight = Parameter(value, Normal(1.0), generator, replicas=replicas)

    def forward(self, x: Tensor) -> Tensor:
        checks.like(x, self.weight.value, self)
        x = self.replicated(x, rank=3)
        T = tokens(x, self.embed_dim, self)
        if self.max_len < T:
            remedy = "Cut the sequence, or build the layer for longer ones."
            raise ShapeError(f"at most {self.max_len} tokens", str(T), remedy, self.label)
        w = self.weight.value[..., :T, :]
        return self.keep(x + (w if self.replicas is None else w.unsqueeze(1)))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        T, E = dy.shape[-2:]
        dw = dy.reshape(*dy.shape[: self.along(0)], -1, T, E).sum(-3)  # (T, E)
        self.weight.add_grad(torch.constant_pad_nd(dw, (0, 0, 0, self.max_len - T)))
        return dy.clone()


def tokens(x: Tensor, embed_dim: int, module: Module) -> int:
    """T of an input (…, T, E), or an error."""
    if x.ndim < 2 or x.shape[-1] != embed_dim:
        remedy = f"Give the layer {embed_dim} features in the last dimension, or build it for what comes."
        raise ShapeError(f"an input of shape (…, T, {embed_dim})", str(tuple(x.shape)), remedy, module.label)
    return x.shape[-2]
