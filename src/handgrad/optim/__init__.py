"""Optimisers, under PyTorch's names: `from handgrad import optim`."""

from handgrad.optim import lr_scheduler, swa_utils
from handgrad.optim.adafactor import Adafactor
from handgrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from handgrad.optim.asgd import ASGD
from handgrad.optim.lbfgs import LBFGS
from handgrad.optim.lion import Lion
from handgrad.optim.muon import Muon
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.rmsprop import Adadelta, Adagrad, RMSprop
from handgrad.optim.rprop import Rprop
from handgrad.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
