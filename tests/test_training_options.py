"""Training: options meet each other as each does what it says alone."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import fit, nn, optim
from handgrad.data import Batches
from handgrad.errors import ArgumentError, DTypeError, ShapeError, StateError
from handgrad.grid import grid
from handgrad.sweeps import sweep
from handgrad.training import Callback, EarlyStopping, Evaluation, Trainer, train_replicas

X = torch.linspace(-1, 1, 60, dtype=torch.float64).unsqueeze(1)
T = X**2 + 0.3 * torch.sin(20 * X)
SEEDS = [3, 5, 137]


def network(seeds):
    return nn.replicate(nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 1)).double(), seeds)


def trained(seeds, *, schedule=None, **options):
    model = network(seeds)
    adam = optim.Adam(model.parameters(), lr=0.3)
    options = {"epochs": 30, "validation": 0.25, "seeds": seeds, **options}
    if schedule is not None:
        options["schedule"] = schedule(adam)
    if options.get("average"):
        options["average"] = optim.swa_utils.AveragedModel(model)
    return model, options.get("average"), fit(model, nn.MSELoss(replicas=len(seeds)), adam, (X, T), **options)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("finite", [False, True])
def test_a_replica_that_is_given_no_best_weights_ends_with_those_of_its_last_epoch(average, finite):
    """While the others of its group go on."""
    counts = dict.fromkeys(SEEDS, 0)

    def run(seeds):
        def unknown(y, _):  # never finite for the first one, and 1, 2, 3 … for the others
            for seed in seeds:
                counts[seed] += 1
            return torch.tensor([float("nan") if seed == SEEDS[0] else float(counts[seed]) for seed in seeds])

        stopping = EarlyStopping("validation_unknown", patience=2, mode="max")
        if finite:
            stopping = EarlyStopping(patience=2, restore_best=False)
        metrics = () if finite else {"unknown": unknown}
        return trained(seeds, metrics=metrics, early_stopping=stopping, average=average or None, epochs=12)

    model, mean, history = run(SEEDS)
    counts = dict.fromkeys(SEEDS, 0)
    ends = []
    for r, seed in enumerate(SEEDS):
        one, own, alone = run([seed])
        ends.append(alone.epochs)
        assert history.best[r] == alone.best[0]
        for many, few in ((model, one), (mean, own)) if average else ((model, one),):
            for (name, a), (_, b) in zip(many.state_dict().items(), few.state_dict().items()):
                torch.testing.assert_close(a[r], b[0], rtol=1e-9, atol=1e-9, msg=name)
    assert min(ends) < max(ends) == history.epochs


@pytest.mark.parametrize("make", ["StepLR", "OneCycleLR", "ReduceLROnPlateau"])
def test_learning_rates_that_a_schedule_has_set_can_be_changed_in_place(make):
    """As Python does it with group["lr"] *= 0.1; PyTorch forbids it of tensors that were made in inference mode."""
    model = network(SEEDS)
    sgd = optim.SGD(model.parameters(), lr=[0.1, 0.2, 0.3], momentum=0.9)
    peak = torch.tensor([0.1, 0.2, 0.3])
    last = {"StepLR": (1,), "OneCycleLR": (peak, 99), "ReduceLROnPlateau": ("min", 0.1, 0)}[make]
    schedule = getattr(optim.lr_scheduler, make)(sgd, *last)
    fit(model, nn.MSELoss(replicas=3), sgd, (X, T), epochs=3, schedule=schedule)
    before = sgd.param_groups[0]["lr"].clone()
    sgd.param_groups[0]["lr"] *= 0.5
    assert torch.equal(sgd.param_groups[0]["lr"], before / 2)
    for value in vars(schedule).values():
        assert not (isinstance(value, torch.Tensor) and value.is_inference())


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_a_checkpoint_knows_seeds_of_whatever_kind(kind, tmp_path):
    def run(seeds, epochs):
        model = network(SEEDS)
        sgd = optim.SGD(model.parameters(), 0.05)
        return fit(model, nn.MSELoss(replicas=3), sgd, (X, T), epochs=epochs, seeds=seeds, checkpoint=tmp_path)

    run(kind([0, 1, 2]), 2)
    with pytest.raises(StateError, match=r"seeds = \[0, 1, 7\], got seeds = \[0, 1, 2\]"):
        run(kind([0, 1, 7]), 3)
    assert run(range(3), 3).epochs == 3


@pytest.mark.parametrize(
    ("plateau", "stopping", "maximize", "message"),
    [
        ("min", EarlyStopping("validation_r2", mode="max"), False, "watch validation_r2 with mode='max', got 'min'"),
        ("max", EarlyStopping(), False, "watch validation_loss with mode='min', got 'max'"),
        ("max", None, False, "watch the training loss with mode='min', got 'max'"),
        ("min", None, True, "watch the training loss with mode='max', got 'min'"),
        ("max", EarlyStopping("validation_r2", mode="max"), False, None),
        ("max", None, True, None),
    ],
)
def test_a_plateau_waits_for_what_early_stopping_waits_for(plateau, stopping, maximize, message):
    model = network(SEEDS)
    sgd = optim.SGD(model.parameters(), 1e-9, maximize=maximize)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(sgd, plateau)
    options = {"validation": 0.25, "metrics": "r2", "early_stopping": stopping, "schedule": schedule, "epochs": 1}

    def run():
        return fit(model, nn.MSELoss(replicas=3), sgd, (X, T), **options)

    if message is None:
        assert run().epochs == 1
    else:
        with pytest.raises(ArgumentError, match=message):
            run()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_model_without_replicas_is_measured_on_data_of_its_own(weighted):
    model, x, weights = network([3]), X.unsqueeze(0), torch.rand(1, 60).double() if weighted else None
    single = model.replica(0)
    found = []
    for one, replicas in ((model, 1), (single, None)):
        evaluation = Evaluation(x, T.unsqueeze(0), nn.MSELoss(replicas=replicas), weights=weights, own=True)
        found.append(evaluation(one)["loss"].reshape(1))
        batches = Batches(x, T.unsqueeze(0), 20, [3], own=True, weights=weights)
        sgd = optim.SGD(one.parameters(), 0.05)
        history = fit(one, nn.MSELoss(replicas=replicas), sgd, batches, epochs=2, metrics=["rmse", "r2"])
        found.append(torch.cat([history.loss[0], *(values[0] for values in history.metrics.values())]))
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[3])


def mixed_ranks():
    """Networks whose first layer takes inputs of any rank, and such inputs."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(12, 2, 3, generator=generator)
    yield "Flatten", nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), images
    yield "Dropout", nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3)), images[:, 0]
    tokens = torch.randint(0, 5, (12, 2), generator=generator)
    yield "Embedding", nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 3)), tokens


@pytest.mark.parametrize(("template", "x"), [case[1:] for case in mixed_ranks()], ids=[c[0] for c in mixed_ranks()])
@pytest.mark.parametrize("size", [3, 4])
def test_data_that_all_replicas_share_go_through_layers_of_any_rank(template, x, size):
    """Also where as many samples as replicas, 3, make a batch: nothing may look like one sample for each of them."""
    t = torch.arange(12) % 3
    loader = [(x[i : i + size], t[i : i + size]) for i in range(0, 12, size)]
    unshuffled = Batches(x, t, size, SEEDS, shuffle=False)
    results = []
    for data in (
        loader,
        unshuffled,
        Batches(x.expand(3, *x.shape), t.expand(3, 12), size, SEEDS, own=True, shuffle=False),
    ):
        model = nn.replicate(template, SEEDS)
        sgd, criterion = optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(replicas=3)
        options: dict[str, Any] = {"epochs": 2, "validation": (x[:3], t[:3]), "metrics": "accuracy", "seeds": SEEDS}
        results.append(fit(model, criterion, sgd, data, **options))
    for history in results[:2]:
        assert torch.equal(history.loss, results[2].loss)
        for name, values in history.metrics.items():
            assert torch.equal(values, results[2].metrics[name]), name


def test_a_sweep_measures_layers_of_any_rank_on_data_that_all_share():
    x, t = torch.rand(12, 2, 3), torch.rand(12, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1))
    metrics = {"level": lambda y, _: y.mean((1, 2))}
    results = sweep(
        model, (x, t), grid(lr=[0.1], seeds=3), epochs=1, batch_size=4, metrics=metrics, test=(x[:3], t[:3])
    )
    assert torch.tensor(results.metrics["level"]).isfinite().all()


def test_a_stop_in_the_last_epoch_changes_nothing():
    """It is measured out of turn there, and listened to, whether or not a callback asks for what comes anyway."""

    class Stop(Callback):
        def on_step_end(self, trainer, loss):
            if trainer.epoch == 3:
                trainer.stop()

    def run(*callbacks):
        calls = itertools.count(1)
        metrics = {"fall": lambda y, t: torch.full((3,), 1.0 / next(calls))}
        stopping = EarlyStopping("validation_fall", patience=9)
        options = {"metrics": metrics, "early_stopping": stopping, "every": 3, "epochs": 4}
        return trained(SEEDS, callbacks=callbacks, **options)[2]

    assert run(Stop()).best == run().best == [3, 3, 3]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_group_that_has_stopped_does_not_cut_the_history_of_others(size):
    def trainer(model, seeds):
        criterion, adam = nn.MSELoss(replicas=len(seeds)), optim.Adam(model.parameters(), lr=0.3)
        batches, stopping = Batches(X, T, 20, seeds), EarlyStopping("loss", patience=1)
        return Trainer(model, criterion, adam, batches, epochs=30, stopping=stopping)

    _, history = train_replicas(network, trainer, SEEDS, size=size, workers_=1)
    lengths = history.loss.isfinite().sum(1).tolist()
    assert min(lengths) < max(lengths) == history.epochs < 30
    assert history.arrays()["loss"].shape == (max(lengths), 3)
    assert not history.interrupted


@pytest.mark.parametrize(
    ("options", "needed"),
    [({}, 12), ({"accumulate": 2}, 8), ({"steps": 10}, 10), ({"batch_size": 60}, None), ({"early_stopping": 9}, None)],
)
def test_one_cycle_that_ends_before_training_is_refused(options, needed):
    model = network(SEEDS)
    sgd = optim.SGD(model.parameters(), 0.05)
    schedule = optim.lr_scheduler.OneCycleLR(sgd, 0.1, total_steps=7, cycle_momentum=False)
    options = {"epochs": 4, "batch_size": 20, "schedule": schedule, **options}
    if "early_stopping" in options:
        options |= {"validation": (X, T), "epochs": 2}

    def run():
        return fit(model, nn.MSELoss(replicas=3), sgd, (X, T), **options)

    if needed is None:
        assert run().epochs == options["epochs"]
    else:
        with pytest.raises(ArgumentError, match=f"OneCycleLR of at least {needed} steps, got 7"):
            run()
        assert schedule.last_epoch == 0


def test_what_would_fail_after_an_epoch_is_refused_before_it():
    model = network(SEEDS)
    sgd, criterion = optim.SGD(model.parameters(), 0.05), nn.MSELoss(replicas=3)
    before = [p.value.clone() for p in model.parameters()]
    with pytest.raises(ShapeError, match=r"Evaluation: expected targets of shape \(60,\) and on, got \(9, 1\)"):
        fit(model, criterion, sgd, (X, T), validation=(X, T[:9]))
    for validation in (None, (X, T)):
        with pytest.raises(ArgumentError, match="a fraction to leave out, with stratify=True"):
            fit(model, criterion, sgd, (X, T), validation=validation, stratify=True)
    assert all(torch.equal(p.value, value) for p, value in zip(model.parameters(), before))


@pytest.mark.parametrize(("sample", "got"), [({"x": X[0], "t": T[0]}, "dict"), (torch.ones(2), "Tensor")])
def test_a_dataset_of_what_is_no_pair_is_refused_by_name(sample, got):
    class Samples(torch.utils.data.Dataset[Any]):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return sample

    model = network(SEEDS)
    with pytest.raises(ArgumentError, match=f"fit: expected inputs and targets, got {got} as a sample"):
        fit(model, nn.MSELoss(replicas=3), optim.SGD(model.parameters()), Samples())


def test_a_dataset_of_pythons_numbers_keeps_their_digits():
    class Numbers(torch.utils.data.Dataset[Any]):
        def __len__(self):
            return len(X)

        def __getitem__(self, index):
            return X[index].tolist(), T[index].tolist()

    losses = []
    for data in ((X, T), Numbers()):
        model = network(SEEDS)
        losses.append(fit(model, nn.MSELoss(replicas=3), optim.SGD(model.parameters(), 0.05), data, epochs=2).loss)
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("reduction", "optimizer", "message"),
    [
        ("none", optim.SGD, r'a loss of one number, got MSELoss with reduction="none".*reduction="mean"'),
        ("mean", optim.LBFGS, r"got LBFGS. Call optimizer.step\(closure\) in a loop of your own"),
    ],
)
def test_what_no_step_of_training_suits_is_refused_with_what_to_do(reduction, optimizer, message):
    model = network([3]).replica(0)
    with pytest.raises(ArgumentError, match=message):
        fit(model, nn.MSELoss(reduction=reduction), optimizer(model.parameters()), (X, T))


def test_what_is_no_average_of_the_model_is_refused_before_training():
    model = network(SEEDS)
    sgd = optim.SGD(model.parameters())
    batches, criterion = Batches(X, T, 20, SEEDS), nn.MSELoss(replicas=3)
    with pytest.raises(DTypeError, match="expected an AveragedModel, got Sequential"):
        Trainer(model, criterion, sgd, batches, 2, average=model)
    other = optim.swa_utils.AveragedModel(nn.replicate(nn.Sequential(nn.Linear(1, 1)).double(), SEEDS))
    with pytest.raises(ArgumentError, match="expected an average of the model, got one of another network"):
        Trainer(model, criterion, sgd, batches, 2, average=other)


def test_an_iterator_is_refused_for_more_epochs_than_the_one_it_has():
    def run(data, epochs):
        model = nn.Sequential(nn.Linear(1, 1)).double()
        return fit(model, nn.MSELoss(), optim.SGD(model.parameters()), data, epochs=epochs)

    with pytest.raises(ArgumentError, match="batches for 2 epochs, got an iterator, which ends once"):
        run(iter([(X, T)]), 2)
    assert run(iter([(X, T)]), 1).epochs == 1


def test_a_checkpoint_of_other_frozen_parameters_is_refused(tmp_path):
    def run(frozen, epochs):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        model[0].freeze(frozen)
        sgd = optim.SGD(model.parameters(), lr=0.1)
        start = {name: value.clone() for name, value in model[0].state_dict().items()}
        fit(model, nn.MSELoss(), sgd, (X, T), epochs=epochs, checkpoint=tmp_path)
        return all(torch.equal(value, start[name]) for name, value in model[0].state_dict().items())

    assert run(True, 1)
    with pytest.raises(StateError, match="frozen"):
        run(False, 2)


class At(Callback):
    """Does something of the trainer after an epoch, or before the first."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def on_start(self, trainer):
        if self.epoch == trainer.epoch == 0:
            self.action(trainer)

    def on_epoch_end(self, trainer):
        if trainer.epoch == self.epoch:
            self.action(trainer)


def slower(trainer):
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["lr"] * 0.3


CHANGES: dict[str, list[Callback]] = {
    "freezes": [At(2, lambda trainer: trainer.model[0].freeze())],
    "unfreezes": [
        At(0, lambda trainer: trainer.model[0].freeze()),
        At(4, lambda trainer: trainer.model[0].freeze(False)),
    ],
    "sets the learning rate": [At(3, slower)],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_what_a_callback_changes_stays_when_a_run_goes_on(changes, tmp_path):
    """Also a learning rate that lasts until the schedule's next step."""

    def run(folder, *more):
        model = network(SEEDS)
        sgd = optim.SGD(model.parameters(), lr=0.1)
        options: dict[str, Any] = {
            "epochs": 6,
            "schedule": optim.lr_scheduler.ExponentialLR(sgd, 0.9),
            "checkpoint": folder,
        }
        fit(model, nn.MSELoss(replicas=3), sgd, (X, T), callbacks=[*changes, *more], **options)
        return model

    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", At(3, lambda trainer: trainer.stop()))
    again = run(tmp_path / "parts")
    assert [p.frozen for p in whole.parameters()] == [p.frozen for p in again.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_callback_unfreezes_and_sets_dropout_in_any_precision(precision):
    def run(action):
        model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.0), nn.Linear(8, 1))
        model = nn.replicate(model, SEEDS)
        model[0].freeze()
        options: dict[str, Any] = {"epochs": 4, "precision": precision, "callbacks": [At(2, action)]}
        fit(model, nn.MSELoss(replicas=3), optim.SGD(model.parameters(), 0.1), (X.float(), T.float()), **options)
        return model

    plain = run(lambda _: None)
    moved = run(lambda trainer: trainer.model[0].freeze(False))
    assert not torch.equal(plain[0].weight.value, moved[0].weight.value)
    dropped = run(lambda trainer: setattr(trainer.model[2], "p", 0.5))
    assert not torch.equal(plain[3].weight.value, dropped[3].weight.value)


def test_a_replica_that_has_stopped_does_not_diverge():
    """It is computed on with its group, but alone it would have ended."""
    too_far = At(4, lambda trainer: trainer.optimizer.param_groups[0].update(lr=torch.tensor([1e-3, 1e200])))
    model = network(SEEDS[:2])
    sgd = optim.SGD(model.parameters(), lr=[1e-3, 0.0])
    options: dict[str, Any] = {"epochs": 12, "validation": (X, T), "early_stopping": 2, "callbacks": [too_far]}
    history = fit(model, nn.MSELoss(replicas=2), sgd, (X, T), batch_size=60, **options)
    assert history.epochs == 12
    assert history.diverged == [None, None]
    assert history.loss[1].isfinite().tolist() == [True] * 3 + [False] * 9
    assert all(bool(p.value.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("early_stopping", [False, True])
def test_replicas_over_cores_end_with_the_averaged_weights_that_were_measured(early_stopping):
    def trainer(model, seeds):
        criterion, adam = nn.MSELoss(replicas=len(seeds)), optim.Adam(model.parameters(), lr=0.3)
        options: dict[str, Any] = {"metrics": Evaluation(X, T, criterion, prefix="test_")}
        options["stopping"] = EarlyStopping("test_loss", patience=3) if early_stopping else None
        average = optim.swa_utils.AveragedModel(model)
        return Trainer(model, criterion, adam, Batches(X, T, 20, seeds), 20, average=average, **options)

    model, history = train_replicas(network, trainer, SEEDS, size=2, workers_=2)
    ends = history.best if early_stopping else [history.epochs - 1] * 3
    wanted = torch.stack([history.metrics["test_loss"][r, end] for r, end in enumerate(ends)])
    torch.testing.assert_close(Evaluation(X, T, nn.MSELoss(replicas=3))(model)["loss"].double(), wanted)


@pytest.mark.parametrize("known", [False, True])
def test_a_measure_with_the_name_of_the_training_loss_is_refused(known):
    """It would hide that in arrays and curves, while early stopping watched the training loss."""
    model, criterion = network(SEEDS), nn.MSELoss(replicas=3)
    found = Evaluation(X, T, criterion)
    metrics: Any = found if known else lambda model: found(model)
    options: dict[str, Any] = {"metrics": metrics, "stopping": EarlyStopping("loss")}
    sgd = optim.SGD(model.parameters())
    with pytest.raises(ArgumentError, match=r"other names than the training loss, got loss.*prefix="):
        Trainer(model, criterion, sgd, Batches(X, T, 20, SEEDS), 3, **options).run()


def test_batches_left_over_make_a_step_where_all_is_frozen_until_later():
    model = network(SEEDS).freeze()
    before = [p.value.clone() for p in model.parameters()]
    thaw = At(1, lambda trainer: trainer.model.freeze(False))
    options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "accumulate": 2, "callbacks": [thaw]}
    fit(model, nn.MSELoss(replicas=3), optim.SGD(model.parameters(), lr=0.1), (X, T), **options)
    assert not any(torch.equal(p.value, value) for p, value in zip(model.parameters(), before))


def test_what_a_callback_keeps_can_be_trained_and_loaded_into_afterwards():
    """PyTorch forbids it of tensors that were made in inference mode."""
    kept: dict[str, Any] = {}

    def keep(trainer):
        kept.update(copy=copy.deepcopy(trainer.model), one=trainer.model.replica(0))
        kept["mean"] = optim.swa_utils.AveragedModel(trainer.model)
        for state in trainer.optimizer.state.values():
            state["exp_avg"].zero_()

    model = network(SEEDS)
    adam, criterion = optim.Adam(model.parameters()), nn.MSELoss(replicas=3)
    fit(model, criterion, adam, (X, T), epochs=3, callbacks=[At(2, keep)])
    kept["mean"].update_parameters(model)
    optim.swa_utils.update_bn([X], kept["mean"])
    for part in (kept["copy"], kept["one"]):
        loss = nn.MSELoss(replicas=part[0].replicas)
        loss(part(X), T)
        part.backward(loss.backward())
        optim.SGD(part.parameters()).step()
        part.load_state_dict(part.state_dict())
