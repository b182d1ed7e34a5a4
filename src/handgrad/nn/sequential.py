"""Sequential: modules one after another (report, section 1.7)."""

from __future__ import annotations

from torch import Tensor

from handgrad.errors import HandgradError
from handgrad.nn.container import Container
from handgrad.nn.module import Module


class Sequential(Container):
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

    _fused: list[tuple[str, Module]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        name = ""
        try:
            for name, module in self.running():  # noqa: B007
                x = module.forward(x)
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

    def forget(self) -> None:
        super().forget()
        for _, module in self._fused or ():
            module.forget()

    @property
    def plain(self) -> bool:
        """Whether it computes as its parts do one after another: neither it nor its class has formulas of its own."""
        return computes_as(self, Sequential)

    def running(self) -> list[tuple[str, Module]]:
        """What runs: the parts under their names, or fused modules, without a name, in place of some of them."""
        return list(self._parts.items()) if self._fused is None else self._fused

    def fuse(self, running: list[tuple[str, Module]]) -> None:
        """Let `running` run in place of the parts; `nn.fuse` makes it."""
        self._fused = running

    def unfuse(self) -> None:
        self._fused = None


def computes_as(module: Module, kind: type[Module]) -> bool:
    """Whether a module has the forward and backward of a class, and none of its own, by its class or put into it."""
    own = ("forward", "backward", "backward_parameters")
    return all(getattr(getattr(module, name), "__func__", None) is getattr(kind, name) for name in own)
