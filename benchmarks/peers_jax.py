"""JAX: jit of vmap of scan, on one device and with the replicas shared by one device a core."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.problem import Problem
from benchmarks.timing import CORES, Contestant, Outcome, Unavailable

EPS, MOMENTUM = 1e-5, 0.1  # BatchNorm's in torch.nn


def rounds(problem: Problem, devices: int = 1) -> Contestant:
    """All rounds as one compiled program. For a process of its own: the number of devices is set before the import.

    Errors: Unavailable without JAX, or with fewer devices than asked for.
    """
    if devices > 1:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        import jax
    except ImportError as error:
        raise Unavailable(f"JAX is not installed ({error})") from None
    if len(jax.devices()) < devices:
        raise Unavailable(f"JAX has {len(jax.devices())} device, not {devices}")
    arguments = _arguments(problem)
    program = jax.vmap(_one_round(problem))
    if devices > 1:
        mesh = jax.sharding.Mesh(jax.devices()[:devices], ("rounds",))
        spec = jax.sharding.PartitionSpec("rounds")
        program = jax.shard_map(program, mesh=mesh, in_specs=spec, out_specs=spec)
        arguments = jax.device_put(arguments, jax.sharding.NamedSharding(mesh, spec))
    start = time.perf_counter()
    program = jax.jit(program).lower(*arguments).compile()
    seconds = time.perf_counter() - start

    def run() -> Outcome:
        losses, *_ = jax.block_until_ready(program(*arguments))  # (R,)
        return Outcome([float(loss) for loss in losses])

    name = "JAX jit + vmap + scan" + (f", replicas over {devices} devices" if devices > 1 else "")
    return Contestant(name, run, setting=f"JAX {jax.__version__}", preparation=seconds)


def sharded(problem: Problem) -> Contestant:
    """With one device a core, which XLA's own threads within an operation do not replace."""
    if CORES == 1:
        raise Unavailable("one core holds one device")
    return rounds(problem, next(n for n in range(CORES, 0, -1) if problem.options.rounds % n == 0))


def _arguments(problem: Problem) -> Any:
    """Parameters and running statistics, points, targets and orders, each with a leading R."""
    import jax.numpy as jnp

    state = {k: jnp.asarray(v.numpy()) for k, v in problem.state.items() if not k.endswith("num_batches_tracked")}
    running = {k: v for k, v in state.items() if "running" in k}
    parameters = {k: v for k, v in state.items() if k not in running}
    orders = problem.orders.transpose(0, 1).int().numpy()  # (R, E, N)
    return parameters, running, *(jnp.asarray(v) for v in (problem.data.x.numpy(), problem.data.t.numpy(), orders))


def _one_round(problem: Problem) -> Any:
    import jax
    import jax.numpy as jnp

    size, count = problem.options.batch_size, len(problem.batches)
    linears = [k.removesuffix(".weight") for k, v in problem.state.items() if k.endswith("weight") and v.ndim == 3]

    def forward(p: Any, s: Any, x: Any) -> Any:
        new = {}
        for i in linears[:-1]:
            x = jax.nn.relu(x @ p[f"{i}.weight"].T + p[f"{i}.bias"])
            norm = str(int(i) + 2)
            if problem.batchnorm:
                mean, var = x.mean(0), x.var(0)
                old_mean, old_var = s[f"{norm}.running_mean"], s[f"{norm}.running_var"]
                new[f"{norm}.running_mean"] = old_mean + MOMENTUM * (mean - old_mean)
                new[f"{norm}.running_var"] = old_var + MOMENTUM * (var * (size / (size - 1)) - old_var)
                scale = jax.lax.rsqrt(var + EPS) * p[f"{norm}.weight"]
                x = (x - mean) * scale + p[f"{norm}.bias"]
        return x @ p[f"{linears[-1]}.weight"].T + p[f"{linears[-1]}.bias"], new

    def loss_of(p: Any, s: Any, x: Any, t: Any) -> Any:
        y, s = forward(p, s, x)
        return jnp.square(y - t).mean(), s

    def step(carry: Any, batch: Any) -> Any:
        p, s = carry
        (loss, s), grads = jax.value_and_grad(loss_of, has_aux=True)(p, s, *batch)
        return (jax.tree.map(lambda v, g: v - problem.options.lr * g, p, grads), s), loss

    def one_round(p: Any, s: Any, x: Any, t: Any, orders: Any) -> Any:
        def epoch(carry: Any, order: Any) -> Any:
            batches = (x[order].reshape(count, size, 2), t[order].reshape(count, size, 2))
            # unrolled, the steps of an epoch are compiled as one, which is faster than a loop within a loop
            return jax.lax.scan(step, carry, batches, unroll=count)

        (p, s), losses = jax.lax.scan(epoch, (p, s), orders)
        return losses[-1].mean(), p, s

    return one_round
