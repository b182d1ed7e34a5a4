"""Mixed: a model computed in bfloat16 whose weights stay in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from handgrad.checks import short
from handgrad.errors import DTypeError
from handgrad.nn.localresponse import LocalResponseNorm
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.running import Running
from handgrad.nn.slot import mapped
from handgrad.nn.standardised import Standardised

WIDE = (Running, Standardised, LocalResponseNorm)
"""Modules that stay in float32: what they sum over a batch would lose its digits, and running averages would stall."""


class Mixed(Module):
    r"""A copy of a model that computes in bfloat16, while values, gradients and steps are those of the model.

    Before each forward pass the copy's values are those of the model, w, rounded. Its gradients are added to the
    model's, so that small steps are not lost to rounding:

    $$y = f(x; \text{bf16}(w)), \qquad w \leftarrow w - \eta \, \text{float32}(\partial L / \partial \text{bf16}(w))$$

    Normalisations are the model's own and compute in float32, as the loss does: outputs and gradients by the input are
    float32. bfloat16 has float32's range, so no loss is scaled.

    Source: Micikevicius et al. 2018, arXiv:1710.03740; Kalamkar et al. 2019, arXiv:1905.12322.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 1))
        >>> mixed = Mixed(model)
        >>> y = mixed(torch.ones(4, 2))
        >>> _ = mixed.backward(torch.ones(4, 1))
        >>> y.dtype, model[0].weight.grad.dtype
        (torch.float32, torch.float32)
    """

    def __init__(self, model: Module, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__(replicas_of(model))
        self.dtype = dtype
        for name, p in model.named_parameters():
            if p.value.dtype is not torch.float32:
                remedy = "Call model.float(), or train in the model's own precision."
                raise DTypeError("a model of float32", f"{short(p.value.dtype)} in {name}", remedy, "Mixed")
        self.working = copy.deepcopy(model)
        self.working.forget()
        self.working.zero_grad()
        own = dict(model.named_modules())
        wide = {id(part): own[name] for name, part in self.working.named_modules() if isinstance(part, WIDE)}
        names = {id(p) for part in wide.values() for p in part.parameters()}
        pairs = zip(self.working.parameters(), model.parameters())
        self._pairs = [(copied, p) for copied, p in pairs if id(p) not in names]
        for copied, _ in self._pairs:
            copied.to(dtype=dtype)
        self._alike = [(part, own[name]) for name, part in self.working.named_modules()]
        for part in list(self.working.modules()):
            for held in (vars(part), vars(part).get("_parts", {})):
                held |= {name: Wide(wide[id(value)]) for name, value in held.items() if id(value) in wide}

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """What computes, under the names of the model's own parts, which messages tell."""
        for name, part in super().named_modules("", remove_duplicate):
            own = name.removesuffix(".module") if isinstance(part, WIDE) else name
            own = own.removeprefix("working").removeprefix(".")
            yield ".".join(filter(None, (prefix, own))), part

    def forward(self, *inputs: Tensor) -> Any:
        # what a callback may change on the way: what is frozen, modes, and numbers such as a dropout's p
        for copied, p in self._pairs:
            copied.frozen = p.frozen
        for part, own in self._alike:
            part.training = own.training and self.training
            if own.number_names:
                vars(part).update((name, getattr(own, name)) for name in own.number_names)
        if self._pairs:
            torch._foreach_copy_([copied.value for copied, _ in self._pairs], [p.value for _, p in self._pairs])
        return _as(torch.float32, self.working(*_as(self.dtype, inputs)))

    def backward(self, dy: Any) -> Any:
        dx = self.working.backward(_as(self.dtype, dy))
        self._hand_over()
        return _as(torch.float32, dx)

    def backward_parameters(self, dy: Any) -> None:
        self.working.backward_parameters(_as(self.dtype, dy))
        self._hand_over()

    def _hand_over(self) -> None:
        """Add the copy's gradients to the model's."""
        for copied, p in self._pairs:
            if copied.grad is not None:
                p.add_grad(copied.grad.to(p.value.dtype))
                copied.zero_grad()


class Wide(Module):
    """A module that computes in the dtype of its parameters, between neighbours of another."""

    def __init__(self, module: Module) -> None:
        super().__init__(module.replicas)
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x.float())
        return self.keep(y.to(x.dtype), x.dtype)

    def backward(self, dy: Tensor) -> Tensor:
        (dtype,) = self.take(dy)
        dx: Tensor = self.module.backward(dy.float())
        return dx.to(dtype)


def _as(dtype: torch.dtype, value: Any) -> Any:
    """A tensor, or several, in another floating-point dtype; indices as they are."""

    def one(v: Any) -> Any:
        return v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v

    return mapped(one, value)
