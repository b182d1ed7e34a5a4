"""Anatomy: what every layer of a network makes of a batch, and the gradient that reaches it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad.data import Inputs
from handgrad.errors import ArgumentError
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.parameter import Parameter
from handgrad.optional import require
from handgrad.statistics import band
from handgrad.training.calls import judged, outputs
from handgrad.training.listening import listening

WHOLE = "(model)"
"""Name of the network itself."""
MEASURES = ("mean", "std", "zeros", "dead", "gradient", "norm", "gradient_norm")
ROUNDING = 1e-6
"""Share of the spread below which a mean is told as 0."""


@dataclass(frozen=True)
class Layer:
    """A part of a network that was run, and R numbers of it by name, (R,); without replicas R is 1.

    Attributes:
        name: its dotted name, "(model)" of the network itself.
        label: such as "Linear 25→2".
        shape: of its output, the first where it has several.
        parameters: names of its own: not those of parts that have rows of theirs.
        size: how many numbers these are, for each replica.
        measures: of this output y "mean" and "std" over all of it, "zeros", the share that is exactly 0, and "dead",
            the share of its units that are the same for all samples, such as a ReLU that lets nothing through, or a
            sigmoid that is 1 for all; of the loss's gradient by it "gradient", √(mean(dy²)); of its parameters θ
            "norm", ‖θ‖, and "gradient_norm", ‖dθ‖. NaN for what there is not, such as "dead" of a single sample.

    Example:
        >>> import torch
        >>> from handgrad import nn, summary
        >>> layer = summary(nn.Linear(2, 3, replicas=4), torch.ones(5, 2)).layers[0]
        >>> layer.name, layer.label, layer.shape, layer.parameters, layer.size, layer.measures["std"].shape
        ('(model)', 'Linear 2→3', (4, 5, 3), ('weight', 'bias'), 9, torch.Size([4]))
    """

    name: str
    label: str
    shape: tuple[int, ...]
    parameters: tuple[str, ...]
    size: int
    measures: dict[str, Tensor]


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` has found: printed as a table, with mean ± standard deviation over the replicas.

    Attributes:
        layers: in the order in which they were run.
        size: all the network's parameters, counted for each replica.
        replicas: R, or None.
        loss: (R,), NaN without a loss.

    Example:
        >>> import torch
        >>> from handgrad import nn, summary
        >>> found = summary(nn.Sequential(nn.Linear(2, 3, replicas=4), nn.ReLU()), torch.ones(5, 2))
        >>> [layer.name for layer in found.layers], found.size, found.replicas, found.left_out
        (['0', '1'], 9, 4, 0)
    """

    layers: list[Layer]
    size: int
    replicas: int | None
    loss: Tensor

    @property
    def left_out(self) -> int:
        """Replicas of which some layer's outputs are not finite: means and spreads are without such numbers."""
        finite = [layer.measures["std"].isfinite() for layer in self.layers if math.prod(layer.shape)]
        return int((~torch.stack(finite).all(0)).sum()) if finite else 0

    def to_pandas(self) -> Any:
        """A DataFrame of one row for each layer and replica, its columns the measures.

        Errors: MissingExtraError without pandas.
        """
        pandas = require("pandas", "pandas")
        labels = [(layer.name, r) for layer in self.layers for r in range(self.replicas or 1)]
        index = pandas.MultiIndex.from_tuples(labels, names=["layer", "replica"])
        columns = {n: torch.cat([v.measures[n] for v in self.layers]).numpy() for n in MEASURES}
        return pandas.DataFrame(columns, index)

    def __repr__(self) -> str:
        heads = ["layer", "output", "parameters", "mean", "std", "zeros %", "dead %", "gradient", "‖dθ‖ / ‖θ‖"]
        rows = [heads]
        for layer in self.layers:
            m = layer.measures
            mean = m["mean"].masked_fill(m["mean"].abs() <= ROUNDING * m["std"], 0)
            cells = [mean, m["std"], 100 * m["zeros"], 100 * m["dead"], m["gradient"], m["gradient_norm"] / m["norm"]]
            texts = list(map(_told, cells))
            size = f"{layer.size:,}" if layer.size else ""
            rows.append([f"{layer.name} {layer.label}", str(layer.shape), size, *texts])
        kept = [i for i in range(len(heads)) if any(row[i] for row in rows[1:])]
        widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
        lines = ["  ".join(f"{r[i]:{'<>'[i > 1]}{widths[i]}}" for i in kept).rstrip() for r in rows]
        each = f", each of {self.replicas} replicas" if self.replicas is not None else ""
        told = [f"{self.size:,} parameters{each}", *(f"loss {loss}" for loss in [_told(self.loss)] if loss)]
        if left_out := self.left_out:
            told.append(f"{left_out} left out, whose numbers are not finite")
        return "\n".join([*lines, "; ".join(told)])


def summary(
    model: Module,
    x: Inputs,
    t: Tensor | None = None,
    criterion: Loss | None = None,
    *,
    weights: Tensor | None = None,
) -> Summary:
    """Run a batch through a copy of a network and back, and look at every layer.

    The network stays as it is: its gradients, running statistics, mode, and what torch's default generator gives next.

    Args:
        model: in the mode that it is in; parts run unfused, and one that runs several times is seen as it did last.
        x: inputs as the model takes them, (N, …) or with replicas (R, N, …); a tuple of several. Where N is R,
            (1, N, …) tells an activation in the first place that replicas share them.
        t: targets.
        criterion: the loss; without it nothing is known of gradients.
        weights: of the samples in the loss.

    Errors: ArgumentError for a loss without targets, or targets without a loss; those of the model and the loss.

    Example:
        >>> import torch
        >>> from handgrad import nn, summary
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> ones = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
        >>> _ = model.load_state_dict(ones)
        >>> x = torch.tensor([[1.0, 0.0], [-3.0, 0.0]])
        >>> summary(model, x, torch.zeros(2, 1), nn.MSELoss())
        layer         output  parameters  mean  std  zeros %  dead %  gradient  ‖dθ‖ / ‖θ‖
        0 Linear 2→3  (2, 3)           9     0    2        0       0      4.95       5.715
        1 ReLU        (2, 3)                 1    1       50       0         5
        2 Linear 3→1  (2, 1)           4     4    3        0       0         5       12.77
        13 parameters; loss 25
        >>> summary(model, x).layers[1].measures["zeros"]
        tensor([0.5000], dtype=torch.float64)
    """
    if (t is None) != (criterion is None):
        remedy = "Pass both, or neither to look at the outputs alone."
        got = "targets alone" if criterion is None else "a loss alone"
        raise ArgumentError("targets and a loss", got, remedy, "summary")
    R = replicas_of(model)
    model, criterion = copy.deepcopy((model, criterion))
    model.zero_grad()
    found: dict[str, tuple[Module, tuple[int, ...], dict[str, Tensor]]] = {}
    gradients: dict[str, Tensor] = {}

    # at once: what a part returns a module may add to in place
    def heard(name: str, part: Module, y: Any) -> None:
        if isinstance(first := _first(y), Tensor):
            found[name] = part, tuple(first.shape), _forward(_rows(first, R))

    def given(name: str, _: Module, dy: Any) -> None:
        if name not in gradients:  # of a part that runs twice the last run's
            first = _first(dy)
            rows = _rows(first, R) if isinstance(first, Tensor) else torch.zeros(R or 1, 1, dtype=torch.float64)
            gradients[name] = _flat(rows).square().mean(1).sqrt()

    loss = torch.full((R or 1,), math.nan)
    with torch.random.fork_rng(devices=[]), listening(model, heard, given):
        y = outputs(model, x)
        if criterion is not None and t is not None:
            loss = judged(criterion, y, t, weights).double().reshape(-1)
            model.backward_parameters(criterion.backward())
    own = _own(model, list(found))
    nan = torch.full((R or 1,), math.nan, dtype=torch.float64)
    layers = []
    for name, (part, shape, measures) in found.items():
        parameters = list(own[name].values())
        measures |= {
            "gradient": gradients.get(name, nan),
            "norm": norm(parameters, [p.value for p in parameters], R),
            "gradient_norm": norm(parameters, [p.grad for p in parameters], R),
        }
        size = sum(_size(p) for p in parameters)
        measures = {n: values.cpu() for n, values in measures.items()}
        layers.append(Layer(name or WHOLE, part.label, shape, tuple(own[name]), size, measures))
    return Summary(layers, sum(_size(p) for p in model.parameters()), R, loss.cpu())


def _own(model: Module, names: list[str]) -> dict[str, dict[str, Parameter]]:
    """The parameters of each of the parts by name, those of a part within another of that one alone."""
    left = {id(p): (name, p) for name, p in model.named_parameters()}
    parts = dict(model.named_modules())
    own: dict[str, dict[str, Parameter]] = {}
    for name in sorted(names, key=lambda name: -len(name.split(".")) if name else 0):
        own[name] = dict(left.pop(id(p)) for p in parts[name].parameters() if id(p) in left)
    return own


def _size(p: Parameter) -> int:
    return p.value.numel() // (p.replicas or 1)


def _first(value: Any) -> Any:
    """The first of nested tuples, None where it is not there or, of gradients, zero."""
    while isinstance(value, tuple):
        value = next(iter(value), None)
    return value


def _rows(y: Tensor, R: int | None) -> Tensor:
    """Numbers of each replica, (R, N, …), also of what they share, (1, N, …) or (N, …); without replicas R is 1.

    In float64: a vanishing gradient's square is 0 in float32.
    """
    y = y.double()
    if R is None:
        return y.unsqueeze(0)
    return y.expand(R, *y.shape[1:]) if y.shape[:1] in ((1,), (R,)) else y.expand(R, *y.shape)


def _flat(rows: Tensor) -> Tensor:
    return rows.flatten(1) if rows.ndim > 1 else rows.unsqueeze(1)


def _forward(rows: Tensor) -> dict[str, Tensor]:
    flat = _flat(rows)
    if not flat.numel():
        return dict.fromkeys(MEASURES[:4], torch.full((len(flat),), math.nan, dtype=torch.float64))
    units = rows.flatten(2) if rows.ndim > 2 else flat.unsqueeze(-1)  # (R, N, U)
    dead = (units == units[:, :1]).all(1).double().mean(1)
    return {
        "mean": flat.mean(1),
        "std": flat.std(1, correction=0),
        "zeros": (flat == 0).double().mean(1),
        "dead": dead if units.shape[1] > 1 else torch.full_like(dead, math.nan),
    }


def norm(parameters: list[Parameter], values: Sequence[Tensor | None], R: int | None) -> Tensor:
    """The norm of all values of parameters together, such as their gradients, (R,); NaN of none."""
    squares = [
        _flat(_rows(value, R if p.replicas else None)).square().sum(1).expand(R or 1)
        for p, value in zip(parameters, values)
        if value is not None
    ]
    return torch.stack(squares).sum(0).sqrt() if squares else torch.full((R or 1,), math.nan, dtype=torch.float64)


def _told(values: Tensor) -> str:
    """Mean ± standard deviation of what is finite, or nothing."""
    finite = [value for value in values.tolist() if math.isfinite(value)]
    return band(finite) if finite else ""
