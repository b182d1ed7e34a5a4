"""Together: how many replicas of a network train fastest as one group."""

from __future__ import annotations

import copy

import torch

from handgrad import workers
from handgrad.data import Batches, Inputs, Loader
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.training.calls import outputs, suited
from handgrad.training.listening import listening, tensors

CACHED = 2**18
"""How many numbers the largest tensor between two layers may have: what a core's own cache of 1 MiB holds."""


def together(model: Module, batches: Batches | Loader) -> int:
    """How many replicas of a network, of which `model` is one, to train as one group: from 1 to `workers.GROUP`.

    Small operations gain from company, since each is called for all at once; large ones lose what a core's cache holds,
    as those on images do: a replica of a small CNN on 32 × 32 pixels took twice as long in a group of five as alone.
    So the largest tensor between two layers decides. A copy of the model is shown one batch. Of a Loader, whose batches
    are not drawn for it, and where `fitting` knows nothing, the answer is `workers.GROUP`.

    Args:
        model: without replicas, or of as many as `batches` has seeds; it is left as it is.
        batches: what it is to be trained on.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> from handgrad.data import Batches
        >>> x, t = torch.ones(64, 1, 28, 28), torch.ones(64, 4)
        >>> cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 4))
        >>> together(cnn, Batches(x, t, 64, seeds=[0])), together(cnn, Batches(x, t, 8, seeds=[0]))
        (1, 10)
    """
    if isinstance(batches, Loader):
        return workers.GROUP
    x, *_ = suited(next(iter(batches.epoch(0))), single=replicas_of(model) is None, shared=batches.shared)
    found = fitting(copy.deepcopy(model), x)
    return workers.GROUP if found is None else min(workers.GROUP, found)


def fitting(model: Module, x: Inputs) -> int | None:
    """How many replicas keep the largest tensor between two layers within `CACHED` numbers, at least 1.

    None where nobody knows: of a model that fails, which is told where it is trained, and of one on a GPU.

    Args:
        model: with replicas or without, for nothing else: it is put into evaluation mode.
        x: a batch of its inputs, or several.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> fitting(nn.Linear(1, 1024), torch.ones(64, 1))
        4
    """
    if any(p.value.device.type != "cpu" for p in model.parameters()):
        return None
    most = [1]
    model.eval()
    with torch.inference_mode(), listening(model, lambda _name, _part, y: most.extend(v.numel() for v in tensors(y))):
        try:
            outputs(model, x)
        except Exception:
            return None
    return max(1, CACHED * (replicas_of(model) or 1) // max(most))
