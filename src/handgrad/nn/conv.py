"""Convolutions and transposed convolutions in one and two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ShapeError
from handgrad.nn.borders import backward_framed, framed
from handgrad.nn.convolution import Convolution, Size
from handgrad.nn.init import Initialiser
from handgrad.nn.parameter import Generators


class Conv2d(Convolution):
    r"""Convolution of images (as everywhere in deep learning, without a flip of the kernel).

    With stride s, dilation d, padding p, and k running over the offsets in the kernel, in each group of channels:

    $$y_{nbh} = \beta_b + \sum_{a, k} W_{bak} \, x_{n, a, s h + d k - p}$$

    $$\frac{\partial L}{\partial W_{bak}} = \sum_{n, h} \frac{\partial L}{\partial y_{nbh}} x_{n, a, s h + d k - p},
      \quad \frac{\partial L}{\partial \beta_b} = \sum_{n, h} \frac{\partial L}{\partial y_{nbh}}, \quad
      \frac{\partial L}{\partial x_{nam}}
      = \sum_{b} \sum_{s h + d k - p = m} W_{bak} \frac{\partial L}{\partial y_{nbh}}$$

    The gradient of x is the transposed convolution of that of y, and the gradient of W the convolution of x with that
    of y, where the batch stands for the channels.

    Shapes: x (N, C, H, W) or (C, H, W), y (N, O, H', W') or (O, H', W'), weight (O, C/groups, *kernel_size), bias (O,).
    H' = ⌊(H + 2p − d (k − 1) − 1) / s⌋ + 1. With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared by all, and
    the others have a leading R.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, dilation: an integer, or one for height and one for width.
        padding: the same, or "same" for an output of the input's size, or "valid" for none.
        groups: into how many parts the channels are divided; each sees only its own.
        bias: False leaves β out.
        padding_mode: what is put around the image: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the parameters.
        init: name or `nn.init.Initialiser`; by default PyTorch's, number for number under the same seed.
        generator: source of the initial values (R of them for R replicas); torch's default one if None.
        replicas: None or R.

    Errors: ShapeError for another channel count or rank, an image smaller than the kernel, or a border it cannot fill;
        ArgumentError for options that do not fit together, DTypeError and DeviceError for an input unlike the weight.

    Source: LeCun et al. 1989; Dumoulin and Visin 2016, arXiv:1603.07285.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        >>> y = layer(torch.ones(5, 3, 32, 32))
        >>> y.shape, layer.backward(torch.ones_like(y)).shape, layer.weight.grad.shape
        (torch.Size([5, 8, 16, 16]), torch.Size([5, 3, 32, 32]), torch.Size([8, 3, 3, 3]))
    """

    dims = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        init: str | Initialiser = "pytorch",
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        given: Any = padding  # a word, too, which the base takes of this layer alone
        own = in_channels, out_channels, kernel_size, stride, given, 0, groups, bias, dilation, padding_mode
        super().__init__(*own, device, dtype, init=init, generator=generator, replicas=replicas)

    def forward(self, x: Tensor) -> Tensor:
        x = self.checked(x)
        self._check_size(x.shape[-self.dims :])
        y = self._pieces(
            lambda r: self._unfold(self._down(self._framed(x, r), r, biased=True), self.out_channels, x.ndim), x
        )
        return self.keep(y, x)

    def backward_input(self, size: Sequence[int], dy: Tensor, r: slice | None) -> Tensor:
        """The gradient of an input of `size`, of replicas r."""
        padded = [before + n + after if self.framed else n for n, (before, after) in zip(size, self.frame)]
        dx = self.backward_frame(self._up(self._fold(dy, r), padded, r), size)
        return self._unfold(dx, self.in_channels, dy.ndim)

    def _pair(self, x: Tensor, dy: Tensor, r: slice | None) -> tuple[Tensor, Tensor]:
        return self._framed(x, r), self._fold(dy, r)

    def _framed(self, x: Tensor, r: slice | None) -> Tensor:
        """The input folded, with its padding unless that is left to the convolution; once if replicas share it."""
        shared = r is not None and self.groups == 1 and x.stride(0) == 0
        x = self._fold(x, slice(1) if shared else r)
        if not self.framed:
            return x
        if self.padding_mode == "zeros":
            return torch.constant_pad_nd(x, [n for sides in reversed(self.frame) for n in sides])
        for dim, (before, after) in enumerate(self.frame, 2):
            if before or after:
                x = framed(x, self.padding_mode, dim, before, after)
        return x

    def backward_frame(self, dx: Tensor, size: Sequence[int]) -> Tensor:
        """The gradient of an image of `size`, each pixel's summed over where the padding repeats it."""
        for dim, (n, (before, after)) in enumerate(zip(size, self.frame), 2) if self.framed else ():
            if self.padding_mode == "zeros":
                dx = dx.narrow(dim, before, n)
            elif before or after:
                dx = backward_framed(dx, self.padding_mode, dim, before, after)
        return dx

    def _check_size(self, size: Sequence[int]) -> None:
        """Raise for an image smaller than the kernel, or than what reflects or repeats it."""
        for n, reach, (before, after) in zip(size, self.reach, self.frame):
            if n + before + after < reach:
                remedy = "Pad more, or choose a smaller kernel or dilation."
                expected = f"at least {reach} pixels, padding included, for the kernel"
                raise ShapeError(expected, f"{n + before + after} in {tuple(size)}", remedy, self.label)
            mode = self.padding_mode
            least = {"zeros": 0, "replicate": min(after, 1), "reflect": after + 1, "circular": after}[mode]
            if n < least:
                remedy = "Pad less, or with zeros."
                expected = f'at least {least} pixels for padding {self.padding} with padding_mode="{mode}"'
                raise ShapeError(expected, f"{n} in {tuple(size)}", remedy, self.label)


class Conv1d(Conv2d):
    """Convolution of signals: `Conv2d` with one dimension instead of two.

    Shapes: x (N, C, L) or (C, L), y (N, O, L') or (O, L'), weight (O, C/groups, *kernel_size), bias (O,). With R
    replicas x is (R, N, C, L), or (N, C, L) shared by all, and the others have a leading R.

    Args: those of Conv2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.Conv1d(3, 8, 5, padding="same", padding_mode="circular")
        >>> layer(torch.ones(5, 3, 20)).shape
        torch.Size([5, 8, 20])
    """

    dims = 1


class ConvTranspose2d(Convolution):
    r"""Transposed convolution of images: what `Conv2d` is by x, by y; its kernel steps over the output.

    With stride s, dilation d, padding p, and k running over the offsets in the kernel, in each group of channels:

    $$y_{nam} = \beta_a + \sum_{b} \sum_{s h + d k - p = m} W_{bak} \, x_{nbh}$$

    $$\frac{\partial L}{\partial W_{bak}} = \sum_{n, h} x_{nbh} \frac{\partial L}{\partial y_{n, a, s h + d k - p}},
      \quad \frac{\partial L}{\partial \beta_a} = \sum_{n, m} \frac{\partial L}{\partial y_{nam}}, \quad
      \frac{\partial L}{\partial x_{nbh}} = \sum_{a, k} W_{bak} \frac{\partial L}{\partial y_{n, a, s h + d k - p}}$$

    The gradient of x is the convolution of that of y.

    Shapes: x (N, C, H, W) or (C, H, W), y (N, O, H', W') or (O, H', W'), weight (C, O/groups, *kernel_size), bias (O,).
    H' = (H − 1) s − 2p + d (k − 1) + 1 + output_padding. With R replicas x is (R, N, C, H, W), or (N, C, H, W) shared
    by all, and the others have a leading R.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, dilation: an integer, or one for height and one for width.
        padding: the same; so much is cut off on each side of the output.
        output_padding: rows and columns more at the output's end, fewer than stride or dilation.
        groups: into how many parts the channels are divided; each sees only its own.
        bias: False leaves β out.
        padding_mode: only "zeros".
        device, dtype: of the parameters.
        init: name or `nn.init.Initialiser`; by default PyTorch's, number for number under the same seed.
        generator: source of the initial values (R of them for R replicas); torch's default one if None.
        replicas: None or R.

    Errors: ShapeError for another channel count or rank, an output that would be empty, or an output_size that no
        output_padding gives; ArgumentError for options that do not fit together, DTypeError and DeviceError for an
        input unlike the weight.

    Source: Zeiler et al. 2010; Dumoulin and Visin 2016, arXiv:1603.07285.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1)
        >>> layer(torch.ones(5, 8, 16, 16)).shape, layer(torch.ones(5, 8, 16, 16), (32, 32)).shape
        (torch.Size([5, 3, 31, 31]), torch.Size([5, 3, 32, 32]))
    """

    dims = 2
    transposed = True

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        x = self.checked(x)
        size = self._output_size(x, output_size)
        y = self._pieces(
            lambda r: self._unfold(self._up(self._fold(x, r), size, r, biased=True), self.out_channels, x.ndim), x
        )
        return self.keep(y, x)

    def backward_input(self, size: Sequence[int], dy: Tensor, r: slice | None) -> Tensor:
        """The gradient of an input of `size`, of replicas r."""
        dx = self._down(self._fold(dy, r), r)
        for dim, n in enumerate(size, 2):  # an output_padding of a stride or more leaves room for another step
            dx = dx.narrow(dim, 0, n)
        return self._unfold(dx, self.in_channels, dy.ndim)

    def _pair(self, x: Tensor, dy: Tensor, r: slice | None) -> tuple[Tensor, Tensor]:
        return self._fold(dy, r), self._fold(x, r)

    def _output_size(self, x: Tensor, wanted: Sequence[int] | None) -> list[int]:
        """The pixels of the output, in each dimension."""
        least = self._least(x.shape[-self.dims :])
        size = [n + rest for n, rest in zip(least, self.output_padding)]
        if wanted is not None:
            size = list(wanted)[-self.dims :]
            most = [n + s - 1 for n, s in zip(least, self.stride)]
            fits = len(wanted) in (self.dims, x.ndim) and all(a <= n <= b for a, n, b in zip(least, size, most))
            if not fits:
                remedy = "Ask for one that the stride can fill."
                expected = f"an output_size from {tuple(least)} to {tuple(most)}"
                raise ShapeError(expected, str(tuple(wanted)), remedy, self.label)
        if min(size) < 1:
            remedy = "Pad less, or give the layer a larger input."
            raise ShapeError("an input that leaves an output", str(tuple(x.shape)), remedy, self.label)
        return size


class ConvTranspose1d(ConvTranspose2d):
    """Transposed convolution of signals: `ConvTranspose2d` with one dimension instead of two.

    Shapes: x (N, C, L) or (C, L), y (N, O, L') or (O, L'), weight (C, O/groups, *kernel_size), bias (O,). With R
    replicas x is (R, N, C, L), or (N, C, L) shared by all, and the others have a leading R.

    Args: those of ConvTranspose2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.ConvTranspose1d(8, 3, 4, stride=2, padding=1)(torch.ones(5, 8, 10)).shape
        torch.Size([5, 3, 20])
    """

    dims = 1
