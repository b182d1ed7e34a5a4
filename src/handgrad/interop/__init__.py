"""Exchange with other frameworks: torch.nn in both directions, ONNX out."""

from handgrad.interop.onnx import to_onnx
from handgrad.interop.pytorch import from_torch, to_torch

__all__ = ["from_torch", "to_onnx", "to_torch"]
