"""TransformerEncoderLayer and TransformerEncoder (Vaswani et al. 2017), on bases that they share with the decoder's."""

from __future__ import annotations

import copy
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

    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm
    dropout1: Dropout
    dropout2: Dropout
    dropout3: Dropout

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

    def _attended(self, x: Tensor, masks: dict[str, Any]) -> Tensor:
        y: Tensor = self.dropout1(self.self_attn(x, need_weights=False, **masks)[0])
        return y

    def _backward_attended(self, dy: Tensor) -> Tensor:
        dx: Tensor = self.self_attn.backward(self.dropout1.backward_within(dy))
        return dx

    @property
    def between(self) -> Module:
        return self.activation if isinstance(self.activation, Module) else self._activation[0]

    @property
    def _last_dropout(self) -> Dropout:
        return self.dropout2 if self.blocks == 2 else self.dropout3

    def _fed(self, u: Tensor) -> Tensor:
        y: Tensor = self._last_dropout(self.linear2(self.dropout(self.between(self.linear1(u)))))
        return y

    def _backward_fed(self, dy: Tensor) -> Tensor:
        dh = self.dropout.backward_within(self.linear2.backward(self._last_dropout.backward_within(dy)))
        return self.linear1.backward(self.between.backward(dh))


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
        src = self.replicated(src, rank=3)
        if self.norm_first:
            u = src + self._attended(self.norm1(src), masks)
            y = u + self._fed(self.norm2(u))
        else:
            u = self.norm1(src + self._attended(src, masks))
            y = self.norm2(u + self._fed(u))
        return self.keep(y)

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        if self.norm_first:
            du = dy + self.norm2.backward(self._backward_fed(dy))
            return du + self.norm1.backward(self._backward_attended(du))
        ds = self.norm2.backward(dy)  # by u + FF(u)
        ds = self.norm1.backward(ds + self._backward_fed(ds))  # by x + SA(x)
        return ds + self._backward_attended(ds)


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
