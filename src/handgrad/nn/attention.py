"""MultiheadAttention: softmax(Q Kᵀ / √d) V, written as matrix products and a softmax (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.constants import constant
from handgrad.nn.init import Constant, Uniform
from handgrad.nn.linear import Linear
from handgrad.nn.parameter import Generators, Parameter
from handgrad.nn.products import affine, product, rows, unrows
from handgrad.nn.random import Random


class MultiheadAttention(Random):
    r"""Attention of h heads of d = E/h features each.

    $$q = x_q W_q + b_q, \quad k = x_k W_k + b_k, \quad v = x_v W_v + b_v, \qquad
      S = \frac{q k^T}{\sqrt d} + M, \quad P = \operatorname{softmax}(S), \quad o = P v, \quad y = o W_o + b_o$$

    for each head; M is 0 where a token may be looked at and −∞ elsewhere. With do the gradient by o:

    $$dv = P^T do, \quad dP = do \, v^T, \quad dS = P \odot (dP - (dP \odot P) 1), \quad
      dq = \frac{dS \, k}{\sqrt d}, \quad dk = \frac{dS^T q}{\sqrt d}$$

    Dropout, in training, multiplies P by its mask before P v, and dP by the same.

    Shapes: query (T, N, E), key and value (S, N, E); with `batch_first` (N, T, E) and (N, S, E); without replicas also
    (T, E). The result is y like query, and P averaged over the heads, (N, T, S), or None. With R replicas
    (R, T, N, E), or (T, N, E) shared by all.

    Args:
        embed_dim: E.
        num_heads: h.
        dropout: probability of dropping an attention weight.
        bias: False leaves the biases out.
        add_bias_kv, add_zero_attn: only False.
        kdim, vdim: features of key and value, by default E.
        batch_first: N stands before T.
        device, dtype: of the parameters.
        generator: source of the initial values and the dropout (R of them for R replicas).
        replicas: None or R.

    `attention(x)` is self-attention, and backward then returns dx; `attention(query, key, value)` has three gradients,
    and `attention(query, key)` two. Backward takes dy, or (dy, dP), None where zero.

    Errors: ArgumentError for an E that h does not divide, or a value without a key, NotImplementedError for add_bias_kv
    and add_zero_attn, ShapeError for inputs or masks that do not fit.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> y, weights = attention(torch.randn(4, 5, 8), is_causal=True)
        >>> y.shape, weights.shape, bool((weights[:, 0, 1:] == 0).all())
        (torch.Size([4, 5, 8]), torch.Size([4, 5, 5]), True)
        >>> attention.backward(torch.randn(4, 5, 8)).shape
        torch.Size([4, 5, 8])
    """

    found = {"bias": "in_proj_bias", "add_bias_kv": "bias_k"}  # noqa: RUF012
    bias_k, add_zero_attn = None, False

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.embed_dim = E = checks.positive_int("embed_dim", embed_dim, "MultiheadAttention")
        self.num_heads = checks.positive_int("num_heads", num_heads, "MultiheadAttention")
        for name, value in (("add_bias_kv", add_bias_kv), ("add_zero_attn", add_zero_attn)):
            if value:
                raise NotImplementedError(f"MultiheadAttention({name}=True) is not supported. Leave {name} out.")
        if E % num_heads:
            remedy = "Choose a number of heads that divides embed_dim."
            raise ArgumentError(f"heads of equal size for embed_dim={E}", f"num_heads={num_heads}", remedy, self.label)
        if not 0 <= dropout <= 1:
            remedy = "Choose a probability."
            raise ArgumentError("dropout from 0 to 1", str(dropout), remedy, self.label)
        # PyTorch draws the output's weights first; handgrad's own streams go in the order of the parameters
        source = None if generator is None else torch.Generator()
        super().__init__(source, replicas=replicas)
        self.dropout, self.batch_first = dropout, batch_first
        options: dict[str, Any] = {"generator": source, "replicas": replicas}
        out = Linear(E, E, bias, device, dtype, **options)
        self.kdim = E if kdim is None else checks.positive_int("kdim", kdim, self.label)
        self.vdim = E if vdim is None else checks.positive_int("vdim", vdim, self.label)

        def weight(outputs: int, inputs: int) -> Parameter:
            value = torch.empty(outputs, inputs, device=device, dtype=dtype)
            return Parameter(value, Uniform(math.sqrt(6 / (outputs + inputs))), transposed=True, **options)

        self.packed = self.kdim == self.vdim == E
        if self.packed:
            self.in_proj_weight = weight(3 * E, E)
        else:
            self.q_proj_weight, self.k_proj_weight = weight(E, E), weight(E, self.kdim)
            self.v_proj_weight = weight(E, self.vdim)
        zero = Constant(0.0)
        shifts = torch.empty(3 * E, device=device, dtype=dtype)
        self.in_proj_bias = Parameter(shifts, zero, replicas=replicas) if bias else None
        self.out_proj = out
        if out.bias is not None:
            out.bias.init = zero
            out.bias.reset()
        if generator is not None:
            self.reset(generator)

    @property
    def label(self) -> str:
        return f"MultiheadAttention {self.embed_dim}/{self.num_heads}"

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return y and the attention weights.

        Args:
            query, key, value: what looks, what is looked at, and what is taken from there; of query alone, all three,
                and of query and key, the key is the value, too.
            key_padding_mask: (N, S), True for keys that nobody may look at, or numbers to be added to S.
            need_weights: whether to return P.
            attn_mask: (T, S) or (N·h, T, S), True where a query may not look at a key, or numbers to be added to S.
            average_attn_weights: False returns P of every head, (N, h, T, S).
            is_causal: a token may not look at those after it; makes the mask where none is given.
        """
        if key is None and value is not None:
            raise ArgumentError("a key with the value", "none", "Pass key and value, or neither.", self.label)
        given = [query] if key is None else [query, key, key if value is None else value]
        if len(given) == 1 and not self.packed:
            remedy = "Pass query, key and value."
            raise ShapeError("three inputs, as kdim and vdim are not embed_dim", "one", remedy, self.label)
        x = [self._arranged(part, width) for part, width in zip(given, (self.embed_dim, self.kdim, self.vdim))]
        if len(x) == 3 and (x[1].shape[:-1] != x[2].shape[:-1] or x[0].shape[:-2] != x[2].shape[:-2]):
            got = ", ".join(str(tuple(part.shape)) for part in given)
            remedy = "Give a value for each key, and all three for the same samples."
            raise ShapeError("queries, keys and values that go together", got, remedy, self.label)
        q, k, v = map(self._heads, self._projected(x))  # (R·N·h, T, d)
        scale = 1 / math.sqrt(q.shape[-1])
        q = q * constant(scale, q)
        S = torch.bmm(q, k.mT)  # (R·N·h, T, S)
        lead = x[0].shape[:-2]  # (R, N)
        shape = (*lead, self.num_heads, *S.shape[1:])
        if (mask := self._mask(key_padding_mask, attn_mask, is_causal, shape, S)) is not None:
            S = S.view(shape).add_(mask).view(S.shape)
        P = torch.softmax(S, -1)
        dropped = None
        if self.training and self.dropout > 0:
            unit = P.view(shape).flatten(-4, -3) if self.replicas is None else P.view(shape)
            dropped = self.mask(unit, self.dropout).view(P.shape)
        used = P if dropped is None else P * dropped
        y = self.out_proj(self._joined(torch.bmm(used, v), lead))
        weights = None
        if need_weights:
            weights = used.view(shape).mean(-3) if average_attn_weights else used.view(shape).clone()  # (N, T, S)
            weights = weights.squeeze(0) if query.ndim == 2 else weights
        y = self._returned(y, query.ndim)
        kept = (x, q, k, v, P, used, dropped, scale, average_attn_weights, query.ndim, value is None)
        return self.keep((y, weights), *kept)

    def backward(self, dy: Any) -> Any:
        dy, dweights = dy if isinstance(dy, tuple) else (dy, None)
        x, q, k, v, P, used, dropped, scale, averaged, ndim, joint = self.take((dy, dweights))
        dy = torch.zeros_like(x[0]) if dy is None else self._arranged(dy, self.embed_dim)
        do = self._heads(self.out_proj.backward(dy))  # (R·N·h, T, d)
        dv = torch.bmm(used.mT, do)
        dP = torch.bmm(do, v.mT)  # (R·N·h, T, S)
        lead = x[0].shape[:-2]
        if dweights is not None:
            dP = self._backward_weights(dP, dweights, averaged, lead)
        if dropped is not None:
            dP.mul_(dropped)
        dS = dP.sub_((dP * P).sum(-1, keepdim=True)).mul_(P)
        dq = torch.bmm(dS, k).mul_(constant(scale, k))
        dk = torch.bmm(dS.mT, q)  # q holds the scale
        dx = self._backward_projected(x, [self._joined(part, lead) for part in (dq, dk, dv)])
        if joint and len(dx) == 3:  # the key was the value, too
            dx = [dx[0], dx[1] + dx[2]]
        found = tuple(self._returned(part, ndim) for part in dx)
        return found if len(found) > 1 else found[0]

    def _backward_weights(self, dP: Tensor, dweights: Tensor, averaged: bool, lead: torch.Size) -> Tensor:
        """Add the gradient of the returned weights, the mean over the heads where they were averaged."""
        shape = (*lead, self.num_heads, *dP.shape[1:])
        dweights = dweights.reshape(*lead, *dweights.shape[-2 - (not averaged) :])
        if averaged:
            dweights = dweights.unsqueeze(-3).expand(shape) / self.num_heads
        return dP.add_(dweights.reshape(dP.shape))

    # The projections into q, k and v

    def _projected(self, x: list[Tensor]) -> list[Tensor]:
        """q, k and v, (R, N, T, E) each, in one product where all are of the same tokens."""
        E, bias = self.embed_dim, None if self.in_proj_bias is None else self.in_proj_bias.value
        biases = [None] * 3 if bias is None else [bias] if len(x) == 1 else torch.split(bias, E, -1)
        y = [unrows(affine(rows(part, W), W, b), part) for part, W, b in zip(x, self._weights(len(x)), biases)]
        return y if len(y) == 3 else list(torch.split(y[0], E, -1))

    def _backward_projected(self, x: list[Tensor], dy: list[Tensor]) -> list[Tensor]:
        """Accumulate the gradients of weights and biases; return those of the inputs."""
        dy = [torch.cat(dy, -1)] if len(x) == 1 else dy  # (R, N, T, 3E)
        weights = self._weights(len(x))
        flat = [rows(part, W) for part, W in zip(dy, weights)]
        if self.in_proj_bias is not None:
            self.in_proj_bias.add_grad(torch.cat([part.sum(-2) for part in flat], -1))  # (3E,)
        dW = [product(rows(part, W).mT, g) for part, g, W in zip(x, flat, weights)]
        dx = [unrows(product(g, W.mT), part) for g, W, part in zip(flat, weights, x)]
        if self.packed:
            self.in_proj_weight.add_grad(dW[0] if len(dW) == 1 else torch.cat(dW, -1), transposed=True)
        else:
            for parameter, grad in zip((self.q_proj_weight, self.k_proj_weight, self.v_proj_weight), dW):
                parameter.add_grad(grad, transposed=True)
        return dx

    def _weights(self, inputs: int) -> list[Tensor]:
        """W_q, W_k and W_v, (I, E) each, or for a single input all in one, (E, 3E)."""
        if self.packed:
            W = self.in_proj_weight.matrix
            return [W] if inputs == 1 else list(torch.split(W, self.embed_dim, -1))
        return [self.q_proj_weight.matrix, self.k_proj_weight.matrix, self.v_proj_weight.matrix]

    # Layout

    def _arranged(self, x: Tensor, width: int) -> Tensor:
        """An input as (N, T, E), or (R, N, T, E)."""
        checks.like(x, self.out_proj.weight.value, self)
        x = self.replicated(x, rank=3)
        if x.ndim not in ((2, 3) if self.replicas is None else (4,)) or x.shape[-1] != width:
            shape = self.written(f"{'N, T' if self.batch_first else 'T, N'}, {width}")
            remedy = "Give queries, keys and values the widths that the layer was built for."
            raise ShapeError(f"an input of shape {shape}", str(tuple(x.shape)), remedy, self.label)
        if x.ndim == 2:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(-3, -2)

    def _returned(self, y: Tensor, ndim: int) -> Tensor:
        """Undo `_arranged` for an output, or a gradient, of an input of so many dimensions."""
        if ndim == 2:
            return y.squeeze(0)
        return y if self.batch_first else y.transpose(-3, -2).contiguous()

    def _heads(self, x: Tensor) -> Tensor:
        """(R, N, T, E) as (R·N·h, T, d)."""
        parts = x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads).transpose(-3, -2)
        return parts.flatten(0, -3)  # (R, N, h, T, d) as (R·N·h, T, d)

    def _joined(self, x: Tensor, lead: torch.Size) -> Tensor:
        """(R·N·h, T, d) as (R, N, T, E)."""
        parts = x.view(*lead, self.num_heads, *x.shape[1:]).transpose(-3, -2)
        return parts.reshape(*lead, x.shape[1], self.embed_dim)

    def _mask(
        self, padding: Tensor | None, mask: Tensor | None, causal: bool, shape: tuple[int, ...], S: Tensor
    ) -> Tensor | None:
        """What is added to S, broadcasting to (R, N, h, T, S): −∞ where nobody may look."""
        T, keys = shape[-2:]
        if causal and mask is None:
            mask = torch.ones(T, keys, dtype=torch.bool, device=S.device).triu(1)
        total = None
        if mask is not None:
            if mask.shape not in ((T, keys), (shape[-4] * shape[-3], T, keys)):
                remedy = "Give one mask for all samples, or one for each sample and head."
                expected = f"attn_mask of shape ({T}, {keys}) or ({shape[-4] * shape[-3]}, {T}, {keys})"
                raise ShapeError(expected, str(tuple(mask.shape)), remedy, self.label)
            total = _added(mask, S)
            total = total if total.ndim == 2 else total.view(*shape[-4:])
        if padding is not None:
            padding = padding.unsqueeze(0) if padding.ndim == 1 else padding
            if padding.shape not in ((shape[-4], keys), (*shape[:-3], keys)):
                remedy = "Give a mask of the keys of every sample."
                expected = f"key_padding_mask of shape {(shape[-4], keys)}"
                raise ShapeError(expected, str(tuple(padding.shape)), remedy, self.label)
            hidden = _added(padding, S)[..., None, None, :]  # (N, 1, 1, S)
            total = hidden if total is None else total + hidden
        return total

    def __repr__(self) -> str:
        return super().__repr__().replace("(out_proj): Linear", "(out_proj): NonDynamicallyQuantizableLinear")


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A boolean mask as numbers to be added."""
    if mask.dtype is not torch.bool:
        return mask.to(like)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill_(mask, -math.inf)
