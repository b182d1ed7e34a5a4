"""Embedding: rows of a table, looked up by index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.nn.init import Distribution
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter


@dataclass(frozen=True)
class Table(Distribution):
    """N(0, std²) with zeros in the row of the padding, or rows that are given."""

    padding: int | None = None
    given: Tensor | None = None

    def fill(self, value: Tensor, generator: torch.Generator | None) -> None:
        if self.given is not None:
            value.copy_(self.given)
            return
        value.normal_(0.0, self.number, generator=generator)
        if self.padding is not None:
            value[self.padding] = 0


class Embedding(Module):
    r"""A row of a table for each index.

    $$y_n = W_{i_n}, \qquad \frac{\partial L}{\partial W_v} = \sum_{n: \, i_n = v} \frac{\partial L}{\partial y_n}$$

    The row of the padding index starts at zero and gets no gradient.

    Shapes: indices i any, of int32 or int64; y (…, E), W (V, E). With R replicas i is (R, …), W (R, V, E) and y
    (R, …, E); indices of (N,), or of (1, …), are shared by all replicas. backward returns None: indices have no
    gradient.

    Args:
        num_embeddings: V.
        embedding_dim: E.
        padding_idx: index of the padding, from the end if negative; None for none.
        max_norm, norm_type: only None: PyTorch's option alters the weight in forward.
        scale_grad_by_freq, sparse: only False.
        _weight: initial values (V, E), which `reset` sets again; by default they are drawn from N(0, 1).
        _freeze: True lets backward leave the weight without a gradient, so that no optimiser changes it.
        device, dtype: of the weight, unless `_weight` is given.
        generator: source of the initial values (R of them for R replicas); torch's default one if None.
        replicas: None or R.

    Errors: IndexError for an index that the table does not have, DTypeError for one that is not an integer, ShapeError
    for a `_weight` of another shape, ArgumentError for a `padding_idx` outside the table, NotImplementedError for an
    option that is not supported.

    Source: Bengio et al. 2003.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> embedding = nn.Embedding(10, 3)
        >>> embedding(torch.tensor([[1, 2, 1, 9]])).shape
        torch.Size([1, 4, 3])
        >>> embedding.backward(torch.ones(1, 4, 3))
        >>> embedding.weight.grad[:3]
        tensor([[0., 0., 0.],
                [2., 2., 2.],
                [1., 1., 1.]])
    """

    found = {"_freeze": "frozen"}  # noqa: RUF012
    max_norm, scale_grad_by_freq, sparse = None, False, False
    _weight = None  # only what it starts from

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        V = self.num_embeddings = checks.positive_int("num_embeddings", num_embeddings, "Embedding")
        self.embedding_dim = checks.positive_int("embedding_dim", embedding_dim, "Embedding")
        super().__init__(replicas)
        unsupported = {"max_norm": max_norm is not None, "scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse}
        for name, asked in unsupported.items():
            if asked:
                raise NotImplementedError(f"{self.label}({name}=…) is not supported. Leave {name} out.")
        if padding_idx is not None and not -V <= padding_idx < V:
            remedy = "Count from 0, or from −1 at the end."
            raise ArgumentError(f"padding_idx from {-V} to {V - 1}", str(padding_idx), remedy, self.label)
        self.padding_idx = None if padding_idx is None else padding_idx % V
        self.norm_type, self.frozen = norm_type, _freeze
        if _weight is not None and _weight.shape != (V, embedding_dim):
            remedy = "Build it with nn.Embedding.from_pretrained(weight)."
            raise ShapeError(f"a _weight of shape {(V, embedding_dim)}", str(tuple(_weight.shape)), remedy, self.label)
        if _weight is None:
            value = torch.empty(V, embedding_dim, device=checks.device(device, self.label), dtype=dtype)
        else:
            value, _weight = _weight.clone(), _weight.clone()
        self.weight = Parameter(value, Table(1.0, self.padding_idx, _weight), generator, replicas=replicas)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, **options: Any
    ) -> Embedding:
        """Return an Embedding of given rows (V, E), which as in PyTorch is not trained unless freeze=False.

        Errors: ShapeError for a table that does not have two dimensions.

        Example:
            >>> import torch
            >>> from handgrad import nn
            >>> nn.Embedding.from_pretrained(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))(torch.tensor(1))
            tensor([3., 4.])
        """
        if embeddings.ndim != 2:
            remedy = "Pass a row for each index."
            raise ShapeError("embeddings of shape (V, E)", str(tuple(embeddings.shape)), remedy, "Embedding")
        V, E = embeddings.shape
        return cls(V, E, padding_idx, _weight=embeddings, _freeze=freeze, **options)

    @property
    def label(self) -> str:
        return f"Embedding {self.num_embeddings}→{self.embedding_dim}"

    def forward(self, i: Tensor) -> Tensor:
        i = self._checked(i)
        rows = i.reshape(-1)  # (N,)
        y = self._table(self.weight.torch_value).index_select(0, rows)  # (N, E)
        return self.keep(y.view(*i.shape, self.embedding_dim), rows)

    def backward(self, dy: Tensor) -> None:
        (rows,) = self.take(dy)
        if self.frozen:
            return
        dW = dy.new_zeros(self.weight.torch_value.shape)  # (V, E), or (R, V, E)
        self._table(dW).index_add_(0, rows, dy.reshape(-1, self.embedding_dim))
        if self.padding_idx is not None:
            dW.select(-2, self.padding_idx).zero_()
        self.weight.add_grad(dW, transposed=False)

    @staticmethod
    def _table(W: Tensor) -> Tensor:
        """View R tables as one, in which replica r's rows start at r V."""
        return W.reshape(-1, W.shape[-1])

    def _checked(self, i: Tensor) -> Tensor:
        """Indices into the one table of all replicas, with their leading R; or an error."""
        if not isinstance(i, Tensor) or i.dtype not in (torch.int64, torch.int32):
            got = checks.short(i.dtype) if isinstance(i, Tensor) else type(i).__name__
            raise DTypeError("a tensor of indices, int64 or int32", got, "Convert them with .long().", self.label)
        i, V = self.replicated(i, rank=1), self.num_embeddings
        if i.numel():
            low, high = torch.aminmax(i)
            if low < 0 or high >= V:
                worst = int(low if low < 0 else high)
                raise IndexError(f"{self.label}: there is no row {worst} in a table of {V}. Pass indices from 0 on.")
        if self.replicas is None:
            return i
        return i + V * torch.arange(self.replicas, device=i.device).view(-1, *[1] * (i.ndim - 1))

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
