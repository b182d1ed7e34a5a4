"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from handgrad.nn import init
from handgrad.nn.activations import ReLU, Tanh
from handgrad.nn.adaptive import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d
from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.chain import LinearChain
from handgrad.nn.fuse import fuse
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter
from handgrad.nn.pooling import AvgPool1d, AvgPool2d, LPPool1d, LPPool2d, MaxPool1d, MaxPool2d
from handgrad.nn.random import Random
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.sequential import Sequential

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "Initialiser",
    "LPPool1d",
    "LPPool2d",
    "Linear",
    "LinearChain",
    "Loss",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "Parameter",
    "Random",
    "ReLU",
    "Sequential",
    "Tanh",
    "fuse",
    "init",
    "replicate",
    "stack",
]
