"""Calls: a model with one input or several, a loss with one output or several."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from handgrad.data import Batch, Inputs
from handgrad.errors import ArgumentError
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.slot import mapped, several


def suited(batch: Batch, *, single: bool, shared: bool) -> Batch:
    """A batch as the model takes it: without replicas, or with them also where they share it.

    Args:
        batch: inputs, targets and perhaps weights, as `Batches` yields them.
        single: whether the model has no replicas.
        shared: whether the batch has no leading R.

    Example:
        >>> import torch
        >>> x, t = suited((torch.ones(5, 2), torch.ones(5, 1)), single=False, shared=True)
        >>> x.shape, t.shape
        (torch.Size([1, 5, 2]), torch.Size([5, 1]))
    """
    if single and not shared:
        return tuple(mapped(lambda v: v.squeeze(0), batch))
    if shared and not single:
        return mapped(lambda v: v.unsqueeze(0), batch[0]), *batch[1:]  # (1, n, …), for a layer of any rank cannot tell
    return batch


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Within it a model is in evaluation, and afterwards each of its parts in the mode that it had."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def outputs(model: Module, x: Inputs) -> Any:
    """What a model makes of its inputs: model(x), or model(a, b) of a tuple of two.

    Errors: ArgumentError for a model that does not take so many, such as a Sequential.
    """
    try:
        return model(*several(x))
    except TypeError as error:
        try:
            inspect.signature(model.forward).bind(*several(x))
        except TypeError:
            got, remedy = f"{type(model).__name__}, whose forward does not", "Write a module with a forward of so many."
            expected = f"a model that takes {len(several(x))} input{'s' * (len(several(x)) != 1)}"
            raise ArgumentError(expected, got, remedy, "the model") from error
        raise


def judged(criterion: Loss, y: Any, t: Tensor, weights: Tensor | None = None) -> Any:
    """The loss of outputs: criterion(y, t), with weights where there are some.

    Where the loss is by several predictions, the model's outputs are these, in order, and the targets take the place
    that is left: criterion(mean, t, variance) of `GaussianNLLLoss`, criterion(anchor, positive, negative) of
    `TripletMarginLoss`, which has none.

    Errors: ArgumentError for a model of another number of outputs.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> mean, variance, t = torch.zeros(3, 1), torch.ones(3, 1), torch.ones(3, 1)
        >>> judged(nn.GaussianNLLLoss(), (mean, variance), t) == nn.GaussianNLLLoss()(mean, t, variance)
        tensor(True)
    """
    options = {} if weights is None else {"weights": weights}
    places = getattr(criterion, "differentiated", (0,))
    if len(places) == 1:
        return criterion(y, t, **options)
    if len(several(y)) != len(places):
        expected = f"a model of {len(places)} outputs, which {criterion.label} is by"
        remedy = "Let forward return a tuple of them, or choose a loss of one."
        raise ArgumentError(expected, str(len(several(y))), remedy, "the loss")
    left = iter(y)
    names = [name for name in inspect.signature(criterion.forward).parameters if name != "weights"]
    return criterion(*(next(left) if i in places else t for i in range(len(names))), **options)
