"""What columns and targets are taken for, why, and what a caller can say instead."""

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest

from handgrad import tables
from handgrad.errors import ArgumentError, DataError
from handgrad.tables import cells
from handgrad.tables.columns import LEVELS, decide
from handgrad.tables.target import decide as decide_target

N = 40
MANY = [f"town {i}" for i in range(60)] * 3


def column(values, kind=None, name="x", missing=()):
    return decide(pl.Series(name, values), missing, kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5, 2.5] * 5, "number"),
        ([3, 5, 3, 9], "number"),
        (["1,234", "12", "-7.5"], "number"),
        (["12%", "3.5 %", "0%"], "number"),
        (["1e3", "+2", " .5"], "number"),
        (["$1,234.50", "-$3", "$ 7"], "number"),
        (["12 €", "3.5€", "-7 €", "9"], "number"),
        (["$1", "2 €", "$3"], "category"),  # no one amount
        (["$", "$a", "€5€"], "category"),
        (["1", "2", "?", "NA", "", None], "number"),
        ([*["1.5", "2.5"] * 20, "unknown"], "number"),  # a stray word
        ([*[str(i / 7) for i in range(120)], *"abcde"], "number"),
        ([*[str(i / 7) for i in range(120)], *"abcdef"], "identifier"),  # six such words
        ([*[str(i / 7) for i in range(60)], *"abcd"], "identifier"),  # more than 5 %
        ([*[str(i / 7) for i in range(60)], *"abcd", *[None] * 60], "identifier"),  # of those that are there
        ([dt.timedelta(hours=1), dt.timedelta(hours=2)], "number"),
        (["a", "b", "a"], "category"),
        (["01", "02", "10"], "category"),
        (["yes", "No", None], "boolean"),
        (["t", "f"], "boolean"),
        (["yes", "yes", None], "category"),
        ([True, False, None], "boolean"),
        (["2020-01-02", "2021-03-04", None], "date"),
        (["2020-01-02 10:00", "2021-03-04"], "date"),
        (["2020-01-02T10:00:00Z", "2021-03-04T05:00:00.5+02:00"], "date"),
        (["31.1.2020", "28.2.2020"], "date"),
        (["1/31/2020", "2/28/2020"], "date"),
        (["31/1/2020", "28/2/2020"], "date"),
        (["10:00", "23:59:59"], "date"),
        ([dt.date(2020, 1, 2), dt.date(2020, 2, 2)], "date"),
        ([dt.datetime(2020, 1, 2), dt.datetime(2020, 2, 2)], "date"),
        ([dt.time(3), dt.time(4)], "date"),
        ([7, 7, 7], "constant"),
        (["a", "a"], "constant"),
        ([None, None], "missing"),
        ([float("nan"), None], "missing"),
        (["NA", "?"], "missing"),
        ([f"k{i}" for i in range(N)], "identifier"),
        ([f"a few words of {i}" for i in range(N)], "text"),
        (list(range(N)), "identifier"),
        (list(range(1, N + 1)), "identifier"),
        (list(range(1900, 1900 + N)), "number"),
        ([[1], [2, 3]], "unsupported"),
        ([b"a", b"b"], "unsupported"),
    ],
)
def test_a_column_is_recognised(values, kind):
    found = column(values)
    assert (found.kind, found.used) == (kind, kind in ("number", "category", "boolean", "date"))
    assert found.reason


def test_what_is_left_out_for_its_many_values_says_how_they_are_written_and_what_would_help():
    """A tenth of 'k.A.' left the best column of a table out, and the reason told of identifiers."""
    sizes, many = [f"{i / 7 + 0.1:.3f}" for i in range(90)], "too many to learn from"
    found = column([*sizes, *["k.A."] * 10])
    assert found.reason == (
        f"has 91 values in 100 rows as '9.999': {many}; 90 cells are numbers: if 'k.A.' means a missing one, say "
        "missing=['k.A.'] or --missing k.A."
    )
    assert column([*sizes, *["k.A."] * 10], missing=["k.A."]).kind == "number"
    assert column([*sizes, *"abcdefgh", *["not known"] * 2]).reason.endswith(
        "if 'not known' and 8 others mean a missing one, say missing=['not known', …] or --missing 'not known' …"
    )
    days = [f"{1 + i % 28}.{1 + i % 12}.{10 + i % 15}" for i in range(90)]
    assert column(days).reason == f"has 90 values in 90 rows as '9.9.99': {many}"
    assert (
        column([f"Ünal-{i}" for i in range(N)]).reason == f"has {N} values in {N} rows as 'aaaa-9': {many}"
    )  # no name
    assert column(["x" * 99 + str(i) for i in range(N)]).reason == f"has {N} values in {N} rows: {many}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("id", "identifier"), ("customer_id", "identifier"), ("PatientID", "identifier"), ("Unnamed: 0", "identifier"),
     ("", "identifier"), ("paid", "number"), ("area", "number"), ("squid", "number")],
)  # fmt: skip
def test_whole_numbers_that_differ_in_every_row_are_an_identifier_by_name(name, kind):
    values = [(i * 7919) % 1009 for i in range(N)]
    assert column(values, name=name).kind == kind
    assert column([*values, values[0]], name=name).kind == "number"


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        ([1, 2, 1], "category", "category"),
        (list(range(N)), "number", "number"),
        ([f"k{i}" for i in range(N)], "category", "category"),
        ([1, 0, 1], "boolean", "boolean"),
        (["3 Jan 2020", "4 Feb 2021"], "date:%d %b %Y", "date"),
        (["01/02/2020", "03/04/2021"], "date", "date"),
        ([7, 7], "number", "number"),
        (["a", "b"], "drop", "drop"),
    ],
)
def test_a_kind_that_is_asked_for_is_taken(values, kind, found):
    assert column(values, kind).kind == found
    assert column(values, kind).reason.startswith("as asked for")


@pytest.mark.parametrize(
    ("values", "kind", "error", "message"),
    [
        (["a", "b"], "number", DataError, "a number in some cell, got 'a', 'b'"),
        (["a", "b"], "boolean", DataError, "a boolean in some cell"),
        (["a", "b"], "date", DataError, "a date in some cell"),
        (["a"], "colour", ArgumentError, "a kind out of number"),
        (["a"], "number:%d", ArgumentError, "a kind out of number"),
        ([[1]], "number", DataError, "a number, text or date"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(values, kind, error, message):
    with pytest.raises(error, match=message):
        column(values, kind)


@pytest.mark.parametrize("kind", ["drop", "category", "number"])
def test_a_kind_of_the_target_is_refused(kind):
    with pytest.raises(ArgumentError, match="task="):
        tables.load({"x": [1.0, 2.0, 4.0], "y": [1, 3, 4]}, "y", kinds={"y": kind})


@pytest.mark.parametrize("infinite", ["inf", "-Infinity", "1e39", "NaN"])
def test_infinite_numbers_in_text_are_missing_numbers_however_many(infinite):
    words = [infinite if n % 3 == 0 else f"{n / 7:.3f}" for n in range(60)]
    found = decide(pl.Series("x", words))
    assert (found.kind, found.missing) == ("number", True)
    assert decide(pl.Series("x", [infinite] * 30 + ["a", "b"] * 15)).kind == "category"


def test_moments_are_not_set_one_by_one(monkeypatch):
    """Series.set takes no moments before polars 1.37: it gave NotImplemented."""
    plain = pl.Series.set

    def earlier(series, mask, value):
        return NotImplemented if series.dtype.is_temporal() else plain(series, mask, value)

    monkeypatch.setattr(pl.Series, "set", earlier)
    assert column(["2024-01-02", "2024-03-04 17:30", None]).kind == "date"


def test_a_year_has_four_digits():
    for words in (["1/1/24", "2/1/24", "3/1/25"], ["01.02.98", "01.02.03", "05.02.03"]):
        assert decide(pl.Series("day", words)).kind != "date"
        assert cells.moments(pl.Series(words), "%Y/%m/%d").null_count() == 3
    short = decide(pl.Series("day", ["01.02.98", "01.02.03"]), kind="date:%d.%m.%y")
    assert short.kind == "date"
    assert [d.year for d in cells.moments(pl.Series(["01.02.98", "01.02.03"]), short.form)] == [1998, 2003]


def test_reasons_name_what_a_caller_may_want_to_know():
    assert "'date:%d/%m/%Y'} or --kind x=date:%d/%m/%Y" in column(["1/2/2020", "3/4/2020"]).reason
    assert "%d/%m" not in column(["1/31/2020", "3/4/2020"]).reason
    codes = column([1, 2, 3] * 10, name="year built").reason
    assert codes.endswith("if they are codes, say kinds={'year built': 'category'} or --kind 'year built=category'")
    assert column([0.5, 1.5, 2.5] * 10).reason == "numbers"
    assert "1 cell that is no finite number" in column([*["1.5", "2"] * 20, "many"]).reason
    assert "2 cells that are no finite number" in column([1.0, 2.0, np.inf, -np.inf]).reason
    assert "no finite" not in column([1.0, 2.0, None, float("nan")]).reason
    assert "29 rare ones share one" in column(MANY).reason


def test_levels_are_kept_by_frequency_then_the_alphabet():
    assert column(["b", "c", "a", "c", None]).levels == ("c", "a", "b")
    found = column([*MANY, "town 59", "town 40"])
    assert (len(found.levels), found.kept) == (60, LEVELS - 1)
    assert found.levels[:3] == ("town 40", "town 59", "town 0")
    assert len(found.slots) == LEVELS
    assert found.slots[-1] == "x: other"
    assert column([f"l{i}" for i in range(LEVELS)] * 2).kept == LEVELS
    assert column(["a", "b", None]).slots == ("x = a", "x = b", "x: missing")


def test_parts_of_dates_are_those_that_vary():
    assert column(["2020-01-06", "2020-01-13"]).features == ("x: year",)
    assert column(["2020-01-06", "2020-01-07"]).parts == ("year", "weekday")
    assert column(["2020-01-06 10:00", "2020-02-07 12:00"]).parts == ("year", "month", "weekday", "hour")
    assert column(["10:00", "11:00"]).features == ("x: hour sine", "x: hour cosine")


def test_a_cell_means_the_same_however_it_is_stored():
    words = pl.Series(["1", "2.0", None, "NA"])
    for stored in (words, pl.Series([1, 2, None, None]), pl.Series([1.0, 2.0, float("nan"), None])):
        assert cells.text(stored).to_list() == ["1", "2", None, None]
        assert cells.numbers(stored).to_list() == [1, 2, None, None]
    assert cells.numbers(pl.Series([dt.date(2020, 1, 1)])).to_list() == [None]
    assert cells.numbers(pl.Series([1e39, -1e39, 3e38])).to_list() == [None, None, 3e38]
    for stored in (pl.Series(["-999", "1"]), pl.Series([-999, 1]), pl.Series([-999.0, 1]), pl.Series(["-999.0", "1"])):
        assert cells.numbers(stored, ("-999",)).to_list() == [None, 1]
        assert cells.stray(stored, cells.numbers(stored, ("-999",)), ("-999",)).to_list() == [False, False]
    for stored in (pl.Series(["9.0", "9", "1"]), pl.Series([9.0, 9, 1]), pl.Series([9, 9, 1])):
        for mark in ("9", "9.0"):
            assert cells.text(stored, (mark,)).to_list() == [None, None, "1"]
    times = [dt.datetime(2020, 1, 2, 3), None]
    assert cells.moments(pl.Series(times), "%d.%m.%Y").to_list() == times
    assert cells.moments(pl.Series(times).dt.replace_time_zone("Europe/Berlin"), "%Y-%m-%d").dt.hour()[0] == 2
    assert cells.moments(pl.Series(["2020-01-02T05:00:00+02:00", "x"]), "%Y-%m-%d").to_list() == times


def test_times_of_day_may_have_fractions_of_seconds():
    """As polars and pandas write them."""
    times = [dt.time(10, 5), dt.time(10, 5, 3), dt.time(10, 5, 3, 500_000)]
    for words in (["10:05", "10:05:03", "10:05:03.5"], pl.DataFrame(times).write_csv().split()[1:]):
        assert cells.moments(pl.Series(words), "%H:%M").to_list() == times


@pytest.mark.parametrize(
    ("values", "task", "labels"),
    [
        (["b", "a", "b", None], "classification", ("a", "b")),
        ([True, False], "classification", (False, True)),
        ([1.0, 0.0, None], "classification", (0, 1)),
        (["10", "9", "9", "10"], "classification", (9, 10)),
        (["01", "02", "01", "02"], "classification", ("01", "02")),
        ([0.5, 1.5, 0.5], "classification", (0.5, 1.5)),
        ([3, 1, 2] * 5, "classification", (1, 2, 3)),
        ([3, 1, 2] * 4, "regression", ()),
        (list(range(21)) * 9, "regression", ()),
        ([0.1, 0.2, 0.3] * 9, "regression", ()),
        (["1,000", "2,000", "3.5"], "regression", ()),
        ([*["0", "1", "2"] * 9, "inf"], "classification", (0, 1, 2)),
        ([*["0.5", "1.5", "2.5"] * 9, "-Infinity", "1e39"], "regression", ()),
        (["inf", "a", "b"] * 5, "classification", ("a", "b", "inf")),
        ([f"{2**53 + n % 3}" for n in range(30)], "classification", tuple(f"{2**53 + n}" for n in range(3))),
        ([2**53 + n % 3 for n in range(30)], "classification", tuple(f"{2**53 + n}" for n in range(3))),
        ([2**60 + n % 3 for n in range(30)], "classification", tuple(f"{2**60 + n}" for n in range(3))),
        ([2**60, 2**61] * 5, "classification", (2**60, 2**61)),
        ([2**60 + 99 * n for n in range(30)], "regression", ()),
    ],
)
def test_the_task_is_recognised(values, task, labels):
    found = decide_target(pl.Series("y", values))
    assert (found.task, found.labels) == (task, labels)
    assert [type(label) for label in found.labels] == [type(label) for label in labels]


def test_a_row_with_an_infinite_target_is_left_out_however_it_is_stored():
    words = [*["0", "1", "2"] * 9, "inf"]
    for stored in (words, [float(word) for word in words]):
        table = tables.load({"x": np.arange(28) / 7, "y": stored}, "y")
        assert table.counts == {0: 9, 1: 9, 2: 9}
        assert table.notes == ("1 of 28 rows have no target and were left out.",)


def test_whole_numbers_that_no_float_tells_apart_are_classes_of_their_own():
    whole = [2**53 + n % 3 for n in range(30)]
    table = tables.load({"x": np.arange(30) / 7, "y": whole}, "y")
    assert table.counts == {str(2**53 + n): 10 for n in range(3)}
    again = tables.Table.of(table.schema, {"x": [1.0], "y": [str(2**53 + 1)]}, targets=True)
    assert again.targets is not None
    assert again.targets.tolist() == [1]
    assert decide_target(pl.Series("y", whole), "regression").task == "regression"


def test_the_task_can_be_said():
    values = pl.Series("y", [3, 1, 2] * 5)
    assert decide_target(values, "regression").labels == ()
    assert decide_target(pl.Series("y", [0.5, 0.1, 0.2] * 3), "classification").labels == (0.1, 0.2, 0.5)
    assert decide_target(pl.Series("y", [True, False]), "regression").task == "regression"


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([None, None], None, "a target in some row, got none in any row"),
        (["NA", "?"], None, "a target in some row"),
        ([np.inf, np.nan], None, "a finite target"),
        ([4, 4, None], None, "at least two values, got 4.0 in every row"),
        (["a", "b", "a"], "regression", "numbers in a regression's target, got 'a'"),
        (["1", "2.5", "x"], "regression", "got 'x'"),
        (["1,000", "2.5", "inf", "x"], "regression", "got 'x'"),
        ([str(i) + "x" for i in range(9)], None, "9 values in 9 rows"),
        ([[1], [2]], None, "a target of numbers or classes"),
        ([dt.date(2020, 1, 1), dt.date(2020, 1, 2)], None, "Turn it into numbers"),
        (["a", "b"], "ranking", "task to be one of"),
    ],
)
def test_a_target_that_cannot_be_is_refused(values, task, message):
    with pytest.raises((DataError, ArgumentError), match=message):
        decide_target(pl.Series("y", values, strict=False), task)


def test_targets_are_numbered_in_the_order_of_the_labels():
    table = tables.load({"x": [1.5, 2, 3, 4], "y": ["b", None, "a", "b"]}, "y")
    assert table.targets is not None
    assert table.targets.tolist() == [1, 0, 1]
    assert table.targets.dtype == np.int64
    assert table.rows.tolist() == [0, 2, 3]
    assert table.notes == ("1 of 4 rows have no target and were left out.",)
    assert table.counts == {"a": 1, "b": 2}
    with pytest.raises(DataError, match=r"a class out of a, b, got 'B'. Did you mean 'b'\?"):
        tables.Table.of(table.schema, {"x": [1.0], "y": ["B"]}, targets=True)
    with pytest.raises(DataError, match="a target in some row"):
        tables.Table.of(table.schema, {"x": [1.0], "y": [None]}, targets=True)
    flags = tables.load({"x": [1.5, 2], "y": [True, False]}, "y")
    new = tables.Table.of(flags.schema, {"x": [1, 1], "y": ["false", "True"]}, targets=True)
    assert new.targets is not None
    assert new.targets.tolist() == [0, 1]


@pytest.mark.parametrize("stored", [str, float])
def test_a_word_for_a_missing_number_may_have_a_point(stored):
    data = {"x": np.arange(60) / 7, "y": [stored(float(value)) for value in [1, 2, 9] * 20]}
    assert tables.load(data, "y", missing=["9.0"]).counts == {1: 20, 2: 20}
    assert tables.load(data, kinds={"y": "category"}, missing=["9.0"]).schema.columns[1].levels == ("1", "2")


def test_an_unknown_name_gets_a_near_one():
    frame = {"quality": [1, 2], "alcohol": [1.5, 2.5]}
    with pytest.raises(DataError, match=r"target to name a column .* got 'qualty'. Did you mean 'quality'\?"):
        tables.load(frame, "qualty")
    with pytest.raises(DataError, match=r"kinds to name a column .* got 'zzz'"):
        tables.load(frame, "quality", kinds={"zzz": "drop"})


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match=r"a column to learn from, got c is '1' in every row"):
        tables.load({"c": [1, 1], "y": ["a", "b"]}, "y")


def test_the_report_has_a_row_for_every_column():
    schema = tables.Schema.of({"a|b": [1.5, None], "c": ["x", "y"], "d": [1, 1], "y": [1, 2]}, "y")
    lines = schema.report().splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("| a\\|b | number | 2 |")
    assert lines[4].startswith("| d | constant, left out | 0 |")
    assert schema.inputs == ("a|b", "a|b: missing", "c = x", "c = y")


def test_a_schema_comes_back_from_json():
    frame = {
        "n": [1.5, None], "c": ["ä", "y"], "when": ["2020-01-02", "2021-01-03"], "t": [True, False], "y": [1, 2],
    }  # fmt: skip
    schema = tables.Schema.of(frame, "y", missing=["-9"])
    text = json.dumps(schema.to_json())
    again = tables.Schema.from_json(json.loads(text))
    assert again == schema
    assert json.dumps(again.to_json()) == text
    assert tables.Schema.from_json(tables.Schema.of({"n": [1.5, 2]}).to_json()).target is None


@pytest.mark.parametrize(
    ("data", "message"),
    [({}, "format 1, got None"), ({"format": 2}, "update this one"), ({"format": 1}, "KeyError"), (3, "format 1"),
     ({"format": 1, "columns": [{"nam": "x"}], "target": None, "missing": []}, "TypeError")],
)  # fmt: skip
def test_what_is_no_schema_is_refused(data, message):
    with pytest.raises(DataError, match=message):
        tables.Schema.from_json(data)
