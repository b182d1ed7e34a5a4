"""Modules of torch.nn as handgrad's, and back: architecture, values, buffers and modes."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import torch

from handgrad import nn
from handgrad.architecture import CLASSES, HANDGRAD, Library, built, described, filled
from handgrad.errors import ArgumentError, DTypeError, UnsupportedError
from handgrad.interop import modules
from handgrad.nn.numbers import replicas_of


def from_torch(module: torch.nn.Module | Sequence[torch.nn.Module]) -> nn.Module:
    """Return the handgrad network that computes what a network of torch.nn does; values are copied.

    Args:
        module: of layers, losses and containers of torch.nn, or what `to_torch` made; or R of one architecture, which
            become R replicas.

    Errors: DTypeError, with its path, for a module that handgrad does not have, has a forward of its own or hooks;
    NotImplementedError for an option that is not supported, or one module with buffers in two places. `inplace` is
    dropped, as it changes no result.

    Example:
        >>> import torch
        >>> from handgrad.interop import from_torch
        >>> theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(inplace=True))
        >>> ours, x = from_torch(theirs), torch.rand(4, 2)
        >>> torch.allclose(ours(x), theirs(x))
        True
        >>> from_torch([torch.nn.Linear(2, 3) for _ in range(5)])(x).shape
        torch.Size([5, 4, 3])
    """
    if isinstance(module, (list, tuple)):
        return nn.stack([from_torch(one) for one in module])
    if not isinstance(module, torch.nn.Module):
        raise DTypeError("a torch.nn.Module, or a list of them", type(module).__name__, "Pass a network.", "from_torch")
    places: dict[int, str] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        first = places.setdefault(id(part), name)
        if first != name and any(True for _ in part.buffers(recurse=False)):
            remedy = "Give each place a module of its own: here each would move running statistics of its own."
            got = f"{first} again as {name}"
            raise UnsupportedError("a module with buffers in one place", got, remedy, "from_torch")
    ours = filled(built(described(module, TORCH), HANDGRAD), module.state_dict())
    theirs = dict(module.named_parameters(remove_duplicate=False))
    for name, p in ours.named_parameters():
        p.frozen = not theirs[name].requires_grad
    where = next((value.device for value in module.state_dict().values()), None)
    return ours if where is None else ours.to(where)


def to_torch(module: nn.Module) -> torch.nn.Module:
    """Return the network of torch.nn that computes what a handgrad network does; values are copied.

    What torch.nn lacks, such as Residual, becomes a small torch.nn.Module of `handgrad.interop.modules`.

    Errors: ArgumentError for a network with replicas; DTypeError, with its path, for a class of your own;
    NotImplementedError for an option that torch.nn lacks.

    Example:
        >>> from handgrad import nn
        >>> from handgrad.interop import to_torch
        >>> to_torch(nn.Sequential(nn.Linear(2, 3), nn.Residual(nn.Tanh())))
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): Residual(
            (0): Tanh()
          )
        )
    """
    given: object = module
    if not isinstance(given, nn.Module):
        raise DTypeError("a handgrad module", type(given).__name__, "Pass a network of handgrad.nn.", "to_torch")
    R = replicas_of(module)
    if R is not None:
        remedy = f"Take one of them, model.replica(r) with r from 0 to {R - 1}."
        raise ArgumentError("a network without replicas", f"one with {R}", remedy, "to_torch")
    theirs: torch.nn.Module = built(described(module, replace(HANDGRAD, kind=_own_kind)), TORCH)
    state = module.state_dict()
    for name, value in (*theirs.named_parameters(), *theirs.named_buffers()):
        value.data = value.data.to(state[name].dtype)  # a constructor knows one for all
    theirs.load_state_dict(state)
    for name, p in module.named_parameters():
        theirs.get_parameter(name).requires_grad_(not p.frozen)
    return theirs.to(next((value.device for value in state.values()), None))


def _own_kind(module: nn.Module) -> type[nn.Module]:
    """The class of a module, unless it has a forward of the user's own, which nobody can translate."""
    kind = type(module)
    if CLASSES.get(kind.__name__) is not kind or "forward" in vars(module):
        remedy = "Write it as a torch.nn.Module, and convert its parts."
        raise DTypeError(
            "a module of handgrad.nn as it is", f"{kind.__module__}.{kind.__qualname__}", remedy, kind.__name__
        )
    return kind


# torch.nn as a library


def _kind(module: torch.nn.Module) -> type[nn.Module]:
    kind = type(module)
    name = "Linear" if kind is torch.nn.modules.linear.NonDynamicallyQuantizableLinear else kind.__name__
    theirs = (getattr(modules, name, None), getattr(torch.nn, name, None))
    if name not in CLASSES or (kind not in theirs and name == kind.__name__) or "forward" in vars(module):
        remedy = "Write it as a handgrad.nn.Module, with its backward, and use load_state_dict."
        got = f"{kind.__module__}.{kind.__qualname__}"
        raise DTypeError("a module as torch.nn and handgrad.nn have it", got, remedy, kind.__name__)
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    if any(hooks):
        remedy = "Remove them first: handgrad has none."
        raise DTypeError("a module without hooks", "one with hooks on forward or backward", remedy, kind.__name__)
    known = inspect.signature(CLASSES[name]).parameters
    for option, parameter in inspect.signature(kind).parameters.items():
        named = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if named and option not in known and getattr(module, option, parameter.default) != parameter.default:
            raise NotImplementedError(f"{name}({option}={getattr(module, option)!r}) is not there in handgrad.")
    return CLASSES[name]


def _argument(module: torch.nn.Module, name: str, default: Any) -> Any:
    if name == "dtype":
        own = [value for value in (*module._parameters.values(), *module._buffers.values()) if value is not None]
        return own[0].dtype if own else None
    if name == "inplace":
        return default
    if name == "_freeze":
        return not module.weight.requires_grad
    path = CLASSES.get(type(module).__name__, nn.Module).found.get(name, name)
    try:
        value = attrgetter(path)(module)
    except AttributeError:
        value = getattr(module, name, default)
    if isinstance(value, tuple) and len(value) == 1 and isinstance(default, int):  # (0,) for 0, in AvgPool1d
        value = value[0]
    if inspect.isroutine(value):  # activation=torch.nn.functional.relu
        theirs = (getattr(library, value.__name__, None) for library in (torch, torch.nn.functional))
        return value.__name__ if value in theirs else f"{value.__module__}.{value.__qualname__}"
    return value is not None if isinstance(default, bool) and not isinstance(value, bool) else value


def _parts(module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in module._modules.items() if part is not None}


def _own(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in module._parameters.items() if value is not None}


def _make(name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    plain = name.startswith("Transformer") and "is_causal" not in arguments
    kind: Any = getattr(torch.nn if plain else modules, name, None) or getattr(torch.nn, name, None)
    if kind is None:
        raise UnsupportedError("a module that torch.nn has", name, "Convert its parts.", "to_torch")
    del arguments["replicas"]
    if name != "PReLU":
        arguments.pop("init", None)  # it only says how values are drawn
    if arguments.get("reduction") == "batchmean" and name != "KLDivLoss":
        raise NotImplementedError(f"torch.nn.{name}(reduction='batchmean') is not there. Use 'sum', and divide by N.")
    known = inspect.signature(kind).parameters
    positional: list[Any] = []
    for option in list(arguments):
        if option not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise NotImplementedError(f"torch.nn.{name}({option}=…) is not there in this version of torch.")
        if option in known and known[option].kind is known[option].VAR_POSITIONAL:
            positional = list(arguments.pop(option))
    with warnings.catch_warnings():  # such as of a fast path that is not taken
        warnings.simplefilter("ignore")
        made: torch.nn.Module = kind(*positional, **arguments)
    return made


TORCH = Library(_kind, _argument, _parts, setattr, _own, _make)
