"""`handgrad` and `python -m handgrad`."""

import io
import signal
import sys


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
    app()


if __name__ == "__main__":
    main()
