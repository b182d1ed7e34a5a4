"""Batches: every sample once an epoch, in an order that only seed and epoch decide."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handgrad import data, nn, optim
from handgrad.data import Batches, split
from handgrad.errors import ArgumentError, DTypeError, ShapeError
from handgrad.metrics import SCORES
from handgrad.seeds import derive
from handgrad.training import Evaluation, Trainer


def batches_of(n, size, seeds, **options):
    x, t = numbered(n)
    return Batches(x, t, size, seeds, **options)


def numbered(n, replicas=None):
    """Inputs that name their sample (and replica), and targets that are minus them."""
    x = torch.arange(float(n)).unsqueeze(1)
    if replicas is not None:
        x = x + 1000 * torch.arange(replicas).view(-1, 1, 1)
    return x, -x


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.booleans(), st.integers(0, 5))
def test_each_replica_sees_every_sample_once_with_its_target(n, size, replicas, own, epoch):
    x, t = numbered(n, replicas if own else None)
    batches = Batches(x, t, min(size, n), range(replicas), own=own)
    found = list(batches.epoch(epoch))
    seen = torch.cat([b for b, _ in found], 1)
    assert torch.equal(seen, -torch.cat([b for _, b in found], 1))
    assert torch.equal(seen.sort(1).values, x.expand(replicas, n, 1))
    assert all(b.shape[1] == min(size, n) for b, _ in found[:-1])


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    x, t = numbered(50)
    together = Batches(x, t, 10, [3, 5, 137])
    alone = Batches(x, t, 10, [137])
    list(together.epoch(0))
    assert torch.equal(together.order(7)[2], alone.order(7)[0])
    assert not torch.equal(together.order(7)[2], together.order(8)[2])
    assert not torch.equal(together.order(7)[0], together.order(7)[1])


@pytest.mark.parametrize(("last", "sizes"), [("keep", [4, 4, 2]), ("drop", [4, 4]), ("merge", [4, 6])])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_short_last_batch_is_kept_dropped_or_merged(last, sizes, shuffle):
    batches = batches_of(10, 4, [0], last=last, shuffle=shuffle)
    assert [b.shape[-2] for b, _ in batches.epoch(0)] == sizes


@pytest.mark.parametrize("last", ["keep", "drop", "merge"])
def test_batches_that_fit_are_the_same_whatever_becomes_of_a_short_one(last):
    assert [b.shape[1] for b, _ in batches_of(8, 4, [0], last=last).epoch(0)] == [4, 4]
    assert [b.shape[1] for b, _ in batches_of(3, 3, [0], last=last).epoch(0)] == [3]


def test_without_shuffling_shared_data_are_passed_as_they_stand():
    x, t = numbered(6)
    (first, _), _ = Batches(x, t, 3, [0, 1], shuffle=False).epoch(4)
    assert torch.equal(first, x[:3])


@pytest.mark.parametrize("dtype", [torch.float64, torch.long])
def test_targets_keep_their_dtype_and_shape(dtype):
    batches = Batches(torch.rand(5, 2, 3), torch.zeros(5, dtype=dtype), 5, [0, 1])
    ((x, t),) = batches.epoch(0)
    assert x.shape == (2, 5, 2, 3)
    assert (t.shape, t.dtype) == ((2, 5), dtype)


def test_a_batch_of_one_is_foreseen():
    batches = batches_of(9, 4, [0])
    batches.check(nn.Sequential(nn.Linear(1, 2)))
    with pytest.raises(ArgumentError, match=r"model\.1, got a batch of 1 of 9 samples.*merge"):
        batches.check(nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)))
    batches_of(9, 4, [0], last="merge").check(nn.Sequential(nn.BatchNorm1d(2)))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((torch.rand(4, 1), torch.rand(5, 1), 2, [0]), {}, ShapeError, "equal N"),
        ((torch.rand(2, 4, 1), torch.rand(2, 5, 1), 2, [0, 1]), {"own": True}, ShapeError, "equal N"),
        ((torch.rand(2, 4, 1), torch.rand(2, 4, 1), 2, [0, 1, 2]), {"own": True}, ShapeError, "3 replicas"),
        ((torch.rand(4, 1), torch.rand(4, 1), 0, [0]), {}, ArgumentError, "batch_size"),
        ((torch.rand(4, 1), torch.rand(4, 1), 5, [0]), {}, ArgumentError, "at most 4"),
        ((torch.rand(4, 1), torch.rand(4, 1), 2, []), {}, ArgumentError, "one seed"),
        ((torch.rand(4, 1), torch.rand(4, 1), 2, [0]), {"last": "pad"}, ArgumentError, "merge"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Batches(*arguments, **options)


@pytest.mark.parametrize("features", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.long])
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_short_rows_are_moved_whole_wherever_they_start_in_memory(features, dtype, offset):
    x = torch.arange(8 * features + offset).to(dtype)[offset:].view(8, features)
    batches = Batches(x, x, 4, [0, 1])
    rows = batches.order(0)
    for part, (inputs, targets) in zip(batches.slices, batches.epoch(0)):
        assert torch.equal(inputs, x[rows[:, part]])
        assert torch.equal(targets, inputs)


@pytest.mark.parametrize(
    "x",
    [torch.arange(24.0).view(8, 3)[:, :2], torch.arange(16.0).view(2, 8).mT, torch.arange(32.0).view(16, 2)[::2]],
    ids=["columns", "turned", "every second"],
)
def test_rows_of_a_view_are_those_that_it_shows(x):
    ((inputs, _),) = Batches(x, x, 8, [0, 1]).epoch(0)
    assert torch.equal(inputs, x[Batches(x, x, 8, [0, 1]).order(0)])


@pytest.mark.parametrize("last", ["keep", "drop", "merge"])
@pytest.mark.parametrize("own", [False, True])
def test_batches_are_the_same_however_many_are_selected_at_once(monkeypatch, own, last):
    x = torch.arange(3 * 23 * 2.0).view(3, 23, 2) if own else torch.arange(23 * 2.0).view(23, 2)
    batches = Batches(x, x[..., :1], 4, seeds=[0, 1, 2], own=own, last=last)
    at_once = [(a.clone(), b.clone()) for a, b in batches.epoch(3)]
    for block in (0, 200, 300):
        monkeypatch.setattr(data, "BLOCK", block)
        one_by_one = list(batches.epoch(3))
        assert len(one_by_one) == len(at_once) == len(batches.slices)
        for found, expected in zip(one_by_one, at_once):
            assert all(torch.equal(f, e) for f, e in zip(found, expected))


@pytest.mark.parametrize("seeds", [torch.tensor([3, 5]), np.array([3, 5]), (3, 5)])
def test_a_seed_is_the_same_number_of_whatever_kind(seeds):
    assert torch.equal(batches_of(9, 4, seeds).order(1), batches_of(9, 4, [3, 5]).order(1))
    assert all(torch.equal(a, b) for a, b in zip(data.split(9, 0.3, seeds), data.split(9, 0.3, [3, 5])))


def test_a_stream_is_the_same_in_every_version():
    """Runs go on from checkpoints of another one, and reports are computed anew."""
    assert (derive(7, "order", 3), derive(0, "split")) == (2396369170524145093, 1947725093899964015)


def test_a_number_of_samples_may_be_numpys():
    count: Any = np.prod((3, 3))
    assert all(torch.equal(a, b) for a, b in zip(data.split(count, 0.3, [3]), data.split(9, 0.3, [3])))


def test_a_seed_that_is_no_whole_number_is_refused():
    with pytest.raises(ArgumentError, match=r"a seed that is a whole number, got 3\.0"):
        data.split(9, 0.3, [3.0])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("arguments", "stratify", "message"),
    [
        ((10, 0.5, []), False, r"split: expected at least one seed, got none. Pass seeds=range\(R\)"),
        ((10, 0.0, [0]), False, "a fraction above 0 and below 1, got 0.0"),
        ((10, 1.0, [0]), False, "a fraction above 0 and below 1, got 1.0"),
        ((1, 0.5, [0]), False, "at least 2 samples to split, got 1"),
        ((10, 0.5, [0]), True, r"classes \(N,\) to stratify by"),
        ((torch.zeros(10, 2), 0.5, [0]), True, r"classes \(N,\) to stratify by"),
    ],
)
def test_splits_that_cannot_be_made_are_refused(arguments, stratify, message):
    with pytest.raises(ArgumentError, match=message):
        data.split(*arguments, stratify=stratify)


@pytest.mark.parametrize(("N", "fraction", "left"), [(2, 0.01, 1), (2, 0.99, 1), (9, 0.01, 1), (9, 0.99, 8)])
def test_both_parts_of_a_split_have_a_sample(N, fraction, left):
    assert [part.shape for part in data.split(N, fraction, [3, 5])] == [(2, N - left), (2, left)]


@pytest.mark.parametrize("own", [False, True])
def test_rows_without_shuffling_come_as_they_are_given(own):
    x, t = numbered(6, 2 if own else None)
    rows = torch.tensor([[5, 0, 3], [1, 1, 4]])
    batches = Batches(x, t, 3, [0, 1], own=own, shuffle=False, rows=rows)
    expected = torch.stack([(x[r] if own else x)[rows[r]] for r in range(2)])
    for epoch in (0, 1):
        assert torch.equal(batches.order(epoch), rows)
        ((inputs, targets),) = batches.epoch(epoch)
        assert torch.equal(inputs, expected)
        assert torch.equal(targets, -expected)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (torch.ones(2, 6).bool(), DTypeError, "rows as a tensor of int64, got bool"),
        (torch.ones(2, 6), DTypeError, "got float32"),
        ([[0, 1], [2, 3]], DTypeError, "got list"),
        (torch.tensor([0, 1]), ShapeError, "rows of shape"),
        (torch.tensor([[0, 6], [0, 1]]), ArgumentError, "rows from 0 to 5, got 0 to 6"),
        (torch.tensor([[0, 1], [-1, 1]]), ArgumentError, "rows from 0 to 5, got -1 to 1"),
    ],
)
def test_rows_are_indices_of_samples(own, rows, error, message):
    """Also of an evaluation, where one beyond a replica's own data was a sample of another's."""
    x, t = numbered(6, 2 if own else None)
    with pytest.raises(error, match=message):
        Batches(x, t, 2, [0, 1], own=own, rows=rows)
    with pytest.raises(error, match=message):
        Evaluation(x, t, own=own, rows=rows)


def test_the_order_of_samples_that_are_not_shuffled():
    assert batches_of(3, 3, [0, 1], shuffle=False).order(4).tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("batch", [(1,), (1, 2, 3, 4), torch.ones(2)])
def test_a_loaders_batch_that_is_no_pair_is_refused(batch):
    with pytest.raises(ArgumentError, match="batches of inputs and targets"):
        next(data.Loader([batch], [0]).epoch(0))


def test_another_default_device_leaves_what_is_drawn_on_the_cpu():
    """A user's torch.set_default_device("cuda"); "meta" stands for it where there is none."""
    x, t = torch.randn(40, 3), torch.randint(2, (40,))
    model = nn.replicate(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)), seeds=range(3))
    adam = optim.Adam(model.parameters())
    try:
        torch.set_default_device("meta")
        plateau = optim.lr_scheduler.ReduceLROnPlateau(adam, factor=[0.1, 0.2, 0.3])
        train, test = split(t, 0.25, range(3), stratify=True)
        accuracy = Evaluation(x, t, None, {"accuracy": SCORES["accuracy"]}, rows=test)
        criterion, batches = nn.CrossEntropyLoss(replicas=3), Batches(x, t, 8, range(3), rows=train)
        history = Trainer(model, criterion, adam, batches, 2, metrics=accuracy, schedule=plateau).run()
    finally:
        torch.set_default_device(None)
    assert bool(history.metrics["accuracy"].isfinite().all())
