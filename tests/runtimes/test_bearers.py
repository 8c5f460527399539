"""Whoever may read a server's environment may copy its mark: what bears one is not yet ours, nor is only that ours."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.core.history import Instance, Stamp
from reconciler.core.model import Exit, Process
from reconciler.runtimes.bearers import leads_to, lineage, look_at_bearer
from reconciler.runtimes.host import FINGERPRINT, FOLDER, INSTALLATION, PORT, SERVER, UID, Host
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.runtimes.logs import Logs
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

Make = Callable[[], LocalRuntime]
ROOT = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root")


@pytest.fixture
def home(tmp_path: Path) -> str:
    """The id of this test's installation."""
    return tmp_path.name


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Its state folder."""
    (tmp_path / "state").mkdir()
    return str((tmp_path / "state").resolve())


@pytest.fixture
def runtime(host: Host, tmp_path: Path, home: str, folder: str) -> Iterator[LocalRuntime]:
    logs = Logs(tmp_path / "logs", keep=1, most_bytes=1000)
    one = LocalRuntime(host, home, logs, lambda: None, folder=folder)
    yield one
    one.close()


def marks(installation: str, folder: str = "", uid: str = "u1") -> dict[str, str]:
    return {INSTALLATION: installation, SERVER: "chat", UID: uid, FINGERPRINT: "1:abc", PORT: "8001", FOLDER: folder}


def row(host: Host, pid: int) -> Instance:
    identity = host.identify(pid)
    return Instance("u1", "chat", "1:abc", 1, 8001, intent=Stamp(host.boot, 1.0, 2.0), identity=identity)


def found(runtime: LocalRuntime) -> dict[int, Process]:
    return {process.identity.pid: process for process in runtime.observe(fresh=True).get("chat", ())}


# ---------------------------------------------------------------- what is recorded is ours


def test_what_is_recorded_is_ours_whatever_its_environment(runtime: LocalRuntime, host: Host, spawn: Spawn) -> None:
    """A wrapper may empty it, and of a program with capabilities it cannot be read."""
    child = spawn("/bin/sleep", "60")
    runtime.keep_watch([row(host, child.pid)])
    assert found(runtime)[child.pid].alive
    child.kill()
    child.wait()
    assert not eventually(lambda: runtime.observe(fresh=True)["chat"])[0].alive


def test_what_a_copied_row_names_is_not(runtime: LocalRuntime, host: Host, spawn: Spawn, folder: str) -> None:
    child = spawn("/bin/sleep", "60", **marks("another", folder))
    eventually(lambda: (bearer := look_at_bearer(child.pid)) and bearer.program == "sleep")
    runtime.keep_watch([row(host, child.pid)])
    assert found(runtime) == {}


# ---------------------------------------------------------------- what bears the mark may not be


def test_neither_this_process_nor_those_it_descends_from_are_servers(home: str, folder: str, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from reconciler.runtimes.host import choose_host\n"
        "from reconciler.runtimes.local import LocalRuntime; from reconciler.runtimes.logs import Logs\n"
        "logs = Logs(Path(sys.argv[2]), keep=1, most_bytes=1)\n"
        "runtime = LocalRuntime(choose_host(), sys.argv[1], logs, lambda: None, folder=sys.argv[3])\n"
        "print(runtime.observe(fresh=True))\n"
    )
    command = [sys.executable, "-c", program, home, str(tmp_path / "logs"), folder]
    inner = subprocess.run(
        ["/bin/sh", "-c", '"$@"; true', "sh", *command],
        env={**os.environ, **marks(home, folder)},
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    assert (inner.stdout, inner.stderr) == ("{}\n", "")
    assert {os.getpid(), os.getppid()} <= lineage()


PTY = "import os, pty, sys; pty.spawn(['/bin/sh', '-c', 'echo; exec sleep 60'])"


def test_somebodys_terminals_are_left_alone(runtime: LocalRuntime, spawn: Spawn, home: str, folder: str) -> None:
    if sys.platform != "linux":
        pytest.skip("who gives terminals to others is told by /proc")
    host = spawn(sys.executable, "-c", PTY, **marks(home, folder))
    spawn("/bin/sleep", "60", **marks(home, folder, uid="u2"))
    assert host.stdout is not None
    host.stdout.readline()

    def bystanders() -> set[str]:
        runtime.observe(fresh=True)
        return {process.program for process in runtime.bystanders.values()}

    eventually(lambda: "sleep" in bystanders() and len(bystanders()) == 2)
    assert [process.uid for process in found(runtime).values()] == ["u2"]
    assert host.pid in {identity.pid for identity in runtime.bystanders}
    before = runtime.bystanders
    runtime.observe(fresh=True)
    assert runtime.bystanders is before


@ROOT
@pytest.mark.parametrize("users", [(65534, 0, 0), (0, 0, 65534), (65534, 65534, 65534)])
def test_what_another_user_began_is_not_ours(
    runtime: LocalRuntime, spawn: Spawn, home: str, folder: str, users: tuple[int, int, int]
) -> None:
    """Who runs a setuid program chooses its environment."""
    change = f"import os, time; os.setresuid{users}; print(flush=True); time.sleep(60)"
    child = spawn(sys.executable, "-c", change, **marks(home, folder))
    assert child.stdout is not None
    child.stdout.readline()
    assert found(runtime) == {}


@pytest.mark.parametrize(("argv", "is_launched"), [(("60", "8001"), True), (("60",), False)])
def test_a_command_line_without_the_port_is_no_servers(
    runtime: LocalRuntime, spawn: Spawn, home: str, folder: str, argv: tuple[str, ...], *, is_launched: bool
) -> None:
    child = spawn("/bin/sleep", *argv, **marks(home, folder))
    process = eventually(lambda: found(runtime))[child.pid]
    assert (process.program, process.is_launched) == ("sleep", is_launched)


# ---------------------------------------------------------------- the folder


def test_a_folder_that_was_made_anew_is_the_same(spawn: Spawn, runtime: LocalRuntime, home: str, folder: str) -> None:
    child = spawn("/bin/sleep", "60", **marks(home, folder))
    Path(folder).rmdir()
    assert leads_to(child.pid, folder, folder)
    Path(folder).mkdir()
    assert child.pid in eventually(lambda: found(runtime))


def test_one_of_an_earlier_version_names_none(spawn: Spawn, runtime: LocalRuntime, home: str) -> None:
    child = spawn("/bin/sleep", "60", **marks(home))
    assert child.pid in eventually(lambda: found(runtime))


@ROOT
@pytest.mark.parametrize("is_recorded", [False, True])
def test_another_folder_of_the_same_path_is_another_installations(
    spawn: Spawn, runtime: LocalRuntime, host: Host, home: str, folder: str, tmp_path: Path, *, is_recorded: bool
) -> None:
    """As in a container, or a chroot, that shows the same processes."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make a mount namespace here")
    (tmp_path / "other").mkdir()
    script = f"mount --bind {tmp_path}/other {folder} && echo && exec sleep 60"
    inside = spawn("unshare", "--mount", "sh", "-c", script, **marks(home, folder))
    aside = spawn("unshare", "--mount", "sh", "-c", "echo && exec sleep 60", **marks(home, folder, uid="u2"))
    for child in (inside, aside):
        assert child.stdout is not None
        child.stdout.readline()
    if is_recorded:
        runtime.keep_watch([row(host, inside.pid)])
    assert list(found(runtime)) == [aside.pid]


# ---------------------------------------------------------------- how a child ended


def test_no_exit_status_is_invented_for_a_child_that_somebody_else_reaped(runtime: LocalRuntime, host: Host) -> None:
    runtime.observe(fresh=True)
    launch = Launch(("/bin/sh", "-c", "kill -SEGV $$"), {"PATH": os.environ["PATH"]})
    identity = runtime.start(row(host, os.getpid()), launch)
    os.waitpid(identity.pid, 0)
    ended = eventually(lambda: [p for p in runtime.observe(fresh=True).get("chat", ()) if not p.alive])
    assert ended[0].exit in (Exit(), Exit(signal=signal.SIGSEGV))
