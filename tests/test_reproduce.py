"""The experiment in short: its laws, its rows, its certificate, and what it says when a round diverges."""

import json
import math
from dataclasses import replace

import pytest
import torch

from handgrad import nn, workers
from handgrad.errors import ArgumentError, DeviceError
from handgrad.experiments import disk, parity, torch_peer
from handgrad.experiments.disk import Options
from handgrad.experiments.reproduce import reproduce

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
    assert torch.equal(own.metrics["test_accuracy"], peer.metrics["test_accuracy"])


def test_the_points_and_labels_are_the_reports():
    x, labels = disk.points(list(range(50)), "train")
    assert x.shape == (50, 1000, 2)
    assert x.min() >= 0
    assert x.max() <= 1
    radius = (x - 0.5).square().sum(-1).sqrt()
    assert torch.equal(labels == 1, radius < 1 / math.sqrt(2 * math.pi))
    assert abs(labels.double().mean() - 0.5) < 0.01  # half of the square: 5 standard errors
    assert not torch.equal(x, disk.points(list(range(50)), "test")[0])


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
