"""Replicas: R networks of one architecture as one network."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn import numbers
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of

M = TypeVar("M", bound=Module)


def replicate(module: M, seeds: Sequence[int]) -> M:
    """Return R networks in one, each drawn from its own seed: every value gets a leading R.

    Replica r starts with the very numbers that `module.reset(torch.Generator().manual_seed(seeds[r]))` gives.

    Args:
        module: an ordinary network, which stays as it is.
        seeds: R different integers of 64 bits, with a sign or without.

    Errors: ArgumentError for what are no such seeds, equal ones, none, or a module that has replicas already.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.replicate(nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 1)), seeds=range(20))
        >>> model(torch.ones(500, 2)).shape  # shared by all replicas
        torch.Size([20, 500, 1])
    """
    seeds = _checked(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        twice = sorted({s for s in seeds if seeds.count(s) > 1})
        got = f"{twice} more than once" if seeds else "none"
        raise ArgumentError("different seeds, at least one", got, "Pass seeds=range(R), say.", "nn.replicate")
    if replicas_of(module) is not None:
        remedy = "Replicate the network that was built without replicas=."
        raise ArgumentError("a network without replicas", f"{module.label} with some", remedy, "nn.replicate")
    module = expanded(module, len(seeds))
    module._each_tensor(Tensor.clone, replicas=len(seeds))
    module.reset([torch.Generator().manual_seed(seed) for seed in seeds])
    return module


def expanded(module: M, replicas: int) -> M:
    """Return R replicas of a network without any that all have its values, in the memory of one.

    What asks for shapes alone, such as an optimiser that makes no step, can be tried with them.
    """
    module = copy.deepcopy(module)
    module._each_tensor(lambda value: value.expand(replicas, *value.shape), replicas=replicas)
    return module


def viewed(module: M, some: slice) -> M:
    """Return some of a module's replicas as one, whose values are views of its own; gradients are not.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> layer = nn.Linear(2, 3, replicas=5)
        >>> two = viewed(layer, slice(1, 3))
        >>> _ = layer.weight.value.zero_()
        >>> two.weight.value.shape, bool(two.weight.value.any())
        (torch.Size([2, 2, 3]), False)
    """
    module.forget()
    held = [*(v for p in module.parameters() for v in (p.value, p.grad)), *module.buffers()]
    own = copy.deepcopy(module, {id(value): value for value in held})  # of which none is copied
    own._each_tensor(lambda value: value[some], replicas=len(range(*some.indices(replicas_of(module) or 0))))
    for part in own.modules():
        part.of_replica(some)
    return own


def stack(modules: Sequence[M]) -> M:
    """Join networks of one architecture, with or without replicas, into one of all their replicas.

    Values are copied. What is not a tensor, such as BatchNorm's eps, or the mode, must be the same in all, but for
    numbers that may be R: those, such as HuberLoss's delta, become R where they differ.

    Errors: ArgumentError for no networks, or for one that is not like the first.

    Example:
        >>> from handgrad import nn
        >>> two = nn.stack([nn.Linear(2, 3), nn.Linear(2, 3)])
        >>> two.weight.shape, nn.stack([two, nn.Linear(2, 3)]).replicas
        (torch.Size([2, 2, 3]), 3)
    """
    modules = list(modules)
    if not modules:
        raise ArgumentError("at least one network", "none", "Pass a list of networks.", "nn.stack")
    plain = [described(module) for module in modules]
    for index, description in enumerate(plain):
        if description != plain[0]:
            expected, got = next((a, b) for a, b in zip_longest(plain[0], description) if a != b)
            remedy = "Stack networks that were built alike."
            raise ArgumentError(expected or "nothing more", got or "less", remedy, f"nn.stack, network {index}")
    joined = copy.deepcopy(modules[0])
    counts = [replicas_of(module) or 1 for module in modules]
    values = [_tensors(module, count) for module, count in zip(modules, counts)]
    in_order = iter([torch.cat(same) for same in zip(*values)])
    joined._each_tensor(lambda _: next(in_order), replicas=sum(counts))
    for parameter, *same in zip(joined.parameters(), *(m.parameters() for m in modules)):
        inits = [one.init for one in same if one.init is not None]
        if len(inits) == len(same) and len({type(init) for init in inits}) == 1:
            parameter.init = replace(inits[0], width=numbers.joined([init.width for init in inits], counts))
    for part, *others in zip(joined.modules(), *(m.modules() for m in modules)):
        seeds = [other.seeds for other in others]
        part.seeds = None if None in seeds else tuple(seed for own in seeds for seed in own or ())
        for name in part.number_names:
            setattr(part, name, numbers.joined([getattr(other, name) for other in others], counts))
    return joined


def _checked(seeds: Any) -> list[int]:
    """The seeds as Python's integers, as arrays and tensors have them, too."""
    try:
        found = [operator.index(seed) for seed in seeds]
    except TypeError:
        remedy = "Pass a list of integers, such as range(R)."
        raise ArgumentError("seeds to be a list of integers", repr(seeds), remedy, "nn.replicate") from None
    if wide := [seed for seed in found if not -(2**63) <= seed < 2**64]:
        remedy = "Pass seeds=range(R), say."
        raise ArgumentError("seeds from −2⁶³ to 2⁶⁴ − 1", str(wide[0]), remedy, "nn.replicate")
    return found


def _tensors(module: Module, R: int) -> list[Tensor]:
    """Every tensor, with a leading R also where replicas share it, in the order in which `_each_tensor` goes."""
    own = [(buffer, part.replicas) for part in module.modules() for buffer in part.own_buffers().values()]
    own += [(p.value, p.replicas) for p in module.parameters()]
    return [value.expand(R, *value.shape) if replicas is None else value for value, replicas in own]


def described(module: Module) -> list[str]:
    """What networks must have in common to be stacked: modules, options, modes, and the dtypes of their values."""
    lines = []
    for path, part in module.named_modules():
        plain = copy.copy(part)
        vars(plain).update(dict.fromkeys(part.number_names))  # those may differ
        mode = "" if part.training else " in evaluation"
        lines.append(f"{path}{path and ': '}{type(part).__name__}({plain.extra_repr()}){mode}")
    values = [*module.named_buffers(), *((name, p.value) for name, p in module.named_parameters())]
    lines += [f"{name} of dtype {checks.short(value.dtype)}" for name, value in values]
    return [*lines, *(f"{name} frozen" for name, p in module.named_parameters() if p.frozen)]
