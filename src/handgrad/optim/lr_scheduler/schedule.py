"""LRScheduler: the base of all schedules. It writes into an optimiser's groups and knows nothing else of it."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ArgumentError, DTypeError, StateError
from handgrad.optim.arithmetic import Number
from handgrad.optim.optimizer import Optimizer

Rate = float | Tensor
"""A learning rate: one number, or R as a float64 tensor."""

Function = Callable[[Any], Number]
"""A number, or R, for each step."""


PROBED = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""Steps at which functions are compared."""


class LRScheduler:
    r"""Base of the schedules: step t's learning rate is a function of t and of the group's initial learning rate η.

    $$\eta_t = \eta \cdot \text{multiple}(t)$$

    A subclass writes `multiple`, or `rate` where η_t is not a multiple of η; then it sets its own attributes before
    super().__init__, which sets the learning rates of step 0.

    Where something else has set a learning rate in between, such as another schedule, a ReduceLROnPlateau or a hand, η
    becomes what would have led there, unless that is 0: schedules of one optimiser multiply, as in PyTorch. Those of
    which `goes_on` is False, LambdaLR, restarts and cycles, set their own.

    Args:
        optimizer: whose groups' "lr" is set. η is a group's "lr" when its first schedule is made, kept as its
            "initial_lr", and what another schedule has made of it.
        last_epoch: the schedule starts at step last_epoch + 1.

    Attributes:
        last_epoch: the step t.
        base_lrs: η of each group, as it is now.

    Errors: DTypeError for something that is not an Optimizer; ArgumentError for last_epoch ≥ 0 with groups that have
    no "initial_lr"; StateError if groups were added since.

    Source: torch.optim.lr_scheduler.LRScheduler.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> class InverseRoot(optim.lr_scheduler.LRScheduler):
        ...     def multiple(self, t):
        ...         return (1 + t) ** -0.5
        >>> sgd = optim.SGD(nn.Linear(2, 1, replicas=2).parameters(), lr=[0.1, 1.0])
        >>> schedule = InverseRoot(sgd)
        >>> for _ in range(3):
        ...     sgd.step(); schedule.step()
        >>> sgd.param_groups[0]["lr"]
        tensor([0.0500, 0.5000], dtype=torch.float64)
    """

    goes_on: bool = True
    """Whether η changes where something else has set the learning rate."""
    counts_steps: bool = False
    """Whether t counts the optimiser's steps, not epochs: how often training moves the schedule."""
    functions: tuple[str, ...] = ()
    """Attributes that hold lists of functions: of one that is an object its attributes are saved, of others nothing."""

    unsaved: tuple[str, ...] = ("optimizer",)
    """Attributes that are no part of the state."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        for index, group in enumerate(self.groups(optimizer)):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                remedy = "Build the schedule without last_epoch and load its state, or set the group's initial_lr."
                expected = f'"initial_lr" in param_groups[{index}] with last_epoch={last_epoch}'
                raise ArgumentError(expected, ", ".join(group), remedy, type(self).__name__)
        self.base_lrs = [plain(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch: int = last_epoch
        self._last_lr: list[Rate] = list(self.base_lrs) if last_epoch == -1 else []
        self.step()

    def multiple(self, t: float) -> Number:
        """What multiplies the initial learning rates at step t."""
        raise NotImplementedError

    def rate(self, base: Rate, t: float, group: int) -> Rate:  # noqa: ARG002
        """A group's learning rate at step t, given its initial one."""
        return base * plain(self.multiple(t))

    def move_to(self, t: float, lrs: Sequence[Rate] | None = None) -> list[Rate]:
        """Go to step t; return its learning rates, given the initial ones, which are `base_lrs` unless they come."""
        rates = [self.rate(base, t, i) for i, base in enumerate(self.base_lrs if lrs is None else lrs)]
        self.last_epoch = math.floor(t)
        return rates

    def step(self, epoch: float | None = None) -> None:
        """Set every group's learning rate to that of the next step, or of any."""
        groups = self.groups(self.optimizer)
        if len(groups) != len(self.base_lrs):
            remedy = "Build the schedule after the last add_param_group."
            expected = f"the {len(self.base_lrs)} groups that the schedule was built for"
            raise StateError(expected, f"{len(groups)} groups", remedy, type(self).__name__)
        if epoch is not None and not epoch >= 0:
            raise ArgumentError("epoch of at least 0", str(epoch), "Leave it out.", type(self).__name__)
        if self.goes_on:
            for i, (last, group) in enumerate(zip(self._last_lr, groups)):
                self.base_lrs[i] = self.led(self.base_lrs[i], last, plain(group["lr"]))
        self.set(self.move_to(self.last_epoch + 1 if epoch is None else epoch))

    def led(self, base: Rate, last: Rate, lr: Rate, floor: Rate = 0.0) -> Rate:
        """The η that would have led to `lr` where `base` has led to `last`: above `floor` they are proportional."""
        if not (isinstance(lr, Tensor) or isinstance(last, Tensor)) and lr == last:
            return base
        eta, last, lr, least = map(tensor, (base, last, lr, floor))
        stays = (lr == last) | (lr == least) | (last == least)
        return plain(torch.where(stays, eta, least + (eta - least) * ((lr - least) / (last - least))))

    def set(self, lrs: Sequence[Rate]) -> None:
        """Write a learning rate into every group, of tensors a copy."""
        for group, lr in zip(self.optimizer.param_groups, lrs):
            group["lr"] = plain(lr)
        self._last_lr = [plain(lr) for lr in lrs]

    def get_last_lr(self) -> list[Rate]:
        """The learning rates that the schedule set last, one for each group: a number, or a tensor of R."""
        return self._last_lr

    # State

    def state_dict(self) -> dict[str, Any]:
        """A copy of all attributes but the optimiser; functions are not saved, only what callable objects hold."""
        state = {k: v for k, v in vars(self).items() if k not in (*self.unsaved, *self.functions)}
        saved = {name: [attributes(f) for f in getattr(self, name)] for name in self.functions}
        return copy.deepcopy({**state, **saved})

    def identity(self) -> dict[str, Any]:
        """What tells this schedule from another, as JSON has it: its state, and functions by their values."""
        values = {f"{n}(t)": [[_value(f, t) for t in PROBED] for f in getattr(self, n)] for n in self.functions}
        return {**self.state_dict(), **values}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state. Unlike in PyTorch the optimiser's learning rates become the saved ones, too.

        Errors: StateError if entries are missing; then nothing has been changed.
        """
        if missing := [name for name in self.state_dict() if name not in state_dict]:
            remedy = f"Load what state_dict() of another {type(self).__name__} returned."
            raise StateError("all entries of the schedule", f"none for {', '.join(missing)}", remedy, "load_state_dict")
        state = copy.deepcopy({k: v for k, v in state_dict.items() if k not in self.unsaved})
        for name in self.functions:
            for function, held in zip(getattr(self, name), state.pop(name)):
                if held is not None:
                    vars(function).update(held)
        vars(self).update(state)
        self.set(self._last_lr)

    # Checks

    def groups(self, optimizer: Any) -> list[dict[str, Any]]:
        """The groups of what is an optimiser."""
        if not isinstance(optimizer, Optimizer):
            remedy = "Pass an optimiser of handgrad.optim."
            raise DTypeError("a handgrad.optim.Optimizer", type(optimizer).__name__, remedy, type(self).__name__)
        return optimizer.param_groups

    def number(
        self,
        optimizer: Any,
        name: str,
        value: Any,
        least: float | None = 0.0,
        most: float = math.inf,
        *,
        beyond: bool = False,
    ) -> Rate:
        """Return an option that may be one number, or R as a tensor, if all are from `least`, or beyond it, to `most`.

        Errors: ArgumentError for one out of range, for what is no number, or for R numbers for other replicas.
        """
        replicas = {p.replicas for group in self.groups(optimizer) for p in group["params"]}
        kind = "to be a number" if least is None else f"{'above' if beyond else 'of at least'} {least:g}"
        expected = f"{name} {kind}" + (f" and at most {most:g}" if most < math.inf else "")
        remedy = f"Give one number for {name}, or one for each replica."
        try:
            found = plain(value)
        except (TypeError, ValueError, RuntimeError):
            raise ArgumentError(expected, repr(value), remedy, type(self).__name__) from None
        numbers = found.flatten().tolist() if isinstance(found, Tensor) else [found]
        if least is not None and not all(least <= n <= most and not (beyond and n == least) for n in numbers):
            raise ArgumentError(expected, str(value), remedy, type(self).__name__)
        if isinstance(found, Tensor) and (found.ndim != 1 or replicas != {found.numel()}):
            got = f"{tuple(found.shape)} for parameters with replicas={', '.join(map(str, replicas))}"
            raise ArgumentError(f"{name} to be one number or R of them", got, remedy, type(self).__name__)
        return found

    def each(self, optimizer: Any, name: str, value: Any, what: Callable[..., Any] | None = None) -> list[Any]:
        """Return an option for each group: a list has an entry for each, anything else is the same for all.

        Entries are numbers of at least 0, or R as a tensor, unless `what` checks them.
        """
        groups = self.groups(optimizer)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * len(groups)
        if len(values) != len(groups):
            remedy = f"Give {name} one entry for each group; R numbers for R replicas come as a tensor."
            raise ArgumentError(f"{len(groups)} entries in {name}", str(len(values)), remedy, type(self).__name__)
        return [(what or self.number)(optimizer, name, v) for v in values]

    def function(self, _: Any, name: str, value: Any) -> Any:
        """Return an option that is a function of the step."""
        if not callable(value):
            raise DTypeError(f"{name} to be callable", repr(value), "Pass a function of the step.", type(self).__name__)
        return value


def _value(function: Any, t: int) -> Any:
    """A function's value at step t, on a copy if it is an object that may change; None where it has none."""
    try:
        value = plain(copy.deepcopy(function)(t))
    except Exception:  # whatever a function of the user's raises beyond the steps that it is for
        return None
    return value.tolist() if isinstance(value, Tensor) else value


def tensor(value: Any) -> Tensor:
    """One number or R as float64 on the CPU, where schedules compute, whatever PyTorch's default device."""
    return torch.as_tensor(value, dtype=torch.float64, device="cpu")


def plain(value: Any) -> Rate:
    """One number as it is, R numbers as a fresh float64 tensor on the CPU."""
    if isinstance(value, (int, float)):
        return value
    numbers = tensor(value).detach()
    return numbers.clone() if numbers.ndim else float(numbers)


def attributes(function: Any) -> dict[str, Any] | None:
    """What a callable object holds, None for a function."""
    return None if isinstance(function, types.FunctionType) else dict(getattr(function, "__dict__", {}))
