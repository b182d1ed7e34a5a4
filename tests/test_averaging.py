"""optim.swa_utils against torch.optim.swa_utils, and each replica against itself alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.errors import ArgumentError, StateError
from handgrad.optim import swa_utils
from tests.cases import Replicated, close, explains, grads, network

theirs = torch.optim.swa_utils
R = 3

OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "mean": lambda n: {},
    "mean-avg": lambda n: {"avg_fn": n.get_swa_avg_fn()},
    "mean-multi": lambda n: {"multi_avg_fn": n.get_swa_multi_avg_fn()},
    "ema-avg": lambda n: {"avg_fn": n.get_ema_avg_fn(0.9)},
    "ema-multi": lambda n: {"multi_avg_fn": n.get_ema_multi_avg_fn(0.8)},
    "ema-default": lambda n: {"multi_avg_fn": n.get_ema_multi_avg_fn()},
    "own": lambda n: {"avg_fn": lambda averaged, current, k: averaged - current / (k.double() + 2).sqrt().sum()},
    "buffers": lambda n: {"use_buffers": True},
    "ema-buffers": lambda n: {"multi_avg_fn": n.get_ema_multi_avg_fn(0.75), "use_buffers": True},
    "ema-avg-buffers": lambda n: {"avg_fn": n.get_ema_avg_fn(0.75), "use_buffers": True},
}
EACH = pytest.mark.parametrize("name", OPTIONS)


def disturb(*models: Any) -> None:
    """Give all models the same new parameters and buffers, those of R replicas where there are some."""
    state = {}
    for name, value in models[0].state_dict().items():
        state[name] = torch.randn_like(value) if value.is_floating_point() else value + 4
        if name.endswith("running_var"):
            state[name] = state[name].abs() + 0.5
    for model in models:
        model.load_state_dict(state)


def pair() -> tuple[Any, Any]:
    a, b = network().double(), network(torch.nn).double()
    disturb(b, a)
    return a, b


def same_state(actual: Any, expected: Any) -> None:
    assert list(actual.state_dict()) == list(expected.state_dict())
    for name, value in actual.state_dict().items():
        close(value, expected.state_dict()[name])


@EACH
def test_updates_equal_torch(name: str) -> None:
    a, b = pair()
    peer = "mean" if name == "mean-multi" else name  # torch's rounds 1 / (n + 1) to float32
    ours = swa_utils.AveragedModel(a, **OPTIONS[name](swa_utils))
    expected = theirs.AveragedModel(b, **OPTIONS[peer](theirs))
    same_state(ours, expected)
    for _ in range(5):
        disturb(a, b)
        ours.update_parameters(a)
        expected.update_parameters(b)
        same_state(ours, expected)
    assert ours.n_averaged == 5
    assert ours.n_averaged.dtype == torch.long
    x = torch.randn(6, 3, dtype=torch.float64)
    close(ours.eval()(x), expected.eval()(x).detach())


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "own"])  # that is not written for R counts
def test_each_replica_is_averaged_as_alone(name: str) -> None:
    model = network(Replicated([1, 2, 3])).double()
    alone = [model.replica(r) for r in range(R)]
    options = OPTIONS[name](swa_utils)
    together, apart = swa_utils.AveragedModel(model, **options), [swa_utils.AveragedModel(m, **options) for m in alone]
    assert together.n_averaged.shape == (R,)
    for step in range(4):
        disturb(model)
        if step == 2:
            next(iter(model.parameters())).value[1].fill_(torch.nan)
        together.update_parameters(model)
        for r in range(R):
            apart[r].update_parameters(model.replica(r))
            for one, several in zip(apart[r].state_dict().values(), together.state_dict().values()):
                assert torch.allclose(several[r], one, rtol=1e-12, atol=1e-14, equal_nan=True)
    x = torch.randn(6, 3, dtype=torch.float64)
    close(together.eval()(x)[2], apart[2].eval()(x))
    close(together.replica(2).eval()(x), apart[2].eval()(x))


@pytest.mark.parametrize("make", ["get_ema_avg_fn", "get_ema_multi_avg_fn"])
@pytest.mark.parametrize("use_buffers", [False, True])
def test_decay_may_be_r_numbers(make: str, use_buffers: bool) -> None:
    decays = [0.0, 0.5, 1.0]
    model = network(Replicated([1, 2, 3]))
    key = make.removeprefix("get_ema_")

    def average(m: nn.Module, decay: Any) -> swa_utils.AveragedModel:
        function = getattr(swa_utils, make)(decay)
        return swa_utils.AveragedModel(m, use_buffers=use_buffers, **{key: function})

    together, apart = average(model, decays), [average(model.replica(r), d) for r, d in enumerate(decays)]
    for _ in range(3):
        disturb(model)
        together.update_parameters(model)
        for r in range(R):
            apart[r].update_parameters(model.replica(r))
    for r in range(R):
        close(together.replica(r).state_dict(), apart[r].state_dict(), torch.float32)


def test_stacked_averages_count_on_their_own() -> None:
    models = [network().double() for _ in range(3)]
    ema: list[swa_utils.AveragedModel] = [swa_utils.AveragedModel(m) for m in models]
    for k, (average, model) in enumerate(zip(ema, models)):
        for _ in range(k):  # the first has averaged none yet
            disturb(model)
            average.update_parameters(model)
    together = nn.stack(ema)
    assert together.n_averaged.tolist() == [0, 1, 2]
    for model in models:
        disturb(model)
    together.update_parameters(nn.stack(models))
    for r, (average, model) in enumerate(zip(ema, models)):
        average.update_parameters(model)
        close(together.replica(r).state_dict(), average.state_dict())


def test_the_network_and_its_average_share_nothing() -> None:
    model = network()
    x = torch.randn(4, 3)
    model.backward(torch.ones_like(model(x)))
    model(x)
    average = swa_utils.AveragedModel(model)
    assert all(p.grad is None for p in average.parameters())
    assert all(part.kept is None for part in average.modules())
    assert all(p.grad is not None for p in model.parameters())
    before = average.state_dict()
    disturb(model)
    close(average.state_dict(), before)
    average.update_parameters(model)
    state = average.state_dict()
    disturb(model)
    close(average.state_dict(), state)


def test_state_is_exchanged_with_torch() -> None:
    a, b = pair()
    ours, expected = swa_utils.AveragedModel(a), theirs.AveragedModel(b)
    ours.update_parameters(a)
    expected.load_state_dict(ours.state_dict())
    same_state(ours, expected)
    disturb(expected)
    ours.load_state_dict(expected.state_dict())
    same_state(ours, expected)
    with pytest.raises(StateError, match="n_averaged"):
        ours.load_state_dict(b.state_dict())


def test_average_in_another_dtype_and_gradients_through_it() -> None:
    model = network()
    average = swa_utils.AveragedModel(model, "cpu").double()
    average.update_parameters(model)
    disturb(model)
    average.update_parameters(model)
    assert {p.value.dtype for p in average.parameters()} == {torch.float64}
    x = torch.randn(4, 3, dtype=torch.float64)
    y = average(x)
    average.backward(torch.ones_like(y))
    inner = average.module
    expected = grads(inner)
    inner.zero_grad()
    inner(x)
    average.forward(x)
    average.backward_parameters(torch.ones_like(y))
    close(grads(inner), expected)
    average.reset(torch.Generator().manual_seed(0))
    assert average.n_averaged == 0


# Statistics


@pytest.mark.parametrize("form", [lambda x: x, lambda x: (x, 0), lambda x: [x, None]], ids=["tensor", "tuple", "list"])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_update_bn_equals_torch(form: Callable[[Tensor], Any], momentum: float | None) -> None:
    a, b = pair()
    a[1][0].momentum = b[1][0].momentum = momentum
    loader = [form(torch.randn(5, 3, dtype=torch.float64)) for _ in range(4)]
    a.eval()
    a[1].train()
    ours, expected = swa_utils.AveragedModel(a).eval(), theirs.AveragedModel(b).eval()
    inner: Any = ours.module
    inner[0].train()
    swa_utils.update_bn(loader, ours, device="cpu")
    theirs.update_bn(loader, expected)
    same_state(ours, expected)
    assert inner[1][0].momentum == momentum
    assert [part.training for part in ours.modules()] == [False, False, True, False, False, False, False]
    assert all(part.kept is None for part in ours.modules())


def test_update_bn_of_replicas_and_after_a_failure() -> None:
    model = network(Replicated([1, 2, 3])).double()
    loader = [torch.randn(5, 3, dtype=torch.float64) for _ in range(4)]
    alone = [model.replica(r) for r in range(R)]
    swa_utils.update_bn(loader, model)
    for r in range(R):
        swa_utils.update_bn(loader, alone[r])
        close(model.replica(r).state_dict(), alone[r].state_dict())
    norm = model[1][0]
    model.eval()
    with pytest.raises(TypeError):
        swa_utils.update_bn([loader[0], "text"], model)
    assert norm.momentum == 0.1
    assert not norm.training
    plain = nn.Sequential(nn.Linear(3, 2))
    swa_utils.update_bn(iter([None]), plain)  # without BatchNorm the data are not read


# Names, signatures, errors


@pytest.mark.parametrize("name", swa_utils.__all__)
def test_signature_is_torchs_and_the_docstring_complete(name: str) -> None:
    ours, expected = getattr(swa_utils, name), getattr(theirs, name)
    actual, wanted = inspect.signature(ours).parameters, inspect.signature(expected).parameters
    assert [(k, p.default) for k, p in actual.items()] == [(k, p.default) for k, p in wanted.items()]
    assert "Source: " in ours.__doc__
    if isinstance(ours, type):
        for part in (r"\$\$", r"Args:\n", r"Errors: ", r"Example:\n\s+>>> "):
            assert re.search(part, ours.__doc__), part


def test_every_name_of_torch_is_there() -> None:
    assert set(theirs.__all__) == set(swa_utils.__all__)


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "both": (
        lambda: swa_utils.AveragedModel(network(), None, swa_utils.get_swa_avg_fn(), swa_utils.get_swa_multi_avg_fn()),
        r"one of avg_fn and multi_avg_fn, got both",
    ),
    "decay": (lambda: swa_utils.get_ema_avg_fn(1.1), r"decay of at most 1, got 1\.1"),
    "decay one of R": (lambda: swa_utils.get_ema_multi_avg_fn([0.5, -0.1]), r"decay of at least 0"),
    "decay NaN": (lambda: swa_utils.get_ema_multi_avg_fn(float("nan")), r"got nan"),
    "another network": (
        lambda: swa_utils.AveragedModel(network()).update_parameters(nn.Linear(3, 5)),
        r"like the one that was copied, got Linear 3→5",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    call, match = ERRORS[name]
    with pytest.raises(ArgumentError, match=match) as raised:
        call()
    assert explains(raised.value)


def test_a_training_with_all_of_it_equals_torch() -> None:
    """Warm-up and cosine, clipping, EMA and SWA of one run."""
    a, b = pair()
    sides: list[Any] = []
    x, t = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 2, dtype=torch.float64)
    libraries: list[tuple[Any, Any, Any]] = [(a, nn, optim), (b, torch.nn, torch.optim)]
    for model, n, library in libraries:
        sgd = library.SGD(model.parameters(), lr=0.2, momentum=0.9)
        s = library.lr_scheduler
        schedule = s.SequentialLR(sgd, [s.LinearLR(sgd, total_iters=3), s.CosineAnnealingLR(sgd, 12)], [3])
        ema = library.swa_utils.AveragedModel(model, multi_avg_fn=library.swa_utils.get_ema_multi_avg_fn(0.7))
        criterion = n.MSELoss()
        for _ in range(12):
            sgd.zero_grad()
            loss = criterion(model(x), t)
            if model is a:
                model.backward(criterion.backward())
            else:
                loss.backward()
            n.utils.clip_grad_norm_(model.parameters(), 0.5)
            sgd.step()
            schedule.step()
            ema.update_parameters(model)
        library.swa_utils.update_bn([x, x], ema)
        sides.append(ema)
    for name, value in sides[0].state_dict().items():
        torch.testing.assert_close(value, sides[1].state_dict()[name], rtol=1e-9, atol=1e-11)


def test_update_bn_reaches_images_too() -> None:
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).double()
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).double()
    ours.load_state_dict(theirs.state_dict())
    batches = [torch.randn(4, 1, 6, 6, dtype=torch.float64) for _ in range(3)]
    swa_utils.update_bn(batches, ours)
    torch.optim.swa_utils.update_bn(batches, theirs)
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value, theirs.state_dict()[name])
