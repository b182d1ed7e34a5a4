"""Convolutions and transposed convolutions in one and two dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.init import Initialiser, named
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter

Size = int | tuple[int, ...]

BORDERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": lambda i, n: n - 1 - (n - 1 - i.abs()).abs(),
    "replicate": lambda i, n: i.clamp(0, n - 1),
    "circular": lambda i, n: i % n,
}
"""Which of n pixels stands at position i, before the first and after the last too."""

NARROW = 32
"""Columns up to which a weight's gradient is a product with a matrix of patches: see `backward_weight`."""

PIECE = 2**20
"""Numbers in one such matrix: larger ones come from the system anew each time, which costs more than their product."""


@lru_cache(maxsize=1024)
def _border(mode: str, before: int, n: int, after: int, device: torch.device) -> Tensor:
    """The pixels that a padded line of n consists of."""
    return BORDERS[mode](torch.arange(-before, n + after, device=device), n)


class Convolution(Module):
    """Base of the four layers: one relation between two images, read in three directions.

    Pixel h of the small image v sees pixel s h + d k − p of the large one u through entry k of the kernel W, with
    stride s, dilation d and padding p. `_down` computes v from u, `_up` u from v, and `backward_weight` W's gradient
    from both. R replicas are folded into the channels, (N, R·C, …), and the groups are then R·g: they never mix.
    """

    dims: ClassVar[int]
    transposed: ClassVar[bool] = False
    convolve: ClassVar[Callable[..., Tensor]]
    convolve_transposed: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: str | Size,
        output_padding: Size,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: torch.dtype | None,
        init: str | Initialiser,
        generator: Generators,
        replicas: int | None,
    ) -> None:
        name = type(self).__name__
        self.in_channels = checks.positive_int("in_channels", in_channels, name)
        self.out_channels = checks.positive_int("out_channels", out_channels, name)
        super().__init__(replicas)
        self.groups = checks.positive_int("groups", groups, self.label)
        if in_channels % groups or out_channels % groups:
            remedy = "Choose a number of groups that divides both channel counts."
            got = f"{groups} for {in_channels} and {out_channels} channels"
            raise ArgumentError("groups that divide the channels", got, remedy, self.label)
        self.kernel_size = self._sizes("kernel_size", kernel_size, 1)
        self.stride = self._sizes("stride", stride, 1)
        self.dilation = self._sizes("dilation", dilation, 1)
        self.output_padding = self._sizes("output_padding", output_padding, 0)
        self.padding_mode = checks.one_of("padding_mode", padding_mode, ("zeros", *BORDERS), self.label)
        self.reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size))
        self.padding: str | tuple[int, ...]
        if isinstance(padding, str) and not self.transposed:
            self.padding = checks.one_of("padding", padding, ("same", "valid"), self.label)
            both = [n - 1 if padding == "same" else 0 for n in self.reach]
            self.frame = [(n // 2, n - n // 2) for n in both]
            if padding == "same" and max(self.stride) > 1:
                remedy = "Pass the padding as a number, or stride=1."
                raise ArgumentError('stride 1 with padding="same"', f"{self.stride}", remedy, self.label)
        else:
            self.padding = self._sizes("padding", padding, 0)
            self.frame = [(n, n) for n in self.padding]
        # equal zeros on both sides are the convolution's own business, any other padding is put around before it
        self.framed = padding_mode != "zeros" or any(before != after for before, after in self.frame)
        self.zeros = (0,) * self.dims if self.framed else tuple(before for before, _ in self.frame)

        rows, columns = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape, area = (rows, columns // groups, *self.kernel_size), math.prod(self.kernel_size)
        rules, fans = named(init), (columns // groups * area, rows * area)
        device = None if device is None else checks.device(device, self.label)
        value = torch.empty(shape, device=device, dtype=dtype)
        self.weight = Parameter(value, rules.weight(*fans), generator, replicas=replicas)
        self.bias: Parameter | None = None
        if bias:
            value = torch.empty(out_channels, device=device, dtype=dtype)
            self.bias = Parameter(value, rules.bias(*fans), generator, replicas=replicas)

    @property
    def label(self) -> str:
        return f"{type(self).__name__} {self.in_channels}→{self.out_channels}"

    def _sizes(self, name: str, value: Any, least: int) -> tuple[int, ...]:
        """One integer for each dimension."""
        sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * self.dims
        if len(sizes) != self.dims or not all(type(n) is int and n >= least for n in sizes):
            expected = f"{name} to be an integer of at least {least}, or {self.dims} of them"
            raise ArgumentError(expected, repr(value), f"Pass {name}={max(least, 1)}, say.", self.label)
        return sizes

    # The three directions, of images whose replicas are folded into the channels

    def _down(self, u: Tensor, groups: int, bias: Parameter | None = None) -> Tensor:
        """Compute v[b, h] = Σ W[b, a, k] u[a, s h + d k − p], summed over a and k."""
        W, b = self._flat(self.weight), None if bias is None else self._flat(bias)
        return self.convolve(u, W, b, self.stride, self.zeros, self.dilation, groups)

    def _up(self, v: Tensor, groups: int, size: Sequence[int], bias: Parameter | None = None) -> Tensor:
        """Compute u[a, m] = Σ W[b, a, k] v[b, h], summed over b, and all h and k with s h + d k − p = m."""
        W, b = self._flat(self.weight), None if bias is None else self._flat(bias)
        rest = [n - least for n, least in zip(size, self._least(v.shape[2:]))]
        return self.convolve_transposed(v, W, b, self.stride, self.zeros, rest, groups, self.dilation)

    def backward_weight(self, u: Tensor, v: Tensor, groups: int) -> None:
        """Add Σ v[b, h] u[a, s h + d k − p], summed over the batch and h, to the gradient of W[b, a, k].

        That is a convolution of u with v where N stands for the channels, and stride and dilation change places. For
        few columns (a, k) the product of v with the patches of u is faster, and one pixel's patches cost nothing.
        """
        (N, A), B, area = u.shape[:2], v.shape[1], math.prod(self.kernel_size)
        columns = A // groups * area
        if N and area > 1 and columns > NARROW:
            u = u.unflatten(1, (groups, -1)).permute(2, 1, 0, *range(3, u.ndim + 1)).flatten(1, 2)  # (a, G·N, …)
            dW = self.convolve(u, v.transpose(0, 1), None, self.dilation, self.zeros, self.stride, groups)
            for dim, k in enumerate(self.kernel_size, 2):  # beyond them lie pixels that no h sees
                dW = dW.narrow(dim, 0, k)
            dW = dW.transpose(0, 1)  # (B, a, k)
        else:
            dW = u.new_zeros(groups, B // groups, columns)
            n = max(1, PIECE // (groups * columns * v[:1, :1].numel()))
            for u_n, v_n in zip(u.split(n), v.split(n)):
                rows = v_n.unflatten(1, (groups, -1)).permute(1, 2, 0, *range(3, v.ndim + 1))  # (G, b, n, h)
                patches = self._patches(u_n, groups, v.shape[2:])  # (G, a·k, n·h)
                dW.baddbmm_(rows.flatten(2), patches.mT)
        self.weight.add_grad(dW.reshape(self.weight.shape))

    def _patches(self, u: Tensor, groups: int, size: Sequence[int]) -> Tensor:
        """What each pixel of v sees, as columns: (G, a·k, n·h)."""
        u = torch.constant_pad_nd(u, [n for n in reversed(self.zeros) for _ in range(2)])
        a, (image, channel, *pixel) = u.shape[1] // groups, u.stride()
        shape = (groups, a, *self.kernel_size, len(u), *size)
        steps = [d * p for d, p in zip(self.dilation, pixel)], [s * p for s, p in zip(self.stride, pixel)]
        patches = u.as_strided(shape, (a * channel, channel, *steps[0], image, *steps[1]))
        return patches.reshape(groups, shape[1] * math.prod(self.kernel_size), -1)

    def backward_bias(self, dy: Tensor) -> None:
        """Add Σ dy, summed over the batch and all pixels, to the gradient of b."""
        if self.bias is not None:
            self.bias.add_grad(dy.sum((0, *range(2, dy.ndim))).view(self.bias.shape))

    # Shapes

    @property
    def _groups(self) -> int:
        """Those of all replicas."""
        return self.groups * (self.replicas or 1)

    def _least(self, size: Sequence[int]) -> list[int]:
        """The fewest pixels that u has for a v of `size`: with more, the last steps fall short of their stride."""
        return [(n - 1) * s - 2 * p + reach for n, s, p, reach in zip(size, self.stride, self.zeros, self.reach)]

    def _flat(self, parameter: Parameter) -> Tensor:
        """The value with replicas folded into its first dimension."""
        return parameter.value if self.replicas is None else parameter.value.flatten(0, 1)

    def _fold(self, x: Tensor) -> Tensor:
        """Give an unbatched image a batch of one, and fold replicas into the channels: (R, N, C, …) to (N, R·C, …)."""
        if x.ndim == self.dims + 2:
            return x
        return x.unsqueeze(0) if self.replicas is None else x.transpose(0, 1).flatten(1, 2)

    def _unfold(self, y: Tensor, ndim: int) -> Tensor:
        """Undo `_fold`; the result has `ndim` dimensions, or the replicas on top."""
        if self.replicas is None:
            return y if ndim == y.ndim else y.squeeze(0)
        return y.unflatten(1, (self.replicas, y.shape[1] // self.replicas)).transpose(0, 1)

    def checked(self, x: Tensor) -> Tensor:
        """The input with its leading R, or an error."""
        checks.like(x, self.weight.value, self)
        x = self.replicated(x, rank=self.dims + 2)
        ranks = (self.dims + 1, self.dims + 2) if self.replicas is None else (self.dims + 3,)
        if x.ndim not in ranks or x.shape[-1 - self.dims] != self.in_channels:
            lead = "" if self.replicas is None else f"{self.replicas}, "
            shape = f"({lead}N, {self.in_channels}, {', '.join('HW' if self.dims == 2 else 'L')})"
            remedy = f"Give the layer {self.in_channels} channels, or build it for what comes."
            raise ShapeError(f"an input of shape {shape}", str(tuple(x.shape)), remedy, self.label)
        return x

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        none = (0,) * self.dims
        parts += [f"padding={self.padding}"] if self.padding != none else []
        parts += [f"dilation={self.dilation}"] if max(self.dilation) > 1 else []
        parts += [f"output_padding={self.output_padding}"] if self.output_padding != none else []
        parts += [f"groups={self.groups}"] if self.groups > 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


class Conv2d(Convolution):
    r"""Convolution of images (as everywhere in deep learning, without a flip of the kernel).

    With stride s, dilation d, padding p, and k running over the offsets in the kernel, in each group of channels:

    $$y_{nbh} = \beta_b + \sum_{a, k} W_{bak} \, x_{n, a, s h + d k - p}$$

    $$\frac{\partial L}{\partial W_{bak}} = \sum_{n, h} \frac{\partial L}{\partial y_{nbh}} x_{n, a, s h + d k - p}, \quad
      \frac{\partial L}{\partial \beta_b} = \sum_{n, h} \frac{\partial L}{\partial y_{nbh}}, \quad
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
    convolve = staticmethod(torch.conv2d)
    convolve_transposed = staticmethod(torch.conv_transpose2d)

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
        shape = in_channels, out_channels, kernel_size, stride, padding, 0, dilation
        super().__init__(*shape, groups, bias, padding_mode, device, dtype, init, generator, replicas)

    def forward(self, x: Tensor) -> Tensor:
        x = self.checked(x)
        self._check_size(x.shape[-self.dims :])
        shared = self.replicas is not None and self.groups == 1 and x.stride(0) == 0
        # an input shared by replicas is read once: one convolution to R·O channels
        u = self._framed(self._fold(x[0] if shared else x))  # (N, G·C/g, …)
        y = self._down(u, 1 if shared else self._groups, self.bias)  # (N, R·O, …)
        return self.keep(self._unfold(y, x.ndim), u, x.shape[-self.dims :])

    def backward(self, dy: Tensor) -> Tensor:
        u, size = self.take(dy)
        dv = self._fold(dy)  # (N, R·O, …)
        self._backward_own(u, dv)
        du = self._up(dv, self._groups, u.shape[2:])  # (N, R·C, …)
        return self._unfold(self.backward_frame(du, size), dy.ndim)

    def backward_parameters(self, dy: Tensor) -> None:
        u, _ = self.take(dy)
        self._backward_own(u, self._fold(dy))

    def _backward_own(self, u: Tensor, dv: Tensor) -> None:
        self.backward_weight(u, dv, u.shape[1] * self.groups // self.in_channels)
        self.backward_bias(dv)

    def _framed(self, x: Tensor) -> Tensor:
        """The image with its padding, unless that is left to the convolution."""
        if not self.framed:
            return x
        if self.padding_mode == "zeros":
            return torch.constant_pad_nd(x, [n for sides in reversed(self.frame) for n in sides])
        for dim, (before, after) in enumerate(self.frame, 2):
            if before or after:
                x = x.index_select(dim, _border(self.padding_mode, before, x.shape[dim], after, x.device))
        return x

    def backward_frame(self, dx: Tensor, size: Sequence[int]) -> Tensor:
        """The gradient of an image of `size`, each pixel's summed over where the padding repeats it."""
        for dim, (n, (before, after)) in enumerate(zip(size, self.frame), 2) if self.framed else ():
            if self.padding_mode == "zeros":
                dx = dx.narrow(dim, before, n)
            elif before or after:
                source = _border(self.padding_mode, before, n, after, dx.device)
                dx = dx.new_zeros(*dx.shape[:dim], n, *dx.shape[dim + 1 :]).index_add_(dim, source, dx)
        return dx

    def _check_size(self, size: Sequence[int]) -> None:
        """Raise for an image smaller than the kernel, or than what reflects or repeats it."""
        for n, reach, (before, after) in zip(size, self.reach, self.frame):
            if n + before + after < reach:
                remedy = "Pad more, or choose a smaller kernel or dilation."
                expected = f"at least {reach} pixels, padding included, for the kernel"
                raise ShapeError(expected, f"{n + before + after} in {tuple(size)}", remedy, self.label)
            most = {"zeros": after, "replicate": after if n else 0, "reflect": n - 1, "circular": n}[self.padding_mode]
            if after > most:
                remedy = "Pad less, or with zeros."
                expected = f'an image of more than {most} pixels for padding_mode="{self.padding_mode}"'
                raise ShapeError(expected, f"{tuple(size)} and padding {self.padding}", remedy, self.label)


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
    convolve = staticmethod(torch.conv1d)
    convolve_transposed = staticmethod(torch.conv_transpose1d)


class ConvTranspose2d(Convolution):
    r"""Transposed convolution of images: what `Conv2d` is by x, by y; its kernel steps over the output.

    With stride s, dilation d, padding p, and k running over the offsets in the kernel, in each group of channels:

    $$y_{nam} = \beta_a + \sum_{b} \sum_{s h + d k - p = m} W_{bak} \, x_{nbh}$$

    $$\frac{\partial L}{\partial W_{bak}} = \sum_{n, h} x_{nbh} \frac{\partial L}{\partial y_{n, a, s h + d k - p}}, \quad
      \frac{\partial L}{\partial \beta_a} = \sum_{n, m} \frac{\partial L}{\partial y_{nam}}, \quad
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
        >>> layer(torch.ones(5, 8, 16, 16)).shape, layer(torch.ones(5, 8, 16, 16), output_size=(32, 32)).shape
        (torch.Size([5, 3, 31, 31]), torch.Size([5, 3, 32, 32]))
    """

    dims = 2
    transposed = True
    convolve = staticmethod(torch.conv2d)
    convolve_transposed = staticmethod(torch.conv_transpose2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        init: str | Initialiser = "pytorch",
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        checks.one_of("padding_mode", padding_mode, ("zeros",), type(self).__name__)
        shape = in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation
        super().__init__(*shape, groups, bias, padding_mode, device, dtype, init, generator, replicas)
        for rest, s, d in zip(self.output_padding, self.stride, self.dilation):
            if rest >= max(s, d):
                remedy = "Pad the output by less than one step."
                raise ArgumentError("output_padding below stride or dilation", f"{rest}", remedy, self.label)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        x = self.checked(x)
        v = self._fold(x)  # (N, R·C, …)
        size = self._output_size(x, output_size)
        y = self._up(v, self._groups, size, self.bias)  # (N, R·O, …)
        return self.keep(self._unfold(y, x.ndim), v)

    def backward(self, dy: Tensor) -> Tensor:
        (v,) = self.take(dy)
        du = self._fold(dy)  # (N, R·O, …)
        self._backward_own(du, v)
        dv = self._down(du, self._groups)  # (N, R·C, …)
        for dim in range(2, dv.ndim):  # an output_padding of a stride or more leaves room for another step
            dv = dv.narrow(dim, 0, v.shape[dim])
        return self._unfold(dv, dy.ndim)

    def backward_parameters(self, dy: Tensor) -> None:
        (v,) = self.take(dy)
        self._backward_own(self._fold(dy), v)

    def _backward_own(self, du: Tensor, v: Tensor) -> None:
        self.backward_weight(du, v, self._groups)
        self.backward_bias(du)

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
    convolve = staticmethod(torch.conv1d)
    convolve_transposed = staticmethod(torch.conv_transpose1d)
