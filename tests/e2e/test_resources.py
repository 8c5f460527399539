"""Descriptors used up, no further process, a log that cannot be made: nobody fails, and it passes by itself."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.installation import Installation

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")]
Squeeze = Callable[[Installation], AbstractContextManager[None]]
REASON = "ResourcesExhausted"
NO_LOG = "LogUnwritable"


@contextmanager
def no_descriptors(installation: Installation) -> Iterator[None]:
    """The controller may open no more than it has open."""
    assert installation.controller is not None
    pid = installation.controller.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def no_processes(installation: Installation) -> Iterator[None]:
    """The controller may begin none: as with TasksMax= in its unit."""
    assert installation.controller is not None
    root = Path("/sys/fs/cgroup/pids") if Path("/sys/fs/cgroup/pids").exists() else Path("/sys/fs/cgroup")
    group = root / f"reconciler-{os.getpid()}"
    try:
        group.mkdir()
        (group / "pids.max").write_text("1")
        (group / "cgroup.procs").write_text(str(installation.controller.pid))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"may not make a group of processes here: {error}")
    yield
    (group / "pids.max").write_text("max")


@pytest.fixture
def group() -> Iterator[None]:
    """Gives back what `no_processes` made."""
    yield
    for root in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        made = Path(root) / f"reconciler-{os.getpid()}"
        if made.exists():
            for pid in (made / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    (made.parent / "cgroup.procs").write_text(pid)
            with suppress(OSError):
                made.rmdir()


@contextmanager
def no_log(installation: Installation) -> Iterator[None]:
    """Where the log of `one` belongs there is no folder."""
    folder, aside = installation.state / "logs" / "one", installation.root / "aside"
    if folder.exists():
        folder.rename(aside)
    folder.write_text("")
    yield
    folder.unlink()


SQUEEZES: dict[Squeeze, tuple[str, str]] = {
    no_descriptors: (REASON, "LimitNOFILE="),
    no_processes: (REASON, "TasksMax="),
    no_log: (NO_LOG, "namei -l "),
}


def told(installation: Installation, what: str) -> list[str]:
    return [message for reason, message in installation.events("one") if reason == what]


@pytest.mark.parametrize("squeeze", SQUEEZES)
def test_a_restart_waits_for_room_and_counts_nothing(installation: Installation, group: None, squeeze: Squeeze) -> None:
    reason, remedy = SQUEEZES[squeeze]
    for name in ("one", "other"):
        installation.declare(name)
    installation.start()
    before = installation.wait_ready("one", "other")
    with squeeze(installation):
        os.kill(before["one"], signal.SIGKILL)
        installation.wait_for("the trouble", lambda: installation.conditions("one")["Ready"]["reason"] == reason)
        installation.stays(lambda: installation.phases() == {"one": "Blocked", "other": "Ready"}, 3.0)
        assert remedy in installation.problem("one") + installation.conditions("one")["Ready"]["message"]
        assert installation.pids() == {"other": before["other"]}
        assert len(installation.instances("one")) == 1
        assert len(told(installation, reason)) == 1
    after = installation.wait_ready("one", "other")
    assert after["other"] == before["other"]
    first, second = installation.instances("one")
    assert (first["exit"], second["trigger"], second["attempt"]) == ({"code": None, "signal": 9}, "Crashed", 1)
    assert len(installation.instances("other")) == 1
    assert "SpawnFailed" not in {reason for reason, _ in installation.events()}
    assert installation.log().count(reason) == 1


def test_a_server_that_is_new_waits_for_room(installation: Installation) -> None:
    installation.declare("other")
    installation.start()
    before = installation.wait_ready("other")
    with no_log(installation):
        installation.declare("one")
        installation.wait_phase("one", "Blocked")
        assert installation.conditions("one")["Ready"]["reason"] == NO_LOG
        assert installation.instances("one") == []
    assert installation.wait_ready("one", "other")["other"] == before["other"]
    (row,) = installation.instances("one")
    assert (row["trigger"], row["attempt"]) == ("Created", 0)


def test_without_descriptors_nobody_is_taken_for_hung_or_dead(installation: Installation) -> None:
    installation.declare("one", probes={"liveness": {"period": "100ms", "timeout": "100ms", "failureThreshold": 2}})
    installation.start()
    before = installation.wait_ready("one")
    with no_descriptors(installation):
        installation.stays(lambda: installation.phases() == {"one": "Ready"}, 3.0)
    installation.reconcile()
    assert installation.wait_ready("one") == before
    assert len(installation.instances("one")) == 1
    # That the manifests could not be read either is told, and is no reason to do anything.
    assert {reason for reason, _ in installation.events("one")} <= {"Started", "Ready", "PruneHeld"}
