"""Convolutions."""

from __future__ import annotations

from tests.cases.base import Bad, Case

CASES: list[Case] = []

BAD_INPUTS: list[Bad] = []

BAD_OPTIONS: list[Bad] = []
