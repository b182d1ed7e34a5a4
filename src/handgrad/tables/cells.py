"""Cells: what the text in a column says, by rules that look at one cell at a time.

So a cell means the same in a file of a thousand rows and in one of one row.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from handgrad.optional import require

if TYPE_CHECKING:
    import polars

MISSING = ("", "?", "-", "NA", "N/A", "n/a", "na", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
"""Words for a value that is missing, whatever their column holds."""
TRUE, FALSE = ("true", "yes", "y", "t"), ("false", "no", "n", "f")
POINTED = r"^([+-]?\d+)\.0*$"
THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
CURRENCIES = "$€£¥"
"""Signs before or after an amount of money."""
LARGEST = 3.4028234663852886e38
"""Of float32: what is larger counts as infinite."""
FORMS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%H:%M")
"""How text may write a date or a time of day. A date may be followed by one of TIMES."""
FIRST = 1000
"""Year in a text: one of fewer digits is a day, a month, or a year of another century."""
TIMES = (" %H:%M:%S%.f", " %H:%M", "T%H:%M:%S%.f", "T%H:%M", "T%H:%M:%S%.fZ", "T%H:%M:%S%.f%:z", " %H:%M:%S%.f%:z")


def text(series: polars.Series, missing: Collection[str] = ()) -> polars.Series:
    """Return the cells as text without blanks around them; null where one is missing. Whole numbers have no point.

    Example:
        >>> import polars
        >>> text(polars.Series([1.0, 2.5, None])).to_list(), text(polars.Series([" a", "?"])).to_list()
        (['1', '2.5', None], ['a', None])
    """
    pl = require("polars", "tables")
    if series.dtype == pl.Duration:
        series = series.dt.total_microseconds()
    words: polars.Series = series.cast(pl.String).str.strip_chars()
    if words.str.contains(POINTED).any():
        words = words.str.replace(POINTED, "${1}")
    marks = pl.Series([*MISSING, *missing]).str.replace(POINTED, "${1}").to_list()
    return words.set(words.is_in(marks).fill_null(False), None)


def numbers(series: polars.Series, missing: Collection[str] = ()) -> polars.Series:
    """Return the cells as float64; null where one is missing, infinite, or not a number.

    Text may have commas between thousands, the sign of a currency, and may be a percentage: "12%" is 0.12.

    Example:
        >>> import polars
        >>> numbers(polars.Series(["1,234.5", "12%", " 3e2", "-$5", "abc", "NA", "inf"])).to_list()
        [1234.5, 0.12, 300.0, -5.0, None, None, None]
    """
    pl = require("polars", "tables")
    if series.dtype == pl.String or series.dtype in (pl.Categorical, pl.Enum):
        words = series.cast(pl.String).str.strip_chars()
        if missing:
            words = words.set(words.is_in(list(missing)).fill_null(False), None)
        values = words.cast(pl.Float64, strict=False)
        others = (values.is_null() & words.is_not_null()).arg_true()
        if len(others):  # few, as a rule
            values = values.scatter(others, _formatted(words[others]))
    elif series.dtype == pl.Duration:
        values = series.dt.total_microseconds().cast(pl.Float64) / 1e6
    elif series.dtype.is_temporal() or series.dtype.is_nested():
        values = series.clear(len(series)).cast(pl.Null).cast(pl.Float64)  # a date is no number of days
    else:
        values = series.cast(pl.Float64, strict=False)
    gone = values.is_nan() | (values.abs() > LARGEST)
    marks = pl.Series(list(missing), dtype=pl.String).cast(pl.Float64, strict=False).drop_nulls()  # -999, say
    gone = gone | values.is_in(marks.to_list()) if len(marks) else gone
    return values.set(gone.fill_null(False), None)


def _formatted(words: polars.Series) -> polars.Series:
    """Numbers with commas between thousands, amounts of money, and percentages; null for all else."""
    pl = require("polars", "tables")
    before = words.str.replace(rf"^([+-]?)\s*[{CURRENCIES}]\s*", "${1}")
    words = before.zip_with(before != words, words.str.replace(rf"\s*[{CURRENCIES}]$", ""))
    percent = words.str.ends_with("%")
    words = words.str.strip_suffix("%").str.strip_chars()
    words = words.zip_with(~words.str.contains(THOUSANDS), words.str.replace_all(",", "", literal=True))
    values = words.cast(pl.Float64, strict=False)
    return values.zip_with(~percent, values / 100)


def booleans(series: polars.Series, missing: Collection[str] = ()) -> polars.Series:
    """Return the cells as 1.0 for true, 0.0 for false; null where one is missing or neither."""
    pl = require("polars", "tables")
    if series.dtype == pl.Boolean:
        return series.cast(pl.Float64)
    words = text(series, missing).str.to_lowercase()
    yes, no = words.is_in([*TRUE, "1"]), words.is_in([*FALSE, "0"])
    values: polars.Series = yes.cast(pl.Float64)
    return values.set((~(yes | no)).fill_null(True), None)


def moments(series: polars.Series, form: str, missing: Collection[str] = ()) -> polars.Series:
    """Return the cells as moments, or as times of day where `form` has no day; null where one is missing or unlike.

    Moments with a time zone are taken in UTC.

    Example:
        >>> import polars
        >>> for moment in moments(polars.Series(["2.1.2024", "13.1.2024 17:30", "soon"]), "%d.%m.%Y"):
        ...     print(moment)
        2024-01-02 00:00:00
        2024-01-13 17:30:00
        None
    """
    pl = require("polars", "tables")
    kind = pl.Datetime("us") if "%d" in form else pl.Time
    if series.dtype == kind:
        return series
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        utc = _utc(series.cast(pl.Datetime("us", getattr(series.dtype, "time_zone", None))))
        return utc if "%d" in form else utc.dt.time()
    if series.dtype.is_temporal() or series.dtype.is_nested():
        return series.clear(len(series)).cast(pl.Null).cast(kind)
    words = text(series, missing)
    if "%d" not in form:
        return words.str.to_time(form, strict=False).fill_null(words.str.to_time(form + ":%S%.f", strict=False))
    found = words.str.to_date(form, strict=False).cast(kind)
    for time in TIMES:
        if found.null_count() == words.null_count():
            break
        found = found.fill_null(_utc(words.str.to_datetime(form + time, strict=False, time_unit="us")))
    # Series.set takes no moments before polars 1.37
    return found.zip_with((found.dt.year() >= FIRST).fill_null(False), found.clear(len(found)))


def _utc(moments: polars.Series) -> polars.Series:
    zone = getattr(moments.dtype, "time_zone", None)
    return moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else moments


def stray(series: polars.Series, values: polars.Series, missing: Collection[str] = ()) -> polars.Series:
    """Return for each cell whether it holds something that `values`, read from it, could not hold."""
    if not values.null_count():
        return values.is_null()
    there = series.is_not_null() if series.dtype.is_nested() else text(series, missing).is_not_null()
    return there & values.is_null()
