"""The state folder is taken away, filled up, locked or damaged under a controller over real llama-servers."""

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.sampling import some

pytestmark = pytest.mark.real


def reasons(installation: Installation) -> list[str]:
    return [reason for reason, _ in installation.events()]


def told(installation: Installation, reason: str) -> list[str]:
    return [message for found, message in installation.events() if found == reason]


def wait_logged(installation: Installation, words: str) -> None:
    installation.wait_for(f"the log to say {words}", lambda: words in installation.log())


@contextmanager
def locked(installation: Installation) -> Iterator[None]:
    other = sqlite3.connect(installation.state / "state.db", isolation_level=None)
    other.execute("begin immediate")
    try:
        yield
    finally:
        other.close()


def exit_of(installation: Installation, name: str) -> tuple[object, str]:
    first = installation.instances(name)[0]
    return (first["exit"] or {}).get("signal"), first["diagnosis"]


def test_a_server_that_dies_while_the_database_is_locked_is_noted_and_restarted_after(
    installation: Installation,
) -> None:
    for name in ("one", "two"):
        installation.declare(name, restart={"initialBackoff": "0s"})
    installation.start()
    before = installation.wait_ready("one", "two")
    with locked(installation):
        os.kill(before["one"], signal.SIGKILL)
        wait_logged(installation, "StateUnwritable: the state cannot be written: another program holds")
        installation.stays(lambda: installation.pids() == {"two": before["two"]}, 1.5)
        shown = installation._ask("GET", "/healthz")["conditions"]
        assert [(one["type"], one["status"], one["reason"]) for one in shown] == [
            ("StateWritable", "False", "StateUnwritable")
        ]
        assert f"pid {os.getpid()} (" in shown[0]["message"]
        refused = installation.cli("stop", "two", "--no-wait", code=1)
        assert "nothing was done: the state cannot be written" in refused
    after = installation.wait_ready("one", "two")
    assert after["two"] == before["two"]
    assert exit_of(installation, "one") == (signal.SIGKILL, "KilledByUser")
    assert [row["trigger"] for row in installation.instances("one")] == ["Created", "Crashed"]
    assert reasons(installation).count("StateUnwritable") == reasons(installation).count("StateRecovered") == 1
    assert installation.log().count("StateUnwritable:") == 1
    assert installation.instances("one")[0]["ended"]["wall"] < installation.instances("one")[1]["intent"]["wall"] - 1


def delete_database(installation: Installation) -> None:
    (installation.state / "state.db").unlink()


def delete_wal(installation: Installation) -> None:
    (installation.state / "state.db-wal").unlink()


def delete_all_files(installation: Installation) -> None:
    for path in installation.state.iterdir():
        if path.is_file() or path.is_socket():
            path.unlink()


def delete_folder(installation: Installation) -> None:
    shutil.rmtree(installation.state)


def replace_database(installation: Installation) -> None:
    other = installation.state / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("create table something (x)")
    connection.close()
    other.replace(installation.state / "state.db")


def move_folder(installation: Installation) -> None:
    installation.state.rename(installation.root / "moved")


TAKEN_AWAY = [delete_database, delete_wal, delete_all_files, delete_folder, replace_database, move_folder]


@pytest.mark.parametrize("take_away", some(TAKEN_AWAY, [delete_database, move_folder]))
def test_files_that_are_taken_away_are_made_anew_with_all_history(
    installation: Installation, take_away: Callable[[Installation], None]
) -> None:
    installation.declare("chat", restart={"initialBackoff": "0s"})
    installation.start("--log-format", "text")
    first = installation.wait_ready("chat")
    os.kill(first["chat"], signal.SIGKILL)
    installation.wait_for("another", lambda: installation.pids().get("chat", first["chat"]) != first["chat"])
    before = installation.wait_ready("chat")
    identity = installation.query("select value from meta where key = 'installation'")
    take_away(installation)
    assert installation.controller is not None
    installation.controller.send_signal(signal.SIGHUP)
    installation.wait_for("the database", lambda: told(installation, "StateRecovered"))
    assert "was deleted or replaced" in told(installation, "StateRecovered")[0]
    assert len(installation.instances("chat")) == 2
    assert installation.query("select value from meta where key = 'installation'") == identity
    installation.wait_for("the id's file", (installation.state / "installation").exists)
    assert (installation.state / "installation").read_text().splitlines() == [
        identity[0][0],
        os.path.realpath(installation.state),
    ]
    assert installation.pids() == before
    installation.wait_for("the socket", installation.is_controlled)
    told_off = installation.cli("run", code=1)
    assert f"(pid {installation.controller.pid}) manages" in told_off

    os.kill(before["chat"], signal.SIGKILL)
    installation.wait_for("another", lambda: len(installation.instances("chat")) == 3)
    last = installation.wait_ready("chat")
    assert installation.end() == 0
    there = {path.name for path in installation.state.iterdir() if "replaced" not in path.name}
    # What the program prints for --help may be remembered anew, or is known by heart still.
    assert there - {"helps"} == {"installation", "lock", "logs", "state.db"}
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    assert installation.wait_ready("chat") == last
    assert [row["trigger"] for row in installation.instances("chat")] == ["Created", "Crashed", "Crashed"]


def test_it_is_noticed_within_a_tick(installation: Installation) -> None:
    installation.declare("chat")
    installation.start(RECONCILER_TICK="0.5")
    before = installation.wait_ready("chat")
    shutil.rmtree(installation.state)
    installation.wait_for("the database", lambda: told(installation, "StateRecovered"), 1.5)
    assert installation.pids() == before


def test_another_controller_that_has_taken_the_folder_over_is_left_alone(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    first = installation.controller
    assert first is not None
    first.send_signal(signal.SIGSTOP)  # so that it notices nothing yet
    shutil.rmtree(installation.state)
    installation.start()
    after = installation.wait_ready("chat")
    assert after == before
    assert installation.instances("chat")[0]["trigger"] == "Adopted"
    for number in (signal.SIGHUP, signal.SIGCONT):
        first.send_signal(number)
    assert first.wait(30) == 1
    assert installation.controller is not None
    assert f"`reconciler run` (pid {installation.controller.pid}) manages" in installation.log()
    installation.stays(lambda: installation.pids() == before, 1.0)
    assert installation.is_controlled()
    assert (installation.state / "holder.json").exists()


@pytest.mark.parametrize("is_running", [True, False])
def test_a_database_of_garbage_is_set_aside(installation: Installation, is_running: bool) -> None:
    for name in ("one", "two"):
        installation.declare(name)
    installation.start(RECONCILER_TICK="0.5")
    before = installation.wait_ready("one", "two")
    marks = installation.query("select value from meta where key = 'installation'")
    if not is_running:
        installation.end()
        assert not (installation.state / "state.db-wal").exists()
    garbage = os.urandom(200_000)
    for name in ("state.db", "state.db-wal"):
        if (installation.state / name).exists():
            (installation.state / name).write_bytes(garbage)
    if not is_running:
        installation.start()

    def is_rebuilt() -> bool:
        try:
            return bool(told(installation, "StateRecovered" if is_running else "StateRebuilt"))
        except sqlite3.DatabaseError:
            return False

    installation.wait_for("a new database", is_rebuilt)
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    assert installation.wait_ready("one", "two") == before
    assert installation.query("select value from meta where key = 'installation'") == marks
    (aside,) = installation.state.glob("state.db.broken-*Z")
    assert aside.read_bytes() == garbage
    assert str(aside) in installation.log()
    assert len(told(installation, "StateRecovered")) + len(told(installation, "StateRebuilt")) == 1


def test_a_copied_folder_does_not_control_the_originals_servers(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    copy = installation.root / "copy"
    shutil.copytree(installation.state, copy, ignore=shutil.ignore_patterns("*.sock", "lock", "holder.json"))
    installation.cli("--state", str(copy), "stop", "chat")
    with sqlite3.connect(copy / "state.db") as connection:
        found = dict(connection.execute("select reason, message from events").fetchall())
    connection.close()
    assert f"chat (pid {before['chat']})" in found["InstallationMoved"]
    assert f"reconciler --state {os.path.realpath(installation.state)} stop --all" in found["InstallationMoved"]
    assert installation.pids() == before
    assert installation.phases() == {"chat": "Ready"}
    installation.cli("stop", "chat")
    assert installation.pids() == {}


@pytest.mark.parametrize("on_exit", ["leave", "stop"])
def test_the_end_comes_at_once_while_nothing_can_be_written(installation: Installation, on_exit: str) -> None:
    installation.declare("chat")
    installation.start("--on-exit", on_exit)
    before = installation.wait_ready("chat")
    installation.declare("more")
    with locked(installation):
        wait_logged(installation, "StateUnwritable")
        assert installation.end(patience=10) == 0
    assert installation.pids() == before


def test_many_that_die_meanwhile_are_one_event_and_all_come_back(installation: Installation) -> None:
    names = [f"s{number}" for number in range(8)]
    for name in names:
        installation.declare(name, restart={"initialBackoff": "0s"})
    installation.start()
    before = installation.wait_ready(*names)
    with locked(installation):
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_logged(installation, "StateUnwritable")
        installation.stays(lambda: installation.pids() == {}, 1.0)
    after = installation.wait_ready(*names)
    assert set(after.values()).isdisjoint(before.values())
    assert reasons(installation).count("StateUnwritable") == 1
    assert reasons(installation).count("Crashed") == len(names)
    for name in names:
        assert exit_of(installation, name) == (signal.SIGKILL, "KilledByUser")


def test_a_controller_that_dies_meanwhile_loses_nothing_but_what_was_never_written(
    installation: Installation,
) -> None:
    for name in ("one", "two"):
        installation.declare(name, restart={"initialBackoff": "0s"})
    installation.start()
    before = installation.wait_ready("one", "two")
    with locked(installation):
        os.kill(before["one"], signal.SIGKILL)
        wait_logged(installation, "StateUnwritable")
        installation.end(signal.SIGKILL)
    installation.start()
    after = installation.wait_ready("one", "two")
    assert after["two"] == before["two"]
    assert [row["trigger"] for row in installation.instances("one")] == ["Created", "Crashed"]
    assert len(installation.instances("two")) == 1


def test_the_lists_say_that_what_they_show_is_old(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    installation.wait_ready("chat")
    assert "warning" not in installation.cli("get", "servers")
    installation.declare("more")
    with locked(installation):
        wait_logged(installation, "StateUnwritable")
        for verb in (("get", "servers"), ("describe", "server", "chat")):
            told_off = installation.cli(*verb)
            assert told_off.count("warning: the state cannot be written: another program holds") == 1, told_off
    installation.wait_ready("chat", "more")
    assert "warning" not in installation.cli("get", "servers")


def fill_up(folder: Path) -> Path:
    path = folder / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


@pytest.fixture
def small_disk(installation: Installation) -> Iterator[Path]:
    """The state folder on a file system of its own."""
    installation.state.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", str(installation.state)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield installation.state
    installation.close()
    while os.path.ismount(installation.state):
        subprocess.run(["umount", "-l", str(installation.state)], check=True)


def test_a_full_disk_stops_nobody_and_is_made_up_for(installation: Installation, small_disk: Path) -> None:
    for name in ("one", "two"):
        installation.declare(name, restart={"initialBackoff": "0s", "maxRestarts": 1000, "stabilityWindow": "0s"})
    installation.start()
    before = installation.wait_ready("one", "two")
    filling = fill_up(small_disk)

    def is_told() -> bool:
        # The write-ahead log has room left in it: crashes use that up.
        if (pid := installation.pids().get("one")) is not None:
            os.kill(pid, signal.SIGKILL)
        installation.declare("other", ctx=128 + len(installation.log()))
        return "StateUnwritable" in installation.log()

    installation.wait_for("the trouble to be told", is_told, 60)
    installation.stays(lambda: installation.pids().get("two") == before["two"], 1.0)
    assert "df -h" in installation._ask("GET", "/healthz")["conditions"][0]["message"]
    filling.unlink()
    after = installation.wait_ready("one", "two", "other")
    assert after["two"] == before["two"]
    assert reasons(installation).count("StateUnwritable") == reasons(installation).count("StateRecovered") == 1
    assert installation.log().count("StateUnwritable:") == installation.log().count("StateRecovered:") == 1


def test_a_start_on_a_full_disk_finds_what_runs(installation: Installation, small_disk: Path) -> None:
    installation.declare("chat", restart={"initialBackoff": "0s"})
    installation.start()
    before = installation.wait_ready("chat")
    installation.end(signal.SIGKILL)
    filling = fill_up(small_disk)
    installation.start()
    wait_logged(installation, "StateUnwritable")
    installation.stays(lambda: installation.pids() == before, 1.0)
    os.kill(before["chat"], signal.SIGKILL)
    wait_logged(installation, "Crashed")
    installation.stays(lambda: installation.pids() == {}, 1.0)
    filling.unlink()
    installation.wait_ready("chat")
    assert [row["trigger"] for row in installation.instances("chat")] == ["Created", "Crashed"]
    installation.wait_for("the socket", installation.is_controlled)


def test_a_read_only_disk_at_the_start_is_waited_for(installation: Installation, small_disk: Path) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.end()
    # Not the file system itself: the server has its log open.
    subprocess.run(["mount", "--bind", str(small_disk), str(small_disk)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(small_disk)], check=True)
    installation.start()
    wait_logged(installation, "StateUnwritable")
    wait_logged(installation, "commands cannot reach this controller yet")
    subprocess.run(["umount", "-l", str(small_disk)], check=True)
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    installation.wait_for("the database", lambda: reasons(installation).count("StateRecovered") == 1)
    assert installation.wait_ready("chat") == before
