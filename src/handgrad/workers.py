"""Workers: groups of replicas over the cores of a machine, one torch thread each."""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import torch

from handgrad import checks
from handgrad.errors import WorkerError

T = TypeVar("T")

ARRAYS = (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.bool)
"""Dtypes that NumPy has, too."""

PARENT_DEATH = 1
"""Linux's prctl option by which a process gets a signal when its parent ends."""

GROUP = 10
"""Replicas in a group: enough to hide Python between operations, few enough that activations stay in a core's cache."""


class Stop(Protocol):
    """Whether a task should end at its next convenience."""

    def is_set(self) -> bool: ...


Send = Callable[[Any], None]
"""Hands a message, such as progress, to whoever started the tasks."""
Task = Callable[[Stop, Send], T]


def groups(replicas: int, size: int = GROUP) -> list[slice]:
    """Cut R replicas into groups of at most `size`, as even as can be; from four on into two at least, for two cores.

    The cut does not depend on the machine, so neither do the numbers on how many workers share the groups.

    Example:
        >>> [(g.start, g.stop) for g in groups(25)]
        [(0, 9), (9, 17), (17, 25)]
    """
    count = max(-(-replicas // size), min(2, replicas // 2))
    small, large = divmod(replicas, count)
    ends = [0]
    for index in range(count):
        ends.append(ends[-1] + small + (1 if index < large else 0))
    return [slice(*bounds) for bounds in pairwise(ends)]


def default_workers() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def forks() -> bool:
    """Whether a process can be forked safely, here and now: on Linux, without a GPU, where it may have children."""
    childless = multiprocessing.current_process().daemon  # such as a worker of a multiprocessing.Pool
    gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return sys.platform == "linux" and not gpu and not childless


def run(
    tasks: Sequence[Task[T]],
    workers: int | None = None,
    receive: Send | None = None,
    *,
    processes: bool | None = None,
) -> list[T | None]:
    """Run the tasks on workers of one torch thread each and return their results in order.

    Workers are forked processes where a process `forks` safely, as PyTorch's DataLoader does it: a step of a small
    network is a hundred short operations, and with threads, which hand the interpreter's lock to and fro between them,
    the same work took half as long again. Elsewhere, and for a single worker, they are threads.
    Either way the results are the same. The caller's process is one of the workers, which saves a fork. What a task
    changes may or may not stay in a process of its own: rely on what it returns, which must be picklable.

    Ctrl-C, or SIGTERM, asks the tasks under way to stop, waits for them, and returns what there is: None for a task
    that was not begun. A second Ctrl-C is not waited for. An error in a task stops the others and is raised.

    Args:
        tasks: functions of a `Stop` and a `Send`.
        workers: by default as many as there are cores, or tasks.
        receive: called in this process with each message that a task sends; None spares them the way.
        processes: whether to fork; None decides by the machine.

    Errors: WorkerError if a process ends without a result, as one that is killed for its memory does.
    """
    workers = min(checks.positive_int("workers", workers or default_workers(), "workers.run"), max(len(tasks), 1))
    processes = forks() and workers > 1 if processes is None else processes
    return _forked(tasks, workers, receive) if processes else _threaded(tasks, workers, receive)


def _forked(tasks: Sequence[Task[T]], workers: int, receive: Send | None) -> list[T | None]:
    context = multiprocessing.get_context("fork")
    stop, taken = _Flag(), context.Value("i", 0)
    ends: dict[Connection, Any] = {}
    ready: set[Connection] = set()
    with warnings.catch_warnings():
        # Python and JAX warn of forking beside threads: torch's own are idle here, and the child starts none
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)
        for _ in range(workers - 1):
            here, there = context.Pipe(duplex=False)
            inherited = [*ends, here]
            arguments = (tasks, there, inherited, stop, taken, receive is not None)
            process = context.Process(target=_child, args=arguments, daemon=True)
            process.start()
            there.close()
            ends[here] = process
    results: list[T | None] = [None] * len(tasks)
    errors: list[BaseException] = []

    def handle(end: Any) -> None:
        try:
            data = end.recv_bytes()
        except (EOFError, OSError):  # or amid a message, which waits in the pipe until it is heard
            process = ends.pop(end)
            process.join()
            got = f"exit code {process.exitcode}"
            remedy = "Where it is -9, the system ended it, most likely for its memory: take fewer workers."
            errors.append(WorkerError("a worker process that ends by itself", got, remedy, "workers.run"))
            stop.set()
            return
        kind, *content = pickle.loads(data)
        if kind == "ready":
            ready.add(end)
        elif kind == "end":
            ends.pop(end)  # not waited for: a process needs 5 ms to give its memory back
        elif kind == "message":
            assert receive is not None
            receive(content[0])
        elif kind == "result":
            results[content[0]] = content[1]
        else:
            errors.append(content[0])

    def listen(timeout: float) -> None:
        for end in wait(list(ends), timeout):
            handle(end)
        if interrupts:
            stop.set()

    def tell(message: Any) -> None:
        if receive is not None:
            receive(message)
        listen(0)

    def done(index: int, result: T) -> None:
        results[index] = result
        listen(0)

    with noted(signal.SIGINT, signal.SIGTERM) as interrupts, one_thread():
        try:
            _work(tasks, taken, _Interruptible(stop, interrupts), tell, done, errors.append)
            listen(0)
            for end in set(ends) - ready:  # no task is left for it, and it may never begin
                ends.pop(end).kill()
            while ends:
                listen(0.1)
        finally:  # a second Ctrl-C: nobody waits for the others, but they end too, at the latest when they send
            stop.set()
            for end in ends:
                end.close()
    if errors:
        raise errors[0]
    return results


@contextmanager
def noted(*signals: int) -> Iterator[list[int]]:
    """Within it the first of these signals, such as Ctrl-C, is only put into the list; the next raises.

    So it tears no message, file or step in two. Outside of the main thread, where none can be handled, none is noted;
    nor is one that the process ignores, as a shell's background jobs do Ctrl-C, or that is handled outside of Python.

    A process that is forked within, such as a DataLoader's worker, leaves Ctrl-C to this one, and ends by SIGTERM.
    """
    found: list[int] = []
    own = os.getpid()

    def note(number: int, _frame: Any) -> None:
        if os.getpid() != own:
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        if found:
            raise KeyboardInterrupt
        found.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    handlers = {number: signal.getsignal(number) for number in signals}
    before = {n: handler for n, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, note)
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _child(
    tasks: Sequence[Task[T]], end: Connection, inherited: list[Connection], stop: Any, taken: Any, heard: bool
) -> None:
    """A worker in a process of its own: the parent hears of results, messages and errors, unless it has closed."""
    for other in inherited:  # the parent's ends: while one is open here, a pipe that nobody reads is never broken
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all processes; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # where the parent is killed, what it began ends too: nobody would hear of it, and it could write beside a new run
    ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL)
    torch.set_num_threads(1)

    def send(*content: Any) -> None:
        # as bytes: torch would otherwise share memory that ends with this process
        end.send_bytes(_Bytes.of(content))

    def tell(message: Any) -> None:
        if heard:
            send("message", message)

    def failed(error: Exception) -> None:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # such as of a class that is local, or whose constructor takes other arguments than it keeps
            got, remedy = f"{type(error).__name__}: {error}", "See what the task does; its error cannot be pickled."
            error = WorkerError("a task that ends without an error", got, remedy, "workers.run")
        send("error", error)

    _multiply()
    with suppress(BrokenPipeError):
        send("ready")
        _work(tasks, taken, stop, tell, partial(send, "result"), failed)
        send("end")


class _Bytes(pickle.Pickler):
    """Pickles tensors as NumPy's arrays: torch's own way takes a millisecond in a process that has just begun."""

    @classmethod
    def of(cls, content: Any) -> bytes:
        file = io.BytesIO()
        cls(file, pickle.HIGHEST_PROTOCOL).dump(content)
        return file.getvalue()

    def reducer_override(self, value: Any) -> Any:
        plain = type(value) is torch.Tensor and value.device.type == "cpu" and value.layout is torch.strided
        if plain and value.dtype in ARRAYS:
            return torch.from_numpy, (value.detach().numpy(),)
        return NotImplemented


def _multiply() -> None:
    """A first product: where another thread of the parent held the library's lock at the fork, it never ends."""
    a = torch.ones(2, 64, 64)
    torch.bmm(a, a)


class _Flag:
    """A stop in memory that processes share, without the lock of an Event: Ctrl-C may come while that is held."""

    def __init__(self) -> None:
        self.byte = multiprocessing.get_context("fork").RawValue("b", 0)

    def set(self) -> None:
        self.byte.value = 1

    def is_set(self) -> bool:
        return bool(self.byte.value)


class _Interruptible:
    """The stop that all workers share, as the caller's process sees it: set by the first Ctrl-C, too."""

    def __init__(self, stop: Any, interrupts: list[int]) -> None:
        self.set, self.stop, self.interrupts = stop.set, stop, interrupts

    def is_set(self) -> bool:
        if self.interrupts:
            self.set()
        return bool(self.stop.is_set())


def _work(
    tasks: Sequence[Task[T]],
    taken: Any,
    stop: Any,
    tell: Send,
    done: Callable[[int, T], None],
    failed: Callable[[Exception], None],
) -> None:
    """Run tasks that no other worker has taken, until none is left or one has failed."""
    # looked at before the lock, which one that begins late and is killed for it could keep for ever
    while not stop.is_set() and taken.get_obj().value < len(tasks):
        with taken.get_lock():
            index = taken.value
            taken.value += 1
        if index >= len(tasks):
            break
        try:
            done(index, tasks[index](stop, tell))
        except Exception as error:
            stop.set()
            failed(error)


def _threaded(tasks: Sequence[Task[T]], workers: int, receive: Send | None) -> list[T | None]:
    results: list[T | None] = [None] * len(tasks)
    errors: list[BaseException] = []
    stop, left = threading.Event(), SimpleQueue[int]()
    for index in range(len(tasks)):
        left.put(index)

    def work() -> None:
        torch.set_num_threads(1)  # of this thread, whatever another one sets for all meanwhile
        try:
            while not stop.is_set():
                index = left.get_nowait()
                results[index] = tasks[index](stop, receive or (lambda _: None))
        except Empty:
            pass
        except Exception as error:
            errors.append(error)
            stop.set()

    with noted(signal.SIGINT, signal.SIGTERM) as interrupts, one_thread():
        threads = [threading.Thread(target=work, name=f"replicas-{i}", daemon=True) for i in range(workers)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.02)
                    if interrupts:
                        stop.set()
        finally:  # a second Ctrl-C: nobody waits for the threads, but they end too
            stop.set()
    if errors:
        raise errors[0]
    return results


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes on a single thread; afterwards on as many as before.

    Small operations gain nothing from threads of their own, and where another process wants a core, threads that wait
    for each other at every operation slow down a hundredfold.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def free_memory() -> int:
    """Bytes that can be had without swapping: on Linux what the system says is available, caches included."""
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else 2**63
    except OSError:
        return 2**63
