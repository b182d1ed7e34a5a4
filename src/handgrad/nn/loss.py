"""Losses. `criterion(y, t)` is the loss, then `criterion.backward()` is its gradient by y."""

from __future__ import annotations

from torch import Tensor

from handgrad import checks
from handgrad.errors import BackwardError, ShapeError
from handgrad.nn.constants import constant
from handgrad.nn.module import Module

REDUCTIONS = ("mean", "sum", "batchmean", "none")


class Loss(Module):
    """Base of the losses: a subclass gives the value and the derivative of each element, the rest stands here.

    The loss is the reduced value: its `mean` over all elements, their `sum`, `batchmean` (their sum over N), or
    `none`. With R replicas the result is (R,): replicas are never averaged over.

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
    """

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

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each element and its derivative by y, both of the shape of y and fresh."""
        raise NotImplementedError

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        checks.tensor(y, self, "predictions")
        checks.like(t, y, self, "targets", owner="the predictions")
        if self.replicas is not None:
            if y.ndim < 2 or y.shape[0] != self.replicas:
                remedy = "Build the loss with the model's number of replicas, and give it (R, N, …)."
                raise ShapeError(
                    f"predictions with a leading {self.replicas} for the replicas",
                    f"{tuple(y.shape)}",
                    remedy,
                    self.label,
                )
            t = t.expand_as(y) if t.shape == y.shape[1:] or t.shape == (1, *y.shape[1:]) else t
        checks.same_shape(t, y, self.label)
        if y.numel() == 0 and self.reduction in ("mean", "batchmean"):
            remedy = "Skip empty batches."
            raise ShapeError("at least one prediction to average over", f"shape {tuple(y.shape)}", remedy, self.label)
        loss, dy = self.elements(y, t)
        if self.reduction != "none":
            loss = loss.sum() if self.replicas is None else loss.sum(list(range(1, loss.ndim)))  # () or (R,)
            loss = loss * constant(1 / self._count(y), y)
        return self.keep(loss, dy)

    def backward(self, dloss: Tensor | None = None) -> Tensor:
        """Return dL/dy, times the upstream gradient `dloss` of the loss's shape if there is one.

        Errors: BackwardError if reduction is "none" and `dloss` is missing: no single loss exists then.
        """
        if dloss is None and self.reduction == "none":
            remedy = "Pass backward a gradient of the loss's shape, torch.ones_like(loss) for their sum."
            raise BackwardError('an upstream gradient, as reduction="none"', "none", remedy, self.label)
        (dy,) = self.take(dloss)
        dx: Tensor = dy if self.reduction == "none" else dy.mul_(constant(1 / self._count(dy), dy))  # (N, …)
        if dloss is None:
            return dx
        return dx.mul_(dloss.reshape(*dloss.shape, *[1] * (dx.ndim - dloss.ndim)))  # dloss () or (R, 1, …)

    def _count(self, y: Tensor) -> int:
        """What the sum over the elements of one replica is divided by."""
        lead = 0 if self.replicas is None else 1
        if self.reduction == "mean":
            return y[:1].numel() if lead else y.numel()
        return y.shape[lead] if self.reduction == "batchmean" and y.ndim > lead else 1

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class MSELoss(Loss):
    r"""Mean squared error.

    $$\ell_{ij} = (y_{ij} - t_{ij})^2, \qquad \frac{\partial \ell_{ij}}{\partial y_{ij}} = 2 (y_{ij} - t_{ij})$$

    `reduction="mean"`, PyTorch's, divides the sum by the number of elements N·O; `"batchmean"`, the report's
    equation 5, by N, so its gradient is O times as large.

    Shapes: y and t (N, …) alike; loss (), or y's with "none". With R replicas y is (R, N, …) and the loss (R,).

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
