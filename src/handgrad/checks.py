"""Checks of arguments that several layers share; each raises an error of `handgrad.errors`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from handgrad.errors import ArgumentError, DeviceError, DimensionError, DTypeError, ShapeError

OUTSIDE = 'Leave torch.autocast, which changes dtypes within layers; fit and Trainer take precision="bfloat16".'


def own(value: Any) -> Any:
    """Python's own number in place of NumPy's or a tensor of no dimensions, also within a list; the rest as it is.

    Example:
        >>> import torch
        >>> own((torch.tensor(3), 0.5, "same"))
        (3, 0.5, 'same')
    """
    if type(value) in (list, tuple):  # a torch.Size has Python's
        return type(value)(map(own, value))
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def positive_int(name: str, value: Any, where: str) -> int:
    """Return `value` as Python's integer if it is one of at least 1."""
    value = own(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name} to be a positive integer", repr(value), f"Pass {name}=1 or more.", where)
    return value


def at_least(name: str, value: Any, least: float, where: str) -> Any:
    """Return `value`, a number or a tensor of numbers, if none of them is below `least` or NaN."""
    value = own(value)
    numbers = value.flatten().tolist() if isinstance(value, Tensor) else [value]
    if not all(isinstance(v, (int, float)) and v >= least for v in numbers):
        raise ArgumentError(f"{name} of at least {least}", repr(value), f"Pass {name}={least} or more.", where)
    return value


def one_of(name: str, value: Any, options: Iterable[Any], where: str) -> Any:
    """Return `value` if it is one of `options`."""
    options = list(options)
    if value not in options:
        listed = ", ".join(map(repr, options))
        raise ArgumentError(f"{name} to be one of {listed}", repr(value), "Choose one of these.", where)
    return value


def never_inplace(inplace: bool, where: str) -> None:
    """Raise if PyTorch's option `inplace` is set."""
    if inplace:
        raise NotImplementedError(f"{where}(inplace=True): a module never changes its input. Leave inplace out.")


def tensor(x: Any, where: object, what: str = "input") -> Tensor:
    """Return `x` if it is a tensor of floating-point numbers."""
    if not isinstance(x, Tensor):
        remedy = f"Convert the {what} with torch.as_tensor(…)."
        raise DTypeError(f"{what} to be a torch.Tensor", type(x).__name__, remedy, _label(where))
    if x.grad_fn is not None:
        _taped(where, what)
    if not x.dtype.is_floating_point:
        remedy = f"Convert the {what} with .to(torch.float32)."
        raise DTypeError(f"{what} of floating-point numbers", short(x.dtype), remedy, _label(where))
    return x


def like(x: Any, reference: Tensor | None, where: object, what: str = "input", owner: str = "the parameters") -> None:
    """Raise unless `x` is a tensor with the dtype and device of `reference`, if there is one, which `owner` has."""
    if reference is None or not isinstance(x, Tensor):
        tensor(x, where, what)
        return
    if x.grad_fn is not None:
        _taped(where, what)
    if x.dtype is reference.dtype and x.device == reference.device:
        return
    if x.dtype is not reference.dtype:
        expected = f"{what} of dtype {short(reference.dtype)}, that of {owner}"
        remedy = f"Convert the {what} with .to({reference.dtype}), or the model with model.to({x.dtype})."
        if not x.dtype.is_floating_point:
            remedy = f"Convert the {what} with .to({reference.dtype})."
        elif autocast(x) or autocast(reference):
            remedy = OUTSIDE
        raise DTypeError(expected, short(x.dtype), remedy, _label(where))
    expected = f"{what} on device {reference.device}, that of {owner}"
    remedy = f"Move the {what} with .to('{reference.device}'), or the model with model.to('{x.device}')."
    raise DeviceError(expected, str(x.device), remedy, _label(where))


def autocast(like: Tensor) -> bool:
    """Whether torch.autocast changes the dtype of products, seen by doing one: it was asked otherwise before 2.4."""
    one = like.new_ones(1, 1)
    return (one @ one).dtype is not like.dtype


def same_shape(t: Tensor, y: Tensor, where: str, what: str = "targets") -> None:
    """Raise unless `t` has the shape of `y`: broadcasting (N,) against (N, 1) silently compares N × N pairs."""
    if t.shape == y.shape:
        return
    remedy = f"Give the {what} the shape of the predictions."
    if y.shape == (*t.shape, 1):
        remedy = f"Write {what}.unsqueeze(-1)."
    elif t.shape == (*y.shape, 1):
        remedy = f"Write {what}.squeeze(-1)."
    elif t.shape == y.shape[1:]:
        remedy = f"If the leading {y.shape[0]} counts replicas, build the loss with replicas={y.shape[0]}."
    raise ShapeError(f"{what} of shape {tuple(y.shape)}", f"{tuple(t.shape)}", remedy, where)


def places(x: Tensor, dims: tuple[int, ...], lead: int, where: object) -> list[int]:
    """Where the dimensions `dims` of a tensor are, at least 0, counted without its `lead` first ones, the replicas'."""
    found = [dim + lead if dim >= 0 else dim + max(x.ndim, 1) for dim in dims]
    for place in found:
        if not lead <= place < max(x.ndim, 1):
            expected = f"an input with dimension{'s' if len(dims) > 1 else ''} {', '.join(map(str, dims))}"
            remedy = "Give the input the dimensions the layer works on, or build the layer for those it has."
            got = f"shape {tuple(x.shape)}" + (", of which the replicas are the first" if lead else "")
            raise DimensionError(expected, got, remedy, _label(where))
    return found


def short(dtype: torch.dtype) -> str:
    """'float32' for torch.float32."""
    return str(dtype).removeprefix("torch.")


def kind(value: object) -> str:
    """What something is, as messages say it.

    Example:
        >>> kind(None), kind(torch.Generator)
        ('NoneType', 'the class Generator')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def device(value: Any, where: str) -> torch.device | None:
    """Return the device `value` names, if this machine has it; None, which is torch's default one, as it is."""
    if value is None:
        return None
    try:
        found = torch.device(value)
        torch.empty(0, device=found)
        if found.type == "meta":
            raise TypeError("it holds no numbers")
    except (RuntimeError, AssertionError, TypeError) as reason:
        remedy = "Choose 'cpu', or a device that torch.accelerator lists on this machine."
        raise DeviceError(
            "a device of this machine", f"{value!r} ({str(reason).splitlines()[0]})", remedy, where
        ) from None
    return found


def _taped(where: object, what: str) -> NoReturn:
    """Refuse what autograd follows: it would go on with the parameters, step after step, and keep all of them."""
    expected, got = f"{what} that autograd does not follow", "a result of torch.nn, say, made without torch.no_grad()"
    raise ArgumentError(expected, got, f"Detach the {what}, as x.detach() does.", _label(where))


def _label(where: object) -> str:
    """A module's label, made only when an error needs it; anything else as it is."""
    return str(getattr(where, "label", where))
