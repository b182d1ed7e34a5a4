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
from handgrad.nn.pad import (
    CircularPad1d,
    CircularPad2d,
    ConstantPad1d,
    ConstantPad2d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReplicationPad1d,
    ReplicationPad2d,
    ZeroPad1d,
    ZeroPad2d,
)
from handgrad.nn.parameter import Parameter
from handgrad.nn.pooling import AvgPool1d, AvgPool2d, LPPool1d, LPPool2d, MaxPool1d, MaxPool2d
from handgrad.nn.random import Random
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.sequential import Sequential
from handgrad.nn.shape import Flatten, Permute, Select, Transpose, Unflatten

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "Flatten",
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
    "Permute",
    "Random",
    "ReLU",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "Select",
    "Sequential",
    "Tanh",
    "Transpose",
    "Unflatten",
    "ZeroPad1d",
    "ZeroPad2d",
    "fuse",
    "init",
    "replicate",
    "stack",
]
