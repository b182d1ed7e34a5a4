"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from handgrad.nn import init
from handgrad.nn.activations import ReLU, Tanh
from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.cells import GRUCell, LSTMCell, RNNCell
from handgrad.nn.chain import LinearChain
from handgrad.nn.first import First
from handgrad.nn.fuse import fuse
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter
from handgrad.nn.random import Random
from handgrad.nn.recurrent import GRU, LSTM, RNN
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.sequential import Sequential

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm1d",
    "First",
    "GRUCell",
    "Initialiser",
    "LSTMCell",
    "Linear",
    "LinearChain",
    "Loss",
    "MSELoss",
    "Module",
    "Parameter",
    "RNNCell",
    "Random",
    "ReLU",
    "Sequential",
    "Tanh",
    "fuse",
    "init",
    "replicate",
    "stack",
]
