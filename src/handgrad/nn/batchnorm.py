"""Batch normalisation (report, section 1.6; Ioffe and Szegedy 2015)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn.constants import cast, constant, widened
from handgrad.nn.running import Running
from handgrad.nn.sums import channel_sums

COLUMN = ((-1,), (-1, 1), (-1, 1, 1))
"""The shape in which (C,) broadcasts."""
FEW = 16, 64
"""Places too few, of one network and of replicas, for an operation to run over them with a number a channel."""
SPATIAL = ("", ", L", ", H, W")


class BatchNorm(Running):
    r"""Base of batch normalisations: normalise each channel over the batch, then scale and shift it.

    What differs is how many spatial dimensions follow the channels; sums go over the batch and over them.
    """

    spatial: ClassVar[tuple[int, ...]]
    """How many spatial dimensions an input may have."""

    def forward(self, x: Tensor) -> Tensor:
        x, n = self._checked(x)
        dtype, x = x.dtype, widened(x)
        spatial = x.ndim - self.along(2)
        ones = self._ones(x, spatial)
        if self.training or self.running_mean is None or self.running_var is None:
            mu = channel_sums(x, spatial).mul_(constant(1 / n, x))  # (C,)
            xc = x - self._spread(mu, spatial, ones)  # (N, C)
            squares = channel_sums(xc * xc, spatial)  # (C,)
            inv = torch.add(constant(self.eps, x), squares, alpha=1 / n).rsqrt_()  # (C,)
            if self.training:
                self.track(mu, squares, n)
        else:
            n = 0  # for backward: the statistics do not depend on x
            xc = x - self._spread(self.running_mean, spatial, ones)  # (N, C)
            inv = (self.running_var + constant(self.eps, x)).rsqrt_()  # (C,)
        k = self._spread(inv if self.weight is None else inv * self.weight.value, spatial, ones)  # (C,)
        if self.bias is None:
            y = xc * k  # (N, C)
        elif not spatial or ones is not None:
            y = torch.addcmul(self._spread(self.bias.value, spatial, ones), xc, k)
        else:  # addcmul with two numbers a channel goes element by element
            y = (xc * k).add_(self._spread(self.bias.value, spatial, ones))
        return self.keep(cast(y, dtype), xc, inv, k, spatial, ones, n)

    def backward(self, dy: Tensor) -> Tensor:
        xc, inv, k, spatial, ones, n = self.take(dy)
        dtype, dy = dy.dtype, cast(dy, xc.dtype)
        dbeta = channel_sums(dy, spatial)  # (C,)
        dgamma = channel_sums(dy * xc, spatial).mul_(inv)  # (C,)
        if self.bias is not None:
            self.bias.add_grad(dbeta)
        if self.weight is not None:
            self.weight.add_grad(dgamma)
        if not n:  # in evaluation
            dx: Tensor = dy * k  # (N, C)
            return cast(dx, dtype)
        dx = torch.addcmul(dy, xc, self._spread(dgamma * inv, spatial, ones), value=-1 / n)  # (N, C)
        return cast(dx.sub_(self._spread(dbeta, spatial, ones), alpha=1 / n).mul_(k), dtype)

    def _checked(self, x: Tensor) -> tuple[Tensor, int]:
        """The input with its leading R, and n, the values a channel; or an error."""
        checks.like(x, self.reference, self)
        x = self.replicated(x, rank=2 + self.spatial[0])
        C, spatial = self.num_features, x.ndim - self.along(2)
        if spatial not in self.spatial or x.shape[-1 - spatial] != C:
            shapes = " or ".join(self.written(f"N, {C}{SPATIAL[n]}") for n in self.spatial)
            remedy = f"Give the layer {C} channels in the second dimension, or build it for what comes."
            raise ShapeError(f"an input of shape {shapes}", str(tuple(x.shape)), remedy, self.label)
        n = x.numel() // (C * (self.replicas or 1))
        self.check_count(n)
        return x, n

    def check_count(self, n: int) -> None:
        """Raise if the batch's own statistics are asked of fewer than two values a channel."""
        if n < 2 and (self.training or self.running_mean is None):
            remedy = "Train with larger batches (drop or merge a last short one), or call model.eval()."
            raise ShapeError("at least 2 values a channel in training", str(n), remedy, self.label)

    def _spread(self, value: Tensor, spatial: int, ones: Tensor | None) -> Tensor:
        """View (C,) so that it broadcasts: as it is, (C, 1) or (C, 1, 1); and (R, C) as (R, 1, C) and so on.

        With ones (L,) or (H, W) it comes in as many copies, (C, H, W): operations then run along all of a sample.
        """
        if self.replicas is not None:
            value = value.view(self.replicas, 1, *COLUMN[spatial])
        elif spatial:
            value = value.view(COLUMN[spatial])
        return value if ones is None else value * ones

    def _ones(self, x: Tensor, spatial: int) -> Tensor | None:
        """What copies a channel's number to all places, where they are few."""
        places = x.shape[x.ndim - spatial :]
        few = spatial and math.prod(places) <= FEW[self.replicas is not None]
        return x.new_ones(places) if few else None

    def track(self, mu: Tensor, squares: Tensor, n: int) -> None:
        """Move the running statistics towards the batch's: its mean, and its squared deviations' sum over n − 1."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        if mu.dtype is not self.running_mean.dtype:  # the sum of squares is beyond float16, not their mean
            mu, squares, n = mu.to(self.running_mean.dtype), (squares / (n - 1)).to(self.running_var.dtype), 2
        self.num_batches_tracked.add_(constant(1, self.num_batches_tracked))
        if self.momentum is None:
            weight = self.num_batches_tracked.to(mu.dtype).reciprocal().unsqueeze(-1)
            self.running_mean.lerp_(mu, weight)
            self.running_var.lerp_(squares / (n - 1), weight)
        else:
            self.running_mean.lerp_(mu, constant(self.momentum, mu))
            self.running_var.mul_(constant(1 - self.momentum, mu)).add_(squares, alpha=self.momentum / (n - 1))


class BatchNorm1d(BatchNorm):
    r"""Normalise each channel over the batch, then scale and shift it.

    In training, with µ and σ² the mean and (biased) variance of a channel over its n values in the batch:

    $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat x + \beta$$

    $$\frac{\partial L}{\partial \gamma} = \sum \frac{\partial L}{\partial y} \hat x, \quad
      \frac{\partial L}{\partial \beta} = \sum \frac{\partial L}{\partial y}, \quad
      \frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}
      \left( \frac{\partial L}{\partial y} - \frac{1}{n} \frac{\partial L}{\partial \beta}
      - \frac{\hat x}{n} \frac{\partial L}{\partial \gamma} \right)$$

    and running ← running + momentum · (batch − running), with the unbiased variance σ² n/(n−1). In evaluation µ and σ²
    are the running ones, constants, and the two correction terms of the gradient vanish. The variance is taken of the
    centred values: E[x²] − µ² loses every digit when µ ≫ σ.

    Shapes: x and y (N, C) or (N, C, L); γ, β and the running statistics (C,). With R replicas x is (R, N, C) or
    (R, N, C, L), or (N, C) shared by all, and the others (R, C).

    Args:
        num_features: C.
        eps: ε.
        momentum: weight of the newest batch; None averages all batches alike.
        affine: False leaves γ and β out.
        bias: False leaves β out.
        track_running_stats: False uses the batch's own statistics in evaluation too.
        device, dtype: of parameters and buffers.
        replicas: None or R.

    Errors: ShapeError for another channel count or rank, or fewer than two values a channel in training.

    Source: the report, section 1.6; Ioffe and Szegedy 2015, arXiv:1502.03167.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> norm = nn.BatchNorm1d(2)
        >>> norm(torch.tensor([[1.0, 10.0], [3.0, 30.0]])).round(decimals=3)
        tensor([[-1., -1.],
                [ 1.,  1.]])
        >>> norm.running_mean
        tensor([0.2000, 2.0000])
    """

    spatial = (0, 1)


class BatchNorm2d(BatchNorm):
    r"""Normalise each channel of images over the batch and all places, then scale and shift it.

    $$y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$

    The formulas, forward and backward, are those of `BatchNorm1d` with n = N H W values a channel.

    Shapes: x and y (N, C, H, W); γ, β and the running statistics (C,). With R replicas x is (R, N, C, H, W), or
    (N, C, H, W) shared by all, and the others (R, C).

    Args: as of `BatchNorm1d`.

    Errors: as of `BatchNorm1d`.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> norm = nn.BatchNorm2d(2)
        >>> y = norm(torch.randn(4, 2, 5, 5) + 3)
        >>> y.mean((0, 2, 3)).abs().max().item() < 1e-5, norm.running_mean.shape
        (True, torch.Size([2]))
    """

    spatial = (2,)
