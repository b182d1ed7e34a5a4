"""Baselines: scikit-learn's models on the very rows and inputs of a network."""

import math
import os
import signal
import sys
import time
import warnings

import numpy as np
import pytest
import threadpoolctl
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score

from handgrad import tables
from handgrad import workers as pool
from handgrad.errors import ArgumentError, DataError
from handgrad.tables.baselines import MODELS, PENALTIES, Baseline

baselines = sys.modules["handgrad.tables.baselines"]


def packaged(name):
    return tables.load(getattr(datasets, f"load_{name}")(as_frame=True).frame, "target")


@pytest.mark.parametrize(
    ("name", "inputs", "labels", "least"),
    [("iris", 4, 3, 0.88), ("wine", 13, 3, 0.93), ("breast_cancer", 30, 2, 0.91), ("digits", 61, 10, 0.94)],
)
def test_classes_of_packaged_data(name, inputs, labels, least):
    table = packaged(name)
    assert (len(table.schema.inputs), table.schema.target.labels) == (inputs, tuple(range(labels)))
    splits = [tables.split(table, seed) for seed in ((0,) if name == "digits" else (0, 1))]
    found = tables.baselines(table, splits)
    assert list(found) == list(MODELS)
    for model, fits in found.items():
        for fit, split in zip(fits, splits, strict=True):
            t = table.targets[split.test]
            assert fit.predictions.shape == (len(t), labels)
            assert (fit.model, fit.seed, fit.warnings) == (model, split.seed, ())
            np.testing.assert_allclose(fit.predictions.sum(1), 1)
        t = np.concatenate([table.targets[split.test] for split in splits])
        accuracy = accuracy_score(t, np.concatenate([fit.predictions.argmax(1) for fit in fits]))
        if model == "constant":
            assert accuracy <= np.bincount(t).max() / len(t)
        else:
            assert accuracy > least


def test_numbers_of_packaged_data():
    table = packaged("diabetes")
    assert table.schema.target.task == "regression"
    splits = [tables.split(table, seed) for seed in range(3)]
    scores = {
        model: np.mean([r2_score(table.targets[s.test], f.predictions) for f, s in zip(fits, splits)])
        for model, fits in tables.baselines(table, splits).items()
    }
    assert -0.1 < scores["constant"] <= 0
    assert 0.4 < scores["linear"] < 0.7
    assert 0.35 < scores["boosting"] < 0.7


def test_the_linear_models_are_scikit_learns_and_the_validation_rows_choose():
    table, numbers = packaged("wine"), packaged("diabetes")
    for data in (table, numbers):
        split = tables.split(data, 2)
        encoder = tables.Encoder.fit(data, split.train)
        sets = [(encoder.transform(data, r).double().numpy(), encoder.targets(data, r).numpy())
                for r in (split.train, split.validation, split.test)]  # fmt: skip
        losses = {}
        for penalty in PENALTIES:
            if data is table:
                model = LogisticRegression(C=1 / penalty, max_iter=1000).fit(*sets[0])
                losses[penalty] = log_loss(sets[1][1], model.predict_proba(sets[1][0])), model.predict_proba(sets[2][0])
            else:
                model = Ridge(alpha=penalty).fit(*sets[0])
                y = model.predict(sets[2][0]) * encoder.target[1] + encoder.target[0]
                losses[penalty] = ((model.predict(sets[1][0]) - sets[1][1]) ** 2).mean(), y
        best = min(losses, key=lambda penalty: losses[penalty][0])
        (fit,) = tables.baselines(data, [split], ["linear"])["linear"]
        assert fit.chosen == {"penalty": best}
        np.testing.assert_allclose(fit.predictions, losses[best][1], rtol=1e-6)


def test_rounds_of_boosting_are_chosen_by_the_validation_rows():
    table = packaged("breast_cancer")
    split = tables.split(table, 0)
    (fit,) = tables.baselines(table, [split], ["boosting"])["boosting"]
    assert 1 <= fit.chosen["rounds"] < 100
    whole = tables.split(table, 0, validation=0)
    (fit,) = tables.baselines(table, [whole], ["boosting"])["boosting"]
    assert fit.chosen == {"rounds": 100}
    (fit,) = tables.baselines(table, [whole], ["linear"])["linear"]
    assert fit.chosen == {"penalty": 1.0}


def test_the_same_splits_give_the_same_predictions_in_any_company():
    table = packaged("iris")
    splits = [tables.split(table, seed) for seed in range(3)]
    together, alone = tables.baselines(table, splits), tables.baselines(table, splits[2:], ["boosting"])
    np.testing.assert_array_equal(together["boosting"][2].predictions, alone["boosting"][0].predictions)


def test_an_imbalanced_table():
    x, y = datasets.make_classification(2000, 8, weights=[0.98], flip_y=0, class_sep=2.0, random_state=0)
    table = tables.load({**{f"x{i}": x[:, i] for i in range(8)}, "y": np.where(y, "fraud", "fine")}, "y")
    split = tables.split(table, 0)
    found = tables.baselines(table, [split])
    assert table.targets is not None
    t = table.targets[split.test]
    scores = {model: log_loss(t, fits[0].predictions) for model, fits in found.items()}
    assert scores["constant"] == pytest.approx(-0.98 * math.log(0.98) - 0.02 * math.log(0.02), abs=0.01)
    assert scores["linear"] < scores["constant"]
    assert scores["boosting"] < scores["constant"]


def test_a_made_up_table_of_everything():
    rng = np.random.default_rng(0)
    n = 600
    size, member = rng.lognormal(7, 1, n), rng.choice(["yes", "no"], n)
    when = np.datetime64("2020-01-01") + rng.integers(0, 900, n)
    frame = {
        "order": np.arange(n) + 1,
        "town": [None if rng.random() < 0.1 else f"town {i}" for i in rng.integers(0, 80, n)],
        "when": when.astype(str),
        "size": [f"{v:,.1f}" if rng.random() < 0.9 else "?" for v in size],
        "member": member,
        "note": [f"this is note {i} of many" for i in range(n)],
        "currency": ["EUR"] * n,
        "y": np.log(size) + (member == "yes") + rng.normal(0, 0.1, n),
    }
    table = tables.load(frame, "y")
    kinds = {column.name: column.kind for column in table.schema.columns}
    assert kinds == {
        "order": "identifier", "town": "category", "when": "date", "size": "number", "member": "boolean",
        "note": "text", "currency": "constant",
    }  # fmt: skip
    splits = [tables.split(table, seed) for seed in range(2)]
    shapes = {tables.Encoder.fit(table, s.train).transform(table, s.train).shape for s in splits}
    assert len(shapes) == 1  # so that replicas with splits of their own fit into one network
    found = tables.baselines(table, splits)
    assert table.targets is not None
    r2 = {m: r2_score(table.targets[splits[0].test], f[0].predictions) for m, f in found.items()}
    assert r2["boosting"] > 0.8 > r2["linear"] > 0.4 > 0.01 > r2["constant"]


def test_warnings_are_caught_and_handed_on(monkeypatch):
    table = packaged("breast_cancer")
    normal = LogisticRegression.__init__
    monkeypatch.setattr(LogisticRegression, "__init__", lambda self, **o: normal(self, **{**o, "max_iter": 2}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (fit,) = tables.baselines(table, [tables.split(table)], ["linear"])["linear"]
    assert len(fit.warnings) == 1
    assert fit.warnings[0].startswith("ConvergenceWarning: ")


def test_classes_that_training_rows_lack_have_no_chance():
    table = tables.load({"x": np.linspace(0, 1, 12), "y": [*"aaccb", *"acacaac"]}, "y")
    rows = np.arange(12)
    split = tables.Split(0, rows[:4], rows[5:8], rows[[4, *range(8, 12)]])
    for fits in tables.baselines(table, [split]).values():
        assert fits[0].predictions.shape == (5, 3)
        assert (fits[0].predictions[:, 1] == 0).all()
    single = tables.Split(0, rows[:2], rows[5:8], rows[8:])
    for fits in tables.baselines(table, [single]).values():
        np.testing.assert_array_equal(fits[0].predictions, [[1, 0, 0]] * 4)


def test_what_has_no_baseline_is_refused():
    table = packaged("iris")
    with pytest.raises(ArgumentError, match="models to be one of"):
        tables.baselines(table, [], ["forest"])
    with pytest.raises(DataError, match="a table with a target"):
        tables.baselines(tables.load({"x": [1.5, 2.5]}), [])
    with pytest.raises(DataError, match="splits with a test part"):
        tables.baselines(table, [tables.split(table, test=0)])


def test_predictions_do_not_depend_on_how_many_workers_share_the_splits():
    table, told = packaged("wine"), list[int]()
    splits = [tables.split(table, seed) for seed in (3, 1, 2)]
    alone = tables.baselines(table, splits, workers_=1)
    for model, fits in tables.baselines(table, splits, workers_=2, done=told.append).items():
        for one, other, split in zip(fits, alone[model], splits, strict=True):
            assert (one.seed, one.chosen) == (split.seed, other.chosen)
            np.testing.assert_array_equal(one.predictions, other.predictions)
    assert told == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_split_has_one_thread(workers, monkeypatch):
    table = packaged("iris")
    splits = [tables.split(table, seed) for seed in range(2)]

    def counted(model, seed, *_):
        threads = [library["num_threads"] for library in threadpoolctl.threadpool_info()]
        return Baseline(model, seed, np.zeros(1), {}, tuple(map(str, threads)))

    monkeypatch.setattr(baselines, "_best", counted)
    before = threadpoolctl.threadpool_info()
    for fit in tables.baselines(table, splits, ["linear"], workers_=workers)["linear"]:
        assert set(fit.warnings) == {"1"}
    assert threadpoolctl.threadpool_info() == before


@pytest.mark.parametrize(("inputs", "workers"), [(0.5, 1), (1.5, 1), (2.5, 2), (9, 3)])
def test_there_are_no_more_workers_than_memory(inputs, workers, monkeypatch):
    table, seen = packaged("iris"), list[int]()

    def run(tasks, count, receive):
        seen.append(count)
        return []

    monkeypatch.setattr(pool, "free_memory", lambda: int(inputs * 32 * 150 * 4))
    monkeypatch.setattr(pool, "forks", lambda: True)
    monkeypatch.setattr(pool, "run", run)
    tables.baselines(table, [], workers_=3)
    assert seen == [workers]


def test_an_interruption_reaches_the_caller(monkeypatch):
    table, begun = packaged("iris"), list[str]()

    def interrupted(model, seed, *_):
        begun.append(model)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # until it is noted
        return Baseline(model, seed, np.zeros(1), {}, ())

    monkeypatch.setattr(baselines, "_best", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tables.baselines(table, [tables.split(table)], workers_=1)
    assert begun == ["constant"]
