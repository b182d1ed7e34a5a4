"""Convolution: what convolutions and transposed convolutions have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.borders import BORDERS
from handgrad.nn.init import Initialiser, named
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter
from handgrad.nn.products import convolutions_are_faster
from handgrad.nn.sums import channel_sums

Size = int | tuple[int, ...]

CONVOLVE: dict[int, Callable[..., Tensor]] = {1: torch.conv1d, 2: torch.conv2d}
CONVOLVE_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d}
"""By the spatial dimensions."""

PIECE = 2**20
"""Numbers in a matrix of patches, or in the images of the replicas that go together: more than these fit no cache, and
come from the system anew each time, which costs more than what is computed with them."""
SMALL, WORK = 3, 2**14
"""The largest kernel, and on several threads the least work, (a, k) times h, for which channels go side by side."""
BLOCK = 16
"""The samples that a thread at least takes: kernels go by so many at a time."""
EVEN = 256
"""To so many pixels, or a multiple, a row of zeros is added: images that begin so far apart share lines of a cache."""
SINGLE = 4
"""The most channels of a large image that `_up` puts together by remainders."""
CHANNELS, MUCH = 16, 10_000_000
"""The fewest channels and the multiplications from which on a kernel of one pixel is a convolution, see `_large`."""


def _at_pixels(W: Tensor, x: Tensor) -> Tensor:
    """Multiply each pixel's channels, (N, G·I, …), by the group's matrix, (G, O, I)."""
    y = torch.matmul(W, _apart(x, len(W)).flatten(3))  # (N, G, O, P)
    return y.view(len(x), W.shape[0] * W.shape[1], *x.shape[2:])


def _apart(x: Tensor, groups: int) -> Tensor:
    """Give the groups of channels a dimension of their own: (N, G·C, …) to (N, G, C, …)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def _beside(u: Tensor, v: Tensor, p: int) -> tuple[Tensor, Tensor, int]:
    """Turn u, (N, G, a, H, W), with p zeros on both sides, to (1, G·N, H, W·a), and v, (N, B, …), to (G·S·b, N / S, …).

    The third result is S: into how many parts the batch is cut, so that each of several threads has as much to do. On
    one thread N comes last in memory, as the kernels like it; several would wait for the copies.
    """
    N, groups, a, H, W = u.shape
    threads, places = torch.get_num_threads(), v.shape[2:]
    if threads == 1:
        wide = u.new_zeros(H, W + 2 * p, a, groups, N)
        wide[:, p : p + W] = _first_last(u).permute(2, 3, 1, 0, 4)
        return wide.view(1, H, -1, groups * N).permute(0, 3, 1, 2), _first_last(v).permute(0, 3, 1, 2), 1
    row = int(math.prod(places) % EVEN == 0)
    wide = u.new_zeros(groups, N, H + row, W + 2 * p, a)
    wide[:, :, :H, p : p + W] = u.permute(1, 0, 3, 4, 2)
    parts = max(n for n in range(1, threads + 1) if n == 1 or (N % n == 0 and N // n >= BLOCK))
    v = v.reshape(parts, N // parts, groups, -1, *places).permute(2, 0, 3, 1, 4, 5)  # (G, S, b, N / S, …)
    v = torch.constant_pad_nd(v, (0, 0, 0, row)) if row else v
    return wide.view(1, groups * N, H + row, -1), v.reshape(-1, N // parts, *v.shape[4:]), parts


def _first_last(x: Tensor) -> Tensor:
    """Turn (N, …) to (…, N), in memory, too."""
    return x.reshape(len(x), -1).t().contiguous().view(*x.shape[1:], len(x))


def _few(dims: int, pixels: int) -> int:
    """The columns (a, k) up to which a product with patches is faster than a convolution with v: measured."""
    return max(32, 2 * pixels if dims == 1 else 3 * math.isqrt(pixels) - 16)


class Convolution(Module):
    """Base of the four layers: one relation between two images, read in three directions.

    Pixel h of the small image v sees pixel s h + d k − p of the large one u through entry k of the kernel W, with
    stride s, dilation d and padding p. `_down` computes v from u, `_up` u from v, and `backward_weight` W's gradient
    from both. R replicas are folded into the channels, (N, R·C, …), and the groups are then R·g: they never mix.
    """

    dims: ClassVar[int]
    transposed: ClassVar[bool] = False

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
        for rest, s, d in zip(self.output_padding, self.stride, self.dilation):
            if rest >= max(s, d):
                remedy = "Pad the output by less than one step."
                raise ArgumentError("output_padding below stride or dilation", f"{rest}", remedy, self.label)
        modes = ("zeros",) if self.transposed else ("zeros", *BORDERS)
        self.padding_mode = checks.one_of("padding_mode", padding_mode, modes, self.label)
        self.reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size))
        self.padding: str | tuple[int, ...]
        given: Any = padding  # a word, too, but for a transposed one
        if isinstance(given, str) and not self.transposed:
            self.padding = checks.one_of("padding", given, ("same", "valid"), self.label)
            both = [n - 1 if given == "same" else 0 for n in self.reach]
            self.frame = [(n // 2, n - n // 2) for n in both]
            if given == "same" and max(self.stride) > 1:
                remedy = "Pass the padding as a number, or stride=1."
                raise ArgumentError('stride 1 with padding="same"', f"{self.stride}", remedy, self.label)
        else:
            self.padding = self._sizes("padding", padding, 0)
            self.frame = [(n, n) for n in self.padding]
        # equal zeros on both sides are the convolution's own business, any other padding is put around before it
        self.framed = padding_mode != "zeros" or any(before != after for before, after in self.frame)
        self.zeros = (0,) * self.dims if self.framed else tuple(before for before, _ in self.frame)

        # a kernel of one pixel is a matrix product; oneDNN has kernels of its own for a single channel
        self.pointwise = (
            math.prod(self.kernel_size) == 1 and not any(self.zeros) and min(self.in_channels, out_channels) > groups
        )
        rows, columns = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape, area = (rows, columns // groups, *self.kernel_size), math.prod(self.kernel_size)
        self.init = init
        rules, fans = named(init), (columns // groups * area, rows * area)
        W = torch.empty(shape, device=checks.device(device, self.label), dtype=dtype)
        self.weight = Parameter(W, rules.weight(*fans), generator, replicas=replicas)
        b = W.new_empty(out_channels)
        self.bias = Parameter(b, rules.bias(*fans), generator, replicas=replicas) if bias else None

    @property
    def label(self) -> str:
        return f"{type(self).__name__} {self.in_channels}→{self.out_channels}"

    def _sizes(self, name: str, value: Any, least: int) -> tuple[int, ...]:
        """One integer for each dimension."""
        value = checks.own(value)
        sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * self.dims
        if len(sizes) != self.dims or not all(type(n) is int and n >= least for n in sizes):
            expected = f"{name} to be an integer of at least {least}, or {self.dims} of them"
            raise ArgumentError(expected, repr(value), f"Pass {name}={max(least, 1)}, say.", self.label)
        return sizes

    # The three directions; replicas are folded into the channels: an image is (N, R·C, …) here, and W (R·B, a, k)

    def _down(self, u: Tensor, r: slice | None, biased: bool = False) -> Tensor:
        """Compute v[b, h] = Σ W[b, a, k] u[a, s h + d k − p], summed over a and k."""
        W, b = self._values(r, biased)
        groups = u.shape[1] // W.shape[1]
        if self.pointwise:
            seen = u[self._seen(u.shape[2:])]
            if self._large(seen, groups):
                return CONVOLVE[self.dims](seen, W, b)
            return self._shifted(_at_pixels(W.view(groups, -1, W.shape[1]), seen), b)
        return CONVOLVE[self.dims](u, W, b, self.stride, self.zeros, self.dilation, groups)

    def _up(self, v: Tensor, size: Sequence[int], r: slice | None, biased: bool = False) -> Tensor:
        """Compute u[a, m] = Σ W[b, a, k] v[b, h], summed over b, and all h and k with s h + d k − p = m."""
        W, b = self._values(r, biased)
        groups = self.groups * len(W) // self.weight.shape[-2 - self.dims]
        if self.pointwise:
            if self._large(v, groups):
                u = seen = CONVOLVE_TRANSPOSED[self.dims](v, W)
            else:
                u = seen = _at_pixels(W.view(groups, -1, W.shape[1]).mT, v)
            if seen.shape[2:] != torch.Size(size):
                u = seen.new_zeros(*seen.shape[:2], *size)
                u[self._seen(n * s for n, s in zip(v.shape[2:], self.stride))] = seen
            return self._shifted(u, b)
        if self.dims == 2 and W.shape[1] <= SINGLE and max(self.stride) > 1 == max(self.dilation):
            return self._shifted(self._up_by_remainders(v, W, size, groups), b)
        rest = [n - least for n, least in zip(size, self._least(v.shape[2:]))]
        return CONVOLVE_TRANSPOSED[self.dims](v, W, b, self.stride, self.zeros, rest, groups, self.dilation)

    def _up_by_remainders(self, v: Tensor, W: Tensor, size: Sequence[int], groups: int) -> Tensor:
        """The same, with stride s, for few channels a: with m + p = s q + r and k = s j + r,

        u[a, s q + r − p] = Σ W[b, a, s j + r] v[b, q − j]: a convolution of v for each remainder r of each direction,
        whose images, side by side as channels, then interlace.
        """
        (sh, sw), (ph, pw), a = self.stride, self.zeros, W.shape[1]
        W = torch.constant_pad_nd(W, (0, -W.shape[3] % sw, 0, -W.shape[2] % sh))
        J, K = W.shape[2] // sh, W.shape[3] // sw
        W = W.view(groups, -1, a, J, sh, K, sw).permute(0, 2, 4, 6, 1, 3, 5).flip(5, 6)  # (G, a, r, r, b, j, j)
        parts = torch.conv2d(v, W.reshape(groups * a * sh * sw, -1, J, K), None, 1, (J - 1, K - 1), 1, groups)
        H, L = parts.shape[2:]
        u = parts.view(len(v), groups * a, sh, sw, H, L).permute(0, 1, 4, 2, 5, 3).reshape(len(v), -1, H * sh, L * sw)
        return torch.constant_pad_nd(u, (-pw, size[1] + pw - L * sw, -ph, size[0] + ph - H * sh))

    def _large(self, image: Tensor, groups: int) -> bool:
        """Whether a kernel of one pixel is faster as a convolution than as a product, where such a thing may be."""
        channels = self.in_channels, self.out_channels
        work = image.numel() // image.shape[1] * math.prod(channels)
        large = groups == 1 and work > MUCH and min(channels) >= CHANNELS
        return large and image.is_cpu and image.dtype is torch.float32 and convolutions_are_faster()

    def _seen(self, ends: Iterable[int]) -> tuple[Any, ...]:
        """The index of the pixels, up to `ends`, that a kernel of one pixel sees."""
        return (..., *(slice(0, end, s) for end, s in zip(ends, self.stride)))

    def _shifted(self, y: Tensor, b: Tensor | None) -> Tensor:
        """Add b to an image of its own memory."""
        return y if b is None else y.add_(b.view(-1, *[1] * self.dims))

    def backward_weight(self, u: Tensor, v: Tensor) -> Tensor:
        """Return dW[b, a, k] = Σ v[b, h] u[a, s h + d k − p], summed over the batch and h.

        That is a convolution of u with v where N stands for the channels, and stride and dilation change places. The
        product of v with the patches of u is faster for few columns (a, k), the more so the more pixels v has, and for
        a kernel of one pixel, whose patches cost nothing.
        """
        shape = self.weight.shape[-1 - self.dims :]  # (a, k)
        columns, groups, B = math.prod(shape), u.shape[1] // shape[0], v.shape[1]
        pixels, b = math.prod(v.shape[2:]), B // groups
        if len(u) and columns > max(shape[0], _few(self.dims, pixels)):
            small = self.dims == 2 and max(self.stride) == 1 and max(self.kernel_size) <= SMALL
            beside = small and (columns * pixels > WORK or torch.get_num_threads() == 1)
            dW = (self._backward_beside if beside else self._backward_apart)(_apart(u, groups), v)
            for dim, k in enumerate(self.kernel_size, 2):  # beyond them lie pixels that no h sees
                dW = dW.narrow(dim, 0, k)
            return dW.transpose(0, 1).contiguous()  # (B, a, k)
        dW = u.new_zeros(B * columns)
        n = max(1, PIECE // (groups * columns * pixels))
        for u_n, v_n in zip(torch.split(u, n), torch.split(v, n)):
            rows = v_n.reshape(len(v_n) * groups, b, pixels)  # (n·G, b, h)
            products = torch.bmm(self._patches(u_n, groups, v.shape[2:]), rows.mT)  # (n·G, a·k, b)
            dW += products.view(len(v_n), B * columns).sum(0)
        return dW.view(groups, columns, b).mT.reshape(B, *shape)

    def _backward_apart(self, u: Tensor, v: Tensor) -> Tensor:
        """dW as (a, B, k), or more pixels than k, by a convolution of u, (N, G, a, …), with v."""
        groups, u = u.shape[1], u.permute(2, 1, 0, *range(3, u.ndim)).flatten(1, 2)  # (a, G·N, …)
        return CONVOLVE[self.dims](u, v.transpose(0, 1), None, self.dilation, self.zeros, self.stride, groups)

    def _backward_beside(self, u: Tensor, v: Tensor) -> Tensor:
        """The same of images, for stride 1, with the channels a side by side in each column of u.

        A convolution is fast for long rows: a result of (k, k · a) pixels has them, one of (k, k) for each a has not.
        """
        a, groups, (d, step) = u.shape[2], u.shape[1], self.dilation
        u, v, parts = _beside(u, v, self.zeros[1])
        dW = torch.conv2d(u, v, None, (d, 1), (self.zeros[0], 0), (1, a), groups * parts)[0]  # (G·S·b, k, k · a)
        if parts > 1:
            dW = dW.view(groups, parts, -1, *dW.shape[1:]).sum(1).flatten(0, 1)
        return dW.view(*dW.shape[:2], -1, a)[:, :, ::step].movedim(-1, 0)

    def _patches(self, u: Tensor, groups: int, size: Sequence[int]) -> Tensor:
        """What each pixel of v sees, as columns: (n·G, a·k, h)."""
        if any(self.zeros):
            u = torch.constant_pad_nd(u, [n for n in reversed(self.zeros) for _ in range(2)])
        a, (image, channel, *pixel) = u.shape[1] // groups, u.stride()
        steps = [d * p for d, p in zip(self.dilation, pixel)] + [s * p for s, p in zip(self.stride, pixel)]
        shape = (len(u), groups, a, *self.kernel_size, *size)
        patches = u.as_strided(shape, (image, a * channel, channel, *steps))
        return patches.reshape(len(u) * groups, a * math.prod(self.kernel_size), math.prod(size))

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.take(dy)
        self._backward_own(x, dy)
        return self._pieces(lambda r: self.backward_input(x.shape[-self.dims :], dy, r), x)

    def backward_input(self, size: Sequence[int], dy: Tensor, r: slice | None) -> Tensor:
        """The gradient of an input of `size`, of replicas r."""
        raise NotImplementedError

    def backward_parameters(self, dy: Tensor) -> None:
        (x,) = self.take(dy)
        self._backward_own(x, dy)

    def _backward_own(self, x: Tensor, dy: Tensor) -> None:
        """Accumulate the gradients of W, and of b: Σ dy, summed over the batch and all pixels."""
        shape = self.weight.shape[-2 - self.dims :]
        dW = self._pieces(lambda r: self.backward_weight(*self._pair(x, dy, r)).view(-1, *shape), x)
        self.weight.add_grad(dW.view(self.weight.shape))
        if self.bias is not None:
            batch = dy if dy.ndim > self.dims + 1 else dy.unsqueeze(0)
            self.bias.add_grad(channel_sums(batch, self.dims))

    def _pair(self, x: Tensor, dy: Tensor, r: slice | None) -> tuple[Tensor, Tensor]:
        """The large and the small image among the input and the output's gradient."""
        raise NotImplementedError

    # Shapes

    def _pieces(self, call: Callable[[slice | None], Tensor], x: Tensor) -> Tensor:
        """Call for all replicas, as many at once as the cache holds, and put the results together."""
        if self.replicas is None:
            return call(None)
        one = x[0].numel() * max(self.in_channels, self.out_channels) // self.in_channels
        n = max(1, PIECE // max(1, one))
        first = call(slice(n))
        if n >= self.replicas:
            return first
        y = first.new_empty(self.replicas, *first.shape[1:])
        y[:n] = first
        for r in range(n, self.replicas, n):  # each piece's memory serves the next
            y[r : r + n] = call(slice(r, r + n))
        return y

    def _least(self, size: Sequence[int]) -> list[int]:
        """The fewest pixels that u has for a v of `size`: with more, the last steps fall short of their stride."""
        return [(n - 1) * s - 2 * p + reach for n, s, p, reach in zip(size, self.stride, self.zeros, self.reach)]

    def _values(self, r: slice | None, biased: bool) -> tuple[Tensor, Tensor | None]:
        """W, and b if there is one and it is wanted, of the replicas r, folded into the first dimension."""
        W, b = self.weight.value, None if self.bias is None or not biased else self.bias.value
        return (W, b) if r is None else (W[r].flatten(0, 1), None if b is None else b[r].flatten())

    def _fold(self, x: Tensor, r: slice | None) -> Tensor:
        """Fold the replicas r into the channels, (R, N, C, …) to (N, r·C, …), or give an image alone a batch."""
        if r is not None:
            return x[r].transpose(0, 1).flatten(1, 2)
        return x if x.ndim == self.dims + 2 else x.unsqueeze(0)

    def _unfold(self, y: Tensor, channels: int, ndim: int) -> Tensor:
        """Undo `_fold` for a result of so many channels a replica; `ndim` is what images here have."""
        if self.replicas is None:
            return y if y.ndim == ndim else y.squeeze(0)
        return _apart(y, y.shape[1] // channels).transpose(0, 1)

    def checked(self, x: Tensor) -> Tensor:
        """The input with its leading R, or an error."""
        checks.like(x, self.weight.value, self)
        x = self.replicated(x, rank=self.dims + 2)
        ranks = (self.dims + 1, self.dims + 2) if self.replicas is None else (self.dims + 3,)
        if x.ndim not in ranks or x.shape[-1 - self.dims] != self.in_channels:
            shape = self.written(f"N, {self.in_channels}, {'L' if self.dims == 1 else 'H, W'}")
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
