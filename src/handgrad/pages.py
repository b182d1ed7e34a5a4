"""Pages: memory of a step is kept when it is freed, and on Linux lies in pages of 2 MiB.

The system hands memory out in pages of 4 KiB, one at the first touch of each, and the processor looks up where each
lies; both take a step of small networks a twentieth to a tenth of its time, more in a virtual machine and after a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap

import torch
from torch import Tensor

HUGE = 2**21
BLOCK = 31 * 2**20
"""Of the C library, whose limit is 32 MiB."""
ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)
"""To the system, on Linux: let memory lie in pages of 2 MiB."""
LINE = 64


def keep_freed_memory() -> None:
    """Let the C library of Linux keep up to 62 MiB of freed memory: what a step frees, the next one asks for again.

    It gives memory back to the system as soon as twice its largest freed block lies idle, and takes it anew a page at
    a time, a sixth of a convolutional network's step. A block is freed here, untouched; and another, which now comes of
    what is kept, is put into large pages.
    """
    torch.empty(BLOCK, dtype=torch.uint8, device="cpu")
    if ADVICE is not None:
        block = torch.empty(BLOCK, dtype=torch.uint8, device="cpu")
        start = -(-block.data_ptr() // HUGE) * HUGE
        size = (block.data_ptr() + BLOCK - start) // HUGE * HUGE
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), ADVICE)


class Arena:
    """Memory for tensors that are made once and kept, such as buffers, side by side in large pages.

    Example:
        >>> import torch
        >>> arena = Arena()
        >>> arena.zeros(3, torch.ones(1))
        tensor([0., 0., 0.])
    """

    def __init__(self) -> None:
        self.rest = torch.empty(0, dtype=torch.uint8)

    def zeros(self, count: int, like: Tensor) -> Tensor:
        """So many zeros, of the dtype and on the device of another tensor."""
        if ADVICE is None or like.device.type != "cpu" or not count:
            return like.new_zeros(count)
        size = -(-count * like.element_size() // LINE) * LINE
        if size > len(self.rest):
            pages = mmap.mmap(-1, max(size, 4 * HUGE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with contextlib.suppress(OSError):  # of a system without such pages
                pages.madvise(ADVICE)
            self.rest = torch.frombuffer(pages, dtype=torch.uint8)
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken.view(like.dtype)[:count]
