"""Parallel, Residual and Concat: modules side by side on one input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, BackwardError, HandgradError, ShapeError
from handgrad.nn.container import Container
from handgrad.nn.module import Module


class Parallel(Container):
    r"""Branches that all see the same input; the output is the tuple of theirs.

    $$y_k = f_k(x), \qquad \frac{\partial L}{\partial x} = \sum_k J_k^T \frac{\partial L}{\partial y_k}$$

    Args:
        modules: the branches, or one OrderedDict of names and branches.

    Errors: DTypeError for a part that is not a handgrad module; errors of a part name it.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> heads = nn.Parallel(nn.Linear(3, 2), nn.Linear(3, 1))
        >>> [tuple(y.shape) for y in heads(torch.ones(4, 3))]
        [(4, 2), (4, 1)]
        >>> heads.backward((torch.ones(4, 2), None)).shape  # nothing comes back from the second head
        torch.Size([4, 3])
    """

    def forward(self, x: Tensor) -> Any:
        return self.keep(self._outputs(x))

    def backward(self, dy: Any) -> Tensor:
        self.take(dy)
        return self._backward_outputs(dy if isinstance(dy, tuple) else (dy,))

    def _outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        name, y = "", []
        try:
            for name, branch in self.named_parts():  # noqa: B007
                y.append(branch(x))
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904  (the same error, with its place)
        if not y:
            raise ArgumentError("at least one branch", "none", "Append one, such as nn.Identity().", self.label)
        return tuple(y)

    def _backward_outputs(self, dy: tuple[Tensor | None, ...]) -> Tensor:
        dx: Tensor | None = None
        for (name, branch), one in zip(self.named_parts(), dy):
            if one is None:
                branch.forget()
                continue
            try:
                part = branch.backward(one)
            except HandgradError as error:
                raise error.inside(name)  # noqa: B904
            dx = part if dx is None else dx + part
        if dx is None:
            raise BackwardError("a gradient of at least one output", "none", "Leave backward out.", self.label)
        return dx

    def _unlike(self, y: Iterable[Tensor]) -> HandgradError:
        """The error for outputs that do not go together."""
        remedy = "Let all branches keep the shape of the input, or let one of them bring it to that of the others."
        shapes = ", ".join(str(tuple(part.shape)) for part in y)
        return ShapeError("branches whose outputs go together", shapes, remedy, self.label)


class Residual(Parallel):
    r"""A sum of branches; of a single branch, its sum with the input itself.

    $$y = x + f(x) \quad \text{or} \quad y = \sum_k f_k(x), \qquad
      \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} + J^T \frac{\partial L}{\partial y}
      \quad \text{or} \quad \sum_k J_k^T \frac{\partial L}{\partial y}$$

    Shapes: all branches give the same, and a single one what comes in.

    Source: He et al. 2016, arXiv:1512.03385.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> block = nn.Residual(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)))
        >>> block(torch.ones(4, 3)).shape
        torch.Size([4, 3])
        >>> wider = nn.Residual(nn.Linear(3, 5), nn.Linear(3, 5, bias=False))
    """

    def forward(self, x: Tensor) -> Tensor:
        parts = self._outputs(x)
        parts = parts if len(parts) > 1 else (*parts, x)
        if self.replicas is None and any(part.shape != parts[0].shape for part in parts):
            raise self._unlike(parts)
        return self.keep(sum(parts[1:], parts[0]))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        dx = self._backward_outputs((dy,) * len(self))
        return dx + dy if len(self) == 1 else dx


class Concat(Parallel):
    r"""The outputs of branches one behind the other along a dimension, such as a U-Net's skip connection.

    $$y = (f_1(x), \dots, f_n(x)), \qquad \frac{\partial L}{\partial x} = \sum_k J_k^T \frac{\partial L}{\partial y_k}$$

    Args:
        modules: the branches, or one OrderedDict of names and branches.
        dim: the dimension, counted without the leading R; 1 is that of channels or features.

    Shapes: the branches' outputs are alike but for `dim`. With replicas x leads with R, or 1.

    Errors: DimensionError for a dimension that they do not have.

    Source: Ronneberger et al. 2015, arXiv:1505.04597.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Concat(nn.Linear(3, 5), nn.Linear(3, 2))(torch.ones(4, 3)).shape
        torch.Size([4, 7])
    """

    def __init__(self, *modules: Module | OrderedDict[str, Module], dim: int = 1) -> None:
        super().__init__(*modules)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        y = self._outputs(self.leading(x))
        R = None if self.replicas is None else max(part.shape[0] for part in y)
        alike = [part if R is None else part.expand(R, *part.shape[1:]) for part in y]
        (dim,) = checks.places(alike[0], (self.dim,), self.along(0), self)
        if len({(*part.shape[:dim], *part.shape[dim + 1 :]) for part in alike}) > 1:
            raise self._unlike(y)
        return self.keep(torch.cat(alike, dim), dim, [part.shape[dim] for part in y])

    def backward(self, dy: Tensor) -> Tensor:
        dim, sizes = self.take(dy)
        return self._backward_outputs(torch.split(dy, sizes, dim))

    def extra_repr(self) -> str:
        return "" if self.dim == 1 else f"dim={self.dim}"
