"""The report's own spelling: thin names over `handgrad.nn` and `handgrad.optim`.

Its listing of section 2.1 runs as printed after `from handgrad.mini import *`. Every difference from PyTorch is
said in docs/mini.md.

Example:
    >>> import torch
    >>> from handgrad.mini import *
    >>> batchSize = 500
    >>> model = sequential(
    ...     Linear(input_size = 2, output_size = 25),
    ...     ReLU(),
    ...     batchNormalization(batchSize, input_size = 25),
    ...     Linear(input_size = 25, output_size = 2))
    >>> criterion, optimizer = MSELoss(), SGD(model.parameters())
    >>> x, t = torch.rand(batchSize, 2), torch.rand(batchSize, 2)
    >>> model = model.train()
    >>> optimizer.zeros_grad()
    >>> loss = criterion.forward(model.forward(x), t)
    >>> dx = model.backward(criterion.backward())
    >>> optimizer.step()
    >>> model = model.test()
"""

from __future__ import annotations

import torch
from torch import Tensor

from handgrad import checks, nn, optim
from handgrad.nn.parameter import Generators

__all__ = ["SGD", "Linear", "MSELoss", "ReLU", "Tanh", "batchNormalization", "sequential"]

Tanh = nn.Tanh


class Linear(nn.Linear):
    """`nn.Linear` with weight and bias from N(0, 1) (report, sections 1.1 and 1.3).

    Example:
        >>> Linear(input_size=2, output_size=25)
        Linear(in_features=2, out_features=25, bias=True)
    """

    def __init__(
        self, input_size: int, output_size: int, *, generator: Generators = None, replicas: int | None = None
    ) -> None:
        super().__init__(input_size, output_size, init="gaussian", generator=generator, replicas=replicas)


class ReLU(nn.ReLU):
    r"""`nn.ReLU` whose derivative at 0 is 1 (report, equation 2).

    $$\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \cdot [x \ge 0]$$

    Example:
        >>> import torch
        >>> relu = ReLU()
        >>> y = relu(torch.tensor([-1.0, 0.0, 1.0]))
        >>> relu.backward(torch.tensor([2.0, 2.0, 2.0]))
        tensor([0., 2., 2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(checks.tensor(x, self.label))
        return self.keep(y, x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.take(dy)
        dx: Tensor = dy * (x >= 0)
        return dx


class batchNormalization(nn.BatchNorm1d):
    """`nn.BatchNorm1d` in the report's argument order (section 1.6).

    Args:
        batchSize: samples in a training batch; only checked, as any batch of two or more is normalised alike.
        input_size: C.
        replicas: None or R.

    Example:
        >>> batchNormalization(500, input_size=25)
        batchNormalization(25, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    def __init__(self, batchSize: int, input_size: int, *, replicas: int | None = None) -> None:
        checks.positive_int("batchSize", batchSize, "batchNormalization")
        super().__init__(input_size, replicas=replicas)


class MSELoss(nn.MSELoss):
    """`nn.MSELoss` summed over the outputs and averaged over the samples only (report, equation 5).

    Example:
        >>> import torch
        >>> MSELoss()(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor(5.)
    """

    def __init__(self, *, replicas: int | None = None) -> None:
        super().__init__(reduction="batchmean", replicas=replicas)


class SGD(optim.SGD):
    """`optim.SGD` with `zeros_grad` beside `zero_grad` (report, section 1.5)."""

    def zeros_grad(self) -> None:
        """Clear the gradient of every parameter."""
        self.zero_grad()


class sequential(nn.Sequential):
    """`nn.Sequential` with `test` beside `eval` (report, section 1.7)."""

    def test(self) -> sequential:
        """Switch to evaluation: batch normalisation uses its running statistics."""
        return self.eval()
