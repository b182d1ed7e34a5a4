"""Reading: the same table from every source, and a clear word where there is none."""

import datetime
import gzip
import subprocess
import sys

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest
import torch

from handgrad import tables
from handgrad.errors import ArgumentError, DataError, DTypeError, MissingExtraError, OutputError
from handgrad.tables import cells


def write(folder, text, name="data.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(frame):
    return [list(frame.columns), *map(list, frame.rows())]


PLAIN = [["a", "b"], ["1", "x, y"], ["2.5", None]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", 'a,b\n1,"x, y"\n2.5,\n'),
        ("windows.csv", 'a,b\r\n1,"x, y"\r\n2.5,\r\n'),
        ("bom.csv", '\ufeffa,b\n1,"x, y"\n2.5,'),
        ("semicolon.csv", "a;b\n1;x, y\n2.5;\n"),
        ("tab.tsv", "a\tb\n1\tx, y\n2.5\t\n"),
        ("pipe.txt", "a|b\n1|x, y\n2.5|\n"),
        ("blank.csv", 'a,b\n1,"x, y"\n\n2.5,\n\n'),
        ("blank end.csv", 'a,b\n1,"x, y"\n2.5,\n\n\n'),
        ("blanks.csv", '\na , b\n1,"x, y"\n2.5,\n'),
        ("comma.csv", "a;b\n1;x, y\n2,5;\n"),
        ("UPPER.CSV", 'a,b\n1,"x, y"\n2.5,\n'),
        ("gzip.csv.gz", gzip.compress(b'a,b\n1,"x, y"\n2.5,\n', mtime=0)),
        ("gzip.csv", gzip.compress(b'a,b\n1,"x, y"\n2.5,\n', mtime=0)),
    ],
)
def test_a_csv_file_is_read_as_it_is_written(tmp_path, name, content):
    assert rows(tables.read(write(tmp_path, content, name))) == PLAIN
    assert rows(tables.read(str(tmp_path / name))) == PLAIN


def test_a_quoted_cell_may_hold_lines_and_quotes(tmp_path):
    frame = tables.read(write(tmp_path, 'a,b\n"one\n\ntwo","say ""no"""\n3,\n'))
    assert frame.rows() == [("one\n\ntwo", 'say "no"'), ("3", None)]


def test_a_row_of_missing_cells_stays_and_a_blank_line_goes(tmp_path):
    assert tables.read(write(tmp_path, "a,b\n1,2\n,\n\n3,4\n")).rows() == [("1", "2"), (None, None), ("3", "4")]


def test_a_blank_line_goes_where_there_is_one_column(tmp_path):
    assert tables.read(write(tmp_path, 'a\n1\n\n""\n2\n\n')).rows() == [("1",), ("",), ("2",)]


@pytest.mark.parametrize("separator", ["\\t", "::", "§", '"', "\n", "\r"])
def test_a_separator_is_one_plain_character(tmp_path, separator):
    with pytest.raises(ArgumentError, match="separator"):
        tables.read(write(tmp_path, "a,b\n1,2\n"), separator=separator)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a;b\n1.234,5;x\n0,076;y\n", {}, ["1234.5", "0.076"]),
        ("a;b\n0.076;x\n1.234;y\n", {}, ["0.076", "1.234"]),  # points outnumber commas: no thousands
        ("a;b\n1.234;x\n5;y\n", {"decimal": ","}, ["1234", "5"]),
        ("a;b\n1,234;x\n5;y\n", {"decimal": "."}, ["1,234", "5"]),
        ('a,b\n"1,5",x\n2,y\n', {"decimal": ","}, ["1.5", "2"]),
        ('a,b\n"1,500",x\n2,y\n', {}, ["1,500", "2"]),
        ("a;b\n01.02.2020;x\n2,5;y\n", {}, ["01.02.2020", "2.5"]),
        ("a b\n1 x\n", {"separator": " "}, ["1"]),
        ("a;b\n1,000%;x\n1,25 %;y\n", {}, ["1.000%", "1.25 %"]),
        ("a;b\n1.5%;x\n1.250%;y\n1,000;z\n", {}, ["1.5%", "1.250%", "1,000"]),
        ("a;b\n1.234,5%;x\n%;y\n", {"decimal": ","}, ["1234.5%", "%"]),
    ],
)
def test_decimal_comma_and_separator(tmp_path, text, options, expected):
    assert tables.read(write(tmp_path, text), **options)["a"].to_list() == expected


def test_amounts_of_money_with_a_decimal_comma(tmp_path):
    frame = tables.read(write(tmp_path, "price;fee\n€ 1.234,50;3,5 €\n-€7,25;12 €\n"))
    assert [cells.numbers(frame[name]).to_list() for name in frame.columns] == [[1234.5, -7.25], [3.5, 12.0]]


def test_percentages_with_a_decimal_comma(tmp_path):
    lines = "".join(f"1,0{n}0%;5{n},0\n" for n in range(10)) + "1,25%;50,0\n"
    found = tables.load(write(tmp_path, "rate;size\n" + lines)).numbers
    assert found[:, 0].tolist() == pytest.approx([*(0.01 + n / 1e4 for n in range(10)), 0.0125])


def test_encoding(tmp_path):
    path = write(tmp_path, "a,b\nfür,1\n".encode("latin-1"))
    assert tables.read(path, encoding="latin-1")["a"].to_list() == ["für"]
    with pytest.raises(DataError, match="latin-1"):
        tables.read(path)
    wide = write(tmp_path, "a,b\nfür,1\n".encode("utf-16"))
    assert tables.read(wide, encoding="utf-16")["a"].to_list() == ["für"]
    with pytest.raises(DataError, match="utf-16"):
        tables.read(wide)
    with pytest.raises(DataError, match="unknown encoding"):
        tables.read(path, encoding="martian")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a table, got an empty file"),
        ("\n \n", "empty file"),
        ("\ufeff\n", "empty file"),
        ('""\\aü"\t1,2\n1,2\n\x1aa;\n,b"b" \n', "names with plain quotes"),
        ("a,b\n", "at least one row, got 2 column names only"),
        ("a,b,a\n1,2,3\n", "'a' more than once"),
        ("a,b,a \n1,2,3\n", "'a' more than once"),
        ("a,b\n1,2\n3\n", "2 fields in every row, as in the first, got 1 in row 3"),
        ("a,b\n1,2\n3,4,5\n", "2 fields in every row, as in the first, got 3 in row 3"),
        ('a,b\n1,2\n"3,4\n5,6\n', "in row 3"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-12], "file that can be read"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:10] + b"\xff" * 40, "file that can be read"),
    ],
)
def test_a_bad_csv_file_is_refused(tmp_path, content, message):
    with pytest.raises((DataError, OutputError), match=message) as caught:
        tables.read(write(tmp_path, content))
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file_and_its_neighbour(tmp_path):
    write(tmp_path, "a\n1\n", "houses.csv")
    with pytest.raises(OutputError, match=r"Did you mean 'houses.csv'\?"):
        tables.read(tmp_path / "house.csv")
    with pytest.raises(OutputError, match="No such file"):
        tables.read(tmp_path / "nowhere" / "house.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match="directory"):
        tables.read(tmp_path / "folder.csv")


@pytest.mark.parametrize("name", ["data.xlsx", "data", "data.gz", "data.parquet.gz", "data.json"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"a file ending in \.csv"):
        tables.read(write(tmp_path, "a\n1\n", name))


def test_parquet(tmp_path):
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [datetime.date(2020, 1, 2), None]})
    frame.write_parquet(tmp_path / "data.parquet")
    assert tables.read(tmp_path / "data.parquet").equals(frame)
    with pytest.raises(DataError, match="Parquet"):
        tables.read(write(tmp_path, "a,b\n1,2\n", "fake.parquet"))


def test_polars_frames():
    frame = pl.DataFrame({"a": [1, 2]})
    assert tables.read(frame) is frame
    assert tables.read(frame.lazy()).equals(frame)


@pytest.mark.parametrize("values", [[1, 10**20], [-1, 2**63], [10**40, None], [1.5, 10**400]])
def test_lists_of_whole_numbers_beyond_64_bits_are_text(values):
    """As a CSV file has them; polars takes some, and refuses others by the order in which they come."""
    assert tables.read({"a": values})["a"].to_list() == [None if value is None else str(value) for value in values]


def test_a_pandas_frame_of_every_kind():
    frame = pd.DataFrame(
        {
            "float": [1.5, None],
            "whole": [1, 2],
            "nullable": pd.array([1, None], dtype="Int64"),
            "text": ["x", None],
            "mixed": [1, "z"],
            "moment": pd.to_datetime(["2020-01-02", None]),
            "zone": pd.to_datetime(["2020-01-02T03:00Z", None]),
            "level": pd.Categorical(["u", None]),
            "flag": [True, False],
            7: [None, True],
        }
    )
    found = tables.read(frame)
    assert found.columns == ["float", "whole", "nullable", "text", "mixed", "moment", "zone", "level", "flag", "7"]
    first, second = found.rows()
    assert first[:6] == (1.5, 1, 1, "x", "1", datetime.datetime(2020, 1, 2))
    assert first[7:] == ("u", True, None)
    assert second == (None, 2, None, None, "z", None, None, None, False, True)
    with pytest.raises(DataError, match="'a' more than once"):
        tables.read(pd.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "2s", "ms", "us", "ns"])
def test_times_of_numpy_in_every_unit(unit):
    moments, spans = np.array(["2020-01-01", "NaT"], f"M8[{unit}]"), np.array([7, "NaT"], f"m8[{unit}]")
    found = tables.read({"moment": moments, "span": spans})
    assert found["moment"].cast(pl.Datetime("us")).to_list() == moments.astype("M8[us]").tolist()
    assert found["span"].dt.total_microseconds().to_list()[0] == int(spans.astype("m8[us]")[0].astype(int))
    assert found["span"].null_count() == 1


def test_a_pandas_frame_of_days():
    days = np.arange("2020-01-01", "2020-02-10", dtype="M8[D]")
    frame = pd.DataFrame({"d": days, "x": np.arange(40) * 0.5})
    assert tables.read(frame)["d"].dt.date().to_list() == days.tolist()
    assert tables.load(frame).schema.columns[0].kind == "date"
    assert tables.read(dict(frame)).equals(tables.read(frame))


def test_a_mapping():
    found = tables.read(
        {
            "array": np.arange(2),
            "tensor": torch.tensor([1.5, 2.5]),
            "list": ["a", None],
            "words": np.array(["x", "y"]),
            "numbers": [1, 2.5],
            "objects": np.array([None, "z"], dtype=object),
            "range": range(2),
            "short": torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
        }
    )
    assert found.rows() == [(0, 1.5, "a", "x", 1.0, None, 0, 1.5), (1, 2.5, None, "y", 2.5, "z", 1, 2.5)]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ({"a": [1, 2], "b": [1]}, DataError, "columns of one length, got 2 in 'a' and 1|1 in 'b' and 2"),
        ({"a": np.zeros((2, 2))}, DataError, "one dimension, got 2 in 'a'"),
        ({"a": 3}, DTypeError, "a list or an array, got int"),
        ({"a": "text"}, DTypeError, "got str"),
        ({"a": [1], "b": []}, DataError, "one length"),
        ({"a": []}, DataError, "at least one row"),
        ({}, DataError, "at least one column"),
        ({1: [1], "1": [2]}, DataError, "'1' more than once"),
        ([1, 2], DTypeError, "a table, got list"),
    ],
)
def test_another_source_is_refused(source, error, message):
    with pytest.raises(error, match=message):
        tables.read(source)


@pytest.mark.parametrize("module", ["polars", "sklearn.model_selection", "sklearn.linear_model"])
def test_without_the_extra_the_error_names_it(monkeypatch, module):
    table = tables.load({"x": np.arange(9) / 7, "y": np.arange(9) / 7}, "y")
    rows = np.arange(9)
    split = tables.Split(0, rows[:5], rows[5:7], rows[7:])
    monkeypatch.setitem(sys.modules, module, None)
    uses = {
        "polars": lambda: tables.read({"x": [1]}),
        "sklearn.model_selection": lambda: tables.split(table),
        "sklearn.linear_model": lambda: tables.baselines(table, [split], ["linear"]),
    }
    with pytest.raises(MissingExtraError, match=r"pip install 'handgrad\[tables\]'"):
        uses[module]()


def test_import_is_light():
    code = "import sys, handgrad.tables; print([n for n in ('polars', 'sklearn', 'pandas') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_decimal_is_a_comma_or_a_point(tmp_path):
    with pytest.raises(ArgumentError, match="decimal"):
        tables.read(write(tmp_path, "a\n1\n"), decimal=";")
