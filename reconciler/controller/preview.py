"""`diff` and `apply --dry-run`: one preview, asked of a running controller or made from the files and the state."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.controller.accepting import folder_problem, selection_of
from reconciler.controller.asking import LAPSE
from reconciler.controller.flag_gate import helps_in
from reconciler.controller.launching import Launcher
from reconciler.controller.manifests import Manifests
from reconciler.core.accept import Acceptance, Beside, Seen, accept, overlay
from reconciler.core.candidates import key_of_problem
from reconciler.core.history import History, Requests
from reconciler.core.model import Document, Now, Problem
from reconciler.core.port_claims import held_by_others
from reconciler.core.preview import Change, Standing, preview
from reconciler.core.pruning import Memory
from reconciler.core.source import GIT, PREFIX
from reconciler.core.spec import ServerSpec
from reconciler.core.turns import turns
from reconciler.engines import engine_of
from reconciler.manifests.folder import Folder, Look, overlaid
from reconciler.manifests.parse import parse
from reconciler.runtimes.host import Host, choose_host
from reconciler.settings import Settings
from reconciler.store.rows import open_snapshot, read_asked_at, read_documents, read_history, read_others, read_requests

if TYPE_CHECKING:
    from reconciler.core.kinds import OtherDocument

Texts = Sequence[Mapping[str, str]]
SETTLE = 4.0
"""Most seconds to wait for files to be quiet, and, besides their delay, for missing documents to count as gone."""


def check_spec(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """The engine's refusals of a spec."""
    return engine_of(spec).check(spec)


@dataclass(frozen=True, slots=True)
class Before:
    """What there is before the change."""

    documents: Mapping[str, Document]
    history: History
    requests: Requests
    git: str = ""
    """Where the documents of Git come from, in words."""
    beside: Beside = field(default_factory=lambda: Beside(check=check_spec))
    """Documents of other kinds, and what the active profile wants."""

    @property
    def documents_of_git(self) -> Look:
        """What was accepted of Git."""
        others = tuple(one for one in self.beside.others.values() if one.origin == GIT)
        return Look(tuple(one for one in self.documents.values() if one.origin == GIT), others=others)


def preview_texts(before: Before, look: Look, texts: Texts, launcher: Launcher, now: Now) -> dict[str, Any]:
    """The preview as JSON-ready data; each of `texts` has `file` (as shown) and `text`.

    One with `without`, a server's name or another document's key, stands for the removal of that, as a person's word.
    """
    found = Seen(look.documents, look.problems, look.failed, look.empty, look.devices, look.others)
    removed = frozenset(item["without"] for item in texts if "without" in item)
    seen = with_texts(_without(found, removed), texts, before.git)
    standing = Standing(before.documents, before.history, before.requests, before.beside)
    changes, acceptance = preview(standing, seen, _fingerprint, removed)
    documents = tuple(one for name, one in acceptance.documents.items() if not acceptance.parked(name))
    crowded = launcher.crowded(documents, turns(documents, before.history, before.requests))

    leaving = {one.server for one in changes if _leaves_its_port(one, acceptance.documents.get(one.server))}

    def blocked(document: Document) -> tuple[str, str]:
        gate = launcher.look(document, now, crowded.get(document.name))
        if gate.message:
            return gate.reason, gate.message
        held = held_by_others(document, before.history.instances, leaving)
        return "PortInUse" if held else "", held

    return {
        "changes": [_change_data(change, acceptance.documents.get(change.server), blocked) for change in changes],
        "problems": problems_data(acceptance),
        "folderProblem": folder_problem(acceptance),
        "refused": "",
    }


def _without(seen: Seen, keys: frozenset[str]) -> Seen:
    """What would be seen without these, of the manifests folder."""
    return replace(
        seen,
        documents=tuple(one for one in seen.documents if one.name not in keys or one.origin == GIT),
        others=tuple(one for one in seen.others if one.key not in keys or one.origin == GIT),
        problems=tuple(one for one in seen.problems if key_of_problem(one) not in keys or one.file.startswith(PREFIX)),
    )


def preview_offline(settings: Settings, texts: Texts) -> dict[str, Any]:
    """The preview without a controller: nothing is locked, written or started."""
    host, launcher = choose_host(settings.host), Launcher(settings, os.environ, helps_in(settings.state, keeps=False))
    before = Before({}, History(), Requests(), beside=Beside(check=check_spec, server_host=settings.server_host))
    connection = open_snapshot(Path(settings.state))
    if connection is not None:
        pending = read_requests(connection)
        requests = Requests(**{kind: pending[kind] for kind in ("stop", "restart", "adopt", "primary")})
        history = _still_alive(read_history(connection), host)
        asked, number = max(pending["profile"].items(), key=lambda one: one[1], default=(None, 0))
        asked = asked if time.time() - read_asked_at(connection, number) < LAPSE else None
        facts = dict(connection.execute("select key, value from meta").fetchall())
        beside = Beside(
            read_others(connection), selection_of(facts), asked, check_spec, server_host=settings.server_host
        )
        before = Before(read_documents(connection), history, requests, beside=beside)
        connection.close()
    root, until = Path(settings.manifests), time.monotonic() + SETTLE
    in_force = (*before.documents.values(), *before.beside.others.values())
    manifests = Manifests(root, Folder(root, check_spec, shown(settings.manifests)), lambda: in_force)
    if settings.source.git is not None:
        before = replace(before, git=settings.source.git.where)
        manifests.follow(_Accepted(before.documents_of_git), lambda: None)
    while (look := manifests.look(time.monotonic())).wake_at is not None and time.monotonic() < until:
        time.sleep(0.05)
    answer = preview_texts(before, look, texts, launcher, Now(time.monotonic(), time.time(), host.boot))
    if not launcher.flags.asked:
        return answer
    launcher.flags.settle()
    return preview_texts(before, look, texts, launcher, Now(time.monotonic(), time.time(), host.boot))


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A Git source that nobody follows: what was accepted of it is in force."""

    look: Look


def with_texts(seen: Seen, texts: Texts, git: str) -> Seen:
    """What would be seen with these documents in place of those of the same name; `git`: see overlay."""
    documents: dict[str, Document] = {}
    others: dict[str, OtherDocument] = {}
    problems: list[Problem] = []
    for item in texts:
        parsed = parse(item["text"], item["file"], check_spec)
        documents.update({document.name: document for document in parsed.documents})
        others.update({document.key: document for document in parsed.others})
        problems.extend(parsed.problems)
    found = overlay(seen, documents, git, others)
    return replace(found, problems=(*found.problems, *problems))


def refused(rev: str, problems: Sequence[Problem]) -> dict[str, Any]:
    """The preview of a revision of the Git source that would be refused: it would change nothing."""
    told = f"{rev} would be refused, and nothing of it applied"
    return {"changes": [], "problems": _as_data(problems), "folderProblem": "", "refused": told}


def problems_data(acceptance: Acceptance) -> list[dict[str, Any]]:
    """All problems, each with its text."""
    return _as_data(problems_of(acceptance))


def problems_of(acceptance: Acceptance) -> list[Problem]:
    """All problems, those of unnamed text last."""
    every = (*acceptance.problems.values(), *acceptance.other_problems.values(), acceptance.general)
    return [problem for problems in every for problem in problems]


def judged(look: Look) -> list[Problem]:
    """What is wrong with all that is declared, whatever is in force."""
    seen = Seen(look.documents, look.problems, others=look.others)
    return problems_of(accept({}, seen, Memory(), 0.0, beside=Beside(check=check_spec, nothing_runs=True)))


def as_read(look: Look, file: str, text: str) -> "tuple[list[Document | OtherDocument], list[Problem]] | None":
    """What all files declare, and what is wrong with it, where one of them says this; None: no more than before."""
    now = overlaid(look, {file: text}, check_spec)
    if _of_file(now, file) == _of_file(look, file):
        return None
    return [*now.documents, *now.others], judged(now)


def _of_file(look: Look, file: str) -> list[object]:
    return [[one for one in found if one.file == file] for found in (look.documents, look.others, look.problems)]


def _as_data(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [problem.data for problem in problems]


def _leaves_its_port(change: Change, document: Document | None) -> bool:
    """Whether a server that runs makes room for another one that wants its port."""
    elsewhere = document is not None and document.spec.port != "auto"
    return change.action == "stop" or (change.action == "restart" and elsewhere)


def _change_data(
    change: Change, document: Document | None, blocked: Callable[[Document], tuple[str, str]]
) -> dict[str, Any]:
    """With what would keep the server from starting, in a word and in `blocked`."""
    starts = document is not None and change.action in ("start", "restart")
    reason, message = blocked(document) if starts and document else ("", "")
    return {**asdict(change), "blockedReason": reason, "blocked": message}


def shown(folder: str) -> str:
    """A folder as people would type it: relative to the working folder when it is below it."""
    relative = os.path.relpath(folder)
    return folder if relative.startswith("..") else relative


def _fingerprint(spec: ServerSpec) -> str:
    return engine_of(spec).fingerprint(spec)


def _still_alive(history: History, host: Host) -> History:
    alive = {
        name: instance
        for name, instance in history.instances.items()
        if instance.identity is not None and host.identify(instance.identity.pid) == instance.identity
    }
    return replace(history, instances=alive)
