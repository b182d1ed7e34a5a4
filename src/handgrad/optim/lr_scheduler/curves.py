"""Schedules along a cosine, and the one for weight averaging."""

from __future__ import annotations

import math
from collections.abc import Sequence

from handgrad import checks
from handgrad.optim.arithmetic import Number
from handgrad.optim.lr_scheduler.schedule import LRScheduler, Rate, plain
from handgrad.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    r"""Let the learning rate fall to η_min along half a cosine, and rise again.

    $$\eta_t = \eta_\min + \frac{1}{2} (\eta - \eta_\min) \left( 1 + \cos \frac{\pi t}{T_\max} \right)$$

    Args:
        optimizer: whose learning rates are set.
        T_max: steps down to η_min; as many more lead back to η.
        eta_min: η_min, one number or R.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for T_max below 1 or a negative η_min.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts, as torch.optim.lr_scheduler has it.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=4)
        >>> [schedule.step() or round(schedule.get_last_lr()[0], 3) for _ in range(4)]
        [0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: Number = 0.0, last_epoch: int = -1) -> None:
        self.T_max = checks.positive_int("T_max", T_max, "CosineAnnealingLR")
        self.eta_min = self.number(optimizer, "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: Rate, t: float, group: int) -> Rate:  # noqa: ARG002
        return self.eta_min + (base - self.eta_min) * ((1 + math.cos(math.pi * t / self.T_max)) / 2)

    def led(self, base: Rate, last: Rate, lr: Rate, floor: Rate = 0.0) -> Rate:  # noqa: ARG002
        return super().led(base, last, lr, self.eta_min)


class CosineAnnealingWarmRestarts(LRScheduler):
    r"""Let the learning rate fall to η_min along half a cosine, then start again at η, each time T_mult times as long.

    $$\eta_t = \eta_\min + \frac{1}{2} (\eta - \eta_\min) \left( 1 + \cos \frac{\pi T_\text{cur}}{T_i} \right), \quad
      T_i = T_0 T_\text{mult}^i, \quad T_\text{cur} = t - \sum_{j<i} T_j$$

    `step(epoch)` may be called after each batch with a part of an epoch, such as 2.5.

    Args:
        optimizer: whose learning rates are set.
        T_0: steps until the first restart.
        T_mult: what each period is longer than the last by.
        eta_min: η_min, one number or R.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for T_0 or T_mult below 1 or a negative η_min.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, T_0=2)
        >>> [schedule.step() or round(schedule.get_last_lr()[0], 3) for _ in range(4)]
        [0.5, 1.0, 0.5, 1.0]
    """

    goes_on = False

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: Number = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = checks.positive_int("T_0", T_0, "CosineAnnealingWarmRestarts")
        self.T_mult = checks.positive_int("T_mult", T_mult, "CosineAnnealingWarmRestarts")
        self.eta_min = self.number(optimizer, "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: Rate, t: float, group: int) -> Rate:  # noqa: ARG002
        period = self.T_0
        if self.T_mult == 1:
            t = t % period
        while t >= period:
            t, period = t - period, period * self.T_mult
        return self.eta_min + (base - self.eta_min) * ((1 + math.cos(math.pi * t / period)) / 2)


class SWALR(LRScheduler):
    r"""Lead the learning rate to a constant one, at which the weights are averaged.

    $$\eta_t = \alpha \eta_\text{swa} + (1 - \alpha) \eta, \quad
      \alpha = \frac{1 - \cos \pi p}{2} \text{ or } p, \quad
      p = \min\left( \frac{t}{\text{anneal\_epochs}}, 1 \right)$$

    Here η is the learning rate that the optimiser has when the first step is taken: another schedule may lead there.

    Args:
        optimizer: whose learning rates are set.
        swa_lr: η_swa, one number or a tensor of R; or a list of them, one for each group.
        anneal_epochs: steps that lead to η_swa; 0 sets it at once.
        anneal_strategy: "cos", or "linear" for α = p.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a negative swa_lr or anneal_epochs, an unknown strategy, or a list of another length than
    that of the groups.

    Source: Izmailov et al. 2018, arXiv:1803.05407, as torch.optim.swa_utils.SWALR has it.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.swa_utils.SWALR(sgd, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(3)]
        [0.75, 0.5, 0.5]
    """

    goes_on = False  # but from where the first step finds it

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Number,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        self.swa_lrs: list[Rate] = self.each(optimizer, "swa_lr", swa_lr)
        self.anneal_epochs: int = checks.at_least("anneal_epochs", anneal_epochs, 0, "SWALR")
        self.anneal_strategy = checks.one_of("anneal_strategy", anneal_strategy, ["cos", "linear"], "SWALR")
        super().__init__(optimizer, last_epoch)

    def move_to(self, t: float, lrs: Sequence[Rate] | None = None) -> list[Rate]:
        if t <= 1:
            self.base_lrs = [plain(group["lr"]) for group in self.optimizer.param_groups]
        return super().move_to(t, lrs)

    def rate(self, base: Rate, t: float, group: int) -> Rate:
        p = min(t / self.anneal_epochs, 1.0) if self.anneal_epochs else 1.0
        alpha = (1 - math.cos(math.pi * p)) / 2 if self.anneal_strategy == "cos" else p
        return alpha * self.swa_lrs[group] + (1 - alpha) * base
