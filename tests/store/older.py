"""A database as an older version left it."""

import sqlite3
from pathlib import Path

FORGETTING = """
    drop table sources;
    drop table generations;
    alter table documents drop column origin;
    alter table documents drop column own;
    alter table documents drop column came_from;
    delete from _sqlite_migrations where name <> 'first_tables';
"""


def make_older(state: Path) -> None:
    """Take back the migrations since `git_source`: what is left is what versions before it wrote, and can read."""
    connection = sqlite3.connect(state / "state.db")
    connection.executescript(FORGETTING)
    connection.close()


def migrations_in(state: Path) -> list[str]:
    """What the database has been through."""
    connection = sqlite3.connect(state / "state.db")
    found = connection.execute("select name from _sqlite_migrations order by rowid").fetchall()
    connection.close()
    return [name for (name,) in found]
