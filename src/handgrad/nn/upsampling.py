"""Upsample, by copies or interpolation, and PixelShuffle, which makes space of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.module import Module

MODES = {"nearest": (1, 2), "linear": (1,), "bilinear": (2,), "bicubic": (2,)}
"""How many spatial dimensions an input may have."""
SHARP = -0.75
"""The slope of the cubic kernel at distance 1, PyTorch's choice."""


class Upsample(Module):
    r"""Signals or images of another size, each place a weighted mean of those of the input around it.

    Interpolation is linear in x, and goes along one dimension after the other, so that it is a matrix for each: with
    $M_{io}$ how much of place i there is in place o,

    $$y = M_h^T x M_w, \qquad \frac{\partial L}{\partial x} = M_h \frac{\partial L}{\partial y} M_w^T$$

    Place o lies at $s = (o + \tfrac12) / f - \tfrac12$ of the input, with f the scale; with `align_corners`, which lets
    the first and the last places coincide, at $s = o \, (I - 1) / (O - 1)$. "nearest" takes the place at
    $\lfloor o / f \rfloor$, "linear" and "bilinear" the two next to s, "bicubic" four, with Keys' kernel for a = −0.75.

    Shapes: x (N, C, L) or (N, C, H, W), y alike with other L, H and W. With R replicas x leads with R, or with 1 where
    all share it.

    Args:
        size: of the output, one number or one for each dimension.
        scale_factor: f, one number or one for each dimension; the size is ⌊f · that of the input⌋.
        mode: "nearest", "linear" (of signals), "bilinear" or "bicubic" (of images).
        align_corners: whether corners coincide, where values are interpolated.
        recompute_scale_factor: True takes the ratio of the sizes for f.
        replicas: None or R.

    Errors: ArgumentError unless one of size and scale_factor is given, or for align_corners with "nearest"; ShapeError
    for an input of other dimensions; NotImplementedError for another mode.

    Source: torch.nn.Upsample; Keys 1981, Cubic convolution interpolation.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> up = nn.Upsample(scale_factor=2, mode="linear")
        >>> up(torch.tensor([[[0.0, 4.0]]])), up.backward(torch.ones(1, 1, 4))
        (tensor([[[0., 1., 3., 4.]]]), tensor([[[2., 2.]]]))
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(replicas)
        if mode not in MODES:
            raise NotImplementedError(f"{self.label}(mode={mode!r}) is not there. Choose one of {', '.join(MODES)}.")
        size, scale_factor = checks.own(size), checks.own(scale_factor)
        if (size is None) == (scale_factor is None):
            got = "neither" if size is None else "both"
            raise ArgumentError("size or scale_factor", got, "Pass scale_factor=2, say.", self.label)
        sizes, scales = _listed(size), _listed(scale_factor)
        if not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in sizes):
            raise ArgumentError("a size of positive integers", repr(size), "Pass size=(32, 32), say.", self.label)
        if not all(isinstance(one, (int, float)) and 0 < one < math.inf for one in scales):
            remedy = "Pass scale_factor=2, say."
            raise ArgumentError("a scale_factor of positive numbers", repr(scale_factor), remedy, self.label)
        if align_corners is not None and mode == "nearest":
            remedy = "Leave it out, or choose a mode that interpolates."
            raise ArgumentError('no align_corners with "nearest"', repr(align_corners), remedy, self.label)
        if recompute_scale_factor and size is not None:
            remedy = "Leave it out: with a size it is the ratio of the sizes."
            raise ArgumentError("no recompute_scale_factor with a size", "True", remedy, self.label)
        self.size = tuple(sizes) if isinstance(size, (tuple, list)) else size
        factors = tuple(float(one) for one in scales)
        self.scale_factor = factors if isinstance(scale_factor, (tuple, list)) else factors[0] if factors else None
        self.mode, self.align_corners, self.recompute_scale_factor = mode, align_corners, recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        x = self.leading(checks.tensor(x, self))
        n = x.ndim - self.along(2)
        given = _listed(self.size or self.scale_factor)
        if n not in MODES[self.mode] or len(given) not in (1, n):
            shapes = " or ".join(self.written(("N, C, L", "N, C, H, W")[k - 1]) for k in MODES[self.mode])
            remedy = "Give it as many spatial dimensions as the mode, and size or scale_factor, are for."
            raise ShapeError(f"an input of shape {shapes}", str(tuple(x.shape)), remedy, self.label)
        sizes = x.shape[-n:]
        if 0 in sizes:
            raise ShapeError("at least one place", f"shape {tuple(x.shape)}", "Leave empty images out.", self.label)
        given = given * (n // len(given))
        scales = [None] * n if self.size or self.recompute_scale_factor else given
        to = given if self.size else [math.floor(i * f) for i, f in zip(sizes, given)]
        if 0 in to:
            remedy = "Choose a larger scale_factor."
            raise ShapeError("an output of at least one place", f"{tuple(to)} of {tuple(sizes)}", remedy, self.label)
        factors = [o // i for i, o in zip(sizes, to)]
        exact = all(f * i == o and s in (None, f) for f, i, o, s in zip(factors, sizes, to, scales))
        if self.mode == "nearest" and exact:
            return self.keep(repeated(x, factors), factors, None)
        kind = x.dtype if x.element_size() >= 4 else torch.float32
        matrices = [
            weights(self.mode, i, o, s, bool(self.align_corners), kind, x.device) for i, o, s in zip(sizes, to, scales)
        ]
        return self.keep(multiplied(x, matrices), None, matrices)

    def backward(self, dy: Tensor) -> Tensor:
        factors, matrices = self.take(dy)
        return multiplied(dy, [M.mT for M in matrices]) if factors is None else summed(dy, factors)

    def extra_repr(self) -> str:
        given = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{given}, mode={self.mode!r}"


class _Upsampling2d(Upsample):
    """Base of the two with a mode of their own."""

    own: ClassVar[dict[str, Any]]

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size, scale_factor, **self.own, replicas=replicas)


class UpsamplingNearest2d(_Upsampling2d):
    """`Upsample` with mode "nearest".

    Shapes, Errors: as of `Upsample`.

    Args:
        size, scale_factor, replicas: as in `Upsample`.

    Source: torch.nn.UpsamplingNearest2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.UpsamplingNearest2d(scale_factor=2)(torch.ones(1, 1, 2, 2)).shape
        torch.Size([1, 1, 4, 4])
    """

    own = {"mode": "nearest"}  # noqa: RUF012


class UpsamplingBilinear2d(_Upsampling2d):
    """`Upsample` with mode "bilinear" and align_corners=True.

    Shapes, Errors: as of `Upsample`.

    Args:
        size, scale_factor, replicas: as in `Upsample`.

    Source: torch.nn.UpsamplingBilinear2d.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.UpsamplingBilinear2d(size=(4, 6))(torch.ones(1, 1, 2, 2)).shape
        torch.Size([1, 1, 4, 6])
    """

    own = {"mode": "bilinear", "align_corners": True}  # noqa: RUF012


class PixelShuffle(Module):
    r"""Lay the channels of each place out as places: what a convolution ends in that upsamples.

    $$y_{c, \, f h + i, \, f w + j} = x_{c f^2 + i f + j, \, h, \, w}$$

    Shapes: x (…, C f², H, W), y (…, C, f H, f W). With R replicas x leads with R, or with 1 where all share it.

    Args:
        upscale_factor: f.
        replicas: None or R.

    Errors: ShapeError for an input of fewer dimensions, or whose channels are not a multiple of f².

    Source: Shi et al. 2016, arXiv:1609.05158.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.PixelShuffle(2)(torch.arange(4.0).view(4, 1, 1))
        tensor([[[0., 1.],
                 [2., 3.]]])
    """

    shown = "upscale_factor="

    def __init__(self, upscale_factor: int, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.upscale_factor = checks.positive_int("upscale_factor", upscale_factor, self.label)

    def forward(self, x: Tensor) -> Tensor:
        f = self.upscale_factor
        x = self.leading(checks.tensor(x, self))
        if x.ndim < self.along(3) or x.shape[-3] % f**2:
            expected = f"an input of shape {self.written('…, C, H, W')} with C a multiple of {f**2}"
            remedy = "Give it the channels of upscale_factor² places."
            raise ShapeError(expected, str(tuple(x.shape)), remedy, self.label)
        return self.keep(shuffled(x, f))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        return unshuffled(dy, self.upscale_factor)


class PixelUnshuffle(Module):
    r"""PixelShuffle backwards: f × f places become channels.

    $$y_{c f^2 + i f + j, \, h, \, w} = x_{c, \, f h + i, \, f w + j}$$

    Shapes: x (…, C, f H, f W), y (…, C f², H, W). With R replicas x leads with R, or with 1 where all share it.

    Args:
        downscale_factor: f.
        replicas: None or R.

    Errors: ShapeError for an input of fewer dimensions, or whose height or width is not a multiple of f.

    Source: Shi et al. 2016, arXiv:1609.05158.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.PixelUnshuffle(2)(torch.ones(3, 4, 6)).shape
        torch.Size([12, 2, 3])
    """

    shown = "downscale_factor="

    def __init__(self, downscale_factor: int, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.downscale_factor = checks.positive_int("downscale_factor", downscale_factor, self.label)

    def forward(self, x: Tensor) -> Tensor:
        f = self.downscale_factor
        x = self.leading(checks.tensor(x, self))
        if x.ndim < self.along(3) or x.shape[-1] % f or x.shape[-2] % f:
            expected = f"an input of shape {self.written('…, C, H, W')} with H and W multiples of {f}"
            remedy = "Cut or pad it to a multiple of downscale_factor."
            raise ShapeError(expected, str(tuple(x.shape)), remedy, self.label)
        return self.keep(unshuffled(x, f))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        return shuffled(dy, self.downscale_factor)


def shuffled(x: Tensor, f: int) -> Tensor:
    """(…, C f², H, W) as (…, C, f H, f W)."""
    *lead, C, H, W = x.shape
    parts = x.reshape(-1, C // f**2, f, f, H, W).permute(0, 1, 4, 2, 5, 3)  # (M, C, H, f, W, f)
    return parts.reshape(*lead, C // f**2, f * H, f * W)


def unshuffled(x: Tensor, f: int) -> Tensor:
    """(…, C, f H, f W) as (…, C f², H, W)."""
    *lead, C, H, W = x.shape
    parts = x.reshape(-1, C, H // f, f, W // f, f).permute(0, 1, 3, 5, 2, 4)  # (M, C, f, f, H, W)
    return parts.reshape(*lead, C * f**2, H // f, W // f)


def repeated(x: Tensor, factors: list[int]) -> Tensor:
    """Each place so often along each of the last dimensions, the last of them first."""
    for dim, f in zip((-1, -2), reversed(factors)):
        x = x.repeat_interleave(f, dim)
    return x


def summed(dy: Tensor, factors: list[int]) -> Tensor:
    """The sum over what `repeated` made of each place: of every f-th, since a sum of few numbers in a row is slow."""
    for dim, f in zip((-1, -2), reversed(factors)):
        first, *others = torch.unflatten(dy, dim, (-1, f)).unbind(dim)
        dy = first.clone()
        for other in others:
            dy.add_(other)
    return dy


def multiplied(x: Tensor, matrices: list[Tensor]) -> Tensor:
    """x M of signals, M_hᵀ x M_w of images; halves in float32."""
    *rows, columns = matrices
    y = x.to(columns.dtype) @ columns
    return (rows[0].mT @ y if rows else y).to(x.dtype)


@lru_cache(maxsize=32)
def weights(
    mode: str, inputs: int, outputs: int, scale: float | None, align: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """M (I, O): how much of each of I places goes into each of O. The same one each time: not to be changed."""
    with torch.inference_mode(False):
        o = torch.arange(outputs, dtype=torch.float32 if mode == "nearest" else dtype, device=device)
        step = o.new_tensor(inputs if scale is None else 1 / scale) / (outputs if scale is None else 1)
        if align:
            step = o.new_tensor(inputs - 1) / max(outputs - 1, 1)
        if mode == "nearest":
            if outputs in (inputs, 2 * inputs):  # as PyTorch, whatever the scale
                step = o.new_tensor(inputs / outputs)
            places, shares = (o * step).floor().unsqueeze(0), torch.ones(1, outputs, dtype=dtype, device=device)
        elif mode == "bicubic":
            s = o * step if align else (o + 0.5) * step - 0.5
            t = s - s.floor()
            places = torch.stack([s.floor() + k for k in (-1, 0, 1, 2)])
            shares = torch.stack([_far(t + 1), _near(t), _near(1 - t), _far(2 - t)])
        else:
            s = o if outputs == inputs else o * step if align else ((o + 0.5) * step - 0.5).clamp(min=0)
            t = s - s.floor()
            places, shares = torch.stack([s.floor(), s.floor() + 1]), torch.stack([1 - t, t])
        M = torch.zeros(inputs, outputs, dtype=dtype, device=device)
        return M.scatter_add_(0, places.clamp(0, inputs - 1).long(), shares)  # at a border places coincide


def _near(t: Tensor) -> Tensor:
    """Keys' kernel at distances up to 1."""
    return ((SHARP + 2) * t - (SHARP + 3)) * t * t + 1


def _far(t: Tensor) -> Tensor:
    """Keys' kernel at distances from 1 to 2."""
    return ((SHARP * t - 5 * SHARP) * t + 8 * SHARP) * t - 4 * SHARP


def _listed(given: Any) -> list[Any]:
    """One number, several or none as a list."""
    return [] if given is None else list(given) if isinstance(given, (tuple, list)) else [given]
