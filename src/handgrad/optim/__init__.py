"""Optimisers, under PyTorch's names: `from handgrad import optim`."""

from handgrad.optim.optimizer import Optimizer
from handgrad.optim.sgd import SGD

__all__ = ["SGD", "Optimizer"]
