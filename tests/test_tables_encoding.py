"""Encoding: always finite, by the training rows alone, and the same for the same rows however a file holds them."""

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from handgrad import tables
from handgrad.errors import DataError, ShapeError
from handgrad.tables.encoding import FARTHEST

NUMBERS = st.floats(width=64) | st.sampled_from([0.0, 1e300, 1e-300, math.inf, math.nan, 1e9, 1e9 + 1])
CELLS = {
    "numbers": st.none() | NUMBERS,
    "whole": st.none() | st.integers(-(2**62), 2**62),
    "few": st.integers(0, 4),
    "written": st.sampled_from(["1", "2.5", "1,200", "12%", "", "NA", "?", "-3e2", "nan"]),
    "words": st.none() | st.text(max_size=4),
    "levels": st.sampled_from([*"abcdef", None]),
    "many": st.integers(0, 60).map(lambda i: f"town {i}"),
    "flags": st.none() | st.booleans(),
    "dates": st.none() | st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    "moments": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "times": st.none() | st.times(),
    "days": st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)).map(str),
}
TYPES: dict[str, Any] = {
    "numbers": pl.Float64, "whole": pl.Int64, "few": pl.Int8, "flags": pl.Boolean, "dates": pl.Date,
    "moments": pl.Datetime("us"), "times": pl.Time,
}  # fmt: skip


@st.composite
def frames(draw, least=2, most=60):
    """A frame of columns of drawn kinds, named c0, c1, … ."""
    count = draw(st.integers(least, most))
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5))
    columns = [
        pl.Series(f"c{i}", draw(st.lists(CELLS[kind], min_size=count, max_size=count)), TYPES.get(kind, pl.String))
        for i, kind in enumerate(kinds)
    ]
    return pl.DataFrame(columns)


def loaded(frame, **options):
    """The table, where there is something to learn from."""
    try:
        return tables.load(frame, **options)
    except DataError as error:
        assume("a column to learn from" not in str(error))
        raise


@settings(max_examples=60)
@given(frames(), frames(), st.data())
def test_inputs_are_finite_whatever_comes(frame, other, data):
    table = loaded(frame)
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=20))
    encoder = tables.Encoder.fit(table, rows)
    names = [name for name in frame.columns if name not in other.columns]
    unlike = other.with_columns(pl.lit(None).alias(name) for name in names)  # of other kinds
    for new in (table, tables.Table.of(table.schema, unlike)):
        x = encoder.transform(new)
        assert x.shape == (len(new), len(encoder.inputs))
        assert x.dtype == torch.float32
        assert x.isfinite().all()
        assert len(tables.outside(encoder, new).sentences) == len(new)
    for row in rows:  # of these nothing is new, but a cell may hold what cannot be read
        sentence = tables.outside(encoder, table).sentences[row]
        assert not any(word in sentence for word in ("never was", "beyond", "a level not seen"))


@settings(max_examples=50)
@given(frames(), st.data())
def test_training_rows_are_standardised(frame, data):
    table = loaded(frame)
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=40))
    encoder = tables.Encoder.fit(table, rows)
    x = encoder.transform(table, rows).double().numpy()
    for f, scale in enumerate(encoder.scale):
        if scale > 0:
            assert abs(x[:, f].mean()) < 1e-4
            assert abs(x[:, f].std() - 1) < 1e-4
        else:
            assert (x[:, f] == 0).all()
    rest = x[:, len(encoder.scale) :]
    assert np.isin(rest, (0, 1)).all()


@given(frames(), st.data())
def test_a_round_trip_through_json_encodes_equally(frame, data):
    table = loaded(frame)
    encoder = tables.Encoder.fit(table, data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1)))
    text = json.dumps([table.schema.to_json(), encoder.to_json()], allow_nan=False)
    schema, data = json.loads(text)
    schema = tables.Schema.from_json(schema)
    again = tables.Encoder.from_json(schema, data)
    assert json.dumps([schema.to_json(), again.to_json()]) == text
    new = tables.Table.of(schema, frame)
    assert torch.equal(again.transform(new), encoder.transform(table))
    assert tables.outside(again, new) == tables.outside(encoder, table)


@settings(max_examples=30)
@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_and_further_columns_do_not_matter(frame, random):
    table = loaded(frame)
    encoder = tables.Encoder.fit(table)
    rows, names = list(range(frame.height)), [*frame.columns, "further"]
    random.shuffle(rows)
    random.shuffle(names)
    mixed = frame.with_columns(further=pl.lit("z")).select(names)[rows]
    assert torch.equal(encoder.transform(tables.Table.of(table.schema, mixed)), encoder.transform(table)[rows])


@settings(max_examples=30)
@given(frames(), st.integers(0, 4))
def test_a_missing_column_is_named_if_it_is_used(frame, index):
    table = loaded(frame)
    name = f"c{index % frame.width}"
    rest = frame.with_columns(z=pl.lit(1)).drop(name)
    if name in [column.name for column in table.schema.used]:
        with pytest.raises(DataError, match=f"the columns '{name}'"):
            tables.Table.of(table.schema, rest)
    else:
        assert len(tables.Table.of(table.schema, rest)) == frame.height


def test_an_input_that_no_training_row_has_is_0_whatever_comes():
    n = 90
    table = tables.load(
        {
            "x": [None if i in (1, 80) else i / 7 for i in range(n)],
            "c": [None if i == 81 else "ab"[i % 2] for i in range(n)],
            "many": [f"rare {i}" if i >= 85 else f"level {i % 33}" for i in range(n)],
            "b": [None if i == 82 else bool(i % 3) for i in range(n)],
        }
    )
    assert {"c: missing", "b: missing", "many: other"} < set(table.schema.inputs)
    for rows in (np.arange(2, 60), np.arange(60), np.arange(2, 20)):
        encoder = tables.Encoder.fit(table, rows)
        never = (encoder.transform(table, rows) == 0).all(0)
        assert bool(never.any())
        assert not encoder.transform(table)[:, never].any(), [encoder.inputs[i] for i in np.flatnonzero(never)]
    whole = tables.Encoder.fit(table).transform(table)
    assert not bool((whole == 0).all(0).any())


@pytest.mark.parametrize(
    ("train", "options", "new", "expected"),
    [
        ("x;y\n1.234,5;1\n0,5;2\n7,25;3\n", {}, "x;z\n1.234;5\n", [1234]),
        ("x;y\n1.234,5;1\n0,5;2\n7,25;3\n", {}, "x,z\n1.234,5\n", [1.234]),  # written otherwise
        ("x;y\n1.5;1\n0.5;2\n7.25;3\n", {}, "x;z\n1,234;5\n", [1234]),
        ("x,y\n1.5,1\n0.5,2\n7.25,3\n", {}, "x;z\n1,234;5\n", [1.234]),
        ('x,y\n"1,5",1\n"0,5",2\n"7,25",3\n', {"decimal": ","}, 'x,z\n"1,234",5\n', [1.234]),
    ],
)
def test_a_new_file_has_the_decimal_mark_of_the_first(tmp_path, train, options, new, expected):
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "new.csv").write_text(new)
    schema = tables.load(tmp_path / "train.csv", "y", **options).schema
    for one in (schema, tables.Schema.from_json(json.loads(json.dumps(schema.to_json())))):
        assert one.written == schema.written is not None
        assert tables.Table.of(one, tmp_path / "new.csv").numbers[:, 0].tolist() == expected
        assert tables.Table.of(one, {"x": ["2"]}).numbers.tolist() == [[2]]
    assert not options or tables.Schema.of(tmp_path / "train.csv").written == (",", ".")
    before = {key: value for key, value in schema.to_json().items() if key != "written"}
    assert tables.Schema.from_json(before).written is None  # as it was before it was kept


def test_a_renamed_column_is_guessed():
    table = tables.load({"Petal width": [1.5, 2.5]})
    with pytest.raises(DataError, match="Is it 'petal_width' there"):
        tables.Table.of(table.schema, {"petal_width": [1.0]})
    with pytest.raises(DataError, match="a number, text or date in a cell, got list"):
        tables.Table.of(table.schema, {"Petal width": [[1.0]]})


def test_a_file_and_a_frame_are_encoded_equally(tmp_path):
    frame = pl.DataFrame(
        {
            "n": [1.5, None, 2.25e10, -3.0],
            "w": [1, 2, None, 4],
            "c": ["a", None, "b", "a"],
            "f": [True, False, None, True],
            "d": [dt.date(2020, 1, 2), dt.date(2021, 5, 4), None, dt.date(2022, 9, 9)],
            "m": [dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(2021, 5, 4), None, dt.datetime(2022, 9, 9)],
            "y": [0.5, 1.5, 2.5, 3.5],
        }
    )
    frame.write_csv(tmp_path / "data.csv")
    frame.write_parquet(tmp_path / "data.parquet")
    wanted = None
    for source in (frame, tmp_path / "data.csv", tmp_path / "data.parquet"):
        table = tables.load(source, "y")
        encoder = tables.Encoder.fit(table)
        wanted = encoder.transform(table) if wanted is None else wanted
        assert torch.equal(encoder.transform(table), wanted)
        for other in (frame, tmp_path / "data.csv", tmp_path / "data.parquet"):
            assert torch.equal(encoder.transform(tables.Table.of(table.schema, other)), wanted)


def test_only_training_rows_are_learnt_from():
    frame: dict[str, Any] = {
        "n": [1.0, 3.0, None, 500.0, None],
        "c": ["a", "b", "a", "c", None],
        "y": [1.5, 2.5, 3.5, 99.5, 1.0],
    }
    table = tables.load(frame, "y")
    encoder = tables.Encoder.fit(table, [0, 1, 2])
    frame["n"][3], frame["y"][3] = -7.0, -1.0
    again = tables.Encoder.fit(tables.load(frame, "y"), [0, 1, 2])
    assert encoder.to_json() == again.to_json()
    assert encoder.fill == 2.0
    assert encoder.inputs == ("n", "n: missing", "c = a", "c = b", "c = c", "c: missing")
    assert encoder.transform(table)[:, 1:].tolist() == [
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],  # a level that no training row has
        [1, 0, 0, 0, 0],  # no training row misses c
    ]


def test_a_rare_or_unseen_level_is_pooled_where_there_is_a_pool():
    levels = [f"l{i}" for i in range(40)]
    table = tables.load({"c": [*levels, *levels, *levels[:5]]})
    encoder = tables.Encoder.fit(table, range(39))  # not l39
    new = tables.Table.of(table.schema, {"c": ["l0", "l39", "new", None, "l38"]})
    x = encoder.transform(new)
    assert x.shape == (5, 32)
    assert x.sum(1).tolist() == [1, 1, 1, 0, 1]
    assert x.argmax(1).tolist() == [0, 31, 31, 0, 31]
    assert tables.outside(encoder, new).sentences == (
        "",
        "c is 'l39', a level not seen.",
        "c is 'new', a level not seen.",
        "c is missing, which it never was.",
        "",
    )


def test_what_was_never_missing_is_filled_with_the_median_too():
    table = tables.load({"n": [1.0, 2.0, 9.0], "c": ["a", "b", "b"]})
    encoder = tables.Encoder.fit(table)
    x = encoder.transform(tables.Table.of(table.schema, {"n": [None, 2.0], "c": [None, "a"]}))
    assert x[0, 0] == x[1, 0]
    assert x[0, 1:].tolist() == [0, 0]


def test_rows_may_be_a_mask_or_a_tensor_and_what_is_returned_is_a_copy():
    table = tables.load({"n": [1.0, 2.0, 9.0], "y": ["a", "b", "b"]}, "y")
    encoder = tables.Encoder.fit(table)
    for rows in (np.array([True, False, True]), torch.tensor([0, 2])):
        assert torch.equal(encoder.transform(table, rows), encoder.transform(table, [0, 2]))
        assert encoder.targets(table, rows).tolist() == [0, 1]
    encoder.targets(table).zero_()
    assert encoder.targets(table).tolist() == [0, 1, 1]


def test_a_constant_part_of_training_says_nothing():
    table = tables.load({"n": [0.1, 0.1, 0.1, 5.0], "m": [1e9, 1e9 + 1, 1e9 + 2, 0.0]})
    encoder = tables.Encoder.fit(table, [0, 1, 2])
    x = encoder.transform(table)
    assert x[:, 0].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(x[:3, 1], torch.tensor([-(1.5**0.5), 0, 1.5**0.5]))
    assert x[3, 1] == -FARTHEST
    rounding = tables.load({"n": [0.1 + 0.2, 0.3, 0.3, 5.0]})
    assert (tables.Encoder.fit(rounding, [0, 1, 2]).transform(rounding) == 0).all()


def test_dates_become_numbers_and_circles():
    frame = {"d": ["2020-01-01 00:00", "2020-07-01 06:00", "2022-12-31 12:00", None]}
    table = tables.load(frame)
    assert table.schema.inputs == (
        "d: year", "d: month sine", "d: month cosine", "d: weekday sine", "d: weekday cosine", "d: hour sine",
        "d: hour cosine", "d: missing",
    )  # fmt: skip
    year, month, hour = table.numbers[:, 0], table.numbers[:, 1:3], table.numbers[:, 5:7]
    np.testing.assert_allclose(year[:3], [2020, 2020 + 182.25 / 366, 2022 + 364.5 / 365])
    np.testing.assert_allclose(month[:2], [[0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]], atol=1e-9)
    np.testing.assert_allclose(hour[:3], [[0, 1], [1, 0], [0, -1]], atol=1e-9)
    assert np.isnan(table.numbers[3]).all()
    encoder = tables.Encoder.fit(table)
    new = tables.Table.of(table.schema, {"d": ["2021-05-05", "2035-01-01", "soon", "?"]})
    assert tables.outside(encoder, new).sentences == (
        "", "d is 2035-01-01, beyond 2020 to 2023.", "d is 'soon', not a date.", "",
    )  # fmt: skip


def test_a_time_of_day_has_minutes_and_seconds():
    frame = {"at": ["06:30:36", "12:00:00"], "day": ["2023-07-02T06:30:36", "2024-01-01T00:00:00"], "y": [1.5, 2.5]}
    table = tables.load(frame, "y", task="regression")
    turn = 2 * np.pi * 6.51 / 24
    assert table.numbers[0, :2] == pytest.approx([np.sin(turn), np.cos(turn)])
    assert table.numbers[:, 2] == pytest.approx([2023 + (182 + 6.51 / 24) / 365, 2024], abs=1e-9)


def test_novelty_says_what_is_new():
    table = tables.load({"n": [0.0, 10.0, 5.0, 2.5], "f": [True, False, True, True], "c": ["a", "b", "a", "a"]})
    encoder = tables.Encoder.fit(table)
    new: dict[str, Any] = {
        "n": [10.4, 10.6, -0.6, "abc", "inf", None],
        "f": ["yes", 1, None, "maybe", "0", "f"],
        "c": list("aaabaz"),
    }
    new = {name: [None if v is None else str(v) for v in values] for name, values in new.items()}
    found = tables.outside(encoder, tables.Table.of(table.schema, new))
    assert found.sentences == (
        "",
        "n is 10.6, beyond 0 to 10.",
        "n is -0.6, beyond 0 to 10; f is missing, which it never was.",
        "n is 'abc', not a finite number; f is 'maybe', not a boolean.",
        "n is 'inf', not a finite number.",
        "n is missing, which it never was; c is 'z', a level not seen.",
    )
    assert found.counts == {"n": 5, "f": 2, "c": 1}
    assert found.rows.tolist() == [False, True, True, True, True, True]
    assert str(found) == "5 of 6 rows lie outside what was seen in training: n in 5, f in 2, c in 1."
    assert str(tables.outside(encoder, table)) == "All 4 rows lie within what was seen in training."


def test_a_day_may_lie_beyond_those_seen_and_a_time_of_day_not():
    table = tables.load({"day": ["2024-01-05", "2024-03-01", "2024-02-10"], "at": ["08:00", "12:00", "09:30"]})
    new = tables.Table.of(table.schema, {"day": ["2024-02-01", "2025-03-01", "soon"], "at": ["20:00", "03:00", "noon"]})
    within, late, unread = tables.outside(tables.Encoder.fit(table), new).sentences
    assert within == ""
    assert late.startswith("day is 2025-03-01, beyond 2024.0")
    assert unread == "day is 'soon', not a date; at is 'noon', not a date."


@pytest.mark.parametrize(
    ("seen", "value", "sentence"),
    [
        ([1e9, 1e9 + 1], 1e9 + 2, "n is 1000000002, beyond 1000000000 to 1000000001."),
        ([0.1, 0.2], 0.3, "n is 0.3, beyond 0.1 to 0.2."),
        ([0.0, 2e-9], 1.0, "n is 1, beyond 0 to 2e-09."),
        ([1e9, 2e9], 1e9 - 1e8, "n is 9e+08, beyond 1e+09 to 2e+09."),
    ],
)
def test_novelty_shows_as_many_digits_as_tell_numbers_apart(seen, value, sentence):
    table = tables.load({"n": seen, "c": ["a", "b"]})
    new = tables.Table.of(table.schema, {"n": [value], "c": ["a"]})
    assert tables.outside(tables.Encoder.fit(table), new).sentences == (sentence,)


def test_targets():
    table = tables.load({"x": [1.5, 2.5, 3.5, 0.5], "y": [1.0, 2.5, 4.0, 1e3]}, "y")
    encoder = tables.Encoder.fit(table, [0, 1, 2])
    t = encoder.targets(table, [0, 1, 2])
    torch.testing.assert_close(t, torch.tensor([-(1.5**0.5), 0, 1.5**0.5]))
    torch.testing.assert_close(encoder.original(t.expand(4, 3)), torch.tensor([1, 2.5, 4]).double().expand(4, 3))
    constant = tables.Encoder.fit(table, [0, 0])
    assert constant.targets(table, [0, 1]).tolist() == [0, 1.5]
    classes = tables.load({"x": [1.5, 2.5], "y": ["b", "a"]}, "y")
    assert tables.Encoder.fit(classes).targets(classes).tolist() == [1, 0]
    new = tables.Table.of(classes.schema, {"x": [1.0]})
    assert new.targets is None
    with pytest.raises(DataError, match="a table with targets"):
        tables.Encoder.fit(classes).targets(new)


def test_another_table_is_refused():
    table, other = tables.load({"x": [1.5, 2.5]}), tables.load({"z": [1.5, 2.5]})
    encoder = tables.Encoder.fit(table)
    for use in (encoder.transform, encoder.targets, lambda t: tables.outside(encoder, t)):
        with pytest.raises(DataError, match="a table read by the encoder's schema"):
            use(other)
    with pytest.raises(DataError, match="at least one training row"):
        tables.Encoder.fit(table, [])
    wide = tables.load({"x": [1.5, 2.5], "z": [1.5, 2.5]})
    with pytest.raises(ShapeError, match="2 numbers of 2 columns"):
        tables.Encoder.from_json(wide.schema, encoder.to_json())
    with pytest.raises(DataError, match="format 1, got 7"):
        tables.Encoder.from_json(table.schema, {**encoder.to_json(), "format": 7})
    for data in ({"format": 1}, {**encoder.to_json(), "unseen": [[0]]}, {**encoder.to_json(), "mean": ["a"]}):
        with pytest.raises(DataError, match="an encoder of this schema"):
            tables.Encoder.from_json(table.schema, data)
