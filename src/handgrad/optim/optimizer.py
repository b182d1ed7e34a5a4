"""Optimizer: the base of all optimisers. It knows parameters, not modules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError
from handgrad.nn.parameter import Parameter

Number = float | Sequence[float] | Tensor
"""A hyper-parameter: one number, or R numbers, one for each replica."""


class Optimizer:
    """Base of the optimisers: parameter groups, state by parameter, and hyper-parameters that may be R numbers.

    Args:
        params: parameters, or dicts with "params" and hyper-parameters of their own, as in PyTorch.
        defaults: hyper-parameters of every group that does not set them.

    Attributes:
        param_groups: one dict a group; changing a value in it takes effect at the next step.
        state: what the optimiser remembers of each parameter, such as its momentum.

    Errors: ArgumentError for no parameters, one given twice, an unknown or out-of-range option, or R numbers for
    parameters with another number of replicas; DTypeError for something that is not a Parameter.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> class SignDescent(optim.Optimizer):
        ...     def __init__(self, params, lr=0.01):
        ...         super().__init__(params, {"lr": lr})
        ...     def update(self, params, values, grads, group):
        ...         for value, grad in zip(values, grads):
        ...             value.sub_(group["lr"] * grad.sign())
        >>> p = nn.Parameter(torch.tensor([1.0]))
        >>> p.add_grad(torch.tensor([5.0]))
        >>> SignDescent([p], lr=0.1).step(); p.value
        tensor([0.9000])
    """

    non_negative: tuple[str, ...] = ("lr",)
    """Hyper-parameters that must not be negative."""

    def __init__(self, params: Iterable[Parameter] | Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: dict[Parameter, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        groups: list[Any] = [params] if isinstance(params, Parameter) else list(params)
        if not groups:
            remedy = "Pass model.parameters() of a network with trainable layers."
            raise ArgumentError("at least one parameter", "none", remedy, type(self).__name__)
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with hyper-parameters of their own."""
        where = type(self).__name__
        group = {**self.defaults, **group}
        if "params" not in group:
            raise ArgumentError('a group with "params"', ", ".join(group), "Name the group's parameters.", where)
        params = group["params"]
        group["params"] = params = [params] if isinstance(params, Parameter) else list(params)
        if unknown := [name for name in group if name != "params" and name not in self.defaults]:
            raise ArgumentError(
                f"options among {', '.join(self.defaults)}", ", ".join(unknown), "Leave the others out.", where
            )
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Parameter):
                remedy = "Pass model.parameters() of a handgrad network."
                raise DTypeError("parameters of type handgrad.nn.Parameter", type(p).__name__, remedy, where)
            if id(p) in known:
                raise ArgumentError("each parameter once", f"{p} twice", "Keep it in one group.", where)
            known.add(id(p))
        for name in self.defaults:
            group[name] = self._number(name, group[name], params)
        self.check(group)
        self.param_groups.append(group)

    def _number(self, name: str, value: Any, params: list[Parameter]) -> Any:
        """Return a number as it is, R numbers as a tensor, after a check of their range and count."""
        where = type(self).__name__
        if isinstance(value, (Sequence, Tensor)) and not isinstance(value, str):
            value = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            replicas = {p.replicas for p in params}
            if value.ndim != 1 or replicas != {value.numel()}:
                got = f"{tuple(value.shape)} for parameters with replicas={', '.join(map(str, replicas))}"
                remedy = f"Give one number for {name}, or as many as there are replicas."
                raise ArgumentError(f"{name} to be one number or R of them", got, remedy, where)
        if not isinstance(value, (int, float, Tensor)):
            expected = f"a number{' of at least 0' if name in self.non_negative else ''} for {name}"
            raise ArgumentError(expected, repr(value), f"Pass {name}=0.1, say, or R numbers for R replicas.", where)
        if name in self.non_negative:
            checks.at_least(name, value, 0, where)
        return value

    def check(self, group: dict[str, Any]) -> None:
        """Raise for options that do not go together; subclasses override it."""

    def zero_grad(self) -> None:
        """Clear the gradient of every parameter."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.update(params, [p.value for p in params], [p.grad for p in params], group)

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        """Change `values` in place by one step along `grads`, which it leaves alone."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            options = ", ".join(f"{name}={value}" for name, value in group.items() if name != "params")
            lines.append(f"  group {index}: {sum(p.numel() for p in group['params'])} parameters, {options}")
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def scaled(tensors: Sequence[Tensor], factor: float | Tensor) -> list[Tensor]:
    """Return factor · t for each tensor; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        return [t * spread(factor, t) for t in tensors]
    return list(torch._foreach_mul(list(tensors), factor))


def scale_(tensors: list[Tensor], factor: float | Tensor) -> None:
    """Multiply each tensor by a factor in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        for t in tensors:
            t.mul_(spread(factor, t))
    else:
        torch._foreach_mul_(tensors, factor)


def add_scaled_(targets: list[Tensor], tensors: Sequence[Tensor], factor: float | Tensor) -> None:
    """Add factor · t to each target in place; R factors scale the R leading slices."""
    if isinstance(factor, Tensor):
        for target, t in zip(targets, tensors):
            target.addcmul_(t, spread(factor, t))
    else:
        torch._foreach_add_(targets, list(tensors), alpha=factor)


def spread(factor: Tensor, like: Tensor) -> Tensor:
    """View R numbers as (R, 1, …), in the dtype and on the device of `like`."""
    return factor.to(like).view(-1, *[1] * (like.ndim - 1))
