"""Schedules that multiply the initial learning rate by a factor of the step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from handgrad import checks
from handgrad.optim.arithmetic import Number
from handgrad.optim.lr_scheduler.schedule import Function, LRScheduler, Rate, plain
from handgrad.optim.optimizer import Optimizer


class StepLR(LRScheduler):
    r"""Multiply the learning rate by γ every `step_size` steps.

    $$\eta_t = \eta \gamma^{\lfloor t / \text{step\_size} \rfloor}$$

    Args:
        optimizer: whose learning rates are set.
        step_size: steps between two drops.
        gamma: γ, one number or R.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a step_size below 1 or a negative γ.

    Source: torch.optim.lr_scheduler.StepLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.StepLR(sgd, step_size=2, gamma=0.5)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(4)]
        [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: Number = 0.1, last_epoch: int = -1) -> None:
        self.step_size = checks.positive_int("step_size", step_size, "StepLR")
        self.gamma = self.number(optimizer, "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def multiple(self, t: float) -> Rate:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    r"""Multiply the learning rate by γ at each milestone.

    $$\eta_t = \eta \gamma^{\#\{m \in \text{milestones}: m \le t\}}$$

    Args:
        optimizer: whose learning rates are set.
        milestones: steps of the drops; one that is named twice drops twice.
        gamma: γ, one number or R.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a negative γ.

    Source: torch.optim.lr_scheduler.MultiStepLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.MultiStepLR(sgd, milestones=[1, 3], gamma=0.5)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(4)]
        [0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: Number = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = self.number(optimizer, "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def multiple(self, t: float) -> Rate:
        return self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    r"""Multiply the learning rate by γ at every step.

    $$\eta_t = \eta \gamma^t$$

    Args:
        optimizer: whose learning rates are set.
        gamma: γ, one number or R.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a negative γ.

    Source: torch.optim.lr_scheduler.ExponentialLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1, replicas=2).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.ExponentialLR(sgd, gamma=[0.5, 0.1])
        >>> schedule.step(); schedule.get_last_lr()
        [tensor([0.5000, 0.1000], dtype=torch.float64)]
    """

    def __init__(self, optimizer: Optimizer, gamma: Number, last_epoch: int = -1) -> None:
        self.gamma = self.number(optimizer, "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def multiple(self, t: float) -> Rate:
        return self.gamma**t


class ConstantLR(LRScheduler):
    r"""Multiply the learning rate by a factor during the first steps.

    $$\eta_t = \eta \cdot \begin{cases} \text{factor} & t < \text{total\_iters} \\ 1 & \text{else} \end{cases}$$

    Args:
        optimizer: whose learning rates are set.
        factor: from 0 to 1, one number or R.
        total_iters: how many steps it lasts.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a factor out of range or total_iters below 1.

    Source: torch.optim.lr_scheduler.ConstantLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.ConstantLR(sgd, factor=0.5, total_iters=3)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(4)]
        [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, factor: Number = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = self.number(optimizer, "factor", factor, most=1)
        self.total_iters = checks.positive_int("total_iters", total_iters, "ConstantLR")
        super().__init__(optimizer, last_epoch)

    def multiple(self, t: float) -> Rate:
        return self.factor if t < self.total_iters else 1.0


class LinearLR(LRScheduler):
    r"""Change the learning rate along a straight line during the first steps, such as to warm up.

    $$\eta_t = \eta \left( s + (e - s) \frac{\min(t, \text{total\_iters})}{\text{total\_iters}} \right)$$

    Args:
        optimizer: whose learning rates are set.
        start_factor: s, above 0 and at most 1; one number or R.
        end_factor: e, from 0 to 1; one number or R.
        total_iters: how many steps it lasts.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for a factor out of range or total_iters below 1.

    Source: torch.optim.lr_scheduler.LinearLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.LinearLR(sgd, start_factor=0.25, total_iters=3)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(4)]
        [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: Number = 1.0 / 3,
        end_factor: Number = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = self.number(optimizer, "start_factor", start_factor, most=1, beyond=True)
        self.end_factor = self.number(optimizer, "end_factor", end_factor, most=1)
        self.total_iters = checks.positive_int("total_iters", total_iters, "LinearLR")
        super().__init__(optimizer, last_epoch)

    def multiple(self, t: float) -> Rate:
        return self.start_factor + (self.end_factor - self.start_factor) * min(t / self.total_iters, 1.0)


class PolynomialLR(LRScheduler):
    r"""Let the learning rate fall to 0 along a power of the steps that remain.

    $$\eta_t = \eta \left( 1 - \frac{\min(t, \text{total\_iters})}{\text{total\_iters}} \right)^\text{power}$$

    Args:
        optimizer: whose learning rates are set.
        total_iters: how many steps it lasts.
        power: of the polynomial, one number or R.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: ArgumentError for total_iters below 1 or a negative power.

    Source: torch.optim.lr_scheduler.PolynomialLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.PolynomialLR(sgd, total_iters=4, power=2.0)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(4)]
        [0.5625, 0.25, 0.0625, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: Number = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = checks.positive_int("total_iters", total_iters, "PolynomialLR")
        self.power = self.number(optimizer, "power", power)
        super().__init__(optimizer, last_epoch)

    def multiple(self, t: float) -> Rate:
        return (1.0 - min(t / self.total_iters, 1.0)) ** self.power


class LambdaLR(LRScheduler):
    r"""Multiply the initial learning rate by a function of the step.

    $$\eta_t = \eta \lambda(t)$$

    Args:
        optimizer: whose learning rates are set.
        lr_lambda: λ, whose value is one number or R; or a list of functions, one for each group.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: DTypeError for what is not callable, ArgumentError for another number of functions than of groups.

    Source: torch.optim.lr_scheduler.LambdaLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.LambdaLR(sgd, lambda t: 1 / (1 + t))
        >>> schedule.step(); schedule.get_last_lr()
        [0.5]
    """

    goes_on = False
    functions = ("lr_lambdas",)

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function], last_epoch: int = -1) -> None:
        self.lr_lambdas: list[Function] = self.each(optimizer, "lr_lambda", lr_lambda, self.function)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: Rate, t: float, group: int) -> Rate:
        return base * plain(self.lr_lambdas[group](t))


class MultiplicativeLR(LRScheduler):
    r"""Multiply the learning rate by a function of the step at every step.

    $$\eta_t = \eta \prod_{k=1}^t \lambda(k)$$

    Args:
        optimizer: whose learning rates are set.
        lr_lambda: λ, whose value is one number or R; or a list of functions, one for each group.
        last_epoch: the schedule starts at step last_epoch + 1.

    Errors: DTypeError for what is not callable, ArgumentError for another number of functions than of groups.

    Source: torch.optim.lr_scheduler.MultiplicativeLR.

    Example:
        >>> from handgrad import nn, optim
        >>> sgd = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.MultiplicativeLR(sgd, lambda t: 0.5)
        >>> [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(3)]
        [0.5, 0.25, 0.125]
    """

    functions = ("lr_lambdas",)

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function], last_epoch: int = -1) -> None:
        self.lr_lambdas: list[Function] = self.each(optimizer, "lr_lambda", lr_lambda, self.function)
        self.products: list[tuple[int, Rate]] = [(0, 1.0)] * len(self.lr_lambdas)  # step and product so far
        super().__init__(optimizer, last_epoch)

    def rate(self, base: Rate, t: float, group: int) -> Rate:
        step, product = self.products[group] if t >= self.products[group][0] else (0, 1.0)
        for k in range(step + 1, int(t) + 1):
            product = product * plain(self.lr_lambdas[group](k))
        self.products[group] = int(t), product
        return base * product
