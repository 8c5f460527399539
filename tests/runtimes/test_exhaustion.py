"""Without descriptors one cannot look, and that is never "it is not there"."""

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.core.history import Instance, Stamp
from reconciler.core.model import Exit, Identity
from reconciler.runtimes.exhaustion import exhausted
from reconciler.runtimes.host import FINGERPRINT, INSTALLATION, PORT, SERVER, UID, Host, ResourceError
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.runtimes.logs import Logs
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

HOME = f"exhausted-{os.getpid()}"
MARKS = {INSTALLATION: HOME, SERVER: "chat", UID: "u1", FINGERPRINT: "1:abc", PORT: "8001"}
SLEEP = Launch(("/bin/sleep", "60"), {"PATH": os.environ["PATH"]})


@contextmanager
def descriptors(free: int = 0) -> Iterator[None]:
    """Within, so many more may be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(free):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def runtime(linux: Host, tmp_path: Path) -> Iterator[LocalRuntime]:
    one = LocalRuntime(linux, HOME, Logs(tmp_path / "logs", keep=1, most_bytes=1000), lambda: None)
    (tmp_path / "logs" / "chat").mkdir(parents=True)
    yield one
    for process in one.observe(fresh=True).get("chat", ()):
        one.kill(process.identity)
    one.observe(fresh=True)
    one.close()


def instance(uid: str = "u1") -> Instance:
    return Instance(uid, "chat", fingerprint="1:abc", generation=1, port=8001, intent=Stamp("boot", 1.0, 2.0))


# ---------------------------------------------------------------- looking


def test_a_live_process_is_not_taken_for_dead(host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "60")
    identity = host.identify(child.pid)
    assert identity is not None
    with descriptors(), pytest.raises(ResourceError, match="too many files open"):
        host.identify(child.pid)
    with descriptors(), pytest.raises(ResourceError):
        host.watch(identity, lambda: None)
    assert host.identify(child.pid) == identity


def test_one_that_bears_the_mark_is_found_as_soon_as_one_can_look(host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "60", **MARKS)
    with descriptors(), pytest.raises(ResourceError):
        list(host.marked(HOME, fresh=False))
    found = eventually(lambda: list(host.marked(HOME, fresh=False)))
    assert [marked.identity.pid for marked in found] == [child.pid]


def test_a_server_is_not_taken_for_a_stranger(host: Host, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        with descriptors(), pytest.raises(ResourceError):
            host.listens(os.getpid(), "127.0.0.1", free_port)
        assert host.listens(os.getpid(), "127.0.0.1", free_port) is True


def test_a_port_is_not_taken_for_free(host: Host, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)), descriptors(), pytest.raises(ResourceError):
        host.listeners(frozenset({free_port}))


def test_sockets_that_cannot_be_listed_are_nobodys_loss(
    linux: Host, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    def refuse(path: str) -> list[str]:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE), path)

    with socket.create_server(("127.0.0.1", free_port)):
        monkeypatch.setattr(os, "listdir", refuse)
        with pytest.raises(ResourceError):
            linux.listens(os.getpid(), "127.0.0.1", free_port)


def test_no_progress_is_told_of(host: Host, spawn: Spawn) -> None:
    child = spawn("sleep", "60")
    with descriptors():
        assert host.progress(child.pid) is None


@pytest.mark.parametrize("free", range(4))
def test_a_watch_that_fails_leaves_nothing_open(linux: Host, spawn: Spawn, free: int) -> None:
    child = spawn("sleep", "60")
    identity = linux.identify(child.pid)
    assert identity is not None
    before = len(list(Path("/proc/self/fd").iterdir()))
    with descriptors(free), suppress(ResourceError):
        watch = linux.watch(identity, lambda: None)
        assert watch is not None
        watch.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# ---------------------------------------------------------------- the runtime


def test_before_anybody_could_be_looked_at_nothing_is_known(runtime: LocalRuntime, spawn: Spawn) -> None:
    child = spawn("sleep", "60", **MARKS)
    with descriptors(), pytest.raises(ResourceError):
        runtime.observe(fresh=True)
    (found,) = eventually(lambda: runtime.observe(fresh=False).get("chat", ()))
    assert found.identity.pid == child.pid


def test_who_is_known_goes_on_to_be_and_nobody_is_started_beside_whom_one_cannot_see(
    runtime: LocalRuntime, spawn: Spawn
) -> None:
    known = spawn("sleep", "60", **MARKS)
    eventually(lambda: runtime.observe(fresh=True).get("chat"))
    unknown = spawn("sleep", "60", **{**MARKS, UID: "u2"})
    with descriptors():
        assert [p.identity.pid for p in runtime.observe(fresh=True)["chat"]] == [known.pid]
    with pytest.raises(ResourceError):
        runtime.start(instance("u3"), SLEEP)
    assert {p.identity.pid for p in runtime.observe(fresh=False)["chat"]} == {known.pid, unknown.pid}


def test_an_end_is_seen_and_its_log_kept_without_a_free_descriptor(runtime: LocalRuntime) -> None:
    runtime.observe(fresh=True)
    launch = Launch(("/bin/sh", "-c", "echo last words; exec sleep 60"), {"PATH": os.environ["PATH"]})
    identity = runtime.start(instance(), launch)
    eventually(lambda: runtime.log_head("chat", "u1"))
    with descriptors():
        runtime.kill(identity)
        os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOWAIT)
        (found,) = runtime.observe(fresh=True)["chat"]
    assert (found.alive, found.exit, found.log_tail) == (False, Exit(signal=signal.SIGKILL), "last words")


@pytest.mark.parametrize("free", range(10))
def test_a_start_goes_well_or_leaves_nothing_behind(
    runtime: LocalRuntime, linux: Host, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.observe(fresh=True)
    spawned: list[int] = []
    popen = subprocess.Popen

    def recorded(*args: object, **kwargs: object) -> object:
        child = popen(*args, **kwargs)  # type: ignore[call-overload]
        spawned.append(child.pid)
        return child

    monkeypatch.setattr(subprocess, "Popen", recorded)
    identity: Identity | None = None
    with descriptors(free):
        try:
            identity = runtime.start(instance(), SLEEP)
        except ResourceError as error:
            assert "LimitNOFILE=" in str(error)  # noqa: PT017 - it may go well
    for pid in spawned if identity is None else ():
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    if identity is not None:
        assert linux.identify(identity.pid) == identity
        runtime.observe(fresh=True)
        runtime.kill(identity)
        os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOWAIT)
        (found,) = runtime.observe(fresh=True)["chat"]
        assert found.exit is not None
        assert found.exit.signal == signal.SIGKILL
    assert free < 9 or identity is not None


def test_a_child_that_could_not_be_watched_can_be_ended_and_is_watched_later(
    runtime: LocalRuntime, linux: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.observe(fresh=True)

    def refuse(*_: object) -> None:
        raise ResourceError(errno.EMFILE, "no descriptor")

    with monkeypatch.context() as patched:
        patched.setattr(linux, "watch", refuse)
        identity = runtime.start(instance(), SLEEP)
        other = runtime.start(instance("u2"), SLEEP)
        runtime.terminate(identity)
        os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOWAIT)
    alive = {process.identity: process.alive for process in runtime.observe(fresh=True)["chat"]}
    assert alive == {identity: False, other: True}
    assert runtime._processes._tracked[other].watch is not None


def test_a_child_that_cannot_be_told_from_others_is_not_kept(
    runtime: LocalRuntime, linux: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.observe(fresh=True)
    asked: list[int] = []

    def refuse(pid: int, **_: object) -> None:
        asked.append(pid)
        raise ResourceError(errno.ENFILE, "no descriptor")

    with monkeypatch.context() as patched:
        patched.setattr(linux, "identify", refuse)
        with pytest.raises(ResourceError):
            runtime.start(instance(), SLEEP)
    with pytest.raises(ChildProcessError):
        os.waitpid(asked[0], os.WNOHANG)
    assert runtime.observe(fresh=True) == {}


# ---------------------------------------------------------------- spawns and logs


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EAGAIN, "TasksMax="), (errno.ENOMEM, "ps -eo pid,rss,args --sort=-rss"), (errno.ENFILE, "fs.file-max")],
)
def test_a_process_that_cannot_be_begun_says_what_to_do(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ResourceError) as raised:
        runtime.start(instance(), SLEEP)
    assert str(raised.value).startswith(f"the controller cannot begin a process ({os.strerror(number)}): ")
    assert remedy in str(raised.value)
    assert runtime.observe(fresh=True) == {}


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.E2BIG, errno.ETXTBSY])
def test_what_is_the_programs_own_fault_is_no_lack_of_room(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        runtime.start(instance(), SLEEP)
    assert not isinstance(raised.value, ResourceError)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a file system")
@pytest.mark.parametrize(
    ("options", "what", "remedy"),
    [("nr_inodes=1", "No space left", "df -h "), ("ro", "Read-only", "findmnt -no TARGET -T ")],
)
def test_a_log_that_cannot_be_made_says_what_to_do(
    linux: Host, tmp_path: Path, options: str, what: str, remedy: str
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        runtime = LocalRuntime(linux, HOME, Logs(folder / "logs", keep=1, most_bytes=1), lambda: None)
        with pytest.raises(ResourceError) as raised:
            os.kill(runtime.start(instance(), SLEEP).pid, signal.SIGKILL)
        assert what in str(raised.value)
        assert f"cannot write a log into {folder}/logs/chat (" in str(raised.value)
        assert f"{remedy}{folder}" in str(raised.value)
        assert raised.value.reason == ("LogUnwritable" if options == "ro" else "ResourcesExhausted")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_whatever_the_error_there_is_something_to_do(number: int) -> None:
    told = str(exhausted(OSError(number, os.strerror(number)), "write the log", "/srv/my state/logs"))
    assert "my state" not in told or "'/srv/my state/logs'" in told
    assert told.startswith(f"the controller cannot write the log ({os.strerror(number)}): ")
    assert "{" not in told
