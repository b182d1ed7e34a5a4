"""train_replicas: many replicas as groups over all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from handgrad import workers
from handgrad.errors import ArgumentError
from handgrad.nn.module import Module
from handgrad.training.agreement import listed
from handgrad.training.history import History
from handgrad.training.together import together
from handgrad.training.trainer import Advance, Trainer


def train_replicas(
    build: Callable[[list[int]], Module],
    trainer: Callable[[Module, list[int]], Trainer],
    seeds: Sequence[int],
    *,
    workers_: int | None = None,
    size: int | None = None,
    advance: Advance | None = None,
) -> tuple[Module, History]:
    """Train R replicas as groups over the cores, and return one model of all of them with their history.

    With an average of the weights the model has the average's, which is what the history measures, and its buffers.

    The numbers do not depend on how many cores there are: the cut into groups does not.

    Ctrl-C or SIGTERM ends training after the epochs under way; groups that were not begun keep their initial weights,
    and `history.epochs` is the smallest of those cut short. A trainer with `Checkpoints` goes on from them when called
    again.

    Args:
        build: a model of replicas with these seeds, not trained; called in this process.
        trainer: a trainer of such a model; called where the group is trained.
        seeds: one for each replica.
        workers_: as many as there are cores by default.
        size: replicas in a group at most; None is as many as are fastest `together`, for which a model of the first
            seed and its trainer are made once more.
        advance: called with the losses of the replicas that have just finished an epoch.

    Errors: ArgumentError for no seeds, DTypeError for seeds that are one number.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> from handgrad.data import Batches
        >>> from handgrad.training import Trainer, train_replicas
        >>> x = torch.ones(8, 1)
        >>> def build(seeds):
        ...     return nn.replicate(nn.Sequential(nn.Linear(1, 1)), seeds)
        >>> def trainer(model, seeds):
        ...     sgd = optim.SGD(model.parameters())
        ...     return Trainer(model, nn.MSELoss(replicas=len(seeds)), sgd, Batches(x, x, 4, seeds), epochs=3)
        >>> model, history = train_replicas(build, trainer, seeds=range(25))
        >>> model(x).shape, history.loss.shape
        (torch.Size([25, 8, 1]), torch.Size([25, 3]))
    """
    seeds = listed(seeds, "train_replicas")
    if not seeds:
        raise ArgumentError("at least one seed", "none", "Pass seeds=range(R), say.", "train_replicas")
    if size is None:
        first = build(seeds[:1])
        size = together(first, trainer(first, seeds[:1]).batches)
    cut = workers.groups(len(seeds), size)
    models = [build(seeds[part]) for part in cut]

    def task(index: int) -> workers.Task[tuple[dict[str, Any], History]]:
        def run(stop: workers.Stop, send: workers.Send) -> tuple[dict[str, Any], History]:
            made = trainer(models[index], seeds[cut[index]])
            history = made.run(stop, send)
            measured = made.model if made.average is None else made.average.module
            return dict(measured.state_dict()), history

        return run

    found = workers.run([task(index) for index in range(len(cut))], workers_, advance)
    histories: list[History] = []
    longest = max((one[1].loss.shape[1] for one in found if one is not None), default=0)
    names = next((tuple(one[1].metrics) for one in found if one is not None and one[1].metrics), ())
    states = []
    for index, one in enumerate(found):
        part = cut[index]
        empty = replace(History.empty(part.stop - part.start, longest, names), interrupted=True)
        states.append(one[0] if one is not None else dict(models[index].state_dict()))
        # one that was interrupted early may have measured nothing yet
        histories.append(empty if one is None else replace(one[1], metrics={**empty.metrics, **one[1].metrics}))
    model = build(seeds)
    model.load_state_dict({name: torch.cat([state[name] for state in states]) for name in states[0]})
    return model, History.joined(histories)
