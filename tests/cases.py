"""The table of members of handgrad.nn that the tests run through, and the helpers that read a row.

A row builds a module from a namespace: `make(nn)` is handgrad's and `make(torch.nn)` its counterpart, so that one
line states both. To cover a new layer, add rows to CASES and wrong uses to BAD_INPUTS and BAD_OPTIONS.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, HandgradError, ShapeError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One module with one choice of options.

    Attributes:
        name: id of the row.
        make: builds the module from a namespace.
        shapes: shapes of good inputs.
        peer: builds the PyTorch side where torch.nn has no such option.
        loss: the module takes (y, t), both of a shape in `shapes`.
        repr: what it prints, if not what its PyTorch counterpart does.
    """

    name: str
    make: Callable[[Any], Any]
    shapes: tuple[Shape, ...]
    peer: Callable[[], torch.nn.Module] | None = None
    loss: bool = False
    repr: str | None = None

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

    def inputs(self, shape: Shape, dtype: torch.dtype = torch.float32, lead: Shape = ()) -> list[Tensor]:
        """Random inputs; `lead` puts (R,) or (1,) before the shape."""
        return [torch.randn(*lead, *shape, dtype=dtype) for _ in range(2 if self.loss else 1)]


class BatchMeanMSE(torch.nn.Module):
    """The report's equation 5."""

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        return ((y - t) ** 2).sum() / len(y)


def _named(n: Any) -> Any:
    return n.Sequential(OrderedDict(first=n.Linear(3, 4), act=n.Tanh(), norm=n.BatchNorm1d(4)))


def _nested(n: Any) -> Any:
    return n.Sequential(
        n.Linear(3, 5),
        n.Sequential(n.ReLU(), n.Sequential(n.BatchNorm1d(5)), n.Linear(5, 4, bias=False)),
        n.Tanh(),
    )


VECTORS: tuple[Shape, ...] = ((5, 3), (9, 3))
SIGNALS: tuple[Shape, ...] = ((4, 3), (4, 3, 5), (1, 3, 2))

CASES = [
    Case("Linear", lambda n: n.Linear(3, 2), ((4, 3), (1, 3), (3,), (2, 5, 3), (2, 1, 4, 3))),
    Case("Linear-float64", lambda n: n.Linear(3, 2, dtype=torch.float64, device="cpu"), ((4, 3),)),
    Case("Linear-no-bias", lambda n: n.Linear(3, 2, bias=False), ((4, 3), (3,), (2, 5, 3))),
    Case("Linear-one-feature", lambda n: n.Linear(1, 1), ((4, 1),)),
    Case("ReLU", lambda n: n.ReLU(), ((4, 3), (7,), (2, 3, 4, 2))),
    Case("Tanh", lambda n: n.Tanh(), ((4, 3), (7,), (2, 3, 4, 2))),
    Case("BatchNorm1d", lambda n: n.BatchNorm1d(3), SIGNALS),
    Case("BatchNorm1d-eps", lambda n: n.BatchNorm1d(3, 1e-2, 0.7), SIGNALS),
    Case("BatchNorm1d-average", lambda n: n.BatchNorm1d(3, momentum=None), SIGNALS),
    Case("BatchNorm1d-plain", lambda n: n.BatchNorm1d(3, affine=False), SIGNALS),
    Case("BatchNorm1d-no-bias", lambda n: n.BatchNorm1d(3, bias=False), SIGNALS),
    Case("BatchNorm1d-untracked", lambda n: n.BatchNorm1d(3, track_running_stats=False), SIGNALS),
    Case("BatchNorm1d-bare", lambda n: n.BatchNorm1d(3, affine=False, track_running_stats=False), SIGNALS),
    Case("MSELoss", lambda n: n.MSELoss(), ((4, 3), (4,), (2, 3, 2), (1, 1)), loss=True),
    Case(
        "MSELoss-sum",
        lambda n: n.MSELoss(reduction="sum"),
        ((4, 3), (4,)),
        loss=True,
        repr="MSELoss(reduction='sum')",
    ),
    Case(
        "MSELoss-none",
        lambda n: n.MSELoss(reduction="none"),
        ((4, 3), (4,)),
        loss=True,
        repr="MSELoss(reduction='none')",
    ),
    Case(
        "MSELoss-batchmean",
        lambda n: n.MSELoss(reduction="batchmean"),
        ((4, 3), (4,)),
        peer=BatchMeanMSE,
        loss=True,
        repr="MSELoss(reduction='batchmean')",
    ),
    Case("Sequential", lambda n: n.Sequential(n.Linear(3, 4), n.ReLU(), n.BatchNorm1d(4), n.Linear(4, 2)), VECTORS),
    Case("Sequential-activation-first", lambda n: n.Sequential(n.ReLU(), n.Linear(3, 2)), VECTORS),
    Case("Sequential-norm-first", lambda n: n.Sequential(n.BatchNorm1d(3), n.Tanh(), n.Linear(3, 2)), VECTORS),
    Case("Sequential-parameter-free", lambda n: n.Sequential(n.Tanh(), n.ReLU()), VECTORS),
    Case("Sequential-named", _named, VECTORS),
    Case("Sequential-nested", _nested, VECTORS),
]


@dataclass(frozen=True)
class Bad:
    """A wrong use: what `call` does raises `error`, whose message matches `match`."""

    name: str
    call: Callable[[], Any]
    error: type[Exception]
    match: str


def _linear(x: Any) -> Any:
    return nn.Linear(3, 2)(x)


def _norm(x: Any, **options: Any) -> Any:
    return nn.BatchNorm1d(3, **options)(x)


def _mse(y: Any, t: Any, **options: Any) -> Any:
    return nn.MSELoss(**options)(y, t)


F64, INT = torch.float64, torch.int64

BAD_INPUTS = [
    Bad("Linear-features", lambda: _linear(torch.zeros(4, 5)), ShapeError, r"Linear 3→2: .*\(…, 3\).*\(4, 5\)"),
    Bad("Linear-scalar", lambda: _linear(torch.tensor(1.0)), ShapeError, r"\(…, 3\)"),
    Bad("Linear-float64", lambda: _linear(torch.zeros(4, 3, dtype=F64)), DTypeError, r"float32.*got float64"),
    Bad("Linear-integers", lambda: _linear(torch.zeros(4, 3, dtype=INT)), DTypeError, r"got int64"),
    Bad("Linear-list", lambda: _linear([[1.0, 2.0, 3.0]]), DTypeError, r"torch.Tensor.*got list"),
    Bad("ReLU-integers", lambda: nn.ReLU()(torch.tensor([1])), DTypeError, r"ReLU: .*floating-point.*got int64"),
    Bad("ReLU-number", lambda: nn.ReLU()(1.0), DTypeError, r"got float"),
    Bad("Tanh-integers", lambda: nn.Tanh()(torch.tensor([1])), DTypeError, r"Tanh: .*floating-point.*got int64"),
    Bad("BatchNorm1d-channels", lambda: _norm(torch.zeros(4, 5)), ShapeError, r"\(N, 3\).*\(4, 5\)"),
    Bad("BatchNorm1d-vector", lambda: _norm(torch.zeros(3)), ShapeError, r"\(N, 3\)"),
    Bad("BatchNorm1d-images", lambda: _norm(torch.zeros(2, 3, 4, 4)), ShapeError, r"\(N, 3\) or \(N, 3, L\)"),
    Bad("BatchNorm1d-one-row", lambda: _norm(torch.zeros(1, 3)), ShapeError, r"at least 2 values"),
    Bad("BatchNorm1d-empty", lambda: _norm(torch.zeros(0, 3)), ShapeError, r"at least 2 values"),
    Bad(
        "BatchNorm1d-one-row-untracked-eval",
        lambda: nn.BatchNorm1d(3, track_running_stats=False).eval()(torch.zeros(1, 3)),
        ShapeError,
        r"at least 2 values",
    ),
    Bad("BatchNorm1d-float64", lambda: _norm(torch.zeros(4, 3, dtype=F64)), DTypeError, r"got float64"),
    Bad("MSELoss-transposed", lambda: _mse(torch.zeros(4, 3), torch.zeros(3, 4)), ShapeError, r"\(4, 3\).*\(3, 4\)"),
    Bad("MSELoss-column", lambda: _mse(torch.zeros(4, 1), torch.zeros(4)), ShapeError, r"targets\.unsqueeze\(-1\)"),
    Bad("MSELoss-row", lambda: _mse(torch.zeros(4), torch.zeros(4, 1)), ShapeError, r"targets\.squeeze\(-1\)"),
    Bad("MSELoss-replicas", lambda: _mse(torch.zeros(5, 4, 1), torch.zeros(4, 1)), ShapeError, r"replicas=5"),
    Bad("MSELoss-empty", lambda: _mse(torch.zeros(0, 3), torch.zeros(0, 3)), ShapeError, r"at least one prediction"),
    Bad("MSELoss-float64", lambda: _mse(torch.zeros(2), torch.zeros(2, dtype=F64)), DTypeError, r"got float64"),
    Bad("MSELoss-integers", lambda: _mse(torch.tensor([1]), torch.tensor([1])), DTypeError, r"got int64"),
    Bad("Sequential-list", lambda: nn.Sequential(nn.Linear(3, 2))([1.0]), DTypeError, r"got list"),
]

BAD_OPTIONS = [
    Bad("Linear-0", lambda: nn.Linear(0, 2), ArgumentError, r"in_features to be a positive integer, got 0"),
    Bad("Linear-float", lambda: nn.Linear(3, 2.0), ArgumentError, r"out_features"),  # type: ignore[arg-type]
    Bad("Linear-init", lambda: nn.Linear(3, 2, init="he"), ArgumentError, r"kaiming_normal.*got 'he'"),
    Bad("Linear-replicas", lambda: nn.Linear(3, 2, replicas=0), ArgumentError, r"replicas"),
    Bad("ReLU-inplace", lambda: nn.ReLU(inplace=True), NotImplementedError, r"never changes its input"),
    Bad("ReLU-replicas", lambda: nn.ReLU(replicas=-1), ArgumentError, r"replicas"),
    Bad("BatchNorm1d-0", lambda: nn.BatchNorm1d(0), ArgumentError, r"num_features"),
    Bad("BatchNorm1d-eps", lambda: nn.BatchNorm1d(3, eps=-1.0), ArgumentError, r"eps of at least 0"),
    Bad("BatchNorm1d-momentum", lambda: nn.BatchNorm1d(3, momentum=-0.1), ArgumentError, r"momentum of at least 0"),
    Bad("MSELoss-reduction", lambda: nn.MSELoss(reduction="avg"), ArgumentError, r"'mean', 'sum'.*got 'avg'"),
    Bad("MSELoss-size", lambda: nn.MSELoss(size_average=True), NotImplementedError, r"reduction"),  # type: ignore[arg-type]
    Bad("MSELoss-reduce", lambda: nn.MSELoss(reduce=False), NotImplementedError, r"reduction"),  # type: ignore[arg-type]
    Bad("Sequential-torch", lambda: nn.Sequential(torch.nn.Tanh()), DTypeError, r"got torch\.nn"),  # type: ignore[arg-type]
    Bad("Sequential-class", lambda: nn.Sequential(nn.ReLU), DTypeError, r"handgrad module"),  # type: ignore[arg-type]
    Bad("Sequential-list", lambda: nn.Sequential([nn.ReLU()]), DTypeError, r"got builtins\.list"),  # type: ignore[arg-type]
]


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


def upstream(y: Tensor) -> Tensor:
    """A random gradient for an output."""
    return torch.randn(y.shape, dtype=y.dtype)


def grads(module: nn.Module) -> dict[str, Tensor]:
    """The gradients of all parameters under PyTorch's names and in its layout."""
    found = {}
    for name, p in module.named_parameters():
        assert p.grad is not None, f"{name} has no gradient"
        found[name] = p.grad.mT if p.transposed else p.grad
    return found


def close(actual: Any, expected: Any, dtype: torch.dtype = torch.float64) -> None:
    """Assert equality up to rounding: of tensors, or of dicts of them."""
    rtol, atol = (1e-11, 1e-11) if dtype is torch.float64 else (1e-4, 1e-5)
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
