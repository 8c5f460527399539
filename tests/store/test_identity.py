"""An installation's id belongs to its folder: a copy or a moved one is another installation."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.core.history import ServerRecord, Trigger
from reconciler.core.model import Identity
from reconciler.store.writer import Store
from tests.store.test_writer import change_everything, instance, on_disk, query, remembered


@dataclass
class Living:
    """What processes are said to tell."""

    borne: list[str]
    elsewhere: list[tuple[str, str]] = field(default_factory=list)
    is_alive: bool = True
    asked: list[str] = field(default_factory=list)

    def installations_over(self, folder: str) -> list[str]:
        self.asked.append(folder)
        return self.borne

    def is_elsewhere(self, installation: str, folder: str) -> bool:
        return (installation, folder) in self.elsewhere

    def lives(self, identity: Identity) -> bool:
        return self.is_alive and bool(identity.pid)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that a controller has left."""
    made = tmp_path / "state"
    made.mkdir()
    store = Store(made)
    with store.transaction():
        change_everything(store)
        store.save_instance(instance("chat", "u9", identity=Identity("boot-a", 4711, 7)))
        store.save_server(ServerRecord("chat", generation=3, n=2, delay=4.0, restarts=9))
    store.close()
    return made


def installation_of(folder: Path) -> str:
    return (folder / "installation").read_text().splitlines()[0]


def test_the_id_stands_in_the_database_and_beside_it_with_the_folder(folder: Path) -> None:
    store = Store(folder)
    facts = dict(query(store, "select key, value from meta where key like 'installation%'"))
    assert facts == {"installation": store.installation, "installationFolder": os.path.realpath(folder)}
    assert (folder / "installation").read_text() == f"{store.installation}\n{os.path.realpath(folder)}\n"
    assert store.folder == os.path.realpath(folder)
    store.close()


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_folder_elsewhere_lets_go_of_the_servers_of_the_one_it_comes_from(
    folder: Path, tmp_path: Path, is_moved: bool
) -> None:
    before = installation_of(folder)
    there = tmp_path / "with blank" / "state"
    there.parent.mkdir()
    if is_moved:
        folder.rename(there)
    else:
        shutil.copytree(folder, there)
    store = Store(there)
    assert store.installation != before
    assert installation_of(there) == store.installation
    assert store.history().instances == {}
    assert query(store, "select uid from instances where ended_at is null") == []
    rows = query(store, "select json_extract(row, '$.diagnosis') from instances")
    assert rows == [("OtherInstallation",), ("OtherInstallation",)]
    record = store.history().servers["chat"]
    assert record == ServerRecord("chat", generation=3, restarts=9, next_trigger=Trigger.CREATED)
    assert set(store.documents) == {"doc-1"}
    (event,) = store.take_news()
    assert event.reason == "InstallationMoved"
    assert str(folder) in event.message
    assert before in event.message
    assert "chat (pid 4711)" in event.message
    stop = "kill 4711" if is_moved else f"reconciler --state {folder} stop --all"
    assert event.message.endswith(stop)
    assert remembered(store) == on_disk(store)
    known = store.installation
    store.close()
    again = Store(there)
    assert (again.installation, again.take_news()) == (known, [])
    again.close()
    if not is_moved:
        original = Store(folder)
        assert (original.installation, original.take_news()) == (before, [])
        assert set(original.history().instances) == {"server-1", "chat"}
        original.close()


def test_a_link_to_the_folder_is_the_same_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    store = Store(tmp_path / "link")
    assert (store.installation, store.take_news()) == (installation_of(folder), [])
    store.close()


def test_a_folder_of_an_older_version_is_bound_where_it_is(folder: Path) -> None:
    store = Store(folder)
    before = store.installation
    store._db.conn.execute("delete from meta where key = 'installationFolder'")
    store.close()
    (folder / "installation").write_text(f"{before}\n")
    again = Store(folder)
    assert (again.installation, again.take_news()) == (before, [])
    assert set(again.history().instances) == {"server-1", "chat"}
    again.close()
    assert (folder / "installation").read_text() == f"{before}\n{os.path.realpath(folder)}\n"


def test_without_its_database_a_folder_keeps_its_id(folder: Path) -> None:
    before = installation_of(folder)
    (folder / "state.db").unlink()
    store = Store(folder)
    assert store.installation == before
    store.close()


@pytest.mark.parametrize(
    ("borne", "is_taken"),
    [(["0123456789abcdef"], True), ([], False), (["0123456789abcdef", "fedcba9876543210"], False)],
)
def test_a_folder_without_any_id_takes_the_one_that_its_processes_bear(
    tmp_path: Path, borne: list[str], is_taken: bool
) -> None:
    living = Living(borne)
    store = Store(tmp_path, living)
    assert living.asked == [os.path.realpath(tmp_path)]
    assert (store.installation in borne) == is_taken
    store.close()
    again = Store(tmp_path, living)
    assert again.installation == store.installation
    assert len(living.asked) == 1
    again.close()


def test_moved_back_it_is_who_it_was_if_its_processes_live(folder: Path, tmp_path: Path) -> None:
    before = installation_of(folder)
    folder.rename(tmp_path / "away")
    Store(tmp_path / "away").close()
    (tmp_path / "away").rename(folder)
    store = Store(folder, Living([before]))
    assert store.installation == before
    store.close()


@pytest.mark.parametrize("left", ["link", "nothing"])
def test_another_way_to_the_same_folder_is_no_move(folder: Path, tmp_path: Path, left: str) -> None:
    before, moved = installation_of(folder), tmp_path / "disk2"
    folder.rename(moved)
    if left == "link":
        folder.symlink_to(moved)
    store = Store(moved)
    assert (store.installation == before) == (left == "link")
    assert store.folder == os.path.realpath(moved)
    store.close()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount")
def test_a_bind_mount_of_the_folder_is_no_move(folder: Path, tmp_path: Path) -> None:
    before, mount = installation_of(folder), tmp_path / "mount"
    mount.mkdir()
    if subprocess.run(["mount", "--bind", folder, mount], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = Store(mount)
        assert (store.installation, store.folder) == (before, os.path.realpath(folder))
        store.close()
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_copy_at_the_same_path_in_another_view_of_the_files_is_another_installation(folder: Path) -> None:
    before = installation_of(folder)
    store = Store(folder, Living([], elsewhere=[(before, os.path.realpath(folder))]))
    assert store.installation != before
    assert store.history().instances == {}
    store.close()


def test_only_servers_that_live_are_named_with_what_stops_them(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "away")
    store = Store(tmp_path / "away", Living([], is_alive=False))
    (event,) = store.take_news()
    assert event.reason == "InstallationMoved"
    assert not {"kill", "4711", "left alone"} & set(event.message.split())
    store.close()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"\n/somewhere\n"])
def test_a_file_that_tells_no_id_is_made_anew(folder: Path, content: bytes) -> None:
    before = installation_of(folder)
    (folder / "installation").write_bytes(content)
    store = Store(folder)
    assert store.installation == before == installation_of(folder)
    store.close()
