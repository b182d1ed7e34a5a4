"""Timing contestants against each other on a machine that is shared and noisy."""

from __future__ import annotations

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac

import torch

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = sorted({1, CORES})
"""The torch thread counts that are tried."""


class Unavailable(Exception):
    """A peer that cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What one run gave."""

    losses: list[float]
    """The last training loss of every replica, by which the work is checked."""
    seconds: float | None = None
    """The seconds that count, where they are not those that the run took."""


def nothing() -> None:
    """Neither to be prepared nor to be closed."""


@dataclass(frozen=True)
class Contestant:
    """One way of doing the work."""

    name: str
    run: Callable[[], Outcome]
    reset: Callable[[], None] = nothing
    """Puts the initial weights back, before every run; not counted."""
    setting: str = ""
    """How it is run, beside the thread count."""
    threads: int | None = None
    """torch's threads while it runs; None where it has no say, or processes of its own."""
    preparation: float = 0.0
    """Seconds of compiling before the first run."""
    close: Callable[[], None] = nothing

    @property
    def described(self) -> str:
        """The setting with its thread count."""
        count = "" if self.threads is None else f"{self.threads} thread" + "s" * (self.threads > 1)
        return ", ".join(part for part in (self.setting, count) if part)


@dataclass
class Timed:
    """The seconds of every run of one contestant."""

    contestant: Contestant
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        return quartiles(self.seconds)

    def ratio(self, other: Timed) -> tuple[float, float, float]:
        """How many times as long `other` takes: quartiles of the ratios run by run."""
        return quartiles([theirs / own for own, theirs in zip(self.seconds, other.seconds)])


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Give torch so many threads for a while."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def run_once(contestant: Contestant) -> Outcome:
    """Run with the contestant's thread count; the outcome has the seconds that count."""
    with torch_threads(contestant.threads):
        start = time.perf_counter()
        outcome = contestant.run()
        elapsed = time.perf_counter() - start
    return Outcome(outcome.losses, elapsed if outcome.seconds is None else outcome.seconds)


def wake() -> None:
    """Keep every core busy for an eighth of a second, as one that has idled is slower at first.

    In threads that hold no lock, and leave none behind that waits by spinning, as those of torch would.
    """
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda _: pbkdf2_hmac("sha256", b"", b"", 300_000), range(CORES)))


def measure(contestant: Contestant) -> float:
    """The seconds of one run from the initial weights."""
    contestant.reset()
    gc.collect()
    wake()
    seconds = run_once(contestant).seconds
    assert seconds is not None
    return seconds


def interleaved(contestants: Sequence[Contestant], repeats: int, budget: float = math.inf) -> list[Timed]:
    """Run all in turn, `repeats` times after one warm-up, so that a slow minute slows all of them.

    Each repeat begins with another contestant, so that none always runs after the same one. No repeat begins when
    `budget` seconds are over, but there are 3 at least if so many are asked for.
    """
    begun = time.perf_counter()
    timed = [Timed(contestant) for contestant in contestants]
    for one in timed:
        measure(one.contestant)
    for repeat in range(repeats):
        if repeat >= 3 and time.perf_counter() - begun > budget:
            break
        start = repeat % len(timed)
        for one in timed[start:] + timed[:start]:
            one.seconds.append(measure(one.contestant))
    return timed


def fastest(candidates: Sequence[Contestant], repeats: int) -> Contestant:
    """The settings with the lowest median, run in turn after a warm-up.

    Settings that take twice as long drop out at once: two threads on a core that is also another's may take fifty times
    as long.
    """
    left = [Timed(contestant) for contestant in candidates]
    for one in left:
        measure(one.contestant)
    for _ in range(repeats):
        for one in left:
            one.seconds.append(measure(one.contestant))
        best = min(left, key=lambda one: one.median)
        left = [one for one in left if one.median <= 2 * best.median]
    return best.contestant
