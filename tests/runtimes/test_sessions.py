"""Helpers of a server that have cast off its mark, or its session: they are its own none the less, and die with it."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.history import Instance, Stamp
from reconciler.core.model import Process
from reconciler.runtimes import linux as linux_module
from reconciler.runtimes.host import INSTALLATION, Host
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.runtimes.tracked import Tracked, session_members
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
Make = Callable[[], LocalRuntime]
HELPERS = {
    "with the mark": "sleep 61 & wait",
    "without the mark": "env -i /bin/sleep 61 & wait",
    "without the mark, in a group of its own": "set -m; env -i /bin/sleep 61 & wait",
    "with the mark, in a session of its own": "setsid sleep 61 & wait",
}


@pytest.fixture
def make(linux: Host, tmp_path: Path) -> Iterator[Make]:
    """Makes runtimes of one installation."""
    made: list[LocalRuntime] = []

    def runtime() -> LocalRuntime:
        one = LocalRuntime(type(linux)(), tmp_path.name, Logs(tmp_path / "logs", keep=1, most_bytes=1), lambda: None)
        made.append(one)
        return one

    yield runtime
    for process in made[-1].observe(fresh=True).get("chat", ()):
        made[-1].kill(process.identity)
    for one in made:
        one.close()


def begin(runtime: LocalRuntime, script: str) -> int:
    """A leader and its helper; the leader's pid."""
    instance = Instance("u1", "chat", fingerprint="1:abc", generation=1, port=8001, intent=Stamp("boot", 1.0, 2.0))
    launch = Launch(("/bin/bash", "-c", script), {"PATH": os.environ["PATH"]})
    return runtime.start(instance, launch).pid


def sleeper(leader: int) -> int:
    """The helper, once it is a program of its own."""

    def look() -> int:
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        for pid in children:
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"sleep\x0061\x00"):
                    return int(pid)
        return 0

    return eventually(look)


def seen(runtime: LocalRuntime, *, fresh: bool = True) -> list[Process]:
    return [process for process in runtime.observe(fresh=fresh).get("chat", ()) if process.alive]


def kill_all_but(runtime: LocalRuntime, leader: int) -> None:
    for process in seen(runtime):
        if process.identity.pid != leader:
            runtime.kill(process.identity)


@pytest.mark.parametrize("kind", HELPERS)
def test_they_are_seen_beside_their_leader(make: Make, kind: str) -> None:
    runtime = make()
    leader = begin(runtime, HELPERS[kind])
    helper = sleeper(leader)
    found = {process.identity.pid: process for process in seen(runtime)}
    assert found.keys() == {leader, helper}
    assert (found[helper].server, found[helper].uid) == ("chat", "u1")


@pytest.mark.parametrize("kind", HELPERS)
def test_they_are_left_over_when_it_ends_and_can_be_killed(make: Make, kind: str) -> None:
    runtime = make()
    leader = begin(runtime, HELPERS[kind])
    helper = sleeper(leader)
    runtime.observe(fresh=True)
    os.kill(leader, 9)
    eventually(lambda: len(seen(runtime)) == 1)
    (left,) = seen(runtime)
    assert left.identity.pid == helper
    runtime.kill(left.identity)
    eventually(lambda: not seen(runtime))


@pytest.mark.parametrize("kind", ["with the mark", "without the mark", "with the mark, in a session of its own"])
def test_one_begun_since_the_last_look_is_seen_at_the_end_at_once(make: Make, tmp_path: Path, kind: str) -> None:
    """What is seen later would run beside the next instance for a while."""
    runtime, pipe = make(), tmp_path / "go"
    os.mkfifo(pipe)
    leader = begin(runtime, f"read go < {pipe}; {HELPERS[kind]}")
    runtime.observe(fresh=True)
    pipe.write_text("go\n")
    helper = sleeper(leader)
    os.kill(leader, 9)
    tracked = runtime._processes._tracked
    tracked[next(iter(tracked))].ending = True
    found = eventually(
        lambda: (all_ := runtime.observe(fresh=False)["chat"]) and not all(p.alive for p in all_) and all_
    )
    assert found
    assert [process.identity.pid for process in found if process.alive] == [helper]


def test_the_next_controller_finds_those_of_a_session_whose_leader_lives(make: Make) -> None:
    first = make()
    leader = begin(first, HELPERS["without the mark"])
    helper = sleeper(leader)
    first.close()
    assert {process.identity.pid for process in seen(make())} == {leader, helper}
    os.waitpid(leader, os.WNOHANG)


def test_the_session_of_a_stranger_is_not_ours(make: Make, spawn: Spawn) -> None:
    runtime = make()
    begin(runtime, "exec sleep 61")
    stranger = spawn("sh", "-c", "sleep 61 & wait")
    sleeper(stranger.pid)
    assert len(seen(runtime)) == 1


def test_a_session_whose_number_another_process_wears_is_not_ours(linux: Host, spawn: Spawn) -> None:
    """Long after its leader has gone unseen, somebody else may have had that number."""
    stranger = spawn("sh", "-c", "sleep 61 & wait")
    sleeper(stranger.pid)
    identity = linux.identify(stranger.pid)
    assert identity is not None
    ours = Process("u1", "chat", replace(identity, start_ticks=identity.start_ticks - 1), leader=True, alive=False)
    assert list(session_members(linux, [Tracked(ours)], ())) == []
    assert len(list(session_members(linux, [Tracked(replace(ours, identity=identity))], ()))) == 1
    assert list(session_members(linux, [Tracked(replace(ours, identity=identity), alone=True)], ())) == []


def test_looking_at_a_program_that_is_just_being_loaded_does_not_hide_it(
    linux: Host, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is empty for a moment."""
    child = spawn("sleep", "60", **{INSTALLATION: "of-this-test"})
    monkeypatch.setattr(linux_module, "_environ", lambda _: b"")
    assert list(linux.marked("of-this-test", fresh=False)) == []
    monkeypatch.undo()
    assert [found.identity.pid for found in linux.marked("of-this-test", fresh=False)] == [child.pid]
    assert list(linux.marked("of-this-test", fresh=False)) == []
