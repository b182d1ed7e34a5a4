"""The report's network: one training step, and its 20 rounds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.timing import Contestant
from handgrad import nn, optim
from handgrad.experiments import disk, torch_peer
from handgrad.experiments.disk import Options

Work = Callable[[], dict[str, Contestant]]

STEPS = 200
"""Steps that one run of a step contestant takes: its time is that of all of them."""


def steps() -> dict[str, Contestant]:
    """One network, one batch of 500: forward, loss, backward, SGD."""
    options = Options(rounds=1)
    data = disk.data(options)
    x, t = data.x[0, :500], data.t[0, :500]
    peer = torch_peer.network(options, seed=0)
    peer_optimizer = torch.optim.SGD(peer.parameters(), lr=options.lr)
    peer_criterion = torch.nn.MSELoss()

    def torch_step() -> None:
        for _ in range(STEPS):
            peer_optimizer.zero_grad()
            peer_criterion(peer(x), t).backward()
            peer_optimizer.step()

    model = plain_network()
    optimizer, criterion = optim.SGD(model.parameters(), lr=options.lr), nn.MSELoss()

    def own_step() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            criterion(model(x), t)
            model.backward_parameters(criterion.backward())
            optimizer.step()

    return {"torch.nn": torch_step, "torch.nn again (control)": torch_step, "handgrad": own_step}


def plain_network() -> nn.Sequential:
    """The report's network without replicas."""
    parts: list[nn.Module] = []
    for width in (2, disk.HIDDEN, disk.HIDDEN):
        parts += [nn.Linear(width, disk.HIDDEN), nn.ReLU(), nn.BatchNorm1d(disk.HIDDEN)]
    return nn.Sequential(*parts, nn.Linear(disk.HIDDEN, 2))


def rounds() -> dict[str, Contestant]:
    """The 20 rounds of 50 epochs; evaluation is done by both and counted by neither."""
    options = Options()
    data = disk.data(options)

    def torch_rounds() -> float:
        return torch_peer.train([torch_peer.network(options, s) for s in options.seeds], data, options).seconds

    def own_rounds() -> float:
        return disk.train(disk.network(options, "pytorch", True), data, options).seconds

    return {"torch.nn": torch_rounds, "torch.nn again (control)": torch_rounds, "handgrad, 20 replicas": own_rounds}
