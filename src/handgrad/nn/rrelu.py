"""RReLU, whose slopes below zero are random."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn.constants import above
from handgrad.nn.parameter import Generators
from handgrad.nn.random import Random


class RReLU(Random):
    r"""Leaky ReLU whose slope below zero is drawn for each element in training, and their mean in evaluation.

    $$y = s x, \qquad \frac{\partial L}{\partial x} = s \frac{\partial L}{\partial y}, \qquad
      s = 1 \text{ if } x > 0, \text{ else } a, \qquad
      a \sim U(l, u) \quad \text{or} \quad a = \tfrac12 (l + u)$$

    Without `generator` and replicas the slopes are those of torch.nn.RReLU under the same torch.manual_seed. Otherwise
    the k-th forward in training draws from a stream of its own for seed and k, as Dropout does.

    Shapes: x and y alike, any; with R replicas x is (R, …), or (1, …) shared by all, who each draw slopes of their own.

    Args:
        lower, upper: l ≤ u.
        inplace: only False; a module never changes its input.
        generator: source of the seeds (R of them for R replicas); torch's default generator if None.
        replicas: None or R.

    Errors: ArgumentError for bounds that are no numbers or l > u, NotImplementedError for inplace=True, ShapeError for
        an input that does not lead with R.

    Source: Xu et al. 2015, arXiv:1505.00853.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> rrelu = nn.RReLU(0.1, 0.3)
        >>> y = rrelu(torch.tensor([-1.0, -1.0, 2.0]))
        >>> bool((y[:2] <= -0.1).all() and (y[:2] >= -0.3).all()), y[2].item()
        (True, 2.0)
        >>> bool((rrelu.backward(torch.ones(3))[:2] == -y[:2]).all())
        True
        >>> rrelu.eval()(torch.tensor([-1.0, 2.0]))
        tensor([-0.2000,  2.0000])
    """

    shown = "lower=, upper="
    inplace = False

    def __init__(
        self,
        lower: float = 1.0 / 8,
        upper: float = 1.0 / 3,
        inplace: bool = False,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        super().__init__(generator, replicas=replicas)
        checks.never_inplace(inplace, self.label)
        lower, upper = checks.own((lower, upper))
        for name, bound in (("lower", lower), ("upper", upper)):
            if not isinstance(bound, (int, float)) or not math.isfinite(bound):
                raise ArgumentError(f"{name} to be a number", repr(bound), f"Pass {name}=0.25, say.", self.label)
        if lower > upper:
            raise ArgumentError("lower of at most upper", f"{lower} and {upper}", "Swap the two.", self.label)
        self.lower, self.upper = lower, upper

    def forward(self, x: Tensor) -> Tensor:
        x = self.leading(checks.tensor(x, self))
        if not self.training:
            s = torch.threshold_(above(x, 0), 0, (self.lower + self.upper) / 2)
        else:
            x = x if self.replicas is None else x.expand(self.replicas, *x.shape[1:])
            s = self._slopes(x)
        return self.keep(x * s, s)

    def backward(self, dy: Tensor) -> Tensor:
        (s,) = self.take(dy)
        dx: Tensor = s * dy
        return dx

    def _slopes(self, x: Tensor) -> Tensor:
        """s, with slopes that are drawn in float64, so that they are the same in any dtype."""
        if self.seeds is None and self.replicas is None:  # as torch.nn draws: for those alone that need one, in order
            below = x <= 0
            drawn = self.drawn(x.new_empty(int(below.sum()), dtype=torch.float64), self._fill)
            return torch.ones_like(x, memory_format=torch.contiguous_format).masked_scatter_(below, drawn.to(x.dtype))
        drawn = self.drawn(torch.empty_like(x, dtype=torch.float64, memory_format=torch.contiguous_format), self._fill)
        return torch.where(x > 0, 1.0, drawn.to(x.dtype))

    def _fill(self, value: Tensor, generator: torch.Generator | None) -> None:
        value.uniform_(self.lower, self.upper, generator=generator)
