"""nn.utils against torch.nn.utils, and each replica against itself alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, ShapeError, StateError
from handgrad.nn import utils
from tests.cases import explains

R = 3
SHAPES = [(3, 2), (4,), (), (130, 127)]  # the last has a norm of its own
NORMS = [2.0, 1.0, 3.5, 0.5, math.inf]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
ALL_NORMS = pytest.mark.parametrize("p", NORMS)
BOUNDS = pytest.mark.parametrize("bound", [0.0, 0.7, 60.0, 1e9])


def ours(grads: list[Tensor | None], shapes: list[tuple[int, ...]] = SHAPES, replicas: int | None = None) -> Any:
    params = [nn.Parameter(torch.zeros(shape, dtype=torch.float64), replicas=replicas) for shape in shapes]
    for p, g in zip(params, grads):
        p.grad = None if g is None else g.clone()
    return params


def theirs(grads: list[Tensor | None]) -> list[torch.nn.Parameter]:
    params = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in SHAPES]
    for p, g in zip(params, grads):
        if g is not None:
            p.data = p.data.to(g)
            p.grad = g.clone()
    return params


def drawn(*lead: int, dtype: torch.dtype = torch.float64) -> list[Tensor | None]:
    """Gradients, the second of which is missing."""
    return [torch.randn((*lead, *shape), dtype=dtype) if i != 1 else None for i, shape in enumerate(SHAPES)]


def same(actual: Any, expected: Any) -> None:
    for p, q in zip(actual, expected):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad)
    assert len(actual) == len(expected)


@DTYPES
@ALL_NORMS
@BOUNDS
def test_norm_equals_torch(dtype: torch.dtype, p: float, bound: float) -> None:
    grads = drawn(dtype=dtype)
    a, b = ours(grads), theirs(grads)
    total = utils.clip_grad_norm_(a, bound, p)
    torch.testing.assert_close(total, torch.nn.utils.clip_grad_norm_(b, bound, p))
    same(a, b)
    present = [g for g in grads if g is not None]
    torch.testing.assert_close(utils.get_total_norm(present, p), total)
    c = ours(grads)
    utils.clip_grads_with_norm_(c, bound, total)
    same(c, a)


@DTYPES
@BOUNDS
def test_value_equals_torch(dtype: torch.dtype, bound: float) -> None:
    grads = drawn(dtype=dtype)
    grads[0][0, 1], grads[0][1, 1] = math.nan, math.inf  # type: ignore[index]
    a, b = ours(grads), theirs(grads)
    utils.clip_grad_value_(iter(a), bound)
    torch.nn.utils.clip_grad_value_(b, bound)
    for p, q in zip(a, b):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=0, equal_nan=True)


@ALL_NORMS
@pytest.mark.parametrize("bounds", [0.7, [0.7, 0.0, 1e9], torch.tensor([1e9, 0.5, 0.1])], ids=["one", "list", "tensor"])
@DTYPES
def test_each_replica_is_clipped_as_alone(p: float, bounds: Any, dtype: torch.dtype) -> None:
    grads = drawn(R, dtype=dtype)
    a, v = ours(grads, replicas=R), ours(grads, replicas=R)
    total = utils.clip_grad_norm_(a, bounds, p)
    utils.clip_grad_value_(v, bounds)
    assert total.shape == (R,)
    for r in range(R):
        bound = bounds if isinstance(bounds, float) else float(bounds[r])
        own = [None if g is None else g[r] for g in grads]
        alone, clamped = ours(own), ours(own)
        torch.testing.assert_close(total[r], utils.clip_grad_norm_(alone, bound, p))
        utils.clip_grad_value_(clamped, bound)
        for several, one in ((a, alone), (v, clamped)):
            for q, s in zip(several, one):
                assert (q.grad is None) == (s.grad is None)
                if q.grad is not None:
                    torch.testing.assert_close(q.grad[r], s.grad)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_in_its_replica(poison: float) -> None:
    grads = drawn(R)
    a = ours(grads, replicas=R)
    clean = utils.clip_grad_norm_(a, 0.5)
    assert grads[0] is not None
    grads[0][1, 2, 1] = poison
    b = ours(grads, replicas=R)
    total = utils.clip_grad_norm_(b, 0.5)
    assert not total[1].isfinite()
    for r in (0, 2):
        assert torch.equal(total[r], clean[r])
        assert all(p.grad is None or torch.equal(p.grad[r], q.grad[r]) for p, q in zip(a, b))
    c = ours(grads, replicas=R)
    with pytest.raises(StateError, match=r"finite norm of order 2") as raised:
        utils.clip_grad_norm_(c, 0.5, error_if_nonfinite=True)
    assert explains(raised.value)
    for p, g in zip(c, grads):  # nothing has been scaled
        torch.testing.assert_close(p.grad, g, rtol=0, atol=0, equal_nan=True)


def test_one_parameter_none_and_none_with_a_gradient() -> None:
    p = nn.Parameter(torch.zeros(2))
    assert utils.clip_grad_norm_(p, 1.0) == 0
    utils.clip_grad_value_(p, 1.0)
    assert utils.clip_grad_norm_([], 1.0) == torch.nn.utils.clip_grad_norm_([], 1.0)
    assert utils.clip_grad_norm_([nn.Parameter(torch.zeros(2), replicas=R)], 1.0).shape == (R,)
    p.add_grad(torch.tensor([3.0, 4.0]))
    assert utils.clip_grad_norm_(p, 1) == 5
    assert utils.clip_grad_norm_(p, 2.0, norm_type=float("inf")) == pytest.approx(0.8)


def test_a_gradient_in_another_layout_is_clipped() -> None:
    p = nn.Parameter(torch.zeros(4, 3), replicas=2)
    g = torch.randn(2, 3, 4)
    p.add_grad(g.clone().mT)
    total = utils.clip_grad_norm_(p, 0.1)
    torch.testing.assert_close(total, g.flatten(1).norm(dim=1))
    torch.testing.assert_close(p.grad, (g * (0.1 / total).view(-1, 1, 1)).mT, rtol=1e-5, atol=1e-7)


# Vectors


def network(n: Any, **options: Any) -> Any:
    return n.Sequential(n.Linear(3, 4, **options), n.ReLU(), n.Linear(4, 2, **options))


def test_vector_equals_torch() -> None:
    a, b = network(nn), network(torch.nn)
    a.load_state_dict(b.state_dict())
    vector = torch.nn.utils.parameters_to_vector(b.parameters()).detach()
    assert torch.equal(utils.parameters_to_vector(a.parameters()), vector)
    utils.vector_to_parameters(vector * 2, a.parameters())
    torch.nn.utils.vector_to_parameters(vector * 2, b.parameters())
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name])
    before = vector.clone()
    a[0].weight.value.zero_()
    assert torch.equal(vector, before)


def test_vector_of_replicas() -> None:
    model = network(nn, replicas=R)
    vectors = utils.parameters_to_vector(model.parameters())
    assert vectors.shape == (R, 26)
    for r in range(R):
        assert torch.equal(vectors[r], utils.parameters_to_vector(model.replica(r).parameters()))
    utils.vector_to_parameters(vectors.flip(0), model.parameters())
    assert torch.equal(utils.parameters_to_vector(model.parameters()), vectors.flip(0))


def with_gradient(replicas: int | None = None) -> nn.Parameter:
    p = nn.Parameter(torch.zeros(2), replicas=replicas)
    p.add_grad(torch.ones_like(p.value))
    return p


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "max_norm": (lambda: utils.clip_grad_norm_(with_gradient(), -1.0), ArgumentError, r"max_norm of at least 0"),
    "max_norm NaN": (lambda: utils.clip_grad_norm_(with_gradient(), math.nan), ArgumentError, r"got nan"),
    "max_norm text": (lambda: utils.clip_grad_value_(with_gradient(), None), ArgumentError, r"got None"),  # type: ignore[arg-type]
    "one of R": (lambda: utils.clip_grad_norm_(with_gradient(2), [1.0, -1.0]), ArgumentError, r"at least 0"),
    "R without": (lambda: utils.clip_grad_norm_(with_gradient(), [1.0, 2.0]), ArgumentError, r"replicas=None"),
    "another R": (lambda: utils.clip_grad_value_(with_gradient(3), [1.0, 2.0]), ArgumentError, r"replicas=3"),
    "mixed": (lambda: utils.clip_grad_norm_([with_gradient(2), with_gradient()], 1.0), ArgumentError, r"one number of"),
    "tensors": (lambda: utils.clip_grad_norm_([torch.ones(2)], 1.0), DTypeError, r"got Tensor"),  # type: ignore[list-item]
    "norm": (
        lambda: utils.clip_grads_with_norm_(with_gradient(), -1.0, torch.tensor(1.0)),
        ArgumentError,
        r"at least 0",
    ),
    "norm_type": (lambda: utils.clip_grad_norm_(with_gradient(), 1.0, 0), ArgumentError, r"norm_type above 0, got 0"),
    "no vector": (lambda: utils.parameters_to_vector([]), ArgumentError, r"at least one parameter"),
    "list": (lambda: utils.vector_to_parameters([1.0], [with_gradient()]), DTypeError, r"got list"),  # type: ignore[arg-type]
    "length": (lambda: utils.vector_to_parameters(torch.ones(3), [with_gradient()]), ShapeError, r"\(2,\), got \(3,\)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    call, error, match = ERRORS[name]
    with pytest.raises(error, match=match) as raised:
        call()
    assert explains(raised.value)
