"""The experiment in short: its laws, its rows, its certificate, and what it says when a round diverges."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch

from handgrad import nn, optim, workers
from handgrad.errors import ArgumentError, DeviceError
from handgrad.experiments import disk, parity, torch_peer
from handgrad.experiments.disk import Options
from handgrad.experiments.inside import look_inside
from handgrad.experiments.reproduce import reproduce
from handgrad.training import train

SHORT = Options(rounds=3, epochs=3)


@pytest.fixture(scope="module")
def results():
    return reproduce(SHORT)


def without_times(results):
    return json.dumps([{k: v for k, v in row.items() if k != "seconds"} for row in results["rows"]]), json.dumps(
        [results["figure1"], results["certificate"]]
    )


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(results):
    assert without_times(reproduce(SHORT)) == without_times(results)


def test_another_seed_gives_other_numbers(results):
    assert reproduce(replace(SHORT, seed=100))["rows"][0]["accuracy"] != results["rows"][0]["accuracy"]


def test_results_hold_every_rounds_numbers_and_survive_json(results):
    again = json.loads(json.dumps(results, allow_nan=False))
    assert [row["key"] for row in again["rows"]] == [
        "report",
        "default",
        "best",
        "torch_nn",
        "from_torch",
        "no_batchnorm",
    ]
    for row in again["rows"]:
        assert len(row["accuracy"]) == SHORT.rounds
        assert [len(curve) for curve in row["epoch_loss"]] == [SHORT.epochs] * SHORT.rounds
        assert all(accuracy == curve[-1] for accuracy, curve in zip(row["accuracy"], row["test_accuracy"]))
        assert row["seconds"] > 0


def trained(options, build=None):
    build = build or (lambda seeds: disk.network(options, "pytorch", True, seeds))
    return disk.train_rounds(build, disk.data(options), options)


@pytest.mark.parametrize(
    ("key", "init", "batchnorm"),
    [
        ("report", "gaussian", True),
        ("default", "pytorch", True),
        ("best", "kaiming_normal", True),
        ("no_batchnorm", "pytorch", False),
    ],
)
def test_a_row_is_of_the_network_that_it_names(results, key, init, batchnorm):
    row = next(row for row in results["rows"] if row["key"] == key)
    assert (row["init"], row["batchnorm"], row["framework"]) == (init, batchnorm, "handgrad")
    history = trained(SHORT, lambda seeds: disk.network(SHORT, init, batchnorm, seeds))
    assert row["epoch_loss"] == history.loss.tolist()
    assert row["seeds"] == SHORT.seeds
    for name in ("train_accuracy", "test_accuracy"):
        assert row[name] == history.metrics[name].tolist()


def test_rows_of_torchs_weights_and_both_sides_of_figure_1_are_what_they_say(results):
    rows = {row["key"]: torch.tensor(row["epoch_loss"]) for row in results["rows"]}
    torch.testing.assert_close(rows["from_torch"], rows["torch_nn"], rtol=1e-3, atol=0)
    for side, batchnorm in (("without", False), ("with", True)):
        assert results["figure1"][side] == look_inside(SHORT, batchnorm)


def test_a_round_is_the_same_in_other_company():
    both, last = (trained(Options(rounds=r, seed=s, epochs=3, dtype="float64")) for r, s in ((13, 0), (1, 12)))
    torch.testing.assert_close(both.loss[12], last.loss[0], rtol=1e-9, atol=0)
    assert torch.equal(both.metrics["test_accuracy"][12], last.metrics["test_accuracy"][0])


def test_the_numbers_do_not_depend_on_the_number_of_workers():
    one, two = (trained(Options(rounds=23, epochs=2, workers=w)) for w in (1, 3))
    assert torch.equal(one.loss, two.loss)
    assert torch.equal(one.metrics["test_accuracy"], two.metrics["test_accuracy"])


def test_handgrad_from_torchs_weights_follows_torch_nn():
    options = Options(rounds=2, epochs=5, dtype="float64")

    def build(seeds):
        model = disk.network(options, "pytorch", True, seeds)
        model.load_state_dict(torch_peer.stacked_state([torch_peer.network(options, s) for s in seeds]))
        return model

    own = trained(options, build)
    peer = torch_peer.train([torch_peer.network(options, s) for s in options.seeds], disk.data(options), options)
    torch.testing.assert_close(own.loss, peer.loss, rtol=1e-9, atol=0)
    assert list(own.metrics) == list(peer.metrics)
    assert all(torch.equal(own.metrics[name], peer.metrics[name]) for name in own.metrics)


def test_the_points_and_labels_are_the_reports():
    x, labels = disk.points(list(range(50)), "train")
    assert x.shape == (50, 1000, 2)
    assert x.min() >= 0
    assert x.max() <= 1
    radius = (x - 0.5).square().sum(-1).sqrt()
    assert torch.equal(labels == 1, radius < 1 / math.sqrt(2 * math.pi))
    assert abs(labels.double().mean() - 0.5) < 0.01  # half of the square: 5 standard errors
    assert not torch.equal(x, disk.points(list(range(50)), "test")[0])


def test_points_labels_and_targets_belong_together():
    data = disk.data(SHORT)
    for split, x, labels in (("train", data.x, data.labels), ("test", data.test_x, data.test_labels)):
        points, inside = disk.points(SHORT.seeds, split)
        assert torch.equal(x, points.float())
        assert torch.equal(labels, inside)
    assert torch.equal(data.t, torch.nn.functional.one_hot(data.labels).float())


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
def test_options_reach_both_sides(activation, reduction):
    options = Options(
        rounds=2, epochs=2, activation=activation, reduction=reduction, batch_size=300, lr=1e-4, dtype="float64"
    )
    found = parity.lockstep(options, steps=6, bound=1e-10)
    assert found["holds"], found
    assert found["steps"] == 6


def test_the_certificate_holds(results):
    for dtype, found in results["certificate"].items():
        assert found["holds"], (dtype, found["worst"])
        assert max(found["worst"].values()) > 0


def test_the_certificate_notices_a_wrong_gradient(monkeypatch):
    backward = nn.BatchNorm1d.backward
    monkeypatch.setattr(nn.BatchNorm1d, "backward", lambda self, dy: backward(self, dy) * (1 + 1e-8))
    assert not parity.lockstep(replace(SHORT, dtype="float64"), steps=2, bound=1e-10)["holds"]


def test_relative_difference():
    a, b = (
        torch.tensor([[1.0, 2.0], [0.0, 0.0], [math.nan, 1.0]]),
        torch.tensor([[1.0, 2.5], [0.0, 0.0], [math.nan, 1.0]]),
    )
    assert parity.relative(a, b).tolist() == pytest.approx([0.2, 0.0, 0.0])
    assert parity.relative(torch.tensor([[math.nan]]), torch.tensor([[1.0]])).item() == math.inf


@pytest.mark.parametrize("batchnorm", [True, False])
def test_a_look_inside_is_at_the_first_step_of_each_epoch(batchnorm):
    """The third layer's input and the second one's gradient, of a network that `training.train` brings there."""
    options = Options(rounds=3, epochs=2)
    found = look_inside(options, batchnorm)
    model, batches = disk.network(options, "pytorch", batchnorm), disk.data(options).batches(options)
    criterion, optimizer = nn.MSELoss(replicas=3), optim.SGD(model.parameters(), lr=options.lr)
    linear = [i for i, part in enumerate(model) if isinstance(part, nn.Linear)]
    for epoch in range(2):
        x, t = next(iter(batches.epoch(epoch)))
        probe = copy.deepcopy(model)
        h = probe[: linear[2]](x)[:, :100].double()
        criterion(probe(x), t)
        probe.backward_parameters(criterion.backward())
        grad = dict(probe.named_parameters())[f"{linear[1]}.weight"].grad
        assert grad is not None
        for part, values in (("features", h), ("gradient", grad.double().abs().log10().clamp(min=-9))):
            quantiles = values.flatten().quantile(torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).double())
            assert found[part]["quantiles"][epoch] == pytest.approx(quantiles.tolist(), abs=1e-4)
            edges, density = (torch.tensor(v) for v in found[part]["histogram"].values())
            counts = density[epoch] * edges.diff() * values.numel()
            expected = torch.histogram(values.flatten().clamp(edges[0], edges[-1]), edges.double()).hist
            assert (counts - expected).abs().max() < 1.1  # one may move over an edge by rounding
        mean = h.mean(1, keepdim=True)
        share = (h - mean).square().mean((1, 2)) / (h - h.mean((1, 2), keepdim=True)).square().mean((1, 2))
        assert found["features"]["sample_share"]["mean"][epoch] == pytest.approx(share.mean().item(), rel=1e-5)
        assert found["features"]["sample_share"]["std"][epoch] == pytest.approx(share.std().item(), rel=1e-4)
        train(model, criterion, optimizer, batches, epochs=1)


def test_steps_in_which_a_relu_changed_its_side_are_counted_apart():
    def step(gaps, side):
        values = [1 + torch.tensor([gaps]).double().mT.expand(2, 3)]  # (R, 3)
        sides = [torch.tensor([[True, False], [True, True]]), torch.tensor([[True], [side]])]
        return {"sides": sides, **dict.fromkeys(parity.KINDS, values), "loss": [torch.ones(2)]}

    reference = step([0, 0], True)
    assert parity.flips(step([0, 0], False), reference).tolist() == [0, 1]
    found = parity._Differences(bound=1e-3)
    for gaps, side in (([1e-4, 1e-5], True), ([3e-4, 0.5], False), ([2e-3, 2e-4], True)):
        found.add(step(gaps, side), reference)
    told = found.summary()
    assert told["largest_by_step"] == pytest.approx([1e-4, 3e-4, 2e-3])
    assert told["worst"] == pytest.approx({"loss": 0, "gradients": 2e-3, "parameters": 2e-3, "statistics": 2e-3})
    assert told["worst_flipped"] == pytest.approx(0.5)
    assert told["median"] == pytest.approx(2e-4)
    assert {name: told[name] for name in ("holds", "within", "of", "flipped")} == {
        "holds": False,
        "within": 4,
        "of": 6,
        "flipped": 1,
    }
    found.bound = 3e-3
    assert found.summary()["holds"] is True  # the step that is further off is told apart


def test_both_sides_tell_where_each_relu_input_lies():
    options = Options(rounds=2, epochs=1, dtype="float64")
    own, peer = parity.OwnSide(options), parity._peer(options)
    own.model.load_state_dict(peer.state())
    x, t = next(parity._batches(options, 1))
    a, b = own.step(x, t), peer.step(x, t)
    assert [side.shape for side in a["sides"]] == [side.shape for side in b["sides"]] == [(2, 500, 25)] * 3
    assert {kind: len(a[kind]) for kind in parity.KINDS} == {
        "loss": 1,
        "gradients": 14,
        "parameters": 14,
        "statistics": 6,
    }
    assert {kind: len(b[kind]) for kind in parity.KINDS} == {
        "loss": 1,
        "gradients": 14,
        "parameters": 14,
        "statistics": 6,
    }
    assert parity.flips(a, b).tolist() == [0, 0]
    assert parity.flips(a, peer.step(x, t)).min() > 0


def test_rounds_that_run_free_are_counted_by_their_worst_step():
    values = torch.tensor([[1e-5, 2e-5, 9e-5], [2e-5, 3e-5, 1e-5], [1e-4, 5e-4, 3e-5]])
    found = parity._drift(values, 1e-4)
    assert found["median_by_step"] == pytest.approx([2e-5, 2e-5, 1e-4])
    assert found["worst_by_step"] == pytest.approx([9e-5, 3e-5, 5e-4])
    assert found["rounds_within"] == 2


def test_samples_in_reverse_order_differ_by_rounding_and_no_more():
    found = parity.free(replace(SHORT, dtype="float64"), steps=3, bound=1e-10)
    for side in ("handgrad", "reversed"):
        assert 0 < max(found[side]["worst_by_step"]) < 1e-10
        assert found[side]["rounds_within"] == 3


def test_a_round_that_diverges_is_named_and_the_others_go_on():
    options = Options(rounds=3, epochs=3)

    def build(seeds):
        model = disk.network(options, "pytorch", True, seeds)
        dict(model.named_parameters())["3.weight"].value[1] = math.inf
        return model

    alone, history = trained(options), trained(options, build)
    assert history.diverged == [None, {"epoch": 0, "step": 0, "layer": "model.3 (Linear 25→25)"}, None]
    assert history.loss[1].isnan().all()
    for r in (0, 2):
        assert torch.equal(history.loss[r], alone.loss[r])
        assert torch.equal(history.metrics["test_accuracy"][r], alone.metrics["test_accuracy"][r])


def test_a_rate_too_large_diverges_on_both_sides():
    results = reproduce(Options(rounds=2, epochs=2, lr=1e20))
    rows = {row["key"]: row for row in results["rows"]}
    for key in ("default", "torch_nn", "no_batchnorm"):
        assert all(note["layer"] for note in rows[key]["diverged"]), key
        assert rows[key]["accuracy"] == [None, None]
    json.dumps(results, allow_nan=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rounds": 0}, ArgumentError, "rounds"),
        ({"epochs": -1}, ArgumentError, "epochs"),
        ({"lr": -0.1}, ArgumentError, "lr"),
        ({"lr": math.nan}, ArgumentError, "lr"),
        ({"lr": 1e39}, ArgumentError, r"lr of at most 3\.4e\+38, the largest float32, got 1e\+39"),
        ({"batch_size": 1}, ArgumentError, "2 samples"),
        ({"batch_size": 999}, ArgumentError, "batch of one"),
        ({"init": "magic"}, ArgumentError, "kaiming_normal"),
        ({"activation": "gelu"}, ArgumentError, "'relu', 'tanh'"),
        ({"reduction": "none"}, ArgumentError, "batchmean"),
        ({"dtype": "int64"}, ArgumentError, "float64"),
        ({"device": "abacus"}, DeviceError, "abacus"),
    ],
)
def test_bad_options_are_refused_before_training(options, error, message):
    with pytest.raises(error, match=message):
        Options(**options)


class Never:
    def is_set(self):
        return False


def test_ctrl_c_ends_the_experiment_rather_than_pairing_the_wrong_rounds(monkeypatch):
    def interrupted(tasks, *_):
        return [None, *[task(Never(), lambda _: None) for task in tasks[1:]]]

    monkeypatch.setattr(workers, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(Options(rounds=13, epochs=1))
