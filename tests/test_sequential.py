"""Sequential as a container: its parts, what training asks of it, and how its errors say where."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DTypeError, HandgradError, ShapeError
from tests.cases import explains, network


def test_sequential_is_a_sequence() -> None:
    parts = [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)]
    model = nn.Sequential(*parts)
    assert list(model) == parts
    assert len(model) == 3
    assert model[0] is parts[0]
    assert model[-1] is parts[2]
    replacement = nn.Tanh()
    model[-2] = replacement
    assert list(model) == [parts[0], replacement, parts[2]]
    for index in (3, -4):
        with pytest.raises(IndexError, match="3 modules"):
            model[index]


def test_a_named_part_is_exchanged_as_an_attribute() -> None:
    outputs = []
    for lib in (nn, torch.nn):
        model: Any = lib.Sequential(OrderedDict(hidden=lib.Linear(3, 4), fc=lib.Linear(4, 2)))
        if lib is nn:
            nn.fuse(model)
        model.fc = lib.Linear(4, 5)
        outputs.append((list(model.state_dict()), model(torch.ones(6, 3)).shape, model.fc is model[1]))
        with pytest.raises(TypeError):
            model.fc = torch.ones(2)
        with pytest.raises(AttributeError, match="no attribute 'head'"):
            model.head  # noqa: B018
    assert outputs[0] == outputs[1]
    named = nn.Sequential(OrderedDict(training=nn.Tanh(), label=nn.ReLU())).eval()  # what a module has besides stays
    assert named.training is False
    assert named.label == "Sequential"
    assert [type(part) for part in named] == [nn.Tanh, nn.ReLU]


def test_slice_shares_its_modules() -> None:
    model = network()
    tail = model[1:]
    assert isinstance(tail, nn.Sequential)
    assert list(tail) == list(model)[1:]
    assert [name for name, _ in tail.named_children()] == [n for n, _ in network(torch.nn)[1:].named_children()]
    assert list(model[::-1]) == list(model)[::-1]
    assert list(model[3:]) == []


@pytest.mark.parametrize("run", [lambda model: model, nn.fuse], ids=["plain", "fused"])
def test_slice_leaves_what_backward_needs(run: Any) -> None:
    model = run(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    y = model(torch.randn(600, 3))  # enough for a fused chain
    assert len(model[:2]) == 2
    assert model.backward(torch.ones_like(y)).shape == (600, 3)


def test_append_and_extend() -> None:
    model = nn.Sequential()
    a, b, c = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)
    assert model.append(a) is model
    assert model.extend([b, c]) is model
    assert list(model) == [a, b, c]
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    assert model(torch.randn(5, 3)).shape == (5, 2)


def test_append_never_replaces() -> None:
    """The parts of a slice are named 1, 2, …, so that their count is a name already taken."""
    tail = network()[1:]
    parts = list(tail)
    extra = nn.Tanh()
    tail.append(extra)
    assert list(tail) == [*parts, extra]


def test_append_refuses_what_is_not_a_module() -> None:
    model = network()
    for wrong in (torch.nn.ReLU(), nn.ReLU, None):
        with pytest.raises(DTypeError, match="Sequential part 3: expected a handgrad module") as raised:
            model.append(wrong)
        assert explains(raised.value)
    with pytest.raises(DTypeError, match="Sequential part 1"):
        model[1] = torch.nn.ReLU()
    assert len(model) == 3


def test_ordered_dict_names_the_parts() -> None:
    model = nn.Sequential(OrderedDict([("hidden", nn.Linear(3, 4)), ("out", nn.Linear(4, 2))]))
    assert [name for name, _ in model.named_parameters()] == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    with pytest.raises(ShapeError, match=r"^model\.out \(Linear 4→2\): "):
        nn.Sequential(OrderedDict([("hidden", nn.Linear(3, 5)), ("out", nn.Linear(4, 2))]))(torch.zeros(2, 3))


def test_empty_sequential_is_the_identity() -> None:
    x, dy = torch.randn(4, 3), torch.randn(4, 3)
    model = nn.Sequential()
    assert torch.equal(model(x), x)
    assert torch.equal(model.backward(dy), dy)
    assert repr(model) == repr(torch.nn.Sequential())


def test_backward_parameters_empties_every_slot() -> None:
    model = nn.Sequential(nn.Sequential(nn.Tanh(), nn.ReLU()), nn.Linear(3, 2))
    y = model(torch.randn(4, 3))
    model.backward_parameters(torch.randn_like(y))
    assert [m.kept for m in model.modules()] == [None] * 5


def test_backward_parameters_stops_at_the_first_trainable_module() -> None:
    class Unused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return self.keep(x + 0, x)

        def backward(self, dy: Tensor) -> Tensor:
            raise AssertionError("nobody uses this gradient")

    class First(nn.Linear):
        def backward(self, dy: Tensor) -> Tensor:
            raise AssertionError("nobody uses its input's gradient")

        backward_parameters = nn.Linear.backward_parameters

    model = nn.Sequential(Unused(), nn.Sequential(Unused(), First(3, 4), nn.ReLU()), nn.Linear(4, 2))
    y = model(torch.randn(5, 3))
    model.backward_parameters(torch.randn_like(y))
    assert all(p.grad is not None for p in model.parameters())


# Errors say where


def at_4(x: Tensor) -> None:
    nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.BatchNorm1d(25), nn.Linear(25, 24), nn.Linear(25, 2))(x)


def nested(x: Tensor) -> None:
    nn.Sequential(nn.Linear(2, 5), nn.Sequential(nn.Linear(4, 2), nn.ReLU()))(x)


def nested_backward(x: Tensor) -> None:
    model = nn.Sequential(nn.Linear(2, 5), nn.Sequential(nn.Tanh(), nn.Linear(5, 2)))
    model(x)
    model.backward(torch.zeros(3, 7))


def nested_backward_parameters(x: Tensor) -> None:
    model = nn.Sequential(nn.Linear(2, 5), nn.Sequential(nn.Tanh(), nn.Linear(5, 2)))
    model(x)
    model.backward_parameters(torch.zeros(3, 7))


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (at_4, "model.4 (Linear 25→2): expected an input of shape (…, 25), got (3, 24). "),
        (nested, "model.1.0 (Linear 4→2): expected an input of shape (…, 4), got (3, 5). "),
        (nested_backward, "model.1.1 (Linear 5→2): expected a gradient of the output's shape (3, 2), got (3, 7). "),
        (nested_backward_parameters, "model.1.1 (Linear 5→2): expected a gradient of the output's shape (3, 2), got "),
    ],
)
def test_errors_name_the_layer(call: Any, place: str) -> None:
    with pytest.raises(HandgradError) as raised:
        call(torch.zeros(3, 2))
    assert str(raised.value).startswith(place)
    assert explains(raised.value)


@pytest.mark.parametrize("name", ["a.b", "", 0])
def test_names_that_are_no_steps_of_a_path(name: Any) -> None:
    """In a state_dict "a.b.weight" would be two weights: that of "b" in "a", too."""
    with pytest.raises(ArgumentError, match="names") as raised:
        nn.Sequential(OrderedDict([(name, nn.Linear(2, 2)), ("a", nn.Sequential(OrderedDict(b=nn.Linear(2, 2))))]))
    assert explains(raised.value)


def test_a_dictionary_of_modules_is_pytorchs() -> None:
    ours, theirs = (n.ModuleDict({"a": n.Linear(2, 3)}) for n in (nn, torch.nn))
    for n, held in ((nn, ours), (torch.nn, theirs)):
        held["b"] = n.Tanh()
        held.update({"c": n.Linear(3, 1), "a": n.Linear(2, 2)})
        assert "c" in held
        assert "d" not in held
        held.c = n.Linear(3, 2)
        assert held.c is held["c"]
    assert repr(ours) == repr(theirs)
    assert list(ours) == list(ours.keys()) == list(theirs)
    assert [type(part).__name__ for part in ours.values()] == [type(part).__name__ for _, part in theirs.items()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.pop("b") not in ours.values()
    del ours["c"]
    assert [name for name, _ in ours.items()] == ["a"]
    ours.clear()
    assert len(ours) == 0
    with pytest.raises(KeyError, match="a"):
        ours["a"]


def test_one_activation_may_stand_in_several_places() -> None:
    def build(n: Any) -> Any:
        torch.manual_seed(0)
        act = n.Sequential(n.Tanh())
        return n.Sequential(n.Linear(3, 4), act, n.Linear(4, 4), act, n.Linear(4, 2)).append(act)

    ours, theirs = build(nn), build(torch.nn)
    x, dy = torch.randn(5, 3), torch.randn(5, 2)
    y = theirs(x)
    y.backward(dy)
    torch.testing.assert_close(ours(x), y.detach())
    ours.backward(dy)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad.mT if p.transposed else p.grad, q.grad)
    assert repr(ours) == repr(theirs)
    shared = nn.Linear(3, 3)
    assert nn.Sequential(shared, nn.Tanh(), shared)[0] is shared


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_parts_are_put_in_and_taken_out_as_in_pytorch(kind):
    def steps(library):
        parts = [library.Linear(2, 3), library.ReLU(), library.Linear(3, 1)]
        made = getattr(library, kind)(*([parts] if kind == "ModuleList" else parts))
        yield made
        for index in (1, -1, 0) if kind == "Sequential" else (1, 0):  # before the last, PyTorch's list loses a part
            made.insert(index, library.Tanh())
            yield made
        for index in (0, -1):
            made.pop(index)
            yield made
        del made[0]
        yield made
        del made[1:]
        yield made

    for ours, theirs in zip(steps(nn), steps(torch.nn), strict=True):
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())


def test_a_fused_sequential_runs_without_what_was_taken_out():
    model = nn.fuse(nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 2), nn.Tanh()))
    x = torch.randn(600, 2)
    model.pop()
    assert torch.allclose(model(x), nn.Sequential(*model)(x), atol=1e-6)
    model.insert(0, nn.Sigmoid())
    assert torch.allclose(model(x), nn.Sequential(*model)(x), atol=1e-6)


def test_names_stay_where_they_are_no_numbers():
    model = nn.Sequential(OrderedDict(first=nn.ReLU(), second=nn.Tanh(), third=nn.SiLU()))
    del model[1]
    assert [name for name, _ in model.named_parts()] == ["first", "third"]
    with pytest.raises(IndexError, match="none at index 2"):
        model.pop(2)
