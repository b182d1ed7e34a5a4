"""The commands as a user runs them."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import handgrad
from handgrad.cli import app
from handgrad.results import Results

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


def test_figures_are_drawn_again_the_same_without_training(folder, tmp_path):
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    assert run("figures", tmp_path).exit_code == 0
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "fast"], "float"),
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
