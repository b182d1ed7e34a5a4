"""Packages that not every installation has."""

from __future__ import annotations

import importlib
from types import ModuleType

from handgrad.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import and return `module`, which comes with handgrad's extra of that name.

    Errors: MissingExtraError where the package is not installed. One that is installed and fails raises its own error.

    Example:
        >>> require("json", "cli").dumps([1])
        '[1]'
        >>> require("no_such_package.part", "cli")
        Traceback (most recent call last):
        handgrad.errors.MissingExtraError: expected the package no_such_package, got none installed. Install it with \
pip install 'handgrad[cli]'.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        remedy = f"Install it with pip install 'handgrad[{extra}]'."
        raise MissingExtraError(f"the package {package}", "none installed", remedy) from error
