"""First: the first output of a module that has several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from handgrad.errors import DTypeError, HandgradError
from handgrad.nn.module import Module


class First(Module):
    r"""A module of which only the first output counts, such as an LSTM within a Sequential.

    $$y = y_1 \quad \text{of} \quad (y_1, y_2, \dots) = f(x), \qquad dy_2 = dy_3 = \dots = 0$$

    It is a container: names in state dicts go through `module`, as in "0.module.weight_ih_l0".

    Args:
        module: any module.

    Errors: DTypeError for what is no handgrad module; those of the module name it as `model.module (LSTM 8→16)`.

    Source: a helper of this package; PyTorch has none.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.Sequential(nn.First(nn.LSTM(8, 16)), nn.Linear(16, 2))
        >>> model(torch.ones(7, 5, 8)).shape
        torch.Size([7, 5, 2])
        >>> model.backward(torch.ones(7, 5, 2)).shape
        torch.Size([7, 5, 8])
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        part: Any = module
        if not isinstance(part, Module):
            got, remedy = type(part).__name__, "Build it from handgrad.nn, or derive it from nn.Module."
            raise DTypeError("a handgrad module", got, remedy, self.label)
        self.module = part

    def forward(self, *inputs: Any) -> Tensor:
        outputs = self._within(self.module, *inputs)
        first: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        return first

    def backward(self, dy: Tensor) -> Any:
        return self._within(self.module.backward, dy)

    def backward_parameters(self, dy: Tensor) -> None:
        self._within(self.module.backward_parameters, dy)

    def _within(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the module, whose errors then name it."""
        try:
            return call(*args)
        except HandgradError as error:
            raise error.inside("module")  # noqa: B904  (the same error, with its place)
