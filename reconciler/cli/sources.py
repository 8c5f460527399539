"""Sources of manifests as rows of a table, and in words."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.failure import BAD_INPUT, Failure, database_trouble, did_you_mean
from reconciler.cli.history import age
from reconciler.cli.servers import NOTHING, condition, unix
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.terminal import clean, width
from reconciler.core.durations import describe_duration
from reconciler.core.source import GIT, Revision
from reconciler.installation import is_controller_running
from reconciler.store import read

if TYPE_CHECKING:
    from reconciler.settings import Settings

HEADERS = ("NAME", "REVISION", "SUBJECT", "AGE", "LAST OK", "PENDING", "STATUS", "MESSAGE")
WIDE = (*HEADERS[:-1], "URL", "REF", "PATH", "INTERVAL", "MESSAGE")
_GIVES_WAY = (("SUBJECT", 0),)
NO_SOURCES = "manifests come from the folder alone; for a Git repository, set url under [source.git] in reconciler.toml"

Item = Mapping[str, Any]


def named_sources(db: sqlite3.Connection, names: Sequence[str] | None) -> list[Any]:
    """The sources of these names, or all; `source/NAME` is understood too. Raises Failure for an unknown one."""
    found = {item["metadata"]["name"]: item for item in read.sources(db)}
    wanted = [name.removeprefix("source/") for name in names or found]
    for name in wanted:
        if name not in found:
            message = f"no source '{name}'{did_you_mean(name, found)}"
            raise Failure(message, "see which there are with: reconciler get sources")
    return [found[name] for name in wanted]


def source_table(*, wide: bool = False) -> Table:
    """An empty table of sources; a wide one is never cut. On a terminal the messages stand below it (`notes`)."""
    if wide:
        return Table(WIDE, width=None)
    return Table(HEADERS[:-1] if has_notes() else HEADERS, width=width(), gives_way=_GIVES_WAY)


def has_notes() -> bool:
    """Whether messages stand below the table, and not in it: a terminal is narrow."""
    return width() is not None


def notes(items: Sequence[Item], now: float) -> str:
    """What is wrong with each source, whole and broken at words; empty where there is nothing to say."""
    told = [(item["metadata"]["name"], message(item, now)) for item in items]
    texts = [wrap(clean(f"{name}: {text}"), width() or 80, subsequent_indent="  ") for name, text in told if text]
    return "\n".join(line for lines in texts for line in lines)


def source_row(item: Item, now: float, *, wide: bool = False) -> list[str]:
    """The cells of one source; `now` is Unix time."""
    status, spec = item["status"], item["spec"]
    more = [spec["url"], spec["ref"], spec["path"] or NOTHING, spec["interval"]]
    return [
        item["metadata"]["name"],
        _short(status["revision"]),
        (status["revision"] or {}).get("subject") or NOTHING,
        describe_duration(max(0.0, now - unix(status["appliedAt"]))) if status["appliedAt"] else NOTHING,
        age(status["lastCheckedAt"], now) if status["lastCheckedAt"] else "never",
        _short(status["pending"]),
        condition(item, "Ready")["reason"],
        *(more if wide else ()),
        *((message(item, now),) if wide or not has_notes() else ()),
    ]


def message(item: Item, now: float) -> str:
    """What keeps the remote's revision from being in force; empty when nothing does."""
    status = item["status"]
    trouble = [f"{_short(status['pending'])} is refused: {problem}" for problem in status["problems"][:1]]
    if len(status["problems"]) > 1:
        trouble.append(f"{len(status['problems']) - 1} more")
    if status["lastError"]:
        since = status["errorSince"]
        known = f"for {describe_duration(max(0.0, now - unix(since)))}: " if since else ""
        trouble.append(known + status["lastError"])
    if status["suspended"] and not trouble:
        trouble.append(f"go on with: reconciler resume source {item['metadata']['name']}")
    return "; ".join(trouble)


def words(revision: Item | None) -> str:
    """A revision as people name it: `1a2b3c4d (its subject)`."""
    return str(Revision(revision["commit"], revision["subject"])) if revision else "no revision"


def warnings(items: Sequence[Item], now: float) -> list[str]:
    """What is wrong with sources, for whoever looks at servers."""
    return [
        f"source {item['metadata']['name']}: {condition(item, 'Degraded')['reason']}: {message(item, now)}; "
        f"more with: reconciler describe source {item['metadata']['name']}"
        for item in items
        if condition(item, "Degraded")["status"] == "True"
    ]


def refuse_without_source(state: Path, settings: Callable[[], "Settings"]) -> None:
    """Raise Failure when nobody could know of a source. A controller that runs has settings of its own."""
    if is_controller_running(state) or settings().source.git is not None:
        return
    remedy = "set url under [source.git] in reconciler.toml, or name the settings with --config"
    raise Failure(f"no such source: {GIT}: none is configured", remedy, exit_code=BAD_INPUT)


def warn_of_old_settings(state: Path) -> None:
    """Say on stderr when the settings file says something else than what the running controller read at its start."""
    if not is_controller_running(state):
        return
    with database_trouble(state), opened(state) as db:
        facts = read.meta(db).get("controller", {})
    file, began = facts.get("settings", ""), facts.get("startedAt", 0.0)
    with suppress(OSError):
        # With no file it was /dev/null, which changes all the time.
        if file and Path(file).is_file() and Path(file).stat().st_mtime > began:
            told = f"{file} has changed since the controller began: end it and run it again"
            click.echo(f"warning: {clean(told)}", err=True)


def is_from_git(item: Item | None) -> bool:
    """Whether a server's document comes from a Git source."""
    return item is not None and (item["metadata"].get("source") or {}).get("origin") == GIT


def held(item: Item) -> str:
    """Why a server whose document is gone stays in force; empty for others."""
    found = condition(item, "Reconciled")
    return str(found["message"] or found["reason"]) if found["reason"] == "PruneHeld" else ""


def followed(state: Path, settings: "Settings") -> str:
    """The Git repository that manifests come from, in words; empty when none is followed. Raises Failure."""
    if not is_controller_running(state):
        return settings.source.git.where if settings.source.git else ""
    with database_trouble(state), opened(state) as db:
        return next((f"{item['spec']['url']}, {item['spec']['ref']}" for item in read.sources(db)), "")


def _short(revision: Item | None) -> str:
    return Revision(revision["commit"]).short if revision else NOTHING
