"""Losses for numbers and distributions: absolute errors, negative log-likelihoods, divergences."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ShapeError
from handgrad.nn.loss import Loss
from handgrad.nn.numbers import Numbers, column


class L1Loss(Loss):
    r"""Mean absolute error.

    $$\ell = |y - t|, \qquad \frac{\partial \ell}{\partial y} = \operatorname{sign}(y - t)$$

    Shapes: y and t (N, …) alike; loss (), or y's with "none". With R replicas y is (R, N, …) and the loss (R,).

    Args: as of `Loss`.

    Errors: ShapeError for unequal shapes or an empty batch, DTypeError and DeviceError for targets unlike y.

    Source: torch.nn.L1Loss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.L1Loss()
        >>> criterion(torch.tensor([1.0, -3.0]), torch.zeros(2))
        tensor(2.)
        >>> criterion.backward()
        tensor([ 0.5000, -0.5000])
    """

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        d = y - t
        return d.abs(), d.sign()


class HuberLoss(Loss):
    r"""Squared error up to δ, absolute error beyond it.

    $$\ell = c \, (d - \tfrac12 c), \qquad d = y - t, \quad c = \max(-\delta, \min(d, \delta)), \qquad
      \frac{\partial \ell}{\partial y} = c$$

    Shapes: as L1Loss.

    Args: as of `Loss`, and
        delta: δ > 0; with R replicas it may be R numbers.

    Errors: as L1Loss; ArgumentError for a δ that is not positive.

    Source: torch.nn.HuberLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.HuberLoss(reduction="sum")
        >>> criterion(torch.tensor([0.5, 3.0]), torch.zeros(2))
        tensor(2.6250)
        >>> criterion.backward()
        tensor([0.5000, 1.0000])
    """

    number_names = ("delta",)

    def __init__(self, reduction: str = "mean", delta: Numbers = 1.0, *, replicas: int | None = None) -> None:
        super().__init__(reduction=reduction, replicas=replicas)
        self.delta = self.number("delta", delta, 0, least_too=False)

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        d, delta = y - t, column(self.delta, y)
        c = d.clamp(-delta, delta)
        return (d - c / 2).mul_(c), c


class SmoothL1Loss(Loss):
    r"""Absolute error, smoothed below β: HuberLoss with δ = β, divided by β.

    $$\ell = \frac{c}{\beta} \, (d - \tfrac12 c), \qquad d = y - t, \quad c = \max(-\beta, \min(d, \beta)), \qquad
      \frac{\partial \ell}{\partial y} = \frac{c}{\beta}$$

    Shapes: as L1Loss.

    Args: as of `Loss`, and
        beta: β ≥ 0; 0 is L1Loss; with R replicas it may be R numbers.

    Errors: as L1Loss; ArgumentError for a negative β.

    Source: torch.nn.SmoothL1Loss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.SmoothL1Loss(reduction="sum", beta=2.0)
        >>> criterion(torch.tensor([1.0, 3.0]), torch.zeros(2))
        tensor(2.2500)
        >>> criterion.backward()
        tensor([0.5000, 1.0000])
    """

    number_names = ("beta",)

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        beta: Numbers = 1.0,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.beta = self.number("beta", beta, 0)

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        d, beta = y - t, column(self.beta, y)
        if not isinstance(beta, Tensor) and beta == 0:
            return d.abs(), d.sign()
        c = d.clamp(-beta, beta)
        slope = c / beta
        if isinstance(beta, Tensor):  # some may be 0
            slope = torch.where(beta == 0, d.sign(), slope)
        return (d - c / 2).mul_(slope), slope


class GaussianNLLLoss(Loss):
    r"""Negative log-likelihood of targets under normal distributions with predicted means y and variances v.

    $$\ell = \tfrac12 \Big(\log v + \frac{d^2}{v}\Big), \qquad d = y - t, \qquad
      \frac{\partial \ell}{\partial y} = \frac{d}{v}, \qquad
      \frac{\partial \ell}{\partial v} = \frac{1}{2v} - \frac{d^2}{2v^2}$$

    `criterion(y, t, v)`; backward returns the gradients by y and by v. A variance below ε counts as ε, but has the
    gradient that ε has, as in PyTorch: else it could never grow again.

    Shapes: y and t (N, …) alike; v as y, or with a last dimension of 1 or none where it serves all of y's last.
    Loss (), or y's with "none"; with R replicas y and v lead with R, and the loss is (R,).

    Args: as of `Loss`, and
        full: add the constant ½ log 2π.
        eps: ε ≥ 0; with R replicas it may be R numbers.

    Errors: as L1Loss; ArgumentError for a negative variance.

    Source: torch.nn.GaussianNLLLoss; Nix and Weigend, "Estimating the mean and variance of the target probability
    distribution", 1994.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.GaussianNLLLoss()
        >>> criterion(torch.tensor([[3.0]]), torch.tensor([[1.0]]), torch.ones(1, 1))
        tensor(2.)
        >>> criterion.backward()
        (tensor([[2.]]), tensor([[-1.5000]]))
    """

    differentiated = (0, 2)
    number_names = ("eps",)

    def __init__(
        self, *, full: bool = False, eps: Numbers = 1e-6, reduction: str = "mean", replicas: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, replicas=replicas)
        self.full, self.eps = full, self.number("eps", eps, 0)
        self._shape = torch.Size()

    def forward(self, y: Tensor, t: Tensor, var: Tensor, weights: Tensor | None = None) -> Tensor:  # type: ignore[override]
        self.predictions(y)
        checks.like(var, y, self, "variances", owner="the predictions")
        if var.shape not in (y.shape, y.shape[:-1], (*y.shape[:-1], 1)):
            remedy = "Give a variance for each prediction, or one for those of a sample."
            expected = f"variances of shape {tuple(y.shape)} or {(*y.shape[:-1], 1)}"
            raise ShapeError(expected, str(tuple(var.shape)), remedy, self.label)
        self.within(var, 0, math.inf, "variances", "Make them positive, such as with a softplus.")
        self._shape = var.shape
        d = y - self.targets(t, y)
        v = (var if var.ndim == y.ndim else var.unsqueeze(-1)).clamp(min=column(self.eps, y))
        dy = d / v
        z = d * dy  # d²/v
        loss = (v.log() + z).mul_(0.5)
        return self.reduced(
            loss.add_(0.5 * math.log(2 * math.pi)) if self.full else loss, dy, (1 - z).div_(2 * v), weights=weights
        )

    def backward(self, dloss: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the gradients by the means and by the variances."""
        dy, dv = super().backward(dloss)
        return dy, dv if dv.shape == self._shape else dv.sum(-1, keepdim=dv.ndim == len(self._shape))


class PoissonNLLLoss(Loss):
    r"""Negative log-likelihood of counts t under Poisson distributions of rate e^y, or of rate y.

    $$\ell = e^y - t y, \quad \frac{\partial \ell}{\partial y} = e^y - t \qquad \text{or} \qquad
      \ell = y - t \log(y + \epsilon), \quad \frac{\partial \ell}{\partial y} = 1 - \frac{t}{y + \epsilon}$$

    Shapes: as L1Loss.

    Args: as of `Loss`, and
        log_input: y is the logarithm of the rate.
        full: add Stirling's t log t − t + ½ log 2πt, for log t!, where t > 1.
        eps: ε ≥ 0, with log_input=False; with R replicas it may be R numbers.

    Errors: as L1Loss; ArgumentError for negative counts.

    Source: torch.nn.PoissonNLLLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.PoissonNLLLoss()
        >>> criterion(torch.tensor([0.0]), torch.tensor([3.0]))
        tensor(1.)
        >>> criterion.backward()
        tensor([-2.])
    """

    number_names = ("eps",)

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: None = None,
        eps: Numbers = 1e-8,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.log_input, self.full, self.eps = log_input, full, self.number("eps", eps, 0)

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        self.within(t, 0, math.inf, "targets", "Give counts.")
        if self.log_input:
            rate = y.exp()
            loss, dy = rate - t * y, rate - t
        else:
            rate = y + column(self.eps, y)
            loss, dy = y - t * rate.log(), 1 - t / rate
        if self.full:
            s = t.clamp(min=1)
            loss += (s * s.log() - s + 0.5 * (2 * math.pi * s).log()).mul_(t > 1)
        return loss, dy


class KLDivLoss(Loss):
    r"""Kullback–Leibler divergence of predicted log-probabilities y from probabilities t.

    $$\ell = t \, (\log t - y), \qquad \frac{\partial \ell}{\partial y} = -t, \qquad 0 \log 0 = 0$$

    `reduction="batchmean"` is the divergence itself, averaged over the samples; `"mean"` divides by the number of
    elements, as in PyTorch.

    Shapes: as L1Loss.

    Args: as of `Loss`, and
        log_target: t, too, are log-probabilities.

    Errors: as L1Loss; ArgumentError for negative probabilities.

    Source: torch.nn.KLDivLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.KLDivLoss(reduction="batchmean")
        >>> criterion(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
        >>> criterion.backward()
        tensor([[-1., -0.]])
    """

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        log_target: bool = False,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.log_target = log_target

    def elements(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.log_target:
            p = t.exp()
            return (t - y).mul_(p), -p
        self.within(t, 0, math.inf, "targets", "Give probabilities, or pass log_target=True for their logarithms.")
        return torch.xlogy(t, t) - t * y, -t
