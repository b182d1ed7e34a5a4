"""`handgrad` and `python -m handgrad`."""

import errno
import io
import os
import signal
import sys
from contextlib import suppress

LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says of output that goes nowhere, as to a full disk."""


def main() -> None:
    """Run the command line, or say how to get it."""
    try:
        from handgrad.cli import app
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.split(".")[0] == "handgrad":
            raise
        print(
            f"handgrad: the command line needs {missing.name}, which is not installed. "
            "Install it with: pip install 'handgrad[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a ± that a terminal lacks is no reason to end
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, also where nothing is trained
    try:
        app()
    except OSError as error:
        if error.errno not in LOST:
            raise
        remedy = "Choose a place that has space left."
        with suppress(OSError):  # standard error may be what cannot be written
            print(f"handgrad: expected output that can be written, got {error.strerror}. {remedy}", file=sys.stderr)
        with suppress(OSError, ValueError):  # what is left would be told a second time when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)


if __name__ == "__main__":
    main()
