"""What every host owes the runtime, over real processes and sockets."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model import Identity
from reconciler.core.observed import Listener
from reconciler.runtimes.host import (
    FINGERPRINT,
    INSTALLATION,
    MOST_CHANGES,
    PORT,
    SERVER,
    STEP,
    UID,
    Host,
    Marked,
    changes_mark,
    choose_host,
    read_changes_mark,
    read_step_mark,
    step_mark,
)
from reconciler.runtimes.portable import PolledWatch, PortableHost
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

if TYPE_CHECKING:
    import subprocess

HOME = "installation-of-this-test"
MARKS = {INSTALLATION: HOME, SERVER: "chat", UID: "u1", FINGERPRINT: "1:abc", PORT: "8001"}
LISTEN = (
    "import socket,sys,time; s=socket.create_server((sys.argv[1], int(sys.argv[2]))); print(flush=True); time.sleep(99)"
)


def identified(host: Host, pid: int) -> Identity:
    identity = host.identify(pid)
    assert identity is not None
    return identity


def ignore_end() -> None:
    """For watches that are asked instead of waited for."""


def until_zombie(child: "subprocess.Popen[bytes]") -> None:
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def found(host: Host, installation: str = HOME, *, fresh: bool = True) -> dict[int, Marked]:
    return {marked.identity.pid: marked for marked in host.marked(installation, fresh=fresh)}


@contextmanager
def listening(address: str, port: int, *, share: bool = False) -> Iterator[None]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, reuse_port=share):
        yield


def listen(spawn: Spawn, address: str, port: int, **environ: str) -> "subprocess.Popen[bytes]":
    child = spawn(sys.executable, "-c", LISTEN, address, str(port), **environ)
    assert child.stdout is not None
    child.stdout.readline()
    return child


# ---------------------------------------------------------------- identity


def test_an_identity_stays_the_same_and_tells_processes_apart(host: Host, spawn: Spawn) -> None:
    first, second = spawn("sleep", "60"), spawn("sleep", "60")
    assert identified(host, first.pid) == identified(type(host)(), first.pid)
    assert identified(host, first.pid).boot == host.boot
    assert identified(host, first.pid) != identified(host, second.pid)


def test_a_name_with_brackets_and_spaces_confuses_nobody(host: Host, spawn: Spawn, tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    child = spawn(str(program), "60")
    assert identified(host, child.pid).start_ticks > 1


def test_a_zombie_is_dead(host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "60")
    identity = identified(host, child.pid)
    watch = host.watch(identity, ignore_end)
    assert watch is not None
    assert not watch.has_ended()
    child.kill()
    until_zombie(child)
    assert host.identify(child.pid) is None
    assert watch.has_ended()
    assert host.watch(identity, ignore_end) is None
    watch.close()


def test_a_process_that_is_gone_has_no_identity_and_no_progress(host: Host, spawn: Spawn) -> None:
    child = spawn("true")
    child.wait()
    assert host.identify(child.pid) is None
    assert host.progress(child.pid) is None


# ---------------------------------------------------------------- marks


def test_only_the_marks_of_the_right_installation_are_seen(host: Host, spawn: Spawn) -> None:
    spawn("sleep", "60", **{**MARKS, INSTALLATION: HOME + "2"})
    spawn("sleep", "60", OTHER=f"{INSTALLATION}={HOME}")
    spawn("sleep", "60")
    ours = spawn("sleep", "60", **MARKS)
    eventually(lambda: found(host))
    assert found(host) == {
        ours.pid: Marked(
            identified(host, ours.pid), leader=True, server="chat", uid="u1", fingerprint="1:abc", port=8001
        )
    }
    assert found(host, HOME[:-1]) == {}


@pytest.mark.parametrize(
    ("mark", "step", "hides_gpus"),
    [("0", 0, False), ("2", 2, False), ("3 cpu", 3, True), ("0 cpu", 0, True), ("", 0, False), ("x cpu", 0, False)],
)
def test_the_mark_tells_the_fallback_step(host: Host, spawn: Spawn, mark: str, step: int, hides_gpus: bool) -> None:
    ours = spawn("sleep", "60", **{**MARKS, STEP: mark})
    eventually(lambda: found(host))
    assert (found(host)[ours.pid].step, found(host)[ours.pid].hides_gpus) == (step, hides_gpus)


@given(st.integers(0, 9999), st.booleans())
def test_the_mark_of_a_step_is_read_as_it_is_written(step: int, hides_gpus: bool) -> None:
    assert read_step_mark(step_mark(step, hides_gpus=hides_gpus)) == (step, hides_gpus)


@given(st.text())
def test_a_copied_mark_of_a_step_may_hold_anything(text: str) -> None:
    step, _ = read_step_mark(text)
    assert 0 <= step <= 9999
    told, changes = read_changes_mark(text)
    assert isinstance(told, str)
    assert isinstance(changes, dict)


@pytest.mark.parametrize(
    "mark", ["[" * 8000, '["x", {}, 1]', "{}", "7", "null", '["x"]', "[" + " " * 9000 + '"x", {"ctx": 1}]']
)
def test_what_is_no_mark_of_changes_says_nothing(mark: str) -> None:
    assert read_changes_mark(mark) == ("", {})


def test_changes_too_long_for_a_mark_are_not_told() -> None:
    assert changes_mark("long", {"flags": {"x": "y" * MOST_CHANGES}}) == ""


def test_a_zombie_bears_no_mark(host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "60", **MARKS)
    eventually(lambda: found(host))
    child.kill()
    until_zombie(child)
    assert found(host) == {}


def test_a_mark_that_makes_no_sense_is_passed_over(host: Host, spawn: Spawn) -> None:
    spawn("sleep", "60", **{**MARKS, PORT: "eighty"})
    good = spawn("sleep", "60", **MARKS)
    assert list(eventually(lambda: found(host))) == [good.pid]


def test_a_look_that_is_not_fresh_shows_only_what_is_new(host: Host, spawn: Spawn) -> None:
    first = spawn("sleep", "60", **MARKS)
    eventually(lambda: first.pid in found(host))
    assert found(host, fresh=False) == {}
    second = spawn("sleep", "60", **MARKS)
    assert list(eventually(lambda: found(host, fresh=False))) == [second.pid]
    assert found(host).keys() == {first.pid, second.pid}


def test_helpers_are_no_leaders(host: Host, spawn: Spawn) -> None:
    leader = spawn("sh", "-c", "sleep 60 & sleep 60 & wait", **MARKS)
    marked = eventually(lambda: len(found(host)) == 3 and found(host))
    assert marked
    assert [pid for pid, one in marked.items() if one.leader] == [leader.pid]


# ---------------------------------------------------------------- watching and signalling


@pytest.mark.parametrize(
    "other",
    [
        lambda identity: replace(identity, start_ticks=identity.start_ticks - 1),
        lambda identity: replace(identity, boot="another"),
    ],
    ids=["another start", "another boot"],
)
def test_a_watch_on_another_process_of_that_pid_is_refused(host: Host, spawn: Spawn, other: object) -> None:
    assert callable(other)
    child = spawn("sleep", "60")
    assert host.watch(other(identified(host, child.pid)), ignore_end) is None


def test_a_refused_watch_leaves_no_descriptor_open(linux: Host) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        assert linux.watch(Identity(linux.boot, os.getpid(), 1), ignore_end) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_signal_arrives_and_one_that_comes_too_late_is_no_error(host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "60")
    watch = host.watch(identified(host, child.pid), ignore_end)
    assert watch is not None
    watch.signal(signal.SIGTERM)
    assert child.wait(20) == -signal.SIGTERM
    watch.signal(signal.SIGTERM)
    watch.close()
    watch.close()


def test_without_pidfd_a_pid_that_means_another_process_is_not_signalled(spawn: Spawn) -> None:
    host, child = PortableHost(), spawn("sleep", "60")
    identity = identified(host, child.pid)
    PolledWatch(host, replace(identity, start_ticks=identity.start_ticks - 1)).signal(signal.SIGKILL)
    PolledWatch(host, identity).signal(signal.SIGTERM)
    assert child.wait(20) == -signal.SIGTERM


@pytest.mark.anyio
async def test_an_end_is_told_once_in_the_event_loop(linux: Host, spawn: Spawn) -> None:
    child, ends, told = spawn("sleep", "60"), [], asyncio.Event()

    def on_end() -> None:
        ends.append(1)
        told.set()

    watch = linux.watch(identified(linux, child.pid), on_end)
    assert watch is not None
    await asyncio.sleep(0.02)
    assert not ends
    child.kill()
    await asyncio.wait_for(told.wait(), 20)
    await asyncio.sleep(0.02)
    assert ends == [1]
    assert watch.has_ended()
    watch.close()


@pytest.mark.anyio
async def test_a_closed_watch_tells_nothing(linux: Host, spawn: Spawn) -> None:
    child, ends = spawn("sleep", "60"), []
    watch = linux.watch(identified(linux, child.pid), lambda: ends.append(1))
    assert watch is not None
    watch.close()
    child.kill()
    child.wait()
    await asyncio.sleep(0.02)
    assert not ends


# ---------------------------------------------------------------- sockets


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_listeners_are_seen_with_their_owner_where_asked(linux: Host, free_port: int, address: str) -> None:
    with listening(address, free_port):
        here = [one for one in linux.listeners() if one.port == free_port]
        assert here == [Listener(address, free_port)]
        (resolved,) = [one for one in linux.listeners(frozenset({free_port})) if one.port == free_port]
    assert (resolved.pid, resolved.uid) == (os.getpid(), "")
    assert resolved.program == Path("/proc/self/comm").read_text().strip()


def test_a_listener_of_ours_is_known_by_its_mark(linux: Host, spawn: Spawn, free_port: int) -> None:
    child = listen(spawn, "127.0.0.1", free_port, **MARKS)
    (resolved,) = [one for one in linux.listeners(frozenset({free_port})) if one.port == free_port]
    assert (resolved.pid, resolved.uid) == (child.pid, "u1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_without_proc_a_taken_port_is_found_by_trying(free_port: int, address: str) -> None:
    host = PortableHost()
    assert host.listeners(frozenset({free_port})) == ()
    with listening(address, free_port):
        assert host.listeners(frozenset({free_port})) == (Listener("", free_port),)
        assert host.listeners() == ()
    assert host.listeners(frozenset({free_port})) == ()


@pytest.mark.parametrize(
    ("bound", "asked", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "a-name-in-hosts", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("::1", "127.0.0.1", False),
        ("::", "::1", True),
    ],
)
def test_own_sockets_are_told_by_address(host: Host, free_port: int, bound: str, asked: str, expected: bool) -> None:
    with listening(bound, free_port):
        assert host.listens(os.getpid(), asked, free_port) is expected
    assert host.listens(os.getpid(), asked, free_port) is False


def test_a_strangers_socket_is_not_ours(host: Host, spawn: Spawn, free_port: int) -> None:
    child = spawn("sleep", "60")
    with listening("127.0.0.1", free_port):
        assert host.listens(child.pid, "127.0.0.1", free_port) is False
    child.kill()
    child.wait()
    assert host.listens(child.pid, "127.0.0.1", free_port) is False


def test_a_port_shared_with_a_stranger_is_not_ours(linux: Host, spawn: Spawn, free_port: int) -> None:
    shared = LISTEN.replace(")))", ")), reuse_port=True)")
    child = spawn(sys.executable, "-c", shared, "127.0.0.1", str(free_port))
    assert child.stdout is not None
    child.stdout.readline()
    assert linux.listens(child.pid, "127.0.0.1", free_port) is True
    with listening("127.0.0.1", free_port, share=True):
        assert linux.listens(child.pid, "127.0.0.1", free_port) is False


# ---------------------------------------------------------------- progress


def test_work_is_progress_and_sleep_is_not(host: Host, spawn: Spawn) -> None:
    busy, idle = spawn(sys.executable, "-c", "while True: pass"), spawn("sleep", "60")

    def used() -> float:
        progress = host.progress(busy.pid)
        assert progress is not None
        return progress.cpu_seconds

    eventually(lambda: used() >= 0.1)
    asleep = host.progress(idle.pid)
    assert asleep is not None
    eventually(lambda: used() >= 0.2)
    assert host.progress(idle.pid) == asleep


def test_reading_is_progress(linux: Host, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(4 * 1024 * 1024))
    child = spawn(sys.executable, "-c", f"open({str(tmp_path / 'model')!r},'rb').read(); import time; time.sleep(60)")
    eventually(lambda: (progress := linux.progress(child.pid)) and progress.bytes_read >= 4 * 1024 * 1024)


# ---------------------------------------------------------------- which host


def test_the_portable_host_is_taken_where_asked_for() -> None:
    assert isinstance(choose_host("portable"), PortableHost)


def test_a_sandbox_without_pidfd_gets_the_portable_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", forbidden, raising=False)
    assert isinstance(choose_host(), PortableHost)


def test_windows_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OSError, match="run it inside WSL 2"):
        choose_host()


def test_a_process_whose_descriptors_may_not_be_seen_is_not_taken_for_a_stranger(
    linux: Host, monkeypatch: pytest.MonkeyPatch, spawn: Spawn, free_port: int
) -> None:
    """As of a program with capabilities; whose socket it is may still be told by another that has it."""
    child, listdir = listen(spawn, "127.0.0.1", free_port), os.listdir

    def forbid(path: str) -> list[str]:
        if path == f"/proc/{child.pid}/fd":
            raise PermissionError(path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", forbid)
    assert linux.listens(child.pid, "127.0.0.1", free_port) is None
    with listening("0.0.0.0", free_port + 1):
        assert linux.listens(child.pid, "127.0.0.1", free_port + 1) is False
