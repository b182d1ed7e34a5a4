"""L-BFGS: Newton's direction from the last gradients, for full batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.nn.parameter import Parameter
from handgrad.optim.optimizer import Optimizer, Params, copied, turned

VECTORS = ("d", "prev_flat_grad")
HISTORIES = ("old_dirs", "old_stps")


class Point(NamedTuple):
    """Where a search along a direction d has been: θ + t d."""

    t: float
    loss: float
    grad: Tensor
    slope: float
    """g · d."""


class LBFGS(Optimizer):
    r"""L-BFGS: a step along −H g, where H stands for the inverse Hessian and is built from the last m steps.

    $$y_k = g_{k+1} - g_k, \quad s_k = \theta_{k+1} - \theta_k, \quad \rho_k = \frac{1}{y_k \cdot s_k}, \quad
      H \leftarrow (1 - \rho s y^T)\, H\, (1 - \rho y s^T) + \rho s s^T, \quad
      H_0 = \frac{y \cdot s}{y \cdot y}$$

    One call of `step` makes up to max_iter such steps, each of length lr, or found by a line search.

    Args:
        params: parameters, in one group.
        lr: the length of a step (of the first, lr / Σ|g| if that is less).
        max_iter: steps in one call.
        max_eval: evaluations in one call, 1.25 max_iter by default.
        tolerance_grad: end when no gradient is larger.
        tolerance_change: end when loss or parameters change by less.
        history_size: m.
        line_search_fn: None, or "strong_wolfe".
        maximize: climb instead of descending, along −g; in torch.optim from 2.14 on.

    Replicas are not supported: each would search for a length of its own.

    Errors: ArgumentError for a negative lr, several groups, or a step without a closure; NotImplementedError for
    parameters with replicas.

    Source: Nocedal and Wright 2006, Numerical Optimization, algorithms 7.4, 3.5 and 3.6; minFunc (Schmidt 2005) as
    torch.optim.LBFGS has it.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> p = nn.Parameter(torch.tensor([3.0, -2.0]))
        >>> optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     p.zero_grad()
        ...     p.add_grad(2 * (p.value - 1))
        ...     return (p.value - 1).square().sum()
        >>> optimizer.step(closure), p.value
        (tensor(13.), tensor([1.0000, 1.0000]))
    """

    non_negative = ("lr", "tolerance_grad", "tolerance_change")
    single = ("lr", "max_iter", "max_eval", "tolerance_grad", "tolerance_change", "history_size")
    texts = ("line_search_fn",)

    def __init__(
        self,
        params: Params,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        super().__init__(params, locals())

    def check(self, group: dict[str, Any]) -> None:
        checks.one_of("line_search_fn", group["line_search_fn"], (None, "strong_wolfe"), "LBFGS")
        for name in ("max_iter", "history_size"):
            group[name] = checks.positive_int(name, group[name], "LBFGS")
        if any(p.replicas is not None for p in group["params"]):
            raise NotImplementedError("LBFGS: parameters with replicas")

    def add_param_group(self, group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ArgumentError("one group of parameters", "two", "Pass all parameters in one group.", "LBFGS")
        super().add_param_group(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to max_iter steps; `closure` computes gradients and returns the loss, and is called many times."""
        if closure is None:
            remedy = "Pass a function that calls zero_grad, forward and backward, and returns the loss."
            raise ArgumentError("step(closure)", "step()", remedy, "LBFGS")
        group = self.param_groups[0]
        state = self.state.setdefault(group["params"][0], {"func_evals": 0, "n_iter": 0})
        first = closure()
        loss, grad = self._signed(first)
        evals = 1
        state["func_evals"] += 1
        if grad.abs().max() <= group["tolerance_grad"]:
            return first
        for last in range(group["max_iter"] - 1, -1, -1):
            state["n_iter"] += 1
            d = self._direction(state, grad, group["history_size"])
            t = group["lr"] * (min(1.0, 1 / float(grad.abs().sum())) if state["n_iter"] == 1 else 1.0)
            start = Point(0.0, loss, grad, float(grad.dot(d)))
            state |= {"d": d, "t": t, "prev_flat_grad": grad, "prev_loss": loss}
            if start.slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"] is not None:
                point, used = self._search(closure, start, t, d, group["max_eval"] - evals)
                state["t"], loss, grad = point.t, point.loss, point.grad
                self._move(d, point.t)
            else:
                self._move(d, t)
                used = int(last > 0)  # nobody needs the last gradient
                if used:
                    loss, grad = self._signed(closure())
            evals += used
            state["func_evals"] += used
            if (
                evals >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or (d * state["t"]).abs().max() <= group["tolerance_change"]
                or abs(loss - start.loss) < group["tolerance_change"]
            ):
                break
        return first

    def _direction(self, state: dict[str, Any], grad: Tensor, size: int) -> Tensor:
        """Return −H g, after the last step has gone into H."""
        if state["n_iter"] == 1:
            state |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
            return -grad
        changes, steps, rho = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        ys = float(y.dot(s))
        if ys > 1e-10:
            changes.append(y)
            steps.append(s)
            rho.append(1 / ys)
            for history in (changes, steps, rho):
                del history[:-size]
            state["H_diag"] = ys / float(y.dot(y))
        d, shares = -grad, []
        for y, s, r in zip(reversed(changes), reversed(steps), reversed(rho)):
            shares.append(share := float(s.dot(d)) * r)
            d.add_(y, alpha=-share)
        d.mul_(state["H_diag"])
        for y, s, r, share in zip(changes, steps, rho, reversed(shares)):
            d.add_(s, alpha=share - float(y.dot(d)) * r)
        return d

    def _search(self, closure: Any, start: Point, t: float, d: Tensor, most: int) -> tuple[Point, int]:
        """Search along d from the parameters' values, and leave them as they are."""
        values = [p.value.clone() for p in self.param_groups[0]["params"]]

        def at(t: float) -> Point:
            self._move(d, t)
            loss, grad = self._signed(closure())
            for p, value in zip(self.param_groups[0]["params"], values):
                p.value.copy_(value)
            return Point(t, loss, grad, float(grad.dot(d)))

        return strong_wolfe(at, start, t, float(d.abs().max()), most)

    # All parameters as one vector, in PyTorch's layout

    def _signed(self, loss: Any) -> tuple[float, Tensor]:
        """What is to be small, ±loss, and its gradient."""
        group = self.param_groups[0]
        sign = -1 if group["maximize"] else 1
        parts = [(p, torch.zeros_like(p.value) if p.grad is None else p.grad) for p in group["params"]]
        return sign * float(loss), torch.cat([turned(g, p).reshape(-1) for p, g in parts]).mul_(sign)

    def _move(self, d: Tensor, t: float) -> None:
        params = self.param_groups[0]["params"]
        for p, part in zip(params, torch.split(d, [p.numel() for p in params])):
            p.torch_value.add_(part.view(p.torch_value.shape), alpha=t)

    def dump(self, p: Parameter) -> dict[str, Any]:
        return {name: copied(value) for name, value in self.state[p].items()}

    def load(self, p: Parameter, entry: Mapping[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        if not {"func_evals", "n_iter"} <= set(entry):
            self._refuse("func_evals, n_iter and vectors", ", ".join(entry))
        state: dict[str, Any] = {name: int(entry[name]) for name in ("func_evals", "n_iter")}
        length = sum(q.numel() for q in group["params"])
        vectors = [entry[name] for name in VECTORS if name in entry]
        vectors += [v for name in HISTORIES for v in entry.get(name, [])]
        if wrong := [tuple(v.shape) for v in vectors if tuple(v.shape) != (length,)]:
            self._refuse(f"vectors of shape ({length},)", str(wrong[0]))
        state |= {name: entry[name].to(p.value, copy=True) for name in VECTORS if name in entry}
        state |= {name: [v.to(p.value, copy=True) for v in entry[name]] for name in HISTORIES if name in entry}
        state |= {name: float(entry[name]) for name in ("t", "H_diag", "prev_loss") if name in entry}
        return state | ({"ro": [float(r) for r in entry["ro"]]} if "ro" in entry else {})


def strong_wolfe(at: Callable[[float], Point], start: Point, t: float, reach: float, most: int) -> tuple[Point, int]:
    r"""Find a t where the loss f has fallen enough, and its slope f′ has flattened enough: Wolfe's conditions.

    $$f(t) \le f(0) + c_1 t f'(0), \qquad |f'(t)| \le c_2 |f'(0)|, \qquad c_1 = 10^{-4}, \; c_2 = 0.9$$

    Returns the point and the number of evaluations. `reach` is the largest entry of the direction: a bracket in which
    no parameter moves by 10⁻⁹ is not searched any further.
    """

    def high(p: Point) -> bool:
        return p.loss > start.loss + 1e-4 * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -0.9 * start.slope

    # Go on until a bracket holds such a t
    previous, point, tries = start, at(t), 0
    while tries < most:
        rose = high(point) or (tries > 1 and point.loss >= previous.loss)
        if not rose and flat(point):
            return point, tries + 1
        if rose or point.slope >= 0:
            bracket = [previous, point]
            break
        t = cubic_minimum(previous, point, point.t + 0.01 * (point.t - previous.t), 10 * point.t)
        previous, point, tries = point, at(t), tries + 1
    else:
        bracket = [start, point]

    # Narrow the bracket around it
    stuck = False
    low = 0 if bracket[0].loss <= bracket[1].loss else 1
    while tries < most and abs(bracket[1].t - bracket[0].t) * reach >= 1e-9:
        left, right = sorted(p.t for p in bracket)
        t, margin = cubic_minimum(bracket[0], bracket[1], left, right), 0.1 * (right - left)
        near = min(right - t, t - left) < margin
        if near and (stuck or t >= right or t <= left):
            t, near = (right - margin if abs(t - right) < abs(t - left) else left + margin), False
        stuck = near
        point, tries = at(t), tries + 1
        if high(point) or point.loss >= bracket[low].loss:
            bracket[1 - low] = point
            low = 0 if bracket[0].loss <= bracket[1].loss else 1
            continue
        best, bracket[low] = bracket[low], point
        if flat(point):
            break
        if point.slope * (bracket[1 - low].t - best.t) >= 0:
            bracket[1 - low] = best
    return bracket[low], tries + 1


def cubic_minimum(a: Point, b: Point, left: float, right: float) -> float:
    """Where the cubic through two points and slopes is lowest, within bounds; their middle if it has no minimum."""
    if a.t > b.t:
        a, b = b, a
    bend = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = bend * bend - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2
    root = math.sqrt(square)
    top, bottom = b.slope + root - bend, b.slope - a.slope + 2 * root
    t = b.t - (b.t - a.t) * (top / bottom if bottom else math.copysign(math.inf, top))  # a line falls for ever
    return (left + right) / 2 if math.isnan(t) else min(max(t, left), right)
