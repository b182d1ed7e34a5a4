"""Layers, containers and losses, under PyTorch's names: `from handgrad import nn`."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from handgrad.nn import init, utils
from handgrad.nn.activations import GELU, LogSigmoid, Mish, ReLU, Sigmoid, SiLU, Softplus, Softsign, Tanh, Tanhshrink
from handgrad.nn.adaptive import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d
from handgrad.nn.attention import MultiheadAttention
from handgrad.nn.batchnorm import BatchNorm1d, BatchNorm2d
from handgrad.nn.bilinear import Bilinear
from handgrad.nn.binary_losses import BCELoss, BCEWithLogitsLoss, MultiLabelSoftMarginLoss
from handgrad.nn.cells import GRUCell, LSTMCell, RNNCell
from handgrad.nn.chain import LinearChain
from handgrad.nn.classification_losses import CrossEntropyLoss, MultiMarginLoss, NLLLoss
from handgrad.nn.container import ModuleDict, ModuleList
from handgrad.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from handgrad.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, FeatureAlphaDropout
from handgrad.nn.elementwise import Elementwise
from handgrad.nn.embedding import Embedding
from handgrad.nn.exponential import CELU, ELU, SELU
from handgrad.nn.first import First
from handgrad.nn.fuse import fuse
from handgrad.nn.identity import Identity
from handgrad.nn.init import Initialiser
from handgrad.nn.linear import Linear
from handgrad.nn.localresponse import LocalResponseNorm
from handgrad.nn.loss import Loss, MSELoss
from handgrad.nn.margin_losses import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    MarginRankingLoss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from handgrad.nn.module import Module
from handgrad.nn.norms import GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RMSNorm
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
from handgrad.nn.pooling import AvgPool1d, AvgPool2d, LPPool1d, LPPool2d, MaxPool1d, MaxPool2d
from handgrad.nn.positions import PositionalEmbedding, PositionalEncoding
from handgrad.nn.random import Random
from handgrad.nn.recurrent import GRU, LSTM, RNN
from handgrad.nn.regression_losses import GaussianNLLLoss, HuberLoss, KLDivLoss, L1Loss, PoissonNLLLoss, SmoothL1Loss
from handgrad.nn.replicas import replicate, stack
from handgrad.nn.rrelu import RReLU
from handgrad.nn.sequential import Sequential
from handgrad.nn.shape import Flatten, Permute, Select, Transpose, Unflatten
from handgrad.nn.softmax import GLU, LogSoftmax, Softmax, Softmax2d, Softmin
from handgrad.nn.transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from handgrad.nn.upsampling import PixelShuffle, PixelUnshuffle, Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AlphaDropout",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bilinear",
    "CircularPad1d",
    "CircularPad2d",
    "Concat",
    "ConstantPad1d",
    "ConstantPad2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Elementwise",
    "Embedding",
    "FeatureAlphaDropout",
    "First",
    "Flatten",
    "GRUCell",
    "GaussianNLLLoss",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "Initialiser",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "KLDivLoss",
    "L1Loss",
    "LPPool1d",
    "LPPool2d",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearChain",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MultiheadAttention",
    "NLLLoss",
    "PReLU",
    "Parallel",
    "Parameter",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "PoissonNLLLoss",
    "PositionalEmbedding",
    "PositionalEncoding",
    "RMSNorm",
    "RNNCell",
    "RReLU",
    "Random",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "Residual",
    "Select",
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
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Transpose",
    "TripletMarginLoss",
    "Unflatten",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "fuse",
    "init",
    "replicate",
    "stack",
    "utils",
]

if not TYPE_CHECKING:  # type checkers know what there is

    def __getattr__(name):
        """What PyTorch has and handgrad has not, or writes otherwise, with what is near."""
        close = get_close_matches(name.lower(), lower := {known.lower(): known for known in __all__}, 2)
        remedy = f"Did you mean {' or '.join(lower[word] for word in close)}?" if close else ""
        if name == "functional":
            remedy = "A function is a module here, as nn.ReLU for relu, which has a backward."
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. {remedy}".rstrip(), name=name)
