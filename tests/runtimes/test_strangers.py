"""What can be seen of processes that are not ours, and how one that was taken over is kept apart from its session."""

import getpass
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from reconciler.core.history import Instance, Stamp, Trigger
from reconciler.core.model import Identity
from reconciler.runtimes.host import FOLDER, INSTALLATION, SERVER, Host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.runtimes.strangers import Seen, find_listener, look_at
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually


def once_it_is(name: str, pid: int) -> Seen:
    """A child is its parent's program for a moment."""
    return eventually(lambda: [seen for seen in [look_at(pid)] if seen and seen.name == name])[0]


def test_what_is_seen_of_a_process(spawn: Spawn, tmp_path: Path) -> None:
    marks = {INSTALLATION: "abc", FOLDER: "/srv/state", SERVER: "chat"}
    script = f"cd {tmp_path}; exec sleep 600 2> out.log"
    child = spawn("/bin/sh", "-c", script, **marks)
    seen = once_it_is("sleep", child.pid)
    assert (seen.argv, seen.cwd) == (("sleep", "600"), str(tmp_path))
    assert Path(seen.executable).name in ("sleep", "coreutils", "busybox")
    assert (seen.installation, seen.folder, seen.server) == ("abc", "/srv/state", "chat")
    assert (seen.user, seen.is_same_user, seen.shares_files) == (getpass.getuser(), True, True)
    if sys.platform == "linux":
        assert seen.output == str(tmp_path / "out.log")


def test_one_that_is_gone_is_not_seen(spawn: Spawn) -> None:
    child = spawn("/bin/true")
    child.wait()
    assert look_at(child.pid) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_users_process_is_known_as_such(spawn: Spawn) -> None:
    child = spawn(sys.executable, "-c", "import os, time; os.setuid(65534); print(flush=True); time.sleep(600)")
    assert child.stdout is not None
    child.stdout.readline()
    seen = look_at(child.pid)
    assert seen is not None
    assert (seen.is_same_user, seen.user) == (False, "nobody")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a mount namespace, which root may make")
def test_paths_of_a_container_are_not_taken_for_ours(spawn: Spawn) -> None:
    child = spawn("unshare", "--mount", "sleep", "600")
    seen = once_it_is("sleep", child.pid)
    assert not seen.shares_files


def test_a_listener_is_found_where_the_table_of_sockets_is_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        name = psutil.Process().name()
        assert find_listener(port, name) == os.getpid()
        assert find_listener(port, f"{name}x") is None
    assert find_listener(port, name) is None


# ---------------------------------------------------------------- one that was taken over


def adopted(identity: Identity) -> Instance:
    stamp = Stamp(identity.boot, 1.0, 2.0)
    return Instance("u1", "chat", "1:abc", 1, 8001, stamp, Trigger.ADOPTED, identity=identity, adopted=True)


@pytest.fixture
def runtime(host: Host, tmp_path: Path) -> LocalRuntime:
    return LocalRuntime(host, tmp_path.name, Logs(tmp_path / "logs", keep=3, most_bytes=1000), lambda: None)


def test_it_is_watched_and_ended_alone(runtime: LocalRuntime, host: Host, spawn: Spawn) -> None:
    leader = spawn("/bin/sh", "-c", "sleep 600 & echo $!; wait")
    assert leader.stdout is not None
    member = int(leader.stdout.readline())
    identity, other = host.identify(leader.pid), host.identify(member)
    assert identity is not None
    runtime.keep_watch([adopted(identity)])
    (process,) = runtime.observe(fresh=True)["chat"]
    assert (process.identity, process.uid, process.leader, process.alive) == (identity, "u1", True, True)
    runtime.kill(identity)
    eventually(lambda: [p for p in runtime.observe(fresh=True)["chat"] if not p.alive])
    assert len(runtime.observe(fresh=True)["chat"]) == 1
    assert host.identify(member) == other
    runtime.keep_watch([adopted(identity)])
    runtime.forget_ended(frozenset())
    assert runtime.observe(fresh=True) == {}
    os.kill(member, signal.SIGKILL)
    runtime.close()


def test_a_pid_that_another_process_wears_now_is_not_it(runtime: LocalRuntime, host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "600")
    identity = host.identify(child.pid)
    assert identity is not None
    other = Identity(identity.boot, identity.pid, identity.start_ticks - 500)
    runtime.keep_watch([adopted(other), adopted(Identity("another-boot", *(identity.pid, identity.start_ticks)))])
    assert runtime.observe(fresh=True) == {}
    runtime.kill(other)
    assert child.poll() is None
    runtime.close()
