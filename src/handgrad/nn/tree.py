"""Tree: what is found in a module and the modules below it, under PyTorch's dotted names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from torch import Tensor

from handgrad.errors import ArgumentError, DTypeError
from handgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from handgrad.nn.module import Module

Self = TypeVar("Self", bound="Tree")
T = TypeVar("T")


class Tree:
    """Base of `Module`: modules, parameters and buffers that are its attributes, or those of modules below it."""

    buffer_names: tuple[str, ...] = ()
    """Attributes that are saved with the parameters but not trained."""

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield name and module of each direct part."""
        for name, part in vars(self).items():
            if isinstance(part, Tree):
                yield name, cast("Module", part)

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, depth first, with dotted names; a shared one once, or under each name."""
        seen: set[int] = set()

        def walk(name: str, module: Module) -> Iterator[tuple[str, Module]]:
            if not remove_duplicate or id(module) not in seen:
                seen.add(id(module))
                yield name, module
                for child, part in module.named_children():
                    yield from walk(f"{name}.{child}" if name else child, part)

        yield from walk(prefix, cast("Module", self))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """Yield each direct part."""
        return (module for _, module in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """The module of this dotted name, as `named_modules` has it.

        Errors: AttributeError, as PyTorch's, if there is none.

        Example:
            >>> from handgrad import nn
            >>> nn.Sequential(nn.Sequential(nn.Linear(2, 3))).get_submodule("0.0")
            Linear(in_features=2, out_features=3, bias=True)
        """
        return _found(dict(self.named_modules(remove_duplicate=False)), target, "module")

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of this dotted name.

        Errors: AttributeError, as PyTorch's, if there is none.

        Example:
            >>> from handgrad import nn
            >>> nn.Sequential(nn.Linear(2, 3)).get_parameter("0.bias").shape
            torch.Size([3])
        """
        path, _, name = target.rpartition(".")
        own = vars(self.get_submodule(path))
        return _found({n: value for n, value in own.items() if isinstance(value, Parameter)}, name, "parameter")

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter with PyTorch's dotted name; a shared parameter once.

        Errors: DTypeError for an attribute that is a parameter of torch.nn, which would not be trained.
        """
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value
                elif isinstance(value, Tensor) and type(value).__qualname__ == "Parameter":
                    remedy = "Write nn.Parameter with handgrad's nn, and add to its gradient in backward."
                    raise DTypeError("a handgrad parameter", "torch.nn.Parameter", remedy, f"{module.label}.{name}")

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter, for an optimiser."""
        return (parameter for _, parameter in self.named_parameters())

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call a function with every module below this one and then with this one; return it.

        Example:
            >>> from handgrad import nn
            >>> def init(module):
            ...     if isinstance(module, nn.Linear):
            ...         module.bias.value.fill_(1.0)
            >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU()).apply(init)[0].bias.value
            tensor([1., 1., 1.])
        """
        for part in self.children():
            part.apply(fn)
        fn(cast("Module", self))
        return self

    def freeze(self: Self, frozen: bool = True) -> Self:
        """Drop the gradients of all parameters, so that none is trained, or have them again; return the module.

        Example:
            >>> from handgrad import nn
            >>> [p.frozen for p in nn.Linear(2, 3).freeze().parameters()]
            [True, True]
        """
        for parameter in self.parameters():
            parameter.frozen = frozen
        return self

    def trainable(self) -> bool:
        """Whether this module or one below it has a parameter that is not frozen."""
        own = any(isinstance(value, Parameter) and not value.frozen for value in vars(self).values())
        return own or any(part.trainable() for part in self.children())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Yield every buffer with PyTorch's dotted name."""
        for path, module in self.named_modules(prefix):
            for name, value in module.own_buffers().items():
                yield f"{path}.{name}" if path else name, value

    def own_buffers(self) -> dict[str, Tensor]:
        """The buffers of this module itself that are there, by name."""
        return {name: value for name in self.buffer_names if (value := getattr(self, name)) is not None}

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set an attribute that is saved with the parameters but not trained; or name it in the class's `buffer_names`.

        With replicas it leads with R, as everything that a module has of its own does.

        Errors: NotImplementedError for one that is not to be saved, ArgumentError for the name of something else.

        Example:
            >>> import torch
            >>> from handgrad import nn
            >>> module = nn.Module()
            >>> module.register_buffer("mean", torch.zeros(2))
            >>> list(module.state_dict()), list(module.parameters())
            (['mean'], [])
        """
        if not persistent:
            raise NotImplementedError("register_buffer(persistent=False): set an attribute, which is not saved.")
        if name not in self.buffer_names:
            if hasattr(self, name):
                remedy = "Choose another name."
                raise ArgumentError("a name for the buffer that is free", name, remedy, type(self).__name__)
            self.buffer_names = (*self.buffer_names, name)
        setattr(self, name, tensor)

    def buffers(self) -> Iterator[Tensor]:
        """Yield every buffer, such as BatchNorm's running mean."""
        return (buffer for _, buffer in self.named_buffers())


def _found(parts: dict[str, T], name: str, what: str) -> T:
    if name not in parts:
        raise AttributeError(f"no {what} {name!r} among {', '.join(filter(None, parts)) or 'none'}")
    return parts[name]
