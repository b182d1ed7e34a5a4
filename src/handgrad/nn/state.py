"""How a state fits a network, before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handgrad.checks import short
from handgrad.errors import StateError


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` did not find, and did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def matched(own: Mapping[str, Tensor], state: Any, strict: bool) -> LoadResult:
    """Compare a network's own state with one that is to be loaded.

    Errors: StateError lists all that is misshapen and, if `strict`, all that is missing or unexpected.
    """
    if not isinstance(state, Mapping):
        remedy = "Pass what state_dict() returned, or handgrad.tensorfile.load_tensors(path)[0]."
        raise StateError("tensors by name", type(state).__name__, remedy, "load_state_dict")
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    wrong = []
    for name, value, new in [(name, value, state[name]) for name, value in own.items() if name in state]:
        if not isinstance(new, Tensor):
            wrong.append(f"{name} is a {type(new).__name__} instead of a tensor")
        elif not _numbers(new, value.dtype):
            wrong.append(f"{name} is nested" if new.is_nested else f"{name} has no numbers, but {short(new.dtype)}")
        elif new.shape != value.shape:
            wrong.append(f"{name} has shape {tuple(new.shape)} instead of {tuple(value.shape)}")
        elif new.layout is not torch.strided:
            wrong.append(f"{name} is not dense")
        elif new.is_meta or new.is_complex():
            wrong.append(f"{name} {'has no numbers' if new.is_meta else 'is complex'}")
    if wrong or (strict and (missing or unexpected)):
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"unexpected: {', '.join(map(str, unexpected))}"] if unexpected else []
        parts += [f"misshapen: {'; '.join(wrong)}"] if wrong else []
        remedy = "Nothing was loaded. Build the same network as the one that was saved"
        remedy += ", or pass strict=False to skip names that do not match." if not wrong else "."
        raise StateError(f"the {len(own)} entries of this network", "; ".join(parts), remedy, "load_state_dict")
    return LoadResult(missing, unexpected)


def _numbers(new: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor can be copied into one of this dtype, which those of packed or quantized numbers cannot."""
    try:
        return not new.is_nested and not new.is_quantized and torch.empty(0, dtype=new.dtype).to(dtype).dtype is dtype
    except (RuntimeError, TypeError):
        return False
