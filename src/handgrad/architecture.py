"""Architectures as data: `describe` a network as JSON, and `build` it from that again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn
from handgrad.errors import ArgumentError, DTypeError, HandgradError
from handgrad.nn.averaging import AveragedModel
from handgrad.nn.container import Container
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter

CLASSES: dict[str, type[Module]] = {
    name: kind
    for name, kind in vars(nn).items()
    if name in nn.__all__ and isinstance(kind, type) and issubclass(kind, Module)
} | {"AveragedModel": AveragedModel}
"""The modules that a description may name without further ado."""


@dataclass(frozen=True)
class Library:
    """How the modules of a library are taken apart and put together, in terms of handgrad's classes.

    Attributes:
        kind: the class of handgrad that a module is of, or an error.
        argument: what its constructor was given for an argument, from the module and the argument's name and default;
            AttributeError if it is not kept.
        parts: its direct parts by name.
        put: gives it a part by name.
        own: its own parameters by name.
        make: a module, from the name of its class and arguments.
    """

    kind: Callable[[Any], type[Module]]
    argument: Callable[[Any, str, Any], Any]
    parts: Callable[[Any], dict[str, Any]]
    put: Callable[[Any, str, Any], None]
    own: Callable[[Any], dict[str, Any]]
    make: Callable[[str, dict[str, Any]], Any]


# From modules to descriptions


def describe(module: Module) -> dict[str, Any]:
    """Describe a network as what JSON can hold: classes, arguments, names of parts, replicas, modes; no values.

    An initialiser is described if it was given by its name; the fused modules of `nn.fuse` are not, but their parts.

    Errors: DTypeError for an argument that JSON cannot hold, or that a class of your own does not keep, and for a class
    of your own that is called as one of handgrad's.

    Example:
        >>> from handgrad import nn
        >>> describe(nn.Sequential(nn.Flatten(0), nn.Dropout(0.1).eval()))["parts"]
        {'0': {'class': 'Flatten', 'arguments': {'start_dim': 0}}, \
'1': {'class': 'Dropout', 'arguments': {'p': 0.1}, 'training': False}}
    """
    return described(module, HANDGRAD)


def described(module: Any, library: Library) -> dict[str, Any]:
    """Describe a module of any library, and which parameters stand in it under several names."""
    names: dict[int, list[tuple[bool, str]]] = {}
    for name, value, owner in _parameters(module, library):
        foreign = getattr(value, "transposed", False) != isinstance(owner, nn.Linear)
        names.setdefault(id(value), []).append((foreign, name))
    # first the one that is built with the layout of the weight that an Embedding and a Linear share
    tied = [[name for _, name in sorted(same, key=itemgetter(0))] for same in names.values() if len(same) > 1]
    return {**_described(module, library), **({"tied": tied} if tied else {})}


def _described(module: Any, library: Library) -> dict[str, Any]:
    description, parts = _head(module, library), {}
    for name, part in library.parts(module).items():
        try:
            parts[name] = _described(part, library)
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904  (the same error, with its place)
    if parts:
        description["parts"] = parts
    if not module.training:
        description["training"] = False
    if getattr(module, "seeds", None) is not None:
        description["seeds"], description["draws"] = list(module.seeds), getattr(module, "draws", 0)
    return description


def _head(module: Any, library: Library) -> dict[str, Any]:
    """Class, arguments that differ from their defaults, and replicas: what the constructor is told."""
    kind = library.kind(module)
    head: dict[str, Any] = {"class": kind.__name__}
    arguments = {}
    for name, default in _arguments(kind):
        try:
            value = library.argument(module, name, default)
        except AttributeError:
            remedy = f"Keep it as self.{name}, or say in the class attribute `found` where it is kept."
            raise DTypeError(f"an attribute {name}, an argument of its class", "none", remedy, kind.__name__) from None
        if isinstance(value, Tensor) or value != default:
            path = kind.found.get(name, name)
            if isinstance(value, Tensor) and not any(value is buffer for buffer in module.buffers()):
                remedy = f"Name {name} in the class attribute buffer_names, so that its numbers are part of the state."
                raise DTypeError("a tensor among the buffers", "another", remedy, f"{kind.__name__}({name}=…)")
            arguments[name] = _encoded(value, path, f"{kind.__name__}({name}=…)")
    if arguments:
        head["arguments"] = arguments
    if getattr(module, "replicas", None) is not None:
        head["replicas"] = module.replicas
    return head


def _arguments(kind: type[Module]) -> Iterator[tuple[str, Any]]:
    """Names and defaults of a constructor's arguments, but for a container's parts, and what makes no difference."""
    for name, parameter in inspect.signature(kind).parameters.items():
        parts = name == "modules" and issubclass(kind, Container)
        if not parts and kind is not nn.Identity and name not in ("replicas", "generator", "device"):
            yield name, parameter.default


def _encoded(value: Any, path: str, where: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_encoded(item, path, where) for item in value]
    if isinstance(value, torch.dtype):
        return {"dtype": checks.short(value)}
    if isinstance(value, Tensor):  # a buffer, whose numbers are those of the state
        return {"tensor": list(value.shape), "dtype": checks.short(value.dtype)}
    if hasattr(value, "named_children"):
        return {"part": path}
    remedy = "Give a class of your own arguments that are numbers, texts, tensors or modules."
    raise DTypeError("an argument that JSON can hold", type(value).__name__, remedy, where)


def _parameters(module: Any, library: Library, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every parameter, a shared one under each of its names, and the module that has it."""
    for name, value in library.own(module).items():
        yield prefix + name, value, module
    for name, part in library.parts(module).items():
        yield from _parameters(part, library, f"{prefix}{name}.")


# From descriptions to modules


def build(description: Mapping[str, Any], classes: Iterable[type[Module]] = ()) -> Module:
    """Build the network that `describe` described, with new initial values; torch's random state stays as it is.

    Args:
        description: what `describe` returned.
        classes: modules of your own that are in it. Nothing is ever imported by name.

    Errors: ArgumentError for a class that is neither handgrad's nor given, or for what is no description.

    Example:
        >>> from handgrad import nn
        >>> build(describe(nn.Sequential(nn.Linear(2, 3, replicas=4), nn.Tanh())))
        Sequential(replicas=4
          (0): Linear(in_features=2, out_features=3, bias=True, replicas=4)
          (1): Tanh()
        )
    """
    known = dict(CLASSES)
    for kind in classes:
        if known.setdefault(kind.__name__, kind) is not kind:
            got, remedy = f"two called {kind.__name__}", "Rename one, and save the network anew."
            raise ArgumentError("classes with names of their own", got, remedy, "handgrad.architecture")
    try:
        module: Module = built(description, replace(HANDGRAD, make=partial(_make, known)))
    except NotImplementedError as error:  # an option that no module can have had
        raise _no_description(error) from error
    return module


def filled(module: Module, state: Mapping[str, Tensor]) -> Module:
    """Give a network the values of a state and their dtypes, of which a constructor knows one for all, or none.

    Errors: StateError for a state that does not fit.
    """

    def kind(name: str, value: Tensor) -> torch.dtype:
        new = state.get(name, value).dtype
        return new if new.is_floating_point and value.is_floating_point() else value.dtype

    for name, parameter in module.named_parameters():
        parameter.to(dtype=kind(name, parameter.value))
    for path, part in module.named_modules():
        for name, buffer in part.own_buffers().items():
            setattr(part, name, buffer.to(kind(f"{path}.{name}" if path else name, buffer)))
    module.load_state_dict(state)
    return module


def _no_description(error: Exception) -> ArgumentError:
    remedy = "Pass what handgrad.architecture.describe returned."
    return ArgumentError("the description of a network", f"one that fails with {error!r}", remedy)


def built(description: Mapping[str, Any], library: Library) -> Any:
    """Build a module of any library; an option that it lacks raises NotImplementedError."""
    try:
        with torch.random.fork_rng(devices=[]):
            module = _built(description, library)
        for first, *others in description.get("tied", []):
            for other in others:
                _tie(module, first, other, library)
    except (HandgradError, NotImplementedError):
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:  # RuntimeError: no memory, too
        raise _no_description(error) from error
    return module


def _built(description: Mapping[str, Any], library: Library) -> Any:
    arguments = {
        name: _decoded(value, description, library) for name, value in description.get("arguments", {}).items()
    }
    module = library.make(description["class"], {**arguments, "replicas": description.get("replicas")})
    _fit(module, description, library)
    return module


def _fit(module: Any, description: Mapping[str, Any], library: Library) -> None:
    """Give a module the parts of its description, where its constructor has not made them, and the modes."""
    for name, part in description.get("parts", {}).items():
        try:
            made = library.parts(module).get(name)
            if made is not None and _head(made, library) == {key: part[key] for key in HEAD if key in part}:
                _fit(made, part, library)
            else:
                library.put(module, name, _built(part, library))
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904
    module.training = description.get("training", True)
    if isinstance(module, Module):
        if "seeds" in description:
            vars(module).update(seeds=tuple(description["seeds"]), draws=description["draws"])
        _lead(module, description.get("replicas"))


HEAD = ("class", "arguments", "replicas")


def _lead(module: Module, R: int | None) -> None:
    """Give a module, and values of its own, the replicas that its constructor did not take."""
    if R is not None and module.replicas is None:
        for name, buffer in module.own_buffers().items():
            setattr(module, name, buffer.expand(R, *buffer.shape).clone())
        for value in _own(module).values():
            value.value, value.replicas = value.value.expand(R, *value.shape).clone(), R
    module.replicas = R


def _decoded(value: Any, description: Mapping[str, Any], library: Library) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(item, description, library) for item in value)
    if not isinstance(value, Mapping):
        return value
    if "part" in value:
        for step in value["part"].split("."):
            description = description["parts"][step]
        return _built(description, library)
    dtype = getattr(torch, value["dtype"], None)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"no dtype {value['dtype']!r}")
    shape = value.get("tensor")
    lead = 0 if description.get("replicas") is None else 1  # which the constructor adds
    return dtype if shape is None else torch.ones(shape[lead:], dtype=dtype)


def _tie(module: Any, first: str, other: str, library: Library) -> None:
    owners = []
    for path in (first, other):
        owner = module
        for step in path.split(".")[:-1]:
            owner = library.parts(owner)[step]
        owners.append((owner, path.rpartition(".")[2]))
    (a, name), (b, other_name) = owners
    one, two = library.own(a)[name], library.own(b)[other_name]
    either = all(isinstance(owner, (nn.Linear, nn.Embedding)) for owner in (a, b))  # they take it as it is stored
    turned = not either and getattr(one, "transposed", False) != getattr(two, "transposed", False)
    if getattr(one, "torch_value", one).shape != getattr(two, "torch_value", two).shape or turned:
        remedy = "Let each layer have a weight of its own."
        raise ArgumentError(f"{other} in the layout of {first}, whose parameter it is", "another", remedy)
    setattr(b, other_name, one)


# handgrad itself


def _kind(module: Module) -> type[Module]:
    """The class, by whose name it is built again."""
    kind = type(module)
    if CLASSES.get(kind.__name__, kind) is not kind:
        remedy = f"Rename it: handgrad's {kind.__name__} would be built in its place."
        got = f"{kind.__module__}.{kind.__qualname__}"
        raise DTypeError("a class with a name of its own", got, remedy, kind.__name__)
    return kind


def _argument(module: Module, name: str, default: Any) -> Any:
    if name == "dtype":
        own = [*(value.value for value in _own(module).values()), *module.own_buffers().values()]
        return own[0].dtype if own else None
    value = attrgetter(module.found.get(name, name))(module)
    if isinstance(value, nn.Initialiser):
        return default  # it is made of functions
    value = value if isinstance(value, Tensor) else checks.own(value)
    return value is not None if isinstance(default, bool) and not isinstance(value, bool) else value


def _parts(module: Module) -> dict[str, Module]:
    return dict(module.named_children())


def _put(module: Module, name: str, part: Module) -> None:
    own = vars(module)
    (own if name in own else own.get("_parts", own))[name] = part


def _own(module: Module) -> dict[str, Parameter]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Parameter)}


def _make(known: Mapping[str, type[Module]], name: str, arguments: dict[str, Any]) -> Module:
    if name not in known:
        remedy = f"Pass classes=[{name}], or build it yourself and load its tensors with load_state_dict."
        raise ArgumentError("a class of handgrad.nn, or one that is given", name, remedy, "handgrad.architecture")
    kind = known[name]
    positional = []
    for key, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional = list(arguments.pop(key, ()))
    if "replicas" not in inspect.signature(kind).parameters:
        arguments.pop("replicas")
    return kind(*positional, **arguments)


HANDGRAD = Library(_kind, _argument, _parts, _put, _own, partial(_make, CLASSES))
