"""Who is ours is told by the marks and by (boot, pid, start ticks), never by a pid alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.runtimes.host import choose_host
from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
Row = dict[str, Any]


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A program that is none of ours."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def change_row(installation: Installation, name: str, change: Callable[[Row], None]) -> None:
    """Another row of a server's open instance than its controller left."""
    with installation.writing() as connection:
        ((uid, text),) = connection.execute(
            "select uid, row from instances where server = ? and ended_at is null", [name]
        ).fetchall()
        row = json.loads(text)
        change(row)
        pid = row["identity"]["pid"] if row["identity"] else None
        connection.execute("update instances set row = ?, pid = ? where uid = ?", [json.dumps(row), pid, uid])


def identity(pid: int, **fields: Any) -> Row:
    found = choose_host(os.environ.get("RECONCILER_HOST", "")).identify(pid)
    assert found is not None
    return {"boot": found.boot, "pid": pid, "start_ticks": found.start_ticks, **fields}


def test_one_that_was_spawned_and_not_recorded_is_found_by_its_mark(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.end(signal.SIGKILL)
    (recorded,) = installation.instances("chat")
    change_row(installation, "chat", lambda row: row.update(identity=None, ready=None, first_ready=None))
    installation.start()
    installation.wait_for("its identity", lambda: installation.instances("chat")[-1]["identity"])
    assert installation.wait_ready("chat") == before
    (row,) = installation.instances("chat")
    assert (row["uid"], row["identity"]) == (recorded["uid"], recorded["identity"])


def test_one_whose_wrapper_empties_the_environment_is_found_by_its_record(installation: Installation) -> None:
    program = installation.root / "bare-llama-server"
    program.write_text(f'#!/bin/sh\nexec env -i {installation.environ["LLAMA_SERVER"]} "$@"\n')
    program.chmod(0o755)
    installation.environ["LLAMA_SERVER"] = str(program)
    installation.declare("chat")
    installation.start()
    installation.wait_phase("chat", "Ready")
    (before,) = installation.instances("chat")
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    installation.wait_phase("chat", "Ready")
    (after,) = installation.instances("chat")
    assert (after["uid"], after["ended"]) == (before["uid"], None)
    installation.cli("stop", "chat", "--wait")
    assert choose_host().identify(before["identity"]["pid"]) is None


def test_a_recorded_pid_that_another_program_wears_now_is_left_alone(
    installation: Installation, stranger: "subprocess.Popen[bytes]"
) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.end(signal.SIGKILL)
    os.kill(before["chat"], signal.SIGKILL)
    change_row(installation, "chat", lambda row: row["identity"].update(pid=stranger.pid))
    installation.start()
    after = installation.wait_ready("chat")
    assert after["chat"] not in (before["chat"], stranger.pid)
    closed, _ = installation.instances("chat")
    assert (closed["exit"], closed["diagnosis"]) == ({"code": None, "signal": None}, "Unknown")
    installation.cli("stop", "chat", "--wait")
    assert stranger.poll() is None


def test_after_another_boot_nothing_is_adopted_by_its_pid(
    installation: Installation, stranger: "subprocess.Popen[bytes]"
) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.end(signal.SIGKILL)
    os.kill(before["chat"], signal.SIGKILL)

    def of_another_boot(row: Row) -> None:
        row["intent"]["boot"] = "another"
        row["identity"] = identity(stranger.pid, boot="another")

    change_row(installation, "chat", of_another_boot)
    installation.start()
    installation.wait_ready("chat")
    closed, row = installation.instances("chat")
    assert (closed["diagnosis"], row["trigger"]) == ("Rebooted", "Rebooted")
    assert stranger.poll() is None


SUBREAPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
while True:
    command = sys.stdin.readline()
    if command.startswith("run"):
        log = open("controller-" + command.split()[1] + ".log", "wb")
        controller = subprocess.Popen([sys.executable, "-m", "reconciler", "run"], stdout=log, stderr=log)
        print(controller.pid, flush=True)
    elif command.startswith("wait"):
        controller.wait()
        print("gone", flush=True)
    elif command.startswith("reap"):
        os.waitpid(int(command.split()[1]), 0)
        print("reaped", flush=True)
    else:
        break
"""
"""A parent of controllers to whom orphans come, as to a container's first process. It reaps only what it is told to."""


class LazyParent:
    """Runs controllers one after the other, and is slow to reap what they leave behind."""

    def __init__(self, installation: Installation) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SUBREAPER],
            cwd=installation.root,
            env=installation.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.controllers = 0

    def tell(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def run(self) -> int:
        self.controllers += 1
        return int(self.tell(f"run {self.controllers}"))

    def replace(self, pid: int) -> int:
        """Another controller in place of this one, which is killed."""
        os.kill(pid, signal.SIGKILL)
        self.tell("wait")
        return self.run()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def parent(installation: Installation) -> Iterator[LazyParent]:
    if sys.platform != "linux":
        pytest.skip("needs prctl")
    made = LazyParent(installation)
    controllers: list[int] = []
    run = made.run

    def recorded() -> int:
        controllers.append(run())
        return controllers[-1]

    made.run = recorded  # type: ignore[method-assign]
    yield made
    for pid in controllers[-1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    made.close()


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_zombie_that_nobody_reaps_is_dead(installation: Installation, parent: LazyParent) -> None:
    installation.declare("chat")
    controller = parent.run()
    before = installation.wait_ready("chat")
    parent.replace(controller)
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    os.kill(before["chat"], signal.SIGKILL)
    after = installation.wait_ready("chat")
    assert is_zombie(before["chat"])
    assert after["chat"] != before["chat"]
    closed, _ = installation.instances("chat")
    assert closed["exit"] == {"code": None, "signal": None}


def test_a_zombie_that_is_there_from_the_beginning_is_dead(installation: Installation, parent: LazyParent) -> None:
    installation.declare("chat")
    controller = parent.run()
    before = installation.wait_ready("chat")
    os.kill(controller, signal.SIGKILL)
    parent.tell("wait")
    os.kill(before["chat"], signal.SIGKILL)
    installation.wait_for("the zombie", lambda: is_zombie(before["chat"]))
    parent.run()
    installation.wait_ready("chat")
    assert is_zombie(before["chat"])
    assert installation.instances("chat")[0]["exit"] == {"code": None, "signal": None}


def test_how_an_adopted_server_ended_is_known_where_the_kernel_tells(
    installation: Installation, parent: LazyParent
) -> None:
    if installation.is_portable or tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 15):
        pytest.skip("Linux tells it since 6.15")
    installation.declare("chat")
    controller = parent.run()
    before = installation.wait_ready("chat")
    parent.replace(controller)
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    os.kill(before["chat"], signal.SIGABRT)
    began = time.monotonic()
    parent.tell(f"reap {before['chat']}")
    if time.monotonic() - began > 0.05:
        pytest.skip("the machine was too busy to reap it in time")
    installation.wait_for("its end", lambda: installation.instances("chat")[0]["ended"])
    assert installation.instances("chat")[0]["exit"] == {"code": None, "signal": signal.SIGABRT}
    assert installation.instances("chat")[0]["diagnosis"] == "Crashed"
    installation.wait_ready("chat")


LAZY_INIT = """
import pathlib, subprocess, sys
run = lambda: subprocess.Popen([sys.executable, "-m", "reconciler", "run"], stdin=subprocess.DEVNULL)
first = run()
sys.stdin.readline()
first.kill()
first.wait()
pathlib.Path("first-is-gone").touch()
second = run()
sys.stdin.readline()
"""


def test_a_first_process_that_reaps_nobody_harms_nothing(installation: Installation) -> None:
    """In a pid namespace of its own, as in a container whose first process is no init."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("makes a pid namespace")
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make a pid namespace here")
    installation.declare("chat")
    with (installation.root / "controller-0.log").open("wb") as log:
        outer = subprocess.Popen(
            [*unshare, sys.executable, "-c", LAZY_INIT],
            cwd=installation.root,
            env=installation.environ,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    assert outer.stdin is not None
    try:
        installation.wait_ready("chat")
        outer.stdin.write(b"next\n")
        outer.stdin.flush()
        installation.wait_for("the end of the first controller", (installation.root / "first-is-gone").exists)
        installation.wait_for("the second controller", installation.is_controlled)
        for number in range(2, 5):
            os.kill(installation.wait_ready("chat")["chat"], signal.SIGKILL)
            installation.wait_for("another", lambda: len(installation.instances("chat")) == number)  # noqa: B023
    finally:
        outer.kill()
        outer.communicate()
