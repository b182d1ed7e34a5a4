"""Agreement: what a run is made of goes together, before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from handgrad.data import Batches, Loader
from handgrad.errors import ArgumentError, DTypeError
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from handgrad.optim.optimizer import Optimizer
from handgrad.training.evaluation import replicas_of
from handgrad.training.stopping import EarlyStopping


def agree(
    model: Module,
    criterion: Loss,
    optimizer: Optimizer,
    batches: Batches | Loader,
    schedule: LRScheduler | None,
    stopping: EarlyStopping | None,
) -> None:
    """Raise unless batches, loss, optimiser and schedule are those of the model.

    Errors: ArgumentError for seeds or a loss of other replicas than the model's, an optimiser of other parameters, a
    schedule of another optimiser, or one that waits for a measure to rise which should fall; and what batches and loss
    find of the model.
    """
    R = replicas_of(model)
    if (R or 1) != batches.replicas:
        got, remedy = f"{batches.replicas} seeds", "Pass one seed for each replica of the model."
        raise ArgumentError(f"batches for {R or 1} replicas", got, remedy, "Trainer")
    # one without replicas would average over them; a criterion of the user's own need not know of any
    if isinstance(criterion, Loss) and criterion.replicas != R:
        got, remedy = f"one {_with(criterion.replicas)}", f"Build the loss {_with(R)}."
        raise ArgumentError(f"a loss {_with(R)}, as the model", got, remedy, "Trainer")
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if trained and trained.isdisjoint(map(id, model.parameters())):
        remedy = "Build the optimiser of model.parameters(), after replicate or stack has made the model."
        raise ArgumentError("an optimiser of parameters of the model", "other parameters alone", remedy, "Trainer")
    if schedule is not None and schedule.optimizer is not optimizer:
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
    batches.check(model)
    criterion.check(model)


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
