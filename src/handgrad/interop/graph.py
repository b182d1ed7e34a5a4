"""Graph: an ONNX graph while it is written, and the table of how each module is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handgrad import checks, nn
from handgrad.errors import HandgradError, UnsupportedError
from handgrad.nn.parameter import Parameter
from handgrad.optional import require

OPSET, IR = 20, 9
"""Of ONNX 1.15, which onnxruntime reads from 1.17 on."""


class Value(NamedTuple):
    """A tensor in the graph: its name, and what it is for the example input, whose rank and sizes decide the nodes."""

    name: str
    like: Tensor


Writer = Callable[..., Any]
"""Writes a module's nodes for its input values and returns the names of its outputs, or their values, nested alike."""

WRITERS: dict[type[nn.Module], Writer] = {}
"""Every module that can be exported."""


def writes(*kinds: type[nn.Module]) -> Callable[[Writer], Writer]:
    """Enter a function into the table for these classes."""

    def enter(writer: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(kinds, writer))
        return writer

    return enter


class Graph:
    """Nodes and constants, in the order in which they are written."""

    def __init__(self) -> None:
        self.onnx = require("onnx", "interop")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.path = ""
        self._names: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """A name that nothing has yet, from that of the module and a word."""
        full = f"{self.path}.{name}" if self.path else name
        count = self._names[full] = self._names.get(full, 0) + 1
        return full if count == 1 else f"{full}_{count}"

    def op(self, kind: str, *inputs: str | Value | Tensor | list[int], **attributes: Any) -> str:
        """Write a node of one output and return its name; tensors and lists of integers become constants."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str | Value | Tensor | list[int], **attributes: Any) -> list[str]:
        """Write a node of several outputs; an input "" is left out."""
        names = [self._name(value) for value in inputs]
        made = [self.fresh(kind) for _ in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, names, made, name=made[0], **attributes))
        return made

    def _name(self, value: str | Value | Tensor | list[int]) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, Value):
            return value.name
        if isinstance(value, list):
            return self.constant("sizes", torch.tensor(value, dtype=torch.int64))
        return self.constant("constant", value)

    def constant(self, name: str, value: Tensor | Parameter) -> str:
        """Keep a tensor, such as a weight, and return its name."""
        tensor = value.value if isinstance(value, Parameter) else value
        name = self.fresh(name)
        array = tensor.detach().cpu().contiguous().numpy()
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float32)

    # Nodes that several modules need

    def reshape(self, x: str | Value, sizes: list[int]) -> str:
        """0 keeps a size, −1 is what is left."""
        return self.op("Reshape", x, sizes)

    def swap(self, x: str | Value, *order: int) -> str:
        return self.op("Transpose", x, perm=list(order))

    def affine(self, x: str | Value, weight: Parameter, bias: Parameter | None) -> str:
        """x W + b with W (I, O)."""
        y = self.op("MatMul", x, self.constant("weight", weight.matrix))
        return y if bias is None else self.op("Add", y, self.constant("bias", bias))

    def standardised(self, x: str | Value, axes: list[int], eps: float, centred: bool = True) -> str:
        """(x − µ) / √(σ² + ε) over these dimensions; without µ, x over the root of its mean square."""
        d = self.op("Sub", x, self.op("ReduceMean", x, axes)) if centred else x
        var = self.op("ReduceMean", self.op("Mul", d, d), axes)
        return self.op("Div", d, self.op("Sqrt", self.op("Add", var, self.number(eps))))

    def scaled(self, x: str, weight: Parameter | None, bias: Parameter | None, dims: int) -> str:
        """γ x + β for what has C before the last `dims` dimensions."""
        for kind, parameter in (("Mul", weight), ("Add", bias)):
            if parameter is not None:
                column = parameter.value.reshape(-1, *[1] * dims)
                x = self.op(kind, x, self.constant("weight" if kind == "Mul" else "bias", column))
        return x

    # Modules

    def module(self, module: nn.Module, name: str, *inputs: Any) -> Any:
        """Write a module's nodes and return its output values; `name` is its container's for it."""
        outer, self.path = self.path, f"{self.path}.{name}" if self.path and name else self.path or name
        try:
            writer = WRITERS.get(type(module))
            if writer is None or "forward" in vars(module):
                remedy = "Join its parts by nn.Sequential, Residual or Parallel instead, or export those alone."
                got = checks.kind(module)
                raise UnsupportedError("a module that ONNX has operators for", got, remedy, module.label)
            written = writer(self, module, *inputs)
            names = list(_leaves(written))
            if all(isinstance(leaf, Value) for leaf in names):
                return written
            return _paired(written, module(*_examples(inputs)))
        except HandgradError as error:
            raise error.inside(name)  # noqa: B904  (the same error, with its place)
        finally:
            self.path = outer


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple) and not isinstance(tree, Value):
        for branch in tree:
            yield from _leaves(branch)
    elif tree is not None:
        yield tree


def _examples(tree: Any) -> Any:
    if isinstance(tree, Value):
        return tree.like
    return tuple(_examples(branch) for branch in tree) if isinstance(tree, tuple) else tree


def _paired(names: Any, examples: Any) -> Any:
    if isinstance(names, tuple):
        return tuple(_paired(name, example) for name, example in zip(names, examples, strict=True))
    return Value(names, examples)
