"""`doctor` over a real installation, and what it tells people to paste."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
LATE = re.compile(r" within [\d.]+ s\b")
"""What is told of a check that took too long."""


def examined(installation: Installation, *arguments: str, code: int | None = None) -> dict[str, list[dict[str, str]]]:
    """The findings by check, as soon as the machine has time for all of them."""
    while LATE.search(told := installation.cli("doctor", "-o", "json", *arguments, code=None)):
        pass
    items = json.loads(told)["items"]
    assert code is None or code == any(item["status"] == "fail" for item in items), told
    return {name: [item for item in items if item["name"] == name] for name in {item["name"] for item in items}}


def statuses(found: dict[str, list[dict[str, str]]], *names: str) -> list[str]:
    return [item["status"] for name in names for item in found[name]]


def everything(installation: Installation) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in installation.root.rglob("*")
        if not path.name.startswith("controller-")
    }


@contextmanager
def by_hand(installation: Installation, port: int, ctx: int) -> Iterator[int]:
    """A llama-server that somebody began in a terminal."""
    model = installation.models / "tiny.gguf"
    argv = [installation.environ["LLAMA_SERVER"], "-m", str(model), "--port", str(port), "-c", str(ctx), "-t", "1"]
    log = (installation.root / "by-hand.log").open("wb")
    with log, subprocess.Popen([*argv, "-np", "1", "--no-warmup"], stdout=log, stderr=log) as process:
        try:
            installation.wait_for(
                "it to listen", lambda: b"listening on" in (installation.root / "by-hand.log").read_bytes()
            )
            yield process.pid
        finally:
            process.kill()


def test_an_installation_in_order_and_then_its_controller_in_trouble(installation: Installation) -> None:
    installation.declare("one", port=installation.ports[10])
    installation.declare("two")
    installation.start()
    installation.wait_ready("one", "two")
    found = examined(installation, code=0)
    ours = ("settings", "llama-server", "models", "manifests", "state", "database", "ports", "controller")
    assert set(statuses(found, *ours)) == {"ok"}, found
    assert installation.controller is not None
    assert found["controller"][0]["message"].startswith(f"pid {installation.controller.pid}, version ")

    installation.controller.send_signal(signal.SIGSTOP)
    stopped = examined(installation, code=1)["controller"][0]
    assert stopped["message"] == f"pid {installation.controller.pid} was stopped by a signal, and watches nothing"
    subprocess.run(shlex.split(stopped["remedy"].partition(": ")[2]), check=True)
    installation.wait_for("the controller to go on", lambda: statuses(examined(installation), "controller") == ["ok"])

    installation.end(signal.SIGKILL)
    gone = examined(installation, code=0)["controller"][0]
    assert gone["status"] == "warn"
    assert gone["remedy"].endswith("reconciler run")


def test_it_changes_nothing_where_no_controller_runs(installation: Installation) -> None:
    installation.declare("one")
    installation.cli("apply")
    before = everything(installation)
    examined(installation, code=0)
    assert everything(installation) == before


def test_a_llama_server_on_the_port_is_taken_over_with_what_is_told(installation: Installation) -> None:
    if installation.is_portable:
        pytest.skip("nobody can tell whose a port is")
    port = installation.ports[10]
    with by_hand(installation, port, 256) as pid:
        installation.start()
        installation.declare("chat", port=port, ctx=128)
        installation.wait_phase("chat", "Blocked")
        (held,) = examined(installation, code=0)["ports"]
        assert held["message"].startswith(f"port {port} of server/chat is held by pid {pid} (llama-server, user ")
        command = re.search(r"reconciler (adopt chat)", held["remedy"])
        assert command, held
        installation.cli(*command[1].split())
        installation.wait_phase("chat", "Ready")
        assert statuses(examined(installation, code=0), "ports") == ["ok"]
        installation.cli("stop", "chat", "--wait")


def test_a_damaged_database_and_from_elsewhere(installation: Installation) -> None:
    installation.declare("one")
    installation.cli("apply")
    database = installation.state / "state.db"
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(database.stat().st_size - 8192))
    found = examined(installation, "--state", str(installation.state), code=1)
    assert statuses(found, "database") == ["fail"]
    assert statuses(found, "models", "manifests") == ["ok", "ok"]
    assert "reconciler run" in found["database"][0]["message"] + found["database"][0]["remedy"]
