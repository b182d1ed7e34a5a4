r"""Steps: what RNN, GRU and LSTM compute from one time step to the next, and back-propagation through time.

Sequences are (T, N, ·), or (R, T, N, ·) with replicas: time is dimension −3 in both. What does not depend on the step
before is one matrix product over all steps: $a = x W_{ih} + b$ ahead of the loop, and $dW_{ih}$, $dW_{hh}$ and dx
behind it. Of the chain rule only a linear recurrence is left in the loop back: every gate's gradient is a coefficient
times the gradient by the state, and all coefficients are known before it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from handgrad.nn.constants import constant
from handgrad.nn.parameter import Parameter
from handgrad.nn.products import product

Made = TypeVar("Made")


class Weights(NamedTuple):
    """The parameters of one layer in one direction, G = gates · H columns each."""

    ih: Parameter
    hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None


class Track:
    """A state at all steps, and in one row more the state before the first: now[t] follows from before[t].

    `moves` holds both of every step, in the order in which they are taken.

    Args:
        memory: (…, T + 1, N, H), to be filled from `start` (…, N, H), its first row.
        order: 1, or −1 for a layer that reads its sequence backwards.
    """

    def __init__(self, memory: Tensor, order: int) -> None:
        states = memory.unbind(-3)[::order]
        self.memory, self.start, self.end = memory, states[0], states[-1]
        self.before, self.now = (memory.narrow(-3, row, len(states) - 1) for row in (0, 1)[::order])
        self.moves = list(pairwise(states))


class Place:
    """Memory that a pass works in, and views of its steps: made once for passes over inputs of one kind.

    Making the views of every step takes a twentieth of a small network's time.

    Args:
        kind: shape, dtype and device of an input.
    """

    def __init__(self, kind: tuple[Any, ...]) -> None:
        self.kind, self.made = kind, dict[str, Any]()

    def __getstate__(self) -> dict[str, Any]:
        """Without memory and views, which a pickle would tear from it."""
        return {**vars(self), "made": {}}

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` returned when it was first asked for under this name."""
        if name not in self.made:
            with torch.inference_mode(False):  # of a loop in that mode, but of what follows it, too
                self.made[name] = make()
        found: Made = self.made[name]
        return found


Places = dict[int, Place]
"""The place of each group of replicas."""


class Run(NamedTuple):
    """What one pass over x in one direction works on, of all replicas or of a group of them."""

    place: Place
    x: Tensor
    W_ih: Tensor
    W_hh: Tensor
    b_hh: Tensor | None
    order: int
    tracks: list[Track]


Scanned = tuple[Tensor, Tensor | None, list[Tensor]]
"""The gradients by h W + b at all steps, (…, T, N, G); for the blocks that are not `joint`, that by x W + b; and those
by the states before the first step."""


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
        self, x: Tensor, weights: Weights, starts: list[Tensor], memory: Tensor, order: int, places: Places
    ) -> tuple[list[Tensor], Any]:
        """Run over x (…, T, N, I), writing h into memory (…, T + 1, N, H); return the last states and what to keep.

        In `places` is what is kept for the next pass of this layer in this direction.
        """
        biases = [None if b is None else b.value for b in (weights.bias_ih, weights.bias_hh)]
        values = [weights.ih.matrix, weights.hh.matrix, *biases]
        groups = in_groups(weights.hh.value, x.shape[-2], [x, memory, *values, *starts])
        for index, (part, *_) in enumerate(groups):
            kind = part.shape, part.dtype, part.device
            if index not in places or places[index].kind != kind:
                places[index] = Place(kind)
        kept = [self._forward(place, order, group) for place, group in zip(places.values(), groups)]
        return [joined(ends) for ends in zip(*([track.end for track in run.tracks] for run, _ in kept))], kept

    def _forward(self, place: Place, order: int, group: tuple[Any, ...]) -> tuple[Run, Any]:
        x, memory, W_ih, W_hh, b_ih, b_hh, *starts = group
        a = place.once("a", lambda: x.new_empty(*x.shape[:-1], W_ih.shape[-1]))  # (T, N, G)
        x = rows(x)  # (T N, I)
        if b_ih is None or b_hh is None:
            (torch.mm if W_ih.ndim == 2 else torch.bmm)(x, W_ih, out=rows(a))
        else:
            joint = self.joint * W_hh.shape[-2]
            b = b_ih.clone()  # (G,)
            b[..., :joint].add_(b_hh[..., :joint])
            affine_of(W_ih)(b.unsqueeze(-2), x, W_ih, out=rows(a))
        tracks = [Track(memory, order)]
        if self.states > 1:
            tracks.append(place.once("c", lambda: Track(memory.new_empty(memory.shape), order)))
        for track, start in zip(tracks, starts):
            track.start.copy_(start)
        run = Run(place, x, W_ih, W_hh, b_hh, order, tracks)
        return run, self.scan(run, a)

    def backward(
        self, kept: Any, weights: Weights, dy: Tensor, dends: list[Tensor | None], inputs: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Accumulate the weights' gradients; return those by x, if `inputs` asks for it, and by the first states.

        `dy` (…, T, N, H) is the gradient by h at all steps, `dends` those by the last states besides, None for zero.
        """
        groups = in_groups(weights.hh.value, dy.shape[-2], [dy, *dends])
        asked = (inputs, weights.bias_ih is not None)
        runs = [self.backward_group(run, parts, *asked, *group) for (run, parts), group in zip(kept, groups)]
        *grads, dx, dstarts = (joined(same) for same in zip(*runs))
        for parameter, grad, transposed in zip(weights, grads, (True, True, None, None)):
            if parameter is not None:
                parameter.add_grad(grad, transposed)
        return dx, dstarts

    def backward_group(
        self, run: Run, parts: Any, inputs: bool, bias: bool, dy: Tensor, *dends: Tensor | None
    ) -> list[Any]:
        """The gradients by W_ih, W_hh, b_ih, b_hh and x, None for those not asked for, and a list of the states'."""
        da, apart, dstarts = self.backward_scan(run, parts, dy, dends)  # (T, N, G)
        flat = rows(da)
        dW_hh = product(rows(run.tracks[0].before).mT, flat)  # (H, G)
        db_ih = db_hh = flat.sum(-2) if bias else None  # (G,)
        if apart is not None:
            da[..., self.joint * run.W_hh.shape[-2] :] = apart
        dW_ih = product(run.x.mT, flat)  # (I, G)
        if db_hh is not None:
            db_ih = db_hh.clone() if apart is None else flat.sum(-2)
        dx = product(flat, run.W_ih.mT).view(*dy.shape[:-1], run.W_ih.shape[-2]) if inputs else None  # (T, N, I)
        return [dW_ih, dW_hh, db_ih, db_hh, dx, dstarts]

    def scan(self, run: Run, a: Tensor) -> Any:
        """Fill the tracks from the inputs' products a (…, T, N, G), which may be overwritten; return what to keep."""
        raise NotImplementedError

    def backward_scan(self, run: Run, parts: Any, dy: Tensor, dends: Sequence[Tensor | None]) -> Scanned:
        """The gradients of the loop back, given those by h at all steps, and by the last states besides."""
        raise NotImplementedError


class ElmanSteps(Steps):
    """h' = tanh(x W_ih + h W_hh + b), or relu."""

    gates = joint = 1

    def __init__(self, nonlinearity: str) -> None:
        self.nonlinearity = nonlinearity

    def scan(self, run: Run, a: Tensor) -> Any:
        (h,), W, sums = run.tracks, run.W_hh, scratch(a)
        add = affine_of(W)
        activate = tanh if self.nonlinearity == "tanh" else relu
        for (a_t,), (h0, h1) in zip(in_order(run.order, a), h.moves):
            activate(add(a_t, h0, W, out=sums), h1)
        return h.now

    def backward_scan(self, run: Run, parts: Any, dy: Tensor, dends: Sequence[Tensor | None]) -> Scanned:
        # f'(x) from y = f(x), (T, N, H), of which the loop makes da
        da = 1 - parts * parts if self.nonlinearity == "tanh" else torch.sign(parts)
        WT = run.W_hh.mT
        add, (dh, dys) = affine_of(WT), upstream(dy, dends[0], run.order)
        for (da_t,), dy_t in zip(in_order(-run.order, da), dys):
            add(dy_t, da_t.mul_(dh), WT, out=dh)
        return da, None, [dh]


class GRUSteps(Steps):
    """r, z = σ(…), n = tanh(x W_in + b_in + r (h W_hn + b_hn)), h' = (1 − z) n + z h."""

    gates, joint = 3, 2

    def scan(self, run: Run, a: Tensor) -> Any:
        (h,), W, b = run.tracks, run.W_hh, run.b_hh
        add, H = affine_of(W), W.shape[-2]
        # the products of x and h in n meet in no sum: h's take their place in a, and n starts as x's
        n = by_step(a, H).copy_(a[..., 2 * H :])  # (T, N, H)
        a[..., 2 * H :] = 0 if b is None else b[..., None, None, 2 * H :]
        s = by_step(a, 3 * H)  # (T, N, 3 H): r, z, and h W_hn + b_hn
        rz, r, z, hn = s[..., : 2 * H], *s.chunk(3, -1)
        columns = (a, s, rz, r, z, hn, n)
        for (a_t, s_t, rz_t, r_t, z_t, hn_t, n_t), (h0, h1) in zip(in_order(run.order, *columns), h.moves):
            add(a_t, h0, W, out=s_t)
            rz_t.sigmoid_()
            tanh(n_t.addcmul_(r_t, hn_t), n_t)
            torch.lerp(n_t, h0, z_t, out=h1)
        return s, n

    def backward_scan(self, run: Run, parts: Any, dy: Tensor, dends: Sequence[Tensor | None]) -> Scanned:
        s, n = parts
        r, z, hn = s.chunk(3, -1)
        da = dy.new_empty(s.shape)  # first the coefficients of dh, then times it
        dr, dz, dn = da.chunk(3, -1)
        slope = (1 - n * n).mul_(1 - z)  # (T, N, H): that of h' by what n is the tanh of
        torch.mul(slope, r, out=dn)
        torch.mul(dn, hn, out=dr)
        dr.addcmul_(dr, r, value=-1)
        torch.sub(run.tracks[0].before, n, out=dz)
        dz.mul_(torch.addcmul(z, z, z, value=-1))
        WT = run.W_hh.mT
        add, (dh, dys) = affine_of(WT), upstream(dy, dends[0], run.order)
        blocks = da.view(*n.shape[:-1], 3, n.shape[-1])
        for (da_t, blocks_t, z_t, slope_t), dy_t in zip(in_order(-run.order, da, blocks, z, slope), dys):
            blocks_t.mul_(dh.unsqueeze(-2))
            slope_t.mul_(dh)
            add(torch.addcmul(dy_t, dh, z_t, out=dh), da_t, WT, out=dh)
        return da, slope, [dh]


class LSTMSteps(Steps):
    """i, f, o = σ(…), g = tanh(…), c' = f c + i g, h' = o tanh(c')."""

    gates = joint = 4
    states = 2

    def scan(self, run: Run, a: Tensor) -> Any:
        (h, c), W = run.tracks, run.W_hh
        add, H = affine_of(W), W.shape[-2]
        whole = as_sigmoid(a)
        if whole:  # all four gates in one σ: tanh g = 2 σ(2 g) − 1; and tanh c = 1 − 2 σ(−2 c), with −2 c in c's place
            W = W.clone()
            for part, factor in ((a.narrow(-1, 2 * H, H), 2), (W.narrow(-1, 2 * H, H), 2), (c.start, -2)):
                part.mul_(factor)
        minus_one = constant(-1.0, W)
        tanh_c = run.place.once("tanh c", lambda: a.new_empty(c.now.shape))  # (T, N, H)
        sums, in_place = run.place.once("scratch", lambda: scratch(a)), whole and W.ndim == 2
        steps = run.place.once("forward", lambda: list(in_order(run.order, a, *a.chunk(4, -1), tanh_c)))
        for (a_t, i, f, g, o, tanh_t), (h0, h1), (c0, c1) in zip(steps, h.moves, c.moves):
            torch.sigmoid(add(a_t, h0, W, out=a_t if in_place else sums), out=a_t)
            if whole:
                torch.add(minus_one, g, alpha=2, out=g)
                torch.sigmoid(torch.mul(f, c0, out=c1).addcmul_(i, g, value=-2), out=tanh_t)
                torch.addcmul(o, o, tanh_t, value=-2, out=h1)
            else:
                torch.tanh(sums.narrow(-1, 2 * H, H), out=g)
                torch.tanh(torch.mul(f, c0, out=c1).addcmul_(i, g), out=tanh_t)
                torch.mul(o, tanh_t, out=h1)
        if whole:
            c.memory.mul_(-0.5)
            torch.sub(constant(1.0, W), tanh_c, alpha=2, out=tanh_c)
        return a, tanh_c

    def backward_scan(self, run: Run, parts: Any, dy: Tensor, dends: Sequence[Tensor | None]) -> Scanned:
        a, tanh_c = parts
        i, f, g, o = a.chunk(4, -1)  # in their place come the coefficients of dc or dh, then their products with them
        h, c = run.tracks[0].now, run.tracks[1].before  # (T, N, H)
        forget = run.place.once("forget", lambda: torch.empty_like(tanh_c)).copy_(f)  # (T, N, H)
        torch.addcmul(f, f, f, value=-1, out=f).mul_(c)  # f (1 − f) c
        ig = torch.mul(i, g, out=c)
        torch.addcmul(i, ig, g, value=-1, out=g)  # i (1 − g²)
        torch.addcmul(ig, ig, i, value=-1, out=i)  # i (1 − i) g
        slope = torch.addcmul(o, h, tanh_c, value=-1, out=tanh_c)  # o (1 − tanh² c), that of h by c
        torch.addcmul(h, h, o, value=-1, out=o)  # o (1 − o) tanh c
        WT = run.W_hh.mT
        add, (dh, dys) = affine_of(WT), upstream(dy, dends[0], run.order)
        dc = torch.zeros_like(dh) if dends[1] is None else dends[1].clone()
        four = run.place.once("scratch", lambda: scratch(a))
        steps = run.place.once("back", lambda: list(in_order(-run.order, a, forget, slope)))
        for (da_t, f_t, slope_t), dy_t in zip(steps, dys):
            torch.cat((dc.addcmul_(dh, slope_t), dc, dc, dh), -1, out=four)
            da_t.mul_(four)  # a copy, and one product instead of four
            dc.mul_(f_t)
            add(dy_t, da_t, WT, out=dh)
        return a, None, [dh, dc]


CACHED = 2**18
"""How many numbers one step may work on together: what a core's own cache of 1 MiB holds."""


def in_groups(W: Tensor, N: int, values: Sequence[Tensor | None]) -> list[tuple[Any, ...]]:
    """Cut values that lead with R into groups of replicas, each of which goes through all steps before the next."""
    if W.ndim == 2:
        return [tuple(values)]
    R, H, G = W.shape
    count = min(R, -(-R * (H + 4 * N) * G // CACHED))  # back, a step reads three arrays more of the gates' size
    return list(zip(*([None] * count if value is None else value.tensor_split(count) for value in values)))


def joined(same: Sequence[Any]) -> Any:
    """Undo `in_groups` of a result, or of each of a list of them."""
    if len(same) == 1 or same[0] is None:
        return same[0]
    return [joined(own) for own in zip(*same)] if isinstance(same[0], list) else torch.cat(list(same))


def relu(x: Tensor, out: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.clamp_min(x, 0, out=out)


def as_sigmoid(x: Tensor) -> bool:
    """Whether tanh x may be computed as 2 σ(2 x) − 1, a fifth to a half of its time.

    Near 0 that is right to the rounding of 1, not of x: in bfloat16 and float16 hardly a digit would be left.
    """
    return x.element_size() >= 4


def tanh(x: Tensor, out: Tensor) -> Tensor:
    """Tanh x, by way of σ where that will do."""
    if not as_sigmoid(x):
        return torch.tanh(x, out=out)
    return torch.add(constant(-1.0, x), torch.mul(x, constant(2.0, x), out=out).sigmoid_(), alpha=2, out=out)


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
    """The gradient by h after the last step, in memory for those by all h; and what each step back adds: 0 the last."""
    last, *others = dy.unbind(-3)[::-order]
    return last.clone() if dend is None else last + dend, [*others, torch.zeros_like(last)]


def scratch(a: Tensor) -> Tensor:
    """Contiguous memory for one step: a replica's products go into strided memory several times slower."""
    return a.new_empty(*a.shape[:-3], *a.shape[-2:])


def by_step(a: Tensor, width: int) -> Tensor:
    """Memory for (…, T, N, width) in which each step is contiguous."""
    *lead, T, N, _ = a.shape
    return a.new_empty(T, *lead, N, width).movedim(0, -3)
