"""Reading: a CSV or Parquet file, a frame, or a dict of arrays becomes a polars frame; or an error says why not."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handgrad import checks
from handgrad.errors import ArgumentError, DataError, DTypeError, OutputError
from handgrad.optional import require
from handgrad.tables.cells import CURRENCIES

if TYPE_CHECKING:
    import polars

SEPARATORS = (",", ";", "\t", "|")
CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
BEFORE, AFTER = rf"^[+-]?\s*[{CURRENCIES}]?\s*[+-]?", rf"\s*[%{CURRENCIES}]?$"
COMMA = rf"{BEFORE}(\d{{1,3}}(\.\d{{3}})+|\d*),\d+{AFTER}"
POINT = rf"{BEFORE}\d*\.\d+{AFTER}"
Written = tuple[str, str]
"""Separator and decimal mark of a CSV file."""
NUMBER = rf"{BEFORE}(\d{{1,3}}(\.\d{{3}})+|\d*)(,\d+)?{AFTER}"
"""With a decimal comma, and points between thousands; or such a percentage, or amount of money."""
UNITS = ("M8[D]", "M8[ms]", "M8[us]", "M8[ns]", "m8[ms]", "m8[us]", "m8[ns]")
"""Of numpy's moments and spans of time, those that polars takes."""


def read(source: Any, *, separator: str | None = None, decimal: str | None = None, encoding: str = "utf-8") -> Any:
    """Return the table in `source` as a polars frame.

    A CSV file's columns come as text, just as they are written: `Schema` decides what they hold, so that a file for
    prediction is read by the same rules as the one for training. Lines of nothing are left out.

    Args:
        source: a path ending in .csv, .tsv, .txt (each also with .gz), .parquet or .pq; a polars or pandas frame; or a
            mapping of names to arrays, lists or tensors of one length.
        separator: of a CSV file, one character of ASCII; None takes the one of , ; tab and | that the first lines are
            cut by most evenly.
        decimal: "," or "." in a CSV file; None takes "," where the separator is ";" and more numbers have a comma than
            a point.
        encoding: of a CSV file.

    Errors: OutputError for a file that is missing or cannot be opened; DataError for one that is empty, ragged, has a
    name twice, another suffix or another encoding; DTypeError for another kind of source; ArgumentError for another
    separator or decimal.

    Example:
        >>> from handgrad import tables
        >>> frame = tables.read({"size": [1.5, 2.5, None], "colour": ["red", "blue", "red"]})
        >>> frame.shape, frame.columns
        ((3, 2), ['size', 'colour'])
    """
    return read_as(source, None, separator=separator, decimal=decimal, encoding=encoding)[0]


def read_as(
    source: Any,
    known: Written | None,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str = "utf-8",
) -> tuple[Any, Written | None]:
    """`read`, but a CSV file with the separator of `known` has its decimal mark, too; also return how it was written.

    For a file of one row does not show whether 1.234 is more than a thousand.
    """
    pl = require("polars", "tables")
    written = None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        kind = _suffix(path)
        content = _content(path)
        if kind in CSV:
            frame, written = _csv(content, path, separator, decimal, encoding, known)
        else:
            frame = _parquet(content, path)
        where = str(path)
    elif isinstance(source, pl.DataFrame):
        frame, where = source, "the polars frame"
    elif isinstance(source, pl.LazyFrame):
        frame, where = source.collect(), "the polars frame"
    elif hasattr(source, "columns") and hasattr(source, "iloc"):
        frame, where = _pandas(source), "the pandas frame"
    elif isinstance(source, Mapping):
        frame, where = _mapping(source), "the mapping"
    else:
        remedy = "Pass a path, a polars or pandas frame, or a dict of arrays."
        raise DTypeError("a table", type(source).__name__, remedy, "tables.read")
    if not frame.width:
        raise DataError("at least one column", "none", "Give the table columns with names.", where)
    if not frame.height:
        raise DataError("at least one row", f"{frame.width} column names only", "Check what wrote the table.", where)
    return frame, written


def _suffix(path: Path) -> str:
    """The suffix that tells the format, without .gz."""
    suffixes = [s.lower() for s in path.suffixes[-2:]]
    kind = suffixes[-2] if len(suffixes) == 2 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if kind not in CSV + PARQUET or (kind in PARQUET and suffixes[-1] == ".gz"):
        remedy = "Save the table as CSV or Parquet, or load it yourself and pass the frame."
        expected = f"a file ending in {', '.join(CSV)} (or these with .gz) or {', '.join(PARQUET)}"
        raise DataError(expected, f"{path.name!r}", remedy, str(path))
    return kind


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "Check the path and that you may read it."
        if isinstance(error, FileNotFoundError) and path.parent.is_dir():
            close = near(path.name, [entry.name for entry in path.parent.iterdir()])
            remedy = f"Did you mean {close}?" if close else remedy
        raise OutputError("a file that can be read", reason, remedy, str(path)) from error
    if not content.strip():
        raise DataError("a table", "an empty file", "Check what wrote the file.", str(path))
    return content


def _parquet(content: bytes, path: Path) -> polars.DataFrame:
    pl = require("polars", "tables")
    try:
        frame: polars.DataFrame = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        remedy = "Check that the file is whole, and Parquet indeed."
        raise DataError("a Parquet file", _first_line(error), remedy, str(path)) from error
    return frame


def _csv(
    content: bytes, path: Path, separator: str | None, decimal: str | None, encoding: str, known: Written | None
) -> tuple[polars.DataFrame, Written]:
    pl, where = require("polars", "tables"), str(path)
    if separator and (len(separator) > 1 or not separator.isascii() or separator in '"\r\n'):
        remedy = "Pass the character itself: a tab in a shell is $'\\t'."
        raise ArgumentError("a separator of one character", repr(separator), remedy, "tables.read")
    if decimal is not None:
        checks.one_of("decimal", decimal, (",", "."), "tables.read")
    try:
        text = content.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except (UnicodeError, LookupError) as error:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        other = "utf-16" if wide else "latin-1"
        remedy = f'Pass encoding="{other}" or --encoding {other}, say, or save the file as UTF-8.'
        raise DataError(f"text in {encoding}", _first_line(error), remedy, where) from error
    if not text.strip():  # a byte order mark alone
        raise DataError("a table", "an empty file", "Check what wrote the file.", where)
    separator = separator or _separator(text)
    names = [name.strip() for name in next((row for row in _rows(text, separator, where) if row), [])]
    _check_names(names, where)
    try:
        frame: polars.DataFrame = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError as error:
        _full_rows(text, separator, where, len(names))
        remedy = "Check the separator and the quotes, and pass separator=… where another one is meant."
        raise DataError("a CSV file", _first_line(error), remedy, where) from error
    if frame.height and frame.to_series(-1).null_count():
        # polars fills a short or blank line with nulls, so only then can there have been one
        full = _full_rows(text, separator, where, len(names))
        frame = frame.filter(pl.Series(full)) if len(full) == frame.height else frame
    if frame.width != len(names):  # where a quote stands within a field, polars may cut the first row another way
        got = f"{frame.width} or {len(names)}, by how its quotes are read"
        raise DataError("names with plain quotes in the first row", got, "Mend its quotes.", where)
    frame.columns = names
    if decimal is None and known and known[0] == separator:
        decimal = known[1]
    elif decimal is None:
        decimal = "," if separator == ";" and _matches(frame, COMMA) > _matches(frame, POINT) else "."
    if decimal == ",":
        for name in frame.columns:
            cell = pl.col(name).str.strip_chars()
            point = cell.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
            frame = frame.with_columns(pl.when(cell.str.contains(NUMBER)).then(point).otherwise(cell).alias(name))
    return frame, (separator, decimal)


def _matches(frame: polars.DataFrame, pattern: str) -> int:
    """How many cells have this pattern."""
    pl = require("polars", "tables")
    counts = frame.select(pl.all().str.strip_chars().str.contains(pattern).sum())
    return int(sum(counts.row(0)))


def _separator(text: str) -> str:
    """The separator that cuts the first lines into the most columns, before all into equally many."""
    lines = [line for line in text[:100_000].splitlines() if line.strip()][:10]

    def merit(separator: str) -> tuple[bool, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        return len(set(widths)) == 1 and widths[0] > 1, widths[0]

    return max(SEPARATORS, key=merit)


def _rows(text: str, separator: str, where: str) -> Iterator[list[str]]:
    """The rows of a CSV text as Python reads them: slower than polars, but it tells which row is at fault."""
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        yield from rows
    except csv.Error as error:
        raise DataError("a CSV file", f"{error} in line {rows.line_num}", "Mend the line.", where) from error


def _full_rows(text: str, separator: str, where: str, width: int) -> list[bool]:
    """For each row below the names whether it is not blank; raise if it has more or fewer fields than the names."""
    full: list[bool] = []
    named = False
    for number, row in enumerate(_rows(text, separator, where), 1):
        if row and len(row) != width:
            remedy = "Mend the row, or put text that holds the separator in quotes."
            raise DataError(
                f"{width} fields in every row, as in the first", f"{len(row)} in row {number}", remedy, where
            )
        if named:
            full.append(bool(row))
        named = named or bool(row)
    return full


def _pandas(frame: Any) -> polars.DataFrame:
    """By way of lists where a column is not of plain numbers: polars would need pyarrow."""
    names = [str(name) for name in frame.columns]
    _check_names(names, "the pandas frame")
    series = (frame.iloc[:, i] for i in range(len(names)))
    columns = {
        name: _plain(s.to_numpy() if s.dtype.kind in "iufbM" and not s.hasnans else s) for name, s in zip(names, series)
    }
    return _mapping(columns)


def _plain(values: Any) -> Any:
    if not hasattr(values, "isna"):
        return values
    return [None if gone else value for value, gone in zip(values.tolist(), values.isna().tolist())]


def _mapping(columns: Mapping[Any, Any]) -> polars.DataFrame:
    pl = require("polars", "tables")
    names = [str(name) for name in columns]
    _check_names(names, "the mapping")
    series = [_series(name, values) for name, values in zip(names, columns.values())]
    lengths = Counter(len(s) for s in series)
    if len(lengths) > 1:
        usual = lengths.most_common(1)[0][0]
        other = next(s for s in series if len(s) != usual)
        got = f"{len(other)} in {other.name!r} and {usual} elsewhere"
        raise DataError(
            "columns of one length", got, "Give every row a value, None where it is missing.", "the mapping"
        )
    return pl.DataFrame(series)  # type: ignore[no-any-return]


def _series(name: str, values: Any) -> Any:
    pl = require("polars", "tables")
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
        short = values.is_floating_point() and values.element_size() == 2  # numpy has no bfloat16
        values = (values.float() if short else values).numpy()
    if getattr(values, "ndim", 1) != 1:
        remedy = "Give each of its columns a name."
        raise DataError("columns of one dimension", f"{values.ndim} in {name!r}", remedy, "the mapping")
    if not isinstance(values, (str, bytes)) and isinstance(values, Iterable):
        dtype = getattr(values, "dtype", None)
        kind = getattr(dtype, "kind", None)
        if kind in ("M", "m") and not hasattr(dtype, "tz") and dtype.str[1:] not in UNITS:  # type: ignore[union-attr]
            values = values.astype(f"{kind}8[us]")  # type: ignore[attr-defined]
        values = list(values) if kind is None else values.tolist() if kind in "OUS" else values
        if hasattr(values, "dtype"):
            return pl.Series(name, values)
        there = [v for v in values if v is not None]
        huge = any(type(v) is int and v.bit_length() > 63 for v in there)  # which polars takes or not by their order
        if not huge and len(set(map(type, there))) < 2:
            return pl.Series(name, values)
        if not huge and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in there):
            return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
        return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
    raise DTypeError("a list or an array", type(values).__name__, "Give a value for every row.", f"column {name!r}")


def _check_names(names: list[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(map(repr, twice))
        raise DataError("a name of its own for every column", f"{listed} more than once", "Rename them.", where)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def near(name: str, names: Iterable[str]) -> str:
    """The names that look like `name`, quoted and listed; empty if none does.

    Example:
        >>> near("qualty", ["quality", "alcohol"])
        "'quality'"
    """
    lower = {n.lower(): n for n in names}
    return " or ".join(repr(lower[n]) for n in difflib.get_close_matches(name.lower(), list(lower), 3, 0.6))
