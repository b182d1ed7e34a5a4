"""Initial values: each rule's spread, bias and source of randomness."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.errors import ArgumentError
from handgrad.nn import init
from tests.cases import explains, generator

I, O = 400, 600  # noqa: E741  (the letters of the design)

# name: (kind, width of the weight, width of the bias): U(±width) or N(0, width²)
RULES: dict[str, tuple[str, float, float]] = {
    "pytorch": ("uniform", 1 / math.sqrt(I), 1 / math.sqrt(I)),
    "gaussian": ("normal", 1.0, 1.0),
    "lecun_normal": ("normal", 1 / math.sqrt(I), 0.0),
    "lecun_uniform": ("uniform", math.sqrt(3 / I), 0.0),
    "xavier_normal": ("normal", math.sqrt(2 / (I + O)), 0.0),
    "xavier_uniform": ("uniform", math.sqrt(6 / (I + O)), 0.0),
    "kaiming_normal": ("normal", math.sqrt(2 / I), 0.0),
    "kaiming_uniform": ("uniform", math.sqrt(6 / I), 0.0),
}


def fits(sample: Tensor, kind: str, width: float) -> None:
    """Assert mean, standard deviation and range of a sample, each within five standard errors."""
    n, std = sample.numel(), width if kind == "normal" else width / math.sqrt(3)
    kurtosis = 3.0 if kind == "normal" else 1.8
    assert abs(sample.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(sample.std().item() / std - 1) < 5 * math.sqrt((kurtosis - 1) / n) / 2
    if kind == "uniform":
        assert sample.abs().max().item() <= width * (1 + 1e-6)
        assert sample.abs().max().item() > width * (1 - 20 / n)
    else:
        assert sample.abs().max().item() > 3 * std


def test_every_name_has_a_rule_here() -> None:
    assert set(RULES) == set(init.INITIALISERS)


@pytest.mark.parametrize("name", RULES)
def test_weight_and_bias_are_spread_as_stated(name: str) -> None:
    kind, weight, bias = RULES[name]
    layer = nn.Linear(I, O, init=name, generator=generator(1), dtype=torch.float64)
    assert layer.bias is not None
    fits(layer.weight.value, kind, weight)
    if bias:
        wide = nn.Linear(4, 50_000, init=name, generator=generator(2)).bias
        assert wide is not None
        fits(wide.value, kind, 0.5 if name == "pytorch" else bias)
    else:
        assert not layer.bias.value.any()


@pytest.mark.parametrize("name", RULES)
def test_name_and_initialiser_are_the_same(name: str) -> None:
    by_name = nn.Linear(5, 4, init=name, generator=generator(1))
    by_object = nn.Linear(5, 4, init=getattr(init, name)(), generator=generator(1))
    assert torch.equal(by_name.weight.value, by_object.weight.value)


@pytest.mark.parametrize(
    ("make", "width"),
    [
        (lambda: init.gaussian(std=0.1), 0.1),
        (lambda: init.kaiming_normal("linear"), 1 / math.sqrt(I)),
        (lambda: init.kaiming_normal("tanh"), 5 / 3 / math.sqrt(I)),
        (lambda: init.xavier_normal("relu"), math.sqrt(4 / (I + O))),
    ],
)
def test_options_scale_the_weight(make: Any, width: float) -> None:
    fits(nn.Linear(I, O, init=make(), generator=generator(1)).weight.value, "normal", width)


@pytest.mark.parametrize("form", [list, torch.tensor])
def test_widths_of_replicas_taken_out_and_joined(form: Any) -> None:
    stds = [0.5, 1.0, 3.0]
    many = nn.Linear(3, 4, init=init.gaussian(form(stds), 0.25), replicas=3)
    singles = [many.replica(r) for r in range(3)]
    again = nn.stack(singles)
    many.reset([generator(seed) for seed in range(3)])
    again.reset([generator(seed) for seed in range(3)])
    for r, single in enumerate(singles):
        alone = nn.Linear(3, 4, init=init.gaussian(stds[r], 0.25), generator=generator(r))
        single.reset(generator(r))
        for name, value in alone.state_dict().items():
            assert torch.equal(single.state_dict()[name], value)
            assert torch.equal(many.state_dict()[name][r], value)
            assert torch.equal(again.state_dict()[name][r], value)


def test_gaussian_bias_has_a_std_of_its_own() -> None:
    layer = nn.Linear(2, 50_000, init=init.gaussian(std=0.5, bias_std=0.1), generator=generator(1))
    assert layer.bias is not None
    fits(layer.bias.value, "normal", 0.1)
    flat = nn.Linear(2, 3, init=init.gaussian(std=0.5, bias_std=0.0)).bias
    assert flat is not None
    assert not flat.value.any()


@pytest.mark.parametrize("sizes", [(1, 1), (2, 25), (25, 2), (7, 13), (784, 10)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pytorch_is_torch_nn_bit_for_bit(sizes: tuple[int, int], dtype: torch.dtype) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        theirs = torch.nn.Linear(*sizes, dtype=dtype)
        ours = nn.Linear(*sizes, dtype=dtype, generator=generator(seed))
        assert ours.bias is not None
        assert torch.equal(ours.weight.torch_value, theirs.weight)
        assert torch.equal(ours.bias.value, theirs.bias)


@pytest.mark.parametrize(
    "nonlinearity", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "conv1d", "conv2d"]
)
def test_gain_is_torchs(nonlinearity: Any) -> None:
    assert init.gain(nonlinearity) == torch.nn.init.calculate_gain(nonlinearity)


def test_gain_of_a_slope_is_torchs() -> None:
    assert init.gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_numbers_come_from_the_generators_device(device: str) -> None:
    """A CPU generator draws on the CPU whatever the parameter's device, so a seed gives the same network everywhere."""
    drawn = init.Normal(1.0).draw((3, 2), torch.float32, torch.device(device), generator(1))
    assert drawn.device.type == "cpu"
    assert torch.equal(drawn, torch.empty(3, 2).normal_(generator=generator(1)))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nn.Linear(3, 2, init="he_normal"), r"kaiming_normal.*got 'he_normal'"),
        (lambda: nn.Linear(3, 2, init=None), r"got None"),  # type: ignore[arg-type]
        (lambda: nn.Linear(3, 2, init=init.kaiming_normal), r"got <function"),  # type: ignore[arg-type]
        (lambda: init.gaussian(std=-1.0), r"std of at least 0, got -1"),
        (lambda: init.gaussian(bias_std=-1.0), r"bias_std of at least 0"),
        (lambda: init.gaussian(std=float("nan")), r"std of at least 0, got nan"),
        (lambda: init.kaiming_normal("rely"), r"'relu'.*got 'rely'"),
        (lambda: init.gain("rely"), r"nonlinearity to be one of"),
    ],
)
def test_error(call: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match) as raised:
        call()
    assert explains(raised.value)


def test_a_width_for_each_replica():
    layer = nn.Linear(200, 200, init=nn.init.gaussian([0.5, 2.0], 0.0), replicas=2)
    stds = layer.weight.value.std((1, 2))
    assert abs(stds[0] / 0.5 - 1) < 0.02
    assert abs(stds[1] / 2.0 - 1) < 0.02
    assert layer.bias is not None
    assert not layer.bias.value.any()
    for replicas in (None, 3):
        with pytest.raises(ArgumentError, match="one for each replica"):
            nn.Linear(2, 2, init=nn.init.gaussian([0.5, 2.0]), replicas=replicas)
