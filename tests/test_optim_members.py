"""Every optimiser and every option: against torch.optim, with R numbers, alone among replicas, saved and loaded."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.data import Batches
from handgrad.errors import ArgumentError, StateError
from handgrad.training import train
from tests.cases import explains

R = 3
SHAPES: list[tuple[tuple[int, ...], bool]] = [
    ((3, 2), False),
    ((4,), False),
    ((), False),
    ((2, 5), True),
    ((5, 2), True),
    ((2, 3, 4), False),
]
MATRICES: list[tuple[tuple[int, ...], bool]] = [
    ((3, 2), False),
    ((2, 3), False),
    ((2, 5), True),
    ((5, 2), True),
    ((3, 3), True),
]
MOMENTS: list[dict[str, Any]] = [
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.01, "weight_decay": 0.3, "maximize": True},
    {"lr": 0.1, "betas": (0.0, 0.0), "eps": 0.1},
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ],
    "Adam": [
        *MOMENTS,
        {"lr": 0.1, "amsgrad": True, "betas": (0.9, 0.5)},
        {"lr": 0.1, "weight_decay": 0.3, "decoupled_weight_decay": True, "maximize": True},
    ],
    "AdamW": [*MOMENTS, {"lr": 0.1, "amsgrad": True, "betas": (0.9, 0.5), "weight_decay": 0.3}],
    "NAdam": [
        *MOMENTS,
        {"lr": 0.1, "momentum_decay": 3.0, "weight_decay": 0.3},
        {"lr": 0.1, "weight_decay": 0.3, "decoupled_weight_decay": True},
    ],
    "RAdam": [
        *MOMENTS,
        {"lr": 0.1, "betas": (0.9, 0.8)},
        {"lr": 0.1, "betas": (0.9, 0.6), "weight_decay": 0.3, "decoupled_weight_decay": True},
    ],
    "Adamax": MOMENTS,
    "RMSprop": [
        {"lr": 0.1},
        {"lr": 0.1, "alpha": 0.6, "eps": 0.1, "weight_decay": 0.3, "maximize": True},
        {"lr": 0.1, "alpha": 0.6, "momentum": 0.8},
        {"lr": 0.1, "alpha": 0.6, "centered": True, "eps": 0.1},
        {"lr": 0.1, "alpha": 0.6, "centered": True, "momentum": 0.8, "eps": 0.1},
    ],
    "Adagrad": [
        {"lr": 0.1},
        {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.3, "eps": 0.1, "maximize": True},
        {"lr": 0.1, "initial_accumulator_value": 0.4},
    ],
    "Adadelta": [{}, {"lr": 2.0, "rho": 0.6, "eps": 0.1, "weight_decay": 0.3, "maximize": True}, {"rho": 1.0}],
    "Rprop": [
        {},
        {"lr": 0.1, "etas": (0.3, 1.9), "maximize": True},
        {"lr": 0.1, "step_sizes": (0.08, 0.13)},
    ],
    "ASGD": [
        {"lr": 0.1},
        {"lr": 0.1, "lambd": 0.5, "alpha": 0.6, "t0": 3, "weight_decay": 0.3, "maximize": True},
        {"lr": 0.1, "t0": 1},
    ],
    "Adafactor": [
        {},
        {"lr": 0.3, "beta2_decay": -0.4, "eps": (0.1, 0.5), "d": 1.3, "weight_decay": 0.3, "maximize": True},
        {"lr": 0.9, "eps": (None, 2.0), "weight_decay": 0.1},
        {"lr": 2.0, "beta2_decay": 0.0},
    ],
    "Muon": [
        {"lr": 0.1},
        {"lr": 0.1, "nesterov": False, "momentum": 0.5, "weight_decay": 0.4},
        {"lr": 0.1, "ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 3, "eps": 4.0},
        {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw"},
        {"lr": 0.1, "adjust_lr_fn": "original", "ns_steps": 0},
    ],
    "Lion": [{"lr": 0.1}, {"lr": 0.1, "betas": (0.3, 0.7), "weight_decay": 0.3, "maximize": True}],
}
ROWS = [(name, options) for name, rows in OPTIONS.items() for options in rows]
IDS = [f"{name}-{' '.join(f'{k}={v}' for k, v in options.items())}" for name, options in ROWS]
EACH = pytest.mark.parametrize(("name", "options"), ROWS, ids=IDS)


class Lion(torch.optim.Optimizer):
    """Program 1 of Chen et al. 2023, line by line; the paper's weight decay is of the weights before the step."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: Any = (0.9, 0.99), weight_decay: float = 0.0, **o: Any):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": False, **o})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                if w.grad is not None:
                    g = -w.grad if group["maximize"] else w.grad
                    m = self.state[w].get("exp_avg", torch.zeros_like(w))
                    update = torch.sign(g * (1 - beta1) + m * beta1)
                    self.state[w]["exp_avg"] = g * (1 - beta2) + m * beta2
                    update = update + w * group["weight_decay"]
                    w -= update * group["lr"]


def torchs(name: str) -> Any:
    return Lion if name == "Lion" else getattr(torch.optim, name)


@pytest.fixture(autouse=True)
def exactly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything in float64: PyTorch keeps some numbers in the default dtype, and Muon's matrices in bfloat16."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self.clone())
    yield
    torch.set_default_dtype(torch.float32)


def twins(name: str) -> tuple[list[nn.Parameter], list[torch.nn.Parameter]]:
    """The same values on both sides, some of ours transposed."""
    shapes = MATRICES if name == "Muon" else SHAPES
    values = [torch.randn(shape) for shape, _ in shapes]
    return (
        [nn.Parameter(v.clone(), transposed=turned) for v, (_, turned) in zip(values, shapes)],
        [torch.nn.Parameter(v.clone()) for v in values],
    )


def hand(ours: list[nn.Parameter], theirs: list[torch.nn.Parameter], step: int) -> None:
    """New gradients, but the old ones at odd steps; one parameter has none at times."""
    for i, (p, q) in enumerate(zip(ours, theirs)):
        if i == 1 and step in (0, 4, 5):
            p.grad = q.grad = None
        elif step % 2 == 0 or q.grad is None:
            g = torch.randn(q.shape) * (1 + step)
            p.grad, q.grad = (g.mT if p.transposed else g).clone(), g.clone()


def same(ours: list[nn.Parameter], theirs: list[torch.nn.Parameter], rtol: float = 1e-11) -> None:
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p.torch_value, q.detach(), rtol=rtol, atol=1e-13)


def run(ours: Any, theirs: Any, mine: Any, yours: Any, steps: range) -> None:
    for step in steps:
        hand(ours, theirs, step)
        before = [None if p.grad is None else p.grad.clone() for p in ours]
        mine.step()
        yours.step()
        for p, g in zip(ours, before):  # a gradient is left alone
            assert (p.grad is None) if g is None else torch.equal(p.grad, g)
        same(ours, theirs)


@EACH
def test_ten_steps_equal_torch(name: str, options: dict[str, Any]) -> None:
    ours, theirs = twins(name)
    run(ours, theirs, getattr(optim, name)(ours, **options), torchs(name)(theirs, **options), range(10))


def test_muon_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    torch.set_default_dtype(torch.float32)
    ours, theirs = twins("Muon")
    mine, yours = optim.Muon(ours, lr=0.1), torch.optim.Muon(theirs, lr=0.1)
    for step in range(5):
        hand(ours, theirs, step)
        mine.step()
        yours.step()
    for p, q in zip(ours, theirs):  # one rounding of bfloat16 the other way would change a step by 4e-4
        torch.testing.assert_close(p.torch_value, q.detach(), rtol=0, atol=1e-5)


# Replicas


def varied(value: Any, name: str) -> Any:
    """R numbers around each number."""
    if isinstance(value, tuple) and name != "ns_coefficients":
        return tuple(varied(v, name) for v in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or name == "ns_steps":
        return value
    return [value * (1 + (0.05 if name == "d" else -0.05) * r) for r in range(R)]


def own(value: Any, r: int) -> Any:
    """Replica r's of an option."""
    if isinstance(value, tuple):
        return tuple(own(v, r) for v in value)
    return value[r] if isinstance(value, list) else value


ZEROS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {"lr": [0.1, 0, 0.3], "weight_decay": [0.0, 0.1, 0.3], "betas": (0.9, [0.0, 0.9, 0.99])}),
    ("AdamW", {"lr": [0.1, 0, 0.3], "weight_decay": [0.0, 0.1, 0.3], "eps": [0, 1e-8, 1]}),
    ("RAdam", {"betas": (0.9, [0.6, 0.9, 0.999])}),
    ("NAdam", {"momentum_decay": [0, 1, 2]}),
    ("RMSprop", {"momentum": [0.9, 0, 0.5]}),
    ("Rprop", {"etas": (0.5, [1.1, 1.2, 1.5]), "step_sizes": ([0.001, 0.1, 0.2], 0.3)}),
    ("Lion", {"weight_decay": [0.0, 0.1, 0.3]}),
    ("ASGD", {"t0": [0, 2, 4], "lr": 0.1}),
    ("Adafactor", {"eps": (None, [0.1, 0.01, 2.0])}),
]
MANY = [(name, options, False) for name, options in ROWS]
MANY += [(name, options, True) for name, options in ROWS]
MANY += [(name, options, False) for name, options in ZEROS]


def many(name: str) -> list[nn.Parameter]:
    """Parameters of R replicas, each of its own values."""
    shapes = MATRICES if name == "Muon" else SHAPES
    params = [nn.Parameter(torch.empty(shape), replicas=R, transposed=turned) for shape, turned in shapes]
    for p in params:
        p.value.normal_()
    return params


@pytest.mark.parametrize(("name", "options", "vary"), MANY, ids=[f"{n}-{o}-{v}" for n, o, v in MANY])
def test_each_replica_trains_as_it_would_alone(name: str, options: dict[str, Any], vary: bool) -> None:
    params = many(name)
    if vary:
        defaults = getattr(optim, name)(params, **options).defaults
        options = {k: varied(v, k) for k, v in defaults.items() if not (name == "AdamW" and k.startswith("decoupled"))}
    alone = [[nn.Parameter(p.torch_value[r].clone(), transposed=p.transposed) for p in params] for r in range(R)]
    together = getattr(optim, name)(params, **options)
    singles = [getattr(optim, name)(alone[r], **{k: own(v, r) for k, v in options.items()}) for r in range(R)]
    for step in range(10):
        for i, p in enumerate(params):
            if step % 2 == 0:
                p.grad = None if i == 1 and step in (0, 4) else torch.randn(p.shape) * (1 + step)
            for r in range(R):
                alone[r][i].grad = None if p.grad is None else p.grad[r].clone()
        together.step()
        for r, single in enumerate(singles):
            single.step()
            for p, q in zip(params, alone[r]):
                torch.testing.assert_close(p.value[r], q.value, rtol=1e-11, atol=1e-13)


@EACH
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("vary", [False, True])
def test_what_one_replica_does_stays_in_it(name: str, options: dict[str, Any], bad: float, vary: bool) -> None:
    clean = many(name)
    if vary:
        options = {k: varied(v, k) for k, v in options.items()}
    dirty = copy.deepcopy(clean)
    for step in range(4):
        for p, q in zip(clean, dirty):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
            if step == 1:
                q.grad[1] = bad
        if step == 0:
            pair = [getattr(optim, name)(params, **options) for params in (clean, dirty)]
        for optimizer in pair:
            optimizer.step()
    for p, q in zip(clean, dirty):
        for r in (0, 2):
            assert torch.equal(p.value[r], q.value[r])


# State


@EACH
def test_state_goes_to_torch_and_back(name: str, options: dict[str, Any]) -> None:
    ours, theirs = twins(name)
    mine, yours = getattr(optim, name)(ours, **options), torchs(name)(theirs, **options)
    run(ours, theirs, mine, yours, range(5))
    state, expected = mine.state_dict(), yours.state_dict()
    assert list(state["state"]) == [i for i in range(len(ours)) if i in expected["state"]]
    assert set(state["param_groups"][0]) == set(expected["param_groups"][0])
    for key in state["state"]:
        assert set(state["state"][key]) == set(expected["state"][key])
        for entry, value in expected["state"][key].items():
            torch.testing.assert_close(state["state"][key][entry], value, rtol=1e-11, atol=1e-13, msg=entry)
    again, yours_again = getattr(optim, name)(ours), torchs(name)(theirs)
    again.load_state_dict(expected)
    yours_again.load_state_dict(state)
    for group, other in zip(again.param_groups, mine.param_groups):
        assert group == other
    run(ours, theirs, again, yours_again, range(5, 10))


@EACH
@pytest.mark.parametrize("vary", [False, True])
def test_loading_resumes_bit_by_bit(name: str, options: dict[str, Any], vary: bool) -> None:
    params = many(name)
    if vary:
        options = {k: varied(v, k) for k, v in options.items()}
    optimizer = getattr(optim, name)(params, **options)
    grads = [[torch.randn(p.shape) for p in params] for _ in range(6)]

    def steps(optimizer: Any, params: list[nn.Parameter], some: list[list[Tensor]]) -> None:
        for step in some:
            for p, g in zip(params, step):
                p.grad = g.clone()
            optimizer.step()

    steps(optimizer, params, grads[:3])
    others, state = [copy.deepcopy(p) for p in params], optimizer.state_dict()
    kept = copy.deepcopy(state)
    steps(optimizer, params, grads[3:])
    for key, entry in state["state"].items():
        for label, value in entry.items():
            assert torch.equal(value, kept["state"][key][label])
    resumed = getattr(optim, name)(others)
    resumed.load_state_dict(state)
    steps(resumed, others, grads[3:])
    for p, q in zip(params, others):
        assert torch.equal(p.value, q.value)
    for key, entry in state["state"].items():
        for label, value in entry.items():
            assert torch.equal(value, kept["state"][key][label])


def _adam(*shapes: tuple[int, ...], steps: int = 1, **options: Any) -> optim.Adam:
    params = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    adam = optim.Adam(params, **options)
    for p in params:
        p.grad = torch.ones_like(p.value)
    for _ in range(steps):
        adam.step()
    return adam


def _sgd() -> optim.SGD:
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.ones(2)
    sgd = optim.SGD([p], momentum=0.9)
    sgd.step()
    return sgd


def _without(name: str) -> dict[str, Any]:
    state = _adam((2,)).state_dict()
    del state["state"][0][name]
    return state


UNLOADABLE: dict[str, tuple[Any, str]] = {
    "more parameters": (lambda: _adam((2,), (3,)).state_dict(), r"groups of \[1\] parameters, got groups of \[2\]"),
    "another shape": (lambda: _adam((3,)).state_dict(), r"exp_avg of shape \(2,\).*got \(3,\)"),
    "another optimiser": (lambda: _sgd().state_dict(), r"options lr, betas.*none for betas, eps"),
    "no groups": (lambda: {"state": {}}, r"got groups of \[\]"),
    "without an entry": (lambda: _without("exp_avg_sq"), r"exp_avg_sq for .*got step, exp_avg\."),
    "with one more": (lambda: _with(momentum_buffer=torch.ones(2)), r"got .*momentum_buffer"),
    "no dict": (lambda: [1], "state_dict"),
    "no dicts as groups": (lambda: {"state": {}, "param_groups": [3]}, "state_dict"),
    "a group without parameters": (lambda: {"state": {}, "param_groups": [{}]}, "state_dict"),
    "no dict of states": (lambda: {"state": 3} | _groups(), "state_dict"),
    "no dicts as states": (lambda: {"state": {0: 3}} | _groups(), "state_dict"),
    "two counts": (lambda: _with(step=torch.ones(2)), "one number for step"),
    "no count": (lambda: _with(step="x"), "one number for step"),
    "keys of text, as JSON has them": (
        lambda: {"state": {"0": _adam((2,)).state_dict()["state"][0]}} | _groups(),
        r"states of the parameters 0, got one of '0'",
    ),
}


def _with(**entries: Any) -> dict[str, Any]:
    state = _adam((2,)).state_dict()
    state["state"][0] |= entries
    return state


def _groups() -> dict[str, Any]:
    return {"param_groups": _adam((2,)).state_dict()["param_groups"]}


@pytest.mark.parametrize("case", UNLOADABLE)
def test_state_that_does_not_fit(case: str) -> None:
    make, match = UNLOADABLE[case]
    adam = _adam((2,), lr=0.3, steps=2)
    before = adam.state_dict()
    with pytest.raises(StateError, match=match) as raised:
        adam.load_state_dict(make())
    assert explains(raised.value)
    after = adam.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(torch.equal(after["state"][0][name], value) for name, value in before["state"][0].items())


@pytest.mark.parametrize(
    ("name", "option", "on", "off"),
    [("RMSprop", "momentum", 0.9, 0), ("RMSprop", "centered", True, False), ("Adam", "amsgrad", True, False)],
)
@pytest.mark.parametrize("start", [True, False])
def test_options_with_memory_change_between_steps(name: str, option: str, on: Any, off: Any, start: bool) -> None:
    """Off and on again, with a state saved and loaded between any two steps, it goes as without."""
    p, q = (nn.Parameter(torch.ones(3)) for _ in range(2))
    one, other = (getattr(optim, name)([v], **{option: on if start else off}) for v in (p, q))
    for step in range(6):
        p.grad = torch.tensor([1.0, -2.0, 0.5]) * (step - 2.5)
        q.grad = p.grad.clone()
        for optimizer in (one, other):
            optimizer.param_groups[0][option] = on if (step // 2 % 2 == 0) is start else off
            optimizer.step()
        again = getattr(optim, name)([q])
        again.load_state_dict(other.state_dict())
        other = again
        assert torch.equal(p.value, q.value)
    assert p.value.isfinite().all()


def test_extra_entries_of_a_group_are_kept() -> None:
    state = _adam((2,)).state_dict()
    state["param_groups"][0] |= {"initial_lr": 0.5, "fused": True}
    adam = _adam((2,))
    adam.load_state_dict(state)
    assert adam.param_groups[0]["initial_lr"] == 0.5
    assert "fused" not in adam.param_groups[0]


def test_state_of_adam_in_adamw() -> None:
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.ones(2)
    adamw = optim.AdamW([p])
    adamw.load_state_dict(_adam((2,), weight_decay=0.5).state_dict())
    assert adamw.param_groups[0]["decoupled_weight_decay"] is True
    assert adamw.param_groups[0]["weight_decay"] == 0.5


def test_r_numbers_are_exact_whatever_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float32)
    values = [nn.Parameter(torch.ones(4, 3, dtype=torch.float64), replicas=r) for r in (R, None)]
    for name, options in [("Adafactor", {"lr": 0.7}), ("ASGD", {"lr": 0.1, "t0": 0.3}), ("NAdam", {"lr": 0.1})]:
        many_, one = ([v] for v in values)
        pair = [
            getattr(optim, name)(many_, **{k: [v] * R for k, v in options.items()}),
            getattr(optim, name)(one, **options),
        ]
        for step in range(4):
            for p, optimizer in zip(values, pair):
                p.grad = torch.full_like(p.value, step + 0.3)
                optimizer.step()
        torch.testing.assert_close(values[0].value[2], values[1].value, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_steps_are_counted_whatever_the_default_dtype(dtype: torch.dtype) -> None:
    """Halves do not have 2051."""
    p = nn.Parameter(torch.ones(3, dtype=torch.float32))
    adam, expected = optim.Adam([p]), torch.optim.Adam([torch.nn.Parameter(torch.ones(3, dtype=torch.float32))])
    p.grad = torch.ones(3, dtype=torch.float32)
    for _ in range(2051):
        adam.step()
    torch.set_default_dtype(dtype)
    try:
        state = adam.state_dict()
        expected.load_state_dict(state)
    finally:
        torch.set_default_dtype(torch.float32)
    again = optim.Adam([p])
    again.load_state_dict(state)
    assert again.state[p]["step"] == 2051
    assert next(iter(expected.state.values()))["step"] == 2051


def test_state_of_a_network_exchanged() -> None:
    """The layout of a Linear's weight is the other way round in torch.nn."""
    mine, yours = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    yours.load_state_dict(mine.state_dict())
    adam, expected = optim.Adam(mine.parameters()), torch.optim.Adam(yours.parameters())
    for _ in range(2):
        x = torch.randn(5, 3)
        for optimizer in (adam, expected):
            optimizer.zero_grad()
        mine(x)
        mine.backward(torch.ones(5, 2))
        yours(x).sum().backward()
        adam.step()
        expected.step()
        expected.load_state_dict(adam.state_dict())
        adam.load_state_dict(expected.state_dict())
    torch.testing.assert_close(mine.state_dict(), dict(yours.state_dict()))


# Options


LATER = {("LBFGS", "maximize")}
"""What torch.optim has from 2.14 on."""


@pytest.mark.parametrize("name", [name for name in [*OPTIONS, "LBFGS"] if name != "Lion"])
def test_signature_and_defaults_are_torchs(name: str) -> None:
    def arguments(kind: Any) -> list[tuple[str, Any, Any]]:
        signature = inspect.signature(kind.__init__).parameters.values()
        known = [(p.name, p.kind, p.default) for p in signature if (name, p.name) != ("SGD", "lr")]
        return [argument for argument in known if (name, argument[0]) not in LATER]

    assert arguments(getattr(optim, name)) == arguments(getattr(torch.optim, name))
    mine = getattr(optim, name)([nn.Parameter(torch.zeros(2, 2))]).state_dict()["param_groups"]
    later = [(option, False) for member, option in LATER if member == name]
    expected = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(2, 2))]).state_dict()["param_groups"]
    assert [{**g, "lr": 0} for g in mine] == [{**dict(later), **g, "lr": 0} for g in expected]


@pytest.mark.parametrize("name", OPTIONS)
def test_repr(name: str) -> None:
    optimizer = getattr(optim, name)([nn.Parameter(torch.zeros(2, 3))], lr=0.25)
    text = repr(optimizer)
    assert text.startswith(f"{name}(\n  group 0: 6 parameters, lr=0.25")
    assert "foreach" not in text


@pytest.mark.parametrize("switch", ["foreach", "fused", "capturable", "differentiable"])
def test_switches_are_refused(switch: str) -> None:
    for name in OPTIONS:
        if switch in inspect.signature(getattr(optim, name).__init__).parameters:
            with pytest.raises(NotImplementedError, match=f"{name}: {switch}=True"):
                getattr(optim, name)([nn.Parameter(torch.zeros(2, 2))], **{switch: True})


BAD: list[tuple[str, dict[str, Any], str]] = [
    *[(name, {"lr": -0.1}, r"lr of at least 0, got -0\.1") for name in [*OPTIONS, "LBFGS"]],
    *[(name, {"weight_decay": -1}, "weight_decay of at least 0") for name in OPTIONS if name != "Rprop"],
    *[
        (name, {"betas": betas}, match)
        for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Lion")
        for betas, match in [
            ((1.0, 0.9), r"betas\[0\] of at least 0 and below 1, got 1\.0"),
            ((0.9, -0.1), r"betas\[1\]"),
            ((0.9, float("nan")), r"betas\[1\]"),
            (0.9, r"betas to be 2 numbers, got 0\.9"),
            ((0.9, 0.9, 0.9), "betas to be 2 numbers"),
            ((0.9, [0.9, 0.9]), r"betas\[1\] to be one number or R of them"),
            (("a", 0.9), r"number for betas\[0\]"),
        ]
    ],
    *[(name, {"eps": -1.0}, "eps") for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad")],
    ("Adam", {"amsgrad": 1}, "True or False for amsgrad, got 1"),
    ("Adam", {"maximize": [True]}, "True or False for maximize"),
    ("NAdam", {"momentum_decay": -1.0}, "momentum_decay"),
    ("RMSprop", {"alpha": -1.0}, "alpha"),
    ("RMSprop", {"momentum": -1.0}, "momentum"),
    ("Adagrad", {"lr_decay": -1.0}, "lr_decay"),
    ("Adagrad", {"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
    ("Adadelta", {"rho": -0.1}, "rho"),
    ("Adadelta", {"rho": 1.1}, "rho of at most 1"),
    ("Adadelta", {"eps": -1.0}, "eps"),
    ("Rprop", {"etas": (1.1, 1.2)}, "etas below and above 1"),
    ("Rprop", {"etas": (0.0, 1.2)}, "etas"),
    ("Rprop", {"etas": (0.5, 0.9)}, "etas"),
    ("Rprop", {"step_sizes": 3.0}, "step_sizes to be 2 numbers"),
    ("Adafactor", {"beta2_decay": 0.1}, "beta2_decay of at most 0"),
    ("Adafactor", {"d": 0.9}, "d of at least 1"),
    ("Adafactor", {"eps": (-1.0, 0.1)}, r"eps\[0\] of at least 0"),
    ("Adafactor", {"eps": (None, -0.1)}, r"eps\[1\]"),
    ("Adafactor", {"eps": (None, None)}, r"eps\[1\]"),
    ("Muon", {"momentum": -1.0}, "momentum"),
    ("Muon", {"eps": -1.0}, "eps"),
    ("Muon", {"ns_steps": 100}, "ns_steps from 0 to 99"),
    ("Muon", {"ns_steps": [5, 5]}, "number for ns_steps"),
    ("Muon", {"ns_coefficients": (1.0, 2.0)}, "ns_coefficients to be 3 numbers"),
    ("Muon", {"ns_coefficients": (1.0, [2.0], 1.0)}, r"number for ns_coefficients\[1\]"),
    ("Muon", {"adjust_lr_fn": "adam"}, "adjust_lr_fn"),
    ("Muon", {"params": (2,)}, "parameters that are matrices"),
    ("LBFGS", {"lr": [0.1]}, "number of at least 0 for lr"),
    ("LBFGS", {"max_iter": 0}, "max_iter"),
    ("LBFGS", {"history_size": 0}, "history_size"),
    ("LBFGS", {"tolerance_grad": -1}, "tolerance_grad"),
    ("LBFGS", {"line_search_fn": "backtracking"}, "line_search_fn"),
]


@pytest.mark.parametrize(("name", "options", "match"), BAD, ids=[f"{n}-{o}" for n, o, _ in BAD])
def test_bad_option(name: str, options: dict[str, Any], match: str) -> None:
    shape = options.get("params", (2, 2))
    with pytest.raises(ArgumentError, match=match) as raised:
        getattr(optim, name)([nn.Parameter(torch.zeros(shape))], **{k: v for k, v in options.items() if k != "params"})
    assert explains(raised.value)


def test_one_number_as_a_tensor() -> None:
    p = nn.Parameter(torch.zeros(2))
    adam = optim.Adam([p], lr=torch.tensor(0.5), betas=(torch.tensor(0.5), 0.9))
    assert adam.defaults["lr"] == 0.5
    assert adam.param_groups[0]["betas"] == (0.5, 0.9)


def test_closure_computes_the_gradients() -> None:
    p = nn.Parameter(torch.ones(2))
    adam = optim.Adam([p], lr=0.1)

    def closure() -> float:
        adam.zero_grad()
        p.add_grad(torch.ones(2))
        return 7.0

    assert adam.step(closure) == 7.0
    torch.testing.assert_close(p.value, torch.full((2,), 0.9))
    assert adam.step() is None


def test_zero_grad_can_fill_with_zeros() -> None:
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    p.add_grad(torch.ones(2))
    adam = optim.Adam([p, q])
    adam.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.tolist() == [0, 0]
    assert q.grad is None
    adam.zero_grad()
    assert p.grad is None


def test_a_parameter_without_gradient_does_not_age() -> None:
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    adam = optim.Adam([p, q])
    for step in range(3):
        p.grad, q.grad = torch.ones(2), torch.ones(2) if step == 1 else None
        adam.step()
    assert [adam.state[parameter]["step"] for parameter in (p, q)] == [3, 1]


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "Muon"])
def test_training_goes_on_by_hand(name: str) -> None:
    """What an optimiser remembers of `train`, which runs in inference mode, can be changed outside it."""
    torch.set_default_dtype(torch.float32)
    options = OPTIONS[name][-1]
    x, t = torch.randn(8, 3), torch.randn(8, 1)
    models = [nn.replicate(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), range(R)) for _ in range(2)]
    criterion = nn.MSELoss(replicas=R)
    trained, by_hand = (getattr(optim, name)(model.parameters(), **options) for model in models)
    train(models[0], criterion, trained, Batches(x, t, 8, list(range(R)), shuffle=False), 2)
    for model, optimizer, steps in [(models[0], trained, 2), (models[1], by_hand, 4)]:
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(model(x), t)
            model.backward_parameters(criterion.backward())
            optimizer.step()
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=1e-3, atol=1e-4)


HALVES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9}),
    ("Adam", {}),
    ("AdamW", {}),
    ("RMSprop", {"centered": True}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Lion", {}),
]


@pytest.mark.parametrize("shape", [(), (8,), (4, 6)])
@pytest.mark.parametrize(("name", "options"), HALVES)
def test_bfloat16_stays_and_a_decay_near_1_decays(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Of no dimensions, too; and R numbers, of which 0.999 would be 1 in bfloat16, do what each does alone."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(R, *shape, generator=generator).to(torch.bfloat16)
    vary: dict[str, list[Any]] = {"lr": [0.01, 0.02, 0.03], "weight_decay": [0.1, 0.0, 0.2]}
    if name in ("Adam", "AdamW", "NAdam", "RAdam"):
        vary["betas"] = [(0.9, 0.999), (0.8, 0.998), (0.9, 0.99)]
    many = nn.Parameter(start[0].clone(), replicas=R)
    many.value.copy_(start)
    together = {n: tuple(map(list, zip(*v))) if n == "betas" else v for n, v in vary.items()}
    alone = [nn.Parameter(value.clone()) for value in start]
    steps = [getattr(optim, name)([many], **options, **together)]
    steps += [getattr(optim, name)([p], **options, **{n: v[r] for n, v in vary.items()}) for r, p in enumerate(alone)]
    for _ in range(40):
        grad = torch.randn(R, *shape, generator=generator).to(torch.bfloat16)
        many.grad = grad
        for p, g in zip(alone, grad):
            p.grad = g
        for optimizer in steps:
            optimizer.step()
    held = [many.value, *(v for o in steps for state in o.state.values() for v in state.values())]
    assert {v.dtype for v in held if isinstance(v, Tensor)} == {torch.bfloat16}
    moved = torch.stack([p.value for p in alone]).float() - start.float()
    torch.testing.assert_close(many.value.float() - start.float(), moved, rtol=0.2, atol=0.02)


def test_r_numbers_with_an_empty_group() -> None:
    groups: list[dict[str, Any]] = [{"params": []}, {"params": [nn.Parameter(torch.ones(2), replicas=R)]}]
    optimizer = optim.SGD(groups, lr=[0.1, 0.2, 0.3])
    optimizer.param_groups[1]["params"][0].grad = torch.ones(R, 2)
    optimizer.step()
    torch.testing.assert_close(optimizer.param_groups[1]["params"][0].value[:, 0], torch.tensor([0.9, 0.8, 0.7]))
