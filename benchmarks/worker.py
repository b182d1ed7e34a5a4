"""Worker: a contestant in a process of its own, asked to run once at a time."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.timing import Contestant, Outcome, Unavailable, run_once


class Worker:
    """Its thread pools, compilers and memory touch no other contestant, and a crash of it stops nobody.

    Args:
        make: a module's function that builds and warms up the contestant, called in the new process.
        arguments: for `make`.

    Errors: Unavailable with the reason if the contestant cannot be built or dies.
    """

    def __init__(self, make: Callable[..., Contestant], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        # not daemonic, as those may not fork workers of their own; it ends with this process's end of the pipe
        self._process = context.Process(target=_serve, args=(theirs, make, arguments))
        self._process.start()
        theirs.close()
        try:
            self.name, self.setting, self.preparation = self._answer()
        except Unavailable:
            self.close()
            raise

    def start(self) -> None:
        """Ask for one run, and go on."""
        self._connection.send("run")

    def result(self) -> Outcome:
        """Wait for the run's end."""
        outcome: Outcome = self._answer()
        return outcome

    def reset(self) -> None:
        """Let the process put the initial weights back."""
        self._connection.send("reset")
        self._answer()

    def contestant(self) -> Contestant:
        """The contestant in this process's name; its seconds are those that the worker counted."""

        def run() -> Outcome:
            self.start()
            return self.result()

        return Contestant(self.name, run, self.reset, self.setting, preparation=self.preparation, close=self.close)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()

    def _answer(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise Unavailable(f"its process ended with code {self._process.exitcode}") from None
        if isinstance(answer, Unavailable):
            raise answer
        return answer


def _serve(connection: Connection, make: Callable[..., Contestant], arguments: tuple[Any, ...]) -> None:
    try:
        contestant = make(*arguments)
        connection.send((contestant.name, contestant.described, contestant.preparation))
        while (request := connection.recv()) in ("run", "reset"):
            if request == "reset":
                contestant.reset()
                gc.collect()
                connection.send(None)
            else:
                connection.send(run_once(contestant))
    except EOFError:
        return
    except Exception as error:  # whatever a peer raises is for the table to say
        text = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__
        connection.send(error if isinstance(error, Unavailable) else Unavailable(reason))
