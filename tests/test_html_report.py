"""The HTML report: what it says, that nothing in a run can break or abuse it, and how it stands in a real browser."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from examples.pictures import BROWSERS
from handgrad import report
from handgrad.distribution import Distribution
from handgrad.errors import ArgumentError, HandgradError
from handgrad.metrics import SCORES
from handgrad.report import Run, confusion, figures, reliability, render, residuals, roc
from handgrad.report.figures import DARKEST, curves
from handgrad.report.words import caveats, cells, kind, summary, verdict, versus
from tests import runs

HOSTILE = [
    "<script>document.title = 'run'</script>",
    '"><img src=x onerror="document.title = \'run\'">',
    "</svg></style></title><script>document.title = 'run'</script>",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{1}{$ id=\" #0072B2 url(#a) 'DejaVu Sans'",
    "javascript:document.title='run'",
    "http://example.invalid/x.png",
    "x" * 400,
    "日本語 🦜 עברית \u202eabc \x00\x1b[31m \ud800",
]

METRICS: Any = {"accuracy": [0.90, 0.92, 0.91, 0.93, 0.94, 0.95], "log_loss": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}


def small(**changes: Any) -> Run:
    """A run of 6 replicas with two metrics and no pictures of predictions."""
    made: dict[str, Any] = {
        "title": "Small",
        "task": "classification",
        "target": "y",
        "data": {
            "source": "small.csv",
            "rows": 100,
            "columns": [{"name": "x", "kind": "number", "missing": 4}],
            "split": {"rows": {"train": 80, "test": 20}, "how": "at random", "shared": True},
        },
        "network": {"description": "Linear(1, 1)", "parameters": 2},
        "seeds": [3, 4, 5, 6, 7, 8],
        "diverged": [None] * 6,
        "history": {"train": {"loss": [[1.0, 1.1, 0.9, 1.0, 1.2, 1.0], [0.5, 0.6, 0.4, 0.5, 0.7, 0.5]]}},
        "metrics": {"test": {"accuracy": [0.90, 0.92, 0.91, 0.93, 0.90, 0.92], "log_loss": [0.3] * 6}},
    }
    return cast(Run, {**made, **changes})


def layers(curve: Any = (), measure: str = "std") -> Any:
    """What was seen of one layer after epoch 3."""
    return {"epochs": [3], "measures": {measure: {"0 ReLU": curve or [[1.0] * 6]}}}


def hostile(text: str) -> Run:
    """The run on breast cancer with one text in every place of a text."""

    def spoilt(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            fixed = key in ("history", "metrics", "rows")
            return {k if fixed or key in KEYS else f"{k}{text}": spoilt(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [spoilt(v, key) for v in value]
        return value if not isinstance(value, str) or key == "task" else text

    made = spoilt(copy.deepcopy(runs.classification()), "run")
    made["metrics"]["test"][text] = [0.5 + 0.01 * r for r in range(runs.R)]
    made["history"]["train"][text] = [[0.5] * runs.R, [0.4] * runs.R]
    made["diverged"][2] = {"epoch": 1, "step": 2, "layer": text}
    made["warnings"] = [text]
    return cast(Run, made)


KEYS = {
    "run",
    "layers",
    "epochs",
    "measures",
    "std",
    "dead",
    "gradient",
    "update",
    "data",
    "split",
    "network",
    "columns",
    "dropped",
    "reliability",
    "roc",
    "residuals",
    "diverged",
}


class Page(HTMLParser):
    """Elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


# What it says


def test_classification_says_what_was_found() -> None:
    run = runs.classification()
    text = Page(render(run)).text
    d = Distribution(tuple(cast(list[float], run["metrics"]["test"]["accuracy"])), tuple(run["seeds"]))
    assert f"Accuracy {str(d).split(' (')[0]} over 10 replicas on the 114 test rows" in text
    assert "0 of 10 replicas diverged." in text
    assert "logistic regression" in text
    assert "gradient boosting" in text
    for name in run["metrics"]["test"]:
        assert SCORES[name].label in text
    for heading in ("Results", "Against baselines", "Predictions", "Training", "Replicas", "Data", "Repeat it"):
        assert heading in text
    assert run["command"] in text
    for column in run["data"]["columns"]:
        assert column["name"] in text


def test_regression_tells_what_diverged_everywhere() -> None:
    run = runs.regression()
    assert [d is not None for d in run["diverged"]].index(True) == 3
    text = Page(render(run)).text
    assert "over 9 replicas on the 89 test rows" in text
    assert "1 of 10 replicas diverged and is left out." in text
    assert text.count("9 of 10") == 3 * len(run["metrics"]["test"])
    assert re.search(r"diverged, epoch \d+, step \d+, in model\.\d", text)
    assert "RMSE (points)" in text


def test_the_same_run_gives_the_same_page_from_json_too() -> None:
    run = runs.regression()
    page = render(run)
    assert render(run) == page
    assert render(json.loads(json.dumps(run))) == page


def test_a_run_is_left_as_it_was() -> None:
    run = runs.classification()
    before = copy.deepcopy(run)
    render(run)
    assert run == before


def test_summary_of_clear_and_unclear_differences() -> None:
    accuracy = [0.90, 0.92, 0.91, 0.93, 0.90, 0.92]
    baselines = {
        "a stump": {"accuracy": [v - d for v, d in zip(accuracy, [0.02, 0.03, 0.02, 0.04, 0.03, 0.04])]},
        "chance": {"accuracy": [v + d for v, d in zip(accuracy, [0.02, -0.02, 0.01, -0.01, 0.03, -0.02])]},
        "itself": {"accuracy": accuracy},
    }
    first, second, third = summary(small(baselines=baselines))
    assert first == (
        "Accuracy 0.913 ± 0.012 over 6 replicas on the 20 test rows (95 % interval of the mean 0.901 to 0.926)."
    )
    assert re.search(r": 3\.00 percentage points \(2\.\d+ to 3\.\d+\) better than a stump; ", second)
    assert re.search(r"; no clear difference from chance \(−0\.17 percentage points, −\d\.\d+ to \+\d\.\d+\); ", second)
    assert second.endswith("; equal to itself.")
    assert third == "0 of 6 replicas diverged."
    text = Page(render(small(baselines=baselines))).text
    assert re.search(r"\+3\.00 points \+2\.\d+ to \+3\.\d+ better 0\.031 6 0\.8833 ± 0\.0082", text)
    assert re.search(r"−0\.17 points −\d\.\d+ to \+\d\.\d+ not settled \(needs about \d+ more seeds\) 1 6 ", text)
    assert re.search(r"0 points 0 to 0 equal 1 6 0\.913 ± 0\.012", text)


def test_five_pairs_settle_no_difference_however_large() -> None:
    """No p-value of five is below 0.05; "no clear difference (+52.7, 38.8 to 58.8)" told of the numbers."""
    network, chance = [0.8, 0.9, 0.85, 0.8, 0.9], [0.3, 0.3, 0.35, 0.25, 0.3]
    told = {"metrics": {"test": {"accuracy": network}}, "baselines": {"chance": {"accuracy": chance}}}
    run = small(seeds=[*range(5)], diverged=[None] * 5, **told)
    assert re.search(
        r": 5 pairs, too few to settle the difference from chance \(\+55\.0 percentage points, ", summary(run)[1]
    )


def test_the_interval_of_what_is_worse_goes_from_less_to_more() -> None:
    accuracy = [v + d for v, d in zip([0.90, 0.92, 0.91, 0.93, 0.90, 0.92], [0.02, 0.03, 0.02, 0.04, 0.03, 0.04])]
    told = summary(small(baselines={"a forest": {"accuracy": accuracy}}))[1]
    assert re.search(r": 3\.00 percentage points \(2\.\d+ to 3\.\d+\) worse than a forest\.", told)


def test_the_unit_of_the_target_stands_at_every_difference() -> None:
    rmse = [3.0, 3.2, 3.1, 3.3, 3.0, 3.2]
    far, near = [v + d for v, d in zip(rmse, [2.0, 2.2, 2.1, 2.3, 2.1, 2.2])], [*rmse[1:], rmse[0]]
    baselines = {"a line": {"rmse": far}, "a tree": {"rmse": near}}
    first, second, _ = summary(
        small(task="regression", unit="km", metrics={"test": {"rmse": rmse}}, baselines=baselines)
    )
    assert first.startswith("RMSE 3.13 ± 0.12 km over 6 replicas")
    assert re.search(
        r"2\.150 km \(\S+ to \S+\) better than a line; no clear difference from a tree \(0\.000 km, ", second
    )


@pytest.mark.parametrize(
    ("name", "word"),
    [("accuracy", "better"), ("r2", "better"), ("log_loss", "worse"), ("loss", "worse"), ("my own", "higher")],
)
def test_better_depends_on_the_metric(name: str, word: str) -> None:
    seeds = tuple(range(8))
    a, b = (Distribution(tuple(base + 0.01 * s for s in seeds), seeds) for base in (0.9, 0.5))
    assert verdict(a.compare(b), kind(name)) == word
    assert {"better": "worse", "worse": "better", "higher": "lower"}[word] == verdict(b.compare(a), kind(name))
    assert f"{word} than X" in versus(a.compare(b), kind(name), "X")


@pytest.mark.parametrize(
    ("values", "spread", "told"),
    [
        ((math.nan, math.nan), 0.0, ("—", "—", "0 of 2")),
        ((0.5,), 0.0, ("0.5", "—", "1")),
        ((0.5, math.nan), 0.01, ("0.500", "—", "1 of 2")),
        ((0.5, 0.7), 0.01, ("0.60 ± 0.14", "−0.67 to 1.87", "2")),
        ((0.5, 0.5), 0.01, ("0.500 ± 0", "0.500 to 0.500", "2")),
    ],
)
def test_cells_of_few_values(values: tuple[float, ...], spread: float, told: tuple[str, ...]) -> None:
    assert cells(Distribution(values, tuple(range(len(values)))), spread) == told


@pytest.mark.parametrize(("n", "word"), [(4, "too few: 4"), (5, "not settled"), (6, "better")])
def test_how_many_pairs_settle(n: int, word: str) -> None:
    seeds = tuple(range(n))
    a, b = (Distribution(tuple(base + 0.01 * s for s in seeds), seeds) for base in (0.9, 0.5))
    assert verdict(a.compare(b), kind("accuracy")).startswith(word)


def test_few_replicas_are_not_compared() -> None:
    changes = {"seeds": [0, 1, 2], "diverged": [None] * 3, "history": {}}
    run = small(**changes, metrics={"test": {"accuracy": [0.9, 0.8, 0.9]}}, baselines={"a stump": {"accuracy": [0.1]}})
    assert "too few pairs (3) to compare with a stump" in summary(run)[1]
    assert "too few: 3" in Page(render(run)).text


def test_one_replica_is_not_compared() -> None:
    one = small(seeds=[0], diverged=[None], metrics={"test": {"accuracy": [0.9]}}, baselines={"a": {"accuracy": [0.5]}})
    assert summary(one) == [
        "Accuracy 0.9 over 1 replica on the 20 test rows, so without an error bar.",
        "0 of 1 replicas diverged.",
    ]


def test_caveats_name_what_intervals_do_not_cover() -> None:
    shared = " ".join(caveats(small()))
    assert "not the choice of the 20 test rows" in shared
    assert "no test split" not in shared
    assert "standard error of 6.3 percentage points" in shared  # √(0.913 · 0.087 / 20)
    own = {**small()["data"], "split": {**small()["data"]["split"], "shared": False}}
    assert "1.6 times as wide (Nadeau and Bengio, 2003)" in " ".join(caveats(small(data=own)))  # √(1 + 6 · 20 / 80)
    lost = [{"epoch": 1}] * 5 + [None]
    assert "times" not in " ".join(caveats(small(data=own, diverged=lost)))
    assert "1.2 times as wide" in " ".join(caveats(small(data=own, diverged=[*lost[:4], None, None])))
    assert "no test split" in " ".join(caveats(small(metrics={"train": small()["metrics"]["test"]})))
    assert "comparisons" not in " ".join(caveats(small(baselines={"a": {"accuracy": [0.5]}})))
    both = small(baselines={"a": {"accuracy": [0.5], "log_loss": [1.0]}, "b": {"accuracy": [0.5]}})
    assert "3 comparisons were made" in " ".join(caveats(both))


def test_a_dead_replica_does_not_count_even_where_it_has_numbers() -> None:
    dead: list[Any] = [None, {"epoch": 0, "step": 1, "layer": "the loss"}, None, None, None, None]
    text = Page(render(small(diverged=dead))).text
    assert "over 5 replicas" in text
    assert "1 of 6 replicas diverged and is left out" in text
    assert "5 of 6" in text


def test_layers_have_a_legend_in_their_order_and_a_figure_of_each_measure() -> None:
    one, many = [[0.1] * 6, [0.2] * 6], [[0.3] * 6, [0.4] * 6]
    measures = {"update": {"1 Linear": many}, "dead": {"0 ReLU": one, "1 Linear": many}}
    page = render(small(layers={"epochs": [5, 10], "measures": measures}))
    assert re.findall(r'<li><span style="background: (.*?)" aria-hidden="true"></span>(.*?)</li>', page) == [
        ("color-mix(in oklab, var(--two) 0%, var(--one))", "0 ReLU"),
        ("color-mix(in oklab, var(--two) 100%, var(--one))", "1 Linear"),
    ]
    assert "‖Δθ‖ / ‖θ‖, by layer: 1 Linear from 0.3 to 0.4." in page
    assert "(%), by layer: 0 ReLU from 10 to 20; 1 Linear from 30 to 40." in page
    drawn = page[page.index("Layer by layer") :]
    assert re.findall(r"stroke: color-mix\(in oklab, var\(--two\) (\d+)%", drawn) == ["100", "0", "100"]
    assert "Layer by layer" not in render(small())


def test_a_caption_says_what_the_band_of_a_logarithmic_axis_is() -> None:
    found = curves("c", "loss", {"train": [[1.0, 100.0], [0.1, 10.0]]}, [False] * 2, [])
    assert "logarithmic: mean and ± standard deviation of logarithms over 2 replicas" in found.caption
    assert found.alt.endswith("train from 10 to 1.")  # what is drawn
    plain = curves("c", "loss", {"train": [[1.0, 3.0], [2.0, 3.0]]}, [False] * 2, [])
    assert "epochs: mean and ± standard deviation over 2 replicas" in plain.caption
    assert plain.alt.endswith("train from 2 to 2.5.")
    assert curves("c", "loss", {"train": [[1.0], [2.0]]}, [False], []).caption == "Loss over the epochs: one replica."


def test_figures_of_predictions_leave_out_what_diverged() -> None:
    counts = [[[9.0, 1.0], [2.0, 8.0]]] * 5 + [[[0.0, 10.0], [10.0, 0.0]]]
    dead: list[Any] = [None] * 5 + [{"epoch": 0, "step": 1, "layer": "the loss"}]
    page = render(small(diverged=dead, confusion=counts))
    assert "Confusion matrix. Right: 0 90.0 %, 1 80.0 %." in page
    assert "over 5 replicas. Rows sum to 100" in page


def test_curves_of_predictions_leave_out_what_diverged() -> None:
    z, t = torch.randn(6, 40, 1), torch.randint(2, (40,))
    right, curve = reliability(z, t), roc(z, t)
    dead: list[Any] = [None] * 5 + [{"epoch": 0, "step": 1, "layer": "the loss"}]
    page = render(small(diverged=dead, reliability=right, roc=curve))
    kept = reliability(z[:5], t)
    assert figures.reliability("a", kept).alt in page
    assert figures.reliability("a", right).alt not in page
    assert figures.roc("a", roc(z[:5], t)).alt in page
    assert page.count("over 5 replicas") > 2


def test_each_replica_has_a_row_of_its_own_numbers() -> None:
    dead: list[Any] = [None] * 4 + [{"epoch": 0, "step": 1, "layer": "the loss"}, None]
    page = render(small(diverged=dead, best_epochs=[0, 1, 1, 0, None, 1], metrics={"test": METRICS}))
    assert "Marks at the foot" in page  # of the curves
    rows = re.findall(r'<th scope="row" class="n">(\d+)</th>(.*?)</tr>', page)
    assert [(seed, *re.findall("<td.*?>(.*?)</td>", cells)) for seed, cells in rows] == [
        ("3", "1", "0.900", "0.30", ""),
        ("4", "2", "0.920", "0.40", ""),
        ("5", "2", "0.910", "0.50", ""),
        ("6", "1", "0.930", "0.60", ""),
        ("7", "—", "—", "—", "diverged, epoch 1, step 2, in the loss"),
        ("8", "2", "0.950", "0.80", ""),
    ]
    assert 'Seed</th><th scope="col" class="n">Best epoch</th><th scope="col" class="n">accuracy</th>' in page


def test_parts_are_told_in_the_order_of_how_much_they_count() -> None:
    train = {"accuracy": [0.99, 0.98, 0.97, 0.99, 0.98, 0.97]}
    history = {"validation": {"loss": [[1.0] * 6] * 2}, "train": {"loss": [[0.5] * 6] * 2}}
    baselines = {"a stump": {"accuracy": [0.5, 0.6, 0.5, 0.6, 0.5, 0.6]}}
    page = render(small(metrics={"train": train, "test": METRICS}, history=history, baselines=baselines))
    tables = re.findall(r"<caption>(\w+, \d+ rows)</caption>.*?<td class=\"n\">(\S+)", page, re.DOTALL)
    assert tables == [("Test, 20 rows", "0.925"), ("Train, 80 rows", "0.9800")]
    assert 'aria-label="accuracy: network 0.925 ±' in page  # the network first, then baselines
    assert "train from 0.5 to 0.5; validation from 1 to 1." in page
    assert "faint, each of them in validation." in page


def test_a_class_that_one_replica_lacks_is_the_mean_of_the_others() -> None:
    counts = [[[5.0, 0.0], [0.0, 0.0]]] + [[[4.0, 1.0], [1.0, 4.0]]] * 5
    page = render(small(confusion=counts))
    assert "Right: 0 83.3 %, 1 80.0 %." in page
    assert "20.0" in page


def test_names_of_classes_can_be_told_apart_and_do_not_overlap() -> None:
    def names(classes: list[str]) -> list[tuple[str, bool]]:
        """The labels below, with whether they are turned."""
        K = len(classes)
        page = render(
            small(confusion=np.eye(K)[None].repeat(6, 0).tolist(), data={**small()["data"], "classes": classes})
        )
        texts = re.findall(r"<text ([^>]*)>([^<]*)</text>", page[page.index('aria-label="Confusion') :])
        return [(text, "rotate(-90" in look) for look, text in texts[:K]]

    assert names(["electroencephalography scan", "none"]) == [("electroence…", False), ("none", False)]
    assert [text for text, _ in names(["yearly income to 10k", "yearly income to 20k"])] == [
        "yearl…to 10k",
        "yearl…to 20k",
    ]
    assert all(turned for _, turned in names(["malignant", "benign tumor", "undecided", "unreadable"]))
    assert not any(turned for _, turned in names(["a", "b", "c", "d"]))


@pytest.mark.parametrize("values", [[2.4e4, 1.02e5], [9.885e-4, 9.905e-4], [-0.0016, 0.0001], [1e6, 9e6]], ids=str)
def test_numbers_below_a_figure_do_not_overlap(values: list[float]) -> None:
    low, high = values
    baselines = {"a baseline of a long name": {"mae": np.linspace(low, high, 6).tolist()}}
    points: Any = {"prediction": values, "spread": [None] * 2, "target": values, "rows": 2}
    run = small(
        task="regression", target="y" * 40, metrics={"test": {"mae": [low] * 6}}, baselines=baselines, residuals=points
    )
    for svg in re.findall("<svg.*?</svg>", render(run), re.DOTALL):
        below = re.findall(r'<text [^>]*text-anchor: middle[^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
        numbers = sorted((float(x), text) for x, _, text in below if re.fullmatch(r"[−\d.]+", text))
        assert len(numbers) > 1 or "clip" not in svg
        # a digit is at least 6 points wide at 10.5 points
        assert all(b - a > 3 * (len(s) + len(t)) for (a, s), (b, t) in pairwise(numbers))


def test_texts_of_figures_have_numbers_that_a_person_would_write() -> None:
    points: Any = {"prediction": [12345.6, 12345.6], "spread": [1.0, 1.0], "target": [12345.6, 12000.0], "rows": 2}
    history = {"train": {"loss": [[100000.0] * 6, [23456.0] * 6]}}
    page = render(small(task="regression", residuals=points, history=history))
    assert "True against predicted values." in page  # equal predictions have no correlation
    assert "for predictions from 12346 to 12346" in page
    assert "train from 100000 to 23456" in page


def test_what_lies_outside_is_told_without_figures_of_predictions() -> None:
    text = Page(render(small(novelty=["2 rows lie outside."]))).text
    assert "2 rows lie outside." in text


def test_a_note_without_a_place_is_a_divergence() -> None:
    text = Page(render(small(diverged=[{}] * 6, confusion=[[[1.0, 0.0], [0.0, 1.0]]] * 6))).text
    assert "There is no accuracy: every replica diverged." in text
    assert text.count("diverged") > 6


def test_long_training_is_told_in_seconds() -> None:
    assert "12,346 s" in Page(render(small(seconds=12345.6))).text
    assert "1.23 s" in Page(render(small(seconds=1.2345))).text


def test_options_are_told_in_all_their_digits() -> None:
    text = Page(render(small(options={"lr": 0.123456789, "decay": 1e-05, "momentum": 0.9}))).text
    assert all(value in text for value in ("0.123456789", "1e-05", "0.9"))


def test_replicas_that_stopped_are_told_where_the_first_epoch_was_not_measured() -> None:
    curve = [[None] * 6, [0.5] * 6, [0.5, None, 0.4, 0.4, 0.4, 0.4]]
    assert "once the first has stopped" in render(small(history={"validation": {"accuracy": curve}}))
    whole = [[None] * 6, [0.5] * 6, [None] * 6]
    assert "once the first has stopped" not in render(small(history={"validation": {"accuracy": whole}}))


def test_an_undefined_metric_says_why() -> None:
    metrics = {"test": {"accuracy": [0.9] * 6, "auc": [None] * 6}}
    text = Page(render(small(metrics=metrics, undefined={"auc": "the targets have one class only"}))).text
    assert "the targets have one class only" in text
    some = small(metrics={"test": {"auc": [0.5, 0.6, 0.5, None, None, 0.7]}}, undefined={"auc": "one class"})
    assert summary(some)[0].endswith(" In 2 others it is undefined: one class.")
    assert "2 of 6 without a number" in render(some)
    assert "2 of 6 diverged" not in render(some)
    first = summary(small(metrics={"test": {"auc": [None] * 6}}, undefined={"auc": "one class"}))
    assert first == ["There is no AUC: one class."]


@pytest.mark.parametrize(
    "changes",
    [
        {"diverged": [{"epoch": 0, "step": 0, "layer": "x"}] * 6, "metrics": {"test": {"accuracy": [None] * 6}}},
        {"seeds": [0], "diverged": [None], "history": {}, "metrics": {"test": {"accuracy": [0.9]}}},
        {
            "seeds": [0],
            "diverged": [None],
            "history": {},
            "metrics": {"test": {"accuracy": [0.9]}},
            "confusion": [[[9.0, 1.0], [2.0, 8.0]]],
            "data": dict(small()["data"], classes=["a", "b"]),
        },
        {"history": {"train": {"loss": [[1.0] * 6]}}},
        {"history": {"train": {"loss": []}, "validation": {}}},
        {"history": {"train": {"loss": [[math.nan] * 6, [math.inf] * 6]}}},
        {"metrics": {"validation": {"accuracy": [0.9] * 6, "my own": [1e9, 2e9, 1e-9, 0.0, -1.0, 5.0]}}},
        {"confusion": [[[0.0] * 3] * 3] * 6, "data": dict(small()["data"], classes=["a", "b", "c"])},
        {"confusion": np.ones((6, 12, 12)).tolist()},
        {"confusion": np.ones((6, 40, 40)).tolist()},
        {
            "baselines": {},
            "options": {"lr": 1e-3, "list": [1, None, {"a": 1}], "flag": True},
            "best_epochs": [None] * 6,
        },
        {"task": "regression", "residuals": {"prediction": [], "spread": [], "target": [], "rows": 0}},
        {"task": "regression", "residuals": {"prediction": [1.0], "spread": [None], "target": [2.0], "rows": 9}},
        {"data": {"source": "x", "rows": 0, "columns": [{"name": "a", "kind": "number"}] * 40}},
        {"reliability": reliability(torch.full((6, 3, 1), math.nan), torch.zeros(3))},
        {"roc": roc(torch.full((6, 3, 1), math.nan), torch.zeros(3))},
        {"layers": layers([[math.nan] * 6])},
        {"layers": {"epochs": [], "measures": {"std": {"0 ReLU": []}}}},
    ],
    ids=range(18),
)
def test_unusual_runs_have_a_page(changes: dict[str, Any]) -> None:
    page = Page(render(small(**changes)))
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", page.text.casefold())
    assert "of 6 replicas" in page.text or "of 1 replicas" in page.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": [1, 2]}, "diverged of 2 replicas, got 6 numbers"),
        ({"seeds": []}, "number of seeds"),
        ({"task": "clustering"}, "'classification', 'regression'"),
        ({"metrics": {}}, "metrics of test, validation, train"),
        ({"metrics": {"test": {}}}, "metrics of test, validation, train"),
        ({"reliability": reliability(torch.ones(2, 3, 1), torch.zeros(3))}, "confidence of reliability of 6 replicas"),
        ({"history": {"val": {"loss": [[1.0] * 6]}}}, "metrics and history of test, validation, train, got 'val'"),
        ({"metrics": {"test": {"accuracy": [0.5]}}}, "accuracy of test of 6 replicas, got 1 numbers"),
        ({"history": {"train": {"loss": [[1.0] * 5]}}}, "the history of train loss of 6 replicas"),
        ({"baselines": {"a": {"accuracy": [0.5, 0.5]}}}, "accuracy of a of 6 replicas"),
        ({"data": {"rows": 3}}, "no data['source'], data['columns']"),
        (
            {"data": {**small()["data"], "classes": ["a"]}, "confusion": [[[1.0] * 2] * 2] * 6},
            "names of 2 classes, got 1",
        ),
        ({"data": {**small()["data"], "classes": ["a", "b"], "counts": [1]}}, "counts of 2 classes, got 1"),
        (
            {"residuals": {"prediction": [1.0, 2.0], "spread": [0.1], "target": [1.0, 2.0], "rows": 2}},
            "spread of 2 residuals, got 1",
        ),
        ({"layers": layers(measure="spread")}, "a measure of layers to be one of"),
        ({"layers": layers([[1.0] * 5])}, "std of the layers of 6 replicas, got 5 numbers"),
        ({"layers": layers([[1.0] * 6] * 2)}, "std of layers after 1 epochs, got 2"),
        ({"metrics": {"test": {"accuracy": ["0.9"] * 6}}}, "accuracy of test in numbers, got '0.9'"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(says)):
        render(small(**changes))


def test_a_run_that_lacks_something_is_refused() -> None:
    run = cast(dict[str, Any], small())
    del run["target"], run["metrics"]
    with pytest.raises(ArgumentError, match="no target, metrics"):
        render(cast(Run, run))


# What it must not do


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_texts(text: str) -> None:
    page = render(hostile(text))
    page.encode()
    found = Page(page)
    assert not {"script", "img", "iframe", "object", "form", "base", "image"} & set(found.tags)
    assert found.tags.count("title") == found.tags.count("style") == 1
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value for name, value in found.attributes if name in ("href", "src", "xlink:href", "action")]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\ud800-\udfff]", page.replace("\n", ""))
    if text in ("{{ 7 * 7 }}{% raw %}", HOSTILE[0]):
        assert text in found.text


def test_the_page_stands_alone() -> None:
    for run in (runs.classification(), runs.regression()):
        found = Page(page := render(run))
        assert "http" not in page.casefold().replace("http-equiv", "")
        assert "@import" not in page
        assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in found.attributes
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
        ids = [value for name, value in found.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        used = [v[1:] for name, v in found.attributes if name == "href" and v[:1] == "#"] + re.findall(
            r"url\(#([^)]*)", page
        )
        assert set(used) <= set(ids)
        assert all(v for name, v in found.attributes if name == "aria-label")
        assert len(page) < 400_000


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear))


@pytest.mark.parametrize("block", [0, 1, 2], ids=["light", "dark", "print"])
def test_contrast(block: int) -> None:
    css = (Path(report.__file__).parent / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", re.findall(r":root \{(.*?)\}", css, re.DOTALL)[block]))

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(colours[a]), luminance(colours[b])))
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "soft", "link", "good", "bad"):
        assert contrast(text, "paper") >= 4.5
    for text, ground in (("ink", "raised"), ("soft", "raised"), ("ink", "alarm")):
        assert contrast(text, ground) >= 4.5
    parts = [[int(colours[name][i : i + 2], 16) for i in (1, 3, 5)] for name in ("one", "paper")]
    colours["cell"] = "#" + "".join(f"{round(DARKEST * a + (1 - DARKEST) * b):02x}" for a, b in zip(*parts))
    assert contrast("ink", "cell") >= 4.5
    for line in ("one", "two"):
        assert contrast(line, "paper") >= 3


# Curves


@given(seed=st.integers(0, 10**6), N=st.integers(2, 40))
def test_roc_has_the_area_that_scikit_learn_finds(seed: int, N: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    z, t = torch.randn(2, N, 1, generator=rng).round(decimals=1), torch.randint(2, (N,), generator=rng)
    t[:2] = torch.tensor([0, 1])
    found = roc(z, t, points=2001)
    for row, scores in zip(found["true"], z[..., 0]):
        assert row == sorted(cast(list[float], row))
        assert row[-1] == 1
        area = torch.trapezoid(torch.tensor(row), torch.tensor(found["false"])).item()
        assert area == pytest.approx(sk.roc_auc_score(t, scores), abs=2e-3)


def test_confusion_is_scikit_learns() -> None:
    z, t, w = torch.randn(3, 30, 4), torch.randint(4, (30,)), torch.rand(30).double()
    for counts, row in zip(confusion(z, t, w), z):
        assert np.array(counts) == pytest.approx(
            sk.confusion_matrix(t, row.argmax(-1), sample_weight=w, labels=range(4))
        )
    z[1, 0] = math.nan
    assert np.array(confusion(z, t)).sum((1, 2)).tolist() == [30, 0, 30]


def test_reliability_counts_every_sample() -> None:
    z, t = 3 * torch.randn(3, 200, 4), torch.randint(4, (200,))
    found = reliability(z, t)
    p, y = z.double().softmax(-1).max(-1)
    for r in range(3):
        count, right, sure = (np.array(found[key][r], dtype=float) for key in ("count", "accuracy", "confidence"))
        assert count.sum() == 200
        assert np.nansum(count * right) == pytest.approx((y[r] == t).sum().item())
        assert np.nansum(count * sure) == pytest.approx(p[r].sum().item())


def test_the_edge_of_two_bins_belongs_to_the_lower_one() -> None:
    assert reliability(torch.zeros(1, 3, 1), torch.zeros(3), bins=2)["count"] == [[3.0, 0.0]]


def test_a_package_in_a_zip_file_draws_the_same(tmp_path: Path) -> None:
    """As what is sent to the machines of a cluster."""
    package = Path(report.__file__).parents[1]
    archive = shutil.make_archive(str(tmp_path / "handgrad"), "zip", package.parent, package.name)
    code = "import json, sys; from handgrad.report import render; sys.stdout.write(render(json.load(sys.stdin)))"
    env = {**os.environ, "PYTHONPATH": archive, "PYTHONUTF8": "1"}
    call = [sys.executable, "-c", code]
    out = subprocess.run(call, input=json.dumps(small()), env=env, capture_output=True, check=True, encoding="utf-8")
    assert out.stdout == render(small())


def test_residuals_do_not_depend_on_the_default_dtype() -> None:
    y, t = torch.randn(2, 5000), torch.randn(5000)
    expected = residuals(y, t)
    torch.set_default_dtype(torch.float16)
    try:
        assert residuals(y, t) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_residuals_are_of_the_mean_of_what_did_not_diverge() -> None:
    y, t = torch.randn(4, 2000), torch.randn(2000)
    y[2, 7] = math.inf
    found = residuals(y, t, most=100)
    kept = y[[0, 1, 3]].double()
    assert len(found["prediction"]) == 100
    assert (found["prediction"][0], found["prediction"][-1]) == (kept.mean(0).min().item(), kept.mean(0).max().item())
    row = int(kept.mean(0).argmin())
    assert found["target"][0] == float(t[row])
    assert found["spread"][0] == pytest.approx(float(kept[:, row].std()))
    assert residuals(y[:2], t, most=100)["spread"][0] == pytest.approx(float(y[:2, int(y[:2].mean(0).argmin())].std()))
    assert residuals(y[2:3], t)["prediction"] == []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: roc(torch.zeros(2, 5, 3), torch.zeros(5)), "two classes, got 3"),
        (lambda: residuals(torch.zeros(2, 5, 3), torch.zeros(5, 3)), "3 outputs"),
        (lambda: residuals(torch.zeros(2, 5), torch.arange(10.0).view(2, 5)), "different ones"),
    ],
)
def test_curves_refuse(call: Any, says: str) -> None:
    with pytest.raises(HandgradError, match=says):
        call()


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if path is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {"classification": runs.classification(), "regression": runs.regression(), "small": small()}
    made |= {f"hostile{i}": hostile(text) for i, text in enumerate(HOSTILE)}
    for name, run in made.items():
        (folder / f"{name}.html").write_text(render(run), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


NAMES = ["classification", "regression", "small", *(f"hostile{i}" for i in range(len(HOSTILE)))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_in_a_browser(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    address = pages[name].as_uri()
    context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 800})
    page = context.new_page()
    told: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        outside = """[...document.querySelectorAll('body *')].filter(e => {
            if (e.closest('.scroll, pre, svg, .skip')) return false;
            const box = e.getBoundingClientRect();
            return box.right > innerWidth + 0.5 || box.left < -0.5;
        }).map(e => e.outerHTML.slice(0, 80))"""
        assert page.evaluate(outside) == []
    assert told == []
    assert set(requests) <= {address, "data:,"}
    assert page.evaluate("document.scripts.length") == 0
    assert page.title() != "run"
    assert page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
    sizes = page.evaluate("[...document.querySelectorAll('figure svg')].map(e => e.getBoundingClientRect().height)")
    assert all(size > 80 for size in sizes)
    assert len(sizes) == len(page.query_selector_all("figure"))
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_texts_of_a_figure_lie_in_it_and_can_be_read(browser: Any, pages: dict[str, Path], width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for name in NAMES:
        page.goto(pages[name].as_uri())
        found = page.evaluate(
            """[...document.querySelectorAll('figure svg')].flatMap(svg => {
                const box = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].map(t => {
                    const b = t.getBoundingClientRect();
                    return [t.textContent, b.left >= box.left - 3 && b.right <= box.right + 3 && b.top >= box.top - 3
                        && b.bottom <= box.bottom + 3, parseFloat(getComputedStyle(t).fontSize) * box.width / 331.2];
                });
            })"""
        )
        assert len(found) > 20
        assert [text for text, inside, _ in found if not inside] == []
        assert [text for text, _, size in found if size < 8.5] == []
    context.close()


def test_printed_pages_are_light(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(pages["classification"].as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.pdf()[:5] == b"%PDF-"
    context.close()
