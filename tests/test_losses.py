"""What the table of cases does not say of losses: weights of samples, normalisers, extremes, kinks, the last layer."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from handgrad import nn, optim
from handgrad.data import Batches
from handgrad.errors import ArgumentError, ShapeError
from handgrad.testing import gradcheck
from handgrad.training import train
from tests.cases import CASES, Case, close, each, explains, ids, leaves, upstream

LOSSES = [case for case in CASES if case.loss]
EACH = pytest.mark.parametrize("case", LOSSES, ids=ids(LOSSES))
F64 = torch.float64
R = 3


def built(case: Case) -> nn.Loss:
    criterion = case.ours(F64)
    assert isinstance(criterion, nn.Loss)
    return criterion


def batch(case: Case, lead: tuple[int, ...] = ()) -> tuple[list[Any], int]:
    """Inputs of some samples, and how many they are."""
    inputs = case.inputs(case.shapes[0], F64, lead)
    return inputs, inputs[0].shape[len(lead)]


def gradients(criterion: nn.Loss, loss: Tensor, dloss: Tensor | None = None) -> list[Tensor]:
    if dloss is None and criterion.reduction == "none":
        dloss = torch.ones_like(loss)
    return leaves(criterion.backward(dloss))


# Weights of samples


@EACH
def test_weight_2_counts_a_sample_twice(case: Case) -> None:
    criterion = built(case)
    inputs, N = batch(case)
    times = torch.arange(1, N + 1)
    times[0] = 0
    loss = criterion(*inputs, weights=times.to(F64))
    dy = gradients(criterion, loss)
    repeated = criterion(*each(lambda x: x.repeat_interleave(times, 0), inputs))
    copies = gradients(criterion, repeated)
    if criterion.reduction == "none":
        assert loss.shape[0] == N
        repeated = torch.stack([part.sum(0) for part in repeated.split(times.tolist())])
    close(loss, repeated)
    close(dy, [torch.stack([part.sum(0) for part in g.split(times.tolist())]) for g in copies])


@EACH
def test_weighted_sums(case: Case) -> None:
    single = built(case)
    inputs, N = batch(case)
    w, plain = torch.rand(N, dtype=F64), built(case)
    plain.reduction = "none"
    each_loss = plain(*inputs)
    weighted = each_loss * w.view(-1, *[1] * (each_loss.ndim - 1))
    loss = single(*inputs, weights=w)
    if single.reduction == "none":
        close(loss, weighted)
    elif single.reduction == "sum":
        close(loss, weighted.sum())
    elif single.reduction == "batchmean":
        close(loss, weighted.sum() / w.sum())
    elif isinstance(single, (nn.NLLLoss, nn.CrossEntropyLoss)) and not inputs[1].is_floating_point():
        of = torch.ones(3, dtype=F64) if single.weight is None else single.weight
        mass = of[inputs[1]] * (inputs[1] != single.ignore_index)
        close(loss, weighted.sum() / (w * mass).sum())
    else:
        close(loss, weighted.sum() / (w.sum() * each_loss[0].numel()))


@EACH
def test_weights_of_one_change_nothing(case: Case) -> None:
    criterion = built(case)
    inputs, N = batch(case)
    expected = criterion(*inputs)
    dy = gradients(criterion, expected)
    loss = criterion(*inputs, torch.ones(N, dtype=F64))
    close(loss, expected)
    close(gradients(criterion, loss), dy)


@EACH
def test_gradcheck_with_weights(case: Case) -> None:
    criterion = built(case)
    inputs, N = batch(case)
    gradcheck(criterion, *inputs, torch.rand(N, dtype=F64))


@EACH
@pytest.mark.parametrize("shared", [True, False])
def test_weights_with_replicas(case: Case, shared: bool) -> None:
    many = nn.replicate(built(case), range(R))
    inputs, N = batch(case, (R,))
    w = torch.rand(1 if shared else R, N, dtype=F64)
    loss = many(*inputs, weights=w[0] if shared else w)
    dloss = upstream(loss)
    dy = gradients(many, loss, dloss)
    for r in range(R):
        single = built(case)
        own = single(*[x[r] for x in inputs], weights=w[0 if shared else r])
        close(loss[r], own)
        close([g[r] for g in dy], gradients(single, own, dloss[r]))


@EACH
@pytest.mark.parametrize("lead", [(), (2,)], ids=["alone", "replicas"])
def test_a_sample_of_weight_0_is_left_out_whatever_it_holds(case: Case, lead: tuple[int, ...]) -> None:
    """A target that is missing, say, as NaN."""
    criterion = built(case) if not lead else nn.stack([built(case)] * 2)
    inputs, N = batch(case, lead)
    w = torch.ones(*lead, N, dtype=F64)
    w[..., 0] = 0
    loss = criterion(*inputs, weights=w)
    dy = gradients(criterion, loss)
    for x in leaves(inputs):
        if x.dtype.is_floating_point:
            x.select(len(lead), 0).fill_(torch.nan)
    again = criterion(*inputs, weights=w)
    torch.testing.assert_close(again, loss, equal_nan=True)  # a mean over nothing is NaN
    close(gradients(criterion, again), dy)


@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss(), nn.SoftMarginLoss(), nn.PoissonNLLLoss()], ids=str)
def test_nan_hides_no_target_out_of_range(criterion: nn.Loss) -> None:
    w = torch.tensor([0.0, 1.0])
    with pytest.raises(ArgumentError, match="got -3"):
        criterion(torch.zeros(2), torch.tensor([torch.nan, -3.0]), weights=w)
    assert criterion(torch.zeros(2), torch.tensor([torch.nan, 1.0]), weights=w).isfinite()
    assert criterion(torch.zeros(2), torch.full((2,), torch.nan)).isnan()


def test_weights_that_are_all_0() -> None:
    criterion = nn.MSELoss(replicas=2)
    loss = criterion(torch.ones(2, 3, 1), torch.zeros(3, 1), weights=torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert loss[0].isnan()
    assert loss[1] == 1
    assert criterion.backward().flatten().tolist() == [0.0, 0.0, 0.0, 0.0, 2.0, 0.0]


def test_weights_of_a_single_sample_without_a_batch() -> None:
    criterion = nn.CrossEntropyLoss(reduction="sum")
    y, t = torch.randn(3), torch.tensor(1)
    close(criterion(y, t, torch.tensor(2.0)), 2 * criterion(y, t), torch.float32)
    with pytest.raises(ShapeError, match=r"weights of shape \(\)"):
        criterion(y, t, torch.ones(3))


def test_mse_costs_no_more_operations_than_its_formula() -> None:
    class Count(TorchDispatchMode):
        names: list[str] = []  # noqa: RUF012

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    for criterion, y in ((nn.MSELoss(), torch.ones(4, 1)), (nn.MSELoss(replicas=2), torch.ones(2, 4, 1))):
        t = torch.zeros_like(y)
        criterion(y, t)  # its constants are made once
        with Count() as count:
            count.names.clear()
            criterion(y, t)
            criterion.backward()
        assert [name.split(".")[1] for name in count.names] == ["sub", "mul", "add", "sum", "mul", "mul_"]


# Replicas


def test_a_replicas_normaliser_is_its_own() -> None:
    weight = torch.tensor([0.5, 2.0, 1.5], dtype=F64)
    y = torch.randn(2, 4, 3, dtype=F64)
    t = torch.tensor([[0, -100, -100, -100], [0, 1, 2, -100]])
    many = nn.CrossEntropyLoss(weight=weight, replicas=2).double()
    loss, dy = many(y, t), many.backward()
    for r in range(2):
        single = torch.nn.CrossEntropyLoss(weight=weight)
        x = y[r].clone().requires_grad_()
        expected = single(x, t[r])
        expected.backward()
        close(loss[r], expected.detach())
        close(dy[r], x.grad)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_targets_that_one_replica_ignores_change_no_bit_of_another(dtype: torch.dtype, smoothing: float) -> None:
    many = nn.CrossEntropyLoss(label_smoothing=smoothing, replicas=2)
    for N in range(1, 30):
        y, t = torch.randn(2, N, 3, dtype=dtype), torch.randint(3, (2, N))
        some = t.clone()
        some[0, 0] = -100
        (a, da), (b, db) = ((many(y, targets), many.backward()) for targets in (t, some))
        assert torch.equal(a[1], b[1])
        assert torch.equal(da[1], db[1])


def test_class_weights_of_each_replica() -> None:
    apart = [nn.CrossEntropyLoss(weight=torch.rand(3)), nn.CrossEntropyLoss(weight=torch.rand(3))]
    many = nn.stack(apart)
    y, t = torch.randn(2, 5, 3), torch.randint(3, (2, 5))
    loss = many(y, t)
    for r, single in enumerate(apart):
        close(loss[r], single(y[r], t[r]), torch.float32)
        close(many.replica(r)(y[r], t[r]), loss[r], torch.float32)


def test_class_weights_are_a_copy() -> None:
    weight = torch.ones(3)
    criterion = nn.NLLLoss(weight=weight)
    criterion.load_state_dict({"weight": torch.zeros(3)})
    assert weight.tolist() == [1, 1, 1]


# Targets


def test_all_targets_ignored() -> None:
    for criterion in (nn.NLLLoss(), nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)):
        assert criterion(torch.randn(4, 3), torch.full((4,), -100)).isnan()
        assert criterion.backward().eq(0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_infinite_prediction_that_is_ignored(smoothing: float) -> None:
    y = torch.randn(4, 3)
    y[1] = -torch.inf
    t = torch.tensor([0, -100, 1, 2])
    kept = torch.tensor([0, 2, 3])
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    close(criterion(y, t), criterion(y[kept], t[kept]), torch.float32)
    close(nn.NLLLoss()(y, t), nn.NLLLoss()(y[kept], t[kept]), torch.float32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_dtypes_of_class_indices(dtype: torch.dtype) -> None:
    y, t = torch.randn(4, 3), torch.tensor([0, 2, 1, 2])
    assert torch.equal(nn.CrossEntropyLoss()(y, t.to(dtype)), nn.CrossEntropyLoss()(y, t))


@EACH
def test_an_empty_batch(case: Case) -> None:
    criterion = built(case)
    inputs = each(lambda x: x[:0], batch(case)[0])
    if criterion.reduction in ("mean", "batchmean"):
        with pytest.raises(ShapeError, match="Skip empty batches") as raised:
            criterion(*inputs)
        assert explains(raised.value)
        return
    loss = criterion(*inputs)
    assert loss.sum() == 0
    assert [g.shape for g in gradients(criterion, loss)] == [inputs[i].shape for i in criterion.differentiated]


# Extremes and kinks


def torchs(theirs: torch.nn.Module, inputs: list[Tensor], differentiated: tuple[int, ...]) -> tuple[Tensor, list[Any]]:
    copies = [x.clone() for x in inputs]
    for i in differentiated:
        copies[i].requires_grad_()
    loss = theirs(*copies)
    loss.backward()
    return loss.detach(), [copies[i].grad for i in differentiated]


BIG = torch.tensor([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4])
ONES = torch.ones(7)
ENDS = torch.tensor([0.0, 1.0, 0.0, 1.0, 1e-30, 1e-10, 0.5])
TIES = torch.tensor([-1.0, 0.0, 1.0, 1.0, -1.0, 0.0, 1.0])
SIGNS = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0])
VECTORS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
POINTS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "logits of 0": ("BCEWithLogitsLoss", {}, [BIG, 0 * ONES]),
    "logits of 1": ("BCEWithLogitsLoss", {}, [BIG, ONES]),
    "pos_weight": ("BCEWithLogitsLoss", {"pos_weight": torch.tensor(3.0)}, [BIG, 0.3 * ONES]),
    "probabilities of 0": ("BCELoss", {}, [ENDS, 0 * ONES]),
    "probabilities of 1": ("BCELoss", {}, [ENDS, ONES]),
    "scores": ("SoftMarginLoss", {}, [BIG[2:-2], ONES[2:-2]]),
    "labels": ("MultiLabelSoftMarginLoss", {}, [BIG.view(1, -1), ONES.view(1, -1)]),
    "classes": ("CrossEntropyLoss", {}, [BIG.view(1, -1), torch.tensor([3])]),
    "probable classes": ("CrossEntropyLoss", {"label_smoothing": 0.1}, [BIG.view(1, -1), ENDS.view(1, -1)]),
    "impossible classes": ("CrossEntropyLoss", {}, [torch.tensor([[-torch.inf, 0.0, 1.0]]), torch.tensor([1])]),
    "divergence from 0": ("KLDivLoss", {"reduction": "sum"}, [BIG, ENDS]),
    "small variances": ("GaussianNLLLoss", {"eps": 0.5}, [BIG / 1e4, ONES, ENDS]),
    "one small variance": ("GaussianNLLLoss", {"eps": 0.5}, [BIG.view(7, 1), ONES.view(7, 1), ENDS]),
    "no error": ("L1Loss", {}, [TIES, TIES]),
    "at beta": ("SmoothL1Loss", {}, [TIES, 0 * TIES]),
    "without beta": ("SmoothL1Loss", {"beta": 0.0}, [TIES, 0 * TIES]),
    "at delta": ("HuberLoss", {}, [TIES, 0 * TIES]),
    "at the margin": ("HingeEmbeddingLoss", {}, [TIES, SIGNS]),
    "ties": ("MarginRankingLoss", {}, [TIES, TIES, SIGNS]),
    "ranks at the margin": ("MarginRankingLoss", {"margin": 1.0}, [TIES, 0 * TIES, SIGNS]),
    "classes at the margin": ("MultiMarginLoss", {}, [torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([0])]),
    "zero vectors": ("CosineEmbeddingLoss", {}, [VECTORS, VECTORS.flip(0), torch.tensor([1.0, 1.0, -1.0, -1.0])]),
    "right angles": ("CosineEmbeddingLoss", {}, [VECTORS[:1], VECTORS[:1].flip(1), torch.tensor([-1.0])]),
    "triplets that tie": ("TripletMarginLoss", {"swap": True}, [VECTORS, -VECTORS, 0 * VECTORS]),
    "triplets without distance": ("TripletMarginLoss", {"eps": 0.0, "p": 3.0}, [VECTORS, VECTORS, VECTORS]),
    "triplets at the margin": ("TripletMarginLoss", {"eps": 0.0}, [VECTORS[:1], VECTORS[:1], 2 * VECTORS[:1]]),
    "counts of 0 and 1": ("PoissonNLLLoss", {"full": True}, [ONES, torch.arange(7.0)]),
}


@pytest.mark.parametrize("name", POINTS)
def test_extremes_and_kinks_are_torchs(name: str) -> None:
    member, options, inputs = POINTS[name]
    criterion = getattr(nn, member)(**options)
    loss = criterion(*inputs)
    expected, expected_dy = torchs(getattr(torch.nn, member)(**options), inputs, criterion.differentiated)
    dy = leaves(criterion.backward())
    assert all(value.isfinite().all() for value in (loss, *dy))
    close(loss, expected, torch.float32)
    close(dy, expected_dy, torch.float32)


def test_logistic_loss_of_scores_that_overflow_torchs() -> None:
    criterion = nn.SoftMarginLoss(reduction="none")
    assert criterion(torch.tensor([-1000.0, 1000.0]), torch.ones(2)).tolist() == [1000, 0]
    assert criterion.backward(torch.ones(2)).tolist() == [-1, 0]


# The last layer


class Softmax(nn.Module):
    """Stands in for one."""


class LogSoftmax(Softmax):
    pass


class Sigmoid(nn.Module):
    pass


class Mine(Softmax):
    pass


def ending(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), *last)


LEAVE, REPLACE = r"Leave out the {}: {} takes logits\.$", r"Put LogSoftmax in its place"
UNFIT: dict[str, tuple[nn.Loss, nn.Module, str]] = {
    "softmax": (nn.CrossEntropyLoss(), ending(Softmax()), LEAVE.format("Softmax", "CrossEntropyLoss")),
    "nested": (nn.CrossEntropyLoss(), ending(ending(ending(Softmax()))), LEAVE.format("Softmax", "CrossEntropyLoss")),
    "derived": (nn.CrossEntropyLoss(), ending(Mine()), LEAVE.format("Softmax", "CrossEntropyLoss")),
    "alone": (nn.CrossEntropyLoss(), Softmax(), LEAVE.format("Softmax", "CrossEntropyLoss")),
    "sigmoid": (nn.BCEWithLogitsLoss(), ending(Sigmoid()), LEAVE.format("Sigmoid", "BCEWithLogitsLoss")),
    "labels": (nn.MultiLabelSoftMarginLoss(), ending(Sigmoid()), LEAVE.format("Sigmoid", "MultiLabelSoftMarginLoss")),
    "likelihood": (nn.NLLLoss(), ending(Softmax()), REPLACE),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_last_layer_that_does_not_go_with_the_loss(name: str) -> None:
    criterion, model, match = UNFIT[name]
    with pytest.raises(ArgumentError, match=match) as raised:
        criterion.check(model)
    assert explains(raised.value)


@pytest.mark.parametrize(
    ("criterion", "model"),
    [
        (nn.CrossEntropyLoss(), ending()),
        (nn.CrossEntropyLoss(), ending(Softmax(), nn.Linear(3, 3))),
        (nn.CrossEntropyLoss(), ending(nn.Sequential())),
        (nn.CrossEntropyLoss(), ending(Sigmoid())),
        (nn.MSELoss(), ending(Softmax())),
        (nn.BCELoss(), ending(Sigmoid())),
    ],
)
def test_last_layers_that_go_with_the_loss(criterion: nn.Loss, model: nn.Module) -> None:
    criterion.check(model)


def test_training_does_not_start_with_a_softmax_before_cross_entropy() -> None:
    model = nn.replicate(ending(Softmax()), [1, 2])
    before = model.state_dict()
    batches = Batches(torch.randn(8, 2), torch.randint(3, (8,)), 4, [1, 2])
    with pytest.raises(ArgumentError, match="Leave out the Softmax: CrossEntropyLoss takes logits"):
        train(model, nn.CrossEntropyLoss(replicas=2), optim.SGD(model.parameters(), lr=0.1), batches, 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_a_classifier() -> None:
    x = torch.randn(64, 2)
    t = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    model = nn.replicate(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3)), [1, 2])
    history = train(
        model,
        nn.CrossEntropyLoss(replicas=2),
        optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        Batches(x, t, 16, [1, 2]),
        30,
    )
    assert (history.loss[:, -1] < 0.25).all()


# The options


@pytest.mark.parametrize("member", [type(case.ours()) for case in LOSSES[:17]], ids=lambda m: m.__name__)
def test_deprecated_options(member: Any) -> None:
    names = {"size_average", "reduce"} & set(inspect.signature(member.__init__).parameters)
    for name in names:
        with pytest.raises(NotImplementedError, match=f"{name}.*Use reduction="):
            member(**{name: True})


def test_copies_of_a_loss_are_apart() -> None:
    criterion = nn.GaussianNLLLoss()
    y, var = torch.randn(4, 3), torch.rand(4, 1)
    criterion(y, y + 1, var)
    twin = copy.deepcopy(criterion)
    twin(y, y + 1, var.expand(4, 3))
    assert [g.shape for g in criterion.backward()] == [(4, 3), (4, 1)]
    assert [g.shape for g in twin.backward()] == [(4, 3), (4, 3)]


@pytest.mark.parametrize("replicas", [None, 2])
def test_the_mean_of_halves_whose_sum_is_beyond_them(replicas: int | None) -> None:
    y = torch.full((replicas or 1, 1000), 10.0, dtype=torch.float16)
    y = y if replicas else y[0]
    loss = nn.MSELoss(replicas=replicas)
    found = loss(y, torch.zeros_like(y))
    assert found.dtype == torch.float16
    assert bool((found == 100).all())
    torch.testing.assert_close(loss.backward(), torch.full_like(y, 0.02))


@pytest.mark.parametrize("member", ["CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "MultiLabelSoftMarginLoss"])
def test_one_number_is_no_prediction_of_classes(member):
    criterion = getattr(nn, member)()
    with pytest.raises(ShapeError, match=f"{member}: expected predictions of K classes, got one number"):
        criterion(torch.tensor(1.0), torch.tensor(1))
