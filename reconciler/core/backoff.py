"""How long to wait before the next start."""

import math

from reconciler.core.spec import Restart


def backoff_delay(policy: Restart, n: int) -> float:
    """Seconds before restart `n` (from 1): `initial · factor^(n-1)`, at most `maxBackoff`; never overflows."""
    if n < 1 or policy.initial_backoff == 0:
        return 0.0
    if policy.initial_backoff >= policy.max_backoff:
        return policy.max_backoff
    if policy.factor == 1:
        return policy.initial_backoff
    steps_to_cap = math.log(policy.max_backoff / policy.initial_backoff) / math.log(policy.factor)
    if n - 1 >= steps_to_cap:
        return policy.max_backoff
    return min(policy.initial_backoff * policy.factor ** (n - 1), policy.max_backoff)


def is_exhausted(policy: Restart, n: int) -> bool:
    """Whether the n-th end in a row is one too many."""
    return n > policy.max_restarts
