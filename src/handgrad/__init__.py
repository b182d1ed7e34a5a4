"""handgrad: PyTorch's API, every gradient written by hand, every result with an error bar.

from handgrad import nn, optim
"""

from typing import TYPE_CHECKING, Any

import torch

from handgrad import nn, optim
from handgrad.training import fit

if TYPE_CHECKING:
    from handgrad.interop import from_torch, to_onnx, to_torch
    from handgrad.saving import load, save

# What a step frees, the next one asks for again. The C library of Linux gives freed memory back to the system as soon
# as twice its largest freed block lies idle, and takes it anew a page at a time: a sixth of a convolutional network's
# step. It keeps up to 62 MiB from when one block of 31 MiB (its limit is 32) was freed; here, one that nothing touched.
torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")

__version__ = "0.1.0.dev0"

__all__ = ["__version__", "fit", "from_torch", "load", "nn", "optim", "save", "to_onnx", "to_torch"]


def __getattr__(name: str) -> Any:
    """What is imported only when it is used: files and exchange."""
    if name in ("load", "save"):
        from handgrad import saving

        return getattr(saving, name)
    if name in ("from_torch", "to_onnx", "to_torch"):
        from handgrad import interop

        return getattr(interop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
