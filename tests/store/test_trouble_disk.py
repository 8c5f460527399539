"""A real disk that is full or read-only, for root: a small tmpfs."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.history import ServerRecord
from reconciler.store.trouble import Cause, StateUnwritableError
from reconciler.store.writer import Store
from tests.store.test_writer import change_everything, on_disk, query, remembered


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def cause(store: Store) -> Cause | None:
    return store.trouble.cause if store.trouble else None


def fill_up(disk: Path) -> Path:
    path = disk / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def use_up_the_wal(store: Store) -> None:
    """Until a commit fails."""
    for number in range(3000):
        with store.transaction(anyway=True):
            store.save_server(ServerRecord(f"server-{number % 300}", last_error="x" * 500))
        if store.trouble is not None:
            return
    raise AssertionError("the disk does not get full")


def test_a_full_disk_is_waited_for(disk: Path) -> None:
    store = Store(disk)
    with store.transaction():
        change_everything(store)
    filling = fill_up(disk)
    use_up_the_wal(store)
    assert cause(store) is Cause.DISK_FULL
    assert f"df -h {disk}" in str(store.trouble)
    with pytest.raises(StateUnwritableError), store.transaction():
        change_everything(store, 2)
    with store.transaction(anyway=True):
        change_everything(store, 3)
    known = remembered(store)
    store.mend()
    assert cause(store) is Cause.DISK_FULL
    filling.unlink()
    store.mend()
    assert cause(store) is None
    assert remembered(store) == on_disk(store) == known
    counts = dict(query(store, "select reason, sum(count) from events group by reason"))
    assert (counts["StateUnwritable"], counts["StateRecovered"]) == (1, 1)
    store.close()


@pytest.mark.parametrize("is_room_elsewhere", [True, False])
def test_a_controller_that_begins_on_a_full_disk_knows_what_was_written(
    disk: Path, is_room_elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_room_elsewhere:
        monkeypatch.setattr("tempfile.tempdir", str(disk))
    first = Store(disk)
    with first.transaction():
        change_everything(first)
    known, identity = remembered(first), first.installation
    first.close()
    filling = fill_up(disk)
    store = Store(disk)
    assert (remembered(store), store.installation) == (known, identity)
    with store.transaction(anyway=True):
        store.save_server(ServerRecord("later"))
    filling.unlink()
    store.mend()
    assert cause(store) is None
    assert remembered(store) == on_disk(store)
    assert {"server-1", "later"} == set(store.history().servers)
    store.close()


def test_a_controller_that_begins_on_a_read_only_disk_knows_what_was_written(disk: Path) -> None:
    first = Store(disk)
    with first.transaction():
        change_everything(first)
    known = remembered(first)
    first.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    store = Store(disk)
    assert remembered(store) == known
    assert cause(store) is Cause.READ_ONLY
    assert f"findmnt -T {disk}" in str(store.trouble)
    with pytest.raises(StateUnwritableError), store.transaction():
        change_everything(store, 2)
    with store.transaction(anyway=True):
        store.save_server(ServerRecord("later"))
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    store.mend()
    assert cause(store) is None
    assert remembered(store) == on_disk(store)
    assert {"server-1", "later"} == set(store.history().servers)
    store.close()


def test_another_disk_over_the_folder_gets_all_of_it_and_gives_it_back(disk: Path) -> None:
    folder = disk.parent / "state"
    folder.mkdir()
    store = Store(folder)
    with store.transaction():
        change_everything(store)
    subprocess.run(["mount", "--bind", str(disk), str(folder)], check=True)
    try:
        store.look()
        assert cause(store) is None
        assert (disk / "state.db").exists()
        with store.transaction():
            change_everything(store, 2)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    store.look()
    assert cause(store) is None
    assert remembered(store) == on_disk(store)
    assert set(store.history().servers) == {"server-1", "server-2"}
    assert [event.reason for event in store.take_news()] == ["StateRecovered", "StateRecovered"]
    store.close()
