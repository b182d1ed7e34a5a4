"""Parameter: a value that training changes, and its gradient (report, section 1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from handgrad.checks import positive_int, short
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.nn.init import Distribution

Generators = torch.Generator | Sequence[torch.Generator] | None


def sources(generator: Generators, count: int, where: str) -> Sequence[torch.Generator | None]:
    """The generator of each of `count` replicas, which may be one that they draw from in turn.

    Errors: ArgumentError for another number of generators.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return [generator] * count
    if len(generator) != count:
        remedy = "Pass one generator, or one for each replica."
        raise ArgumentError(f"{count} generators", str(len(generator)), remedy, where)
    return generator


class Absent:
    """In the place of what PyTorch's parameters have, and often are given: set or got, it is an error as any other."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, parameter: Any, owner: type) -> Any:
        return self if parameter is None else parameter.__getattr__(self.name)

    def __set__(self, parameter: Any, value: Any) -> None:
        parameter.__getattr__(self.name)


class Parameter:
    """A trainable tensor with its gradient and its initialiser.

    With replicas the value has a leading R, one slice for each network.

    Args:
        value: the tensor; with `init` only its shape, dtype and device count, and it is filled.
        init: the distribution that `reset` draws from.
        generator: source of the first draw; R of them where there are R replicas.
        replicas: R, or None for an ordinary parameter. `value` has no leading R: it is added here.
        transposed: the value is stored as the transpose of PyTorch's, as (I, O) for (O, I). Initialisers
            draw, and state dicts speak, PyTorch's layout, so a seed gives the numbers that torch.nn draws.

    Attributes:
        value: the tensor.
        grad: None, or the accumulated gradient, of the same shape.
        frozen: whether its gradients are dropped, so that optimisers pass it over.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> p = nn.Parameter(torch.zeros(2, 3))
        >>> p.add_grad(torch.ones(2, 3)); p.add_grad(torch.ones(2, 3))
        >>> p.grad.sum().item()
        12.0
        >>> p.zero_grad(); p.grad is None
        True
    """

    __slots__ = ("frozen", "grad", "init", "replicas", "transposed", "value")  # what PyTorch has besides is an error

    value: Tensor
    grad: Tensor | None

    def __init__(
        self,
        value: Tensor,
        init: Distribution | None = None,
        generator: Generators = None,
        *,
        replicas: int | None = None,
        transposed: bool = False,
    ) -> None:
        if not isinstance(value, Tensor):
            raise DTypeError("a value that is a tensor", type(value).__name__, "Pass torch.tensor(…).", "Parameter")
        value = value.detach()
        if transposed and value.ndim < 2:
            shape, remedy = str(tuple(value.shape)), "Leave transposed out."
            raise ShapeError("a value of rows and columns", shape, remedy, "Parameter")
        if not value.dtype.is_floating_point:
            remedy = "Choose torch.float32, float64, float16 or bfloat16."
            raise DTypeError("a value of floating-point numbers", short(value.dtype), remedy, "Parameter")
        if replicas is not None:
            positive_int("replicas", replicas, "Parameter")
            value = value.expand(replicas, *value.shape).clone()
        self.value = value.mT.contiguous() if transposed else value
        self.grad = None
        self.frozen = False
        self.init = init
        self.replicas = replicas
        self.transposed = transposed
        if init is not None:
            self.reset(generator)

    if not TYPE_CHECKING:  # type checkers know without it

        def __getattr__(self, name):
            holds = "it is no tensor, but holds one, its value, beside grad and frozen, the opposite of requires_grad."
            raise AttributeError(f"Parameter has no {name!r}: {holds}", name=name, obj=self)

        data, requires_grad = Absent(), Absent()

    @property
    def torch_value(self) -> Tensor:
        """The value in PyTorch's layout, as a view."""
        return self.value.mT if self.transposed else self.value

    @property
    def matrix(self) -> Tensor:
        """The value as a factor of x W, (I, O) for PyTorch's (O, I), as a view."""
        return self.value if self.transposed else self.value.mT

    @property
    def shape(self) -> torch.Size:
        """Shape of the value."""
        return self.value.shape

    def numel(self) -> int:
        """Number of elements, those of all replicas together."""
        return self.value.numel()

    def zero_grad(self) -> None:
        """Clear the gradient: the next backward sets it."""
        self.grad = None

    def add_grad(self, grad: Tensor, transposed: bool | None = None) -> None:
        """Accumulate a gradient of the value's shape, in its dtype; the tensor is the parameter's from here on.

        `transposed` says that it is that of `matrix`, if True, or of `torch_value`, if False, however those are stored:
        so a Linear and an Embedding may share their weight.
        """
        value = self.value
        if transposed is not None and transposed is not self.transposed:
            grad = grad.mT.contiguous()
        if grad.shape != value.shape:
            remedy = "Sum the gradient over every dimension that the parameter does not have."
            raise ShapeError(f"a gradient of shape {tuple(self.shape)}", str(tuple(grad.shape)), remedy, "Parameter")
        if self.frozen:
            return
        if self.grad is not None:
            self.grad.add_(grad)
        else:
            self.grad = grad if grad.dtype is value.dtype else grad.to(value.dtype)

    def reset(self, generator: Generators = None) -> None:
        """Draw the value anew from the initialiser and clear the gradient.

        With R replicas `generator` may be R generators: replica r then gets the very numbers that a single
        network gets from generator r. One generator, or torch's default one, is used for all in turn.
        """
        if self.init is None:
            remedy = "Build it as Parameter(value, init=nn.init.Normal(1.0))."
            raise ArgumentError("a parameter with an initialiser", "one without", remedy, "Parameter.reset")
        values = [self.torch_value] if self.replicas is None else list(self.torch_value)
        for r, (value, source) in enumerate(zip(values, sources(generator, len(values), "Parameter.reset"))):
            init = self.init.of(None if self.replicas is None else r, self.replicas)
            value.copy_(init.draw(value.shape, value.dtype, value.device, source))
        self.zero_grad()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> None:
        """Move or convert value and gradient in place, so that optimisers keep hold of this parameter."""
        self.value = self.value.to(device=device, dtype=dtype)
        self.grad = None if self.grad is None else self.grad.to(device=device, dtype=dtype)

    def __repr__(self) -> str:
        init = "" if self.init is None else f", {self.init}"
        return f"Parameter({tuple(self.shape)}, {short(self.value.dtype)}{init})"
