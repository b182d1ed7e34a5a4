"""Files of results: written whole or not at all, read with care."""

from __future__ import annotations

import errno
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from handgrad.errors import OutputError

if sys.platform != "win32":
    import fcntl

FORMAT = 1
"""Of results.json."""


def write_atomically(path: str | os.PathLike[str], data: str | bytes) -> Path:
    """Write `data` to `path`, text as UTF-8, making the folder if need be; a reader never sees half a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "new" / "note.txt", "seven\\n").read_text()
        'seven\\n'
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    made = False
    try:
        # beside the target: os.replace is atomic only within one file system
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            made = True
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        made = False
    except (OSError, ValueError) as error:  # ValueError for what names no file, such as ""
        reason = reason_of(error)
        remedy = "Choose a folder that you may write to and that has space left."
        raise OutputError("a file that can be written", reason, remedy, str(path)) from error
    finally:
        if made:
            temporary.unlink(missing_ok=True)
    return path


def reason_of(error: Exception) -> str:
    """What the system says of a file, without its name."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder if need be and return it, after a trial write: before hours of work, not after them.

    Errors: OutputError if it cannot be made or written to.
    """
    folder = Path(path)
    write_atomically(folder / ".trial", "")
    (folder / ".trial").unlink(missing_ok=True)  # another process may have tried the folder, too
    return folder


@contextmanager
def made(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`writable_folder`, which is gone again afterwards if it was new and nothing was written: what is refused.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with made(Path(place) / "run") as folder:
        ...         there = folder.exists()
        ...     there, folder.exists()
        (True, False)
    """
    new = not Path(path).exists()
    folder = writable_folder(path)
    try:
        yield folder
    finally:
        if new:
            with suppress(OSError):  # of a folder that holds something
                folder.rmdir()


@contextmanager
def alone(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Within it no other process that asks for it has this folder, which is made if need be.

    The system's lock on a file, which ends with the process, however that ends; where there are none, nothing is held.

    Errors: OutputError if another process has it, or if it cannot be written to.
    """
    with ExitStack() as held:
        folder = held.enter_context(made(path))
        if sys.platform == "win32":
            yield folder
            return
        lock = folder / ".lock"
        try:
            file = held.enter_context(open(lock, "ab"))
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no worker inherits it
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                got = f"one whose {lock.name} cannot be had ({reason_of(error)})"
                remedy = "Wait for the other command, or choose another folder."
                raise OutputError("a folder that no other command writes to", got, remedy, str(folder)) from None
        try:
            yield folder
        finally:
            lock.unlink(missing_ok=True)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the results of an earlier run.

    Errors: OutputError for a file that is missing, damaged, or of another format.
    """
    remedy = "Name the output folder of an earlier `handgrad reproduce`."
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError("results that can be read", reason_of(error), remedy, str(path)) from error
    found = results.get("format") if isinstance(results, dict) else None
    if found != FORMAT:
        raise OutputError(f"results of format {FORMAT}", f"format {found}", remedy, str(path))
    return dict(results)
