"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from handgrad.nn import init
from handgrad.nn.activations import ReLU, Tanh
from handgrad.nn.batchnorm import BatchNorm1d, BatchNorm2d
from handgrad.nn.chain import LinearChain
from handgrad.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, FeatureAlphaDropout
from handgrad.nn.fuse import fuse
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.localresponse import LocalResponseNorm
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.module import Module
from handgrad.nn.norms import GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RMSNorm
from handgrad.nn.parameter import Parameter
from handgrad.nn.random import Random
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.sequential import Sequential

__all__ = [
    "AlphaDropout",
    "BatchNorm1d",
    "BatchNorm2d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "FeatureAlphaDropout",
    "GroupNorm",
    "Initialiser",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "Linear",
    "LinearChain",
    "LocalResponseNorm",
    "Loss",
    "MSELoss",
    "Module",
    "Parameter",
    "RMSNorm",
    "Random",
    "ReLU",
    "Sequential",
    "Tanh",
    "fuse",
    "init",
    "replicate",
    "stack",
]
