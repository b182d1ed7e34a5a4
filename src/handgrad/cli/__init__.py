"""The command line."""

from handgrad.cli import experiment, files, sweeping  # each adds its commands
from handgrad.cli.console import app

__all__ = ["app", "experiment", "files", "sweeping"]
