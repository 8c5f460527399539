"""The policy's verdicts on documents: what they reach is resolved on this machine, and judged by the rules."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from reconciler.core.gate import part_paths
from reconciler.core.model import Document
from reconciler.core.policy import FOLDERS, PATHS, Denial, Places, Reach, judge, over_limit, reaches
from reconciler.core.rules import ANY, Rules
from reconciler.core.source import GIT, LOCAL
from reconciler.engines import engine_of
from reconciler.settings import Settings

POLICY_DENIED = "PolicyDenied"


def denials(
    documents: Sequence[Document], settings: Settings, running: frozenset[str] = frozenset()
) -> dict[str, Denial]:
    """The documents that the policy refuses, by name; those that run are the first to count for `max_servers`."""
    found = crowded(documents, settings, running)
    for document in documents:
        if denied := denial(document, settings):
            found[document.name] = denied
    return found


def crowded(documents: Sequence[Document], settings: Settings, running: frozenset[str]) -> dict[str, Denial]:
    """The documents beyond `max_servers`, by name."""
    local, git = (over_limit(documents, settings.policy.of(origin), origin, running) for origin in (LOCAL, GIT))
    return {**local, **git}


def denial(document: Document, settings: Settings) -> Denial | None:
    """Why a document alone is refused: links are followed now, as a server started now would follow them."""
    rules, origin = settings.policy.of(document.origin), document.origin
    places = _places(rules, settings.models, origin)
    spec = document.spec
    found = (*engine_of(spec).reach(spec), *reaches(spec))
    resolved = (one for reach in found for one in _resolved(reach, places, settings.models))
    return judge(resolved, rules, places, origin)


def _places(rules: Rules, models: str, origin: str) -> Places:
    return {
        "models": [models, ANY] if ANY in rules.models else [os.path.realpath(one) for one in (models, *rules.models)],
        "secrets": [one if one == ANY else os.path.realpath(one) for one in rules.secrets],
        # Of local ones the launcher speaks, which knows what else they may name.
        "binaries": [ANY] if origin == LOCAL else rules.binaries,
    }


def _resolved(reach: Reach, places: Places, models: str) -> Iterator[Reach]:
    """The same with the path as it lies on this machine; each part of a split model."""
    if reach.setting not in PATHS:
        yield reach
    elif reach.setting not in FOLDERS:
        yield replace(reach, value=os.path.abspath(os.path.expanduser(reach.value)))  # noqa: PTH111 - as it is run
    elif ANY not in places[reach.setting]:
        written = os.path.join(models, os.path.expanduser(reach.value))  # noqa: PTH111, PTH118 - paths are text here
        for path in part_paths(written) if reach.setting == "models" else [written]:
            yield replace(reach, value=os.path.realpath(path))
            if not os.path.lexists(path):
                return
