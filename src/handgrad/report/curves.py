"""What a report draws of predictions, as plain data for its `Run`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ArgumentError
from handgrad.report.run import Reliability, Residuals, Roc
from handgrad.scoring import binned, of_classes, of_values


def confusion(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> list[list[list[float]]]:
    """Return how much weight of each class, down, is predicted as each, across: (R, K, K).

    Arguments and errors as `metrics.measure`. A replica whose outputs are not finite has zeros only.

    Example:
        >>> import torch
        >>> confusion(torch.tensor([[[-1.0], [1.0], [1.0]]]), torch.tensor([0, 0, 1]))
        [[[1.0, 1.0], [0.0, 1.0]]]
    """
    d = of_classes(outputs, targets, weights)
    found: list[list[list[float]]] = d.counts.masked_fill(d.bad[:, None, None], 0).tolist()
    return found


def reliability(outputs: Tensor, targets: Tensor, weights: Tensor | None = None, *, bins: int = 10) -> Reliability:
    """Return confidence, max_k p_k, and accuracy in bins of equal width of confidence, with the samples' weight.

    Arguments and errors as `metrics.measure`.

    Example:
        >>> import torch
        >>> found = reliability(torch.tensor([[[0.8], [0.8]]]).logit(), torch.tensor([1, 0]), bins=2)
        >>> found["accuracy"], found["count"]
        ([[None, 0.5]], [[0.0, 2.0]])
    """
    d = of_classes(outputs, targets, weights)
    sure, right, weight = (x.masked_fill(d.bad.unsqueeze(1), torch.nan) for x in binned(d, bins))
    return {"confidence": _rows(sure), "accuracy": _rows(right), "count": _rows(weight)}


def roc(outputs: Tensor, targets: Tensor, weights: Tensor | None = None, *, points: int = 101) -> Roc:
    """Return the receiver operating characteristic of two classes at false positive rates from 0 to 1.

    Between two thresholds it is the straight line, so that the area is the AUC of samples with ties counted half.
    Arguments as `metrics.measure`.

    Errors: ArgumentError for more than two classes.

    Example:
        >>> import torch
        >>> roc(torch.tensor([[[0.0], [2.0], [1.0]]]), torch.tensor([0, 1, 1]), points=3)
        {'false': [0.0, 0.5, 1.0], 'true': [[1.0, 1.0, 1.0]]}
    """
    d = of_classes(outputs, targets, weights)
    if d.z.shape[-1] != 2:
        remedy = "Draw a confusion matrix."
        raise ArgumentError("logits of two classes", f"{d.z.shape[-1]} classes", remedy, "roc")
    import numpy as np

    grid = np.linspace(0, 1, points)
    rows: list[list[float | None]] = []
    for z, t, w, bad in zip((d.z[..., 1] - d.z[..., 0]).nan_to_num(), d.t, d.w, d.bad):
        z, order = z.sort(descending=True)
        hits, misses = (w[order] * (t[order] == k) for k in (1, 0))
        last = torch.cat([z[1:] != z[:-1], torch.ones(len(z[:1]), dtype=torch.bool)])  # of those tied
        true, false = (torch.cat([torch.zeros(1).double(), x.cumsum(0)[last]]) for x in (hits, misses))
        if bad or not true[-1] or not false[-1]:
            rows.append([None] * points)
            continue
        true, false = true / true[-1], false / false[-1]
        # on a vertical piece np.interp takes the highest point
        rows.append(np.interp(grid, false.numpy(), true.numpy()).tolist())
    return {"false": grid.tolist(), "true": rows}


def residuals(outputs: Tensor, targets: Tensor, *, most: int = 500) -> Residuals:
    """Return predictions, mean and standard deviation over replicas, and targets, of at most `most` samples.

    Those are evenly spaced by rank of the prediction, so that both ends are there. Replicas whose outputs are not
    finite are left out. Arguments and errors as `metrics.measure`.

    Errors: ArgumentError for several outputs, or for targets that differ between replicas.

    Example:
        >>> import torch
        >>> residuals(torch.tensor([[2.0, 1.0], [4.0, 1.0]]), torch.tensor([2.0, 1.5]))["prediction"]
        [1.0, 3.0]
    """
    d = of_values(outputs, targets)
    if d.y.shape[-1] != 1 or not torch.equal(d.t, d.t[:1].expand_as(d.t)):
        got = f"{d.y.shape[-1]} outputs" if d.y.shape[-1] != 1 else "different ones"
        raise ArgumentError("one output, and targets that replicas share", got, "Pass one output.", "residuals")
    y, t = d.y[~d.bad, :, 0], d.t[0, :, 0]
    if not len(y):
        return {"prediction": [], "spread": [], "target": [], "rows": len(t)}
    mean = y.mean(0)
    std = y.std(0) if len(y) > 1 else torch.full_like(mean, torch.nan)
    chosen = mean.argsort(stable=True)
    if len(chosen) > most:
        chosen = chosen[torch.linspace(0, len(chosen) - 1, most, dtype=torch.float64).round().long()]
    return {
        "prediction": mean[chosen].tolist(), "spread": _row(std[chosen]), "target": t[chosen].tolist(), "rows": len(t),
    }  # fmt: skip


def _rows(x: Tensor) -> list[list[float | None]]:
    return [_row(row) for row in x]


def _row(x: Tensor) -> list[float | None]:
    values: list[Any] = x.tolist()
    return [v if v == v else None for v in values]
