"""Pooling of windows, over signals and images: their maximum, their mean, or a norm."""

from __future__ import annotations

import math

from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn.windows import Average, Max, Sizes, Sliding, Windows


class MaxPool1d(Max, Sliding):
    r"""The maximum of each window of a signal.

    $$y_o = \max_{j < k} x_{o s - p + j d}, \qquad
      \frac{\partial L}{\partial x_i} = \sum_{o:\, x_i \text{ is the first maximum of window } o}
      \frac{\partial L}{\partial y_o}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, O) with O = ⌊(L + 2 p − d (k − 1) − 1) / s⌋ + 1. With R replicas
    x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        kernel_size: k.
        stride: s, k if None.
        padding: p places on both sides that no maximum is in; at most half the window.
        dilation: d, the distance of a window's inputs.
        return_indices: only False.
        ceil_mode: rounds O up: a last window may hang over the end, but none starts there.
        replicas: None or R.

    Errors: ArgumentError for sizes out of range, NotImplementedError for return_indices=True, ShapeError for another
    rank or an input without a window.

    Source: torch.nn.MaxPool1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pool = nn.MaxPool1d(2)
        >>> pool(torch.tensor([[1.0, 3.0, 2.0, 2.0]]))
        tensor([[3., 2.]])
        >>> pool.backward(torch.tensor([[5.0, 7.0]]))
        tensor([[0., 5., 7., 0.]])
    """

    shown = "kernel_size=, stride=, padding=, dilation=, ceil_mode="
    dims = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(replicas)
        self.refuse_indices(return_indices)
        self.slide(kernel_size, stride, padding, dilation, ceil_mode)


class MaxPool2d(MaxPool1d):
    r"""The maximum of each window of an image.

    $$y_{uv} = \max_{i, j} x_{u s - p + i d,\, v s - p + j d}, \qquad
      \frac{\partial L}{\partial x_{uv}} = \sum_{\text{windows whose first maximum it is}}
      \frac{\partial L}{\partial y}$$

    First means in the order of reading. A maximum over rows and then over columns: two passes over lines cost less
    than one over squares, and equal maxima stay in order.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args: those of MaxPool1d, each one number for both dimensions, or one for H and one for W.

    Errors: those of MaxPool1d.

    Source: torch.nn.MaxPool2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.MaxPool2d(3, stride=2, padding=1)(torch.zeros(8, 16, 32, 32)).shape
        torch.Size([8, 16, 16, 16])
    """

    dims = 2


class AvgPool1d(Average, Sliding):
    r"""The mean of each window of a signal.

    $$y_o = \frac{1}{k} \sum_{j < k} x_{o s - p + j}, \qquad
      \frac{\partial L}{\partial x_i} = \frac{1}{k} \sum_{o:\, i \text{ in window } o} \frac{\partial L}{\partial y_o}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, O) with O = ⌊(L + 2 p − k) / s⌋ + 1. With R replicas x is
    (R, N, C, L), or (N, C, L) shared by all.

    Args:
        kernel_size: k.
        stride: s, k if None.
        padding: p zeros on both sides; at most half the window.
        ceil_mode: rounds O up: a last window may hang over the end, but none starts there; it has fewer inputs.
        count_include_pad: False leaves the padding out of the k that a window's sum is divided by.
        replicas: None or R.

    Errors: ArgumentError for sizes out of range, ShapeError for another rank or an input without a window.

    Source: torch.nn.AvgPool1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pool = nn.AvgPool1d(2)
        >>> pool(torch.tensor([[1.0, 3.0, 2.0, 2.0]]))
        tensor([[2., 2.]])
        >>> pool.backward(torch.tensor([[6.0, 8.0]]))
        tensor([[3., 3., 4., 4.]])
    """

    dims = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(replicas)
        self.slide(kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = count_include_pad

    def extra_repr(self) -> str:
        k, s, p = self.kernel_size, self.stride, self.padding
        if self.dims == 1:  # as PyTorch prints them
            k, s, p = ((size,) if isinstance(size, int) else size for size in (k, s, p))
        return f"kernel_size={k}, stride={s}, padding={p}"


class AvgPool2d(AvgPool1d):
    """The mean of each window of an image: the formulas of AvgPool1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args: those of AvgPool1d, each one number for both dimensions, or one for H and one for W; and
        divisor_override: what the sums are divided by, whatever the windows hold.

    Errors: those of AvgPool1d.

    Source: torch.nn.AvgPool2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.AvgPool2d(2)(torch.ones(8, 16, 32, 32)).shape
        torch.Size([8, 16, 16, 16])
    """

    dims = 2

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad, replicas=replicas)
        self.divisor_override = divisor_override
        if divisor_override is not None:
            self.divisor_override = checks.positive_int("divisor_override", divisor_override, self.label)


class LPPool1d(Average, Sliding):
    r"""The p-norm of each window of a signal, without the absolute values: an odd p asks for positive inputs.

    $$y_o = \Big( \sum_{j < k} x_{o s + j}^p \Big)^{1/p}, \qquad
      \frac{\partial L}{\partial x_i} = x_i^{p - 1} \sum_{o:\, i \text{ in window } o}
      y_o^{1 - p} \, \frac{\partial L}{\partial y_o}$$

    Where y is 0 its gradient is taken to be 0. As in PyTorch a window that `ceil_mode` lets hang over the end has its
    mean power times k in place of the sum.

    Shapes: x (N, C, L) or (C, L), y (N, C, O) with O = ⌊(L − k) / s⌋ + 1. With R replicas x is (R, N, C, L),
    or (N, C, L) shared by all.

    Args:
        norm_type: p, finite and not 0.
        kernel_size: k.
        stride: s, k if None.
        ceil_mode: rounds O up.
        replicas: None or R.

    Errors: ArgumentError for sizes out of range, NotImplementedError for an infinite p, ShapeError for another rank or
    an input without a window.

    Source: torch.nn.LPPool1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pool = nn.LPPool1d(2, kernel_size=2)
        >>> pool(torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
        >>> pool.backward(torch.tensor([[10.0]]))
        tensor([[6., 8.]])
    """

    dims = 1

    found = {"stride": "stride_given"}  # noqa: RUF012

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(replicas)
        norm_type = checks.own(norm_type)
        if norm_type in (math.inf, -math.inf):
            raise NotImplementedError(f"{self.label}(norm_type={norm_type}) is not there. Use MaxPool of |x|.")
        if not isinstance(norm_type, (int, float)) or not abs(norm_type) > 0:
            remedy = "Pass norm_type=2, say."
            raise ArgumentError("norm_type to be a number other than 0", repr(norm_type), remedy, self.label)
        self.norm_type = norm_type
        self.slide(kernel_size, stride, 0, 1, ceil_mode)
        self.stride_given = stride

    def scale(self, each: list[Windows], x: Tensor) -> Tensor:
        return super().scale(each, x) * math.prod(self.sizes_along(dim)[0] for dim in range(-self.dims, 0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.checked(x)
        power, each, scale = self.averaged(x.pow(self.norm_type))
        return self.keep(power.pow(1 / self.norm_type), x, power, each, scale)

    def backward(self, dy: Tensor) -> Tensor:
        x, power, each, scale = self.take(dy)
        dpower = power.pow(1 / self.norm_type - 1).masked_fill_(power == 0, 0).mul_(dy)  # the two factors p cancel
        return self.backward_averaged(dpower, each, scale).mul_(x.pow(self.norm_type - 1))

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride_given}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool2d(LPPool1d):
    """The p-norm of each window of an image: the formulas of LPPool1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args: those of LPPool1d, sizes each one number for both dimensions, or one for H and one for W.

    Errors: those of LPPool1d.

    Source: torch.nn.LPPool2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.LPPool2d(1, kernel_size=2)(torch.ones(1, 2, 2))
        tensor([[[4.]]])
    """

    dims = 2
