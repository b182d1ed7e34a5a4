"""Options of losses that are R numbers, one a replica: each replica's loss is that of its number alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError, HandgradError, ShapeError
from handgrad.testing import gradcheck
from tests.cases import CASES, Case, explains, leaves, target

R = 3
OPTIONS: dict[str, tuple[str, str, tuple[float, ...], dict[str, Any]]] = {
    "delta": ("HuberLoss", "delta", (0.3, 1.0, 2.5), {}),
    "beta": ("SmoothL1Loss", "beta", (0.3, 0.0, 2.5), {}),
    "Gaussian eps": ("GaussianNLLLoss", "eps", (1e-6, 0.9, 0.0), {"full": True}),
    "Poisson eps": ("PoissonNLLLoss", "eps", (1e-8, 0.5, 0.1), {"log_input": False}),
    "smoothing": ("CrossEntropyLoss", "label_smoothing", (0.3, 0.0, 0.7), {}),
    "smoothing all": ("CrossEntropyLoss", "label_smoothing", (0.3, 0.1, 1.0), {}),
    "no smoothing": ("CrossEntropyLoss", "label_smoothing", (0.0, 0.0, 0.0), {}),
    "smoothing and ignored": ("CrossEntropyLoss", "label_smoothing", (0.3, 0.0, 0.7), {"ignore_index": 1}),
    "smoothing and weight": (
        "CrossEntropyLoss",
        "label_smoothing",
        (0.3, 0.0, 0.7),
        {"weight": torch.tensor([0.3, 2.0, 1.3]), "ignore_index": 1},
    ),
    "hinge": ("HingeEmbeddingLoss", "margin", (0.3, 1.0, -0.5), {}),
    "ranking": ("MarginRankingLoss", "margin", (0.3, 0.0, 1.7), {}),
    "classes": ("MultiMarginLoss", "margin", (0.3, 1.0, 1.7), {}),
    "squared": ("MultiMarginLoss", "margin", (0.3, 1.0, 1.7), {"p": 2}),
    "triplet": ("TripletMarginLoss", "margin", (0.3, 1.0, 1.7), {"swap": True}),
    "triplet eps": ("TripletMarginLoss", "eps", (1e-6, 0.0, 0.5), {}),
    "cosine": ("CosineEmbeddingLoss", "margin", (0.3, 0.0, -0.7), {}),
}
EACH = pytest.mark.parametrize("name", OPTIONS)
DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def row(member: str) -> Case:
    """The first row of a member in the table, for its shapes and inputs."""
    found: Case = next(case for case in CASES if type(case.ours()).__name__ == member)
    return found


def made(name: str, value: Any, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Loss:
    member, option, _, others = OPTIONS[name]
    criterion: nn.Loss = getattr(nn, member)(**{option: value}, **others, **options)
    return criterion.to(dtype)


def passed(criterion: nn.Loss, inputs: list[Any], weights: Tensor | None, dloss: Tensor | None) -> list[Tensor]:
    """Loss and gradients."""
    loss = criterion(*inputs, weights=weights)
    return [loss, *leaves(criterion.backward(dloss if criterion.reduction == "none" else None))]


@EACH
@DTYPE
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weights", "plain"])
def test_each_replica_is_the_loss_of_its_number(
    name: str, dtype: torch.dtype, reduction: str, shared: bool, weighted: bool
) -> None:
    member, _, values, _ = OPTIONS[name]
    case = row(member)
    many = made(name, values, dtype, reduction=reduction, replicas=R)
    for shape in case.shapes[:1]:
        inputs = case.inputs(shape, dtype, lead=(R,))
        place = target(many, inputs)
        weights = torch.rand(R, inputs[0].shape[1], dtype=dtype) if weighted else None
        if shared:
            weights = weights if weights is None else weights[0]
        if shared and place is not None:
            inputs[place] = inputs[place][0]
        dloss = torch.randn_like(many(*inputs))
        found = passed(many, inputs, weights, dloss)
        taken = [many.replica(r) for r in range(R)]
        for r, value in enumerate(values):
            own = [x if shared and i == place else x[r] for i, x in enumerate(inputs)]
            w = weights if weights is None or shared else weights[r]
            for single in (made(name, value, dtype, reduction=reduction), taken[r]):
                for many_s, alone in zip(found, passed(single, own, w, dloss[r])):
                    assert torch.equal(many_s[r], alone)


@EACH
def test_gradcheck(name: str) -> None:
    member, _, values, _ = OPTIONS[name]
    if name == "Gaussian eps":  # below ε the gradient is not that of the loss, as in PyTorch
        values = (1e-6, 0.05, 0.0)
    many = made(name, values, replicas=R)
    case = row(member)
    gradcheck(many, *case.inputs(case.shapes[0], torch.float64, lead=(R,)))


@pytest.mark.parametrize("values", [(0.3, 0.0, 0.7), (0.0, 0.0, 0.0), (0.2, 0.4, 0.6)])
def test_smoothing_of_probabilities(values: tuple[float, ...]) -> None:
    y, t = torch.randn(R, 5, 4), torch.rand(5, 4).softmax(1)
    many = nn.CrossEntropyLoss(label_smoothing=values, replicas=R)
    loss, dy = many(y, t), many.backward()
    for r, value in enumerate(values):
        single = nn.CrossEntropyLoss(label_smoothing=value)
        assert torch.equal(loss[r], single(y[r], t))
        assert torch.equal(dy[r], single.backward())


def test_an_impossible_class_beside_smoothing() -> None:
    y = torch.tensor([[[-torch.inf, 0.0, 1.0]]] * 2)
    many = nn.CrossEntropyLoss(label_smoothing=[0.0, 0.5], replicas=2)
    loss = many(y, torch.tensor([1]))
    assert loss.isfinite().tolist() == [True, False]
    assert torch.equal(loss[0], nn.CrossEntropyLoss()(y[0], torch.tensor([1])))


@EACH
@pytest.mark.parametrize("form", [list, torch.tensor, torch.Tensor.numpy], ids=["list", "tensor", "array"])
def test_forms(name: str, form: Callable[..., Any]) -> None:
    _, option, values, _ = OPTIONS[name]
    given = torch.tensor(values, dtype=torch.float64).numpy() if form is torch.Tensor.numpy else form(values)
    assert getattr(made(name, given, replicas=R), option) == pytest.approx(values)
    assert type(getattr(made(name, given, replicas=R), option)) is tuple
    assert getattr(made(name, torch.tensor(values[0]).double(), replicas=R), option) == pytest.approx(values[0])


@EACH
def test_repr_shows_the_numbers(name: str) -> None:
    _, option, values, _ = OPTIONS[name]
    assert f"{option}={values}" in repr(made(name, list(values), replicas=R))


@EACH
def test_stacked_losses_keep_their_numbers(name: str) -> None:
    _, option, values, _ = OPTIONS[name]
    many = made(name, values, replicas=R)
    joined = nn.stack([made(name, value) for value in values])
    assert (joined.replicas, listed(getattr(joined, option))) == (R, values)
    again = nn.stack([many.replica(r) for r in range(R)])
    assert listed(getattr(again, option)) == values
    both = nn.stack([many, made(name, values[1]), made(name, values[0], replicas=2)])
    assert listed(getattr(both, option), 6) == (*values, values[1], values[0], values[0])
    assert getattr(many.replica(-1), option) == values[-1]
    one = nn.stack([made(name, values[0])] * 2)
    assert getattr(one, option) == values[0]  # what is the same stays one number


def listed(value: Any, count: int = R) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * count


def test_what_else_differs_is_still_refused() -> None:
    with pytest.raises(ArgumentError, match=r"network 1: expected HuberLoss.*got HuberLoss\(reduction='sum'"):
        nn.stack([nn.HuberLoss(delta=0.5), nn.HuberLoss("sum", delta=0.7)])
    with pytest.raises(ArgumentError, match=r"p=1.*p=2|MultiMarginLoss"):
        nn.stack([nn.MultiMarginLoss(p=1), nn.MultiMarginLoss(p=2)])
    with pytest.raises(ArgumentError, match="weight of dtype float32"):
        nn.stack([nn.CrossEntropyLoss(weight=torch.ones(3)), nn.CrossEntropyLoss()])


def test_dropouts_of_different_p_are_stacked() -> None:
    many = nn.stack([nn.Dropout(0.1), nn.Dropout(0.5), nn.Dropout([0.2, 0.3], replicas=2)])
    assert many.p == (0.1, 0.5, 0.2, 0.3)


@EACH
def test_another_count(name: str) -> None:
    _, option, values, _ = OPTIONS[name]
    for replicas, text in ((2, "2 replicas"), (None, "no replicas")):
        with pytest.raises(
            ArgumentError, match=rf"{option} to be one number, or one for each .*3 numbers for {text}"
        ) as e:
            made(name, values, replicas=replicas)
        assert explains(e.value)


OUT_OF_RANGE: dict[str, list[Any]] = {
    "delta": [0.0, -1.0],
    "beta": [-0.5],
    "Gaussian eps": [-1e-3],
    "Poisson eps": [-1e-3],
    "smoothing": [-0.1, 1.1],
}


@EACH
def test_out_of_range(name: str) -> None:
    _, option, values, _ = OPTIONS[name]
    for wrong in [*OUT_OF_RANGE.get(name, []), float("nan"), "0.1", None, [0.1]]:
        for given in (wrong, [values[0], wrong, values[2]]):
            if given == [0.1]:
                continue
            with pytest.raises(ArgumentError, match=option) as e:
                made(name, given, replicas=R)
            assert explains(e.value)


# Class weights


def test_class_weights_of_replicas_apart() -> None:
    W = torch.rand(R, 3) + 0.1
    y, t = torch.randn(R, 6, 3), torch.randint(3, (6,))
    for member, options in (
        ("CrossEntropyLoss", {}),
        ("CrossEntropyLoss", {"label_smoothing": [0.1, 0.0, 0.2]}),
        ("NLLLoss", {}),
        ("MultiMarginLoss", {}),
    ):
        many = getattr(nn, member)(weight=W, replicas=R, **options)
        loss, dy = many(y, t), many.backward()
        for r in range(R):
            single = getattr(nn, member)(weight=W[r], **{n: v[r] for n, v in options.items()})
            assert torch.equal(loss[r], single(y[r], t))
            assert torch.equal(dy[r], single.backward())


@pytest.mark.parametrize("member", ["BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"])
@pytest.mark.parametrize("option", ["weight", "pos_weight"])
def test_weights_of_outputs_of_replicas_apart(member: str, option: str) -> None:
    if option == "pos_weight" and member != "BCEWithLogitsLoss":
        pytest.skip("has none")
    y, t = torch.rand(R, 6, 3), torch.rand(6, 3)
    for W in (torch.rand(R, 3), torch.rand(1, 3), torch.rand(3), torch.tensor(0.7), torch.rand(R, 6, 3)):
        many = getattr(nn, member)(**{option: W}, replicas=R)
        loss, dy = many(y, t), many.backward()
        for r in range(R):
            single = getattr(nn, member)(**{option: W[r if len(W) == R else 0] if W.ndim > 1 else W})
            assert torch.equal(loss[r], single(y[r], t))
            assert torch.equal(dy[r], single.backward())


WRONG: dict[str, tuple[Callable[[], Any], type[HandgradError], str]] = {
    "classes": (lambda: nn.NLLLoss(weight=torch.ones(2, 3), replicas=3), ShapeError, r"a weight with a leading 3"),
    "labels": (lambda: nn.BCELoss(weight=torch.ones(4, 1), replicas=3), ShapeError, "share write x.unsqueeze"),
    "alone": (
        lambda: nn.NLLLoss(weight=torch.ones(2, 3))(torch.zeros(4, 3), torch.zeros(4).long()),
        ShapeError,
        r"\(3,\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_weights_that_do_not_fit(name: str) -> None:
    call, error, match = WRONG[name]
    with pytest.raises(error, match=match) as raised:
        call()
    assert explains(raised.value)
