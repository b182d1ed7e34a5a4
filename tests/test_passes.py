"""Replicas that go through a model in parts train as those that go all at once, and leave the same behind."""

import copy
from typing import Any

import pytest
import torch

from handgrad import fit, nn, optim
from handgrad.data import Batches, Loader
from handgrad.nn.replicas import viewed
from handgrad.training import Callback, ProgressBar, Trainer, passes, trainer
from handgrad.training.callbacks import changing
from handgrad.training.divergence import first_layers
from handgrad.workers import GROUP

R = 5
X, T = torch.randn(30, 2, 6, 6), torch.randint(3, (30,))


def cnn() -> Any:
    parts = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(-3), nn.Dropout(0.3)]
    return nn.replicate(nn.Sequential(*parts, nn.Linear(144, 3)), range(R)).double()


class Rate(Callback):
    """Changes what it may change after an epoch."""

    def on_epoch_end(self, trainer: Any) -> None:
        trainer.model[4].p = 0.1
        trainer.model[0].weight.frozen = True
        trainer.model[5].bias.value = torch.zeros_like(trainer.model[5].bias.value)


class Stepwise(Callback):
    def on_step_end(self, trainer: Any, loss: torch.Tensor) -> None:
        assert trainer.model[0].weight.grad is not None


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate": 2, "clip_norm": 0.5},
    "early stopping": {"validation": 0.3, "early_stopping": 1, "metrics": "accuracy"},
    "steps": {"steps": 7},
    "a callback": {"callbacks": [Rate()]},
    "weights": {"weighted": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("most", [1, 2])
def test_parts_train_as_the_whole(options, most, monkeypatch):
    """Values, buffers, the optimiser's state, losses, gradients and what dropout drew."""
    options, found = dict(options), []
    data = (X.double(), T, torch.rand(30)) if options.pop("weighted", False) else (X.double(), T)
    for together in (GROUP, most):
        monkeypatch.setattr(passes, "fitting", lambda *_, n=together: n)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        model, criterion = cnn(), nn.CrossEntropyLoss(replicas=R)
        sgd = optim.SGD(model.parameters(), lr=[0.1 * (r + 1) for r in range(R)], momentum=0.9)
        history = fit(model, criterion, sgd, data, epochs=4, batch_size=8, **options)
        drawn = [model[4].draws, model[4].seeds]
        state = [s["momentum_buffer"] for s in sgd.state.values()]
        found.append([history.loss, dict(model.state_dict()), history.metrics, drawn, state, history.best])
        assert all(p.grad is None for p in model.parameters())
        assert model[0].kept is None
        assert model.replicas == R
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11, equal_nan=True)


def test_numbers_and_weights_of_replicas_go_with_their_parts(monkeypatch):
    losses = []
    for together in (GROUP, 2):
        monkeypatch.setattr(passes, "fitting", lambda *_, n=together: n)
        parts = nn.Flatten(-2), nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 1)
        model = nn.replicate(nn.Sequential(*parts), range(R)).double()
        criterion = nn.HuberLoss(delta=[0.1, 0.2, 0.3, 0.4, 0.5], replicas=R)
        x = torch.linspace(-2, 2, 60, dtype=torch.float64).view(R, 4, 1, 3)
        batches = Batches(x, x.sum(-1), 4, range(R), own=True)
        losses.append(Trainer(model, criterion, optim.Adam(model.parameters()), batches, epochs=3).run().loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=0)


def test_class_weights_of_replicas_go_with_their_parts(monkeypatch):
    weight, losses = torch.rand(R, 3, dtype=torch.float64) + 0.1, []
    for together in (GROUP, 2):
        monkeypatch.setattr(passes, "fitting", lambda *_, n=together: n)
        model = cnn()
        batches = Batches(X.double(), T, 30, range(R), shuffle=False)  # which all share
        criterion = nn.CrossEntropyLoss(weight, replicas=R)
        losses.append(Trainer(model, criterion, optim.Adam(model.parameters()), batches, epochs=3).run().loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=0)


def test_a_replica_that_diverges_in_its_part_leaves_the_others_bit_identical(monkeypatch):
    monkeypatch.setattr(passes, "fitting", lambda *_: 2)
    found = []
    for bad in (False, True):
        model = cnn()
        if bad:
            model[5].weight.value[3] = torch.inf
        sgd = optim.SGD(model.parameters(), lr=0.1)
        history = fit(model, nn.CrossEntropyLoss(replicas=R), sgd, (X.double(), T), epochs=2, batch_size=8)
        found.append((history, model))
    (clean, one), (history, other) = found
    left = [0, 1, 2, 4]
    assert (history.diverged[3] or {})["layer"] == "model.5 (Linear 144→3)"
    assert [note for r, note in enumerate(history.diverged) if r != 3] == [None] * 4
    assert torch.equal(clean.loss[left], history.loss[left])
    for p, q in zip(one.parameters(), other.parameters()):
        assert torch.equal(p.value[left], q.value[left])


def test_views_share_values_and_buffers_but_no_gradients():
    model = cnn()
    part = viewed(model, slice(1, 4))
    assert part.replicas == 3
    assert part[4].seeds == model[4].seeds[1:4]
    part(X.double())
    assert model[1].num_batches_tracked.tolist() == [0, 1, 1, 1, 0]
    model[0].weight.value.zero_()
    assert not part[0].weight.value.any()
    part.backward(torch.ones(3, 30, 3, dtype=torch.float64))
    assert part[5].weight.grad is not None
    assert model[5].weight.grad is None


def test_views_of_a_model_with_gradients_copy_none(monkeypatch):
    model = cnn()
    for p in model.parameters():
        p.add_grad(torch.ones_like(p.value))
    monkeypatch.setattr(torch.Tensor, "__deepcopy__", None)  # which a tensor that is copied would call
    part = viewed(model, slice(1, 4))
    assert all(p.grad is None for p in part.parameters())
    assert all(p.grad is not None for p in model.parameters())


def test_looking_for_the_layer_that_diverged_copies_no_values(monkeypatch):
    model, copied = cnn(), list[torch.Size]()
    model[5].weight.value[0] = torch.nan
    own = torch.Tensor.__deepcopy__

    def noted(value, memo):
        copied.append(value.shape)
        return own(value, memo)

    monkeypatch.setattr(torch.Tensor, "__deepcopy__", noted)
    before = model[1].running_mean.clone()
    assert first_layers(model, X.double()[None], [0]) == {0: "model.5 (Linear 144→3)"}
    assert copied == [(R, 4), (R, 4), (R,)]  # the statistics of the normalisation, which are as they were
    assert torch.equal(model[1].running_mean, before)


class Own(nn.Module):
    def forward(self, x):
        return self.keep(2 * x)

    def backward(self, dy):
        self.take(dy)
        return 2 * dy


class Freezing(Callback):
    """Lets a batch normalisation keep its statistics from the second epoch on."""

    def on_epoch_end(self, trainer: Any) -> None:
        trainer.model[1].eval()


def test_a_part_that_a_callback_puts_into_evaluation_stays_in_it(monkeypatch):
    monkeypatch.setattr(passes, "fitting", lambda *_: 2)
    model = cnn()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    fit(model, nn.CrossEntropyLoss(replicas=R), sgd, (X.double(), T), epochs=3, batch_size=10, callbacks=[Freezing()])
    assert model[1].num_batches_tracked.tolist() == [3] * R


class Anew(optim.SGD):
    """Puts new tensors in the place of values, where handgrad's own change them in place."""

    def update(self, params, values, grads, group):
        for p, value, grad in zip(params, values, grads):
            p.value = value - group["lr"] * grad


def test_an_optimiser_of_ones_own_may_put_new_tensors_in_the_place_of_values(monkeypatch):
    monkeypatch.setattr(passes, "fitting", lambda *_: 2)
    losses = []
    for kind in (optim.SGD, Anew):
        model = cnn()
        criterion = nn.CrossEntropyLoss(replicas=R)
        losses.append(fit(model, criterion, kind(model.parameters(), lr=0.1), (X.double(), T), epochs=2).loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-9, atol=0)


def test_a_network_that_was_used_before_goes_in_parts_too(monkeypatch):
    monkeypatch.setattr(passes, "fitting", lambda *_: 1)
    x, t = torch.randn(8, 5, 4), torch.randn(8, 5, 4)
    model = nn.replicate(nn.Sequential(nn.PositionalEncoding(4), nn.Linear(4, 4)), range(2))
    model(x[None])
    batches, criterion = Batches(x, t, 4, range(2)), nn.MSELoss(replicas=2)
    assert len(passes.cuts(model, criterion, batches)) == 2


def test_what_goes_in_parts(monkeypatch):
    """By the largest tensor between two layers and the threads, and only where no part can be another's business."""
    seeds, wide = range(R), torch.randn(64, 1, 64, 64)
    model: Any = nn.replicate(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(-3), nn.Linear(8192, 3)), seeds)
    criterion, batches = nn.CrossEntropyLoss(replicas=R), Batches(wide, torch.randint(3, (64,)), 16, seeds)
    plan = [slice(0, 1), slice(1, 3), slice(3, 5)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert passes.cuts(model, criterion, batches) == plan  # 2¹⁷ numbers a replica
    assert passes.cuts(model, criterion, batches, [Callback()]) == plan
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert passes.cuts(model, criterion, batches) == [slice(0, 2), slice(2, 5)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert passes.cuts(model, criterion, Batches(wide, batches.t, 2, seeds)) == []
    assert passes.cuts(model.replica(0), nn.CrossEntropyLoss(), Batches(wide, batches.t, 16, [0])) == []
    monkeypatch.setattr(passes, "fitting", lambda *_: 1)  # it is not for what fails there
    assert passes.cuts(model, criterion, batches, [Stepwise()]) == []
    assert passes.cuts(model, criterion, Loader([(wide, batches.t)], list(seeds))) == []
    own = copy.deepcopy(model)
    own.append(Own(R))
    assert passes.cuts(own, criterion, batches) == []
    patched = copy.deepcopy(model)
    patched[0].forward = patched[0].forward
    assert passes.cuts(patched, criterion, batches) == []
    shared = copy.deepcopy(model)
    shared[2].bias = nn.Parameter(torch.zeros(3))  # one for all replicas
    assert passes.cuts(shared, criterion, batches) == []
    buffered = copy.deepcopy(model)
    buffered.append(nn.BatchNorm1d(3, affine=False))
    assert passes.cuts(buffered, criterion, batches) == []
    holding = copy.deepcopy(model)
    holding[0].something = torch.ones(R)
    assert passes.cuts(holding, criterion, batches) == []
    assert passes.cuts(model, lambda y, t: y.sum((1, 2)), batches) == []  # type: ignore[arg-type]


def test_a_callback_after_each_step_sees_the_gradients_of_all(monkeypatch):
    monkeypatch.setattr(passes, "fitting", lambda *_: 1)
    model = cnn()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    fit(model, nn.CrossEntropyLoss(replicas=R), sgd, (X.double(), T), epochs=1, callbacks=[Stepwise()])


@pytest.mark.parametrize(
    ("features", "image", "replicas", "sizes"),
    [
        (512, False, 64, []),  # 2¹⁴ numbers a replica, 16 in the cache
        (512, False, 65, [21, 22, 22]),
        (512, True, 64, []),
        (512, True, 65, [21, 22, 22]),
        (2048, False, 39, []),  # 4 in the cache
        (2048, False, 40, [8] * 5),
        (2048, True, 8, [4, 4]),
    ],
)
def test_rows_and_what_fits_ten_times_go_in_parts_of_twice_the_cache(features, image, replicas, sizes, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    model = nn.replicate(nn.Sequential(nn.Flatten(-2), nn.Linear(2, features)), range(replicas))
    model = model if image else nn.Sequential(model[1])
    x = torch.ones(32, 1, 2) if image else torch.ones(32, 2)
    batches = Batches(x, torch.ones(32, features), 32, range(replicas))
    found = passes.cuts(model, nn.MSELoss(replicas=replicas), batches)
    assert [part.stop - part.start for part in found] == sizes


def test_which_callbacks_may_change_what_they_find():
    assert changing([ProgressBar(), Rate()])
    assert not changing([ProgressBar()])


def test_parts_of_a_fused_network_train_as_the_whole_in_memory_of_one(monkeypatch):
    found = []
    for together in (GROUP, 2):
        monkeypatch.setattr(passes, "fitting", lambda *_, n=together: n)
        parts = [nn.Linear(3, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)]
        model = nn.replicate(nn.Sequential(nn.Flatten(-2), nn.Sequential(*parts)), range(R)).double()
        x = torch.linspace(-2, 2, 3600, dtype=torch.float64).view(1200, 1, 3)
        batches = Batches(x, x.sin()[:, 0, :2], 600, range(R))
        passed = passes.passes(model, nn.MSELoss(replicas=R), [slice(0, 2), slice(2, 4), slice(4, 5)])
        monkeypatch.setattr(trainer, "passes", lambda *_, passed=passed: passed)
        sgd = optim.SGD(model.parameters(), lr=0.1)
        loss = Trainer(model, nn.MSELoss(replicas=R), sgd, batches, epochs=3).run().loss
        found.append([loss, dict(model.state_dict())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)
    chains = [next(passes._chains(one.model)) for one in passed]
    assert len(chains) == 3
    assert all(chain._buffers is chains[0]._buffers for chain in chains)
    assert chains[0]._buffers


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_parts_of_a_recurrent_network_train_as_the_whole_in_memory_of_one(kind, monkeypatch):
    found, cut = [], [slice(0, 2), slice(2, 4), slice(4, 5)]
    for together in (GROUP, 2):
        monkeypatch.setattr(passes, "fitting", lambda *_, n=together: n)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        layers = nn.First(kind(3, 4, num_layers=2, bidirectional=True, batch_first=True)), nn.Linear(8, 2)
        model = nn.replicate(nn.Sequential(*layers), range(R)).double()
        x = torch.linspace(-2, 2, 660, dtype=torch.float64).view(11, 20, 3)
        passed = passes.passes(model, nn.MSELoss(replicas=R), cut)
        monkeypatch.setattr(trainer, "passes", lambda *_, passed=passed: passed)
        sgd, batches = optim.SGD(model.parameters(), lr=0.1), Batches(x, x[..., :2].sin(), 4, range(R))
        loss = Trainer(model, nn.MSELoss(replicas=R), sgd, batches, epochs=3).run().loss
        found.append([loss, dict(model.state_dict())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)
    memory = [layer._places for one in passed for layer in passes._keeping(one.model)]
    assert all(places is memory[0] for places in memory)
    assert {replicas for _, replicas in memory[0]} == {1, 2}


def test_a_run_in_parts_goes_on_bit_for_bit(monkeypatch, tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, trainer: Any) -> None:
            if trainer.epoch == 2:
                trainer.stop()

    monkeypatch.setattr(passes, "fitting", lambda *_: 2)

    def run(**options):
        model = cnn()
        criterion, adam = nn.CrossEntropyLoss(replicas=R), optim.Adam(model.parameters(), lr=0.01)
        history = fit(model, criterion, adam, (X.double(), T), epochs=4, batch_size=8, **options)
        return history, dict(model.state_dict())

    whole, state = run()
    assert run(checkpoint=tmp_path, callbacks=[Stop()])[0].epochs == 2
    again, same = run(checkpoint=tmp_path)
    assert torch.equal(whole.loss, again.loss)
    assert all(torch.equal(state[name], same[name]) for name in state)
