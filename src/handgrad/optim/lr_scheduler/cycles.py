"""Schedules of learning rate and momentum together: the one falls while the other rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.optim.arithmetic import Number
from handgrad.optim.lr_scheduler.schedule import LRScheduler, Rate, plain
from handgrad.optim.optimizer import Optimizer

PerGroup = Number | Sequence[Number]
"""One number, a tensor of R, or a list of such, one for each group."""


class _Cycle(LRScheduler):
    """Base of schedules that also set the groups' "momentum", or the first of their "betas"."""

    goes_on = False
    counts_steps = True

    def prepare(self, optimizer: Optimizer, cycle_momentum: bool, base_momentum: Any, max_momentum: Any) -> None:
        """Check and keep what the momentum is cycled between."""
        self.cycle_momentum = cycle_momentum
        if not cycle_momentum:
            return
        if not {"momentum", "betas"} & {*optimizer.defaults}:
            remedy = "Pass cycle_momentum=False."
            expected = "an optimiser with momentum or betas with cycle_momentum=True"
            raise ArgumentError(expected, type(optimizer).__name__, remedy, type(self).__name__)
        self.base_momentums: list[Rate] = self.each(optimizer, "base_momentum", base_momentum)
        self.max_momentums: list[Rate] = self.each(optimizer, "max_momentum", max_momentum)

    def momentum(self, t: float, group: int) -> Rate:
        """A group's momentum at step t."""
        raise NotImplementedError

    def move_to(self, t: float, lrs: Sequence[Rate] | None = None) -> list[Rate]:
        rates = super().move_to(t, lrs)
        self.set_momenta(t)
        return rates

    def set_momenta(self, t: float) -> None:
        """Write the momentum of step t into every group."""
        for i, group in enumerate(self.optimizer.param_groups if self.cycle_momentum else []):
            momentum = plain(self.momentum(t, i))
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.set_momenta(self.last_epoch)


class CyclicLR(_Cycle):
    r"""Move the learning rate up and down between two bounds, and the momentum down and up.

    With h the height in cycle n, straight from 0 up to 1 in step_size_up steps and down to 0 in step_size_down:

    $$\eta_t = \eta_\text{base} + (\eta_\max - \eta_\text{base}) \, h s, \quad
      \mu_t = \mu_\max - (\mu_\max - \mu_\text{base}) \, h s, \quad
      s = \begin{cases} 1 & \text{triangular} \\ 2^{1-n} & \text{triangular2} \\ \gamma^t & \text{exp\_range}
      \end{cases}$$

    Args:
        optimizer: whose learning rates and momenta are set.
        base_lr: η_base, one number or a tensor of R; or a list of them, one for each group.
        max_lr: η_max alike.
        step_size_up: steps up.
        step_size_down: steps down, as many as up unless given.
        mode: "triangular", "triangular2" or "exp_range"; it has no effect beside `scale_fn`.
        gamma: γ, one number or R.
        scale_fn: s instead, a function of n, or of t.
        scale_mode: "cycle", or "iterations" where scale_fn is one of t.
        cycle_momentum: False leaves the momentum alone.
        base_momentum: µ_base, as base_lr.
        max_momentum: µ_max alike.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a number out of range, an unknown mode, or an optimiser that has no momentum.

    Source: Smith 2017, arXiv:1506.01186, as torch.optim.lr_scheduler has it.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.CyclicLR(sgd, base_lr=0.0, max_lr=1.0, step_size_up=2)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(5)]
        [0.5, 1.0, 0.5, 0.0, 0.5]
        >>> round(sgd.param_groups[0]["momentum"], 3)
        0.85
    """

    functions = ("scale_fns",)

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: PerGroup,
        max_lr: PerGroup,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: Number = 1.0,
        scale_fn: Callable[[float], Number] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.8,
        max_momentum: PerGroup = 0.9,
        last_epoch: int = -1,
    ) -> None:
        base_lrs = self.each(optimizer, "base_lr", base_lr)
        self.bounds: list[tuple[Rate, Rate]] = list(zip(base_lrs, self.each(optimizer, "max_lr", max_lr)))
        down = step_size_up if step_size_down is None else step_size_down
        self.up: float = checks.at_least("step_size_up", step_size_up, 1, "CyclicLR")
        self.total: float = self.up + checks.at_least("step_size_down", down, 1, "CyclicLR")
        modes = ["triangular", "triangular2", "exp_range"]
        self.mode = mode if scale_fn is not None else checks.one_of("mode", mode, modes, "CyclicLR")
        self.gamma = self.number(optimizer, "gamma", gamma)
        self.scale_fns = [] if scale_fn is None else [self.function(optimizer, "scale_fn", scale_fn)]
        self.scale_mode = checks.one_of("scale_mode", scale_mode, ["cycle", "iterations"], "CyclicLR")
        self.prepare(optimizer, cycle_momentum, base_momentum, max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs):
                group["lr"] = plain(lr)
        super().__init__(optimizer, last_epoch)

    def height(self, t: float) -> Rate:
        """h s: 0 at the learning rate's lower bound, 1 at its upper one."""
        n = math.floor(1 + t / self.total)
        x, ratio = 1.0 + t / self.total - n, self.up / self.total
        height = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
        if self.scale_fns:
            return height * plain(self.scale_fns[0](n if self.scale_mode == "cycle" else t))
        return height * {"triangular": 1.0, "triangular2": 0.5 ** (n - 1)}.get(self.mode, self.gamma**t)

    def rate(self, base: Rate, t: float, group: int) -> Rate:  # noqa: ARG002
        low, high = self.bounds[group]
        return low + (high - low) * self.height(t)

    def momentum(self, t: float, group: int) -> Rate:
        low, high = self.base_momentums[group], self.max_momentums[group]
        return high - (high - low) * self.height(t)


class OneCycleLR(_Cycle):
    r"""Raise the learning rate once, then let it fall to almost nothing; the momentum does the opposite.

    From $\eta_\max / \text{div\_factor}$ to η_max in the first pct_start of the steps, then down to
    $\eta_\max / \text{div\_factor} / \text{final\_div\_factor}$; the momentum falls from µ_max to µ_base and rises
    again. Within a phase from a to b, of which the part p has passed:

    $$\text{cos:} \; b + \frac{a - b}{2} (1 + \cos \pi p), \qquad \text{linear:} \; a + (b - a) p$$

    Args:
        optimizer: whose learning rates and momenta are set.
        max_lr: η_max, one number or a tensor of R; or a list of them, one for each group.
        total_steps: steps in all; left out, they are epochs · steps_per_epoch.
        epochs, steps_per_epoch: see total_steps.
        pct_start: part of the steps that goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: False leaves the momentum alone.
        base_momentum: µ_base, as max_lr.
        max_momentum: µ_max alike.
        div_factor: what the first learning rate is smaller than η_max by, one number or R.
        final_div_factor: what the last learning rate is smaller than the first by, one number or R.
        three_phase: go down as fast as up first, and to the last learning rate after that.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a number out of range, missing numbers of steps, an unknown strategy, an optimiser that
    has no momentum, or more steps than total_steps.

    Source: Smith and Topin 2019, arXiv:1708.07120, as torch.optim.lr_scheduler has it.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0, momentum=0.9)
        >>> schedule = optim.lr_scheduler.OneCycleLR(sgd, max_lr=1.0, total_steps=5, pct_start=0.6)
        >>> [schedule.step() or round(schedule.get_last_lr()[0], 3) for _ in range(4)]
        [0.52, 1.0, 0.5, 0.0]
        >>> sgd.param_groups[0]["momentum"]
        0.95
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: PerGroup,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.85,
        max_momentum: PerGroup = 0.95,
        div_factor: Number = 25.0,
        final_div_factor: Number = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        where = "OneCycleLR"
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                got = f"epochs={epochs}, steps_per_epoch={steps_per_epoch}"
                raise ArgumentError("total_steps, or epochs and steps_per_epoch", got, "Pass total_steps=1000.", where)
            checks.positive_int("epochs", epochs, where)
            total_steps = epochs * checks.positive_int("steps_per_epoch", steps_per_epoch, where)
        self.total_steps = checks.positive_int("total_steps", total_steps, where)
        if not isinstance(pct_start, (int, float)) or not 0 <= pct_start <= 1:
            raise ArgumentError("pct_start from 0 to 1", repr(pct_start), "Pass pct_start=0.3, say.", where)
        self.pct_start = pct_start
        self.anneal_strategy = checks.one_of("anneal_strategy", anneal_strategy, ["cos", "linear"], where)
        self.three_phase = three_phase
        first = self.number(optimizer, "div_factor", div_factor, beyond=True)
        last = self.number(optimizer, "final_div_factor", final_div_factor, beyond=True)
        peaks = self.each(optimizer, "max_lr", max_lr)
        self.levels: list[tuple[Rate, Rate, Rate]] = [(p / first, p, p / first / last) for p in peaks]
        self.prepare(optimizer, cycle_momentum, base_momentum, max_momentum)
        if last_epoch == -1:
            for group, (initial, _, _) in zip(optimizer.param_groups, self.levels):
                group["initial_lr"] = initial
        super().__init__(optimizer, last_epoch)

    def along(self, t: float, points: Sequence[Rate]) -> Rate:
        """The value at step t of a curve through `points`, which stand where the phases begin and end."""
        up, last = self.pct_start * self.total_steps, self.total_steps - 1
        ends = [0.0, up - 1, 2 * up - 2, last] if self.three_phase else [0.0, up - 1, last]
        phase = next((i for i, end in enumerate(ends[1:-1]) if t <= end), len(ends) - 2)
        (start, end), (a, b) = ends[phase : phase + 2], points[phase : phase + 2]
        p = (t - start) / (end - start) if end != start else 1.0
        return b + (a - b) / 2 * (1 + math.cos(math.pi * p)) if self.anneal_strategy == "cos" else a + (b - a) * p

    def rate(self, base: Rate, t: float, group: int) -> Rate:  # noqa: ARG002
        if t > self.total_steps:
            remedy = "Build it with as many total_steps as it is stepped."
            raise ArgumentError(f"at most total_steps={self.total_steps} steps", str(t), remedy, "OneCycleLR")
        first, peak, last = self.levels[group]
        return self.along(t, (first, peak, first, last) if self.three_phase else (first, peak, last))

    def momentum(self, t: float, group: int) -> Rate:
        low, high = self.base_momentums[group], self.max_momentums[group]
        return self.along(t, (high, low, high, high) if self.three_phase else (high, low, high))
