"""How a data file is read and split: the options that `train` and `sweep` have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from handgrad.errors import ArgumentError

Task = Annotated[str | None, typer.Option(help="classification or regression; told from the target.")]
Drop = Annotated[list[str] | None, typer.Option(help="Column to leave out; may be repeated.")]
Kind = Annotated[list[str] | None, typer.Option(help="COLUMN=number, category, boolean or date; repeated.")]
Missing = Annotated[list[str] | None, typer.Option(help="A word for a missing value; may be repeated.")]
Separator = Annotated[str | None, typer.Option(help="Of a CSV file; told from it.")]
Decimal = Annotated[str | None, typer.Option(help="Mark of a CSV file, a point or a comma; told from it.")]
Encoding = Annotated[str, typer.Option(help="Of a CSV file, as latin-1.")]
Groups = Annotated[str | None, typer.Option(help="Column whose equal rows stay in one part.")]
Time = Annotated[str | None, typer.Option("--time", help="Column by which the last rows are tested.")]


def reading(
    task: str | None,
    drop: Iterable[str] | None,
    kind: Iterable[str] | None,
    missing: Iterable[str] | None,
    separator: str | None,
    decimal: str | None,
    encoding: str,
    groups: str | None,
    time: str | None,
) -> dict[str, Any]:
    """The options as `runs.prepare` takes them, without those that were not given.

    Errors: ArgumentError for a --kind that names none, and for a column of several.
    """
    kinds, dropped = _kinds(kind or []), dict.fromkeys(drop or [], "drop")
    if both := [name for name in dropped if name in kinds]:
        raise ArgumentError("--drop or --kind of a column", f"both of {both[0]!r}", "Choose one of them.", "--drop")
    given = {
        "task": task,
        "kinds": kinds | dropped,
        "missing": list(missing or ()),
        "separator": separator,
        "decimal": decimal,
        "encoding": None if encoding == "utf-8" else encoding,
        "groups": groups,
        "time": time,
    }
    return {name: value for name, value in given.items() if value}


def _kinds(texts: Iterable[str]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for text in texts:
        name, sign, kind = text.rpartition("=")
        if not sign or not name or not kind:
            raise ArgumentError("COLUMN=KIND", repr(text), "Write --kind year=category, say.", "--kind")
        if kinds.get(name, kind) != kind:
            got = f"{kinds[name]} and {kind} of {name!r}"
            raise ArgumentError("one --kind of a column", got, "Choose one of them.", "--kind")
        kinds[name] = kind
    return kinds
