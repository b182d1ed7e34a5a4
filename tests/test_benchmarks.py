"""The benchmarks: every contestant does the same work, and the tables say what was measured. Nothing here is timed."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import memory, own, peers_jax, peers_sklearn, peers_torch, peers_vmap, report, rounds, scaling, steps
from benchmarks.problem import Problem
from benchmarks.targets import Target
from benchmarks.timing import Contestant, Outcome, Timed, Unavailable, interleaved, run_once
from handgrad.experiments.disk import Options

SHORT = Problem(Options(rounds=2, epochs=3))
PLAIN = dataclasses.replace(SHORT, batchnorm=False)


def losses(contestant: Contestant, runs: int = 2) -> torch.Tensor:
    """Those of the last of several runs: each must begin anew."""
    for _ in range(runs):
        contestant.reset()
        outcome = run_once(contestant)
    contestant.close()
    return torch.tensor(outcome.losses)


def expected(problem: Problem) -> torch.Tensor:
    return losses(peers_torch.loop(problem, 1, "for-loop SGD"), runs=1)


def test_the_reference_trains() -> None:
    first = expected(dataclasses.replace(SHORT, options=dataclasses.replace(SHORT.options, epochs=1)))
    assert (expected(SHORT) < first).all()
    assert not torch.equal(*expected(SHORT))


@pytest.mark.parametrize("sgd", list(peers_torch.SGD))
def test_each_sgd_of_torch(sgd: str) -> None:
    torch.testing.assert_close(losses(peers_torch.loop(SHORT, 1, sgd)), expected(SHORT), rtol=1e-3, atol=0)


@pytest.mark.parametrize("problem", [SHORT, PLAIN], ids=["BatchNorm", "plain"])
def test_own_rounds(problem: Problem) -> None:
    torch.testing.assert_close(losses(own.rounds(problem, 1)), expected(problem), rtol=1e-3, atol=0)


@pytest.mark.parametrize("problem", [SHORT, PLAIN], ids=["BatchNorm", "plain"])
def test_vmap(problem: Problem) -> None:
    for way in (peers_vmap.rounds, peers_vmap.keeping_memory):
        torch.testing.assert_close(losses(way(problem, 1)), expected(problem), rtol=1e-3, atol=0)


def test_the_whole_step_that_is_compiled() -> None:
    contestant = peers_torch.compiled(SHORT, compiler=lambda function: function)
    torch.testing.assert_close(losses(contestant), expected(SHORT), rtol=1e-3, atol=0)


@pytest.mark.parametrize("problem", [SHORT, PLAIN], ids=["BatchNorm", "plain"])
def test_jax(problem: Problem) -> None:
    pytest.importorskip("jax")
    torch.testing.assert_close(losses(peers_jax.rounds(problem)), expected(problem), rtol=1e-3, atol=0)


def test_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    options = dataclasses.replace(SHORT.options, batch_size=1000)  # its own shuffle does not matter then
    problem = Problem(options, batchnorm=False)
    torch.testing.assert_close(losses(peers_sklearn.rounds(problem, 1)).float(), expected(problem), rtol=1e-3, atol=0)


def test_two_processes_share_the_rounds() -> None:
    parts = [SHORT.share(index, 2) for index in range(2)]
    assert [part.options.seeds for part in parts] == [[0], [1]]
    torch.testing.assert_close(torch.cat([expected(part) for part in parts]), expected(SHORT), rtol=1e-3, atol=0)


@pytest.mark.parametrize("network", steps.NETWORKS[:2], ids=lambda network: network.name)
def test_steps(network: steps.Network) -> None:
    few = dataclasses.replace(network, batch=32)
    peer, mine = steps.torch_steps(few, 1, "fused SGD", 0.0), steps.own_steps(few, 1, 0.0)
    torch.testing.assert_close(losses(mine), losses(peer), rtol=1e-4, atol=0)


def test_a_missing_peer_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(Unavailable, match="JAX is not installed"):
        peers_jax.rounds(SHORT)

    def missing() -> list[Contestant]:
        raise Unavailable("JAX is not installed")

    present = Contestant("there", lambda: Outcome([0.0], 1.0))
    entries = [(name, lambda: [present], None) for name in ("torch.nn", "control", "handgrad")]
    rows = rounds._run([*entries[:2], ("JAX", missing, Target(2, 3)), entries[2]], repeats=3)
    text = report.rounds(rows, "note")
    assert "| JAX | cannot run here: JAX is not installed | | | ≥ 2×, aim 3× | not measured | |" in text
    assert text.count("| there |") == 3


def test_a_ratio_is_of_runs_side_by_side() -> None:
    own_times, peer = Timed(Contestant("a", run)), Timed(Contestant("b", run))
    own_times.seconds, peer.seconds = [1.0, 10.0, 1.0], [3.0, 30.0, 5.0]
    assert own_times.ratio(peer) == (3.0, 3.0, 4.0)
    assert [Target(2, 4).verdict(r) for r in (1.9, 2, 4)] == ["**not reached**", "reached", "aim reached"]


def run() -> Outcome:
    return Outcome([], 0.0)


def test_contestants_take_turns() -> None:
    seen: list[str] = []

    def named(name: str) -> Contestant:
        return Contestant(name, lambda: Outcome([], float(len(seen))), lambda: seen.append(name))

    timed = interleaved([named("a"), named("b")], repeats=2)
    assert "".join(seen) == "ababba"
    assert [len(one.seconds) for one in timed] == [2, 2]


def test_memory_needs_what_the_arithmetic_says() -> None:
    found = memory.Memory(replicas=1, growth=0)
    assert found.parts["gradients"] == 4 * sum(p.numel() for p in SHORT.network(0).parameters())
    assert found.parts["kept for backward: two activations a hidden layer"] == 4 * 2 * 3 * 25 * 500
    assert found.least < found.need == sum(found.parts.values())


def test_scaling_leaves_out_what_takes_too_long() -> None:
    limits = scaling.Limits(seconds=0.0, repeats=1, slow=9.0, longest=0.0)
    curves = scaling.against_replicas((1, 2), limits)
    assert [curve.x for curve in curves] == [[1], [1], [1]]
    assert "| 1 |" in scaling.table([("", curves)], "R")


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = report.inserted(report.inserted("", "rounds", "old"), "memory", "bytes")
    page = report.inserted(page, "rounds", "new")
    assert "old" not in page
    assert page.index("new") < page.index("## Memory") < page.index("bytes")
    assert report.inserted(page, "memory", "bytes") == page
