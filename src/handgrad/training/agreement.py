"""Agreement: what a run is made of goes together, before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from handgrad import checks
from handgrad.data import Batches, Loader
from handgrad.errors import ArgumentError, DTypeError, StateError
from handgrad.nn.averaging import AveragedModel
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.parameter import Parameter
from handgrad.nn.utils import bound
from handgrad.optim.lbfgs import LBFGS
from handgrad.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau
from handgrad.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from handgrad.training.trainer import Trainer


def agree(trainer: Trainer) -> None:
    """Raise unless batches, loss, optimiser and schedule are those of the model.

    Errors: ArgumentError within torch.autocast, for seeds or a loss of other replicas than the model's, a loss that is
    not reduced, LBFGS, an optimiser of other parameters, a schedule of another optimiser, one that waits for a measure
    to rise which should fall, OneCycleLR that ends before training does, or a bound of clipping out of range;
    DTypeError as `check_kinds` says; and what batches and loss find of the model.
    """
    model, criterion, optimizer, batches = trainer.model, trainer.criterion, trainer.optimizer, trainer.batches
    check_kinds(model, criterion, optimizer)
    R = replicas_of(model)
    if any(checks.autocast(p.value) for p in model.parameters()):
        raise ArgumentError("training outside of torch.autocast", "training within it", checks.OUTSIDE, "Trainer")
    if (R or 1) != batches.replicas:
        got, remedy = f"{batches.replicas} seeds", "Pass one seed for each replica of the model."
        raise ArgumentError(f"batches for {R or 1} replicas", got, remedy, "Trainer")
    # one without replicas would average over them; a criterion of the user's own need not know of any
    if isinstance(criterion, Loss) and criterion.replicas != R:
        got, remedy = f"one {_with(criterion.replicas)}", f"Build the loss {_with(R)}."
        raise ArgumentError(f"a loss {_with(R)}, as the model", got, remedy, "Trainer")
    if getattr(criterion, "reduction", None) == "none":
        remedy = 'Build it with reduction="mean", say; samples may have weights.'
        raise ArgumentError(
            "a loss of one number", f'{type(criterion).__name__} with reduction="none"', remedy, "Trainer"
        )
    if isinstance(optimizer, LBFGS):
        remedy = "Call optimizer.step(closure) in a loop of your own, or choose another, such as Adam."
        raise ArgumentError("an optimiser of one gradient a step", "LBFGS", remedy, "Trainer")
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if trained and trained.isdisjoint(map(id, model.parameters())):
        remedy = "Build the optimiser of model.parameters(), after replicate or stack has made the model."
        raise ArgumentError("an optimiser of parameters of the model", "other parameters alone", remedy, "Trainer")
    if trainer.schedule is not None:
        _scheduled(trainer, trainer.schedule)
    for name in ("clip_norm", "clip_value"):
        if getattr(trainer, name) is not None:
            bound(name, getattr(trainer, name), R, "Trainer")
    average: Any = trainer.average
    if average is not None:
        remedy = "Pass average=AveragedModel(model)."
        if not isinstance(average, AveragedModel):
            raise DTypeError("an AveragedModel", type(average).__name__, remedy, "Trainer")
        if _shapes(average.module) != _shapes(model):
            raise ArgumentError("an average of the model", "one of another network", remedy, "Trainer")
    once = isinstance(batches, Loader) and isinstance(batches.loader, Iterator)
    if once and trainer.epochs > 1 and trainer.steps is None:
        remedy = "Pass a DataLoader or a list, which begin anew, or epochs=1."
        raise ArgumentError(f"batches for {trainer.epochs} epochs", "an iterator, which ends once", remedy, "Trainer")
    batches.check(model)
    if isinstance(criterion, Loss):
        criterion.check(model)


def check_kinds(model: Any, criterion: Any, optimizer: Any) -> None:
    """Raise for what is PyTorch's, or a function, in the place of a model, loss or optimiser.

    A loss of the user's own need not be derived from Loss; it has a backward, which PyTorch's have not.
    """
    lossy = hasattr(criterion, "backward") and not isinstance(criterion, type)
    own = "Build it from handgrad.{0}, or derive it from {0}.{1}.".format
    for given, fits, expected, remedy in (
        (model, isinstance(model, Module), "a handgrad network", f"{own('nn', 'Module')} Or use from_torch."),
        (criterion, lossy, "a loss with a backward", own("nn", "Loss")),
        (optimizer, isinstance(optimizer, Optimizer), "an optimiser of handgrad.optim", own("optim", "Optimizer")),
    ):
        if not fits:
            raise DTypeError(expected, checks.kind(given), remedy, "Trainer")


def _scheduled(trainer: Trainer, schedule: LRScheduler) -> None:
    optimizer, stopping, batches = trainer.optimizer, trainer.stopping, trainer.batches
    if schedule.optimizer is not optimizer:
        got, remedy = f"{type(schedule).__name__} of another", "Build the schedule of the optimiser that is passed."
        raise ArgumentError("a schedule of the optimiser", got, remedy, "Trainer")
    if isinstance(schedule, ReduceLROnPlateau):
        rising = any(group.get("maximize") for group in optimizer.param_groups)
        watched, mode = ("the training loss", "max" if rising else "min")
        if stopping is not None:
            watched, mode = stopping.monitor, stopping.mode
        if schedule.mode != mode:
            remedy = f"Pass it mode={mode!r}; with early stopping it listens to what that watches."
            expected = f"ReduceLROnPlateau to watch {watched} with mode={mode!r}"
            raise ArgumentError(expected, repr(schedule.mode), remedy, "Trainer")
    # early stopping may end training before
    if (
        isinstance(schedule, OneCycleLR)
        and not schedule.last_epoch
        and stopping is None
        and isinstance(batches, Batches)
    ):
        steps = trainer.epochs * -(-len(batches) // trainer.accumulate)
        steps = min(steps, trainer.steps or steps)
        if steps > schedule.total_steps:
            remedy = f"Build it with total_steps={steps}."
            raise ArgumentError(f"OneCycleLR of at least {steps} steps", str(schedule.total_steps), remedy, "Trainer")


def check_names(names: Any, monitor: str) -> None:
    """Raise unless measures have other names than the training loss, and one that is to be watched is among them.

    The names that a function gives are not known before it is called.

    Errors: ArgumentError for "loss", or for another measure to watch.
    """
    if not isinstance(names, Iterable):
        return
    if "loss" in names:
        remedy = 'Give it another, by Evaluation(…, prefix="test_"), say.'
        raise ArgumentError("measures of other names than the training loss", "loss", remedy, "Trainer")
    if monitor not in ("loss", *names):
        expected = f"early stopping to watch one of {', '.join(['loss', *names])}"
        raise ArgumentError(expected, monitor, "Name one of these, or measure it.", "EarlyStopping")


def check_same(model: Module, parameters: list[Parameter]) -> None:
    """Raise unless a model has the parameters that its training began with, which the optimiser steps.

    Errors: StateError for others, as of a layer that a callback has exchanged.
    """
    known, named = {id(p) for p in parameters}, list(model.named_parameters())
    if {id(p) for _, p in named} != known:
        others = ", ".join(name for name, p in named if id(p) not in known)
        remedy = "Exchange layers after training, and train again with an optimiser of the new ones."
        raise StateError("the parameters that training began with", others or "fewer", remedy, "a callback")


def _shapes(model: Module) -> dict[str, tuple[int, ...]]:
    return {name: p.shape for name, p in model.named_parameters()}


def listed(seeds: Any, where: str) -> list[int]:
    """Seeds as a list.

    Errors: DTypeError for what is no sequence, such as one number.
    """
    if not isinstance(seeds, Iterable):
        remedy = f"Pass one for each replica, seeds=range(R), say, or seeds=[{seeds!r}] for one."
        raise DTypeError("a sequence of seeds", repr(seeds), remedy, where)
    return list(seeds)


def _with(replicas: int | None) -> str:
    return "without replicas" if replicas is None else f"with replicas={replicas}"
