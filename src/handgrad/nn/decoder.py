"""TransformerDecoderLayer and TransformerDecoder (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators
from handgrad.nn.transformer import TransformerLayer, TransformerStack


class TransformerDecoderLayer(TransformerLayer):
    r"""Self-attention, attention to an encoder's output m, and a network of two linear layers, as in the encoder's.

    $$u = \mathrm{LN}_1(x + \mathrm{SA}(x)), \quad v = \mathrm{LN}_2(u + \mathrm{CA}(u, m)), \quad
      y = \mathrm{LN}_3(v + \mathrm{FF}(v))$$

    or with `norm_first`

    $$u = x + \mathrm{SA}(\mathrm{LN}_1(x)), \quad v = u + \mathrm{CA}(\mathrm{LN}_2(u), m), \quad
      y = v + \mathrm{FF}(\mathrm{LN}_3(v))$$

    CA's queries are of u, its keys and values of m. `backward` returns the gradients by x and by m.

    Shapes: x and y (T, N, E), m (S, N, E); with `batch_first` (N, T, E) and (N, S, E); without replicas also (T, E)
    and (S, E). With R replicas a leading R, or inputs shared by all.

    Args: as of `TransformerEncoderLayer`; with `is_causal` x looks at no later token of its own.

    Errors: those of its parts.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, is_causal=True)
        >>> layer(torch.randn(4, 5, 8), torch.randn(4, 7, 8)).shape
        torch.Size([4, 5, 8])
        >>> [d.shape for d in layer.backward(torch.randn(4, 5, 8))]
        [torch.Size([4, 5, 8]), torch.Size([4, 7, 8])]
    """

    blocks = 3

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return y; the masks are those of `MultiheadAttention`, of x to itself and to m."""
        own = {
            "attn_mask": tgt_mask,
            "key_padding_mask": tgt_key_padding_mask,
            "is_causal": tgt_is_causal or self.is_causal,
        }
        other = {
            "attn_mask": memory_mask,
            "key_padding_mask": memory_key_padding_mask,
            "is_causal": memory_is_causal,
        }
        tgt, memory = self.replicated(tgt, rank=3), self.replicated(memory, rank=3)
        if self.norm_first:
            u = tgt + self._attended(self.norm1(tgt), own)
            v = u + self._crossed(self.norm2(u), memory, other)
            y = v + self._fed(self.norm3(v))
        else:
            u = self.norm1(tgt + self._attended(tgt, own))
            v = self.norm2(u + self._crossed(u, memory, other))
            y = self.norm3(v + self._fed(v))
        return self.keep(y)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        self.take(dy)
        if self.norm_first:
            dv = dy + self.norm3.backward(self._backward_fed(dy))
            du, dm = self._backward_crossed(dv)
            du = dv + self.norm2.backward(du)
            return du + self.norm1.backward(self._backward_attended(du)), dm
        ds = self.norm3.backward(dy)  # by v + FF(v)
        ds = self.norm2.backward(ds + self._backward_fed(ds))  # by u + CA(u, m)
        du, dm = self._backward_crossed(ds)
        ds = self.norm1.backward(ds + du)  # by x + SA(x)
        return ds + self._backward_attended(ds), dm

    def _crossed(self, x: Tensor, memory: Tensor, masks: dict[str, Any]) -> Tensor:
        y: Tensor = self.dropout2(self.multihead_attn(x, memory, need_weights=False, **masks)[0])
        return y

    def _backward_crossed(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        dx, dm = self.multihead_attn.backward(self.dropout2.backward_within(dy))
        return dx, dm


class TransformerDecoder(TransformerStack):
    r"""Decoder layers of one make, one after another, all of which look at the same m, and perhaps a last norm.

    `backward` returns the gradient by x, and that by m, the sum of all layers'.

    Args:
        decoder_layer: what is copied; the copies start with its values, as in PyTorch.
        num_layers: how many.
        norm: applied at the end.
        generator: given, every layer is drawn from it (R of them for R replicas), as `reset` and `nn.replicate` do.

    Shapes: as `TransformerDecoderLayer`'s.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 2)
        >>> decoder(torch.randn(4, 5, 8), torch.randn(4, 7, 8), tgt_is_causal=True).shape
        torch.Size([4, 5, 8])
    """

    found = {"decoder_layer": "layers.0"}  # noqa: RUF012

    def __init__(
        self,
        decoder_layer: TransformerDecoderLayer,
        num_layers: int,
        norm: Module | None = None,
        *,
        generator: Generators = None,
    ) -> None:
        super().__init__(decoder_layer, num_layers, norm, generator)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return y; the masks are those of every layer."""
        masks: Any = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        y = tgt
        for layer in self.layers:
            y = layer(y, memory, *masks, bool(tgt_is_causal), memory_is_causal)
        return y if self.norm is None else self.norm(y)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        dx: Tensor = dy if self.norm is None else self.norm.backward(dy)
        last, *others = reversed(list(self.layers))
        dx, dm = last.backward(dx)
        for layer in others:
            dx, more = layer.backward(dx)
            dm.add_(more)
        return dx, dm
