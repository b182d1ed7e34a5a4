"""Would the rows notice? One term of a gradient is dropped at a time, and a row of the table must turn red.

A mutant replaces an operation in a method that computes gradients by its first operand: a + b, a * b, a.mul_(b) and
a.sub_(b, alpha=c) become a. Each must be noticed by some row of its member, and each row must notice some mutant.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import HandgradError
from handgrad.testing import gradcheck
from tests.cases import CASES, Case, close, grads, ids, leaves, upstream

OPERATIONS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
METHODS = {"mul_", "add_", "sub_", "div_", "addcmul_", "index_add_", "mul", "add", "sub", "div", "neg", "neg_"}
METHODS |= {"square", "square_"}
UNNOTICED = {
    # how many images go through at once, which changes nothing but the time
    "Convolution.backward_weight: groups * columns",
    "Convolution.backward_weight: groups * columns * pixels",
    # from how much work on another way is faster
    "Convolution.backward_weight: columns * pixels",
    # but on several threads, as test_conv.py has them
    "Convolution._backward_beside: groups * parts",
    # the rest of the shape is whole again when the gradient gets the weight's
    "Convolution._backward_own: -2 - self.dims",
    # but for vectors of zeros, which test_losses.py has
    "CosineEmbeddingLoss.forward: (x * x).sum(-1).add_(1e-12)",
    # but for distances that are equal, which test_losses.py has
    "TripletMarginLoss.forward: (far < across).to(h.dtype).add_(far == across, alpha=0.5)",
}
"""Mutants that compute the same."""
PLACES = {"-dim"}
"""Where a dimension is, which a row with a single one cannot notice."""

QUIET = ("Dropout-0", "Dropout-1", "AlphaDropout-0", "AlphaDropout-1")
"""Rows whose gradient is dy or 0 whatever the mask."""


def is_gradient(owner: type, name: str) -> bool:
    """Whether a method computes gradients; those of losses do beside the loss itself, in forward or below it."""
    within = issubclass(owner, nn.Loss) and (name in ("forward", "reduced", "weighted") or name.startswith("_from_"))
    return within or name in ("slope", "elements") or name.startswith(("backward", "_backward"))


class Drop(ast.NodeTransformer):
    """Replace the n-th operation by its first operand."""

    def __init__(self, n: int) -> None:
        self.n, self.seen, self.what = n, -1, ""

    def _hit(self, node: ast.AST) -> bool:
        self.seen += 1
        if self.seen == self.n:
            self.what = ast.unparse(node)
        return self.seen == self.n

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return node.left if isinstance(node.op, OPERATIONS) and self._hit(node) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        number = isinstance(node.operand, ast.Constant)
        return node.operand if isinstance(node.op, ast.USub) and not number and self._hit(node) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Pass() if isinstance(node.op, OPERATIONS) and self._hit(node) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        return node.func.value if method in METHODS and self._hit(node) else node  # type: ignore[attr-defined]

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        return node  # types are no terms

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node


@dataclass(frozen=True)
class Mutant:
    owner: type
    place: Any
    """What has the function: the class, or the module in which a method of it finds a function."""
    name: str
    function: Any
    what: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}: {self.what}"


def mutants(member: type) -> Iterator[Mutant]:
    """Every mutant of the gradient methods that the member uses."""
    seen = set()
    for owner in member.__mro__:
        if not owner.__module__.startswith("handgrad.nn") or owner is nn.Module:
            continue
        module = sys.modules[owner.__module__]
        functions: list[tuple[Any, str, Any]] = [(owner, *named) for named in vars(owner).items()]
        used = {n for _, _, f in functions if inspect.isfunction(f) for n in f.__code__.co_names}
        functions += [
            (module, n, getattr(module, n)) for n in sorted(used) if n.startswith("backward_") and hasattr(module, n)
        ]
        for place, name, function in functions:
            if is_gradient(owner, name) and name not in seen and inspect.isfunction(function):
                seen.add(name)
                source = ast.parse(textwrap.dedent(inspect.getsource(function)))
                if "super" in ast.dump(source):  # needs its class around it
                    continue
                for n in range(1000):
                    drop = Drop(n)
                    tree = ast.fix_missing_locations(drop.visit(copy.deepcopy(source)))
                    if not drop.what:
                        break
                    made: dict[str, Any] = {}
                    exec(compile(tree, f"<{owner.__name__} without {drop.what}>", "exec"), function.__globals__, made)
                    yield Mutant(owner, place, name, made[name], drop.what)


def green(case: Case) -> bool:
    """Whether gradcheck of a row passes: as it is, in evaluation, with replicas, and with an input they share."""
    torch.manual_seed(0)
    try:
        for shape in case.shapes:
            module, theirs = case.pair(torch.float64)
            for training in (True, False):
                inputs = case.inputs(shape, torch.float64)
                gradcheck(module.train(training), *inputs, directions=2)
                if case.loss and inputs[0].ndim > 1:  # with weights of the samples too
                    gradcheck(module, *inputs, torch.rand(len(inputs[0]), dtype=torch.float64), directions=2)
                torch.manual_seed(1)
                y = leaves(module(*inputs))
                torch.manual_seed(1)
                close(y, leaves(theirs.train(training)(*inputs)))
            whole, only = copy.deepcopy(module), copy.deepcopy(module)
            for twin in (whole, only):
                torch.manual_seed(1)
                y = twin(*inputs)
            dy = upstream(y)
            whole.backward(dy)
            only.backward_parameters(dy)
            close(grads(only), grads(whole))
        shape = case.shapes[0] if case.loss else case.batched()[0]
        many = nn.replicate(case.ours(torch.float64), seeds=[3, 4])
        for p in many.parameters():
            p.value.normal_()
        for lead in [(2,)] if case.loss else [(2,), (1,)] if case.lone else [(2,), (1,), ()]:
            inputs = case.inputs(shape, torch.float64, lead)
            gradcheck(many, *inputs, directions=2)
            y = many(*inputs)
            if isinstance(y, Tensor) and not case.loss and y.ndim - len(lead) == len(shape) and len(y) != 2:
                # nothing tells the replicas apart yet, but what comes after does: each has a gradient of its own
                dy = torch.randn(2, *y.shape[len(lead) :], dtype=torch.float64)
                dx = many.backward(dy)
                for r in range(2):
                    many(*inputs)
                    close(dx[r : r + 1].reshape(inputs[0].shape), many.backward(dy[r : r + 1].reshape(y.shape)))
    except (
        HandgradError,
        ArithmeticError,
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        AssertionError,
    ):
        return False
    return True


TYPES = {case.name: type(case.ours()) for case in CASES}
OWNERS = sorted(
    {m.owner for member in set(TYPES.values()) if member.__module__.startswith("handgrad") for m in mutants(member)},
    key=lambda owner: owner.__name__,
)
"""The classes that write gradients: members, and bases that several share."""


@pytest.mark.parametrize("owner", OWNERS, ids=[owner.__name__ for owner in OWNERS])
def test_every_dropped_term_is_noticed(owner: type, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [case for case in CASES if issubclass(TYPES[case.name], owner)]
    unnoticed = []
    for mutant in mutants(owner):
        if mutant.owner is not owner or str(mutant) in UNNOTICED:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(mutant.place, mutant.name, mutant.function)
            noticing = next((case for case in rows if not green(case)), None)
        if noticing is None:
            unnoticed.append(str(mutant))
        else:  # what noticed this one first: it most likely notices the next one, too
            rows = [noticing, *(case for case in rows if case is not noticing)]
    assert unnoticed == []


LOUD = [case for case in CASES if case.name not in QUIET]


@pytest.mark.parametrize("case", LOUD, ids=ids(LOUD))
def test_every_row_notices_a_dropped_term(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert green(case)
    made = [m for m in mutants(TYPES[case.name]) if case.ours().trainable() or m.name != "backward_parameters"]
    for mutant in made:
        with monkeypatch.context() as patch:
            patch.setattr(mutant.place, mutant.name, mutant.function)
            if not green(case):
                return
    assert not [m for m in made if m.what not in PLACES], f"{case.name} notices none of {', '.join(map(str, made))}"
