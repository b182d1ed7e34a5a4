"""fit: from a model and data to a trained model, in one call."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.data import Batches, Inputs, Loader, are_several, split
from handgrad.errors import ArgumentError
from handgrad.metrics import Wanted, resolve
from handgrad.nn.averaging import AveragedModel
from handgrad.nn.binary_losses import BCEWithLogitsLoss
from handgrad.nn.classification_losses import CrossEntropyLoss, NLLLoss
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.slot import mapped, several
from handgrad.optim.arithmetic import Number
from handgrad.optim.lr_scheduler import LRScheduler
from handgrad.optim.optimizer import Optimizer
from handgrad.training.agreement import check_kinds, listed
from handgrad.training.callbacks import Callback, ProgressBar
from handgrad.training.checkpoints import Checkpoints
from handgrad.training.evaluation import Evaluation, Measure
from handgrad.training.history import History
from handgrad.training.stopping import EarlyStopping
from handgrad.training.trainer import Trainer
from handgrad.workers import noted

WHERE = "fit"
Samples = tuple[Inputs, Tensor, Tensor | None]
"""Inputs, targets and perhaps weights."""


def fit(
    model: Module,
    criterion: Loss,
    optimizer: Optimizer,
    data: Any,
    *,
    epochs: int = 10,
    steps: int | None = None,
    batch_size: int = 32,
    last: str = "keep",
    seeds: Sequence[int] | None = None,
    validation: Any = None,
    stratify: bool | None = None,
    metrics: Wanted = (),
    every: int = 1,
    early_stopping: EarlyStopping | int | None = None,
    schedule: LRScheduler | None = None,
    clip_norm: Number | None = None,
    clip_value: Number | None = None,
    accumulate: int = 1,
    average: AveragedModel | None = None,
    precision: str = "float32",
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> History:
    """Train a model, with R replicas or without, and return the history.

    Each replica is a run of its own: its seed decides how the data are split, in which order it sees them and what its
    dropout draws, early stopping watches it alone and gives it its own best weights.

    Ctrl-C or SIGTERM ends training after the epoch under way; the history says how many were finished, and
    `history.interrupted` tells, for a handler of your own is not called meanwhile. A second one ends it at once. With
    `checkpoint` a run that was stopped, even by kill -9, goes on where it was when it is called again from the same
    starting values, and ends bit for bit where it would have ended. As long as the process lives, the same call with
    the model, optimiser and schedule as they were left does so, too.

    Args:
        model: the network; it is trained in place and left in training mode.
        criterion: the loss, with the model's replicas.
        optimizer: of the model's parameters.
        data: (x, t) or (x, t, weights), tensors or NumPy arrays of N samples that all replicas share; a torch Dataset,
            whose samples are put together once; a DataLoader, or another iterable of batches; or `Batches`. In each of
            them x may be a tuple, ((a, b), t): the model is then called as model(a, b).
        epochs: how often all data are seen.
        steps: the optimiser's steps after which training ends, if the epochs are not over before.
        batch_size: samples in a batch, or all if there are fewer; a DataLoader has its own.
        last: what becomes of a short last batch: "keep", "drop" or "merge".
        seeds: one for each replica; 0, 1, 2 … by default.
        validation: a fraction that each replica leaves out, by its own seed, or data for all: (x, t), (x, t, weights),
            a Dataset, or a DataLoader, which is read once, into memory. The history then has "validation_loss", with
            the weights of the samples, and the metrics as "validation_…".
        stratify: leave a fraction out so that classes keep their proportions; by default where targets are class
            indices.
        metrics: names of `handgrad.metrics`, such as "accuracy" or ["rmse", "r2"], or functions of outputs (R, N, …)
            and targets (R, N, …) to (R,), with R = 1 for a model without replicas; None for all that suit the task,
            which is classification where the targets are class indices or the loss is one of logits. They are measured
            on the validation data; without any, on the training data, as "training_…". Of a model of several outputs
            functions get a tuple of them, and what has a name measures the first.
        every: measure after every so many epochs.
        early_stopping: how to stop each replica, or its patience in epochs of the validation loss.
        schedule, clip_norm, clip_value, accumulate, average, precision, callbacks: as of `Trainer`.
        checkpoint: a folder, or `Checkpoints`.
        progress: show a progress bar.

    Errors: ArgumentError, all before training, for data that are none of these, early stopping without validation
    data, and as `Trainer`, `Batches` and `split` say; DTypeError for seeds that are one number, and for a model, loss
    or optimiser of PyTorch's.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim, fit
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> model = nn.replicate(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), seeds=range(3))
        >>> adam = optim.Adam(model.parameters(), lr=0.02)
        >>> history = fit(model, nn.MSELoss(replicas=3), adam, (x, x**2), epochs=90, validation=0.25)
        >>> history.arrays()["validation_loss"].shape
        (90, 3)
        >>> bool((history.metrics["validation_loss"][:, -1] < 0.1).all())
        True
    """
    check_kinds(model, criterion, optimizer)
    seeds = None if seeds is None else listed(seeds, WHERE)
    if isinstance(data, (Batches, Loader)):
        if seeds is not None and seeds != data.seeds:
            raise ArgumentError(f"the seeds of the batches, {data.seeds}", str(seeds), "Leave seeds out.", WHERE)
        seeds = data.seeds
    seeds = list(range(replicas_of(model) or 1)) if seeds is None else seeds
    dtype = next((p.value.dtype for p in model.parameters()), torch.float32)
    whole = None if isinstance(data, (Batches, Loader)) else samples(data, dtype)
    rows: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
    if isinstance(validation, float):
        if whole is None:
            remedy = "Pass validation=(x, t), or the data as tensors."
            raise ArgumentError("data in memory to leave a fraction out of", type(data).__name__, remedy, WHERE)
        rows = split(whole[1], validation, seeds, stratify=_are_classes(whole[1]) if stratify is None else stratify)
    elif stratify:
        remedy = "Pass validation=0.2, say, or leave stratify out."
        got = "none" if validation is None else "data to validate on"
        raise ArgumentError("a fraction to leave out, with stratify=True", got, remedy, WHERE)
    labelled = whole is not None and _are_classes(whole[1])
    if isinstance(data, Batches):
        labelled = _are_classes(data.t[0] if data.own else data.t)
    measures = _measures(metrics, criterion, labelled, single=replicas_of(model) is None)
    batches: Batches | Loader = data
    if whole is not None:
        x, t, weights = whole
        count = len(t) if rows[0] is None else rows[0].shape[1]
        size = min(checks.positive_int("batch_size", batch_size, WHERE), count)
        batches = Batches(x, t, size, seeds, last=last, rows=rows[0], weights=weights)
    elif not isinstance(data, (Batches, Loader)):
        batches = Loader(data, seeds)
    evaluation: Evaluation | None = None
    if whole is not None and rows[1] is not None:
        x, t, weights = whole
        options: dict[str, Any] = {"weights": weights, "rows": rows[1], "prefix": "validation_"}
        evaluation = Evaluation(x, t, criterion, measures, **options)
    elif validation is not None:
        given = samples(validation, dtype) or samples(_read(Loader(validation, seeds)), dtype)
        assert given is not None
        x, t, weights = given
        evaluation = Evaluation(x, t, criterion, measures, weights=weights, prefix="validation_")
    elif measures:
        if isinstance(batches, Loader):
            raise ArgumentError("data to measure on", "only a loader", "Pass validation=(x, t).", WHERE)
        options = {"rows": batches.rows, "own": batches.own}
        evaluation = Evaluation(batches.x, batches.t, None, measures, prefix="training_", **options)
    stopping = early_stopping
    if stopping is not None and not isinstance(stopping, EarlyStopping):
        stopping = EarlyStopping(patience=stopping)
    watchable = ["loss", *(evaluation.names if evaluation else ())]
    if stopping is not None and stopping.monitor not in watchable:
        remedy = "Pass validation=0.2, say, or monitor one of these."
        got = stopping.monitor
        raise ArgumentError(f"early stopping to watch one of {', '.join(watchable)}", got, remedy, WHERE)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoints):
        checkpoint = Checkpoints(checkpoint)
    trainer = Trainer(
        model,
        criterion,
        optimizer,
        batches,
        epochs,
        steps=steps,
        metrics=evaluation,
        every=every,
        schedule=schedule,
        clip_norm=clip_norm,
        clip_value=clip_value,
        accumulate=accumulate,
        stopping=stopping,
        average=average,
        precision=precision,
        callbacks=[*callbacks, *([ProgressBar()] if progress else [])],
        checkpoints=checkpoint,
    )
    with noted(signal.SIGINT, signal.SIGTERM) as signals:
        return trainer.run(_Signalled(signals))


def _measures(wanted: Wanted, criterion: Loss, labelled: bool, *, single: bool) -> dict[str, Measure]:
    """The metrics as functions of outputs and targets of this model."""
    logits = isinstance(criterion, (CrossEntropyLoss, NLLLoss, BCEWithLogitsLoss))
    found = resolve(wanted, "classification" if labelled or logits else "regression")

    if not single:
        return found

    def one(measure: Measure) -> Measure:
        return lambda y, t: measure(*mapped(lambda v: v.unsqueeze(0), (y, t)))[0]

    return {name: one(measure) for name, measure in found.items()}


def _are_classes(t: Tensor) -> bool:
    """Whether targets (N, …) are class indices."""
    return t.ndim == 1 and not t.is_floating_point()


class _Signalled:
    def __init__(self, signals: list[int]) -> None:
        self.signals = signals

    def is_set(self) -> bool:
        return bool(self.signals)


def samples(data: Any, dtype: torch.dtype) -> Samples | None:
    """Inputs, targets and weights, or None for these, floating-point ones of a dtype; None for an iterable of batches.

    NumPy arrays of that dtype are not copied, unless they are read-only.
    """
    tensors: list[Any]
    if isinstance(data, (tuple, list)) and len(data) in (2, 3) and are_several([*_inputs(data[0]), *data[1:]]):
        tensors = [mapped(_tensor, _inputs(data[0])), *map(_tensor, data[1:])]
    elif hasattr(data, "tensors") and hasattr(data, "__getitem__"):  # a TensorDataset
        tensors = list(data.tensors)
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (tuple, list, str, dict)):
        checks.positive_int("the number of samples", len(data), WHERE)
        drawn = [data[i] for i in range(len(data))]
        if not isinstance(drawn[0], (tuple, list)):
            remedy = "Let each sample be (x, t), or (x, t, weight)."
            raise ArgumentError("inputs and targets", f"{type(drawn[0]).__name__} as a sample", remedy, WHERE)
        tensors = [_stacked(column) for column in zip(*drawn)]
    elif hasattr(data, "__iter__") and not isinstance(data, str):
        return None
    else:
        remedy = "Pass (x, t), a Dataset, a DataLoader or Batches."
        raise ArgumentError("data to train or measure on", type(data).__name__, remedy, WHERE)
    if len(tensors) not in (2, 3):
        remedy = "Let each sample be (x, t), or (x, t, weight)."
        raise ArgumentError("inputs and targets", f"{len(tensors)} values a sample", remedy, WHERE)
    x, t, *weights = mapped(lambda v: v.to(dtype) if v.is_floating_point() else v, tuple(tensors))
    if isinstance(t, tuple):
        remedy = "Join them, and let the loss take them apart."
        raise ArgumentError("targets in one tensor", f"{len(t)} of them", remedy, WHERE)
    return x if len(several(x)) > 1 else several(x)[0], t, weights[0] if weights else None


def _read(loader: Loader) -> tuple[Any, ...]:
    """All that a loader yields in an epoch, as inputs, targets and perhaps weights."""
    return tuple(map(_joined, zip(*loader.epoch(0))))


def _joined(parts: Sequence[Any]) -> Any:
    """Tensors of several batches as one, or as several where a batch has several inputs."""
    return tuple(map(_joined, zip(*parts))) if isinstance(parts[0], tuple) else torch.cat(list(parts))


def _inputs(x: Any) -> tuple[Any, ...]:
    """The inputs of a model, one or several."""
    return tuple(x) if are_several(x) else (x,)


def _tensor(value: Any) -> Tensor:
    """A tensor or array as a tensor; of an array that is read-only, as a DataFrame's, a copy: PyTorch has none such."""
    if hasattr(value, "to_numpy"):
        raise ArgumentError("tensors or NumPy arrays", type(value).__name__, "Pass x.to_numpy().", WHERE)
    return torch.as_tensor(value if getattr(getattr(value, "flags", None), "writeable", True) else value.copy())


def _stacked(column: Sequence[Any]) -> Any:
    """What the samples of a Dataset have in one place, as a tensor, or as several where each has several."""
    if are_several(column[0]):
        return tuple(map(_stacked, zip(*column)))
    return torch.stack([_exact(value) for value in column])


def _exact(value: Any) -> Tensor:
    """A tensor, array or Python's numbers, which have the digits of float64, as a tensor."""
    found = torch.as_tensor(value)
    own = hasattr(value, "dtype") or not found.is_floating_point()
    return found if own else torch.as_tensor(value, dtype=torch.float64)
