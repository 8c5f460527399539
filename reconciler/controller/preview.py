"""`diff` and `apply --dry-run`: the same preview, asked of a running controller or made from the files and the state."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reconciler.core.accept import Acceptance, Seen
from reconciler.core.model import Document, History, Problem, Requests
from reconciler.core.preview import Change, preview
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.manifests.folder import Folder
from reconciler.manifests.parse import parse
from reconciler.runtimes.host import choose_host
from reconciler.settings import Settings
from reconciler.store.rows import open_snapshot, read_documents, read_history, read_requests

Texts = Sequence[Mapping[str, str]]


def check_spec(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """The engine's refusals of a spec."""
    return engine_of(spec).check(spec)


def preview_texts(
    accepted: Mapping[str, Document], seen: Seen, history: History, requests: Requests, texts: Texts
) -> dict[str, Any]:
    """The preview as JSON-ready data; each of `texts` has `file` (as shown) and `text`."""
    changes, acceptance = preview(accepted, with_texts(seen, texts), history, requests, _fingerprint)
    return {
        "changes": [_change_data(change) for change in changes],
        "problems": problems_data(acceptance),
        "folderProblem": acceptance.folder_problem,
    }


def preview_offline(settings: Settings, texts: Texts) -> dict[str, Any]:
    """The preview without a controller: nothing is locked, written or started."""
    accepted: dict[str, Document] = {}
    history, requests = History(), Requests()
    connection = open_snapshot(Path(settings.state))
    if connection is not None:
        accepted, history = read_documents(connection), _still_alive(read_history(connection))
        pending = read_requests(connection)
        requests = Requests(stop=pending["stop"], restart=pending["restart"])
        connection.close()
    look = Folder(Path(settings.manifests), check_spec).look(time.monotonic())
    seen = Seen(look.documents, look.problems, look.failed, look.empty)
    return preview_texts(accepted, seen, history, requests, texts)


def with_texts(seen: Seen, texts: Texts) -> Seen:
    """What would be seen with these documents in place of those of the same name."""
    documents: dict[str, Document] = {}
    problems: list[Problem] = []
    for item in texts:
        parsed = parse(item["text"], item["file"], check_spec)
        documents.update({document.name: document for document in parsed.documents})
        problems.extend(parsed.problems)
    kept = tuple(document for document in seen.documents if document.name not in documents)
    still_wrong = tuple(problem for problem in seen.problems if problem.server not in documents)
    return Seen((*kept, *documents.values()), (*still_wrong, *problems), seen.failed, seen.empty)


def problems_data(acceptance: Acceptance) -> list[dict[str, Any]]:
    """All problems, each with its text."""
    found = [problem for problems in acceptance.problems.values() for problem in problems]
    return [{**asdict(problem), "text": str(problem)} for problem in (*found, *acceptance.general)]


def _change_data(change: Change) -> dict[str, Any]:
    return {**asdict(change), "fields": [asdict(field) for field in change.fields]}


def _fingerprint(spec: ServerSpec) -> str:
    return engine_of(spec).fingerprint(spec)


def _still_alive(history: History) -> History:
    host = choose_host()
    alive = {
        name: instance
        for name, instance in history.instances.items()
        if instance.identity is not None and host.identify(instance.identity.pid) == instance.identity
    }
    return replace(history, instances=alive)
