r"""Initialisers: from which distribution the weights and biases of a layer are drawn.

A layer takes `init=` as a name or as an `Initialiser`. With fan-in I (inputs that one output sees), fan-out O,
gain g (for ReLU √2), and std of Gaussians, bound of uniform distributions:

| name               | weight                     | bias        | source                                          |
|--------------------|----------------------------|-------------|-------------------------------------------------|
| `pytorch`          | U(±1/√I)                   | U(±1/√I)    | LeCun et al. 1998 as torch.nn.Linear writes it  |
| `gaussian`         | N(0, 1)                    | N(0, 1)     | the report, section 1.1                         |
| `lecun_normal`     | N(0, 1/I)                  | 0           | LeCun et al. 1998, Efficient BackProp           |
| `lecun_uniform`    | U(±√(3/I))                 | 0           | the same                                        |
| `xavier_normal`    | N(0, 2/(I+O))              | 0           | Glorot and Bengio 2010                          |
| `xavier_uniform`   | U(±√(6/(I+O)))             | 0           | the same                                        |
| `kaiming_normal`   | N(0, g²/I)                 | 0           | He et al. 2015                                  |
| `kaiming_uniform`  | U(±g√(3/I))                | 0           | the same                                        |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from handgrad.checks import at_least, one_of
from handgrad.errors import ArgumentError


@dataclass(frozen=True)
class Distribution:
    """Base of the distributions that a `Parameter` is drawn from: one number says its width, or R, one a replica."""

    width: float | tuple[float, ...]

    def of(self, replica: int | None, replicas: int | None) -> Distribution:
        """Return the distribution of one of R replicas, or of a network without.

        Errors: ArgumentError if the width is R numbers for another number of replicas.
        """
        if not isinstance(self.width, tuple):
            return self
        if replica is None or len(self.width) != replicas:
            got = f"{len(self.width)} numbers for {'no' if replicas is None else replicas} replicas"
            raise ArgumentError("one width, or one for each replica", got, "Give one for each replica.", "nn.init")
        return replace(self, width=self.width[replica])

    @property
    def number(self) -> float:
        """The width, where it is one number."""
        assert not isinstance(self.width, tuple)
        return self.width

    def fill(self, value: Tensor, generator: torch.Generator | None) -> None:
        raise NotImplementedError

    def draw(
        self,
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a fresh tensor. With a CPU generator the numbers are the same on every device."""
        value = torch.empty(tuple(shape), dtype=dtype, device=device if generator is None else generator.device)
        self.fill(value, generator)
        return value

    def __str__(self) -> str:
        widths = self.width if isinstance(self.width, tuple) else (self.width,)
        return f"{type(self).__name__}({', '.join(f'{w:.4g}' for w in widths)})"


class Uniform(Distribution):
    """U(−b, b)."""

    def fill(self, value: Tensor, generator: torch.Generator | None) -> None:
        value.uniform_(-self.number, self.number, generator=generator)


class Normal(Distribution):
    """N(0, std²)."""

    def fill(self, value: Tensor, generator: torch.Generator | None) -> None:
        value.normal_(0.0, self.number, generator=generator)


class Constant(Distribution):
    """One number everywhere; nothing is drawn."""

    def fill(self, value: Tensor, generator: torch.Generator | None) -> None:
        value.fill_(self.number)


Rule = Callable[[int, int], Distribution]


@dataclass(frozen=True)
class Initialiser:
    """How a layer's weight and bias are drawn, given its fan-in and fan-out.

    Args:
        name: what `repr` shows.
        weight, bias: functions of fan-in and fan-out that return a distribution, such as `Normal(0.1)`.

    Example:
        >>> from handgrad import nn
        >>> nn.init.kaiming_normal().weight(50, 10)
        Normal(width=0.2)
        >>> nn.Linear(50, 10, init=nn.init.gaussian(std=0.1)).weight
        Parameter((50, 10), float32, Normal(0.1))
    """

    name: str
    weight: Rule
    bias: Rule

    def __repr__(self) -> str:
        return self.name


def _zero(fan_in: int, fan_out: int) -> Distribution:
    return Constant(0.0)


def gain(nonlinearity: str, slope: float = 0.01) -> float:
    """The factor g by which a nonlinearity shrinks the standard deviation, as torch.nn.init.calculate_gain.

    linear, sigmoid and convolutions: 1; tanh: 5/3; relu: √2; leaky_relu: √(2/(1+slope²)); selu: 3/4.

    Example:
        >>> from handgrad import nn
        >>> round(nn.init.gain("relu"), 4)
        1.4142
    """
    gains = {
        **dict.fromkeys(("linear", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0),
        "tanh": 5 / 3,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1 + slope**2)),
        "selu": 0.75,
    }
    return gains[one_of("nonlinearity", nonlinearity, gains, "nn.init.gain")]


def pytorch() -> Initialiser:
    """PyTorch's default for linear and convolution layers: weight and bias from U(−b, b) with b = 1/√I.

    It is kaiming_uniform with slope √5; written so, the bound rounds as in PyTorch and the same seed gives
    the same numbers, bit for bit.
    """

    def weight(fan_in: int, fan_out: int) -> Distribution:
        return Uniform(math.sqrt(3.0) * (gain("leaky_relu", math.sqrt(5)) / math.sqrt(fan_in)))

    return Initialiser("pytorch", weight, lambda fan_in, fan_out: Uniform(1 / math.sqrt(fan_in)))


def gaussian(
    std: float | Sequence[float] | Tensor = 1.0, bias_std: float | Sequence[float] | Tensor | None = None
) -> Initialiser:
    """Weight from N(0, std²) and bias from N(0, bias_std²), bias_std = std by default: the report's, whose std is 1.

    Each may be R numbers for a layer of R replicas.

    Errors: ArgumentError for a negative number.
    """
    bias_std = std if bias_std is None else bias_std
    widths = []
    for name, given in (("std", std), ("bias_std", bias_std)):
        plain = given.tolist() if isinstance(given, Tensor) else given
        width = tuple(plain) if isinstance(plain, Sequence) else plain
        for number in width if isinstance(width, tuple) else (width,):
            at_least(name, number, 0, "nn.init.gaussian")
        widths.append(Normal(width))
    weight, bias = widths
    name = "gaussian" if weight.width == bias.width == 1 else f"gaussian({weight}, {bias})"
    return Initialiser(name, lambda fan_in, fan_out: weight, lambda fan_in, fan_out: bias)


def lecun_normal() -> Initialiser:
    """Weight from N(0, 1/I), bias 0: keeps the variance of linear outputs."""
    return Initialiser("lecun_normal", lambda fan_in, fan_out: Normal(1 / math.sqrt(fan_in)), _zero)


def lecun_uniform() -> Initialiser:
    """Weight from U(−b, b) with b = √(3/I), bias 0: variance 1/I."""
    return Initialiser("lecun_uniform", lambda fan_in, fan_out: Uniform(math.sqrt(3 / fan_in)), _zero)


def xavier_normal(nonlinearity: str = "linear") -> Initialiser:
    """Weight from N(0, 2g²/(I+O)), bias 0."""
    g = gain(nonlinearity)
    return Initialiser("xavier_normal", lambda fan_in, fan_out: Normal(g * math.sqrt(2 / (fan_in + fan_out))), _zero)


def xavier_uniform(nonlinearity: str = "linear") -> Initialiser:
    """Weight from U(−b, b) with b = g√(6/(I+O)), bias 0."""
    g = gain(nonlinearity)
    return Initialiser("xavier_uniform", lambda fan_in, fan_out: Uniform(g * math.sqrt(6 / (fan_in + fan_out))), _zero)


def kaiming_normal(nonlinearity: str = "relu") -> Initialiser:
    """Weight from N(0, g²/I), bias 0: keeps the variance through ReLU, whose g is √2."""
    g = gain(nonlinearity)
    return Initialiser("kaiming_normal", lambda fan_in, fan_out: Normal(g / math.sqrt(fan_in)), _zero)


def kaiming_uniform(nonlinearity: str = "relu") -> Initialiser:
    """Weight from U(−b, b) with b = g√(3/I), bias 0."""
    g = gain(nonlinearity)
    return Initialiser("kaiming_uniform", lambda fan_in, fan_out: Uniform(g * math.sqrt(3 / fan_in)), _zero)


INITIALISERS: dict[str, Callable[[], Initialiser]] = {
    f.__name__: f
    for f in (
        pytorch,
        gaussian,
        lecun_normal,
        lecun_uniform,
        xavier_normal,
        xavier_uniform,
        kaiming_normal,
        kaiming_uniform,
    )
}


def named(init: str | Initialiser) -> Initialiser:
    """Return the initialiser of that name, or `init` itself if it is one already."""
    if isinstance(init, Initialiser):
        return init
    if not isinstance(init, str) or init not in INITIALISERS:
        expected = f"init to be one of {', '.join(INITIALISERS)}, or an nn.init.Initialiser"
        raise ArgumentError(expected, repr(init), "Choose one of these names.", "init")
    return INITIALISERS[init]()


if not TYPE_CHECKING:  # type checkers know what there is

    def __getattr__(name):
        """PyTorch's functions, such as `kaiming_normal_`, which change a tensor in place."""
        remedy = ""
        if name.endswith("_") and name[:-1] in INITIALISERS:
            remedy = f"Give the layer init={name[:-1]!r}, or call torch.nn.init.{name} with p.torch_value."
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. {remedy}".rstrip(), name=name)
