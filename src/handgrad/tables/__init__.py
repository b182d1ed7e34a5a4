"""Tables: from a data file to tensors, and what simple models make of it.

`load` reads a file and decides a `Schema`; `split` parts its rows; an `Encoder`, fitted to the training rows, makes
tensors of them; `baselines` are what a network has to beat; `outside` says which new rows are unlike those of training.
"""

from handgrad.tables.baselines import Baseline, baselines
from handgrad.tables.columns import Column
from handgrad.tables.encoding import Encoder
from handgrad.tables.novelty import Novelty, outside
from handgrad.tables.reading import read
from handgrad.tables.schema import Schema
from handgrad.tables.splitting import Split, split
from handgrad.tables.table import Table, load
from handgrad.tables.target import Target

__all__ = [
    "Baseline",
    "Column",
    "Encoder",
    "Novelty",
    "Schema",
    "Split",
    "Table",
    "Target",
    "baselines",
    "load",
    "outside",
    "read",
    "split",
]
