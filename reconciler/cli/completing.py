"""What a word of a command line may go on as: live names, for the completion of shells.

It is asked at each press of a key, so nothing slow is imported, and nobody is waited for.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reconciler.cli.invocation import Invocation
from reconciler.cli.kinds import EVERYTHING, KINDS, kind_of
from reconciler.cli.targets import KINDS as EDITED
from reconciler.cli.targets import SERVER


@dataclass(frozen=True)
class Word:
    """What a word may go on as."""

    text: str
    about: str = ""
    """A few words, for shells that show them."""
    kind: str = "plain"
    """`plain`; `open`, behind which more is typed; `file`, `dir`: the shell knows best."""


@dataclass(frozen=True)
class Asked:
    """What stands before the word."""

    given: Sequence[str] = ()
    """The verb's arguments so far."""
    begun: str = ""
    """The word as far as it is typed."""
    invocation: Invocation = field(default_factory=Invocation)


Completer = Callable[[Asked], Iterable[Word]]


# ---------------------------------------------------------------- what there is


@contextmanager
def database(asked: Asked) -> Iterator[sqlite3.Connection]:
    """That of the installation meant. Raises Failure and ReadError."""
    from reconciler.store import read  # noqa: PLC0415 - for names alone

    with read.opened(asked.invocation.state_folder()) as db:
        yield db


def items(asked: Asked) -> list[dict[str, Any]]:
    """The servers, as `get servers -o json` has them."""
    from reconciler.installation import is_controller_running  # noqa: PLC0415 - as above
    from reconciler.store import read  # noqa: PLC0415

    with database(asked) as db:
        controller = is_controller_running(asked.invocation.state_folder())
        return read.servers(db, now=time.time(), controller=controller)


def _servers(asked: Asked, before: str = "") -> Iterator[Word]:
    for item in items(asked):
        yield Word(f"{before}{item['metadata']['name']}", item["status"]["phase"])


def _documents(asked: Asked, kind: str) -> list[str]:
    """The names of what is declared of a kind."""
    with database(asked) as db:
        return [name for (name,) in db.execute("select name from documents where kind = ? order by name", [kind])]


def _sources(asked: Asked) -> list[str]:
    from reconciler.store import read  # noqa: PLC0415 - as above

    with database(asked) as db:
        return [item["metadata"]["name"] for item in read.sources(db)]


def _named(asked: Asked, kind: str, before: str = "") -> Iterator[Word]:
    """The names of one kind, with its phase where it has one."""
    if kind == SERVER:
        yield from _servers(asked, before)
    else:
        names = _sources(asked) if kind == "sources" else _documents(asked, kind)
        yield from (Word(f"{before}{name}") for name in names)


def servers(asked: Asked) -> Iterator[Word]:
    """Names of servers that were not named yet; behind `server/` with that."""
    given = {name.removeprefix("server/") for name in asked.given}
    before = "server/" if asked.begun.startswith("server/") else ""
    yield from (word for word in _servers(asked, before) if word.text.removeprefix("server/") not in given)


def one_server(asked: Asked) -> Iterable[Word]:
    """The name of one server."""
    return () if asked.given else servers(asked)


def targets(asked: Asked) -> Iterator[Word]:
    """What has a document: servers, and `KIND/NAME`; behind a kind the names of that one."""
    first = asked.given[0] if asked.given else ""
    kind = next((kind for kind, word in EDITED.items() if word == first), "")
    if kind:
        yield from (word for word in _named(asked, kind) if word.text not in asked.given)
        return
    yield from (word for word in servers(asked) if "/" not in word.text)
    for kind, word in EDITED.items():
        if kind != SERVER or asked.begun.startswith("server/"):
            yield from (each for each in _named(asked, kind, f"{word}/") if each.text not in asked.given)


def one_target(asked: Asked) -> Iterable[Word]:
    """One of them."""
    return () if asked.given and asked.given[-1] not in EDITED.values() else targets(asked)


def event_objects(asked: Asked) -> Iterator[Word]:
    """What things happen to: servers, other documents, sources."""
    yield from targets(Asked((), asked.begun, asked.invocation))
    yield from _named(asked, "sources", "source/")


def servers_and_source(asked: Asked) -> Iterator[Word]:
    """Servers, or the word `source` and the names of those."""
    if asked.given[:1] == ["source"]:
        yield from map(Word, _sources(asked))
        return
    yield from servers(asked)
    if not asked.given:
        yield Word("source", "where manifests come from")


def described(asked: Asked) -> Iterator[Word]:
    """A kind, then names of it; `KIND/NAME`; or servers."""
    kind, slash, _ = asked.begun.partition("/")
    if slash:
        found = _named(asked, _meant(kind), f"{kind}/")
    elif asked.given and kind_of(asked.given[0]):
        found = _named(asked, _meant(asked.given[0]))
    else:
        found = _servers(asked)
        if not asked.given:
            yield from (Word(kind.singular) for kind in KINDS.values() if not kind.happened)
    yield from (word for word in found if word.text not in asked.given)


def profiles(asked: Asked) -> Iterable[Word]:
    """The name of a profile."""
    return () if asked.given else map(Word, _documents(asked, "Profile"))


def listed(asked: Asked) -> Iterator[Word]:
    """Lists, several behind commas, or `KIND/NAME`; then names."""
    kind, slash, _ = asked.begun.partition("/")
    if slash:
        yield from _named(asked, _meant(kind), f"{kind}/")
    elif asked.given:
        first = asked.given[0].partition(",")[0]
        yield from (word for word in _named(asked, _meant(first)) if word.text not in asked.given)
    else:
        before = asked.begun[: asked.begun.rfind(",") + 1]
        found = [
            *(Word(f"{before}{name}", kind.short[0]) for name, kind in KINDS.items()),
            Word(f"{before}{EVERYTHING}"),
        ]
        yield from (word for word in found if word.text.removeprefix(before) not in before.split(","))


def _meant(word: str) -> str:
    """The kind of document whose names are meant; what happened bears those of servers."""
    kind = kind_of(word)
    if kind is None or kind.happened:
        return SERVER
    return kind.document or kind.plural
