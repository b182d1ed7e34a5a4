"""Operations in any order: a network and its twins in torch.nn go through the same ones, and agree after each."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from torch import Tensor

import handgrad
from handgrad import nn, optim
from handgrad.interop import from_torch, to_torch

F64 = torch.float64
SCHEDULE: dict[str, Any] = {"T_max": 5}
OPTIMISERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.003, "centered": True, "momentum": 0.5}),
    ("NAdam", {"lr": 0.01}),
]


def chain() -> tuple[nn.Sequential, tuple[int, ...]]:
    """Of which `nn.fuse` makes chains, the second one with a weight of the first."""
    inner = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    norms = nn.BatchNorm1d(8), nn.BatchNorm1d(8, momentum=None)
    outer = [nn.Linear(3, 8), nn.Tanh(), norms[0], nn.Linear(8, 8), nn.GELU(), norms[1], nn.Linear(8, 8)]
    one, other = inner[2], outer[3]
    assert isinstance(one, nn.Linear)
    assert isinstance(other, nn.Linear)
    one.weight = other.weight
    return nn.Sequential(*outer, nn.Softplus(), inner), (3,)


def sequence() -> tuple[nn.Sequential, tuple[int, ...]]:
    lstm = nn.First(nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True))
    gru = nn.First(nn.GRU(8, 5, batch_first=True))
    return nn.Sequential(lstm, nn.LayerNorm(8), gru, nn.Select(1, -1), nn.Linear(5, 2)), (4, 3)


def images() -> tuple[nn.Sequential, tuple[int, ...]]:
    block = nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU()))
    start = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(*start, block, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)), (2, 6, 6)


def tokens() -> tuple[nn.Sequential, tuple[int, ...]]:
    attention = nn.Sequential(nn.LayerNorm(4), nn.First(nn.MultiheadAttention(4, 2, batch_first=True)))
    heads = nn.Concat(nn.Linear(4, 2), nn.Sequential(nn.Linear(4, 3), nn.Tanh()))
    return nn.Sequential(nn.PositionalEmbedding(5, 4), nn.Residual(attention), nn.Select(1, -1), heads), (4, 4)


def by_pickle(what: Any) -> Any:
    return pickle.loads(pickle.dumps(what))


def by_torch(what: Any) -> Any:
    torch.save(what, buffer := io.BytesIO())
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def by_file(model: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return handgrad.load(handgrad.save(model, f"{folder}/model.safetensors"))


COPIES: list[Callable[[Any], Any]] = [copy.deepcopy, by_pickle, by_torch]
MODES: list[Callable[[], Any]] = [torch.enable_grad, torch.no_grad, torch.inference_mode]
LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x,
    lambda x: x.mT.contiguous().mT,
    lambda x: torch.stack((x, -x), -1)[..., 0],
    lambda x: x.flip(-1).expand_as(x),
]


class Twins(RuleBasedStateMachine):
    """`ours` and `theirs`, one of torch.nn for each replica, with an optimiser and a schedule each."""

    def __init__(self, build: Callable[[], tuple[nn.Sequential, tuple[int, ...]]], replicas: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.R, (model, self.shape) = replicas, build()
        self.ours: Any = nn.fuse(model.double() if replicas is None else nn.replicate(model.double(), range(replicas)))
        self.theirs = [to_torch(one) for one in self.alone()]
        self.names = [name for name, _ in self.ours.named_parameters()]
        self.prepare(0)

    def alone(self) -> list[Any]:
        return [self.ours] if self.R is None else [self.ours.replica(r) for r in range(self.R)]

    def each(self, value: Any) -> list[Any]:
        """What each of `theirs` has of a tensor of `ours`."""
        return [value] if self.R is None else list(value)

    def prepare(self, index: int) -> None:
        """Another optimiser, which has only the first half of the parameters, and a schedule."""
        (self.kind, self.options), half = OPTIMISERS[index], len(self.names) // 2
        self.groups = [self.names[:half]]
        self.optimizers = [self.made(optim, self.ours), *(self.made(torch.optim, one) for one in self.theirs)]
        self.schedule()

    def schedule(self) -> None:
        first, *others = self.optimizers
        self.schedules: list[Any] = [optim.lr_scheduler.CosineAnnealingLR(first, **SCHEDULE)]
        self.schedules += [torch.optim.lr_scheduler.CosineAnnealingLR(other, **SCHEDULE) for other in others]

    def made(self, library: Any, model: Any) -> Any:
        named = dict(model.named_parameters())
        return getattr(library, self.kind)([{"params": [named[n] for n in g]} for g in self.groups], **self.options)

    def go_on(self, model: Any) -> None:
        """Let another network take the place of `ours`, and its optimiser go on from the state."""
        state, frozen = self.optimizers[0].state_dict(), [p.frozen for p in self.ours.parameters()]
        assert [part.training for part in model.modules()] == [part.training for part in self.ours.modules()]
        self.ours = model
        for p, one in zip(self.ours.parameters(), frozen):
            p.frozen = one
        self.optimizers[0] = self.schedules[0].optimizer = self.made(optim, self.ours)
        self.optimizers[0].load_state_dict(state)
        for one in self.theirs:
            one.zero_grad()

    def close(self, ours: Any, theirs: Any) -> None:
        if theirs is None:
            assert ours is None
        else:
            largest = max([1.0, *theirs.detach().abs().flatten().tolist()])
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-7, atol=1e-8 * largest)

    @invariant()
    def agree(self) -> None:
        """Compare all state, and let the rounding in it not add up."""
        state = self.ours.state_dict()
        for r, (one, optimizer) in enumerate(zip(self.theirs, self.optimizers[1:])):
            assert list(state) == list(one.state_dict())
            for name, value in one.state_dict().items():
                self.close(self.each(state[name])[r], value)
            one.load_state_dict({name: self.each(value)[r] for name, value in state.items()})
            for (name, p), q in zip(self.ours.named_parameters(), one.parameters()):
                grad = p.grad.mT if p.transposed and p.grad is not None else p.grad
                self.close(grad if grad is None else self.each(grad)[r], q.grad)
                q.grad = q.grad if grad is None else self.each(grad)[r].clone()
                assert p.frozen is not q.requires_grad, name
            for group, other in zip(self.optimizers[0].param_groups, optimizer.param_groups):
                assert group["lr"] == pytest.approx(other["lr"])

    # What is done

    @rule(
        n=st.sampled_from([0, 1, 6, 500]),
        times=st.integers(1, 3),
        train=st.sampled_from([True, True, False]),
        twice=st.booleans(),
        mode=st.sampled_from(MODES),
        layout=st.sampled_from(LAYOUTS),
        between=st.sampled_from([by_pickle, None, *COPIES]),
        whole=st.booleans(),
    )
    def go_through(self, n, times, train, **options):
        for _ in range(times):
            self.once(n, train, **options)
            self.agree()
        self.step()

    def once(self, n, train, twice, mode, layout, between, whole):
        n = min(n, 6) if len(self.shape) > 1 else n
        train = train and n > 1  # BatchNorm needs two
        for one in (self.ours, *self.theirs):
            one.train(train)
        lead = () if self.R is None else (self.R,)
        x = layout(torch.randn(*lead, n, *self.shape, dtype=F64))
        inputs = [one.clone().requires_grad_() for one in self.each(x)]
        outputs = [one(given) for one, given in zip(self.theirs, inputs)]
        if twice:  # running statistics move, and the second pass is what counts
            with mode():
                self.ours(x)
            outputs = [one(given) for one, given in zip(self.theirs, inputs)]
        with mode():
            y = self.ours(x)
        assert len(self.ours[:-1]) == len(self.ours) - 1
        if between is not None:
            self.copied(between)
        dy = layout(torch.randn(y.shape, dtype=F64))
        seen = x.clone(), y.clone(), dy.clone()
        with mode():
            dx = self.ours.backward(dy) if whole else self.ours.backward_parameters(dy)
            assert all(torch.equal(a, b) for a, b in zip((x, y, dy), seen))
        for p in self.ours.parameters():  # what inference mode made cannot be changed outside
            p.grad = None if p.grad is None else p.grad.clone()
        for r, (output, given) in enumerate(zip(outputs, inputs)):
            self.close(self.each(y)[r], output)
            output.backward(self.each(dy)[r])
            if whole:
                self.close(self.each(dx)[r], given.grad)

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()

    @rule(of_model=st.booleans(), to_none=st.booleans())
    def zero_grad(self, of_model, to_none):
        for part, optimizer in zip((self.ours, *self.theirs), self.optimizers):
            _ = part.zero_grad() if of_model else optimizer.zero_grad(to_none)

    @rule()
    def move_on(self):
        for schedule in self.schedules:
            schedule.step()

    @rule(how=st.sampled_from(COPIES))
    def copied(self, how):
        self.ours, self.optimizers[0], self.schedules[0] = how((self.ours, self.optimizers[0], self.schedules[0]))

    @rule(how=st.sampled_from(["file", "torch", "replicas"]))
    def rebuilt(self, how):
        if how == "file":
            self.go_on(by_file(self.ours))
        elif how == "torch":
            self.go_on(from_torch(to_torch(self.ours) if self.R is None else [to_torch(one) for one in self.alone()]))
        elif self.R is not None:
            self.go_on(nn.stack(self.alone()))

    @rule()
    def fuse(self):
        self.ours = nn.fuse(self.ours)

    @rule(r=st.integers(0, 10))
    def freeze(self, r):
        name = self.names[r % len(self.names)]
        for one in self.theirs:
            parameter = one.get_parameter(name)
            parameter.requires_grad_(not parameter.requires_grad)
        parameter = dict(self.ours.named_parameters())[name]
        parameter.frozen = not parameter.frozen

    @rule(bound=st.sampled_from([0.1, 100.0]))
    def clip(self, bound):
        for one in (self.ours, *self.theirs):
            library = nn if one is self.ours else torch.nn
            library.utils.clip_grad_norm_(one.parameters(), bound)

    @rule(index=st.integers(0, len(OPTIMISERS) - 1))
    def another_optimiser(self, index):
        self.prepare(index)

    @precondition(lambda self: len(self.groups) == 1)
    @rule()
    def rest_of_the_parameters(self):
        self.groups.append(self.names[len(self.groups[0]) :])
        for model, optimizer in zip((self.ours, *self.theirs), self.optimizers):
            named = dict(model.named_parameters())
            optimizer.add_param_group({"params": [named[n] for n in self.groups[1]], "lr": 0.005})
            optimizer.param_groups[0]["lr"] = 0.005
            optimizer.param_groups[0].pop("initial_lr")
        self.schedule()

    @rule(dtype=st.sampled_from([torch.float32, torch.bfloat16]))
    def there_and_back(self, dtype):
        for one in (self.ours, *self.theirs):
            one.to(dtype).to(F64)

    @rule()
    def states_exchanged(self):
        """Of networks and, where there are no replicas, of optimisers, across the libraries."""
        states = [one.state_dict() for one in self.theirs]
        self.ours.load_state_dict(
            states[0] if self.R is None else {n: torch.stack([s[n] for s in states]) for n in states[0]}
        )
        if self.R is None:
            ours, theirs = (copy.deepcopy(optimizer.state_dict()) for optimizer in self.optimizers)
            self.optimizers[0].load_state_dict(theirs)
            self.optimizers[1].load_state_dict(ours)

    @precondition(lambda self: len(self.ours) < 12)
    @rule()
    def appended(self):
        for one in (self.ours, *self.theirs):
            one.append(nn.Tanh() if one is self.ours else torch.nn.Tanh())


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.filterwarnings("ignore:grad and param do not obey")  # torch.nn's, once a process
@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("build", [chain, sequence, images, tokens])
def test_operations_in_any_order(build, replicas):
    class Chosen(Twins):
        def __init__(self) -> None:
            super().__init__(build, replicas)

    chosen = settings(max_examples=9, stateful_step_count=25, phases=[Phase.generate])  # shrinking takes minutes
    run_state_machine_as_test(Chosen, settings=chosen)
