"""audit_replica finds the first place at which two runs of a replica differ, and none where there is none."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from handgrad import nn, optim
from handgrad.audit import Difference, Run, audit_replica
from handgrad.data import Batches
from handgrad.training import train

X = torch.linspace(-1, 1, 32, dtype=torch.float64).unsqueeze(1)


def run(seeds, seed, lr=0.1, x=X, change=None):
    model = nn.replicate(nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 1)).double(), seeds)
    if change is not None:
        change(model)
    criterion = nn.MSELoss(replicas=len(seeds))
    return Run(model, criterion, optim.SGD(model.parameters(), lr), Batches(x, x**2, 8, seeds), seeds.index(seed))


def difference(a: Run, b: Run, epochs: int, tolerance: float = 0.0) -> Difference:
    found = audit_replica(a, b, epochs, tolerance)
    assert found is not None
    return found


def test_a_replica_is_the_same_in_other_company():
    assert audit_replica(run([3, 7, 137], 137), run([137, 2], 137), epochs=5, tolerance=1e-9) is None


def test_what_is_all_zero_in_both_is_the_same():
    a, b = (run([3], 3, x=torch.zeros(32, 1, dtype=torch.float64)) for _ in range(2))
    assert audit_replica(a, b, epochs=1) is None


@pytest.mark.parametrize(("init", "norms"), [("pytorch", 1), ("kaiming_normal", 1), ("pytorch", 2)])
def test_a_gradient_of_rounding_alone_is_no_difference(init, norms):
    """Nor is a bias that began with 0, after the step, or the mean of what has none."""
    x, t = torch.randn(32, 2, 5, 5, dtype=torch.float64), torch.randn(32, 4, 3, 3, dtype=torch.float64)

    def normed(seeds):
        parts = (nn.Conv2d(2, 4, 3, init=init), *(nn.BatchNorm2d(4) for _ in range(norms)))
        model = nn.replicate(nn.Sequential(*parts).double(), seeds)
        sgd = optim.SGD(model.parameters(), 0.1)
        return Run(model, nn.MSELoss(replicas=len(seeds)), sgd, Batches(x, t, 8, seeds), seeds.index(137))

    assert audit_replica(normed([3, 7, 137]), normed([137]), epochs=3, tolerance=1e-9) is None


def test_the_runs_are_trained_as_they_are_alone():
    def drawing(seeds):
        parts = [nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)]
        model = nn.replicate(nn.Sequential(*parts).double(), seeds).eval()
        batches = Batches(X, X**2, 8, seeds, weights=torch.linspace(0, 1, 32, dtype=torch.float64))
        return Run(model, nn.MSELoss(replicas=len(seeds)), optim.SGD(model.parameters(), 0.1), batches, 0)

    a, b, alone = drawing([3]), drawing([3, 7]), drawing([3])
    assert audit_replica(a, b, epochs=2, tolerance=1e-9) is None
    train(alone.model, alone.criterion, alone.optimizer, alone.batches, 2)
    torch.testing.assert_close(dict(a.model.state_dict()), dict(alone.model.state_dict()), rtol=1e-9, atol=1e-12)


def test_two_seeds_differ_from_the_first_batch_on():
    found = difference(run([3], 3), run([4], 4), epochs=1)
    assert (found.epoch, found.step, found.where) == (0, 0, "the inputs")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda m: m[0].weight.value.mul_(1.01), "output of model.0 (Linear 1→4)"),
        (lambda m: m[2].bias.value.add_(0.1), "output of model.2 (BatchNorm1d 4)"),
        (lambda m: m[2].running_mean.add_(0.1), "2.running_mean after the step"),
    ],
)
def test_the_place_and_size_of_a_change_are_named(change, where):
    found = difference(run([3, 4], 4), run([3, 4], 4, change=change), epochs=1, tolerance=1e-12)
    assert (found.step, found.where) == (0, where)
    assert 1e-6 < found.size < 10
    assert where in str(found)


def test_a_change_within_a_block_is_named():
    def residual(seeds, change):
        model = nn.replicate(nn.Residual(nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))).double(), seeds)
        dict(model.named_parameters())["0.2.bias"].value += change
        sgd = optim.SGD(model.parameters(), 0.1)
        return Run(model, nn.MSELoss(replicas=len(seeds)), sgd, Batches(X, X**2, 8, seeds), 0)

    assert audit_replica(residual([3], 0), residual([3, 4], 0), epochs=2, tolerance=1e-12) is None
    assert difference(residual([3], 0), residual([3], 0.1), epochs=1).where == "output of model.0.2 (Linear 4→1)"


def test_a_gradient_of_another_formula_is_found():
    def doubled(model):
        backward = model[0].backward
        model[0].backward = lambda dy: backward(2 * dy)

    found = difference(run([3, 4], 4), run([3, 4], 4, change=doubled), epochs=1)
    assert (found.step, found.where) == (0, "gradient of 0.weight")
    assert 0 < found.size <= 0.5


def test_frozen_parameters_are_the_same():
    a, b = (run(seeds, 4, change=lambda m: m[0].freeze()) for seeds in ([3, 4], [4]))
    assert audit_replica(a, b, epochs=2, tolerance=1e-9) is None


def test_batches_that_all_replicas_share_are_audited():
    def shared(seeds):
        one = run(seeds, 4)
        return replace(one, batches=Batches(X, X**2, 8, seeds, shuffle=False))

    a, alone = shared([3, 4]), shared([3, 4])
    assert audit_replica(a, shared([4]), epochs=2, tolerance=1e-9) is None
    train(alone.model, alone.criterion, alone.optimizer, alone.batches, 2)
    torch.testing.assert_close(dict(a.model.state_dict()), dict(alone.model.state_dict()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "size"),
    [
        ([-1.0, -2.0], [-2.0, -4.0], 0.5),
        ([0.1, float("inf")], [0.2, float("inf")], 0.5),
        ([0.1, float("nan")], [0.2, float("nan")], 0.5),
        ([1.0, float("nan")], [1.0, 2.0], float("inf")),
        ([1.0, 2.0], [1.0, float("nan")], float("inf")),
        ([1.0, 2.0], [1.0, -float("inf")], float("inf")),
    ],
)
def test_the_size_is_a_part_of_the_second_runs_largest_number(a, b, size):
    first, second = (run([3], 3, x=torch.tensor(x, dtype=torch.float64).repeat(16).unsqueeze(1)) for x in (a, b))
    found = difference(first, second, epochs=1)
    assert found.where == "the inputs"
    assert found.size == pytest.approx(size)


def test_a_change_that_comes_later_is_found_later():
    later = X.clone()
    order = Batches(X, X, 8, [3]).order(0)[0]
    later[order[-1]] += 0.5  # in the last batch of epoch 0
    found = difference(run([3], 3), run([3], 3, x=later), epochs=2)
    assert (found.epoch, found.step, found.where) == (0, 3, "the inputs")


def test_a_nan_is_an_infinite_difference():
    found = difference(run([3], 3), run([3], 3, change=lambda m: m[0].bias.value.fill_(float("nan"))), epochs=1)
    assert found.size == float("inf")


def test_runs_of_different_length_differ():
    def short(count):
        model = nn.replicate(nn.Sequential(nn.Linear(1, 1)).double(), [3])
        batches = Batches(X[:count], X[:count], 8, [3], shuffle=False, rows=torch.arange(count).unsqueeze(0))
        return Run(model, nn.MSELoss(replicas=1), optim.SGD(model.parameters()), batches, 0)

    for a, b in ((32, 24), (24, 32)):
        found = difference(short(a), short(b), epochs=1)
        assert (found.epoch, found.step, found.where) == (0, 3, "the number of batches")
        assert found.size == float("inf")


def test_a_difference_beside_an_infinite_number_is_seen():
    first, second, *_ = Batches(X, X, 8, [3]).order(0)[0].tolist()  # of one batch
    x = X.clone()
    x[first] = float("inf")
    y = x.clone()
    y[second] += 0.5
    found = difference(run([3], 3, x=x), run([3], 3, x=y), epochs=1)
    assert found.where == "the inputs"
    assert 0 < found.size < 2


def test_a_network_without_replicas_is_audited():
    """Its samples are those of the replica that it was."""

    def alone(change=None):
        one = run([3, 7], 3, change=change)
        model = one.model.replica(0)
        parts = (model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1))
        return Run(*parts, Batches(X, X**2, 8, [3]), 0)

    def change(model):
        model[3].weight.value[0, 3] += 0.1  # beyond the first row

    assert audit_replica(run([3, 7], 3), alone(), epochs=2, tolerance=1e-9) is None
    assert difference(alone(), alone(change), epochs=1).where == "output of model.3 (Linear 4→1)"


def test_what_replicas_share_is_audited_whole():
    def shared(lr=0.1):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 1, replicas=6)).double()
        groups = [{"params": model[0].parameters(), "lr": lr}, {"params": model[1].parameters()}]
        batches = Batches(X, X**2, 8, range(6))
        return Run(model, nn.MSELoss(replicas=6), optim.SGD(groups, lr=0.1), batches, 5)

    assert audit_replica(shared(), shared(), epochs=1) is None
    assert difference(shared(), shared(lr=0.2), epochs=1).where == "0.weight after the step"


def test_what_a_part_returned_is_compared_as_it_was():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, x):
            y = self.a(x)
            y += self.b(x)
            return y

        def backward(self, dy):
            return self.a.backward(dy) + self.b.backward(dy)

    def added(change=0.0):
        model: Any = nn.replicate(Added().double(), [3])
        model.b.bias.value.add_(change)
        return Run(model, nn.MSELoss(replicas=1), optim.SGD(model.parameters(), 0.1), Batches(X, X**2, 8, [3]), 0)

    assert difference(added(), added(0.1), epochs=1).where == "output of model.b (Linear 1→1)"
