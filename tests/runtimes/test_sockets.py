import os
import socket
import sys

import pytest

from reconciler.runtimes import sockets
from reconciler.runtimes.sockets import Socket, _address, can_answer, listening_sockets, sockets_in_proc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.mark.skipif(sys.byteorder != "little", reason="the texts are those of a little-endian machine")
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("0A01A8C0", "192.168.1.10"),
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000000001000000", "::1"),
        ("000080FE000000000000000001000000", "fe80::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_as_the_kernel_prints_them(text: str, address: str) -> None:
    assert _address(text) == address


def test_only_listening_sockets_are_listed(free_port: int) -> None:
    address = ("127.0.0.1", free_port)
    with socket.create_server(address) as server, socket.create_connection(address) as client, server.accept()[0]:
        inode = os.fstat(server.fileno()).st_ino
        here = [one for one in listening_sockets() if one.port in (free_port, client.getsockname()[1])]
    assert here == [Socket("127.0.0.1", free_port, inode)]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_netlink_and_proc_agree(free_port: int, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, free_port), family=family, dualstack_ipv6="ffff" in address):
        by_netlink, by_proc = (
            [s for s in look() if s.port == free_port] for look in (listening_sockets, sockets_in_proc)
        )
    assert by_netlink == by_proc
    assert [one.address for one in by_netlink] == [address.removeprefix("::ffff:")]


def test_where_netlink_does_not_answer_proc_does(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> list[tuple[bytes, int, int]]:
        raise PermissionError

    monkeypatch.setattr(sockets, "dump_listeners", forbidden)
    with socket.create_server(("127.0.0.1", free_port)):
        assert free_port in {one.port for one in listening_sockets()}


def test_a_bound_socket_that_does_not_listen_is_none(free_port: int) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", free_port))
        assert free_port not in {one.port for one in listening_sockets()}


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("0::1", "::1", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("localhost", "::1", True),
        ("localhost", "192.168.1.10", False),
        ("gpu-box", "192.168.1.10", True),
        ("gpu-box.lan", "127.0.0.1", True),
    ],
)
def test_who_can_answer_at_a_host(host: str, address: str, expected: bool) -> None:
    assert can_answer(host, address) is expected
