"""The commands as a user runs them."""

import io
import json
import math
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

import handgrad
from handgrad import runs
from handgrad.cli import app, console, experiment, files, sweeping
from handgrad.errors import ArgumentError
from handgrad.experiments import report
from handgrad.experiments.disk import Options
from handgrad.experiments.disk_sweep import disk_sweep
from handgrad.report import words
from handgrad.results import Results
from handgrad.statistics import band
from tests import runs as made_runs

FILES = ["results.json", "table1.md", "table1.csv", "figure1.png", "figure1.svg", "figure2.png", "figure2.svg"]


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "short"
    result = run("reproduce", "--rounds", 2, "--epochs", 2, "--output", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_reproduce_leaves_table_figures_and_results(folder):
    for name in FILES:
        assert (folder / name).stat().st_size > 0, name
    assert json.loads((folder / "results.json").read_text())["options"]["rounds"] == 2
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_figures_are_drawn_and_told_again_the_same_without_training(folder, tmp_path):
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    result = run("figures", tmp_path)
    assert result.exit_code == 0
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    told, results = " ".join(result.output.split()), json.loads((folder / "results.json").read_text())
    sentences = [*report.sentences(results), *report.certificate_lines(results)]
    for text in ("handgrad and torch.nn over 2 rounds", *sentences, *FILES):
        assert text.replace("**", "") in told, text


def test_options_of_reproduce_reach_what_they_are_for(tmp_path, monkeypatch):
    seen = []

    def reproduced(options, start):
        seen.append(options)
        raise ArgumentError("no more than that", "more", "Stop.")

    monkeypatch.setattr(experiment, "run", reproduced)
    options = (
        "--rounds 2 --epochs 3 --lr 0.5 --batch-size 100 --seed 7 --init xavier_normal --activation tanh "
        "--reduction sum --device cpu --dtype float64 --workers 1"
    )
    assert run("reproduce", *options.split(), "-o", tmp_path).exit_code == 2
    assert seen == [Options(2, 3, 0.5, 100, 7, "xavier_normal", "tanh", "sum", "cpu", "float64", 1)]


def test_options_of_a_sweep_of_the_disk_reach_what_they_are_for(tmp_path, monkeypatch):
    seen = []

    def swept(lists, seeds, epochs, workers, start):
        seen.append((lists, seeds, epochs, workers))
        raise ArgumentError("no more than that", "more", "Stop.")

    monkeypatch.setattr(sweeping, "disk_sweep", swept)
    lists = {
        "lr": "0.1,0.2",
        "momentum": "0.9",
        "weight_decay": "0.01",
        "batch_size": "100",
        "width": "5",
        "init": "xavier_normal",
        "activation": "tanh",
    }
    options = [word for name, text in lists.items() for word in (f"--{name.replace('_', '-')}", text)]
    for more, expected in ([], (20, 50, None)), (["--seeds", 2, "--epochs", 3, "--workers", 1], (2, 3, 1)):
        assert run("sweep", *options, *more, "-o", tmp_path).exit_code == 2
        assert seen.pop() == (lists, *expected)


def test_a_progress_bar_tells_epochs_and_latest_losses():
    progress = console.progress_bar()
    advance = console.advancing(progress)("2 networks", 6)
    advance([1.0, math.nan])
    advance([2.0, 4.0])
    (task,) = progress.tasks
    assert (task.completed, task.total, task.description) == (4, 6, f"2 networks  loss {band([1.0, 2.0, 4.0])}")


def test_a_diverged_round_is_named(tmp_path):
    result = run("reproduce", "--rounds", 1, "--epochs", 1, "--lr", "1e30", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert "round 0" in result.output
    assert "epoch" in result.output
    assert "Linear" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--rounds", 0], "rounds"),
        (["reproduce", "--init", "magic"], "kaiming_normal"),
        (["reproduce", "--device", "abacus"], "abacus"),
    ],
)
def test_a_bad_option_ends_with_one_message(arguments, message, tmp_path):
    result = run(*arguments, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert "expected" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run("reproduce", "--output", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert "Choose a folder" in result.output


@pytest.mark.parametrize("content", [None, "{", '{"format": 99}', "[]"])
def test_foreign_results_are_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    result = run("figures", tmp_path)
    assert result.exit_code == 2
    assert "handgrad reproduce" in result.output


def test_the_module_runs_and_prints_its_version():
    done = subprocess.run([sys.executable, "-m", "handgrad", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"handgrad {handgrad.__version__}"


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['typer'] = None; from handgrad.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'handgrad[cli]'" in done.stderr


def test_a_sweep_leaves_table_plot_and_results(tmp_path):
    result = run(
        "sweep", "--lr", "0.01, 0.1", "--init", "pytorch,gaussian", "--seeds", 2, "--epochs", 1, "-o", tmp_path
    )
    assert result.exit_code == 0, result.output
    for name in ("results.json", "table.md", "accuracy.png", "accuracy.svg"):
        assert (tmp_path / name).stat().st_size > 0, name
    results = Results.from_json(json.loads((tmp_path / "results.json").read_text()))
    assert len(results.grid) == 8
    assert results.grid.names == ("lr", "init")
    assert "8 networks" in result.output


def test_a_sweep_of_the_disk_has_the_reports_learning_rate_unless_told():
    left_out = disk_sweep({"momentum": "0.9"}, seeds=1, epochs=1)
    told = disk_sweep({"momentum": "0.9", "lr": str(Options.lr)}, seeds=1, epochs=1)
    assert left_out.distribution("accuracy").values == told.distribution("accuracy").values


def test_a_sweep_that_no_plot_shows_leaves_table_and_results_alone(tmp_path):
    for name in ("accuracy.png", "rmse.svg"):
        (tmp_path / name).write_text("of an earlier run")
    four = ["--lr", "0.01,0.1", "--init", "pytorch,gaussian", "--activation", "relu,tanh", "--width", "5,6"]
    result = run("sweep", *four, "--seeds", 2, "--epochs", 1, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "table.md"]
    assert "No plot: plot: expected at most 3 hyper-parameters to draw" in result.output
    assert "32 networks" in result.output


def test_a_figure_of_an_earlier_run_is_not_left_beside_other_numbers(folder, tmp_path):
    results = json.loads((folder / "results.json").read_text())
    for row in results["rows"]:
        row["diverged"] = [{"epoch": 0, "step": 0, "layer": None}] * 2
    (tmp_path / "results.json").write_text(json.dumps(results))
    for name in ("figure2.png", "figure2.svg"):
        (tmp_path / name).write_text("of an earlier run")
    assert run("figures", tmp_path).exit_code == 0
    assert (tmp_path / "figure1.png").exists()
    assert not list(tmp_path.glob("figure2.*"))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,y\n" + "".join(f"{n / 7:.3f},{n * n / 50:.3f}\n" for n in range(100)))
    return path


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
def test_a_rate_beyond_float32_ends_with_one_message(command, name, table, tmp_path):
    option = f"--{name.replace('_', '-')}"
    result = run(command, table, "--target", "y", option, "1e300", "--seeds", 2, "--epochs", 1, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert f"{name} of at most 3.4e+38, the largest float32, got 1e+300" in result.output


def test_checkpoints_of_another_number_of_networks_are_neither_used_nor_deleted(table, tmp_path, monkeypatch):
    options = ["train", table, "--target", "y", "--epochs", 2, "--no-baselines", "-o", tmp_path / "out"]
    checkpoints = tmp_path / "out" / "checkpoints"
    with monkeypatch.context() as patch:  # stopped at the last moment
        patch.setattr(runs, "write", lambda *_: sys.exit(130))
        assert run(*options, "--seeds", 12).exit_code == 130
    left = sorted(checkpoints.glob("*/*"))
    assert {path.parent.name for path in left} == {"replicas-0-5", "replicas-6-11"}
    result = run(*options, "--seeds", 6)
    assert result.exit_code == 2, result.output
    assert "checkpoints of a run of 6 networks, got replicas-0-5, replicas-6-11. Pass the --seeds of" in result.output
    assert "Going on" not in result.output
    assert sorted(checkpoints.glob("*/*")) == left
    result = run(*options, "--seeds", 12)
    assert result.exit_code == 0, result.output
    assert "Going on where an earlier run was stopped." in result.output
    assert not checkpoints.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "fast"], "float"),
        (["--lr", "1e39"], "lr of at most 3.4e+38"),
        (["--seeds", 10**8], "at most 10,000,000 replicas"),
        (["--lr", "0.1,0.1"], "twice"),
        (["--lr", "-0.1"], "lr"),
        (["--init", "magic"], "kaiming_normal"),
        (["--seeds", 0], "seeds"),
        (["--batch-size", 2000], "at most the 1000 samples"),
        (["--batch-size", 999], "at least 2 samples"),
    ],
)
def test_a_bad_sweep_ends_with_one_message(arguments, message, tmp_path):
    result = run("sweep", *arguments, "-o", tmp_path)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_narrow_terminal_cuts_no_number(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(files, "console", Console(width=50, file=shown, color_system=None))
    files._show(made_runs.regression())
    assert "…" not in shown.getvalue()


def test_every_models_numbers_are_told_in_its_own_column(monkeypatch):
    made, shown = made_runs.regression(), io.StringIO()
    monkeypatch.setattr(files, "console", Console(width=200, file=shown, color_system=None))
    files._show(made)
    told = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.getvalue().splitlines()]
    for name, d in words.of_network(made, "test").items():
        others = words.of_baselines(made, name)
        baselines = [words.cells(others[other])[0] for other in made["baselines"]]
        assert [words.kind(name).label, *words.cells(d), *baselines] in told, name
