"""Learning-rate schedules against torch.optim.lr_scheduler, step by step, and each replica against itself alone."""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.errors import ArgumentError, DTypeError, StateError
from handgrad.optim import lr_scheduler
from tests.cases import explains

R, STEPS = 3, 40

Row = tuple[Callable[..., Any], dict[str, Any]]
"""Builds a schedule from a namespace, an optimiser and the schedule's own numbers, each of which may be R numbers."""


class Falling:
    """A callable object: what it holds belongs to the state."""

    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, t: float) -> float:
        return float((1 + t) ** -self.power)


SCHEDULES: dict[str, Row] = {
    "StepLR": (lambda n, o, **k: n.StepLR(o, 7, **k), {"gamma": 0.3}),
    "StepLR-default": (lambda n, o: n.StepLR(o, 4), {}),
    "MultiStepLR": (lambda n, o, **k: n.MultiStepLR(o, [20, 3, 9, 9], **k), {"gamma": 0.5}),
    "ExponentialLR": (lambda n, o, **k: n.ExponentialLR(o, **k), {"gamma": 0.9}),
    "ConstantLR": (lambda n, o, **k: n.ConstantLR(o, total_iters=6, **k), {"factor": 0.25}),
    "ConstantLR-default": (lambda n, o: n.ConstantLR(o), {}),
    "LinearLR": (lambda n, o, **k: n.LinearLR(o, total_iters=11, **k), {"start_factor": 0.1, "end_factor": 0.8}),
    "LinearLR-default": (lambda n, o: n.LinearLR(o), {}),
    "PolynomialLR": (lambda n, o, **k: n.PolynomialLR(o, 30, **k), {"power": 1.7}),
    "PolynomialLR-default": (lambda n, o: n.PolynomialLR(o), {}),
    "LambdaLR": (lambda n, o: n.LambdaLR(o, lambda t: 0.95**t), {}),
    "LambdaLR-each": (lambda n, o: n.LambdaLR(o, [lambda t: 1 / (1 + t), Falling(0.3)]), {}),
    "MultiplicativeLR": (lambda n, o: n.MultiplicativeLR(o, lambda t: 1 - 1 / (t + 2)), {}),
    "MultiplicativeLR-each": (lambda n, o: n.MultiplicativeLR(o, [Falling(0.02), lambda t: 0.9]), {}),
    "CosineAnnealingLR": (lambda n, o, **k: n.CosineAnnealingLR(o, 13, **k), {"eta_min": 0.01}),
    "CosineAnnealingLR-once": (lambda n, o: n.CosineAnnealingLR(o, T_max=STEPS), {}),
    "WarmRestarts": (lambda n, o: n.CosineAnnealingWarmRestarts(o, 7, eta_min=0.01), {}),
    "WarmRestarts-longer": (lambda n, o: n.CosineAnnealingWarmRestarts(o, 3, T_mult=2), {}),
    "WarmRestarts-longer-3": (lambda n, o: n.CosineAnnealingWarmRestarts(o, 1, 3), {}),
    "CyclicLR": (lambda n, o, **k: n.CyclicLR(o, step_size_up=5, **k), {"base_lr": 0.01, "max_lr": 0.3}),
    "CyclicLR-2": (lambda n, o, **k: n.CyclicLR(o, 0.01, 0.3, 4, 3, "triangular2", **k), {"max_momentum": 0.95}),
    "CyclicLR-exp": (lambda n, o, **k: n.CyclicLR(o, 0.01, 0.3, 4, mode="exp_range", **k), {"gamma": 0.97}),
    "CyclicLR-own": (lambda n, o: n.CyclicLR(o, [0.1, 0.2], [0.3, 0.9], 4, scale_fn=Falling(1.0)), {}),
    "CyclicLR-own-iterations": (
        lambda n, o: n.CyclicLR(o, 0.1, 0.3, 4, scale_fn=Falling(0.5), scale_mode="iterations", cycle_momentum=False),
        {},
    ),
    "OneCycleLR": (lambda n, o, **k: n.OneCycleLR(o, total_steps=STEPS, **k), {"max_lr": 0.4}),
    "OneCycleLR-linear": (
        lambda n, o, **k: n.OneCycleLR(
            o, [0.4, 0.9], epochs=8, steps_per_epoch=5, pct_start=0.5, anneal_strategy="linear", **k
        ),
        {"base_momentum": 0.7, "max_momentum": 0.9},
    ),
    "OneCycleLR-three": (
        lambda n, o, **k: n.OneCycleLR(o, 0.4, STEPS, three_phase=True, **k),
        {"div_factor": 10.0, "final_div_factor": 50.0},
    ),
    "OneCycleLR-no-momentum": (lambda n, o: n.OneCycleLR(o, 0.4, STEPS + 3, cycle_momentum=False), {}),
    "SequentialLR": (
        lambda n, o, **k: n.SequentialLR(
            o, [n.LinearLR(o, total_iters=5), n.CosineAnnealingLR(o, 20), n.ExponentialLR(o, **k)], [5, 25]
        ),
        {"gamma": 0.9},
    ),
    "SequentialLR-restarts": (
        lambda n, o: n.SequentialLR(o, [n.ConstantLR(o, 0.5, 3), n.CosineAnnealingWarmRestarts(o, 4, 2)], [10]),
        {},
    ),
    "SequentialLR-one": (lambda n, o: n.SequentialLR(o, [n.StepLR(o, 3)], []), {}),
    "ChainedScheduler": (
        lambda n, o, **k: n.ChainedScheduler([n.LinearLR(o, total_iters=8), n.ExponentialLR(o, **k)]),
        {"gamma": 0.93},
    ),
    "ChainedScheduler-three": (
        lambda n, o: n.ChainedScheduler(
            [n.ConstantLR(o, 0.1, 4), n.MultiStepLR(o, [6, 12]), n.CosineAnnealingLR(o, 50)], optimizer=o
        ),
        {},
    ),
}
EACH = pytest.mark.parametrize("name", SCHEDULES)


def parameters(replicas: int | None = None) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2), replicas=replicas) for _ in range(2)]


def ours(lrs: tuple[Any, Any] = (0.1, 0.5), replicas: int | None = None) -> optim.SGD:
    """An optimiser of two groups."""
    groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters(replicas), lrs)]
    return optim.SGD(groups, lr=1.0, momentum=0.5)


def theirs(lrs: tuple[float, float] = (0.1, 0.5)) -> torch.optim.SGD:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.5)


def exact(tree: Any) -> Any:
    """Tensors as lists, which == compares to the last bit."""
    return (
        [exact(branch) for branch in tree]
        if isinstance(tree, (list, tuple))
        else getattr(tree, "tolist", lambda: tree)()
    )


def course(schedule: Any, *arguments: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Learning rate and momentum of each group at steps 0, 1, …; both as the optimiser holds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns where step comes before the optimiser's
        for t in range(STEPS):
            if t:
                schedule.step(*(a[t] for a in arguments))
            assert exact(schedule.get_last_lr()) == exact([group["lr"] for group in schedule.optimizer.param_groups])
            yield [(group["lr"], group["momentum"]) for group in schedule.optimizer.param_groups]


def numbers(courses: Iterator[list[tuple[Any, Any]]]) -> Tensor:
    """(steps, groups, 2), or (steps, groups, 2, R)."""
    as_tensor = [
        [
            [torch.as_tensor(v, dtype=torch.float64).expand(R if isinstance(v, Tensor) else ()) for v in g]
            for g in groups
        ]
        for groups in courses
    ]
    widest = max(v.ndim for groups in as_tensor for g in groups for v in g)
    return torch.stack(
        [
            torch.stack([torch.stack([v if v.ndim == widest else v.expand(R) for v in g]) for g in groups])
            for groups in as_tensor
        ]
    )


def same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15)


@EACH
def test_forty_steps_equal_torch(name: str) -> None:
    make, own = SCHEDULES[name]
    schedule = make(lr_scheduler, ours(), **own)
    assert schedule.last_epoch == 0
    actual = numbers(course(schedule))
    same(actual, numbers(course(make(torch.optim.lr_scheduler, theirs(), **own))))
    assert schedule.last_epoch == STEPS - 1
    assert all(isinstance(lr, float) for lr in schedule.get_last_lr())


def replica_rows() -> Iterator[Any]:
    """Each schedule with R learning rates, and each of its own numbers as R, in a tensor or a list."""
    for name, (_, own) in SCHEDULES.items():
        yield pytest.param(name, None, id=name)
        yield from (pytest.param(name, option, id=f"{name}-{option}") for option in own)


@pytest.mark.parametrize(("name", "option"), list(replica_rows()))
def test_each_replica_is_as_alone(name: str, option: str | None) -> None:
    make, own = SCHEDULES[name]
    factors = [1.0, 0.5, 0.9]
    lrs = torch.tensor([0.1, 0.03, 0.7], dtype=torch.float64)
    values: Any = None if option is None else torch.tensor([own[option] * f for f in factors], dtype=torch.float64)
    together = make(
        lr_scheduler, ours((lrs.clone(), 0.5), R), **own | ({} if values is None else {str(option): values})
    )
    actual = numbers(course(together))
    for r in range(R):
        alone = own | ({} if option is None else {option: own[option] * factors[r]})
        expected = numbers(course(make(lr_scheduler, ours((lrs[r].item(), 0.5)), **alone)))
        found = actual[..., r] if actual.ndim == 4 else actual
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    assert torch.equal(lrs, torch.tensor([0.1, 0.03, 0.7], dtype=torch.float64))  # the user's tensor is left alone


@EACH
@pytest.mark.parametrize("replicas", [None, R])
def test_a_saved_state_goes_on_identically(name: str, replicas: int | None) -> None:
    make, own = SCHEDULES[name]
    lrs = (0.1, 0.5) if replicas is None else ([0.1, 0.2, 0.3], 0.5)
    whole = list(course(make(lr_scheduler, ours(lrs, replicas), **own)))
    half = make(lr_scheduler, ours(lrs, replicas), **own)
    for _ in range(17):
        half.step()
    state = half.state_dict()
    assert not any(callable(v) or isinstance(v, optim.Optimizer) for v in state.values())
    for _ in range(5):  # the state is a copy
        half.step()
    fresh = make(lr_scheduler, ours(lrs, replicas), **own)
    fresh.load_state_dict(state)
    for t in range(17, STEPS):
        assert exact([(g["lr"], g["momentum"]) for g in fresh.optimizer.param_groups]) == exact(whole[t])
        if t < STEPS - 1:
            fresh.step()


@pytest.mark.parametrize("done", [0, 3, 7, 9, 12])
def test_a_saved_state_brings_the_momentum_of_the_cycle_that_is_under_way(done: int) -> None:
    """Not of one that has ended, or is yet to begin."""

    def make() -> Any:
        sgd = ours()
        cycle = lr_scheduler.CyclicLR(sgd, 0.1, 0.3, 4)
        steady, last = lr_scheduler.StepLR(sgd, 2), lr_scheduler.OneCycleLR(sgd, 0.4, total_steps=20)
        return lr_scheduler.SequentialLR(sgd, [cycle, steady, last], milestones=[6, 9])

    half, fresh = make(), make()
    for _ in range(done):
        half.step()
    fresh.optimizer.load_state_dict(half.optimizer.state_dict())
    fresh.load_state_dict(half.state_dict())
    for _ in range(4):
        for name in ("lr", "momentum"):
            assert [g[name] for g in fresh.optimizer.param_groups] == [g[name] for g in half.optimizer.param_groups]
        half.step()
        fresh.step()


def test_a_saved_composition_brings_what_its_parts_have_found() -> None:
    """SWALR leads from the learning rate at its first step, which here another schedule has made."""

    def make() -> Any:
        sgd = ours()
        parts = [lr_scheduler.ExponentialLR(sgd, 0.8), optim.swa_utils.SWALR(sgd, 0.05, anneal_epochs=4)]
        return lr_scheduler.SequentialLR(sgd, parts, milestones=[5])

    half, fresh = make(), make()
    for _ in range(7):
        half.step()
    fresh.load_state_dict(half.state_dict())
    for schedule in (half, fresh):
        schedule.step()
    assert fresh.get_last_lr() == half.get_last_lr()


def test_a_state_brings_the_options() -> None:
    saved = lr_scheduler.CyclicLR(ours(), 0.1, 0.3, 4, scale_fn=Falling(0.5)).state_dict()
    schedule = lr_scheduler.CyclicLR(ours(), 0.2, 0.5, 9, scale_fn=Falling(3.0))
    schedule.load_state_dict(saved)
    assert schedule.scale_fns[0].power == 0.5
    assert schedule.up == 4
    with pytest.raises(StateError, match=r"gamma") as raised:
        lr_scheduler.ExponentialLR(ours(), 0.9).load_state_dict({"last_epoch": 3})
    assert explains(raised.value)


class Later:
    """The schedules' namespace, with each of them started at step 10."""

    def __getattr__(self, name: str) -> Any:
        return functools.partial(getattr(lr_scheduler, name), last_epoch=9)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if not name.startswith(("Sequential", "Chained"))])
def test_last_epoch_starts_at_the_step_after(name: str) -> None:
    make, own = SCHEDULES[name]
    whole = list(course(make(lr_scheduler, ours(), **own)))
    sgd = ours()
    for group in sgd.param_groups:
        group["initial_lr"] = group["lr"]
    late = make(Later(), sgd, **own)
    assert late.last_epoch == 10
    assert [(g["lr"], g["momentum"]) for g in sgd.param_groups] == whole[10]


def test_steps_to_a_part_of_an_epoch() -> None:
    a = lr_scheduler.CosineAnnealingWarmRestarts(ours(), 3, 2, 0.01)
    b = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs(), 3, 2, 0.01)
    for k in range(60):
        a.step(k / 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            b.step(k / 4)
        assert a.last_epoch == b.last_epoch
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12)


def test_swalr_begins_where_another_schedule_has_led() -> None:
    rows: tuple[dict[str, Any], ...] = ({"anneal_epochs": 0}, {}, {"anneal_epochs": 4, "anneal_strategy": "linear"})
    for led, options in enumerate(rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            courses = []
            sides: list[tuple[Any, Any]] = [(ours(), optim), (theirs(), torch.optim)]
            for sgd, library in sides:
                decay = library.lr_scheduler.ExponentialLR(sgd, 0.8)
                average = library.swa_utils.SWALR(sgd, [0.05, 0.02], **options)
                seen = [[group["lr"] for group in sgd.param_groups]]
                for t in range(30):
                    (decay if t < 10 * led else average).step()
                    seen.append([group["lr"] for group in sgd.param_groups])
                courses.append(torch.tensor(seen, dtype=torch.float64))
        same(*courses)


@pytest.mark.parametrize("swapped", [False, True])
def test_compositions_nest(swapped: bool) -> None:
    sgd = ours()
    n = lr_scheduler
    warm = n.SequentialLR(sgd, [n.LinearLR(sgd, 0.5, total_iters=4), n.StepLR(sgd, 2, 0.5)], [4])
    schedule = n.ChainedScheduler([warm, n.ExponentialLR(sgd, 0.9)][:: -1 if swapped else 1])
    seen = []
    for t in range(8):
        seen.append(sgd.param_groups[1]["lr"] / 0.5 / 0.9**t)
        schedule.step()
    assert seen == pytest.approx([0.5, 0.625, 0.75, 0.875, 1.0, 1.0, 0.5, 0.5])


def test_a_chain_in_another_order_than_its_schedules_were_made_equals_torch() -> None:
    courses = []
    for n, sgd in ((lr_scheduler, ours()), (torch.optim.lr_scheduler, theirs())):
        made = [n.ConstantLR(sgd, 0.5, 3), n.LinearLR(sgd, 0.25), n.CosineAnnealingLR(sgd, 50)]
        courses.append(numbers(course(n.ChainedScheduler(made[::-1]))))
    same(*courses)


TOGETHER: dict[str, Callable[[Any, Any], list[Any]]] = {
    "two": lambda n, o: [n.ExponentialLR(o, 0.9), n.MultiStepLR(o, [3, 5])],
    "warm-up first": lambda n, o: [n.LinearLR(o, 0.25, total_iters=4), n.ExponentialLR(o, 0.9)],
    "warm-up last": lambda n, o: [n.StepLR(o, 2, 0.5), n.ConstantLR(o, 0.5, 3)],
    "cosine": lambda n, o: [n.CosineAnnealingLR(o, 20, 0.01), n.PolynomialLR(o, 30, 2.0)],
    "three": lambda n, o: [n.LinearLR(o), n.MultiplicativeLR(o, lambda t: 0.9), n.CosineAnnealingLR(o, 30)],
    "closed": lambda n, o: [n.ExponentialLR(o, 0.9), n.LambdaLR(o, lambda t: 1 / (1 + t))],
    "restarts": lambda n, o: [n.CosineAnnealingWarmRestarts(o, 3, 2), n.StepLR(o, 4)],
    "plateau": lambda n, o: [n.ExponentialLR(o, 0.9), n.ReduceLROnPlateau(o, factor=0.5, patience=1)],
    "warm-up and plateau": lambda n, o: [n.LinearLR(o, 0.1), n.ReduceLROnPlateau(o, factor=0.5, patience=2)],
    "composed": lambda n, o: [
        n.ChainedScheduler([n.LinearLR(o, 0.1), n.ExponentialLR(o, 0.9)]),
        n.ReduceLROnPlateau(o, factor=0.5, patience=2),
    ],
    "in turn": lambda n, o: [
        n.SequentialLR(o, [n.ConstantLR(o, 0.5, 9), n.ExponentialLR(o, 0.9)], [30]),
        n.StepLR(o, 3),
    ],
    "in turn, closed": lambda n, o: [
        n.SequentialLR(o, [n.ConstantLR(o, 0.5, 9), n.LambdaLR(o, lambda t: 1 / (1 + t))], [6])
    ],
}


def together(library: Any, sgd: Any, name: str, by_hand: bool) -> Tensor:
    """Learning rates of schedules that are stepped one after another, and written by hand in between."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedules, seen = TOGETHER[name](library, sgd), []
        for t in range(20):
            seen.append([group["lr"] for group in sgd.param_groups])
            for schedule in schedules:
                schedule.step(*([1.0] if type(schedule).__name__ == "ReduceLROnPlateau" else []))
            if by_hand and t in (3, 8):
                sgd.param_groups[1]["lr"] *= 0.25
    return torch.tensor(seen, dtype=torch.float64)


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", TOGETHER)
def test_schedules_of_one_optimiser_multiply(name: str, by_hand: bool) -> None:
    same(together(lr_scheduler, ours(), name, by_hand), together(torch.optim.lr_scheduler, theirs(), name, by_hand))


@pytest.mark.parametrize("name", [name for name in SCHEDULES if not name.startswith("Cyclic")])  # it has its own rates
def test_a_schedule_begins_where_another_has_ended(name: str) -> None:
    seen = []
    for n, sgd in ((lr_scheduler, ours()), (torch.optim.lr_scheduler, theirs())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first = n.ExponentialLR(sgd, 0.9)
            for _ in range(5):
                first.step()
        make, own = SCHEDULES[name]
        seen.append(numbers(course(make(n, sgd, **own)))[:10])  # past T_max PyTorch's cosine rises to the initial one
    same(*seen)


def test_a_learning_rate_of_a_replica_goes_on_alone() -> None:
    sgd = ours(([0.1, 0.2], [0.5, 0.5]), 2)
    schedule = lr_scheduler.CosineAnnealingLR(sgd, 10, [0.0, 0.01])
    schedule.step()
    untouched = [lr.clone() for lr in schedule.get_last_lr()]  # type: ignore[union-attr]
    sgd.param_groups[0]["lr"][1] = 0.05
    state = schedule.state_dict()
    schedule.step()
    alone = lr_scheduler.CosineAnnealingLR(ours((0.1, 0.5)), 10)
    alone.step()
    alone.step()
    assert schedule.get_last_lr()[0][0] == alone.get_last_lr()[0]  # type: ignore[index]
    assert schedule.get_last_lr()[0][1] < 0.05 < untouched[0][1]  # type: ignore[index]
    sgd.param_groups[0]["lr"] = 0.0  # no multiple of it leads anywhere
    schedule.load_state_dict(state)
    schedule.step()


def test_what_an_optimiser_holds_is_its_own() -> None:
    class Same(lr_scheduler.LRScheduler):
        def rate(self, base: Any, t: float, group: int) -> Any:
            return base

    sgd = ours(([0.1, 0.2], 0.5), 2)
    given = sgd.param_groups[0]["lr"]
    schedule = Same(sgd)
    given.zero_()
    sgd.param_groups[0]["lr"].zero_()
    assert exact(schedule.get_last_lr()) == [[0.1, 0.2], 0.5]
    schedule.step()
    assert exact(sgd.param_groups[0]["lr"]) == [0.1, 0.2]


class Own(lr_scheduler.LRScheduler):
    """A schedule of a user's, given what it multiplies by."""

    def __init__(self, optimizer: Any, function: Callable[[float], Any]) -> None:
        self.given = function
        super().__init__(optimizer)

    def multiple(self, t: float) -> Any:
        return self.given(t)


def test_a_function_may_give_r_numbers() -> None:
    for answer in ([1.0, 2.0, 3.0], torch.tensor([1.0, 2.0, 3.0])):
        for cls in (lr_scheduler.LambdaLR, lr_scheduler.MultiplicativeLR, Own):
            schedule = cls(ours(replicas=R), lambda t, a=answer: a)  # type: ignore[misc]
            schedule.step()
            same(schedule.get_last_lr()[1], torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64))  # type: ignore[arg-type]


def test_an_optimiser_steps_with_what_a_schedule_sets() -> None:
    for lrs in ([0.1, 0.01], [0.5, 0.2]):
        p = nn.Parameter(torch.zeros(1, dtype=torch.float64), replicas=2)
        sgd = optim.SGD([p], lr=lrs, momentum=[0.5, 0.6])
        schedule = lr_scheduler.OneCycleLR(sgd, torch.tensor(lrs), 5, base_momentum=torch.tensor([0.1, 0.5]))
        p.add_grad(torch.ones(2, 1, dtype=torch.float64))
        sgd.step()
        schedule.step()
        same(p.value.flatten(), -torch.tensor(lrs).double() / 25)


class Adamish(optim.Optimizer):
    """An optimiser that has betas."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})
        self.defaults["betas"] = (0.9, 0.999)
        self.param_groups[0]["betas"] = (0.9, 0.999)


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
def test_the_first_beta_is_cycled(name: str) -> None:
    make, own = SCHEDULES[name]
    a, b = Adamish(parameters()), torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    first, second = make(lr_scheduler, a, **own), make(torch.optim.lr_scheduler, b, **own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(STEPS - 1):
            assert a.param_groups[0]["betas"] == pytest.approx(b.param_groups[0]["betas"], rel=1e-12)
            first.step()
            second.step()


# A metric

PLATEAUS: dict[str, dict[str, Any]] = {
    "default": {},
    "impatient": {"patience": 1, "factor": 0.5},
    "max": {"mode": "max", "patience": 2},
    "absolute": {"threshold_mode": "abs", "threshold": 0.3, "patience": 1},
    "max-absolute": {"mode": "max", "threshold_mode": "abs", "threshold": 0.3, "patience": 1},
    "cooldown": {"patience": 1, "cooldown": 4, "factor": 0.7},
    "floor": {"patience": 0, "min_lr": [0.02, 0.1]},
    "eps": {"patience": 0, "eps": 0.01},
}


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
@pytest.mark.parametrize("seed", range(3))
def test_plateau_equals_torch(options: dict[str, Any], seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    metrics = torch.rand(STEPS, generator=g, dtype=torch.float64) + torch.linspace(5, -10, STEPS).double().relu()
    metrics[7] = float("nan")
    values = metrics.tolist()
    plateau = lr_scheduler.ReduceLROnPlateau(ours(), **options)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs(), **options)
    actual, expected = numbers(course(plateau, values)), numbers(course(peer, values))
    assert torch.equal(actual, expected)
    assert plateau.last_epoch == peer.last_epoch
    assert len(set(actual[:, 1, 0].tolist())) > 1
    goes_on = lr_scheduler.ReduceLROnPlateau(ours())
    goes_on.load_state_dict(peer.state_dict())
    assert torch.equal(numbers(course(goes_on, values)), numbers(course(peer, values)))


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
@pytest.mark.parametrize("lrs", [(0.1, 0.5), ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1])], ids=["one-lr", "R-lrs"])
def test_plateau_watches_each_replica_on_its_own(options: dict[str, Any], lrs: Any) -> None:
    metrics = torch.rand(STEPS, R, generator=torch.Generator().manual_seed(5))
    metrics[3:, 1] = float("nan")
    schedule = lr_scheduler.ReduceLROnPlateau(ours(lrs, R), **options)
    halfway: dict[str, Any] = {}
    together = []
    for t, groups in enumerate(course(schedule, list(metrics))):
        together.append(groups)
        if t == 20:
            halfway = schedule.state_dict()
    actual = numbers(iter(together))
    for r in range(R):
        own = tuple(lr[r] if isinstance(lr, list) else lr for lr in lrs)
        alone = lr_scheduler.ReduceLROnPlateau(ours(own), **options)
        assert torch.equal(actual[..., r], numbers(course(alone, metrics[:, r].tolist())))
    fresh = lr_scheduler.ReduceLROnPlateau(ours(lrs, R))
    fresh.load_state_dict(halfway)
    for t in range(21, STEPS):
        fresh.step(metrics[t])
    assert exact(fresh.get_last_lr()) == exact(schedule.get_last_lr())


def test_plateau_options_may_be_r_numbers() -> None:
    options: dict[str, Any] = {"factor": [0.1, 0.5, 0.9], "patience": [0, 1, 2], "cooldown": [0, 3, 1]}
    options |= {
        "threshold": [0.0, 0.1, 0.2],
        "min_lr": torch.tensor([0.01, 0.2, 0.0], dtype=torch.float64),
        "eps": [0.0, 0.1, 1e-8],
    }
    metrics = torch.rand(STEPS, R, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    actual = numbers(course(lr_scheduler.ReduceLROnPlateau(ours(replicas=R), **options), list(metrics)))
    for r in range(R):
        own: dict[str, Any] = {k: v[r].item() if isinstance(v, Tensor) else v[r] for k, v in options.items()}
        alone = lr_scheduler.ReduceLROnPlateau(ours(), **own)
        same(actual[..., r], numbers(course(alone, metrics[:, r].tolist())))


# Names, signatures, errors

PUBLIC = [(name, getattr(lr_scheduler, name)) for name in lr_scheduler.__all__]


@pytest.mark.parametrize(("name", "schedule"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_signature_is_torchs_and_the_docstring_complete(name: str, schedule: Any) -> None:
    counterpart = getattr(torch.optim.lr_scheduler, name)
    expected = inspect.signature(counterpart).parameters
    actual = inspect.signature(schedule).parameters
    assert {k: p.default for k, p in actual.items()} == {k: p.default for k, p in expected.items()}
    assert list(actual) == list(expected)
    for part in (r"\$\$", r"Args:\n", r"Errors: ", r"Source: ", r"Example:\n\s+>>> "):
        assert re.search(part, schedule.__doc__), part


def test_every_schedule_of_torch_is_there() -> None:
    assert set(torch.optim.lr_scheduler.__all__) == set(lr_scheduler.__all__)


n = lr_scheduler
NUMBER = r"one number or R of them"
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no optimiser": (lambda: n.StepLR([1], 3), DTypeError, r"Optimizer, got list"),  # type: ignore[arg-type]
    "no optimiser, lambda": (lambda: n.LambdaLR(None, lambda t: 1), DTypeError, r"got NoneType"),  # type: ignore[arg-type]
    "resuming": (lambda: n.StepLR(ours(), 3, last_epoch=2), ArgumentError, r"initial_lr"),
    "step_size": (lambda: n.StepLR(ours(), 0), ArgumentError, r"step_size"),
    "gamma": (lambda: n.ExponentialLR(ours(), -0.1), ArgumentError, r"gamma of at least 0, got -0\.1"),
    "gamma NaN": (lambda: n.ExponentialLR(ours(), float("nan")), ArgumentError, r"gamma of at least 0, got nan"),
    "gamma text": (lambda: n.ExponentialLR(ours(), "0.1"), ArgumentError, r"got '0\.1'"),  # type: ignore[arg-type]
    "gamma None": (lambda: n.ExponentialLR(ours(), None), ArgumentError, r"got None"),  # type: ignore[arg-type]
    "gamma R without replicas": (lambda: n.ExponentialLR(ours(), [0.1, 0.2]), ArgumentError, NUMBER),
    "gamma of another R": (lambda: n.ExponentialLR(ours(replicas=3), [0.1, 0.2]), ArgumentError, NUMBER),
    "gamma one of R": (lambda: n.ExponentialLR(ours(replicas=2), [0.1, -1.0]), ArgumentError, r"at least 0"),
    "factor": (lambda: n.ConstantLR(ours(), 1.5), ArgumentError, r"factor of at least 0 and at most 1"),
    "total_iters": (lambda: n.ConstantLR(ours(), total_iters=0), ArgumentError, r"total_iters"),
    "total_iters of a line": (lambda: n.LinearLR(ours(), total_iters=0), ArgumentError, r"total_iters"),
    "start_factor": (lambda: n.LinearLR(ours(), 0.0), ArgumentError, r"start_factor above 0 and at most 1"),
    "end_factor": (lambda: n.LinearLR(ours(), 0.5, 2.0), ArgumentError, r"end_factor"),
    "total_iters float": (lambda: n.PolynomialLR(ours(), 2.5), ArgumentError, r"total_iters"),  # type: ignore[arg-type]
    "power": (lambda: n.PolynomialLR(ours(), power=-1.0), ArgumentError, r"power"),
    "no function": (lambda: n.LambdaLR(ours(), 0.9), DTypeError, r"callable"),  # type: ignore[arg-type]
    "functions": (lambda: n.MultiplicativeLR(ours(), [lambda t: 1]), ArgumentError, r"2 entries in lr_lambda, got 1"),
    "T_max": (lambda: n.CosineAnnealingLR(ours(), 0), ArgumentError, r"T_max"),
    "eta_min": (lambda: n.CosineAnnealingLR(ours(), 5, -1.0), ArgumentError, r"eta_min"),
    "T_0": (lambda: n.CosineAnnealingWarmRestarts(ours(), 0), ArgumentError, r"T_0"),
    "T_mult": (lambda: n.CosineAnnealingWarmRestarts(ours(), 1, 0), ArgumentError, r"T_mult"),
    "epoch": (lambda: stepped(n.CosineAnnealingWarmRestarts(ours(), 1), -1), ArgumentError, r"epoch of at least 0"),
    "swa_lr": (lambda: optim.swa_utils.SWALR(ours(), [0.1]), ArgumentError, r"2 entries in swa_lr"),
    "anneal_strategy": (
        lambda: optim.swa_utils.SWALR(ours(), 0.1, 3, "sin"),
        ArgumentError,
        r"'cos', 'linear', got 'sin'",
    ),
    "anneal_epochs": (lambda: optim.swa_utils.SWALR(ours(), 0.1, -1), ArgumentError, r"anneal_epochs"),
    "mode": (lambda: n.CyclicLR(ours(), 0.1, 0.2, mode="square"), ArgumentError, r"got 'square'"),
    "scale_mode": (lambda: n.CyclicLR(ours(), 0.1, 0.2, scale_mode="x"), ArgumentError, r"scale_mode"),
    "scale_fn": (lambda: n.CyclicLR(ours(), 0.1, 0.2, scale_fn=3), DTypeError, r"callable"),  # type: ignore[arg-type]
    "step_size_up": (lambda: n.CyclicLR(ours(), 0.1, 0.2, 0), ArgumentError, r"step_size_up"),
    "step_size_down": (lambda: n.CyclicLR(ours(), 0.1, 0.2, 1, 0), ArgumentError, r"step_size_down"),
    "no momentum": (lambda: n.CyclicLR(plain_optimiser(), 0.1, 0.2), ArgumentError, r"cycle_momentum=False"),
    "no momentum, one cycle": (lambda: n.OneCycleLR(plain_optimiser(), 0.1, 9), ArgumentError, r"momentum or betas"),
    "total_steps": (lambda: n.OneCycleLR(ours(), 0.1), ArgumentError, r"total_steps, or epochs"),
    "total_steps 0": (lambda: n.OneCycleLR(ours(), 0.1, 0), ArgumentError, r"total_steps"),
    "epochs": (lambda: n.OneCycleLR(ours(), 0.1, epochs=0, steps_per_epoch=3), ArgumentError, r"epochs"),
    "pct_start": (lambda: n.OneCycleLR(ours(), 0.1, 9, pct_start=1.5), ArgumentError, r"pct_start from 0 to 1"),
    "div_factor": (lambda: n.OneCycleLR(ours(), 0.1, 9, div_factor=0), ArgumentError, r"div_factor above 0"),
    "anneal": (lambda: n.OneCycleLR(ours(), 0.1, 9, anneal_strategy="exp"), ArgumentError, r"got 'exp'"),
    "too many steps": (
        lambda: stepped(n.OneCycleLR(ours(), 0.1, 9), 10),
        ArgumentError,
        r"total_steps=9",
    ),
    "plateau mode": (lambda: n.ReduceLROnPlateau(ours(), "low"), ArgumentError, r"'min', 'max'"),
    "plateau factor": (lambda: n.ReduceLROnPlateau(ours(), factor=1.0), ArgumentError, r"factor below 1"),
    "plateau factor above 1": (lambda: n.ReduceLROnPlateau(ours(), factor=1.5), ArgumentError, r"factor .*at most 1"),
    "plateau threshold_mode": (lambda: n.ReduceLROnPlateau(ours(), threshold_mode="x"), ArgumentError, r"'rel', 'abs'"),
    "plateau min_lr": (lambda: n.ReduceLROnPlateau(ours(), min_lr=[0.1]), ArgumentError, r"2 entries in min_lr"),
    "plateau metrics": (lambda: stepped(n.ReduceLROnPlateau(ours()), torch.ones(2)), ArgumentError, NUMBER),
    "no schedules": (lambda: n.SequentialLR(ours(), [], []), ArgumentError, r"schedules"),
    "no chain": (lambda: n.ChainedScheduler([]), ArgumentError, r"at least one schedule"),
    "no schedule": (lambda: n.ChainedScheduler([3], ours()), DTypeError, r"index 0, got int"),  # type: ignore[list-item]
    "plateau in a chain": (lambda: n.ChainedScheduler([n.ReduceLROnPlateau(ours())]), ArgumentError, r"metric"),
    "two optimisers": (
        lambda: n.ChainedScheduler([n.StepLR(ours(), 1), n.StepLR(ours(), 1)]),
        ArgumentError,
        r"one optimiser",
    ),
    "milestones": (
        lambda: n.SequentialLR(sgd := ours(), [n.StepLR(sgd, 1), n.StepLR(sgd, 2)], [1, 2]),
        ArgumentError,
        r"1 rising milestones",
    ),
    "group added later": (lambda: stepped(added_later()), StateError, r"2 groups that the schedule"),
}


def stepped(schedule: Any, to: Any = None) -> None:
    schedule.step(to)


def plain_optimiser() -> optim.Optimizer:
    return optim.Optimizer(parameters(), {"lr": 0.1})


def added_later() -> Any:
    sgd = ours()
    schedule = lr_scheduler.StepLR(sgd, 2)
    sgd.add_param_group({"params": nn.Parameter(torch.ones(2))})
    return schedule


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    call, error, match = ERRORS[name]
    with pytest.raises(error, match=match) as raised:
        call()
    assert explains(raised.value)
