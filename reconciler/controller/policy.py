"""The policy's verdicts on documents: what they reach is resolved on this machine, and judged by the rules."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from reconciler.core.gate import part_paths
from reconciler.core.model import Document
from reconciler.core.policy import Denial, Places, judge, path_of, together
from reconciler.core.reach import FOLDERS, PATHS, Reach, reaches
from reconciler.core.rules import ANY, Rules
from reconciler.core.source import GIT, LOCAL
from reconciler.core.spec import DEFAULT_HOST, ServerSpec
from reconciler.core.turns import Turn, over_limit
from reconciler.core.written_steps import says, written_steps
from reconciler.discovery import find_llama_server
from reconciler.engines import engine_of
from reconciler.settings import Settings

MOST_TOLD = 100
"""Refusals that are told of one document."""


def refusals(
    documents: Sequence[Document], settings: Settings, running: frozenset[str] = frozenset()
) -> dict[str, list[Denial]]:
    """All that the policy refuses of each document, by name; that there are too many servers comes last.

    Those that are `running` are the first to count for `max_servers`.
    """
    first = dict.fromkeys(running, Turn.RUNS)
    first |= {one.name: Turn.STOPPED for one in documents if one.spec.suspend}
    crowding = crowded(documents, settings, first)
    in_use = settings.llama_server or next(iter(find_llama_server(os.environ) or ()), "")
    every: dict[str, list[Denial]] = {}
    for document in documents:
        told = list(islice(_denied(document, settings, in_use), MOST_TOLD))
        told += [crowding[document.name]] if document.name in crowding else []
        if told:
            every[document.name] = told
    return every


def crowded(documents: Sequence[Document], settings: Settings, turns: Mapping[str, Turn]) -> dict[str, Denial]:
    """The documents beyond `max_servers`, by name."""
    local, git = (over_limit(documents, settings.policy.of(origin), origin, turns) for origin in (LOCAL, GIT))
    return {**local, **git}


def denial(document: Document, settings: Settings, llama_server: str) -> Denial | None:
    """Why a document alone is refused: links are followed now, as a server started now would follow them.

    `llama_server` is the one in use, which any document may name; empty where there is none.
    """
    return together(_denied(document, settings, llama_server))


def may_run(path: str, origin: str, settings: Settings, llama_server: str, *, is_sure: bool = True) -> bool:
    """Whether a server of this origin may name a program; where that is not `is_sure`, `*` stands for none."""
    listed = settings.policy.of(origin).binaries
    listed += settings.binaries if origin == LOCAL else ()
    named = [_absolute(one) for one in (*listed, llama_server) if one and one != ANY]
    return _absolute(path) in named or (is_sure and ANY in listed)


def _denied(document: Document, settings: Settings, llama_server: str) -> Iterator[Denial]:
    rules, origin = _rules(document.origin, settings), document.origin
    places = _places(rules, settings.models, origin, llama_server)
    found = chain(_reaches(document.spec), _reaches_of_steps(document.spec))
    resolved = (one for reach in found for one in _resolved(reach, places, settings.models))
    return judge(resolved, rules, places, origin)


def _rules(origin: str, settings: Settings) -> Rules:
    """Where servers listen that do not say it, by the settings, they may."""
    rules = settings.policy.of(origin)
    if settings.server_host == DEFAULT_HOST:
        return rules
    return rules.model_copy(update={"hosts": (*rules.hosts, settings.server_host)})


def _reaches(spec: ServerSpec) -> Iterator[Reach]:
    return chain(engine_of(spec).reach(spec), reaches(spec, engine_of(spec).inherits))


def _reaches_of_steps(spec: ServerSpec) -> Iterator[Reach]:
    """What the fallback steps would use besides: nothing is tried of itself that may not be asked for."""
    for at, step, on_step in written_steps(spec):
        for reach in _reaches(on_step):
            if says(step, path_of(reach.subject)[1:]):
                yield reach.within(at)


def _places(rules: Rules, models: str, origin: str, llama_server: str) -> Places:
    programs = [one if one == ANY else _absolute(one) for one in (*rules.binaries, llama_server) if one]
    return {
        "models": [models, ANY] if ANY in rules.models else [os.path.realpath(one) for one in (models, *rules.models)],
        "secrets": [one if one == ANY else os.path.realpath(one) for one in rules.secrets],
        # Of local ones the launcher speaks, which knows what else they may name.
        "binaries": [ANY] if origin == LOCAL else programs,
    }


def _resolved(reach: Reach, places: Places, models: str) -> Iterator[Reach]:
    """The same with the path as it lies on this machine; each part of a split model."""
    if reach.setting not in PATHS:
        yield reach
    elif reach.setting not in FOLDERS:
        yield replace(reach, value=_absolute(reach.value))
    elif ANY not in places[reach.setting]:
        written = os.path.join(models, os.path.expanduser(reach.value))  # noqa: PTH111, PTH118 - paths are text here
        for path in part_paths(written) if reach.setting == "models" else [written]:
            yield replace(reach, value=os.path.realpath(path))
            if not os.path.lexists(path):
                return


def _absolute(path: str) -> str:
    """A program's path as it is run."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH111 - as in the launcher
