"""Columns: what each one holds, decided from its cells, with the reason."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError, DataError
from handgrad.optional import require
from handgrad.tables import cells

if TYPE_CHECKING:
    import polars

KINDS = ("number", "category", "boolean", "date", "drop")
"""What a caller may say of a column. "date:%d %b %Y" also says how it is written."""
USED = ("number", "category", "boolean", "date")
LEVELS = 32
"""Most one-hot columns of a category, that of the pooled levels included."""
STRAY, STRAY_WORDS = 0.05, 5
"""A text column holds numbers or dates even if this share of its cells, of this many spellings, does not."""
LONGEST = 25
"""Characters of a cell whose form a reason shows."""
FEW = 20
"""Up to so many levels are a category, however few rows there are."""
IDENTIFIER = re.compile(r"(^|[\W_])(id|uuid|guid|index|idx|row|key|nr|no)$|^unnamed: \d+$|^$|[a-z]ID$|[a-z]Id$")
PARTS = ("year", "month", "weekday", "hour")
"""Of a date: a number, and three that go round."""


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        name: of the column.
        kind: "number", "category", "boolean", "date", or why it is not used: "text", "identifier", "constant",
            "missing", "unsupported", "drop".
        reason: why it is taken as that, a phrase.
        form: of a date, how it is written.
        parts: of a date, those of `PARTS` that vary.
        levels: of a category, its levels, the most frequent first, equally frequent ones in the order of the alphabet.
        kept: how many of the levels have a one-hot column of their own. The others, if any, share one.
        missing: whether a value is missing in some row.
    """

    name: str
    kind: str
    reason: str
    form: str = ""
    parts: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    kept: int = 0
    missing: bool = False

    @property
    def used(self) -> bool:
        """Whether the network sees it."""
        return self.kind in USED

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the numbers made of it, none for a category."""
        if self.kind in ("number", "boolean"):
            return (self.name,)
        names = {part: (part,) if part == "year" else (f"{part} sine", f"{part} cosine") for part in self.parts}
        return tuple(f"{self.name}: {name}" for part in self.parts for name in names[part])

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the one-hot columns made of it: levels, the pooled ones, missing; none unless a category."""
        if self.kind != "category":
            return ()
        own = tuple(f"{self.name} = {level}" for level in self.levels[: self.kept])
        pooled = (f"{self.name}: other",) if self.kept < len(self.levels) else ()
        return own + pooled + ((f"{self.name}: missing",) if self.missing else ())


def decide(series: polars.Series, missing: Collection[str] = (), kind: str | None = None) -> Column:
    """Return the column that the cells of `series` make, of the given kind or of the one that fits.

    Args:
        series: its cells.
        missing: words for a missing value beside `cells.MISSING`.
        kind: one of `KINDS`, or "date:" and a form; None decides.

    Errors: ArgumentError for another kind; DataError where no cell can be read as the kind asked for.

    Example:
        >>> import polars
        >>> column = decide(polars.Series("size", ["1,200", "35", "?", "35"]))
        >>> column.kind, column.reason, column.missing
        ('number', 'numbers', True)
        >>> decide(polars.Series("colour", ["red", "blue", "red"])).levels
        ('red', 'blue')
    """
    kind, _, form = (kind or "").partition(":")
    if kind and (kind not in KINDS or (form and kind != "date")):
        got = repr(f"{kind}:{form}" if form else kind)
        remedy = 'Choose one of these; "date:%d %b %Y" also says how it is written.'
        raise ArgumentError(f"a kind out of {', '.join(KINDS)}", got, remedy, f"column {series.name!r}")
    if kind == "drop":
        return Column(series.name, "drop", "as asked for")
    if kind and unsupported(series):
        remedy = "Make a column of each of its parts, or drop it."
        raise DataError("a number, text or date in a cell", str(series.dtype), remedy, f"column {series.name!r}")
    return _asked(series, missing, kind, form) if kind else _found(series, missing)


def unsupported(series: polars.Series) -> bool:
    """Whether the cells hold what is no single number, word or date."""
    pl = require("polars", "tables")
    return series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object)


def _asked(series: polars.Series, missing: Collection[str], kind: str, form: str) -> Column:
    reason = "as asked for"
    if kind == "category":
        return _category(series, missing, reason)
    if kind == "date":
        form = form or _form(series, missing, enough=0.0) or cells.FORMS[0]
        values = cells.moments(series, form, missing)
    else:
        values = (cells.numbers if kind == "number" else cells.booleans)(series, missing)
    if values.null_count() == len(values):
        some = ", ".join(repr(word) for word in cells.text(series, missing).drop_nulls().unique().sort()[:3])
        remedy = "Choose another kind, or drop the column."
        raise DataError(f"a {kind} in some cell", some or "none", remedy, f"column {series.name!r}")
    return _date(series, values, form, reason) if kind == "date" else _read(series, values, kind, reason)


def _found(series: polars.Series, missing: Collection[str]) -> Column:
    pl, name, dtype = require("polars", "tables"), series.name, series.dtype
    if unsupported(series):
        return Column(name, "unsupported", f"holds {str(dtype).lower()} in its cells")
    words = cells.text(series, missing)
    there = len(words) - words.null_count()
    if not there:
        return Column(name, "missing", "has no value in any row", missing=True)
    distinct = words.drop_nulls().n_unique()
    if distinct == 1 and there == len(words):
        return Column(name, "constant", f"is {words[0]!r} in every row")
    if dtype == pl.Boolean:
        return _read(series, cells.booleans(series), "boolean", "true or false")
    if dtype.is_numeric() or dtype == pl.Duration:
        return _number(series, cells.numbers(series, missing), distinct, "", missing)
    if dtype.is_temporal():
        form = "%H:%M" if dtype == pl.Time else "%Y-%m-%d"
        return _date(series, cells.moments(series, form), form, "times of day" if dtype == pl.Time else "dates")
    return _text(series, words, there, distinct, missing)


def _text(series: polars.Series, words: polars.Series, there: int, distinct: int, missing: Collection[str]) -> Column:
    lower = set(words.drop_nulls().str.to_lowercase().unique()) if distinct <= 4 else set()
    if lower and lower <= {*cells.TRUE, *cells.FALSE} and len(lower) > 1:
        return _read(series, cells.booleans(series, missing), "boolean", " or ".join(sorted(lower)))
    values = cells.numbers(series, missing)
    codes = bool(words.str.contains(r"^0\d+$").any())
    infinite = values.is_null() & words.cast(require("polars", "tables").Float64, strict=False).is_not_null()
    currencies = words.str.extract(f"([{cells.CURRENCIES}])").drop_nulls().n_unique()
    if not codes and currencies < 2 and _fits(words.set(infinite, None), values):
        return _number(series, values, distinct, "numbers", missing)
    form = "" if codes else _form(series, missing, enough=1 - STRAY)
    if form:
        twin = "%d/%m/%Y" if form == "%m/%d/%Y" else ""
        both = twin and _fits(words, cells.moments(series, twin, missing))
        doubt = f"; if the day comes first, say {_said(series.name, f'date:{twin}')}" if both else ""
        return _date(series, cells.moments(series, form, missing), form, f"dates ({form}){doubt}")
    if distinct > max(FEW, there / 2):
        spaces = words.str.count_matches(r"\s").mean()
        kind = "text" if isinstance(spaces, float) and spaces >= 2 else "identifier"
        reason = f"has {distinct} values in {there} rows{_form_of(words) if kind == 'identifier' else ''}"
        return Column(series.name, kind, f"{reason}: too many to learn from{_nearly(words, values)}")
    reason = f"{'digits with leading zeros' if codes else 'text'} of {distinct} levels"
    return _category(series, missing, reason)


def _fits(words: polars.Series, values: polars.Series, enough: float = 1 - STRAY) -> bool:
    """Whether nearly all words could be read, and the others have few spellings."""
    others = words.filter(values.is_null() & words.is_not_null())
    there = len(words) - words.null_count()
    return len(others) < there and len(others) <= (1 - enough) * there and others.n_unique() <= STRAY_WORDS


def _form_of(words: polars.Series) -> str:
    """How the first cell is written, so that one sees why it was not read, and not whose name or number it is."""
    form = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", words.drop_nulls()[0]))
    return f" as {form!r}" if len(form) <= LONGEST else ""


def _nearly(words: polars.Series, values: polars.Series) -> str:
    """Of a column left out that mostly holds numbers, which word keeps it from being one, and what to say of it."""
    others = words.filter(values.is_null() & words.is_not_null())
    count = len(values) - values.null_count()
    if not len(others) or count <= len(others):
        return ""
    word, more = others.mode().sort()[0], others.n_unique() - 1
    mean, rest = (f" and {more} other{'s' * (more > 1)} mean", " …") if more else (" means", "")
    said = f"missing=[{word!r}{',' * bool(more)}{rest}] or --missing {shlex.quote(word)}{rest}"
    return f"; {count} cells are numbers: if {word!r}{mean} a missing one, say {said}"


def _said(name: str, kind: str) -> str:
    """How a caller says what a column holds, in Python and on the command line."""
    return f"kinds={ {name: kind} } or --kind {shlex.quote(f'{name}={kind}')}"


def _form(series: polars.Series, missing: Collection[str], enough: float) -> str:
    """The form that reads nearly all cells as dates, "" if none does."""
    words = cells.text(series, missing)
    some = words.drop_nulls().head(100)
    for form in cells.FORMS:
        if cells.moments(some, form).null_count() < max(1, len(some) * 0.8) and _fits(
            words, cells.moments(series, form, missing), enough
        ):
            return form
    return ""


def _read(series: polars.Series, values: polars.Series, kind: str, reason: str) -> Column:
    return Column(series.name, kind, reason, missing=values.null_count() > 0)


def _number(
    series: polars.Series, values: polars.Series, distinct: int, reason: str, missing: Collection[str]
) -> Column:
    whole = bool((values == values.round()).all())
    name = series.name
    if whole and distinct == len(values) and len(values) >= 10:
        steps = values.diff().drop_nulls()
        counts = values[0] in (0, 1) and bool((steps == 1).all())
        if counts or IDENTIFIER.search(name if name[-2:] in ("ID", "Id") else name.lower()):
            return Column(name, "identifier", "whole numbers, another in every row")
    reason = reason or ("whole numbers" if whole else "numbers")
    if whole and 2 < distinct <= min(10, len(values) / 5):
        reason += f" of {distinct} values; if they are codes, say {_said(name, 'category')}"
    others = int(cells.stray(series, values, missing).sum())
    if others:
        reason += f"; {others} {'cell that is' if others == 1 else 'cells that are'} no finite number taken as missing"
    return _read(series, values, "number", reason)


def _date(series: polars.Series, values: polars.Series, form: str, reason: str) -> Column:
    parts = ("hour",) if "%d" not in form else ("year", *(p for p in PARTS[1:] if _part(values, p).n_unique() > 1))
    gone = values.null_count() > 0
    return Column(series.name, "date", reason, form, parts, missing=gone)


def _part(values: polars.Series, part: str) -> polars.Series:
    values = values.drop_nulls()
    pieces: dict[str, Any] = {"month": values.dt.month, "weekday": values.dt.weekday, "hour": values.dt.time}
    return pieces[part]()  # type: ignore[no-any-return]


def _category(series: polars.Series, missing: Collection[str], reason: str) -> Column:
    pl = require("polars", "tables")
    words = cells.text(series, missing)
    counted = (
        words.drop_nulls()
        .alias("level")
        .value_counts()
        .sort(pl.col("count"), pl.col("level"), descending=[True, False])
    )
    levels = tuple(counted["level"].to_list())
    kept = len(levels) if len(levels) <= LEVELS else LEVELS - 1
    if kept < len(levels):
        reason += f"; {len(levels) - kept} rare ones share one"
    return Column(series.name, "category", reason, levels=levels, kept=kept, missing=words.null_count() > 0)
