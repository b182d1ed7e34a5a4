"""History: what training R replicas for E epochs gave."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ShapeError
from handgrad.optional import require
from handgrad.statistics import band


@dataclass
class History:
    """What training R replicas for E epochs gave.

    Numbers of a diverged replica are NaN from that epoch on, those of one that was stopped early from the epoch after.

    Example:
        >>> history = History.empty(2, 3, ("validation_loss",))
        >>> history.epochs = 3
        >>> history.arrays()["loss"].shape
        (3, 2)
    """

    loss: Tensor
    """(R, E): mean training loss over the batches of an epoch."""
    metrics: dict[str, Tensor]
    """(R, E) each: after an epoch, in evaluation mode; NaN after epochs that were not measured."""
    diverged: list[dict[str, Any] | None]
    """For each replica None, or the epoch, step and first layer whose output was not finite, all counted from 0."""
    seconds: float = 0.0
    """Time spent in training steps; evaluation is not counted."""
    epochs: int = 0
    """Epochs that were finished: fewer than asked for if training was stopped."""
    interrupted: bool = False
    """Whether training was asked to stop, by Ctrl-C say, before it came to its end."""
    best: list[int | None] = field(default_factory=list)
    """With early stopping the epoch, from 0, of each replica's best weights; None if no measure of it was finite."""

    @staticmethod
    def joined(parts: list[History]) -> History:
        """The history of all replicas from those of groups of them; their seconds add up.

        Its epochs are those of the group that went on longest, or of those interrupted the shortest.
        """
        cut = [part.epochs for part in parts if part.interrupted]
        best = any(part.best for part in parts)  # a group that was not begun has none
        return History(
            torch.cat([part.loss for part in parts]),
            {name: torch.cat([part.metrics[name] for part in parts]) for name in parts[0].metrics},
            [note for part in parts for note in part.diverged],
            sum(part.seconds for part in parts),
            min(cut) if cut else max(part.epochs for part in parts),
            bool(cut),
            [epoch for part in parts for epoch in part.best or [None] * len(part.loss)] if best else [],
        )

    @staticmethod
    def empty(replicas: int, epochs: int, metrics: tuple[str, ...]) -> History:
        nan = torch.full((replicas, epochs), math.nan, dtype=torch.float64, device="cpu")
        return History(nan, {name: nan.clone() for name in metrics}, [None] * replicas)

    def note(self, name: str, epoch: int, values: Any) -> None:
        """Put a metric's numbers after an epoch, one for each replica, into its place.

        Errors: ShapeError for another count of numbers.
        """
        values, R = torch.as_tensor(values, device="cpu"), len(self.loss)
        if values.numel() != R:
            remedy = "Reduce over samples and outputs alone: a replica's number is its own."
            raise ShapeError(f"a number for each of the {R} replicas", str(tuple(values.shape)), remedy, name)
        if name not in self.metrics:
            self.metrics[name] = torch.full_like(self.loss, math.nan)
        self.metrics[name][:, epoch] = values.reshape(R)

    def resized(self, epochs: int) -> History:
        """The same with room for so many epochs."""

        def fitted(values: Tensor) -> Tensor:
            other = torch.full((len(values), epochs), math.nan, dtype=values.dtype, device=values.device)
            count = min(epochs, values.shape[1])
            other[:, :count] = values[:, :count]
            return other

        metrics = {name: fitted(values) for name, values in self.metrics.items()}
        return replace(self, loss=fitted(self.loss), metrics=metrics)

    def arrays(self) -> dict[str, Any]:
        """NumPy arrays (E, R) of the training loss and the metrics, for the epochs that were finished."""
        return {name: values[:, : self.epochs].mT.numpy() for name, values in self._named().items()}

    def to_pandas(self) -> Any:
        """A DataFrame of one row for each epoch and replica, its columns the training loss and the metrics.

        Errors: MissingExtraError without pandas.
        """
        pandas = require("pandas", "pandas")
        replicas = range(len(self.loss))
        index = pandas.MultiIndex.from_product([range(self.epochs), replicas], names=["epoch", "replica"])
        return pandas.DataFrame({name: values.reshape(-1) for name, values in self.arrays().items()}, index)

    def __repr__(self) -> str:
        """In a line, mean ± std over the replicas: at their best epochs, where early stopping knows them, or the last.

        Example:
            >>> History(torch.tensor([[3.0, 1.0], [4.0, 2.0]]), {}, [None, None], seconds=0.4, epochs=2)
            History(2 epochs of 2 replicas in 0.4 s; of the last one loss 1.50 ± 0.71)
        """
        R, E = len(self.loss), self.epochs
        known = [(r, epoch) for r, epoch in enumerate(self.best) if epoch is not None]
        at = known or ([(r, E - 1) for r in range(R)] if E else [])
        epochs = sorted(epoch for _, epoch in known)
        when = f"each one's best, {epochs[0]} to {epochs[-1]}," if epochs else "the last one"
        numbers = [f"{name} {band(float(values[place]) for place in at)}" for name, values in self._named().items()]
        gone = sum(note is not None for note in self.diverged)
        notes = [
            f"{E} epoch{'s' * (E != 1)} of {R} replica{'s' * (R != 1)} in {self.seconds:.1f} s",
            f"of {when} {', '.join(numbers)}" if at else "",
            f"{gone} diverged" if gone else "",
            "interrupted" if self.interrupted else "",
        ]
        return f"History({'; '.join(filter(None, notes))})"

    def _named(self) -> dict[str, Tensor]:
        return {"loss": self.loss, **self.metrics}
