"""Standardised: the base of normalisations by a sample's own statistics."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.constants import constant
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter


class Layout(NamedTuple):
    """How an input is seen: the statistics are those of the last dimension of `rows`; γ and β go along P of `items`.

    Both are views of the same memory: M samples of G groups of n values each, and M samples of P parameters that
    scale L values each. LayerNorm has one group, and L = 1; in the others P are the channels, and L their places.
    """

    rows: tuple[int, ...]  # (M, G, n)
    items: tuple[int, ...]  # (M, P, L), of the same size


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

    eps: float | None
    weight: Parameter | None = None
    bias: Parameter | None = None

    def layout(self, x: Tensor) -> Layout:
        """How an input that leads with R is seen, or an error if it does not fit."""
        raise NotImplementedError

    @property
    def rank(self) -> int:
        """Dimensions of the smallest input that has a batch."""
        raise NotImplementedError

    @property
    def reference(self) -> Tensor | None:
        """A tensor whose dtype and device an input must have."""
        return None if self.weight is None else self.weight.value

    def forward(self, x: Tensor) -> Tensor:
        reference = self.reference
        if reference is None:
            checks.tensor(x, self)
        else:
            checks.like(x, reference, self)
        x = self.replicated(x, self.rank)
        rows, items = self.layout(x)
        xhat, inv, own = self.standardise(x.contiguous().view(rows))  # (M, G, n), (M, G, 1)
        y = xhat.view(items)  # (M, P, L)
        if self.weight is not None:
            gamma = self._spread(self.weight)
            if self.bias is None:
                y = y * gamma
            elif items[-1] == 1:
                y = torch.addcmul(self._spread(self.bias), y, gamma)
            else:  # addcmul with two numbers a channel goes element by element
                y = (y * gamma).add_(self._spread(self.bias))
        return self.keep(y.view(x.shape), xhat, inv, own, items)

    def backward(self, dy: Tensor) -> Tensor:
        xhat, inv, own, items = self.take(dy)
        dx: Tensor = dy.contiguous().view(items)  # (M, P, L)
        places = items[-1]
        dbeta, dgamma = _summed(dx, places), _summed(dx * xhat.view(items), places)  # (M, P, 1)
        if self.bias is not None:
            self.bias.add_grad(dbeta.sum(-3).view(self.bias.shape))
        if self.weight is not None:
            self.weight.add_grad(dgamma.sum(-3).view(self.weight.shape))
            gamma = self._spread(self.weight)
            dbeta, dgamma = dbeta * gamma, dgamma.mul_(gamma)
            dx = dbeta if places == 1 else dx * gamma  # g
        dx = dx.view(xhat.shape)  # (M, G, n)
        if own:
            groups, n = (*inv.shape[:-1], items[-2] // inv.shape[-2]), max(xhat.shape[-1], 1)
            dx = torch.addcmul(dx, xhat, dgamma.view(groups).sum(-1, keepdim=True), value=-1 / n)
            if self.centred:
                dx.sub_(dbeta.view(groups).sum(-1, keepdim=True), alpha=1 / n)
        dx = dx.mul_(inv) if own else dx * inv
        return dx.view(dy.shape)

    def standardise(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        """x̂ (…, n) and 1/√(σ² + ε) (…, 1) over the last dimension, and whether the statistics are x's own."""
        n = max(x.shape[-1], 1)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
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

    def _spread(self, parameter: Parameter) -> Tensor:
        """View γ or β so that it broadcasts over (M, P, L): as (P, 1), or (R, 1, P, 1)."""
        lead = () if self.replicas is None else (self.replicas, 1)
        return parameter.value.view(*lead, -1, 1)


def _summed(values: Tensor, places: int) -> Tensor:
    """Sums over the last dimension, which has so many places; nothing is summed over one."""
    return values if places == 1 else values.sum(-1, keepdim=True)
