"""Train a problem: R replicas in handgrad, and single ones of them in torch.nn from the same weights and orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from examples.problems import Problem
from examples.torch_side import Namespace
from handgrad import nn, optim, workers
from handgrad.data import Batches
from handgrad.distribution import Distribution
from handgrad.seeds import derive, generator
from handgrad.training import History, train
from handgrad.training.together import together


@dataclass(frozen=True)
class Curves:
    """What training gave: losses and scores (R, E), and how long it took, a replica."""

    seeds: list[int]
    loss: Tensor
    score: Tensor
    seconds: float

    def final(self, name: str) -> Distribution:
        """The scores after the last epoch."""
        return Distribution(tuple(self.score[:, -1].tolist()), tuple(self.seeds), name)


def batches(problem: Problem, seeds: Sequence[int]) -> tuple[Batches, Tensor, Tensor]:
    """Every replica's own split: batches to train on, and (R, N, …) to test on."""
    splits = [problem.split(seed) for seed in seeds]
    x, t, test_x, test_t = (torch.stack(part) for part in zip(*splits))
    return Batches(x, t, problem.batch_size, list(seeds), own=True), test_x, test_t


def network(problem: Problem, seeds: Sequence[int]) -> nn.Sequential:
    """Replicas with the weights that their seeds give."""
    model: nn.Sequential = problem.build(nn)
    return nn.replicate(model, [derive(seed, "init") for seed in seeds])


def ours(problem: Problem, seeds: Sequence[int], epochs: int, advance: Callable[[list[float]], None]) -> Curves:
    """Train all replicas in handgrad, on all cores."""
    seeds = list(seeds)

    def task(part: slice) -> workers.Task[History]:
        def work(stop: workers.Stop, send: workers.Send) -> History:
            own = seeds[part]
            model = network(problem, own)
            criterion = getattr(nn, problem.loss)(replicas=len(own))
            optimizer = optim.AdamW(model.parameters(), lr=problem.lr, weight_decay=problem.weight_decay)
            data, x, t = batches(problem, own)
            metrics = {"score": lambda model: problem.score(model(x), t)}
            return train(model, criterion, optimizer, data, epochs, metrics=metrics, stop=stop, advance=send)

        return work

    cut = workers.groups(len(seeds), together(problem.build(nn), batches(problem, seeds[:1])[0]))
    start = time.perf_counter()
    found = workers.run([task(part) for part in cut], receive=advance)
    seconds = (time.perf_counter() - start) / len(seeds)
    if any(part is None or part.epochs < epochs for part in found):
        raise KeyboardInterrupt
    history = History.joined([part for part in found if part is not None])
    return Curves(seeds, history.loss, history.metrics["score"], seconds)


def theirs(problem: Problem, seeds: Sequence[int], epochs: int) -> Curves:
    """Train the same replicas in torch.nn, one after another."""
    losses, scores = [], []
    start = time.perf_counter()
    for seed in seeds:
        data, test_x, test_t = batches(problem, [seed])
        single: nn.Sequential = problem.build(nn)
        single.reset(generator(seed, "init"))
        model = problem.build(Namespace())
        model.load_state_dict(single.state_dict())
        criterion = getattr(torch.nn, problem.loss)()
        optimizer = torch.optim.AdamW(model.parameters(), lr=problem.lr, weight_decay=problem.weight_decay)
        for epoch in range(epochs):
            model.train()
            steps = []
            for x, t in data.epoch(epoch):
                optimizer.zero_grad()
                loss = criterion(model(x[0]), t[0])
                loss.backward()
                optimizer.step()
                steps.append(loss.detach())
            losses.append(torch.stack(steps).mean())
            model.eval()
            with torch.no_grad():
                scores.append(problem.score(model(test_x[0]).unsqueeze(0), test_t))
    seconds = (time.perf_counter() - start) / len(seeds)
    shape = len(seeds), epochs
    return Curves(list(seeds), torch.stack(losses).view(shape), torch.stack(scores).view(shape), seconds)
