"""Dropout, of values or of channels, plain or for SELU networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn import numbers
from handgrad.nn.numbers import Numbers
from handgrad.nn.parameter import Generators
from handgrad.nn.random import Random


class Masked(Random):
    r"""Base of dropouts: in training, with m from Bernoulli(1 − p) and −α in place of what is dropped,

    $$y = a \, (m x - (1 - m) \alpha + p \alpha), \qquad
      \frac{\partial L}{\partial x} = a m \frac{\partial L}{\partial y}, \qquad
      a = \frac{1}{(1 - p)} \quad \text{or} \quad \frac{1}{\sqrt{(1 - p)(1 + p \alpha^2)}}$$

    for α = 0, or else; in evaluation y is x itself, as in PyTorch. What differs is α, and which values share one m.
    """

    shown = "p=, inplace="
    number_names = ("p",)
    alpha = 0.0
    inplace = False

    def __init__(
        self,
        p: Numbers = 0.5,
        inplace: bool = False,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        super().__init__(generator, replicas=replicas)
        checks.never_inplace(inplace, self.label)
        self.p = p
        self.rates()

    def rates(self) -> tuple[float, ...]:
        """The one p, or those of all replicas."""
        self.p = numbers.checked("p", self.p, self.replicas, self.label, 0, 1)
        return numbers.listed(self.p)

    def led(self, x: Tensor) -> Tensor:
        """The input, which with replicas must lead with R, or 1 if it is shared."""
        return self.leading(x)

    def unit(self, x: Tensor) -> Tensor:
        """A tensor of the shape of the mask."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        x, rates = self.led(checks.tensor(x, self)), self.rates()
        if not self.training or not any(rates):
            return self.keep(x, None)
        if self.replicas is not None:
            x = x.expand(self.replicas, *x.shape[1:])
        scales = [self._scale(p) for p in rates]
        mask = self._kept(self.unit(x), rates).mul_(numbers.column(scales, x))  # a m
        y = x * mask
        if self.alpha:
            shifts = [(p - 1) * a * self.alpha for p, a in zip(rates, scales)]
            y.add_((mask * self.alpha).add_(numbers.column(shifts, x)))
        return self.keep(y, mask)

    def backward(self, dy: Tensor) -> Tensor:
        dx = self.backward_within(dy)
        return dx.clone() if dx is dy else dx

    def backward_within(self, dy: Tensor) -> Tensor:
        """The gradient for a layer that dropout is a part of: `dy` itself where nothing was dropped."""
        (mask,) = self.take(dy)
        return dy if mask is None else mask * dy

    def _kept(self, unit: Tensor, rates: tuple[float, ...]) -> Tensor:
        """m: 0 with probability p, else 1.

        Torch's default generator gives those that torch.nn draws. Of a stream 32 bits make a number, which is a
        quarter of that work, and gives the same m in any dtype.
        """
        if min(rates) == 1:
            return torch.zeros_like(unit)
        if self.seeds is None and len(rates) == 1:
            return self.drawn(unit, lambda value, generator: value.bernoulli_(1 - rates[0], generator=generator))
        lead = unit.shape[: self.along(0)]
        count = math.prod(unit.shape[len(lead) :])
        pairs = torch.empty(*lead, (count + 1) // 2, dtype=torch.long, device=unit.device)
        pairs = self.drawn(pairs, lambda value, generator: value.random_(-(2**63), None, generator=generator))
        words = pairs.view(torch.int32)[..., :count].view(unit.shape)
        least = [min(round(p * 2**32) - 2**31, 2**31 - 1) for p in rates]
        m = torch.empty_like(unit, memory_format=torch.contiguous_format)
        return torch.ge(words, numbers.column(least, words), out=m)

    def _scale(self, p: float) -> float:
        """a, and where nothing is left 0."""
        if p == 1:
            return 0.0
        return 1 / math.sqrt((1 - p) * (1 + p * self.alpha**2)) if self.alpha else 1 / (1 - p)


class Dropout(Masked):
    r"""Drop each value with probability p in training, and scale up the others.

    $$y = \frac{m}{1 - p} x, \qquad \frac{\partial L}{\partial x} = \frac{m}{1 - p} \frac{\partial L}{\partial y},
      \qquad m \sim \text{Bernoulli}(1 - p)$$

    In evaluation y = x. Without `generator` and replicas the masks are those of torch.nn.Dropout under the same
    torch.manual_seed. Otherwise the k-th forward in training draws from a stream of its own for seed and k, so that a
    replica drops the same values alone and in any company.

    Shapes: x and y alike, any; with R replicas x is (R, …), or (1, …) shared by all, who each drop other values of it.

    Args:
        p: probability to drop a value; with R replicas it may be R numbers, also as `drop.p = …` after nn.replicate.
        inplace: only False; a module never changes its input.
        generator: source of the seeds (R of them for R replicas); torch's default generator if None.
        replicas: None or R.

    Errors: ArgumentError for a p that is no probability, NotImplementedError for inplace=True, ShapeError for an input
        that does not lead with R.

    Source: Srivastava et al. 2014, Journal of Machine Learning Research 15.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> drop = nn.Dropout(0.5, generator=torch.Generator().manual_seed(1))
        >>> y = drop(torch.ones(1000))
        >>> y.unique(), 450 < int((y == 0).sum()) < 550
        (tensor([0., 2.]), True)
        >>> torch.equal(drop.backward(torch.ones(1000)), y)
        True
    """


class Dropout1d(Masked):
    r"""Drop whole channels of signals with probability p in training, and scale up the others.

    The formulas are those of `Dropout`, with one m for all places of a channel.

    Shapes: x and y (N, C, L) or (C, L); with R replicas (R, N, C, L), or x (N, C, L) shared by all.

    Args: as of `Dropout`.

    Errors: as of `Dropout`.

    Source: Tompson et al. 2015, arXiv:1411.4280.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> y = nn.Dropout1d(0.5)(torch.ones(2, 3, 4))
        >>> bool((y == y[:, :, :1]).all())
        True
    """

    places = 1
    """The last dimensions, which share one m."""

    def led(self, x: Tensor) -> Tensor:
        x = self.replicated(x, self.places + 2)
        alone = (2, 3) if self.places == 1 else (4,)
        if x.ndim not in (alone if self.replicas is None else (self.places + 3,)):
            expected = f"an input of shape {self.written('N, C, L' if self.places == 1 else 'N, C, H, W')}"
            raise ShapeError(expected, str(tuple(x.shape)), "Use Dropout to drop single values.", self.label)
        return x

    def unit(self, x: Tensor) -> Tensor:
        return x.new_empty(*x.shape[: -self.places], *[1] * self.places)


class Dropout2d(Dropout1d):
    r"""Drop whole channels of images with probability p in training, and scale up the others.

    The formulas are those of `Dropout`, with one m for all places of a channel.

    Shapes: x and y (N, C, H, W); with R replicas (R, N, C, H, W), or x (N, C, H, W) shared by all.

    Args: as of `Dropout`.

    Errors: as of `Dropout`. An input of three dimensions, which PyTorch takes for (N, C, L), is for `Dropout1d`.

    Source: Tompson et al. 2015, arXiv:1411.4280.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> y = nn.Dropout2d(0.5)(torch.ones(2, 3, 4, 4))
        >>> bool((y == y[:, :, :1, :1]).all())
        True
    """

    places = 2


class AlphaDropout(Masked):
    r"""Dropout for SELU networks: a dropped value is what SELU goes to, and mean 0 and variance 1 stay.

    $$y = a \, (m x - (1 - m) \alpha + p \alpha), \qquad
      \frac{\partial L}{\partial x} = a m \frac{\partial L}{\partial y}, \qquad
      a = \frac{1}{\sqrt{(1 - p)(1 + p \alpha^2)}}$$

    with m from Bernoulli(1 − p) and α ≈ 1.7581, where −α is SELU's limit; in evaluation y = x. As in PyTorch, p = 1
    gives zeros.

    Shapes: as of `Dropout`.

    Args: as of `Dropout`.

    Errors: as of `Dropout`.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> y = nn.AlphaDropout(0.2)(torch.randn(10000))
        >>> abs(y.mean()) < 0.1, abs(y.std() - 1) < 0.1
        (tensor(True), tensor(True))
    """

    alpha = 1.7580993408473766


class FeatureAlphaDropout(AlphaDropout):
    r"""`AlphaDropout` of whole channels.

    The formulas are those of `AlphaDropout`, with one m for all places of a channel.

    Shapes: x and y (N, C, …); with R replicas (R, N, C, …), or x (1, N, C, …) shared by all.

    Args: as of `Dropout`.

    Errors: as of `Dropout`.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> y = nn.FeatureAlphaDropout(0.5)(torch.ones(2, 3, 4))
        >>> bool((y == y[:, :, :1]).all())
        True
    """

    def led(self, x: Tensor) -> Tensor:
        if self.leading(x).ndim < self.along(2):
            expected = f"an input of at least {self.along(2)} dimensions"
            raise ShapeError(expected, str(tuple(x.shape)), "Use AlphaDropout to drop single values.", self.label)
        return x

    def unit(self, x: Tensor) -> Tensor:
        dims = self.along(2)
        return x.new_empty(*x.shape[:dims], *[1] * (x.ndim - dims))
