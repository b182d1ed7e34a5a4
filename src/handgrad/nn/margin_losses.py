"""Losses for pairs and scores of two kinds, whose targets are 1 or −1."""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.loss import Loss
from handgrad.nn.numbers import Numbers, column


class MarginLoss(Loss):
    """Base of the losses with a margin and targets of 1 or −1."""

    number_names = ("margin",)

    def __init__(
        self,
        margin: Numbers = 0.0,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.margin = self.number("margin", margin)


def signs(t: Tensor, loss: Loss) -> Tensor:
    """Return targets of 1 or −1; NaN is left to show itself in the loss."""
    if t.numel() and float((t.abs() - 1).abs().max()) != 0 and (wrong := t[(t.abs() != 1) & ~t.isnan()]).numel():
        got = f"{float(wrong[0]):g}"
        raise ArgumentError("targets of 1 or −1", got, "Write 2 * t - 1 for labels 0 and 1.", loss.label)
    return t


class HingeEmbeddingLoss(MarginLoss):
    r"""A distance y, to be small where t = 1 and at least the margin m where t = −1.

    $$\ell = y, \quad \frac{\partial \ell}{\partial y} = 1 \quad (t = 1), \qquad
      \ell = \max(0, m - y), \quad \frac{\partial \ell}{\partial y} = -[y \le m] \quad (t = -1)$$

    Shapes: y and t (N, …) alike; loss (), or y's with "none". With R replicas y is (R, N, …) and the loss (R,).

    Args: as of `Loss`, and
        margin: m; with R replicas it may be R numbers.

    Errors: ArgumentError for targets other than 1 and −1, ShapeError for unequal shapes or an empty batch.

    Source: torch.nn.HingeEmbeddingLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.HingeEmbeddingLoss(reduction="sum")
        >>> criterion(torch.tensor([0.5, 0.75]), torch.tensor([1.0, -1.0]))
        tensor(0.7500)
        >>> criterion.backward()
        tensor([ 1., -1.])
    """

    def __init__(
        self,
        margin: Numbers = 1.0,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction, replicas=replicas)

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        near, gap = signs(t, self) > 0, column(self.margin, y) - y
        return torch.where(near, y, gap.clamp(min=0)), torch.where(near, 1.0, -(gap >= 0).to(y.dtype))


class SoftMarginLoss(Loss):
    r"""Logistic loss of scores y, to have the sign of t.

    $$\ell = \log(1 + e^{-ty}), \qquad \frac{\partial \ell}{\partial y} = -t \, \sigma(-ty)$$

    Shapes: as HingeEmbeddingLoss.

    Args: as of `Loss`.

    Errors: as HingeEmbeddingLoss.

    Source: torch.nn.SoftMarginLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.SoftMarginLoss()
        >>> criterion(torch.tensor([0.0]), torch.tensor([1.0]))
        tensor(0.6931)
        >>> criterion.backward()
        tensor([-0.5000])
    """

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        s = -signs(t, self) * y
        return s.clamp(min=0) + s.abs().neg_().exp_().log1p_(), torch.sigmoid(s).mul_(-t)


class MarginRankingLoss(MarginLoss):
    r"""Two scores, of which the first is to be the larger by the margin m where t = 1, the second where t = −1.

    $$\ell = \max(0, h), \quad h = m - t \, (x_1 - x_2), \qquad
      \frac{\partial \ell}{\partial x_1} = -t \, [h \ge 0], \qquad \frac{\partial \ell}{\partial x_2} = t \, [h \ge 0]$$

    Backward returns the gradients by both.

    Shapes: x1, x2 and t (N, …) alike; loss (), or t's with "none". With R replicas x1 and x2 are (R, N, …) and the loss
    (R,).

    Args: as of `Loss`, and
        margin: m; with R replicas it may be R numbers.

    Errors: as HingeEmbeddingLoss.

    Source: torch.nn.MarginRankingLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.MarginRankingLoss()
        >>> criterion(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1.0]))
        tensor(2.)
        >>> criterion.backward()
        (tensor([-1.]), tensor([1.]))
    """

    differentiated = (0, 1)

    def forward(self, x1: Tensor, x2: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:  # type: ignore[override]
        self.predictions(x1, x2)
        t = signs(self.targets(t, x1), self)
        h = (x2 - x1).mul_(t).add_(column(self.margin, x1))
        dx2 = (h >= 0) * t
        return self.reduced(h.clamp_(min=0), -dx2, dx2, weights=weights)


class CosineEmbeddingLoss(MarginLoss):
    r"""Two vectors, to point the same way where t = 1, and where t = −1 to have a cosine of at most the margin m.

    $$\ell = 1 - c \quad (t = 1), \qquad \ell = \max(0, c - m) \quad (t = -1), \qquad
      c = \frac{x_1 \cdot x_2}{n_1 n_2}, \quad n_i = \sqrt{x_i \cdot x_i + 10^{-12}}$$

    $$\frac{\partial \ell}{\partial x_1} = s \Big( \frac{x_2}{n_1 n_2} - c \frac{x_1}{n_1^2} \Big), \qquad
      s = -1 \quad (t = 1), \qquad s = [c \ge m] \quad (t = -1)$$

    and alike by x_2. Backward returns the gradients by both.

    Shapes: x1 and x2 (N, D) with t (N,), or (D,) with (); loss (), or t's with "none". With R replicas x1 and x2 lead
    with R, and the loss is (R,).

    Args: as of `Loss`, and
        margin: m, from −1 to 1; with R replicas it may be R numbers.

    Errors: as HingeEmbeddingLoss.

    Source: torch.nn.CosineEmbeddingLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.CosineEmbeddingLoss()
        >>> criterion(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([1.0]))
        tensor(1.)
        >>> criterion.backward()
        (tensor([[ 0., -1.]]), tensor([[-0.5000,  0.0000]]))
    """

    differentiated = (0, 1)

    def forward(self, x1: Tensor, x2: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:  # type: ignore[override]
        self.predictions(x1, x2)
        checks.like(t, x1, self, "targets", owner="the predictions")
        t = signs(self.shared(t, x1.shape[:-1]), self)
        if t.shape != x1.shape[:-1]:
            remedy = "Give one target for each pair of vectors."
            raise ShapeError(f"targets of shape {tuple(x1.shape[:-1])}", str(tuple(t.shape)), remedy, self.label)
        a, b = ((x * x).sum(-1).add_(1e-12) for x in (x1, x2))  # n₁², n₂²: (N,)
        n = (a * b).sqrt_()
        c = (x1 * x2).sum(-1).div_(n)
        near, over = t > 0, c - column(self.margin, c)
        s = torch.where(near, -1.0, (over >= 0).to(c.dtype))
        loss = torch.where(near, 1 - c, over.clamp(min=0))
        p, q1, q2 = ((s * v).unsqueeze(-1) for v in (1 / n, c / a, c / b))
        return self.reduced(loss, p * x2 - q1 * x1, p * x1 - q2 * x2, weights=weights, classes=x1.ndim - 1)


class TripletMarginLoss(Loss):
    r"""An anchor a, to be nearer to x than to y by the margin m.

    $$\ell = \max(0, h), \quad h = d(a, x) - d(a, y) + m, \qquad
      d(u, v) = \Big( \sum_i |u_i - v_i + \epsilon|^p \Big)^{1/p}$$

    $$\frac{\partial d}{\partial u_i} = -\frac{\partial d}{\partial v_i} =
      \operatorname{sgn}(w_i) \Big( \frac{|w_i|}{d} \Big)^{p-1}, \quad w = u - v + \epsilon, \qquad
      \frac{\partial \ell}{\partial h} = [h \ge 0]$$

    With `swap` d(x, y) stands for d(a, y) where it is the smaller. Backward returns the gradients by all three.

    Shapes: a, x and y (N, D) or (D,) alike; loss (), or (N,) with "none". With R replicas all lead with R, and the loss
    is (R,).

    Args: as of `Loss`, and
        margin: m, above 0; with R replicas it may be R numbers.
        p: of the norm, at least 1.
        eps: ε; with R replicas it may be R numbers.
        swap: whether the anchor and x may change places.

    Errors: ShapeError for unequal shapes or an empty batch, DTypeError and DeviceError for others unlike the first.

    Source: Schroff et al. 2015, arXiv:1503.03832; Balntas et al. 2016 for swap.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.TripletMarginLoss(eps=0)
        >>> criterion(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(1.)
        >>> criterion.backward()
        (tensor([[-0.6000,  0.2000]]), tensor([[0.6000, 0.8000]]), tensor([[ 0., -1.]]))
    """

    differentiated = (0, 1, 2)
    number_names = ("margin", "eps")

    def __init__(
        self,
        margin: Numbers = 1.0,
        p: float = 2.0,
        eps: Numbers = 1e-6,
        swap: bool = False,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.margin, self.eps = self.number("margin", margin, 0, least_too=False), self.number("eps", eps, 0)
        self.p, self.swap = checks.at_least("p", p, 1, self.label), swap

    def forward(  # type: ignore[override]
        self, anchor: Tensor, positive: Tensor, negative: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        self.predictions(anchor, positive, negative)
        near, dnear = self._from_distance(anchor - positive)  # (N,), (N, D)
        far, dfar = self._from_distance(anchor - negative)
        h = near - far
        da, dx, dy = dnear - dfar, -dnear, dfar
        if self.swap:
            across, dacross = self._from_distance(positive - negative)
            h = near - torch.minimum(far, across)
            share = (far < across).to(h.dtype).add_(far == across, alpha=0.5).unsqueeze(-1)  # of d(a, y), ½ where equal
            da, dx, dy = dnear - share * dfar, (share - 1) * dacross - dnear, share * dfar + (1 - share) * dacross
        h.add_(column(self.margin, h))
        active = (h >= 0).to(h.dtype).unsqueeze(-1)
        grads = (active * d for d in (da, dx, dy))
        return self.reduced(h.clamp_(min=0), *grads, weights=weights, classes=anchor.ndim - 1)

    def _from_distance(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """d and its derivative by w, which is 0 where d is, of w without ε."""
        w = w.add_(column(self.eps, w))
        d = torch.linalg.vector_norm(w, self.p, -1, keepdim=True)  # (N, 1)
        slope = torch.where(d > 0, w.abs() / d, 0).pow_(self.p - 1).mul_(w.sign())
        return d.squeeze(-1), slope
