"""Splits: a function of table and seed, each row in one part, each class in training."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from handgrad import tables
from handgrad.errors import ArgumentError, DataError


def table_of(targets, task=None, **columns):
    n = len(targets)
    return tables.load({"x": np.linspace(0.5, 1, n), "y": targets, **columns}, "y", task=task)


def parts(split):
    return split.train, split.validation, split.test


def classes(counts):
    return [f"c{i}" for i, count in enumerate(counts) for _ in range(count)]


PINNED = [2, 12, 25, 32, 33, 36, 44, 47, 51, 52, 56, 58, 64, 65, 76, 86, 91, 92, 94, 95]
SHARES = st.sampled_from([(0.2, 0.2), (0.1, 0.3), (0.25, 0.0), (0.0, 0.4), (0.45, 0.45)])


@settings(max_examples=200)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), SHARES, st.integers(0, 10**6))
def test_every_row_is_in_one_part_and_every_class_in_training(counts, shares, seed):
    n = sum(counts)
    assume(len(counts) == 2 or len(counts) <= n / 2)
    assume(all(share == 0 or round(n * share) >= 2 for share in shares))
    assume(n * (1 - sum(shares)) >= len(counts) + 1)
    table = table_of(classes(counts))
    split = tables.split(table, seed, validation=shares[0], test=shares[1])
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(n))
    assert all((np.diff(part) > 0).all() for part in parts(split))
    assert len(split.test) == round(n * shares[1])
    assert abs(len(split.validation) - n * shares[0]) <= 1
    assert set(table.targets[split.train]) == set(range(len(counts)))
    again = tables.split(table, seed, validation=shares[0], test=shares[1])
    assert all(np.array_equal(a, b) for a, b in zip(parts(split), parts(again)))
    other = tables.split(table, seed + 1, validation=shares[0], test=shares[1])
    assert [len(p) for p in parts(other)] == [len(p) for p in parts(split)]


@given(st.lists(st.integers(10, 60), min_size=2, max_size=5), st.integers(0, 100))
def test_classes_have_their_shares_in_every_part(counts, seed):
    table = table_of(classes(counts))
    for part in parts(tables.split(table, seed)):
        wanted = np.array(counts) * len(part) / len(table)
        found = np.bincount(table.targets[part], minlength=len(counts))
        assert (np.abs(found - wanted) <= 1.5).all()


def test_two_in_a_hundred_are_two_in_a_hundred_everywhere():
    table = table_of(classes([980, 20]))
    for seed in range(5):
        assert [int(table.targets[p].sum()) for p in parts(tables.split(table, seed))] == [12, 4, 4]


def test_a_split_is_a_function_of_its_seed_alone():
    table = table_of(classes([60, 40]))
    first = tables.split(table, 7)
    np.random.seed(3)  # noqa: NPY002
    np.random.rand(5)  # noqa: NPY002
    tables.split(table, 8)
    assert all(np.array_equal(a, b) for a, b in zip(parts(first), parts(tables.split(table, 7))))
    assert not np.array_equal(first.test, tables.split(table, 8).test)
    # pinned: a model that was saved with its seed must find its test rows again
    assert first.test.tolist() == PINNED


def test_numbers_are_split_without_strata():
    table = table_of(np.arange(50) / 7)
    split = tables.split(table, 0, test=0.3)
    assert [len(p) for p in parts(split)] == [25, 10, 15]
    assert repr(split) == "Split(seed=0, train=25, validation=10, test=15)"
    assert len({tuple(tables.split(table, seed).test) for seed in range(10)}) == 10


@settings(max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=30, max_size=60), st.integers(0, 100), st.booleans())
def test_groups_stay_together(groups, seed, numbers):
    assume(len(set(groups)) >= 5)
    cells = [None if g == 0 else g if numbers else f"g{g}" for g in groups]
    table = table_of(np.arange(len(groups)) / 7, group=cells)
    split = tables.split(table, seed, groups="group")
    where: dict[object, set[str]] = {}
    for name, part in zip("abc", parts(split)):
        for row in part:
            where.setdefault(row if cells[row] is None else f"g{groups[row]}", set()).add(name)
    assert all(len(names) == 1 for names in where.values())
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(len(table)))


def test_rows_without_a_group_stand_alone():
    table = table_of(np.arange(40) / 7, group=[None] * 30 + ["a", "b"] * 5)
    assert all(min(part) < 30 for part in parts(tables.split(table, 0, groups="group")))


def test_groups_may_be_a_column_that_is_left_out():
    names = [f"p{i // 2}" for i in range(100)]
    table = table_of(np.arange(100) / 7, person=[*names[:98], "q", "r"])
    assert not next(c for c in table.schema.columns if c.name == "person").used
    split = tables.split(table, 1, groups="person")
    people = [set(table.frame["person"][part]) for part in map(list, parts(split))]
    assert sum(map(len, people)) == len(set().union(*people)) == 51


@pytest.mark.parametrize("kinds", [{}, {"day": "drop"}, {"day": "category"}])
@pytest.mark.parametrize("stored", ["dates", "text", "german", "numbers"])
def test_the_last_rows_in_time_are_the_test(stored, kinds):
    days = np.datetime64("2020-01-01") + np.random.default_rng(0).permutation(50)
    german = [f"{day:%d.%m.%Y}" for day in days.tolist()]
    cells = {"dates": days, "text": days.astype(str), "german": german, "numbers": days.astype(int)}[stored]
    table = tables.load({"x": np.linspace(0.5, 1, 50), "y": np.arange(50) / 7, "day": cells}, "y", kinds=kinds)
    split = tables.split(table, 0, time="day")
    assert [len(p) for p in parts(split)] == [30, 10, 10]
    assert days[split.train].max() < days[split.validation].min()
    assert days[split.validation].max() < days[split.test].min()
    assert np.array_equal(tables.split(table, 5, time="day").test, split.test)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation": 0.5, "test": 0.5}, ArgumentError, "a sum between 0 and 1"),
        ({"validation": -0.1}, ArgumentError, "at least 0"),
        ({"validation": 0, "test": 0}, ArgumentError, "a sum between 0 and 1"),
        ({"groups": "x", "time": "x"}, ArgumentError, "groups or time, got both"),
        ({"groups": "z"}, DataError, "a column of the table, got 'z'"),
        ({"time": "tim"}, DataError, r"Did you mean 'time'\?"),
        ({"time": "time"}, DataError, "a date or number in every row, got 1 rows without one"),
        ({"time": "name"}, DataError, "a date or number in every row"),
        ({"test": 0.01}, DataError, "at least one row in the test part, got none of 12"),
        ({"groups": "one"}, DataError, "at least one row in the"),
    ],
)
def test_what_cannot_be_split_is_refused(options, error, message):
    columns = {"time": [None, *range(11)], "name": list("abcabcabcabc"), "one": ["g"] * 12}
    with pytest.raises(error, match=message):
        tables.split(table_of(np.arange(12) / 7, **columns), **options)
