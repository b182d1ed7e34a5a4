"""Models of several inputs or outputs are trained, measured, swept and audited as those of one are."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from handgrad import fit, nn, optim
from handgrad.audit import Run, audit_replica
from handgrad.data import Batches, Loader
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.grid import grid
from handgrad.metrics import SCORES
from handgrad.sweeps import sweep
from handgrad.training import Checkpoints, Evaluation, Trainer

A, B = torch.randn(60, 3), torch.randn(60, 2)
T = A[:, :1] * B[:, :1]
SEEDS = [3, 1, 4]


class Two(nn.Module):
    """y = W tanh(U a + V b)."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.tanh, self.out = nn.Linear(3, 4), nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)

    def forward(self, a, b):
        return self.out(self.tanh(self.a(a) + self.b(b)))

    def backward(self, dy):
        dh = self.tanh.backward(self.out.backward(dy))
        return self.a.backward(dh), self.b.backward(dh)


class Joined(nn.Module):
    """The same of one input, (…, 5)."""

    def __init__(self, two):
        super().__init__()
        self.two = two

    def forward(self, x):
        return self.two(x[..., :3], x[..., 3:])

    def backward(self, dy):
        return torch.cat(self.two.backward(dy), -1)


class Heads(nn.Module):
    """A mean and a positive variance."""

    def __init__(self):
        super().__init__()
        self.mean, self.variance = nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 1), nn.Softplus())

    def forward(self, x):
        return self.mean(x), self.variance(x)

    def backward(self, dy):
        return self.mean.backward(dy[0]) + self.variance.backward(dy[1])


class Samples(Dataset[Any]):
    def __init__(self, x, t):
        self.x, self.t = x, t

    def __len__(self):
        return len(A)

    def __getitem__(self, i):
        return tuple(tuple(v[i] for v in whole) if isinstance(whole, tuple) else whole[i] for whole in (self.x, self.t))


def joined(x):
    return torch.cat(x, -1) if isinstance(x, tuple) else x


def pair(R):
    """A model of two inputs and one of both joined, of the same values."""
    two = Two() if R is None else nn.replicate(Two(), SEEDS[:R])
    one = Joined(copy.deepcopy(two))
    one.replicas = R
    return two, one


KINDS: dict[str, Callable[[Any], tuple[Any, dict[str, Any]]]] = {
    "tensors": lambda x: ((x, T), {"validation": 0.25, "metrics": ["rmse"]}),
    "weights": lambda x: ((x, T, T[:, 0].abs()), {"validation": (x, T)}),
    "arrays": lambda x: (([v.numpy() for v in x] if isinstance(x, tuple) else x.numpy(), T.numpy()), {}),
    "dataset": lambda x: (Samples(x, T), {"accumulate": 2}),
    "loader": lambda x: (DataLoader(Samples(x, T), batch_size=10, shuffle=True), {"validation": (x, T)}),
    "two loaders": lambda x: (
        DataLoader(Samples(x, T), batch_size=10, shuffle=True),
        {"validation": DataLoader(Samples(x, T), batch_size=10)},
    ),
    "no shuffle": lambda x: (Batches(x, T, 10, [0], shuffle=False), {"metrics": ["rmse"]}),
    "bfloat16": lambda x: ((x, T), {"precision": "bfloat16"}),
}


@pytest.mark.parametrize("R", [None, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_several_inputs_train_as_one_of_them_joined(kind, R):
    found = []
    for model, x in zip(pair(R), [(A, B), torch.cat([A, B], 1)]):
        data, options = KINDS[kind](x)
        if isinstance(data, Batches):
            data.seeds = SEEDS[: R or 1]
        adam = optim.Adam(model.parameters(), 0.05)
        history = fit(model, nn.MSELoss(replicas=R), adam, data, epochs=4, batch_size=16, **options)
        found.append((history, list(model.parameters())))
    (ours, parameters), (theirs, others) = found
    assert torch.equal(ours.loss, theirs.loss)
    assert ours.metrics.keys() == theirs.metrics.keys()
    assert all(torch.equal(values, theirs.metrics[name]) for name, values in ours.metrics.items())
    assert all(torch.equal(p.value, q.value) for p, q in zip(parameters, others))


def test_replicas_with_data_of_their_own_see_their_own():
    x = tuple(torch.stack([v, v + 1, v + 2]) for v in (A, B))
    t = torch.stack([T, -T, 2 * T])
    batches = Batches(x, t, 16, SEEDS, own=True)
    for (a, b), some in batches.epoch(2):
        assert a.shape[:2] == b.shape[:2] == some.shape[:2]
        for r in range(3):
            rows = [int((x[0][r] == row).all(1).nonzero()) for row in a[r]]
            assert torch.equal(b[r], x[1][r, rows])
            assert torch.equal(some[r], t[r, rows])
    evaluation = Evaluation(x, t, nn.MSELoss(replicas=3), own=True, chunk=7)
    model = nn.replicate(Two(), SEEDS)
    assert torch.allclose(evaluation(model)["loss"], ((model(*x) - t) ** 2).mean((1, 2)))


def test_a_run_of_several_inputs_goes_on_where_it_was(tmp_path):
    def run(epochs, folder, x=(A, B)):
        model = nn.replicate(Two(), SEEDS)
        sgd, batches = optim.SGD(model.parameters(), 0.1, momentum=0.9), Batches(x, T, 16, SEEDS)
        criterion = nn.MSELoss(replicas=3)
        Trainer(model, criterion, sgd, batches, epochs, checkpoints=Checkpoints(folder)).run()
        return list(model.parameters())

    whole = run(4, tmp_path / "whole")
    run(2, tmp_path / "cut")
    assert all(torch.equal(p.value, q.value) for p, q in zip(run(4, tmp_path / "cut"), whole))
    with pytest.raises(Exception, match="samples"):
        run(5, tmp_path / "cut", x=(A, B + 1))


def test_a_diverged_replica_of_several_inputs_is_noted():
    model = nn.replicate(Two(), SEEDS)
    model.a.weight.value[1, 0, 0] = torch.nan
    history = fit(model, nn.MSELoss(replicas=3), optim.SGD(model.parameters(), 0.1), ((A, B), T), epochs=2)
    assert [note is None for note in history.diverged] == [True, False, True]


@pytest.mark.parametrize("R", [None, 3])
def test_outputs_take_their_places_in_a_loss_of_several(R):
    model = Heads() if R is None else nn.replicate(Heads(), SEEDS)
    own = copy.deepcopy(model)
    options: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 60,
        "metrics": {"rmse": "rmse", "variance": variance},
        "validation": (A, T),
    }
    history = fit(model, nn.GaussianNLLLoss(replicas=R), optim.SGD(model.parameters(), 0.1), (A, T), **options)
    criterion, sgd = nn.GaussianNLLLoss(replicas=R), optim.SGD(own.parameters(), 0.1)
    for _ in range(3):
        mean, var = own(A)
        criterion(mean, T, var)
        sgd.zero_grad()
        own.backward(criterion.backward())
        sgd.step()
    for p, q in zip(model.parameters(), own.parameters()):
        assert torch.allclose(p.value, q.value, atol=1e-6)
    mean, var = model(A)
    losses = torch.as_tensor(criterion(mean, T, var)).reshape(-1).double()
    assert torch.allclose(history.metrics["validation_loss"][:, -1], losses)
    lead = mean if R else mean.unsqueeze(0)
    assert torch.allclose(history.metrics["validation_rmse"][:, -1], SCORES["rmse"](lead, T).double())
    assert torch.allclose(history.metrics["validation_variance"][:, -1], var.reshape(R or 1, -1).mean(1).double())


def variance(outputs, targets):
    assert outputs[0].shape == targets.shape
    return outputs[1].mean((1, 2))


def test_a_loss_without_targets_gets_none():
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = (nn.Linear(3, 2) for _ in range(3))

        def forward(self, x):
            return self.one(x), self.two(x), self.three(x)

        def backward(self, dy):
            return self.one.backward(dy[0]) + self.two.backward(dy[1]) + self.three.backward(dy[2])

    model, criterion = Three(), nn.TripletMarginLoss()
    expected = criterion(*model(A), weights=A[:, 0].abs())
    history = fit(model, criterion, optim.SGD(model.parameters(), 0.1), (A, T, A[:, 0].abs()), epochs=1, batch_size=60)
    assert torch.allclose(history.loss[0, 0], expected.double())


def test_a_sweep_of_two_inputs_is_that_of_both_joined():
    def drawn(seed):
        x = torch.randn(40, 5, generator=torch.Generator().manual_seed(seed))
        return x, x[:, :1] * x[:, 3:4]

    torch.manual_seed(0)
    two = Two()
    options: dict[str, Any] = {"epochs": 3, "batch_size": 10, "metrics": {"rmse": SCORES["rmse"]}}
    configs = grid(lr=[0.01, 0.1], seeds=3)
    for data in (drawn, drawn(0)):

        def parts(seed, data=data):
            x, t = data(seed)
            return (x[:, :3], x[:, 3:]), t

        apart = parts if callable(data) else ((data[0][:, :3], data[0][:, 3:]), data[1])
        ours, theirs = sweep(two, apart, configs, **options), sweep(Joined(two), data, configs, **options)
        for name in ("loss", "rmse"):
            assert ours.metrics[name] == theirs.metrics[name]


def test_an_audit_goes_through_modules_of_several_inputs():
    def run(seeds, a=A):
        model = nn.replicate(Two(), seeds)
        sgd = optim.SGD(model.parameters(), 0.1)
        return Run(model, nn.MSELoss(replicas=len(seeds)), sgd, Batches((a, B), T, 16, seeds), seeds.index(3))

    assert audit_replica(run([3, 7]), run([2, 3]), epochs=2, tolerance=1e-4) is None
    found = audit_replica(run([3]), run([3], A + 1), epochs=1)
    assert found is not None
    assert found.where == "the inputs"


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (((A, B[:50]), T), ShapeError, r"equal N, got \(60, 3\) and \(50, 2\) and \(60, 1\)"),
        (((A, B, A), T), ArgumentError, "a model that takes 3 inputs, got Two"),
        ((A, T), ArgumentError, "a model that takes 1 input, got Two"),
        (Samples((A, B), (T, T)), ArgumentError, "targets in one tensor, got 2 of them"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(data, error, message):
    model = Two()
    with pytest.raises(error, match=message):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), data, epochs=1)


class OfTheFirst(nn.Loss):
    """The squares of the first output minus t; the others count for nothing, and have no gradient."""

    def forward(self, y, t, weights=None):
        self.d = y[0] - t
        return (self.d**2).mean()

    def backward(self, dloss=None):
        return 2 / self.d.numel() * self.d, None


def test_outputs_without_a_gradient_have_none_where_batches_are_accumulated():
    x, t, found = torch.randn(12, 5, 3), torch.randn(12, 5, 4), []
    for size, accumulate in ((12, 1), (4, 3)):
        torch.manual_seed(0)
        lstm = nn.LSTM(3, 4, batch_first=True)
        sgd = optim.SGD(lstm.parameters(), 0.1)
        fit(lstm, OfTheFirst(), sgd, (x, t), epochs=2, batch_size=size, accumulate=accumulate)
        found.append(lstm.state_dict())
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())


def test_a_model_of_nested_outputs_that_diverges_is_noted():
    x, t = torch.randn(12, 5, 3), torch.full((12, 5, 4), torch.inf)
    lstm = nn.LSTM(3, 4, batch_first=True)
    history = fit(lstm, OfTheFirst(), optim.SGD(lstm.parameters(), 0.1), (x, t), epochs=2)
    assert history.diverged == [{"epoch": 0, "step": 0, "layer": "the loss"}]


def test_nested_outputs_are_not_measured():
    x, t = torch.randn(12, 5, 3), torch.randn(12, 5, 4)
    lstm = nn.LSTM(3, 4, batch_first=True)
    with pytest.raises(DTypeError, match=r"outputs that are tensors, got a tuple of tensors within.*nn\.First"):
        fit(lstm, OfTheFirst(), optim.SGD(lstm.parameters(), 0.1), (x, t), validation=(x, t), epochs=2)


def test_a_sequential_takes_one_input():
    model = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(ArgumentError, match=r"a model that takes 2 inputs, got Sequential"):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), ((A, B), T), epochs=1)


def test_a_loss_of_two_predictions_needs_a_model_of_two_outputs():
    model = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(ArgumentError, match=r"a model of 2 outputs, which GaussianNLLLoss is by, got 1"):
        fit(model, nn.GaussianNLLLoss(), optim.SGD(model.parameters(), 0.1), (A, T), epochs=1)


def test_a_type_error_of_the_model_itself_is_its_own():
    class Broken(Two):
        def forward(self, a, b):
            return super().forward(a, b) + "1"

    model = Broken()
    with pytest.raises(TypeError, match="str"):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), ((A, B), T), epochs=1)


def test_a_list_of_two_batches_is_no_pair_of_inputs():
    batches = [((A, B), T), ((A, B), T)]
    found = list(Loader(batches, [0]).epoch(0))
    assert [(len(x), t.shape) for x, t in found] == [(2, T.shape)] * 2
    model = Two()
    history = fit(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), batches, epochs=2)
    assert history.loss.shape == (1, 2)
