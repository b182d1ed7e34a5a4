"""torch.func: the gradient of one network, vectorised over R of them. Its BatchNorm keeps no running statistics."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import mse_loss

from benchmarks.peers_torch import private_compile, seconds_of
from benchmarks.problem import Problem
from benchmarks.timing import CORES, Contestant, Outcome
from handgrad.pages import keep_freed_memory

NAME = "torch.func vmap over {} models"
WITHOUT = "without running statistics"


def stateless(model: nn.Sequential) -> nn.Sequential:
    """The same model whose BatchNorm writes nothing: vmap does not allow writing to what it does not vectorise."""
    model = copy.deepcopy(model)
    for index, part in enumerate(model):
        if isinstance(part, nn.BatchNorm1d):
            model[index] = nn.BatchNorm1d(part.num_features, track_running_stats=False)
    return model


class Models:
    """R models as one: their parameters with a leading R, and the step that trains them."""

    def __init__(self, models: list[nn.Sequential], lr: float) -> None:
        models = [stateless(model) for model in models]
        stacked, _ = stack_module_state(models)
        self.parameters = {name: value.detach() for name, value in stacked.items()}
        self.base, self.lr = copy.deepcopy(models[0]).to("meta"), lr
        self.gradient = vmap(grad_and_value(self._loss))

    def _loss(self, parameters: dict[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
        return mse_loss(functional_call(self.base, parameters, (x,)), t)

    def step(self, x: Tensor, t: Tensor) -> Tensor:
        """One step of SGD on (R, N, …): the R losses."""
        grads, losses = self.gradient(self.parameters, x, t)
        torch._foreach_add_(list(self.parameters.values()), [grads[name] for name in self.parameters], alpha=-self.lr)
        return losses  # type: ignore[no-any-return]


def rounds(problem: Problem, threads: int) -> Contestant:
    """All rounds at once."""
    return _rounds(problem, threads, compile_step=False)


def keeping_memory(problem: Problem, threads: int) -> Contestant:
    """The same in a process that keeps freed memory, as one in which handgrad trains does."""
    keep_freed_memory()
    contestant = rounds(problem, threads)
    return dataclasses.replace(contestant, name=f"{contestant.name}, keeping freed memory as handgrad does")


def compiled(problem: Problem) -> Contestant:
    """The same step under torch.compile, with all cores."""
    torch.set_num_threads(CORES)
    return _rounds(problem, CORES, compile_step=True)


def _rounds(problem: Problem, threads: int, compile_step: bool) -> Contestant:
    options, data = problem.options, problem.data
    models = Models([problem.network(seed) for seed in options.seeds], options.lr)
    both = torch.cat((data.x, data.t), -1)  # (R, N, 4): one gather shuffles points and targets
    step, seconds = models.step, 0.0

    def reset() -> None:
        for name, value in models.parameters.items():
            value.copy_(problem.state[name])

    if compile_step:
        step = private_compile(step)
        batch = problem.batches[0]
        seconds = seconds_of(torch.no_grad()(lambda: step(both[:, batch, :2], both[:, batch, 2:])))

    @torch.no_grad()
    def run() -> Outcome:
        for order in problem.orders:
            shuffled = both.gather(1, order.unsqueeze(-1).expand_as(both))
            x, t = shuffled[..., :2], shuffled[..., 2:]
            losses = [step(x[:, batch], t[:, batch]) for batch in problem.batches]
        return Outcome(torch.stack(losses).mean(0).tolist())

    name = NAME.format(options.rounds) + (", under torch.compile" if compile_step else "")
    return Contestant(name, run, reset, WITHOUT, threads, seconds)
