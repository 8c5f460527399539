"""How long to wait before the next start."""

from reconciler.core.spec import Restart

LEAST_FROM_GIT = 0.5
"""Seconds before a restart of what comes from Git, whatever it declares: it must not keep the controller busy."""


def backoff_delay(policy: Restart, n: int) -> float:
    """Seconds before restart `n` (from 1): `initial · factor^(n-1)`, at most `maxBackoff`; never overflows."""
    if n < 1 or policy.initial_backoff == 0:
        return 0.0
    try:
        delay = policy.initial_backoff * policy.factor ** (n - 1)
    except OverflowError:
        return policy.max_backoff
    return min(delay, policy.max_backoff)


def is_exhausted(policy: Restart, n: int) -> bool:
    """Whether the n-th end in a row is one too many."""
    return n > policy.max_restarts
