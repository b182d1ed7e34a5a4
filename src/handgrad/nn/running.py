"""Running: the base of normalisations a channel, with running statistics, and γ and β."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.nn.init import Constant
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter


class Running(Module):
    """Base of BatchNorm and InstanceNorm: their options, parameters (C,) and buffers (C,).

    Args: as of `BatchNorm1d`.
    """

    shown = "num_features, eps=, momentum=, affine=, bias=, track_running_stats="
    buffer_names = ("running_mean", "running_var", "num_batches_tracked")

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
        replicas: int | None = None,
    ) -> None:
        self.num_features = checks.positive_int("num_features", num_features, type(self).__name__)
        super().__init__(replicas)
        self.eps = checks.at_least("eps", eps, 0, self.label)
        self.momentum = momentum if momentum is None else checks.at_least("momentum", momentum, 0, self.label)
        self.affine, self.track_running_stats = affine, track_running_stats
        values = torch.empty(num_features, device=checks.device(device, self.label), dtype=dtype)
        self.weight, self.bias = affine_parameters(values, affine, bias, replicas)
        statistics = values if replicas is None else values.expand(replicas, -1)
        self.running_mean = torch.zeros_like(statistics).contiguous() if track_running_stats else None
        self.running_var = torch.ones_like(statistics).contiguous() if track_running_stats else None
        counts = torch.zeros(statistics.shape[:-1], dtype=torch.long, device=values.device)
        self.num_batches_tracked = counts if track_running_stats else None

    @property
    def label(self) -> str:
        return f"{type(self).__name__} {self.num_features}"

    @property
    def reference(self) -> Tensor | None:
        """A tensor whose dtype and device an input must have."""
        return self.running_mean if self.weight is None else self.weight.value

    def reset_buffers(self) -> None:
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()


def affine_parameters(
    values: Tensor, affine: bool, bias: bool, replicas: int | None
) -> tuple[Parameter | None, Parameter | None]:
    """γ = 1 and β = 0 of the shape, dtype and device of `values`, or None: without `affine` both, without `bias` β."""
    gamma = Parameter(values.clone(), Constant(1.0), replicas=replicas) if affine else None
    return gamma, Parameter(values.clone(), Constant(0.0), replicas=replicas) if affine and bias else None
