"""The problems: data that a package or Python itself ships, a network of a few lines, and how it is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad.optional import require
from handgrad.seeds import generator

T = 32
"""Characters that the small GPT sees."""

Split = tuple[Tensor, Tensor, Tensor, Tensor]
"""x and t to train on, and x and t to test on."""


@dataclass(frozen=True)
class Problem:
    """A data set, a network and its training.

    Attributes:
        name: for the tables.
        split: draws a replica's own split from its seed.
        build: the network, from handgrad's `nn` or the torch side's.
        loss: name and score: what training minimises, and how `score` of the test set is called.
        score: from outputs (R, N, …) and targets (R, N, …), one number a replica.
    """

    name: str
    split: Callable[[int], Split]
    build: Callable[[Any], Any]
    loss: str
    measure: str
    score: Callable[[Tensor, Tensor], Tensor]
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.0


def accuracy(y: Tensor, t: Tensor) -> Tensor:
    """Share of right classes in percent."""
    return 100 * (y.argmax(2) == t).double().flatten(1).mean(1)


def r_squared(y: Tensor, t: Tensor) -> Tensor:
    """1 − Σ(t − y)² / Σ(t − t̄)²."""
    rest = (t - y).square().flatten(1).sum(1)
    return (1 - rest / (t - t.mean(1, keepdim=True)).square().flatten(1).sum(1)).double()


def bits(y: Tensor, t: Tensor) -> Tensor:
    """Cross-entropy of the next character, in bits: y (R, N, K, T), t (R, N, T)."""
    logs = (y - y.amax(2, keepdim=True)).double()
    logs = logs - logs.exp().sum(2, keepdim=True).log()
    right = logs.gather(2, t.unsqueeze(2)).squeeze(2)  # (R, N, T)
    return -right.flatten(1).mean(1) / torch.tensor(2.0).log()


def divided(x: Tensor, t: Tensor, seed: int, share: float = 0.75) -> Split:
    """A random split; features are standardised by what is trained on."""
    order = torch.randperm(len(x), generator=generator(seed, "split"))
    first, rest = order[: int(share * len(x))], order[int(share * len(x)) :]
    if x.dtype.is_floating_point:
        x = (x - x[first].mean(0)) / x[first].std(0).clamp(min=1e-3)
    if t.dtype.is_floating_point:
        t = (t - t[first].mean(0)) / t[first].std(0)
    return x[first], t[first], x[rest], t[rest]


def _sklearn(name: str, **options: Any) -> tuple[Tensor, Tensor]:
    """A data set of scikit-learn as float32 features and targets."""
    datasets = require("sklearn.datasets", "examples")
    found = getattr(datasets, name)(**options)
    x, t = (found.data, found.target) if hasattr(found, "data") else found
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(t)


def digits(seed: int) -> Split:
    """1,797 handwritten digits of 8 × 8 points, as rows of 64."""
    x, t = _sklearn("load_digits")
    return divided(x, t.long(), seed)


def images(seed: int) -> Split:
    """The digits as (N, 1, 8, 8)."""
    x, t, test_x, test_t = digits(seed)
    return x.view(-1, 1, 8, 8), t, test_x.view(-1, 1, 8, 8), test_t


def rows(seed: int) -> Split:
    """The digits read row by row, (N, 8, 8): a sequence of 8 steps of 8 features."""
    x, t, test_x, test_t = digits(seed)
    return x.view(-1, 8, 8), t, test_x.view(-1, 8, 8), test_t


def diabetes(seed: int) -> Split:
    """442 patients, 10 features, the disease's progression after a year."""
    x, t = _sklearn("load_diabetes")
    return divided(x, t.float().unsqueeze(1), seed)


def friedman(seed: int) -> Split:
    """Friedman's first function of five out of ten features, 1,000 samples with noise of variance 1."""
    x, t = _sklearn("make_friedman1", n_samples=1000, n_features=10, noise=1.0, random_state=0)
    return divided(x, t.float().unsqueeze(1), seed)


def sources() -> tuple[Tensor, list[str]]:
    """Sources of Python's standard library as character indices, and the characters."""
    import argparse
    import dataclasses
    import fractions
    import statistics
    import textwrap

    text = "".join(inspect.getsource(m) for m in (argparse, dataclasses, fractions, statistics, textwrap))
    characters = sorted(set(text))
    index = {c: i for i, c in enumerate(characters)}
    return torch.tensor([index[c] for c in text]), characters


def characters(seed: int, windows: int = 6000) -> Split:
    """Windows of T characters and the ones that follow; tested on the text's last tenth."""
    text, _ = sources()
    border = len(text) * 9 // 10
    parts = []
    for name, low, high, count in [("train", 0, border, windows), ("test", border, len(text), 200)]:
        starts = torch.randint(low, high - T - 1, (count,), generator=generator(seed, name))
        window = text[starts.unsqueeze(1) + torch.arange(T + 1)]  # (N, T + 1)
        parts += [window[:, :-1], window[:, 1:]]
    return parts[0], parts[1], parts[2], parts[3]


def mlp(n: Any, inputs: int, outputs: int, width: int = 64) -> Any:
    return n.Sequential(n.Linear(inputs, width), n.ReLU(), n.Linear(width, width), n.ReLU(), n.Linear(width, outputs))


def resnet(n: Any, classes: int = 10) -> Any:
    """Two residual blocks of 16 and 32 channels (He et al. 2016)."""

    def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> list[Any]:
        return [n.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), n.BatchNorm2d(outputs)]

    return n.Sequential(
        *conv(1, 16),
        n.ReLU(),
        n.Residual(n.Sequential(*conv(16, 16), n.ReLU(), *conv(16, 16))),
        n.ReLU(),
        n.Residual(n.Sequential(*conv(16, 32, 2), n.ReLU(), *conv(32, 32)), n.Sequential(*conv(16, 32, 2, 1))),
        n.ReLU(),
        n.AdaptiveAvgPool2d(1),
        n.Flatten(),
        n.Linear(32, classes),
    )


def gru(n: Any) -> Any:
    return n.Sequential(n.First(n.GRU(8, 32, batch_first=True)), n.Select(-2, -1), n.Linear(32, 10))


def gpt(n: Any, embed: int = 64, heads: int = 4, layers: int = 2) -> Any:
    """A causal transformer over characters; logits as (N, K, T), which cross-entropy takes."""
    K = len(sources()[1])
    block = {"dim_feedforward": 2 * embed, "dropout": 0.0, "activation": "gelu", "batch_first": True}
    return n.Sequential(
        n.Embedding(K, embed),
        n.PositionalEmbedding(T, embed),
        *(n.TransformerEncoderLayer(embed, heads, norm_first=True, is_causal=True, **block) for _ in range(layers)),
        n.LayerNorm(embed),
        n.Linear(embed, K),
        n.Transpose(-2, -1),
    )


PROBLEMS = {
    "digits-mlp": Problem(
        "digits, MLP 64-64-64-10", digits, lambda n: mlp(n, 64, 10), "CrossEntropyLoss", "accuracy in %", accuracy,
        epochs=30, batch_size=64, lr=1e-3,
    ),
    "digits-resnet": Problem(
        "digits, ResNet of 7 layers", images, resnet, "CrossEntropyLoss", "accuracy in %", accuracy,
        epochs=12, batch_size=64, lr=2e-3,
    ),
    "digits-gru": Problem(
        "digits row by row, GRU of 32", rows, gru, "CrossEntropyLoss", "accuracy in %", accuracy,
        epochs=30, batch_size=64, lr=5e-3,
    ),
    "diabetes": Problem(
        "diabetes, MLP 10-32-32-1", diabetes, lambda n: mlp(n, 10, 1, 32), "MSELoss", "R²", r_squared,
        epochs=30, batch_size=32, lr=1e-3, weight_decay=0.1,
    ),
    "friedman": Problem(
        "Friedman 1, MLP 10-64-64-1", friedman, lambda n: mlp(n, 10, 1), "MSELoss", "R²", r_squared,
        epochs=60, batch_size=32, lr=2e-3,
    ),
    "char-gpt": Problem(
        "Python's sources, GPT of 2 layers", characters, gpt, "CrossEntropyLoss", "bits a character", bits,
        epochs=8, batch_size=32, lr=2e-3,
    ),
}  # fmt: skip
"""By the name that the command line takes."""
