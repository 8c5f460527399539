"""The tables, and how older ones become them. Tables are made here and nowhere else."""

from reconciler.store.database import Database, Migrations

migrations = Migrations("reconciler")


@migrations()
def first_tables(db: Database) -> None:
    """Documents, servers, instances, events, requests, ports.

    The `record` and `row` columns hold what the planner remembers, as JSON; the other columns are for queries.
    """
    db.table("meta").create({"key": str, "value": str}, pk="key", strict=True)
    db.table("documents").create(
        {
            "kind": str,
            "name": str,
            "file": str,
            "line": int,
            "labels": str,
            "annotations": str,
            "spec": str,
            "generation": int,
            "accepted_at": float,
        },
        pk=("kind", "name"),
        strict=True,
    )
    db.table("servers").create(
        {
            "name": str,
            "phase": str,
            "message": str,
            "n": int,
            "restarts": int,
            "backoff_until": float,
            "record": str,
        },
        pk="name",
        strict=True,
    )
    db.table("instances").create(
        {
            "uid": str,
            "server": str,
            "pid": int,
            "started_at": float,
            "ready_at": float,
            "ended_at": float,
            "launch": str,
            "row": str,
        },
        pk="uid",
        strict=True,
    )
    db.table("instances").create_index(["server", "started_at"])
    db.table("instances").create_index(["ended_at"])
    db.table("events").create(
        {
            "id": int,
            "server": str,
            "reason": str,
            "message": str,
            "warning": int,
            "count": int,
            "first_at": float,
            "last_at": float,
        },
        pk="id",
        strict=True,
    )
    db.table("events").create_index(["server", "reason"])
    db.table("events").create_index(["last_at"])
    db.table("requests").create(
        {"id": int, "kind": str, "server": str, "created_at": float, "done_at": float}, pk="id", strict=True
    )
    db.table("requests").create_index(["done_at"])
    db.table("ports").create({"server": str, "port": int}, pk="server", strict=True)


@migrations()
def git_source(db: Database) -> None:
    """Where documents come from, and what is remembered of sources (`row`, as JSON)."""
    db.execute("alter table documents add column origin text not null default 'local'")
    db.table("sources").create({"name": str, "row": str}, pk="name", strict=True)


@migrations()
def adoption(db: Database) -> None:
    """The tables stay; their rows say what versions before this cannot read, and these refuse what is unknown to them.

    An adopted process, and specs with `adopt` or the newer probes, for instance.
    """


@migrations()
def kinds(db: Database) -> None:
    """Documents of other kinds than servers, what is servers' own beside what comes from defaults, and generations.

    `own` is the spec as the file has it, empty where `spec` is just that; `came_from` has names of defaults by field.
    """
    db.execute("alter table documents add column own text not null default ''")
    db.execute("alter table documents add column came_from text not null default ''")
    _keep_generations(db)


@migrations()
def fallback(db: Database) -> None:
    """The tables stay; rows and specs speak of fallback steps, which versions before this could not read."""


def _keep_generations(db: Database) -> None:
    """What was accepted of each document, generation after generation; of earlier versions, what is in force."""
    db.table("generations").create(
        {
            "id": int,
            "kind": str,
            "name": str,
            "generation": int,
            "accepted_at": float,
            "own": str,
            "spec": str,
            "came_from": str,
            "labels": str,
            "annotations": str,
            "file": str,
            "line": int,
            "origin": str,
            "revision": str,
        },
        pk="id",
        strict=True,
    )
    db.table("generations").create_index(["kind", "name"])
    db.execute(
        "insert into generations"
        " (kind, name, generation, accepted_at, own, spec, came_from, labels, annotations,"
        " file, line, origin, revision)"
        " select kind, name, generation, accepted_at, spec, spec, '', labels, annotations, file, line, origin, ''"
        " from documents"
    )
