"""Several tensors in place of one; what a module remembers of its output, and the check of its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from handgrad.checks import short
from handgrad.errors import DTypeError, ShapeError


def several(value: Any) -> tuple[Any, ...]:
    """A tuple as it is, and what is none as a tuple of one."""
    return value if isinstance(value, tuple) else (value,)


def mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `change` to a value, or to all of nested tuples.

    Example:
        >>> mapped(abs, (-1, (-2, 3)))
        (1, (2, 3))
    """
    return tuple(mapped(change, branch) for branch in tree) if isinstance(tree, tuple) else change(tree)


def described(y: Any) -> Any:
    """Shape and dtype of an output, or a list of those of several."""
    return [described(part) for part in y] if isinstance(y, tuple) else None if y is None else (y.shape, y.dtype)


def check_gradient(dy: Any, output: Any, module: Any) -> None:
    """Raise unless a gradient has the shape and dtype of its output, or each of several, where None stands for zero."""
    if output is None:
        return
    if isinstance(output, list):
        given = several(dy)
        if len(given) > len(output):
            remedy = "Hand backward a gradient for each output, None where it is zero."
            raise ShapeError(f"gradients of {len(output)} outputs", str(len(given)), remedy, module.label)
        for one, of in zip(given, output):
            if one is not None:
                check_gradient(one, of, module)
        return
    shape, dtype = output
    if not isinstance(dy, Tensor):
        remedy = "Hand backward the gradient of the loss by this module's output, such as criterion.backward()."
        raise DTypeError("a gradient, a tensor", type(dy).__name__, remedy, module.label)
    if dy.shape != shape and not _shared(shape, dy, module.replicas):
        remedy = "Hand backward the gradient of the loss by this module's output."
        raise ShapeError(f"a gradient of the output's shape {tuple(shape)}", str(tuple(dy.shape)), remedy, module.label)
    if dy.dtype is not dtype:
        remedy = f"Convert the gradient with .to({dtype})."
        expected = f"a gradient of the output's dtype {short(dtype)}"
        raise DTypeError(expected, short(dy.dtype), remedy, module.label)


def _shared(shape: torch.Size, dy: Tensor, R: int | None) -> bool:
    """Whether R replicas above an output of `shape`, which they share, each have a gradient of it."""
    return R is not None and (dy.shape == (R, *shape) or (shape[:1] == (1,) and dy.shape == (R, *shape[1:])))
