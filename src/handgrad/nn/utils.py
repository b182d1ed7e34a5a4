"""What training does to gradients and parameters as a whole, under PyTorch's names: `nn.utils`.

With replicas all of it is per replica: R norms, R bounds, R vectors. What is not finite in one stays in that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, DTypeError, ShapeError, StateError
from handgrad.nn.constants import Number, clip_, each
from handgrad.nn.parameter import Parameter

SMALL = 2**14
"""Tensors of up to so many elements are joined before their norm is taken; above, the copy costs more than the call."""


def get_total_norm(
    tensors: Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    replicas: int | None = None,
) -> Tensor:
    r"""Return the norm of all numbers of all tensors, as if they were one vector: $\|g\|_p = (\sum |g_i|^p)^{1/p}$.

    Args:
        tensors: of any shapes; none have norm 0.
        norm_type: p, above 0, up to infinity.
        error_if_nonfinite: raise instead of returning a norm that is infinite or NaN.
        replicas: R; the tensors then lead with it, and R norms come back.

    Errors: ArgumentError for another p; StateError for a norm that is not finite, where asked for.

    Source: torch.nn.utils.get_total_norm.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([[4.0]])])
        tensor(5.)
    """
    p = float(norm_type)
    if not p > 0:
        raise ArgumentError("norm_type above 0", str(norm_type), "Pass norm_type=2.0, say.", "get_total_norm")
    rows = [t.reshape(replicas or 1, -1) for t in tensors]  # (R, P)
    if not rows:
        return torch.zeros(() if replicas is None else replicas)
    large = [row for row in rows if row.numel() > SMALL]
    small = [row for row in rows if row.numel() <= SMALL]
    norms = [torch.linalg.vector_norm(row, p, 1) for row in large]  # (R,)
    if small:
        norms.append(torch.linalg.vector_norm(torch.cat(small, 1), p, 1))
    total: Tensor = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), p, 0)
    if replicas is None:
        total = total[0]
    if error_if_nonfinite and not bool(total.isfinite().all()):
        remedy = "Look for the cause, or pass error_if_nonfinite=False: other replicas are not affected."
        raise StateError(f"a finite norm of order {p:g}", str(total.tolist()), remedy, "get_total_norm")
    return total


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: Number,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    r"""Scale the gradients down in place if their norm is too large; return the norm that they had, or R of them.

    $$g \leftarrow g \cdot \min\left( 1, \frac{\text{max\_norm}}{\|g\|_p + 10^{-6}} \right)$$

    Args:
        parameters: one, or several; those without a gradient are left out.
        max_norm: one number or R.
        norm_type: p, above 0, up to infinity.
        error_if_nonfinite: raise, and scale nothing, if a norm is infinite or NaN.

    Errors: ArgumentError for a negative max_norm, another p, R numbers for another number of replicas, or parameters
    of different numbers; StateError for a norm that is not finite, where asked for.

    Source: Pascanu et al. 2013, arXiv:1211.5063, as torch.nn.utils.clip_grad_norm_ has it.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> p = nn.Parameter(torch.zeros(2), replicas=2)
        >>> p.add_grad(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
        >>> nn.utils.clip_grad_norm_([p], max_norm=1.0)
        tensor([5.0000, 0.5000])
        >>> p.grad
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
    """
    grads, replicas = _gradients(parameters, "clip_grad_norm_")
    max_norm = bound("max_norm", max_norm, replicas, "clip_grad_norm_")
    total = get_total_norm(grads, norm_type, error_if_nonfinite, replicas=replicas)
    _scale_(grads, max_norm, total, replicas)
    return total


def clip_grads_with_norm_(parameters: Parameter | Iterable[Parameter], max_norm: Number, total_norm: Tensor) -> None:
    """Scale the gradients down as `clip_grad_norm_` does, given their norm, or R of them.

    Errors: ArgumentError for a negative max_norm, R numbers for another number of replicas, or parameters of different
    numbers.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> p = nn.Parameter(torch.zeros(2))
        >>> p.add_grad(torch.tensor([3.0, 4.0]))
        >>> nn.utils.clip_grads_with_norm_([p], 1.0, total_norm=torch.tensor(50.0)); p.grad
        tensor([0.0600, 0.0800])
    """
    grads, replicas = _gradients(parameters, "clip_grads_with_norm_")
    _scale_(grads, bound("max_norm", max_norm, replicas, "clip_grads_with_norm_"), total_norm, replicas)


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: Number) -> None:
    r"""Bring every number of the gradients into [−clip_value, clip_value], in place.

    Args:
        parameters: one, or several; those without a gradient are left out.
        clip_value: one number or R.

    Errors: ArgumentError for a negative clip_value, R numbers for another number of replicas, or parameters of
    different numbers.

    Source: torch.nn.utils.clip_grad_value_.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> p = nn.Parameter(torch.zeros(3))
        >>> p.add_grad(torch.tensor([-5.0, 0.1, 5.0]))
        >>> nn.utils.clip_grad_value_(p, 1.0); p.grad
        tensor([-1.0000,  0.1000,  1.0000])
    """
    grads, replicas = _gradients(parameters, "clip_grad_value_")
    value = bound("clip_value", clip_value, replicas, "clip_grad_value_")
    if grads:
        clip_(grads, -value, value)


def parameters_to_vector(parameters: Iterable[Parameter]) -> Tensor:
    """Return all values as one vector (P,), or (R, P), in PyTorch's order and layout.

    Errors: ArgumentError for no parameters, or parameters of different numbers of replicas.

    Source: torch.nn.utils.parameters_to_vector.

    Example:
        >>> from handgrad import nn
        >>> nn.utils.parameters_to_vector(nn.Linear(2, 3, replicas=5).parameters()).shape
        torch.Size([5, 9])
    """
    given, replicas = _several(parameters, "parameters_to_vector")
    if not given:
        raise ArgumentError("at least one parameter", "none", "Pass model.parameters().", "parameters_to_vector")
    rows = torch.cat([p.torch_value.reshape(replicas or 1, -1) for p in given], 1)  # (R, P)
    return rows if replicas is not None else rows[0]


def vector_to_parameters(vec: Tensor, parameters: Iterable[Parameter]) -> None:
    """Copy what `parameters_to_vector` returned, or a vector like it, into the parameters.

    Errors: DTypeError for what is not a tensor, ShapeError for a vector of another shape, ArgumentError for parameters
    of different numbers of replicas.

    Source: torch.nn.utils.vector_to_parameters.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> linear = nn.Linear(2, 1)
        >>> nn.utils.vector_to_parameters(torch.tensor([1.0, 2.0, 3.0]), linear.parameters())
        >>> linear.bias.value
        tensor([3.])
    """
    given, replicas = _several(parameters, "vector_to_parameters")
    checks.tensor(vec, "vector_to_parameters", "vector")
    P = sum(p.numel() for p in given) // (replicas or 1)
    shape = (P,) if replicas is None else (replicas, P)
    if vec.shape != shape:
        remedy = "Pass a vector like the one that parameters_to_vector returns."
        raise ShapeError(f"a vector of shape {shape}", str(tuple(vec.shape)), remedy, "vector_to_parameters")
    parts = torch.split(vec, [p.numel() // (replicas or 1) for p in given], -1)
    for p, part in zip(given, parts):
        p.torch_value.copy_(part.reshape(p.torch_value.shape))


def _scale_(grads: list[Tensor], max_norm: float | Tensor, total: Tensor, replicas: int | None) -> None:
    """Multiply the gradients by max_norm / (total + 1e-6), but not by more than 1."""
    if not grads:
        return
    most = max_norm.to(total) if isinstance(max_norm, Tensor) else max_norm
    coefficient = (most / (total + 1e-6)).clamp_(max=1.0)
    torch._foreach_mul_(grads, coefficient if replicas is None else each(coefficient, grads))


def _several(parameters: Parameter | Iterable[Parameter], where: str) -> tuple[list[Parameter], int | None]:
    """The parameters as a list, and the number of replicas that all of them have."""
    given: list[Any] = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    for p in given:
        if not isinstance(p, Parameter):
            remedy = "Pass model.parameters() of a handgrad network."
            raise DTypeError("parameters of type handgrad.nn.Parameter", type(p).__name__, remedy, where)
    counts = {p.replicas for p in given}
    if len(counts) > 1:
        remedy = "Treat networks of different numbers of replicas one after another."
        raise ArgumentError("parameters of one number of replicas", ", ".join(map(str, counts)), remedy, where)
    return given, next(iter(counts), None)


def _gradients(parameters: Parameter | Iterable[Parameter], where: str) -> tuple[list[Tensor], int | None]:
    """The gradients that there are, and the number of replicas."""
    given, replicas = _several(parameters, where)
    return [p.grad for p in given if p.grad is not None], replicas


def bound(name: str, value: Number, replicas: int | None, where: str) -> float | Tensor:
    """Return one number, or R as a tensor, if none is negative."""
    found = torch.as_tensor(value, dtype=torch.float64) if isinstance(value, (Sequence, Tensor)) else value
    checks.at_least(name, found, 0, where)
    if isinstance(found, Tensor) and found.shape != (() if replicas is None else (replicas,)) and found.ndim:
        got = f"{tuple(found.shape)} for parameters with replicas={replicas}"
        remedy = f"Give one number for {name}, or one for each replica."
        raise ArgumentError(f"{name} to be one number or R of them", got, remedy, where)
    return found if isinstance(found, Tensor) and found.ndim else float(found)
