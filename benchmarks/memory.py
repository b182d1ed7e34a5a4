"""Work C: the memory that training 1,000 replicas of the report's network takes, against what arithmetic needs."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks import own
from benchmarks.steps import REPORT

REPLICAS, STEPS = 1000, 3
STATUS = Path("/proc/self/status")
FLOAT = 4


@dataclass(frozen=True)
class Memory:
    """Bytes for R replicas."""

    replicas: int
    growth: int
    """Of the peak resident set, from just before the data are made."""

    @property
    def parts(self) -> dict[str, int]:
        """What arithmetic needs, all R replicas in one group: no more than autograd would keep, nothing recomputed."""
        widths, batch = REPORT.widths, REPORT.batch
        weights = sum(i * o + o for i, o in pairwise(widths))
        hidden = sum(widths[1:-1])
        floats = {
            "parameters and running statistics": weights + 4 * hidden,
            "gradients": weights + 2 * hidden,
            # BatchNorm's and ReLU's backward both need ReLU's output, the next Linear's needs BatchNorm's output
            "kept for backward: two activations a hidden layer": 2 * hidden * batch,
            "the gradient on its way back: one activation": max(widths[1:-1]) * batch,
            "batch": (widths[0] + widths[-1]) * batch,
        }
        return {name: count * FLOAT * self.replicas for name, count in floats.items()}

    @property
    def need(self) -> int:
        return sum(self.parts.values())

    @property
    def least(self) -> int:
        """With one activation a hidden layer kept, BatchNorm's output being recomputed from ReLU's."""
        return self.need - sum(REPORT.widths[1:-1]) * REPORT.batch * FLOAT * self.replicas

    @property
    def ratio(self) -> float:
        return self.growth / self.need


def measure(replicas: int = REPLICAS, steps: int = STEPS) -> Memory:
    """Train in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", str(replicas), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    return Memory(replicas, int(json.loads(done.stdout)))


def growth(replicas: int, steps: int) -> int:
    """Train in this process and return by how many bytes its peak has grown."""
    _train(2, steps)  # loads what is loaded at first use
    before = _restart_peak()
    _train(replicas, steps)
    return _peak() - before


def _train(replicas: int, steps: int) -> None:
    x = torch.rand(replicas, REPORT.batch, REPORT.widths[0])
    t = torch.rand(replicas, REPORT.batch, REPORT.widths[-1])
    step = own.replicas_step(REPORT.widths, replicas, REPORT.lr, x, t)
    for _ in range(steps):
        step()


def _restart_peak() -> int:
    """Let the peak begin at what is resident now, where the system can; return where it begins."""
    if not STATUS.exists():
        return _peak()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    if STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(growth(int(sys.argv[1]), int(sys.argv[2]))))
