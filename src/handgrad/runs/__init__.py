"""Runs: from a data file to a model folder, and what is done with one.

`prepare` reads and splits, `train` trains replicas and judges them beside baselines, `write` leaves a folder; `Folder`
opens it, to predict; `compare` pairs two of them by seed, `sweep` many recipes.
"""

from handgrad.runs.comparing import compare
from handgrad.runs.folder import Folder, write
from handgrad.runs.prepared import Prepared, prepare
from handgrad.runs.sweeping import sweep
from handgrad.runs.training import Trained, train

__all__ = ["Folder", "Prepared", "Trained", "compare", "prepare", "sweep", "train", "write"]
