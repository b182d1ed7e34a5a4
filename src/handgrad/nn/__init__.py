"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from handgrad.nn import init, utils
from handgrad.nn.activations import (
    GELU,
    LogSigmoid,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
)
from handgrad.nn.batchnorm import BatchNorm1d
from handgrad.nn.bilinear import Bilinear
from handgrad.nn.binary_losses import BCELoss, BCEWithLogitsLoss, MultiLabelSoftMarginLoss
from handgrad.nn.chain import LinearChain
from handgrad.nn.classification_losses import CrossEntropyLoss, MultiMarginLoss, NLLLoss
from handgrad.nn.container import ModuleList
from handgrad.nn.elementwise import Elementwise
from handgrad.nn.embedding import Embedding
from handgrad.nn.exponential import CELU, ELU, SELU
from handgrad.nn.fuse import fuse
from handgrad.nn.identity import Identity
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.margin_losses import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    MarginRankingLoss,
    SoftMarginLoss,
)
from handgrad.nn.module import Module
from handgrad.nn.parallel import Concat, Parallel, Residual
from handgrad.nn.parameter import Parameter
from handgrad.nn.piecewise import (
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    PReLU,
    ReLU6,
    Softshrink,
    Threshold,
)
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
from handgrad.nn.softmax import GLU, LogSoftmax, Softmax, Softmax2d, Softmin

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "Bilinear",
    "Concat",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "Elementwise",
    "Embedding",
    "GaussianNLLLoss",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "Initialiser",
    "KLDivLoss",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LinearChain",
    "LogSigmoid",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "MarginRankingLoss",
    "Mish",
    "Module",
    "ModuleList",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PReLU",
    "Parallel",
    "Parameter",
    "PoissonNLLLoss",
    "Random",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "fuse",
    "init",
    "replicate",
    "stack",
    "utils",
]
