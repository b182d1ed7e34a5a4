"""A fused module equals what it replaces: values, gradients, state, errors, in all modes and edge cases."""

import copy
import pickle
from typing import Any

import pytest
import torch

from handgrad import nn, optim
from handgrad.errors import BackwardError, HandgradError
from handgrad.nn import chain
from handgrad.testing import gradcheck

NORMS = {
    "none": None,
    "affine": {},
    "plain": {"affine": False},
    "no bias": {"bias": False},
    "untracked": {"track_running_stats": False},
    "cumulative": {"momentum": None},
}


@pytest.fixture(autouse=True)
def _always(monkeypatch, request):
    """The chain itself runs in every test, however small its batch."""
    if "decides" not in request.node.name:
        monkeypatch.setattr(chain, "pays", lambda *_: True)


def network(activation=nn.ReLU, norm="affine", bias=True, replicas=None, dtype=torch.float64):
    def between(width):
        options = NORMS[norm]
        return [activation()] if options is None else [activation(), nn.BatchNorm1d(width, **options)]

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 6, bias=bias), *between(6), nn.Linear(6, 5, bias=bias), *between(5), nn.Linear(5, 2, bias=bias)
    )
    if replicas is not None:
        model = nn.replicate(model, range(replicas))
    for p in model.parameters():  # γ, β away from 1, 0, where mistakes would hide
        p.value += 0.3 * torch.randn(p.shape)
    return model.to(dtype)


def assert_same(plain, fused, x, rtol=1e-11, atol=1e-12):
    y, again = plain(x), fused(x)
    torch.testing.assert_close(again, y, rtol=rtol, atol=atol)
    dy = torch.randn_like(y)
    torch.testing.assert_close(fused.backward(dy), plain.backward(dy), rtol=rtol, atol=atol)
    for (name, p), (other, q) in zip(plain.named_parameters(), fused.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(q.grad, p.grad, rtol=rtol, atol=atol)
    own, other = plain.state_dict(), fused.state_dict()
    assert list(own) == list(other)
    for name in own:
        torch.testing.assert_close(other[name], own[name], rtol=rtol, atol=atol)


@pytest.mark.parametrize("replicas", [None, 1, 3])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.Hardshrink])
@pytest.mark.parametrize("bias", [True, False])
def test_values_gradients_and_buffers(activation, norm, bias, replicas):
    plain = network(activation, norm, bias, replicas)
    fused = nn.fuse(copy.deepcopy(plain))
    assert [module.label for _, module in fused.running()] == ["LinearChain 3→6→5→2"]
    lead = () if replicas is None else (replicas,)
    for training, n in ((True, 8), (True, 8), (True, 5), (False, 8), (False, 1), (True, 8)):
        plain.train(training)
        fused.train(training)
        if n == 1 and norm == "untracked":
            continue  # the batch's own statistics in evaluation too, which one sample does not have
        assert_same(plain, fused, torch.randn(*lead, n, 3, dtype=torch.float64))


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("training", [True, False])
def test_gradcheck(training, replicas):
    lead = () if replicas is None else (replicas,)
    gradcheck(nn.fuse(network(nn.Tanh, replicas=replicas)).train(training), torch.randn(*lead, 7, 3))


def test_the_chain_decides_against_large_products_that_are_faster_as_convolutions(monkeypatch):
    for faster in (False, True):
        monkeypatch.setattr(chain, "convolutions_are_faster", lambda faster=faster: faster)
        assert chain.pays(10, 500, 64, norms=True)
        assert chain.pays(10, 500, 512, norms=True) is not faster


def test_float32_and_a_mean_far_from_zero():
    plain = network(dtype=torch.float32)
    dict(plain.named_parameters())["0.bias"].value += 100  # µ ≫ σ: E[x²] − µ² would have no digit left
    fused, exact = nn.fuse(copy.deepcopy(plain)), copy.deepcopy(plain).double()
    x = torch.randn(50, 3)
    y = exact(x.double())
    torch.testing.assert_close(fused(x).double(), y, rtol=1e-3, atol=1e-3)


def test_inputs_shared_by_replicas():
    plain = network(replicas=3)
    assert_same(plain, nn.fuse(copy.deepcopy(plain)), torch.randn(8, 3, dtype=torch.float64))


def test_inputs_of_more_dimensions_go_through_the_parts():
    plain = network(norm="none")
    assert_same(plain, nn.fuse(copy.deepcopy(plain)), torch.randn(4, 8, 3, dtype=torch.float64))
    assert_same(plain, nn.fuse(copy.deepcopy(plain)), torch.randn(3, dtype=torch.float64))


def test_an_empty_batch_in_evaluation():
    plain = network().eval()
    assert nn.fuse(plain)(torch.zeros(0, 3, dtype=torch.float64)).shape == (0, 2)


def test_gradients_accumulate_and_nothing_handed_over_is_changed():
    plain = network()
    fused = nn.fuse(copy.deepcopy(plain))
    for _ in range(2):
        x = torch.randn(8, 3, dtype=torch.float64)
        dy = torch.randn(8, 2, dtype=torch.float64)
        before = x.clone(), dy.clone()
        outputs = fused(x), fused(x)
        assert outputs[0].data_ptr() != outputs[1].data_ptr()
        fused.backward(dy)
        assert torch.equal(x, before[0])
        assert torch.equal(dy, before[1])
        plain(x)
        plain(x)
        plain.backward(dy)
    for p, q in zip(plain.parameters(), fused.parameters()):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-11, atol=1e-12)


def test_backward_parameters_gives_the_same_parameter_gradients():
    fused = nn.fuse(network())
    x, dy = torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 2, dtype=torch.float64)
    grads = []
    for backward in (fused.backward, fused.backward_parameters):
        fused.zero_grad()
        fused(x)
        backward(dy)
        grads.append([p.grad for p in fused.parameters()])
    assert all(a is not None and b is not None and torch.equal(a, b) for a, b in zip(*grads))


def test_training_trains_the_original():
    model = network()
    optimizer, fused = optim.SGD(model.parameters(), lr=0.1), nn.fuse(model)
    before = model.state_dict()
    fused(torch.randn(8, 3, dtype=torch.float64))
    fused.backward(torch.randn(8, 2, dtype=torch.float64))
    optimizer.step()
    assert not any(torch.equal(before[name], value) for name, value in model.state_dict().items())
    fused.eval()
    assert not model[2].training


def test_a_nan_in_one_replica_leaves_the_others_bit_identical():
    good, bad = network(replicas=3), network(replicas=3)
    dict(bad.named_parameters())["0.weight"].value[1] = float("nan")
    x, dy = torch.randn(8, 3, dtype=torch.float64), torch.randn(3, 8, 2, dtype=torch.float64)
    outputs = []
    for model in (nn.fuse(good), nn.fuse(bad)):
        outputs.append([model(x), model.backward(dy), *(p.grad for p in model.parameters()), *model.buffers()])
    for a, b in zip(*outputs):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


def same_error(plain, fused, action):
    messages = []
    for model in (plain, fused):
        with pytest.raises(HandgradError) as caught:
            action(model)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(8, 4, dtype=torch.float64),
        torch.zeros(8, 3),
        torch.zeros(8, 3, dtype=torch.long),
        torch.zeros(1, 3, dtype=torch.float64),
        torch.zeros(0, 3, dtype=torch.float64),
        [1.0, 2.0, 3.0],
    ],
)
def test_errors_name_the_same_layer(x):
    model = network()
    same_error(model, nn.fuse(model), lambda m: m(x))


def test_backward_needs_a_forward_and_a_gradient_that_fits():
    fused = nn.fuse(network())
    with pytest.raises(BackwardError, match="LinearChain"):
        fused.backward(torch.zeros(8, 2, dtype=torch.float64))
    fused(torch.randn(8, 3, dtype=torch.float64))
    with pytest.raises(HandgradError, match=r"\(8, 2\)"):
        fused.backward(torch.zeros(8, 3, dtype=torch.float64))


def labels(model):
    return [module.label for _, module in nn.fuse(model).running()]


def test_what_is_fused_and_what_is_not():
    linear, relu = nn.Linear(3, 3), nn.ReLU
    assert labels(nn.Sequential(linear, relu())) == ["Linear 3→3", "ReLU"]
    assert labels(nn.Sequential(linear, relu(), nn.Linear(3, 2), nn.Tanh())) == ["LinearChain 3→3→2", "Tanh"]
    two = nn.Sequential(linear, nn.Linear(3, 3), relu(), nn.Linear(3, 1))
    assert labels(two) == ["Linear 3→3", "LinearChain 3→3→1"]
    # sizes that do not fit stay as they are, so that the layer at fault says so
    assert labels(nn.Sequential(linear, relu(), nn.Linear(4, 2))) == ["Linear 3→3", "ReLU", "Linear 4→2"]
    assert labels(nn.Sequential(linear, relu(), nn.BatchNorm1d(4), nn.Linear(3, 2)))[1:3] == ["ReLU", "BatchNorm1d 4"]


class Odd(nn.ReLU):
    """3 x above 0."""

    def value(self, x):
        y, kept = super().value(x)
        return 3 * y, kept

    def slope(self, y):
        return super().slope(y).mul_(3)


class Otherwise(nn.ReLU):
    """−x, by a forward of its own."""

    def forward(self, x):
        return self.keep(-x)

    def backward(self, dy):
        self.take(dy)
        return -dy


def test_subclasses_keep_their_own_formulas():
    assert labels(nn.Sequential(nn.Linear(3, 3), Otherwise(), nn.Linear(3, 2)))[1] == "Otherwise"
    for activation in (Odd, Otherwise):
        assert_same(network(activation), nn.fuse(network(activation)), torch.randn(8, 3, dtype=torch.float64))


def test_float16_goes_through_the_parts_which_sum_in_float32():
    plain = network(dtype=torch.float16)
    fused, x = nn.fuse(copy.deepcopy(plain)), torch.randn(20, 3).half()
    assert torch.equal(fused(x), plain(x))


@pytest.mark.parametrize("part", [0, 1, 2, None])
def test_formulas_put_into_a_module_are_its_own(part):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    changed: Any = model if part is None else model[part]
    forward, backward = changed.forward, changed.backward
    changed.forward, changed.backward = (lambda x: 2 * forward(x)), (lambda dy: backward(2 * dy))
    x, dy = torch.randn(6, 3), torch.randn(6, 2)
    (y, dx), (z, dz) = ((run(x), run.backward(dy)) for run in (model, nn.fuse(model)))
    torch.testing.assert_close(z, y)
    torch.testing.assert_close(dz, dx)


def test_nested_sequentials_are_fused_and_errors_keep_their_path():
    inner = network(dtype=torch.float32)
    model = nn.Sequential(nn.Tanh(), inner)
    fused = nn.fuse(model)
    assert [name for name, _ in fused.named_parameters()] == [name for name, _ in model.named_parameters()]
    same_error(model, fused, lambda m: m(torch.zeros(8, 4)))


def test_a_changed_container_is_no_longer_fused_and_a_replicated_one_can_be_again():
    fused = nn.fuse(network())
    assert len(nn.fuse(network()).append(nn.ReLU()).running()) == len(fused) + 1
    assert len(nn.replicate(nn.fuse(network()), [0, 1]).running()) == len(fused)


@pytest.mark.parametrize(
    ("replicas", "samples", "width", "norm", "whole"),
    [
        (None, 499, 4, True, False),
        (None, 500, 4, True, True),
        (None, 500, 32, True, False),
        (2, 250, 4, True, True),
        (9, 63, 4, True, False),
        (9, 64, 4, True, True),
        (9, 64, 31, False, True),
        (9, 64, 32, False, False),
        (9, 64, 32, True, True),
        (2, 300, 401, True, False),
    ],
)
def test_the_size_of_a_batch_decides_what_runs(replicas, samples, width, norm, whole):
    norms = [nn.BatchNorm1d(width)] if norm else []
    model = nn.Sequential(nn.Linear(3, width), nn.ReLU(), *norms, nn.Linear(width, 2)).double()
    model = model if replicas is None else nn.replicate(model, range(replicas))
    fused = nn.fuse(copy.deepcopy(model))
    assert_same(model, fused, torch.randn(samples, 3, dtype=torch.float64))
    running = fused.running()[0][1]
    fused(torch.randn(samples, 3, dtype=torch.float64))
    assert running.kept is not None
    assert (running.kept[0] is not None) == whole


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_trains_what_it_computes_with(copied):
    fused, x = nn.fuse(network(dtype=torch.float32)), torch.randn(20, 3)
    fused(x)
    twin = copied(fused)
    for p in twin.parameters():
        p.value.add_(1)
    torch.testing.assert_close(twin(x), nn.Sequential(*twin)(x))


def test_a_part_of_a_nested_container_can_be_exchanged():
    fused, x = nn.fuse(nn.Sequential(network(dtype=torch.float32), nn.Tanh())), torch.randn(20, 3)
    before, inner = fused(x), fused[0]
    assert isinstance(inner, nn.Sequential)
    inner[1] = nn.Tanh()
    torch.testing.assert_close(fused(x), nn.Sequential(nn.Sequential(*inner), nn.Tanh())(x))
    assert not torch.equal(fused(x), before)


def test_what_is_fused_forgets_with_the_rest():
    fused = nn.Sequential(nn.fuse(nn.Sequential(network(dtype=torch.float32))))
    fused(torch.randn(20, 3))
    fused.forget()
    with pytest.raises(BackwardError, match="a forward pass before backward"):
        fused.backward(torch.randn(20, 2))


def test_what_inference_mode_has_used_serves_after_it():
    plain = network()
    fused, x = nn.fuse(copy.deepcopy(plain)), torch.randn(20, 3, dtype=torch.float64)
    with torch.inference_mode():
        fused(x)
    plain(x)  # running statistics move here, too
    assert_same(plain, fused, x)
