"""The whole experiment: every row of table 1, both figures' numbers, and the certificate, as one JSON-able dict."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

import handgrad
from handgrad import nn
from handgrad.experiments import disk, parity, torch_peer
from handgrad.experiments.disk import Data, Options
from handgrad.experiments.inside import Inside, look_inside
from handgrad.files import FORMAT
from handgrad.training import Advance
from handgrad.workers import one_thread

PUBLISHED = [
    {"label": "Mini-framework (published)", "mean": 0.9364, "std": 0.0287, "n": 20},
    {"label": "PyTorch (published)", "mean": 0.9604, "std": 0.0096, "n": 20},
]


CERTIFIED = 20
"""Rounds in the certificate, at most: it trains torch.nn six times."""


@dataclass(frozen=True)
class Row:
    """One way of training: a row of table 1."""

    key: str
    label: str
    framework: str = "handgrad"
    init: str = "pytorch"
    batchnorm: bool = True
    from_torch: bool = False


def rows(options: Options) -> list[Row]:
    """The rows of table 1, in its order."""
    return [
        Row("report", "handgrad, unit Gaussian (the report's)", init="gaussian"),
        Row("default", "handgrad, PyTorch's default init"),
        Row("best", f"handgrad, {options.init}", init=options.init),
        Row("torch_nn", "torch.nn", framework="torch.nn"),
        Row("from_torch", "handgrad, torch.nn's own weights", from_torch=True),
        Row("no_batchnorm", "handgrad, default, no BatchNorm", batchnorm=False),
    ]


def reproduce(options: Options, progress: Callable[[str, int], Advance] = lambda *_: lambda *_: None) -> dict[str, Any]:
    """Run the experiment.

    Args:
        options: rounds, epochs, rate, batches, seed and so on.
        progress: called with a row's label and its number of rounds × epochs; returns what to call with those done.

    Returns:
        Options, versions, and for each row the raw numbers of every round; figure 1's distributions; the
        certificate. All but the times and versions is a function of the options; NaN and ±∞ are None.
    """
    with one_thread() if options.device == "cpu" else nullcontext():
        return _reproduce(options, progress)


def _reproduce(options: Options, progress: Callable[[str, int], Advance]) -> dict[str, Any]:
    data = disk.data(options)
    results = [_row(row, options, data, progress(row.label, options.rounds * options.epochs)) for row in rows(options)]
    advance = progress("parity certificate", 1)
    certificate = parity.certificate(replace(options, rounds=min(options.rounds, CERTIFIED)))
    advance([math.nan])
    advance = progress("a look inside", 2)
    sides = {}
    for side, batchnorm in (("without", False), ("with", True)):
        sides[side] = look_inside(options, batchnorm)
        advance([math.nan])
    found = {
        "format": FORMAT,
        "versions": {
            "handgrad": handgrad.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
        },
        "options": options.to_dict(),
        "published": PUBLISHED,
        "rows": results,
        "figure1": {
            "epochs": list(range(1, options.epochs + 1)),
            "percentiles": list(Inside.percentiles),
            **sides,
        },
        "certificate": certificate,
    }
    return {name: _clean(value) for name, value in found.items()}


def _row(row: Row, options: Options, data: Data, advance: Advance) -> dict[str, Any]:
    """Train one row and put its raw numbers down."""
    if row.framework == "torch.nn":
        peers = [torch_peer.network(options, seed) for seed in options.seeds]
        history = torch_peer.train(peers, data, options, advance=advance)
    else:
        history = disk.train_rounds(lambda seeds: _network(row, options, seeds), data, options, advance=advance)
    return {
        "key": row.key,
        "label": row.label,
        "framework": row.framework,
        "init": row.init,
        "batchnorm": row.batchnorm,
        "seeds": options.seeds,
        "seconds": history.seconds,
        "accuracy": history.metrics["test_accuracy"][:, -1].tolist(),
        "epoch_loss": history.loss.tolist(),
        **{name: values.tolist() for name, values in history.metrics.items()},
        "diverged": history.diverged,
    }


def _network(row: Row, options: Options, seeds: list[int]) -> nn.Sequential:
    """The network of some rounds of a row."""
    model = disk.network(options, row.init, row.batchnorm, seeds)
    if row.from_torch:
        model.load_state_dict(torch_peer.stacked_state([torch_peer.network(options, seed) for seed in seeds]))
    return model


def _clean(value: Any) -> Any:
    """Put None for NaN and ±∞, which JSON does not have, at any depth."""
    if isinstance(value, dict):
        return {name: _clean(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None
