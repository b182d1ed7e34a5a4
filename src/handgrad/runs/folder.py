"""The model folder: everything that a trained run leaves, and what opens it again."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn
from handgrad.errors import ArgumentError, HandgradError, OutputError
from handgrad.files import writable_folder, write_atomically
from handgrad.optional import require
from handgrad.report import Run, render
from handgrad.report.run import checked
from handgrad.runs.prepared import Prepared
from handgrad.runs.training import Trained
from handgrad.saving import load, save
from handgrad.tables import Encoder, Schema, Table, outside
from handgrad.tables.reading import read_as
from handgrad.tensorfile import load_tensors

FORMAT = 1
"""Of run.json and encoding.json."""
MODEL, RUN, ENCODING, REPORT = "model.safetensors", "run.json", "encoding.json", "report.html"
CHUNK = 4096
"""Rows that are predicted at a time."""


def write(trained: Trained, folder: str | os.PathLike[str]) -> Path:
    """Write a run's folder: the networks, the encoders, the run as JSON and its report. The networks come last.

    So a folder with `model.safetensors` is whole; the checksums in it tell files that are damaged, or of another run.

    Args:
        trained: what `train` gave.
        folder: made if need be; what an earlier run left there is replaced.

    Errors: OutputError if it cannot be written.
    """
    folder, prepared = writable_folder(folder), trained.prepared
    encoding = {
        "format": FORMAT,
        "schema": prepared.table.schema.to_json(),
        "encoders": [encoder.to_json() for encoder in prepared.encoders],
        "seen": Encoder.fit(prepared.table, torch.unique(prepared.rows["train"])).to_json(),  # by any network
        "diverged": [note is not None for note in trained.history.diverged],
    }
    run = {"format": FORMAT, "digest": prepared.digest, "splits": _splits(prepared), "run": trained.run}
    report = render(trained.run)  # before anything is replaced: what draws it may not be installed
    (folder / MODEL).unlink(missing_ok=True)  # networks of another run do not go with these encoders
    texts = {ENCODING: json.dumps(encoding), RUN: json.dumps(_finite(run), indent=1, allow_nan=False)}
    for name, text in texts.items():
        write_atomically(folder / name, text + "\n")
    write_atomically(folder / REPORT, report)
    save(trained.model, folder / MODEL, {"files": {name: _checksum(text) for name, text in texts.items()}})
    return folder


@dataclass(frozen=True)
class Folder:
    """A model folder: R networks, what encodes rows for each of them, and the run that made them.

    Attributes:
        path: of the folder.
        model: R networks in one.
        schema: what the columns hold.
        encoders: one for each network.
        seen: an encoder of all rows that any network was trained on, by which `outside` is told.
        diverged: of each network, whether it did, and is left out of predictions.
        run: the run as a report shows it.
        digest: of rows and target, by which runs on the same data know each other.

    Example:
        >>> import tempfile
        >>> from handgrad.recipes import Recipe
        >>> from handgrad.runs import Folder, prepare, train, write
        >>> data = {"x": [n / 50 for n in range(200)], "y": [(n / 50) ** 2 for n in range(200)]}
        >>> trained = train(prepare(data, "y", seeds=range(3)), Recipe(epochs=40), baselines=False)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = Folder.open(write(trained, place))
        >>> frame = folder.predict({"x": [1.0, 9.0]})
        >>> frame.columns, bool(abs(frame["prediction"][0] - 1) < 0.5), frame["outside"].to_list()
        (['prediction', 'spread', 'low', 'high', 'outside'], True, ['', 'x is 9, beyond 0 to 3.98.'])
    """

    path: Path
    model: nn.Module
    schema: Schema
    encoders: list[Encoder]
    seen: Encoder
    diverged: list[bool]
    run: Run
    digest: str
    splits: list[str]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Folder:
        """Open a folder.

        Errors: OutputError for one that is not there, not whole, damaged, or of another format.
        """
        path = Path(path)
        if not (path / MODEL).exists():
            found = "none" if not path.is_dir() else f"a folder without {MODEL}"
            remedy = "Name the folder of a `handgrad train` that has finished."
            raise OutputError("a model folder", found, remedy, str(path))
        checksums = load_tensors(path / MODEL)[1].get("files", {})  # which folders had not at first
        run, encoding = (_read(path / name, checksums.get(name)) for name in (RUN, ENCODING))
        try:
            schema = Schema.from_json(encoding["schema"])
            encoders = [Encoder.from_json(schema, one) for one in encoding["encoders"]]
            seen, diverged = Encoder.from_json(schema, encoding["seen"]), list(encoding["diverged"])
        except HandgradError as error:
            error.where = str(path / ENCODING)
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path / ENCODING, error) from error
        try:
            of_run, digest, splits = checked(run["run"]), str(run["digest"]), list(run.get("splits", []))
        except (HandgradError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path / RUN, error) from error
        model = load(path / MODEL).eval()
        expected = str((len(encoders), 1, len(schema.target.labels) or 1) if schema.target else ())
        try:
            x = torch.zeros(len(encoders), 1, len(schema.inputs), dtype=torch.float32)
            found = str(tuple(model(x).shape))
        except HandgradError as error:
            found = error.got
        model.forget()
        if found != expected or len(diverged) != len(encoders):
            remedy = "These files are not of one run: restore them, or train again."
            raise OutputError(f"networks that give {expected}", found, remedy, str(path / MODEL))
        return cls(path, model, schema, encoders, seen, diverged, of_run, digest, splits)

    def outputs(self, table: Table) -> Tensor:
        """What each network that has not diverged gives for the rows: (R, N, K) logits, or (R, N, 1) values."""
        kept = [r for r, gone in enumerate(self.diverged) if not gone]
        if not kept:
            remedy = "Train again with a smaller learning rate."
            raise OutputError(
                "a network that has not diverged", f"{len(self.diverged)} that have", remedy, str(self.path)
            )
        parts = []
        with torch.inference_mode():
            for start in range(0, len(table), CHUNK):
                rows = list(range(start, min(start + CHUNK, len(table))))
                x = torch.stack([encoder.transform(table, rows) for encoder in self.encoders])  # (R, n, I)
                parts.append(self.model(x)[kept])
        self.model.forget()
        return torch.cat(parts, 1)

    def predict(self, source: Any, level: float = 0.9, **reading: Any) -> Any:
        """Return a polars frame with a row of predictions for each row of `source`.

        The prediction is that of the ensemble: the mean of the networks' probabilities, or of their values. `spread` is
        the standard deviation over the networks, of the predicted class's probability or of the value: how far
        networks of other seeds and splits disagree, which is not the error of a prediction. What lies between `low` and
        `high` is: of rows like those of training at least a share `level` has its true value there, as the error of a
        row is told by the networks that had it among their test rows, and is the same for all predictions
        (`statistics.margins`); null where test rows are too few. `outside` says what of a row lies outside what was
        seen, of which none of this holds.

        Args:
            source: a file, or what else `tables.read` takes, with the columns that were used in training.
            level: of the interval of a number, from 0.01 to 0.99; rounded up to a whole percentage.
            reading: separator, decimal, encoding; a CSV file with the separator of the training's has its decimal mark.

        Errors: DataError for a column that is missing; ArgumentError for a level out of range.
        """
        percent = math.ceil(round(100 * checks.at_least("level", level, 0, "predict"), 6))
        if not 1 <= percent <= 99:
            raise ArgumentError("level from 0.01 to 0.99", str(level), "Pass level=0.9, say.", "predict")
        polars = require("polars", "tables")
        frame, _ = read_as(source, self.schema.written, **reading)
        table = Table.of(self.schema, frame, where="the data")
        y = self.outputs(table)
        columns: dict[str, Any] = {}
        target = self.schema.target
        assert target is not None
        if target.task == "classification":
            p = y.double().softmax(-1)
            mean, std = p.mean(0), p.std(0) if len(p) > 1 else torch.zeros_like(p[0])
            best = mean.argmax(-1)
            columns["prediction"] = [target.labels[k] for k in best.tolist()]
            columns["probability"] = mean.gather(1, best.unsqueeze(1)).squeeze(1).numpy()
            columns["spread"] = std.gather(1, best.unsqueeze(1)).squeeze(1).numpy()
            columns |= {f"p({label})": mean[:, k].numpy() for k, label in enumerate(target.labels)}
        else:
            values = y[..., 0].double()
            columns["prediction"] = values.mean(0).numpy()
            columns["spread"] = (values.std(0) if len(values) > 1 else torch.zeros_like(values[0])).numpy()
            margin = self.run["margins"][percent - 1] if "margins" in self.run else None  # earlier runs have none
            for name, sign in (("low", -1), ("high", 1)):
                limits = [None if margin is None else value + sign * margin for value in columns["prediction"].tolist()]
                columns[name] = polars.Series(limits, dtype=polars.Float64)
        columns["outside"] = list(outside(self.seen, table).sentences)
        return polars.DataFrame(columns)


def _splits(prepared: Prepared) -> list[str]:
    """For each seed a checksum of the rows in its parts."""
    return [_checksum(str([rows.tolist() for rows in parts])) for parts in zip(*prepared.rows.values())]


def _read(path: Path, checksum: str | None) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        remedy = "The folder is not whole: train again."
        raise OutputError(f"the file {path.name}", error.strerror or str(error), remedy, str(path)) from error
    except ValueError as error:
        raise _damaged(path, error) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        remedy = "Read it with the version of handgrad that wrote it, or a later one."
        raise OutputError(f"{path.name} of format {FORMAT}", f"format {found}", remedy, str(path))
    if checksum not in (None, _checksum(text)):
        raise _damaged(path, "another text than was written with the networks")
    return dict(content)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()


def _damaged(path: Path, error: Exception | str) -> OutputError:
    return OutputError(f"a whole {path.name}", f"a damaged one ({error})", "Restore it, or train again.", str(path))


def _finite(value: Any) -> Any:
    """None in place of every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
