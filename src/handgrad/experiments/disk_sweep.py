"""The disk experiment over a grid of hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad import optim
from handgrad.errors import ArgumentError
from handgrad.experiments import disk
from handgrad.grid import grid
from handgrad.results import Results
from handgrad.sweeps import sweep
from handgrad.training import Advance

KINDS: dict[str, Callable[[str], Any]] = {
    "lr": float,
    "momentum": float,
    "weight_decay": float,
    "batch_size": int,
    "width": int,
    "init": str,
    "activation": str,
}
"""What a sweep of the disk may vary, and the type of its values."""


def parsed(name: str, text: str) -> list[Any]:
    """Return the values of a comma-separated list.

    Errors: ArgumentError for one that is not of the hyper-parameter's type.

    Example:
        >>> parsed("lr", "0.01, 0.1")
        [0.01, 0.1]
    """
    values = []
    for value in text.split(","):
        try:
            values.append(KINDS[name](value.strip()))
        except ValueError:
            kind = KINDS[name].__name__
            remedy = f"Write {name} as numbers with commas between them."
            raise ArgumentError(f"{name} of type {kind}", repr(value), remedy, "sweep") from None
    return values


def disk_sweep(
    lists: Mapping[str, str],
    seeds: int,
    epochs: int,
    workers: int | None = None,
    progress: Callable[[int], Advance] = lambda _: lambda _: None,
) -> Results:
    """Train the report's network for every combination of the listed values, from every seed.

    Args:
        lists: comma-separated values by name; see `KINDS`.
        seeds: how many.
        epochs: of each replica.
        workers: threads.
        progress: called with the number of replica-epochs; returns what to call with those done.
    """
    values = {name: parsed(name, text) for name, text in lists.items()}
    chosen = grid(seeds=seeds, **values)
    return sweep(
        disk.template,
        lambda seed: _set(seed, "train", one_hot=True),
        chosen,
        optimizer=partial(optim.SGD, lr=disk.Options.lr) if "lr" not in values else optim.SGD,
        epochs=epochs,
        batch_size=disk.Options.batch_size,
        test=lambda seed: _set(seed, "test", one_hot=False),
        metrics={"accuracy": disk.accuracy},
        workers_=workers,
        advance=progress(len(chosen) * epochs),
    )


def _set(seed: int, split: str, one_hot: bool) -> tuple[Tensor, Tensor]:
    x, labels = disk.points([seed], split)
    t = torch.stack((1 - labels, labels), -1).float() if one_hot else labels
    return x[0].float(), t[0]
