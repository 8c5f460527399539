"""What systemd is told: by the protocol itself, and by a controller over real servers."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.sd_notify import Systemd
from tests.e2e.conftest import installation
from tests.e2e.installation import Installation

__all__ = ["installation"]


class Manager:
    """The end of the line that is systemd's."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.said: list[tuple[float, dict[str, str]]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def hears(self, name: str, value: str = "", *, seconds: float = 20.0) -> dict[str, str]:
        """The next message that has an assignment (with that in its value); what comes before it is kept as well."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                text = self._socket.recv(4096).decode()
            except TimeoutError:
                break
            message = dict(line.partition("=")[::2] for line in text.splitlines())
            self.said.append((time.monotonic(), message))
            if name in message and value in message[name]:
                return message
        raise AssertionError(f"no {name}={value} among {self.said}")

    def hears_no_more(self, name: str) -> None:
        """Nothing comes for longer than it should, behind what was on its way."""
        until = time.monotonic() + 15
        while time.monotonic() < until:
            try:
                self.hears(name, seconds=1.5)
            except AssertionError:
                return
        raise AssertionError(f"{name} comes and comes")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def any_manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}/notify")
    yield made
    made.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_a_message_arrives_as_it_is(any_manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": any_manager.address, "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}
    systemd = Systemd(environ)
    assert (systemd.watchdog, environ) == (1.5, {})  # what is started from here is not the service
    systemd.tell("STATUS=3 of\n4 servers\nREADY=1", "WATCHDOG=1")
    assert any_manager.hears("WATCHDOG") == {"STATUS": "3 of 4 servers READY=1", "WATCHDOG": "1"}
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading("again")
    told = any_manager.hears("RELOADING", "1")
    assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize(
    ("environ", "listens", "watchdog"),
    [
        ({}, False, 0.0),
        ({"WATCHDOG_USEC": "1000000"}, False, 0.0),
        ({"NOTIFY_SOCKET": "/nowhere/at/all"}, True, 0.0),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, False, 0.0),
        ({"NOTIFY_SOCKET": "@"}, False, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000"}, True, 2.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, True, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, True, 0.0),
        ({"NOTIFY_SOCKET": "/" + "x" * 200}, True, 0.0),
    ],
)
def test_who_listens_and_what_for(environ: dict[str, str], listens: bool, watchdog: float) -> None:
    systemd = Systemd(environ)
    assert (systemd.listens, systemd.watchdog) == (listens, watchdog)
    systemd.tell("READY=1")  # nobody there is no error


def test_a_manager_that_does_not_read_holds_nobody_up(manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    began = time.monotonic()
    for _ in range(2000):
        systemd.tell("STATUS=" + "x" * 1000)
    assert time.monotonic() - began < 5


def started(installation: Installation, manager: Manager, *arguments: str, watchdog: float = 0.6) -> None:
    usec = {"WATCHDOG_USEC": str(int(watchdog * 1_000_000))} if watchdog else {}
    installation.start(*arguments, NOTIFY_SOCKET=manager.address, **usec)


@pytest.mark.real
def test_the_life_of_a_controller(installation: Installation, manager: Manager) -> None:
    installation.declare("one")
    started(installation, manager)
    ready = manager.hears("READY", "1")
    # The first pass is over, and commands are answered.
    assert installation.passes() >= 1
    assert ready["STATUS"].startswith("1 server: 1 ")
    assert "one" in installation.phases()
    manager.hears("STATUS", "1 Ready")
    for _ in range(3):
        manager.hears("WATCHDOG", "1", seconds=2)
    pid = installation.pids()["one"]
    # A server is not the service.
    assert "NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_text()

    assert installation.controller is not None
    before = installation.passes()
    installation.controller.send_signal(signal.SIGHUP)
    manager.hears("RELOADING", "1", seconds=5)
    manager.hears("READY", "1", seconds=5)
    assert installation.passes() > before

    assert installation.end() == 0
    assert manager.hears("STOPPING", "1", seconds=5)["STATUS"] == "ending"
    assert installation.pids() == {"one": pid}


@pytest.mark.real
def test_a_long_end_is_prolonged_and_a_hang_is_silence(installation: Installation, manager: Manager) -> None:
    installation.declare("one", stop={"gracePeriod": "30s"})
    started(installation, manager, "--on-exit", "stop")
    manager.hears("READY", "1")
    pid = installation.wait_ready("one")["one"]
    assert installation.controller is not None

    # Nothing goes on in a controller that stands still, so nobody says that all is well.
    installation.controller.send_signal(signal.SIGSTOP)
    manager.hears_no_more("WATCHDOG")
    installation.controller.send_signal(signal.SIGCONT)
    manager.hears("WATCHDOG", "1", seconds=5)

    os.kill(pid, signal.SIGSTOP)  # it does not end when it is told to
    installation.controller.send_signal(signal.SIGTERM)
    manager.hears("STOPPING", "1", seconds=5)
    for _ in range(2):
        assert int(manager.hears("EXTEND_TIMEOUT_USEC", seconds=5)["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
    os.kill(pid, signal.SIGCONT)
    assert installation.controller.wait(20) == 0
    installation.controller = None
    assert installation.pids() == {}


@pytest.mark.real
def test_passes_that_do_not_go_on_are_silence(installation: Installation, manager: Manager) -> None:
    """Though the event loop is alive: the watchdog is the loop's, not the interpreter's."""
    sitecustomize = installation.root / "site"
    sitecustomize.mkdir()
    (sitecustomize / "sitecustomize.py").write_text(
        "import pathlib\n"
        "from reconciler.controller import loop\n"
        "whole = loop.Loop.run_pass\n"
        "async def stuck(self):\n"
        "    if not pathlib.Path('stuck').exists():\n"
        "        return await whole(self)\n"
        "    self._poked.clear()\n"
        "loop.Loop.run_pass = stuck\n"
    )
    installation.start(
        NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="600000", PYTHONPATH=f"{sitecustomize}:{Path.cwd()}"
    )
    manager.hears("WATCHDOG", "1")
    (installation.root / "stuck").touch()
    manager.hears_no_more("WATCHDOG")
    assert installation.is_controlled()
