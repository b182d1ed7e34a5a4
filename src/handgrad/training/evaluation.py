"""Evaluation: what a model is worth on data that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from handgrad.data import Inputs, check_rows, fingerprint, rowwise
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.slot import mapped, several
from handgrad.training.calls import evaluating, judged, outputs
from handgrad.training.listening import tensors

FEW, MOST, LARGEST = 32, 4096, 2**20
"""Samples that a model is tried with, samples at a time, and numbers in a tensor: beyond that no cache holds it, and an
evaluation of images takes several times as long."""

Measure = Callable[[Any, Tensor], Tensor]
"""From outputs (R, N, …) and targets (R, N, …) to a number of each replica, (R,); without replicas without R."""


def without_loss(measures: Mapping[str, Measure], where: str) -> None:
    """Raise if a measure has the name of the loss that is measured beside them.

    Errors: ArgumentError for "loss".
    """
    if "loss" in measures:
        expected, remedy = "measures of other names than the loss, which is measured, too", "Give it another name."
        raise ArgumentError(expected, "loss", remedy, where)


class Evaluation:
    """The loss and the measures of a model, in evaluation mode, on data that all replicas share or on rows of each.

    Calling it returns {name: (R,)}, the names led by `prefix`.

    Args:
        x, t: inputs and targets, (N, …), or (R, N, …) with `own`; x may be a tuple, for a model of several inputs.
        criterion: for the measure "loss", with the model's replicas; None leaves it out.
        measures: functions of outputs and targets, by name.
        weights: of the samples in the loss, (N,), or (R, N) with `own`; measures have none.
        rows: (R, M), which samples each replica is measured on; all by default.
        own: each replica has data of its own.
        prefix: such as "validation_".
        chunk: samples that are computed at a time; None is as many, up to 4,096, as keep what the layers keep within
            2²⁰ numbers each, for which the first 32 are computed once more.

    Errors: ArgumentError for no samples, rows that there are not, or a measure "loss" beside a criterion; ShapeError
    for targets or weights that are not one for each sample; DTypeError for rows that are no indices, such as a mask,
    and, when called, for outputs within outputs, as an LSTM's.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> from handgrad.training import Evaluation
        >>> x = torch.ones(4, 1)
        >>> largest = {"largest": lambda y, t: y.amax((1, 2))}
        >>> evaluation = Evaluation(x, x, nn.MSELoss(replicas=2), largest, prefix="test_")
        >>> {name: values.shape for name, values in evaluation(nn.Linear(1, 1, replicas=2)).items()}
        {'test_loss': torch.Size([2]), 'test_largest': torch.Size([2])}
    """

    def __init__(
        self,
        x: Inputs,
        t: Tensor,
        criterion: Loss | None = None,
        measures: Mapping[str, Measure] | None = None,
        *,
        weights: Tensor | None = None,
        rows: Tensor | None = None,
        own: bool = False,
        prefix: str = "",
        chunk: int | None = None,
    ) -> None:
        self.x, self.t, self.criterion, self.measures = x, t, criterion, dict(measures or {})
        self.rows, self.own, self.prefix, self.chunk = rows, own, prefix, chunk
        self._chunks: dict[int | None, int] = {}
        if criterion is not None:
            without_loss(self.measures, "Evaluation")
        self.count = t.shape[1 if own else 0]
        if self.count == 0:
            raise ArgumentError("at least one sample to evaluate on", "none", "Pass data.", "Evaluation")
        if rows is not None:
            check_rows(rows, self.count, None, "Evaluation")
            self.count = rows.shape[1]
        shape = tuple(several(x)[0].shape[: 2 if own else 1])
        for what, v in [("targets", t), *(("inputs", v) for v in several(x))]:
            if v.shape[: len(shape)] != shape:
                remedy = "Give every input its target."
                raise ShapeError(f"{what} of shape {shape} and on", str(tuple(v.shape)), remedy, "Evaluation")
        if weights is not None and weights.shape != shape:
            got, remedy = str(tuple(weights.shape)), "Give one to each sample."
            raise ShapeError(f"weights of shape {shape}", got, remedy, "Evaluation")
        self.weights = weights if weights is None or rows is None else rowwise(weights, rows, own)

    @property
    def names(self) -> list[str]:
        """The measures' names."""
        return [self.prefix + name for name in (*(["loss"] if self.criterion else ()), *self.measures)]

    def __call__(self, model: Module) -> dict[str, Tensor]:
        y, t = self.outputs(model)
        found = []
        if self.criterion is not None:
            w = self.weights
            w = w if w is None or w.ndim == 1 or self._leads(model) else w.squeeze(0)
            found.append(judged(self.criterion, y, t, w))
            self.criterion.forget()
        found += [measure(y, t) for measure in self.measures.values()]
        return {name: torch.as_tensor(value, device="cpu") for name, value in zip(self.names, found)}

    def fingerprint(self) -> list[Any]:
        """What tells its data from others, as JSON has it."""
        return [fingerprint(x=self.x, t=self.t, weights=self.weights, rows=self.rows), self.own]

    def outputs(self, model: Module) -> tuple[Any, Tensor]:
        """Outputs, a tuple where the model has several, and targets, all (R, N, …), or (N, …) without replicas."""
        with evaluating(model), torch.inference_mode():
            n = self.chunk or self._fitting(model)
            parts = [self._part(model, range(self.count)[i : i + n]) for i in range(0, self.count, n)]
        ys, ts = zip(*parts)
        if not all(isinstance(y, Tensor) for y in several(ys[0])):
            remedy = "Put what counts into one tuple, or take the first alone, as nn.First(nn.LSTM(…)) does."
            raise DTypeError("outputs that are tensors", "a tuple of tensors within them", remedy, "Evaluation")
        joined = [torch.cat(pieces, 1 if self._leads(model) else 0) for pieces in (*zip(*map(several, ys)), ts)]
        return tuple(joined[:-1]) if isinstance(ys[0], tuple) else joined[0], joined[-1]

    def _part(self, model: Module, part: range) -> tuple[Any, Tensor]:
        (x, t), replicas = self._chosen(model, part), replicas_of(model)
        y = outputs(model, x)
        model.forget()
        return y, t if replicas is None else t.expand(replicas, *t.shape[1:])

    def _chosen(self, model: Module, part: range) -> tuple[Any, Tensor]:
        """Inputs and targets of some samples, as the model takes them."""

        def chosen(v: Tensor) -> Tensor:
            if self.rows is not None:
                v = rowwise(v, self.rows[:, part.start : part.stop], self.own)  # (R, n, …)
            else:  # (R, n, …) or (1, n, …)
                v = v[:, part.start : part.stop] if self.own else v[part.start : part.stop].unsqueeze(0)
            return v if self._leads(model) else v.squeeze(0)

        x, t = mapped(chosen, (self.x, self.t))
        return x, t

    def _fitting(self, model: Module) -> int:
        """How many samples to compute at a time: always as many for as many replicas, for so the numbers stay."""
        replicas = replicas_of(model)
        if replicas not in self._chunks:
            few = range(self.count)[:FEW]
            y = outputs(model, self._chosen(model, few)[0])
            most = max(v.numel() for v in tensors((y, *(part.kept for part in model.modules()))))
            model.forget()
            self._chunks[replicas] = max(1, min(MOST, LARGEST * len(few) // max(most, 1)))
        return self._chunks[replicas]

    def _leads(self, model: Module) -> bool:
        return replicas_of(model) is not None
