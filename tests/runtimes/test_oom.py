"""Whether the kernel's killings for want of memory are told from others: real ones where they can be had."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.runtimes.kernel_log import KernelLog
from reconciler.runtimes.oom import SELDOM, SPACING, MemoryKills, Places
from tests.runtimes.groups import MemoryGroup

EATER = "import sys\nsys.stdin.readline()\nheld = []\nwhile True: held.append(bytearray(1 << 20))"
SLEEPER = "import sys\nprint(flush=True)\nsys.stdin.readline()"
PID = 4711


class Kernel:
    """Files that look like the kernel's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        (root / "proc" / str(PID)).mkdir(parents=True)
        self.machine(0)

    @property
    def places(self) -> Places:
        return Places(str(self.root / "proc"), str(self.root / "groups"), str(self.root / "no-log"))

    def kills(self) -> MemoryKills:
        return MemoryKills(self.places, lambda: self.now)

    def machine(self, count: int | None) -> None:
        told = "" if count is None else f"oom_kill {count}\n"
        (self.root / "proc" / "vmstat").write_text(f"nr_free_pages 7\n{told}")

    def group(self, line: str, file: str, count: int, pid: int = PID) -> None:
        """A process in a memory cgroup, and what that counts."""
        (self.root / "proc" / str(pid)).mkdir(exist_ok=True)
        (self.root / "proc" / str(pid) / "cgroup").write_text(f"7:cpu:/x\n{line}\n")
        path = self.root / "groups" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"low 0\nhigh 9\noom 1\noom_kill {count}\noom_group_kill 0\n")


V1 = ("4:cpuacct,memory:/servers/a", "memory/servers/a/memory.oom_control")
V2 = ("0::/servers/a", "servers/a/memory.events")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


# ---------------------------------------------------------------- counters


@pytest.mark.parametrize(("line", "file"), [V1, V2])
def test_a_kill_in_its_memory_group_is_evidence(kernel: Kernel, line: str, file: str) -> None:
    kernel.group(line, file, 3)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    assert kills.evidence(PID) == ""
    kernel.machine(1)
    kernel.group(line, file, 4)
    told = kills.evidence(PID)
    assert told is not None
    assert "in its memory cgroup" in told
    assert file in told
    assert "rose by 1" in told
    assert kills.evidence(PID) == "", "one kill ends one process"


@pytest.mark.parametrize("is_itself", [True, False])
def test_a_kill_somewhere_on_the_machine_leaves_it_open(kernel: Kernel, *, is_itself: bool) -> None:
    """It may have been another's, and a person's kill its own end."""
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    assert kills.evidence(PID, is_itself=is_itself) == ""
    kernel.machine(2)
    assert kills.evidence(PID, is_itself=is_itself) is None


def test_what_ended_since_the_last_look_is_still_known(kernel: Kernel) -> None:
    kernel.group(*V1, 0)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kernel.machine(1)
    kernel.group(*V1, 1)
    kills.look(set(), fresh=True)
    assert kills.evidence(PID)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (2, SELDOM)], ids=["just begun", "later"])
def test_one_that_is_moved_into_another_group_is_followed(kernel: Kernel, before: int, after: int) -> None:
    kernel.group(*V2, 0)
    kills = kernel.kills()
    kills.look({PID}, fresh=False)
    for _ in range(before):
        kills.look({PID}, fresh=True)
    file = "servers/b/memory.events"
    kernel.group("0::/servers/b", file, 0)
    for _ in range(after):
        kills.look({PID}, fresh=True)
    kernel.machine(1)
    kernel.group("0::/servers/b", file, 1)
    assert file in (kills.evidence(PID) or "")


def test_the_group_of_each_is_not_read_at_every_look(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would be a third of what a look at all servers takes."""
    for pid in range(PID, PID + 20):
        kernel.group(*V2, 0, pid=pid)
    kills = kernel.kills()
    kills.look(range(PID, PID + 20), fresh=True)
    read: list[int] = []
    look_up = kills._count_of

    def counted(pid: int) -> str:
        read.append(pid)
        return look_up(pid)

    monkeypatch.setattr(kills, "_count_of", counted)
    for _ in range(SELDOM):
        kills.look(range(PID, PID + 20), fresh=True)
    assert sorted(read) == list(range(PID, PID + 20)), "each once"


def test_a_kill_elsewhere_leaves_it_open(kernel: Kernel) -> None:
    kernel.group(*V2, 3)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kernel.machine(1)
    assert kills.evidence(PID) is None


def test_a_kill_before_it_is_none_of_its_own(kernel: Kernel) -> None:
    kernel.machine(7)
    kernel.group(*V1, 7)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    assert kills.evidence(PID) == ""


def test_a_counter_that_cannot_be_read_tells_nothing(kernel: Kernel) -> None:
    kernel.machine(None)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    assert kills.evidence(PID) is None
    kernel.machine(5)
    assert kills.evidence(PID) is None, "what it was before is not known"


def test_nobody_looked_before_the_end(kernel: Kernel) -> None:
    assert kernel.kills().evidence(PID) is None


def test_a_look_between_the_kill_and_its_discovery_does_not_hide_it(kernel: Kernel) -> None:
    kernel.group(*V1, 0)
    kills = kernel.kills()
    for kernel.now in (0.0, SPACING, 2 * SPACING):
        kills.look({PID}, fresh=True)
    kernel.machine(1)
    kernel.group(*V1, 1)
    for kernel.now in (3 * SPACING, 3 * SPACING + 1):
        kills.look({PID}, fresh=True)
    assert kills.evidence(PID)


def test_an_old_kill_is_forgotten(kernel: Kernel) -> None:
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kernel.machine(1)
    for kernel.now in (SPACING, 2 * SPACING):
        kills.look({PID}, fresh=True)
    assert kills.evidence(PID) == ""


def test_a_new_process_is_read_at_once_and_the_others_when_it_is_time(kernel: Kernel) -> None:
    kernel.group(*V1, 0)
    kernel.group("4:memory:/servers/b", "memory/servers/b/memory.oom_control", 5, pid=PID + 1)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kills.look({PID, PID + 1}, fresh=False)
    kernel.machine(1)
    kernel.group("4:memory:/servers/b", "memory/servers/b/memory.oom_control", 6, pid=PID + 1)
    assert kills.evidence(PID) is None
    assert kills.evidence(PID + 1)


def test_one_that_has_moved_is_judged_where_it_is_now(kernel: Kernel) -> None:
    kernel.group(*V1, 0)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kernel.group("4:memory:/late", "memory/late/memory.oom_control", 2)
    kills.look({PID}, fresh=True)
    kernel.machine(1)
    kernel.group("4:memory:/late", "memory/late/memory.oom_control", 3)
    assert kills.evidence(PID)


# ---------------------------------------------------------------- the kernel's log


CHOICE = (
    "6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/servers,"
    "task_memcg=/servers/a,task=llama-server,pid={},uid=0"
)
KILL = "3,2,2,-;Memory cgroup out of memory: Killed process {} (llama-server) total-vm:221608kB, anon-rss:27700kB, x"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A pipe in place of the kernel's log: what is written arrives as records."""
    path = tmp_path / "no-log"
    os.mkfifo(path)
    monkeypatch.setattr("reconciler.runtimes.kernel_log._FIRST_NAMESPACE", os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116
    keep = os.open(path, os.O_RDWR)

    def write(*records: str) -> None:
        os.write(keep, "\n".join(records).encode())

    yield write
    os.close(keep)


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="there are no namespaces here")  # noqa: PTH110
def test_a_record_names_its_victim(log: Callable[..., None], kernel: Kernel) -> None:
    kernel.group(*V1, 0)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    log(CHOICE.format(PID))
    assert kills.named(PID) is None
    log(KILL.format(PID))
    assert kills.named(PID) == "the kernel killed it: its memory cgroup /servers was full, and it held 27 MiB"
    log(KILL.format(PID).replace("Memory cgroup out", "Out"))
    kills.look({PID}, fresh=True)
    assert kills.evidence(PID) == "the kernel killed it: its memory cgroup /servers was full, and it held 27 MiB"
    kills.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="there are no namespaces here")  # noqa: PTH110
def test_a_kill_elsewhere_is_not_taken_off_what_its_group_counts(log: Callable[..., None], kernel: Kernel) -> None:
    """The one that the kernel names had moved away since it was looked at."""
    kernel.group(*V1, 0)
    kernel.group(*V1, 0, pid=PID + 1)
    kills = kernel.kills()
    kills.look({PID, PID + 1}, fresh=True)
    kernel.machine(1)
    log(KILL.format(PID + 1))
    assert kills.evidence(PID + 1)
    kernel.machine(2)
    kernel.group(*V1, 1)
    assert kills.evidence(PID)
    kills.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="there are no namespaces here")  # noqa: PTH110
def test_a_kill_of_another_is_not_taken_for_its_own(log: Callable[..., None], kernel: Kernel) -> None:
    kernel.group(*V1, 0)
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kernel.machine(1)
    kernel.group(*V1, 1)
    log(KILL.format(PID + 1))
    assert kills.evidence(PID) == ""
    assert kills.evidence(PID, is_itself=False) is None, "nobody knows whether it was a child of it"
    assert kills.named(PID + 1), "which is left to whom it belongs"
    kills.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="there are no namespaces here")  # noqa: PTH110
@pytest.mark.parametrize(
    ("listed", "children", "is_child"),
    [
        ((), {PID + 1: PID}, True),
        ((), {PID + 1: PID + 9}, False),
        ((PID, PID + 1), {}, True),
        ((PID + 1, PID + 2), {}, False),
        ((PID, PID + 1, os.getpid()), {}, False),
    ],
    ids=["seen to be its child", "another's child", "in a group with it", "not in its group", "in everybody's group"],
)
def test_a_child_of_a_script_is_known_as_such(
    log: Callable[..., None], kernel: Kernel, listed: tuple[int, ...], children: dict[int, int], *, is_child: bool
) -> None:
    kills = kernel.kills()
    kills.look({PID}, fresh=True)
    kills.look({PID, *children}, fresh=True, children=children)
    kernel.machine(1)
    task = "6,1,1,-;[{0:>7}]     0 {0}   137645    40815    37330     3485         0   430080        0   0 llama-server"
    tasks = ["6,0,0,-;Tasks state (memory values in pages):", *(task.format(pid) for pid in listed)]
    for record in (*tasks, CHOICE.format(PID + 1), KILL.format(PID + 1)):
        log(record)
        kills.named(0)
    told = kills.evidence(PID, is_itself=False)
    assert told == (
        "the kernel killed it: its memory cgroup /servers was full, and it held 27 MiB" if is_child else None
    )
    assert (kills.named(PID + 1) is None) == is_child
    kills.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="there are no namespaces here")  # noqa: PTH110
def test_a_record_of_an_earlier_process_with_that_number_is_dropped(log: Callable[..., None], kernel: Kernel) -> None:
    kills = kernel.kills()
    kills.look(set(), fresh=True)
    log(KILL.format(PID))
    kills.look({PID}, fresh=False)
    assert kills.named(PID) is None
    kills.close()


def test_a_log_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    log = KernelLog(str(tmp_path / "nothing"))
    assert not log.is_readable
    log.read(0.0)
    log.close()


# ---------------------------------------------------------------- in earnest


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    made = MemoryGroup.make("reconciler-oom-test", 32 << 20)
    if made is None:
        pytest.skip("no memory cgroup can be made here (it takes root)")
    yield made
    made.remove()


@pytest.fixture
def child() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        children.append(
            subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        return children[-1]

    yield start
    for one in children:
        with suppress(OSError):
            one.kill()
        one.communicate()


@pytest.mark.parametrize("is_told", [True, False], ids=["with the kernel's log", "by its counters alone"])
def test_a_real_kill_for_memory(
    group: MemoryGroup, child: Callable[[str], subprocess.Popen[str]], *, is_told: bool
) -> None:
    kills = MemoryKills(Places() if is_told else Places(log="/nowhere"))
    process = child(EATER)
    group.add(process.pid)
    kills.look({process.pid}, fresh=True)
    process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    told = kills.evidence(process.pid)
    assert told
    assert "memory cgroup" in told
    kills.close()


def test_a_kill_by_somebody_is_none_for_memory(child: Callable[[str], subprocess.Popen[str]]) -> None:
    kills = MemoryKills()
    process = child(SLEEPER)
    assert process.stdout is not None
    process.stdout.readline()
    kills.look({process.pid}, fresh=True)
    process.kill()
    process.wait(30)
    assert kills.evidence(process.pid) in ("", None)
    if Path("/proc/vmstat").exists():
        assert kills.evidence(process.pid) == ""
    kills.close()
