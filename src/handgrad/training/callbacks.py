"""Callbacks: what is called while a Trainer trains."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from handgrad.optional import require
from handgrad.statistics import band, mean, std

if TYPE_CHECKING:
    from handgrad.training.trainer import Trainer


class Callback:
    """Base of the callbacks; override what you need.

    A callback may read everything of the trainer (`model`, `optimizer`, `criterion`, `batches`, `history`, `epoch`) and
    call `trainer.stop()`, after which the epoch under way is the last. What it raises ends training. It may set values,
    freeze and change options and modes of layers, but not exchange these: the optimiser steps those of the old ones.

    Errors: StateError in training for a model that has other parameters than when it began.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> from handgrad.data import Batches
        >>> from handgrad.training import Callback, Trainer
        >>> class EnoughSeen(Callback):
        ...     def on_epoch_end(self, trainer):
        ...         if trainer.epoch == 3:
        ...             trainer.stop()
        >>> model = nn.Sequential(nn.Linear(1, 1, replicas=2))
        >>> sgd, x = optim.SGD(model.parameters()), torch.ones(8, 1)
        >>> batches = Batches(x, x, 4, seeds=[0, 1])
        >>> Trainer(model, nn.MSELoss(replicas=2), sgd, batches, epochs=9, callbacks=[EnoughSeen()]).run().epochs
        3
    """

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch, or the first after a checkpoint was loaded."""

    def on_step_end(self, trainer: Trainer, loss: Tensor) -> None:
        """After each batch, with its loss, () or (R,); in PyTorch's inference mode, for speed, the others are not."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After each epoch, when `trainer.history` has its numbers and `trainer.epoch` counts it."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last epoch, with the best weights in place if early stopping watched; or after an error."""


def ours(made: object) -> bool:
    """Whether something is of a class of handgrad's own, so that what it does is known."""
    return type(made).__module__.startswith("handgrad.")


def changing(callbacks: Sequence[Callback]) -> bool:
    """Whether one of them may change what it finds: all but handgrad's own, which only tell."""
    return not all(map(ours, callbacks))


def stepwise(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that are called after each batch."""
    return [callback for callback in callbacks if type(callback).on_step_end is not Callback.on_step_end]


class ProgressBar(Callback):
    """A line on the terminal: epochs, the mean and band of the latest numbers over the replicas, time left.

    Args:
        console: of rich; the standard error by default.

    Errors: MissingExtraError without rich.
    """

    def __init__(self, console: Any = None) -> None:
        self.console = console

    def on_start(self, trainer: Trainer) -> None:
        progress = require("rich.progress", "cli")
        console = self.console or require("rich.console", "cli").Console(stderr=True)
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
        )
        self.bar = progress.Progress(*columns, console=console, transient=True)
        self.task = self.bar.add_task("training", total=trainer.epochs, completed=trainer.epoch)
        self.bar.start()

    def on_epoch_end(self, trainer: Trainer) -> None:
        latest = {name: values[-1].tolist() for name, values in trainer.history.arrays().items()}
        bands = [
            f"{name} {band(values)}"
            for name, values in latest.items()
            if "/" not in name and any(map(math.isfinite, values))
        ]
        self.bar.update(self.task, completed=trainer.epoch, description="  ".join(bands[:3]))

    def on_end(self, trainer: Trainer) -> None:  # noqa: ARG002
        self.bar.stop()


class TensorBoard(Callback):
    """Write the history as TensorBoard scalars: mean and standard deviation over the replicas, and each replica's own.

    Args:
        folder: for the event files.
        each: how many replicas have lines of their own at most.

    Errors: MissingExtraError without tensorboard.
    """

    def __init__(self, folder: str | os.PathLike[str], each: int = 20) -> None:
        self.folder, self.each = folder, each

    def on_start(self, trainer: Trainer) -> None:  # noqa: ARG002
        require("tensorboard", "tensorboard")
        self.writer: Any = require("torch.utils.tensorboard", "tensorboard").SummaryWriter(self.folder)

    def on_epoch_end(self, trainer: Trainer) -> None:
        for name, values in trainer.history.arrays().items():
            row = values[-1].tolist()
            finite = [value for value in row if math.isfinite(value)]
            if not finite:
                continue
            self.writer.add_scalar(f"{name}/mean", mean(finite), trainer.epoch)
            if len(finite) > 1:  # of one that is left there is no spread
                self.writer.add_scalar(f"{name}/std", std(finite), trainer.epoch)
            if len(row) > 1:
                for r, value in list(enumerate(row))[: self.each]:
                    self.writer.add_scalar(f"{name}/replica {r}", value, trainer.epoch)

    def on_end(self, trainer: Trainer) -> None:  # noqa: ARG002
        self.writer.close()
