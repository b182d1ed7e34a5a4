"""From a data file to a model folder and back, in Python and on the command line."""

import dataclasses
import datetime
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars
import pytest
import torch
from typer.testing import CliRunner

from handgrad import files, load, nn, runs, save, tables
from handgrad.cli import app, console
from handgrad.errors import ArgumentError, DataError, MissingExtraError, OutputError
from handgrad.grid import grid
from handgrad.recipes import Recipe
from handgrad.results import Results
from handgrad.runs import Folder, compare, prepare, sweep, train, write
from handgrad.runs import folder as folder_module
from handgrad.statistics import margins
from handgrad.tables import Table
from handgrad.tensorfile import load_tensors

FAST = Recipe(hidden=(16,), epochs=40)


def frame(rows=300, seed=0, task="classification"):
    """Numbers, some missing, categories, a date, an identifier and a constant; what is predicted depends on them."""
    chance = np.random.default_rng(seed)
    a, b = chance.normal(size=(2, rows))
    kind = chance.choice(["red", "green", "blue"], rows)
    y = a + (kind == "red") + 0.3 * chance.normal(size=rows)
    table = {
        "a": [None if n % 17 == 0 else float(v) for n, v in enumerate(a)],
        "b": b.tolist(),
        "kind": kind.tolist(),
        "when": [f"2024-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in range(rows)],
        "id": [f"row-{n:04d}" for n in range(rows)],
        "constant": ["x"] * rows,
        "y": y.tolist() if task == "regression" else ["high" if v > 0.5 else "low" for v in y],
    }
    return polars.DataFrame(table)


def finished(*arguments, **options):
    trained = train(*arguments, **options)
    assert trained is not None
    return trained


@pytest.fixture(scope="module", params=["classification", "regression"])
def trained(request):
    return finished(prepare(frame(task=request.param), "y", range(4)), FAST)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    return Folder.open(write(trained, tmp_path_factory.mktemp("run") / "model"))


def test_networks_learn_and_are_judged_beside_baselines(trained):
    run = trained.run
    metric, least = ("accuracy", 0.75) if run["task"] == "classification" else ("r2", 0.6)
    assert all(value > least for value in run["metrics"]["test"][metric])
    linear = "logistic regression" if run["task"] == "classification" else "ridge regression"
    assert set(run["baselines"]) == {"constant", linear, "gradient boosting"}
    assert all(len(values) == 4 for table in run["baselines"].values() for values in table.values())
    assert min(run["baselines"][linear][metric]) > min(run["baselines"]["constant"][metric])
    assert {c["name"] for c in run["data"]["columns"]} == {"a", "b", "kind", "when"}
    assert {c["name"] for c in run["data"]["dropped"]} == {"id", "constant"}
    curves = {"loss", "accuracy"} if run["task"] == "classification" else {"loss"}
    assert set(run["history"]["validation"]) == curves
    missing = {c["name"]: c["missing"] for c in run["data"]["columns"]}
    assert missing == {"a": 18, "b": 0, "kind": 0, "when": 0}


def test_metrics_are_those_of_the_networks_on_rows_that_nobody_has_seen(trained):
    prepared, y = trained.prepared, trained.prepared.t
    for r, split in enumerate(prepared.splits):
        assert not set(split.train) & set(split.test)
        assert not set(split.validation) & set(split.test)
        out = trained.model.replica(r).eval()(prepared.x[r][split.test])
        if prepared.task == "classification":
            value, metric = float((out.argmax(-1) == y[split.test]).double().mean()), "accuracy"
        else:
            value, metric = math.sqrt(float((out - y[split.test]).double().square().mean())), "rmse"
        assert trained.run["metrics"]["test"][metric][r] == pytest.approx(value, rel=1e-5)


def test_spans_of_time_are_part_of_the_digest():
    def digest(factor):
        spans = [datetime.timedelta(minutes=factor * n) for n in range(300)]
        return prepare(frame().with_columns(polars.Series("span", spans)), "y", [0]).digest

    assert digest(1) == digest(1) != digest(2)


def test_what_a_row_becomes_is_learnt_from_training_rows_alone():
    table = frame()
    prepared = prepare(table, "y", [0])
    changed = table.with_columns(polars.Series("b", table["b"].to_list()))
    values = changed["b"].to_list()
    for row in prepared.rows["test"][0].tolist():
        values[row] = 1e6
    other = prepare(table.with_columns(polars.Series("b", values)), "y", [0])
    rows = prepared.rows["train"][0]
    assert torch.equal(prepared.x[0][rows], other.x[0][rows])


def test_a_seed_is_trained_as_in_any_company(trained):
    alone = finished(prepare(frame(task=trained.run["task"]), "y", [2]), FAST, baselines=False)
    for name, values in alone.run["metrics"]["test"].items():
        assert values[0] == pytest.approx(trained.run["metrics"]["test"][name][2], rel=0.05, abs=0.02)


def test_an_ensemble_predicts_as_its_networks_do(folder, trained):
    table = frame(rows=200, seed=5, task=trained.run["task"])
    found = folder.predict(table.drop("y"))
    rows = Table.of(folder.schema, table.drop("y"))
    outs = torch.stack([
        folder.model.replica(r)(encoder.transform(rows)) for r, encoder in enumerate(folder.encoders)
    ])  # fmt: skip
    if trained.run["task"] == "classification":
        p = outs.double().softmax(-1)
        assert found["p(high)"].to_list() == pytest.approx(p.mean(0)[:, 0].tolist(), rel=1e-5)
        likely = [["high", "low"][k] for k in p.mean(0).argmax(-1).tolist()]
        assert found["prediction"].to_list() == likely
        best = p.mean(0).argmax(-1, keepdim=True)
        assert found["probability"].to_list() == pytest.approx(p.mean(0).gather(1, best)[:, 0].tolist(), rel=1e-5)
        assert found["spread"].to_list() == pytest.approx(p.std(0).gather(1, best)[:, 0].tolist(), rel=1e-4, abs=1e-6)
        assert float((found["prediction"] == table["y"]).mean()) > 0.7
    else:
        assert found["prediction"].to_list() == pytest.approx(
            outs[..., 0].double().mean(0).tolist(), rel=1e-4, abs=1e-5
        )
        assert found["spread"].to_list() == pytest.approx(outs[..., 0].double().std(0).tolist(), rel=1e-4)
        for level, percent in ((0.9, 90), (0.5, 50), (0.502, 51)):
            found, margin = folder.predict(table.drop("y"), level), trained.run["margins"][percent - 1]
            assert (found["high"] - found["prediction"]).to_list() == pytest.approx([margin] * 200, rel=1e-6)
            assert (found["prediction"] - found["low"]).to_list() == pytest.approx([margin] * 200, rel=1e-6)
    for level in (0, 0.999, 90):
        with pytest.raises(ArgumentError, match="level"):
            folder.predict(table, level)


def test_margins_are_of_networks_that_had_not_seen_a_row(trained):
    if trained.run["task"] == "classification":
        assert "margins" not in trained.run
        return
    prepared, errors = trained.prepared, []
    for row, target in enumerate(prepared.t[:, 0].tolist()):
        unseen = [r for r in range(len(prepared.seeds)) if row in prepared.rows["test"][r]]
        x = prepared.x if prepared.x.ndim == 3 else prepared.x.expand(len(prepared.seeds), *prepared.x.shape)
        if unseen:
            found = [float(trained.model.replica(r).eval()(x[r, row : row + 1])) for r in unseen]
            errors.append(abs(target - sum(found) / len(found)))
    assert trained.run["margins"] == pytest.approx(margins(errors), rel=1e-3, abs=1e-5)


def test_intervals_hold_the_share_of_new_rows_that_they_say():
    generator = np.random.default_rng(0)

    def drawn(rows):
        x = generator.uniform(-2, 2, rows)
        return {"x": x.tolist(), "y": (np.sin(2 * x) + generator.standard_t(3, rows) / 5).tolist()}  # heavy tails

    made = finished(prepare(drawn(400), "y", range(6)), FAST, baselines=False)
    new = drawn(2000)
    with tempfile.TemporaryDirectory() as place:
        folder = Folder.open(write(made, place))
        for level in (0.5, 0.9):
            found = folder.predict({"x": new["x"]}, level)
            inside = (found["low"].to_numpy() <= new["y"]) & (new["y"] <= found["high"].to_numpy())
            assert abs(float(inside.mean()) - level) < 0.06


def test_of_too_few_rows_no_interval_is_known():
    data = {"x": [n / 10 for n in range(20)], "y": [n / 5 for n in range(20)]}
    made = finished(prepare(data, "y", [0]), FAST, baselines=False)
    assert made.run["margins"][90 - 1] is None
    with tempfile.TemporaryDirectory() as place:
        found = Folder.open(write(made, place)).predict(data)
    assert found["low"].null_count() == found["high"].null_count() == 20


@pytest.mark.parametrize("kept", [1, 2])
def test_an_ensemble_is_of_those_that_have_not_diverged(kept, folder, trained):
    some = dataclasses.replace(folder, diverged=[r >= kept for r in range(4)])
    table = frame(5, seed=7, task=trained.run["task"])
    found, alone = some.predict(table), folder.outputs(Table.of(folder.schema, table))[:kept].double()
    if trained.run["task"] == "classification":
        alone = alone.softmax(-1)
        alone = alone.gather(-1, alone.mean(0).argmax(-1).expand(kept, -1).unsqueeze(-1))
    best = "probability" if trained.run["task"] == "classification" else "prediction"
    assert found[best].to_list() == pytest.approx(alone[..., 0].mean(0).tolist())
    spread = alone[..., 0].std(0).tolist() if kept > 1 else [0.0] * 5
    assert found["spread"].to_list() == pytest.approx(spread)


def test_rows_outside_of_what_was_seen_are_named(folder):
    odd = {"a": [1e5, 0.0], "b": [0.0, 0.0], "kind": ["violet", "red"], "when": ["2024-05-05", "2024-05-05"]}
    sentences = folder.predict(odd)["outside"].to_list()
    assert "a is" in sentences[0]
    assert "violet" in sentences[0]
    assert sentences[1] == ""


def test_any_library_reads_the_folder(folder, trained):
    tensors, _ = load_tensors(folder.path / "model.safetensors")
    assert all(len(value) == 4 for value in tensors.values())
    again = load(folder.path / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), trained.model.state_dict().values()))
    run = json.loads((folder.path / "run.json").read_text())
    assert run["run"]["seeds"] == [0, 1, 2, 3]
    assert "<script" not in (folder.path / "report.html").read_text()


@pytest.mark.parametrize("name", ["model.safetensors", "run.json", "encoding.json"])
@pytest.mark.parametrize("harm", ["gone", "half", "future"])
def test_a_folder_that_is_not_whole_is_refused(name, harm, folder, tmp_path):
    for path in folder.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / name
    if harm == "gone":
        path.unlink()
    elif harm == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name.endswith("json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    else:
        return
    with pytest.raises(OutputError):
        Folder.open(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "encoding.json"])
def test_files_of_other_texts_than_were_written_are_refused(name, folder, tmp_path):
    """One digit that is another one leaves JSON whole, and predictions wrong."""
    for path in folder.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "model.safetensors").write_bytes((folder.path / "model.safetensors").read_bytes())
    assert Folder.open(tmp_path).digest == folder.digest, "ends of lines do not count"
    text = (tmp_path / name).read_text()
    place = text.rindex("0.") + 2
    (tmp_path / name).write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    with pytest.raises(OutputError, match=f"a whole {name}, got a damaged one"):
        Folder.open(tmp_path)


@pytest.mark.parametrize("content", [{}, [], {"metrics": {}}])
def test_a_run_that_lacks_something_is_damage(content, folder, tmp_path):
    for path in folder.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save(folder.model, tmp_path / "model.safetensors")  # without checksums, as folders were at first
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "run": content}))
    with pytest.raises(OutputError, match="a damaged one"):
        Folder.open(tmp_path)


@pytest.mark.parametrize("harm", ["networks of another run", "encoders", "diverged"])
def test_files_that_do_not_belong_together_are_refused(harm, folder, trained, tmp_path):
    for path in folder.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if harm == "networks of another run":
        width = 1 if trained.run["task"] == "classification" else 2
        network = Recipe(hidden=(4,)).network(len(folder.schema.inputs), width)
        save(nn.replicate(network, range(4)), tmp_path / "model.safetensors")
    else:
        encoding = json.loads((tmp_path / "encoding.json").read_text())
        encoding[harm].pop()
        save(folder.model, tmp_path / "model.safetensors")
        (tmp_path / "encoding.json").write_text(json.dumps(encoding))
    with pytest.raises(OutputError, match="networks"):
        Folder.open(tmp_path)


@pytest.mark.parametrize(("name", "got"), [("none", "got none"), ("", "without model.safetensors")])
def test_what_is_no_model_folder_is_refused_as_such(name, got, tmp_path):
    with pytest.raises(OutputError, match=f"a model folder, .*{got}"):
        Folder.open(tmp_path / name)


def test_a_file_without_a_column_is_refused(folder):
    with pytest.raises(DataError, match="kind"):
        folder.predict({"a": [1.0], "b": [2.0], "when": ["2024-01-01"]})


def test_runs_are_compared_by_seed(folder, trained, tmp_path):
    weak = finished(trained.prepared, Recipe(hidden=(2,), epochs=1), baselines=False)
    other = Folder.open(write(weak, tmp_path / "weak"))
    found = compare(folder, other)
    metric = "accuracy" if trained.run["task"] == "classification" else "r2"
    differences = [
        a - b for a, b in zip(trained.run["metrics"]["test"][metric], weak.run["metrics"]["test"][metric])
    ]  # fmt: skip
    assert found[metric].mean == pytest.approx(sum(differences) / 4)
    assert found[metric].n == 4
    assert (found[metric].a, found[metric].b) == (str(folder.path), str(other.path))
    with pytest.raises(ArgumentError, match="part to be one of"):
        compare(folder, other, part="tests")
    without = prepare(frame(task=trained.run["task"]), "y", range(4), kinds={"b": "drop"})
    fewer = Folder.open(write(finished(without, Recipe(epochs=1), baselines=False), tmp_path / "fewer"))
    assert compare(folder, fewer)[metric].n == 4, "the same rows and splits"
    again = finished(prepare(frame(seed=1, task=trained.run["task"]), "y", range(4)), FAST, baselines=False)
    with pytest.raises(ArgumentError, match="same data"):
        compare(folder, Folder.open(write(again, tmp_path / "again")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"time": "day"}, {"time": "day", "kinds": {"day": "date:%d/%m/%Y"}}),
        ({"groups": "g"}, {"groups": "g", "missing": ["g1"]}),
    ],
)
def test_runs_whose_seeds_have_other_rows_in_their_parts_are_not_compared(one, other, tmp_path):
    days = {"day": [f"{1 + n % 12}/{1 + n % 5}/2024" for n in range(200)], "g": [f"g{n % 12}" for n in range(200)]}
    table = frame(200).select("a", "b", "y").with_columns(**{name: polars.Series(v) for name, v in days.items()})

    def run(place, **options):
        prepared = prepare(table, "y", [0, 1], **options)
        return Folder.open(write(finished(prepared, Recipe(epochs=1), baselines=False), tmp_path / place))

    first, again, second = run("first", **one), run("again", **one), run("second", **other)
    assert compare(first, again)["accuracy"].n == 2
    with pytest.raises(ArgumentError, match="runs with the same parts of seed 0"):
        compare(first, second)


def test_runs_of_another_task_are_not_compared(tmp_path):
    table = frame(100).with_columns(y=polars.Series([n % 2 for n in range(100)]))
    folders = [
        Folder.open(write(finished(prepare(table, "y", [0, 1], task=task), Recipe(epochs=1)), tmp_path / task))
        for task in ("classification", "regression")
    ]
    with pytest.raises(ArgumentError, match="same data"):
        compare(*folders)


def test_recipes_are_swept(trained):
    results = sweep(trained.prepared, grid(seeds=4, lr=[1e-6, 0.01]), FAST)
    metric = "accuracy" if trained.run["task"] == "classification" else "r2"
    assert results.best(metric) == {"lr": 0.01}
    with pytest.raises(ArgumentError, match="learning_rate"):
        sweep(trained.prepared, grid(seeds=4, learning_rate=[0.1]), FAST)


@pytest.mark.parametrize(("options", "part"), [({}, "validation"), ({"part": "test"}, "test")])
def test_a_sweep_measures_what_a_run_does_on_the_part_asked_for(options, part, trained):
    results = sweep(trained.prepared, grid(seeds=4), FAST, **options)
    assert results.options == {"part": part, "target": "y"}
    for name, values in trained.run["metrics"][part].items():
        assert results.distribution(name).values == pytest.approx(values), name


def test_groups_stay_together():
    table = frame(400).with_columns(polars.Series("owner", [f"o{n % 40}" for n in range(400)]))
    prepared = prepare(table, "y", range(3), groups="owner")
    assert not [name for name in prepared.table.schema.inputs if name.startswith("owner")]
    owners = np.array(table["owner"].to_list())
    for split in prepared.splits:
        assert not set(owners[split.train]) & set(owners[split.test])
    finished(prepared, FAST, baselines=False)


@pytest.mark.parametrize(("every", "first"), [(10, "auc"), (3, "accuracy")])
def test_what_is_rare_is_not_judged_by_accuracy(every, first):
    classes = ["low" if n % every else "high" for n in range(400)]
    prepared = prepare(frame(400).with_columns(y=polars.Series(classes)), "y", range(2))
    found = finished(prepared, Recipe(epochs=1), baselines=False)
    assert next(iter(found.run["metrics"]["test"])) == first


def test_a_target_far_from_0_is_judged_by_its_own_digits():
    plain = frame(200, task="regression")
    far = plain.with_columns(polars.col("y") * 10 + 1e9)
    recipe = Recipe(hidden=(4,), epochs=2)
    near, found = (finished(prepare(data, "y", range(2)), recipe).run for data in (plain, far))
    for name, values in near["baselines"].items():
        assert found["baselines"][name]["r2"] == pytest.approx(values["r2"], rel=1e-4, abs=1e-4), name
    assert set(found["residuals"]["target"]) <= set(far["y"])


def test_figures_leave_out_replicas_that_diverged_though_their_best_weights_are_finite(trained):
    prepared, notes = trained.prepared, [None, {"epoch": 3, "step": 0, "layer": "the loss"}, None, None]
    history = dataclasses.replace(trained.history, diverged=notes)

    class Known(Recipe):
        def train(self, *arguments, **options):
            return trained.model, history

    run = finished(prepared, Known(), baselines=False).run
    assert all(values[1] != values[1] for values in run["metrics"]["test"].values())
    if prepared.task == "classification":
        assert run["confusion"][1] == [[0, 0], [0, 0]]
    else:
        rows = {row for r in (0, 2, 3) for row in prepared.rows["test"][r].tolist()}
        assert run["residuals"]["rows"] == len(rows)


def test_residuals_are_those_of_the_replicas_that_have_a_row_in_their_test_part():
    found = finished(prepare(frame(60, task="regression"), "y", range(4)), Recipe(epochs=1), baselines=False)
    prepared, residuals = found.prepared, found.run["residuals"]
    values: dict[int, list[float]] = {}
    for r, rows in enumerate(prepared.rows["test"].tolist()):
        for row in rows:
            values.setdefault(row, []).append(float(found.model.replica(r).eval()(prepared.x[r][[row]])))
    assert residuals["rows"] == len(values) > len(prepared.rows["test"][0])
    assert residuals["prediction"] == sorted(residuals["prediction"])
    places = {target: row for row, target in enumerate(prepared.t[:, 0].tolist())}
    assert {places[target] for target in residuals["target"]} == values.keys()
    for target, mean, spread in zip(*(residuals[name] for name in ("target", "prediction", "spread"))):
        own = values[places[target]]
        assert mean == pytest.approx(np.mean(own), rel=1e-5, abs=1e-5)
        expected = np.std(own, ddof=1) if len(own) > 1 else None
        assert spread == (expected and pytest.approx(expected, rel=1e-3, abs=1e-5))


def test_what_no_network_was_trained_on_is_outside():
    table = polars.DataFrame({"day": [n / 2 for n in range(100)], "b": [n % 7 / 2 for n in range(100)]})
    table = table.with_columns(y=polars.col("b") + polars.col("day") / 50)
    run = finished(prepare(table, "y", [0, 1], time="day"), Recipe(hidden=(4,), epochs=1), baselines=False)
    with tempfile.TemporaryDirectory() as place:
        found = Folder.open(write(run, place)).predict({"day": [29.5, 49.5], "b": [0.0, 0.0]})
    assert found["outside"].to_list() == ["", "day is 49.5, beyond 0 to 29.5."]


def test_a_run_that_cannot_be_written_says_so(trained, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in ("file", "file/model"):
        with pytest.raises(OutputError):
            write(trained, tmp_path / place)


def test_a_folder_that_is_half_written_has_no_networks(trained, tmp_path, monkeypatch):
    write(trained, tmp_path)

    def full(path, text):
        raise OutputError("a file that can be written", "No space left on device", "Choose another.", str(path))

    monkeypatch.setattr(folder_module, "write_atomically", full)
    with pytest.raises(OutputError):
        write(trained, tmp_path)
    assert not (tmp_path / "model.safetensors").exists(), "those of an earlier run"


def test_two_processes_may_try_one_folder_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_atomically", lambda path, data: None)  # the other one has deleted it again
    assert files.writable_folder(tmp_path) == tmp_path


def test_one_row_is_read_as_the_file_of_training(tmp_path):
    table = frame(200, task="regression").select("b", "kind", "y")
    comma = polars.col("b", "y").round(3).cast(polars.String).str.replace(".", ",", literal=True)
    table.with_columns(comma).write_csv(tmp_path / "train.csv", separator=";")
    trained = finished(prepare(tmp_path / "train.csv", "y", [0]), Recipe(hidden=(4,), epochs=2), baselines=False)
    folder = Folder.open(write(trained, tmp_path / "model"))
    (tmp_path / "one.csv").write_text("b;kind\n-1.234;red\n")
    assert folder.predict(tmp_path / "one.csv")["outside"].to_list()[0].startswith("b is -1234, beyond")
    assert folder.predict(tmp_path / "one.csv", decimal=".")["outside"].to_list() == [""]


def test_a_file_of_another_encoding_and_decimal_mark(tmp_path):
    """By the options that the errors name."""
    table = frame(200, task="regression").select("b", "kind", "y")
    comma = polars.col("b", "y").round(3).cast(polars.String).str.replace(".", ",", literal=True)
    text = table.with_columns(comma, polars.lit("für").alias("wort")).write_csv(separator=";")
    (tmp_path / "train.csv").write_bytes(text.encode("latin-1"))
    (tmp_path / "one.csv").write_bytes("b;kind;wort\n0,5;red;für\n".encode("latin-1"))
    options = ["train", tmp_path / "train.csv", "--target", "y", "--seeds", 1, "--epochs", 1]
    options += ["--no-baselines", "--output", tmp_path / "model"]
    failed = command(*options)
    assert failed.exit_code == 2
    assert "latin-1" in failed.output
    reading = ["--encoding", "latin-1", "--decimal", ","]
    assert command(*options, *reading).exit_code == 0
    predicted = command("predict", tmp_path / "model", tmp_path / "one.csv", *reading)
    assert predicted.exit_code == 0, predicted.output
    assert len(predicted.stdout.splitlines()) == 2


def test_a_run_has_rows_in_every_part():
    with pytest.raises(ArgumentError, match="validation above 0"):
        prepare(frame(), "y", [0], validation=0)
    with pytest.raises(ArgumentError, match="test above 0"):
        prepare(frame(), "y", [0], test=0)


def test_shares_and_the_way_to_split_are_told():
    prepared = prepare(frame(), "y", range(2), validation=0.1, test=0.3)
    assert {name: rows.shape[1] for name, rows in prepared.rows.items()} == {"train": 180, "validation": 30, "test": 90}
    assert prepared.how == "at random, stratified by class, 60/10/30 % for training, validation and test"
    assert not prepared.shared
    table = frame(task="regression").with_columns(day=polars.Series(range(300)))
    assert prepare(table, "y", [0]).how.startswith("at random, 60/20/20 %")
    by_time = prepare(table, "y", range(2), time="day")
    assert by_time.how == "in the order of 'day', 60/20/20 % for training, validation and test"
    assert by_time.shared
    assert by_time.rows["test"].tolist() == [list(range(240, 300))] * 2


def test_too_many_replicas_for_the_memory_are_refused(monkeypatch):
    table, seeds = frame(), range(5)
    need = prepare(table, "y", seeds).x.numel() * 4
    monkeypatch.setattr("handgrad.runs.prepared.free_memory", lambda: 2 * need)
    prepare(table, "y", seeds)
    monkeypatch.setattr("handgrad.runs.prepared.free_memory", lambda: 2 * need - 2)
    with pytest.raises(ArgumentError, match="GiB for 5 replicas"):
        prepare(table, "y", seeds)


def test_groups_of_unequal_size_are_cut_to_one_size_and_that_is_noted():
    table = frame(400).with_columns(owner=polars.Series([f"o{math.isqrt(n)}" for n in range(400)]))
    prepared = prepare(table, "y", range(3), groups="owner")
    assert prepared.how.startswith("by groups of 'owner', 60/20/20 %")
    assert any(note.startswith("Groups give train parts of ") for note in prepared.notes)
    whole = [tables.split(prepared.table, seed, groups="owner") for seed in range(3)]
    again = prepare(table, "y", range(3), groups="owner")
    for name, rows in prepared.rows.items():
        assert torch.equal(rows, again.rows[name]), "a run that goes on has the same rows"
        parts = [getattr(split, name) for split in whole]
        assert rows.shape[1] == min(map(len, parts))
        for some, every in zip(rows.numpy(), parts):
            assert set(some) <= set(every)
            assert (np.diff(some) > 0).all(), "different ones, in their order"


def test_a_run_has_the_texts_that_were_given_and_without_patience_no_best_epochs(trained):
    recipe = Recipe(hidden=(), epochs=1, patience=None)
    texts = {"title": "Prices", "source": "prices.csv", "command": "handgrad train prices.csv"}
    run = finished(trained.prepared, recipe, baselines=False, **texts).run
    assert (run["title"], run["data"]["source"], run["command"]) == tuple(texts.values())
    assert run["best_epochs"] == [None] * 4
    assert trained.run["best_epochs"] == trained.history.best
    assert trained.run["title"] == "y of a table"


def test_groups_by_the_target_are_refused():
    with pytest.raises(ArgumentError, match="groups"):
        prepare(frame(), "y", [0], groups="y")


def test_a_run_leaves_the_random_numbers_of_others_alone(trained):
    state = torch.get_rng_state()
    finished(trained.prepared, Recipe(hidden=(4,), epochs=1), baselines=False)
    assert torch.equal(torch.get_rng_state(), state)


# The command line


@pytest.fixture
def data(tmp_path):
    frame().write_csv(tmp_path / "data.csv")
    return tmp_path / "data.csv"


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_classes_that_no_split_tests_are_named():
    """A class of one row is in training; that nothing was measured of it, nothing told."""
    data = {"x": [n / 50 for n in range(80)], "y": ["a", "b"] * 39 + ["c", "d"]}
    assert prepare(data, "y", seeds=range(3)).notes == [
        "Classes of so few rows that no split tests them, and no metric is about them: c, d."
    ]
    data["y"] = ["a", "b"] * 40
    assert prepare(data, "y", seeds=range(3)).notes == []


def test_a_command_that_is_refused_leaves_no_folder(data, tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in ("new", "mine"):
        for arguments in ((data, "--target", "nothing"), (tmp_path / "none.csv", "--target", "y")):
            assert command("train", *arguments, "--output", tmp_path / folder).exit_code == 2
    assert command("sweep", data, "--target", "nothing", "--lr", "0.1", "--output", tmp_path / "new").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["mine"]


def test_what_cannot_be_reported_replaces_nothing(trained, tmp_path, monkeypatch):
    write(trained, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def missing(run):
        raise MissingExtraError("the package matplotlib", "none installed", "Install it.")

    monkeypatch.setattr(folder_module, "render", missing)
    with pytest.raises(MissingExtraError):
        write(trained, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_what_a_run_and_a_sweep_are_told_reaches_training(trained, tmp_path, monkeypatch):
    seen: list[dict[str, Any]] = []

    def known(self, *data, **options):
        seen.append(options)
        return trained.model, trained.history

    monkeypatch.setattr(Recipe, "train", known)
    told: dict[str, Any] = {"workers_": 3, "advance": lambda losses: None}
    run = finished(trained.prepared, FAST, baselines=False, checkpoints=tmp_path, **told).run
    assert "baselines" not in run
    sweep(trained.prepared, grid(seeds=4), FAST, **told)
    assert [{name: options[name] for name in told} for options in seen] == [told, told]
    assert seen[0]["checkpoints"] == tmp_path


def test_what_was_seen_of_the_layers_is_part_of_the_run(trained, tmp_path):
    found = finished(trained.prepared, dataclasses.replace(FAST, epochs=7, watch=3), baselines=False)
    outputs = 1 if trained.run["task"] == "regression" else 2
    assert set(found.run["history"]["train"]) == {"loss"}
    layers = found.run["layers"]
    assert layers["epochs"] == [3, 6]
    names = list(layers["measures"]["dead"])
    assert names[1:] == ["1 ReLU", f"2 Linear 16→{outputs}"]
    seen = found.history.arrays()["dead/1"][[2, 5]]
    assert layers["measures"]["dead"]["1 ReLU"] == seen.tolist()
    assert list(layers["measures"]["update"]) == [names[0], names[2]]
    assert "layers" not in trained.run
    page = (write(found, tmp_path / "watched") / "report.html").read_text()
    assert "Layer by layer" in page
    assert Folder.open(tmp_path / "watched").run["layers"] == layers


def test_what_baselines_warned_of_is_told_once(trained, monkeypatch):
    fits = tables.baselines(trained.prepared.table, trained.prepared.splits)
    warned = {name: [dataclasses.replace(fit, warnings=(name,)) for fit in some] for name, some in fits.items()}
    monkeypatch.setattr(tables, "baselines", lambda *_, **__: warned)
    linear = "ridge" if trained.run["task"] == "regression" else "logistic"
    told = finished(trained.prepared, Recipe(hidden=(), epochs=1)).run["warnings"]
    assert told == ["constant: constant", f"{linear} regression: linear", "gradient boosting: boosting"]


def test_baselines_say_how_far_they_are(trained):
    done: list[int] = []
    train(trained.prepared, dataclasses.replace(FAST, epochs=1), judged=done.append)
    assert done == [0, 1, 2, 3, 4]


def test_train_predict_show_compare_sweep(data, tmp_path):
    options = ["--target", "y", "--seeds", 3, "--epochs", 12, "--hidden", "16"]
    for name in ("one", "two"):
        more = ["--lr", "0.001"] if name == "two" else []
        result = command("train", data, *options, *more, "--output", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert "over 3 replicas" in result.output
        assert not (tmp_path / name / "checkpoints").exists()
    assert command("train", data, *options, "--output", tmp_path / "one").exit_code == 2, "nothing is written over"
    assert command("train", data, *options, "--output", tmp_path / "one", "--overwrite").exit_code == 0

    frame(50, seed=3).drop("y").write_parquet(tmp_path / "new.parquet")
    result = command("predict", tmp_path / "one", tmp_path / "new.parquet", "-o", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    assert polars.read_csv(tmp_path / "out.csv").height == 50

    assert "Layer by layer" in (tmp_path / "one" / "report.html").read_text()
    shown = command("show", tmp_path / "one").output
    assert "Linear" in shown
    compared = command("compare", tmp_path / "one", tmp_path / "two").output
    for output in (shown, compared):
        assert "intervals are about 1.3 times as wide" in " ".join(output.split())
    assert f"whether {tmp_path / 'one'} is higher than {tmp_path / 'two'}" in compared
    swept = ["--target", "y", "--lr", "0.001,0.01", "--hidden", "8,8x8", "--seeds", 2, "--epochs", 3]
    result = command("sweep", data, *swept, "-o", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert len(Results.from_json(json.loads((tmp_path / "s" / "results.json").read_text())).grid.configs) == 4


def test_predictions_are_written_in_the_format_of_their_name(folder, tmp_path):
    frame(20).write_csv(tmp_path / "new.csv")
    for name in ("out.parquet", "out.pq", "out.PQ", "out.csv", "out.CSV"):
        result = command("predict", folder.path, tmp_path / "new.csv", "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        reads = polars.read_csv if name.lower().endswith("csv") else polars.read_parquet
        assert reads(tmp_path / name).height == 20
    for name in ("out.xlsx", "out.csv.gz", "out"):
        result = command("predict", folder.path, tmp_path / "new.csv", "-o", tmp_path / name)
        assert result.exit_code == 2, result.output
        assert ".parquet" in result.output
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--target"),
        (["--target", "y", "--hidden", "8,x"], "64x64"),
        (["--target", "y", "--hidden", "8x"], "64x64"),
        (["--target", "y", "--lr", "inf"], "finite"),
        (["--target", "y", "--width", "8"], "hidden"),
    ],
)
def test_a_bad_option_of_sweep_ends_with_one_message(arguments, message, data, tmp_path):
    result = command("sweep", data, *arguments, "--seeds", 2, "--epochs", 1, "-o", tmp_path / "s")
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_predict_says_what_is_left_out_and_what_lies_outside(trained, data, tmp_path):
    def said(*diverged):
        history = dataclasses.replace(trained.history, diverged=[*diverged, None, None])
        folder = write(dataclasses.replace(trained, history=history), tmp_path / "model")
        result = command("predict", folder, data, "-o", tmp_path / "out.csv")
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert said(None, None) == "300 rows by 4 networks."
    data.write_text(data.read_text().replace("red", "purple", 2))
    note = {"epoch": 3, "step": 0, "layer": "the loss"}
    gone, beyond = "1 of 4 diverged and are left out", "outside what was seen in training 2"
    assert said(note, None) == f"300 rows by 3 networks; {gone}; {beyond}, as the column outside says."


def test_names_in_brackets_are_told_whole(tmp_path):
    table = frame(100, task="regression").rename({"a": "size [cm]", "y": "price [eur]", "kind": "[b]"})
    table.write_csv(tmp_path / "data.csv")
    options = ["--target", "price [eur]", "--seeds", 2, "--epochs", 1, "--no-baselines", "-o", tmp_path / "m[b]"]
    trained = command("train", tmp_path / "data.csv", *options)
    assert trained.exit_code == 0, trained.output
    for output in (trained.output, command("show", tmp_path / "m[b]").output):
        for name in ("size [cm]", "price [eur]", "[b]", f"{tmp_path / 'm[b]' / 'report.html'}"):
            assert name in output, name
    assert f"{tmp_path / 'm[b]'}" in command("compare", tmp_path / "m[b]", tmp_path / "m[b]").output


def test_predictions_do_not_replace_the_data(folder, data, tmp_path, monkeypatch):
    text = data.read_text()
    monkeypatch.chdir(tmp_path)
    for name in (data, "data.csv", "../" + tmp_path.name + "/data.csv"):
        result = command("predict", folder.path, data, "-o", name)
        assert result.exit_code == 2, result.output
        assert "an output beside the data" in result.output
    assert data.read_text() == text


def test_a_terminal_of_few_letters_and_columns_loses_no_numbers(trained, data, tmp_path):
    folder = write(trained, tmp_path / "modèle")

    def said(encoding, *words):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"}
        command_ = [sys.executable, "-m", "handgrad", *map(str, words)]
        return subprocess.run(command_, capture_output=True, env=environment, check=True).stdout.decode()

    assert "…" not in said("utf-8", "show", folder)
    assert "over 4 replicas" in " ".join(said("ascii", "show", folder).split())
    data.write_text(data.read_text().replace("red", "röt"))
    assert said("ascii", "predict", folder, data) == Folder.open(folder).predict(data).write_csv()


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_says_so(number, data, tmp_path):
    options = ["--target", "y", "--seeds", 2, "--epochs", 100_000, "--lr", "0.001,0.01", "-o", tmp_path / "s"]
    train_all = Recipe.train

    def stopped(self, *arguments, **more):
        timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
        timer.start()
        return train_all(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recipe, "train", stopped)
        result = command("sweep", data, *options)
    assert result.exit_code == 130, result.output
    assert "0 networks in" in result.output
    assert "Stopped: 4 networks are not finished." in result.output
    assert Results.from_json(json.loads((tmp_path / "s" / "results.json").read_text())).finished == [False] * 4


READ = (
    "--task regression --kind a=category --drop b --missing ? --missing - --separator ; --decimal , --encoding latin-1 "
    "--groups kind --time when"
)
READING = {
    "task": "regression",
    "kinds": {"a": "category", "b": "drop"},
    "missing": ["?", "-"],
    "separator": ";",
    "decimal": ",",
    "encoding": "latin-1",
    "groups": "kind",
    "time": "when",
}


def test_options_of_train_reach_what_they_are_for(data, tmp_path, monkeypatch):
    prepare_, seen = runs.prepare, dict[str, Any]()

    def prepared(*arguments, **options):
        seen["prepare"] = arguments, options
        return prepare_(*arguments)

    def stopped(prepared, recipe, **options):
        seen["train"] = recipe, options

    monkeypatch.setattr(runs, "prepare", prepared)
    monkeypatch.setattr(runs, "train", stopped)
    monkeypatch.setattr(sys, "argv", ["python -m handgrad", "train", "my data.csv"])
    options = (
        "--seeds 3 --hidden 8x4 --epochs 7 --lr 0.5 --dropout 0.1 --weight-decay 0.2 --batch-size 9 "
        "--optimizer SGD --no-baselines --watch 4 --workers 2 --overwrite"
    )
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"finished")
    result = command("train", data, "--target", "y", *READ.split(), *options.split(), "-o", tmp_path / "m")
    assert result.exit_code == 130, result.output
    assert seen["prepare"] == ((data, "y", range(3)), READING)
    recipe, options = seen["train"]
    own: dict[str, Any] = {
        "lr": 0.5,
        "dropout": 0.1,
        "weight_decay": 0.2,
        "batch_size": 9,
        "optimizer": "SGD",
        "watch": 4,
    }
    assert recipe == Recipe(hidden=(8, 4), epochs=7, **own)
    for name in ("advance", "judged"):
        assert callable(options.pop(name))
    assert options.pop("command") == "handgrad train 'my data.csv'"
    texts = {"title": "y from data.csv", "source": "data.csv"}
    assert options == {**texts, "baselines": False, "checkpoints": tmp_path / "m" / "checkpoints", "workers_": 2}


def test_options_of_sweep_reach_what_they_are_for(data, tmp_path, monkeypatch):
    prepare_, sweep_, seen = runs.prepare, runs.sweep, dict[str, Any]()

    def prepared(*arguments, **options):
        seen["prepare"] = arguments, options
        return prepare_(*arguments)

    def swept(prepared, grid, recipe, *, workers_, advance):
        seen["sweep"] = grid, recipe, workers_
        return sweep_(prepared, grid, recipe, advance=advance)

    monkeypatch.setattr(runs, "prepare", prepared)
    monkeypatch.setattr(runs, "sweep", swept)
    values: dict[str, Any] = {
        "lr": [0.5],
        "weight_decay": [0.2],
        "batch_size": [50],
        "hidden": [(8, 4), ()],
        "dropout": [0.1],
        "activation": ["Tanh", "ReLU"],
        "optimizer": ["SGD"],
        "schedule": ["constant"],
    }
    options = (
        "--lr 0.5 --weight-decay 0.2 --batch-size 50 --hidden 8x4, --dropout 0.1 --activation Tanh,ReLU "
        "--optimizer SGD --schedule constant --seeds 3 --epochs 2 --workers 2"
    )
    result = command("sweep", data, "--target", "y", *READ.split(), *options.split(), "-o", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert seen["prepare"] == ((data, "y", (0, 1, 2)), READING)
    assert seen["sweep"] == (grid(seeds=3, **values), Recipe(epochs=2), 2)
    assert "12 networks in" in result.output


def test_options_of_predict_reach_what_they_are_for(data, tmp_path, monkeypatch):
    seen: dict[Any, Any] = {}

    def predicted(source, **reading):
        seen[source] = reading
        return polars.DataFrame({"prediction": [1.0], "outside": [""]})

    opened = SimpleNamespace(predict=predicted, diverged=[False])
    monkeypatch.setattr(runs.Folder, "open", lambda path: opened)
    options = ["--separator", ";", "--decimal", ",", "--encoding", "latin-1", "--level", "0.8"]
    assert command("predict", tmp_path, data, *options).exit_code == 0
    assert seen == {data: {"separator": ";", "decimal": ",", "encoding": "latin-1", "level": 0.8}}


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals")
def test_sigterm_ends_a_command_as_ctrl_c_does_where_nothing_is_trained(data, tmp_path):
    code = """
import os, signal, sys
from handgrad import __main__, runs
runs.prepare = lambda *_, **__: (os.kill(os.getpid(), int(os.environ["NUMBER"])), signal.pause())
__main__.main()
"""
    words = [sys.executable, "-c", code, "train", str(data), "--target", "y", "-o", str(tmp_path / "m")]
    for number in (signal.SIGINT, signal.SIGTERM):
        environment = {**os.environ, "NUMBER": str(int(number))}
        assert subprocess.run(words, capture_output=True, env=environment, timeout=60).returncode == 130


@pytest.mark.parametrize("option", [("--target", "y"), ("--kind", "y=number"), ("--groups", "y")])
def test_options_of_a_file_without_one_are_refused(option, tmp_path):
    result = command("sweep", *option, "--seeds", 2, "--epochs", 1, "-o", tmp_path / "s")
    assert result.exit_code == 2, result.output
    assert "data file" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "z"], "z"),
        (["--target", "y", "--hidden", "x"], "64x64"),
        (["--target", "y", "--drop", "a", "--kind", "a=number"], "'a'"),
        (["--target", "y", "--kind", "a"], "COLUMN=KIND"),
        (["--target", "y", "--kind", "a="], "COLUMN=KIND"),
        (["--target", "y", "--kind", "a=number", "--kind", "a=category"], "number and category of 'a'"),
        (["--target", "y", "--time", "y"], "time of another column than the target"),
        (["--target", "y", "--hidden", "wide"], "64x64"),
        (["--target", "y", "--lr", "-1"], "lr"),
        (["--target", "y", "--optimizer", "Adan"], "Adam"),
        (["--target", "y", "--seeds", "0"], "seed"),
    ],
)
def test_a_bad_option_of_train_ends_with_one_message(arguments, message, data, tmp_path):
    result = command("train", data, *arguments, "-o", tmp_path / "model")
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_group_of_networks_is_stopped_too(number, data, tmp_path):
    options = ["--target", "y", "--seeds", "3", "--epochs", "2000", "--no-baselines", "-o", str(tmp_path / "model")]
    words = [sys.executable, "-m", "handgrad", "train", str(data), *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while process.poll() is None and not list(tmp_path.glob("model/checkpoints/*/*.safetensors")):
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert b"The same command goes on" in said


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
def test_two_commands_do_not_write_into_one_folder(data, tmp_path):
    """The one that ended last replaced the other's networks, in silence where they have other seeds."""
    options = ["--target", "y", "--no-baselines", "-o", str(tmp_path / "model")]
    words = [sys.executable, "-m", "handgrad", "train", str(data), *options, "--seeds", "4", "--epochs", "9999"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob("model/checkpoints/*/*.safetensors")):
            time.sleep(0.01)
        result = command("train", data, *options, "--seeds", "3", "--epochs", "2")
        process.kill()
    assert result.exit_code == 2
    assert "expected a folder that no other command writes to" in result.output
    assert (tmp_path / "model" / ".lock").exists(), "which holds nobody up"
    shutil.rmtree(tmp_path / "model" / "checkpoints")
    assert command("train", data, *options, "--seeds", "3", "--epochs", "2").exit_code == 0
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["encoding.json", "model.safetensors", "report.html", "run.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
def test_a_killed_command_goes_on_where_it_was(data, tmp_path):
    def begun(folder):
        options = ["--target", "y", "--seeds", "12", "--epochs", "150", "--no-baselines"]
        words = [sys.executable, "-m", "handgrad", "train", str(data), *options, "-o", str(tmp_path / folder)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    whole = begun("whole")
    whole.communicate()
    assert whole.returncode == 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = set(tmp_path.glob("parts/checkpoints/*/*.safetensors"))
        process = begun("parts")
        while process.poll() is None and len(set(tmp_path.glob("parts/checkpoints/*/*.safetensors")) - before) < 2:
            time.sleep(0.01)
        os.kill(process.pid, number)
        process.communicate()
        assert process.returncode == (-number if number == signal.SIGKILL else 130)
    process = begun("parts")
    said, _ = process.communicate()
    assert process.returncode == 0
    assert b"Going on" in said
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "parts")]
    first, second = (load_tensors(path)[0] for path in files)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize(("name", "unbuffered"), [("predict", ""), ("predict", "1"), ("show", "")])
def test_output_that_cannot_be_written_ends_with_one_message(name, unbuffered, folder, data):
    call = [sys.executable, "-m", "handgrad", name, str(folder.path), *([str(data)] if name == "predict" else [])]
    with open("/dev/full", "wb") as full:
        env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, env=env, check=False)
    assert done.returncode == 2
    said = "handgrad: expected output that can be written, got No space left on device."
    assert done.stderr.splitlines() == [f"{said} Choose a place that has space left."]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_changes_nothing(dtype, tmp_path):
    table = frame(rows=3000, task="regression")  # bfloat16 has no whole number beyond 256 but even ones

    def outcome():
        trained = finished(prepare(table, "y", range(2)), Recipe(hidden=(4,), epochs=1), baselines=False)
        write(trained, tmp_path)
        return trained.run["metrics"], trained.run["residuals"], Folder.open(tmp_path).predict(table)

    metrics, residuals, predicted = outcome()
    torch.set_default_dtype(dtype)
    try:
        again = outcome()
    finally:
        torch.set_default_dtype(torch.float32)
    assert again[:2] == (metrics, residuals)
    assert again[2].equals(predicted)


def test_output_without_a_buffer_gets_every_byte(monkeypatch):
    class Narrow(io.RawIOBase):
        """Takes three bytes at a time, as a disk may that is almost full."""

        taken = b""

        def write(self, content):
            self.taken += bytes(content[:3])
            return min(len(content), 3)

    out = SimpleNamespace(buffer=Narrow(), flush=lambda: None)
    monkeypatch.setattr(sys, "stdout", out)
    console.write(b"prediction\n1.5\n")
    monkeypatch.undo()
    assert out.buffer.taken == b"prediction\n1.5\n"
