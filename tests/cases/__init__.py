"""The table of members of handgrad.nn that the tests run through, a file for each family.

To cover a new member, add rows to its family's CASES, and wrong uses to BAD_INPUTS and BAD_OPTIONS.
"""

from tests.cases import (
    activations,
    attention,
    containers,
    conv,
    dropout,
    linear,
    losses,
    norms,
    pooling,
    recurrent,
    shape,
)
from tests.cases.base import (
    Bad,
    Case,
    Replicated,
    Shape,
    close,
    differentiated,
    each,
    explains,
    generator,
    grads,
    ids,
    leaves,
    network,
    target,
    upstream,
)

__all__ = [
    "BAD_INPUTS",
    "BAD_OPTIONS",
    "CASES",
    "Bad",
    "Case",
    "Replicated",
    "Shape",
    "close",
    "differentiated",
    "each",
    "explains",
    "generator",
    "grads",
    "ids",
    "leaves",
    "network",
    "target",
    "upstream",
]

FAMILIES = [activations, attention, containers, conv, dropout, linear, losses, norms, pooling, recurrent, shape]

CASES = [row for family in FAMILIES for row in family.CASES]
BAD_INPUTS = [row for family in FAMILIES for row in family.BAD_INPUTS]
BAD_OPTIONS = [row for family in FAMILIES for row in family.BAD_OPTIONS]
