"""Module: the base of every layer, container and loss."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, BackwardError, MethodError, ShapeError
from handgrad.nn.numbers import replicas_of, taken
from handgrad.nn.parameter import Generators, Parameter
from handgrad.nn.slot import check_gradient, described
from handgrad.nn.state import LoadResult, matched
from handgrad.nn.tree import Tree

Self = TypeVar("Self", bound="Module")
Y = TypeVar("Y")


class Unwritten:
    """In the place of a method that each class writes: a module without it says so where it is asked for.

    Not `__getattr__` of all modules, with which Python looks up every attribute the slow way.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: type) -> Any:
        if module is None:
            return self
        remedy = f"Write def {self.name}, or join modules by one that has it, such as Sequential or Residual."
        raise MethodError(f"a class with a {self.name} of its own", "none", remedy, owner.__name__)


class Module(Tree):
    """A part of a network with its hand-written gradient.

    A subclass writes `forward` and, directly under it, `backward`. Parameters, buffers and sub-modules are
    ordinary attributes. What backward needs goes into one slot: forward ends in `return self.keep(y, x, …)`,
    backward begins with `x, … = self.take(dy)`. A module with several outputs returns a tuple, and its backward takes
    one of gradients, nested alike, with None for those that are zero, or the first output's alone; one with several
    inputs returns a tuple of their gradients, with None for what has none, such as indices.

    Args:
        replicas: None, or R: every value then has a leading R, and inputs are (R, N, …), or (N, …) shared by all.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> class Square(nn.Module):
        ...     '''y = x²,  dx = 2 x dy.'''
        ...     def forward(self, x):
        ...         return self.keep(x * x, x)
        ...     def backward(self, dy):
        ...         (x,) = self.take(dy)
        ...         return 2 * x * dy
        >>> square = Square(); square(torch.tensor([3.0])), square.backward(torch.tensor([1.0]))
        (tensor([9.]), tensor([6.]))
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    if not TYPE_CHECKING:  # type checkers know without it
        forward, backward = Unwritten(), Unwritten()

    number_names: ClassVar[tuple[str, ...]] = ()
    """Options that are one number, or a tuple of R, one a replica: see `nn.numbers`."""
    shown: ClassVar[str] = ""
    """What `repr` shows: attributes, with "=" those that it names, as in "size, alpha="; a bias as True or False."""
    found: ClassVar[Mapping[str, str]] = {}
    """Where arguments of the constructor are found that are not attributes of their own name, as dotted paths."""

    replicas: int | None = None
    training: bool = True
    seeds: tuple[int, ...] | None = None
    """Where what forward draws comes from, one a replica, in modules that draw; None is torch's default generator."""
    kept: tuple[Any, ...] | None = None
    """The slot: what the last forward kept for backward, or None. Reading it shows what flows through a layer."""

    def __init__(self, replicas: int | None = None) -> None:
        self.replicas = None if replicas is None else checks.positive_int("replicas", replicas, self.label)

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a class with a backward of its own, or a mixin's, not inherit a `backward_parameters` that ignores it."""
        super().__init_subclass__(**options)
        nearest = next(vars(base) for base in cls.__mro__ if {"backward", "backward_parameters"} & vars(base).keys())
        if "backward_parameters" not in nearest:
            cls.backward_parameters = Module.backward_parameters  # type: ignore[method-assign]

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    @property
    def label(self) -> str:
        """Short name for messages, such as 'Linear 25→2'."""
        return type(self).__name__

    def replicated(self, x: Tensor, rank: int, what: str = "an input") -> Tensor:
        """Give an input its leading R, as a view: (N, …) of `rank` dimensions, or (1, N, …), is shared by all replicas.

        Errors: ShapeError for another number of replicas, or fewer dimensions than `rank`.
        """
        R = self.replicas
        if R is None or (x.ndim > rank and x.shape[0] == R):
            return x
        if x.ndim == rank:
            return x.expand(R, *x.shape)
        if x.ndim > rank and x.shape[0] == 1:
            return x.expand(R, *x.shape[1:])
        alone = f"{rank} dimension{'s' * (rank != 1)}"
        remedy = f"Lead with the {R} replicas; for {what} that they share write x.unsqueeze(0), or pass {alone}."
        raise ShapeError(f"{what} with a leading {R} for the replicas", str(tuple(x.shape)), remedy, self.label)

    def along(self, dim: int) -> int:
        """PyTorch's dimension `dim`, from 0, of an input, counted past the leading R where there is one."""
        return dim if self.replicas is None else dim + 1

    def leading(self, x: Tensor) -> Tensor:
        """The input of a module that takes any rank and works along a dimension: with replicas it leads with R, or 1.

        Errors: ShapeError if it does not.
        """
        if self.replicas is not None and (x.ndim == 0 or x.shape[0] not in (1, self.replicas)):
            remedy = "Lead with the replicas, or write x.unsqueeze(0) for an input that they share."
            expected = f"an input with a leading {self.replicas} for the replicas, or 1"
            raise ShapeError(expected, str(tuple(x.shape)), remedy, self.label)
        return x

    def written(self, shape: str) -> str:
        """A shape such as "N, C, L" for messages, which with replicas leads with R."""
        return f"({shape})" if self.replicas is None else f"({self.replicas}, {shape})"

    # The slot between forward and backward

    def keep(self, y: Y, *values: Any) -> Y:
        """Put what backward needs into the slot and return the output `y`, of which only shape and dtype are kept."""
        self.kept = values
        self._output: Any = (y.shape, y.dtype) if isinstance(y, Tensor) else described(y)
        return y

    def take(self, dy: Any, needed: bool = True) -> tuple[Any, ...]:
        """Empty the slot, after a check that `dy` has the shape and dtype of the output; None only if it is not needed.

        Errors: BackwardError if the slot is empty, ShapeError or DTypeError if `dy` does not fit.
        """
        kept = self.kept
        if kept is None:
            remedy = "Call forward once before each backward; a module in two places needs an object for each."
            raise BackwardError("a forward pass before backward", "none since the last backward", remedy, self.label)
        if needed or dy is not None:
            check_gradient(dy, self._output, self)
        self.kept = None
        return kept

    def forget(self) -> None:
        """Empty the slot of this module and of all below it: what the last forward kept is not needed."""
        self.kept = None
        for part in self.children():
            part.forget()

    def replica(self: Self, r: int) -> Self:
        """Return replica r of R as an ordinary module, a copy with no leading R anywhere; what all share stays whole.

        Errors: ArgumentError for a module without replicas, or an r that is not one of them.

        Example:
            >>> from handgrad import nn
            >>> nn.Linear(2, 3, replicas=5).replica(4).weight.shape
            torch.Size([2, 3])
        """
        R = replicas_of(self)
        if R is None or not -R <= r < R:
            expected = "a module with replicas" if R is None else f"a replica from 0 to {R - 1}"
            got = "one without" if R is None else str(r)
            raise ArgumentError(expected, got, "Take one of those that nn.replicate made.", f"{self.label}.replica")
        one = copy.deepcopy(self)
        one._each_tensor(lambda value: value[r].clone(), replicas=None)
        for part in one.modules():
            part.of_replica(r)
        for parameter in one.parameters():
            parameter.init = parameter.init and parameter.init.of(r, R)
        return one

    def of_replica(self, r: int | slice) -> None:
        """Keep replica r's, or those of several, of what is one number a replica and no tensor."""
        for name in self.number_names:
            setattr(self, name, taken(getattr(self, name), r))

    def _each_tensor(self, change: Callable[[Tensor], Tensor], replicas: int | None) -> None:
        """Put change(value) for every parameter and buffer, and so many replicas; None where there are some alone."""
        self.forget()
        for part in self.modules():
            if (part.replicas, replicas) != (None, None):
                for name, buffer in part.own_buffers().items():
                    setattr(part, name, change(buffer))
            part.replicas = replicas
            part.unfuse()
        for parameter in self.parameters():
            if (parameter.replicas, replicas) != (None, None):
                parameter.value, parameter.replicas = change(parameter.value), replicas
            parameter.zero_grad()

    def unfuse(self) -> None:
        """Let the parts run themselves again, where a container had fused modules in their place."""

    def backward_parameters(self, dy: Tensor) -> None:
        """Accumulate the parameters' gradients only: what the first layer of a network owes in training.

        Layers whose input gradient costs extra override it; `backward` gives the same parameter gradients.
        """
        self.backward(dy)

    # Modes, gradients, initial values

    def train(self: Self, mode: bool = True) -> Self:
        """Switch this module and all below it to training; return it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Switch this module and all below it to evaluation; return it."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient of every parameter, or fill it with zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.zero_grad()
            else:
                parameter.grad = torch.zeros_like(parameter.grad)

    def reset(self, generator: Generators = None) -> None:
        """Draw every parameter anew and set the buffers back, module by module, as the constructors did.

        `generator` may be R generators for R replicas: replica r then starts as a single network does that is
        reset with generator r, or built with it.

        Errors: ArgumentError for a parameter without an initialiser; nothing is changed then.
        """
        if lacking := [name for name, parameter in self.named_parameters() if parameter.init is None]:
            remedy = "Build it as nn.Parameter(value, nn.init.Normal(1.0)), or nn.init.Constant(1.0) if none is drawn."
            raise ArgumentError(
                "parameters with an initialiser", f"{lacking[0]} without", remedy, f"{self.label}.reset"
            )
        left = {id(parameter): parameter for parameter in self.parameters()}  # a shared one is drawn once
        for module in self.modules():
            module.reset_buffers()
            for value in list(vars(module).values()):
                if (parameter := left.pop(id(value), None)) is not None:
                    parameter.reset(generator)
            module.reset_draws(generator)

    def reset_buffers(self) -> None:
        """Set this module's own buffers back to their initial values; modules with buffers override it."""

    def reset_draws(self, generator: Generators = None) -> None:
        """Start this module's own random numbers anew, from `generator`; modules that draw in forward override it."""

    # Device, dtype, state

    def to(self: Self, *args: Any, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """Move and convert parameters and buffers in place, as in PyTorch: to(device), to(dtype), to(tensor), or both.

        Integer buffers keep their dtype. Returns the module.

        Errors: ArgumentError for a dtype that is not floating-point, DeviceError for a device that is not there.
        """
        for arg in args:
            if isinstance(arg, torch.dtype):
                dtype = arg
            elif isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif arg is not None:
                device = arg
        if dtype is not None and not dtype.is_floating_point:
            remedy = "Parameters are real numbers: choose torch.float32, float64, float16 or bfloat16."
            raise ArgumentError("a floating-point dtype", checks.short(dtype), remedy, f"{self.label}.to")
        device = checks.device(device, f"{self.label}.to")
        for parameter in self.parameters():
            parameter.to(device, dtype)
        self.forget()
        for module in self.modules():
            for name, buffer in module.own_buffers().items():
                kind = dtype if buffer.dtype.is_floating_point else None
                setattr(module, name, buffer.to(device=device, dtype=kind))
        return self

    def double(self: Self) -> Self:
        """Convert parameters and buffers to float64; return the module."""
        return self.to(torch.float64)

    def float(self: Self) -> Self:
        """Convert parameters and buffers to float32; return the module."""
        return self.to(torch.float32)

    def half(self: Self) -> Self:
        """Convert parameters and buffers to float16; return the module."""
        return self.to(torch.float16)

    def bfloat16(self: Self) -> Self:
        """Convert parameters and buffers to bfloat16; return the module."""
        return self.to(torch.bfloat16)

    def cpu(self: Self) -> Self:
        """Move parameters and buffers to the CPU; return the module."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = "cuda") -> Self:
        """Move parameters and buffers to a GPU; return the module."""
        return self.to(device)

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        """Views of all state under PyTorch's names, in its order and layout; a shared module under each name."""
        for path, module in self.named_modules(remove_duplicate=False):
            own = {name: value.torch_value for name, value in vars(module).items() if isinstance(value, Parameter)}
            for name, value in (own | module.own_buffers()).items():
                yield f"{path}.{name}" if path else name, value

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Copies of parameters and buffers under PyTorch's names and in its layout: torch.nn loads it unchanged.

        With replicas every entry has a leading R. Unlike in PyTorch they are copies, so that a state kept
        as "the best so far" stays what it was when training goes on.
        """
        copies = ((name, value.clone(memory_format=torch.contiguous_format)) for name, value in self._named_state())
        return OrderedDict(copies)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy parameters and buffers from `state_dict`, of this module or of its torch.nn counterpart.

        Args:
            state_dict: tensors by name; dtype and device may differ, they are converted.
            strict: refuse missing and unexpected names. A wrong shape is always refused.

        Errors: StateError lists all that is missing, unexpected or misshapen; then nothing has been changed.
        """
        own = dict(self._named_state())
        result = matched(own, state_dict, strict)
        for name, value in own.items():
            if name in state_dict:
                value.copy_(state_dict[name].detach())
        return result

    def to_torch(self) -> Any:
        """Return a copy of this network in torch.nn, as `handgrad.interop.to_torch` makes it."""
        from handgrad.interop import to_torch  # the only import that goes up

        return to_torch(self)

    def extra_repr(self) -> str:
        """The constructor arguments, as PyTorch prints them."""
        parts = [(name, getattr(self, name.rstrip("="))) for name in self.shown.split(", ") if name]
        parts = [(name, value is not None if name == "bias=" else value) for name, value in parts]
        return ", ".join(f"{name}{value}" if name.endswith("=") else str(value) for name, value in parts)

    def __repr__(self) -> str:
        extra = self.extra_repr()
        if self.replicas is not None:
            extra += f"{', ' if extra else ''}replicas={self.replicas}"
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = [f"({name}): " + repr(part).replace("\n", "\n  ") for name, part in children]
        return f"{type(self).__name__}({extra}\n  " + "\n  ".join(lines) + "\n)"
