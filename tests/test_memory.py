"""What handgrad does about memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from handgrad import pages
from handgrad.pages import ADVICE

OPTIMISER = "from handgrad import nn, optim; optim.SGD(nn.Linear(1, 1).parameters())"

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
    [("import handgrad", False), (OPTIMISER, True)],
    ids=["an import changes nothing", "an optimiser"],
)
def test_memory_of_a_step_is_kept_for_the_next(first: str, kept: bool) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    out = subprocess.run([sys.executable, "-c", FAULTS.format(first)], env=env, capture_output=True, check=True)
    pages = int(out.stdout)  # 30,720 if each comes anew, 3,840 if the largest serves all
    assert pages < 8000 if kept else pages > 24000


FLAGS = """
import re
{}
import torch

def flags(address):
    for mapping in re.split(r"\\n(?=[0-9a-f]+-[0-9a-f]+ )", open("/proc/self/smaps").read()):
        first, last = (int(end, 16) for end in mapping.split()[0].split("-"))
        if first <= address < last:
            return re.search("VmFlags: (.*)", mapping)[1].split()

held = {}
print("hg" in flags(held.data_ptr() + len(held) // 2))
"""


@pytest.mark.skipif(ADVICE is None, reason="only Linux has such pages")
@pytest.mark.parametrize(
    ("first", "tensor", "large"),
    [
        ("import handgrad", "torch.empty(2**24, dtype=torch.uint8)", False),
        (OPTIMISER, "torch.empty(2**24, dtype=torch.uint8)", True),
        ("from handgrad.pages import Arena; import torch", "Arena().zeros(9, torch.ones(1))", True),
    ],
    ids=["an import changes nothing", "an optimiser", "an arena"],
)
def test_memory_lies_in_large_pages(first: str, tensor: str, large: bool) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    out = subprocess.run([sys.executable, "-c", FLAGS.format(first, tensor)], env=env, capture_output=True, check=True)
    assert out.stdout.decode().strip() == str(large)


@pytest.mark.parametrize("advice", [ADVICE, None, 12345], ids=["pages", "none known", "none there"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_arena_lends_each_tensor_memory_of_its_own(dtype, advice, monkeypatch):
    monkeypatch.setattr(pages, "ADVICE", advice)
    arena, like = pages.Arena(), torch.ones(1, dtype=dtype)
    counts = (1, 7, 0, 2**20, 3, 2**22, 5)
    found = [arena.zeros(count, like) for count in counts]
    del arena
    assert [given.shape for given in found] == [(count,) for count in counts]
    for value, given in enumerate(found, start=1):
        assert given.dtype is dtype
        assert given.data_ptr() % 64 == 0
        assert not given.any()
        given.fill_(value)
    assert [given.unique().tolist() for given in found] == [[v] if v != 3 else [] for v in range(1, 8)]


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
