"""The table, and sentences that claim no more than the numbers bear out."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from handgrad.experiments import report
from tests.results import LABELS, copied, diverge, made_up

NOISE = np.array([-1.0, 1.0] * 10)


def rounds(mean: float, std: float = 0.001, phase: int = 0) -> np.ndarray:
    """20 accuracies whose differences by round to those of another phase have a spread."""
    return mean + std * np.roll(NOISE * np.linspace(0.5, 1.5, 20), phase)


def said(accuracy: dict[str, Any]) -> str:
    return " ".join(report.sentences(copied(made_up(accuracy=accuracy))))


def test_rows_are_published_then_measured() -> None:
    results = made_up()
    rows = report.table_rows(results)
    assert [r.framework for r in rows[2:]] == list(LABELS.values())
    assert rows[0].cells() == ("Mini-framework (published)", "93.64", "2.87", "", "20", "")
    values = np.asarray(results["rows"][0]["accuracy"])
    assert rows[2].mean == pytest.approx(values.mean())
    assert rows[2].std == pytest.approx(values.std(ddof=1))
    assert rows[2].low is not None
    assert rows[2].low < rows[2].mean
    cells = rows[2].cells()
    assert cells[1] == f"{100 * values.mean():.2f}"
    assert cells[3] == f"{100 * rows[2].low:.2f} to {100 * (2 * values.mean() - rows[2].low):.2f}"
    assert cells[4:] == ("20", "1.2 s")


def test_diverged_rounds_are_told() -> None:
    results = made_up()
    expected = np.delete(results["rows"][0]["accuracy"], 4)
    diverge(results, "report", 4)
    row = report.table_rows(copied(results))[2]
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.mean < row.high
    assert row.cells()[4] == "19 of 20 (1 diverged)"
    assert row.mean == pytest.approx(expected.mean())
    assert "19 rounds" in report.sentences(results)[0]


def test_every_round_diverged() -> None:
    results = made_up(rounds=2)
    diverge(results, "torch_nn", 0)
    diverge(results, "torch_nn", 1)
    row = next(r for r in report.table_rows(results) if r.framework == "torch.nn")
    assert row.cells() == ("torch.nn", "", "", "", "0 of 2 (2 diverged)", "1.2 s")
    assert report.sentences(results) == []
    report.markdown(results)
    report.csv_text(results)
    report.rich_table(results)


def test_a_diverged_round_counts_even_where_it_has_a_number() -> None:
    assert report.accuracies({"accuracy": [0.5, 0.9], "diverged": [{"epoch": 1}, None]})[1:] == [0.9]
    assert math.isnan(report.accuracies({"accuracy": [0.5, 0.9], "diverged": [{"epoch": 1}, None]})[0])


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.04, "0.0 s"), (59.97, "1 min 00 s"), (3661, "61 min 01 s")]
)
def test_time(seconds: float | None, text: str) -> None:
    assert report.TableRow("a", 0.9, 0.1, 0.8, 1.0, 3, 3, seconds).cells()[-1] == text


def test_csv_reads_back() -> None:
    results = made_up()
    rows = list(csv.DictReader(io.StringIO(report.csv_text(results))))
    assert [row["framework"] for row in rows[2:]] == list(LABELS.values())
    assert rows[1]["low_percent"] == rows[1]["seconds"] == ""
    assert float(rows[2]["accuracy_percent"]) == pytest.approx(100 * np.mean(results["rows"][0]["accuracy"]), rel=1e-5)
    assert (rows[2]["n"], rows[2]["rounds"]) == ("20", "20")
    diverge(results, "report", 4)
    row = list(csv.DictReader(io.StringIO(report.csv_text(results))))[2]
    assert (row["n"], row["rounds"], row["seconds"]) == ("19", "20", "1.2")
    d = report.distribution(results["rows"][0])
    found = [float(row[name]) for name in ("accuracy_percent", "std_points", "low_percent", "high_percent")]
    assert found == pytest.approx([100 * d.mean, 100 * d.std, 100 * d.low, 100 * d.high], rel=1e-5)


def test_rich_table_shows_labels_as_they_are() -> None:
    results = made_up()
    results["rows"][0]["label"] = "odd [red]label[/red]"
    console = Console(width=160, file=io.StringIO(), color_system=None)
    console.print(report.rich_table(results))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "odd [red]label[/red]" in text
    assert all(heading in text for heading in report.HEADINGS)


def test_a_narrow_terminal_cuts_no_number() -> None:
    console = Console(width=50, file=io.StringIO(), color_system=None)
    console.print(report.rich_table(made_up()))
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_markdown_has_every_part_in_order() -> None:
    results = made_up()
    results["rows"][0]["label"] = "a|b"
    text = report.markdown(copied(results))
    parts = [
        "# handgrad and torch.nn over 20 rounds",
        "Options: rounds 20, epochs 6, learning rate 0.06",
        "| Framework | Accuracy (%) |",
        "| PyTorch (published) | 96.04 | 0.96 |",
        "| a\\|b |",
        *report.sentences(results),
        *report.certificate_lines(results),
        "`handgrad figures FOLDER`",
    ]
    found = [text.index(part) for part in parts]
    assert found == sorted(found)
    assert text.endswith("\n")


def test_certificate_lines() -> None:
    results = made_up()
    results["certificate"]["float32"] |= {"holds": False}
    results["certificate"]["float32"]["worst"]["loss"] = None
    first, second = report.certificate_lines(results)
    assert "float64: over 100 steps of 20 rounds" in first
    assert first.endswith("the bound 1.0e-10 holds.")
    assert "loss not finite" in second
    assert "**does not hold**" in second


def test_certificate_lines_tell_each_number_of_its_own_side() -> None:
    results = made_up()
    results["certificate"]["float32"] |= {
        "median": 3e-7,
        "of": 400,
        "flipped": 7,
        "worst_flipped": 0.25,
        "same_dtype": {"within": 391, "of": 400, "median": 1e-7},
        "torch_error": {"within": 382, "of": 400, "median": 6e-7},
        "free": {"handgrad": {"rounds_within": 11}, "reversed": {"rounds_within": 9}},
    }
    text = report.certificate_lines(results)[1]
    assert "Left out are 7 of the 400 steps" in text
    assert "differ by up to 2.5e-01." in text
    assert "Against torch.nn in float32, handgrad is within the bound in 391 of 400 steps" in text
    assert "torch.nn in float32 against the reference in 382: " in text
    assert "median error is 6.0e-07 for torch.nn and 3.0e-07 for handgrad." in text
    assert "handgrad stays within the bound of torch.nn to the end in 11 of 20 rounds; torch.nn" in text
    assert text.endswith("reverse order, in 9.")


@pytest.mark.parametrize("part", ["published", "rows", "figure1", "certificate", "options", "versions"])
def test_parts_may_be_missing(part: str) -> None:
    results = made_up()
    del results[part]
    assert "To draw the figures" in report.markdown(results)
    report.csv_text(results)
    report.rich_table(results)


@pytest.mark.parametrize("key", list(LABELS))
def test_rows_may_be_missing(key: str) -> None:
    results = made_up()
    results["rows"] = [row for row in results["rows"] if row["key"] != key]
    text = report.markdown(results)
    assert ("What explains the report's gap" in text) == (key not in ("report", "torch_nn"))
    assert ("Whether another initialisation" in text) == (key not in ("best", "torch_nn"))
    assert ("was not measured: it takes" in text) == (key in ("default", "from_torch"))


GAP = {"report": rounds(0.93), "torch_nn": rounds(0.95, phase=3)}


@pytest.mark.parametrize(
    ("default", "from_torch", "claim"),
    [
        (rounds(0.95, phase=7), rounds(0.95, phase=5), "The initialisation explains the gap, not the framework."),
        (rounds(0.95, phase=7), GAP["torch_nn"], "The initialisation explains the gap, not the framework."),
        (rounds(0.95, phase=7), GAP["torch_nn"] - 9e-4, "The initialisation explains the gap, not the framework."),
        (rounds(0.95, phase=7), GAP["torch_nn"] - 11e-4, "do not clear the framework itself"),
        (rounds(0.94, phase=7), GAP["torch_nn"], "explains part of the gap, not the framework; +1.00 point "),
        (rounds(0.95, phase=7), rounds(0.94, phase=5), "do not clear the framework itself"),
        (rounds(0.95, phase=7), rounds(0.95, 0.2, 5), "do not clear the framework itself"),
        (rounds(0.93, 0.1, 7), GAP["torch_nn"], "20 rounds do not settle whether the initialisation explains"),
        (rounds(0.92, phase=7), GAP["torch_nn"], "The initialisation does not explain the gap."),
    ],
)
def test_what_explains_the_gap(default: np.ndarray, from_torch: np.ndarray, claim: str) -> None:
    text = said({**GAP, "default": default, "from_torch": from_torch})
    assert claim in text
    assert text.count("explains the gap, not") == ("explains the gap, not" in claim)
    assert "is +2.00 points (95 % interval +1." in text
    for what, difference in (
        ("default, adds", default - GAP["report"]),
        ("moved to handgrad, adds", from_torch - GAP["torch_nn"]),
    ):
        assert f"{what} {report._signed(100 * difference.mean())} point" in text
    assert "; the report has +2.40." in text


def test_without_a_gap_nothing_explains_it() -> None:
    rest = {"default": rounds(0.95, phase=7), "from_torch": rounds(0.93, phase=3)}
    reverse = {"report": rounds(0.95), "torch_nn": rounds(0.93, phase=3)}
    assert "There is no gap to explain" in said({**reverse, **rest})
    unsettled = {"report": rounds(0.949, 0.1), "torch_nn": rounds(0.95, 0.1, phase=3)}
    assert "20 rounds do not settle whether there is a gap." in said({**unsettled, **rest})


BASE = rounds(0.95, 0.02)
NEAR = BASE + np.random.default_rng(1).normal(0, 0.002, 20)


@pytest.mark.parametrize(
    ("best", "accuracy", "spread"),
    [
        (NEAR + 0.01, "It is more accurate than torch.nn.", "20 rounds do not settle which of the two is steadier."),
        (NEAR, "It is at least as accurate as torch.nn, to within 0.5 points.", "do not settle which"),
        (NEAR - 0.003, "It is less accurate than torch.nn, by less than 0.5 points.", "do not settle which"),
        (NEAR - 0.02, "It is less accurate than torch.nn.", "do not settle which"),
        (rounds(0.95, 0.02, phase=3), "20 rounds do not settle whether it is as accurate", "do not settle which"),
        (0.95 + (BASE - 0.95) / 5, "do not settle whether it is as accurate", "It is steadier."),
        (0.95 + (BASE - 0.95) * 3, "do not settle whether it is as accurate", "It is less steady."),
    ],
)
def test_what_closes_it(best: np.ndarray, accuracy: str, spread: str) -> None:
    text = said({"best": best, "torch_nn": BASE})
    assert accuracy in text
    assert spread in text
    a, b = best - best.mean(), BASE - BASE.mean()
    ratio = math.sqrt((a @ a) / (b @ b))
    told = re.search(r"is (\S+) times torch.nn's \(95 % bootstrap interval (\S+) to (\S+)\)", text)
    assert told
    middle, low, high = map(float, told.groups())
    assert middle == pytest.approx(ratio, abs=0.006)
    assert low <= middle <= high
    assert ("at least as accurate" in text) == ("at least" in accuracy)
    assert ("It is steadier." in text) == (spread == "It is steadier.")


def test_warnings_tell_what_diverged_and_what_fails() -> None:
    results = made_up()
    assert report.warnings(results) == []
    diverge(results, "best", 4)
    diverge(results, "best", 9)
    results["rows"][0]["accuracy"][0] = None
    results["certificate"]["float32"]["holds"] = False
    first, second, third = report.warnings(copied(results))
    assert first == f"{LABELS['report']}: 1 of 20 rounds diverged."
    assert second.endswith(
        ": 2 of 20 rounds diverged, round 4 in model.0 (Linear 2→25) at epoch 2, step 1 (counted from 0)."
    )
    assert "certificate in float32 does not hold" in third


def test_one_round_settles_nothing() -> None:
    first, second = report.sentences(copied(made_up(rounds=1)))
    assert "(1 round, so no interval)" in first
    assert first.endswith("1 round does not settle whether there is a gap.")
    assert "1 round does not settle whether it is as accurate as torch.nn. 1 round does not settle" in second
    assert "nan" not in report.markdown(made_up(rounds=1))


def test_equal_rows_differ_by_zero_without_a_sign() -> None:
    results = made_up(accuracy={**GAP, "default": GAP["torch_nn"], "from_torch": GAP["torch_nn"]})
    assert (
        "moved to handgrad, adds 0.00 points (95 % interval 0.00 to 0.00, 20 rounds)." in report.sentences(results)[0]
    )
