"""torch.nn with autograd: one round after another, over processes, and under torch.compile."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value
from torch.nn.functional import mse_loss

from benchmarks.problem import Problem
from benchmarks.timing import CORES, THREADS, Contestant, Outcome, fastest
from benchmarks.worker import Worker

SGD: dict[str, dict[str, bool]] = {"for-loop SGD": {"foreach": False}, "foreach SGD": {"foreach": True}}
SGD["fused SGD"] = {"fused": True}
"""The implementations of torch.optim.SGD."""


def loop(problem: Problem, threads: int, sgd: str) -> Contestant:
    """The usual training loop, one round after another."""
    options, data, orders = problem.options, problem.data, problem.orders
    models = [problem.network(seed) for seed in options.seeds]
    initial = [{name: value[r] for name, value in problem.state.items()} for r in range(len(models))]
    criterion = torch.nn.MSELoss()

    def reset() -> None:
        for model, state in zip(models, initial):
            model.load_state_dict(state)

    def run() -> Outcome:
        last = []
        for r, model in enumerate(models):
            optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, **SGD[sgd])
            for epoch in range(options.epochs):
                order = orders[epoch, r]
                x, t = data.x[r, order], data.t[r, order]
                losses = []
                for batch in problem.batches:
                    optimizer.zero_grad()
                    loss = criterion(model(x[batch]), t[batch])
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
            last.append(float(torch.stack(losses).mean()))
        return Outcome(last)

    return Contestant("torch.nn, one round after another", run, reset, sgd, threads)


def best_loop(problem: Problem, trial: Problem, repeats: int) -> Contestant:
    """The loop with the thread count and the SGD that are fastest in a shorter trial."""
    candidates = {(n, sgd): loop(trial, n, sgd) for n in THREADS for sgd in SGD}
    best = fastest(list(candidates.values()), repeats)
    return loop(problem, *next(key for key, candidate in candidates.items() if candidate is best))


def loop_alone(problem: Problem, sgd: str) -> Contestant:
    """The loop for a process of its own: one thread."""
    torch.set_num_threads(1)
    return loop(problem, 1, sgd)


def processes(problem: Problem, sgd: str, count: int = 2) -> Contestant:
    """The rounds shared by processes that have started and wait: timed from the word to the last answer."""
    workers = [Worker(loop_alone, problem.share(index, count), sgd) for index in range(count)]

    def reset() -> None:
        for worker in workers:
            worker.reset()

    def run() -> Outcome:
        for worker in workers:
            worker.start()
        return Outcome([loss for worker in workers for loss in worker.result().losses])

    def close() -> None:
        for worker in workers:
            worker.close()

    return Contestant(f"torch.nn over {count} processes", run, reset, f"{sgd}, 1 thread each", close=close)


def compiled(problem: Problem, compiler: Callable[[Any], Any] | None = None) -> Contestant:
    """One round after another under torch.compile: forward, backward and update as one graph, one thread.

    Compiling the model alone leaves autograd's and the optimiser's own time between graphs, and takes nearly twice as
    long; max-autotune and a second thread gain nothing.
    """
    torch.set_num_threads(1)
    options, data, orders, state = problem.options, problem.data, problem.orders, problem.state
    model = problem.network(0)
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    rounds = range(options.rounds)

    def loss_of(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
        y: Tensor = functional_call(model, (p, b), (x,))
        return mse_loss(y, t)

    def step(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
        loss: Tensor
        grads, loss = grad_and_value(loss_of)(p, b, x, t)
        for name in p:
            p[name].sub_(grads[name], alpha=options.lr)
        return loss

    fast = (compiler or private_compile)(step)

    @torch.no_grad()
    def run() -> Outcome:
        last = []
        for r in rounds:
            for name, value in (parameters | buffers).items():
                value.copy_(state[name][r])
            for epoch in range(options.epochs):
                order = orders[epoch, r]
                x, t = data.x[r, order], data.t[r, order]
                losses = [fast(parameters, buffers, x[batch], t[batch]) for batch in problem.batches]
            last.append(float(torch.stack(losses).mean()))
        return Outcome(last)

    def warm_up() -> None:
        batch = problem.batches[0]
        fast(parameters, buffers, data.x[0, batch], data.t[0, batch])

    seconds = seconds_of(torch.no_grad()(warm_up))
    name = "torch.nn under torch.compile"
    return Contestant(name, run, setting="whole step as one graph", threads=1, preparation=seconds)


def in_process(make: Callable[..., Contestant], *arguments: Any) -> Contestant:
    """The contestant in a process of its own.

    Errors: Unavailable if it cannot be built.
    """
    return Worker(make, *arguments).contestant()


def private_compile(function: Any) -> Any:
    """torch.compile with nothing found in a cache, so that the compile time is that of a first run."""
    import torch._inductor.config as inductor

    inductor.force_disable_caches = True
    inductor.compile_threads = 1  # a pool of compile processes would outlive the compiling
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 2 * CORES)
    return torch.compile(function)


def seconds_of(function: Callable[[], object]) -> float:
    """How long it takes, with the compiler's scratch files in a folder that goes away and its warnings unsaid."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
