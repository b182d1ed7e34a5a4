"""Workers: groups of replicas over the cores of a machine, one thread each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import TypeVar

import torch

from handgrad import checks

T = TypeVar("T")

GROUP = 10
"""Replicas in a group: enough to hide Python between operations, few enough that activations stay in a core's cache."""


def groups(replicas: int, size: int = GROUP) -> list[slice]:
    """Cut R replicas into groups of at most `size`, as even as can be; the cut does not depend on the machine.

    So the numbers do not depend on how many workers share the groups.

    Example:
        >>> [(g.start, g.stop) for g in groups(25)]
        [(0, 9), (9, 17), (17, 25)]
    """
    count = -(-replicas // size)
    small, large = divmod(replicas, count)
    ends = [0]
    for index in range(count):
        ends.append(ends[-1] + small + (1 if index < large else 0))
    return [slice(*bounds) for bounds in pairwise(ends)]


def default_workers() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Stop:
    """Asks running tasks to end at their next convenience."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


def run(tasks: Sequence[Callable[[Stop], T]], workers: int | None = None) -> list[T | None]:
    """Run the tasks on threads of one torch thread each and return their results in order.

    Threads do, and processes gain nothing more, since tensor operations release the interpreter's lock. One worker runs
    the tasks on a single torch thread too, so that its results are the same.

    Ctrl-C sets the `Stop` that every task is given, waits for the tasks under way, and returns what there is: None for
    a task that was not begun. An error in a task stops the others and is raised.

    Args:
        tasks: functions of a `Stop`.
        workers: threads; by default as many as there are cores, or tasks.
    """
    workers = min(checks.positive_int("workers", workers or default_workers(), "workers.run"), max(len(tasks), 1))
    results: list[T | None] = [None] * len(tasks)
    errors: list[BaseException] = []
    stop, left = Stop(), SimpleQueue[int]()
    for index in range(len(tasks)):
        left.put(index)

    def work() -> None:
        torch.set_num_threads(1)
        try:
            while not stop:
                index = left.get_nowait()
                results[index] = tasks[index](stop)
        except Empty:
            pass
        except BaseException as error:
            errors.append(error)
            stop.set()

    with _threads_restored():
        threads = [threading.Thread(target=work, name=f"replicas-{i}", daemon=True) for i in range(workers)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:  # a second one is not caught: it gives up at once
            stop.set()
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.02)
    if errors:
        raise errors[0]
    return results


@contextmanager
def _threads_restored() -> Iterator[None]:
    """The matrix library's thread count is the process's, not a thread's: leave it as it was."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
