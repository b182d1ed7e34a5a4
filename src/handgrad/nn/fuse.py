"""fuse: put fused modules in place of runs of modules that they equal."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeGuard, TypeVar

from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.chain import LinearChain
from handgrad.nn.elementwise import Elementwise
from handgrad.nn.linear import Linear
from handgrad.nn.module import Module
from handgrad.nn.sequential import Sequential, computes_as

Named = list[tuple[str, Module]]
M = TypeVar("M", bound=Module)


def fuse(model: Sequential) -> Sequential:
    """Return a Sequential of the same modules that runs faster: same names, parameters, buffers and results.

    Runs of Linear, then (an `Elementwise` activation, perhaps BatchNorm1d, Linear) once or more, become a `LinearChain`
    each, in nested Sequentials too. The modules themselves are shared, so training the one trains the other; results
    agree to rounding. What a fused module keeps between forward and backward is its own: `kept` of the parts stays
    empty. What has a forward or backward of its own, by its class or put into it, runs as it is.

    Example:
        >>> from handgrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 1))
        >>> [module.label for _, module in nn.fuse(model).running()]
        ['LinearChain 2→25→1']
    """
    if not model.plain:
        return model
    parts: Named = [(name, fuse(part) if type(part) is Sequential else part) for name, part in model.named_parts()]
    fused = Sequential(OrderedDict(parts))
    fused.training, fused.replicas = model.training, model.replicas
    running: Named = []
    while parts:
        length = _chain(parts)
        if length > 1:
            running.append(("", LinearChain(Sequential(OrderedDict(parts[:length])))))
        else:
            running.append(parts[0])
        parts = parts[length:]
    fused.fuse(running)
    return fused


def _chain(parts: Named) -> int:
    """How many of the leading parts a LinearChain stands for; 1 if it is not worth one."""
    modules = [module for _, module in parts]
    if not _plain(modules[0], Linear):
        return 1
    length, width = 1, modules[0].out_features
    while True:
        rest = modules[length : length + 3]
        norms = 1 if len(rest) > 1 and _plain(rest[1], BatchNorm1d) else 0
        if len(rest) < 2 + norms or not computes_as(rest[0], Elementwise):
            return length
        norm, linear = rest[1], rest[1 + norms]
        if isinstance(norm, BatchNorm1d) and norm.num_features != width:
            return length
        if not _plain(linear, Linear) or linear.in_features != width:
            return length
        length, width = length + 2 + norms, linear.out_features


def _plain(module: Module, *kinds: type[M]) -> TypeGuard[M]:
    """Whether a module is of one of these classes, with their formulas."""
    return type(module) in kinds and not {"forward", "backward"} & vars(module).keys()
