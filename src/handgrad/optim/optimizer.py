"""Optimizer: the base of all optimisers. It knows parameters, not modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError, StateError
from handgrad.nn.parameter import Parameter
from handgrad.optim.arithmetic import anything, listed
from handgrad.pages import keep_freed_memory

Params = Iterable[Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them with hyper-parameters of their own."""

SWITCHES: dict[str, bool | None] = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}
"""PyTorch's choices between implementations, with their defaults: handgrad has one implementation."""


class Optimizer:
    """Base of the optimisers: parameter groups, state by parameter, and hyper-parameters that may be R numbers.

    A subclass writes `update`, one step of parameters that have the same `numbers` behind them, and names those numbers
    and the tensors that it remembers of each parameter. Its constructor has PyTorch's arguments and passes them on as
    `super().__init__(params, locals())`.

    Args:
        params: parameters, or dicts with "params" and hyper-parameters of their own, as in PyTorch.
        defaults: hyper-parameters of every group that does not set them.

    Attributes:
        param_groups: one dict a group; changing a value in it takes effect at the next step.
        state: what the optimiser remembers of each parameter, such as its momentum.

    Errors: ArgumentError for no parameters, one given twice, an unknown or out-of-range option, such as a number that
    the parameters' dtype does not have, or R numbers for parameters with another number of replicas; DTypeError for
    something that is not a Parameter; NotImplementedError for foreach, fused, capturable or differentiable.

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
    fractions: tuple[str, ...] = ()
    """Hyper-parameters from 0 up to, but not including, 1."""
    tuples: ClassVar[dict[str, int]] = {"betas": 2}
    """Hyper-parameters that are so many numbers, each of which may be R."""
    single: tuple[str, ...] = ()
    """Hyper-parameters that are one number for all replicas."""
    optional: tuple[str, ...] = ()
    """Hyper-parameters that may be None."""
    texts: tuple[str, ...] = ()
    """Options that are a word or None; `check` looks at them."""
    flags: tuple[str, ...] = ("maximize", "nesterov", "amsgrad", "centered", "decoupled_weight_decay")
    """Options that are True or False."""
    numbers: tuple[str, ...] | None = None
    """What is remembered of a parameter as one number, or as a tuple of R; None where `update` keeps state itself."""
    memory: tuple[str, ...] = ()
    """Tensors, of the value's shape, that are remembered of a parameter."""
    memory_if: ClassVar[dict[str, str]] = {}
    """Those that are remembered only with an option, by the option's name."""

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        options = {name: value for name, value in defaults.items() if name not in ("self", "params", "__class__")}
        for name, default in SWITCHES.items():
            if options.get(name, default) is not default:
                message = f"{type(self).__name__}: {name}={options[name]!r} is not supported. Leave {name} out."
                raise NotImplementedError(message)
        self.switches = {name: value for name, value in options.items() if name in SWITCHES}
        self.defaults = {name: value for name, value in options.items() if name not in SWITCHES}
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
        keep_freed_memory()

    # Groups and their options

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
        self.param_groups.append(self._checked(group))

    def _checked(self, group: dict[str, Any]) -> dict[str, Any]:
        """The group with every hyper-parameter as `update` wants it."""
        params = group["params"]
        group = {name: self._option(name, v, params) if name in self.defaults else v for name, v in group.items()}
        self.check(group)
        return group

    def _option(self, name: str, value: Any, params: list[Parameter]) -> Any:
        """Return a flag or word as it is, a number or a tuple of numbers after a check of each."""
        where = type(self).__name__
        if name in self.flags and not isinstance(value, bool):
            raise ArgumentError(f"True or False for {name}", repr(value), f"Pass {name}=True, say.", where)
        if name in self.flags or name in self.texts or (value is None and name in self.optional):
            return value
        if name not in self.tuples:
            return self._number(name, value, params)
        if not isinstance(value, (tuple, list)) or len(value) != self.tuples[name]:
            expected, remedy = f"{name} to be {self.tuples[name]} numbers", "Each may be R numbers for R replicas."
            raise ArgumentError(expected, repr(value), remedy, where)
        return tuple(self._option(f"{name}[{i}]", v, params) for i, v in enumerate(value))

    def _number(self, name: str, value: Any, params: list[Parameter]) -> Any:
        """Return a number as it is, R numbers as a tensor, after a check of their range and count."""
        where, base = type(self).__name__, name.partition("[")[0]
        value = checks.own(value)
        if isinstance(value, (Sequence, Tensor)) and not isinstance(value, str) and base not in self.single:
            value = torch.as_tensor(value, dtype=torch.float64)
            replicas = {p.replicas for p in params}
            if value.ndim != 1 or (params and replicas != {value.numel()}):
                got = f"{tuple(value.shape)} for parameters with replicas={', '.join(map(str, replicas))}"
                remedy = f"Give one number for {name}, or as many as there are replicas."
                raise ArgumentError(f"{name} to be one number or R of them", got, remedy, where)
        if not isinstance(value, (int, float, Tensor)) or (base in self.single and isinstance(value, Tensor)):
            expected = f"a number{' of at least 0' if base in self.non_negative else ''} for {name}"
            remedy = f"Pass {name}=0.1, say{'' if base in self.single else ', or R numbers for R replicas'}."
            raise ArgumentError(expected, repr(value), remedy, where)
        if base in self.non_negative:
            checks.at_least(name, value, 0, where)
        for dtype in {p.value.dtype for p in params}:
            most = torch.finfo(dtype).max
            if beyond := [v for v in listed(value) if most < abs(v) < math.inf]:  # PyTorch refuses it at the first step
                expected = f"{name} of at most {most:.2g}, the largest {checks.short(dtype)}"
                raise ArgumentError(expected, str(beyond[0]), "Choose a smaller one.", where)
        if base in self.fractions and not all(0 <= v < 1 for v in listed(value)):
            raise ArgumentError(f"{name} of at least 0 and below 1", str(value), f"Pass {name}=0.9, say.", where)
        return value

    def check(self, group: dict[str, Any]) -> None:
        """Raise for options that do not go together; subclasses override it."""

    # Steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient of every parameter, or fill it with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else torch.zeros_like(p.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        `closure`, if given, is called first; it computes the gradients, by handgrad's backward, and returns the loss,
        which is returned.
        """
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for params in self._alike([p for p in group["params"] if p.grad is not None], group):
                self.update(params, [p.value for p in params], [p.grad for p in params], group)
        return loss

    def _alike(self, params: list[Parameter], group: dict[str, Any]) -> Iterable[list[Parameter]]:
        """Split parameters by the numbers that are remembered of them, so that one number serves a whole update."""
        if self.numbers is None or not params:
            return [params] if params else []
        for p in params:
            if p not in self.state:
                self.state[p] = self.fresh(p, group)
        if not self.numbers:
            return [params]
        key, alike = itemgetter(*self.numbers), dict[Any, list[Parameter]]()
        for p in params:
            alike.setdefault(key(self.state[p]), []).append(p)
        return alike.values()

    def update(self, params: list[Parameter], values: list[Tensor], grads: list[Any], group: dict[str, Any]) -> None:
        """Change `values` in place by one step along `grads`, which it leaves alone."""
        raise NotImplementedError

    def fresh(self, p: Parameter, group: dict[str, Any]) -> dict[str, Any]:
        """What is remembered of a parameter before its first step: no steps, and zeros."""
        tensors = [*self.memory, *(name for option, name in self.memory_if.items() if anything(group[option]))]
        return {**dict.fromkeys(self.numbers or (), 0), **{name: torch.zeros_like(p.value) for name in tensors}}

    def recall(self, params: list[Parameter], name: str) -> list[Tensor]:
        """What is remembered under a name of each parameter; zeros where an option asks for it only now."""
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p.value)
        return [self.state[p][name] for p in params]

    def count(self, params: list[Parameter]) -> int:
        """Count one step of parameters that have the same count, and return it, from 1."""
        t: int = self.state[params[0]]["step"] + 1
        for p in params:
            self.state[p]["step"] = t
        return t

    def number(self, params: list[Parameter], name: str) -> Any:
        """What is remembered as a number, the same for all these parameters: one number, or a tensor of R."""
        value = self.state[params[0]][name]
        return torch.tensor(value, dtype=torch.float64) if isinstance(value, tuple) else value

    def note(self, params: list[Parameter], name: str, number: Any) -> None:
        """Remember a number of each of these parameters."""
        for p in params:
            self.state[p][name] = as_number(number)

    # State, as in PyTorch

    def state_dict(self) -> dict[str, Any]:
        """Copies of the state, by index of the parameter, and of the groups: what torch.optim's counterpart loads.

        As in PyTorch, tensors have the layout of torch.nn's parameters; with replicas they have a leading R.
        """
        order = [p for group in self.param_groups for p in group["params"]]
        index = {p: i for i, p in enumerate(order)}
        groups = [
            {
                **{name: copied(value) for name, value in group.items() if name != "params"},
                **self.switches,
                "params": [index[p] for p in group["params"]],
            }
            for group in self.param_groups
        ]
        return {"state": {index[p]: self.dump(p) for p in order if p in self.state}, "param_groups": groups}

    def dump(self, p: Parameter) -> dict[str, Any]:
        """The state of one parameter as PyTorch has it."""
        return {
            name: copied(turned(value, p)) if isinstance(value, Tensor) else as_tensor(name, value)
            for name, value in self.state[p].items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from the `state_dict()` of such an optimiser, or of its torch.optim counterpart.

        Tensors are copied, and converted to the parameters' dtype and device.

        Errors: StateError for other groups, options or shapes; ArgumentError for an option out of its range. Nothing
        has been changed then.
        """
        saved, entries = self._parts(state_dict)
        sizes, own = ([len(g["params"]) for g in groups] for groups in (saved, self.param_groups))
        if sizes != own:
            self._refuse(f"groups of {own} parameters", f"groups of {sizes}")
        groups, state = [], dict[Parameter, dict[str, Any]]()
        for other, group in zip(saved, self.param_groups):
            options = {n: copied(v) for n, v in other.items() if n not in (*SWITCHES, "params")}
            if missing := [name for name in self.defaults if name not in {*options, *self.flags}]:
                self._refuse(f"the options {', '.join(self.defaults)}", f"none for {', '.join(missing)}")
            groups.append(self._checked({**group, **options}))
            for p, index in zip(group["params"], other["params"]):
                if entry := {n: v for n, v in entries.get(index, {}).items() if v is not None}:
                    state[p] = self.load(p, entry, groups[-1])
        for group, new in zip(self.param_groups, groups):
            group.update(new)
        self.state = state

    def _parts(self, given: Any) -> tuple[Sequence[Any], Mapping[Any, Any]]:
        """Groups and states of what `state_dict()` returned, or an error."""
        whole = isinstance(given, Mapping)
        groups, entries = (given.get("param_groups", ()), given.get("state", {})) if whole else (None, None)
        if (
            not isinstance(groups, Sequence)
            or not isinstance(entries, Mapping)
            or not all(isinstance(group, Mapping) and "params" in group for group in groups)
            or not all(isinstance(entry, Mapping) for entry in entries.values())
        ):
            self._refuse("what an optimiser's state_dict() returns", "something else")
        indices = [index for group in groups for index in group["params"]]
        if groups and (strange := [index for index in entries if index not in indices]):
            self._refuse(f"states of the parameters {', '.join(map(str, indices))}", f"one of {strange[0]!r}")
        return groups, entries

    def load(self, p: Parameter, entry: Mapping[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        """The state of one parameter from PyTorch's."""
        state = self.fresh(p, group)
        # of an option that was on at an earlier step, and may be again
        state |= {name: torch.zeros_like(p.value) for name in self.memory_if.values() if name in entry}
        if set(entry) != set(state):
            self._refuse(f"{', '.join(state)} for {p}", ", ".join(entry))
        for name, value in state.items():
            new = entry[name]
            if isinstance(value, Tensor):
                shape = tuple(turned(value, p).shape)
                if not isinstance(new, Tensor) or tuple(new.shape) != shape:
                    got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
                    self._refuse(f"{name} of shape {shape} for {p}", str(got))
                state[name] = value.copy_(turned(new, p))
            else:
                try:
                    state[name] = int(new) if name == "step" else as_number(new)
                except (TypeError, ValueError):
                    self._refuse(f"one number for {name} of {p}", repr(new))
        return state

    def _refuse(self, expected: str, got: str) -> NoReturn:
        remedy = "Nothing was loaded. Load the state of an optimiser of the same kind, of the same network."
        raise StateError(expected, got, remedy, f"{type(self).__name__}.load_state_dict")

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            options = ", ".join(f"{name}={value}" for name, value in group.items() if name != "params")
            lines.append(f"  group {index}: {sum(p.numel() for p in group['params'])} parameters, {options}")
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


# What is kept between steps


def as_number(value: Any) -> Any:
    """A remembered number: one, or a tuple of R, which unlike a tensor can be compared."""
    return tuple(value.tolist()) if isinstance(value, Tensor) and value.ndim else float(value)


def as_tensor(name: str, value: Any) -> Tensor:
    """A remembered number as PyTorch keeps it: the count of steps in the default dtype, if no half; else as it is."""
    counts = torch.promote_types(torch.get_default_dtype(), torch.float32)
    return torch.tensor(value, dtype=counts if name == "step" else torch.float64)


def copied(value: Any) -> Any:
    """A copy of a tensor, or of those in a list or tuple."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(copied, value))
    return value.clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value


def turned(value: Tensor, p: Parameter) -> Tensor:
    """A view of the parameter's state in PyTorch's layout, or the other way round."""
    return value.mT if p.transposed else value
