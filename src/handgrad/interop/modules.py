"""What torch.nn lacks, as modules of it with its own gradients: what `to_torch` makes of handgrad's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import nn


class Parallel(torch.nn.Sequential):
    """Branches on one input; the output is the tuple of theirs."""

    def forward(self, x: Tensor) -> Any:
        return tuple(branch(x) for branch in self)


class Residual(Parallel):
    """A sum of branches; of a single one, its sum with the input."""

    def forward(self, x: Tensor) -> Tensor:
        first, *others = super().forward(x)
        for other in others or [x]:
            first = first + other
        return torch.as_tensor(first)


class Concat(Parallel):
    """The outputs of branches one behind the other."""

    def __init__(self, *branches: torch.nn.Module, dim: int = 1) -> None:
        super().__init__(*branches)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(super().forward(x), self.dim)

    def extra_repr(self) -> str:
        return "" if self.dim == 1 else f"dim={self.dim}"


class First(torch.nn.Module):
    """The first of a module's outputs."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        y = self.module(*inputs)
        return y[0] if isinstance(y, tuple) else y


class Select(torch.nn.Module):
    """One entry along a dimension."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim, self.index = dim, index

    def forward(self, x: Tensor) -> Tensor:
        return x.select(self.dim, self.index)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, index={self.index}"


class Permute(torch.nn.Module):
    """The dimensions in another order."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.dims))


class Transpose(torch.nn.Module):
    """Two dimensions swapped."""

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(self.dim0, self.dim1)

    def extra_repr(self) -> str:
        return f"dim0={self.dim0}, dim1={self.dim1}"


class PositionalEncoding(torch.nn.Module):
    """Waves added to the features of each token."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.PositionalEncoding(self.embed_dim).waves(x.shape[-2]).to(x)

    def extra_repr(self) -> str:
        return str(self.embed_dim)


class PositionalEmbedding(torch.nn.Module):
    """A learned vector added at each position."""

    def __init__(
        self, max_len: int, embed_dim: int, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.max_len, self.embed_dim = max_len, embed_dim
        self.weight = torch.nn.Parameter(torch.randn(max_len, embed_dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[: x.shape[-2]]

    def extra_repr(self) -> str:
        return f"{self.max_len}, {self.embed_dim}"


class MultiheadAttention(torch.nn.MultiheadAttention):
    """torch.nn's, which of one input alone is attention of it to itself, and of two to a key that is the value, too."""

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        key = query if key is None else key
        return super().forward(query, key, key if value is None else value, **options)


class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    """torch.nn's, whose tokens may look at no later one with `is_causal`."""

    def __init__(self, *args: Any, is_causal: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.is_causal = is_causal

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        src_mask = _later(self, src, src_mask, is_causal)
        return super().forward(src, src_mask, src_key_padding_mask)


class TransformerDecoderLayer(torch.nn.TransformerDecoderLayer):
    """torch.nn's, whose tokens may look at no later one of their own with `is_causal`."""

    def __init__(self, *args: Any, is_causal: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.is_causal = is_causal

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
        tgt_mask = _later(self, tgt, tgt_mask, tgt_is_causal)
        padding = (tgt_key_padding_mask, memory_key_padding_mask)
        return super().forward(tgt, memory, tgt_mask, memory_mask, *padding, memory_is_causal=memory_is_causal)


def _later(layer: Any, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor | None:
    """The mask given, or where a layer is causal that of the later tokens."""
    if mask is not None or not (causal or layer.is_causal):
        return mask
    T = x.shape[1 if layer.self_attn.batch_first and x.ndim == 3 else 0]
    return torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
