"""Losses for one class among K: by class indices, or by probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.nn.constants import constant
from handgrad.nn.loss import Loss
from handgrad.nn.numbers import Numbers, column, listed


class ClassLoss(Loss):
    """Base of the losses whose targets are class indices: they are checked, and weighted by their classes here."""

    buffer_names = ("weight",)
    ignore_index: int | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, replicas=replicas)
        self.weight, self.ignore_index = self.own(weight), ignore_index

    def classes(self, y: Tensor) -> int:
        """The dimension of the K classes of predictions: behind the samples', the only one where there is no batch."""
        self.predictions(y, rank=1)
        dim = self.lead + (y.ndim > self.lead + 1)
        if self.weight is not None:
            checks.like(self.weight, y, self, "class weights", owner="the predictions")
            if self.weight.shape != (*y.shape[: self.lead], y.shape[dim]):
                got = str(tuple(self.weight.shape[self.lead :]))
                remedy = "Give a weight for each class."
                raise ShapeError(f"class weights of shape ({y.shape[dim]},)", got, remedy, self.label)
        return dim

    def indices(self, t: Tensor, y: Tensor, dim: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Class indices; the weight of each one's class, or None for 1; and where there is one to ignore.

        An index that is to be ignored is returned as 0, of weight 0.
        """
        shape, K = torch.Size([*y.shape[:dim], *y.shape[dim + 1 :]]), y.shape[dim]
        if not isinstance(t, Tensor) or t.dtype.is_floating_point or t.dtype is torch.bool:
            got = checks.short(t.dtype) if isinstance(t, Tensor) else type(t).__name__
            raise DTypeError("targets of class indices", got, "Convert the targets with .long().", self.label)
        t = self.shared(t, shape)
        if t.shape != shape:
            remedy = "Give a class index for each sample; one-hot targets are probabilities, of floating-point numbers."
            if y.ndim > self.lead + 2 and t.shape in (y.shape[:-1], y.shape[self.lead : -1]):
                remedy = "The classes come second: end the model in nn.Transpose(1, 2), or make (N·T, K) of (N, T, K)."
            elif y.ndim > 2 and not self.lead and t.shape == y.shape[1:-1]:
                remedy = f"If the leading {len(y)} counts replicas, build the loss with replicas={len(y)}."
            raise ShapeError(f"class indices of shape {tuple(shape)}", str(tuple(t.shape)), remedy, self.label)
        t, ignored = t.long(), None
        least, most = _range(t)
        ignore = self.ignore_index
        if ignore is not None and (least < 0 or most >= K or 0 <= ignore < K):  # else there is none to ignore
            ignored = t == ignore
            t = t.masked_fill(ignored, 0)
            least, most = _range(t)
        if least < 0 or most >= K:
            remedy = "Count the classes from 0" + (f", or write {ignore} to ignore one." if ignore is not None else ".")
            got = str(least if least < 0 else most)
            raise ArgumentError(f"class indices from 0 to {K - 1}", got, remedy, self.label)
        mass = None if ignored is None else (~ignored).to(y.dtype)
        if self.weight is not None:
            R = self.replicas
            of = self.weight[t] if R is None else self.weight.gather(1, t.reshape(R, -1)).view(shape)
            mass = of if mass is None else of * mass
        return t, mass, ignored


def _range(t: Tensor) -> tuple[int, int]:
    if not t.numel():
        return 0, 0
    least, most = t.aminmax()
    return int(least), int(most)


class NLLLoss(ClassLoss):
    r"""Negative log-likelihood of the target classes c, from predicted log-probabilities y.

    $$\ell = -w_c \, y_c, \qquad \frac{\partial \ell}{\partial y_k} = -w_c \, [k = c]$$

    Its mean divides by the sum of the class weights w_c, over the targets that are not ignored: see Loss.

    Shapes: y (N, K, …) with c (N, …), or (K,) with (); loss (), or c's with "none". With R replicas y leads with R, and
    the loss is (R,).

    Args: as of `Loss`, and
        weight: class weights w (K,), 1 if None; with R replicas (K,) for all of them, or (R, K).
        ignore_index: a target whose loss is 0.

    Errors: ArgumentError for an index that is no class, DTypeError for targets that are not integers, ShapeError for
    targets of another shape or an empty batch.

    Source: torch.nn.NLLLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.NLLLoss()
        >>> criterion(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0]))
        tensor(1.3863)
        >>> criterion.backward()
        tensor([[-1.,  0.]])
    """

    unfit = dict.fromkeys(("Softmax", "Softmax2d"), "Put LogSoftmax in its place: {loss} takes log-probabilities.")

    def forward(self, y: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:
        dim = self.classes(y)
        t, mass, ignored = self.indices(t, y, dim)
        index = t.unsqueeze(dim)
        loss = y.gather(dim, index).squeeze(dim).neg_()
        dy = torch.zeros_like(y)
        if mass is None:
            dy.scatter_(dim, index, -1)
        else:
            loss.mul_(mass)
            dy.scatter_(dim, index, -mass.unsqueeze(dim))
        if ignored is not None:
            loss.masked_fill_(ignored, 0)  # even where the prediction is infinite
        return self.reduced(loss, dy, weights=weights, mass=mass, classes=dim)


class CrossEntropyLoss(ClassLoss):
    r"""Negative log-likelihood of target classes, or cross-entropy from target probabilities q, from logits y.

    $$\ell = -\sum_k w_k q_k \log p_k, \qquad p = \operatorname{softmax}(y), \qquad
      \frac{\partial \ell}{\partial y_k} = p_k \sum_j w_j q_j - w_k q_k$$

    A class index c stands for q_k = [k = c]. Label smoothing ε mixes q with equal probabilities:
    q_k ← (1 − ε) q_k + ε / K. The mean divides by the sum of the class weights w_c, over the targets that are not
    ignored, with indices; by the number of samples, with probabilities: see Loss.

    Shapes: y (N, K, …) with indices (N, …), or (K,) with (); or with probabilities of y's shape. Loss (), or (N, …)
    with "none". With R replicas y leads with R, and the loss is (R,).

    Args: as of `Loss`, and
        weight: class weights w (K,), 1 if None; with R replicas (K,) for all of them, or (R, K).
        ignore_index: a target whose loss is 0; not with probabilities.
        label_smoothing: ε, from 0 to 1; with R replicas it may be R numbers.

    Errors: ArgumentError for an index that is no class, a probability out of range or an ε out of range, DTypeError and
    ShapeError for targets that do not fit, ShapeError for an empty batch.

    Source: torch.nn.CrossEntropyLoss; Szegedy et al., "Rethinking the inception architecture", 2016, for ε.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.CrossEntropyLoss()
        >>> criterion(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
        >>> criterion.backward()
        tensor([[ 0.5000, -0.5000]])
    """

    unfit = dict.fromkeys(("Softmax", "LogSoftmax", "Softmax2d"), "Leave out the {layer}: {loss} takes logits.")
    number_names = ("label_smoothing",)

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: Numbers = 0.0,
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, replicas=replicas)
        self.label_smoothing = self.number("label_smoothing", label_smoothing, 0, 1)

    def forward(self, y: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:
        dim = self.classes(y)
        mass = ignored = None
        z = y - y.amax(dim, keepdim=True)  # no exponential overflows
        if isinstance(t, Tensor) and t.dtype.is_floating_point:
            loss, dy = self._from_probabilities(z, self._probabilities(t, y), dim)
        else:
            t, mass, ignored = self.indices(t, y, dim)
            loss, dy = self._from_classes(z, t.unsqueeze(dim), mass, ignored, dim)
            if ignored is not None:
                loss.masked_fill_(ignored, 0)  # even where the prediction is infinite
        return self.reduced(loss, dy, weights=weights, mass=mass, classes=dim)

    def _from_classes(
        self, z: Tensor, index: Tensor, mass: Tensor | None, ignored: Tensor | None, dim: int
    ) -> tuple[Tensor, Tensor]:
        """Loss and derivative of logits shifted by their maximum, which are overwritten."""
        rates = listed(self.label_smoothing)
        if not any(rates):
            return self._from_indices(z, index, mass, dim)
        sharp = None if all(rates) else self._from_indices(z.clone(), index, mass, dim)
        loss, dy = self._from_probabilities(z, torch.zeros_like(z).scatter_(dim, index, 1), dim)
        if ignored is not None:
            dy.mul_((~ignored).unsqueeze(dim))
        if sharp is not None:  # replicas without smoothing are what they are alone, to the bit
            loss, dy = (torch.where(column(rates, a) == 0, b, a) for a, b in zip((loss, dy), sharp))
        return loss, dy

    def _from_indices(self, z: Tensor, index: Tensor, mass: Tensor | None, dim: int) -> tuple[Tensor, Tensor]:
        """As `_from_classes`, without smoothing."""
        of = z.gather(dim, index)
        p = z.exp_()
        total = p.sum(dim, keepdim=True)
        loss = total.log().sub_(of).squeeze(dim)
        p.div_(total).scatter_add_(dim, index, constant(-1, z).expand(of.shape))
        if mass is None:
            return loss, p
        return loss.mul_(mass), p.mul_(mass.unsqueeze(dim))

    def _from_probabilities(self, z: Tensor, q: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """As `_from_classes`, from a probability for each class."""
        p = z.exp()
        total = p.sum(dim, keepdim=True)
        if any(rates := listed(self.label_smoothing)):
            K = z.shape[dim]
            q = q * column([1 - rate for rate in rates], q) + column([rate / K for rate in rates], q)
        if self.weight is not None:
            own = self.weight.shape[: self.lead]
            q = q * self.weight.view(*own, *[1] * (dim - self.lead), -1, *[1] * (z.ndim - dim - 1))
        loss = z.sub_(total.log()).mul_(q).sum(dim).neg_()
        return loss, p.mul_(q.sum(dim, keepdim=True) / total).sub_(q)

    def _probabilities(self, t: Tensor, y: Tensor) -> Tensor:
        if self.shared(t, y.shape).shape != y.shape and t.ndim < y.ndim:
            raise DTypeError("class indices", checks.short(t.dtype), "Convert the targets with .long().", self.label)
        if self.ignore_index is not None and self.ignore_index >= 0:
            remedy = "Leave out ignore_index, and give samples that do not count the weight 0."
            raise ArgumentError("class indices with ignore_index", "probabilities", remedy, self.label)
        t = self.targets(t, y)
        return self.within(t, 0, 1, "probabilities", "Give probabilities of the classes, or their indices.")


class MultiMarginLoss(ClassLoss):
    r"""Hinge loss between the score of the target class c and each other.

    $$\ell = \frac{w_c}{K} \sum_{k \ne c} h_k^p, \qquad h_k = \max(0, m - y_c + y_k), \qquad
      \frac{\partial \ell}{\partial y_k} = \frac{w_c}{K} \, p h_k^{p - 1} [h_k > 0], \qquad
      \frac{\partial \ell}{\partial y_c} = -\sum_{k \ne c} \frac{\partial \ell}{\partial y_k}$$

    Its mean divides by the number of samples, whatever their class weights.

    Shapes: y (N, K) with c (N,), or (K,) with (); loss (), or c's with "none". With R replicas y leads with R, and the
    loss is (R,).

    Args: as of `Loss`, and
        p: 1 or 2.
        margin: m; with R replicas it may be R numbers.
        weight: class weights w (K,), 1 if None; with R replicas (K,) for all of them, or (R, K).

    Errors: as NLLLoss; ArgumentError for another p.

    Source: torch.nn.MultiMarginLoss.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> criterion = nn.MultiMarginLoss()
        >>> criterion(torch.tensor([[0.5, 1.0]]), torch.tensor([0]))
        tensor(0.7500)
        >>> criterion.backward()
        tensor([[-0.5000,  0.5000]])
    """

    number_names = ("margin",)

    def __init__(
        self,
        p: int = 1,
        margin: Numbers = 1.0,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        *,
        replicas: int | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce=reduce, reduction=reduction, replicas=replicas)
        self.ignore_index = None  # each index is a class
        self.p, self.margin = checks.one_of("p", p, (1, 2), self.label), self.number("margin", margin)

    def forward(self, y: Tensor, t: Tensor, weights: Tensor | None = None) -> Tensor:
        dim = self.classes(y)
        if y.ndim > dim + 1:
            remedy = "Give a score for each class: (N, K)."
            raise ShapeError("predictions of 1 or 2 dimensions", str(tuple(y.shape)), remedy, self.label)
        t, mass, _ = self.indices(t, y, dim)
        index = t.unsqueeze(dim)
        h = (y - y.gather(dim, index)).add_(column(self.margin, y)).clamp_(min=0).scatter_(dim, index, 0)
        loss, dy = (h.sum(dim), h.sign()) if self.p == 1 else ((h * h).sum(dim), 2 * h)
        dy.scatter_(dim, index, -dy.sum(dim, keepdim=True)).div_(y.shape[dim])
        if mass is not None:
            loss, dy = loss.mul_(mass), dy.mul_(mass.unsqueeze(dim))
        return self.reduced(loss.div_(y.shape[dim]), dy, weights=weights, classes=dim)
