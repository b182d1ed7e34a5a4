"""Workers: results in order, whatever shares them; errors and Ctrl-C end cleanly."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handgrad import workers
from handgrad.errors import ArgumentError, WorkerError

PARENT = os.getpid()
PROCESSES = pytest.mark.parametrize(
    "processes",
    [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only"))],
)


@given(st.integers(1, 500), st.integers(1, 30))
def test_groups_are_even_and_cover_every_replica_once(replicas, size):
    cut = workers.groups(replicas, size)
    assert [i for part in cut for i in range(replicas)[part]] == list(range(replicas))
    lengths = {part.stop - part.start for part in cut}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


@PROCESSES
@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_and_messages_arrive(count, processes):
    def task(i):
        def run(stop, send):
            time.sleep(0.01 * (3 - i % 3))
            send(("half", i))
            return i, torch.get_num_threads(), torch.full((2,), float(i))

        return run

    heard: list[Any] = []
    found = workers.run([task(i) for i in range(7)], count, heard.append, processes=processes)
    assert [r and (*r[:2], r[2].tolist()) for r in found] == [(i, 1, [i, i]) for i in range(7)]
    assert sorted(heard) == [("half", i) for i in range(7)]


@PROCESSES
def test_tensors_come_back_as_they_are(processes):
    def run(*_: Any) -> list[torch.Tensor]:
        time.sleep(0.1)  # so that each worker takes one
        with torch.inference_mode():
            numbers = torch.arange(12.0).view(3, 4)
            kinds = [numbers.to(d) for d in (torch.float64, torch.float16, torch.bfloat16, torch.long, torch.bool)]
            return [*kinds, numbers.mT, numbers[:0], numbers[1, 1], numbers.to_sparse().coalesce()]

    for found in workers.run([run, run], 2, processes=processes):
        assert found is not None
        for got, expected in zip(found, run(), strict=True):
            assert got.dtype is expected.dtype
            assert got.layout is expected.layout
            assert got.shape == expected.shape
            assert torch.equal(got.to_dense(), expected.to_dense())
        with torch.inference_mode():
            found[0].add_(1)  # memory of its own that can be written


@PROCESSES
def test_the_thread_count_is_left_as_it_was(processes):
    def task(stop, send):
        time.sleep(0.1)
        return torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert workers.run([task, task], 2, processes=processes) == [1, 1]
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@PROCESSES
@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_raised_and_stops_the_others(processes, count):
    def good(stop, send):
        send("begun")
        end = time.monotonic() + 10
        while not stop.is_set() and time.monotonic() < end:
            time.sleep(0.005)

    def bad(stop, send):
        time.sleep(0.1 * (count - 1))
        raise ValueError("at fault")

    heard: list[Any] = []
    with pytest.raises(ValueError, match="at fault"):
        workers.run([bad, good, good], count, heard.append, processes=processes)
    assert heard == ["begun"] * (count - 1)


@PROCESSES
def test_ctrl_c_returns_what_is_finished(processes):
    def task(stop, send):
        os.kill(PARENT, signal.SIGINT)
        while not stop.is_set():
            time.sleep(0.005)
        return "ended early"

    assert workers.run([task, lambda stop, send: "never begun"], 1, processes=processes) == ["ended early", None]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_a_process_that_is_killed_is_noticed():
    def task(stop, send):
        while os.getpid() == PARENT and not stop.is_set():
            time.sleep(0.005)
            send("alive")
        if os.getpid() != PARENT:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"exit code -9.*memory"):
        workers.run([task, task], 2, lambda _: None, processes=True)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_a_process_that_is_killed_while_it_waits_to_be_heard_is_noticed(tmp_path):
    def task(stop, send):
        if os.getpid() != PARENT:
            (tmp_path / str(os.getpid())).touch()
            return torch.zeros(2**20)  # more than a pipe holds
        while not (found := list(tmp_path.iterdir())):
            time.sleep(0.005)
        time.sleep(0.2)
        os.kill(int(found[0].name), signal.SIGKILL)
        return None

    with pytest.raises(WorkerError, match=r"exit code -9.*memory"):
        workers.run([task, task], 2, processes=True)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_caller_hears_of_signals_while_it_waits_for_a_process(tmp_path, number):
    def task(stop, send):
        if os.getpid() == PARENT:
            while not (tmp_path / "begun").exists():
                time.sleep(0.005)
            return "ended first"
        (tmp_path / "begun").touch()
        time.sleep(0.2)
        os.kill(PARENT if number != signal.SIGKILL else os.getpid(), number)
        end = time.monotonic() + 30
        while not stop.is_set():
            assert time.monotonic() < end
            time.sleep(0.005)
        return "ended early"

    if number == signal.SIGKILL:
        with pytest.raises(WorkerError, match=r"exit code -9.*memory"):
            workers.run([task, task], 2, processes=True)
    else:
        assert set(workers.run([task, task], 2, processes=True)) == {"ended first", "ended early"}


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_the_callers_process_takes_its_share():
    def task(stop, send):
        time.sleep(0.05)
        return os.getpid()

    found = workers.run([task] * 6, 2, processes=True)
    assert PARENT in found
    assert len(set(found)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_a_process_that_never_begins_is_not_waited_for(monkeypatch):
    """As where a lock of the matrix library was held by another thread when it was forked."""
    monkeypatch.setattr(workers, "_multiply", lambda: time.sleep(100))
    start = time.monotonic()
    assert workers.run([lambda *_, i=i: i for i in range(5)], 3, processes=True) == list(range(5))
    assert time.monotonic() - start < 50


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_a_second_ctrl_c_leaves_no_process_that_waits_to_be_heard(tmp_path):
    def task(stop, send):
        if os.getpid() != PARENT:
            (tmp_path / "begun").touch()
        while not (tmp_path / "begun").exists():
            time.sleep(0.005)
        if os.getpid() == PARENT:
            os.kill(PARENT, signal.SIGINT)
            os.kill(PARENT, signal.SIGINT)
        while not stop.is_set():
            time.sleep(0.005)
        return torch.zeros(2**20)  # more than a pipe holds

    others = multiprocessing.active_children()  # of earlier tests
    with pytest.raises(KeyboardInterrupt) as caught:  # whose traceback a notebook keeps, and with it what run has
        workers.run([task, task], 2, processes=True)
    end = time.monotonic() + 30
    while set(multiprocessing.active_children()) - set(others):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert caught.tb


def test_a_second_ctrl_c_ends_threads_that_nobody_waits_for():
    ended = threading.Event()

    def task(stop, send):
        os.kill(PARENT, signal.SIGINT)
        os.kill(PARENT, signal.SIGTERM)  # another one, for two alike may be told as one
        while not stop.is_set():
            time.sleep(0.005)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        workers.run([task], 1, processes=False)
    assert ended.wait(30)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:os.fork:RuntimeWarning")
def test_processes_end_with_a_caller_that_is_killed(tmp_path):
    def task(stop, send):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    caller = multiprocessing.get_context("fork").Process(target=workers.run, args=([task, task], 2))
    caller.start()
    end = time.monotonic() + 30
    while len(found := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert time.monotonic() < end
        time.sleep(0.005)
    caller.kill()
    caller.join()
    (worker,) = (pid for pid in found if pid != caller.pid)
    with suppress(FileNotFoundError, ProcessLookupError):
        while "State:\tZ" not in Path(f"/proc/{worker}/status").read_text():
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_a_process_ends_by_sigterm_whatever_the_callers_handler(tmp_path):
    def task(stop, send):
        if os.getpid() != PARENT:
            (tmp_path / "begun").touch()
            os.kill(os.getpid(), signal.SIGTERM)
        while not (tmp_path / "begun").exists():
            time.sleep(0.005)

    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(WorkerError, match="exit code -15"):
            workers.run([task, task], 2, processes=True)
    finally:
        signal.signal(signal.SIGTERM, previous)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:os.fork:RuntimeWarning")
def test_inside_a_pool_workers_are_threads():
    """A worker of a multiprocessing.Pool is daemonic, and may have no children."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(run_two) == [os.getpid(), 1]


def run_two():
    return workers.run([lambda *_: os.getppid(), lambda *_: 1], 2)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.parametrize(
    ("count", "gpu", "platform", "forked"),
    [(2, False, "linux", True), (1, False, "linux", False), (2, True, "linux", False), (2, False, "darwin", False)],
)
def test_several_workers_are_processes_where_these_can_be_forked_safely(monkeypatch, count, gpu, platform, forked):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: gpu)
    monkeypatch.setattr(sys, "platform", platform)
    found = workers.run([lambda *_: threading.current_thread() is threading.main_thread()] * 2, count)
    assert found == [forked, forked]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="of Linux")
def test_there_are_as_many_workers_as_cores_that_this_process_may_use():
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert workers.default_workers() == 1
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize(
    ("text", "found"), [("MemFree: 1 kB\nMemAvailable:       3 kB\n", 3072), ("MemFree: 1 kB\n", 2**63), (None, 2**63)]
)
def test_memory_is_what_the_system_says_is_available(text, found, monkeypatch):
    def read_text(*_: Any, **__: Any) -> Any:
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    assert workers.free_memory() == found


def test_no_tasks():
    assert workers.run([]) == []


def test_a_bad_number_of_workers():
    with pytest.raises(ArgumentError, match="workers"):
        workers.run([lambda stop, send: None], -1)


@PROCESSES
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_asks_the_tasks_to_stop_and_handlers_come_back(processes, number):
    before = signal.getsignal(number)

    def task(stop, send):
        os.kill(PARENT, number)
        while not stop.is_set():
            time.sleep(0.005)
        return "ended early"

    previous = signal.signal(number, lambda *_: pytest.fail("the signal was not noted"))
    try:
        assert workers.run([task, lambda stop, send: 1], 1, processes=processes) == ["ended early", None]
    finally:
        signal.signal(number, previous)
    assert signal.getsignal(number) == before


@PROCESSES
def test_a_signal_that_is_ignored_stays_so(processes):
    """As Ctrl-C in a job that a shell's script runs in the background."""

    def task(stop, send):
        os.kill(PARENT, signal.SIGINT)
        time.sleep(0.02)
        return stop.is_set()

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert workers.run([task, task], 1, processes=processes) == [False, False]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:os.fork:RuntimeWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_forked_meanwhile_can_be_ended(number):
    """As one of a Pool in a callback, which is not left before it ends; a terminal's Ctrl-C is its parent's."""
    context = multiprocessing.get_context("fork")
    begun = context.Event()

    def child():
        begun.set()
        time.sleep(0.5)

    with workers.noted(signal.SIGINT, signal.SIGTERM) as found:
        process = context.Process(target=child)
        process.start()
        begun.wait()
        assert process.pid
        os.kill(process.pid, number)
        process.join()
    assert process.exitcode == (0 if number == signal.SIGINT else -number)
    assert not found


class Unpicklable(Exception):
    """Its pickle needs two arguments and has one."""

    def __init__(self, what, where):
        super().__init__(f"{what} at {where}")


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.parametrize("kind", ["error", "local error", "result"])
def test_what_cannot_be_sent_is_told(kind):
    class Local(Exception):
        pass

    def task(stop, send):
        if os.getpid() == PARENT:
            while not stop.is_set():
                time.sleep(0.005)
        elif kind != "result":
            raise Unpicklable("at fault", "home") if kind == "error" else Local("at fault")
        return lambda: None

    message = "pickle|local object" if kind == "result" else "at fault"
    with pytest.raises(WorkerError if kind != "result" else Exception, match=message):
        workers.run([task, task], 2, processes=True)
