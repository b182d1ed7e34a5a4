"""Recurrent layers: what a row of the table cannot say."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.nn import steps
from handgrad.testing import gradcheck
from tests.cases import close, each, grads, leaves, upstream

KINDS = ["RNN", "GRU", "LSTM"]
KIND = pytest.mark.parametrize("kind", KINDS)
F64 = torch.float64


def pair(kind: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Both libraries' layer with the same values, in float64."""
    theirs = getattr(torch.nn, kind)(*args, **options, dtype=F64)
    ours = getattr(nn, kind)(*args, **options, dtype=F64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def state(kind: str, *shape: int) -> Any:
    """A random state, h or (h, c)."""
    h = torch.randn(*shape, dtype=F64)
    return (h, torch.randn(*shape, dtype=F64)) if kind.startswith("LSTM") else h


@KIND
@pytest.mark.parametrize("loss", ["every state", "the last state only"])
def test_gradient_through_sixty_steps_equals_torchs(kind: str, loss: str) -> None:
    ours, theirs = pair(kind, 5, 8, num_layers=2)
    x = torch.randn(60, 4, 5, dtype=F64, requires_grad=True)
    y, last = theirs(x)
    dy, dlast = upstream(y) if loss == "every state" else None, upstream(last)
    outputs = leaves((None if dy is None else y, last))
    torch.autograd.backward(outputs, leaves((dy, dlast)))
    ours(x.detach())
    close(ours.backward((dy, dlast)), x.grad)
    close(grads(ours), {name: p.grad for name, p in theirs.named_parameters()})


@KIND
@pytest.mark.parametrize("shape", [(5, 3, 3), (4, 3)], ids=["batch", "no batch"])
def test_none_stands_for_a_gradient_of_zero(kind: str, shape: tuple[int, ...]) -> None:
    layer, x = getattr(nn, kind)(3, 2, num_layers=2, bidirectional=True, dtype=F64), torch.randn(shape, dtype=F64)
    hx = state(kind, 4, *shape[1:-1], 2)

    def backward(dy: Any) -> list[Tensor]:
        layer.zero_grad()
        layer(x, hx)
        return [*leaves(layer.backward(dy)), *grads(layer).values()]

    dy, dlast = upstream(layer(x, hx))
    no_dy, no_dlast = torch.zeros_like(dy), each(torch.zeros_like, dlast)
    close(backward(dy), backward((dy, no_dlast)))
    close(backward((dy, None)), backward((dy, no_dlast)))
    close(backward((None, dlast)), backward((no_dy, dlast)))
    if kind == "LSTM":
        dh, dc = dlast
        close(backward((dy, (None, dc))), backward((dy, (no_dlast[0], dc))))
        close(backward((dy, (dh, None))), backward((dy, (dh, no_dlast[1]))))


def test_none_stands_for_a_gradient_of_zero_in_a_cell() -> None:
    cell, x = nn.LSTMCell(3, 2, dtype=F64), torch.randn(4, 3, dtype=F64)

    def backward(dy: Any) -> Tensor:
        cell(x)
        dx: Tensor = cell.backward(dy)
        return dx

    dh, dc = upstream(cell(x))
    close(backward((dh, None)), backward((dh, torch.zeros_like(dc))))
    close(backward(dh), backward((dh, torch.zeros_like(dc))))
    close(backward((None, dc)), backward((torch.zeros_like(dh), dc)))


@KIND
@pytest.mark.parametrize("size", [(3, 0, 3), (0, 3)], ids=["layer", "cell"])
def test_empty_batch_as_in_torch(kind: str, size: tuple[int, ...]) -> None:
    ours, theirs = pair(kind if len(size) == 3 else kind + "Cell", 3, 2)
    x = torch.zeros(size, dtype=F64)
    y = ours(x)
    assert [v.shape for v in leaves(y)] == [v.shape for v in leaves(theirs(x))]
    assert ours.backward(upstream(y)).shape == size
    assert all(g.eq(0).all() for g in grads(ours).values())


@KIND
def test_a_cell_step_by_step_is_the_layer(kind: str) -> None:
    layer, cell = getattr(nn, kind)(3, 2, dtype=F64), getattr(nn, kind + "Cell")(3, 2, dtype=F64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x, hx = torch.randn(6, 4, 3, dtype=F64), state(kind, 1, 4, 2)
    y, last = layer(x, hx)
    h = each(lambda value: value[0], hx)
    for t in range(6):
        h = cell(x[t], h)
        close(leaves(h)[0], y[t])
    close(leaves(h), [value[0] for value in leaves(last)])


# Replicas in groups, as many as fit a cache: sizes of tests all fit


@KIND
@pytest.mark.parametrize("groups", [5, 3, 2])
def test_groups_of_replicas_change_nothing(kind: str, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3}
    layer = nn.replicate(getattr(nn, kind)(3, 2, **options, dtype=F64), range(5))
    W = layer.weights("_l0").hh.value
    limits = {1: steps.CACHED, groups: -(-5 * (2 + 4 * 2) * W.shape[-1] // groups)}
    shared, own = torch.randn(4, 2, 3, dtype=F64), torch.randn(5, 4, 2, 3, dtype=F64)
    for x, hx in [(shared, None), (own, state(kind, 5, 4, 2, 2)), (own, state(kind, 4, 2, 2))]:
        found: list[list[Tensor]] = []
        dy = upstream(layer.eval()(x, hx))
        for count, limit in limits.items():
            monkeypatch.setattr(steps, "CACHED", limit)
            assert len(steps.in_groups(W, 2, [W])) == count
            layer.train().zero_grad()
            layer.draws = 0
            y = layer(x, hx)
            found.append([*leaves(y), *leaves(layer.backward(dy)), *grads(layer).values()])
        close(found[0], found[1])


def test_groups_are_cut_by_what_a_step_holds() -> None:
    W = torch.zeros(6, 64, 256)
    assert [len(group[0]) for group in steps.in_groups(W, 256, [W])] == [1] * 6
    assert [len(group[0]) for group in steps.in_groups(W, 64, [W])] == [3, 3]
    assert [len(group[0]) for group in steps.in_groups(W[:, :2, :8], 4, [W])] == [6]


# Dropout between layers


@KIND
def test_dropout_is_that_of_single_layers_with_masks_between(kind: str) -> None:
    deep = getattr(nn, kind)(3, 2, num_layers=3, dropout=0.4, generator=torch.Generator().manual_seed(1), dtype=F64)
    singles = [getattr(nn, kind)(3 if i == 0 else 2, 2, dtype=F64) for i in range(3)]
    for i, single in enumerate(singles):
        own = {n: v for n, v in deep.state_dict().items() if n.endswith(str(i))}
        single.load_state_dict({name[:-1] + "0": value for name, value in own.items()})
    x = torch.randn(5, 4, 3, dtype=F64)
    y, _ = deep(x)
    masks = [mask for mask, _ in deep.kept[0]]
    assert masks[0] is None
    h = singles[0](x)[0]
    for mask, single in zip(masks[1:], singles[1:]):
        h = single(h * mask)[0]
    close(y, h)
    dy = upstream(y)
    dx = deep.backward(dy)
    for mask, single in zip(masks[:0:-1], singles[:0:-1]):
        dy = single.backward(dy) * mask
    close(dx, singles[0].backward(dy))


def test_dropout_keeps_the_mean_and_zeroes_its_share() -> None:
    rnn = nn.RNN(1, 50, num_layers=2, dropout=0.3, generator=torch.Generator().manual_seed(2))
    x = torch.randn(40, 20, 1)
    rnn(x)
    mask = rnn.kept[0][1][0]  # type: ignore[index]
    assert mask.numel() == 40 * 20 * 50
    assert abs(float((mask == 0).float().mean()) - 0.3) < 0.01
    assert abs(float(mask.mean()) - 1) < 0.01
    assert set(mask.unique().tolist()) == {0.0, mask.max().item()}


def test_dropout_is_drawn_anew_in_training_only() -> None:
    gru = nn.GRU(3, 4, num_layers=2, dropout=0.5)
    x = torch.randn(5, 2, 3)
    assert not torch.equal(gru(x)[0], gru(x)[0])
    assert torch.equal(gru.eval()(x)[0], gru(x)[0])


def test_no_dropout_draws_no_seeds() -> None:
    """So that a network of several layers takes the same values from one generator as by `reset`."""
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    layer = nn.LSTM(3, 2, generator=one)
    layer.reset(other)
    assert layer.seeds is None
    assert torch.equal(torch.rand(1, generator=one), torch.rand(1, generator=other))


def test_gradcheck_of_a_loss_of_the_last_state_only() -> None:
    class Last(nn.Module):
        """The last layer's last h."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, num_layers=2)

        def forward(self, x: Tensor) -> Tensor:
            _, (h, _c) = self.lstm(x)
            last: Tensor = self.keep(h[-1], torch.zeros_like(h))
            return last

        def backward(self, dy: Tensor) -> Any:
            (dh,) = self.take(dy)
            dh[-1] = dy
            return self.lstm.backward((None, (dh, None)))

    gradcheck(Last(), torch.randn(6, 3, 3))


def test_first_hands_a_network_its_names() -> None:
    model = nn.Sequential(nn.First(nn.LSTM(3, 4)), nn.Linear(4, 2))
    assert next(iter(model.state_dict())) == "0.module.weight_ih_l0"
    x = torch.randn(5, 2, 3)
    y = model(x)
    model.backward_parameters(upstream(y))
    assert len(grads(model)) == 6
    assert nn.First(nn.ReLU())(x).shape == x.shape


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_small_numbers_keep_their_digits_in_bfloat16(kind, replicas):
    """2 σ(2 x) − 1, by which tanh is computed elsewhere, would leave none of them."""
    torch.manual_seed(0)
    exact = kind(3, 4, bias=False, dtype=torch.float64, replicas=replicas)
    short = kind(3, 4, bias=False, dtype=torch.bfloat16, replicas=replicas)
    x = torch.randn(*([] if replicas is None else [replicas]), 6, 5, 3, dtype=torch.float64) / 100
    for p, q in zip(exact.parameters(), short.parameters()):
        q.value.copy_(p.value)
        p.value.copy_(q.value)
    (expected, _), (found, _) = exact(x.bfloat16().double()), short(x.bfloat16())
    assert (found.double() - expected).norm() < 0.02 * expected.norm()
    dy = torch.ones_like(expected)
    difference = short.backward((dy.bfloat16(), None)).double() - (dx := exact.backward((dy, None)))
    assert difference.norm() < 0.02 * dx.norm()


def _pass(layer: Any, x: Tensor, dy: Tensor) -> list[Tensor]:
    """Outputs, last states, dx and gradients of a step in training, all as copies."""
    layer.zero_grad()
    y, last = layer(x)
    results = [
        y,
        *(last if isinstance(last, tuple) else [last]),
        layer.backward(dy),
        *(p.grad for p in layer.parameters()),
    ]
    return [result.clone() for result in results]


@KIND
@pytest.mark.parametrize("replicas", [None, 2])
def test_memory_of_an_earlier_pass_leaves_no_trace(kind: str, replicas: int | None) -> None:
    """Lengths in turn, evaluation between forward and backward's forward, and inference mode before ordinary mode."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True, replicas=replicas, dtype=F64).train()
    lead = () if replicas is None else (replicas,)
    first, *lengths = 5, 5, 7, 5
    with torch.inference_mode():
        _pass(layer, torch.randn(*lead, first, 2, 3, dtype=F64), torch.randn(*lead, first, 2, 8, dtype=F64))
    for T in lengths:
        x, dy = torch.randn(*lead, T, 2, 3, dtype=F64), torch.randn(*lead, T, 2, 8, dtype=F64)
        y, _ = layer(x)
        before = y.clone()
        layer.eval()(torch.randn_like(x))
        layer.train()
        fresh = pickle.loads(pickle.dumps(layer))
        fresh.forget()
        for ours, theirs in zip(_pass(layer, x, dy), _pass(fresh, x, dy), strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(y, before)  # what was handed out is the caller's


@KIND
@pytest.mark.parametrize("replicas", [None, 2])
def test_a_pickle_between_forward_and_backward_goes_on(kind: str, replicas: int | None) -> None:
    """After a whole step, whose views a pickle tears from their memory."""
    layer, x = getattr(nn, kind)(3, 4, replicas=replicas, dtype=F64), torch.randn(5, 2, 3, dtype=F64)
    for _ in range(2):
        y, _ = layer(x)
        twin, dy = pickle.loads(pickle.dumps(layer)), torch.randn_like(y)
        close(twin.backward(dy), layer.backward(dy))
        close(grads(twin), grads(layer))
