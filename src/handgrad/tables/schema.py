"""The schema: what every column of a table holds and what is predicted; it reads other files by the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError, DataError
from handgrad.tables import columns
from handgrad.tables.columns import Column
from handgrad.tables.reading import Written, near, read_as
from handgrad.tables.target import Target
from handgrad.tables.target import decide as decide_target

if TYPE_CHECKING:
    import polars

FORMAT = 1
"""Of `Schema.to_json`."""


@dataclass(frozen=True)
class Schema:
    """What a table's columns hold: how to read another file so that it means the same.

    It is decided from all rows of a table, by how cells are written and which levels there are. What depends on values,
    means and medians say, is the `Encoder`'s, which sees the training rows only.

    Attributes:
        columns: all but the target's.
        target: None where nothing is to be predicted.
        missing: the caller's own words for a missing value.
        written: separator and decimal mark of the CSV file that it was decided from; another file with that separator
            is read with that mark.

    Example:
        >>> from handgrad import tables
        >>> frame = {"size": ["1,200", "35", "?", "40"], "code": [7, 7, 7, 7], "sold": ["yes", "no", "no", "yes"]}
        >>> schema = tables.Schema.of(frame, target="sold")
        >>> print(schema.report())
        | column | kind | inputs | why |
        | --- | --- | ---: | --- |
        | size | number | 2 | numbers |
        | code | constant, left out | 0 | is '7' in every row |
        | sold | target: classification | | text of 2 values |
    """

    columns: tuple[Column, ...]
    target: Target | None = None
    missing: tuple[str, ...] = ()
    written: Written | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        source: Any,
        target: str | None = None,
        *,
        kinds: Mapping[str, str] | None = None,
        task: str | None = None,
        missing: Sequence[str] = (),
    ) -> Schema:
        """Return the schema that fits the table in `source`.

        Args:
            source: whatever `read` takes.
            target: the name of the column to predict.
            kinds: what the columns with these names hold, where it is not to be decided: "number", "category",
                "boolean", "date", "date:%d %b %Y" (how it is written), or "drop".
            task: "classification" or "regression"; None decides.
            missing: words for a missing value beside those of `tables.cells.MISSING`.

        Errors: ArgumentError for a kind of the target; DataError for a column that the table lacks, no column left to
        learn from, and as `read`, `columns.decide` and `target.decide` say.
        """
        (frame, written), missing, kinds = read_as(source, None), tuple(missing), dict(kinds or {})
        for name in ([target] if target is not None else []) + list(kinds):
            _check_column(frame, name, "target" if name == target else "kinds")
        if target in kinds:
            remedy = 'task="classification" or task="regression" says what the target is.'
            raise ArgumentError("kinds of other columns than the target", repr(target), remedy, "kinds")
        decided = tuple(
            columns.decide(frame[name], missing, kinds.get(name)) for name in frame.columns if name != target
        )
        if not any(column.used for column in decided):
            got = "; ".join(f"{c.name} {c.reason}" for c in decided[:5]) or "only the target"
            remedy = "Check the separator, or say what a column holds with kinds={…}, or --kind COLUMN=…."
            raise DataError("a column to learn from", got, remedy, "the table")
        aim = None if target is None else decide_target(frame[target], task, missing)
        return cls(decided, aim, missing, written)

    @property
    def used(self) -> tuple[Column, ...]:
        """The columns that the network sees."""
        return tuple(column for column in self.columns if column.used)

    @property
    def numbers(self) -> tuple[Column, ...]:
        """Those of them that are made numbers."""
        return tuple(column for column in self.used if column.kind != "category")

    @property
    def categories(self) -> tuple[Column, ...]:
        """Those of them that are made one-hot columns."""
        return tuple(column for column in self.used if column.kind == "category")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of a network's inputs, (I,): all numbers, then which of them are missing, then all levels."""
        features = [name for column in self.numbers for name in column.features]
        gone = [f"{column.name}: missing" for column in self.numbers if column.missing]
        return (*features, *gone, *(name for column in self.categories for name in column.slots))

    def report(self) -> str:
        """Return what was decided and why, as a table in Markdown."""
        rows = ["| column | kind | inputs | why |", "| --- | --- | ---: | --- |"]
        for c in self.columns:
            count = len(c.features) + len(c.slots) + (c.missing and c.used and c.kind != "category")
            kind = c.kind if c.used else f"{c.kind}, left out"
            rows.append(f"| {_cell(c.name)} | {kind} | {count} | {_cell(c.reason)} |")
        if self.target:
            rows.append(f"| {_cell(self.target.name)} | target: {self.target.task} | | {_cell(self.target.reason)} |")
        return "\n".join(rows)

    def check(self, frame: polars.DataFrame, where: str = "the table", *, targets: bool = False) -> None:
        """Raise where the frame lacks a column that is used, or the target if `targets`."""
        lacking = [column.name for column in self.used if column.name not in frame.columns]
        if targets and self.target and self.target.name not in frame.columns:
            lacking.append(self.target.name)
        if lacking:
            listed = ", ".join(map(repr, lacking))
            free = [name for name in frame.columns if name not in {c.name for c in self.columns}]
            close = near(lacking[0], free)
            remedy = f"Is it {close} there? Rename it." if close else "Take a table with the columns of the training."
            raise DataError(f"the columns {listed}", "a table without them", remedy, where)
        wrong = [c.name for c in self.used if columns.unsupported(frame[c.name])]
        if wrong:
            got = f"{str(frame[wrong[0]].dtype).lower()} in {wrong[0]!r}"
            raise DataError("a number, text or date in a cell", got, "Take the columns of the training.", where)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as a dict that json can write."""
        aim = asdict(self.target) if self.target else None
        decided = [asdict(column) for column in self.columns]
        data = {"format": FORMAT, "columns": decided, "target": aim, "missing": self.missing, "written": self.written}
        return {key: _plain(value) for key, value in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Return the schema that `to_json` gave.

        Errors: DataError for another format.

        Example:
            >>> schema = Schema.of({"x": [1.0, 2.5], "y": ["a", "b"]}, "y")
            >>> Schema.from_json(schema.to_json()) == schema
            True
        """
        check_format(data, FORMAT, "Schema")
        try:
            decided = tuple(Column(**_tuples(column)) for column in data["columns"])
            aim = Target(**_tuples(data["target"])) if data["target"] else None
            written = data.get("written")  # which schemas had not at first
            return cls(decided, aim, tuple(data["missing"]), (written[0], written[1]) if written else None)
        except (KeyError, TypeError, IndexError) as error:
            remedy = "Pass what Schema.to_json gave."
            raise DataError("a schema", f"{type(error).__name__} {error}", remedy, "Schema.from_json") from error


def check_format(data: Any, expected: int, what: str) -> None:
    """Raise unless `data` is a mapping of this format."""
    found = data.get("format") if isinstance(data, Mapping) else None
    if found != expected:
        remedy = f"Pass what {what}.to_json gave."
        if isinstance(found, int) and found > expected:
            remedy = "It was written by a newer handgrad: update this one."
        raise DataError(f"format {expected}", repr(found), remedy, f"{what}.from_json")


def _check_column(frame: polars.DataFrame, name: str, what: str) -> None:
    if name not in frame.columns:
        close = near(name, frame.columns)
        listed = ", ".join(map(repr, frame.columns[:20])) + (", …" if frame.width > 20 else "")
        remedy = f"Did you mean {close}?" if close else "Choose one of these."
        raise DataError(f"{what} to name a column out of {listed}", repr(name), remedy, "the table")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _plain(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
