"""Checkpoints: the state of a run on disk, from which it goes on bit for bit."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from handgrad import checks
from handgrad.errors import OutputError, StateError
from handgrad.tensorfile import load_tensors, save_tensors

if TYPE_CHECKING:
    from handgrad.training.trainer import Trainer

FORMAT = 3
"""Of the state in a checkpoint, and of what tells its run from others."""
SHOWN, WIDTH = 3, 80
"""How many entries that differ an error shows, and how much of each."""
NAME = re.compile(r"checkpoint-(\d+)\.safetensors")

LEFT: dict[Path, tuple[Any, Any]] = {}
"""The identities that the last run of this process in a folder ended and began with: called again with its model,
optimiser and schedule as they were left, it is known by the first."""


class Checkpoints:
    """A folder with the latest states of a run, one file after every so many epochs.

    A file is written whole or not at all, and an earlier one is only deleted when a later one stands. So a run that is
    stopped at any moment, also by kill -9, goes on from its last whole checkpoint; and since all that is random in a
    run is a function of seed and epoch, it ends bit for bit where it would have ended without the stop.

    Args:
        folder: for the files; made if need be.
        every: save after every so many epochs, and after the last.
        keep: how many files stay.
        resume: go on from the latest file, if there is one; False refuses a folder that has any.

    Errors: ArgumentError for numbers out of range. On resuming: OutputError if there are checkpoints and `resume` is
    False, or no file can be read; StateError if they are of another run, such as one from other starting values. The
    run is then as it was. A latest file that is damaged is left aside with a warning if one before it is whole.

    Example:
        >>> import tempfile, torch
        >>> from handgrad import nn, optim
        >>> from handgrad.data import Batches
        >>> from handgrad.training import Checkpoints, train
        >>> def run(epochs, folder):
        ...     model = nn.Sequential(nn.Linear(1, 1, replicas=2, generator=torch.Generator().manual_seed(0)))
        ...     sgd, x = optim.SGD(model.parameters()), torch.ones(8, 1)
        ...     batches, checkpoints = Batches(x, x, 4, seeds=[0, 1]), Checkpoints(folder)
        ...     train(model, nn.MSELoss(replicas=2), sgd, batches, epochs, checkpoints=checkpoints)
        ...     return model[0].weight.value
        >>> with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        ...     _ = run(2, one)  # stopped, say
        ...     torch.equal(run(5, one), run(5, two))
        True
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 1, keep: int = 2, resume: bool = True) -> None:
        self.folder, self.may_resume = Path(folder), resume
        self._identity: Any = None
        self.every = checks.positive_int("every", every, "Checkpoints")
        self.keep = checks.positive_int("keep", keep, "Checkpoints")

    def files(self) -> list[Path]:
        """The checkpoints in the folder, the latest first."""
        found = [path for path in self.folder.glob("checkpoint-*.safetensors") if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(NAME.fullmatch(path.name)[1]), reverse=True)  # type: ignore[index]

    def save(self, trainer: Trainer, last: bool = False) -> None:
        """Save the trainer's state if it is time; then delete files that are not kept."""
        if not last and trainer.epoch % self.every:
            return
        tensors, notes = pack(trainer.state_dict())
        notes = {"format": FORMAT, "identity": self._identity, "state": notes}
        save_tensors(self.folder / f"checkpoint-{trainer.epoch}.safetensors", tensors, notes)
        for path in self.files()[self.keep :]:
            path.unlink(missing_ok=True)

    def resume(self, trainer: Trainer) -> None:
        """Put the trainer where the latest checkpoint is; nothing happens if there is none."""
        files, identity = self.files(), plain(trainer.identity())
        left, began = LEFT.get(self.folder.resolve(), (None, None))
        self._identity = began if files and identity == left else identity  # of the run before it is trained
        if files and not self.may_resume:
            remedy = "Pass resume=True to go on from it, or choose another folder."
            raise OutputError("a folder without checkpoints", files[0].name, remedy, str(self.folder))
        if (state := self._latest(own=True)) is not None:
            trainer.load_state_dict(state)

    def latest(self) -> dict[str, Any]:
        """The state of the latest file that is whole, of whatever run: its weights, say, for another one.

        Returns: a dict of "model", "optimizer" and other parts, as their `load_state_dict` takes them, and "epoch".

        Errors: OutputError if there is no file, or none can be read.

        Example:
            >>> import tempfile, torch
            >>> from handgrad import fit, nn, optim
            >>> model, x = nn.Linear(1, 1), torch.ones(8, 1)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = fit(model, nn.MSELoss(), optim.SGD(model.parameters()), (x, x), epochs=3, checkpoint=folder)
            ...     state = Checkpoints(folder).latest()
            >>> other = nn.Linear(1, 1)
            >>> _ = other.load_state_dict(state["model"])
            >>> state["epoch"], torch.equal(other.weight.value, model.weight.value)
            (3, True)
        """
        state: dict[str, Any] | None = self._latest(own=False)
        if state is None:
            remedy = "Name the folder that fit or train was given, as checkpoint or checkpoints."
            raise OutputError("a folder with checkpoints", "none", remedy, str(self.folder))
        return state

    def _latest(self, *, own: bool) -> Any:
        """The state of the latest file that is whole, None without any; of this run alone, if asked for."""
        files = self.files()
        for path in files:
            try:
                return self._checked(*load_tensors(path), path, own)
            except OutputError as error:
                if path is files[-1]:
                    raise
                warnings.warn(f"{path.name} is left aside: {error}", stacklevel=3)
        return None

    def leave(self, trainer: Trainer) -> None:
        """Keep in mind what the run ends as."""
        LEFT[self.folder.resolve()] = plain(trainer.identity()), self._identity

    def _checked(self, tensors: dict[str, Tensor], notes: dict[str, Any], path: Path, own: bool) -> Any:
        if notes.get("format") != FORMAT or not {"identity", "state"} <= notes.keys():
            remedy = "Read it with what wrote it, or put it elsewhere."
            got = f"format {notes.get('format')} with {', '.join(notes) or 'no notes'}"
            raise OutputError(f"a checkpoint of format {FORMAT}", got, remedy, str(path))
        wanted = json.loads(json.dumps(self._identity)) if own else {}
        if others := [name for name, value in wanted.items() if notes["identity"].get(name) != value]:
            shown = [differing(name, wanted[name], notes["identity"].get(name)) for name in others]
            expected, got = (", ".join(texts) for texts in zip(*shown))
            remedy = "Choose another folder, to go on from the weights as they are, or start this run as the first one."
            if "starting values" in others:
                remedy += " A network's are those of the seeds of nn.replicate, or else of torch.manual_seed before it."
            raise StateError(f"a checkpoint of this run: {expected}", got, remedy, str(path))
        return unpack(notes["state"], tensors)


def differing(name: str, a: Any, b: Any) -> tuple[str, str]:
    """Two settings of one name as texts, of nested ones the first entries that differ.

    Example:
        >>> differing("options", [{"lr": 0.1, "decay": 0.0}], [{"lr": 0.1, "decay": 0.5}])
        ('options (decay = 0.0)', 'options (decay = 0.5)')
    """
    one, other = dict(entries(a)), dict(entries(b))
    paths = [path for path in {**one, **other} if path not in one or path not in other or one[path] != other[path]]
    if "" in paths or not paths:
        one_text, other_text = cut(str(a), str(b))
        return f"{name} = {one_text}", f"{name} = {other_text}"
    pairs = [cut(str(one.get(path, "nothing")), str(other.get(path, "nothing"))) for path in paths[:SHOWN]]
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    texts = [", ".join(f"{path} = {text}" for path, text in zip(paths, side)) + more for side in zip(*pairs)]
    return f"{name} ({texts[0]})", f"{name} ({texts[1]})"


def entries(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What dicts hold at their ends, by the path to it; also lists of dicts, and of lists that lead with a name."""
    if isinstance(value, list) and value:
        if all(isinstance(item, dict) for item in value):
            value = value[0] if len(value) == 1 else {str(i): item for i, item in enumerate(value)}
        elif all(isinstance(item, list) and len(item) > 1 and isinstance(item[0], str) for item in value):
            value = {item[0]: item[1:] for item in value}
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, item in value.items():
        yield from entries(item, f"{path}.{key}" if path else key)


def cut(a: str, b: str) -> tuple[str, str]:
    """Two texts that differ, of long ones what is about the first difference."""
    if max(len(a), len(b)) <= WIDTH:
        return a, b
    place = next((i for i, (one, other) in enumerate(zip(a, b)) if one != other), min(len(a), len(b)))
    start = max(place - WIDTH // 4, 0)

    def shown(text: str) -> str:
        return f"{'…' if start else ''}{text[start : start + WIDTH]}{'…' if len(text) > start + WIDTH else ''}"

    return shown(a), shown(b)


def pack(value: Any) -> tuple[dict[str, Tensor], Any]:
    """Nested dicts, lists and tuples with tensors at their ends, as tensors by name and what JSON can hold.

    Example:
        >>> import torch
        >>> tensors, notes = pack({"a": (1, torch.ones(2)), 3: None})
        >>> notes
        {'dict': [['a', {'tuple': [1, {'tensor': '0'}]}], [3, None]]}
        >>> unpack(notes, tensors)
        {'a': (1, tensor([1., 1.])), 3: None}
    """
    tensors: dict[str, Tensor] = {}

    def packed(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = str(len(tensors))
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, dict):
            return {"dict": [[key, packed(item)] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            return {"tuple" if isinstance(value, tuple) else "list": [packed(item) for item in value]}
        return value

    return tensors, packed(value)


def unpack(notes: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `pack`."""
    if not isinstance(notes, dict):
        return notes
    ((kind, content),) = notes.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    return (tuple if kind == "tuple" else list)(unpack(item, tensors) for item in content)


def plain(value: Any) -> Any:
    """What JSON can hold of a setting: R numbers as a list, of an object its class."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__
