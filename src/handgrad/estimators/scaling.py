"""Scaled: inputs and targets as the network sees them, also while more data keep coming."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgrad import nn
from handgrad.optional import require
from handgrad.targets import rescale

require("sklearn", "sklearn")
from sklearn.preprocessing import StandardScaler  # noqa: E402


class Scaled:
    """Standardisation of inputs, and of the targets of a regression, by all samples seen so far.

    Args:
        task: "classification" leaves the targets alone.
    """

    def __init__(self, task: str) -> None:
        # "default": arrays, also where the user's sklearn.set_config asks for frames
        self.x = StandardScaler().set_output(transform="default")
        self.t = StandardScaler().set_output(transform="default") if task == "regression" else None

    @property
    def width(self) -> int:
        """O, the number of targets of a sample."""
        assert self.t is not None
        return len(self.t.mean_)

    def update(self, X: Any, t: Any, weights: Any | None) -> Scaled:
        """Take these samples into account as well; return itself."""
        self.x.partial_fit(X, sample_weight=weights)
        if self.t is not None:
            self.t.partial_fit(t, sample_weight=weights)
        return self

    def inputs(self, X: Any, dtype: torch.dtype) -> Tensor:
        """(N, I) of a dtype."""
        return torch.from_numpy(np.ascontiguousarray(self.x.transform(X))).to(dtype)

    def targets(self, t: Any) -> Tensor:
        """Class indices (N,), or (N, O) in float64."""
        return torch.from_numpy(np.array(t, dtype=np.int64) if self.t is None else self.t.transform(t))

    def restored(self, y: Tensor) -> Tensor:
        """Outputs (R, N, O) of a regression in the unit of its targets."""
        assert self.t is not None
        return y * torch.from_numpy(self.t.scale_) + torch.from_numpy(self.t.mean_)


def follow_inputs(model: nn.Sequential, old: Scaled, new: Scaled) -> None:
    r"""Let a network that has learnt with the old standardisation predict the same with the new one.

    With z = (x − m) / s before and z' = (x − m') / s' now, of inputs,

    $$z W + b = z' \frac{s'}{s} W + b + \frac{m' - m}{s} W$$

    and of the outputs $z' = (s z + m - m') / s'$. A number that has never varied so far has taught the network
    nothing: there the weights stay as they are.
    """
    if not hasattr(old.x, "scale_"):
        return
    first = next(model.children())
    assert isinstance(first, nn.Linear)
    assert first.bias is not None
    W, b = first.weight, first.bias
    ratio, shift = (torch.from_numpy(v) for v in change(old.x, new.x))
    b.value = (b.value + torch.einsum("i,rio->ro", shift, W.value.double())).to(W.value.dtype)
    W.value = (W.value * ratio.unsqueeze(1)).to(W.value.dtype)
    if old.t is not None:
        ratio, shift = (torch.from_numpy(v) for v in change(old.t, new.t))
        rescale(model, -shift / ratio, 1 / ratio)


def change(old: Any, new: Any) -> tuple[Any, Any]:
    """s' / s and (m' − m) / s; 1 and 0 for what had not varied."""
    varied = np.isclose(old.scale_**2, old.var_, rtol=1e-3, atol=0)
    ratio = np.where(varied, new.scale_ / old.scale_, 1.0)
    shift = np.where(varied, (new.mean_ - old.mean_) / old.scale_, 0.0)
    return ratio, shift
