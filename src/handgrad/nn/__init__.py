"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from handgrad.nn import init
from handgrad.nn.activations import ReLU, Tanh
from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.binary_losses import BCELoss, BCEWithLogitsLoss, MultiLabelSoftMarginLoss
from handgrad.nn.chain import LinearChain
from handgrad.nn.classification_losses import CrossEntropyLoss, MultiMarginLoss, NLLLoss
from handgrad.nn.fuse import fuse
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.margin_losses import CosineEmbeddingLoss, HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss
from handgrad.nn.module import Module
from handgrad.nn.parameter import Parameter
from handgrad.nn.random import Random
from handgrad.nn.regression_losses import (
    GaussianNLLLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    PoissonNLLLoss,
    SmoothL1Loss,
)
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.sequential import Sequential

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Initialiser",
    "KLDivLoss",
    "L1Loss",
    "Linear",
    "LinearChain",
    "Loss",
    "MSELoss",
    "MarginRankingLoss",
    "Module",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "Parameter",
    "PoissonNLLLoss",
    "Random",
    "ReLU",
    "Sequential",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Tanh",
    "fuse",
    "init",
    "replicate",
    "stack",
]
