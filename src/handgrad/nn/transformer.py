"""The transformer's encoder and decoder, and the layers that they are stacks of (Vaswani et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.activations import GELU, ReLU
from handgrad.nn.attention import MultiheadAttention
from handgrad.nn.container import ModuleList
from handgrad.nn.dropout import Dropout
from handgrad.nn.linear import Linear
from handgrad.nn.module import Module
from handgrad.nn.norms import LayerNorm
from handgrad.nn.parameter import Generators
from handgrad.seeds import derive


class TransformerLayer(Module):
    """Base of the layers of encoder and decoder: attention once or twice, then FF, each with its norm and dropout."""

    blocks: ClassVar[int]
    """How many parts there are, each added to its input: the attentions, and FF."""

    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    found = {  # noqa: RUF012
        "d_model": "self_attn.embed_dim",
        "nhead": "self_attn.num_heads",
        "dim_feedforward": "linear1.out_features",
        "dropout": "self_attn.dropout",
        "layer_norm_eps": "norm1.eps",
        "batch_first": "self_attn.batch_first",
        "bias": "linear1.bias",
    }

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Module = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        is_causal: bool = False,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        super().__init__(replicas)
        source = None if generator is None else torch.Generator()
        options: dict[str, Any] = {"generator": source, "replicas": replicas}
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        noise: dict[str, Any] = {"p": dropout, **options}

        def attention() -> MultiheadAttention:
            return MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **place, **options)

        self.self_attn = attention()
        if self.blocks == 3:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place, **options)
        self.dropout = Dropout(**noise)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place, **options)
        for block in range(1, self.blocks + 1):
            setattr(self, f"norm{block}", LayerNorm(d_model, layer_norm_eps, bias=bias, **place, replicas=replicas))
        for block in range(1, self.blocks + 1):
            setattr(self, f"dropout{block}", Dropout(**noise))
        self.norm_first, self.is_causal = norm_first, is_causal
        self.activation = activation
        if not isinstance(activation, Module):  # in a tuple, as PyTorch's function is no part of the tree either
            checks.one_of("activation", activation, ("relu", "gelu"), self.label)
            self._activation = (ReLU() if activation == "relu" else GELU(),)
        if generator is not None:
            self.reset(generator)

    @property
    def between(self) -> Module:
        return self.activation if isinstance(self.activation, Module) else self._activation[0]

    def _through(self, x: Tensor, *parts: Callable[[Tensor], Tensor]) -> Tensor:
        """One part after another: LN(x + part(x)), or with `norm_first` x + part(LN(x)); dropout is behind each."""
        for block, part in enumerate(parts, 1):
            norm, dropout = getattr(self, f"norm{block}"), getattr(self, f"dropout{block}")
            x = x + dropout(part(norm(x))) if self.norm_first else norm(x + dropout(part(x)))
        return x

    def _backward_through(self, dx: Tensor, *parts: Callable[[Tensor], Tensor]) -> Tensor:
        """The gradient by x, from the backward of each part, the last one's first."""
        for block, part in zip(range(self.blocks, 0, -1), parts):
            norm, dropout = getattr(self, f"norm{block}"), getattr(self, f"dropout{block}")
            dx = dx if self.norm_first else norm.backward(dx)  # by the sum
            dp = part(dropout.backward_within(dx))
            dx = dx + (norm.backward(dp) if self.norm_first else dp)
        return dx

    def _fed(self, u: Tensor) -> Tensor:
        y: Tensor = self.linear2(self.dropout(self.between(self.linear1(u))))
        return y

    def _backward_fed(self, dy: Tensor) -> Tensor:
        return self.linear1.backward(self.between.backward(self.dropout.backward_within(self.linear2.backward(dy))))


class TransformerEncoderLayer(TransformerLayer):
    r"""Self-attention and a network of two linear layers, each added to its input and normalised.

    $$u = \mathrm{LN}_1(x + \mathrm{SA}(x)), \quad y = \mathrm{LN}_2(u + \mathrm{FF}(u)), \qquad
      \mathrm{FF}(u) = a(u W_1 + b_1) W_2 + b_2$$

    or with `norm_first`, where gradients reach the first layer along the sums alone,

    $$u = x + \mathrm{SA}(\mathrm{LN}_1(x)), \quad y = u + \mathrm{FF}(\mathrm{LN}_2(u))$$

    with dropout after SA, after a, and after FF.

    Shapes: x and y (T, N, E); with `batch_first` (N, T, E); without replicas also (T, E). With R replicas a leading R,
    or x shared by all.

    Args:
        d_model: E.
        nhead: heads.
        dim_feedforward: features between W_1 and W_2.
        dropout: probability.
        activation: a, "relu", "gelu" or a module.
        layer_norm_eps: ε of the normalisations.
        batch_first: N stands before T.
        norm_first: the second form.
        bias: False leaves all biases out.
        device, dtype: of the parameters.
        is_causal: True looks at no later token unless forward is given a mask.
        generator: source of the initial values and the dropout (R of them for R replicas).
        replicas: None or R.

    Errors: those of its parts.

    Source: Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745, for norm_first.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, is_causal=True)
        >>> layer(torch.randn(4, 5, 8)).shape, layer.backward(torch.randn(4, 5, 8)).shape
        (torch.Size([4, 5, 8]), torch.Size([4, 5, 8]))
    """

    blocks = 2

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return y; the masks are those of `MultiheadAttention`."""
        masks = {
            "attn_mask": src_mask,
            "key_padding_mask": src_key_padding_mask,
            "is_causal": is_causal or self.is_causal,
        }
        x = self.replicated(src, rank=3)
        return self.keep(self._through(x, lambda u: self.self_attn(u, need_weights=False, **masks)[0], self._fed))

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        return self._backward_through(dy, self._backward_fed, self.self_attn.backward)


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

    norm3: LayerNorm
    dropout3: Dropout

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
        x, m = self.replicated(tgt, rank=3), self.replicated(memory, rank=3)
        y = self._through(
            x,
            lambda u: self.self_attn(u, need_weights=False, **own)[0],
            lambda u: self.multihead_attn(u, m, need_weights=False, **other)[0],
            self._fed,
        )
        return self.keep(y)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        self.take(dy)
        crossed: list[Tensor] = []

        def backward_crossed(dv: Tensor) -> Tensor:
            crossed.extend(self.multihead_attn.backward(dv))
            return crossed[0]

        dx = self._backward_through(dy, self._backward_fed, backward_crossed, self.self_attn.backward)
        return dx, crossed[1]


class TransformerStack(Module):
    """Base of encoder and decoder: layers of one make, each with parameters of its own, and perhaps a last norm."""

    def __init__(self, layer: TransformerLayer, num_layers: int, norm: Module | None, generator: Generators) -> None:
        super().__init__(layer.replicas)
        num_layers = checks.positive_int("num_layers", num_layers, self.label)
        self.layers = ModuleList(copy.deepcopy(layer) for _ in range(num_layers))
        for index, own in enumerate(self.layers):
            for part in own.modules():  # copies would draw the same dropout
                part.seeds = part.seeds and tuple(derive(seed, "layer", index) for seed in part.seeds)
        self.norm, self.num_layers = norm, num_layers
        if generator is not None:
            self.reset(generator)


class TransformerEncoder(TransformerStack):
    r"""Layers of one make, one after another, each with parameters of its own, and perhaps a last normalisation.

    Args:
        encoder_layer: what is copied; the copies start with its values, as in PyTorch.
        num_layers: how many.
        norm: applied at the end.
        enable_nested_tensor, mask_check: of PyTorch's fast path, without effect here.
        generator: given, every layer is drawn from it (R of them for R replicas), as `reset` and `nn.replicate` do.

    Shapes: as `TransformerEncoderLayer`'s.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        >>> encoder(torch.randn(4, 5, 8)).shape, len(encoder.layers)
        (torch.Size([4, 5, 8]), 2)
    """

    found = {"encoder_layer": "layers.0"}  # noqa: RUF012

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
        *,
        generator: Generators = None,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm, generator)
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Return y; the masks are those of every layer."""
        y = src
        for layer in self.layers:
            y = layer(y, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return y if self.norm is None else self.norm(y)

    def backward(self, dy: Tensor) -> Tensor:
        dx: Tensor = dy if self.norm is None else self.norm.backward(dy)
        for layer in reversed(list(self.layers)):
            dx = layer.backward(dx)
        return dx


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
