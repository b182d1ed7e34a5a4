"""Figure 1's raw numbers: what flows through the network and back, looked at while it trains."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from handgrad import nn, optim
from handgrad.experiments import disk
from handgrad.experiments.disk import Options

ROUNDS, SAMPLES = 20, 100
"""How many are looked at, at most."""


def look_inside(options: Options, batchnorm: bool) -> dict[str, Any]:
    """Train the first rounds with PyTorch's default initialisation, and look at the first step of each epoch."""
    options = replace(options, rounds=min(options.rounds, ROUNDS))
    model = disk.network(options, "pytorch", batchnorm)
    criterion = nn.MSELoss(reduction=options.reduction, replicas=options.rounds)
    optimizer = optim.SGD(model.parameters(), lr=options.lr)
    batches, watch = disk.data(options).batches(options), Inside()
    for epoch in range(options.epochs):
        for step, (x, t) in enumerate(batches.epoch(epoch)):
            optimizer.zero_grad()
            criterion(model(x), t)
            if step == 0:
                watch.after_forward(model)
            model.backward_parameters(criterion.backward())
            if step == 0:
                watch.after_backward(model)
            optimizer.step()
    return watch.to_dict()


class Inside:
    """The third layer's input and the second layer's gradient, at each epoch's first step.

    The share of the sample is the part of the features'
    variance that lies between samples, not between units: near 0, the layer sees little but the biases before it.
    """

    percentiles = (5.0, 25.0, 50.0, 75.0, 95.0)
    feature_edges = torch.linspace(-3.025, 5.025, 162, dtype=torch.float64)  # 0, which ReLU gives often, inside a bin
    gradient_edges = torch.linspace(-9, 1, 101, dtype=torch.float64)
    """Of log10|g|."""

    def __init__(self) -> None:
        self.features: list[dict[str, Any]] = []
        self.gradients: list[dict[str, Any]] = []

    def after_forward(self, model: nn.Sequential) -> None:
        """Look at what the third linear layer kept of its input."""
        kept = _linear(model, 2).kept
        assert kept is not None
        h = kept[0][:, :SAMPLES].double()  # (R, N, C)
        total = h.flatten(1).var(1, correction=0)
        share = torch.where(total > 0, h.var(1, correction=0).mean(1) / total, 0.0)  # (R,)
        self.features.append(self._distribution(h, self.feature_edges) | {"share": share.tolist()})

    def after_backward(self, model: nn.Sequential) -> None:
        """Look at the gradient of the second linear layer's weights."""
        grad = _linear(model, 1).weight.grad
        assert grad is not None
        self.gradients.append(self._distribution(grad.double().abs().clamp(min=1e-9).log10(), self.gradient_edges))

    def to_dict(self) -> dict[str, Any]:
        """Everything for figure 1: quantiles and densities by epoch, and the share of the sample in the features."""
        share = torch.tensor([f["share"] for f in self.features], dtype=torch.float64)  # (E, R)
        spread = share.std(1) if share.shape[1] > 1 else torch.zeros(len(share))
        return {
            "features": self._by_epoch(self.features, self.feature_edges)
            | {"sample_share": {"mean": share.mean(1).tolist(), "std": spread.tolist()}},
            "gradient": self._by_epoch(self.gradients, self.gradient_edges),
        }

    @staticmethod
    def _by_epoch(found: list[dict[str, Any]], edges: Tensor) -> dict[str, Any]:
        return {
            "quantiles": [f["quantiles"] for f in found],
            "histogram": {"edges": edges.tolist(), "density": [f["density"] for f in found]},
        }

    def _distribution(self, values: Tensor, edges: Tensor) -> dict[str, Any]:
        values = values.flatten().cpu()
        values = values[values.isfinite()]
        if not values.numel():
            return {"quantiles": [math.nan] * len(self.percentiles), "density": [math.nan] * (len(edges) - 1)}
        counts = torch.histogram(values.clamp(edges[0], edges[-1]), edges, density=True)
        levels = torch.tensor(self.percentiles, dtype=torch.float64) / 100
        return {"quantiles": values.quantile(levels).tolist(), "density": counts.hist.tolist()}


def _linear(model: nn.Sequential, index: int) -> nn.Linear:
    """The linear layer of that index among the linear layers."""
    return [part for part in model if isinstance(part, nn.Linear)][index]
