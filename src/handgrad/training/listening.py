"""Listening: what each part of a network returns on the way forward, and is given on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor

from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter
from handgrad.nn.slot import several

Heard = Callable[[str, Module, Any], object]
"""Is told a part's name, "" for the network itself, the part, and a tensor or several."""
METHODS = ("forward", "backward", "backward_within", "backward_parameters")


def placed(name: str) -> str:
    """A part's name in messages: "model.2.0", or "model" for the network itself."""
    return f"model.{name}" if name else "model"


def tensors(value: Any) -> Iterator[Tensor]:
    """A tensor, or all of nested tuples, such as an LSTM's output and states; None is none."""
    if isinstance(value, tuple):
        for one in value:
            yield from tensors(one)
    elif isinstance(value, Tensor):
        yield value


def of_replica(value: Any, r: int, R: int | None) -> list[Tensor]:
    """Replica r's of each of the tensors, of those that all share the whole."""
    return [one[r] if R is not None and one.shape[:1] == (R,) else one for one in tensors(value)]


@contextmanager
def listening(model: Module, forward: Heard, backward: Heard = lambda *_: None) -> Iterator[None]:
    """Within it `forward` is told each part's output, in the order in which they arise, and `backward` its gradient.

    Every part runs itself, nothing is fused. What a part without parameters of its own returns as another returned it,
    as a Sequential does, is told of that one alone, and so is its gradient.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Residual(nn.Linear(3, 3)), nn.Tanh())
        >>> with listening(model, lambda name, part, y: print(name, part.label, tuple(y.shape))):
        ...     y = model(torch.ones(4, 2))
        0 Linear 2→3 (4, 3)
        1.0 Linear 3→3 (4, 3)
        1 Residual (4, 3)
        2 Tanh (4, 3)
    """
    last: list[Any] = [None]
    told: set[str] = set()

    def wrapped(name: str, part: Module, method: str) -> Callable[..., Any]:
        own = getattr(part, method)

        @wraps(own)
        def heard(*inputs: Any, **options: Any) -> Any:
            if method != "forward":
                if name in told:
                    backward(name, part, [*inputs, *options.values()][0])
                return own(*inputs, **options)
            y = own(*inputs, **options)
            if several(y)[0] is not last[0] or any(isinstance(value, Parameter) for value in vars(part).values()):
                last[0] = several(y)[0]
                told.add(name)
                forward(name, part, y)
            return y

        return heard

    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        for name, part in model.named_modules():
            part.unfuse()
            own, methods = vars(part), [method for method in METHODS if hasattr(part, method)]  # a ModuleList has none
            before.append((own, {method: own.get(method) for method in methods}))
            own |= {method: wrapped(name, part, method) for method in methods}
        yield
    finally:
        for own, methods_before in before:
            for method, one in methods_before.items():
                if one is None:
                    del own[method]
                else:
                    own[method] = one
