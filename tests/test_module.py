"""The tree of modules, its state, its place and its type."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from handgrad import fit, nn, optim, summary
from handgrad.errors import ArgumentError, DeviceError, DTypeError, MethodError, ShapeError, StateError
from handgrad.interop import from_torch
from handgrad.testing import gradcheck
from tests.cases import CASES, Case, explains, generator, ids, network

EACH = pytest.mark.parametrize("case", [c for c in CASES if not c.peer], ids=ids(c for c in CASES if not c.peer))


# Names


@EACH
@pytest.mark.parametrize("tree", ["named_parameters", "named_modules", "named_buffers", "named_children"])
def test_names_are_torchs(case: Case, tree: str) -> None:
    ours, theirs = getattr(case.make(nn), tree)(), getattr(case.make(torch.nn), tree)()
    expected = [(name, type(part).__name__) for name, part in theirs]
    if tree in ("named_parameters", "named_buffers"):
        assert [name for name, _ in ours] == [name for name, _ in expected]
    else:
        assert [(name, type(part).__name__) for name, part in ours] == expected


def test_prefix_stands_before_every_name() -> None:
    for tree in ("named_parameters", "named_modules", "named_buffers"):
        ours = [name for name, _ in getattr(network(), tree)(prefix="net")]
        assert ours == [name for name, _ in getattr(network(torch.nn), tree)(prefix="net")]


def shared(n: Any) -> Any:
    layer, norm = n.Linear(3, 3), n.BatchNorm1d(3)
    return n.Sequential(layer, n.Sequential(norm, layer), norm, layer)


@pytest.mark.parametrize("tree", ["named_parameters", "named_modules", "named_buffers"])
def test_shared_module_comes_once(tree: str) -> None:
    assert [n for n, _ in getattr(shared(nn), tree)()] == [n for n, _ in getattr(shared(torch.nn), tree)()]


def test_shared_modules_state_goes_to_torch_and_back() -> None:
    state = shared(nn).state_dict()
    assert list(state) == list(shared(torch.nn).state_dict())
    shared(nn).load_state_dict(shared(torch.nn).state_dict())


def test_attributes_of_a_users_module_are_found() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.scale = nn.Parameter(torch.ones(1))

    assert [name for name, _ in nn.Sequential(Twice()).named_parameters()] == [
        "0.scale",
        "0.inner.weight",
        "0.inner.bias",
    ]


def test_modules_children_and_buffers_match_their_named_forms() -> None:
    model = network()
    assert list(model.modules()) == [module for _, module in model.named_modules()]
    assert list(model.children()) == [module for _, module in model.named_children()]
    assert [id(b) for b in model.buffers()] == [id(b) for _, b in model.named_buffers()]


# Mode, gradients, initial values


def test_train_and_eval_reach_every_part() -> None:
    model = network()
    assert [m.training for m in model.modules()] == [True] * 6
    assert model.eval() is model
    assert [m.training for m in model.modules()] == [False] * 6
    assert model.train() is model
    assert [m.training for m in model.modules()] == [True] * 6


def test_zero_grad_clears_every_gradient() -> None:
    model = network()
    y = model(torch.randn(4, 3))
    model.backward(torch.randn_like(y))
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_reset_draws_anew_and_restores_buffers() -> None:
    model = network()
    fresh = {name: buffer.clone() for name, buffer in model.named_buffers()}
    y = model(torch.randn(4, 3))
    model.backward(torch.randn_like(y))
    before = model.state_dict()
    model.reset(generator(7))
    first = model.state_dict()
    assert not torch.equal(first["0.weight"], before["0.weight"])
    assert all(torch.equal(buffer, fresh[name]) for name, buffer in model.named_buffers())
    assert all(p.grad is None for p in model.parameters())
    model.reset(generator(7))
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    model.reset(generator(8))
    assert not torch.equal(model.state_dict()["0.weight"], first["0.weight"])


def test_reset_with_a_generator_leaves_the_default_one_alone() -> None:
    state = torch.get_rng_state()
    model = nn.Sequential(nn.Linear(3, 2, generator=generator(1)))
    model.reset(generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    model.reset()
    assert not torch.equal(torch.get_rng_state(), state)


def test_parameter_without_initialiser_cannot_be_reset() -> None:
    with pytest.raises(ArgumentError, match="initialiser") as raised:
        nn.Parameter(torch.ones(2)).reset()
    assert explains(raised.value)


def test_gradient_of_another_shape_is_refused() -> None:
    p = nn.Parameter(torch.ones(2))
    with pytest.raises(ShapeError, match=r"\(2,\), got \(1, 2\)") as raised:
        p.add_grad(torch.ones(1, 2))
    assert explains(raised.value)
    assert p.grad is None


# Device and dtype


def test_to_converts_in_place_and_keeps_the_optimisers_link() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    parameters = list(model.parameters())
    assert model.double() is model
    assert list(map(id, model.parameters())) == list(map(id, parameters))
    assert {value.dtype for name, value in model.state_dict().items() if "num_batches" not in name} == {torch.float64}
    assert model[1][0].num_batches_tracked.dtype is torch.int64
    y = model(torch.randn(4, 3, dtype=torch.float64))
    model.backward(torch.randn_like(y))
    before = model.state_dict()
    optimizer.step()
    for name, p in model.named_parameters():
        assert p.grad is not None
        value = p.torch_value
        step = p.grad.mT if p.transposed else p.grad
        torch.testing.assert_close(value, before[name] - 0.5 * step, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m.to(torch.float64),
        lambda m: m.to(dtype=torch.float64),
        lambda m: m.to("cpu", torch.float64),
        lambda m: m.to(torch.device("cpu"), dtype=torch.float64),
        lambda m: m.to(torch.zeros(1, dtype=torch.float64)),
        lambda m: m.double(),
    ],
    ids=["dtype", "dtype=", "device-dtype", "device-dtype=", "tensor", "double"],
)
def test_spellings_of_to(convert: Any) -> None:
    model = network()
    y = model(torch.randn(4, 3))
    model.backward(torch.randn_like(y))
    convert(model)
    assert {p.value.dtype for p in model.parameters()} == {torch.float64}
    assert {p.grad.dtype for p in model.parameters()} == {torch.float64}
    assert model[1][0].running_mean.dtype is torch.float64
    assert {p.value.dtype for p in model.float().parameters()} == {torch.float32}


@pytest.mark.parametrize("device", ["meta", "nonsense", "cpu:x", torch.device("meta"), 3.5])
def test_device_that_is_not_there(device: Any) -> None:
    model = network()
    before = model.state_dict()
    with pytest.raises(DeviceError, match=r"Sequential\.to: expected a device") as raised:
        model.to(device=device)
    assert explains(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(3, 2, device="nonsense"),
        lambda: nn.BatchNorm1d(3, device="nonsense"),
        lambda: nn.PositionalEmbedding(3, 2, device="meta"),
    ],
)
def test_layer_built_for_a_device_that_is_not_there(build: Any) -> None:
    with pytest.raises(DeviceError, match="expected a device") as raised:
        build()
    assert explains(raised.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_to_refuses_dtypes_that_are_not_real(dtype: torch.dtype) -> None:
    with pytest.raises(ArgumentError, match="floating-point dtype") as raised:
        network().to(dtype)
    assert explains(raised.value)


def test_input_on_another_device() -> None:
    with pytest.raises(DeviceError, match="device cpu, that of the parameters, got meta") as raised:
        nn.Linear(3, 2)(torch.zeros(4, 3, device="meta"))
    assert explains(raised.value)


# State


def test_state_dict_is_a_copy() -> None:
    model = network()
    state = model.state_dict()
    kept = {name: value.clone() for name, value in state.items()}
    model.reset(generator(3))
    assert all(torch.equal(value, kept[name]) for name, value in state.items())


def test_loading_copies_and_converts() -> None:
    state = {name: v.double() if v.is_floating_point() else v for name, v in network().state_dict().items()}
    model = network()
    parameters = [p.value.data_ptr() for p in model.parameters()]
    assert model.load_state_dict(state) == ([], [])
    assert [p.value.data_ptr() for p in model.parameters()] == parameters
    assert {p.value.dtype for p in model.parameters()} == {torch.float32}
    state["0.weight"].zero_()
    assert model[0].weight.value.any()


def wrong_state() -> dict[str, Any]:
    state: dict[str, Any] = dict(network().state_dict())
    del state["0.bias"], state["1.0.running_var"]
    state["extra.weight"] = torch.zeros(1)
    state["0.weight"] = torch.zeros(7, 3)
    state["2.bias"] = [0.0, 0.0]
    return state


def test_refusal_lists_everything_and_changes_nothing() -> None:
    model = network()
    before = model.state_dict()
    with pytest.raises(StateError) as raised:
        model.load_state_dict(wrong_state())
    message = str(raised.value)
    assert explains(raised.value)
    assert "missing: 0.bias, 1.0.running_var" in message
    assert "unexpected: extra.weight" in message
    assert "0.weight has shape (7, 3) instead of (5, 3)" in message
    assert "2.bias is a list instead of a tensor" in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("strict", [True, False])
def test_none_in_a_state_is_refused_and_changes_nothing(strict: bool) -> None:
    model = network()
    before = model.state_dict()
    state: dict[str, Any] = dict(network().state_dict())
    state["2.bias"] = None
    with pytest.raises(StateError, match=r"2\.bias is a NoneType instead of a tensor"):
        model.load_state_dict(state, strict=strict)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (torch.zeros(2).to_sparse(), r"2\.bias is not dense"),
        (torch.zeros(2, device="meta"), r"2\.bias has no numbers"),
        (torch.zeros(2, dtype=torch.complex64), r"2\.bias is complex"),
    ],
    ids=["sparse", "meta", "complex"],
)
def test_tensors_that_cannot_be_copied_are_refused_and_change_nothing(value: torch.Tensor, match: str) -> None:
    model = network()
    before = model.state_dict()
    with pytest.raises(StateError, match=match) as raised:
        model.load_state_dict({**network().state_dict(), "2.bias": value})
    assert explains(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(StateError, match="got int"):
        model.load_state_dict(3)


def test_not_strict_loads_what_fits_by_name() -> None:
    state: dict[str, Any] = dict(network().state_dict())
    del state["0.bias"]
    state["extra"] = torch.zeros(1)
    model = network()
    bias = model[0].bias.value.clone()
    result = model.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.bias"]
    assert result.unexpected_keys == ["extra"]
    assert torch.equal(model[0].bias.value, bias)
    assert torch.equal(model.state_dict()["2.weight"], state["2.weight"])


def test_not_strict_still_refuses_a_wrong_shape() -> None:
    state = dict(network().state_dict())
    state["0.weight"] = torch.zeros(5, 4)
    with pytest.raises(StateError, match=r"misshapen: 0\.weight has shape \(5, 4\)"):
        network().load_state_dict(state, strict=False)


@pytest.mark.parametrize(
    "value",
    [
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(3)]),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_state_without_plain_numbers_changes_nothing(value):
    layer = nn.Linear(2, 3)
    before = {name: v.clone() for name, v in layer.state_dict().items()}
    with pytest.raises(StateError, match=r"bias (is nested|has no numbers, but qint8)"):
        layer.load_state_dict({"weight": torch.zeros(3, 2), "bias": value()})
    for name, v in layer.state_dict().items():
        assert torch.equal(v, before[name])


def test_a_parameter_is_made_of_a_tensor_of_fitting_shape():
    with pytest.raises(DTypeError, match="a tensor, got list"):
        nn.Parameter([1.0])  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"rows and columns, got \(3,\)"):
        nn.Parameter(torch.ones(3), transposed=True)


def frozen_network(n: Any) -> Any:
    torch.manual_seed(0)
    parts = [n.Linear(3, 4), n.ReLU(), n.BatchNorm1d(4), n.Linear(4, 5), n.Tanh(), n.Linear(5, 2)]
    return n.Sequential(n.Sequential(*parts[:3]), n.Sequential(*parts[3:]))


def freeze(model: Any) -> None:
    weight = model[1][2].weight
    if hasattr(weight, "frozen"):
        model[0].freeze()
        weight.frozen = True
    else:
        model[0].requires_grad_(False)
        weight.requires_grad = False


def test_frozen_parameters_stay_and_the_others_move_as_torchs() -> None:
    own, theirs = frozen_network(nn).double(), frozen_network(torch.nn).double()
    for model in (own, theirs):
        freeze(model)
    before = own.state_dict()
    adam, other = (lib.AdamW(m.parameters(), 0.1) for lib, m in ((optim, own), (torch.optim, theirs)))
    for _ in range(3):
        x, t = torch.randn(700, 3).double(), torch.randn(700, 2).double()
        for model, loss, optimizer in ((nn.fuse(own), nn.MSELoss(), adam), (theirs, torch.nn.MSELoss(), other)):
            optimizer.zero_grad()
            value = loss(model(x), t)
            if isinstance(loss, nn.Loss):
                model.backward_parameters(loss.backward())
            else:
                value.backward()
            optimizer.step()
    for name, value in own.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name])
        still = (name.startswith("0.") and "running" not in name and "num" not in name) or name == "1.2.weight"
        assert torch.equal(value, before[name]) == still, name


def test_what_lies_before_the_first_trained_layer_is_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    model = frozen_network(nn)
    freeze(model)
    monkeypatch.setattr(model[0], "backward", None)
    y = model(torch.randn(6, 3))
    model.backward_parameters(torch.ones_like(y))
    assert model[0][0].kept is None
    assert [p.grad is None for p in model[1].parameters()] == [False, False, True, False]


def test_frozen_parameters_are_frozen_in_copies_of_the_network() -> None:
    model = frozen_network(nn)
    freeze(model)
    names = [name for name, p in model.named_parameters() if p.frozen]
    assert len(names) == 5
    many = nn.replicate(model, range(3))
    copies = [many, many.replica(1), nn.stack([many.replica(0), many.replica(2)]), from_torch(model.to_torch())]
    for copied in copies:
        assert [name for name, p in copied.named_parameters() if p.frozen] == names
    with pytest.raises(ArgumentError, match="frozen"):
        nn.stack([model, frozen_network(nn)])
    gradcheck(model, torch.randn(6, 3))  # all gradients, as they would be


def test_pytorchs_short_words_for_to_and_parts() -> None:
    model: Any = nn.Sequential(nn.Sequential(nn.Linear(2, 3)), nn.BatchNorm1d(3))
    for word, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16), ("float", torch.float32)):
        assert getattr(model, word)() is model
        assert {v.dtype for v in model.state_dict().values()} == {dtype, torch.int64}
    assert model.cpu() is model
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="a device of this machine, got"):
            model.cuda()
    assert model.get_submodule("0.0") is model[0][0]
    assert model.get_submodule("") is model
    assert model.get_parameter("0.0.weight") is model[0][0].weight
    for get in (model.get_submodule, model.get_parameter):
        with pytest.raises(AttributeError, match=r"no (module '0\.fc' among 0, |parameter 'fc' among none)"):
            get("0.fc")


def test_gradients_are_cleared_or_zeroed() -> None:
    layer: Any = nn.Linear(2, 1)
    for set_to_none in (False, True):
        layer.zero_grad(set_to_none=False)
        assert layer.weight.grad is None
        layer.backward(layer(torch.ones(3, 2)))
        layer.zero_grad(set_to_none)
        assert (layer.weight.grad is None) is set_to_none
        assert [p.grad is None or not p.grad.any() for p in layer.parameters()] == [True, True]
        layer.zero_grad()


def test_what_a_parameter_does_not_have_is_not_set_in_silence() -> None:
    p: Any = nn.Parameter(torch.zeros(2))
    for name in ("requires_grad", "data"):
        with pytest.raises(AttributeError, match=f"no {name!r}: .* its value, beside grad and frozen, the opposite of"):
            setattr(p, name, False)
    with pytest.raises(AttributeError, match="no 'data': it is no tensor, but holds one, its value"):
        p.data.zero_()
    assert not hasattr(p, "requires_grad")
    assert torch.equal(copy.deepcopy(p).value, p.value)


@pytest.mark.parametrize(
    ("of", "name", "message"),
    [
        (nn, "Relu", r"no attribute 'Relu'\. Did you mean ReLU"),
        (nn, "Conv3d", r"Did you mean Conv2d or Conv1d\?"),
        (nn, "functional", r"A function is a module here, as nn\.ReLU for relu"),
        (nn, "zzz", r"no attribute 'zzz'\.$"),
        (nn.init, "kaiming_normal_", r"init='kaiming_normal', or call torch\.nn\.init\.kaiming_normal_ with p"),
        (nn.init, "sparse_", r"no attribute 'sparse_'\.$"),
    ],
)  # fmt: skip
def test_a_name_of_pytorch_that_is_not_there_tells_what_is(of, name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(of, name)
    assert not hasattr(of, name)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.Linear(3, 3),
        lambda n: n.Linear(3, 4),
        lambda n: n.RNN(3, 3),
        lambda n: n.GRU(3, 4, 2, bidirectional=True),
        lambda n: n.LSTM(3, 4, bias=False),
        lambda n: n.RNNCell(3, 3),
        lambda n: n.MultiheadAttention(4, 2, bias=False),
        lambda n: n.MultiheadAttention(4, 2, kdim=3, vdim=4),
        lambda n: n.Bilinear(3, 4, 4),
    ],
)
def test_parameters_that_are_given_anew_have_torchs_layout(make: Any) -> None:
    ours, theirs = make(nn).double(), make(torch.nn).double()
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    for name, p in theirs.named_parameters():
        path, _, last = name.rpartition(".")
        owner = dict(ours.named_modules())[path]
        setattr(owner, last, nn.Parameter(p.detach().clone()))
    sizes = {"Bilinear": (3, 4), "MultiheadAttention": (4, getattr(theirs, "kdim", 4), 4)}.get(
        type(ours).__name__, (3,)
    )
    inputs = [torch.randn(5, 2, size, dtype=torch.float64) for size in sizes]
    inputs = [x[0] for x in inputs] if "Cell" in type(ours).__name__ else inputs
    y, expected = ours(*inputs), theirs(*inputs)
    y, expected = (y[0], expected[0]) if isinstance(y, tuple) else (y, expected)
    torch.testing.assert_close(y, expected.detach())
    dy = torch.randn_like(y)
    ours.backward(dy)
    expected.backward(dy)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters()):
        torch.testing.assert_close(p.grad, q.grad, msg=name)
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_what_autograd_follows_is_refused() -> None:
    """Parameters and running statistics would be followed, too, from the first step on, in silence."""
    features, model = torch.nn.Linear(3, 4)(torch.randn(5, 3)), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    for call in (
        lambda: model(features),
        lambda: nn.Tanh()(features),
        lambda: nn.MSELoss()(model(features.detach()), features),
    ):
        with pytest.raises(ArgumentError, match=r"that autograd does not follow.*detach\(\)"):
            call()
    with torch.no_grad():
        assert model(torch.nn.Linear(3, 4)(torch.randn(5, 3))).shape == (5, 4)


def test_a_function_is_applied_to_all_modules_in_pytorchs_order():
    def build(library):
        return library.Sequential(library.Linear(2, 3), library.Sequential(library.ReLU(), library.Linear(3, 1)))

    ours, theirs = [], []
    model = build(nn)
    assert model.apply(lambda m: ours.append(type(m).__name__)) is model
    build(torch.nn).apply(lambda m: theirs.append(type(m).__name__))
    assert ours == theirs


def test_a_registered_buffer_is_saved_moved_and_copied_but_not_trained():
    class Shifted(nn.Module):
        shift: torch.Tensor
        later: torch.Tensor

        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.ones(2))
            self.register_buffer("later", None)

    module = Shifted()
    assert list(module.state_dict()) == ["shift"]
    assert list(module.parameters()) == []
    assert module.double().shift.dtype is torch.float64
    module.load_state_dict({"shift": torch.zeros(2)})
    assert next(copy.deepcopy(module).buffers()).tolist() == [0, 0]
    module.later = torch.ones(3)
    assert list(module.state_dict()) == ["shift", "later"]
    assert list(Shifted().state_dict()) == ["shift"]
    with pytest.raises(ArgumentError, match="a name for the buffer that is free, got training"):
        module.register_buffer("training", torch.ones(1))
    with pytest.raises(NotImplementedError, match="persistent"):
        module.register_buffer("other", torch.ones(1), persistent=False)


def test_a_parameter_of_torch_is_refused_where_it_would_not_be_trained():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))

    with pytest.raises(DTypeError, match=r"Scaled.scale: expected a handgrad parameter, got torch.nn.Parameter"):
        optim.SGD(nn.Sequential(nn.Linear(2, 2), Scaled()).parameters())


def test_a_forward_without_a_backward_is_told_where_it_is_needed() -> None:
    """As of a class that comes from torch.nn."""

    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 3)

        def forward(self, x: Any) -> Any:
            return 2 * self.fc(x)

        @property
        def odd(self) -> Any:
            return self.fc.missing  # type: ignore[attr-defined]

    x, t, criterion = torch.ones(4, 2), torch.zeros(4, 3), nn.MSELoss()
    for model, place in ((Doubled(), "Doubled"), (nn.Sequential(Doubled(), nn.ReLU()), r"model\.0 \(Doubled\)")):
        words = f"^{place}: expected a class with a backward of its own"
        assert summary(model, x).layers[0].shape == (4, 3)
        with pytest.raises(MethodError, match=words):
            summary(model, x, t, criterion)
        with pytest.raises(MethodError, match=words):
            fit(model, criterion, optim.SGD(model.parameters()), (x, t))
        model(x)
        with pytest.raises(MethodError, match=words):
            model.backward(t)
    with pytest.raises(MethodError, match=r"^ModuleList: expected a class with a forward"):
        nn.ModuleList()(x)
    for name in ("other", "odd"):
        with pytest.raises(AttributeError, match=r"has no attribute '(other|missing)'"):
            getattr(Doubled(), name)
