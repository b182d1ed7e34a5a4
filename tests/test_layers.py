"""Every layer, loss and container against its torch.nn counterpart and against the contracts of `nn.Module`."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import BackwardError, DTypeError, GradcheckError, HandgradError, ShapeError
from handgrad.testing import gradcheck
from tests.cases import (
    BAD_INPUTS,
    BAD_OPTIONS,
    CASES,
    Bad,
    Case,
    Shape,
    close,
    differentiated,
    each,
    explains,
    grads,
    ids,
    leaves,
    upstream,
)


def named(shape: Any) -> str:
    """Such as 4x3, or 4x3_4x2 where there are several inputs."""
    return "_".join(map(named, shape)) if shape and isinstance(shape[0], tuple) else "x".join(map(str, shape))


EACH = pytest.mark.parametrize("case", CASES, ids=ids(CASES))
EACH_SHAPE = pytest.mark.parametrize(
    ("case", "shape"),
    [pytest.param(c, s, id=f"{c.name}-{named(s)}") for c in CASES for s in c.shapes],
)
MODE = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr() or id(x)  # what is empty has no memory to share


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same numbers with other strides."""
    if layout == "transposed" and x.ndim > 1:
        return x.mT.contiguous().mT
    if layout == "strided":
        return torch.stack([x, torch.full_like(x, 7.0)], -1)[..., 0]
    return x


def torch_pass(
    module: torch.nn.Module, ours: nn.Module, inputs: list[Any], dy: Any, wanted: int
) -> tuple[list[Tensor], list[Any]]:
    """Forward and backward of the PyTorch side: outputs, and gradients of the first `wanted` inputs that ours has."""
    copies = each(lambda x: x.detach().clone(), inputs)
    floats = differentiated(ours, copies)[:wanted]
    for x in floats:
        x.requires_grad_()
    torch.manual_seed(1)
    y = leaves(module(*copies))
    torch.autograd.backward([v for v in y if v.requires_grad], [g for v, g in zip(y, leaves(dy)) if v.requires_grad])
    return [v.detach() for v in y], [torch.zeros_like(x) if x.grad is None else x.grad for x in floats]


def output(module: nn.Module, inputs: list[Any]) -> Any:
    torch.manual_seed(1)  # what a layer draws, such as a dropout's mask
    return module(*inputs)


@EACH_SHAPE
@MODE
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(torch.float64, "contiguous"), (torch.float64, "transposed"), (torch.float32, "strided")],
    ids=["float64", "float64-transposed", "float32-strided"],
)
def test_equals_torch(case: Case, shape: Shape, training: bool, dtype: torch.dtype, layout: str) -> None:
    ours, theirs = case.pair(dtype)
    for mode in [True, True, training]:  # running statistics move twice before the pass that counts in eval
        for module in (ours, theirs):
            module.train(mode)
            module.zero_grad()
        inputs = each(lambda x: laid_out(x, layout), case.inputs(shape, dtype))
        y = output(ours, inputs)
        dy = each(lambda value: laid_out(value, layout), upstream(y))
        dx = leaves(ours.backward(dy))
        expected_y, expected_dx = torch_pass(theirs, ours, inputs, dy, len(dx))
        close(leaves(y), expected_y, dtype, case.rough)
        close(dx, expected_dx, dtype, case.rough)
        close(grads(ours), {name: p.grad for name, p in theirs.named_parameters()}, dtype, case.rough)
        close(dict(ours.named_buffers()), dict(theirs.named_buffers()), dtype)


@EACH
def test_accumulates_like_torch(case: Case) -> None:
    ours, theirs = case.pair(torch.float64)
    for _ in range(2):
        inputs = case.inputs(case.shapes[0], torch.float64)
        dy = upstream(output(ours, inputs))
        torch_pass(theirs, ours, inputs, dy, len(leaves(ours.backward(dy))))
    close(grads(ours), {name: p.grad for name, p in theirs.named_parameters()})


@EACH_SHAPE
@MODE
def test_leaves_inputs_and_upstream_gradient_alone(case: Case, shape: Shape, training: bool) -> None:
    module = case.ours().train(training)
    inputs = case.inputs(shape)
    for _ in range(2):  # in the second pass gradients add in place
        before = each(torch.clone, inputs)
        dy = upstream(output(module, inputs))
        dy_before = each(torch.clone, dy)
        dx = module.backward(dy)
        assert all(torch.equal(x, b) for x, b in zip(leaves(inputs), leaves(before)))
        for p in module.parameters():
            assert p.grad is not None
            p.grad.fill_(9.0)
            p.value.mul_(0.5)
        assert all(torch.equal(g, b) for g, b in zip(leaves(dy), leaves(dy_before)))
        assert not {storage(g) for g in leaves(dx)} & {storage(g) for g in leaves(dy)}


@EACH
def test_outputs_share_no_storage(case: Case) -> None:
    module = case.ours()
    first, second = (output(module, case.inputs(case.shapes[0])) for _ in range(2))
    kept = each(torch.clone, first)
    module.backward(upstream(second))
    assert not {storage(y) for y in leaves(first)} & {storage(y) for y in leaves(second)}
    assert all(torch.equal(y, b) for y, b in zip(leaves(first), leaves(kept)))


@EACH
def test_state_goes_to_torch_and_back(case: Case) -> None:
    ours, theirs = case.pair(torch.float64)
    for _ in range(2):
        output(ours, case.inputs(case.shapes[0], torch.float64))
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict(state)
    back = case.ours(torch.float64)
    back.load_state_dict(theirs.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in back.state_dict().items())
    assert all(torch.equal(value, state[name]) for name, value in theirs.state_dict().items())


@EACH
def test_same_seed_gives_torchs_initial_values(case: Case) -> None:
    torch.manual_seed(5)
    ours = case.make(nn).state_dict()
    torch.manual_seed(5)
    theirs = case.theirs(None).state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype is theirs[name].dtype, name
        assert torch.equal(value, theirs[name]), name


@EACH
def test_repr_is_torchs(case: Case) -> None:
    assert repr(case.ours()) == (case.repr or repr(case.theirs()))


@EACH
def test_backward_needs_a_forward(case: Case) -> None:
    module = case.ours()
    dy = upstream(output(module, case.inputs(case.shapes[0])))
    module.backward(dy)
    with pytest.raises(BackwardError, match="forward pass before backward") as twice:
        module.backward(dy)
    with pytest.raises(BackwardError, match="forward pass before backward") as early:
        case.ours().backward(dy)
    assert explains(twice.value)
    assert explains(early.value)


@EACH
def test_backward_checks_the_upstream_gradient(case: Case) -> None:
    module = case.ours()
    y = output(module, case.inputs(case.shapes[0]))
    with pytest.raises(ShapeError) as shape:
        module.backward(each(lambda value: torch.randn(*value.shape, 2), y))
    with pytest.raises(DTypeError) as dtype:
        module.backward(each(torch.Tensor.double, upstream(y)))
    assert explains(shape.value)
    assert explains(dtype.value)
    module.backward(upstream(y))  # a refused gradient costs nothing


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=ids(BAD_INPUTS))
def test_bad_input(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.match) as raised:
        bad.call()
    assert explains(raised.value)


@pytest.mark.parametrize("bad", BAD_OPTIONS, ids=ids(BAD_OPTIONS))
def test_bad_option(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.match) as raised:
        bad.call()
    assert explains(raised.value) or not issubclass(bad.error, HandgradError)


@EACH
@MODE
def test_backward_parameters_gives_the_same_gradients(case: Case, training: bool) -> None:
    module, _ = case.pair(torch.float64)
    module.train(training)
    twin = copy.deepcopy(module)
    for _ in range(2):
        inputs = case.inputs(case.shapes[0], torch.float64)
        dy = upstream(output(module, inputs))
        output(twin, inputs)
        module.backward(dy)
        twin.backward_parameters(dy)
    assert all(torch.equal(g, grads(twin)[name]) for name, g in grads(module).items())


@pytest.mark.parametrize("case", [c for c in CASES if c.loss], ids=ids(c for c in CASES if c.loss))
def test_loss_backward_without_upstream_gradient_is_that_of_one(case: Case) -> None:
    criterion = case.ours()
    inputs = case.inputs(case.shapes[0])
    loss = criterion(*inputs)
    if loss.ndim:
        with pytest.raises(BackwardError, match="upstream gradient"):
            criterion.backward()
        return
    dy = criterion.backward()
    criterion(*inputs)
    for one, same in zip(leaves(dy), leaves(criterion.backward(torch.ones(())))):
        assert torch.equal(one, same)


@EACH_SHAPE
@MODE
def test_gradcheck(case: Case, shape: Shape, training: bool) -> None:
    module, _ = case.pair(torch.float64)
    gradcheck(module.train(training), *case.inputs(shape, torch.float64))


@EACH
@MODE
def test_gradcheck_with_replicas(case: Case, training: bool) -> None:
    shape = case.shapes[0] if case.loss else case.batched()[0]
    module = nn.replicate(case.ours(torch.float64), seeds=[3, 4])
    for p in module.parameters():
        p.value.normal_()
    gradcheck(module.train(training), *case.inputs(shape, torch.float64, lead=(2,)))


def test_gradcheck_finds_a_tenth_of_a_percent() -> None:
    class Slightly(nn.Tanh):
        def backward(self, dy: Tensor) -> Tensor:
            return super().backward(dy) * 1.001

    with pytest.raises(GradcheckError):
        gradcheck(Slightly(), torch.randn(4, 3))


def test_gradcheck_of_a_module_that_returns_its_input() -> None:
    gradcheck(nn.Sequential(), torch.randn(4, 3))


MEMBERS = [
    member
    for name in nn.__all__
    if isinstance(member := getattr(nn, name), type) and issubclass(member, nn.Module) and hasattr(torch.nn, name)
]


@pytest.mark.parametrize("member", MEMBERS, ids=[m.__name__ for m in MEMBERS])
def test_constructor_is_torchs(member: type[nn.Module]) -> None:
    """Same names, order and defaults; what handgrad adds is keyword-only."""
    ours = inspect.signature(member.__init__).parameters
    theirs = inspect.signature(getattr(torch.nn, member.__name__).__init__).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in theirs.values()):
        return
    positional = [name for name, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [name for name, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    # where torch.nn's default is a function, handgrad's is its name
    expected = {name: "relu" if p.default is torch.nn.functional.relu else p.default for name, p in theirs.items()}
    assert {name: ours[name].default for name in theirs} == expected


def test_every_member_has_a_case() -> None:
    covered = {type(part) for case in CASES for part in case.ours().modules()}
    assert [m.__name__ for m in MEMBERS if m not in covered and m is not nn.Module] == []
