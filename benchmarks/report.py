"""The tables, as Markdown, and where they go in the page."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import torch

from benchmarks.architectures import Architecture
from benchmarks.memory import Memory
from benchmarks.rounds import Row
from benchmarks.steps import Network
from benchmarks.targets import MEMORY, STEPS
from benchmarks.timing import CORES, Timed

SECTIONS = {
    "rounds": "The report's 20 rounds",
    "sklearn": "The 20 rounds without BatchNorm",
    "steps": "One training step of one network",
    "architectures": "A CNN, a ResNet, an LSTM and a transformer block",
    "memory": "Memory of 1,000 replicas",
    "scaling": "Time against replicas, width and batch",
}

INTRODUCTION = """# Benchmarks

`make bench` measures and writes all of this but the time against replicas, width and batch, which
`python -m benchmarks --scaling` does. The contestants of a table run in turn, in one process or each in a worker that
waits, so that a slow minute slows all of them; every one is warmed up once, and before each run all cores are kept busy
for a moment, as one that has idled is slower at first. Times are medians; a ratio is that of the peer's time to
handgrad's in the same repeat, as median and quartiles. The control is a peer run a second time: what it differs from 1
by is the machine's noise. A process in which handgrad trains keeps freed memory, in large pages, from which peers in it
gain as well ([performance.md](performance.md)): those of single steps do; those of the rounds are in processes without
it, as their users would be, but for a row of vmap, which gains most.
"""

ROUNDS_NOTE = """\
20 rounds of 50 epochs of 2 batches of 500 samples; SGD with lr 0.06, mean squared error; every round has its own
points, and its own order in each epoch. Only training is timed: not drawing data, building networks, setting initial
weights, compiling or evaluating. All start from the same weights; peers are given the orders, handgrad draws them
while the clock runs. Of 1 and {cores} threads or workers, torch.func, scikit-learn and handgrad have the faster here;
torch.nn too, and the fastest of `torch.optim.SGD`'s for-loop, foreach and fused, by a shorter trial."""

SKLEARN_NOTE = """\
The same rounds without BatchNorm, which scikit-learn has not. It is `MLPRegressor`, as `MLPClassifier` has no squared
error; with two outputs its gradient is that of the mean squared error. What differs: it draws its own orders, checks
its input in every `fit`, and runs on NumPy."""

STEPS_NOTE = """\
Forward, mean squared error, backward and SGD (momentum 0.9 but for the report's network) on one batch, again and
again, one network without replicas. Both have the faster of 1 and {cores} threads, torch.nn the fastest of
`torch.optim.SGD`'s for-loop, foreach and fused by a trial beforehand, handgrad nothing fused."""

ARCHITECTURES_NOTE = """\
Forward, cross-entropy, backward and SGD with momentum on one batch, again and again: one network, and 20 replicas each
with a batch of its own, in groups as `sweep` makes them over 1 or {cores} workers, of which one replica's share of the
workers' time is given. All have the faster of 1 and {cores} threads or workers."""


def machine() -> str:
    """What it ran on."""
    cores = f"{CORES} core" + "s" * (CORES > 1)
    kind = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{cores} ({kind}), Python {platform.python_version()}, PyTorch {torch.__version__}, float32."


def rounds(rows: Sequence[Row], note: str) -> str:
    """A table of rounds; handgrad is the last row, the control the second."""
    own = rows[-1].timed
    assert own is not None
    columns = ("way", "settings", "median (quartiles)", "× handgrad (quartiles)", "target", "", "compiling before")
    lines = _head(columns)
    for row in rows:
        if row.timed is None:
            lines.append(f"| {row.name} | cannot run here: {row.reason} | | | {row.target or ''} | not measured | |")
            continue
        low, middle, high = own.ratio(row.timed)
        ratio = "" if row.timed is own else f"{middle:.2f} ({low:.2f} to {high:.2f})"
        verdict = row.target.verdict(middle) if row.target else ""
        contestant = row.timed.contestant
        before = f"{contestant.preparation:.1f} s" if contestant.preparation else ""
        cells = (row.name, contestant.described, _seconds(row.timed), ratio, str(row.target or ""), verdict, before)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([note.format(cores=CORES), "", *lines, "", _noise(rows[0].timed, rows[1].timed), "", machine()])


def steps(results: Sequence[tuple[Network, tuple[Timed, Timed, Timed]]]) -> str:
    """One line a network."""
    columns = ("network, batch", "torch.nn", "its settings", "handgrad", "its settings", "× (quartiles)", "target", "")
    lines, noise = _head((*columns, "control (quartiles)")), []
    for (network, (peer, control, own)), target in zip(results, STEPS):
        low, middle, high = own.ratio(peer)
        noise = [f"{value:.2f}" for value in peer.ratio(control)]
        cells = (
            f"{network.name}, {network.batch}",
            _micro(peer.median),
            peer.contestant.described,
            _micro(own.median),
            own.contestant.described,
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            str(target),
            target.verdict(middle),
            f"{noise[1]} ({noise[0]} to {noise[2]})",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([STEPS_NOTE.format(cores=CORES), "", *lines, "", machine()])


def architectures(results: Sequence[tuple[Architecture, tuple[Timed, Timed, Timed, Timed]]]) -> str:
    """Two lines an architecture: one network, and a replica of 20."""
    columns = (
        "network, batch",
        "torch.nn",
        "its settings",
        "handgrad",
        "",
        "its settings",
        "× (quartiles)",
        "target",
        "",
    )
    lines = _head((*columns, "control (quartiles)"))
    for one, (peer, control, own, replica) in results:
        noise = [f"{value:.2f}" for value in peer.ratio(control)]
        for timed, target in zip((own, replica), one.targets):
            low, middle, high = timed.ratio(peer)
            cells = (
                f"{one.name}, {one.shape[0]}",
                _micro(peer.median),
                peer.contestant.described,
                timed.contestant.name,
                _micro(timed.median),
                timed.contestant.described,
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                str(target or ""),
                target.verdict(middle) if target else "",
                f"{noise[1]} ({noise[0]} to {noise[2]})",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([ARCHITECTURES_NOTE.format(cores=CORES), "", *lines, "", machine()])


def memory(found: Memory) -> str:
    """What arithmetic needs, line by line, against the growth of the peak."""
    lines = _head(("what", "MB"))
    lines += [f"| {name} | {_mega(size)} |" for name, size in found.parts.items()]
    lines += [
        f"| **needed** | {_mega(found.need)} |",
        f"| **growth of the peak** | {_mega(found.growth)} |",
    ]
    verdict = "reached" if found.ratio <= MEMORY else "**not reached**"
    text = (
        f"{found.ratio:.2f}× of what is needed; target at most {MEMORY:g}×: {verdict}. Keeping one activation a hidden"
        f" layer and recomputing the other would need {_mega(found.least)} MB, of which the growth is"
        f" {found.growth / found.least:.2f}×."
    )
    note = (
        f"{found.replicas:,} replicas of the report's network as one group, each with a batch of its own, three steps"
        " in a fresh process that has trained two replicas before: by how much the peak of the resident set grew."
    )
    return "\n".join([note, "", *lines, "", text, "", machine()])


def inserted(page: str, name: str, body: str) -> str:
    """The page with the section's body between its markers, which are added where they are missing."""
    begin, end = f"<!-- {name}: written by benchmarks -->", f"<!-- {name}: end -->"
    if not page.strip():
        page = INTRODUCTION
    if begin not in page or end not in page:
        page = f"{page.rstrip()}\n\n## {SECTIONS[name]}\n\n{begin}\n{end}\n"
    before, rest = page.split(begin, 1)
    return f"{before}{begin}\n{body}\n{end}{rest.split(end, 1)[1]}"


def _head(columns: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]


def _noise(first: Timed | None, second: Timed | None) -> str:
    assert first is not None
    assert second is not None
    low, middle, high = first.ratio(second)
    return (
        f"Control: torch.nn took {middle:.2f} times as long as itself ({low:.2f} to {high:.2f}) over"
        f" {len(first.seconds)} repeats."
    )


def _seconds(timed: Timed) -> str:
    low, middle, high = timed.quartiles
    return f"{middle:.3f} s ({low:.3f} to {high:.3f})"


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:.1f} ms"


def _mega(size: int) -> str:
    return f"{size / 1e6:.0f}"
