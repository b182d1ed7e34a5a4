"""Passes: forward and backward through a model, of all its replicas at once or of as many as a core's cache holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from handgrad.data import Batch, Batches, Inputs, Loader
from handgrad.nn.chain import LinearChain
from handgrad.nn.fuse import fuse
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.parameter import Parameter
from handgrad.nn.random import Random, drawing
from handgrad.nn.recurrent import RNNBase
from handgrad.nn.replicas import viewed
from handgrad.nn.sequential import Sequential
from handgrad.nn.slot import mapped, several
from handgrad.training.callbacks import Callback, ours, stepwise
from handgrad.training.calls import judged, outputs, suited
from handgrad.training.divergence import diverged
from handgrad.training.listening import METHODS
from handgrad.training.together import fitting
from handgrad.workers import GROUP

FEW = 4 * GROUP
"""Replicas too few to look whether they had better go in parts, where samples are rows of numbers."""
Note = Callable[["Pass", Inputs, list[int]], object]
"""Is told of a pass in which replicas diverged, before its way back, with the inputs and which of its own they are."""


@dataclass
class Pass:
    """What takes batches forward and back: a model of all replicas, or one of some of them with gradients of its own.

    Attributes:
        model: what computes.
        criterion: a loss of as many replicas.
        drawing: the parts that draw random numbers, under their names.
        some: which replicas these are of all; None for a model without replicas, and for all.
    """

    model: Module
    criterion: Loss
    drawing: list[tuple[str, Random]]
    some: slice | None = None
    parameters: list[Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = list(self.model.parameters())

    def run(self, batch: Batch, shared: bool, accumulate: int, note: Note) -> Tensor:
        """Accumulate these replicas' gradients by a batch of all, one of so many for a step; return their losses."""
        x, t, *weights = batch if self.some is None or shared else mapped(lambda v: v[self.some], batch)
        y = outputs(self.model, x)
        loss: Tensor = judged(self.criterion, y, t, *weights)
        dy = self.criterion.backward()
        if not math.isfinite(float(loss.sum())):
            note(self, x, diverged(loss, y, t, dy, loss.numel(), shared=shared))
        if accumulate > 1:
            dy = mapped(lambda one: None if one is None else one * (1 / accumulate), dy)
        self.model.backward_parameters(dy)
        return loss

    def of_all(self, r: int) -> int:
        """Which of all replicas its own replica r is."""
        return r if self.some is None else self.some.start + r


def fused(model: Module) -> Module:
    """What computes in a model's place: it, or its parts fused."""
    return fuse(model) if isinstance(model, Sequential) else model


def passes(model: Module, criterion: Loss, cut: Sequence[slice]) -> list[Pass]:
    """A pass for each of the parts that `cut` gives, with views of a model's values, and memory of layers in common.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model, x = nn.Sequential(nn.Linear(2, 1, replicas=3)), torch.ones(3, 4, 2)
        >>> parts = passes(model, nn.MSELoss(replicas=3), [slice(0, 1), slice(1, 3)])
        >>> [tuple(one.run((x, x[..., :1]), False, 1, print).shape) for one in parts]
        [(1,), (2,)]
        >>> gather(list(model.parameters()), parts)
        >>> model[0].weight.grad.shape
        torch.Size([3, 2, 1])
    """
    views = [(viewed(model, some), viewed(criterion, some), some) for some in cut]
    found = [Pass(fused(part), own, drawing(part), some) for part, own, some in views]
    for one in found[1:]:
        for layer, first in zip(_keeping(one.model), _keeping(found[0].model)):
            layer.works_in(first)
    return found


def _keeping(model: Module) -> Iterator[Any]:
    """What keeps memory from pass to pass: the chains that run in a fused model, and recurrent layers."""
    yield from (part for part in model.modules() if isinstance(part, RNNBase))
    yield from _chains(model)


def _chains(model: Module) -> Iterator[LinearChain]:
    """The chains that run in a fused model, in nested ones too."""
    for _, part in model.running() if isinstance(model, Sequential) else ():
        yield from [part] if isinstance(part, LinearChain) else _chains(part)


def gather(parameters: Sequence[Parameter], parts: Sequence[Pass]) -> None:
    """Hand the gradients of all parts on to the parameters of the whole model."""
    for p, *same in zip(parameters, *(one.parameters for one in parts)):
        grads = [own.grad for own in same if own.grad is not None]
        if grads:
            p.grad = torch.cat(grads)
        for own in same:
            own.grad = None


def cuts(model: Module, criterion: Loss, batches: Batches | Loader, callbacks: Sequence[Callback] = ()) -> list[slice]:
    """Which replicas of a model go through it together, one part after another: none where all do at once.

    No tensor between two layers of an image or a sequence shall leave the caches of the cores in use, see `together`;
    rows of numbers, and replicas so small that ten fit, are as fast in any company, up to four times as much. What a
    part computes is a replica's alone if everything has its replicas, and is written here: a module of one's own may
    keep things that nobody knows of, and a callback may look at, and change, everything after each step.
    """
    R = replicas_of(model) or 1
    rows = isinstance(batches, Batches) and all(x.ndim < 3 + batches.own for x in several(batches.x))
    if (FEW if rows else 2) > R or isinstance(batches, Loader):
        return []
    if stepwise(callbacks) or not (_divisible(model) and _divisible(criterion)):
        return []
    x, *_ = suited(next(iter(batches.epoch(0))), single=False, shared=batches.shared)
    most = fitting(viewed(model, slice(0, 1)), mapped(lambda v: v[:1], x))
    if most is None:
        return []
    most *= torch.get_num_threads()  # each of which has a cache
    least = most
    if rows or most >= GROUP:
        most, least = 2 * most, 4 * most
    bounds = [R * part // -(-R // most) for part in range(-(-R // most) + 1)]
    return [slice(*ends) for ends in pairwise(bounds)] if least < R else []


def _divisible(module: Module) -> bool:
    """Whether all of a module's values lead with R, and all that it does is handgrad's own."""

    def known(part: Module) -> bool:
        own, buffers = vars(part), part.own_buffers()
        led = part.replicas is not None or not (buffers or part.number_names)
        # what begins with _ is only kept to save time, such as waves of positions
        others = any(isinstance(own[name], Tensor) for name in own.keys() - buffers.keys() if name[0] != "_")
        return ours(part) and led and not others and not {*METHODS} & own.keys()

    fits = isinstance(module, Module) and all(map(known, module.modules()))
    return fits and all(p.replicas is not None for p in module.parameters())
