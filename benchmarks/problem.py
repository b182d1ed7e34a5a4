"""The report's 20 rounds as a problem that every peer is given alike: data, orders, initial weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from handgrad.experiments import disk, torch_peer
from handgrad.experiments.disk import Options
from handgrad.seeds import generator

State = dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """R rounds: 1,000 points each, E epochs in an order of each round's own, from the same initial weights."""

    options: Options = dataclasses.field(default_factory=Options)
    batchnorm: bool = True

    @cached_property
    def data(self) -> disk.Data:
        """Points x and targets t, (R, N, 2) each."""
        return disk.data(self.options)

    @cached_property
    def orders(self) -> Tensor:
        """Which sample comes when, (E, R, N), from the streams that handgrad itself draws its orders from."""
        seeds, count = self.options.seeds, self.data.x.shape[1]
        epochs = range(self.options.epochs)
        return torch.stack(
            [torch.stack([torch.randperm(count, generator=generator(s, "order", e)) for s in seeds]) for e in epochs]
        )

    @cached_property
    def state(self) -> State:
        """The initial weights under torch.nn's names, each with a leading R."""
        return torch_peer.stacked_state([self.network(seed) for seed in self.options.seeds])

    @property
    def batches(self) -> list[slice]:
        """The batches of an epoch, all full."""
        size, count = self.options.batch_size, disk.POINTS
        assert count % size == 0
        return [slice(i, i + size) for i in range(0, count, size)]

    def network(self, seed: int) -> torch.nn.Sequential:
        """The torch.nn network of one round."""
        return torch_peer.network(self.options, seed, self.batchnorm)

    def fresh(self) -> Problem:
        """The same with nothing drawn yet, small enough to be sent to another process."""
        return dataclasses.replace(self)

    def share(self, index: int, count: int) -> Problem:
        """The rounds of one of `count` processes, with nothing drawn yet."""
        rounds = self.options.rounds // count
        assert rounds * count == self.options.rounds
        options = dataclasses.replace(self.options, rounds=rounds, seed=self.options.seed + index * rounds)
        return dataclasses.replace(self, options=options)
