"""Container: the base of modules that hold other modules by name; ModuleList and ModuleDict, which do nothing more."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import groupby
from typing import Any, TypeVar, cast, overload

from handgrad.errors import ArgumentError, DTypeError
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of

Self = TypeVar("Self", bound="Container")


class Container(Module):
    """Base of the containers: modules under the names "0", "1", …, or under those of an OrderedDict.

    A part is found, and exchanged, by its index, or by its name as an attribute. One without parameters and buffers,
    such as an activation, may be given for several places: each has a copy of its own.

    Errors: DTypeError for a part that is not a handgrad module, ArgumentError for a name that is empty or has a dot.

    Example:
        >>> from collections import OrderedDict
        >>> from handgrad import nn
        >>> from handgrad.nn.container import Container
        >>> class Last(Container):
        ...     def forward(self, x):
        ...         return self[-1](x)
        >>> last = Last(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
        >>> last.b = nn.SiLU()
        >>> last[-1], last.a
        (SiLU(), ReLU())
    """

    def __init__(self, *modules: Module | OrderedDict[str, Module]) -> None:
        super().__init__()
        self._parts: dict[str, Module] = {}
        named: dict[str, Any] = {str(index): module for index, module in enumerate(modules)}
        if len(modules) == 1 and isinstance(modules[0], OrderedDict):
            named = dict(modules[0])
        for name, module in named.items():
            self._parts[name] = self._checked(module, name)
        self.replicas = replicas_of(self)

    def _checked(self, module: Any, name: str) -> Module:
        if not isinstance(name, str) or not name or "." in name:  # a path could then mean two parts
            remedy = "Name the parts otherwise, such as 'hidden'."
            raise ArgumentError("names that are texts without dots", repr(name), remedy, type(self).__name__)
        if not isinstance(module, Module):
            remedy = "Build it from handgrad.nn, or derive it from nn.Module."
            got = f"{type(module).__module__}.{type(module).__qualname__}"
            raise DTypeError("a handgrad module", got, remedy, f"{type(self).__name__} part {name}")
        elsewhere = any(part is module for other, part in self._parts.items() if other != name)
        if elsewhere and not module.state_dict():
            return copy.deepcopy(module)  # an activation in several places keeps in each what its backward there needs
        return module

    def __getattr__(self, name: str) -> Module:
        """A part by its name, where nothing else has it, as in PyTorch."""
        if name in (parts := vars(self).get("_parts", {})):
            return cast(Module, parts[name])
        return object.__getattribute__(self, name)  # type: ignore[no-any-return] # raises what it did, also in a property

    def __setattr__(self, name: str, value: Any) -> None:
        """A part that is set by its name is exchanged, as in PyTorch."""
        if name not in vars(self).get("_parts", ()) or name in vars(self) or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            self._exchange(name, value)

    def named_parts(self) -> Iterator[tuple[str, Module]]:
        """Name and module of each part; modules that are a subclass's attributes are none."""
        yield from self._parts.items()

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._parts.items()
        yield from super().named_children()

    def append(self: Self, module: Module) -> Self:
        """Add a module at the end; return the container."""
        index = len(self._parts)
        while str(index) in self._parts:  # a slice keeps the names 1, 2, … of its parts
            index += 1
        self._parts[str(index)] = self._checked(module, str(index))
        self.unfuse()
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; return the container."""
        for module in modules:
            self.append(module)
        return self

    def insert(self: Self, index: int, module: Module) -> Self:
        """Put a module before the one at an index; return the container. Names that are numbers count on from 0.

        Example:
            >>> from handgrad import nn
            >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).insert(1, nn.ReLU())
            >>> [(name, part.label) for name, part in model.named_parts()]
            [('0', 'Linear 2→3'), ('1', 'ReLU'), ('2', 'Linear 3→1')]
        """
        own, end = list(self._parts.items()), len(self._parts)
        while str(end) in self._parts:
            end += 1
        own.insert(index, (str(end), self._checked(module, str(end))))
        return self._renamed(own)

    def pop(self, index: int = -1) -> Module:
        """Take the module at an index out; return it.

        Errors: IndexError where there is none.

        Example:
            >>> from handgrad import nn
            >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
            >>> model.pop(), len(model)
            (ReLU(), 1)
        """
        module = self[index]
        del self[index]
        return module

    def __delitem__(self, index: int | slice) -> None:
        own = list(self._parts.items())
        if not isinstance(index, slice):
            self._name(index)
        del own[index]
        self._renamed(own)

    def _renamed(self: Self, parts: list[tuple[str, Module]]) -> Self:
        """Let these be the parts, numbered anew if numbers are all names that they have."""
        numbered = all(name.isdigit() for name, _ in parts)
        self._parts = {str(i) if numbered else name: part for i, (name, part) in enumerate(parts)}
        self.unfuse()
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self: Self, index: slice) -> Self: ...
    def __getitem__(self: Self, index: int | slice) -> Module | Self:
        """The module at an index, or a container that shares the modules of a slice."""
        if isinstance(index, slice):
            return self.of(OrderedDict(list(self._parts.items())[index]))
        return self._parts[self._name(index)]

    def of(self: Self, parts: OrderedDict[str, Module]) -> Self:
        """A container like this one of other parts."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._parts = dict(parts)
        other.kept = None  # the parts, which it shares, keep what they have
        other.unfuse()
        return other

    def __setitem__(self, index: int, module: Module) -> None:
        self._exchange(self._name(index), module)

    def _exchange(self, name: str, module: Module) -> None:
        self._parts[name] = self._checked(module, name)
        self.unfuse()

    def _name(self, index: int) -> str:
        if not -len(self._parts) <= index < len(self._parts):
            message = f"{type(self).__name__} has {len(self._parts)} modules, so there is none at index {index}."
            raise IndexError(message)
        return list(self._parts)[index]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._parts.values())


class ModuleList(Container):
    """A list of modules, whose parameters are found; what is done with them is written by the module that holds it.

    Args:
        modules: any iterable of modules.

    Errors: DTypeError for a part that is not a handgrad module.

    Source: torch.nn.ModuleList.

    Example:
        >>> from handgrad import nn
        >>> class Stack(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        ...     def forward(self, x):
        ...         for layer in self.layers:
        ...             x = layer(x)
        ...         return x
        ...     def backward(self, dy):
        ...         for layer in reversed(list(self.layers)):
        ...             dy = layer.backward(dy)
        ...         return dy
        >>> len(Stack().state_dict())
        6
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__(*(modules or ()))

    def __repr__(self) -> str:
        """As PyTorch prints it: equal neighbours once, with their number."""
        lines, first = [], 0
        for text, run in groupby(map(repr, self)):
            last = first + len(list(run)) - 1
            name = f"({first})" if last == first else f"({first}-{last}): {last - first + 1} x"
            lines.append(f"  {name if last > first else name + ':'} " + text.replace("\n", "\n  "))
            first = last + 1
        return "ModuleList(" + ("\n" + "\n".join(lines) + "\n" if lines else "") + ")"


class ModuleDict(Container):
    """Modules by name, whose parameters are found; what is done with them is written by the module that holds them.

    A dictionary, with `keys`, `values`, `items`, `update`, `pop` and `clear`; iterating gives the names.

    Args:
        modules: a mapping from names to modules, or pairs of them.

    Errors: DTypeError for a part that is not a handgrad module, ArgumentError for a name that is empty or has a dot.

    Source: torch.nn.ModuleDict.

    Example:
        >>> from handgrad import nn
        >>> heads = nn.ModuleDict({"value": nn.Linear(8, 1), "policy": nn.Linear(8, 4)})
        >>> heads["policy"], list(heads), len(heads.state_dict())
        (Linear(in_features=8, out_features=4, bias=True), ['value', 'policy'], 4)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__(OrderedDict(modules or {}))

    def __getitem__(self, name: str) -> Module:  # type: ignore[override]
        return self._parts[name]

    def __setitem__(self, name: str, module: Module) -> None:  # type: ignore[override]
        self._exchange(name, module)

    def __delitem__(self, name: str) -> None:  # type: ignore[override]
        del self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self._parts)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._parts.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._parts.values()

    def items(self) -> ItemsView[str, Module]:
        """Name and module of each."""
        return self._parts.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or put them in the place of those of their names."""
        for name, module in OrderedDict(modules).items():
            self[name] = module

    def pop(self, name: str) -> Module:  # type: ignore[override]
        """Take a module out; return it."""
        return self._parts.pop(name)

    def clear(self) -> None:
        """Take all out."""
        self._parts.clear()
