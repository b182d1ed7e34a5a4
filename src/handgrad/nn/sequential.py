"""Sequential: modules one after another (report, section 1.7)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, overload

from torch import Tensor

from handgrad.errors import DTypeError, HandgradError
from handgrad.nn.module import Module


class Sequential(Module):
    r"""Chain of modules: forward through them in order, backward in reverse.

    $$y = f_n(\dots f_2(f_1(x))), \qquad
      \frac{\partial L}{\partial x} = J_1^T J_2^T \cdots J_n^T \frac{\partial L}{\partial y}$$

    Args:
        modules: any number of modules, or one OrderedDict of names and modules.

    Errors: DTypeError for a part that is not a handgrad module; errors of a part name it as `model.4 (Linear 25→2)`.

    Source: the report, section 1.7.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> model(torch.ones(4, 2)).shape
        torch.Size([4, 1])
        >>> model.backward(torch.ones(4, 1)).shape
        torch.Size([4, 2])
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias', '2.weight', '2.bias']
        >>> model[1], len(model[:2])
        (ReLU(), 2)
    """

    def __init__(self, *modules: Module | OrderedDict[str, Module]) -> None:
        super().__init__()
        self._parts: dict[str, Module] = {}
        self._fused: list[tuple[str, Module]] | None = None
        named: dict[str, Any] = {str(index): module for index, module in enumerate(modules)}
        if len(modules) == 1 and isinstance(modules[0], OrderedDict):
            named = dict(modules[0])
        for name, module in named.items():
            self._parts[name] = self._checked(module, name)

    @staticmethod
    def _checked(module: Any, name: str) -> Module:
        if not isinstance(module, Module):
            remedy = "Build it from handgrad.nn, or derive it from nn.Module."
            got = f"{type(module).__module__}.{type(module).__qualname__}"
            raise DTypeError("a handgrad module", got, remedy, f"Sequential part {name}")
        return module

    def forward(self, x: Tensor) -> Tensor:
        name = ""
        try:
            for name, module in self.running():  # noqa: B007
                x = module(x)
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904  (the same error, with its place)
        return x

    def backward(self, dy: Tensor) -> Tensor:
        name = ""
        try:
            for name, module in reversed(self.running()):  # noqa: B007
                dy = module.backward(dy)
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904
        return dy

    def backward_parameters(self, dy: Tensor) -> None:
        """Back-propagate down to the first module with parameters, whose own input gradient is left out.

        In a training loop nobody uses the gradient by the network's input.
        """
        running = self.running()
        first = next((i for i, (_, module) in enumerate(running) if module.trainable()), len(running))
        name = ""
        try:
            for name, module in reversed(running[first + 1 :]):  # noqa: B007
                dy = module.backward(dy)
            for name, module in running[first : first + 1]:  # noqa: B007
                module.backward_parameters(dy)
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904
        for _, module in running[:first]:
            module.forget()

    def running(self) -> list[tuple[str, Module]]:
        """What runs: the parts under their names, or fused modules, without a name, in place of some of them."""
        return list(self._parts.items()) if self._fused is None else self._fused

    def fuse(self, running: list[tuple[str, Module]]) -> None:
        """Let `running` run in place of the parts; `nn.fuse` makes it."""
        self._fused = running

    def unfuse(self) -> None:
        self._fused = None

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._parts.items()

    def append(self, module: Module) -> Sequential:
        """Add a module at the end; return the container."""
        index = len(self._parts)
        while str(index) in self._parts:  # a slice keeps the names 1, 2, … of its parts
            index += 1
        name = str(index)
        self._parts[name] = self._checked(module, name)
        self._fused = None
        return self

    def extend(self, modules: Any) -> Sequential:
        """Add modules at the end; return the container."""
        for module in modules:
            self.append(module)
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        """The module at an index, or a Sequential that shares the modules of a slice."""
        if isinstance(index, slice):
            return Sequential(OrderedDict(list(self._parts.items())[index]))
        return self._parts[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        name = self._name(index)
        self._parts[name] = self._checked(module, name)
        self._fused = None

    def _name(self, index: int) -> str:
        if not -len(self._parts) <= index < len(self._parts):
            raise IndexError(f"Sequential has {len(self._parts)} modules, so there is none at index {index}.")
        return list(self._parts)[index]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._parts.values())
