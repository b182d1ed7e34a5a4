"""What modules draw, Dropout and RReLU: how much, from where, and that no company changes it."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.data import Batches
from handgrad.nn.random import drawing, redraw
from handgrad.seeds import derive
from handgrad.testing import gradcheck
from handgrad.training import train
from tests.cases import generator

SEEDS = [11, 5, 8]
R = len(SEEDS)
KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Dropout": (nn.Dropout, (40, 50)),
    "Dropout1d": (nn.Dropout1d, (40, 50, 3)),
    "Dropout2d": (nn.Dropout2d, (40, 50, 2, 2)),
    "AlphaDropout": (nn.AlphaDropout, (40, 50)),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout, (40, 50, 3)),
}
EACH = pytest.mark.parametrize(("kind", "shape"), KINDS.values(), ids=KINDS)
ALPHA = 1.7580993408473766


def one_a_mask(y: Tensor, kind: Any) -> Tensor:
    """One value for each that is drawn."""
    return y if kind in (nn.Dropout, nn.AlphaDropout) else y.flatten(2)[..., 0]


@EACH
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seeded", [True, False])
def test_share_and_scale_of_what_is_kept(kind: Any, shape: tuple[int, ...], p: float, seeded: bool) -> None:
    drop = kind(p, generator=generator(3) if seeded else None).double()
    x = torch.ones(shape, dtype=torch.float64)
    y = drop(x)
    dx = drop.backward(x)
    values, counts = one_a_mask(dx, kind).unique(return_counts=True)
    a = 1 / math.sqrt((1 - p) * (1 + p * ALPHA**2)) if "Alpha" in kind.__name__ else 1 / (1 - p)
    torch.testing.assert_close(values, torch.tensor([0.0, a], dtype=torch.float64))
    share, n = counts[1].item() / counts.sum().item(), int(counts.sum())
    assert abs(share - (1 - p)) < 4 * math.sqrt(p * (1 - p) / n)
    dropped = a * (p - 1) * ALPHA if "Alpha" in kind.__name__ else 0.0
    kept = a + a * p * ALPHA if "Alpha" in kind.__name__ else a
    torch.testing.assert_close(y, torch.where(dx > 0, kept, dropped).double(), rtol=1e-6, atol=1e-6)


@EACH
def test_channels_are_dropped_whole(kind: Any, shape: tuple[int, ...]) -> None:
    if kind not in (nn.Dropout, nn.AlphaDropout):
        y = kind(0.5)(torch.ones(shape)).flatten(2)
        assert torch.equal(y, y[..., :1].expand_as(y))


def test_mean_and_variance_of_selu_networks_stay() -> None:
    y = nn.AlphaDropout(0.3, generator=generator(0))(torch.randn(400_000))
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.01


@pytest.mark.parametrize("dims", [(), (3,), (3, 4, 2), (0,)])
def test_any_shape(dims: tuple[int, ...]) -> None:
    for drop in (nn.Dropout(0.5, generator=generator(1)), nn.Dropout(0.5), nn.AlphaDropout(0.5)):
        assert drop(torch.ones(dims)).shape == dims
        assert drop.backward(torch.ones(dims)).shape == dims


# What is drawn


@EACH
@pytest.mark.parametrize("p", [0.3, [0.3, 0.0, 1.0]])
def test_replica_drops_as_it_does_alone(kind: Any, shape: tuple[int, ...], p: Any) -> None:
    many = kind(p, replicas=R, generator=[generator(seed) for seed in SEEDS])
    ps = p if isinstance(p, list) else [p] * R
    singles = [kind(ps[r], generator=generator(seed)) for r, seed in enumerate(SEEDS)]
    x = torch.randn(R, *shape)
    for _ in range(3):
        y = many(x)
        dx = many.backward(torch.ones_like(y))
        for r, single in enumerate(singles):
            assert torch.equal(y[r], single(x[r]))
            assert torch.equal(dx[r], single.backward(torch.ones(shape)))
    assert not torch.equal(dx[0], dx[1])


@EACH
def test_every_replica_drops_other_values_of_a_shared_input(kind: Any, shape: tuple[int, ...]) -> None:
    many = nn.replicate(kind(0.5), SEEDS)
    y = many(torch.ones(1, *shape))
    assert y.shape == (R, *shape)
    assert not torch.equal(y[0], y[1])
    assert many.backward(torch.ones_like(y)).shape == (R, *shape)
    assert many.eval()(torch.ones(1, *shape)).expand(R, *shape).eq(1).all()


def test_passes_differ_and_reset_begins_again() -> None:
    drop, x = nn.Dropout(generator=generator(4)), torch.ones(50)
    first, second = drop(x), drop(x)
    assert not torch.equal(first, second)
    drop.reset(generator(4))
    assert torch.equal(drop(x), first)
    drop.eval()
    drop(x)
    drop.train()
    assert torch.equal(drop(x), second)  # evaluation draws nothing


def test_copies_draw_what_the_original_would() -> None:
    drop, x = nn.Dropout(generator=generator(4)), torch.ones(50)
    drop(x)
    twin = copy.deepcopy(drop)
    assert torch.equal(drop(x), twin(x))


def test_nothing_else_is_drawn_from_or_disturbed() -> None:
    drop, x = nn.Dropout(generator=generator(4)), torch.ones(50)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    drop(x)
    assert torch.equal(torch.rand(3), expected)


def test_masks_are_the_same_in_any_dtype() -> None:
    masks = [
        nn.Dropout(0.4, generator=generator(4))(torch.ones(99, dtype=t)) > 0 for t in (torch.float32, torch.float64)
    ]
    assert torch.equal(*masks)


def test_a_replica_taken_out_or_stacked_keeps_seed_and_p() -> None:
    many = nn.Dropout([0.1, 0.5, 0.9], replicas=R, generator=[generator(seed) for seed in SEEDS])
    x = torch.ones(R, 200)
    many(x)
    singles = [many.replica(r) for r in range(R)]
    assert [single.p for single in singles] == [0.1, 0.5, 0.9]
    assert [single.seeds for single in singles] == [many.seeds[r : r + 1] for r in range(R)]  # type: ignore[index]
    last = many.replica(-1)
    y = many(x)
    assert all(torch.equal(single(x[r]), y[r]) for r, single in enumerate(singles))
    assert torch.equal(last(x[0]), y[-1])
    alike = nn.stack([nn.Dropout(0.3, generator=generator(seed)) for seed in SEEDS])
    assert torch.equal(alike(x), nn.replicate(nn.Dropout(0.3), SEEDS)(x))


def test_p_can_be_given_after_replication() -> None:
    many = nn.replicate(nn.Dropout(0.5), SEEDS)
    many.p = (0.0, 1.0, 0.5)
    y = many(torch.ones(R, 100))
    assert y[0].eq(1).all()
    assert y[1].eq(0).all()
    assert y[2].unique().tolist() == [0.0, 2.0]


def test_stacked_without_seeds_draws_from_the_default_generator() -> None:
    many = nn.stack([nn.Dropout(0.5), nn.Dropout(0.5)])
    torch.manual_seed(2)
    y = many(torch.ones(2, 50))
    torch.manual_seed(2)
    assert torch.equal(y, torch.stack([nn.Dropout(0.5)(torch.ones(50)) for _ in range(2)]))
    many.p = (0.0, 1.0)
    assert torch.equal(many(torch.ones(2, 50)).mean(1), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("p", [0.0, 0.5, [0.2, 0.5, 0.8]])
def test_evaluation_is_the_identity(p: Any) -> None:
    drop = nn.Dropout(p, replicas=R).eval()
    x = torch.randn(R, 7)
    y = drop(x)
    assert torch.equal(y, x)
    assert y.data_ptr() == x.data_ptr()  # as in PyTorch
    assert torch.equal(drop.backward(x), x)


@EACH
def test_all_dropped_is_zero(kind: Any, shape: tuple[int, ...]) -> None:
    for drop in (kind(1.0), kind(1.0, generator=generator(1))):
        assert drop(torch.randn(shape)).eq(0).all()
        assert drop.backward(torch.randn(shape)).eq(0).all()


@EACH
@pytest.mark.parametrize("p", [0.3, [0.3, 0.0, 0.6]])
def test_gradcheck_with_the_mask_that_was_drawn(kind: Any, shape: tuple[int, ...], p: Any) -> None:
    drop = kind(p, replicas=R, generator=[generator(seed) for seed in SEEDS])
    gradcheck(drop, torch.randn(R, 3, 4, *shape[2:]))
    assert drop.draws == 0


# RReLU


@pytest.mark.parametrize("seeded", [True, False])
def test_slopes_are_uniform_below_zero_and_one_above(seeded: bool) -> None:
    rrelu = nn.RReLU(0.2, 0.8, generator=generator(3) if seeded else None)
    x = torch.randn(40_000)
    slopes = (rrelu(x) / x)[x <= 0]
    assert torch.equal(rrelu.backward(torch.ones_like(x))[x > 0], torch.ones_like(x[x > 0]))
    expected = torch.distributions.Uniform(0.2, 0.8)
    assert slopes.min() >= 0.2 - 1e-6
    assert slopes.max() <= 0.8 + 1e-6
    assert abs(slopes.mean() - expected.mean) < 0.01
    assert abs(slopes.var() - expected.variance) < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("turned", [True, False])
def test_slopes_are_torchs(dtype: torch.dtype, turned: bool) -> None:
    x = torch.randn(30, 20, dtype=dtype)
    x = x.mT if turned else x
    x[0, 0] = 0.0
    torch.manual_seed(5)
    y = nn.RReLU()(x)
    torch.manual_seed(5)
    torch.testing.assert_close(y, torch.nn.RReLU()(x))


def test_replicas_slopes_are_those_alone_in_any_dtype() -> None:
    many = nn.replicate(nn.RReLU(), SEEDS)
    assert isinstance(many, nn.RReLU)
    x = torch.randn(R, 40, 3)
    for _ in range(2):
        taken, wide = copy.deepcopy(many), copy.deepcopy(many)
        y = many(x)
        dx = many.backward(torch.ones_like(y))
        for r in range(R):
            single = taken.replica(r)
            assert torch.equal(single(x[r]), y[r])
            assert torch.equal(single.backward(torch.ones(40, 3)), dx[r])
        assert torch.equal(wide(x.double()).sign(), y.sign().double())
        torch.testing.assert_close(wide.backward(torch.ones(R, 40, 3).double()).float(), dx, rtol=0, atol=1e-7)
    shared = many(x[:1])
    assert not torch.equal(shared[0], shared[1])
    first, second = many(x), many(x)
    assert not torch.equal(first, second)
    redraw(drawing(many), SEEDS, 1)
    again = many(x)
    redraw(drawing(many), SEEDS, 1)
    assert torch.equal(many(x), again)


# Training


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 8), nn.Tanh(), nn.AlphaDropout(0.1), nn.Linear(8, 1)
    ).double()


def trained(seeds: list[int], epochs: int = 3, rounds: int = 1) -> dict[str, Tensor]:
    x = torch.linspace(-1, 1, 64, dtype=torch.float64).view(32, 2)
    many = nn.replicate(model(), seeds)
    optimizer = optim.SGD(many.parameters(), lr=0.05, momentum=0.9)
    for _ in range(rounds):
        train(many, nn.MSELoss(replicas=len(seeds)), optimizer, Batches(x, x[:, :1] ** 2, 8, seeds), epochs)
    return many.state_dict()


def test_training_is_the_same_in_any_company() -> None:
    alone, company = trained([7]), trained([3, 7, 12])
    for name, value in alone.items():
        torch.testing.assert_close(value[0], company[name][1], rtol=1e-12, atol=1e-12)
    again = trained([7])
    assert all(torch.equal(value, again[name]) for name, value in alone.items())


def test_every_part_of_a_model_of_ones_own_draws_anew_in_each_epoch() -> None:
    """Whatever its parts are called, such as what computes in bfloat16 calls its copy."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.working, self.drop = nn.Sequential(nn.Linear(4, 4)), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.drop(self.working(x))
            return self.keep(y)

        def backward(self, dy: Tensor) -> Tensor:
            self.take(dy)
            return self.working.backward(self.drop.backward(dy))

    model, x = Own(), torch.ones(8, 4)
    train(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), Batches(x, x, 4, [7]), 1)
    assert model.drop.seeds == (derive(7, "draw", "drop", 0),)


def test_an_epochs_draws_are_those_of_seed_module_and_epoch() -> None:
    x = torch.ones(R, 40, 8, dtype=torch.float64)
    many = nn.replicate(model(), SEEDS)
    twin = nn.replicate(model(), SEEDS[1:])
    masks = []
    for epoch in (0, 1, 0):
        redraw(drawing(many), SEEDS, epoch)
        redraw(drawing(twin), SEEDS[1:], epoch)
        masks.append(many[2](x))
        assert torch.equal(masks[-1][1:], twin[2](x[1:]))
        many[2](x)
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])
    redraw(drawing(many), SEEDS, 0)
    other = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.3))
    redraw(drawing(other), [1], 0)
    assert other[0].seeds != other[1].seeds  # the module's name is part of the address


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout", "LSTM", "MultiheadAttention"])
def test_where_nothing_is_left_nothing_is_drawn(name: str) -> None:
    after = []
    for library in (nn, torch.nn):
        x: Any = torch.ones(3, 2, 4)
        options: Any = {"LSTM": ((4, 4, 2), {"dropout": 1.0}), "MultiheadAttention": ((4, 2), {"dropout": 1.0})}
        args, named = options.get(name, ((1.0,), {}))
        part = getattr(library, name)(*args, **named)
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part(*[x] * (3 if name == "MultiheadAttention" else 1))
        after.append(torch.rand(1))
    assert torch.equal(*after)
