"""Results of a sweep: selecting, comparing, tables, data frames and the round trip through JSON."""

from __future__ import annotations

import importlib
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from handgrad.distribution import Distribution
from handgrad.errors import ArgumentError, MissingExtraError
from handgrad.grid import grid
from handgrad.results import Results

NAN = math.nan
GRID = grid(seeds=[5, 6, 7, 8, 9, 10], init=["pytorch", "gaussian"], lr=[0.1, 0.01])
VALUES = np.random.default_rng(0).normal(0.95, 0.01, (2, 2, 6)) - np.array([[[0.0]], [[0.05]]])


def sweep(**other: Any) -> Results:
    return Results(GRID, {"accuracy": VALUES.flatten().tolist(), "loss": (1 - VALUES).flatten().tolist()}, **other)


def with_losses() -> Results:
    """One replica diverged, and the last two, one of them noted as diverged too, were not finished."""
    diverged: list[dict[str, Any] | None] = [None] * 24
    diverged[8] = diverged[23] = {"epoch": 2, "step": 1, "layer": "model.0 (Linear 2→25)"}
    return sweep(diverged=diverged, finished=[True] * 22 + [False] * 2)


def test_a_configuration_is_selected() -> None:
    d = sweep().distribution("accuracy", lr=0.01, init="gaussian")
    assert d == Distribution(tuple(VALUES[1, 1].tolist()), GRID.seeds, "accuracy at init=gaussian, lr=0.01")
    assert Results(grid(seeds=2), {"loss": [1.0, 2.0]}).distribution("loss").name == "loss"
    assert Results(grid(seeds=2, lr=[0.1]), {"loss": [1.0, 2.0]}).distribution("loss").mean == 1.5
    odd = Results(grid(seeds=1, metric_name=["a", "b"], self=[1, 2]), {"loss": [1.0, 2.0, 3.0, 4.0]})
    assert odd.distribution("loss", metric_name="b", self=1).mean == 3


def test_lists_select_what_was_given_as_lists() -> None:
    results = Results(grid(seeds=1, hidden=[[25, 25], [64]]), {"loss": [1.0, 2.0]})
    assert results.distribution("loss", hidden=[25, 25]).mean == 1


def test_diverged_and_unfinished_replicas_are_left_out_and_counted() -> None:
    results = with_losses()
    d = results.distribution("accuracy", init="pytorch", lr=0.01)
    assert (d.n, d.diverged, d.unfinished) == (5, 1, ())
    assert math.isnan(d.values[2])
    assert d.mean == pytest.approx(np.delete(VALUES[0, 1], 2).mean())
    assert "; 1 of 6 diverged" in str(d)
    d = results.distribution("accuracy", init="gaussian", lr=0.01)
    assert (d.n, d.diverged, d.unfinished) == (4, 0, (9, 10))
    assert "; 2 of 6 not finished" in str(d)
    assert repr(results) == (
        "Results(4 configurations × 6 seeds: accuracy, loss; 1 of 24 diverged; 2 of 24 not finished)"
    )
    c = results.compare("accuracy", {"init": "pytorch", "lr": 0.01}, {"init": "gaussian", "lr": 0.01})
    assert (c.n, c.diverged, c.unpaired) == (3, 1, 2)


def test_a_number_that_is_not_finite_counts_as_diverged() -> None:
    results = Results(grid(seeds=3), {"loss": [1.0, math.inf, None]})  # type: ignore[list-item]
    assert repr(results) == "Results(1 configuration × 3 seeds: loss; 2 of 3 diverged)"
    assert (results.distribution("loss").n, results.distribution("loss").diverged) == (1, 2)


def test_best() -> None:
    results = sweep()
    means = VALUES.mean(-1)
    assert results.best("accuracy") == {"init": "pytorch", "lr": [0.1, 0.01][int(means[0].argmax())]}
    assert results.best("loss", largest=False) == results.best("accuracy")
    assert results.best("accuracy", largest=False)["init"] == "gaussian"
    tie = Results(grid(seeds=1, lr=[1, 2, 3]), {"loss": [NAN, 2.0, 2.0]})
    assert tie.best("loss") == tie.best("loss", largest=False) == {"lr": 2}
    tie.best("loss")["lr"] = 7
    assert tie.best("loss") == {"lr": 2}


def test_compare_is_paired_and_says_what_differs() -> None:
    c = sweep().compare("accuracy", {"init": "pytorch", "lr": 0.1}, {"init": "gaussian", "lr": 0.1})
    assert c.mean == pytest.approx((VALUES[0, 0] - VALUES[1, 0]).mean())
    assert str(c).startswith("accuracy at init=pytorch, lr=0.1 is higher than accuracy at init=gaussian, lr=0.1 by 0.0")


def test_rows() -> None:
    rows = with_losses().rows("accuracy")
    assert [(row["init"], row["lr"]) for row in rows] == [(c["init"], c["lr"]) for c in GRID.configs]
    assert [(row["n"], row["diverged"], row["unfinished"]) for row in rows] == [
        (6, 0, 0),
        (5, 1, 0),
        (6, 0, 0),
        (4, 0, 2),
    ]
    values = VALUES[0, 0]
    half = 2.5705818 * values.std(ddof=1) / math.sqrt(6)
    for name, expected in {
        "mean": values.mean(),
        "std": values.std(ddof=1),
        "low": values.mean() - half,
        "high": values.mean() + half,
        "median": np.median(values),
    }.items():
        assert rows[0][name] == pytest.approx(expected), name


def test_numbers_of_far_larger_spread_have_no_digits_that_mean_nothing() -> None:
    results = Results(grid(seeds=3, lr=[0.1, 1.0]), {"loss": [0.5, 0.5 + 1e-9, 0.5 - 1e-9, 95.0, 120.5, 70.25]})
    low, high = (line.split(" | ") for line in results.markdown("loss").splitlines()[2:])
    assert low[1:3] == ["0.5", "1e-09"]
    assert high[1:3] == ["95.250", "25.126"]


def test_tables_show_the_rows() -> None:
    results = with_losses()
    lines = results.markdown("accuracy").splitlines()
    assert lines[0] == "| init | lr | accuracy | std | 95 % interval | median | n |"
    assert lines[1] == "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    row = results.rows("accuracy")[1]
    assert lines[3].startswith(f"| pytorch | 0.01 | {row['mean']:.4f} | {row['std']:.4f} | {row['low']:.4f} to ")
    assert lines[3].endswith(" | 5 of 6 (1 diverged) |")
    assert lines[5].endswith(" | 4 of 6 (2 not finished) |")
    console = Console(width=160, file=io.StringIO(), color_system=None)
    console.print(results.table("accuracy"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for line in lines[2:]:
        assert all(cell.strip() in text for cell in line.strip("|").split("|"))


def test_integers_beyond_all_floats_count_as_not_finite() -> None:
    assert Results(grid(seeds=2), {"loss": [10**400, 1]}).distribution("loss").diverged == 1


def test_a_row_of_markdown_is_a_line() -> None:
    results = Results(grid(seeds=1, text=["a\nb", "c\r\nd"]), {"loss": [1.0, 2.0]})
    assert [line.split("|")[1] for line in results.markdown("loss").splitlines()[2:]] == [" a b ", " c d "]


def test_a_narrow_terminal_cuts_no_number() -> None:
    g = grid(seeds=3, lr=[0.001, 0.01], init=["kaiming_uniform", "kaiming_normal"], weight_decay=[0.0001])
    results = Results(g, {"accuracy": (0.9 + 0.001 * np.random.default_rng(0).normal(size=len(g))).tolist()})
    console = Console(width=60, file=io.StringIO(), color_system=None)
    console.print(results.table("accuracy"))
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_tables_of_odd_values() -> None:
    results = Results(grid(seeds=1, odd=["[red]a|b[/red]", "c"]), {"loss": [1.0, NAN]})
    assert results.markdown("loss").splitlines()[2:] == [
        "| [red]a\\|b[/red] | 1 |  |  | 1 | 1 |",
        "| c |  |  |  |  | 0 of 1 (1 diverged) |",
    ]
    console = Console(width=160, file=io.StringIO(), color_system=None)
    console.print(results.table("loss"))
    assert "[red]a|b[/red]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_to_pandas_has_a_row_for_each_replica() -> None:
    frame = with_losses().to_pandas()
    assert list(frame.columns) == ["init", "lr", "seed", "accuracy", "loss", "diverged", "finished"]
    assert len(frame) == 24
    assert frame["seed"].tolist() == list(GRID.seeds) * 4
    means = frame.groupby(["init", "lr"])["accuracy"].mean()
    assert means["pytorch", 0.1] == pytest.approx(VALUES[0, 0].mean())
    assert frame["accuracy"].isna().tolist() == [i in (8, 22, 23) for i in range(24)]
    assert (frame["diverged"].sum(), (~frame["finished"]).sum()) == (1, 2)


def test_without_pandas_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"the package pandas, got none.*pip install 'handgrad\[pandas\]'"):
        sweep().to_pandas()
    with pytest.raises(MissingExtraError, match=r"the package scipy, got none.*pip install 'handgrad\[cli\]'"):
        sweep().rows("loss")


values = st.one_of(st.floats(-1e9, 1e9), st.just(NAN), st.just(math.inf))
plain = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans())


@given(st.data())
def test_json_round_trip(data: st.DataObject) -> None:
    distinct = st.lists(plain, min_size=1, max_size=3, unique_by=lambda v: (isinstance(v, bool), v))
    hyper = data.draw(st.dictionaries(st.sampled_from(["lr", "init", "width"]), distinct, max_size=2))
    g = grid(seeds=data.draw(st.lists(st.integers(), min_size=1, max_size=3, unique=True)), **hyper)
    epochs = data.draw(st.integers(0, 3))

    def several(element: st.SearchStrategy[Any]) -> Any:
        return data.draw(st.lists(element, min_size=len(g), max_size=len(g)))

    results = Results(
        g,
        {"loss": several(values)},
        {"loss": several(st.lists(values, min_size=epochs, max_size=epochs))} if epochs else {},
        several(st.one_of(st.none(), st.fixed_dictionaries({"epoch": st.integers()}))),
        {"epochs": 5, "optimizer": "SGD"},
        data.draw(st.floats(0, 1e6)),
        several(st.booleans()),
    )
    text = json.dumps(results.to_json(), allow_nan=False)
    assert Results.from_json(json.loads(text)) == results


def test_json_of_tuples_and_arrays() -> None:
    results = Results(grid(seeds=np.arange(2), hidden=[(2, 2), (3,)], lr=torch.tensor([0.5])), {"loss": [1.0, 2, 3, 4]})
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def test_tensors_are_taken_for_lists() -> None:
    results = Results(grid(seeds=2), {"loss": torch.tensor([1.0, NAN])}, {"loss": torch.ones(2, 3)})  # type: ignore[dict-item]
    assert results == Results(grid(seeds=2), {"loss": [1.0, NAN]}, {"loss": [[1.0] * 3] * 2})


def json_with(**change: Any) -> dict[str, Any]:
    return {**sweep().to_json(), **change}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sweep().distribution("acc", lr=0.1), "one configuration, got 2 that fit lr=0.1. Name a"),
        (lambda: sweep().distribution("a", lr=0.1, init="pytorch"), r"results \(accuracy, loss\), got 'a'"),
        (lambda: sweep().distribution("loss"), r"of 4. Name a value of init \('pytorch', 'gaussian'\), lr \(0.1, 0"),
        (lambda: sweep().distribution("loss", lr=0.3), "lr to be one of 0.1, 0.01, got 0.3"),
        (lambda: sweep().distribution("loss", wd=0.3), r"a hyper-parameter of the grid \(init, lr\), got 'wd'"),
        (lambda: sweep().compare("loss", {"lr": 0.1}, {}), "one configuration, got 2"),
        (lambda: sweep().best("acc"), "a metric of the results"),
        (lambda: sweep().rows("acc"), "a metric of the results"),
        (lambda: sweep().markdown("acc"), "a metric of the results"),
        (lambda: Results(grid(seeds=2), {"a": [NAN, NAN]}).best("a"), "a finite a in some replica, got 2 of 2 div"),
        (lambda: Results(grid(seeds=2), {"loss": [1.0]}), r"2 entries in metrics\['loss'\], got 1"),
        (lambda: Results(grid(seeds=2), {}, {"loss": [[1.0]]}), r"2 entries in history\['loss'\], got 1"),
        (lambda: sweep(diverged=[None]), "24 entries in diverged, got 1"),
        (lambda: sweep(finished=[True] * 3), "24 entries in finished, got 3"),
        (lambda: Results(grid(seeds=1, lr=[1]), {"lr": [1.0]}), "metrics with names of their own, got 'lr'"),
        (lambda: Results(grid(seeds=1), {"seed": [1.0]}), "metrics with names of their own, got 'seed'"),
        (lambda: Results(grid(seeds=1, act=[torch.tanh]), {}).to_json(), "values that JSON has, got Object of type"),
        (lambda: Results(grid(seeds=1, lr=[math.inf]), {}).to_json(), "values that JSON has, got Out of range"),
        (lambda: Results.from_json(json_with(format=2)), "results of format 1, got format 2"),
        (lambda: Results.from_json(json_with(grid={})), "results of format 1, got KeyError"),
        (lambda: Results.from_json(json_with(metrics=None)), "results of format 1, got AttributeError"),
        (lambda: Results.from_json(json_with(metrics={"a": ["x"] * 24})), r"numbers in metrics\['a'\], got 'x'"),
        (lambda: Results(grid(seeds=2), {"a": "12"}), r"numbers in metrics\['a'\], got '1'"),  # type: ignore[dict-item]
        (lambda: Results(grid(seeds=2), {"a": torch.ones(2, 3)}), r"numbers in metrics\['a'\], got"),  # type: ignore[dict-item]
        (lambda: Results(grid(seeds=1), {"a": [1.0]}, {"a": [["x"]]}), r"numbers in history\['a'\], got 'x'"),  # type: ignore[list-item]
        (lambda: Results.from_json({}), "got format None without grid, metrics"),
        (lambda: Results.from_json({"format": 1, "rows": []}), "got format 1 without grid, metrics"),
    ],
)  # fmt: skip
def test_wrong_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
