"""compare: two runs on the same data, metric by metric, paired by seed."""

from __future__ import annotations

from dataclasses import replace

from handgrad import checks
from handgrad.errors import ArgumentError
from handgrad.report.words import of_network
from handgrad.results import Comparison
from handgrad.runs.folder import Folder
from handgrad.runs.prepared import PARTS


def compare(a: Folder, b: Folder, *, part: str = "test") -> dict[str, Comparison]:
    """Return, for each metric that both runs have, the difference a − b with its interval, test and pairs.

    Runs are paired by seed: the same seed has the same split of the same rows.

    Args:
        a, b: the folders of the runs.
        part: "validation", "test" or "train", on whose rows the metrics are.

    Errors: ArgumentError for another part, and for runs on other data, with another target, with another way to split
    or other rows in the parts of a seed, or without a common seed.
    """
    checks.one_of("part", part, PARTS, "compare")
    parts = [dict(zip(folder.run["seeds"], folder.splits)) for folder in (a, b)]
    common = [seed for seed in parts[0] if seed in parts[1]]
    for what, one, other in (
        ("data", a.digest, b.digest),
        ("target", a.run["target"], b.run["target"]),
        ("split", a.run["data"]["split"]["how"], b.run["data"]["split"]["how"]),
        # rows may be in other parts all the same, as where dates were read in another way
        *((f"parts of seed {seed}", parts[0][seed], parts[1][seed]) for seed in common),
    ):
        if one != other:
            got = f"{str(one)[:40]} and {str(other)[:40]}"
            remedy = "Train both on the same file, with the same options of the split."
            raise ArgumentError(f"runs with the same {what}", got, remedy, "compare")
    mine, theirs = (of_network(folder.run, part) for folder in (a, b))
    names = str(a.path), str(b.path)
    return {
        name: replace(d, name=names[0]).compare(replace(theirs[name], name=names[1]))
        for name, d in mine.items()
        if name in theirs
    }
