"""ReduceLROnPlateau: the schedule that listens to a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.optim.arithmetic import Number
from handgrad.optim.lr_scheduler.schedule import LRScheduler, Rate, plain, tensor
from handgrad.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    r"""Reduce the learning rate when a metric has stopped to improve.

    $$\eta \leftarrow \max(\eta \cdot \text{factor}, \eta_\min) \quad
      \text{after more than patience steps without } m < \text{best} \cdot (1 - \text{threshold})$$

    With a metric of R numbers each replica is watched on its own: its learning rate falls when its own metric stalls,
    as it does alone. A metric that is NaN is no improvement.

    Args:
        optimizer: whose learning rates are set.
        mode: "min" for a metric that should fall, "max" for one that should rise.
        factor: below 1.
        patience: steps without improvement that are let pass.
        threshold: what counts as improvement.
        threshold_mode: "rel", best · (1 ∓ threshold), or "abs", best ∓ threshold.
        cooldown: steps after a reduction during which nothing is counted.
        min_lr: η_min, one number or a tensor of R; or a list of them, one for each group.
        eps: a smaller reduction is left out.

    factor, patience, threshold, cooldown and eps may each be R numbers, one for each replica.

    Attributes:
        best, num_bad_epochs, cooldown_counter: tensors, of no dimensions or (R,).

    Errors: ArgumentError for an option out of range or an unknown mode, or a metric that is neither one number nor R.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1, replicas=2).parameters(), lr=0.1)
        >>> schedule = optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=0)
        >>> for losses in ([3.0, 3.0], [2.0, 3.0]):  # the second replica stalls
        ...     schedule.step(torch.tensor(losses))
        >>> schedule.get_last_lr()
        [tensor([0.1000, 0.0100], dtype=torch.float64)]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: Number = 0.1,
        patience: Number = 10,
        threshold: Number = 1e-4,
        threshold_mode: str = "rel",
        cooldown: Number = 0,
        min_lr: Number | Sequence[Number] = 0,
        eps: Number = 1e-8,
    ) -> None:
        where = "ReduceLROnPlateau"
        self.min_lrs: list[Rate] = self.each(optimizer, "min_lr", min_lr)
        self.factor = self.number(optimizer, "factor", factor, most=1)
        if bool((tensor(self.factor) == 1).any()):
            raise ArgumentError("factor below 1", str(factor), "Pass factor=0.1, say.", where)
        self.mode = checks.one_of("mode", mode, ["min", "max"], where)
        self.threshold_mode = checks.one_of("threshold_mode", threshold_mode, ["rel", "abs"], where)
        self.patience = self.number(optimizer, "patience", patience)
        self.threshold = self.number(optimizer, "threshold", threshold)
        self.cooldown = self.number(optimizer, "cooldown", cooldown)
        self.eps = self.number(optimizer, "eps", eps)
        self.optimizer = optimizer
        self.last_epoch = 0
        self.best = tensor(math.inf if mode == "min" else -math.inf)
        self.num_bad_epochs, self.cooldown_counter = tensor([0.0, 0.0])
        self.set([group["lr"] for group in optimizer.param_groups])

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take note of the metric, one number or R, and reduce the learning rates for which it is time."""
        m = tensor(self.number(self.optimizer, "metrics", metrics, least=None))
        for name in ("best", "num_bad_epochs", "cooldown_counter"):  # plain numbers in a state of PyTorch's
            setattr(self, name, tensor(getattr(self, name)))
        better = self.better(m)
        self.best = torch.where(better, m, self.best)
        cooling = self.cooldown_counter > 0
        bad = torch.where(better | cooling, 0.0, self.num_bad_epochs + 1)
        stalled = bad > self.patience
        self.num_bad_epochs = torch.where(stalled, 0.0, bad)
        self.cooldown_counter = torch.where(stalled, self.cooldown, self.cooldown_counter - cooling.double())
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        groups = self.groups(self.optimizer)
        self.set([self.reduced(group["lr"], least, stalled) for group, least in zip(groups, self.min_lrs)])

    def better(self, m: Tensor) -> Tensor:
        """Whether a metric is better than the best so far by more than the threshold."""
        sign = 1 if self.mode == "min" else -1
        bound = (
            self.best * (1 - sign * self.threshold)
            if self.threshold_mode == "rel"
            else self.best - sign * self.threshold
        )
        return sign * m < sign * bound

    def reduced(self, lr: Rate, least: Rate, stalled: Tensor) -> Rate:
        """A group's learning rate where its replica has stalled, reduced, and as it was elsewhere."""
        old = tensor(lr)
        new = torch.maximum(old * self.factor, tensor(least))
        return plain(torch.where(stalled & (old - new > self.eps), new, old))
