"""Modules that change the shape: each output is a view of the input, as in PyTorch, and each gradient a copy."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.module import Module


class _Shape(Module):
    """Base of all: dimensions are counted as PyTorch does, and with replicas past the leading R, which stays first."""

    def checked(self, x: Tensor, *dims: int) -> list[int]:
        """The places of `dims` in an input, at least 0, or an error."""
        return checks.places(self.leading(checks.tensor(x, self)), dims, self.along(0), self)

    def shape_of(self, dy: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the gradient of an input of `shape`: replicas that share it, (1, …), each have one."""
        return shape if self.replicas is None else (dy.shape[0], *shape[1:])


class _Reshape(_Shape):
    """y has the numbers of x in another shape, and dx those of dy in the shape of x."""

    def backward(self, dy: Tensor) -> Tensor:
        (shape,) = self.take(dy)
        return dy.clone(memory_format=torch.contiguous_format).view(self.shape_of(dy, shape))


class Flatten(_Reshape):
    r"""Joins dimensions into one, those of an image and its channels, say.

    $$y = x, \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}, \quad \text{in another shape}$$

    Shapes: x (…, a, …, b, …), y (…, a ⋯ b, …). With R replicas x leads with R, or 1 for an input they share, and
    dimensions are counted after it.

    Args:
        start_dim: the first dimension of those joined.
        end_dim: the last.
        replicas: None or R.

    Errors: ShapeError for an input without these dimensions.

    Source: torch.nn.Flatten.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> flatten = nn.Flatten()
        >>> flatten(torch.zeros(8, 16, 4, 4)).shape
        torch.Size([8, 256])
        >>> flatten.backward(torch.zeros(8, 256)).shape
        torch.Size([8, 16, 4, 4])
    """

    shown = "start_dim=, end_dim="

    def __init__(self, start_dim: int = 1, end_dim: int = -1, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        start, end = self.checked(x, self.start_dim, self.end_dim)
        if start > end:
            remedy = "Swap start_dim and end_dim, or give the input more dimensions."
            expected = f"dimension {self.start_dim} not to come after dimension {self.end_dim}"
            raise ShapeError(expected, f"shape {tuple(x.shape)}", remedy, self.label)
        return self.keep(x.flatten(start, end), x.shape)


class Unflatten(_Reshape):
    r"""Parts one dimension into several: Flatten backwards.

    $$y = x, \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}, \quad \text{in another shape}$$

    Shapes: x (…, a ⋯ b, …), y (…, a, …, b, …). With R replicas x leads with R, or 1 for an input they share, and
    dimensions are counted after it.

    Args:
        dim: the dimension to part.
        unflattened_size: a, …, b; one may be −1, for what is left.
        replicas: None or R.

    Errors: ArgumentError for sizes that are not integers, ShapeError for an input without the dimension or of another
    size, NotImplementedError for names of dimensions.

    Source: torch.nn.Unflatten.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Unflatten(1, (2, 3))(torch.zeros(4, 6)).shape
        torch.Size([4, 2, 3])
    """

    shown = "dim=, unflattened_size="

    def __init__(self, dim: Any, unflattened_size: tuple[int, ...] | list[int], *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        unflattened_size = checks.own(unflattened_size)
        sizes: list[Any] = list(unflattened_size) if isinstance(unflattened_size, (tuple, list)) else []
        if isinstance(dim, str) or any(isinstance(size, tuple) for size in sizes):
            raise NotImplementedError("Unflatten(dim, …) of a named dimension is not there. Count the dimensions.")
        if not sizes or not all(isinstance(size, int) and size >= -1 for size in sizes) or sizes.count(-1) > 1:
            remedy = "Pass unflattened_size=(2, 3), say, with at most one -1."
            raise ArgumentError("unflattened_size to be integers", repr(unflattened_size), remedy, self.label)
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, x: Tensor) -> Tensor:
        (place,) = self.checked(x, self.dim)
        n, known = x.shape[place], math.prod(size for size in self.unflattened_size if size >= 0)
        if n != known and (-1 not in self.unflattened_size or known == 0 or n % known):
            remedy = "Choose sizes whose product is the dimension's."
            expected = f"{known} numbers along dimension {self.dim}"
            expected += ", or a multiple" if -1 in self.unflattened_size else ""
            raise ShapeError(expected, str(n), remedy, self.label)
        return self.keep(torch.unflatten(x, place, tuple(self.unflattened_size)), x.shape)


class Select(_Shape):
    r"""One entry along a dimension, such as the last time step of a sequence.

    $$y = x_{\ldots, k, \ldots}, \qquad
      \frac{\partial L}{\partial x_{\ldots, i, \ldots}} = [i = k] \, \frac{\partial L}{\partial y}$$

    Shapes: x (…, L, …), y the same without L. With R replicas x leads with R, or 1 for an input they share, and
    dimensions are counted after it.

    Args:
        dim: the dimension of L.
        index: k; −1 is the last.
        replicas: None or R.

    Errors: ShapeError for an input without the dimension, or without that entry.

    Source: torch.select.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> last = nn.Select(1, -1)
        >>> last(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([2., 4.])
        >>> last.backward(torch.tensor([5.0, 6.0]))
        tensor([[0., 5.],
                [0., 6.]])
    """

    shown = "dim=, index="

    def __init__(self, dim: int, index: int, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.dim, self.index = dim, index

    def forward(self, x: Tensor) -> Tensor:
        (place,) = self.checked(x, self.dim)
        if x.ndim == 0 or not -x.shape[place] <= self.index < x.shape[place]:
            remedy = "Select one that is there; -1 is the last."
            expected = f"an entry {self.index} along dimension {self.dim}"
            raise ShapeError(expected, f"shape {tuple(x.shape)}", remedy, self.label)
        return self.keep(x.select(place, self.index), x.shape, place)

    def backward(self, dy: Tensor) -> Tensor:
        shape, place = self.take(dy)
        dx = dy.new_zeros(self.shape_of(dy, shape))
        dx.select(place, self.index).copy_(dy)
        return dx


class Permute(_Shape):
    r"""Puts the dimensions into another order.

    $$y_{i_{d_1} \ldots i_{d_n}} = x_{i_1 \ldots i_n}, \qquad
      \frac{\partial L}{\partial x_{i_1 \ldots i_n}} = \frac{\partial L}{\partial y_{i_{d_1} \ldots i_{d_n}}}$$

    Shapes: x of as many dimensions as `dims` has. With R replicas x leads with R, or 1 for an input they share, and
    dimensions are counted after it.

    Args:
        dims: which dimension of x comes first, which second, and so on.
        replicas: None or R.

    Errors: ArgumentError unless each dimension is named once, ShapeError for an input of another rank.

    Source: torch.permute.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> to_images = nn.Permute(0, 3, 1, 2)
        >>> to_images(torch.zeros(8, 32, 24, 3)).shape
        torch.Size([8, 3, 32, 24])
        >>> to_images.backward(torch.zeros(8, 3, 32, 24)).shape
        torch.Size([8, 32, 24, 3])
    """

    def __init__(self, *dims: int, replicas: int | None = None) -> None:
        super().__init__(replicas)
        if not all(isinstance(d, int) for d in dims) or sorted(d % len(dims) for d in dims) != list(range(len(dims))):
            remedy = "Name each dimension once, as in Permute(0, 2, 1)."
            raise ArgumentError(f"the dimensions 0 to {len(dims) - 1} in some order", str(dims), remedy, self.label)
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        lead = [] if self.replicas is None else [0]
        order = lead + self.checked(x, *self.dims)
        if x.ndim != len(order):
            remedy = "Name each dimension of the input."
            raise ShapeError(f"an input of {len(order)} dimensions", f"shape {tuple(x.shape)}", remedy, self.label)
        return self.keep(x.permute(order), order)

    def backward(self, dy: Tensor) -> Tensor:
        (order,) = self.take(dy)
        return dy.permute([order.index(dim) for dim in range(len(order))]).clone(memory_format=torch.contiguous_format)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.dims))


class Transpose(_Shape):
    r"""Swaps two dimensions.

    $$y_{\ldots j \ldots i \ldots} = x_{\ldots i \ldots j \ldots}, \qquad
      \frac{\partial L}{\partial x_{\ldots i \ldots j \ldots}}
      = \frac{\partial L}{\partial y_{\ldots j \ldots i \ldots}}$$

    Shapes: x (…, a, …, b, …), y (…, b, …, a, …). With R replicas x leads with R, or 1 for an input they share, and
    dimensions are counted after it.

    Args:
        dim0, dim1: the dimensions.
        replicas: None or R.

    Errors: ShapeError for an input without these dimensions.

    Source: torch.transpose.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.Transpose(1, 2)(torch.zeros(8, 5, 3)).shape
        torch.Size([8, 3, 5])
    """

    shown = "dim0=, dim1="

    def __init__(self, dim0: int, dim1: int, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, x: Tensor) -> Tensor:
        places = self.checked(x, self.dim0, self.dim1)
        return self.keep(x.transpose(*places), places)

    def backward(self, dy: Tensor) -> Tensor:
        (places,) = self.take(dy)
        return dy.transpose(*places).clone(memory_format=torch.contiguous_format)
