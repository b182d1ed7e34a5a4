"""Containers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, BackwardError, DTypeError, ShapeError
from tests.cases.base import Bad, Case, Replicated, Shape


def _named(n: Any) -> Any:
    return n.Sequential(OrderedDict(first=n.Linear(3, 4), act=n.Tanh(), norm=n.BatchNorm1d(4)))


def _nested(n: Any) -> Any:
    return n.Sequential(
        n.Linear(3, 5),
        n.Sequential(n.ReLU(), n.Sequential(n.BatchNorm1d(5)), n.Linear(5, 4, bias=False)),
        n.Tanh(),
    )


class Parallel(torch.nn.ModuleList):
    """Branches side by side, as PyTorch's users write them."""

    def forward(self, x: Tensor) -> Any:
        return tuple(branch(x) for branch in self)


class Residual(Parallel):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return x + y[0] if len(y) == 1 else torch.stack(y).sum(0)


class Concat(Parallel):
    def __init__(self, branches: Any, dim: int = 1) -> None:
        super().__init__(branches)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(super().forward(x), self.dim)

    def __repr__(self) -> str:
        return super().__repr__().replace("(", "(" if self.dim == 1 else f"(dim={self.dim}", 1)


class Stack(nn.Module):
    """What a user writes around a ModuleList."""

    def __init__(self, *, replicas: int | None = None, generator: Any = None) -> None:
        super().__init__(replicas)
        options: Any = {"replicas": replicas, "generator": generator}
        self.layers = nn.ModuleList(nn.Linear(3, 3, **options) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Tensor) -> Tensor:
        for layer in reversed(list(self.layers)):
            dy = layer.backward(dy)
        return dy


class TorchStack(torch.nn.Module):
    def _get_name(self) -> str:
        return "Stack"

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(3, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Any:
        return self.layers[1](self.layers[0](x))


class Heads(Stack):
    """What a user writes around a ModuleDict."""

    def __init__(self, *, replicas: int | None = None, generator: Any = None) -> None:
        super().__init__(replicas=replicas, generator=generator)
        self.heads = nn.ModuleDict({"a": self.layers[0], "b": self.layers[1]})
        self.layers = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.heads["a"](x) - 2 * self.heads["b"](x)
        return self.keep(y)

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        dx: Tensor = self.heads["a"].backward(dy) + self.heads["b"].backward(-2 * dy)
        return dx


class TorchHeads(torch.nn.Module):
    def _get_name(self) -> str:
        return "Heads"

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList()
        self.heads = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})

    def forward(self, x: Tensor) -> Any:
        return self.heads["a"](x) - 2 * self.heads["b"](x)


def _heads(n: Any) -> Any:
    if isinstance(n, Replicated):
        return Heads(replicas=len(n.seeds), generator=n.generators)
    return Heads()


def _stack(n: Any) -> Any:
    if isinstance(n, Replicated):
        return Stack(replicas=len(n.seeds), generator=n.generators)
    return Stack()


def _branch(n: Any, out: int = 3) -> Any:
    return n.Sequential(n.Linear(3, 5), n.Tanh(), n.Linear(5, out, bias=False))


def _deep(n: Any) -> Any:
    return n.Sequential(
        n.Linear(3, 4),
        n.Residual(n.Sequential(n.BatchNorm1d(4), n.ReLU(), n.Linear(4, 4))),
        n.Concat(n.ReLU(), n.Linear(4, 2)),
        n.Linear(6, 2),
    )


def _parallel() -> nn.Parallel:
    both = nn.Parallel(nn.Tanh(), nn.ReLU())
    both(torch.zeros(4, 2))
    return both


def _concat() -> nn.Concat:
    return nn.replicate(nn.Concat(nn.Tanh(), nn.Linear(3, 1)), seeds=[1, 2])


class Theirs:
    """torch.nn with the containers that it lacks."""

    def __getattr__(self, name: str) -> Any:
        own = {"Residual": Residual, "Concat": Concat, "Parallel": Parallel}.get(name)
        return (lambda *branches, **options: own(branches, **options)) if own else getattr(torch.nn, name)


THEIRS = Theirs()


def side_by_side(name: str, make: Any, shapes: tuple[Any, ...], **options: Any) -> Case:
    """A row with a container that torch.nn lacks."""
    return Case(name, make, shapes, peer=lambda: make(THEIRS), repr=options.pop("repr", "") or None, **options)


VECTORS: tuple[Shape, ...] = ((5, 3), (9, 3))

CASES: list[Case] = [
    Case("Sequential", lambda n: n.Sequential(n.Linear(3, 4), n.ReLU(), n.BatchNorm1d(4), n.Linear(4, 2)), VECTORS),
    Case("Sequential-activation-first", lambda n: n.Sequential(n.ReLU(), n.Linear(3, 2)), VECTORS),
    Case("Sequential-norm-first", lambda n: n.Sequential(n.BatchNorm1d(3), n.Tanh(), n.Linear(3, 2)), VECTORS),
    Case("Sequential-parameter-free", lambda n: n.Sequential(n.Tanh(), n.ReLU()), VECTORS),
    Case("Sequential-named", _named, VECTORS),
    Case("Sequential-nested", _nested, VECTORS),
    side_by_side("Residual", lambda n: n.Residual(_branch(n)), VECTORS),
    side_by_side(
        "Residual-sum", lambda n: n.Residual(_branch(n, 4), n.Linear(3, 4), n.Linear(3, 4, bias=False)), VECTORS
    ),
    side_by_side("Residual-deep", _deep, ((5, 3),)),
    side_by_side("Concat", lambda n: n.Concat(_branch(n, 2), n.Tanh(), n.Linear(3, 1)), VECTORS, lone=True),
    side_by_side("Concat-rows", lambda n: n.Concat(n.Tanh(), n.Linear(3, 3), dim=-2), ((5, 3), (2, 5, 3)), lone=True),
    side_by_side("Parallel", lambda n: n.Parallel(_branch(n, 2), n.Linear(3, 1)), VECTORS),
    Case("ModuleList", _stack, VECTORS, peer=TorchStack),
    Case("ModuleDict", _heads, VECTORS, peer=TorchHeads),
]

BAD_INPUTS: list[Bad] = [
    Bad("Residual-inside", lambda: nn.Residual(_branch(nn))(torch.zeros(4, 2)), ShapeError, r"0\.0 \(?Linear"),
    Bad("Residual-none", lambda: nn.Residual()(torch.zeros(4, 2)), ArgumentError, r"Residual: .*at least one branch"),
    Bad("Residual-wider", lambda: nn.Residual(nn.Linear(2, 3))(torch.zeros(4, 2)), ShapeError, r"\(4, 3\), \(4, 2\)"),
    Bad("Residual-broadcast", lambda: nn.Residual(nn.Linear(2, 1))(torch.zeros(4, 2)), ShapeError, r"go together"),
    Bad("Concat-none", lambda: nn.Concat()(torch.zeros(4, 2)), ArgumentError, r"Concat: .*at least one branch"),
    Bad(
        "Concat-ranks",
        lambda: nn.Concat(nn.Tanh(), nn.Unflatten(1, (1, 2)))(torch.zeros(4, 2)),
        ShapeError,
        r"together",
    ),
    Bad("Parallel-no-gradient", lambda: _parallel().backward((None, None)), BackwardError, r"of at least one output"),
    Bad("Concat-lone", lambda: _concat()(torch.zeros(4, 3)), ShapeError, r"a leading 2 for the replicas, or 1"),
    Bad("Sequential-list", lambda: nn.Sequential(nn.Linear(3, 2))([1.0]), DTypeError, r"got list"),
]

BAD_OPTIONS: list[Bad] = [
    Bad("Residual-torch", lambda: nn.Residual(torch.nn.Tanh()), DTypeError, r"Residual part 0.*got torch\.nn"),  # type: ignore[arg-type]
    Bad("ModuleList-class", lambda: nn.ModuleList([nn.ReLU]), DTypeError, r"handgrad module"),  # type: ignore[list-item]
    Bad("ModuleDict-dot", lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ArgumentError, r"without dots, got 'a\.b'"),
    Bad("ModuleDict-class", lambda: nn.ModuleDict().update([("a", nn.ReLU)]), DTypeError, r"part a"),  # type: ignore[list-item]
    Bad("Sequential-torch", lambda: nn.Sequential(torch.nn.Tanh()), DTypeError, r"got torch\.nn"),  # type: ignore[arg-type]
    Bad("Sequential-class", lambda: nn.Sequential(nn.ReLU), DTypeError, r"handgrad module"),  # type: ignore[arg-type]
    Bad("Sequential-list", lambda: nn.Sequential([nn.ReLU()]), DTypeError, r"got builtins\.list"),  # type: ignore[arg-type]
]
