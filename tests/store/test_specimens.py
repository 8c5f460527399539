"""What every earlier schema left is read, migrated, and means what it meant."""

import sqlite3
from pathlib import Path

import pytest

from reconciler.controller.preview import check_spec
from reconciler.core.source import GIT, LOCAL
from reconciler.engines import engine_of
from reconciler.manifests.folder import Folder
from reconciler.settings import load_settings
from reconciler.store import past, read
from reconciler.store.migrations import migrations
from reconciler.store.rows import INSTANCE
from reconciler.store.writer import Store
from tests.store.older import migrations_in
from tests.store.specimen import FOLDER, HOME, NAMES, lay_out

DECLARED = {"blocked", "broken", "chat", "embedder", "resting", "stopped"}
MIGRATIONS = [migration.name for migration in migrations._migrations]
specimens = pytest.mark.parametrize("name", NAMES)


def declared_in(name: str) -> set[str]:
    return DECLARED | ({"fetched"} if (FOLDER / name / "remote").exists() else set())


def rows_of(state: Path) -> dict[str, list[tuple[object, ...]]]:
    """The keys of all rows, by table."""
    keys = {"documents": "name", "instances": "uid", "events": "id", "requests": "id, done_at", "ports": "server, port"}
    with sqlite3.connect(state / "state.db") as db:
        found = {table: sorted(db.execute(f"select {key} from {table}")) for table, key in keys.items()}
    db.close()
    return found


def test_each_migration_but_the_newest_has_a_specimen() -> None:
    told = {line.split("'")[3] for name in NAMES for line in migrations_told(name)}
    assert set(MIGRATIONS[:-1]) <= told


def migrations_told(name: str) -> list[str]:
    """The last migration that a specimen has been through."""
    lines = (FOLDER / name / "state.sql").read_text().splitlines()
    return [line for line in lines if line.startswith('INSERT INTO "_sqlite_migrations"')][-1:]


def test_each_specimen_is_described() -> None:
    described = (FOLDER / "README.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in described] == []


@specimens
def test_migrated_it_has_every_row_that_it_had(name: str, tmp_path: Path) -> None:
    state = lay_out(name, tmp_path)
    before = rows_of(state)
    store = Store(state)
    history, requests = store.history(), store.requests()
    origins = {document.name: document.origin for document in store.documents.values()}
    assert origins == {server: GIT if server == "fetched" else LOCAL for server in declared_in(name)}
    assert store.sources.keys() == ({GIT} if "fetched" in origins else set())
    assert history.servers.keys() == declared_in(name)
    assert history.instances.keys() == declared_in(name) - {"blocked", "broken", "resting", "stopped"}
    assert requests.stop.keys() == {"stopped"}
    store.close()
    assert rows_of(state) == before
    assert migrations_in(state) == MIGRATIONS


@specimens
def test_every_row_of_its_history_is_understood(name: str, tmp_path: Path) -> None:
    state = lay_out(name, tmp_path)
    Store(state).close()
    with sqlite3.connect(state / "state.db") as db:
        found = [INSTANCE.validate_json(row) for (row,) in db.execute("select row from instances")]
    db.close()
    crashed = [instance for instance in found if instance.server == "embedder" and instance.ended]
    assert [(str(instance.exit), instance.diagnosis) for instance in crashed] == [("signal 9", "Killed")]


@specimens
def test_its_installation_keeps_its_id(name: str, tmp_path: Path) -> None:
    state = lay_out(name, tmp_path)
    with sqlite3.connect(state / "state.db") as db:
        ((identity,),) = db.execute("select value from meta where key = 'installation'")
    db.close()
    store = Store(state)
    assert store.installation == identity
    assert (state / "installation").read_text().split()[0] == identity
    store.close()


@specimens
def test_the_command_line_reads_it_without_migrating_it(name: str, tmp_path: Path) -> None:
    state = lay_out(name, tmp_path)
    before = migrations_in(state)
    with read.opened(state) as db:
        servers = read.servers(db, now=1.8e9, controller=False, alive=lambda _: False)
        assert {item["metadata"]["name"] for item in servers} == declared_in(name)
        assert {item["status"]["phase"] for item in servers} >= {"Failed", "Stopped", "Blocked"}
        assert {item["server"] for item in past.restarts(db)} == declared_in(name) - {"blocked", "resting"}
        assert len(past.events(db)) == len(rows_of(state)["events"])
        assert [item["metadata"]["name"] for item in read.sources(db)] == ["git"][: "fetched" in declared_in(name)]
    assert migrations_in(state) == before


@specimens
def test_its_manifests_say_what_was_accepted(name: str, tmp_path: Path) -> None:
    """A new generation of a document that nobody changed would be seen, and could restart its server."""
    store = Store(lay_out(name, tmp_path))
    look = Folder(tmp_path / "manifests", check_spec, "manifests").look(1e9)
    fetched = Folder(tmp_path / "remote", check_spec, "remote").look(1e9) if (tmp_path / "remote").exists() else None
    seen = [*look.documents, *(fetched.documents if fetched else ())]
    assert look.problems == ()
    assert {document.name for document in seen} == declared_in(name)
    assert [document.name for document in seen if not document.says_the_same(store.documents[document.name])] == []
    store.close()


@specimens
def test_no_server_would_be_restarted_for_its_fingerprint(name: str, tmp_path: Path) -> None:
    store = Store(lay_out(name, tmp_path))
    specs = {server: store.documents[server].spec for server in store.history().instances}
    now = {server: engine_of(spec).fingerprint(spec) for server, spec in specs.items()}
    assert now == {server: instance.fingerprint for server, instance in store.history().instances.items()}
    store.close()


@specimens
def test_its_settings_are_read(name: str, tmp_path: Path) -> None:
    lay_out(name, tmp_path)
    settings = load_settings({}, str(tmp_path / "reconciler.toml"))
    assert settings.state == str(tmp_path / "state")
    assert (settings.loads, settings.tick, settings.ports.low, settings.logs.max_mib) == (3, 5.0, 9710, 8)
    assert settings.history.events == 500
    if (tmp_path / "remote").exists():
        assert settings.source.git
        assert settings.source.git.url == f"file://{HOME}/remote"
        assert settings.policy.git.max_ctx == 4096
