"""handgrad: PyTorch's API, every gradient written by hand, every result with an error bar.

from handgrad import nn, optim
"""

from typing import TYPE_CHECKING, Any

from handgrad import nn, optim
from handgrad.training.anatomy import summary
from handgrad.training.fit import fit

if TYPE_CHECKING:
    from handgrad.interop import from_torch, to_onnx, to_torch
    from handgrad.saving import load, save

__version__ = "0.1.0.dev0"

__all__ = ["__version__", "fit", "from_torch", "load", "nn", "optim", "save", "summary", "to_onnx", "to_torch"]


def __getattr__(name: str) -> Any:
    """What is imported only when it is used: files and exchange."""
    if name in ("load", "save"):
        from handgrad import saving

        return getattr(saving, name)
    if name in ("from_torch", "to_onnx", "to_torch"):
        from handgrad import interop

        return getattr(interop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
