"""gradcheck: is a written-out gradient the derivative of its forward?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad.errors import ArgumentError, GradcheckError
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.random import Random

ELEMENTS = 4096
"""How many elements of a failing tensor are differentiated one by one to find the worst."""


@dataclass(frozen=True)
class Checked:
    """One checked gradient: its largest error along a direction, relative to the gradient's norm."""

    name: str
    shape: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class GradcheckReport:
    """The gradients that passed."""

    checked: tuple[Checked, ...]

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return max((c.error for c in self.checked), default=0.0)

    def __str__(self) -> str:
        return "\n".join(f"{c.name:<24} {c.shape!s:<20} relative error {c.error:.1e}" for c in self.checked)


def gradcheck(
    module: Module,
    *inputs: Any,
    directions: int = 8,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    generator: torch.Generator | None = None,
) -> GradcheckReport:
    r"""Compare backward with central differences in float64, for every input and parameter.

    With a random upstream gradient u and a random direction v (standard normal both) the two sides of

    $$\Big\langle \frac{\partial \langle u, f(x) \rangle}{\partial x}, v \Big\rangle \approx
      \frac{\langle u, f(x + \epsilon v) - f(x - \epsilon v) \rangle}{2 \epsilon}$$

    must agree to rtol · ‖gradient‖ + atol · ‖u‖. u is never all ones: a BatchNorm backward without its variance term
    passes that, since its outputs sum to a constant.

    Args:
        module: layer, container or loss; a copy of it is checked, in its present mode, and it stays as it is.
        inputs: its inputs, tuples of tensors among them; as many leading ones, of those that are not integers, are
            checked as backward returns gradients.
        directions: random directions for each input and parameter.
        eps: ε.
        rtol, atol: tolerances.
        generator: source of u and v; by default one with seed 0, so that the check is repeatable.

    Returns:
        The largest error of each gradient, for printing.

    Errors: GradcheckError names the worst element, and says when the module has a kink there.

    Source: the directional test of autograd and chainer's test suites.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> from handgrad.testing import gradcheck
        >>> report = gradcheck(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.randn(5, 3))
        >>> [c.name for c in report.checked], report.error < 1e-6
        (['input', '0.weight', '0.bias'], True)
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    module = copy.deepcopy(module).double().freeze(False)
    module.zero_grad()
    arguments = _each(lambda x: x.detach().double().clone() if x.dtype.is_floating_point else x, inputs)
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    draws = [(part, part.draws) for part in module.modules() if isinstance(part, Random)]

    def forward() -> Any:
        """One pass from the same state: neither running statistics nor dropout may differ between the two sides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            y = _each(torch.clone, module(*arguments))
        for buffer, before in buffers:
            buffer.copy_(before)
        for part, count in draws:
            part.draws = count
        return y

    y = forward()
    if not all(value.isfinite().all() for value in _leaves(y)):
        raise ArgumentError("finite outputs", "inf or NaN", "Check at another input.", f"gradcheck of {module.label}")
    u = _each(lambda value: _normal(value, generator), y)
    gradients = module.backward(_each(torch.clone, u))
    returned = _leaves(gradients)

    targets: list[tuple[str, Tensor, Tensor]] = []
    given = tuple(arguments[i] for i in module.differentiated) if isinstance(module, Loss) else arguments
    leaves = _leaves(given)
    pairs = zip([x for x in leaves if x.dtype.is_floating_point], returned)
    if len(every := _leaves(gradients, nothing=True)) == len(leaves):  # None stands for an input without a gradient
        pairs = zip(leaves, every)
    for i, (x, dx) in enumerate((x, dx) for x, dx in pairs if dx is not None):
        name = "input" if len(returned) == 1 else f"input {i}"
        if dx.ndim > x.ndim:
            dx = dx.sum(0)  # replicas that share an input: each has a gradient of its own
        elif dx.shape != x.shape and x.shape == (1, *dx.shape[1:]):
            dx = dx.sum(0, keepdim=True)
        if dx.shape != x.shape:
            _fail(module, name, f"a gradient of shape {tuple(x.shape)}", str(tuple(dx.shape)))
        targets.append((name, x, dx))
    for name, p in module.named_parameters():
        targets.append((name, p.value, torch.zeros_like(p.value) if p.grad is None else p.grad.clone()))

    return GradcheckReport(
        tuple(
            _check(module, name, value, grad, _Slope(forward, u, value, eps), directions, rtol, atol, generator)
            for name, value, grad in targets
        )
    )


class _Slope:
    """Differences of ⟨u, f⟩ along a direction of one tensor; of several outputs, the sum over them."""

    def __init__(self, forward: Callable[[], Any], u: Any, value: Tensor, eps: float) -> None:
        self.forward, self.u, self.value, self.eps = forward, _leaves(u), value, eps
        self.norm = math.sqrt(sum(float(u.square().sum()) for u in self.u))

    def _at(self, v: Tensor, step: float) -> list[Tensor]:
        before = self.value.clone()
        self.value.add_(v, alpha=step)
        y = _leaves(self.forward())
        self.value.copy_(before)
        return y

    def _rise(self, high: list[Tensor], low: list[Tensor]) -> float:
        # differences before the sum: rounds far less
        return sum(float((u * (a - b)).sum()) for u, a, b in zip(self.u, high, low))

    def central(self, v: Tensor) -> float:
        return self._rise(self._at(v, self.eps), self._at(v, -self.eps)) / (2 * self.eps)

    def sides(self, v: Tensor) -> tuple[float, float]:
        """Derivatives from the left and from the right."""
        middle = self._at(v, 0.0)
        right, left = self._rise(self._at(v, self.eps), middle), self._rise(middle, self._at(v, -self.eps))
        return left / self.eps, right / self.eps

    def kink(self, v: Tensor, error: float) -> tuple[float, float] | None:
        """The derivatives of the two sides if they differ by what no curvature explains."""
        left, right = self.sides(v)
        closer = _Slope(self.forward, tuple(self.u), self.value, self.eps / 4)
        near_left, near_right = closer.sides(v)
        # a curvature's difference shrinks with ε, so that 4 · the nearer one equals it; that of a kink does not
        unexplained = abs((right - left) - 4 * (near_right - near_left))
        return (left, right) if unexplained > error / 2 else None


def _leaves(tree: Any, nothing: bool = False) -> list[Any]:
    """The tensors of nested tuples, in order; None left out, or kept if `nothing` is asked for."""
    if isinstance(tree, tuple):
        return [leaf for branch in tree for leaf in _leaves(branch, nothing)]
    return [] if tree is None and not nothing else [tree]


def _each(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The same nesting with `change` applied to every tensor."""
    if isinstance(tree, tuple):
        return tuple(_each(change, branch) for branch in tree)
    return None if tree is None else change(tree)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, dtype=torch.float64, generator=generator, device=generator.device).to(like.device)


def _check(
    module: Module,
    name: str,
    value: Tensor,
    grad: Tensor,
    slope: _Slope,
    directions: int,
    rtol: float,
    atol: float,
    generator: torch.Generator,
) -> Checked:
    """Check one gradient along random directions; raise if one of them disagrees."""
    norm = float(grad.norm())
    worst = 0.0
    for _ in range(directions):
        v = _normal(value, generator)
        numeric, written = slope.central(v), float((grad * v).sum())
        error = abs(numeric - written)
        worst = max(worst, error / max(norm, abs(numeric), 1e-300)) if error else worst
        if not error <= rtol * max(norm, abs(numeric)) + atol * slope.norm:
            _locate(module, name, value, grad, slope, v, error)
    return Checked(name, tuple(value.shape), worst)


def _locate(module: Module, name: str, value: Tensor, grad: Tensor, slope: _Slope, v: Tensor, error: float) -> None:
    """Raise an error that names the element whose gradient is most wrong."""
    flat = grad.flatten()
    order = torch.arange(flat.numel()) if flat.numel() <= ELEMENTS else flat.abs().argsort(descending=True)[:ELEMENTS]
    largest, index, numeric = -1.0, 0, 0.0
    for i in order.tolist():
        one = torch.zeros_like(flat)
        one[i] = 1.0
        found = slope.central(one.view(value.shape))
        difference = abs(found - float(flat[i]))
        if difference > largest or difference != difference:
            largest, index, numeric = difference, i, found
    place = tuple(int(k) for k in torch.unravel_index(torch.tensor(index), value.shape))
    written = float(flat[index])
    remedy = "Derive that term again, and look for a missing sum, factor or sign."
    if kink := slope.kink(v, error):
        remedy = (
            f"The function has a kink here (its slope along the direction tried is {kink[0]:.6g} on one side, "
            f"{kink[1]:.6g} on the other), where no gradient is right: move the input away from it."
        )
    relative = abs(numeric - written) / max(abs(numeric), abs(written), 1e-300)
    got = f"{written:.10g} from backward (relative error {relative:.1e}, the worst element)"
    _fail(module, name, f"{numeric:.10g} at {place} by central differences", got, remedy)


def _fail(module: Module, name: str, expected: str, got: str, remedy: str = "") -> None:
    remedy = remedy or "Return one gradient for each input, of its shape."
    raise GradcheckError(expected, got, remedy, f"gradcheck of {module.label}, {name}")
