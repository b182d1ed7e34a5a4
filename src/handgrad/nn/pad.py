"""Pads: a border around signals and images, of a constant or of the input's own numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.borders import backward_framed, framed
from handgrad.nn.windows import Spatial


class _Pad(Spatial):
    """Base of all: negative padding crops first, then each border of the rest is as wide as its padding says."""

    shown = "padding"

    def __init__(self, padding: int | tuple[int, ...], *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        padding = checks.own(padding)
        given = (padding,) * (2 * self.dims) if isinstance(padding, int) else padding
        sizes = tuple(given) if isinstance(given, (tuple, list)) else ()
        if len(sizes) != 2 * self.dims or not all(isinstance(size, int) for size in sizes):
            expected = f"padding to be an integer, or {2 * self.dims} of them"
            order = "(left, right)" if self.dims == 1 else "(left, right, top, bottom)"
            raise ArgumentError(expected, repr(padding), f"Pass padding={order}.", self.label)
        self.padding: tuple[int, ...] = sizes

    def along_each(self) -> list[tuple[int, int, int]]:
        """The dimension and the padding before and after, from the last dimension on."""
        return [(-1 - n, self.padding[2 * n], self.padding[2 * n + 1]) for n in range(self.dims)]

    def checked(self, x: Tensor) -> Tensor:
        x = super().checked(x)
        for dim, before, after in self.along_each():
            L, crop = x.shape[dim], -min(before, 0) - min(after, 0)
            if crop >= L:
                remedy = "Crop less, or give the layer longer inputs."
                raise ShapeError(f"more than {crop} inputs, as many as are cropped", str(L), remedy, self.label)
        return x


class _Constant(_Pad):
    value: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.keep(torch.constant_pad_nd(self.checked(x), self.padding, self.value))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        return torch.constant_pad_nd(dy, [-size for size in self.padding])


class _Mapped(_Pad):
    """A border of the input's own numbers."""

    mode: ClassVar[str]
    """Of which: one of `BORDERS`."""
    longer: ClassVar[float]
    """By how much a border may be longer than the input."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.checked(x)
        if min(self.padding) < 0:
            y = torch.constant_pad_nd(y, [min(size, 0) for size in self.padding])
        for dim, before, after in self.along_each():
            L = y.shape[dim]
            if max(before, after) > L + self.longer:
                remedy = "Pad less, or give the layer longer inputs."
                expected = f"padding of at most {L + self.longer} at {L} inputs"
                raise ShapeError(expected, str(max(before, after)), remedy, self.label)
            y = framed(y, self.mode, dim, max(before, 0), max(after, 0))
        return self.keep(y)

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        for dim, before, after in reversed(self.along_each()):
            dy = backward_framed(dy, self.mode, dim, max(before, 0), max(after, 0))
        return dy if min(self.padding) >= 0 else torch.constant_pad_nd(dy, [max(-size, 0) for size in self.padding])


class ConstantPad1d(_Constant):
    r"""A border of a constant around a signal.

    $$y_i = \begin{cases} x_i & 0 \le i < L \\ v & \text{else} \end{cases}, \quad -l \le i < L + r, \qquad
      \frac{\partial L}{\partial x_i} = \frac{\partial L}{\partial y_i}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, l + L + r). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        padding: l and r, or one number for both; negative ones crop.
        value: v.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x.

    Source: torch.nn.ConstantPad1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pad = nn.ConstantPad1d((2, -1), 9.0)
        >>> pad(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[9., 9., 1., 2.]])
        >>> pad.backward(torch.tensor([[5.0, 6.0, 7.0, 8.0]]))
        tensor([[7., 8., 0.]])
    """

    shown = "padding=, value="
    dims = 1

    def __init__(self, padding: Any, value: float, *, replicas: int | None = None) -> None:
        super().__init__(padding, replicas=replicas)
        self.value = value


class ConstantPad2d(ConstantPad1d):
    """A border of a constant around an image: ConstantPad1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args: those of ConstantPad1d; padding is (left, right, top, bottom), or one number for all.

    Errors: those of ConstantPad1d.

    Source: torch.nn.ConstantPad2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ConstantPad2d((0, 1, 1, 0), 5.0)(torch.ones(1, 1, 2))
        tensor([[[5., 5., 5.],
                 [1., 1., 5.]]])
    """

    dims = 2


class ZeroPad1d(_Constant):
    """A border of zeros around a signal: ConstantPad1d with v = 0.

    Shapes: x (N, C, L) or (C, L), y (N, C, l + L + r). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        padding: l and r, or one number for both; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x.

    Source: torch.nn.ZeroPad1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ZeroPad1d(1)(torch.tensor([[1.0, 2.0]]))
        tensor([[0., 1., 2., 0.]])
    """

    dims = 1


class ZeroPad2d(_Constant):
    """A border of zeros around an image: ZeroPad1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args:
        padding: (left, right, top, bottom), or one number for all; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x.

    Source: torch.nn.ZeroPad2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ZeroPad2d(1)(torch.ones(8, 3, 32, 32)).shape
        torch.Size([8, 3, 34, 34])
    """

    dims = 2


class ReflectionPad1d(_Mapped):
    r"""A border that mirrors a signal.

    $$y_i = x_{L - 1 - |L - 1 - |i||}, \quad -l \le i < L + r, \qquad
      \frac{\partial L}{\partial x_j} = \sum_{i:\, L - 1 - |L - 1 - |i|| = j} \frac{\partial L}{\partial y_i}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, l + L + r). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        padding: l and r, or one number for both; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x,
    or if the padding is not less than it.

    Source: torch.nn.ReflectionPad1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pad = nn.ReflectionPad1d((2, 1))
        >>> pad(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 2., 1., 2., 3., 2.]])
        >>> pad.backward(torch.tensor([[1.0, 10.0, 1.0, 1.0, 1.0, 100.0]]))
        tensor([[  1., 111.,   2.]])
    """

    mode, longer = "reflect", -1
    dims = 1


class ReflectionPad2d(ReflectionPad1d):
    """A border that mirrors an image: ReflectionPad1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args:
        padding: (left, right, top, bottom), or one number for all; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x,
    or if the padding is not less than it.

    Source: torch.nn.ReflectionPad2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ReflectionPad2d((1, 0, 0, 1))(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[2., 1., 2.],
                 [4., 3., 4.],
                 [2., 1., 2.]]])
    """

    dims = 2


class ReplicationPad1d(_Mapped):
    r"""A border that repeats the edges of a signal.

    $$y_i = x_{\min(\max(i, 0), L - 1)}, \quad -l \le i < L + r, \qquad
      \frac{\partial L}{\partial x_j} = \sum_{i:\, \min(\max(i, 0), L - 1) = j} \frac{\partial L}{\partial y_i}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, l + L + r). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        padding: l and r, or one number for both; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x.

    Source: torch.nn.ReplicationPad1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pad = nn.ReplicationPad1d((2, 1))
        >>> pad(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 1., 1., 2., 3., 3.]])
        >>> pad.backward(torch.tensor([[1.0, 10.0, 1.0, 1.0, 1.0, 100.0]]))
        tensor([[ 12.,   1., 101.]])
    """

    mode, longer = "replicate", torch.inf
    dims = 1


class ReplicationPad2d(ReplicationPad1d):
    """A border that repeats the edges of an image: ReplicationPad1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args:
        padding: (left, right, top, bottom), or one number for all; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x.

    Source: torch.nn.ReplicationPad2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ReplicationPad2d((1, 0, 0, 1))(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[1., 1., 2.],
                 [3., 3., 4.],
                 [3., 3., 4.]]])
    """

    dims = 2


class CircularPad1d(_Mapped):
    r"""A border for a signal that goes on at its other end.

    $$y_i = x_{i \bmod L}, \quad -l \le i < L + r, \qquad
      \frac{\partial L}{\partial x_j} = \sum_{i:\, i \bmod L = j} \frac{\partial L}{\partial y_i}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, l + L + r). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        padding: l and r, or one number for both; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x,
    or if the padding is more than that.

    Source: torch.nn.CircularPad1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pad = nn.CircularPad1d((2, 1))
        >>> pad(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[2., 3., 1., 2., 3., 1.]])
        >>> pad.backward(torch.tensor([[1.0, 10.0, 1.0, 1.0, 1.0, 100.0]]))
        tensor([[101.,   2.,  11.]])
    """

    mode, longer = "circular", 0
    dims = 1


class CircularPad2d(CircularPad1d):
    """A border for an image: CircularPad1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args:
        padding: (left, right, top, bottom), or one number for all; negative ones crop.
        replicas: None or R.

    Errors: ArgumentError for another number of paddings, ShapeError for another rank or if nothing is left of x,
    or if the padding is more than that.

    Source: torch.nn.CircularPad2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.CircularPad2d((1, 0, 0, 1))(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[2., 1., 2.],
                 [4., 3., 4.],
                 [2., 1., 2.]]])
    """

    dims = 2
