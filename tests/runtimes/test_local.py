"""The runtime over real processes, through both hosts."""
# ruff: noqa: ARG002 - a host that only plays one has no use for what it is asked

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from reconciler.core.history import Instance, Stamp
from reconciler.core.model import Exit, Identity, Process
from reconciler.core.observed import Listener
from reconciler.runtimes.host import INSTALLATION, Host, Marked, Progress, Watch
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.runtimes.logs import Logs
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

PATH = {"PATH": os.environ["PATH"]}
Make = Callable[..., LocalRuntime]


@pytest.fixture
def make(host: Host, tmp_path: Path) -> Iterator[Make]:
    """Makes runtimes, and ends what they started."""
    made: list[LocalRuntime] = []
    pids: list[int] = []

    def runtime(
        installation: str = "home", on_end: Callable[[], None] = lambda: None, on: Host | None = None
    ) -> LocalRuntime:
        logs = Logs(tmp_path / "logs", keep=3, most_bytes=1000)
        one = LocalRuntime(on or type(host)(), f"{tmp_path.name}-{installation}", logs, on_end, folder="/srv/state")
        start = one.start

        def recorded(instance: Instance, launch: Launch) -> Identity:
            identity = start(instance, launch)
            pids.append(identity.pid)
            return identity

        one.start = recorded  # type: ignore[method-assign]
        made.append(one)
        return one

    yield runtime
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for one in made:
        one.close()
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def instance(server: str = "chat", uid: str = "u1") -> Instance:
    return Instance(uid, server, fingerprint="1:abc", generation=1, port=8001, intent=Stamp("boot", 1.0, 2.0))


def launch(*argv: str, **environment: str) -> Launch:
    return Launch(argv, {**PATH, **environment})


def shell(script: str) -> Launch:
    return launch("/bin/sh", "-c", script)


def ended(runtime: LocalRuntime, server: str = "chat") -> Process:
    """The server's one process, once it has ended."""
    return eventually(lambda: [p for p in runtime.observe(fresh=True)[server] if not p.alive])[0]


def running(identity: Identity) -> bool:
    """Whether the process runs, by nothing but a question to the kernel."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
    return False


# ---------------------------------------------------------------- start


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_gets_its_environment_its_session_its_log_and_nothing_else(make: Make, tmp_path: Path) -> None:
    secret = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(secret, True)
    with stdin_from(tmp_path / "secret"):
        identity = make().start(instance(), launch("/bin/sleep", "60", LLAMA_CACHE="/cache"))
    os.close(secret)
    proc = Path(f"/proc/{identity.pid}")
    environ = eventually((proc / "environ").read_text)  # empty for a moment while a program is being loaded
    assert dict(entry.split("=", 1) for entry in environ.split("\0") if entry) == {
        **PATH,
        "LLAMA_CACHE": "/cache",
        "RECONCILER_INSTALLATION": f"{tmp_path.name}-home",
        "RECONCILER_FOLDER": "/srv/state",
        "RECONCILER_SERVER": "chat",
        "RECONCILER_UID": "u1",
        "RECONCILER_FINGERPRINT": "1:abc",
        "RECONCILER_PORT": "8001",
        "RECONCILER_STEP": "0",
        "RECONCILER_CHANGES": "",
    }
    assert os.getsid(identity.pid) == identity.pid
    assert str((proc / "cwd").readlink()) == "/"
    log = str(tmp_path / "logs" / "chat" / "u1.log")
    expected = {"0": "/dev/null", "1": log, "2": log}
    eventually(lambda: descriptors(proc) == expected)  # a program's loader has some open for a moment


def test_the_step_of_an_instance_is_told_by_its_mark_to_the_next_controller(make: Make) -> None:
    changes = {"gpuLayers": 0, "flags": {"x": ["\u00e4", 1.5, True]}}
    on_cpu = replace(instance(), step=2, step_told="CPU only", changes=changes, hides_gpus=True)
    first = make()
    first.start(on_cpu, launch("/bin/sleep", "60"))
    (known,) = first.observe(fresh=False)["chat"]
    first.close()
    (found,) = eventually(lambda: make().observe(fresh=True).get("chat", ()))
    assert (known.step, known.hides_gpus) == (found.step, found.hides_gpus) == (2, True)
    assert (known.step_told, known.changes) == (found.step_told, found.changes) == ("CPU only", changes)


def test_one_that_ended_while_nobody_watched_is_told_with_its_log(make: Make) -> None:
    first = make()
    begun = replace(instance(), step=1)
    row = replace(begun, identity=first.start(begun, shell("echo out of memory; exit 3")))
    ended(first)
    first.close()
    second = make()
    second.keep_watch([row])
    (process,) = second.observe(fresh=True)["chat"]
    assert (process.alive, process.exit, process.log_tail, process.step) == (False, Exit(), "out of memory", 1)
    second.forget_ended(set())
    assert second.observe(fresh=True) == {}


def test_one_that_is_found_by_its_mark_did_not_end(make: Make) -> None:
    """Without /proc, start times move with the wall clock: the row's identity may be another than what is seen."""
    first = make()
    identity = first.start(instance(), launch("/bin/sleep", "60"))
    eventually(lambda: make().observe(fresh=True))
    first.close()
    second = make()
    second.keep_watch([replace(instance(), identity=replace(identity, start_ticks=identity.start_ticks - 1))])
    (process,) = second.observe(fresh=True)["chat"]
    assert (process.alive, process.identity) == (True, identity)


@contextmanager
def stdin_from(path: Path) -> Iterator[None]:
    """pytest's own stdin is /dev/null, which would hide one that is passed on."""
    saved, other = os.dup(0), os.open(path, os.O_RDONLY)
    os.dup2(other, 0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(other)


def descriptors(proc: Path) -> dict[str, str]:
    found = {}
    for descriptor in (proc / "fd").iterdir():
        with suppress(FileNotFoundError):
            found[descriptor.name] = str(descriptor.readlink())
    return found


def test_marks_of_an_outer_installation_do_not_get_through(make: Make, tmp_path: Path) -> None:
    runtime = make()
    runtime.start(instance(), launch("/bin/sleep", "60", **{INSTALLATION: "outer"}))
    eventually(lambda: "chat" in make().observe(fresh=True))


def test_output_is_appended_to_the_log(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "chat" / "u1.log"
    log.parent.mkdir(parents=True)
    log.write_text("before\n")
    runtime = make()
    runtime.start(instance(), shell("echo out; echo err >&2"))
    assert ended(runtime).log_tail == "before\nout\nerr"
    assert log.read_text() == "before\nout\nerr\n"


def test_a_started_process_is_observed_as_it_was_launched(make: Make) -> None:
    runtime = make()
    identity = runtime.start(instance(), launch("/bin/sleep", "60"))
    expected = Process("u1", "chat", identity, leader=True, alive=True, fingerprint="1:abc", port=8001)
    assert runtime.observe(fresh=False) == {"chat": (expected,)}
    assert runtime.observe(fresh=True) == {"chat": (expected,)}


def test_the_same_object_stands_for_a_process_as_long_as_nothing_changed(make: Make) -> None:
    runtime = make()
    runtime.start(instance(), launch("/bin/sleep", "60"))
    assert runtime.observe(fresh=False)["chat"][0] is runtime.observe(fresh=True)["chat"][0]


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/hostname"])
def test_what_cannot_be_executed_raises_and_leaves_nothing(make: Make, program: str) -> None:
    runtime = make()
    with pytest.raises(OSError, match=program):
        runtime.start(instance(), launch(program))
    assert runtime.observe(fresh=True) == {}


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("script", "expected"),
    [("exit 0", Exit(code=0)), ("exit 3", Exit(code=3)), ("kill -ABRT $$", Exit(signal=signal.SIGABRT))],
)
def test_how_an_own_child_ended_is_known(make: Make, script: str, expected: Exit) -> None:
    runtime = make()
    runtime.start(instance(), shell(f"echo last words; {script}"))
    process = ended(runtime)
    assert (process.exit, process.log_tail) == (expected, "last words")


def test_children_that_end_at_once_are_all_seen_to_end(make: Make) -> None:
    runtime = make()
    for number in range(20):
        runtime.start(instance(f"server-{number}", f"u{number}"), launch("/bin/false"))
    assert [ended(runtime, f"server-{number}").exit for number in range(20)] == [Exit(code=1)] * 20


@pytest.mark.anyio
async def test_the_end_of_a_child_wakes_the_loop_and_needs_no_fresh_look(make: Make) -> None:
    told = asyncio.Event()
    runtime = make(on_end=told.set)
    identity = runtime.start(instance(), launch("/bin/sleep", "60"))
    assert runtime.observe(fresh=False)["chat"][0].alive
    runtime.kill(identity)
    if not runtime.polls:
        await asyncio.wait_for(told.wait(), 20)
    eventually(lambda: not runtime.observe(fresh=False)["chat"][0].alive)
    assert runtime.observe(fresh=False)["chat"][0].exit == Exit(signal=signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_are_idempotent_and_may_come_too_late(make: Make, number: signal.Signals) -> None:
    runtime = make()
    identity = runtime.start(instance(), launch("/bin/sleep", "60"))
    send = runtime.terminate if number is signal.SIGTERM else runtime.kill
    send(identity)
    send(identity)
    assert ended(runtime).exit == Exit(signal=number)
    send(identity)
    runtime.forget_ended(set())
    send(identity)
    assert runtime.observe(fresh=True) == {}


def test_what_ended_is_kept_until_its_row_is_closed(make: Make) -> None:
    runtime = make()
    runtime.start(instance(), launch("/bin/true"))
    process = ended(runtime)
    runtime.forget_ended({"u1"})
    assert runtime.observe(fresh=True) == {"chat": (process,)}
    runtime.forget_ended({"another"})
    assert runtime.observe(fresh=True) == {}


def test_what_runs_is_never_forgotten(make: Make) -> None:
    runtime = make()
    runtime.start(instance(), launch("/bin/sleep", "60"))
    runtime.forget_ended(set())
    assert runtime.observe(fresh=False)["chat"][0].alive


# ---------------------------------------------------------------- identity


def test_a_recorded_pid_that_another_program_wears_now_is_left_alone(make: Make, spawn: Spawn) -> None:
    runtime, stranger = make(), spawn("sleep", "60")
    ours = runtime.start(instance(), launch("/bin/sleep", "60"))
    runtime.kill(Identity(ours.boot, stranger.pid, ours.start_ticks))
    runtime.kill(replace(ours, start_ticks=ours.start_ticks - 1))
    runtime.terminate(replace(ours, boot="another"))
    runtime.kill(ours)
    assert ended(runtime).exit == Exit(signal=signal.SIGKILL)
    assert stranger.poll() is None


def test_an_unmarked_process_is_not_signalled_even_by_its_true_identity(make: Make, host: Host, spawn: Spawn) -> None:
    stranger = spawn("sleep", "60")
    identity = host.identify(stranger.pid)
    assert identity is not None
    runtime = make()
    runtime.observe(fresh=True)
    runtime.kill(identity)
    assert stranger.poll() is None


# ---------------------------------------------------------------- adoption


def test_the_next_runtime_adopts_what_runs_and_cannot_know_how_it_ends(make: Make) -> None:
    first = make()
    identity = first.start(instance(), shell("echo hello; exec sleep 60"))
    eventually(lambda: psutil.Process(identity.pid).name() == "sleep")
    first.close()
    assert running(identity)
    second = make()
    (adopted,) = second.observe(fresh=True)["chat"]
    as_begun = Process("u1", "chat", identity, leader=True, alive=True, fingerprint="1:abc", port=8001)
    assert adopted == replace(as_begun, program="sleep", is_launched=False)
    second.terminate(identity)
    process = ended(second)
    assert (process.exit, process.log_tail) == (Exit(), "hello")


def test_another_installation_never_sees_it(make: Make) -> None:
    ours, theirs = make(), make("elsewhere")
    identity = ours.start(instance(), launch("/bin/sleep", "60"))
    eventually(lambda: make().observe(fresh=True))
    assert theirs.observe(fresh=True) == {}
    theirs.kill(identity)
    assert running(identity)


def test_helpers_of_a_server_are_seen_and_outlive_it_as_leftovers(make: Make) -> None:
    runtime = make()
    leader = runtime.start(instance(), shell("sleep 60 & wait"))
    seen = eventually(lambda: len(found := runtime.observe(fresh=True)["chat"]) == 2 and found)
    assert seen
    assert [(p.uid, p.leader, p.identity == leader) for p in sorted(seen, key=lambda p: not p.leader)] == [
        ("u1", True, True),
        ("u1", False, False),
    ]
    runtime.kill(leader)
    assert ended(runtime).identity == leader
    runtime.forget_ended(set())
    (leftover,) = runtime.observe(fresh=True)["chat"]
    assert (leftover.leader, leftover.alive) == (False, True)
    runtime.kill(leftover.identity)
    eventually(lambda: runtime.observe(fresh=True) == {})


def test_closing_lets_everything_run(make: Make) -> None:
    runtime = make()
    identity = runtime.start(instance(), launch("/bin/sleep", "60"))
    runtime.close()
    runtime.kill(identity)
    assert running(identity)


# ---------------------------------------------------------------- ports, progress, logs

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


def test_a_port_held_by_our_own_instance_is_known_as_ours(make: Make, free_port: int) -> None:
    runtime, asked = make(), frozenset({free_port})
    own = runtime.start(replace(instance(), port=free_port), launch(sys.executable, "-c", LISTEN, str(free_port)))
    eventually(lambda: any(one.port == free_port for one in runtime.listeners(asked)))
    (listener,) = [one for one in runtime.listeners(asked) if one.port == free_port]
    assert (listener.uid, listener.pid) == ("u1", own.pid)
    assert runtime.listens(own.pid, "127.0.0.1", free_port)
    assert runtime.progress(own.pid)


def test_a_strangers_port_is_not_taken_for_ours(make: Make, spawn: Spawn, free_port: int) -> None:
    runtime, asked = make(), frozenset({free_port})
    runtime.start(replace(instance(), port=free_port), launch("/bin/sleep", "60"))
    spawn(sys.executable, "-c", LISTEN, str(free_port))
    eventually(lambda: any(one.port == free_port for one in runtime.listeners(asked)))
    assert {one.uid for one in runtime.listeners(asked) if one.port == free_port} == {""}


def test_trimming_spares_the_logs_of_what_runs(make: Make, tmp_path: Path) -> None:
    runtime, folder = make(), tmp_path / "logs" / "chat"
    runtime.start(instance(), launch("/bin/sleep", "60"))
    for number in range(2, 7):
        (folder / f"u{number}.log").write_text("old")
    os.utime(folder / "u1.log", (1, 1))
    runtime.trim_logs()
    assert len(list(folder.iterdir())) == 4
    assert (folder / "u1.log").exists()


# ---------------------------------------------------------------- what no real machine can be made to do


class _Watch:
    def __init__(self) -> None:
        self.over = self.closed = False

    def has_ended(self) -> bool:
        return self.over

    def exit(self) -> Exit | None:
        return Exit()

    def signal(self, number: int) -> None:
        raise AssertionError(f"signal {number}")

    def close(self) -> None:
        self.closed = True


class _Host:
    """One that shows what it is told to."""

    boot, polls = "boot", False

    def __init__(self) -> None:
        self.shown: list[Marked] = []
        self.watches: dict[Identity, _Watch] = {}

    def identify(self, pid: int, *, ended: bool = False) -> Identity | None:
        return Identity("boot", pid, 1)

    def sessions(self) -> Mapping[int, int]:
        return {}

    def marked(self, installation: str, *, fresh: bool) -> Iterable[Marked]:
        return list(self.shown)

    def watch(self, identity: Identity, on_end: Callable[[], None]) -> Watch | None:
        return self.watches.setdefault(identity, _Watch())

    def listeners(self, resolve: frozenset[int] = frozenset()) -> tuple[Listener, ...]:
        return ()

    def listens(self, pid: int, host: str, port: int) -> bool | None:
        return None

    def progress(self, pid: int) -> Progress | None:
        return None


def test_a_pid_that_passes_from_one_of_ours_to_another_confuses_neither(make: Make) -> None:
    host = _Host()
    runtime = make(on=host)
    old, new = Identity("boot", 4242, 1), Identity("boot", 4242, 2)
    host.shown = [Marked(old, leader=True, server="chat", uid="u1", fingerprint="", port=1)]
    runtime.observe(fresh=True)
    host.watches[old].over = True
    host.shown = [Marked(new, leader=True, server="embed", uid="u2", fingerprint="", port=2)]
    found = runtime.observe(fresh=True)
    assert [(p.uid, p.alive) for p in found["chat"]] == [("u1", False)]
    assert [(p.uid, p.alive) for p in found["embed"]] == [("u2", True)]
    assert (host.watches[old].closed, host.watches[new].closed) == (True, False)


def test_a_spawned_child_that_cannot_be_watched_is_none_the_less_ours(make: Make) -> None:
    class Exhausted(_Host):
        def watch(self, identity: Identity, on_end: Callable[[], None]) -> Watch | None:
            raise OSError(24, "Too many open files")

    woken: list[int] = []
    runtime = make(on=Exhausted(), on_end=lambda: woken.append(1))
    runtime.start(instance(), shell("exit 7"))
    assert woken
    assert ended(runtime).exit == Exit(code=7)


def test_a_child_is_reaped(make: Make) -> None:
    runtime = make()
    identity = runtime.start(instance(), launch("/bin/true"))
    ended(runtime)
    with pytest.raises(ChildProcessError):
        os.waitpid(identity.pid, os.WNOHANG)
