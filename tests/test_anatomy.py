"""summary and Watch: what they find is what torch.nn has, replica by replica, and looking changes nothing."""

import copy
import math
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from handgrad import fit, nn, optim, summary
from handgrad.data import Batches
from handgrad.errors import ArgumentError, ShapeError
from handgrad.history_plots import plot_history, plot_layers
from handgrad.training import EarlyStopping, History, TensorBoard, Trainer, Watch, train_replicas
from handgrad.training.listening import listening
from handgrad.training.watching import WHAT
from tests.cases import CASES, each

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
T = X.square().sum(1, keepdim=True)


def mlp() -> Any:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def test_measures_are_those_of_torch_nn():
    residual = nn.Residual(one := nn.Conv2d(4, 4, 1))
    parts = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), residual, nn.Flatten(), nn.Linear(36, 3))
    model = nn.Sequential(*parts).double()
    x, t = torch.randn(6, 2, 5, 5, dtype=torch.float64), torch.randint(3, (6,))
    found = {layer.name: layer for layer in summary(model, x, t, nn.CrossEntropyLoss()).layers}

    twin: Any = nn.Sequential(*model[:3], *model[4:]).to_torch()
    outs: dict[str, Any] = {}
    block: Any = one.to_torch()
    y = x
    for name, part in zip(["0", "1", "2", "4", "5"], twin):
        if name == "4":
            outs["3.0"] = block(y)
            outs["3"] = y = outs["3.0"] + y
        outs[name] = y = part(y)
    for y in outs.values():
        y.retain_grad()
    loss = torch.nn.functional.cross_entropy(outs["5"], t)
    loss.backward()

    assert found.keys() == outs.keys()
    owners = {"0": twin[0], "2": twin[2], "3.0": block, "5": twin[4]}
    for name, y in outs.items():
        flat = y.detach().flatten(1)
        expected = {
            "mean": y.mean(),
            "std": y.std(correction=0),
            "zeros": (y == 0).double().mean(),
            "dead": (flat == flat[0]).all(0).double().mean(),
            "gradient": y.grad.square().mean().sqrt(),
            "norm": math.nan,
            "gradient_norm": math.nan,
        }
        if name in owners:
            own = list(owners[name].parameters())
            expected["norm"] = torch.cat([p.flatten() for p in own]).norm()
            expected["gradient_norm"] = torch.cat([p.grad.flatten() for p in own]).norm()
        wanted = {n: torch.as_tensor(v, dtype=torch.float64).detach().reshape(1) for n, v in expected.items()}
        torch.testing.assert_close(found[name].measures, wanted, equal_nan=True)
        assert found[name].shape == y.shape


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x, z):
        return self.keep(self.a(x) * self.b(z), self.a.kept, self.b.kept)

    def backward(self, dy):
        self.take(dy)
        return self.a.backward(dy), self.b.backward(dy)


MODULES = [case for case in CASES if not case.loss]
NETWORKS: dict[str, Any] = {
    "mlp": (mlp, X, T),
    "lstm": (lambda: nn.Sequential(nn.First(nn.LSTM(3, 4)), nn.Linear(4, 1)), X.view(4, 6, 3), T.view(4, 6, 1)),
    "transformer": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Linear(4, 1)),
        torch.randn(4, 6, 4),
        torch.randn(4, 6, 1),
    ),
    "frozen": (lambda: nn.Sequential(nn.Linear(3, 8).freeze(), nn.ReLU(), nn.Linear(8, 1)), X, T),
    "pair": (Pair, (X, X + 1), torch.randn(24, 4)),
}


@pytest.mark.parametrize(("build", "x", "t"), NETWORKS.values(), ids=NETWORKS)
def test_a_replica_has_the_measures_that_it_has_alone(build, x, t):
    model = nn.replicate(build(), seeds=[3, 5, 8])
    both = summary(model, x, t, nn.MSELoss(replicas=3))
    for r in range(3):
        alone = summary(model.replica(r), x, t, nn.MSELoss())
        assert [layer.name for layer in alone.layers] == [layer.name for layer in both.layers]
        assert both.size == alone.size == sum(layer.size for layer in both.layers)
        torch.testing.assert_close(both.loss[r], alone.loss[0], rtol=1e-5, atol=0)  # of float32
        for one, of_three in zip(alone.layers, both.layers):
            found = {name: values[r : r + 1] for name, values in of_three.measures.items()}
            torch.testing.assert_close(found, one.measures, equal_nan=True, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", MODULES, ids=[case.name for case in MODULES])
def test_every_member_is_seen_as_it_is_alone(case):
    for shape in case.batched():
        model, x = nn.replicate(case.ours(), seeds=[3, 5]), case.inputs(shape, lead=(2,))
        both = summary(model, tuple(x))
        for r in range(2):
            alone = summary(model.replica(r), tuple(each(itemgetter(r), x)))
            assert [layer.name for layer in both.layers] == [layer.name for layer in alone.layers]
            for one, of_two in zip(alone.layers, both.layers):
                found = {name: values[r : r + 1] for name, values in of_two.measures.items()}
                torch.testing.assert_close(found, one.measures, equal_nan=True, rtol=1e-3, atol=1e-5)


def test_a_part_that_replicas_share_counts_for_each():
    body = nn.Linear(3, 5).freeze()
    model = nn.Sequential(body, nn.Linear(5, 1, replicas=5))
    first, second = summary(model, X, T, nn.MSELoss(replicas=5)).layers
    assert (first.size, second.size) == (20, 6)
    assert first.measures["norm"].shape == (5,)
    norm = torch.cat([p.value.flatten() for p in body.parameters()]).norm().double()
    torch.testing.assert_close(first.measures["norm"], norm.expand(5))


def test_every_parameter_is_of_one_layer():
    model: Any = nn.Sequential(
        nn.Embedding(9, 4), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, 9)
    )
    model[2].weight = model[0].weight
    found = summary(model, torch.randint(9, (2, 5)))
    names = [name for layer in found.layers for name in layer.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert "1.self_attn.in_proj_weight" in next(v for v in found.layers if v.name == "1.self_attn").parameters


def test_units_that_let_nothing_through_are_dead():
    model: Any = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model[0].bias.value[:] = torch.tensor([-100.0, 0.0, 100.0, -100.0])
    measures = summary(model, X).layers[1].measures
    assert float(measures["dead"]) == 0.5
    assert 0.5 < float(measures["zeros"]) < 0.75
    assert math.isnan(float(summary(model, X[:1]).layers[1].measures["dead"]))


def test_looking_changes_nothing():
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 1))
    criterion = nn.MSELoss()
    criterion(model(X), T)
    other, one = copy.deepcopy((model, criterion))
    before = torch.get_rng_state()
    summary(model, X, T, criterion)
    assert torch.equal(torch.get_rng_state(), before)
    for network, loss in ((model, criterion), (other, one)):
        network.backward(loss.backward())
    torch.testing.assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(
        [p.grad for p in model.parameters()], [p.grad for p in other.parameters()], rtol=0, atol=0
    )
    assert all("forward" not in vars(part) for part in model.modules())


def test_what_an_object_has_of_its_own_runs_and_stays():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    vars(model[1])["forward"] = own = lambda x: x + 1
    heard: list[str] = []
    note = lambda name, *_: heard.append(name)  # noqa: E731
    with listening(model, note):
        assert torch.equal(model(X), model[0](X) + 1)
    with pytest.raises(ShapeError), listening(model, note):
        model(X[:, :2])
    assert heard[:2] == ["0", "1"]
    assert vars(model[1])["forward"] is own
    assert "forward" not in vars(model[0])


@pytest.mark.parametrize("R", [None, 3])
def test_a_gradient_that_vanishes_is_not_0(R):
    """Its square is, in float32."""
    parts = [part for _ in range(40) for part in (nn.Linear(3, 3), nn.Sigmoid())]
    model = nn.Sequential(*parts, nn.Linear(3, 1))
    model = model if R is None else nn.replicate(model, range(R))
    first = summary(model, X, T, nn.MSELoss(replicas=R)).layers[0].measures
    wide = summary(model.double(), X.double(), T.double(), nn.MSELoss(replicas=R)).layers[0].measures
    assert bool((wide["gradient"] < 1e-25).all())
    torch.testing.assert_close(first["gradient"], wide["gradient"], rtol=1e-3, atol=0)


class Added(nn.Module):
    """Adds in place to what a part has returned, and hands a part's backward an option."""

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x, *, scale):
            return self.keep(scale * self.linear(x))

        def backward(self, grad, *, scale):
            self.take(grad)
            return self.linear.backward(scale * grad)

    def __init__(self):
        super().__init__()
        self.a, self.b = Added.Part(), nn.Linear(3, 3)

    def forward(self, x):
        y = self.a(x, scale=2)
        y += self.b(x)
        return self.keep(y)

    def backward(self, dy):
        self.take(dy)
        return self.a.backward(grad=dy, scale=2) + self.b.backward(dy)


def test_a_part_is_seen_as_it_was_and_takes_its_options():
    model = Added()
    found = {layer.name: layer.measures for layer in summary(model, X, X, nn.MSELoss()).layers}
    torch.testing.assert_close(found["a"]["mean"], 2 * model.a.linear(X).mean().double().view(1))
    torch.testing.assert_close(found["(model)"]["mean"], model(X).mean().double().view(1))
    torch.testing.assert_close(found["a"]["gradient"], found["b"]["gradient"])


def test_a_transformers_dropouts_have_gradients():
    model = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)
    layers = summary(model, torch.randn(4, 6, 4), torch.randn(4, 6, 4), nn.MSELoss()).layers
    assert all(float(layer.measures["gradient"]) > 0 for layer in layers)
    assert {"dropout", "dropout1", "dropout2"} <= {layer.name for layer in layers}


class Second(nn.Module):
    """Two outputs, of which the second is used."""

    def __init__(self):
        super().__init__()
        self.heads = nn.Parallel(nn.Linear(3, 2), nn.Linear(3, 1))

    def forward(self, x):
        return self.heads(x)[1]

    def backward(self, dy):
        return self.heads.backward((None, dy))


def test_the_gradient_is_that_of_the_output_that_is_seen():
    layers = {layer.name: layer.measures for layer in summary(Second(), X, T, nn.MSELoss()).layers}
    assert float(layers["heads"]["gradient"]) == 0
    assert float(layers["heads.1"]["gradient"]) > 0
    assert math.isnan(layers["heads.0"]["gradient"])


class Twice(nn.Module):
    """Runs a part on two inputs."""

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(3, 1)

    def forward(self, x, z):
        u, kept = self.part(x), self.part.kept
        return self.keep(u + 3 * self.part(z), kept)

    def backward(self, dy):
        (kept,) = self.take(dy)
        dz = self.part.backward(3 * dy)
        self.part.kept = kept
        return self.part.backward(dy), dz


def test_a_part_that_runs_twice_is_seen_as_it_did_last():
    model = Twice()
    part, whole = summary(model, (X, X + 1), T, nn.MSELoss()).layers
    torch.testing.assert_close(part.measures["mean"], model.part(X + 1).mean().double().view(1))
    torch.testing.assert_close(part.measures["gradient"], 3 * whole.measures["gradient"])


def test_what_replicas_share_is_seen_by_sample():
    """A batch that all share goes through Flatten once, with a leading 1."""
    x = torch.stack([X, X], 1)
    x[:, 0, 0] = 1.0
    data = DataLoader(TensorDataset(x, T), batch_size=24)
    _, history = trained([Watch()], build=lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 1)), data=data)
    torch.testing.assert_close(history.metrics["dead/0"], torch.full((3, 4), 1 / 6, dtype=torch.float64))


def test_a_mean_of_no_number_is_not_told_as_0():
    model: Any = nn.Sequential(nn.Linear(3, 1))
    model[0].weight.value.fill_(math.nan)
    assert "mean" not in str(summary(model, X))


def test_a_call_with_other_inputs_is_refused_by_name():
    with pytest.raises(ArgumentError, match="a model that takes 2 inputs"):
        summary(mlp(), (X, X))


def test_a_summary_without_a_loss_tells_of_no_gradients():
    text = str(summary(mlp(), X))
    assert "gradient" not in text
    assert "loss" not in text
    assert "‖" in str(summary(mlp(), X, T, nn.MSELoss()))


@pytest.mark.parametrize("arguments", [(T,), (None, nn.MSELoss())])
def test_targets_and_loss_go_together(arguments):
    with pytest.raises(ArgumentError, match="targets and a loss"):
        summary(mlp(), X, *arguments)


def test_replicas_that_are_left_out_are_counted():
    model = nn.replicate(mlp(), range(4))
    assert "left out" not in str(summary(model, X))
    model[3].bias.value[2] = math.inf
    assert str(summary(model, X)).endswith("each of 4 replicas; 1 left out, whose numbers are not finite")
    _, history = trained([Watch()], lr=[0.05, 1e30, 0.05])
    assert "1 diverged" in plot_layers(history).get_supxlabel()


def test_a_summary_is_a_data_frame():
    frame = summary(nn.replicate(mlp(), range(2)), X, T, nn.MSELoss(replicas=2)).to_pandas()
    assert frame.index.names == ["layer", "replica"]
    assert len(frame) == 12
    assert frame.loc[("5", 1), "norm"] > 0


# Watch


def trained(callbacks=(), R=3, data=(X, T), build=mlp, lr=0.05, **options):
    model = nn.replicate(build(), range(R))
    sgd = optim.SGD(model.parameters(), lr=lr)
    given = {"epochs": 4, "metrics": [], "batch_size": 8, "callbacks": callbacks} | options
    return model, fit(model, nn.MSELoss(replicas=R), sgd, data, **given)


def equal(a, b):
    torch.testing.assert_close(dict(a.state_dict()), dict(b.state_dict()), rtol=0, atol=0)


def loader(own=False, sampled=False):
    """A loader whose order is of torch's default generator, of one of its own, or of its sampler's."""
    data, source = TensorDataset(X, T), torch.Generator().manual_seed(3)
    if sampled:
        return DataLoader(data, batch_size=8, sampler=RandomSampler(data, generator=source))
    return DataLoader(data, batch_size=8, shuffle=True, generator=source if own else None)


DATA = {
    "tensors": lambda: (X, T),
    "loader": loader,
    "loader with a generator": lambda: loader(own=True),
    "loader with a sampler": lambda: loader(sampled=True),
    "weights": lambda: (X, T, torch.linspace(0, 1, 24)),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_training_goes_on_as_if_nobody_looked(data):
    build = lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.BatchNorm1d(8), nn.Linear(8, 1))  # noqa: E731
    model, history = trained(build=build, data=data())
    watched, seen = trained([Watch(measures=tuple(WHAT))], build=build, data=data())
    equal(model, watched)
    assert torch.equal(history.loss, seen.loss)
    assert {name.split("/")[0] for name in seen.metrics} == set(WHAT)


def test_the_last_look_is_a_summary_of_the_trained_network():
    model, history = trained([Watch((X, T), measures=tuple(WHAT))])
    layers = summary(model, X, T, nn.MSELoss(replicas=3)).layers
    for layer in layers:
        for name, values in layer.measures.items():
            torch.testing.assert_close(history.metrics[f"{name}/{layer.name}"][:, -1], values, equal_nan=True)
    assert [name for name in history.metrics if name.startswith("update")] == [
        "update/0",
        "update/2",
        "update/3",
        "update/5",
    ]


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"accumulate": 5}], ids=["step", "accumulated", "short"])
def test_an_update_is_the_first_step_of_an_epoch(options):
    """With one step an epoch it is the rate times the gradient that the look before has seen."""
    size = {} if options else {"batch_size": 24}
    build = lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))  # noqa: E731
    watch = Watch((X, T), measures=["norm", "gradient_norm", "update"])
    _, history = trained([watch], lr=[0.01, 0.1, 0.2], build=build, **size, **options)
    lr = torch.tensor([0.01, 0.1, 0.2], dtype=torch.float64).unsqueeze(1)
    for layer in ("0", "2"):
        norm, gradient, update = (history.metrics[f"{name}/{layer}"] for name in ("norm", "gradient_norm", "update"))
        torch.testing.assert_close(update[:, 1:], (lr * gradient / norm)[:, :-1], rtol=1e-3, atol=0)
        assert bool((update[:, 0] > 0).all())


def test_a_replica_is_seen_as_it_is_alone():
    _, three = trained([Watch((X, T))], epochs=2)
    _, one = trained([Watch((X, T))], epochs=2, R=1)
    for name, values in three.metrics.items():
        torch.testing.assert_close(values[:1], one.metrics[name], rtol=1e-3, atol=1e-6)


def test_a_single_network_is_watched_too():
    model = mlp()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, nn.MSELoss(), sgd, (X, T), epochs=2, metrics=[], callbacks=[Watch()])
    assert history.metrics["update/0"].shape == (1, 2)
    assert bool(history.metrics["update/0"].isfinite().all())


def test_a_resumed_run_has_seen_what_an_uninterrupted_one_has(tmp_path):
    _, whole = trained([Watch()])
    trained([Watch()], epochs=2, checkpoint=tmp_path)
    _, history = trained([Watch()], checkpoint=tmp_path)
    assert history.metrics.keys() == whole.metrics.keys()
    for name, values in history.metrics.items():
        assert torch.equal(values, whole.metrics[name]), name


def test_groups_on_workers_are_watched():
    def build(seeds):
        return nn.replicate(mlp(), seeds)

    def trainer(model, seeds):
        R = len(seeds)
        parts = (model, nn.MSELoss(replicas=R), optim.SGD(model.parameters(), lr=0.05))
        return Trainer(*parts, Batches(X, T, 8, seeds), epochs=2, callbacks=[Watch((X, T))])

    _, history = train_replicas(build, trainer, range(5), size=2, workers_=2)
    assert history.metrics["std/0"].shape == (5, 2)
    _, alone = trained([Watch((X, T))], R=5, epochs=2)
    torch.testing.assert_close(history.metrics["update/3"], alone.metrics["update/3"], rtol=1e-3, atol=1e-6)


def test_what_has_diverged_or_stopped_is_not_seen():
    _, history = trained([Watch()], lr=[0.05, 1e30, 0.05])
    assert history.diverged[1] is not None
    assert bool(history.metrics["std/0"][1].isnan().all())
    stopping = EarlyStopping("loss", patience=1, mode="max")
    _, history = trained([Watch()], epochs=9, early_stopping=stopping)
    assert torch.equal(history.metrics["gradient/0"].isnan(), history.loss.isnan())


def test_every_so_many_epochs():
    _, history = trained([Watch(every=2)])
    assert history.metrics["std/0"].isnan().any(0).tolist() == [True, False, True, False]


def test_models_of_several_inputs_are_watched():
    data = ((X, X + 1), torch.randn(24, 4))
    _, history = trained([Watch()], build=Pair, data=data)
    assert {"update/a", "update/b", "std/(model)"} <= history.metrics.keys()


def test_what_cannot_be_watched_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="a measure"):
        Watch(measures=["spread"])
    with pytest.raises(ArgumentError, match="batches that come again each epoch"):
        trained([Watch()], data=iter([(X, T)]), epochs=1)
    with pytest.raises(ArgumentError, match="watches of different measures, got two of dead"):
        trained([Watch(measures=["std", "dead"]), Watch((X, T), measures=["dead"])])
    with pytest.raises(ArgumentError, match="a watch before TensorBoard"):
        trained([TensorBoard(tmp_path), Watch()])
    with pytest.raises(ArgumentError, match="data to watch with"):
        trained([Watch(DataLoader(TensorDataset(X, T)))])


# plot_layers


def test_a_line_is_the_median_over_the_replicas():
    model, history = trained([Watch()])
    figure = plot_layers(history, model)
    assert len(figure.axes) == 4
    median = 100 * history.metrics["dead/1"].median(0).values
    line: Any = figure.axes[1].lines[1]
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    torch.testing.assert_close(torch.as_tensor(line.get_ydata()), median)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["0 Linear 3→8", "1 ReLU"]


def test_of_many_layers_a_legend_names_some():
    parts = [part for _ in range(20) for part in (nn.Linear(3, 3), nn.Tanh())]
    _, history = trained([Watch(measures=["std"])], build=partial(nn.Sequential, *parts, nn.Linear(3, 1)), epochs=1)
    figure = plot_layers(history)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (len(names), names[0], names[-1]) == (14, "0", "40")
    assert len(figure.axes) == 1


def test_means_below_0_are_drawn():
    def build():
        model: Any = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1))
        for part, bias in zip(model, (1.0, 100.0, -5.0)):
            part.bias.value.fill_(bias)
            part.weight.value.mul_(1e-3)
        return model

    model = build()
    sgd = optim.SGD(model.parameters(), lr=1e-9)
    history = fit(model, nn.MSELoss(), sgd, (X, T), epochs=1, metrics=[], callbacks=[Watch(measures=["mean"])])
    (ax,) = plot_layers(history).axes
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[0] < -5
    assert all(tick == round(tick) for tick in ax.get_xticks())  # epochs


@pytest.mark.parametrize("measures", [None, ["std"]])
def test_a_run_that_nobody_watched_has_no_layers_to_draw(measures):
    with pytest.raises(ArgumentError, match="Watch"):
        plot_layers(trained()[1], measures=measures)


# plot_history


def test_learning_curves_of_training_and_validation_stand_in_one_panel():
    model = nn.replicate(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), range(4))
    adam = optim.Adam(model.parameters(), lr=0.05)
    options: Any = {"epochs": 30, "validation": 0.25, "metrics": ["r2"], "early_stopping": 3, "callbacks": [Watch()]}
    history = fit(model, nn.MSELoss(replicas=4), adam, (X, T), **options)
    history.metrics["test_r2"] = history.metrics["validation_r2"] - 1
    history.diverged[2] = {"epoch": 1}
    history.loss[2, 1:] = torch.nan
    figure = plot_history(history)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "r2"]
    assert [len(ax.lines) for ax in figure.axes] == [2, 2]
    training: Any = figure.axes[0].lines[0]
    rows = [row[row.isfinite()].numpy() for row in history.loss.mT if row.isfinite().any()]
    assert training.get_xdata().tolist() == list(range(1, len(rows) + 1))
    np.testing.assert_allclose(training.get_ydata(), [np.median(row) for row in rows])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation", "test"]
    best = [epoch + 1 for epoch in history.best if epoch is not None]
    said = " ".join(figure.get_supxlabel().split())
    assert said.startswith("Median and middle half of 4 replicas, after each epoch. Best weights after ")
    assert f"after {min(best)} to {max(best)} epochs. 1 diverged" in said
    assert len(plot_history(history, ["loss"]).axes) == 1


@pytest.mark.parametrize(("least", "scale"), [(1.0, "linear"), (0.01, "log"), (-0.01, "linear")])
def test_learning_curves_over_more_than_a_factor_of_20_are_logarithmic(least, scale):
    history = History(torch.linspace(3, least, 4).expand(2, 4), {}, [None, None], epochs=4)
    assert plot_history(history).axes[0].get_yscale() == scale


@pytest.mark.parametrize("measures", [["validation_loss"], ["accuracy"], []])
def test_what_a_history_has_not_is_not_drawn(measures):
    history = History.empty(2, 3, ("validation_loss",))
    history.epochs = 3
    with pytest.raises(ArgumentError, match="measures among loss, got"):
        plot_history(history, measures)
    with pytest.raises(ArgumentError, match="a history of no epoch"):
        plot_history(History.empty(2, 3, ()))
