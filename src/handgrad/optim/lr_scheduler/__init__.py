r"""Learning-rate schedules, under PyTorch's names: `from handgrad.optim import lr_scheduler`.

A schedule is a function of the step count t and of each group's initial learning rate η, in closed form. With η, or the
schedule's own numbers, R numbers, each replica follows its own. With c = π t / T_max, T_cur the steps since the last
restart out of T_i, and p the part of a phase that has passed:

| name                          | learning rate of step t                                                    |
|-------------------------------|----------------------------------------------------------------------------|
| `StepLR`                      | $\eta \gamma^{\lfloor t / \text{step\_size} \rfloor}$                      |
| `MultiStepLR`                 | $\eta \gamma^{\text{milestones} \le t}$                                    |
| `ExponentialLR`               | $\eta \gamma^t$                                                            |
| `ConstantLR`                  | $\eta \cdot$ factor while $t <$ total_iters, then η                        |
| `LinearLR`                    | from η · start_factor straight to η · end_factor                           |
| `PolynomialLR`                | $\eta (1 - t / \text{total\_iters})^\text{power}$                          |
| `LambdaLR`                    | $\eta \lambda(t)$                                                          |
| `MultiplicativeLR`            | $\eta \prod_{k=1}^t \lambda(k)$                                            |
| `CosineAnnealingLR`           | $\eta_\min + \frac{1}{2}(\eta - \eta_\min)(1 + \cos c)$                    |
| `CosineAnnealingWarmRestarts` | the same with $c = \pi T_\text{cur} / T_i$                                 |
| `CyclicLR`                    | up and down between base_lr and max_lr                                     |
| `OneCycleLR`                  | up to max_lr, then down to almost 0                                        |
| `ReduceLROnPlateau`           | $\eta \cdot$ factor whenever a metric, of each replica its own, stops improving |
| `SequentialLR`                | one schedule after another                                                 |
| `ChainedScheduler`            | one schedule of another                                                    |

PyTorch multiplies the current learning rate at each step; the closed form gives the same numbers up to rounding, also
where schedules of one optimiser are stepped one after another, or a learning rate is set by hand in between.
"""

from handgrad.optim.lr_scheduler.composed import ChainedScheduler, SequentialLR
from handgrad.optim.lr_scheduler.curves import CosineAnnealingLR, CosineAnnealingWarmRestarts
from handgrad.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from handgrad.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from handgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from handgrad.optim.lr_scheduler.schedule import LRScheduler

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
