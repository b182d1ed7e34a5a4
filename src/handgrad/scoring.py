"""Outputs of R replicas and targets in one form, and the formulas of the metrics, each for all replicas at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ArgumentError, DTypeError, ShapeError

BINS = 15
LEAST = math.log(torch.finfo(torch.float64).eps)  # of log p: a probability of 0 costs this much, as in scikit-learn


@dataclass(frozen=True)
class Classes:
    """What the metrics of classification are computed from."""

    t: Tensor  # (R, N) classes
    z: Tensor  # (R, N, K) logits
    w: Tensor  # (R, N)
    bad: Tensor  # (R,) whether there are outputs that are not numbers

    @property
    def logp(self) -> Tensor:
        return self.z - self.z.logsumexp(-1, keepdim=True)  # (R, N, K)

    @property
    def odds(self) -> Tensor:
        """log p_k − log(1 − p_k), which, unlike p_k, does not saturate."""
        z = self.z - self.z.amax(-1, keepdim=True)  # so that logits that differ by a constant are tied exactly
        falling = z.sort(-1, descending=True).values  # summed in one order: those that change places are tied, too
        logp, top = z - falling.logsumexp(-1, keepdim=True), z.argmax(-1, keepdim=True)
        high = falling[..., :1] - falling[..., 1:].logsumexp(-1, keepdim=True)
        found = logp - (-logp.exp()).log1p()
        # only the most probable class comes near 1, where 1 − p_k has no digits left
        found = found.scatter(-1, top, torch.where(high > 2, high, found.gather(-1, top)))
        return found.nan_to_num()  # (R, N, K)

    @property
    def y(self) -> Tensor:
        return self.z.argmax(-1)  # (R, N)

    @property
    def hot(self) -> Tensor:
        """The targets one-hot."""
        return (self.t.unsqueeze(-1) == torch.arange(self.z.shape[-1], device=self.z.device)).double()  # (R, N, K)

    @property
    def counts(self) -> Tensor:
        """The confusion matrix: weight of each target and prediction."""
        R, _, K = self.z.shape
        cells = self.z.new_zeros(R, K * K).scatter_add_(1, self.t * K + self.y, self.w)
        return cells.view(R, K, K)  # (R, K, K)


@dataclass(frozen=True)
class Values:
    """What the metrics of regression are computed from."""

    t: Tensor  # (R, N, O)
    y: Tensor  # (R, N, O)
    w: Tensor  # (R, N)
    bad: Tensor  # (R,)

    def mean(self, x: Tensor) -> Tensor:
        """The weighted mean over samples, (R, N, O) to (R, O)."""
        return (self.w.unsqueeze(-1) * x).sum(1) / self.w.sum(1, keepdim=True)


def of_classes(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Classes:
    """Check logits and classes and bring them to one form; arguments and errors as `measure`."""
    z = _numbers(outputs, "outputs")
    if z.ndim != 3 or not z.shape[-1]:
        _shape("outputs of shape (R, N, K), or (R, N, 1) for two classes", outputs)
    if z.shape[-1] == 1:
        z = torch.cat([torch.zeros_like(z), z], -1)  # the softmax of (0, z) is the sigmoid of z
    R, N, K = z.shape
    t = _numbers(targets, "targets")
    if t.shape in ((N, 1), (R, N, 1)):
        t = t.squeeze(-1)
    if t.shape not in ((N,), (R, N)):
        remedy = "Pass indices of classes: one-hot targets t are t.argmax(-1)."
        raise ShapeError(f"targets of shape ({N},) or ({R}, {N})", f"{tuple(targets.shape)}", remedy, "metrics")
    wrong = t[(t != t.round()) | (t < 0) | (t >= K)]
    if wrong.numel():
        remedy = "Number the classes from 0, as the outputs are."
        raise ArgumentError(f"targets from 0 to {K - 1}", f"{wrong[0].item():g}", remedy, "metrics")
    bad = ~z.logsumexp(-1).isfinite().all(-1)  # a logit of −∞ is a probability of 0
    return Classes(t.long().expand(R, N), z.masked_fill(bad[:, None, None], 0), _weights(weights, R, N), bad)


def of_values(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Values:
    """Check predicted and true values and bring them to one form; arguments and errors as `measure`."""
    y, t = _numbers(outputs, "outputs"), _numbers(targets, "targets")
    if y.ndim == 2:
        y = y.unsqueeze(-1)
    if y.ndim != 3:
        _shape("outputs of shape (R, N) or (R, N, O)", outputs)
    R, N, outs = y.shape
    if outs == 1 and t.shape in ((N,), (R, N)):
        t = t.unsqueeze(-1)
    if t.shape not in ((N, outs), (R, N, outs)):
        shapes = f"({N}, {outs}) or ({R}, {N}, {outs})" if outs > 1 else f"({N},) or ({R}, {N})"
        remedy = "Give every prediction its target."
        raise ShapeError(f"targets of shape {shapes}", f"{tuple(targets.shape)}", remedy, "metrics")
    if not t.isfinite().all():
        remedy = "Leave out samples without a target."
        raise ArgumentError("finite targets", "NaN or infinity among them", remedy, "metrics")
    bad = ~y.isfinite().all(-1).all(-1)
    return Values(t.expand(R, N, outs), y.masked_fill(bad[:, None, None], 0), _weights(weights, R, N), bad)


def accuracy(d: Classes) -> Tensor:
    return (d.w * (d.y == d.t)).sum(-1) / d.w.sum(-1)


def balanced_accuracy(d: Classes) -> Tensor:
    return (d.counts.diagonal(dim1=1, dim2=2) / d.counts.sum(2)).nanmean(-1)  # a class without targets is 0/0


def f1(d: Classes) -> Tensor:
    each = 2 * d.counts.diagonal(dim1=1, dim2=2) / (d.counts.sum(1) + d.counts.sum(2))  # (R, K)
    return each[:, 1] if each.shape[1] == 2 else each.nanmean(-1)


def auc(d: Classes) -> Tensor:
    """For each class, the weight of the negatives below each positive, those tied counted half."""
    scores, hot = d.odds.transpose(1, 2).contiguous(), d.hot.transpose(1, 2)  # (R, K, N)
    if scores.shape[1] == 2:
        scores, hot = (d.z[:, None, :, 1] - d.z[:, None, :, 0]).nan_to_num(), hot[:, 1:]
    ordered, order = scores.sort(-1)
    positive, negative = d.w.unsqueeze(1) * hot, d.w.unsqueeze(1) * (1 - hot)
    heaped = negative.gather(-1, order).cumsum(-1)
    heaped = torch.cat([torch.zeros_like(heaped[..., :1]), heaped], -1)  # (R, K, N + 1): weight of the negatives so far
    below = heaped.gather(-1, torch.searchsorted(ordered, scores))
    up_to = heaped.gather(-1, torch.searchsorted(ordered, scores, right=True))
    won = (positive * (below + up_to) / 2).sum(-1)
    return (won / (positive.sum(-1) * negative.sum(-1))).nanmean(-1)


def log_loss(d: Classes) -> Tensor:
    each = -d.logp.gather(-1, d.t.unsqueeze(-1)).squeeze(-1).clamp(min=LEAST)
    return (d.w * each).sum(-1) / d.w.sum(-1)


def brier(d: Classes) -> Tensor:
    each = (d.logp.exp() - d.hot).square().sum(-1)
    return (d.w * each).sum(-1) / d.w.sum(-1) / (2 if d.z.shape[-1] == 2 else 1)


def calibration_error(d: Classes) -> Tensor:
    confidence, accuracy, weight = binned(d, BINS)
    return (weight * (accuracy - confidence).abs().nan_to_num()).sum(-1) / weight.sum(-1)


def binned(d: Classes, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean confidence, the accuracy (NaN without samples) and the weight in bins of equal width: (R, B) each."""
    p, y = d.logp.exp().max(-1)
    place = ((p * bins).ceil().long() - 1).clamp(0, bins - 1)  # bin b is (b/B, (b + 1)/B]
    weight, sure, right = (
        p.new_zeros(len(p), bins).scatter_add_(1, place, d.w * x) for x in (torch.ones_like(p), p, (y == d.t).double())
    )
    return sure / weight, right / weight, weight


def rmse(d: Values) -> Tensor:
    return d.mean((d.y - d.t).square()).sqrt().mean(-1)


def mae(d: Values) -> Tensor:
    return d.mean((d.y - d.t).abs()).mean(-1)


def r2(d: Values) -> Tensor:
    share = d.mean((d.y - d.t).square()) / d.mean((d.t - d.mean(d.t).unsqueeze(1)).square())
    none = d.w.unsqueeze(-1) <= 0
    equal = d.t.masked_fill(none, -math.inf).amax(1) <= d.t.masked_fill(none, math.inf).amin(1)
    return (1 - share.masked_fill(equal, math.nan)).nanmean(-1)  # by rounding, equal targets have some variance


def median_absolute_error(d: Values) -> Tensor:
    """The middle of the two where the weights below and above are equal, as with an even number of equal weights."""
    errors, order = (d.y - d.t).abs().sort(1)
    weights = d.w.unsqueeze(-1).expand_as(errors).gather(1, order)
    heaped = weights.cumsum(1).transpose(1, 2).contiguous()  # (R, O, N)
    half = heaped[..., -1:] / 2
    last = heaped.shape[-1] - 1
    near = 4 * heaped.shape[-1] * torch.finfo(torch.float64).eps  # what rounding may make of a half, as a share of it
    bounds = (half * (1 - near), half * (1 + near))
    low, high = (torch.searchsorted(heaped, bound).clamp(max=last) for bound in bounds)
    errors = errors.transpose(1, 2)
    middle = (errors.gather(-1, low) + errors.gather(-1, high)).squeeze(-1) / 2
    return torch.where(half.squeeze(-1) > 0, middle, math.nan).mean(-1)


def max_error(d: Values) -> Tensor:
    largest = (d.y - d.t).abs().masked_fill(d.w.unsqueeze(-1) <= 0, -1.0).amax(1)
    return torch.where(largest >= 0, largest, math.nan).mean(-1)


def _numbers(x: Any, what: str) -> Tensor:
    if not isinstance(x, Tensor):
        remedy = f"Convert the {what} with torch.as_tensor(…)."
        raise DTypeError(f"{what} to be a torch.Tensor", type(x).__name__, remedy, "metrics")
    return x.detach().to("cpu", torch.float64)  # not every device has float64


def _weights(weights: Tensor | None, R: int, N: int) -> Tensor:
    if weights is None:
        return torch.ones(R, N, dtype=torch.float64, device="cpu")
    w = _numbers(weights, "weights")
    if w.shape not in ((N,), (R, N)):
        remedy = "Give every sample one weight."
        raise ShapeError(f"weights of shape ({N},) or ({R}, {N})", f"{tuple(w.shape)}", remedy, "metrics")
    if not (w.isfinite() & (w >= 0)).all():
        remedy = "Pass weights of at least 0."
        raise ArgumentError("finite weights of at least 0", "others among them", remedy, "metrics")
    return w.expand(R, N)


def _shape(expected: str, outputs: Tensor) -> None:
    remedy = "A network without replicas gives outputs that need .unsqueeze(0)."
    if outputs.ndim > 3:  # a label for each token or pixel
        remedy = "Of several labels a sample, pass a function of outputs and targets that returns (R,) numbers."
    raise ShapeError(expected, f"{tuple(outputs.shape)}", remedy, "metrics")
