"""Models in files: every row of the table comes back as it was, and nothing from a file that is not whole."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors import torch as safe_torch
from torch import Tensor

import handgrad
from handgrad import nn
from handgrad.architecture import CLASSES, build, describe
from handgrad.errors import ArgumentError, DTypeError, HandgradError, OutputError
from handgrad.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from handgrad.saving import load, save
from handgrad.tensorfile import load_tensors, save_tensors
from tests.cases import CASES, Case, explains, ids, leaves, network
from tests.cases.containers import Heads, Stack

EACH = pytest.mark.parametrize("case", CASES, ids=ids(CASES))
OWN = [Stack, Heads]
"""Classes of the table that are not handgrad's."""


def filled(module: nn.Module) -> nn.Module:
    """The module with other values than those it is built with, also in its buffers."""
    for p in module.parameters():
        p.value.normal_()
    for buffer in module.buffers():
        buffer.copy_(torch.rand(buffer.shape) + 1)
    return module


def same_state(a: nn.Module, b: nn.Module) -> None:
    torch.testing.assert_close(b.state_dict(), a.state_dict(), rtol=0, atol=0)
    assert [p.replicas for p in a.parameters()] == [p.replicas for p in b.parameters()]


def as_data(module: nn.Module) -> dict[str, Any]:
    return dict(json.loads(json.dumps(describe(module))))


@EACH
def test_every_row_comes_back(case: Case, tmp_path: Path) -> None:
    ours = filled(case.ours())
    back = load(save(ours, tmp_path / "model.safetensors"), OWN)
    assert type(back) is type(ours)
    assert describe(back) == describe(ours)
    same_state(ours, back)
    if "forward" in vars(ours):  # options of a row's forward are no part of the module
        return
    inputs = case.inputs(case.shapes[0])
    for expected, y in zip(leaves(_drawn(ours, inputs)), leaves(_drawn(back, inputs))):
        torch.testing.assert_close(y, expected, rtol=0, atol=0)


def _drawn(module: nn.Module, inputs: list[Any]) -> Any:
    torch.manual_seed(3)
    return module(*inputs)


@EACH
def test_every_row_comes_back_with_replicas_in_float64_and_evaluation(case: Case, tmp_path: Path) -> None:
    ours = filled(nn.replicate(case.ours(torch.float64), seeds=[1, 2, 3]).eval())
    back = load(save(ours, tmp_path / "model.safetensors"), OWN)
    assert describe(back) == describe(ours)
    assert not any(part.training for part in back.modules())
    assert [part.replicas for part in back.modules()] == [part.replicas for part in ours.modules()]
    same_state(ours, back)


def test_the_table_has_every_class() -> None:
    rows = {type(part).__name__ for case in CASES for part in case.ours().modules()}
    bases = {
        "Module",
        "Elementwise",
        "Loss",
        "Random",
        "LinearChain",
        "AveragedModel",
    }  # a chain runs within a fused one
    assert set(CLASSES) - rows == bases


def test_replicas_draw_on_as_they_would_have(tmp_path: Path) -> None:
    model = nn.replicate(nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.4)), seeds=[5, 6])
    model(torch.ones(4, 3))
    back = load(save(model, tmp_path / "m"))
    assert torch.equal(back(torch.ones(4, 3)), model(torch.ones(4, 3)))


def test_what_was_changed_after_building_comes_back(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8)
    layer.dropout.p, layer.activation = 0.7, nn.SiLU()
    layer.linear1 = nn.Linear(6, 8, bias=False)
    model = nn.Sequential(nn.BatchNorm1d(6), layer)
    model[0].eval().momentum = 0.3  # type: ignore[attr-defined]
    back = load(save(model, tmp_path / "m"))
    assert repr(back) == repr(model)
    assert [part.training for part in back.modules()] == [part.training for part in model.modules()]
    same_state(model, back)


def test_a_number_for_each_replica_comes_back(tmp_path: Path) -> None:
    model = nn.replicate(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), seeds=[1, 2])
    model[1].p = (0.1, 0.9)  # type: ignore[attr-defined]
    assert load(save(model, tmp_path / "m"))[1].p == (0.1, 0.9)  # type: ignore[index]


def test_replicas_in_some_parts_only(tmp_path: Path) -> None:
    model = nn.Sequential(nn.First(nn.LSTM(3, 4, replicas=2)), nn.Tanh(), nn.Linear(4, 1, replicas=2))
    back = load(save(model, tmp_path / "m"))
    assert repr(back) == repr(model)
    assert [part.replicas for part in back.modules()] == [part.replicas for part in model.modules()]


def test_named_initialisers_come_back(tmp_path: Path) -> None:
    back = load(save(nn.Conv1d(2, 3, 3, init="kaiming_normal"), tmp_path / "m"))
    assert repr(back.weight) == repr(nn.Conv1d(2, 3, 3, init="kaiming_normal").weight)  # type: ignore[attr-defined]
    described = describe(nn.Linear(2, 3, init=nn.init.gaussian(0.1)))
    assert "init" not in described["arguments"]


def test_shared_parameters_are_shared_again(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3)))
    model[1][0].weight = model[0].weight  # type: ignore[index, attr-defined]
    back = load(save(model, tmp_path / "m"))
    assert back[1][0].weight is back[0].weight  # type: ignore[index]
    assert len(list(back.parameters())) == 3
    same_state(model, back)


def test_a_fused_network_comes_back_as_its_parts(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.BatchNorm1d(25), nn.Linear(25, 1))
    back = load(save(nn.fuse(model), tmp_path / "m"))
    assert repr(back) == repr(model)
    same_state(model, back)


def test_random_state_stays_as_it_is(tmp_path: Path) -> None:
    path = save(network(), tmp_path / "m")
    before = torch.get_rng_state()
    load(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_default_dtype(tmp_path: Path) -> None:
    path = save(network(), tmp_path / "m")
    torch.set_default_dtype(torch.float64)
    try:
        assert {p.value.dtype for p in load(path).parameters()} == {torch.float32}
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_a_description_builds_has_the_dtype_of_what_was_described() -> None:
    ours = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to(torch.float64)
    assert {value.dtype for value in build(describe(ours)).state_dict().values()} == {torch.float64, torch.int64}


def test_dtypes_that_differ_within_a_module(tmp_path: Path) -> None:
    """Nothing is rounded, nor widened: a statistic of float64 beside weights of float32, a scale of one's own."""
    model: Any = nn.Sequential(nn.BatchNorm1d(3), Scaled(nn.Linear(3, 3)))
    model[0].running_mean = torch.full((3,), 1 / 3, dtype=torch.float64)
    model[1].scale.value = torch.full((3,), 1 / 3, dtype=torch.float64)
    model[1].inner.weight.to(dtype=torch.bfloat16)
    for one in (model, model[0], nn.stack([model, model])):
        same_state(one, load(save(one, tmp_path / "m"), [Scaled]))


def test_torch_loads_the_tensors(tmp_path: Path) -> None:
    ours, theirs = network(), network(torch.nn)
    path = save(ours, tmp_path / "model.safetensors")
    theirs.load_state_dict(safe_torch.load_file(path))
    x = torch.randn(7, 3)
    torch.testing.assert_close(theirs(x).detach(), ours(x))


def test_the_metadata_says_what_it_is(tmp_path: Path) -> None:
    with safe_open(save(network(), tmp_path / "m"), "pt") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["handgrad"], len(metadata["sha256"])) == ("pt", "1", 64)
    notes = json.loads(metadata["notes"])
    assert notes == {"kind": "model", "version": handgrad.__version__, "architecture": as_data(network())}


def test_notes_of_ones_own(tmp_path: Path) -> None:
    path = save(nn.Linear(2, 3), tmp_path / "model.safetensors", {"rows": [3, 4], "kind": "mine"})
    notes = load_tensors(path)[1]
    assert (notes["rows"], notes["kind"]) == ([3, 4], "model")
    assert load(path).state_dict().keys() == nn.Linear(2, 3).state_dict().keys()


def test_averages(tmp_path: Path) -> None:
    for model in (network(), nn.replicate(network(), [1, 2])):
        average = AveragedModel(model, use_buffers=True)
        average.update_parameters(model)
        back = load(save(average, tmp_path / "m"))
        assert repr(back) == repr(average)
        same_state(average, back)
    with pytest.raises(DTypeError, match=r"AveragedModel\(multi_avg_fn=…\)"):
        save(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)), tmp_path / "m")


# Classes of one's own


class Scaled(nn.Module):
    """A parameter of its own, an argument, and no `replicas`."""

    def __init__(self, inner: nn.Module, factor: float = 1.0) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor
        self.scale = nn.Parameter(torch.ones(3), nn.init.Constant(1.0))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y * self.factor

    def backward(self, dy: Tensor) -> Any:
        return self.inner.backward(dy * self.factor)


def test_a_class_of_ones_own(tmp_path: Path) -> None:
    model = nn.Sequential(Scaled(nn.Linear(3, 3), 0.5))
    for one in (model, nn.replicate(model, [1, 2]), copy.deepcopy(model).double()):
        back = load(save(one, tmp_path / "m"), classes=[Scaled])
        assert repr(back) == repr(one)
        assert back[0].factor == 0.5  # type: ignore[index]
        same_state(one, back)
    with pytest.raises(ArgumentError, match=r"got Scaled\. Pass classes=\[Scaled\]") as raised:
        load(tmp_path / "m")
    assert explains(raised.value)


class Forgetful(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)


class Strange(nn.Module):
    def __init__(self, thing: object) -> None:
        super().__init__()
        self.thing = thing


class ReLU(nn.ReLU):
    """Not handgrad's, which is what `load` would build."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


def test_classes_of_one_name(tmp_path: Path) -> None:
    other = type("Scaled", (nn.ReLU,), {})
    path = save(nn.Sequential(Scaled(nn.Tanh())), tmp_path / "m")
    for classes in ([Scaled, other], [Scaled, ReLU]):
        with pytest.raises(ArgumentError, match="names of their own") as raised:
            load(path, classes)
        assert explains(raised.value)
    assert repr(load(path, [Scaled, Scaled, nn.ReLU])) == repr(nn.Sequential(Scaled(nn.Tanh())))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (nn.Sequential(ReLU()), r"model\.0 \(ReLU\): expected a class with a name of its own, got tests.*ReLU"),
        (Strange(torch.ones(2)), r"Strange\(thing=…\).*a tensor among the buffers.*buffer_names"),
        (nn.Sequential(Forgetful(3)), r"model\.0 \(Forgetful\): expected an attribute width.*self\.width"),
        (Strange(object()), r"Strange\(thing=…\).*got object"),
        (torch.nn.Linear(2, 2), "a handgrad module, got Linear"),
        (network().state_dict(), "a handgrad module, got OrderedDict"),
    ],
)
def test_what_cannot_be_saved(tmp_path: Path, model: Any, match: str) -> None:
    with pytest.raises(DTypeError, match=match) as raised:
        save(model, tmp_path / "m")
    assert explains(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "description",
    [
        {},
        [],
        {"class": "Linear"},
        {"class": "Linear", "arguments": [1]},
        {"class": "Linear", "arguments": {"in_features": 2, "out_features": 2, "dtype": {"dtype": "load"}}},
        {"class": "Linear", "arguments": {"in_features": 2, "out_features": 2, "dtype": {"dtype": "float33"}}},
        {"class": "Linear", "arguments": {"in_features": 2, "out_features": 2, "depth": 3}},
        {"class": "Linear", "arguments": {"in_features": 2, "out_features": {"part": "nowhere"}}},
        {"class": "ReLU", "tied": [["0.weight", "1.weight"]]},
        {"class": "ReLU", "tied": [[]]},
        {"class": "Linear", "arguments": {"in_features": 10**12, "out_features": 10**4}},
        {"class": "Linear", "arguments": {"in_features": 2, "out_features": 2, "dtype": {"dtype": "int64"}}},
        {"class": "NLLLoss", "arguments": {"weight": {"tensor": [-3], "dtype": "float32"}}},
        {"class": "ReLU", "arguments": {"inplace": True}},
        {"class": "replicate"},
    ],
    ids=str,
)
def test_what_is_no_description(description: Any, tmp_path: Path) -> None:
    with pytest.raises((ArgumentError, DTypeError)) as raised:
        build(description)
    assert explains(raised.value)
    path = save_tensors(tmp_path / "m", {}, {"kind": "model", "architecture": description})
    with pytest.raises((ArgumentError, DTypeError), match=str(path)) as raised:
        load(path)
    assert explains(raised.value)


def test_nothing_is_imported_by_name() -> None:
    for name in ("os.system", "torch.nn.Linear", "handgrad.nn.linear.Linear", "fuse", "init", "Container"):
        with pytest.raises(ArgumentError, match=r"a class of handgrad\.nn"):
            build({"class": name})


# Files that are not whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(network(), tmp_path / "model.safetensors")


def refused(path: Path, match: str) -> None:
    with pytest.raises(OutputError, match=match) as raised:
        load(path)
    assert explains(raised.value)
    assert str(path) in str(raised.value)


def test_damaged_files(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    refused(tmp_path / "none", "No such file")
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, "expected a (safetensors )?file")
    for at in (-1, -50, len(whole) // 2):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        refused(path, "damaged")
    torch.save(network(torch.nn).state_dict(), path)
    refused(path, "a safetensors file, got another kind of file")


def test_a_file_of_another_library(path: Path) -> None:
    model = network()
    safe_torch.save_file(network(torch.nn).state_dict(), path)
    refused(path, r"a file without an architecture\. Build the network.*load_state_dict")
    model.load_state_dict(load_tensors(path)[0])


def test_notes_of_another_kind(path: Path) -> None:
    save_tensors(path, network().state_dict(), {"kind": "checkpoint"})
    refused(path, "kind 'checkpoint'")


def test_a_file_whose_description_is_none(path: Path) -> None:
    tensors, notes = load_tensors(path)
    for architecture in ({}, {"class": "Sequential", "parts": {"0": {"class": "Mine"}}}):
        save_tensors(path, tensors, {**notes, "architecture": architecture})
        with pytest.raises(ArgumentError) as raised:
            load(path)
        assert explains(raised.value)
        assert str(path) in str(raised.value)


def test_a_later_format(path: Path) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    safe_torch.save_file(safe_torch.load_file(path), path, {**metadata, "handgrad": "2"})
    refused(path, "got format 2")


@pytest.mark.parametrize("change", ["missing", "unexpected", "misshapen"])
def test_tensors_that_do_not_fit(path: Path, change: str) -> None:
    tensors, notes = load_tensors(path)
    if change == "missing":
        del tensors["0.weight"]
    else:
        tensors["new" if change == "unexpected" else "0.weight"] = torch.ones(1)
    save_tensors(path, tensors, notes)
    refused(path, f"fit the file's architecture, got {change}: ")


def test_a_model_that_cannot_be_written_leaves_the_old_one(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(HandgradError):
        save(Forgetful(3), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "make",
    [
        lambda i, f: nn.Linear(i(2), i(3)),
        lambda i, f: nn.Embedding(i(4), i(2), padding_idx=i(1)),
        lambda i, f: nn.Conv2d(i(2), i(2), (i(3), 1), padding=i(1)),
        lambda i, f: nn.MaxPool2d(i(2)),
        lambda i, f: nn.AvgPool2d(i(2), divisor_override=i(3)),
        lambda i, f: nn.LPPool2d(f(2.0), i(2)),
        lambda i, f: nn.ConstantPad1d(i(1), f(0.5)),
        lambda i, f: nn.LayerNorm(i(2), eps=f(0.5)),
        lambda i, f: nn.LayerNorm((i(2), 3)),
        lambda i, f: nn.BatchNorm1d(i(3), momentum=f(0.5)),
        lambda i, f: nn.Unflatten(i(1), (i(1), 2)),
        lambda i, f: nn.RReLU(f(0.125), f(0.5)),
        lambda i, f: nn.Softmax(i(1)),
        lambda i, f: nn.LSTM(i(2), i(3), i(2)),
        lambda i, f: nn.CrossEntropyLoss(ignore_index=i(1), label_smoothing=f(0.5)),
    ],
)
def test_sizes_and_numbers_may_be_numpys(make, tmp_path):
    found, plain = make(np.int64, np.float32), make(int, float)
    assert repr(load(save(found, tmp_path / "x.safetensors"))) == repr(plain)
