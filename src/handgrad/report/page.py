"""render: the report of a run as one page that needs nothing but itself."""

from __future__ import annotations

import json
import math
from typing import Any

from handgrad.optional import require
from handgrad.report import figures
from handgrad.report.figures import Drawing
from handgrad.report.run import SPLITS, Run, checked, chief
from handgrad.report.words import (
    caveats,
    cells,
    diverged,
    kind,
    of_baselines,
    of_network,
    summary,
    verdict,
)
from handgrad.statistics import number
from handgrad.training.watching import layers_of


def render(run: Run) -> str:
    """Return the report of a run as HTML, one file without scripts that asks for no other.

    It opens with the result in words, and has every metric with its error bar, paired comparisons with the baselines,
    curves, what the predictions are like, each replica, the data, the network and the command that repeats it. The same
    run gives the same page.

    Args:
        run: plain data, of the shape that `Run` describes.

    Errors: ArgumentError for a run that lacks something or has another number of replicas somewhere; MissingExtraError
    without jinja2, matplotlib or scipy.

    Example:
        >>> page = render({
        ...     "title": "Two replicas", "task": "regression", "target": "y", "seeds": [0, 1], "diverged": [None, None],
        ...     "data": {"source": "made up", "rows": 10, "columns": [{"name": "x", "kind": "number", "missing": 0}]},
        ...     "network": {"description": "Linear(1, 1)", "parameters": 2},
        ...     "history": {"train": {"loss": [[1.0, 1.2], [0.5, 0.4]]}}, "metrics": {"test": {"rmse": [0.5, 0.6]}},
        ... })
        >>> "RMSE 0.550 ± 0.071 over 2 replicas" in page
        True
    """
    run = checked(run)
    jinja2 = require("jinja2", "cli")
    loader = jinja2.PackageLoader("handgrad.report", ".")  # a package may be in a zip file
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": _shown, "count": lambda v: f"{v:,}", "seconds": _seconds}
    page: str = environment.get_template("page.html").render(
        run=run,
        summary=summary(run),
        caveats=list(caveats(run)),
        diverged=diverged(run),
        lost=any(note is not None for note in run["diverged"]),
        results=_results(run),
        comparisons=_comparisons(run),
        strips=_strips(run),
        curves=_curves(run),
        layers=_layers(run),
        predictions=_predictions(run),
        replicas=_replicas(run),
    )
    return page


def _results(run: Run) -> list[dict[str, Any]]:
    """For each split its rows of the table of metrics."""
    sizes = run["data"].get("split", {"rows": {}})["rows"]
    found = []
    for split in SPLITS:
        rows = []
        for name, d in of_network(run, split).items():
            of = kind(name, run.get("unit", ""))
            value, interval, n = cells(d)
            note = (
                run.get("undefined", {}).get(name, "")
                if d.diverged > sum(g is not None for g in run["diverged"])
                else ""
            )
            rows.append({"of": of, "value": value, "interval": interval, "n": n, "note": note})
        if rows:
            found.append({"split": split, "size": sizes.get(split), "rows": rows})
    return found


def _comparisons(run: Run) -> list[dict[str, Any]]:
    """For each baseline its rows of the table of comparisons: the network minus the baseline."""
    network, found = of_network(run, chief(run)), []
    for name in run.get("baselines", {}):
        rows = []
        for metric, d in network.items():
            other = of_baselines(run, metric).get(name)
            if other is None:
                continue
            c, of = d.compare(other), kind(metric, run.get("unit", ""))
            error = c.std / math.sqrt(c.n) if c.n > 1 else 0.0
            mean, low, high = of.difference(c.mean, c.low, c.high, spread=error, signed=True)
            word = verdict(c, of)
            rows.append({
                "of": of,
                "baseline": cells(other, d.std)[0],
                "difference": (mean + (" points" if of.points else "")) if c.n else "—",
                "interval": f"{low} to {high}" if math.isfinite(c.low) else "—",
                "p": f"{c.p:.2g}" if c.n > 1 else "—",
                "n": c.n,
                "verdict": word,
                "class": word if word in ("better", "worse") else "",
            })  # fmt: skip
        found.append({"name": name, "rows": rows})
    return [table for table in found if table["rows"]]


def _strips(run: Run) -> list[Drawing]:
    """Network and baselines beside each other, a figure for each metric."""
    found = []
    for i, (metric, d) in enumerate(of_network(run, chief(run)).items()):
        of = kind(metric, run.get("unit", ""))
        if d.n:
            everyone = {"network": d, **of_baselines(run, metric)}
            found.append(figures.strips(f"strip{i}", of.label, of.better, everyone))
    return found


def _curves(run: Run) -> list[Drawing]:
    gone, best = [d is not None for d in run["diverged"]], run.get("best_epochs", [])
    names = list(dict.fromkeys(name for found in run["history"].values() for name in found))
    if all(gone):
        return []
    found = []
    for i, name in enumerate(names):
        by_split = {s: run["history"][s][name] for s in reversed(SPLITS) if run["history"].get(s, {}).get(name)}
        if by_split:
            of = kind(name, run.get("unit", ""))
            found.append(figures.curves(f"curve{i}", of.label, by_split, gone, best))
    return found


def _layers(run: Run) -> dict[str, Any]:
    """The layers by name, each with its colour, and a figure of each measure."""
    if "layers" not in run or not run["layers"]["epochs"]:
        return {}
    seen = run["layers"]["measures"]
    names = layers_of(seen)
    drawings = []
    for i, (measure, found) in enumerate(seen.items()):
        drawings.append(figures.layers(f"layers{i}", measure, run["layers"]["epochs"], found, names))
    legend = [{"name": name, "shade": figures.shade(i, len(names))} for i, name in enumerate(names)]
    told = "of each the median over the replicas still in training, and their middle half"
    told = told if len(run["seeds"]) > 1 else "in one replica"
    return {"legend": legend, "drawings": drawings, "told": told}


def _predictions(run: Run) -> list[Drawing]:
    def kept(rows: list[Any]) -> list[Any]:
        """Those of the replicas that did not diverge: of one that did, the weights may still give numbers."""
        return [row for row, note in zip(rows, run["diverged"]) if note is None]

    found = []
    if None not in run["diverged"]:
        return []
    if "confusion" in run:
        K = len(run["confusion"][0])
        classes = run["data"].get("classes", [str(k) for k in range(K)])
        found.append(figures.confusion("confusion", kept(run["confusion"]), classes))
    if "reliability" in run:
        sure, right, count = (kept(run["reliability"][key]) for key in ("confidence", "accuracy", "count"))
        found.append(figures.reliability("reliability", {"confidence": sure, "accuracy": right, "count": count}))
    if "roc" in run:
        found.append(figures.roc("roc", {"false": run["roc"]["false"], "true": kept(run["roc"]["true"])}))
    if "residuals" in run:
        found.append(figures.predictions("predictions", run["residuals"], run["target"]))
        found.append(figures.residuals("residuals", run["residuals"], run["target"], run.get("margins", ())))
    return found


def _replicas(run: Run) -> dict[str, Any]:
    """The table of replicas: headings and rows."""
    network, best = of_network(run, chief(run)), run.get("best_epochs", [])
    rows = []
    for r, (seed, note) in enumerate(zip(run["seeds"], run["diverged"])):
        values = [number(d.values[r], d.std) if math.isfinite(d.values[r]) else "—" for d in network.values()]
        fate = ""
        if note is not None:
            at = [f"{key} {note[key] + 1}" for key in ("epoch", "step") if isinstance(note.get(key), int)]
            fate = ", ".join(["diverged", *at]) + (f", in {note['layer']}" if note.get("layer") else "")
        kept = best[r] if r < len(best) else None
        rows.append({"seed": seed, "best": "—" if kept is None else kept + 1, "values": values, "fate": fate})
    headings = [kind(name, run.get("unit", "")).label for name in network]
    return {"headings": headings, "rows": rows, "best": any(b is not None for b in best)}


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _shown(value: Any) -> str:
    """An option's value for a reader."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return repr(value)  # in all its digits, for who repeats the run
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
