"""Replicas: R networks of one architecture as one network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch

from handgrad.errors import ArgumentError
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter
from handgrad.nn.sequential import Sequential

M = TypeVar("M", bound=Module)


def replicate(module: M, seeds: Sequence[int]) -> M:
    """Return R networks in one, each drawn from its own seed: every value gets a leading R.

    Replica r starts with the very numbers that `module.reset(torch.Generator().manual_seed(seeds[r]))` gives.

    Args:
        module: an ordinary network, which stays as it is.
        seeds: R different integers.

    Errors: ArgumentError for no seeds, equal seeds, or a module that has replicas already.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.replicate(nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 1)), seeds=range(20))
        >>> model(torch.ones(500, 2)).shape  # shared by all replicas
        torch.Size([20, 500, 1])
    """
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        twice = sorted({s for s in seeds if seeds.count(s) > 1})
        got = f"{twice} more than once" if seeds else "none"
        raise ArgumentError("different seeds, at least one", got, "Pass seeds=range(R), say.", "nn.replicate")
    if any(part.replicas is not None for part in module.modules()):
        remedy = "Replicate the network that was built without replicas=."
        raise ArgumentError("a network without replicas", f"{module.label} with some", remedy, "nn.replicate")
    module = copy.deepcopy(module)
    R = len(seeds)
    for part in module.modules():
        part.replicas, part.kept = R, None
        if isinstance(part, Sequential):
            part.fuse(None)
        for value in vars(part).values():
            if isinstance(value, Parameter):
                value.replicate(R)
        for name in part.buffer_names:
            if (buffer := getattr(part, name)) is not None:
                setattr(part, name, buffer.expand(R, *buffer.shape).clone())
    module.reset([torch.Generator().manual_seed(seed) for seed in seeds])
    return module
