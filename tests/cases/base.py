"""What a row of the table of members is, and the helpers that read one.

A row builds a module from a namespace: `make(nn)` is handgrad's and `make(torch.nn)` its counterpart, so that one
line states both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import HandgradError

Shape = tuple[int, ...]
"""Of one tensor; where a module takes several, a tuple of them, nested as its arguments are."""

Draw = Callable[[Shape, torch.dtype], Tensor]


def normal(shape: Shape, dtype: torch.dtype) -> Tensor:
    """What an input is drawn from unless its row says otherwise."""
    return torch.randn(shape, dtype=dtype)


def indices(below: int) -> Draw:
    """Integers from 0 to below − 1."""
    return lambda shape, dtype: torch.randint(below, shape)


def mapped(change: Callable[[Tensor], Tensor]) -> Draw:
    """Normal numbers put through a function, such as torch.sigmoid for probabilities."""
    return lambda shape, dtype: change(torch.randn(shape, dtype=dtype))


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of nested tuples and lists, in order, None left out."""
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [] if tree is None else [tree]


def differentiated(module: nn.Module, inputs: Any) -> list[Tensor]:
    """The tensors that backward may return gradients by: integers have none, and a loss's targets get none."""
    given = [inputs[i] for i in module.differentiated] if isinstance(module, nn.Loss) else inputs
    return [x for x in leaves(given) if x.dtype.is_floating_point]


def target(criterion: nn.Loss, inputs: list[Any]) -> int | None:
    """Which of a loss's inputs are the targets; None for a loss of predictions alone."""
    return next((i for i in range(len(inputs)) if i not in criterion.differentiated), None)


def each(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same nesting with `change` applied to every tensor."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(each(change, branch) for branch in tree)
    return None if tree is None else change(tree)


@dataclass(frozen=True)
class Case:
    """One module with one choice of options.

    Attributes:
        name: id of the row.
        make: builds the module from a namespace.
        shapes: shapes of good inputs; where the module takes several, each entry is a tuple of their shapes, nested
            as the arguments are: ((T, N, I), ((L, N, H), (L, N, H))) for an LSTM with its state.
        peer: builds the PyTorch side where torch.nn has no such option.
        loss: the module takes (y, t), both of a shape in `shapes` unless an entry gives the shape of each input.
        repr: what it prints, if not what its PyTorch counterpart does.
        draws: from what each tensor, in order, is drawn; normal numbers where there is none.
        rank: dimensions of the smallest input that has a batch; with replicas smaller ones are not tried.
        lone: the rank of its input is open, so that only a leading R or 1 tells replicas: (N, …) is not shared.
        rough: relative tolerance in float32, where PyTorch's own rounding asks for more than 1e-4.
    """

    name: str
    make: Callable[[Any], Any]
    shapes: tuple[Any, ...]
    peer: Callable[[], torch.nn.Module] | None = None
    loss: bool = False
    repr: str | None = None
    draws: tuple[Draw | None, ...] = ()
    rank: int = 2
    lone: bool = False
    rough: float = 1e-4

    def ours(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        module: nn.Module = self.make(nn)
        return module.to(dtype)

    def theirs(self, dtype: torch.dtype | None = torch.float32) -> torch.nn.Module:
        module: torch.nn.Module = self.peer() if self.peer else self.make(torch.nn)
        return module if dtype is None else module.to(dtype)

    def pair(self, dtype: torch.dtype) -> tuple[nn.Module, torch.nn.Module]:
        """Both sides with the same random values in every parameter and buffer: γ = 1 would hide a lost factor."""
        ours, theirs = self.ours(dtype), self.theirs(dtype)
        for p in theirs.parameters():
            torch.nn.init.normal_(p)
        for buffer in theirs.buffers():
            if buffer.dtype.is_floating_point:
                buffer.uniform_(0.5, 2.0)
        ours.load_state_dict(theirs.state_dict())
        return ours, theirs

    def inputs(self, shape: Any, dtype: torch.dtype = torch.float32, lead: Shape = ()) -> list[Any]:
        """Random inputs; `lead` puts (R,) or (1,) before the shape."""
        tree = shape if isinstance(shape[0] if shape else 0, tuple) else (shape,) * (2 if self.loss else 1)
        draws = iter([*self.draws, *[None] * 9])

        def drawn(branch: Any) -> Any:
            if branch and isinstance(branch[0], tuple):
                return tuple(drawn(part) for part in branch)
            return (next(draws) or normal)((*lead, *branch), dtype)

        return [drawn(branch) for branch in tree]

    def batched(self) -> list[Any]:
        """The shapes that have a batch: without one, (R, I) would be N = R rows that the replicas share."""
        return [s for s in self.shapes if len(s[0] if s and isinstance(s[0], tuple) else s) >= self.rank]


@dataclass(frozen=True)
class Bad:
    """A wrong use: what `call` does raises `error`, whose message matches `match`."""

    name: str
    call: Callable[[], Any]
    error: type[Exception]
    match: str


F64, INT = torch.float64, torch.int64


def ids(rows: Iterable[Any]) -> list[str]:
    return [row.name for row in rows]


def explains(error: BaseException) -> bool:
    """Whether a message says what was expected, what came, and what to do, the last as a full sentence."""
    if not isinstance(error, HandgradError):
        return False
    text = str(error)
    sentence = error.remedy.endswith(".") and len(error.remedy.split()) >= 2
    return "expected " in text and "got " in text and sentence and error.remedy in text


class Replicated:
    """A namespace like `nn` whose modules are built with replicas=R, and R generators where they draw."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self.generators = [generator(seed) for seed in seeds]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        build = getattr(nn, name)
        takes = inspect.signature(build.__init__).parameters
        options: dict[str, Any] = {"replicas": len(self.seeds), "generator": self.generators}
        return lambda *args, **named: build(*args, **named, **{k: v for k, v in options.items() if k in takes})


def network(n: Any = nn) -> Any:
    """A small nested network of either library."""
    return n.Sequential(n.Linear(3, 5), n.Sequential(n.BatchNorm1d(5), n.ReLU()), n.Linear(5, 2))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def upstream(y: Any) -> Any:
    """A random gradient for an output, or for each of several."""
    return each(lambda value: torch.randn(value.shape, dtype=value.dtype), y)


def grads(module: nn.Module) -> dict[str, Tensor]:
    """The gradients of all parameters under PyTorch's names and in its layout."""
    found = {}
    for name, p in module.named_parameters():
        assert p.grad is not None, f"{name} has no gradient"
        found[name] = p.grad.mT if p.transposed else p.grad
    return found


def close(actual: Any, expected: Any, dtype: torch.dtype = torch.float64, rough: float = 1e-4) -> None:
    """Assert equality up to rounding: of tensors, or of lists and dicts of them."""
    rtol, atol = (1e-11, 1e-11) if dtype is torch.float64 else (rough, rough / 10)
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
