import os
import socket
from pathlib import Path

import pytest

from reconciler.runtimes import low_ports
from reconciler.runtimes.low_ports import may_listen


@pytest.mark.parametrize("port", [0, 1024, 8001, 65535])
def test_high_ports_are_everybodys(port: int) -> None:
    assert may_listen(port)


@pytest.mark.parametrize(
    ("first", "rights", "port", "allowed"),
    [
        ("1024", "0000000000000000", 80, False),
        ("80", "0000000000000000", 80, True),
        ("80", "0000000000000000", 79, False),
        ("1024", "0000000000000400", 80, True),
        ("none", "0000000000000000", 80, True),
    ],
)
def test_a_low_port_is_for_those_who_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, rights: str, port: int, *, allowed: bool
) -> None:
    (tmp_path / "first").write_text(f"{first}\n")
    (tmp_path / "status").write_text(f"Name:\tx\nCapEff:\t{rights}\n")
    monkeypatch.setattr(low_ports, "FIRST_OPEN", tmp_path / "first")
    monkeypatch.setattr(low_ports, "STATUS", tmp_path / "status")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert may_listen(port) == allowed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as somebody else")
def test_it_is_as_the_kernel_has_it() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with socket.socket() as listener:
                try:
                    listener.bind(("127.0.0.1", 19))
                    bound = True
                except PermissionError:
                    bound = False
            os.write(writing, f"{bound} {may_listen(19)}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        told = file.read().split()
    assert told in (["True", "True"], ["False", "False"])
