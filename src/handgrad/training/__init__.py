"""Training: from data to trained replicas."""

from handgrad.training.anatomy import Layer, Summary, summary
from handgrad.training.callbacks import Callback, ProgressBar, TensorBoard
from handgrad.training.checkpoints import Checkpoints
from handgrad.training.evaluation import Evaluation, Measure
from handgrad.training.fit import fit
from handgrad.training.groups import train_replicas
from handgrad.training.history import History
from handgrad.training.stopping import EarlyStopping
from handgrad.training.trainer import Advance, Metric, Trainer, train
from handgrad.training.watching import Watch

__all__ = [
    "Advance",
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "Evaluation",
    "History",
    "Layer",
    "Measure",
    "Metric",
    "ProgressBar",
    "Summary",
    "TensorBoard",
    "Trainer",
    "Watch",
    "fit",
    "summary",
    "train",
    "train_replicas",
]
