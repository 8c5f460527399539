import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store import migrations as older
from reconciler.store import read, writer
from reconciler.store.database import Database
from reconciler.store.migrations import migrations
from reconciler.store.opening import NewerDatabaseError
from reconciler.store.writer import Store
from tests.store.older import make_older, migrations_in

TABLES = {"meta", "documents", "servers", "instances", "events", "requests", "ports", "sources", "generations"}

MIGRATIONS = [migration.name for migration in migrations._migrations]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A fresh database, past its writer."""
    Store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "state.db")
    yield connection
    connection.close()


def tables(connection: sqlite3.Connection) -> dict[str, bool]:
    """Our tables, and whether they are strict."""
    listed = connection.execute("select name, strict from pragma_table_list where schema = 'main' and type = 'table'")
    return {name: bool(strict) for name, strict in listed if not name.startswith(("sqlite_", "_sqlite_"))}


def test_all_tables_are_there_and_strict(database: sqlite3.Connection) -> None:
    assert tables(database) == dict.fromkeys(TABLES, True)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into ports (server, port) values ('chat', 'eighty')",
        "insert into servers (name, n) values ('chat', 'many')",
        "insert into instances (uid, pid) values ('u1', 'x')",
        "insert into instances (uid, started_at) values ('u1', 'noon')",
        "insert into events (count) values (1.5)",
        "insert into requests (created_at) values ('yesterday')",
        "insert into documents (kind, name, line) values ('LlamaServer', 'chat', 'first')",
    ],
)
def test_a_wrong_type_is_refused(database: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
        database.execute(statement)


def test_nobody_but_the_migrations_asks_sqlite_utils_for_a_table() -> None:
    """It would silently make one of a name misspelt."""
    assert writer.__file__
    for path in set(Path(writer.__file__).parent.glob("*.py")) - {Path(str(older.__file__))}:
        text = path.read_text()
        assert ".table(" not in text, path
        assert "create table" not in text.lower(), path


def test_the_reader_knows_the_same_migrations() -> None:
    assert {migration.name for migration in migrations._migrations} == read.MIGRATIONS


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.close()
    before = dump(tmp_path)
    second = Store(tmp_path)
    second.close()
    assert dump(tmp_path) == before
    assert second.installation == first.installation


def test_an_older_database_becomes_what_a_new_one_is(tmp_path: Path, database: sqlite3.Connection) -> None:
    fresh = schema(database)
    make_older(tmp_path)
    assert schema(database) == before_git_source()
    Store(tmp_path).close()
    assert schema(database) == fresh
    assert migrations_in(tmp_path) == MIGRATIONS


CRASHING = """
import os, signal, sqlite3, sys
from pathlib import Path
from reconciler.store import writer

connect, before = sqlite3.connect, sys.argv[2]

def traced(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(lambda sql: before in sql and os.kill(os.getpid(), signal.SIGKILL))
    return connection

sqlite3.connect = traced
writer.Store(Path(sys.argv[1]))
"""
"""Opens a store, and is killed just before the statement that holds some words."""


@pytest.mark.parametrize("killed_before", ["alter table", 'CREATE TABLE "sources"', "'git_source'", "COMMIT"])
def test_a_crash_within_a_migration_leaves_the_older_database(
    tmp_path: Path, database: sqlite3.Connection, killed_before: str
) -> None:
    make_older(tmp_path)
    older, other = schema(database), [sys.executable, "-c", CRASHING, str(tmp_path), killed_before]
    assert subprocess.run(other, check=False).returncode == -signal.SIGKILL
    assert schema(database) == older
    Store(tmp_path).close()
    assert migrations_in(tmp_path) == MIGRATIONS


def schema(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The columns of all tables."""
    return {
        name: [str(column[1:]) for column in connection.execute(f"pragma table_info({name})")]
        for name in tables(connection)
    }


def before_git_source() -> dict[str, list[str]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrations.apply(Database(connection), stop_before="git_source")
    found = schema(connection)
    connection.close()
    return found


def test_two_installations_differ(tmp_path: Path) -> None:
    identities = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        store = Store(tmp_path / name)
        identities.add(store.installation)
        store.close()
    assert len(identities) == 2


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path, database: sqlite3.Connection) -> None:
    statement = "insert into _sqlite_migrations (migration_set, name, applied_at) values ('reconciler', ?, '')"
    database.execute(statement, ["from_the_future"])
    database.commit()
    before = dump(tmp_path)
    with pytest.raises(NewerDatabaseError) as refusal:
        Store(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path / 'state.db'} was written by a newer reconciler (it has 'from_the_future'); nothing was changed. "
        "Install that version again, or name another state folder with --state."
    )
    assert dump(tmp_path) == before


def dump(folder: Path) -> list[str]:
    connection = sqlite3.connect(folder / "state.db")
    lines = list(connection.iterdump())
    connection.close()
    return lines
