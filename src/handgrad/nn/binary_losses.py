"""Losses for labels of yes and no: from probabilities, from logits, and of several labels a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad.nn.loss import Loss


class BCELoss(Loss):
    r"""Binary cross-entropy between predicted probabilities y and targets t.

    $$\ell = -w \, \big(t \log y + (1 - t) \log(1 - y)\big), \qquad
      \frac{\partial \ell}{\partial y} = w \, \frac{y - t}{y (1 - y)}$$

    Logarithms below −100 count as −100, and the denominator as 10⁻¹² at least, as in PyTorch. BCEWithLogitsLoss needs
    neither.

    Shapes: y and t (N, …) alike; loss (), or y's with "none". With R replicas y is (R, N, …) and the loss (R,).

    Args: as of `Loss`, and
        weight: w, which broadcasts against y; 1 if None. With R replicas (K,), or a number, is for all; w of more
            dimensions leads with R, or with 1 where it is for all.

    Errors: ArgumentError for predictions or targets out of 0 to 1, ShapeError for unequal shapes or an empty batch.

    Source: torch.nn.BCELoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.BCELoss()
        >>> criterion(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.6931)
        >>> criterion.backward()
        tensor([-2.])
    """

    buffer_names: tuple[str, ...] = ("weight",)

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.weight = self.own(weight)

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        self.within(y, 0, 1, "predictions", "Put a Sigmoid last, or use BCEWithLogitsLoss.")
        self.within(t, 0, 1, "targets", "Give labels 0 and 1, or probabilities.")
        loss = torch.log1p(-y).clamp_(min=-100).mul_(t - 1).sub_(y.log().clamp_(min=-100).mul_(t))
        dy = (y - t).div_(((1 - y) * y).clamp_(min=1e-12))
        return self.weighted(loss, dy)

    def weighted(self, loss: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
        """Both times w."""
        if self.weight is None:
            return loss, dy
        w = self.aligned(self.weight, dy)
        return loss.mul_(w), dy.mul_(w)


class BCEWithLogitsLoss(BCELoss):
    r"""Binary cross-entropy between the sigmoid σ of logits y and targets t, stable for any logit.

    $$\ell = w \, \big((1 - t) \, y + a \log(1 + e^{-y})\big), \qquad a = 1 + (p - 1) \, t, \qquad
      \frac{\partial \ell}{\partial y} = w \, \big(a \, \sigma(y) - p t\big)$$

    Shapes: as BCELoss.

    Args: as of `Loss`, and
        weight: w, which broadcasts against y; 1 if None. With R replicas (K,), or a number, is for all; w of more
            dimensions leads with R, or with 1 where it is for all.
        pos_weight: p, the weight of targets 1, such as (K,) for K labels; 1 if None. With R replicas as w.

    Errors: ArgumentError for targets out of 0 to 1, ShapeError for unequal shapes or an empty batch.

    Source: torch.nn.BCEWithLogitsLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.BCEWithLogitsLoss()
        >>> criterion(torch.tensor([-100.0]), torch.tensor([1.0]))
        tensor(100.)
        >>> criterion.backward()
        tensor([-1.])
    """

    buffer_names = ("weight", "pos_weight")
    unfit = dict.fromkeys(("Sigmoid", "LogSigmoid"), "Leave out the {layer}: {loss} takes logits.")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction, replicas=replicas)
        self.pos_weight = self.own(pos_weight)

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        self.within(t, 0, 1, "targets", "Give labels 0 and 1, or probabilities.")
        softplus = y.abs().neg_().exp_().log1p_().sub_(y.clamp(max=0))  # log(1 + e^−y)
        sigmoid = torch.sigmoid(y)
        if self.pos_weight is None:
            return self.weighted(softplus.add_((1 - t) * y), sigmoid.sub_(t))
        p = self.aligned(self.pos_weight, y)
        a = 1 + (p - 1) * t
        return self.weighted(softplus.mul_(a).add_((1 - t) * y), sigmoid.mul_(a).sub_(p * t))


class MultiLabelSoftMarginLoss(BCEWithLogitsLoss):
    r"""Binary cross-entropy of K labels that each sample may have, averaged over them, from logits y.

    $$\ell_n = -\frac1K \sum_k w_k \big(t_k \log \sigma(y_k) + (1 - t_k) \log \sigma(-y_k)\big), \qquad
      \frac{\partial \ell_n}{\partial y_k} = \frac{w_k}{K} \, (\sigma(y_k) - t_k)$$

    Shapes: y and t (N, K) alike, or (K,); loss (), or (N,) with "none". With R replicas y leads with R; the loss is
    (R,).

    Args: as of `Loss`, and
        weight: w (K,), 1 if None; with R replicas (K,) for all of them, or (R, K).

    Errors: as BCEWithLogitsLoss.

    Source: torch.nn.MultiLabelSoftMarginLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.MultiLabelSoftMarginLoss()
        >>> criterion(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
        >>> criterion.backward()
        tensor([[-0.2500,  0.2500]])
    """

    pos_weight = None
    __init__ = BCELoss.__init__  # without pos_weight

    def forward(self, y: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:
        self.predictions(y, rank=1)
        loss, dy = self.elements(y, self.targets(t, y))
        return self.reduced(loss.mean(-1), dy.div_(y.shape[-1]), weights=weights, classes=y.ndim - 1)
