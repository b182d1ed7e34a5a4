"""Workers: results in order, whatever shares them; errors and Ctrl-C end cleanly."""

import os
import signal
import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handgrad import workers
from handgrad.errors import ArgumentError


@given(st.integers(1, 500), st.integers(1, 30))
def test_groups_are_even_and_cover_every_replica_once(replicas, size):
    cut = workers.groups(replicas, size)
    assert [i for part in cut for i in range(replicas)[part]] == list(range(replicas))
    lengths = {part.stop - part.start for part in cut}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order(count):
    def task(i):
        def run(stop):
            time.sleep(0.01 * (3 - i % 3))
            return i, torch.get_num_threads()

        return run

    assert workers.run([task(i) for i in range(7)], count) == [(i, 1) for i in range(7)]


def test_the_thread_count_is_left_as_it_was():
    torch.set_num_threads(2)
    workers.run([lambda stop: None], 1)
    assert torch.get_num_threads() == 2


def test_an_error_is_raised_and_stops_the_others():
    begun = []

    def good(stop):
        begun.append(1)
        time.sleep(0.02)

    def bad(stop):
        raise ValueError("at fault")

    with pytest.raises(ValueError, match="at fault"):
        workers.run([bad, *[good] * 50], 1)
    assert not begun


def test_ctrl_c_returns_what_is_finished():
    interrupted = threading.Event()

    def task(stop):
        if not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)
        while not stop:
            time.sleep(0.005)
        return "ended early"

    assert workers.run([task, lambda stop: "never begun"], 1) == ["ended early", None]


def test_no_tasks():
    assert workers.run([]) == []


def test_a_bad_number_of_workers():
    with pytest.raises(ArgumentError, match="workers"):
        workers.run([lambda stop: None], -1)
