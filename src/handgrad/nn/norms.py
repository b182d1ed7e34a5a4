"""Normalisation by a sample's own statistics: LayerNorm, RMSNorm, GroupNorm, InstanceNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.constants import cast, constant
from handgrad.nn.parameter import Parameter
from handgrad.nn.products import product
from handgrad.nn.running import Running, affine_parameters
from handgrad.nn.standardised import Standardised


class LastDims(Standardised):
    """Base of LayerNorm and RMSNorm: a group is a sample's last dimensions, with a γ and a β for each of its values."""

    shown = "normalized_shape, eps=, elementwise_affine="

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None, replicas: int | None) -> None:
        shape = checks.own(normalized_shape)
        given = (shape,) if isinstance(shape, int) else tuple(shape)
        name = type(self).__name__
        self.normalized_shape = tuple(checks.positive_int("normalized_shape", size, name) for size in given)
        if not given:
            raise ArgumentError("normalized_shape of at least one size", "()", "Pass the last sizes of inputs.", name)
        self.size, self.rank = math.prod(given), len(given) + 1
        super().__init__(replicas)
        self.eps = eps if eps is None else checks.at_least("eps", eps, 0, self.label)

    def add_affine(self, affine: bool, bias: bool, device: Any, dtype: torch.dtype | None) -> None:
        """Set γ and β."""
        self.elementwise_affine = affine
        values = torch.empty(self.normalized_shape, device=checks.device(device, self.label), dtype=dtype)
        self.weight, self.bias = affine_parameters(values, affine, bias, self.replicas)

    @property
    def label(self) -> str:
        return f"{type(self).__name__} {'×'.join(map(str, self.normalized_shape))}"

    def rows(self, x: Tensor) -> Tensor:
        shape = self.normalized_shape
        if x.shape[-len(shape) :] != shape:
            sizes = ", ".join(map(str, shape))
            remedy = f"Give the layer an input that ends in {sizes}, or build it for what comes."
            raise ShapeError(f"an input of shape (…, {sizes})", str(tuple(x.shape)), remedy, self.label)
        return x.reshape(*x.shape[: self.along(0)], -1, self.size)  # (M, E)

    def scaled(self, xhat: Tensor) -> Tensor:
        if self.weight is None:
            return super().scaled(xhat)
        gamma = self._row(self.weight)
        return xhat * gamma if self.bias is None else torch.addcmul(self._row(self.bias), xhat, gamma)

    def backward_scaled(self, dy: Tensor, xhat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if self.weight is None:
            return super().backward_scaled(dy, xhat)
        dy = cast(dy.reshape(xhat.shape), xhat.dtype)
        products = dy * xhat  # (M, E)
        self.weight.add_grad(products.sum(-2).view(self.weight.shape))
        if self.bias is not None:
            self.bias.add_grad(dy.sum(-2).view(self.bias.shape))
        gamma = cast(self._row(self.weight), dy.dtype)
        sums, shares = product(dy, gamma.mT), product(products, gamma.mT)  # (M, 1)
        return torch.mul(dy, gamma, out=products), sums, shares, products

    def _row(self, parameter: Parameter) -> Tensor:
        """View γ or β as (1, E), or (R, 1, E)."""
        return parameter.value.view(*parameter.shape[: self.along(0)], 1, self.size)


class LayerNorm(LastDims):
    r"""Normalise each sample over its last dimensions, then scale and shift every value of them.

    With µ and σ² the mean and (biased) variance of a sample's n values:

    $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat x + \beta$$

    $$\frac{\partial L}{\partial x} = \frac{1}{\sqrt{\sigma^2 + \epsilon}} \left( g - \frac{1}{n} \sum g
      - \frac{\hat x}{n} \sum g \hat x \right), \qquad g = \gamma \frac{\partial L}{\partial y}$$

    Shapes: x and y (…, E), γ and β (E,), where E may stand for several dimensions. With R replicas x has at least N
    before E: (R, N, …, E), or, shared by all, (N, E) or (1, N, …, E); γ and β are (R, E).

    Args:
        normalized_shape: E, or the sizes of the last dimensions.
        eps: ε.
        elementwise_affine: False leaves γ and β out.
        bias: False leaves β out.
        device, dtype: of the parameters.
        replicas: None or R.

    Errors: ShapeError for an input that ends otherwise, DTypeError and DeviceError for one unlike γ.

    Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.LayerNorm(3)(torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])).round(decimals=3)
        tensor([[-1.2250,  0.0000,  1.2250],
                [-1.2250,  0.0000,  1.2250]])
    """

    shown = "normalized_shape, eps=, elementwise_affine=, bias="

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(normalized_shape, eps, replicas)
        self.add_affine(elementwise_affine, bias, device, dtype)


class RMSNorm(LastDims):
    r"""Divide each sample by the root of its mean square over its last dimensions, then scale every value of them.

    $$\hat x = \frac{x}{\sqrt{\frac{1}{n} \sum x^2 + \epsilon}}, \qquad y = \gamma \hat x$$

    $$\frac{\partial L}{\partial x} = \frac{1}{\sqrt{\frac{1}{n} \sum x^2 + \epsilon}} \left( g
      - \frac{\hat x}{n} \sum g \hat x \right), \qquad g = \gamma \frac{\partial L}{\partial y}$$

    Shapes: as of `LayerNorm`, without β.

    Args:
        normalized_shape: E, or the sizes of the last dimensions.
        eps: ε; None is the distance from 1 to the next number of the input's dtype, of halves to that of float32.
        elementwise_affine: False leaves γ out.
        device, dtype: of the parameter.
        replicas: None or R.

    Errors: ShapeError for an input that ends otherwise, DTypeError and DeviceError for one unlike γ.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.RMSNorm(2)(torch.tensor([[1.0, 7.0]]))
        tensor([[0.2000, 1.4000]])
    """

    centred = False

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(normalized_shape, eps, replicas)
        self.add_affine(elementwise_affine, False, device, dtype)


class Channels(Standardised):
    """Base of norms that go over places: a group is K ≥ 1 of a sample's channels, each with its γ and β."""

    def grouped(self, x: Tensor, N: int, G: int, C: int, places: Sequence[int]) -> Tensor:
        """The input as (N, G, n) for groups of C / G channels."""
        return x.reshape(*x.shape[: self.along(0)], N, G, C // G * math.prod(places))

    def scaled(self, xhat: Tensor) -> Tensor:
        if self.weight is None:
            return super().scaled(xhat)
        y = self._channels(xhat) * self._column(self.weight)  # (N, C, L)
        # in two steps: addcmul with two numbers a channel goes element by element
        return y if self.bias is None else y.add_(self._column(self.bias))

    def backward_scaled(self, dy: Tensor, xhat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if self.weight is None:
            return super().backward_scaled(dy, xhat)
        dy, gamma = cast(dy.reshape(xhat.shape), xhat.dtype), self._column(self.weight)
        products = torch.mul(dy, xhat, out=xhat.new_empty(xhat.shape))  # (N, G, n)
        sums = [self._channels(value).sum(-1, keepdim=True) for value in (dy, products)]  # (N, C, 1)
        for parameter, value in zip((self.bias, self.weight), sums):
            if parameter is not None:
                parameter.add_grad(value.sum(-3).view(parameter.shape))
        K = gamma.shape[-2] // xhat.shape[-2]
        of_groups = [value.mul_(gamma).view(*xhat.shape[:-1], K).sum(-1, keepdim=True) for value in sums]  # (N, G, 1)
        g = torch.mul(self._channels(dy), gamma, out=self._channels(products))
        return g.view(xhat.shape), of_groups[0], of_groups[1], products

    def _channels(self, rows: Tensor) -> Tensor:
        """View (N, G, n) as (N, C, L)."""
        assert self.weight is not None
        C = self.weight.shape[-1]
        return rows.view(*rows.shape[:-2], C, rows.shape[-2] * rows.shape[-1] // C)

    def _column(self, parameter: Parameter) -> Tensor:
        """View γ or β as (C, 1), or (R, 1, C, 1)."""
        value = parameter.value.unsqueeze(-1)
        return value if self.replicas is None else value.unsqueeze(1)


class GroupNorm(Channels):
    r"""Normalise each sample over each of G groups of its channels and all their places, then scale and shift channels.

    With µ and σ² the mean and (biased) variance of the n values of a group:

    $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat x + \beta$$

    $$\frac{\partial L}{\partial x} = \frac{1}{\sqrt{\sigma^2 + \epsilon}} \left( g - \frac{1}{n} \sum g
      - \frac{\hat x}{n} \sum g \hat x \right), \qquad g = \gamma \frac{\partial L}{\partial y}$$

    Shapes: x and y (N, C, …), γ and β (C,). With R replicas x is (R, N, C, …), or, shared by all, (N, C) or
    (1, N, C, …); γ and β are (R, C).

    Args:
        num_groups: G, which divides C.
        num_channels: C.
        eps: ε.
        affine: False leaves γ and β out.
        bias: False leaves β out.
        device, dtype: of the parameters.
        replicas: None or R.

    Errors: ArgumentError if G does not divide C, ShapeError for another channel count.

    Source: Wu and He 2018, arXiv:1803.08494.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.GroupNorm(2, 4)(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).round(decimals=3)
        tensor([[-1.,  1., -1.,  1.]])
    """

    shown = "num_groups, num_channels, eps=, affine=, bias="
    rank = 2

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
        replicas: int | None = None,
    ) -> None:
        self.num_groups = checks.positive_int("num_groups", num_groups, "GroupNorm")
        self.num_channels = checks.positive_int("num_channels", num_channels, "GroupNorm")
        super().__init__(replicas)
        if num_channels % num_groups:
            remedy = "Choose a number of groups that divides the channels."
            raise ArgumentError(f"num_channels to be a multiple of {num_groups}", str(num_channels), remedy, self.label)
        self.eps, self.affine = checks.at_least("eps", eps, 0, self.label), affine
        values = torch.empty(num_channels, device=checks.device(device, self.label), dtype=dtype)
        self.weight, self.bias = affine_parameters(values, affine, bias, replicas)

    @property
    def label(self) -> str:
        return f"GroupNorm {self.num_groups} of {self.num_channels}"

    def rows(self, x: Tensor) -> Tensor:
        C, first = self.num_channels, self.along(1)
        if x.ndim <= first or x.shape[first] != C:
            raise channels_differ(C, x, "…", self)
        return self.grouped(x, x.shape[first - 1], self.num_groups, C, x.shape[first + 1 :])


class InstanceNorm(Running, Channels):
    """Base of instance normalisations, which differ in the spatial dimensions of an input."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
        replicas: int | None = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias, replicas=replicas
        )

    def rows(self, x: Tensor) -> Tensor:
        C, first = self.num_features, x.ndim - self.rank + 1  # the channels' dimension
        if first not in ((0, 1) if self.replicas is None else (2,)) or x.shape[first] != C:
            raise channels_differ(C, x, ("L", "H, W")[self.rank - 3], self)
        places = x.shape[first + 1 :]
        if math.prod(places) == 1 and (self.training or self.running_mean is None):
            remedy = "Normalise larger inputs, or another way: with LayerNorm, say."
            raise ShapeError("at least 2 values a channel", str(tuple(x.shape)), remedy, self.label)
        return self.grouped(x, x.shape[first - 1] if first else 1, C, C, places)

    def standardise(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        if self.training or self.running_mean is None or self.running_var is None:
            return super().standardise(x)
        mu, var = (value.unsqueeze(-1).unsqueeze(-3) for value in (self.running_mean, self.running_var))  # (1, C, 1)
        inv = (var + constant(self.eps, x)).rsqrt_()
        return (x - mu).mul_(inv), inv, False

    def track(self, mu: Tensor, squares: Tensor, n: int) -> None:
        """Move the running statistics towards the mean over the batch of its samples' means and unbiased variances."""
        if self.running_mean is None or self.running_var is None or not mu.numel() or not self.training:
            return
        weight = self.momentum or 0.0
        self.running_mean.lerp_(mu.mean(-3).squeeze(-1).to(self.running_mean.dtype), weight)
        self.running_var.lerp_(squares.mean(-3).squeeze(-1).div_(n - 1).to(self.running_var.dtype), weight)


class InstanceNorm1d(InstanceNorm):
    r"""Normalise each channel of each sample over its places, then perhaps scale and shift it.

    $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat x + \beta$$

    It is `GroupNorm` with a channel in each group, but for running statistics: with track_running_stats they move
    as those of `BatchNorm1d` do, towards the means over the batch of µ and of the unbiased variance, and in
    evaluation stand for µ and σ².

    Shapes: x and y (N, C, L) or (C, L), γ, β and the running statistics (C,). With R replicas x is (R, N, C, L), or
    (N, C, L) shared by all, and the others (R, C).

    Args:
        num_features: C.
        eps: ε.
        momentum: weight of the newest batch in the running statistics.
        affine: True scales and shifts.
        track_running_stats: True uses running statistics in evaluation.
        bias: False leaves β out.
        device, dtype: of parameters and buffers.
        replicas: None or R.

    Errors: ShapeError for another channel count or rank, or a single place where its own statistics are needed.

    Source: Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.InstanceNorm1d(2)(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]])).round(decimals=3)
        tensor([[[-1.,  1.],
                 [-1.,  1.]]])
    """

    rank = 3


class InstanceNorm2d(InstanceNorm):
    r"""Normalise each channel of each image over its places, then perhaps scale and shift it.

    $$y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$

    Formulas, arguments and errors are those of `InstanceNorm1d`, with H W places.

    Shapes: x and y (N, C, H, W) or (C, H, W), γ, β and the running statistics (C,). With R replicas x is
    (R, N, C, H, W), or (N, C, H, W) shared by all, and the others (R, C).

    Source: Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.InstanceNorm2d(3)(torch.randn(4, 3, 5, 5)).mean((2, 3)).abs().max().item() < 1e-6
        True
    """

    rank = 4


def channels_differ(C: int, x: Tensor, places: str, norm: Standardised) -> ShapeError:
    """The error for an input without C channels, followed by their places."""
    shape = norm.written(f"N, {C}, {places}")
    remedy = f"Give the layer {C} channels in the second dimension, or build it for what comes."
    return ShapeError(f"an input of shape {shape}", str(tuple(x.shape)), remedy, norm.label)
