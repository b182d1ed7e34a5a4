"""EarlyStopping: each replica's best weights, and when it is time to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.module import Module


class EarlyStopping:
    """Stop a replica when a measure has not improved for some epochs, and give it back its best weights.

    Every replica is watched on its own, and ends with the weights that it would have alone: its best, or those of its
    last epoch. One that has stopped is still computed with its group, but its numbers no longer count; training ends
    when all have stopped.

    Args:
        monitor: the name of the measure.
        patience: epochs without improvement after which a replica stops.
        min_delta: what counts as improvement.
        mode: "min" for a measure that should fall, "max" for one that should rise.
        restore_best: False gives each replica the weights of its last epoch, as does a measure that was never finite.

    Attributes:
        best: the best value of each replica.
        best_epoch: its epoch, −1 as long as no value was finite.
        stopped: whether it is time.

    Errors: ArgumentError for a patience or min_delta out of range, or an unknown mode.

    Example:
        >>> from handgrad import nn
        >>> stopping = EarlyStopping(patience=2)
        >>> model = nn.Linear(1, 1, replicas=2)
        >>> for epoch, losses in enumerate([[3.0, 3.0], [2.0, 4.0], [1.0, 4.0]]):
        ...     stopping.update(epoch, torch.tensor(losses), model)
        >>> stopping.best_epoch.tolist(), stopping.stopped.tolist()
        ([2, 0], [False, True])
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ) -> None:
        self.monitor = monitor
        self.patience = checks.positive_int("patience", patience, "EarlyStopping")
        self.min_delta = checks.at_least("min_delta", min_delta, 0, "EarlyStopping")
        self.mode = checks.one_of("mode", mode, ("min", "max"), "EarlyStopping")
        self.restore_best = restore_best
        self.reset()

    def reset(self) -> None:
        """Forget everything seen: training begins."""
        self.best = self.best_epoch = self.stopped = torch.empty(0)
        self.weights: list[Tensor] = []

    @property
    def over(self) -> bool:
        """Whether it is time for all replicas."""
        return self.stopped.numel() > 0 and bool(self.stopped.all())

    def update(self, epoch: int, values: Tensor, *models: Module) -> None:
        """Take note of the measure after an epoch, (R,), and of the weights of replicas that have improved.

        With several models, such as one and its average, the weights are those of all.
        """
        values, sign = values.detach().double().reshape(-1), 1 if self.mode == "min" else -1
        if not self.best.numel():
            self.best = torch.full_like(values, sign * math.inf)
            self.best_epoch = torch.full_like(values, -1, dtype=torch.long)
            self.stopped = torch.zeros_like(values, dtype=torch.bool)
        better = (sign * values < sign * self.best - self.min_delta) & values.isfinite() & ~self.stopped
        self.best = torch.where(better, values, self.best)
        self.best_epoch = torch.where(better, epoch, self.best_epoch)
        ending = (epoch - self.best_epoch >= self.patience) & ~self.stopped
        self.stopped = self.stopped | ending
        taken = better | (ending & (self.best_epoch < 0)) if self.restore_best else ending
        if bool(taken.any()):
            self._take(taken, models)

    def _take(self, taken: Tensor, models: Sequence[Module]) -> None:
        tensors = weights_of(models)
        if not self.weights:
            self.weights = [value.clone() for value in tensors]
            return
        for kept, value in zip(self.weights, tensors):
            if len(taken) == 1:
                kept.copy_(value)
            else:
                kept[taken] = value[taken]

    def restore(self, *models: Module) -> None:
        """Put back each replica's best weights, or those that it stopped with; one without any keeps what it has."""
        if not self.weights:
            return
        found = self.stopped | (self.best_epoch >= 0) if self.restore_best else self.stopped
        for kept, value in zip(self.weights, weights_of(models)):
            if len(found) == 1:
                value.copy_(kept)
            else:
                value[found] = kept[found]

    def identity(self) -> dict[str, Any]:
        """What tells this early stopping from another: all but its state."""
        return {**vars(self), **dict.fromkeys(self.state_dict())}

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, for a checkpoint."""
        return {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.best, self.best_epoch, self.stopped = state["best"], state["best_epoch"], state["stopped"]
        self.weights = list(state["weights"])


def weights_of(models: Sequence[Module]) -> list[Tensor]:
    """Every value of models that their states have: parameters and buffers."""
    return [value for m in models for value in (*(p.value for p in m.parameters()), *m.buffers())]
