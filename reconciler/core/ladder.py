"""The fallback ladder: what is tried, in which order, when what was asked for does not run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEAST_CTX = 2048
"""Tokens of context below which `auto` does not go."""


@dataclass(frozen=True, slots=True)
class Step:
    """One safer setting."""

    number: int
    """From 1, in the order of trying; 0 is what was asked for."""
    told: str = ""
    """It in a few words, such as `ctx 16384` or `CPU only`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the spec that differ, as a manifest writes them; flags by name within `flags`."""
    hides_gpus: bool = False
    """The GPUs are hidden from it, too: without that a CUDA context would take memory on them."""
    on: frozenset[str] = frozenset()
    """The causes that it answers."""


PRIMARY = Step(0)
"""What was asked for."""
