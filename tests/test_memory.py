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
