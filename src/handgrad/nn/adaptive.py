"""Pooling to a given size, whatever comes in."""

from __future__ import annotations

from handgrad.nn.windows import Average, Max, Pool, Windows, adaptive

OutputSize = int | tuple[int | None, ...] | None


class _Adaptive(Pool):
    shown = "output_size="
    output_size: OutputSize

    def windows(self, L: int, dim: int) -> Windows:
        size = self.output_size[dim] if isinstance(self.output_size, (tuple, list)) else self.output_size
        return adaptive(L, L if size is None else size)


class AdaptiveAvgPool1d(Average, _Adaptive):
    r"""The means of O windows that cover a signal of any length.

    $$y_o = \frac{1}{e_o - b_o} \sum_{i = b_o}^{e_o - 1} x_i, \quad
      b_o = \Big\lfloor \frac{o L}{O} \Big\rfloor, \quad e_o = \Big\lceil \frac{(o + 1) L}{O} \Big\rceil, \qquad
      \frac{\partial L}{\partial x_i} = \sum_{o:\, b_o \le i < e_o} \frac{1}{e_o - b_o}
      \frac{\partial L}{\partial y_o}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, O). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        output_size: O; None is the input's.
        replicas: None or R.

    Errors: ArgumentError for sizes out of range, ShapeError for another rank.

    Source: torch.nn.AdaptiveAvgPool1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pool = nn.AdaptiveAvgPool1d(2)
        >>> pool(torch.tensor([[1.0, 2.0, 6.0]]))
        tensor([[1.5000, 4.0000]])
        >>> pool.backward(torch.tensor([[2.0, 4.0]]))
        tensor([[1., 3., 2.]])
    """

    dims = 1

    def __init__(self, output_size: OutputSize, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.output_size = self.sizes("output_size", output_size, nothing=True)


class AdaptiveAvgPool2d(AdaptiveAvgPool1d):
    """The means of windows that cover an image of any size: the formulas of AdaptiveAvgPool1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args: output_size: one number for both dimensions, or one for H and one for W; None is the input's.

    Errors: those of AdaptiveAvgPool1d.

    Source: torch.nn.AdaptiveAvgPool2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.AdaptiveAvgPool2d((1, None))(torch.ones(8, 16, 7, 5)).shape
        torch.Size([8, 16, 1, 5])
    """

    dims = 2


class AdaptiveMaxPool1d(Max, _Adaptive):
    r"""The maxima of O windows that cover a signal of any length.

    $$y_o = \max_{b_o \le i < e_o} x_i, \quad
      b_o = \Big\lfloor \frac{o L}{O} \Big\rfloor, \quad e_o = \Big\lceil \frac{(o + 1) L}{O} \Big\rceil, \qquad
      \frac{\partial L}{\partial x_i} = \sum_{o:\, x_i \text{ is the first maximum of window } o}
      \frac{\partial L}{\partial y_o}$$

    Shapes: x (N, C, L) or (C, L), y (N, C, O). With R replicas x is (R, N, C, L), or (N, C, L) shared by all.

    Args:
        output_size: O; None is the input's.
        return_indices: only False.
        replicas: None or R.

    Errors: ArgumentError for sizes out of range, NotImplementedError for return_indices=True, ShapeError for another
    rank.

    Source: torch.nn.AdaptiveMaxPool1d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> pool = nn.AdaptiveMaxPool1d(2)
        >>> pool(torch.tensor([[1.0, 6.0, 2.0]]))
        tensor([[6., 6.]])
        >>> pool.backward(torch.tensor([[2.0, 4.0]]))
        tensor([[0., 6., 0.]])
    """

    dims = 1

    def __init__(self, output_size: OutputSize, return_indices: bool = False, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.refuse_indices(return_indices)
        self.output_size = self.sizes("output_size", output_size, nothing=True)


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    """The maxima of windows that cover an image of any size: the formulas of AdaptiveMaxPool1d in both dimensions.

    Shapes: x (N, C, H, W) or (C, H, W). With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all.

    Args: output_size: one number for both dimensions, or one for H and one for W; None is the input's.
        return_indices: only False.

    Errors: those of AdaptiveMaxPool1d.

    Source: torch.nn.AdaptiveMaxPool2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.AdaptiveMaxPool2d(1)(torch.ones(8, 16, 7, 5)).shape
        torch.Size([8, 16, 1, 1])
    """

    dims = 2
