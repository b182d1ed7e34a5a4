"""LinearChain: linear layers with activations and batch normalisation between them, fused into one module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handgrad.errors import HandgradError
from handgrad.nn.activations import ReLU, Tanh
from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.constants import above, constant
from handgrad.nn.elementwise import Elementwise
from handgrad.nn.linear import Linear
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter
from handgrad.nn.products import convolutions_are_faster
from handgrad.nn.sequential import Sequential
from handgrad.pages import Arena

EIGHT = 8
"""Numbers that a processor multiplies at a time: products of matrices go by blocks of as many rows."""
NARROW = 32
"""Width from which on what is done number by number is as fast with samples as rows."""
LARGE = 16_000_000
"""Multiplications in a product from which on the parts gain more, where their products may be convolutions."""


def pays(replicas: int | None, samples: int, widest: int, norms: bool) -> bool:
    """Whether the chain is faster than its parts, by what docs/performance.md found.

    The chain computes more with its C × O weights, which a batch has to be worth, and makes more calls. It gains on
    normalisations, and on rows of few numbers, which are slow to go through one by one.
    """
    worth = samples >= max(64, 0.75 * widest) and (replicas or 1) * samples >= 500
    if samples * widest**2 > LARGE and convolutions_are_faster():
        return False
    return worth and (widest < NARROW or (norms and (replicas or 1) > 1))


class Block(NamedTuple):
    """An activation, perhaps a batch normalisation, and the linear layer that it is folded into."""

    activation: Elementwise
    norm: BatchNorm1d | None
    linear: Linear


class Fold(NamedTuple):
    """What backward needs of a block: z minus µ and the slope at z (R, C, N), A (R, C, O), 1/σ and k (R, C, 1).

    n is how many values of a channel µ and σ are of, and 0 in evaluation.
    """

    z: Tensor
    slope: Tensor
    A: Tensor
    norm: BatchNorm1d | None = None
    inv: Tensor | None = None
    k: Tensor | None = None
    n: int = 0


class LinearChain(Module):
    r"""Linear → (activation → BatchNorm1d → Linear) × k as one module, equal to its parts one after another.

    Inside, activations are feature-major, (R, C, N): the thin matrix products of small networks are a quarter faster,
    and sums over the batch run along memory. Batch normalisation is folded into the linear layer after it. With
    z = a(y) of the layer before, centred to $z_c = z - \mu$, and $k = \gamma / \sqrt{\sigma^2 + \epsilon}$,

    $$y' = W^T(k z_c + \beta) + b = A^T z_c + (W^T \beta + b), \qquad A_{co} = k_c W_{co}$$

    so the normalised values are never written down. Backward, with g the gradient by y' and dA the one by A:

    $$dA = z_c g^T, \quad db = g 1, \quad dW = k \, dA + \beta \, db^T, \quad
      d\gamma_c = \frac{1}{\sigma_c} \sum_o W_{co} dA_{co}, \quad d\beta = W db$$

    $$dz = A g - \frac{k}{n} d\beta - \frac{k}{n \sigma} d\gamma \, z_c, \qquad dy = a'(z) \, dz$$

    in evaluation without the last two terms of dz. z_c is centred before anything is squared or folded, so nothing
    cancels when µ is much larger than σ.

    `nn.fuse` puts it in place; it holds the very modules that it stands for, and their parameters and buffers.

    Shapes: x (N, I), y (N, O); with R replicas x (R, N, I), or (N, I) shared by all. Any other input, and a batch for
    which the parts one after another are faster, goes through them.

    Source: the folding is that of inference engines, carried through to training.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.BatchNorm1d(25), nn.Linear(25, 1))
        >>> x = torch.randn(100, 2)
        >>> torch.allclose(nn.fuse(model)(x), model(x), atol=1e-5)
        True
    """

    def __init__(self, parts: Sequential) -> None:
        rest: Iterator[Any] = iter(parts)
        self.parts, self.blocks = parts, list[Block]()
        self.first: Linear = next(rest)
        for activation in rest:
            part = next(rest)
            norm, linear = (part, next(rest)) if isinstance(part, BatchNorm1d) else (None, part)
            self.blocks.append(Block(activation, norm, linear))
        super().__init__(self.first.replicas)
        self.widest = max(block.linear.in_features for block in self.blocks)
        self.norms = any(block.norm is not None for block in self.blocks)
        self._columns: dict[Parameter, tuple[Tensor, Tensor]] = {}
        self._buffers: dict[tuple[Any, ...], Tensor] = {}
        self._arena = Arena()

    def __getstate__(self) -> dict[str, Any]:
        """Without views, which a pickle would tear from their parameters, and without buffers."""
        return {**vars(self), "_columns": {}, "_buffers": {}, "_arena": Arena()}

    def works_in(self, other: LinearChain) -> None:
        """Work in the memory of another chain of these widths, whose passes have always ended before its own begin."""
        self._buffers, self._arena = other._buffers, other._arena

    @property
    def label(self) -> str:
        widths = [self.first.in_features, self.first.out_features, *(b.linear.out_features for b in self.blocks)]
        return f"LinearChain {'→'.join(map(str, widths))}"

    def forward(self, x: Tensor) -> Tensor:
        fits = isinstance(x, Tensor) and x.ndim in (2, 2 if self.replicas is None else 3)
        fits = fits and x.dtype is not torch.float16  # whose sums are in float32
        if not fits or not pays(self.replicas, x.shape[-2], self.widest, self.norms):
            y: Tensor = self.parts(x)
            return self.keep(y, None, None)
        name, _ = next(self.parts.named_children())
        try:
            x = self._led(self.first.checked(x))  # (R, N, I)
            for name, part in self.parts.named_children() if x.shape[-2] < 2 else ():  # noqa: B007
                if isinstance(part, BatchNorm1d):
                    part.check_count(x.shape[-2])
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904
        kept = []
        # feature-major memory, not only strides: the product for dW of a thin input takes a third
        x = x.mT.contiguous()  # (R, I, N)
        y = _affine(self._led(self.first.weight.matrix), self._bias(self.first), x, self._buffer(0, x, self.first))
        for index, block in enumerate(self.blocks, start=1):
            z, slope = _activated(block.activation, y, self._buffer(("slope", index), y))  # (R, C, N)
            kept.append(fold := self._fold(block, z, slope))
            # the output is the caller's, everything before it is reused by the next step
            out = None if index == len(self.blocks) else self._buffer(index, x, block.linear)
            y = _affine(fold.A, self._folded_bias(block), z, out)  # (R, O, N)
        return self.keep(self._unled(y.mT), x, kept)

    def trainable(self) -> bool:
        return True

    def backward(self, dy: Tensor) -> Tensor:
        x, kept = self.take(dy)
        if x is None:
            return self.parts.backward(dy)
        g = self._to_first(x, kept, dy)
        return self._unled(torch.bmm(self._led(self.first.weight.matrix), g).mT)  # (N, I)

    def backward_parameters(self, dy: Tensor) -> None:
        x, kept = self.take(dy)
        if x is None:
            self.parts.backward_parameters(dy)
        else:
            self._to_first(x, kept, dy)

    def _to_first(self, x: Tensor, kept: list[Fold], dy: Tensor) -> Tensor:
        """Accumulate every parameter's gradient and return the gradient by the first layer's output, (R, O, N)."""
        g = self._led(dy).mT  # (R, O, N)
        for index in reversed(range(len(kept))):
            block, fold = self.blocks[index], kept[index]
            dA, db = _outer(fold.z, g), g.sum(-1, keepdim=True)  # (R, C, O), (R, O, 1)
            dz = self._buffer(index + 1, fold.z)  # where the next block's z was, which is not needed any more
            if fold.norm is None:
                dW = dA
                torch.bmm(fold.A, g, out=dz)
            else:
                dW = self._unfold(fold, fold.norm, self._led(block.linear.weight.matrix), dA, db, g, dz)
            self._accumulate(block.linear, dW, db)
            g = dz.mul_(fold.slope)
        self._accumulate(self.first, torch.bmm(x, g.mT), g.sum(-1, keepdim=True))
        return g

    def _fold(self, block: Block, z: Tensor, slope: Tensor) -> Fold:
        """Centre z in place, and fold the normalisation into the weight of the linear layer."""
        norm, W = block.norm, self._led(block.linear.weight.matrix)
        if norm is None:
            return Fold(z, slope, W)
        n = z.shape[-1]
        if norm.training or norm.running_mean is None or norm.running_var is None:
            mu = z.sum(-1, keepdim=True).mul_(constant(1 / n, z))  # (R, C, 1)
            z.sub_(mu)
            squares = torch.linalg.vector_norm(z, dim=-1, keepdim=True).square_()  # (R, C, 1)
            inv = torch.add(constant(norm.eps, z), squares, alpha=1 / n).rsqrt_()  # (R, C, 1)
            if norm.training:
                norm.track(self._flat(mu), self._flat(squares), n)
        else:
            n = 0
            z.sub_(self._upright(norm.running_mean))
            inv = (self._upright(norm.running_var) + constant(norm.eps, z)).rsqrt_()  # (R, C, 1)
        k = inv if norm.weight is None else inv * self._column(norm.weight)
        return Fold(z, slope, W * k, norm, inv, k, n)

    def _folded_bias(self, block: Block) -> Tensor | None:
        """Wᵀβ + b as (R, O, 1)."""
        b = self._bias(block.linear)
        if block.norm is None or block.norm.bias is None:
            return b
        W, row = self._led(block.linear.weight.matrix), self._column(block.norm.bias).mT  # as rows: half the time
        return (torch.bmm(row, W) if b is None else torch.baddbmm(b.mT, row, W)).mT

    def _unfold(
        self, fold: Fold, norm: BatchNorm1d, W: Tensor, dA: Tensor, db: Tensor, g: Tensor, dz: Tensor
    ) -> Tensor:
        """Accumulate dγ and dβ, write dz into its buffer, and return dW."""
        assert fold.k is not None
        assert fold.inv is not None
        dgamma = (W * dA).sum(-1, keepdim=True).mul_(fold.inv)  # (R, C, 1)
        dbeta = torch.bmm(db.mT, W.mT).mT  # (R, C, 1)
        dW = dA.mul_(fold.k)
        if norm.bias is not None:
            dW.addcmul_(self._column(norm.bias), db.mT)
        if fold.n:
            torch.baddbmm((dbeta * fold.k).mul_(constant(-1 / fold.n, g)), fold.A, g, out=dz)
            dz.addcmul_(fold.z, (dgamma * fold.k).mul_(fold.inv), value=-1 / fold.n)
        else:
            torch.bmm(fold.A, g, out=dz)
        if norm.weight is not None:
            norm.weight.add_grad(self._flat(dgamma))
        if norm.bias is not None:
            norm.bias.add_grad(self._flat(dbeta))
        return dW

    def _accumulate(self, linear: Linear, dW: Tensor, db: Tensor) -> None:
        linear.weight.add_grad(self._unled(dW), transposed=True)
        if linear.bias is not None:
            linear.bias.add_grad(self._flat(db))

    def _bias(self, linear: Linear) -> Tensor | None:
        """b as (R, O, 1)."""
        return None if linear.bias is None else self._column(linear.bias)

    def _column(self, p: Parameter) -> Tensor:
        """The value as a column, a view that is made once and kept for as long as the parameter has that tensor."""
        held = self._columns.get(p)
        if held is None or held[0] is not p.value:
            self._columns[p] = held = (p.value, self._upright(p.value))
        return held[1]

    def _upright(self, value: Tensor) -> Tensor:
        """View (C,) as (1, C, 1), and (R, C) as (R, C, 1)."""
        return value.view(1, -1, 1) if self.replicas is None else value.unsqueeze(-1)

    def _flat(self, value: Tensor) -> Tensor:
        """Undo `_upright`."""
        return value.view(-1) if self.replicas is None else value.squeeze(-1)

    def _led(self, value: Tensor) -> Tensor:
        """The value with a leading R, which is 1 without replicas."""
        return value.unsqueeze(0) if self.replicas is None else value

    def _unled(self, value: Tensor) -> Tensor:
        return value.squeeze(0) if self.replicas is None else value

    def _buffer(self, name: Any, like: Tensor, linear: Linear | None = None) -> Tensor:
        """Memory for (R, C, N) numbers, in training the same each step: fresh pages cost more than the arithmetic."""
        shape = like.shape if linear is None else (like.shape[0], linear.out_features, like.shape[2])
        if not self.first.training:
            return like.new_empty(shape)
        key = (name, shape, like.dtype, like.device)
        if key not in self._buffers:
            if len(self._buffers) > 8 * (len(self.blocks) + 2):  # batches of ever other sizes
                self._buffers.clear()
            size = shape[0] * shape[1] * shape[2]
            # zeros: `_outer` reads on behind the end, and what is there by chance may be slow to compute with
            with torch.inference_mode(False):  # of a loop in that mode, but of what follows it, too
                self._buffers[key] = self._arena.zeros(size + (EIGHT - 1) * shape[2], like)[:size].view(shape)
        return self._buffers[key]


def _affine(A: Tensor, b: Tensor | None, z: Tensor, out: Tensor | None) -> Tensor:
    """Aᵀ z + b for A (R, C, O), b (R, O, 1), z (R, C, N)."""
    return torch.bmm(A.mT, z, out=out) if b is None else torch.baddbmm(b, A.mT, z, out=out)


def _outer(z: Tensor, g: Tensor) -> Tensor:
    """Z gᵀ, (R, C, O), for z (R, C, N) and g (R, O, N).

    The product for 25 outputs takes a quarter longer than that for 32. Where g is a buffer, its rows are read on into
    those of the next replica, or into the room behind the last one, and the columns that come of them are dropped.
    """
    R, O, N = g.shape  # noqa: E741
    more = -O % EIGHT
    room = g.untyped_storage().nbytes() // g.element_size() - g.storage_offset() - g.numel()
    if not more or not g.is_contiguous() or room < more * N:
        return torch.bmm(z, g.mT)
    return torch.bmm(z, g.as_strided((R, O + more, N), g.stride()).mT)[..., :O]


def _activated(activation: Elementwise, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """a(y) and a'(y), in the memory of y and in `out` where that is simple."""
    if type(activation) is ReLU:
        return y.relu_(), above(y, 0, out)
    if type(activation) is Tanh:
        return y.tanh_(), torch.mul(y, y, out=out).neg_().add_(1)
    z, *kept = activation.value(y)
    return z, activation.slope(*kept)
