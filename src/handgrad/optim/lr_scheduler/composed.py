"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from handgrad.errors import ArgumentError, DTypeError
from handgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from handgrad.optim.lr_scheduler.schedule import LRScheduler, Rate, plain
from handgrad.optim.optimizer import Optimizer


class _Composed(LRScheduler):
    """Base of schedules made of schedules, whose states are saved with it."""

    unsaved = ("optimizer", "_schedulers")

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], last_epoch: int) -> None:
        where, remedy = type(self).__name__, "Pass schedules of one optimiser, made before this one."
        if not schedulers:
            raise ArgumentError("at least one schedule", "none", remedy, where)
        for index, schedule in enumerate(schedulers):
            if not isinstance(schedule, LRScheduler):
                raise DTypeError(f"a schedule at index {index}", type(schedule).__name__, remedy, where)
            if isinstance(schedule, ReduceLROnPlateau):
                advice, got = "Step it beside this one, with its metric.", f"{type(schedule).__name__} at {index}"
                raise ArgumentError("schedules of the step alone", got, advice, where)
            if schedule.optimizer is not optimizer:
                raise ArgumentError("schedules of one optimiser", f"another's at index {index}", remedy, where)
        self._schedulers = list(schedulers)
        for group, lr in zip(optimizer.param_groups, self.start()):  # whatever they have set on their own
            group["lr"] = plain(lr)
        super().__init__(optimizer, last_epoch)

    def start(self) -> list[Rate]:
        """The learning rates from which the schedules begin together: those there are, without what each has made."""
        lrs = [plain(group["lr"]) for group in self._schedulers[0].optimizer.param_groups]
        for part in reversed(self._schedulers):
            lrs = [part.led(*rates) for rates in zip(part.base_lrs, part.get_last_lr(), lrs)]
        return lrs

    def lead(self) -> None:
        """Let the schedules begin where this one does."""
        for part in self._schedulers:
            if part.goes_on:
                part.base_lrs = list(self.base_lrs)

    @property
    def under_way(self) -> int:
        """Which of the schedules is the last to be moved in a step."""
        return len(self._schedulers) - 1

    @property
    def counts_steps(self) -> bool:  # type: ignore[override]
        return any(part.counts_steps for part in self._schedulers)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [part.state_dict() for part in self._schedulers]}

    def identity(self) -> dict[str, Any]:
        return {**self.state_dict(), "_schedulers": [part.identity() for part in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        pairs = list(zip(self._schedulers, state_dict["_schedulers"]))
        # that of the latest step last: a cycle also sets the momentum
        for part, state in (*pairs[self.under_way + 1 :], *pairs[: self.under_way + 1]):
            part.load_state_dict(state)
        self.set(self._last_lr)


class SequentialLR(_Composed):
    r"""One schedule after another: the next begins, at its step 0, when its milestone is reached.

    $$\eta_t = \eta^{(i)}_{t - m_i} \quad \text{for the last milestone } m_i \le t, \; m_0 = 0$$

    Each schedule begins from the groups' initial learning rates, not from where the one before it ended.

    Args:
        optimizer: whose learning rates are set.
        schedulers: the schedules, in order.
        milestones: the steps at which the second and later ones begin.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for no schedules, one of another optimiser, a ReduceLROnPlateau, or another number of
    milestones than schedules after the first; DTypeError for what is not a schedule.

    Source: torch.optim.lr_scheduler.SequentialLR.

    Example:
        >>> from handgrad import nn, optim
        >>> from handgrad.optim import lr_scheduler
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> warm_up = lr_scheduler.LinearLR(sgd, start_factor=0.25, total_iters=3)
        >>> decay = lr_scheduler.ExponentialLR(sgd, gamma=0.5)
        >>> schedule = lr_scheduler.SequentialLR(sgd, [warm_up, decay], milestones=[3])
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(5)]
        [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(milestones) != len(schedulers) - 1 or list(milestones) != sorted(milestones):
            remedy = "Name the step at which each schedule after the first begins."
            expected = f"{max(len(schedulers) - 1, 0)} rising milestones for {len(schedulers)} schedules"
            raise ArgumentError(expected, str(list(milestones)), remedy, "SequentialLR")
        self._milestones = list(milestones)
        super().__init__(optimizer, schedulers, last_epoch)

    def start(self) -> list[Rate]:
        return [group["initial_lr"] for group in self._schedulers[0].optimizer.param_groups]

    @property
    def under_way(self) -> int:
        return bisect_right(self._milestones, self.last_epoch)

    def move_to(self, t: float, lrs: Sequence[Rate] | None = None) -> list[Rate]:
        self.lead()
        index = bisect_right(self._milestones, t)
        rates = self._schedulers[index].move_to(t - [0, *self._milestones][index], lrs)
        self.last_epoch = int(t)
        return rates


class ChainedScheduler(_Composed):
    r"""Several schedules at once: each takes the learning rates that the one before it makes as the initial ones.

    $$\eta_t = \eta^{(n)}_t ( \cdots \eta^{(1)}_t(\eta) )$$

    For schedules that multiply, such as a warm-up and a decay, that is the product of their factors, as in PyTorch.

    Args:
        schedulers: the schedules, in order.
        optimizer: whose learning rates are set; that of the first schedule unless given.

    Errors: ArgumentError for no schedules, one of another optimiser, or a ReduceLROnPlateau; DTypeError for what is
    not a schedule.

    Source: torch.optim.lr_scheduler.ChainedScheduler.

    Example:
        >>> from handgrad import nn, optim
        >>> from handgrad.optim import lr_scheduler
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> halves = lr_scheduler.ExponentialLR(sgd, gamma=0.5)
        >>> warm_up = lr_scheduler.ConstantLR(sgd, factor=0.5, total_iters=2)
        >>> schedule = lr_scheduler.ChainedScheduler([halves, warm_up])
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(3)]
        [0.25, 0.25, 0.125]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        first = next(iter(schedulers), None)
        optimizer = optimizer or getattr(first, "optimizer", None)
        super().__init__(optimizer, schedulers, getattr(first, "last_epoch", 0) - 1)  # type: ignore[arg-type]

    def move_to(self, t: float, lrs: Sequence[Rate] | None = None) -> list[Rate]:
        self.lead()
        first, *others = self._schedulers
        rates = first.move_to(t, lrs)
        for schedule in others:
            rates = schedule.move_to(t, rates)
        self.last_epoch = int(t)
        return rates
