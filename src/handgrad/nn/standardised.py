"""Standardised: the base of normalisations by a sample's own statistics."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.constants import cast, constant, widened
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter


class Standardised(Module):
    r"""Base of normalisations by a sample's own statistics, which differ in what a group is that they are taken over.

    With µ and σ² the mean and (biased) variance of the n values of a group:

    $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat x + \beta, \qquad
      \frac{\partial L}{\partial \gamma} = \sum \frac{\partial L}{\partial y} \hat x, \quad
      \frac{\partial L}{\partial \beta} = \sum \frac{\partial L}{\partial y}$$

    $$\frac{\partial L}{\partial x} = \frac{1}{\sqrt{\sigma^2 + \epsilon}} \left( g - \frac{1}{n} \sum g
      - \frac{\hat x}{n} \sum g \hat x \right), \qquad g = \gamma \frac{\partial L}{\partial y}$$

    with the sums for γ and β over all that they scale, and those for x over its group. The variance is taken of the
    centred values: E[x²] − µ² loses every digit when µ ≫ σ.
    """

    centred: ClassVar[bool] = True
    """Whether µ is subtracted."""

    rank: int
    """Dimensions of the smallest input that has a batch."""

    eps: float | None
    weight: Parameter | None = None
    bias: Parameter | None = None

    @property
    def reference(self) -> Tensor | None:
        """A tensor whose dtype and device an input must have."""
        return None if self.weight is None else self.weight.value

    def rows(self, x: Tensor) -> Tensor:
        """View an input, which leads with R, with its groups along the last dimension, or raise if it does not fit."""
        raise NotImplementedError

    def scaled(self, xhat: Tensor) -> Tensor:
        """γ x̂ + β; without parameters x̂ itself."""
        return xhat

    def backward_scaled(self, dy: Tensor, xhat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Accumulate the gradients of γ and β; return g, Σ g and Σ g x̂, and memory of their size for the gradient."""
        dy = cast(dy.reshape(xhat.shape), xhat.dtype)
        products = dy * xhat
        return dy, dy.sum(-1, keepdim=True), products.sum(-1, keepdim=True), products

    def forward(self, x: Tensor) -> Tensor:
        checks.like(x, self.reference, self)
        x = self.replicated(x, self.rank)
        xhat, inv, own = self.standardise(widened(self.rows(x)))  # (…, n), (…, 1)
        return self.keep(cast(self.scaled(xhat).view(x.shape), x.dtype), xhat, inv, own)

    def backward(self, dy: Tensor) -> Tensor:
        xhat, inv, own = self.take(dy)
        g, sums, products, dx = self.backward_scaled(dy, xhat)  # (…, n), (…, 1), (…, 1), (…, n)
        if not own:
            return cast(torch.mul(g, inv, out=dx).view(dy.shape), dy.dtype)
        n = max(xhat.shape[-1], 1)
        torch.addcmul(g, xhat, products, value=-1 / n, out=dx)
        if self.centred:
            dx.sub_(sums, alpha=1 / n)
        return cast(dx.mul_(inv).view(dy.shape), dy.dtype)

    def standardise(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        """x̂ (…, n) and 1/√(σ² + ε) (…, 1) over the last dimension, and whether the statistics are x's own."""
        n = max(x.shape[-1], 1)
        eps = torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps if self.eps is None else self.eps
        mu = x.sum(-1, keepdim=True).mul_(constant(1 / n, x)) if self.centred else None  # (…, 1)
        xc = x if mu is None else x - mu  # (…, n)
        squares = torch.linalg.vector_norm(xc, dim=-1, keepdim=True).square_()  # (…, 1)
        inv = torch.add(constant(eps, x), squares, alpha=1 / n).rsqrt_()  # (…, 1)
        if mu is None:
            return xc * inv, inv, True
        self.track(mu, squares, n)
        return xc.mul_(inv), inv, True

    def track(self, mu: Tensor, squares: Tensor, n: int) -> None:
        """Move running statistics, where there are some."""
