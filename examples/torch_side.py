"""torch.nn with the few modules that it lacks: the same lines build a problem's network on both sides."""

from __future__ import annotations

from typing import Any

import torch

from handgrad.interop import modules

OWN = ("Residual", "First", "Select", "Transpose", "PositionalEmbedding", "TransformerEncoderLayer")


class Namespace:
    """torch.nn, and in its own modules what stands above."""

    def __getattr__(self, name: str) -> Any:
        return getattr(modules if name in OWN else torch.nn, name)
