"""Weight averaging, under PyTorch's names: `from handgrad.optim import swa_utils`.

Optimisers know parameters, not modules: the average of a network is written in `handgrad.nn.averaging` and, like the
schedule that goes with it, only named here, where PyTorch has it.
"""

from handgrad.nn.averaging import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)
from handgrad.optim.lr_scheduler.curves import SWALR

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]
