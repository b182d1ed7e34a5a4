"""Weight averaging: a copy of a network whose parameters are an average over training (as torch.optim.swa_utils)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn.batchnorm import BatchNorm
from handgrad.nn.constants import Number, back, each, spread
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of

AvgFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Returns the new average of an average, the current value, and how many models have been averaged."""

MultiAvgFn = Callable[[list[Tensor], list[Tensor], Tensor], None]
"""The same for lists of tensors of one dtype, whose first it changes in place."""


class AveragedModel(Module):
    r"""A copy of a network whose parameters follow those of the network: their mean, or whatever a function makes.

    After n models, with θ the network's parameters, in the mean that is the default:

    $$\bar\theta \leftarrow \bar\theta + \frac{\theta - \bar\theta}{n + 1}$$

    The first update copies the parameters. The copy is an ordinary network: call it in evaluation, and save it, under
    PyTorch's names, `n_averaged` and `module.…`.

    Shapes: inputs and outputs are the network's; n_averaged is (), with R replicas (R,).

    Args:
        model: the network; it stays as it is.
        device: of the copy, the network's own unless given.
        avg_fn: makes of (average, current, n_averaged) the new average of one tensor.
        multi_avg_fn: changes in place the averages of (averages, currents, n_averaged), lists of tensors of one dtype.
        use_buffers: average the buffers too, such as BatchNorm's statistics, instead of copying them. Integers are
            rounded towards 0.

    With replicas a function of yours gets R numbers as n_averaged.

    Errors: ArgumentError for both functions at once, or a network that is not like the one that was copied.

    Source: Izmailov et al. 2018, arXiv:1803.05407, as torch.optim.swa_utils has it; Polyak and Juditsky 1992.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> from handgrad.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
        >>> model = nn.Linear(1, 1, bias=False)
        >>> ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        >>> for weight in (1.0, 2.0):
        ...     _ = model.weight.value.fill_(weight)
        ...     ema.update_parameters(model)
        >>> ema.eval()(torch.ones(1, 1))
        tensor([[1.1000]])
        >>> list(ema.state_dict())
        ['n_averaged', 'module.weight']
    """

    buffer_names = ("n_averaged",)
    found = {"model": "module"}  # noqa: RUF012

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: torch.device | str | int | None = None,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: MultiAvgFn | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__(replicas_of(model))
        if avg_fn is not None and multi_avg_fn is not None:
            remedy = "Leave one of them out."
            raise ArgumentError("one of avg_fn and multi_avg_fn", "both", remedy, self.label)
        self.module = copy.deepcopy(model)
        self.module.forget()
        self.module.zero_grad()
        where = next((p.value.device for p in model.parameters()), None)
        self.n_averaged = torch.zeros(() if self.replicas is None else self.replicas, dtype=torch.long, device=where)
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers
        if device is not None:
            self.to(device=device)

    def reset_buffers(self) -> None:
        self.n_averaged.zero_()

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def backward(self, dy: Any) -> Any:
        return self.module.backward(dy)

    def backward_parameters(self, dy: Any) -> None:
        self.module.backward_parameters(dy)

    def update_parameters(self, model: Module) -> None:
        """Take the network's parameters, as they are now, into the average.

        Errors: ArgumentError for a network that is not like the one that was copied.
        """
        averaged, synced = _state(self.module)
        current, others = _state(model)
        if [a.shape for a in averaged + synced] != [c.shape for c in current + others]:
            remedy = "Pass the network that the average was made of."
            raise ArgumentError("a network like the one that was copied", model.label, remedy, self.label)
        if self.use_buffers:
            averaged, current, synced, others = averaged + synced, current + others, [], []
        current = [c.to(a) for a, c in zip(averaged, current)]
        first = self.n_averaged == 0
        if bool(first.all()):
            synced, others = averaged + synced, current + others
        else:
            for dtype in dict.fromkeys(a.dtype for a in averaged):
                same = [(a, c) for a, c in zip(averaged, current) if a.dtype is dtype]
                self._average([a for a, _ in same], [c for _, c in same])
            if bool(first.any()):  # some replicas, of several averages that were stacked
                for a, c in zip(averaged, current):
                    a.copy_(torch.where(spread(first.to(a.device), a), c, a))
        for a, c in zip(synced, others):
            a.copy_(c)
        self.n_averaged.add_(1)

    def identity(self) -> list[Any]:
        """What tells this average's rule from another, as JSON has it: what it makes of 0 and then 1."""
        n_averaged, found = self.n_averaged, []
        lead = (1,) if self.replicas is None else (self.replicas, 1)
        for n in (1, 2):
            self.n_averaged = torch.full_like(n_averaged, n)
            average = torch.zeros(lead, dtype=torch.float64, device=n_averaged.device)
            self._average([average], [torch.ones_like(average)])
            found.append(average.flatten().tolist())
        self.n_averaged = n_averaged
        return [self.use_buffers, *found]

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        """Bring the averages, all of one dtype, to their new values."""
        n = self.n_averaged.to(averaged[0].device)
        if self.avg_fn is None:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averaged, current, n)
        else:
            for a, c in zip(averaged, current):
                a.copy_(self.avg_fn(a, c, n))


def get_ema_multi_avg_fn(decay: Number = 0.999) -> MultiAvgFn:
    r"""Return the `multi_avg_fn` of the exponential moving average $\bar\theta \leftarrow d \bar\theta + (1-d) \theta$.

    Args:
        decay: d, from 0 to 1; one number or R.

    Errors: ArgumentError for another d.

    Source: torch.optim.swa_utils.get_ema_multi_avg_fn.
    """
    weight = 1 - _decay(decay, "get_ema_multi_avg_fn")
    return lambda averaged, current, _: _towards(averaged, current, weight)


def get_swa_multi_avg_fn() -> MultiAvgFn:
    r"""Return the `multi_avg_fn` of the mean $\bar\theta \leftarrow \bar\theta + (\theta - \bar\theta) / (n + 1)$.

    Source: torch.optim.swa_utils.get_swa_multi_avg_fn.
    """
    return lambda averaged, current, n: _towards(averaged, current, 1 / (n.double() + 1))


def get_ema_avg_fn(decay: Number = 0.999) -> AvgFn:
    r"""Return the `avg_fn` of the exponential moving average $\bar\theta \leftarrow d \bar\theta + (1-d) \theta$.

    Args:
        decay: d, from 0 to 1; one number or R.

    Errors: ArgumentError for another d.

    Source: torch.optim.swa_utils.get_ema_avg_fn.
    """
    checked = _decay(decay, "get_ema_avg_fn")

    def average(averaged: Tensor, current: Tensor, _: Tensor) -> Tensor:
        d = spread(checked.to(averaged.device), averaged) if isinstance(checked, Tensor) else checked
        return averaged * d + current * (1 - d)

    return average


def get_swa_avg_fn() -> AvgFn:
    r"""Return the `avg_fn` of the mean $\bar\theta \leftarrow \bar\theta + (\theta - \bar\theta) / (n + 1)$.

    Source: torch.optim.swa_utils.get_swa_avg_fn.
    """
    return lambda averaged, current, n: averaged + (current - averaged) / (spread(n, averaged) + 1)


def update_bn(loader: Iterable[Any], model: Module, device: torch.device | str | int | None = None) -> None:
    """Set the running statistics of every BatchNorm anew, to the mean over the batches of `loader`.

    An average of parameters has never seen data: the statistics that came with it are another network's.

    Args:
        loader: batches of inputs, or tuples and lists that begin with one, or with a tuple or list of several.
        model: the network, called in training, and back in its modes after that.
        device: where inputs are moved first.

    Source: torch.optim.swa_utils.update_bn.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> norm = nn.BatchNorm1d(1)
        >>> optim.swa_utils.update_bn([torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])], norm)
        >>> norm.running_mean
        tensor([4.])
    """
    norms = [part for part in model.modules() if isinstance(part, BatchNorm)]
    if not norms:
        return
    momenta, modes = [norm.momentum for norm in norms], [(part, part.training) for part in model.modules()]
    for norm in norms:
        norm.reset_buffers()
        norm.momentum = None
    model.train()
    try:
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(*(v if device is None else v.to(device) for v in (x if isinstance(x, (list, tuple)) else [x])))
    finally:
        model.forget()
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        for part, mode in modes:
            part.training = mode


def _state(model: Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters' values and buffers."""
    return [p.value for p in model.parameters()], list(model.buffers())


def _decay(decay: Number, where: str) -> float | Tensor:
    """Return one number, or R as a tensor, if all are from 0 to 1."""
    found = torch.as_tensor(decay, dtype=torch.float64) if isinstance(decay, (Sequence, Tensor)) else decay
    checks.at_least("decay", found, 0, where)
    if bool((torch.as_tensor(found) > 1).any()):
        raise ArgumentError("decay of at most 1", str(decay), "Pass decay=0.999, say.", where)
    return found if isinstance(found, Tensor) and found.ndim else float(found)


def _towards(averaged: list[Tensor], current: list[Tensor], weight: float | Tensor) -> None:
    """Move each average towards the current value by a part of the way, one for all or one for each replica."""
    several = isinstance(weight, Tensor) and weight.ndim > 0
    if averaged[0].is_floating_point():
        torch._foreach_lerp_(averaged, current, back(each(weight, averaged), averaged) if several else float(weight))
        return
    for a, c in zip(averaged, current):
        w = spread(torch.as_tensor(weight, device=a.device), a) if several else weight
        a.copy_(a + (c - a) * w)
