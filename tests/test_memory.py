"""What handgrad does about memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
{}
import torch

before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in range(1, 16):  # each larger than all that were freed before
    torch.ones(size * 2**18)  # size MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so soon")
@pytest.mark.parametrize(
    ("first", "kept"),
    [("import handgrad", False), ("from handgrad import nn, optim; optim.SGD(nn.Linear(1, 1).parameters())", True)],
    ids=["an import changes nothing", "an optimiser"],
)
def test_memory_of_a_step_is_kept_for_the_next(first: str, kept: bool) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    out = subprocess.run([sys.executable, "-c", FAULTS.format(first)], env=env, capture_output=True, check=True)
    pages = int(out.stdout)  # 30,720 if each comes anew, 3,840 if the largest serves all
    assert pages < 8000 if kept else pages > 24000


PREPARED = """
import resource
from handgrad.runs import prepare

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

data = {f"x{i}": [(n * (i + 3)) % 1009 / 7 for n in range(10_000)] for i in range(20)}
prepare(data, "x0", seeds=[0])
before = peak()
x = prepare(data, "x0", seeds=range(200)).x  # 145 MiB
print((peak() - before) / (4 * x.numel() / 2**20))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kB are Linux's unit")
def test_encoded_rows_are_there_once() -> None:
    """The estimate of memory before a run counts on it."""
    out = subprocess.run([sys.executable, "-c", PREPARED], capture_output=True, check=True)
    assert float(out.stdout) < 1.6
