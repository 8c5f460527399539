import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model import Limits
from reconciler.core.ports import choose_port, hosts_overlap


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("0.0.0.0", "::1"),
        ("0:0:0:0:0:0:0:0", "10.0.0.1"),
        ("::0", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("localhost", "::1"),
        ("LocalHost", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::ffff:0.0.0.0", "10.0.0.1"),
        ("Host.example", "host.EXAMPLE"),
    ],
)
def test_addresses_that_would_collide(one: str, other: str) -> None:
    assert hosts_overlap(one, other)
    assert hosts_overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"), ("10.0.0.1", "localhost"), ("host-a", "host-b")],
)
def test_addresses_that_would_not(one: str, other: str) -> None:
    assert not hosts_overlap(one, other)
    assert not hosts_overlap(other, one)


@pytest.mark.parametrize(
    ("limits", "taken", "port"),
    [
        (Limits(), set(), 8001),
        (Limits(), {8001, 8003}, 8002),
        (Limits(port_low=8001, port_high=8002), {8001, 8002}, None),
        (Limits(port_low=8001, port_high=8010, ephemeral=(8001, 8008)), set(), 8009),
        (Limits(port_low=9000, port_high=8000), set(), None),
    ],
)
def test_the_lowest_free_port_outside_the_kernels_own(limits: Limits, taken: set[int], port: int | None) -> None:
    assert choose_port(limits, taken) == port


@given(st.sets(st.integers(8001, 8010)), st.tuples(st.integers(7999, 8012), st.integers(7999, 8012)))
def test_a_chosen_port_is_of_the_range_and_free(taken: set[int], ephemeral: tuple[int, int]) -> None:
    port = choose_port(Limits(port_low=8001, port_high=8010, ephemeral=ephemeral), iter(taken))
    free = [p for p in range(8001, 8011) if p not in taken and not ephemeral[0] <= p <= ephemeral[1]]
    assert port == (free[0] if free else None)
