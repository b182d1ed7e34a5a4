"""Whole models in one file: their tensors, which any framework reads, and their architecture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from handgrad import __version__
from handgrad.architecture import build, describe, filled
from handgrad.errors import DTypeError, HandgradError, OutputError, StateError
from handgrad.nn.module import Module
from handgrad.tensorfile import load_tensors, save_tensors


def save(model: Module, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None) -> Path:
    """Write a network, or a loss, to one .safetensors file, replacing an earlier one whole.

    The tensors are those of `state_dict()`, under PyTorch's names and in its layout; the metadata holds the
    architecture, the version of handgrad and a checksum. Nothing is pickled.

    Args:
        model: the network, or loss.
        path: of the file; its folder is made if need be.
        notes: further ones, whatever JSON can hold, which `load_tensors` gives back beside "kind", "version" and
            "architecture".

    Errors: DTypeError for what is no network, or for an argument that cannot be described; OutputError for a file that
    cannot be written. An earlier file then stays as it was.

    Example:
        >>> import tempfile
        >>> from handgrad import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load(save(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), f"{folder}/model.safetensors"))
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): Tanh()
        )
    """
    given: object = model
    if not isinstance(given, Module):
        remedy = "Save other tensors with handgrad.tensorfile.save_tensors."
        raise DTypeError("a handgrad module", type(given).__name__, remedy, str(path))
    own = {"kind": "model", "version": __version__, "architecture": describe(model)}
    return save_tensors(path, model.state_dict(), {**(notes or {}), **own})


def load(path: str | os.PathLike[str], classes: Iterable[type[Module]] = ()) -> Module:
    """Read the network that `save` wrote, on the CPU, in the mode it was saved in, with its replicas and streams.

    Args:
        path: of the file.
        classes: modules of your own that it holds; nothing is imported by name.

    Errors: OutputError for a file that is missing, no safetensors file, truncated, damaged, of a later format or
    without an architecture, and for tensors that do not fit it; ArgumentError for a class that is not known, and it or
    DTypeError for an architecture that cannot be built.
    """
    tensors, notes = load_tensors(path)
    if notes.get("kind") != "model":
        got = f"notes of kind {notes['kind']!r}" if "kind" in notes else "a file without an architecture"
        remedy = "Build the network, and load its tensors with model.load_state_dict(load_tensors(path)[0])."
        raise OutputError("a model that handgrad.save wrote", got, remedy, str(path))
    try:
        return filled(build(notes.get("architecture", {}), classes), tensors)
    except StateError as error:
        remedy = "The file was put together by hand: load its tensors alone, with handgrad.tensorfile.load_tensors."
        raise OutputError("tensors that fit the file's architecture", error.got, remedy, str(path)) from error
    except HandgradError as error:
        error.where = str(path)
        raise
