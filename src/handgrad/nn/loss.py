"""Losses. `criterion(y, t)` is the loss, then `criterion.backward()` is its gradient by y."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, BackwardError, ShapeError
from handgrad.nn.constants import cast, constant
from handgrad.nn.module import Module
from handgrad.nn.numbers import Numbers, checked

REDUCTIONS = ("mean", "sum", "batchmean", "none")


class Loss(Module):
    r"""Base of the losses: a subclass gives the loss of each element and its derivative, the rest stands here.

    `criterion(y, t, weights)` reduces the losses ℓ of the elements e of the samples n. A sample of weight 2 counts as
    if it were there twice:

    $$L_{ne} = w_n \ell_{ne} \;\text{(none)}, \qquad L = \sum_{ne} w_n \ell_{ne} \;\text{(sum)}, \qquad
      L = \frac{\sum_{ne} w_n \ell_{ne}}{\sum_{ne} w_n m_{ne}} \;\text{(mean)}, \qquad
      L = \frac{\sum_{ne} w_n \ell_{ne}}{\sum_n w_n} \;\text{(batchmean)}$$

    w is 1 without `weights`. m is 1, so that `mean` is that over all elements; only where targets are class indices is
    m the class weight of the target, 0 for a target that is ignored. A sample of weight 0 is left out, even one with
    NaN. A mean over weights that are all 0 is NaN, as in PyTorch, and its gradient 0. With R replicas the result is
    (R,): replicas are never averaged over.

    Shapes: weights (N,), or (R, N) and (N,) with replicas; not negative.

    Args:
        size_average, reduce: PyTorch's deprecated spelling of `reduction`; only None.
        reduction: "mean", "sum", "batchmean" or "none".
        replicas: None, or R; targets are then (R, …), or without R and shared by all replicas.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> class CubicLoss(nn.Loss):
        ...     def elements(self, y, t):
        ...         d = y - t
        ...         return d.abs() ** 3, 3 * d * d.abs()
        >>> criterion = CubicLoss(reduction="sum")
        >>> criterion(torch.tensor([1.0, 2.0]), torch.zeros(2))
        tensor(9.)
        >>> criterion.backward()
        tensor([ 3., 12.])
        >>> criterion(torch.tensor([1.0, 2.0]), torch.zeros(2), weights=torch.tensor([1.0, 0.5]))
        tensor(5.)
    """

    differentiated: ClassVar[tuple[int, ...]] = (0,)
    """Which of forward's inputs backward returns gradients by."""
    unfit: ClassVar[Mapping[str, str]] = {}
    """Classes that are a mistake as the last layer below this loss, each with its remedy."""

    size_average = reduce = None

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        for name, value in (("size_average", size_average), ("reduce", reduce)):
            if value is not None:
                raise NotImplementedError(f"{self.label}({name}=…) is deprecated in PyTorch. Use reduction= instead.")
        super().__init__(replicas)
        self.reduction = checks.one_of("reduction", reduction, REDUCTIONS, self.label)

    @property
    def lead(self) -> int:
        """How many dimensions stand before the samples'."""
        return 0 if self.replicas is None else 1

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each element and its derivative by y, both of the shape of y and fresh."""
        raise NotImplementedError

    def forward(self, y: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:
        self.predictions(y)
        return self.reduced(*self.elements(y, self.targets(t, y)), weights=weights)

    def reduced(
        self,
        loss: Tensor,
        *derivatives: Tensor,
        weights: Tensor | None = None,
        mass: Tensor | None = None,
        classes: int | None = None,
    ) -> Tensor:
        """Reduce the losses of the elements, and keep for backward their derivatives by each of the predictions.

        Args:
            loss: the ℓ of each element, fresh.
            derivatives: of the shape of the loss, or with the dimension of the classes besides; fresh.
            weights: the w of each sample.
            mass: the m of each element, of the shape of the loss; None for 1.
            classes: which dimension of the derivatives the losses are summed over already, if there is one.
        """
        w = None if weights is None else self._fitting(weights, loss)
        scale: Tensor | None = None
        if w is not None:
            loss = (loss * w).masked_fill_(w == 0, 0)  # whatever a sample that is left out holds, such as NaN
        if self.reduction != "none":
            total, dtype = self._total(loss, w, mass), loss.dtype
            loss = self._sum(loss)
            if isinstance(total, Tensor):
                one = total.reciprocal()  # as constant(1 / total) to the bit: what others' targets are must not matter
                loss, scale = loss * one, one.masked_fill(total == 0, 0)
            else:
                scale = constant(1 / total, loss)
                loss = loss * scale
            loss = cast(loss, dtype)
        return self.keep(loss, derivatives, scale, w, classes)

    def backward(self, dloss: Tensor | None = None) -> Any:
        """Return dL/dy, times the upstream gradient `dloss` of the loss's shape if there is one.

        A loss of several predictions returns a tuple.

        Errors: BackwardError if reduction is "none" and `dloss` is missing: no single loss exists then.
        """
        if dloss is None and self.reduction == "none":
            remedy = "Pass backward a gradient of the loss's shape, torch.ones_like(loss) for their sum."
            raise BackwardError('an upstream gradient, as reduction="none"', "none", remedy, self.label)
        derivatives, factor, w, classes = self.take(dloss, needed=False)  # factor None for "none", else () or (R,)
        if dloss is not None:
            factor = dloss if factor is None else factor * dloss
        if w is not None or factor.ndim:  # a number, the most common, needs none of it
            factor = _spread(factor, derivatives[0].ndim - (classes is not None))
            factor = factor if w is None else factor * w
            factor = factor if classes is None or not factor.ndim else factor.unsqueeze(classes)
        absent = None if w is None else w == 0 if classes is None or not w.ndim else (w == 0).unsqueeze(classes)
        for derivative in derivatives:
            derivative.mul_(factor)
            if absent is not None:
                derivative.masked_fill_(absent, 0)
        return derivatives if len(derivatives) > 1 else derivatives[0]

    # What comes in

    def predictions(self, y: Tensor, *others: Tensor, rank: int = 0) -> None:
        """Raise unless all are predictions of one shape that lead with the replicas; of at least `rank` dimensions."""
        checks.tensor(y, self, "predictions")
        if self.replicas is not None and (y.ndim < 2 or y.shape[0] != self.replicas):
            remedy = "Build the loss with the model's number of replicas, and give it (R, N, …)."
            expected = f"predictions with a leading {self.replicas} for the replicas"
            raise ShapeError(expected, f"{tuple(y.shape)}", remedy, self.label)
        if y.ndim < rank:
            remedy = "Give it a number for each class, or (N, K) of N samples."
            raise ShapeError("predictions of K classes", "one number", remedy, self.label)
        if y.numel() == 0 and self.reduction in ("mean", "batchmean"):
            remedy = "Skip empty batches."
            raise ShapeError("at least one prediction to average over", f"shape {tuple(y.shape)}", remedy, self.label)
        for other in others:
            checks.like(other, y, self, "predictions", owner="the first")
            checks.same_shape(other, y, self.label, "predictions")

    def targets(self, t: Tensor, y: Tensor) -> Tensor:
        """Targets of the dtype and shape of y, shared ones expanded."""
        checks.like(t, y, self, "targets", owner="the predictions")
        if t.shape != y.shape:
            t = self.shared(t, y.shape)
            checks.same_shape(t, y, self.label)
        return t

    def shared(self, t: Tensor, shape: torch.Size) -> Tensor:
        """Targets that the replicas share, expanded to their shape for each; others as they are."""
        shareable = self.replicas is not None and t.shape != shape and t.shape in (shape[1:], (1, *shape[1:]))
        return t.expand(shape) if shareable else t

    def within(self, values: Tensor, low: float, high: float, what: str, remedy: str) -> Tensor:
        """Return `values` if none is below `low` or above `high`; NaN is left to show itself in the loss."""
        if values.numel():
            least, most = (float(v) for v in values.aminmax())
            if least != least and (numbers := values[~values.isnan()]).numel():
                least, most = (float(v) for v in numbers.aminmax())
            if least < low or most > high:
                expected = f"{what} from {low} to {high}" if high < inf else f"{what} of at least {low}"
                got = f"{least if least < low else most:g}"
                raise ArgumentError(expected, got, remedy, self.label)
        return values

    def number(
        self, name: str, value: Numbers, least: float = -inf, most: float = inf, *, least_too: bool = True
    ) -> Any:
        """An option that is one number, or R of them, one a replica, after a check; name it in `number_names`, too.

        Errors: ArgumentError for a number out of range, or another count than R.
        """
        return checked(name, value, self.replicas, self.label, least, most, least_too=least_too)

    def own(self, value: Tensor | None) -> Tensor | None:
        """A copy of a buffer such as class weights; with replicas each has its own.

        Of one dimension, (K,), or none, it is where all replicas start; of more it leads with R, or with 1.
        """
        if value is None:
            return None
        value = checks.tensor(value, self, "weight")
        return self.replicated(value, min(value.ndim, 1), "a weight").clone()

    def aligned(self, weight: Tensor, y: Tensor) -> Tensor:
        """A buffer that broadcasts against y behind the replicas.

        Errors: DTypeError for another dtype than y's, ShapeError if it does not broadcast.
        """
        checks.like(weight, y, self, "weight", owner="the predictions")
        own, shape = weight.shape[self.lead :], y.shape[self.lead :]
        if len(own) > len(shape) or any(a not in (1, b) for a, b in zip(reversed(own), reversed(shape))):
            remedy = "Give one weight for each class, or each output."
            raise ShapeError(f"a weight that broadcasts to {tuple(shape)}", str(tuple(own)), remedy, self.label)
        return weight.view(*weight.shape[: self.lead], *[1] * (len(shape) - len(own)), *own)

    def check(self, model: Module) -> None:
        """Raise if the model ends in a layer that is a mistake before this loss; training starts with it.

        Errors: ArgumentError, such as for a softmax before CrossEntropyLoss, which takes one itself.
        """
        last, names = model, _names(model)
        while "Sequential" in names and (parts := list(last.children())):
            last, names = parts[-1], _names(parts[-1])
        for name, remedy in self.unfit.items():
            if name in names:
                remedy = remedy.format(layer=name, loss=self.label)
                raise ArgumentError("a last layer that fits the loss", type(last).__name__, remedy, self.label)

    # Sums

    def _sum(self, loss: Tensor) -> Tensor:
        """() or (R,); of halves in float32, since their mean may be in their range where the sum is not."""
        wide = torch.float32 if loss.element_size() < 4 else None
        if self.replicas is None:
            return loss.sum(dtype=wide)
        return loss.sum(list(range(1, loss.ndim)), dtype=wide) if loss.ndim > 1 else loss

    def _total(self, loss: Tensor, w: Tensor | None, mass: Tensor | None) -> Tensor | float:
        """What the sum of a replica's losses is divided by."""
        if self.reduction == "sum":
            return 1
        if self.reduction == "mean" and mass is not None:
            return self._sum(mass if w is None else mass * w)
        count = loss.numel() if self.replicas is None else loss.numel() // self.replicas
        if self.reduction == "mean" and w is None:
            return count
        samples = loss.shape[self.lead] if loss.ndim > self.lead else 1
        return samples if w is None else self._sum(w) * (count // samples if self.reduction == "mean" else 1)

    def _fitting(self, weights: Tensor, loss: Tensor) -> Tensor:
        """The weights of the samples as (N, 1, …), with a leading R or 1 where there are replicas."""
        checks.like(weights, loss, self, "weights", owner="the predictions")
        shape = loss.shape[: self.lead + 1]
        weights = self.shared(weights, shape)
        if weights.shape != shape:
            remedy = "Give one weight for each sample."
            raise ShapeError(f"weights of shape {tuple(shape)}", str(tuple(weights.shape)), remedy, self.label)
        self.within(weights, 0, inf, "weights", "Leave a sample out with weight 0.")
        return _spread(weights, loss.ndim)

    def extra_repr(self) -> str:
        """The options that differ from their defaults, in the constructor's order."""
        options = inspect.signature(type(self).__init__).parameters
        given = [(name, getattr(self, name, p.default), p.default) for name, p in options.items() if name != "replicas"]
        return ", ".join(f"{n}={v!r}" for n, v, default in given if not isinstance(v, Tensor) and v != default)


def _spread(value: Tensor, ndim: int) -> Tensor:
    """A value with ones behind it; a number stays one, which multiplies faster."""
    return value.reshape(*value.shape, *[1] * (ndim - value.ndim)) if 0 < value.ndim < ndim else value


def _names(module: Module) -> set[str]:
    return {kind.__name__ for kind in type(module).__mro__}


class MSELoss(Loss):
    r"""Mean squared error.

    $$\ell_{ij} = (y_{ij} - t_{ij})^2, \qquad \frac{\partial \ell_{ij}}{\partial y_{ij}} = 2 (y_{ij} - t_{ij})$$

    `reduction="mean"`, PyTorch's, divides the sum by the number of elements N·O; `"batchmean"`, the report's
    equation 5, by N, so its gradient is O times as large.

    Shapes: y and t (N, …) alike; loss (), or y's with "none". With R replicas y is (R, N, …) and the loss (R,).

    Args: as of `Loss`.

    Errors: ShapeError for unequal shapes or an empty batch, DTypeError and DeviceError for targets unlike y.

    Source: the report, equation 5.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.MSELoss()
        >>> criterion(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor(2.5000)
        >>> criterion.backward()
        tensor([[1., 2.]])
    """

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        d = y - t
        return d * d, d + d
