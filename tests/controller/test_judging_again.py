"""When the same look at the manifests is judged once more."""

import pytest

from reconciler.controller.accepting import JUDGE_AGAIN, Accepted
from reconciler.core.accept import Acceptance
from reconciler.core.model import Now
from reconciler.core.pruning import Memory


@pytest.mark.parametrize(
    ("missing", "wake_at", "later", "is_quiet"),
    [
        ((), None, 1000.0, True),
        ((), 102.0, 1.9, True),
        ((), 102.0, 2.0, False),
        (("a",), None, 0.1, True),
        (("a",), None, JUDGE_AGAIN, False),
        (("a",), 100.5, 0.5, False),
    ],
)
def test_what_is_held_is_judged_by_the_clock_and_not_with_every_pass(
    missing: tuple[str, ...], wake_at: float | None, later: float, is_quiet: bool
) -> None:
    acceptance = Acceptance({}, memory=Memory(missing=dict.fromkeys(missing, 50.0)), wake_at=wake_at)
    assert Accepted(acceptance=acceptance, at=100.0).is_quiet(Now(100.0 + later, 0.0, "boot")) is is_quiet
