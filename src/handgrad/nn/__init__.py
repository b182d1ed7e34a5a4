"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from handgrad.nn import init
from handgrad.nn.activations import ReLU, Tanh
from handgrad.nn.attention import MultiheadAttention
from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.chain import LinearChain
from handgrad.nn.container import ModuleList
from handgrad.nn.fuse import fuse
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.module import Module
from handgrad.nn.parallel import Concat, Parallel, Residual
from handgrad.nn.parameter import Parameter
from handgrad.nn.random import Random
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.sequential import Sequential

__all__ = [
    "BatchNorm1d",
    "Concat",
    "Initialiser",
    "Linear",
    "LinearChain",
    "Loss",
    "MSELoss",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "Parallel",
    "Parameter",
    "Random",
    "ReLU",
    "Residual",
    "Sequential",
    "Tanh",
    "fuse",
    "init",
    "replicate",
    "stack",
]
