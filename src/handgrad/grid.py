"""Every combination of hyper-parameters, times the seeds: the R replicas of a sweep."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set, Sized
from dataclasses import dataclass
from itertools import product
from typing import Any

from handgrad.checks import own
from handgrad.errors import ArgumentError

RESERVED = frozenset(
    ("seed", "diverged", "finished", "unfinished", "mean", "std", "low", "high", "median", "n", "metric")
)
"""Names that columns of results have."""

MOST = 10_000_000
"""Replicas of a grid: as many take several GiB for their hyper-parameters alone."""


@dataclass(frozen=True)
class Grid:
    """C configurations × S seeds: R = C · S replicas, config-major, so replica c · S + s is configuration c, seed s.

    Attributes:
        configs: a dict of hyper-parameters for each configuration, in row-major order: the last name varies fastest.
        seeds: the seeds that every configuration is trained from; sharing them is what pairs configurations.

    Example:
        >>> g = grid(seeds=2, lr=[0.1, 0.01])
        >>> len(g), g.names, g.column("lr"), g.column("seed")
        (4, ('lr',), [0.1, 0.1, 0.01, 0.01], [0, 1, 0, 1])
    """

    configs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        """R, the number of replicas."""
        return len(self.configs) * len(self.seeds)

    @property
    def names(self) -> tuple[str, ...]:
        """The hyper-parameters' names, in their order."""
        return tuple(self.configs[0])

    @property
    def replicas(self) -> list[tuple[dict[str, Any], int]]:
        """(configuration, seed) of each of the R replicas."""
        return [(dict(config), seed) for config in self.configs for seed in self.seeds]

    def column(self, name: str) -> list[Any]:
        """Return the R values of one hyper-parameter, or of "seed", such as the learning rates of an optimiser.

        Errors: ArgumentError for another name.
        """
        if name == "seed":
            return [seed for _, seed in self.replicas]
        self._check(name)
        return [config[name] for config, _ in self.replicas]

    def values(self, name: str) -> list[Any]:
        """Return the values of one hyper-parameter, each once, as they were given.

        Errors: ArgumentError for a name that is not in the grid.
        """
        self._check(name)
        found: list[Any] = []
        for config in self.configs:
            if not any(same(config[name], value) for value in found):
                found.append(config[name])
        return found

    def matching(self, /, **config: Any) -> list[int]:
        """Return the indices of the configurations that have these values; those of all without any.

        Errors: ArgumentError for a name or a value that is not in the grid.
        """
        for name, value in config.items():
            values = self.values(name)
            if not any(same(frozen(value), v) for v in values):
                listed = ", ".join(map(repr, values))
                raise ArgumentError(f"{name} to be one of {listed}", repr(value), "Choose one of these.", "grid")
        wanted = {name: frozen(value) for name, value in config.items()}
        return [i for i, c in enumerate(self.configs) if all(same(c[name], value) for name, value in wanted.items())]

    def _check(self, name: str) -> None:
        if name not in self.names:
            listed = ", ".join(self.names) or "none"
            raise ArgumentError(f"a hyper-parameter of the grid ({listed})", repr(name), "Choose one of these.", "grid")


def grid(*, seeds: int | Iterable[int] = 20, **hyper: Iterable[Any]) -> Grid:
    """Return every combination of the values, times the seeds.

    Args:
        seeds: the seeds themselves, or how many: 20 is 0, 1, …, 19. Every configuration has the same.
        hyper: a list of values for each hyper-parameter. Lists among the values become tuples.

    Errors: ArgumentError for no values, for a string or number where a list belongs, for what stands in one list
    twice, and for more than ten million replicas.

    Example:
        >>> g = grid(seeds=[7, 8], init=["pytorch", "kaiming_normal"], lr=[0.1, 0.01])
        >>> len(g), len(g.configs)
        (8, 4)
        >>> g.replicas[3]
        ({'init': 'pytorch', 'lr': 0.01}, 8)
    """
    for name in hyper:
        if name in RESERVED:
            remedy = "Pass the seeds as seeds=[…]." if name == "seed" else "Choose another name."
            raise ArgumentError("names that results do not use for themselves", repr(name), remedy, "grid")
    lists = [list(_values(name, values)) for name, values in hyper.items()]
    configs = math.prod(map(len, lists))
    if (count := _count(seeds)) * configs > MOST:  # before the tuples are made
        got = f"{configs:,} configurations × {count:,} seeds"
        raise ArgumentError(f"at most {MOST:,} replicas", got, "Take fewer values or seeds.", "grid")
    return Grid(tuple(dict(zip(hyper, values)) for values in product(*lists)), _seeds(seeds))


def frozen(value: Any) -> Any:
    """Return `value` with tuples in place of lists, and Python's own numbers in place of NumPy's and tensors of one."""
    return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else own(value)


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same hyper-parameter: 1 and 1.0 are, and NaN and NaN, 1 and True are not."""
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b or (a != a and b != b))


def _values(name: str, values: Any) -> Iterator[Any]:
    if hasattr(values, "tolist"):  # arrays and tensors give Python's own numbers
        values = values.tolist()
    if isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable):
        got = f"{name}={values!r}"
        remedy = f"Pass a list: {name}=[{values!r}]." if not isinstance(values, (Mapping, Set)) else "Pass a list."
        raise ArgumentError(f"a list of values for {name}", got, remedy, "grid")
    seen: list[Any] = []
    for value in map(frozen, values):
        try:
            same(value, value)  # also the only one, for results compare it
            twice = any(same(value, other) for other in seen)
        except (RuntimeError, ValueError):  # of arrays and tensors == is not true or false
            remedy = "Pass tuples, or names from which your function makes them."
            raise ArgumentError(
                f"values for {name} that can be told apart", "an array or tensor", remedy, "grid"
            ) from None
        if twice:
            remedy = "Leave one of the two out; more replicas of a configuration take more seeds."
            raise ArgumentError(f"different values for {name}", f"{value!r} twice", remedy, "grid")
        seen.append(value)
        yield value
    if not seen:
        raise ArgumentError(f"at least one value for {name}", "an empty list", f"Leave {name} out, or fill it.", "grid")


def _count(seeds: Any) -> int:
    """How many seeds there will be, as far as it can be told without a list of them."""
    if getattr(seeds, "ndim", None) == 0:
        seeds = seeds.item()
    if isinstance(seeds, Iterable):
        return len(seeds) if isinstance(seeds, Sized) else 1
    return _integer(seeds)


def _seeds(seeds: Any) -> tuple[int, ...]:
    if hasattr(seeds, "tolist"):
        seeds = seeds.tolist()
    if isinstance(seeds, Iterable) and not isinstance(seeds, (str, bytes)):
        found = tuple(map(_integer, seeds))
        if not found:
            raise ArgumentError("at least one seed", "none", "Pass seeds=20, say, or a list of seeds.", "grid")
        twice = [seed for seed, count in Counter(found).items() if count > 1]
        if twice:
            remedy = "Pass each once: the same seed gives the same network again, not another sample."
            raise ArgumentError("different seeds", f"{', '.join(map(str, twice))} more than once", remedy, "grid")
        return found
    count = _integer(seeds)
    if count < 1:
        raise ArgumentError("at least one seed", f"seeds={count}", "Pass seeds=20, say, or a list of seeds.", "grid")
    return tuple(range(count))


def _integer(value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        remedy = "Pass a number of seeds, such as seeds=20, or a list of integers."
        raise ArgumentError("seeds to be integers", repr(value), remedy, "grid") from None
