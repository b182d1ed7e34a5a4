r"""Steps: what RNN, GRU and LSTM compute from one time step to the next, and back-propagation through time.

Sequences are (T, N, ·), or (R, T, N, ·) with replicas: time is dimension −3 in both. What does not depend on the step
before is one matrix product over all steps: $a = x W_{ih} + b$ ahead of the loop, and $dW_{ih}$, $dW_{hh}$ and dx
behind it. Of the chain rule only a linear recurrence is left in the loop back: every gate's gradient is a coefficient
times the gradient by the state, and all coefficients are known before it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from handgrad.nn.parameter import Parameter


class Weights(NamedTuple):
    """The parameters of one layer in one direction, G = gates · H columns each."""

    ih: Parameter
    hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None


class Track:
    """A state at all steps, and in one row more the state before the first: now[t] follows from before[t].

    Args:
        memory: (…, T + 1, N, H), to be filled from `start` (…, N, H).
        order: 1, or −1 for a layer that reads its sequence backwards.
    """

    def __init__(self, memory: Tensor, start: Tensor, order: int) -> None:
        T = memory.shape[-3] - 1
        first, last = (0, T) if order == 1 else (T, 0)
        memory.select(-3, first).copy_(start)
        self.before, self.now = (memory.narrow(-3, row, T) for row in ((0, 1) if order == 1 else (1, 0)))
        self.end = memory.select(-3, last)


class Steps:
    """A recurrence over the steps of a sequence; a subclass writes what happens within one.

    Attributes:
        gates: how many blocks of H columns the weights have.
        joint: in how many of them, the first, the products of x and of h are only ever added.
        states: 1 for h alone, 2 for h and c.
    """

    gates: ClassVar[int]
    joint: ClassVar[int]
    states: ClassVar[int] = 1

    def forward(
        self, x: Tensor, weights: Weights, starts: list[Tensor], memory: Tensor, order: int
    ) -> tuple[list[Tensor], Any]:
        """Run over x (…, T, N, I), writing h into memory (…, T + 1, N, H); return the last states and what to keep."""
        W, b = weights.hh.value, None  # (H, G)
        if weights.bias_ih is None or weights.bias_hh is None:
            a = product(rows(x), weights.ih.value)  # (T N, G)
        else:
            b, joint = weights.bias_hh.value.unsqueeze(-2), self.joint * W.shape[-2]
            both = weights.bias_ih.value.unsqueeze(-2).clone()  # (1, G)
            both[..., :joint] += b[..., :joint]
            a = affine_of(W)(both, rows(x), weights.ih.value)  # (T N, G)
        a = a.unflatten(-2, x.shape[-3:-1])  # (T, N, G)
        memories = [memory, *(torch.empty_like(memory, memory_format=torch.contiguous_format) for _ in starts[1:])]
        tracks = [Track(m, start, order) for m, start in zip(memories, starts)]
        kept = self.scan(a, W, b, order, *tracks)
        return [track.end for track in tracks], (x, order, tracks, kept)

    def backward(
        self, kept: Any, weights: Weights, dy: Tensor, dends: list[Tensor | None], inputs: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Accumulate the weights' gradients; return those by x, if `inputs` asks for it, and by the first states.

        `dy` (…, T, N, H) is the gradient by h at all steps, `dends` those by the last states besides, None for zero.
        """
        x, order, tracks, parts = kept
        W = weights.hh.value  # (H, G)
        da, apart, dstarts = self.backward_scan(parts, W.mT, order, tracks, dy, dends)  # (T, N, G)
        flat = rows(da)
        weights.hh.add_grad(product(rows(tracks[0].before).mT, flat))  # (H, G)
        if weights.bias_hh is not None:
            weights.bias_hh.add_grad(flat.sum(-2))  # (G,)
        if apart is not None:
            da[..., self.joint * W.shape[-2] :] = apart
        if weights.bias_ih is not None:
            weights.bias_ih.add_grad(flat.sum(-2))  # (G,)
        weights.ih.add_grad(product(rows(x).mT, flat))  # (I, G)
        dx = product(flat, weights.ih.value.mT).unflatten(-2, x.shape[-3:-1]) if inputs else None  # (T, N, I)
        return dx, dstarts

    def scan(self, a: Tensor, W: Tensor, b: Tensor | None, order: int, *tracks: Track) -> Any:
        """Fill the tracks from the inputs' products a (…, T, N, G), which may be overwritten; return what to keep."""
        raise NotImplementedError

    def backward_scan(
        self, parts: Any, WT: Tensor, order: int, tracks: list[Track], dy: Tensor, dends: list[Tensor | None]
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """The gradients by h W + b at all steps, (…, T, N, G), and by the states before the first.

        Between them, for the blocks that are not `joint`, that by x W + b.
        """
        raise NotImplementedError


class ElmanSteps(Steps):
    """h' = tanh(x W_ih + h W_hh + b), or relu."""

    gates = joint = 1

    def __init__(self, nonlinearity: str) -> None:
        self.nonlinearity = nonlinearity

    def scan(self, a: Tensor, W: Tensor, b: Tensor | None, order: int, *tracks: Track) -> Any:
        (h,), add, sums = tracks, affine_of(W), scratch(a)
        activate: Any = torch.tanh if self.nonlinearity == "tanh" else torch.clamp_min
        bound = () if self.nonlinearity == "tanh" else (0,)
        for a_t, h0, h1 in in_order(order, a, h.before, h.now):
            activate(add(a_t, h0, W, out=sums), *bound, out=h1)
        return h.now

    def backward_scan(
        self, parts: Any, WT: Tensor, order: int, tracks: list[Track], dy: Tensor, dends: list[Tensor | None]
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        da = self.slope(parts)  # (T, N, H), of which the loop makes da
        add, (dh, dys) = affine_of(WT), upstream(dy, dends[0], order)
        for (da_t,), dy_t in zip(in_order(-order, da), dys):
            dh = add(dy_t, da_t.mul_(dh), WT)
        return da, None, [dh]

    def slope(self, y: Tensor) -> Tensor:
        """f'(x) from y = f(x)."""
        return 1 - y * y if self.nonlinearity == "tanh" else torch.sign(y)


class GRUSteps(Steps):
    """r, z = σ(…), n = tanh(x W_in + b_in + r (h W_hn + b_hn)), h' = (1 − z) n + z h."""

    gates, joint = 3, 2

    def scan(self, a: Tensor, W: Tensor, b: Tensor | None, order: int, *tracks: Track) -> Any:
        (h,), add, H = tracks, affine_of(W), W.shape[-2]
        # the products of x and h in n meet in no sum: h's take their place in a, and n starts as x's
        n = by_step(a, H).copy_(a[..., 2 * H :])  # (T, N, H)
        a[..., 2 * H :] = 0 if b is None else b[..., 2 * H :].unsqueeze(-2)
        s = by_step(a, 3 * H)  # (T, N, 3 H): r, z, and h W_hn + b_hn
        rz, r, z, hn = s[..., : 2 * H], *s.chunk(3, -1)
        for a_t, s_t, rz_t, r_t, z_t, hn_t, n_t, h0, h1 in in_order(order, a, s, rz, r, z, hn, n, h.before, h.now):
            add(a_t, h0, W, out=s_t)
            rz_t.sigmoid_()
            n_t.addcmul_(r_t, hn_t).tanh_()
            torch.lerp(n_t, h0, z_t, out=h1)
        return s, n

    def backward_scan(
        self, parts: Any, WT: Tensor, order: int, tracks: list[Track], dy: Tensor, dends: list[Tensor | None]
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        s, n = parts
        r, z, hn = s.chunk(3, -1)
        da = dy.new_empty(s.shape)  # first the coefficients of dh, then times it
        dr, dz, dn = da.chunk(3, -1)
        slope = (1 - n * n).mul_(1 - z)  # (T, N, H): that of h' by what n is the tanh of
        torch.mul(slope, r, out=dn)
        torch.mul(dn, hn, out=dr)
        dr.addcmul_(dr, r, value=-1)
        torch.sub(tracks[0].before, n, out=dz)
        dz.mul_(torch.addcmul(z, z, z, value=-1))
        add, (dh, dys) = affine_of(WT), upstream(dy, dends[0], order)
        dhs = []
        for (da_t, blocks, z_t), dy_t in zip(in_order(-order, da, da.unflatten(-1, (3, -1)), z), dys):
            dhs.append(dh)
            blocks.mul_(dh.unsqueeze(-2))
            dh = add(torch.addcmul(dy_t, dh, z_t), da_t, WT)
        return da, torch.stack(dhs[::-order], -3).mul_(slope), [dh]


class LSTMSteps(Steps):
    """i, f, o = σ(…), g = tanh(…), c' = f c + i g, h' = o tanh(c')."""

    gates = joint = 4
    states = 2

    def scan(self, a: Tensor, W: Tensor, b: Tensor | None, order: int, *tracks: Track) -> Any:
        (h, c), add, sums, H = tracks, affine_of(W), scratch(a), W.shape[-2]
        s, tanh_c = torch.empty_like(a), torch.empty_like(c.now, memory_format=torch.contiguous_format)
        i, f, g, o = s.chunk(4, -1)
        sums_g = sums[..., 2 * H : 3 * H]
        columns = (a, s, i, f, g, o, tanh_c, h.before, h.now, c.before, c.now)
        for a_t, s_t, i_t, f_t, g_t, o_t, tanh_t, h0, h1, c0, c1 in in_order(order, *columns):
            add(a_t, h0, W, out=sums)
            torch.sigmoid(sums, out=s_t)  # of all four: a call costs more than a quarter of the arithmetic
            torch.tanh(sums_g, out=g_t)
            torch.mul(i_t, g_t, out=c1).addcmul_(f_t, c0)
            torch.mul(o_t, torch.tanh(c1, out=tanh_t), out=h1)
        return s, tanh_c

    def backward_scan(
        self, parts: Any, WT: Tensor, order: int, tracks: list[Track], dy: Tensor, dends: list[Tensor | None]
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        s, tanh_c = parts
        i, f, g, o = s.chunk(4, -1)
        da = torch.addcmul(s, s, s, value=-1)  # (T, N, 4 H): σ', then the coefficients of dc or dh, then times it
        di, df, dg, do = da.chunk(4, -1)
        di.mul_(g)
        df.mul_(tracks[1].before)
        torch.addcmul(i, i * g, g, value=-1, out=dg)
        do.mul_(tanh_c)
        slope = torch.addcmul(o, o * tanh_c, tanh_c, value=-1)  # (T, N, H): that of h' by c'
        add, (dh, dys) = affine_of(WT), upstream(dy, dends[0], order)
        dc = torch.zeros_like(dh) if dends[1] is None else dends[1]
        blocks = da.unflatten(-1, (4, -1))
        columns = (da, blocks[..., :3, :], do, f, slope)
        for (da_t, difg_t, do_t, f_t, slope_t), dy_t in zip(in_order(-order, *columns), dys):
            dc = torch.addcmul(dc, dh, slope_t)
            difg_t.mul_(dc.unsqueeze(-2))
            do_t.mul_(dh)
            dc = dc.mul_(f_t)
            dh = add(dy_t, da_t, WT)
        return da, None, [dh, dc]


def product(a: Tensor, b: Tensor) -> Tensor:
    """A matrix product, or one for each replica."""
    return torch.mm(a, b) if b.ndim == 2 else torch.bmm(a, b)


def affine_of(W: Tensor) -> Callable[..., Tensor]:
    """What adds a product with W to something: affine_of(W)(b, x, W) = b + x W, for each replica where W has them."""
    return torch.addmm if W.ndim == 2 else torch.baddbmm


def rows(x: Tensor) -> Tensor:
    """(…, T, N, I) as (…, T N, I)."""
    return x.flatten(-3, -2)


def in_order(order: int, *sequences: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """What sequences hold at each step, as views, from the first on or, with order −1, from the last back."""
    time = sequences[0].ndim - 3
    return zip(*(sequence.unbind(time)[::order] for sequence in sequences))


def upstream(dy: Tensor, dend: Tensor | None, order: int) -> tuple[Tensor, list[Tensor]]:
    """The gradient by h after the last step; and what each step back adds, by the h before it: 0 by the first."""
    last, *others = dy.unbind(-3)[::-order]
    return last if dend is None else last + dend, [*others, torch.zeros_like(last)]


def scratch(a: Tensor) -> Tensor:
    """Contiguous memory for one step: a replica's products go into strided memory several times slower."""
    return a.new_empty(*a.shape[:-3], *a.shape[-2:])


def by_step(a: Tensor, width: int) -> Tensor:
    """Memory for (…, T, N, width) in which each step is contiguous."""
    *lead, T, N, _ = a.shape
    return a.new_empty(T, *lead, N, width).movedim(0, -3)
