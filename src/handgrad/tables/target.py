"""The target: whether it names classes or is a number to be predicted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad import checks
from handgrad.errors import DataError
from handgrad.optional import require
from handgrad.tables import cells
from handgrad.tables.reading import near

if TYPE_CHECKING:
    import polars
    from numpy.typing import NDArray

TASKS = ("classification", "regression")
CLASSES = 20
"""Whole numbers of at most so many values, each in five rows on average, are classes."""

EXACT = 2.0**53
"""From here on, float64 takes whole numbers that differ for one."""

Label = str | int | float | bool


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        name: of its column.
        task: "classification" or "regression".
        reason: why it is taken as that.
        labels: the classes in ascending order (numbers as numbers, text by the alphabet, false before true); none for
            a regression.
    """

    name: str
    task: str
    reason: str
    labels: tuple[Label, ...] = ()

    def values(self, series: polars.Series, missing: Collection[str] = ()) -> NDArray[Any]:
        """Return the cells as float64 numbers or places of their classes in `labels`; NaN where one is missing.

        Errors: DataError for a class that `labels` lack.
        """
        if self.labels and not isinstance(self.labels[0], (bool, int, float)):
            words, keys = cells.text(series, missing), list(self.labels)
        elif self.labels and isinstance(self.labels[0], bool):
            words, keys = cells.booleans(series, missing), [0.0, 1.0]
        else:
            words, keys = cells.numbers(series, missing), [float(label) for label in self.labels]
        if self.task == "regression":
            return words.to_numpy().astype(np.float64)
        known = words.is_null() | words.is_in(keys)
        if not known.all():
            unknown = str(words.filter(~known)[0])
            close = near(unknown, map(str, keys))
            remedy = f"Did you mean {close}?" if close else "Correct it, or leave the row out."
            listed = ", ".join(map(str, self.labels[:10])) + (", …" if len(self.labels) > 10 else "")
            raise DataError(f"a class out of {listed}", repr(unknown), remedy, f"target {self.name!r}")
        places = words.replace_strict(keys, list(map(float, range(len(keys)))), default=None)
        return places.cast(require("polars", "tables").Float64).to_numpy()


def decide(series: polars.Series, task: str | None = None, missing: Collection[str] = ()) -> Target:
    """Return what the cells of a target's column ask for.

    Text, booleans, two values, and whole numbers of few values make a classification, other numbers a regression.

    Errors: ArgumentError for an unknown task; DataError where every cell is missing, all are equal, a regression's are
    not numbers, or there are nearly as many classes as rows.

    Example:
        >>> import polars
        >>> decide(polars.Series("y", ["b", "a", None, "b"]))
        Target(name='y', task='classification', reason='text of 2 values', labels=('a', 'b'))
        >>> decide(polars.Series("y", [0.5, 1.2, 3.4])).task
        'regression'
    """
    pl, where = require("polars", "tables"), f"target {series.name!r}"
    if task is not None:
        checks.one_of("task", task, TASKS, where)
    if series.dtype.is_nested() or (series.dtype.is_temporal() and series.dtype != pl.Duration):
        remedy = "Turn it into numbers first, such as days since a date."
        raise DataError("a target of numbers or classes", str(series.dtype).lower(), remedy, where)
    words, values = cells.text(series, missing), cells.numbers(series, missing)
    words, values = words.filter(words.is_not_null()), values.filter(words.is_not_null())
    if not len(words):
        raise DataError("a target in some row", "none in any row", "Check the name of the target.", where)
    # an infinite number is missing, not a class
    others = words.filter(values.is_null() & words.cast(pl.Float64, strict=False).is_null())
    boolean = series.dtype == pl.Boolean
    coded = not series.dtype.is_numeric() and bool(words.str.contains(r"^0\d+$").any())
    numeric = (not len(others) or series.dtype.is_numeric()) and not boolean and not coded
    numeric = numeric and not _fused(words, values, task)
    values = values.drop_nulls()
    distinct = values.n_unique() if numeric else words.n_unique()
    if numeric and not len(values):
        raise DataError("a finite target in some row", "none in any row", "Check the column.", where)
    if distinct < 2:
        value = repr(values[0] if numeric else words[0])
        raise DataError("a target of at least two values", f"{value} in every row", "Check its name.", where)
    whole = numeric and bool((values == values.round()).all())
    found, reason = _task(distinct, len(values), numeric, whole, boolean)
    if task == "regression" and not (numeric or (boolean and len(values))):
        got = repr((others if len(others) else words)[0])
        raise DataError("numbers in a regression's target", got, 'Say task="classification", or mend them.', where)
    task, reason = (task, "as asked for") if task and task != found else (found, reason)
    if task == "regression":
        return Target(series.name, task, reason)
    if distinct > max(2, len(words) / 2):
        remedy = "Choose another target, or name the words that mean a missing number in missing=(…)."
        raise DataError("classes that have several rows", f"{distinct} values in {len(words)} rows", remedy, where)
    labels: list[Any] = [False, True] if boolean else sorted((values if numeric else words).unique().to_list())
    return Target(series.name, task, reason, tuple(int(v) if whole else v for v in labels))


def _fused(words: polars.Series, values: polars.Series, task: str | None) -> bool:
    """Whether these are classes of whole numbers, some of which are one number in float64."""
    large = ((values.abs() >= EXACT) & words.str.contains(r"^[+-]?[\d,]+$")).fill_null(False)
    if words.filter(large).n_unique() == values.filter(large).n_unique():
        return False
    whole = bool((values == values.round()).all())
    return (task or _task(words.n_unique(), len(words), True, whole, False)[0]) == "classification"


def _task(distinct: int, rows: int, numeric: bool, whole: bool, boolean: bool) -> tuple[str, str]:
    if not numeric:
        return "classification", "true or false" if boolean else f"text of {distinct} values"
    if distinct == 2:
        return "classification", "numbers of 2 values"
    if whole and distinct <= CLASSES and rows >= 5 * distinct:
        doubt = 'if they are amounts, say task="regression"'
        return "classification", f"whole numbers of {distinct} values; {doubt}"
    return "regression", f"{'whole ' if whole else ''}numbers of {distinct} values"
