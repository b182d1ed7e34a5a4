"""Random: the base of modules that draw random numbers in forward, each replica from its own stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, sources
from handgrad.seeds import derive

Fill = Callable[[Tensor, torch.Generator | None], object]
"""Fills a tensor in place from a generator."""


class Random(Module):
    """Base of modules that draw in forward, such as Dropout.

    What is drawn is addressable: the k-th tensor that a module draws for a replica with seed s is of the stream
    (s, "draw", k). So a replica draws the same numbers alone and in any company, and copies draw what the original
    would. Without a seed, as a module built without `generator` has none, torch's default generator is drawn from, as
    PyTorch users expect.

    Attributes:
        seeds: one for each replica, a single one without replicas, or None.
        draws: tensors drawn so far, k.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> class Noise(nn.Random):
        ...     '''y = x + ε in training.'''
        ...     def forward(self, x):
        ...         return self.keep(x + self.drawn(x, lambda v, g: v.normal_(generator=g)) if self.training else x * 1)
        ...     def backward(self, dy):
        ...         self.take(dy)
        ...         return dy.clone()
        >>> noise = Noise(generator=torch.Generator().manual_seed(0))
        >>> x = torch.zeros(3)
        >>> bool((noise(x) == noise(x)).any()), bool((noise.eval()(x) == x).all())
        (False, True)
    """

    draws: int = 0

    def __init__(self, generator: Generators = None, *, replicas: int | None = None) -> None:
        super().__init__(replicas)
        self.reset_draws(generator)

    def reset_draws(self, generator: Generators = None) -> None:
        """Draw the seeds from a generator, or R of them; None without replicas means torch's default generator.

        One number is drawn for each replica, after the module's own parameters, both when it is built and by `reset`.
        """
        self.draws, self.seeds = 0, None
        if generator is not None or self.replicas is not None:
            each = sources(generator, self.replicas or 1, self.label)
            self.seeds = tuple(_number(source) for source in each)

    def of_replica(self, r: int | slice) -> None:
        super().of_replica(r)
        own = r if isinstance(r, slice) else slice(r, r + 1 or None)
        self.seeds = None if self.seeds is None else self.seeds[own]

    def drawn(self, like: Tensor, fill: Fill) -> Tensor:
        """Return a fresh tensor like one that leads with R, each replica's slice filled from its own stream."""
        # without seeds in the memory order of the input, as torch.nn draws: the same numbers
        order = torch.preserve_format if self.seeds is None else torch.contiguous_format
        value, source = torch.empty_like(like, memory_format=order), torch.Generator()
        for r, part in enumerate([value] if self.replicas is None else value):
            if self.seeds is None:
                fill(part, None)
                continue
            # on the CPU whatever the device, so that a seed gives the same numbers everywhere
            numbers = part if part.device.type == "cpu" else torch.empty_like(part, device="cpu")
            fill(numbers, source.manual_seed(derive(self.seeds[r], "draw", self.draws)))
            if numbers is not part:
                part.copy_(numbers)
        self.draws += self.seeds is not None
        return value

    def mask(self, like: Tensor, p: float) -> Tensor:
        """Return a fresh tensor as `drawn` does, each number of it 0 with probability p, or else 1 / (1 − p)."""
        if p == 1:
            return torch.zeros_like(like)
        return self.drawn(like, lambda value, generator: value.bernoulli_(1 - p, generator=generator)).div_(1 - p)


def _number(source: torch.Generator | None) -> int:
    device = "cpu" if source is None else source.device
    return int(torch.randint(2**63 - 1, (), generator=source, device=device))


def drawing(model: Module) -> list[tuple[str, Random]]:
    """The parts of a model that draw, under their names."""
    return [(name, part) for name, part in model.named_modules() if isinstance(part, Random)]


def redraw(parts: list[tuple[str, Random]], seeds: Sequence[int], epoch: int) -> None:
    """Let what `parts` draw in an epoch, such as a dropout's masks, be a function of seed, name and epoch alone."""
    for name, part in parts:
        part.seeds, part.draws = tuple(derive(seed, "draw", name, epoch) for seed in seeds), 0
