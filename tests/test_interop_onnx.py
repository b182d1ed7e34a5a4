"""ONNX models are checked, and compute in onnxruntime what the networks do: for every row of the table."""

from __future__ import annotations

import copy
import importlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from handgrad import nn
from handgrad.architecture import CLASSES
from handgrad.errors import DTypeError, HandgradError, ShapeError, UnsupportedError
from handgrad.interop import from_torch, to_onnx, to_torch
from handgrad.interop.graph import WRITERS
from handgrad.saving import load, save
from tests.cases import CASES, Case, each, explains, ids, leaves, network
from tests.cases.containers import Stack
from tests.test_interop_torch import opened
from tests.test_saving import filled

onnxruntime: Any = importlib.import_module("onnxruntime")  # which has no types


def exported(case: Case) -> bool:
    """Losses, a class of the user's own, and rows whose forward has options, such as masks, stay here."""
    module = case.ours()
    return not isinstance(module, (nn.Loss, Stack)) and "forward" not in vars(module)


ROWS = [case for case in CASES if exported(case)]


def run(path: Path, *inputs: Tensor) -> list[Tensor]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    fed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return [torch.from_numpy(np.asarray(y)) for y in session.run(None, fed)]


def batch_dims(module: Any, inputs: list[Any]) -> Any:
    """Where each tensor counts its samples: behind the steps of a sequence, unless batch_first."""
    inner = getattr(module, "module", module)
    attending = isinstance(inner, (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer))
    sequence = attending or isinstance(inner, (nn.RNN, nn.GRU, nn.LSTM))
    batch_first = getattr(inner, "batch_first", getattr(getattr(inner, "self_attn", None), "batch_first", False))
    first = 1 if sequence and not batch_first else 0
    tensors = leaves(inputs)
    later = 1 if sequence and not attending else first  # states
    return tuple([first] + [later] * (len(tensors) - 1))


@pytest.mark.parametrize("case", ROWS, ids=ids(ROWS))
def test_every_row_computes_the_same(case: Case, tmp_path: Path) -> None:
    ours = filled(case.ours()).eval()
    for shape in case.shapes:
        inputs = case.inputs(shape)
        if any(x.numel() == 0 for x in leaves(inputs)):  # there is no sample to begin with
            continue
        dims = batch_dims(ours, inputs)
        free = shape in case.batched() and case.name not in NO_BATCH and all(x.ndim for x in leaves(inputs))
        path = to_onnx(ours, tmp_path / "model.onnx", tuple(inputs), dims if free else None)
        assert_equal(ours, path, inputs)
        if free:
            more = iter([torch.cat([x, x.narrow(dim, 0, 1)], dim) for x, dim in zip(leaves(inputs), dims)])
            assert_equal(ours, path, each(lambda _: next(more), inputs))  # noqa: B023


NO_BATCH = {"PositionalEncoding", "Unflatten-list", "Unflatten-last"}
"""Rows of shapes of which the first dimension counts no samples."""


def assert_equal(ours: nn.Module, path: Path, inputs: list[Any]) -> None:
    expected = leaves(ours(*inputs))
    for y, right in zip(run(path, *leaves(inputs)), expected, strict=True):
        torch.testing.assert_close(y, right, rtol=1e-5, atol=1e-5)


PARTS: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(4, 4),
    lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.GELU(), nn.Linear(6, 4)),
    lambda: nn.BatchNorm1d(4),
    lambda: nn.Sequential(OrderedDict(up=nn.Unflatten(1, (2, 2)), turn=nn.Transpose(1, 2), down=nn.Flatten())),
    lambda: nn.Sequential(nn.Permute(1, 0), nn.Permute(1, 0)),
    lambda: nn.First(nn.Parallel(nn.LayerNorm(4), nn.Tanh())),
    lambda: nn.Dropout(0.5),
]
NETWORKS = st.recursive(
    st.sampled_from(PARTS).map(lambda make: make()),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: nn.Sequential(*parts)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: nn.Residual(*parts)),
        inner.map(lambda part: nn.Sequential(nn.Concat(part, nn.SiLU()), nn.Linear(8, 4))),
    ),
    max_leaves=6,
)


@given(NETWORKS, st.integers(1, 3))
def test_networks_of_any_shape_go_everywhere(
    tmp_path_factory: pytest.TempPathFactory, model: nn.Module, R: int
) -> None:
    """To a file, to torch.nn and back, and to ONNX, as an ensemble: one network in four forms."""
    folder, x = tmp_path_factory.mktemp("any"), torch.randn(5, 4)
    ours = filled(nn.replicate(copy.deepcopy(model), range(R))).eval()
    y = ours(x.unsqueeze(0))
    torch.testing.assert_close(load(save(ours, folder / "m"))(x.unsqueeze(0)), y, rtol=0, atol=0)
    alone = [ours.replica(r) for r in range(R)]
    back = from_torch([to_torch(one) for one in alone])
    torch.testing.assert_close(back(x.unsqueeze(0)), y)
    (stacked,) = run(to_onnx(ours, folder / "m.onnx", x), x)
    torch.testing.assert_close(stacked, torch.stack([one(x) for one in alone]), rtol=1e-5, atol=1e-5)


def test_every_class_is_exported_or_known_not_to_be() -> None:
    without = {name for name, kind in CLASSES.items() if kind not in WRITERS and not issubclass(kind, nn.Loss)}
    assert without == {"Module", "Elementwise", "Random", "LinearChain", "AveragedModel"}
    rows = {type(part) for case in ROWS for part in case.ours().modules()} | {nn.ModuleList, nn.ModuleDict}
    assert set(WRITERS) <= rows


def test_training_mode_and_the_slot_stay(tmp_path: Path) -> None:
    model = nn.Sequential(network(), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(5, 3)
    path = to_onnx(model, tmp_path / "m.onnx", x)
    assert all(part.training and part.kept is None for part in model.modules())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert_equal(model.eval(), path, [x])


def test_replicas_are_an_ensemble(tmp_path: Path) -> None:
    model = nn.replicate(nn.Sequential(network(), nn.Parallel(nn.Tanh(), nn.Linear(2, 4))), seeds=[1, 2, 3]).eval()
    x = torch.randn(5, 3)
    path = to_onnx(model, tmp_path / "m.onnx", x)
    assert_equal(model, path, [x])
    assert_equal(model, path, [torch.randn(9, 3)])
    shapes = [[d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in onnx.load(path).graph.output]
    assert shapes == [[3, "N", 2], [3, "N", 4]]
    one = to_onnx(model.replica(1), tmp_path / "one.onnx", x)
    torch.testing.assert_close(run(one, x)[0], model(x)[0][1], rtol=1e-5, atol=1e-5)


def test_the_file_is_readable(tmp_path: Path) -> None:
    path = to_onnx(network().eval(), tmp_path / "deep" / "m.onnx", torch.zeros(1, 3))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.opset_import[0].version) == ("handgrad", 20)
    assert [entry.name for entry in model.graph.input] == ["input"]
    assert [entry.name for entry in model.graph.output] == ["output"]
    assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= {value.name for value in model.graph.initializer}
    names = [name for node in model.graph.node for name in node.output]
    assert len(set(names)) == len(names)


def test_several_inputs_have_names(tmp_path: Path) -> None:
    layer, x, h, c = nn.LSTM(3, 4), torch.randn(6, 2, 3), torch.randn(1, 2, 4), torch.randn(1, 2, 4)
    path = to_onnx(layer, tmp_path / "m.onnx", (x, (h, c)), batch_dim=1)
    graph = onnx.load(path).graph
    assert [entry.name for entry in graph.input] == ["input", "input_1", "input_2"]
    assert [entry.name for entry in graph.output] == ["output", "output_1", "output_2"]
    more = [torch.cat([part] * 4, 1) for part in (x, h, c)]
    assert_equal(layer, path, [more[0], (more[1], more[2])])


def test_causal_and_other_activations(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, activation=nn.SiLU(), batch_first=True, is_causal=True)
    model = nn.Sequential(nn.Embedding(9, 6), nn.PositionalEmbedding(7, 6), nn.TransformerEncoder(layer, 2)).eval()
    tokens = torch.randint(9, (4, 5))
    path = to_onnx(model, tmp_path / "m.onnx", tokens)
    assert_equal(model, path, [tokens])
    assert_equal(model, path, [torch.randint(9, (11, 5))])


@pytest.mark.parametrize("batch_first", [True, False])
def test_causal_without_a_batch(batch_first: bool, tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=batch_first, is_causal=True).eval()
    x = torch.randn(4, 6)
    assert_equal(layer, to_onnx(layer, tmp_path / "m.onnx", x, batch_dim=None), [x])


ACTIVATIONS = [case for case in ROWS if isinstance(case.ours(), nn.Elementwise)]
WILD = [-torch.inf, -1e30, -100.0, -0.5, -0.0, 0.0, 0.5, 1.0, 100.0, 1e30, torch.inf, torch.nan]


@pytest.mark.parametrize("case", ACTIVATIONS, ids=ids(ACTIVATIONS))
def test_activations_of_anything(case: Case, tmp_path: Path) -> None:
    ours, x = case.ours().eval(), torch.tensor([WILD])
    path = to_onnx(ours, tmp_path / "model.onnx", x)
    torch.testing.assert_close(run(path, x)[0], ours(x), rtol=1e-5, atol=1e-5, equal_nan=True)


def declared(entry: Any) -> list[Any]:
    return [size.dim_param or size.dim_value for size in entry.type.tensor_type.shape.dim]


def test_a_batch_dimension_from_behind(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    path = to_onnx(model, tmp_path / "m.onnx", torch.zeros(1, 3), batch_dim=-2)
    assert_equal(model, path, [torch.randn(9, 3)])


@pytest.mark.parametrize("dims", [(0, 0), (), "N", True, -3, 2, 0.5], ids=str)
def test_batch_dimensions_that_do_not_fit(tmp_path: Path, dims: Any) -> None:
    with pytest.raises(HandgradError, match="batch_dim") as raised:
        to_onnx(nn.Tanh(), tmp_path / "m.onnx", torch.zeros(1, 3), batch_dim=dims)
    assert explains(raised.value)


@pytest.mark.parametrize(
    ("model", "shape", "dim"),
    [
        (nn.PositionalEmbedding(8, 4), (1, 4), 0),
        (nn.Sequential(nn.Linear(4, 4), nn.PositionalEncoding(4)), (2, 4), 0),
        (nn.replicate(nn.TransformerEncoderLayer(4, 2, 5, is_causal=True), range(2)), (1, 2, 4), 0),
        (nn.MaxPool2d(2, ceil_mode=True), (1, 1, 4, 5), 2),
    ],
)
def test_a_dimension_on_whose_size_the_graph_depends_is_not_free(
    model: nn.Module, shape: tuple[int, ...], dim: int, tmp_path: Path
) -> None:
    with pytest.raises(ShapeError, match="expected batch_dim to count samples, got") as raised:
        to_onnx(model, tmp_path / "model.onnx", torch.randn(shape), dim)
    assert explains(raised.value)
    to_onnx(model, tmp_path / "model.onnx", torch.randn(shape), None)


def test_samples_and_steps_in_one_dimension_are_not_called_samples(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(0, 1), nn.Linear(3, 2))
    path = to_onnx(model, tmp_path / "m.onnx", torch.zeros(1, 4, 3))
    graph = onnx.load(path).graph
    assert declared(graph.input[0]) == ["N", 4, 3]
    assert declared(graph.output[0]) == ["output_0", 2]
    assert_equal(model, path, [torch.randn(5, 4, 3)])


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True, is_causal=True), (2, 3, 6)),
        (nn.AvgPool2d(2, divisor_override=3), (2, 3, 4, 4)),
        (nn.Sequential(nn.LocalResponseNorm(2), nn.Hardtanh(), nn.Softplus(), nn.BatchNorm1d(3)), (2, 3, 4)),
    ],
    ids=["attention", "pool", "others"],
)
def test_another_default_dtype(tmp_path: Path, model: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    torch.set_default_dtype(torch.float64)
    try:
        path = to_onnx(model, tmp_path / "m.onnx", x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_equal(model.eval(), path, [x])


class Own(nn.Tanh):
    pass


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    x, path = torch.randn(5, 3), tmp_path / "m.onnx"
    changed = nn.Tanh()
    changed.forward = lambda x: x * 2  # type: ignore[method-assign]
    for part in (Own(), changed, nn.ModuleList([nn.Tanh()]), nn.ModuleDict({"a": nn.Tanh()}), nn.MSELoss()):
        with pytest.raises(UnsupportedError, match=r"model\.0\.1 \(\w+\): .*Sequential") as raised:
            to_onnx(nn.Sequential(nn.Sequential(nn.ReLU(), part)), path, x)
        assert isinstance(raised.value, NotImplementedError)
        assert isinstance(raised.value, HandgradError)
        assert explains(raised.value)
    layer: Any = nn.TransformerEncoderLayer(4, 2, 5)
    layer.self_attn.forward = lambda *x, **options: layer.self_attn(*x, **options)
    with pytest.raises(UnsupportedError, match="MultiheadAttention itself, got"):
        to_onnx(layer, path, torch.randn(3, 2, 4), batch_dim=1)
    with pytest.raises(DTypeError, match=r"float32, got float64 in 0\.weight"):
        to_onnx(network().double(), path, x.double())
    with pytest.raises(ShapeError, match=r"model\.0 \(Linear 3→5\): .*got \(5, 4\)"):
        to_onnx(network(), path, torch.randn(5, 4))
    with pytest.raises(ShapeError, match="samples in dimension 2"):
        to_onnx(network(), path, x, batch_dim=2)
    with pytest.raises(ShapeError, match="samples in dimension 0"):
        to_onnx(network().eval(), path, torch.zeros(0, 3))
    nothing: Any = ()
    for wrong, match in (
        ([1.0], "got list"),
        (x.double(), "got float64"),
        (np.zeros((2, 3)), "got ndarray"),
        (nothing, "example input, got none"),
    ):
        with pytest.raises(DTypeError, match=match) as wrongly:
            to_onnx(network(), path, wrong)
        assert explains(wrongly.value)
    with pytest.raises(DTypeError, match="got Tanh"):
        to_onnx(torch.nn.Tanh(), path, x)  # type: ignore[arg-type]
    assert not path.exists()


def test_rows_left_out_are_those_with_options_of_forward() -> None:
    left = [case for case in CASES if case not in ROWS and not isinstance(case.ours(), (nn.Loss, Stack))]
    assert left
    assert all(opened(case.ours())[1] for case in left)
