"""Grids: which replicas, in which order, and what is not a list of values."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handgrad.errors import ArgumentError, MissingExtraError
from handgrad.grid import Grid, grid
from handgrad.optional import require
from handgrad.results import Results


def test_order_is_row_major_and_seeds_vary_fastest() -> None:
    g = grid(seeds=[5, 3], init=["a", "b"], lr=[0.1, 0.2, 0.3])
    assert g.configs == tuple({"init": i, "lr": lr} for i, lr in itertools.product("ab", [0.1, 0.2, 0.3]))
    assert g.names == ("init", "lr")
    assert len(g) == 12
    assert g.replicas == [(c, s) for c in g.configs for s in (5, 3)]
    assert g.column("lr")[:4] == [0.1, 0.1, 0.2, 0.2]
    assert g.column("seed") == [5, 3] * 6
    assert g.values("lr") == [0.1, 0.2, 0.3]


def test_without_hyper_parameters_the_seeds_are_the_replicas() -> None:
    g = grid()
    assert (len(g), g.names, g.configs, g.seeds) == (20, (), ({},), tuple(range(20)))


@given(
    st.integers(1, 4),
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=4, unique=True), max_size=3),
)
def test_every_combination_once(seeds: int, hyper: dict[str, list[int]]) -> None:
    g = grid(seeds=seeds, **hyper)
    assert len(g) == len(g.replicas) == seeds * math.prod(map(len, hyper.values()))
    assert len({(*config.values(), seed) for config, seed in g.replicas}) == len(g)
    for name, values in hyper.items():
        assert g.values(name) == values
        assert g.column(name) == [config[name] for config, _ in g.replicas]
    for i, config in enumerate(g.configs):
        assert g.matching(**config) == [i]


def test_arrays_tensors_and_ranges_are_lists_of_plain_numbers() -> None:
    g = grid(seeds=np.arange(2), a=np.logspace(-2, 0, 3), b=torch.tensor([1, 2]), c=range(2))
    assert [type(v) for v in g.configs[0].values()] == [float, int, int]
    assert [type(s) for s in g.seeds] == [int, int]


def test_numbers_of_numpy_and_tensors_in_a_list_are_plain_ones() -> None:
    g = grid(seeds=1, width=[np.int64(4), np.int64(8)], lr=[torch.tensor(0.5)], size=[(np.int32(1), 2)])
    assert [type(v) for v in (*g.values("width"), *g.values("lr"), g.values("size")[0][0])] == [int, int, float, int]
    results = Results(g, {"loss": [1.0, 2.0]})
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results
    assert results.distribution("loss", width=np.int64(8)).mean == 2.0


def test_a_number_of_seeds_may_be_an_array() -> None:
    assert grid(seeds=np.array(3)).seeds == grid(seeds=torch.tensor(3)).seeds == (0, 1, 2)
    assert [type(seed) for seed in grid(seeds=torch.tensor([4, 2])).seeds] == [int, int]


def test_nan_is_one_value() -> None:
    g = grid(seeds=1, x=[math.nan, 1.0])
    assert (g.matching(x=math.nan), g.matching(x=float("nan")), g.matching(x=1)) == ([0], [0], [1])


def test_lists_among_the_values_become_tuples() -> None:
    g = grid(seeds=1, hidden=[[25, 25], [64]])
    assert g.values("hidden") == [(25, 25), (64,)]
    assert g.matching(hidden=[64]) == [1]


def test_true_is_not_one() -> None:
    assert grid(bias=[True, 1]).values("bias") == [True, 1]


def test_a_grid_cannot_be_changed() -> None:
    g = grid(lr=[0.1])
    with pytest.raises(AttributeError):
        g.seeds = (1,)  # type: ignore[misc]
    g.replicas[0][0]["lr"] = 7
    assert g == grid(lr=[0.1]) == Grid(({"lr": 0.1},), tuple(range(20)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid(lr=[]), "grid: expected at least one value for lr, got an empty list"),
        (lambda: grid(init="abc"), r"expected a list of values for init, got init='abc'. Pass a list: init=\['abc'\]."),
        (lambda: grid(lr=0.1), r"got lr=0.1. Pass a list: lr=\[0.1\]."),  # type: ignore[arg-type]
        (lambda: grid(lr=np.float64(0.1)), r"Pass a list: lr=\[0.1\]."),  # type: ignore[arg-type]
        (lambda: grid(lr=None), "a list of values for lr, got lr=None"),  # type: ignore[arg-type]
        (lambda: grid(lr={0.1, 0.2}), "a list of values for lr"),
        (lambda: grid(lr={"a": 1}), "a list of values for lr"),
        (lambda: grid(lr=[0.1, 0.2, 0.1]), "expected different values for lr, got 0.1 twice. Leave one"),
        (lambda: grid(hidden=[[1, 2], (1, 2)]), r"got \(1, 2\) twice"),
        (lambda: grid(lr=[1, 1.0]), "got 1.0 twice"),
        (lambda: grid(x=[math.nan, float("nan")]), "got nan twice"),
        (
            lambda: grid(w=[torch.ones(2), torch.zeros(2)]),
            "values for w that can be told apart, got an array or tensor",
        ),
        (lambda: grid(w=[np.ones(2), np.zeros(2)]), "values for w that can be told apart, got an array or tensor"),
        (lambda: grid(w=[torch.ones(2)], lr=[0.1, 0.2]), "values for w that can be told apart"),
        (lambda: grid(seeds=np.array([1.0, 2.0])), "seeds to be integers, got 1.0"),
        (lambda: grid(seed=[1, 2]), r"names that results do not use for themselves, got 'seed'. Pass the seeds as"),
        (lambda: grid(mean=[1, 2]), "got 'mean'. Choose another name"),
        (lambda: grid(seeds=0), "expected at least one seed, got seeds=0"),
        (lambda: grid(seeds=-3), "at least one seed, got seeds=-3"),
        (lambda: grid(seeds=[]), "at least one seed, got none"),
        (lambda: grid(seeds=[4, 2, 4, 2]), "different seeds, got 4, 2 more than once"),
        (lambda: grid(seeds=[1, 2.5]), "seeds to be integers, got 2.5"),  # type: ignore[list-item]
        (lambda: grid(seeds=2.5), "seeds to be integers, got 2.5"),  # type: ignore[arg-type]
        (lambda: grid(seeds=True), "seeds to be integers, got True"),
        (lambda: grid(seeds=10**8), "at most 10,000,000 replicas, got 1 configurations × 100,000,000 seeds"),
        (lambda: grid(seeds=range(10**7), lr=[0.1, 0.2]), "got 2 configurations × 10,000,000 seeds. Take fewer"),
        (lambda: grid(seeds=np.array(10**8)), "at most 10,000,000 replicas"),
        (lambda: grid(seeds="12"), "seeds to be integers, got '12'"),  # type: ignore[arg-type]
        (lambda: grid(lr=[0.1]).column("wd"), r"a hyper-parameter of the grid \(lr\), got 'wd'"),
        (lambda: grid().values("lr"), r"\(none\), got 'lr'"),
        (lambda: grid(lr=[0.1, 0.2]).matching(lr=0.3), "lr to be one of 0.1, 0.2, got 0.3"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_a_missing_package_names_its_extra() -> None:
    text = "expected the package nowhere, got none installed. Install it with pip install 'handgrad[pandas]'."
    with pytest.raises(MissingExtraError, match=re.escape(text)):
        require("nowhere.part", "pandas")
    with pytest.raises(ImportError):
        require("nowhere", "cli")


def test_a_package_that_fails_to_import_raises_its_own_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import surely_not_installed")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        require("broken_package", "cli")


def test_results_import_without_the_extras() -> None:
    heavy = ["matplotlib", "scipy", "rich", "pandas"]
    code = f"import sys, handgrad.results, handgrad.plots; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
