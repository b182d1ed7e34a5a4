"""What handgrad set out to reach, as ratios of the peer's time to its own, or of its memory to what is needed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """At least this, and the aim."""

    least: float
    aim: float

    def __str__(self) -> str:
        return f"≥ {self.least:g}×, aim {self.aim:g}×"

    def verdict(self, reached: float) -> str:
        """In words, plain where it is missed."""
        if reached >= self.aim:
            return "aim reached"
        return "reached" if reached >= self.least else "**not reached**"


LOOP, PROCESSES, VMAP, JAX = Target(6, 10), Target(3, 5), Target(4, 6), Target(2.5, 5)
STEPS = (Target(1.5, 2.5), Target(1.1, 1.5), Target(0.95, 1.05))
"""In the order of `steps.NETWORKS`."""

SINGLE, REPLICA = Target(0.9, 1.1), Target(2, 4)
"""Of the architectures: one network, and one of 20 replicas, against torch.nn's step."""

MEMORY = 1.2
"""At most."""
