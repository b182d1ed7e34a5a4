"""Tensors and notes in one .safetensors file, which any framework reads: written whole, and checked when read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgrad.errors import DTypeError, OutputError
from handgrad.files import reason_of, write_atomically
from handgrad.optional import require

FORMAT = 1
"""Of the notes and their checksum; that of the tensors is safetensors' own."""
LARGEST_HEADER = 100_000_000
"""What safetensors allows."""
METADATA = "__metadata__"
"""What safetensors calls the metadata, among the names of the tensors."""
OURS = {"handgrad", "notes", "sha256"}
"""What handgrad writes into a file's metadata."""


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], notes: Mapping[str, Any] | None = None
) -> Path:
    """Write `tensors`, and `notes` as JSON in the metadata, to a .safetensors file; an earlier one is replaced whole.

    Tensors are written as they are on the CPU, each in full: those that share memory do not when read again.

    Args:
        path: of the file; its folder is made if need be.
        tensors: by name, dense, of any dtype of safetensors and on any device.
        notes: whatever JSON can hold; tuples come back as lists, keys as strings.

    Errors: DTypeError for what is no dense tensor, a name that is no text, a dtype that safetensors lacks or notes that
    are no JSON; OutputError for a file that cannot be written. In each case an earlier file stays as it was.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_tensors(f"{folder}/two.safetensors", {"a": torch.ones(2)}, {"epoch": 3})
        ...     load_tensors(path)
        ({'a': tensor([1., 1.])}, {'epoch': 3})
    """
    where = str(path)
    value: Any
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            remedy = "Put what is no tensor into the notes."
            raise DTypeError(f"a tensor under {name!r}", type(value).__name__, remedy, where)
        if value.layout is not torch.strided or value.is_meta:
            got = "one without numbers" if value.is_meta else f"one of {value.layout}"
            raise DTypeError(f"a dense tensor under {name!r}", got, "Convert it with .to_dense().", where)
        if name == METADATA or not _is_text(name):
            remedy = "Give each tensor a name that is a text, such as '0.weight'."
            raise DTypeError(f"names that are texts, and not {METADATA!r}", repr(name), remedy, where)
    try:
        text = json.dumps(dict(notes or {}), ensure_ascii=False)
        text.encode()  # which a lone surrogate cannot be
    except (TypeError, ValueError) as error:
        remedy = "Save only numbers, texts, lists and dicts of them as notes."
        raise DTypeError("notes that JSON can hold", str(error), remedy, where) from error
    own, safetensors = _apart(tensors), require("safetensors.torch", "interop")
    # "pt" is what other libraries ask of a file of PyTorch's layout
    metadata = {"format": "pt", "handgrad": str(FORMAT), "sha256": _checksum(own, text), "notes": text}
    try:
        data = safetensors.save(own, metadata)
    except (KeyError, ValueError) as error:
        dtypes = ", ".join(sorted({str(value.dtype) for value in own.values()}))
        raise DTypeError("dtypes that safetensors has", dtypes, "Convert the tensors with .to(…).", where) from error
    return write_atomically(path, data)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: the tensors, on the CPU, in no particular order, and the notes.

    A file of another library has no notes, and they are then {}; nothing but its structure can be checked.

    Errors: OutputError for a file that is missing, no safetensors file, truncated, damaged (its checksum covers names,
    shapes, numbers and notes), or of a later format.
    """
    where = str(path)
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        remedy = "Name a .safetensors file that is there."
        raise OutputError("a file that can be read", reason_of(error), remedy, where) from error
    metadata = _metadata(data, where)
    mine = OURS & metadata.keys()
    if "handgrad" in mine and metadata["handgrad"] != str(FORMAT):
        remedy = "Read it with the version of handgrad that wrote it, or a later one."
        raise OutputError(f"a file of format {FORMAT}", f"format {metadata['handgrad']}", remedy, where)
    safetensors = require("safetensors.torch", "interop")
    try:
        tensors = dict(safetensors.load(data))
    except Exception as error:  # safetensors raises a bare Exception's child, and what a damaged header leads to
        raise _damaged(f"a damaged one ({error})", where) from error
    if not mine:
        return tensors, {}
    if mine != OURS or metadata["sha256"] != _checksum(tensors, metadata["notes"]):
        raise _damaged("other tensors or notes than were saved", where)
    try:
        notes = json.loads(metadata["notes"])
    except (ValueError, RecursionError) as error:
        raise _damaged(f"notes that are no JSON ({error})", where) from error
    if not isinstance(notes, dict):
        raise _damaged(f"notes that are a {type(notes).__name__}", where)
    return tensors, notes


def _is_text(name: object) -> bool:
    """Whether UTF-8 can write it, as it can all but lone surrogates."""
    return isinstance(name, str) and not any("\ud800" <= letter <= "\udfff" for letter in name)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU and dense; of those that share memory, which safetensors refuses, all but one copied."""
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        memory = value.untyped_storage().data_ptr()
        own[name] = value.clone() if memory in seen else value
        seen.add(memory)
    return own


def _checksum(tensors: Mapping[str, Tensor], notes: str) -> str:
    """SHA-256 of the notes, and of name, dtype, shape and numbers of every tensor."""
    digest = hashlib.sha256()
    names = sorted(tensors)
    parts = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in names]
    digest.update(json.dumps([notes, parts]).encode())
    for name in names:
        # cloned where one number has a stride of 0, as an expanded one has, which no view takes
        flat = tensors[name].reshape(-1)
        digest.update(
            (flat if flat.stride(0) else flat.clone(memory_format=torch.contiguous_format))
            .view(torch.uint8)
            .numpy()
            .data
        )
    return digest.hexdigest()


def _metadata(data: bytes, where: str) -> dict[str, str]:
    """The metadata of a safetensors file of which all is there: its length, a JSON header, the numbers."""
    length = int.from_bytes(data[:8], "little")
    if length > LARGEST_HEADER or data[8:9] != b"{":
        got = "an empty file" if not data else "another kind of file"
        raise OutputError("a safetensors file", got, "Name a file that handgrad.save wrote.", where)
    try:
        header = json.loads(data[8 : 8 + length])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != METADATA]
        whole = 8 + length + max(ends, default=0)
        found = {str(key): str(value) for key, value in header.get(METADATA, {}).items()}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        if len(data) < 8 + length:
            whole = 8 + length
        else:
            raise _damaged(f"a damaged header ({error})", where) from error
    if len(data) < whole:
        remedy = "It is truncated: copy it again, or go back to an earlier one."
        raise OutputError(f"a file of {whole} bytes or more", f"{len(data)} bytes", remedy, where)
    return found


def _damaged(got: str, where: str) -> OutputError:
    remedy = "The file is damaged: copy it again, or go back to an earlier one."
    return OutputError("a whole safetensors file", got, remedy, where)
