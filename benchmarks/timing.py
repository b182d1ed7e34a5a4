"""Timing contestants against each other on a machine that is shared and noisy."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Contestant = Callable[[], float | None]
"""Does the work once; returns the seconds that count, or None if all of them do."""


@dataclass(frozen=True)
class Timed:
    """The seconds of every run of one contestant."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def ratio(self, other: Timed) -> tuple[float, float, float]:
        """How many times as long `other` takes: median of the ratios run by run, with their quartiles."""
        ratios = [theirs / own for own, theirs in zip(self.seconds, other.seconds)]
        if len(ratios) < 2:
            return (ratios[0],) * 3
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, middle, high


def interleaved(contestants: dict[str, Contestant], repeats: int) -> dict[str, Timed]:
    """Run all contestants in turn, `repeats` times after one warm-up, so that a slow minute slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(repeats + 1):
        for name, run in contestants.items():
            gc.collect()
            start = time.perf_counter()
            counted = run()
            elapsed = time.perf_counter() - start if counted is None else counted
            if repeat:
                seconds[name].append(elapsed)
    return {name: Timed(name, found) for name, found in seconds.items()}
