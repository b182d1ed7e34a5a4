"""Divergence: which replicas have a loss that is not finite, and where in the network it arose."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad.data import Inputs
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.slot import mapped
from handgrad.training.calls import outputs
from handgrad.training.listening import listening, of_replica, placed, tensors


def diverged(loss: Tensor, y: Any, t: Tensor, dy: Any, replicas: int, *, shared: bool) -> list[int]:
    """The replicas whose loss is not finite, but for those whose samples all have weight 0 or are ignored.

    The mean over no weight is NaN, and its gradient by finite outputs 0: such a batch teaches nothing.

    Args:
        loss: () or (R,).
        y, t, dy: outputs, targets and the gradient by the outputs; several where there are several.
        replicas: R.
        shared: whether the targets are without R, the same for all.

    Example:
        >>> import torch
        >>> y = torch.zeros(2, 3)
        >>> diverged(torch.full((2,), torch.nan), y, torch.zeros(3), torch.tensor([[1.0], [0.0]]), 2, shared=True)
        [0]
    """

    def rows(value: Any) -> list[Tensor]:
        return [part.reshape(replicas, -1) for part in tensors(value)]

    weightless = t.isfinite().all() if shared else rows(t)[0].isfinite().all(1)
    for part in rows(y):
        weightless = weightless & part.isfinite().all(1)
    for part in rows(dy):
        weightless = weightless & (part == 0).all(1)
    bad: list[int] = (~loss.reshape(-1).isfinite() & ~weightless).nonzero().flatten().tolist()
    return bad


def first_layers(model: Module, x: Inputs, replicas: Sequence[int]) -> dict[int, str]:
    """Of each of these replicas the first layer with an output that is not finite, or the loss.

    With R replicas x leads with R, or with 1 if it is shared.
    """
    R = replicas_of(model)
    found: dict[int, str] = {}

    def look(name: str, part: Module, y: Any) -> None:
        for r in (r for r in replicas if r not in found):
            if not all(one.isfinite().all() for one in of_replica(y, r, R)):
                found[r] = f"{placed(name)} ({part.label})"

    # a forward pass changes buffers alone; values may be views, whose copies would be of those of all replicas
    held = {id(value): value for p in model.parameters() for value in (p.value, p.grad)}
    copied = copy.deepcopy(model, held)
    with listening(copied, look), torch.random.fork_rng(devices=[]):
        outputs(copied, x if R is None else mapped(lambda v: v.expand(R, *v.shape[1:]), x))
    return {r: found.get(r, "the loss") for r in replicas}
