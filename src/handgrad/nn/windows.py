"""Windows along one dimension, their sums and maxima; and the bases of pooling, which takes one dimension at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.constants import cast, constant, widened
from handgrad.nn.module import Module

Sizes = int | tuple[int, ...]
"""One number for all dimensions, or one for each."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Where windows lie among L inputs along one dimension, and the work on them; `dim` is negative throughout.

    Small windows are worked on piece by piece: piece j holds the j-th input of each window that has one inside. Large
    windows, and those of unequal sizes, are worked on one by one. In neither way is padding ever copied, and its zeros
    or −∞ never meet the numbers.

    Attributes:
        inputs: L.
        starts, stops: of each window, where it has padding outside of the L inputs.
        step: distance of a window's inputs.
        padding: p on both sides.
        pieces: which windows and which of their inputs, for each j; empty for work window by window.
        tiles: whether each input is in one window, and one only.
    """

    inputs: int
    starts: Sequence[int]
    stops: Sequence[int]
    step: int = 1
    padding: int = 0
    pieces: tuple[tuple[slice, slice], ...] = ()
    tiles: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def whole(self) -> bool:
        """Whether the only window is of all inputs."""
        return len(self.starts) == 1 and self.step == 1 and self.starts[0] <= 0 and self.stops[0] >= self.inputs

    def each(self) -> Iterator[tuple[slice, slice]]:
        """Each window and its inputs."""
        for o, (start, stop) in enumerate(zip(self.starts, self.stops)):
            first = start if start >= 0 else start % self.step
            yield slice(o, o + 1), slice(first, min(stop, self.inputs), self.step)

    def counts(self, padded: bool) -> list[int]:
        """How many inputs each window has, with padding or without; for windows without gaps."""
        p = self.padding if padded else 0
        return [min(stop, self.inputs + p) - max(start, -p) for start, stop in zip(self.starts, self.stops)]

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """The sum of each window."""
        if not self.pieces:
            return torch.cat([_at(x, dim, inputs).sum(dim, keepdim=True) for _, inputs in self.each()], dim)
        return self._combined(torch.add, 0.0, x, dim)

    def backward_sum(self, dy: Tensor, dim: int) -> Tensor:
        """To each input the gradients of the windows that it is in."""
        dx = self._nothing(dy, dim)
        for windows, inputs in self.pieces or self.each():
            self._give(dx, dim, inputs, _at(dy, dim, windows))
        return dx

    def max(self, x: Tensor, dim: int) -> Tensor:
        """The maximum of each window."""
        if not self.pieces:
            return torch.cat([_at(x, dim, inputs).amax(dim, keepdim=True) for _, inputs in self.each()], dim)
        return self._combined(torch.maximum, -torch.inf, x, dim)

    def backward_max(self, x: Tensor, y: Tensor, dy: Tensor, dim: int) -> Tensor:
        """To each input the gradients of the windows whose first maximum it is."""
        dx = self._nothing(x, dim)
        if not self.pieces:
            for windows, inputs in self.each():
                first = _at(x, dim, inputs).max(dim, keepdim=True).indices  # faster than argmax
                _at(dx, dim, inputs).scatter_add_(dim, first, _at(dy, dim, windows))
            return dx
        rest = dy if self.tiles else dy.clone()  # what the inputs so far, below the maximum, have passed on
        for windows, inputs in self.pieces[:-1]:
            part, found = _at(rest, dim, windows), _at(x, dim, inputs).contiguous()
            passed = torch.lt(found, _at(y, dim, windows), out=torch.empty_like(found)).mul_(part)
            self._give(dx, dim, inputs, part - passed)
            if self.tiles:
                rest = passed
            else:
                part.copy_(passed)
        windows, inputs = self.pieces[-1]
        self._give(dx, dim, inputs, _at(rest, dim, windows))
        return dx

    def _combined(self, combine: Callable[..., Tensor], nothing: float, x: Tensor, dim: int) -> Tensor:
        """Each window's inputs, combined one after another, beginning with `nothing`."""
        pieces, y = self.pieces, x.new_empty(_resized(x, dim, len(self)))
        if len(pieces) > 1 and all(windows == slice(0, len(self)) for windows, _ in pieces[:2]):
            combine(*(_at(x, dim, inputs) for _, inputs in pieces[:2]), out=y)
            pieces = pieces[2:]
        else:
            y.fill_(nothing)
        for windows, inputs in pieces:
            part = _at(y, dim, windows)
            combine(part, _at(x, dim, inputs), out=part)
        return y

    def _nothing(self, like: Tensor, dim: int) -> Tensor:
        """Memory for the gradient of the inputs, zero where windows are to add to it."""
        size = _resized(like, dim, self.inputs)
        return like.new_empty(size) if self.tiles else like.new_zeros(size)

    def _give(self, dx: Tensor, dim: int, inputs: slice, values: Tensor) -> None:
        part = _at(dx, dim, inputs)
        if self.tiles:
            part.copy_(values)
        else:
            part.add_(values)


@lru_cache(maxsize=512)
def sliding(L: int, k: int, s: int, p: int = 0, d: int = 1, ceil_mode: bool = False) -> Windows:
    """Windows of k inputs, d apart, that start every s inputs from −p on; none starts in the padding behind.

    Example:
        >>> sliding(5, k=2, s=2).pieces
        ((slice(0, 2, None), slice(0, 3, 2)), (slice(0, 2, None), slice(1, 4, 2)))
        >>> sliding(5, k=2, s=2, ceil_mode=True).counts(padded=True)
        [2, 2, 1]
    """
    extent = d * (k - 1) + 1
    outputs = (L + 2 * p - extent + (s - 1 if ceil_mode else 0)) // s + 1
    if ceil_mode and (outputs - 1) * s >= L + p:
        outputs -= 1
    pieces = []
    for shift in range(-p, extent - p, d) if k <= 8 * outputs else ():  # else fewer steps window by window
        low, high = max(0, -(shift // s)), min(outputs, (L - 1 - shift) // s + 1)
        if low < high:
            pieces.append((slice(low, high), slice(low * s + shift, (high - 1) * s + shift + 1, s)))
    starts = range(-p, outputs * s - p, s)
    tiles = bool(pieces) and outputs * k == L and (s, p, d) == (k, 0, 1)
    return Windows(L, starts, range(extent - p, extent - p + outputs * s, s), d, p, tuple(pieces), tiles)


@lru_cache(maxsize=512)
def adaptive(L: int, outputs: int) -> Windows:
    """Windows of ⌊o L / outputs⌋ ≤ i < ⌈(o + 1) L / outputs⌉, which may overlap and differ in size.

    Example:
        >>> adaptive(5, 3).counts(padded=False)
        [2, 3, 2]
    """
    if L % outputs == 0:
        return sliding(L, L // outputs, L // outputs)
    starts = [o * L // outputs for o in range(outputs)]
    return Windows(L, starts, [-(-(o + 1) * L // outputs) for o in range(outputs)])


def _resized(x: Tensor, dim: int, size: int) -> list[int]:
    shape = list(x.shape)
    shape[dim] = size
    return shape


def _at(x: Tensor, dim: int, place: slice) -> Tensor:
    index: tuple[Any, ...] = (..., place, *[slice(None)] * (-1 - dim))
    return x[index]


class Spatial(Module):
    """Base of what works along the last `dims` dimensions, of signals (N, C, L) or images (N, C, H, W)."""

    dims: ClassVar[int]

    def checked(self, x: Tensor) -> Tensor:
        """The input with its leading R, or an error."""
        checks.tensor(x, self)
        rank = self.dims + 2
        x = self.replicated(x, rank)
        if x.ndim not in ((rank - 1, rank) if self.replicas is None else (rank + 1,)) or 0 in x.shape[-self.dims :]:
            expected = f"an input of shape {self.written('N, C, L' if self.dims == 1 else 'N, C, H, W')}"
            remedy = "Bring the input to this shape with reshape, unsqueeze or flatten."
            raise ShapeError(expected, str(tuple(x.shape)), remedy, self.label)
        return x


class Pool(Spatial):
    """Base of all pooling: a subclass says in `windows` where they lie among the L inputs along one dimension."""

    def windows(self, L: int, dim: int) -> Windows:
        raise NotImplementedError

    def along_each(self, x: Tensor) -> list[Windows]:
        """The windows along the last dimension, then along the one before it."""
        return [self.windows(x.shape[dim], dim) for dim in range(-1, -self.dims - 1, -1)]

    def sizes(self, name: str, value: Any, least: int = 1, nothing: bool = False) -> Any:
        """Return `value` if it is an integer of at least `least`, or one for each dimension; or `nothing`, None."""
        value = checks.own(value)
        given = value if isinstance(value, (tuple, list)) else (value,) * self.dims
        good = [(isinstance(v, int) and v >= least) or (nothing and v is None) for v in given]
        if len(good) != self.dims or not all(good):
            expected = f"{name} to be an integer of at least {least}" + (", or two of them" if self.dims == 2 else "")
            raise ArgumentError(expected, repr(value), f"Pass {name}={least} or more.", self.label)
        return value

    def refuse_indices(self, return_indices: bool) -> None:
        if return_indices:
            raise NotImplementedError(f"{self.label}(return_indices=True) is not there. Leave return_indices out.")


class Sliding(Pool):
    """Base of pooling with windows of one size at equal distances."""

    def slide(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> None:
        """Check and set the options."""
        self.kernel_size = self.sizes("kernel_size", kernel_size)
        self.stride = self.sizes("stride", kernel_size if stride is None else stride)
        self.padding = self.sizes("padding", padding, least=0)
        self.dilation = self.sizes("dilation", dilation)
        self.ceil_mode = ceil_mode
        for dim in range(-self.dims, 0):
            k, _, p, d = self.sizes_along(dim)
            if p > (d * (k - 1) + 1) // 2:
                expected = f"padding of at most {(d * (k - 1) + 1) // 2}, half the window"
                remedy = "Pad less, or pool larger windows."
                raise ArgumentError(expected, repr(padding), remedy, self.label)

    def sizes_along(self, dim: int) -> tuple[int, ...]:
        """Kernel, stride, padding and dilation along one dimension."""
        return tuple(
            size if isinstance(size, int) else size[dim]
            for size in (self.kernel_size, self.stride, self.padding, self.dilation)
        )

    def windows(self, L: int, dim: int) -> Windows:
        k, s, p, d = self.sizes_along(dim)
        found = sliding(L, k, s, p, d, self.ceil_mode)
        if len(found) < 1:
            remedy = "Pool smaller windows, or pad the input."
            expected = f"at least {d * (k - 1) + 1 - 2 * p} inputs for a window"
            raise ShapeError(expected, str(L), remedy, self.label)
        return found


class Max(Pool):
    """y = max over each window: rows first, so that of equal maxima the first one in the order of reading wins."""

    return_indices = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.checked(x)
        steps = []
        for dim, windows in enumerate(self.along_each(x), 1):
            y = windows.max(x, -dim)
            steps.append((windows, x, y))
            x = y
        return self.keep(y, steps)

    def backward(self, dy: Tensor) -> Tensor:
        (steps,) = self.take(dy)
        for dim, (windows, x, y) in reversed(list(enumerate(steps, 1))):
            dy = windows.backward_max(x, y, dy, -dim)
        return dy


class Average(Pool):
    """y = the sum of each window times `scale`: lines first, since whole lines add fastest."""

    divisor_override: int | None = None
    count_include_pad: bool = True

    def forward(self, x: Tensor) -> Tensor:
        return self.keep(*self.averaged(self.checked(x)))

    def backward(self, dy: Tensor) -> Tensor:
        return self.backward_averaged(dy, *self.take(dy))

    def averaged(self, x: Tensor) -> tuple[Tensor, list[Windows], Tensor]:
        """The means, and what the way back needs."""
        each, dtype, x = self.along_each(x), x.dtype, widened(x)
        scale = self.scale(each, x)
        if all(windows.whole for windows in each):
            return cast(x.sum(list(range(-self.dims, 0)), keepdim=True).mul_(scale), dtype), each, scale
        for dim in range(-self.dims, 0):
            x = each[-1 - dim].sum(x, dim)
        return cast(x.mul_(scale), dtype), each, scale

    def backward_averaged(self, dy: Tensor, each: list[Windows], scale: Tensor) -> Tensor:
        dx = cast(dy * scale, dy.dtype)
        if all(windows.whole for windows in each):
            return dx.expand(*dx.shape[: -self.dims], *[windows.inputs for windows in reversed(each)]).contiguous()
        for dim, windows in enumerate(each, 1):
            dx = windows.backward_sum(dx, -dim)
        return dx

    def scale(self, each: list[Windows], x: Tensor) -> Tensor:
        """What the sums are multiplied by: one number, or one for each window."""
        if self.divisor_override is not None:
            return constant(1 / self.divisor_override, x)
        return _reciprocals(tuple(each), self.count_include_pad, x.dtype, x.device)


@lru_cache(maxsize=512)
def _reciprocals(each: tuple[Windows, ...], padded: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 / how many inputs each window has; of no dimensions where all have equally many."""
    counts = [windows.counts(padded) for windows in each]
    if all(len(set(one)) == 1 for one in counts):
        return torch.tensor(1 / math.prod(one[0] for one in counts), dtype=dtype, device=device)
    area = torch.ones((), dtype=torch.float64)
    for one in counts:
        area = torch.tensor(one, dtype=torch.float64).view(-1, *[1] * area.ndim) * area  # (W,), then (H, W)
    return area.reciprocal().to(device, dtype)
