"""handgrad: PyTorch's API, every gradient written by hand, every result with an error bar.

from handgrad import nn, optim
"""

from handgrad import nn, optim
from handgrad.training import fit

__version__ = "0.1.0.dev0"

__all__ = ["__version__", "fit", "nn", "optim"]
