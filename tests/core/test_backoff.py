import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.backoff import backoff_delay, is_exhausted
from reconciler.core.spec import Restart

DEFAULT = Restart()
PATIENT = Restart(initial_backoff=1.0, max_backoff=30.0, max_restarts=5)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (DEFAULT, [0.5, 1.0, 2.0]),
        (PATIENT, [1.0, 2.0, 4.0, 8.0, 16.0]),
        (Restart(max_restarts=7), [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]),
        (Restart(initial_backoff=0.0), [0.0, 0.0, 0.0]),
        (Restart(factor=1.0), [0.5, 0.5, 0.5]),
        (Restart(factor=1.5, initial_backoff=2.0), [2.0, 3.0, 4.5]),
        (Restart(initial_backoff=20.0), [10.0, 10.0, 10.0]),
        (Restart(max_backoff=0.0), [0.0, 0.0, 0.0]),
    ],
)
def test_each_restart_has_its_delay_until_the_budget_is_used_up(policy: Restart, delays: list[float]) -> None:
    assert [backoff_delay(policy, n) for n in range(1, policy.max_restarts + 1)] == delays
    assert not is_exhausted(policy, policy.max_restarts)
    assert is_exhausted(policy, policy.max_restarts + 1)


def test_before_the_first_end_there_is_no_delay() -> None:
    assert backoff_delay(DEFAULT, 0) == 0.0


def test_no_restart_at_all_can_be_asked_for() -> None:
    assert is_exhausted(Restart(max_restarts=0), 1)


@pytest.mark.parametrize("factor", [1.000001, 2.0, 100.0])
def test_a_million_failures_do_not_overflow(factor: float) -> None:
    policy = Restart(factor=factor, max_restarts=1_000_000)
    assert backoff_delay(policy, 10**6) <= policy.max_backoff
    assert backoff_delay(policy.model_copy(update={"factor": 2.0}), 10**6) == policy.max_backoff


@given(
    initial=st.floats(0, 1e8),
    most=st.floats(0, 1e8),
    factor=st.floats(1, 100),
    n=st.integers(1, 10**6),
)
def test_delays_never_shrink_and_never_exceed_the_cap(initial: float, most: float, factor: float, n: int) -> None:
    policy = Restart(initial_backoff=initial, max_backoff=most, factor=factor)
    assert 0 <= backoff_delay(policy, n) <= backoff_delay(policy, n + 1) <= most
