"""Optimisers, under PyTorch's names: `from handgrad import optim`."""

from handgrad.optim import lr_scheduler, swa_utils
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.sgd import SGD

__all__ = ["SGD", "Optimizer", "lr_scheduler", "swa_utils"]
