"""Training: fit and Trainer do what they say, each replica as it does alone."""

import contextlib
import copy
import io
import itertools
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.data import DataLoader, Dataset, TensorDataset

from handgrad import fit, nn, optim
from handgrad.data import Batches, split
from handgrad.errors import (
    ArgumentError,
    DTypeError,
    HandgradError,
    MissingExtraError,
    OutputError,
    ShapeError,
    StateError,
)
from handgrad.statistics import band, number
from handgrad.tensorfile import save_tensors
from handgrad.training import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Evaluation,
    History,
    ProgressBar,
    TensorBoard,
    Trainer,
    train_replicas,
)
from handgrad.training.precision import Mixed

X = torch.linspace(-1, 1, 60).unsqueeze(1)
T = X**2 + 0.3 * torch.sin(20 * X)
LABELS = (X.squeeze(1) > 0.2).long()


def network(outputs=1, dropout=0.0):
    hidden = [nn.Linear(1, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(dropout)]
    return nn.Sequential(*hidden, nn.Linear(8, outputs))


def trained(seeds, *, lr=0.05, alone=False, optimizer=optim.Adam, dropout=0.2, **options):
    """A model, its history and what else the options made, of replicas with these seeds or of a single network."""
    model = nn.replicate(network(dropout=dropout), seeds)
    model = model.replica(0) if alone else model
    R = None if alone else len(seeds)
    made = optimizer(model.parameters(), lr=lr)
    options = {"epochs": 12, "batch_size": 16, "validation": 0.25, **options}
    if "schedule" in options:
        options["schedule"] = options["schedule"](made)
    if "average" in options:
        options["average"] = options["average"](model)
    history = fit(model, nn.MSELoss(replicas=R), made, (X, T), seeds=seeds, **options)
    return model, history


def same(a, b):
    return torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))


OPTIONS = {
    "plain": {},
    "early stopping": {"early_stopping": 3, "lr": 0.3},
    "clipping": {"clip_norm": 0.1, "clip_value": 0.05},
    "accumulation": {"accumulate": 2, "batch_size": 8},
    "schedule": {"schedule": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 12)},
    "schedule of steps": {"schedule": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=36)},
    "plateau": {"schedule": lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=1), "early_stopping": 9},
    "average": {
        "average": lambda m: optim.swa_utils.AveragedModel(m, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9)),
        "early_stopping": 4,
    },
    "every": {"every": 3},
}


def composed(sgd):
    """A warm-up of 6 steps, then one cycle."""
    schedules = optim.lr_scheduler
    parts = [schedules.LinearLR(sgd, total_iters=6), schedules.OneCycleLR(sgd, 0.1, total_steps=12)]
    return schedules.SequentialLR(sgd, parts, milestones=[6])


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (composed, True),
        (lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=18), True),
        (lambda o: optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, cycle_momentum=False), True),
        (lambda o: optim.lr_scheduler.SequentialLR(o, [optim.lr_scheduler.StepLR(o, 1)], milestones=[]), False),
        (lambda o: optim.lr_scheduler.StepLR(o, 1), False),
    ],
)
def test_what_a_schedule_counts(make, steps):
    model = network()
    sgd = optim.SGD(model.parameters(), 0.05)
    schedule, batches = make(sgd), Batches(X, T, 20, [0])
    Trainer(model, nn.MSELoss(), sgd, batches, epochs=2, schedule=schedule).run()
    assert schedule.last_epoch == (2 * len(batches) if steps else 2)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_replica_is_trained_as_it_is_alone(options):
    many, history = trained([3, 5, 137], **options)
    for r, seed in enumerate([3, 5, 137]):
        one, own = trained([seed], **options)
        epochs = own.epochs
        assert torch.allclose(history.loss[r, :epochs], own.loss[0, :epochs], rtol=1e-4, atol=1e-5, equal_nan=True)
        found, wanted = history.metrics["validation_loss"], own.metrics["validation_loss"]
        assert torch.allclose(found[r, :epochs], wanted[0, :epochs], rtol=1e-3, atol=1e-5, equal_nan=True)
        for (name, a), (_, b) in zip(many.replica(r).state_dict().items(), one.replica(0).state_dict().items()):
            assert torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4), name
        if "early_stopping" in options:
            assert history.best[r] == own.best[0]


def test_a_model_without_replicas_is_trained_as_one_of_one():
    one, history = trained([5], optimizer=optim.SGD)
    single, own = trained([5], alone=True, optimizer=optim.SGD)
    assert torch.allclose(history.loss, own.loss, rtol=1e-4)
    assert single.eval()(X).shape == (60, 1)
    for a, b in zip(one.replica(0).state_dict().values(), single.state_dict().values()):
        assert torch.allclose(a.double(), b.double(), atol=1e-4)


def test_early_stopping_gives_each_replica_its_best_weights():
    model, history = trained([0, 1, 2, 3], lr=0.3, epochs=60, early_stopping=EarlyStopping(patience=4))
    losses = history.metrics["validation_loss"]
    assert history.epochs < 60
    assert len(set(history.best)) > 1, "replicas that stop at different epochs"
    evaluated = []
    for r, best in enumerate(history.best):
        own = losses[r][~losses[r].isnan()]
        assert best == int(own.argmin())
        assert len(own) == best + 5, "the history ends where the replica stopped"
        evaluated.append(float(own.min()))
    rows = split(len(X), 0.25, [0, 1, 2, 3])[1]
    found = Evaluation(X, T, nn.MSELoss(replicas=4), rows=rows)(model)["loss"]
    assert torch.allclose(found.double(), torch.tensor(evaluated, dtype=torch.float64), rtol=1e-5)


def test_early_stopping_begins_anew_with_each_training():
    stopping = EarlyStopping(patience=3)
    for seeds in ([3, 5], [3]):
        _, history = trained(seeds, lr=0.3, epochs=40, early_stopping=stopping)
    assert history.best == trained([3], lr=0.3, epochs=40, early_stopping=3)[1].best


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_waits_for_more_than_min_delta(mode):
    stopping, sign = EarlyStopping(patience=3, min_delta=0.25, mode=mode), 1 if mode == "min" else -1
    for epoch, measure in enumerate([1.0, 0.75, 0.5, 0.375, 0.25, 0.25]):
        assert not stopping.over
        stopping.update(epoch, torch.tensor(sign * measure), nn.Linear(1, 1))
    assert stopping.over
    assert (stopping.best.item(), stopping.best_epoch.item()) == (sign * 0.5, 2)


def test_the_training_loss_is_watched_after_each_epoch_whatever_is_measured():
    _, history = trained([3], lr=0.3, epochs=40, every=3, early_stopping=EarlyStopping("loss", patience=1))
    losses = history.loss[0, : history.epochs].tolist()
    assert history.best == [history.epochs - 2]
    assert losses[:-1] == sorted(losses[:-1], reverse=True)
    assert history.epochs % 3, "an epoch after which nothing else is measured"


def test_validation_samples_are_not_trained_on():
    t = T.clone()
    kept, left = split(len(X), 0.25, [7])
    assert sorted(torch.cat([kept[0], left[0]]).tolist()) == list(range(60))
    model = nn.replicate(network(), [7])
    t[left[0]] = 1e6
    history = fit(
        model, nn.MSELoss(replicas=1), optim.SGD(model.parameters(), 0.05), (X, t), seeds=[7], validation=0.25
    )
    assert bool((history.loss < 100).all())
    assert bool((history.metrics["validation_loss"] > 1e10).all())


def test_classes_keep_their_proportions_in_a_split():
    labels = torch.tensor([0] * 95 + [1] * 5)
    for seed in range(20):
        kept, left = split(labels, 0.2, [seed], stratify=True)
        assert labels[left[0]].sum() == 1
        assert labels[kept[0]].sum() == 4


class Doubled(Dataset[Any]):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], T[i]


@pytest.mark.parametrize(
    "data",
    [(X.numpy().astype(np.float64), T.numpy()), TensorDataset(X, T), Doubled(), [X, T]],
    ids=["NumPy", "TensorDataset", "Dataset", "list"],
)
def test_data_of_any_kind_train_alike(data):
    def run(data):
        model = nn.replicate(network(), [0, 1])
        return fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters(), 0.05), data, epochs=2).loss

    assert torch.allclose(run(data), run((X, T)))


def test_a_data_loader_is_seeded_and_leaves_the_default_generator_alone():
    template = network()

    def run():
        model = nn.replicate(template, [0, 1])
        loader = DataLoader(TensorDataset(X, T), batch_size=16, shuffle=True)
        sgd = optim.SGD(model.parameters(), 0.05)
        return fit(model, nn.MSELoss(replicas=2), sgd, loader, epochs=3, validation=(X, T)).loss

    torch.manual_seed(1)
    first, drawn = run(), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    torch.manual_seed(2)
    assert torch.equal(run(), first)
    assert not torch.equal(first[:, 0], first[:, 1])


def test_sample_weights_reach_the_loss():
    weights = torch.zeros(60)
    weights[:30] = 1

    def run(data):
        model = nn.replicate(nn.Sequential(nn.Linear(1, 1)), [0])
        fit(model, nn.MSELoss(replicas=1), optim.SGD(model.parameters(), 0.5), data, epochs=100, batch_size=60)
        return next(model.parameters()).value

    assert torch.allclose(run((X, T, weights)), run((X[:30], T[:30])), atol=1e-3)


def test_gradients_of_several_batches_make_one_step():
    def run(size, accumulate):
        model = nn.replicate(nn.Sequential(nn.Linear(1, 1)), [0])
        batches = Batches(X, T, size, [0], shuffle=False)
        sgd = optim.SGD(model.parameters(), 0.1)
        Trainer(model, nn.MSELoss(replicas=1), sgd, batches, epochs=2, accumulate=accumulate).run()
        return next(model.parameters()).value

    assert torch.allclose(run(20, 1), run(10, 2), atol=1e-6)
    assert torch.allclose(run(60, 1), run(12, 5), atol=1e-6)
    assert torch.allclose(run(60, 1), run(15, 9), atol=1e-6), "fewer batches than asked for make a step, too"


def test_training_ends_after_so_many_steps():
    taken = []

    class Counted(optim.SGD):
        def step(self, closure=None):
            taken.append(1)
            return super().step(closure)

    _, history = trained([0, 1], optimizer=Counted, epochs=50, steps=7)
    assert len(taken) == 7
    assert history.epochs == 3
    assert bool(history.metrics["validation_loss"][:, 2].isfinite().all())


def test_clipping_bounds_every_step():
    model = nn.replicate(network(), [0, 1])
    before = [p.value.clone() for p in model.parameters()]
    sgd = optim.SGD(model.parameters(), 1.0)
    fit(model, nn.MSELoss(replicas=2), sgd, (X, 100 * T), epochs=1, batch_size=60, clip_norm=0.01)
    moved = [(p.value - b).flatten(1).square().sum(1) for p, b in zip(model.parameters(), before)]
    assert torch.allclose(torch.stack(moved).sum(0).sqrt(), torch.full((2,), 0.01), rtol=1e-3)


def test_metrics_are_measured_without_touching_training():
    seen = []

    def spy(y, t):
        seen.append(tuple(y.shape))
        return (y - t).abs().amax((1, 2))

    plain, _ = trained([1, 2])
    watched, history = trained([1, 2], metrics={"worst": spy})
    assert set(seen) == {(2, 15, 1)}
    assert set(history.metrics) == {"validation_loss", "validation_worst"}
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), watched.state_dict().values()))


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize(
    ("criterion", "outputs", "targets"),
    [(nn.CrossEntropyLoss, 2, LABELS), (nn.BCEWithLogitsLoss, 1, LABELS.float().unsqueeze(1)), (nn.MSELoss, 1, T)],
)
def test_metrics_go_by_name_and_by_task(criterion, outputs, targets, replicas):
    model = network(outputs)
    model = model if replicas is None else nn.replicate(model, range(3))
    adam = optim.Adam(model.parameters(), 0.05)
    history = fit(
        model, criterion(replicas=replicas), adam, (X, targets), validation=0.25, epochs=20, metrics=None, batch_size=16
    )
    if criterion is nn.MSELoss:
        wanted = {"rmse", "mae", "r2"}
        rmse, mse = (history.metrics[f"validation_{name}"][:, -1] for name in ("rmse", "loss"))
        assert torch.allclose(rmse.square(), mse, rtol=1e-5)
    else:
        wanted = {"accuracy", "balanced_accuracy", "f1", "auc", "log_loss", "calibration_error"}
        loss, log_loss = (history.metrics[f"validation_{name}"][:, -1] for name in ("loss", "log_loss"))
        assert torch.allclose(loss, log_loss, rtol=1e-4, atol=1e-6)
        assert bool((history.metrics["validation_accuracy"][:, -1] > 0.7).all())
    assert {name.removeprefix("validation_") for name in history.metrics} == {"loss", *wanted}


def test_a_metric_of_no_name_is_refused_with_one_that_is_near():
    with pytest.raises(ArgumentError, match="rmse"):
        trained([0], metrics="rmsee")


def test_a_diverged_replica_is_noted_and_stops_early_stopping_for_itself():
    model = nn.replicate(network(), [0, 1])
    sgd = optim.SGD(model.parameters(), lr=[0.05, 1e20])
    history = fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=8, validation=0.25, early_stopping=3)
    assert history.diverged[0] is None
    assert (history.diverged[1] or {})["epoch"] == 0
    assert bool(history.loss[0, : history.epochs].isfinite().all())
    assert bool(model.replica(0)(X).isfinite().all())


def test_replicas_diverge_where_each_of_them_does():
    model = nn.Sequential(nn.Linear(1, 4, replicas=4), nn.ReLU(), nn.Linear(4, 1, replicas=4))
    biases = dict(model.named_parameters())
    for r, name in ((1, "0.bias"), (2, "2.bias")):
        biases[name].value[r] = math.inf
    history = Trainer(
        model, nn.MSELoss(replicas=4), optim.SGD(model.parameters()), Batches(X, T, 20, range(4)), epochs=1
    ).run()
    assert history.diverged == [
        None,
        {"epoch": 0, "step": 0, "layer": "model.0 (Linear 1→4)"},
        {"epoch": 0, "step": 0, "layer": "model.2 (Linear 4→1)"},
        None,
    ]


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (nn.Residual(nn.Linear(1, 1, replicas=2)), "model.0 (Linear 1→1)"),
        (nn.Sequential(nn.Residual(nn.Linear(1, 1, replicas=2))), "model.0.0 (Linear 1→1)"),
        (nn.Sequential(nn.First(nn.GRU(1, 1, replicas=2))), "model.0.module (GRU 1→1)"),
    ],
    ids=["root", "nested", "tuple"],
)
def test_a_layer_within_others_is_named_where_a_replica_diverges(model, layer):
    for p in model.parameters():
        p.value[1] = math.inf
    history = fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters()), (X, T), epochs=1)
    assert history.diverged == [None, {"epoch": 0, "step": 0, "layer": layer}]


def test_callbacks_are_called_and_can_stop():
    calls: list[Any] = []

    class Noting(Callback):
        def on_start(self, trainer):
            calls.append("start")

        def on_step_end(self, trainer, loss):
            calls.append(tuple(loss.shape))

        def on_epoch_end(self, trainer):
            calls.append(trainer.epoch)
            if trainer.epoch == 2:
                trainer.stop()

        def on_end(self, trainer):
            calls.append("end")

    _, history = trained([0, 1], callbacks=[Noting()], batch_size=15)
    assert calls == ["start", *[(2,)] * 3, 1, *[(2,)] * 3, 2, "end"]
    assert history.epochs == 2


def test_callbacks_end_also_after_an_error():
    """A progress bar that is left alive would keep the terminal."""
    ended = []

    class Failing(Callback):
        def on_epoch_end(self, trainer):
            raise OSError("disk full")

        def on_end(self, trainer):
            ended.append(trainer.history.interrupted)

    with pytest.raises(OSError, match="disk full"):
        trained([0, 1], callbacks=[Failing()])
    assert ended == [True]
    model = network().double()
    sgd, x = optim.SGD(model.parameters()), (X.double(), T.double())
    with pytest.raises(DTypeError, match="float32"):
        fit(model, nn.MSELoss(), sgd, x, precision="bfloat16", callbacks=[Failing()])
    assert ended == [True, True]


def test_a_progress_bar_shows_mean_and_band():
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200)
    _, history = trained([0, 1, 2], epochs=2, callbacks=[ProgressBar(console)])
    assert "2/2" in shown.getvalue()
    spread = history.loss[:, -1].std().item()
    assert f"loss {number(history.loss[:, -1].mean().item(), spread)} ± {number(spread, spread)}" in shown.getvalue()


def test_losses_in_a_progress_bar_have_the_digits_of_their_spread():
    assert band([1.2e-6, 1.4e-6, math.nan]) == "1.3e-06 ± 1.41e-07"
    assert band([2e6, 4e6]) == "3000000 ± 1414214"
    assert band([0.25]) == "0.25"


def test_tensorboard_gets_the_history(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, history = trained([0, 1, 2], epochs=3, callbacks=[TensorBoard(tmp_path, each=2)])
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    means = [event.value for event in events.Scalars("validation_loss/mean")]
    assert means == pytest.approx(history.metrics["validation_loss"][:, :3].mean(0).tolist(), rel=1e-5)
    assert {f"loss/{name}" for name in ("mean", "std", "replica 0", "replica 1")} == {
        tag for tag in events.Tags()["scalars"] if tag.startswith("loss")
    }


def test_tensorboard_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"the package tensorboard.*handgrad\[tensorboard\]"):
        trained([0], callbacks=[TensorBoard("unused")])


def test_tensorboard_gets_no_spread_of_one_replica_that_is_left():
    told: dict[str, Any] = {}
    callback = TensorBoard("unused")
    callback.writer = SimpleNamespace(add_scalar=lambda name, value, epoch: told.setdefault(name, (value, epoch)))
    rows = {"loss": [[1.0, 2.0], [0.5, math.nan]], "validation_loss": [[1.0, 2.0], [math.nan] * 2]}
    arrays = {name: torch.tensor(values).numpy() for name, values in rows.items()}
    trainer: Any = SimpleNamespace(history=SimpleNamespace(arrays=lambda: arrays), epoch=2)
    callback.on_epoch_end(trainer)
    assert told["loss/mean"] == (0.5, 2)
    assert "loss/std" not in told
    assert "validation_loss/mean" not in told, "in an epoch after which it is not measured"


def test_history_as_arrays_and_data_frame():
    _, history = trained([0, 1, 2], epochs=4)
    assert history.arrays()["validation_loss"].shape == (4, 3)
    frame = history.to_pandas()
    assert list(frame.columns) == ["loss", "validation_loss"]
    assert frame.loc[(2, 1), "loss"] == pytest.approx(float(history.loss[1, 2]))


RESUMED = {**OPTIONS, "bfloat16": {"precision": "bfloat16"}}


@pytest.mark.parametrize("options", RESUMED.values(), ids=RESUMED)
@pytest.mark.parametrize("stop", [1, 5])
def test_a_run_goes_on_bit_for_bit(options, stop, tmp_path):
    options = {"optimizer": optim.AdamW, **options}
    whole, history = trained([3, 5], **options, checkpoint=tmp_path / "whole")

    class Stop(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch == stop:
                trainer.stop()

    stopped = {**options, "callbacks": [Stop()]}
    stopped["checkpoint"] = Checkpoints(tmp_path / "parts")
    trained([3, 5], **stopped)
    again, resumed = trained([3, 5], **options, checkpoint=tmp_path / "parts")
    assert same(history.loss, resumed.loss)
    assert same(history.metrics["validation_loss"], resumed.metrics["validation_loss"]) or stop % options.get(
        "every", 1
    )
    assert history.best == resumed.best
    for (name, a), (_, b) in zip(whole.state_dict().items(), again.state_dict().items()):
        assert torch.equal(a, b), name


def test_a_finished_run_is_not_trained_again(tmp_path):
    model, history = trained([3, 5], checkpoint=tmp_path, early_stopping=2, lr=0.3)
    again, resumed = trained([3, 5], checkpoint=tmp_path, early_stopping=2, lr=0.3)
    assert same(history.loss, resumed.loss)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seeds": [3, 6]}, "seeds"),
        ({"batch_size": 8}, "data"),
        ({"optimizer": optim.SGD}, "optimizer"),
        ({"lr": 0.01}, "options of the optimizer"),
        ({"dropout": 0.5}, "model"),
        ({"schedule": lambda o: optim.lr_scheduler.StepLR(o, 3)}, "schedule"),
        ({"early_stopping": 3}, "stopping"),
        ({"clip_norm": 1.0}, "clipping"),
        ({"epochs": 2}, "epochs"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(change, named, tmp_path):
    trained([3, 5], epochs=3, checkpoint=tmp_path)
    options = {"epochs": 5, **change}
    seeds = options.pop("seeds", [3, 5])
    with pytest.raises(Exception, match=named):
        trained(seeds, checkpoint=tmp_path, **options)


@pytest.mark.parametrize("within", [False, True])
def test_a_checkpoint_with_another_function_of_the_schedule_is_refused(tmp_path, within):
    def run(epochs, factor):
        model = nn.replicate(network(), [0, 1])
        sgd = optim.SGD(model.parameters(), 0.05)

        def later(t: int) -> Any:
            return [1.0, factor][t > 2] if t < 50 else factor * torch.ones(2)

        schedule: Any = optim.lr_scheduler.LambdaLR(sgd, later)
        schedule = optim.lr_scheduler.ChainedScheduler([schedule]) if within else schedule
        return fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=epochs, schedule=schedule, checkpoint=tmp_path)

    run(1, 0.5)
    assert run(2, 0.5).epochs == 2
    with pytest.raises(StateError, match="options of the schedule"):
        run(3, 0.25)


def test_a_checkpoint_with_another_decay_of_the_average_is_refused(tmp_path):
    def run(epochs, decay):
        model = nn.replicate(network(), [0, 1])
        average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(decay))
        options = {"epochs": epochs, "average": average, "checkpoint": tmp_path}
        return fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters(), 0.05), (X, T), **options)

    run(1, 0.9)
    assert run(2, 0.9).epochs == 2
    for other in (0.99, [0.9, 0.8]):
        with pytest.raises(StateError, match="average ="):
            run(3, other)


def test_a_checkpoint_of_other_starting_values_is_refused(tmp_path):
    def run(epochs, seeds, width=1.0):
        model = nn.replicate(network(), seeds)
        model[2].running_var.fill_(width)
        sgd = optim.SGD(model.parameters(), 0.05)
        return fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=epochs, checkpoint=tmp_path)

    run(1, [0, 1])
    assert run(2, [0, 1]).epochs == 2
    with pytest.raises(StateError, match=r"run: starting values \(0\.weight = .*4\.weight = .*seeds of nn\.replicate"):
        run(3, [0, 2])
    with pytest.raises(StateError, match=r"run: starting values \(2\.running_var = [^=]*\), got"):
        run(3, [0, 1], width=2.0)
    assert run(3, [0, 1]).epochs == 3


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("stop", ["after an epoch", "at once"])
def test_what_a_stopped_run_left_goes_on_when_it_is_called_again(options, stop, tmp_path, monkeypatch):
    """As in a notebook, where the cell that trains is run again, but not the one that builds."""
    monkeypatch.chdir(tmp_path)

    class Stop(Callback):
        def on_step_end(self, trainer, loss):
            if trainer.epoch == 4:
                if stop == "at once":
                    raise KeyboardInterrupt
                trainer.stop()

    options = {"epochs": 12, **options}
    whole, history = trained([3, 5], optimizer=optim.SGD, **options)
    model = nn.replicate(network(dropout=0.2), [3, 5])
    sgd, criterion = optim.SGD(model.parameters(), lr=options.pop("lr", 0.05)), nn.MSELoss(replicas=2)
    made = {name: options.pop(name)(of) for name, of in (("schedule", sgd), ("average", model)) if name in options}
    options = {"batch_size": 16, "validation": 0.25, "seeds": [3, 5], **options, **made, "checkpoint": "run"}
    with pytest.raises(KeyboardInterrupt) if stop == "at once" else contextlib.nullcontext():
        fit(model, criterion, sgd, (X, T), callbacks=[Stop()], **options)
    resumed = fit(model, criterion, sgd, (X, T), **options)
    assert same(history.loss, resumed.loss)
    assert history.best == resumed.best
    for (name, a), (_, b) in zip(whole.state_dict().items(), model.state_dict().items()):
        assert torch.equal(a, b), name
    with torch.inference_mode():
        next(model.parameters()).value.add_(1)
    options["checkpoint"] = tmp_path / "run"
    with pytest.raises(StateError, match="starting values"):
        fit(model, criterion, sgd, (X, T), **options)


def test_a_trained_model_begins_a_run_of_its_own_in_an_empty_folder(tmp_path):
    def run(model):
        sgd = optim.SGD(model.parameters(), 0.05)
        return fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=2, checkpoint=tmp_path)

    model = nn.replicate(network(), [0, 1])
    run(model)
    for path in tmp_path.iterdir():
        path.unlink()
    run(model)
    with pytest.raises(StateError, match="starting values"):
        run(nn.replicate(network(), [0, 1]))


@pytest.mark.parametrize(
    ("change", "expected", "got"),
    [
        ({"weight_decay": 0.1}, "options of the optimizer (weight_decay = 0.1)", "(weight_decay = 0.0)"),
        ({"batch_size": 15}, "data (first and last batch = [[0, 15], [30, 45]])", "[[0, 16], [32, 45]])"),
        ({"last": "merge"}, "data (first and last batch = [[0, 16], [16, 45]])", "[[0, 16], [32, 45]])"),
        ({"early_stopping": 4}, "stopping (patience = 4)", "stopping (patience = 5)"),
        ({"dropout": 0.5}, "(3): Dropout(p=0.5", "(3): Dropout(p=0.2"),
        ({"gamma": 0.5}, "options of the schedule (gamma = 0.5)", "options of the schedule (gamma = 0.1)"),
        ({"schedule": None}, "options of the schedule = None", "options of the schedule = {"),
        ({"seeds": [*range(40), 99]}, "seeds = …", "39, 40]"),
        ({"metrics": "mae", "clip_norm": 1.0}, "clipping = [1.0, None]", "clipping = [None, None]"),
    ],
)
def test_a_refused_checkpoint_shows_what_differs(change, expected, got, tmp_path):
    def run(seeds=range(41), dropout=0.2, weight_decay=0.0, gamma=0.1, **options):
        model = nn.replicate(network(dropout=dropout), range(41))
        adam = optim.Adam(model.parameters(), weight_decay=weight_decay)
        schedule = optim.lr_scheduler.StepLR(adam, 9, gamma=gamma)
        options = {"batch_size": 16, "early_stopping": 5, "validation": 0.25, "schedule": schedule, **options}
        fit(model, nn.MSELoss(replicas=41), adam, (X, T), seeds=seeds, epochs=1, checkpoint=tmp_path, **options)

    run()
    with pytest.raises(StateError) as error:
        run(**change)
    assert expected in error.value.expected
    assert got in error.value.got
    assert error.value.expected.removeprefix("a checkpoint of this run: ") != error.value.got
    assert len(str(error.value)) < 1000


def test_a_checkpoint_of_an_earlier_format_is_refused(tmp_path):
    save_tensors(tmp_path / "checkpoint-1.safetensors", {}, {"format": 1, "identity": {}, "state": {}})
    with pytest.raises(OutputError, match=r"a checkpoint of format 3, got format 1"):
        trained([3], checkpoint=tmp_path)


def test_a_damaged_latest_checkpoint_is_left_aside(tmp_path):
    whole, _ = trained([3, 5], checkpoint=tmp_path / "whole")
    trained([3, 5], epochs=6, checkpoint=tmp_path / "parts")
    latest = tmp_path / "parts" / "checkpoint-6.safetensors"
    data = bytearray(latest.read_bytes())
    data[-3] ^= 1
    latest.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="checkpoint-6.*left aside"):
        again, _ = trained([3, 5], checkpoint=tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    for path in (tmp_path / "parts").glob("*.safetensors"):
        path.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="left aside"), pytest.raises(OutputError, match="safetensors"):
        trained([3, 5], checkpoint=tmp_path / "parts")


def test_the_latest_state_of_whatever_run(tmp_path):
    """For another network, optimiser or process; of the file before where the latest is damaged."""
    with pytest.raises(OutputError, match=r"a folder with checkpoints, got none\. Name the folder"):
        Checkpoints(tmp_path).latest()
    model, _ = trained([3, 5], epochs=6, checkpoint=tmp_path)
    state = Checkpoints(tmp_path).latest()
    other = nn.replicate(network(), [0, 1])
    adam = optim.Adam(other.parameters())
    other.load_state_dict(state["model"])
    adam.load_state_dict(state["optimizer"])
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    assert state["epoch"] == 6
    (tmp_path / "checkpoint-6.safetensors").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="checkpoint-6.*left aside"):
        assert Checkpoints(tmp_path).latest()["epoch"] == 5


def test_a_folder_with_checkpoints_is_not_written_over(tmp_path):
    trained([3, 5], epochs=3, checkpoint=tmp_path)
    with pytest.raises(OutputError, match="without checkpoints"):
        trained([3, 5], epochs=3, checkpoint=Checkpoints(tmp_path, resume=False))


def test_a_file_of_ones_own_beside_the_checkpoints_stays(tmp_path):
    trained([3], epochs=2, checkpoint=tmp_path)
    own = tmp_path / "checkpoint-best.safetensors"
    own.write_bytes((tmp_path / "checkpoint-2.safetensors").read_bytes())
    _, history = trained([3], epochs=5, checkpoint=tmp_path)
    assert history.epochs == 5
    assert own.exists()


@pytest.mark.parametrize(("keep", "epochs"), [(2, [9, 11]), (9, [3, 6, 9, 11])])
def test_few_checkpoints_are_kept(keep, epochs, tmp_path):
    trained([3], epochs=11, checkpoint=Checkpoints(tmp_path, every=3, keep=keep))
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{n}.safetensors" for n in epochs}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"accumulate": 0}, "accumulate"),
        ({"seeds": [1]}, "2 replicas"),
        ({"early_stopping": 3, "validation": None}, "early stopping"),
        ({"validation": 1.5}, "fraction"),
        ({"validation": "some"}, "data to train or measure on"),
        ({"early_stopping": EarlyStopping("validation_lost")}, "validation_loss"),
    ],
)
def test_bad_options_are_refused_before_training(options, message):
    model = nn.replicate(network(), [0, 1])
    before = copy.deepcopy(model.state_dict())
    options = {"validation": 0.2, **options}
    with pytest.raises(ArgumentError, match=message):
        fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters()), (X, T), **options)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


@pytest.mark.parametrize("data", [5, (X,), "text"])
def test_data_of_no_kind_are_refused(data):
    model = network()
    with pytest.raises((ArgumentError, TypeError), match=r"data|inputs"):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters()), data)


def test_ctrl_c_ends_after_the_epoch():
    code = """
import os, signal, torch
from handgrad import nn, optim, fit
from handgrad.training import Callback
class Interrupt(Callback):
    def on_step_end(self, trainer, loss):
        if trainer.epoch == 1: os.kill(os.getpid(), signal.{name})
model = nn.Sequential(nn.Linear(1, 1)); x = torch.ones(8, 1)
sgd = optim.SGD(model.parameters())
history = fit(model, nn.MSELoss(), sgd, (x, x), epochs=9, batch_size=8, callbacks=[Interrupt()])
print(history.epochs, history.interrupted)
"""
    for name in ("SIGINT", "SIGTERM"):
        done = subprocess.run([sys.executable, "-c", code.replace("{name}", name)], capture_output=True, text=True)
        assert done.stdout.strip() == "2 True", done.stderr


def test_loss_of_an_epoch_is_the_mean_over_its_batches():
    model = nn.Sequential(nn.Linear(1, 1))
    losses = []

    class Noting(Callback):
        def on_step_end(self, trainer, loss):
            losses.append(float(loss))

    history = fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (X, T), epochs=1, callbacks=[Noting()])
    assert float(history.loss[0, 0]) == pytest.approx(math.fsum(losses) / len(losses))


def test_mixed_precision_trains_what_float32_trains():
    _, plain = trained([0, 1, 2], epochs=30, dropout=0.0, optimizer=optim.SGD)
    model, mixed = trained([0, 1, 2], epochs=30, dropout=0.0, optimizer=optim.SGD, precision="bfloat16")
    assert all(p.value.dtype is torch.float32 for p in model.parameters())
    assert all(b.dtype in (torch.float32, torch.long) for b in model.buffers())
    assert torch.allclose(plain.loss[:, 0], mixed.loss[:, 0], rtol=0.02)
    assert torch.allclose(plain.loss[:, -5:].mean(1), mixed.loss[:, -5:].mean(1), rtol=0.2)
    assert not torch.equal(plain.loss, mixed.loss)


def test_mixed_precision_has_the_gradient_of_rounded_weights():
    torch.manual_seed(0)
    parts = [nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.SiLU(), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, 3)]
    model = nn.Sequential(nn.Residual(nn.Identity(), nn.Tanh()), *parts)
    exact = copy.deepcopy(model)
    x, dy = torch.randn(64, 2, 8), torch.randn(64, 3)
    assert torch.allclose(Mixed(model)(x), exact(x), atol=0.1)
    mixed = Mixed(model)
    mixed(x)
    dx, wanted = mixed.backward(dy), exact.backward(dy)
    assert dx.dtype is torch.float32
    assert float((dx - wanted).norm() / wanted.norm()) < 0.03
    for (name, p), (_, q) in zip(model.named_parameters(), exact.named_parameters()):
        assert p.grad is not None
        assert q.grad is not None
        assert float((p.grad - q.grad).norm() / max(q.grad.norm(), 1.0)) < 0.03, name


def test_a_dropout_in_evaluation_is_so_in_mixed_precision():
    model: Any = nn.Sequential(nn.Linear(1, 50), nn.Dropout(0.5), nn.Linear(50, 1))
    mixed = Mixed(model)
    assert not torch.equal(mixed(X), mixed(X))
    model[1].eval()
    assert torch.equal(mixed(X), mixed(X))
    model[1].train()
    assert not torch.equal(mixed(X), mixed(X))
    mixed.eval()
    assert torch.equal(mixed(X), mixed(X))


def test_steps_below_the_digits_of_bfloat16_are_not_lost():
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    model.load_state_dict({"0.weight": torch.ones(1, 1)})
    x = torch.ones(8, 1)
    fit(
        model,
        nn.MSELoss(),
        optim.SGD(model.parameters(), 1e-4),
        (x, 2 * x),
        epochs=40,
        batch_size=8,
        precision="bfloat16",
    )
    assert float(next(model.parameters()).value) == pytest.approx(1 + 40 * 2e-4, rel=1e-3)


def test_in_bfloat16_the_first_bad_layer_has_its_own_name():
    """Also a normalisation, which stays in float32 between its neighbours."""
    part: Any
    for part, layer in ((nn.BatchNorm1d(8), "model.1 (BatchNorm1d 8)"), (nn.Linear(8, 8), "model.1 (Linear 8→8)")):
        model = nn.Sequential(nn.Linear(2, 8), part, nn.Linear(8, 1))
        part.bias.value[0] = math.nan
        sgd, x = optim.SGD(model.parameters()), torch.randn(8, 2)
        history = fit(model, nn.MSELoss(), sgd, (x, x[:, :1]), epochs=1, metrics=[], precision="bfloat16")
        assert history.diverged == [{"epoch": 0, "step": 0, "layer": layer}]


def test_bfloat16_is_for_models_of_float32():
    model = nn.Sequential(nn.Linear(1, 1, dtype=torch.float64))
    x = torch.ones(8, 1, dtype=torch.float64)
    with pytest.raises(DTypeError, match=r"float32.*got float64 in 0\.weight.*model\.float\(\)"):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (x, x), epochs=1, precision="bfloat16")


@pytest.mark.parametrize(("replicas", "shape"), [(2, ()), (2, (3,)), (None, (2,))])
def test_a_metric_gives_a_number_for_each_replica(replicas, shape):
    """One number for all would be told as that of each."""
    seeds = list(range(replicas or 1))
    model = network() if replicas is None else nn.replicate(network(), seeds)
    criterion, sgd = nn.MSELoss(replicas=replicas), optim.SGD(model.parameters(), 0.05)
    metrics = {"odd": lambda _: torch.ones(shape)}
    trainer = Trainer(model, criterion, sgd, Batches(X, T, 30, seeds), 1, metrics=metrics)
    message = f"odd.*number for each of the {replicas or 1} replicas, got {shape}"
    with pytest.raises(ShapeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        trainer.run()


class Exchange(Callback):
    """Changes the network at an event."""

    def __init__(self, event, change):
        self.change = change
        setattr(self, event, lambda trainer: self.change(trainer.model))


@pytest.mark.parametrize("event", ["on_start", "on_epoch_end"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("change", "named"),
    [(lambda model: setattr(model, "4", nn.Linear(8, 1)), "4.weight, 4.bias"), (lambda model: model.pop(-1), "fewer")],
)
def test_a_layer_that_a_callback_exchanges_is_told(event, precision, change, named):
    """It was seen by a Watch and returned, while the old one was trained."""
    model = network()
    options = {"precision": precision, "callbacks": [Exchange(event, change)], "epochs": 2}
    with pytest.raises(StateError, match=f"a callback: expected the parameters .* began with, got {named}"):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (X, T), **options)
    model = network()
    fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (X, T), callbacks=[Exchange("on_end", change)], epochs=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_refused_with_what_takes_its_place(dtype):
    """Not even half of the layers would hear of it, and some trained in silence in another dtype."""
    remedy = 'Leave torch.autocast.*precision="bfloat16"'
    model, criterion = network(), nn.MSELoss()
    with torch.autocast("cpu", dtype):
        with pytest.raises(ArgumentError, match=f"outside of torch.autocast.*{remedy}"):
            fit(model, criterion, optim.SGD(model.parameters()), (X, T))
        with pytest.raises(DTypeError, match=rf"model\.2.*{remedy}"):
            model(X)
        with pytest.raises(DTypeError, match=f"MSELoss.*{remedy}"):
            criterion(model[0](X), torch.zeros(60, 8))
        double = network().double()
        fit(double, criterion, optim.SGD(double.parameters()), (X, T), epochs=1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_is_left_in_training_mode(precision):
    model = nn.replicate(network(dropout=0.2), [0, 1]).eval()
    fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters()), (X, T), epochs=1, precision=precision)
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize("average", [False, True])
def test_a_model_is_left_in_training_mode_by_a_metric_that_fails(average):
    def failing(y, t):
        raise ZeroDivisionError

    model = nn.replicate(network(dropout=0.2), [0, 1])
    sgd, averaged = optim.SGD(model.parameters()), optim.swa_utils.AveragedModel(model) if average else None
    with pytest.raises(ZeroDivisionError):
        fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=1, metrics=[failing], average=averaged)
    assert all(part.training for one in (model, averaged or model) for part in one.modules())


@pytest.mark.parametrize("event", ["on_start", "on_epoch_end"])
@pytest.mark.parametrize("options", [{}, {"metrics": ["rmse"]}, {"precision": "bfloat16"}], ids=["", "metrics", "bf16"])
def test_a_normalisation_that_a_callback_puts_into_evaluation_stays_in_it(event, options):
    class Freezing(Callback):
        def on_start(self, trainer):
            if event == "on_start":
                trainer.model[1].eval()

        def on_epoch_end(self, trainer):
            if event == "on_epoch_end" and trainer.epoch == 1:
                trainer.model[1].eval()

    model: Any = nn.replicate(nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)), [0, 1])
    sgd = optim.SGD(model.parameters())
    fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=4, batch_size=len(X), callbacks=[Freezing()], **options)
    assert model[1].num_batches_tracked.tolist() == [int(event == "on_epoch_end")] * 2


def test_histories_of_groups_that_were_not_begun_keep_their_places():
    _, history = trained([0, 1], epochs=3, early_stopping=5)
    joined = History.joined([history, History.empty(3, 3, ("validation_loss",))])
    assert joined.best == [*history.best, None, None, None]
    assert joined.loss.shape == (5, 3)


def test_early_stopping_and_plateau_listen_only_when_something_is_measured():
    rates = []

    class Noting(Callback):
        def on_epoch_end(self, trainer):
            rates.append(float(trainer.optimizer.param_groups[0]["lr"]))

    _, history = trained(
        [3],
        lr=0.3,
        epochs=40,
        every=5,
        early_stopping=10,
        schedule=lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, factor=0.5),
        callbacks=[Noting()],
    )
    measured = history.metrics["validation_loss"][0, 4 : history.epochs : 5]
    assert bool(measured.isfinite().all())
    best = min(range(len(measured)), key=lambda i: float(measured[i]))
    assert history.best == [5 * best + 4]
    assert history.epochs == min(5 * (best + 3), 40)
    halved = [i for i in range(1, len(measured)) if measured[i] >= measured[:i].min() * (1 - 1e-4)]
    assert [i for i in range(len(rates)) if rates[i] < [0.3, *rates][i]] == [5 * i + 4 for i in halved]


@pytest.mark.parametrize("metrics", [None, {"other": lambda model: torch.zeros(2)}])
def test_watching_what_is_not_measured_is_refused_before_training(metrics):
    model = nn.replicate(network(), [0, 1])
    options = {"metrics": metrics, "stopping": EarlyStopping("validation_loss"), "every": 2}
    with pytest.raises(ArgumentError, match="early stopping to watch one of loss"):
        Trainer(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters()), Batches(X, T, 16, [0, 1]), 3, **options)


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_batch_without_weight_is_no_divergence(replicas):
    seeds = range(replicas or 1)

    def run(criterion, outputs, *data):
        torch.manual_seed(0)
        model = network(outputs) if replicas is None else nn.replicate(network(outputs), seeds)
        batches = Batches(X, data[0], 10, seeds, shuffle=False, weights=data[1] if data[1:] else None)
        sgd = optim.SGD(model.parameters(), 0.05)
        losses = []

        class Noting(Callback):
            def on_step_end(self, trainer, loss):
                losses.append(loss.clone())

        return Trainer(model, criterion, sgd, batches, 1, callbacks=[Noting()]).run(), torch.stack(losses)

    weights = torch.ones(60)
    weights[20:40] = 0
    ignored = torch.where(weights > 0, LABELS, -100)
    for case in (
        (nn.MSELoss(replicas=replicas), 1, T, weights),
        (nn.L1Loss(replicas=replicas), 1, T, weights),
        (nn.CrossEntropyLoss(replicas=replicas), 2, ignored),
    ):
        history, losses = run(*case)
        assert history.diverged == [None] * len(seeds)
        assert losses[2:4].isnan().all()
        wanted = losses[[0, 1, 4, 5]].mean(0).reshape(-1)
        assert torch.allclose(history.loss[:, 0], wanted.double(), rtol=1e-5)
    history, _ = run(nn.L1Loss(replicas=replicas), 1, torch.full_like(T, math.nan), torch.ones(60))
    assert all(note is not None and note["step"] == 0 for note in history.diverged)


def test_parameters_that_are_not_trained_count_in_no_norm_and_keep_no_gradient():
    torch.manual_seed(0)
    model = network()
    before = copy.deepcopy(model[4].state_dict())
    sgd = optim.SGD(model[4].parameters(), 1.0)
    fit(model, nn.MSELoss(), sgd, (X, 100 * T), epochs=3, batch_size=60, clip_norm=0.01)
    moved = [a - b for a, b in zip(model[4].state_dict().values(), before.values())]
    # three steps of length 0.01 in nearly the same direction
    assert float(torch.cat([m.flatten() for m in moved]).norm()) == pytest.approx(0.03, rel=1e-2)
    assert all(p.grad is None for p in model.parameters())


def test_an_optimiser_of_another_model_is_refused():
    template = network()
    sgd = optim.SGD(template.parameters(), 0.1)
    model = nn.replicate(template, [0, 1])
    with pytest.raises(ArgumentError, match="parameters of the model"):
        fit(model, nn.MSELoss(replicas=2), sgd, (X, T))


@pytest.mark.parametrize(
    ("replicas", "of_loss", "message"),
    [
        (20, None, r"a loss with replicas=20, as the model, got one without.*Build the loss with replicas=20"),
        (2, 3, r"a loss with replicas=2, as the model, got one with replicas=3"),
        (None, 2, r"a loss without replicas, as the model, got one with replicas=2.*Build the loss without replicas"),
    ],
)
def test_a_loss_of_other_replicas_is_refused(replicas, of_loss, message):
    """It would average over them: each would take a step of 1/R, and have the mean loss of all."""
    model = network() if replicas is None else nn.replicate(network(), range(replicas))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ArgumentError, match=message):
        fit(model, nn.MSELoss(replicas=of_loss), optim.SGD(model.parameters(), 0.1), (X, T))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": torch.nn.Linear(1, 1)}, r"a handgrad network, got torch\.nn.*Linear.*from_torch"),
        ({"model": None}, "a handgrad network, got NoneType"),
        ({"criterion": torch.nn.MSELoss()}, r"a loss with a backward, got torch\.nn.*MSELoss"),
        ({"criterion": nn.MSELoss}, "a loss with a backward, got the class MSELoss"),
        ({"criterion": lambda y, t: (y - t).square().mean()}, r"a loss with a backward, got function.*nn\.Loss"),
        ({"optimizer": optim.SGD}, "an optimiser of handgrad.optim, got the class SGD"),
        ({"optimizer": None}, "an optimiser of handgrad.optim, got NoneType"),
        ({"optimizer": torch.optim.SGD([torch.nn.Parameter(T)])}, r"of handgrad.optim, got torch\..*SGD\. "),
        ({"batch_size": None}, "batch_size"),
        ({"data": {"x": X, "t": T}}, "batches of inputs and targets, got str"),
    ],
)
def test_what_is_of_pytorch_or_of_another_kind_is_refused_by_name(options, message):
    model = network()
    given: Any = {"model": model, "criterion": nn.MSELoss(), "optimizer": optim.SGD(model.parameters()), "data": (X, T)}
    with pytest.raises(HandgradError, match=message):
        fit(**{**given, **options})


def test_a_network_of_pytorch_is_not_replicated():
    with pytest.raises(DTypeError, match=r"a handgrad network, got torch\.nn.*Linear.*from_torch"):
        nn.replicate(torch.nn.Linear(1, 1), [0])  # type: ignore[type-var]


def test_a_criterion_that_knows_of_no_replicas_is_taken():
    class Squared:
        def __call__(self, y, t):
            self.d = y - t
            return self.d.square().mean((1, 2))

        def backward(self):
            return 2 * self.d / self.d[0].numel()

    def run(criterion):
        model = nn.replicate(network(), [0, 1])
        return fit(model, criterion, optim.SGD(model.parameters(), 0.05), (X, T), epochs=2).loss

    assert torch.allclose(run(Squared()), run(nn.MSELoss(replicas=2)), rtol=1e-5)


def test_training_goes_on_with_another_learning_rate_in_another_folder(tmp_path):
    """As one does in a notebook; the first folder's run is another, and says what to do."""
    model, (first, second) = network(), (tmp_path / "first", tmp_path / "second")
    adam = optim.Adam(model.parameters(), lr=0.01)
    before = fit(model, nn.MSELoss(), adam, (X, T), epochs=20, checkpoint=first).loss
    adam.param_groups[0]["lr"] = 0.001
    with pytest.raises(StateError, match=r"lr = 0.001.*lr = 0.01.*another folder, to go on from the weights"):
        fit(model, nn.MSELoss(), adam, (X, T), epochs=22, checkpoint=first)
    after = fit(model, nn.MSELoss(), adam, (X, T), epochs=2, checkpoint=second).loss
    assert after[0, 0] < before[0, 10:].max()


def test_a_history_is_shown_in_a_line():
    """Not as all of its tensors, which fill a page of a notebook."""
    history = History.empty(3, 4, ("validation_loss",))
    history.epochs, history.seconds = 3, 1.25
    history.loss[:] = torch.tensor([[4.0], [5.0], [6.0]]) / torch.arange(1, 5)
    history.metrics["validation_loss"][:, 1:] = 1.0
    assert repr(history) == (
        "History(3 epochs of 3 replicas in 1.2 s; of the last one loss 1.67 ± 0.33, validation_loss 1 ± 0)"
    )
    history.best, history.interrupted = [0, 1, None], True
    history.diverged[2] = {"epoch": 0, "step": 0, "layer": "0"}
    assert repr(history) == (
        "History(3 epochs of 3 replicas in 1.2 s; of each one's best, 0 to 1, loss 3.2 ± 1.1, validation_loss 1; "
        "1 diverged; interrupted)"
    )
    assert repr(History.empty(1, 2, ())) == "History(0 epochs of 1 replica in 0.0 s)"


def test_validation_data_may_come_from_a_loader():
    """As those of PyTorch's users do; it is read once, as a Dataset is."""

    def run(validation):
        model = nn.replicate(network(), [0, 1])
        sgd = optim.SGD(model.parameters(), 0.05)
        return fit(model, nn.MSELoss(replicas=2), sgd, (X, T), epochs=2, validation=validation, metrics=["r2"]).metrics

    data, w = TensorDataset(X[:10], T[:10].double()), torch.linspace(0, 1, 10)
    for whole, loader in (
        ((X[:10], T[:10]), DataLoader(data, batch_size=4)),
        ((X[:10], T[:10], w), [(X[i : i + 5], T[i : i + 5], w[i : i + 5]) for i in (0, 5)]),
    ):
        expected, found = run(whole), run(loader)
        assert all(torch.equal(found[name], values) for name, values in expected.items())
    with pytest.raises(ArgumentError, match="batches of inputs and targets, got Tensor"):
        run(iter(X))


def test_a_schedule_of_another_optimiser_is_refused():
    """It would have no effect."""
    model = network()
    sgd, other = (optim.SGD(model.parameters(), 0.1) for _ in range(2))
    schedule = optim.lr_scheduler.StepLR(other, 1)
    with pytest.raises(ArgumentError, match="a schedule of the optimiser, got StepLR of another"):
        fit(model, nn.MSELoss(), sgd, (X, T), schedule=schedule)


def test_one_number_is_no_sequence_of_seeds():
    model = nn.replicate(network(), [0, 1, 2])
    with pytest.raises(DTypeError, match=r"fit: expected a sequence of seeds, got 3.*range\(R\).*seeds=\[3\]"):
        fit(model, nn.MSELoss(replicas=3), optim.SGD(model.parameters()), (X, T), seeds=3)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="train_replicas: expected a sequence of seeds"):
        train_replicas(lambda seeds: model, lambda model, seeds: pytest.fail("never called"), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("given", [False, True])
def test_the_validation_loss_is_weighted_as_the_training_loss_is(replicas, given):
    seeds = range(replicas or 1)
    weights = torch.rand(60, generator=torch.Generator().manual_seed(0)).double()
    model = network() if replicas is None else nn.replicate(network(), seeds)
    criterion, sgd = nn.MSELoss(replicas=replicas), optim.SGD(model.parameters(), 0.05)
    data = (X, T, weights.numpy())
    history = fit(model, criterion, sgd, data, epochs=2, batch_size=60, validation=data if given else 0.25)
    errors = (model.eval()(X) - T).square().reshape(len(seeds), 60)
    rows = torch.arange(60).expand(len(seeds), -1) if given else split(60, 0.25, seeds)[1]
    wanted = [float((e * weights)[r].sum() / weights[r].sum()) for e, r in zip(errors.double(), rows)]
    assert history.metrics["validation_loss"][:, -1].tolist() == pytest.approx(wanted, rel=1e-5)


def test_an_evaluation_of_data_of_each_replica_is_weighted():
    x, weights = torch.rand(2, 5, 1), torch.rand(2, 5)
    model, rows = nn.Linear(1, 1, replicas=2), torch.tensor([[0, 1, 2], [4, 3, 3]])
    criterion = nn.MSELoss(replicas=2)
    errors = model(x).square().squeeze(-1)
    for chosen in (None, rows):
        evaluation = Evaluation(x, torch.zeros(2, 5, 1), criterion, weights=weights, own=True, rows=chosen)
        of, w = (v if chosen is None else v.gather(1, rows) for v in (errors, weights))
        assert torch.allclose(evaluation(model)["loss"], (of * w).sum(1) / w.sum(1))
    with pytest.raises(ShapeError, match="weights"):
        Evaluation(x, x, criterion, weights=weights[0], own=True)


def test_a_measure_does_not_hide_the_loss_that_is_measured_beside_it():
    largest = {"loss": lambda y, t: (y - t).abs().amax((1, 2))}
    with pytest.raises(ArgumentError, match="measures of other names than the loss"):
        trained([3, 5], metrics=largest)
    with pytest.raises(ArgumentError, match="measures of other names than the loss"):
        Evaluation(X, T, nn.MSELoss(replicas=2), largest)
    assert Evaluation(X, T, None, largest)(nn.Linear(1, 1, replicas=2))["loss"].shape == (2,)


def test_more_steps_go_on_only_from_a_whole_epoch(tmp_path):
    """An epoch has 3 steps: a run of 7 ends in the midst of the third epoch, one of 6 at the end of the second."""
    options = {"validation": 0.2, "epochs": 10}
    whole, history = trained([3, 5], **options, steps=13)
    trained([3, 5], **options, steps=6, checkpoint=tmp_path / "six")
    again, resumed = trained([3, 5], **options, steps=13, checkpoint=tmp_path / "six")
    assert same(history.loss, resumed.loss)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    first, _ = trained([3, 5], **options, steps=7, checkpoint=tmp_path / "seven")
    with pytest.raises(StateError, match=r"that ended after 7 steps.*got a longer run"):
        trained([3, 5], **options, steps=13, checkpoint=tmp_path / "seven")
    with pytest.raises(StateError, match=r"that ended after 7 steps.*got a longer run"):
        trained([3, 5], validation=0.2, epochs=3, checkpoint=tmp_path / "seven")  # of which 9 steps would be taken
    second, _ = trained([3, 5], **options, steps=7, checkpoint=tmp_path / "seven")
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    with pytest.raises(StateError, match="at most 5 steps"):
        trained([3, 5], **options, steps=5, checkpoint=tmp_path / "six")


def test_more_epochs_go_on_unless_early_stopping_has_listened_out_of_turn(tmp_path):
    def run(folder, epochs, **options):
        return trained([3, 5], epochs=epochs, every=3, checkpoint=tmp_path / folder, **options)

    for epochs in (4, 6):
        run(f"a{epochs}", epochs)
        run(f"a{epochs}", 9)  # nobody listened
        run(f"b{epochs}", epochs, early_stopping=9)
    whole, _ = run("whole", 9, early_stopping=9)
    again, _ = run("b6", 9, early_stopping=9)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    with pytest.raises(StateError, match="that ended after 4 epochs"):
        run("b4", 9, early_stopping=9)


LEVELS = T.sigmoid()


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("data", {"t": LEVELS.flip(0)}),
        ("data", {"x": X.flip(0)}),
        ("data", {"weights": torch.ones(60).scatter(0, torch.tensor([1]), 2.0)}),
        ("measured on", {"validation": (X, LEVELS.flip(0))}),
        ("measured on", {"validation": (X, LEVELS, torch.rand(60))}),
        ("measured on", {"validation": None}),
        ("criterion", {"criterion": nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]), replicas=2)}),
    ],
)
def test_a_checkpoint_of_other_numbers_is_refused(named, change, tmp_path):
    def run(epochs, **given):
        options: dict[str, Any] = {"x": X, "t": LEVELS, "weights": torch.ones(60).scatter(0, torch.tensor([0]), 2.0)}
        criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]), replicas=2)
        options = {**options, "criterion": criterion, "validation": (X, LEVELS), **given}
        model = nn.replicate(network(), [0, 1])
        data = (options["x"], options["t"], options["weights"])
        sgd = optim.SGD(model.parameters(), 0.05)
        return fit(
            model, options["criterion"], sgd, data, epochs=epochs, validation=options["validation"], checkpoint=tmp_path
        )

    run(1)
    assert run(2, x=X.clone()).epochs == 2
    with pytest.raises(StateError, match=rf"a checkpoint of this run: {named} [=(]"):
        run(3, **change)


def test_a_group_that_has_measured_nothing_keeps_its_losses():
    """As one that was interrupted before the first epoch that is measured."""

    def build(seeds):
        return nn.replicate(network(), seeds)

    def trainer(model, seeds):
        criterion, sgd = nn.MSELoss(replicas=len(seeds)), optim.SGD(model.parameters(), 0.05)
        metrics = Evaluation(X, T, criterion, prefix="test_") if len(seeds) == 2 else None
        return Trainer(model, criterion, sgd, Batches(X, T, 30, seeds), 3, metrics=metrics)

    _, history = train_replicas(build, trainer, [0, 1, 2], size=2, workers_=1)
    assert history.epochs == 3
    assert bool(history.loss.isfinite().all())
    assert history.metrics["test_loss"].isnan().tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert not history.interrupted


@pytest.mark.parametrize(("replicas", "sizes"), [(None, [32, 16, 16, 8]), (2, [32, 8, 8, 8, 8, 8])])
def test_samples_are_measured_as_many_at_a_time_as_the_cache_holds(replicas, sizes):
    x, t = torch.randn(40, 1, 32, 32), torch.randn(40, 64, 32, 32)
    model = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1, replicas=replicas))
    model[0].forward = seen = Mock(wraps=model[0].forward)
    evaluation = Evaluation(x, t, nn.MSELoss(replicas=replicas))
    found = evaluation(model)
    assert [call.args[0].shape[-4] for call in seen.call_args_list] == sizes
    assert model[0].kept is None
    torch.testing.assert_close(found, Evaluation(x, t, nn.MSELoss(replicas=replicas), chunk=40)(model))
    seen.reset_mock()
    assert torch.equal(evaluation(model)["loss"], found["loss"])
    assert [call.args[0].shape[-4] for call in seen.call_args_list] == sizes[1:]


@pytest.mark.parametrize(("channels", "sizes"), [(4, [3]), (128, [2, 1]), (256, [1, 1, 1])])
def test_groups_of_replicas_are_as_large_as_the_cache_holds(channels, sizes):
    x, t = torch.randn(16, 1, 8, 8), torch.randn(16, channels, 8, 8)
    trained = []

    def trainer(model, seeds):
        trained.append(len(seeds))
        batches = Batches(x, t, 16, seeds)
        return Trainer(model, nn.MSELoss(replicas=len(seeds)), optim.SGD(model.parameters()), batches, epochs=1)

    def build(seeds):
        return nn.replicate(nn.Sequential(nn.Conv2d(1, channels, 3, padding=1)), seeds)

    model, history = train_replicas(build, trainer, range(3), workers_=1)
    assert trained == [1, *sizes]
    assert model.replicas == 3
    assert history.loss.shape == (3, 1)


def test_groups_that_are_not_begun_keep_their_initial_weights():
    class Interrupt(Callback):
        def on_epoch_end(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    def build(seeds):
        return nn.replicate(network(), seeds)

    def trainer(model, seeds):
        criterion, sgd = nn.MSELoss(replicas=len(seeds)), optim.SGD(model.parameters(), 0.05)
        metrics = Evaluation(X, T, criterion, prefix="test_")
        return Trainer(model, criterion, sgd, Batches(X, T, 30, seeds), 9, metrics=metrics, callbacks=[Interrupt()])

    model, history = train_replicas(build, trainer, [0, 1, 2], size=2, workers_=1)
    assert (history.interrupted, history.epochs) == (True, 0)
    assert history.metrics["test_loss"][:, 0].isnan().tolist() == [False, False, True]
    kept = [a.value == b.value for a, b in zip(model.parameters(), build([0, 1, 2]).parameters())]
    assert [all(bool(equal[r].all()) for equal in kept) for r in range(3)] == [False, False, True]


def test_no_seeds_make_no_replicas():
    with pytest.raises(ArgumentError, match="at least one seed"):
        train_replicas(lambda seeds: network(), lambda model, seeds: pytest.fail("never called"), [])


@pytest.mark.parametrize("optimizer", [optim.Adam, optim.SGD])
@pytest.mark.parametrize("fails", [False, True])
def test_what_training_leaves_can_be_changed(optimizer, fails):
    """Tensors that are made in inference mode cannot, not even by a step of the optimiser."""

    class Failing(Callback):
        def on_epoch_end(self, trainer):
            if fails and trainer.epoch == 2:
                seen.append(trainer.history)
                raise RuntimeError("a callback's own error")

    model, criterion = network(), nn.MSELoss()
    sgd = optimizer(model.parameters(), 0.01)
    seen: list[History] = []
    with pytest.raises(RuntimeError, match="a callback's own error") if fails else contextlib.nullcontext():
        seen.append(fit(model, criterion, sgd, (X, T), epochs=2, validation=0.2, callbacks=[Failing()]))
    assert all(p.grad is None for p in model.parameters())
    for _ in range(2):
        sgd.zero_grad()
        criterion(model(X), T)
        model.backward(criterion.backward())
        sgd.step()
    for values in (seen[0].loss, *seen[0].metrics.values()):
        values.mul_(2)


def test_a_run_that_a_callback_stopped_out_of_turn_goes_on_bit_for_bit(tmp_path):
    class Stop(Callback):
        def on_step_end(self, trainer, loss):
            if trainer.epoch == 3:
                trainer.stop()

    def run(folder, *callbacks):
        falling = {"fall": lambda y, t: torch.full((2,), 1.0 / next(calls))}
        stopping = EarlyStopping("validation_fall", patience=9)
        options = {"metrics": falling, "early_stopping": stopping, "every": 3, "epochs": 9}
        return trained([3, 5], checkpoint=tmp_path / folder, callbacks=callbacks, **options)

    calls = itertools.count(1)
    _, history = run("parts", Stop())
    assert history.epochs == 4
    assert bool(history.metrics["validation_fall"][:, 3].isfinite().all()), "measured after the last epoch"
    assert history.best == [2, 2], "but early stopping listens every third epoch"
    _, resumed = run("parts")
    calls = itertools.count(1)
    _, whole = run("whole")
    assert resumed.best == whole.best == [8, 8]


def test_an_evaluation_leaves_each_part_in_its_mode():
    model = network(dropout=0.2)
    model[2].eval()
    Evaluation(X, T, nn.MSELoss())(model)
    assert [part.training for part in model] == [True, True, False, True, True]


@pytest.mark.parametrize("replicas", [None, 2])
def test_class_indices_in_batches_make_a_classification(replicas):
    seeds = range(replicas or 1)
    model = network(2) if replicas is None else nn.replicate(network(2), seeds)
    criterion, sgd = nn.MultiMarginLoss(replicas=replicas), optim.SGD(model.parameters(), 0.05)
    history = fit(model, criterion, sgd, Batches(X, LABELS, 20, seeds), epochs=1, metrics=None)
    assert "training_accuracy" in history.metrics


def test_mixed_precision_of_several_outputs_and_gradients():
    mixed, exact = Mixed(lstm := nn.LSTM(3, 4)), copy.deepcopy(lstm)
    x, dy, dc = torch.randn(5, 2, 3), torch.randn(5, 2, 4), torch.randn(1, 2, 4)
    y, (h, c) = mixed(x)
    assert {value.dtype for value in (y, h, c)} == {torch.float32}
    exact(x)
    dx, wanted = mixed.backward((dy, (None, dc))), exact.backward((dy, (None, dc)))
    assert dx.dtype is torch.float32
    assert float((dx - wanted).norm() / wanted.norm()) < 0.03


def test_mixed_precision_of_normalisations_alone():
    norm = nn.LayerNorm(1)
    model = nn.Sequential(norm)
    history = fit(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), (X, T), epochs=2, precision="bfloat16")
    assert bool(history.loss.isfinite().all())
    assert not torch.equal(torch.cat([p.value for p in norm.parameters()]), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"clip_norm": [1.0, 2.0, 3.0]}, "clip_norm"),
        ({"clip_value": -1.0}, "clip_value"),
        ({"data": Batches(X, T, 20, [5, 6]), "seeds": [0, 1]}, "seeds"),
        ({"early_stopping": np.float64(3)}, "patience"),
        ({"batch_size": 47}, "at least 2 samples in every batch, for model.2, got a batch of 1 of 48"),
    ],
)
def test_options_that_do_not_go_are_refused_before_the_first_step(options, message):
    model = nn.replicate(network(), [0, 1])
    before = copy.deepcopy(model.state_dict())
    data = options.get("data", (X, T))
    options = {"validation": None if "data" in options else 0.2, **options}
    options.pop("data", None)
    with pytest.raises(ArgumentError, match=message):
        fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters()), data, **options)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_data_frames_are_refused_by_name():
    pandas = pytest.importorskip("pandas")
    model = network()
    frame = pandas.DataFrame(X.numpy(), columns=["x"])
    with pytest.raises(ArgumentError, match="tensors or NumPy arrays, got DataFrame"):
        fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (frame, T))


def test_a_file_of_another_kind_in_the_folder_is_named(tmp_path):
    save_tensors(tmp_path / "checkpoint-1.safetensors", {"a": torch.ones(1)}, {"format": 1})
    with pytest.raises(OutputError, match="checkpoint-1"):
        trained([3], checkpoint=tmp_path)


def test_no_infinite_measure_is_the_best():
    stopping = EarlyStopping(patience=2)
    model = nn.Linear(1, 1, replicas=2)
    for epoch, values in enumerate(([1.0, 1.0], [-math.inf, 0.5], [0.8, math.nan])):
        stopping.update(epoch, torch.tensor(values), model)
    assert stopping.best.tolist() == [pytest.approx(0.8), 0.5]
    assert stopping.best_epoch.tolist() == [2, 1]


def test_arrays_that_cannot_be_written_are_trained_on_without_a_warning():
    x, t = X.numpy().copy(), T.numpy().copy()
    x.flags.writeable = t.flags.writeable = False  # as those of a DataFrame are
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (x, t), epochs=1, validation=(x, t))
    assert bool(history.loss.isfinite().all())
