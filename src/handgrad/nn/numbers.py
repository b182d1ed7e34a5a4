"""Numbers that replicas may have apart: an option of a module that is one number, or a tuple of R, one a replica."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError

Number = float | tuple[float, ...]
"""An option as a module keeps it."""
Numbers = float | Sequence[float] | Tensor
"""An option as a constructor takes it."""


def checked(
    name: str,
    value: Any,
    replicas: int | None,
    where: str,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    least_too: bool = True,
) -> Any:
    """Return one number as it is and R numbers as a tuple, after a check of their range and count.

    Args:
        name: the option's.
        value: a number, or a sequence, array or tensor of R.
        replicas: R, or None.
        where: the module's label.
        least, most: the smallest and the largest that it may be.
        least_too: whether it may be `least` itself.

    Errors: ArgumentError for what is no number or out of range, another count than R, and several without replicas.

    Example:
        >>> checked("delta", [0.5, 1], 2, "HuberLoss")
        (0.5, 1)
    """
    if not isinstance(value, (int, float)):  # arrays and tensors give Python's own numbers
        value = value.tolist() if hasattr(value, "tolist") else value
        value = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
    for number in listed(value):
        fits = isinstance(number, (int, float)) and least <= number <= most
        if not fits or (number == least and not least_too):
            known = " a number" if least == -math.inf else f" of at least {least}" if least_too else f" above {least}"
            expected = f"{name} from {least} to {most}" if most < math.inf else f"{name}{known}"
            example = 0.1 if most < math.inf else max(least, 0.0) + 1.0
            raise ArgumentError(expected, repr(number), f"Pass {name}={example}, say.", where)
    if isinstance(value, tuple) and len(value) != replicas:
        got = f"{len(value)} numbers for {'no' if replicas is None else replicas} replicas"
        raise ArgumentError(f"{name} to be one number, or one for each replica", got, "Give one for each.", where)
    return value


def replicas_of(module: Any) -> int | None:
    """R, or None for a module without replicas.

    Errors: DTypeError for what is no handgrad module, such as one of torch.nn.
    """
    try:
        return next((part.replicas for part in module.modules() if part.replicas is not None), None)
    except (AttributeError, TypeError) as error:
        remedy = "Build it from handgrad.nn, or convert one of torch.nn by handgrad.interop.from_torch."
        raise DTypeError("a handgrad network", checks.kind(module), remedy, "replicas") from error


def listed(number: Any) -> tuple[Any, ...]:
    """The one number, or those of all replicas."""
    return number if isinstance(number, tuple) else (number,)


def taken(number: Any, r: int | slice) -> Any:
    """Replica r's number, or those of several."""
    return number[r] if isinstance(number, tuple) else number


def joined(numbers: Sequence[Any], counts: Sequence[int]) -> Any:
    """One option of several modules that have so many replicas each: one number where all have the same."""
    every = tuple(n for number, count in zip(numbers, counts) for n in listed(number) * (count // len(listed(number))))
    return every[0] if all(number == every[0] for number in every) else every


def column(number: Number | Sequence[float], like: Tensor) -> Any:
    """One number as it is, and R of them as (R, 1, …) in the dtype of what leads with R."""
    if isinstance(number, (int, float)):
        return number
    return number[0] if len(number) == 1 else like.new_tensor(number).view(-1, *[1] * (like.ndim - 1))
