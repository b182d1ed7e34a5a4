"""Every error says what was expected, what came, where, and what to do about it."""

from __future__ import annotations

from typing import TypeVar

Raised = TypeVar("Raised", bound="HandgradError")


class HandgradError(Exception):
    """Base of all errors of handgrad.

    Args:
        expected: what would have been right.
        got: what came instead.
        remedy: what the caller can do, as a sentence in the imperative.
        where: the layer, option or file at fault. Containers add the path to it on the way up.

    Example:
        >>> from handgrad.errors import ShapeError
        >>> error = ShapeError("25 input features", "24", "Check the layer before.", "Linear 25→2")
        >>> print(error.inside("4"))
        model.4 (Linear 25→2): expected 25 input features, got 24. Check the layer before.
    """

    def __init__(self, expected: str, got: str, remedy: str, where: str = "") -> None:
        super().__init__(expected, got, remedy, where)
        self.expected, self.got, self.remedy, self.where = expected, got, remedy, where
        self.path: tuple[str, ...] = ()

    def inside(self: Raised, name: str) -> Raised:
        """Return this error with `name`, a container's name for the part that failed, before its path; "" adds none."""
        self.path = (name, *self.path) if name else self.path
        return self

    def __str__(self) -> str:
        place = self.where
        if self.path:
            place = ".".join(("model", *self.path)) + (f" ({place})" if place else "")
        return f"{place}{': ' if place else ''}expected {self.expected}, got {self.got}. {self.remedy}"


class ShapeError(HandgradError, ValueError):
    """A tensor's rank or size does not fit."""


class DimensionError(ShapeError, IndexError):
    """A tensor does not have a dimension that a module works along."""


class DTypeError(HandgradError, TypeError):
    """An argument's type or a tensor's dtype does not fit."""


class DeviceError(HandgradError, RuntimeError):
    """A tensor lies on another device than the parameters, or the device does not exist."""


class ArgumentError(HandgradError, ValueError):
    """An option's value is out of its range."""


class BackwardError(HandgradError, RuntimeError):
    """backward was called before forward, or twice for one forward."""


class MethodError(HandgradError, AttributeError):
    """A module's class has no forward, or no backward, which PyTorch's modules need not have."""


class StateError(HandgradError, RuntimeError):
    """A state dict, or what an optimiser holds, does not fit the network."""


class GradcheckError(HandgradError, AssertionError):
    """A written-out gradient differs from the numerical one."""


class WorkerError(HandgradError, RuntimeError):
    """A worker process ended without a result."""


class DataError(HandgradError, ValueError):
    """A data file, a frame or a column cannot be used as it is."""


class OutputError(HandgradError, OSError):
    """A folder or file cannot be written or read."""


class MissingExtraError(HandgradError, ImportError):  # type: ignore[misc] # both have a path, of another type
    """A package that only one of the extras needs is not installed."""


class UnsupportedError(HandgradError, NotImplementedError):
    """Something has no counterpart in the format or framework that it should go to."""
