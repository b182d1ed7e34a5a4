"""The report's experiment (section 2): points in and outside a disk, its network, and training it as R replicas."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn, optim, workers
from handgrad.data import Batches
from handgrad.errors import ArgumentError
from handgrad.nn.init import named
from handgrad.seeds import derive, generator
from handgrad.training import Advance, History, Metric, train

RADIUS = 1 / math.sqrt(2 * math.pi)
"""The disk covers half of the unit square."""

POINTS = 1000
HIDDEN = 25
ACTIVATIONS = ("relu", "tanh")


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
    workers: int | None = None
    """Threads that share the rounds, by default as many as there are cores; the numbers do not depend on it."""

    def __post_init__(self) -> None:
        for name in ("rounds", "epochs", "batch_size"):
            checks.positive_int(name, getattr(self, name), "reproduce")
        if self.workers is not None:
            checks.positive_int("workers", self.workers, "reproduce")
        checks.at_least("lr", self.lr, 0, "reproduce")
        checks.one_of("activation", self.activation, ACTIVATIONS, "reproduce")
        checks.one_of("reduction", self.reduction, ("mean", "batchmean", "sum"), "reproduce")
        checks.one_of("dtype", self.dtype, ("float32", "float64"), "reproduce")
        checks.device(self.device, "reproduce")
        named(self.init)
        if math.inf > self.lr > (most := torch.finfo(self.torch_dtype).max):
            expected = f"lr of at most {most:.2g}, the largest {self.dtype}"
            raise ArgumentError(expected, str(self.lr), "Choose a smaller one.", "reproduce")
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

    def to_dict(self) -> dict[str, Any]:
        """The options by name."""
        return asdict(self)


@dataclass(frozen=True)
class Data:
    """R rounds of data: points x (R, N, 2), one-hot targets t (R, N, 2), labels (R, N), and as many test points."""

    seeds: list[int]
    x: Tensor
    t: Tensor
    labels: Tensor
    test_x: Tensor
    test_labels: Tensor

    def part(self, group: slice) -> Data:
        """The rounds of one group."""
        values = (self.x, self.t, self.labels, self.test_x, self.test_labels)
        return Data(self.seeds[group], *(v[group] for v in values))

    def batches(self, options: Options) -> Batches:
        """Every round's own points in its own order."""
        return Batches(self.x, self.t, options.batch_size, self.seeds, own=True)


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
    x, t, test_x = (v.to(options.device, options.torch_dtype) for v in (x, t, test_x))
    labels, test_labels = (v.to(options.device) for v in (labels, test_labels))
    return Data(options.seeds, x, t, labels, test_x, test_labels)


def template(
    init: str | nn.init.Initialiser = "kaiming_normal",
    batchnorm: bool = True,
    activation: str = "relu",
    width: int = HIDDEN,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """The report's network of its section 2.1, 2-25-25-25-2, with other widths and parts on request."""
    # not torch's default generator, which is the user's
    made: dict[str, Any] = {"init": init, "dtype": dtype, "generator": torch.Generator()}
    parts: list[nn.Module] = []
    for inputs in (2, width, width):
        parts.append(nn.Linear(inputs, width, **made))
        parts.append(nn.ReLU() if checks.one_of("activation", activation, ACTIVATIONS, "disk") == "relu" else nn.Tanh())
        if batchnorm:
            parts.append(nn.BatchNorm1d(width, dtype=dtype))
    return nn.Sequential(*parts, nn.Linear(width, 2, **made))


def network(
    options: Options, init: str | nn.init.Initialiser, batchnorm: bool, seeds: list[int] | None = None
) -> nn.Sequential:
    """The network of the rounds with these seeds, by default of all rounds, as replicas."""
    model = template(init, batchnorm, options.activation, dtype=options.torch_dtype)
    seeds = options.seeds if seeds is None else seeds
    return nn.replicate(model, [derive(seed, "init") for seed in seeds]).to(options.device)


def accuracy(y: Tensor, labels: Tensor) -> Tensor:
    """Share of points whose larger output is the right one: (R,) from (R, N, 2) and (R, N)."""
    correct: Tensor = y.argmax(-1) == labels
    return correct.double().mean(-1)


def train_rounds(
    build: Callable[[list[int]], nn.Sequential],
    data: Data,
    options: Options,
    *,
    evaluate: bool = True,
    advance: Advance | None = None,
) -> History:
    """Train every round: groups of replicas, shared by all cores.

    Args:
        build: makes the network of some seeds.
        data: what `data(options)` drew.
        options: learning rate, batches, epochs, loss.
        evaluate: measure train and test accuracy after each epoch.
        advance: progress.

    Errors: KeyboardInterrupt if Ctrl-C ended it before all rounds were finished.
    """

    def task(group: slice) -> workers.Task[History]:
        part = data.part(group)

        def accuracies(x: Tensor, labels: Tensor) -> Metric:
            return lambda model: accuracy(model(x), labels)

        def train_group(stop: workers.Stop, send: workers.Send) -> History:
            model = build(part.seeds)
            criterion = nn.MSELoss(reduction=options.reduction, replicas=len(part.seeds))
            optimizer = optim.SGD(model.parameters(), lr=options.lr)
            metrics = {
                "train_accuracy": accuracies(part.x, part.labels),
                "test_accuracy": accuracies(part.test_x, part.test_labels),
            }
            return train(
                model,
                criterion,
                optimizer,
                part.batches(options),
                options.epochs,
                metrics=metrics if evaluate else None,
                stop=stop,
                advance=send,
            )

        return train_group

    cut = workers.groups(options.rounds) if options.device == "cpu" else [slice(0, options.rounds)]
    count = min(options.workers or workers.default_workers(), len(cut))
    found = workers.run([task(group) for group in cut], count, advance)
    finished = [part for part in found if part is not None and part.epochs == options.epochs]
    if len(finished) < len(cut):
        raise KeyboardInterrupt  # a table of some rounds would pair the wrong ones
    history = History.joined(finished)
    history.seconds /= count
    return history
