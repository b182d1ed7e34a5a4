"""Losses."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, DeviceError, DTypeError, HandgradError, ShapeError
from tests.cases.base import F64, INT, Bad, Case, Draw, mapped

signs = mapped(torch.sign)
labels = mapped(lambda x: (x > 0).to(x.dtype))
probabilities = mapped(torch.sigmoid)
log_probabilities = mapped(lambda x: x.log_softmax(-1))
positive = mapped(lambda x: x.exp() + 0.1)
counts = mapped(lambda x: (3 * x.abs()).round())

ROWS = ((4, 3), (4,), (2, 3, 2), (1, 1))
"""Predictions and targets of one shape."""
LABELS = ((4, 3), (3,), (2, 5, 3), (1, 1))
"""Of the last three labels."""
CLASSES = (((4, 3), (4,)), ((3,), ()), ((2, 3, 5), (2, 5)), ((2, 3, 1, 4), (2, 1, 4)), ((1, 3), (1,)))
"""Scores of three classes, and class indices."""
SCORES = (((4, 3), (4,)), ((3,), ()), ((1, 3), (1,)))


class Divided(torch.nn.Module):
    """A mean that torch.nn lacks, or warns about: the sum over N, such as the report's equation 5, or over elements."""

    def __init__(self, criterion: torch.nn.Module, by: str) -> None:
        super().__init__()
        self.criterion, self.by = criterion, by

    def forward(self, *inputs: Tensor) -> Tensor:
        loss: Tensor = self.criterion(*inputs) / (inputs[0].numel() if self.by == "mean" else len(inputs[0]))
        return loss


def case(name: str, shapes: tuple[Any, ...], *draws: Draw | None, **options: Any) -> Case:
    """A row named as what it prints, and after the options that it does not print; tuples stand for tensors."""
    shown = ", ".join(f"{key}={value!r}" for key, value in options.items() if not isinstance(value, tuple))
    hidden = "".join(f" {key}" for key, value in options.items() if isinstance(value, tuple))
    by = options.get("reduction", "mean")

    def make(n: Any, **other: Any) -> Any:
        given = {key: torch.tensor(v) if isinstance(v, tuple) else v for key, v in {**options, **other}.items()}
        return getattr(n, name)(**given)

    def peer() -> torch.nn.Module:
        return Divided(make(torch.nn, reduction="sum"), by)

    divided = by == ("mean" if name == "KLDivLoss" else "batchmean")
    row = f"{name}({shown})"
    return Case(row + hidden, make, shapes, peer if divided else None, loss=True, repr=row, draws=draws)


W = (0.5, 2.0, 1.5)
PAIRS = (((4, 3), (4, 3), (4, 3)), ((4,), (4,), (4,)))
VECTORS = (((4, 3), (4, 3), (4,)), ((3,), (3,), ()))
DISTRIBUTIONS = (
    ((4, 3),) * 3,
    ((4, 3), (4, 3), (4, 1)),
    ((4, 3), (4, 3), (4,)),
    ((2, 1), (2, 1), (2,)),
    ((3,), (3,), (1,)),
)


def some(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Class indices, the first two of which are not the same, so that not all are ignored."""
    t = torch.randint(3, shape)
    if len(shape) and t[..., :2].shape[-1] == 2:
        t[..., 1] = (t[..., 0] + 1 + torch.randint(2, shape[:-1])) % 3
    return t


INDEX = (None, some)

KINDS: list[tuple[str, tuple[Any, ...], tuple[Draw | None, ...], list[dict[str, Any]]]] = [
    ("MSELoss", ROWS, (), []),
    ("L1Loss", ROWS, (), []),
    ("SmoothL1Loss", ROWS, (), [{"beta": 0.5}, {"beta": 2.0}, {"beta": 0}]),
    ("HuberLoss", ROWS, (), [{"delta": 0.5}, {"delta": 2.0}]),
    ("BCELoss", LABELS, (probabilities, probabilities), [{"weight": W}]),
    ("BCEWithLogitsLoss", LABELS, (None, probabilities), [{"weight": W}, {"pos_weight": W}]),
    (
        "CrossEntropyLoss",
        CLASSES,
        INDEX,
        [
            {"weight": W},
            {"ignore_index": 1},
            {"weight": W, "ignore_index": 2},
            {"label_smoothing": 0.3},
            {"weight": W, "label_smoothing": 0.3},
            {"weight": W, "ignore_index": 0, "label_smoothing": 0.3},
        ],
    ),
    ("NLLLoss", CLASSES, INDEX, [{"weight": W}, {"ignore_index": 1}, {"weight": W, "ignore_index": 0}]),
    ("GaussianNLLLoss", DISTRIBUTIONS, (None, None, positive), [{"full": True, "eps": 0.05}]),
    (
        "PoissonNLLLoss",
        ROWS,
        (positive, counts),
        [{"log_input": False}, {"full": True}, {"log_input": False, "full": True, "eps": 0.5}],
    ),
    ("KLDivLoss", ROWS, (log_probabilities, probabilities), [{"reduction": "batchmean"}]),
    ("HingeEmbeddingLoss", ROWS, (None, signs), [{"margin": 0.3}]),
    ("MarginRankingLoss", PAIRS, (None, None, signs), [{"margin": 0.7}]),
    ("SoftMarginLoss", ROWS, (None, signs), []),
    ("MultiMarginLoss", SCORES, INDEX, [{"p": 2}, {"margin": 0.3}, {"p": 2, "margin": 2.0, "weight": W}]),
    ("MultiLabelSoftMarginLoss", LABELS[:2], (None, labels), [{"weight": W}]),
    ("CosineEmbeddingLoss", VECTORS, (None, None, signs), [{"margin": -0.4}]),
    (
        "TripletMarginLoss",
        (((4, 3),) * 3, ((3,),) * 3, ((1, 1),) * 3),
        (),
        [{"margin": 0.3, "p": 1.5}, {"p": 1}, {"swap": True}, {"p": 3.0, "eps": 0.1, "swap": True}],
    ),
]

CASES: list[Case] = [
    *(case(name, shapes, *draws) for name, shapes, draws, _ in KINDS),
    *(case(name, shapes[:3], *draws, reduction="none") for name, shapes, draws, _ in KINDS),
    *(case(name, shapes[:1], *draws, reduction="sum") for name, shapes, draws, _ in KINDS),
    *(case(name, shapes[:3:2], *draws, **o) for name, shapes, draws, options in KINDS for o in options),
    case("MSELoss", ROWS[:2], reduction="batchmean"),
    case("NLLLoss", CLASSES[:1], *INDEX, reduction="batchmean"),
    case("KLDivLoss", ROWS[:1], log_probabilities, log_probabilities, log_target=True),
    case("NLLLoss", CLASSES[:3], *INDEX, ignore_index=1, reduction="none"),
    case("CrossEntropyLoss", CLASSES[:3], *INDEX, ignore_index=1, reduction="sum", label_smoothing=0.3),
    *(
        dataclasses.replace(row, name=f"{row.name} probabilities")
        for options in ({}, {"weight": W}, {"label_smoothing": 0.25}, {"weight": W, "label_smoothing": 0.25})
        for row in [case("CrossEntropyLoss", ((4, 3), (3,), (2, 3, 5)), None, probabilities, **options)]
    ),
]


def _mse(y: Any, t: Any, **options: Any) -> Any:
    return nn.MSELoss(**options)(y, t)


def bad(name: str, what: str, error: type[HandgradError], match: str, *inputs: Any, **options: Any) -> Bad:
    """A loss that refuses its inputs; lists stand for tensors."""

    def call() -> Any:
        given = {key: torch.tensor(v) if isinstance(v, tuple) else v for key, v in options.items()}
        return getattr(nn, name)(**given)(*[torch.tensor(x) if isinstance(x, list) else x for x in inputs])

    return Bad(f"{name}-{what}", call, error, match)


ONE_HOT = torch.tensor([[0, 1, 0]])
TWO, THREE, Y = torch.zeros(2), torch.zeros(3), torch.zeros(2, 3)

BAD_INPUTS: list[Bad] = [
    Bad("MSELoss-transposed", lambda: _mse(torch.zeros(4, 3), torch.zeros(3, 4)), ShapeError, r"\(3, 4\)\. Give the"),
    Bad("MSELoss-column", lambda: _mse(torch.zeros(4, 1), torch.zeros(4)), ShapeError, r"targets\.unsqueeze\(-1\)"),
    Bad("MSELoss-row", lambda: _mse(torch.zeros(4), torch.zeros(4, 1)), ShapeError, r"targets\.squeeze\(-1\)"),
    Bad("MSELoss-replicas", lambda: _mse(torch.zeros(5, 4, 1), torch.zeros(4, 1)), ShapeError, r"replicas=5"),
    Bad("MSELoss-empty", lambda: _mse(torch.zeros(0, 3), torch.zeros(0, 3)), ShapeError, r"at least one prediction"),
    Bad("MSELoss-float64", lambda: _mse(torch.zeros(2), torch.zeros(2, dtype=F64)), DTypeError, r"got float64"),
    Bad("MSELoss-integers", lambda: _mse(torch.tensor([1]), torch.tensor([1])), DTypeError, r"got int64"),
    bad("MSELoss", "weights-short", ShapeError, r"weights of shape \(2,\), got \(3,\)", Y, Y, THREE),
    bad("MSELoss", "weights-of-elements", ShapeError, r"weights of shape \(2,\), got \(2, 3\)", Y, Y, Y),
    bad("MSELoss", "weights-negative", ArgumentError, r"weights of at least 0, got -0\.5", Y, Y, [1.0, -0.5]),
    bad("MSELoss", "weights-integers", DTypeError, r"weights of dtype float32.*int64", Y, Y, [1, 2]),
    bad("L1Loss", "weights-device", DeviceError, r"weights on device cpu", Y, Y, torch.zeros(2, device="meta")),
    bad("MSELoss", "weights-replicas", ShapeError, r"\(2, 3\), got \(3, 3\)", Y, Y, torch.zeros(3, 3), replicas=2),
    bad("BCELoss", "logits", ArgumentError, r"predictions from 0 to 1, got 3\. .*BCEWithLogits", [0.5, 3.0], TWO),
    bad("BCELoss", "negative", ArgumentError, r"predictions from 0 to 1, got -3", [-3.0, 0.5], TWO),
    bad("BCELoss", "targets", ArgumentError, r"targets from 0 to 1, got 2", [0.5, 0.5], [2.0, 1.0]),
    bad("BCELoss", "weight", ShapeError, r"broadcasts to \(2,\), got \(3,\)", [0.5, 0.5], TWO, weight=W),
    bad("BCELoss", "long-weight", ShapeError, r"broadcasts to \(3,\), got \(1, 3\)", [0.5] * 3, THREE, weight=(W,)),
    bad("BCEWithLogitsLoss", "signs", ArgumentError, r"targets from 0 to 1, got -1\. ", TWO, [1.0, -1.0]),
    bad(
        "BCEWithLogitsLoss", "pos_weight", DTypeError, r"weight.*float64", TWO.double(), TWO.double(), pos_weight=(1.0,)
    ),
    bad("NLLLoss", "index", ArgumentError, r"class indices from 0 to 2, got 3\. .*-100 to ignore", Y, [0, 3]),
    bad("NLLLoss", "floats", DTypeError, r"class indices, got float32. .*\.long\(\)", Y, TWO),
    bad("NLLLoss", "list", DTypeError, r"class indices, got tuple", Y, (1, 2)),
    bad("CrossEntropyLoss", "index", ArgumentError, r"class indices from 0 to 2, got 3", Y, [0, 3]),
    bad("CrossEntropyLoss", "negative", ArgumentError, r"class indices from 0 to 2, got -1", Y, [0, -1]),
    bad("CrossEntropyLoss", "floats", DTypeError, r"class indices, got float32. .*\.long\(\)", Y, TWO),
    bad("CrossEntropyLoss", "one-hot", ShapeError, r"\(1,\), got \(1, 3\).*one-hot", torch.zeros(1, 3), ONE_HOT),
    bad("CrossEntropyLoss", "length", ShapeError, r"class indices of shape \(2,\), got \(3,\)", Y, [0, 1, 2]),
    bad("CrossEntropyLoss", "replicas", ShapeError, r"got \(5,\).*with replicas=4", torch.zeros(4, 5, 3), [0] * 5),
    bad(
        "CrossEntropyLoss",
        "last",
        ShapeError,
        r"got \(4, 5\).*nn.Transpose\(1, 2\)",
        torch.zeros(4, 5, 3),
        [5 * [0]] * 4,
    ),
    bad(
        "CrossEntropyLoss", "odds", ArgumentError, r"probabilities from 0 to 1, got 2", torch.zeros(1, 2), [[2.0, 1.0]]
    ),
    bad("CrossEntropyLoss", "q-length", ShapeError, r"\(2, 3\), got \(3, 3\)", Y, torch.zeros(3, 3)),
    bad("CrossEntropyLoss", "q-ignored", ArgumentError, r"got probabilities", Y, Y, ignore_index=1),
    bad(
        "CrossEntropyLoss",
        "weight",
        ShapeError,
        r"class weights of shape \(2,\), got \(3,\)",
        Y[:, :2],
        [0, 1],
        weight=W,
    ),
    bad("CrossEntropyLoss", "weight64", DTypeError, r"class weights.*float64", Y.double(), [0, 1], weight=W),
    bad(
        "CrossEntropyLoss",
        "empty",
        ShapeError,
        r"at least one prediction",
        torch.zeros(0, 3),
        torch.zeros(0, dtype=INT),
    ),
    bad("GaussianNLLLoss", "var", ArgumentError, r"variances of at least 0, got -1", TWO, TWO, [1.0, -1.0]),
    bad("GaussianNLLLoss", "var-shape", ShapeError, r"\(2, 3\) or \(2, 1\), got \(3,\)", Y, Y, THREE),
    bad("PoissonNLLLoss", "counts", ArgumentError, r"targets of at least 0, got -1", TWO, [1.0, -1.0]),
    bad("KLDivLoss", "logarithms", ArgumentError, r"log_target=True", TWO, [-1.0, -2.0]),
    bad(
        "HingeEmbeddingLoss", "labels", ArgumentError, r"targets of 1 or −1, got 0\. Write 2 \* t - 1", TWO, [1.0, 0.0]
    ),
    bad("SoftMarginLoss", "labels", ArgumentError, r"targets of 1 or −1, got 0", TWO, [0.0, 1.0]),
    bad("MarginRankingLoss", "labels", ArgumentError, r"targets of 1 or −1, got 2", TWO, TWO, [1.0, 2.0]),
    bad("MarginRankingLoss", "shapes", ShapeError, r"predictions of shape \(2,\), got \(3,\)", TWO, THREE, TWO),
    bad("MarginRankingLoss", "dtypes", DTypeError, r"that of the first", TWO, TWO.double(), TWO),
    bad("CosineEmbeddingLoss", "targets", ShapeError, r"targets of shape \(2,\), got \(3,\)", Y, Y, torch.ones(3)),
    bad("CosineEmbeddingLoss", "labels", ArgumentError, r"targets of 1 or −1, got 0", Y, Y, TWO),
    bad(
        "MultiMarginLoss", "rank", ShapeError, r"1 or 2 dimensions", torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=INT)
    ),
    bad("MultiMarginLoss", "index", ArgumentError, r"from 0 to 2, got -1\. Count the classes from 0\.$", Y, [0, -1]),
]

BAD_OPTIONS: list[Bad] = [
    Bad("MSELoss-reduction", lambda: nn.MSELoss(reduction="avg"), ArgumentError, r"'mean', 'sum'.*got 'avg'"),
    Bad("MSELoss-size", lambda: nn.MSELoss(size_average=True), NotImplementedError, r"reduction"),  # type: ignore[arg-type]
    Bad("MSELoss-reduce", lambda: nn.MSELoss(reduce=False), NotImplementedError, r"reduction"),  # type: ignore[arg-type]
    Bad("L1Loss-size", lambda: nn.L1Loss(True), NotImplementedError, r"L1Loss\(size_average"),  # type: ignore[arg-type]
    Bad("NLLLoss-size", lambda: nn.NLLLoss(None, True), NotImplementedError, r"size_average"),  # type: ignore[arg-type]
    Bad("BCELoss-weight", lambda: nn.BCELoss(1.0), DTypeError, r"weight to be a torch"),  # type: ignore[arg-type]
    Bad("SmoothL1Loss-beta", lambda: nn.SmoothL1Loss(beta=-1), ArgumentError, r"beta of at least 0"),
    Bad("HuberLoss-delta", lambda: nn.HuberLoss(delta=0), ArgumentError, r"delta above 0, got 0"),
    Bad(
        "CrossEntropyLoss-ε", lambda: nn.CrossEntropyLoss(label_smoothing=1.5), ArgumentError, r"from 0 to 1, got 1\.5"
    ),
    Bad("MultiMarginLoss-p", lambda: nn.MultiMarginLoss(p=3), ArgumentError, r"p to be one of 1, 2, got 3"),
    Bad("GaussianNLLLoss-eps", lambda: nn.GaussianNLLLoss(eps=-1), ArgumentError, r"eps of at least 0"),
]
