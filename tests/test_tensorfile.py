"""Files of tensors: what goes in comes out, and nothing but that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import numpy as safe_numpy
from safetensors import safe_open
from safetensors import torch as safe_torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import DTypeError, HandgradError, OutputError
from handgrad.files import read_json, writable_folder
from handgrad.tensorfile import _checksum, load_tensors, save_tensors
from tests.cases import explains

NOTES: dict[str, Any] = {"epoch": 3, "history": [[0.1, 1e-300], [None, True]], "who": {"größe": "7 µs"}}
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def tensors() -> dict[str, Tensor]:
    return {"w": torch.randn(3, 4), "n": torch.tensor(7), "b.0": torch.rand(2, 3).mT, "none": torch.empty(0, 3)}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype is b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_tensors(tmp_path / "deep" / "file.safetensors", tensors(), NOTES)


def test_all_comes_back(tmp_path: Path) -> None:
    given = tensors()
    back, notes = load_tensors(save_tensors(tmp_path / "f", given, NOTES))
    assert same(given, back)
    assert notes == NOTES
    assert load_tensors(save_tensors(tmp_path / "f", {})) == ({}, {})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    given = {"x": (torch.randn(5, 3) * 9).to(dtype), "empty": torch.empty(0, dtype=dtype)}
    assert same(load_tensors(save_tensors(tmp_path / "f", given))[0], given)


def test_not_a_number_keeps_its_bits(tmp_path: Path) -> None:
    x = torch.tensor([0x7FC00123, -1, 1], dtype=torch.int32).view(torch.float32)
    back, notes = load_tensors(save_tensors(tmp_path / "f", {"x": x}, {"loss": float("inf")}))
    assert torch.equal(back["x"].view(torch.int32), x.view(torch.int32))
    assert notes == {"loss": float("inf")}


def test_what_shares_memory_is_written_apart(tmp_path: Path) -> None:
    x = torch.arange(6.0).view(2, 3)
    given = {"all": x, "again": x, "row": x[1], "turned": x.mT, "first": x[:, 0]}
    back, _ = load_tensors(save_tensors(tmp_path / "f", given))
    assert same(given, back)
    back["all"].zero_()
    assert same({k: given[k] for k in ("again", "row")}, {k: back[k] for k in ("again", "row")})


def test_tensors_of_inference_mode_come_back_as_others(tmp_path: Path) -> None:
    with torch.inference_mode():
        save_tensors(tmp_path / "f", {"x": torch.ones(3)})
    assert torch.equal(load_tensors(tmp_path / "f")[0]["x"].add_(1), torch.full((3,), 2.0))


def test_other_libraries_read_it(path: Path) -> None:
    ours, _ = load_tensors(path)
    assert same(safe_torch.load_file(path), ours)
    for name, value in safe_numpy.load_file(path).items():
        np.testing.assert_array_equal(value, ours[name].numpy())
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["notes"]) == NOTES


def test_files_of_others_have_no_notes(tmp_path: Path) -> None:
    safe_torch.save_file({"x": torch.ones(2)}, tmp_path / "f", {"format": "pt", "made": "elsewhere"})
    back, notes = load_tensors(tmp_path / "f")
    assert same(back, {"x": torch.ones(2)})
    assert notes == {}


# What is wrong with a file


def refused(path: Path, match: str) -> None:
    with pytest.raises(OutputError, match=match) as raised:
        load_tensors(path)
    assert explains(raised.value)
    assert str(path) in str(raised.value)


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.safetensors", "No such file")
    refused(tmp_path, "directory")


@pytest.mark.parametrize("content", [b"", b"x", b"{}", b"a,b\n1,2\n" * 9, b"PK\x03\x04" + bytes(99), b"\x80\x05" * 50])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    refused(tmp_path / "f", "a safetensors file, got (an empty file|another kind)")


def test_truncated_anywhere(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(9, len(whole)):
        path.write_bytes(whole[:length])
        refused(path, rf"{length} bytes. It is truncated")


@pytest.mark.parametrize(
    "header",
    [b'{"x":' + b"[" * 100_000, b'{"x":3}', b'{"x":{}}', b'{"x":{"data_offsets":[0,null]}}', b'{"__metadata__":3}'],
    ids=["without end", "number", "empty", "null", "metadata"],
)
def test_a_header_of_another_kind(path: Path, header: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    refused(path, "damaged header")


def test_longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    refused(path, "damaged")


@given(st.data())
def test_a_flipped_bit_anywhere_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = save_tensors(tmp_path_factory.mktemp("flip") / "f", given := tensors(), NOTES)
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=40, max_size=40)):
        content[at] ^= (bit := 1 << data.draw(st.integers(0, 7)))
        path.write_bytes(content)
        try:
            back, notes = load_tensors(path)
        except OutputError as error:
            if not explains(error):
                raise
        else:  # blanks that fill up the header, and what is written for other libraries, mean nothing
            assert same(back, given)
            assert notes == NOTES
        content[at] ^= bit


@pytest.mark.parametrize("name", ["w", "n", "b.0"])
def test_a_flipped_bit_of_a_number_is_damage(path: Path, name: str) -> None:
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    at = json.loads(content[8:start])[name]["data_offsets"][0]
    content[start + at] ^= 1
    path.write_bytes(content)
    refused(path, "other tensors or notes than were saved. The file is damaged")


def rewritten(path: Path, **changes: str) -> None:
    """The same tensors with other metadata, as another program, or time, could write them."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    safe_torch.save_file(safe_torch.load_file(path), path, {**metadata, **changes})


def test_other_metadata(path: Path) -> None:
    rewritten(path, made="elsewhere")
    assert load_tensors(path)[1] == NOTES
    rewritten(path, notes="{}")
    refused(path, "damaged")


@pytest.mark.parametrize(
    "notes", ["", "nope", "3", "null", "[1]", "[[1, 2]]", '"x"', "[" * 100_000, "9" * 5000], ids=lambda text: text[:8]
)
def test_notes_that_are_no_dict(path: Path, notes: str) -> None:
    """Whoever forges a file can give it a checksum that fits."""
    rewritten(path, notes=notes, sha256=_checksum(load_tensors(path)[0], notes))
    refused(path, "damaged")


def test_of_a_later_format(path: Path) -> None:
    rewritten(path, handgrad="2")
    refused(path, "format 1, got format 2. Read it with the version of handgrad that wrote it")


# What cannot be saved


@pytest.mark.parametrize(
    ("tensors", "notes", "match"),
    [
        ({"x": 1.0}, {}, "a tensor under 'x', got float"),
        ({"x": nn.Parameter(torch.ones(1))}, {}, "a tensor under 'x', got Parameter"),
        ({"x": torch.ones(2, dtype=torch.complex128)}, {}, "dtypes that safetensors has, got torch.complex128"),
        ({"x": torch.eye(2).to_sparse()}, {}, "a dense tensor under 'x', got one of torch.sparse_coo"),
        ({"x": torch.ones(2, device="meta")}, {}, "a dense tensor under 'x', got one without numbers"),
        ({"__metadata__": torch.ones(1)}, {}, "not '__metadata__', got '__metadata__'"),
        ({0: torch.ones(1)}, {}, "names that are texts.*, got 0"),
        ({"\ud800": torch.ones(1)}, {}, "names that are texts"),
        ({}, {"x": "\ud800"}, "notes that JSON can hold"),
        ({}, {"x": torch.ones(1)}, "notes that JSON can hold"),
        ({}, {"x": {1, 2}}, "notes that JSON can hold"),
    ],
)
def test_what_cannot_be_saved(path: Path, tensors: Any, notes: Any, match: str) -> None:
    before = path.read_bytes()
    with pytest.raises(DTypeError, match=match) as raised:
        save_tensors(path, tensors, notes)
    assert explains(raised.value)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["", ".", "/", "..", "a\0b", "\ud800"])
def test_what_is_no_name_of_a_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (lambda: save_tensors(name, {}), lambda: load_tensors(name), lambda: read_json(name)):
        with pytest.raises(OutputError, match=r"(a file|results) that can be"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HandgradError, match="a file that can be written"):
        save_tensors(tmp_path / "file" / "x.safetensors", {})


def test_a_trial_of_a_folder_leaves_nothing(tmp_path: Path) -> None:
    assert list(writable_folder(tmp_path / "new" / "one").iterdir()) == []
