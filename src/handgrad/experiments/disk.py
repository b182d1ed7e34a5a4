"""The report's experiment (section 2): points in and outside a disk, its network, and training it as R replicas."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn, optim
from handgrad.errors import ArgumentError
from handgrad.nn.init import named
from handgrad.seeds import derive, generator

RADIUS = 1 / math.sqrt(2 * math.pi)
"""The disk covers half of the unit square."""

POINTS = 1000
HIDDEN = 25
ACTIVATIONS = ("relu", "tanh")

Advance = Callable[[int], None]
"""Called with the number of rounds × epochs that were just finished."""


@dataclass(frozen=True)
class Options:
    """What the report fixes, as options; the defaults are the report's.

    Errors: ArgumentError for a value out of its range, or batches that leave a last one of a single sample.
    """

    rounds: int = 20
    epochs: int = 50
    lr: float = 0.06
    batch_size: int = 500
    seed: int = 0
    init: str = "kaiming_normal"
    activation: str = "relu"
    reduction: str = "mean"
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("rounds", "epochs", "batch_size"):
            checks.positive_int(name, getattr(self, name), "reproduce")
        checks.at_least("lr", self.lr, 0, "reproduce")
        checks.one_of("activation", self.activation, ACTIVATIONS, "reproduce")
        checks.one_of("reduction", self.reduction, ("mean", "batchmean", "sum"), "reproduce")
        checks.one_of("dtype", self.dtype, ("float32", "float64"), "reproduce")
        checks.device(self.device, "reproduce")
        named(self.init)
        if POINTS % self.batch_size == 1 or self.batch_size == 1:
            remedy = f"Choose another batch size, such as {POINTS // 2}."
            got = f"batch_size={self.batch_size}, which leaves a batch of one"
            raise ArgumentError("at least 2 samples in every batch, for batch normalisation", got, remedy, "reproduce")

    @property
    def seeds(self) -> list[int]:
        """The seed of each round."""
        return list(range(self.seed, self.seed + self.rounds))

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        return torch.float32 if self.dtype == "float32" else torch.float64

    @property
    def batches(self) -> list[slice]:
        """The batches of an epoch; the last one may be short."""
        return [slice(i, i + self.batch_size) for i in range(0, POINTS, self.batch_size)]

    def to_dict(self) -> dict[str, Any]:
        """The options by name."""
        return asdict(self)


@dataclass(frozen=True)
class Data:
    """R rounds of data: points x (R, N, 2), one-hot targets t (R, N, 2), labels (R, N), and the order of each epoch."""

    x: Tensor
    t: Tensor
    labels: Tensor
    test_x: Tensor
    test_labels: Tensor
    orders: Tensor
    """(E, R, N) indices."""


def points(seeds: list[int], split: str) -> tuple[Tensor, Tensor]:
    """Draw 1,000 points of [0, 1]² a seed, label 1 inside the disk: (R, N, 2) in float64, and (R, N)."""
    x = torch.stack([torch.rand(POINTS, 2, generator=generator(s, split), dtype=torch.float64) for s in seeds])
    labels = ((x - 0.5).square().sum(-1) < RADIUS**2).long()
    return x, labels


def data(options: Options) -> Data:
    """Draw the data of every round, on the device and in the dtype of the options."""
    x, labels = points(options.seeds, "train")
    test_x, test_labels = points(options.seeds, "test")
    t = torch.stack((1 - labels, labels), -1)
    sources = [generator(seed, "order") for seed in options.seeds]
    orders = [torch.stack([torch.randperm(POINTS, generator=g) for g in sources]) for _ in range(options.epochs)]
    x, t, test_x = (v.to(options.device, options.torch_dtype) for v in (x, t, test_x))
    labels, test_labels, order = (v.to(options.device) for v in (labels, test_labels, torch.stack(orders)))
    return Data(x, t, labels, test_x, test_labels, order)


def network(options: Options, init: str, batchnorm: bool) -> nn.Sequential:
    """The report's 2-25-25-25-2 network with the activation and normalisation of its section 2.1, R replicas in one."""
    parts: list[nn.Module] = []
    for width in (2, HIDDEN, HIDDEN):
        parts.append(nn.Linear(width, HIDDEN, init=init, dtype=options.torch_dtype))
        parts.append(nn.ReLU() if options.activation == "relu" else nn.Tanh())
        if batchnorm:
            parts.append(nn.BatchNorm1d(HIDDEN, dtype=options.torch_dtype))
    parts.append(nn.Linear(HIDDEN, 2, init=init, dtype=options.torch_dtype))
    model = nn.replicate(nn.Sequential(*parts), [derive(seed, "init") for seed in options.seeds])
    return model.to(options.device)


@dataclass
class Curves:
    """What training R rounds gave; entries of a diverged round are NaN from the epoch on in which it diverged."""

    epoch_loss: Tensor
    """(R, E): mean training loss over the batches of an epoch."""
    train_accuracy: Tensor
    """(R, E): after each epoch, in evaluation mode."""
    test_accuracy: Tensor
    diverged: list[dict[str, Any] | None]
    """For each round None, or the epoch, step and first layer whose output was not finite."""
    seconds: float = 0.0
    """Time spent in training steps; evaluation is not counted."""

    @staticmethod
    def empty(rounds: int, epochs: int) -> Curves:
        nan = torch.full((rounds, epochs), math.nan, dtype=torch.float64)
        return Curves(nan, nan.clone(), nan.clone(), [None] * rounds)

    @property
    def accuracy(self) -> Tensor:
        """(R,): test accuracy at the end, NaN for a diverged round."""
        return self.test_accuracy[:, -1]


def train(
    model: nn.Sequential,
    data: Data,
    options: Options,
    advance: Advance = lambda _: None,
    watch: Watch | None = None,
) -> Curves:
    """Train R replicas at once.

    Args:
        model: the network, of R replicas.
        data: what `data(options)` drew.
        options: learning rate, batches, epochs, loss.
        advance: progress.
        watch: looks inside the first step of each epoch.
    """
    criterion = nn.MSELoss(reduction=options.reduction, replicas=options.rounds)
    optimizer = optim.SGD(model.parameters(), lr=options.lr)
    curves = Curves.empty(options.rounds, options.epochs)
    both = torch.cat((data.x, data.t), -1)  # (R, N, 4): one gather shuffles points and targets
    for epoch, order in enumerate(data.orders):
        start = time.perf_counter()
        shuffled = both.gather(1, order.unsqueeze(-1).expand_as(both))
        x, t = shuffled[..., :2], shuffled[..., 2:]
        losses = []
        for step, batch in enumerate(options.batches):
            optimizer.zero_grad()
            losses.append(loss := criterion(model(x[:, batch]), t[:, batch]))
            if watch is not None and step == 0:
                watch.after_forward(model)
            if not loss.isfinite().all():
                _note_divergence(curves, model, x[:, batch], loss, epoch, step)
            model.backward_parameters(criterion.backward())
            if watch is not None and step == 0:
                watch.after_backward(model)
            optimizer.step()
        curves.seconds += time.perf_counter() - start
        if watch is not None:
            curves.seconds -= watch.seconds_since_asked()
        curves.epoch_loss[:, epoch] = torch.stack(losses).mean(0).double()
        curves.train_accuracy[:, epoch] = accuracy(model, data.x, data.labels)
        curves.test_accuracy[:, epoch] = accuracy(model, data.test_x, data.test_labels)
        for r, note in enumerate(curves.diverged):
            if note is not None:
                for values in (curves.epoch_loss, curves.train_accuracy, curves.test_accuracy):
                    values[r, epoch] = math.nan
        advance(options.rounds)
    return curves


def accuracy(model: nn.Sequential, x: Tensor, labels: Tensor) -> Tensor:
    """Share of points whose larger output is the right one, in evaluation mode: (R,)."""
    y = model.eval()(x)
    model.train()
    correct: Tensor = y.argmax(-1) == labels
    return correct.double().mean(-1)


def _note_divergence(curves: Curves, model: nn.Sequential, x: Tensor, loss: Tensor, epoch: int, step: int) -> None:
    """Record, for each round whose loss has just stopped being finite, where the first bad number arose."""
    fresh = [r for r in (~loss.isfinite()).nonzero().flatten().tolist() if curves.diverged[r] is None]
    for r in fresh:
        curves.diverged[r] = {"epoch": epoch, "step": step, "layer": "the loss"}
    if fresh:
        for name, part in copy.deepcopy(model).named_children():
            x = part(x)
            for r in [r for r in fresh if not x[r].isfinite().all()]:
                curves.diverged[r] = {"epoch": epoch, "step": step, "layer": f"model.{name} ({part.label})"}
                fresh.remove(r)


class Watch:
    """Figure 1's raw numbers: the third layer's input and the second layer's gradient, at each epoch's first step.

    At most 20 rounds and 100 samples of each are looked at. The share of the sample is the part of the features'
    variance that lies between samples, not between units: near 0, the layer sees little but the biases before it.
    """

    percentiles = (5.0, 25.0, 50.0, 75.0, 95.0)
    feature_edges = torch.linspace(-3.025, 5.025, 162, dtype=torch.float64)  # 0, which ReLU gives often, inside a bin
    gradient_edges = torch.linspace(-9, 1, 101, dtype=torch.float64)
    """Of log10|g|."""

    def __init__(self) -> None:
        self.features: list[dict[str, Any]] = []
        self.gradients: list[dict[str, Any]] = []
        self.seconds = 0.0

    def seconds_since_asked(self) -> float:
        """Time spent looking since the last call: it is not training time."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds

    def after_forward(self, model: nn.Sequential) -> None:
        """Look at what the third linear layer kept of its input."""
        start = time.perf_counter()
        kept = _linear(model, 2).kept
        assert kept is not None
        h = kept[0][:20, :100].double()  # (R, N, C)
        total = h.flatten(1).var(1, correction=0)
        share = torch.where(total > 0, h.var(1, correction=0).mean(1) / total, 0.0)  # (R,)
        self.features.append(self._distribution(h, self.feature_edges) | {"share": share.tolist()})
        self.seconds += time.perf_counter() - start

    def after_backward(self, model: nn.Sequential) -> None:
        """Look at the gradient of the second linear layer's weights."""
        start = time.perf_counter()
        grad = _linear(model, 1).weight.grad
        assert grad is not None
        self.gradients.append(self._distribution(grad[:20].double().abs().clamp(min=1e-9).log10(), self.gradient_edges))
        self.seconds += time.perf_counter() - start

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
