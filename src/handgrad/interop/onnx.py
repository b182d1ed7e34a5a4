"""to_onnx: networks as ONNX models, written node by node with onnx.helper."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgrad import __version__, nn
from handgrad.checks import short
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.files import write_atomically
from handgrad.interop import onnx_layers, onnx_sequences, onnx_windows
from handgrad.interop.graph import IR, OPSET, WRITERS, Graph, Value
from handgrad.nn.numbers import replicas_of
from handgrad.nn.slot import mapped

TYPES = {torch.float32: "FLOAT", torch.int64: "INT64", torch.int32: "INT32"}
BatchDim = int | None | tuple[int | None, ...]

__all__ = ["WRITERS", "onnx_layers", "onnx_sequences", "onnx_windows", "to_onnx"]


def to_onnx(model: nn.Module, path: str | os.PathLike[str], example_input: Any, batch_dim: BatchDim = 0) -> Path:
    """Write a network, in evaluation, to an .onnx file for onnxruntime and others; the file is checked, and whole.

    The inputs are called "input", "input_1", …, the outputs "output", "output_1", …, and the size of `batch_dim` is
    free; all others are those of the example. With R replicas the model is their ensemble: they share the input, and
    outputs lead with R. For one of them export `model.replica(r)`.

    Args:
        model: of parts that ONNX has operators for; float32.
        path: of the file.
        example_input: a tensor as the model takes it (without R), or a tuple of several inputs, nested as forward's.
        batch_dim: the dimension of N, from behind if negative: 1 for sequences without batch_first, None where there
            is none; or a tuple of those of all inputs where they differ, as for a batch_first layer and its state.

    Errors: UnsupportedError, with its path, for a module that has no counterpart in ONNX; DTypeError for other numbers
    than float32; ArgumentError for another count of batch_dim than of inputs, ShapeError where an example has no sample
    in it, or the graph depends on the size of batch_dim; errors of forward for an example that does not fit.

    Example:
        >>> import tempfile, torch
        >>> from handgrad import nn
        >>> from handgrad.interop import to_onnx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_onnx(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), f"{folder}/model.onnx", torch.zeros(1, 3))
        ...     path.name
        'model.onnx'
    """
    given_model: object = model
    if not isinstance(given_model, nn.Module):
        raise DTypeError("a handgrad module", type(given_model).__name__, "Convert it with from_torch.", "to_onnx")
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point and value.dtype is not torch.float32:
            remedy = "Export a copy in float32: copy.deepcopy(model).float()."
            raise DTypeError("a network of float32", f"{short(value.dtype)} in {name}", remedy, "to_onnx")
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    if not any(True for _ in _leaves(inputs)):
        raise DTypeError("an example input", "none", "Pass what the network takes: a tensor, or several.", "to_onnx")
    for x in _leaves(inputs):
        if not isinstance(x, Tensor) or x.dtype not in TYPES:
            got = short(x.dtype) if isinstance(x, Tensor) else type(x).__name__
            remedy = "Convert the example with torch.as_tensor(…).float(), or .long() for indices."
            raise DTypeError("an example of tensors of float32, int64 or int32", got, remedy, "to_onnx")
    dims = _batch_dims(batch_dim, list(_leaves(inputs)))
    R = replicas_of(model)
    networks = [copy.deepcopy(model)] if R is None else [model.replica(r) for r in range(R)]
    graph, twin, names, again = Graph(), Graph(), _numbered("input"), _numbered("input")
    with torch.no_grad():
        given = mapped(lambda x: Value(next(names), x), inputs)
        each = [
            graph.module(network.eval(), f"replica{r}" if R is not None else "", *given)
            for r, network in enumerate(networks)
        ]
        more = (_longer(v.like, dim) for v, dim in zip(_leaves(given), dims))
        longer = mapped(lambda _: Value(next(again), next(more)), inputs)
        larger = twin.module(networks[0], "" if R is None else "replica0", *longer)
    if [*twin.nodes, *twin.constants] != [*graph.nodes[: len(twin.nodes)], *graph.constants[: len(twin.constants)]]:
        remedy = "Name the dimension of N, such as 1 for sequences without batch_first, or pass None."
        got = f"{batch_dim}, on whose size positions, a mask or the like depend"
        raise ShapeError("batch_dim to count samples", got, remedy, "to_onnx")
    outputs = [list(_leaves(one)) for one in each]
    declared = []
    for name, same, other in zip(_numbered("output"), zip(*outputs), _leaves(larger)):
        like = same[0].like
        sizes = enumerate(zip(like.shape, other.like.shape, strict=True))
        # what grows by more than the one sample is free, too, but no number of samples
        shape: list[Any] = [n if m == n else "N" if m == n + 1 else f"{name}_{dim}" for dim, (n, m) in sizes]
        if R is None:
            graph.nodes.append(graph.onnx.helper.make_node("Identity", [same[0].name], [name], name=name))
        else:
            rows = [graph.op("Unsqueeze", value, [0]) for value in same]
            graph.nodes.append(graph.onnx.helper.make_node("Concat", rows, [name], name=name, axis=0))
            shape = [R, *shape]
        declared.append(_declared(graph, name, like.dtype, shape))
    entries = [_declared(graph, v.name, v.like.dtype, _free(v.like, dim)) for v, dim in zip(_leaves(given), dims)]
    return write_atomically(path, _checked(graph, entries, declared).SerializeToString())


def _checked(graph: Graph, inputs: list[Any], outputs: list[Any]) -> Any:
    helper = graph.onnx.helper
    whole = helper.make_graph(graph.nodes, "handgrad", inputs, outputs, graph.constants)
    made = helper.make_model(
        whole,
        producer_name="handgrad",
        producer_version=__version__,
        ir_version=IR,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    graph.onnx.checker.check_model(made, full_check=True)
    return made


def _declared(graph: Graph, name: str, dtype: torch.dtype, shape: list[Any]) -> Any:
    return graph.onnx.helper.make_tensor_value_info(name, getattr(graph.onnx.TensorProto, TYPES[dtype]), shape)


def _free(x: Tensor, batch_dim: int | None) -> list[Any]:
    return ["N" if dim == batch_dim else n for dim, n in enumerate(x.shape)]


def _batch_dims(batch_dim: BatchDim, examples: list[Tensor]) -> list[int | None]:
    """For each input the dimension that counts its samples, from 0, or None."""
    dims = batch_dim if isinstance(batch_dim, tuple) else (batch_dim,) * len(examples)
    if len(dims) != len(examples) or not all(dim is None or type(dim) is int for dim in dims):
        expected = f"batch_dim to be None, an integer, or a tuple of them for inputs: {len(examples)}"
        raise ArgumentError(expected, repr(batch_dim), "Pass batch_dim=0, say.", "to_onnx")
    return [None if dim is None else _counted(x, dim) for x, dim in zip(examples, dims)]


def _counted(x: Tensor, dim: int) -> int:
    if not -x.ndim <= dim < x.ndim or not x.shape[dim]:
        remedy = "Give an example with a batch of at least one, and name its dimension as batch_dim."
        raise ShapeError(f"an example with samples in dimension {dim}", str(tuple(x.shape)), remedy, "to_onnx")
    return dim % x.ndim


def _longer(x: Tensor, batch_dim: int | None) -> Tensor:
    """The example with one more sample, which tells the dimensions of outputs that count samples."""
    return x if batch_dim is None else torch.cat([x, x.narrow(batch_dim, 0, 1)], batch_dim)


def _numbered(word: str) -> Iterator[str]:
    yield word
    count = 0
    while True:
        count += 1
        yield f"{word}_{count}"


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple) and not isinstance(tree, Value):
        for branch in tree:
            yield from _leaves(branch)
    else:
        yield tree
