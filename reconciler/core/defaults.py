"""`LlamaServerDefaults`: which servers take over what, and whether it fits them."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from reconciler.core.candidates import Problems, problem_of
from reconciler.core.kinds import DefaultsDocument, say_the_same
from reconciler.core.model import Document, Problem
from reconciler.core.selection import matches
from reconciler.core.source import GIT
from reconciler.core.spec import DEFAULT_HOST, ServerSpec, dump_spec

MERGED = frozenset({"flags", "env", "probes", "probes.startup", "probes.liveness", "restart", "stop"})
"""Mappings of a spec that are merged key by key; what else is a mapping (`model`, a variable's value) is one value."""
EXAMPLE = "model.gguf"

Check = Callable[[ServerSpec], Sequence[tuple[tuple[str | int, ...], str]]]
"""What the engine refuses in a spec: places in it, with the reason."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a server's spec cannot be what its defaults make of it."""

    message: str
    field: str = "spec"
    """Place in the document."""


def alone(template: ServerSpec) -> ServerSpec:
    """A template as the spec of a server that says nothing itself, to see whether it could be any server's."""
    return ServerSpec.model_validate_json(json.dumps({"model": EXAMPLE, **dump_spec(template)}))


def selected_by(document: DefaultsDocument, server: Document) -> bool:
    """Whether a server takes it over.

    What comes from Git reaches no server of the manifests folder: the policy for Git would not be asked about that.
    """
    if document.origin == GIT and server.origin != GIT:
        return False
    selector = document.spec.selector
    return selector is None or matches(selector.match_labels, server.labels)


def merged(
    document: Document,
    defaults: Iterable[DefaultsDocument],
    check: Check,
    before: Document | None = None,
    server_host: str = DEFAULT_HOST,
) -> Document | Misfit:
    """A server's document with what it takes over; `defaults` stand in the order of their names.

    `before` is the one in force, whose spec is taken where it comes out the same; `server_host` is the settings'.
    """
    found: dict[str, Any] = {} if server_host == DEFAULT_HOST else {"host": server_host}
    came_from: dict[str, str] = {}
    for each in defaults:
        _put(found, dump_spec(each.spec.template), "spec", came_from, each.name)
    if found:
        _put(found, dump_spec(document.written), "spec", came_from, "")
    if not came_from and ("host" in document.written.model_fields_set or "host" not in found):
        return replace(document, spec=document.written, own=None, came_from={}) if document.own else document
    if before and before.own and repr(dump_spec(before.spec)) == repr(_in_order(found)):
        return replace(document, spec=before.spec, own=document.written, came_from=came_from)
    try:
        spec = ServerSpec.model_validate_json(json.dumps(_in_order(found)), strict=True, by_alias=True, by_name=False)
    except ValidationError as refusal:
        first = refusal.errors(include_url=False, include_input=False)[0]
        return Misfit(str(first["msg"]), _field(first["loc"]))
    for path, message in check(spec):
        return Misfit(message, _field(path))
    return replace(document, spec=spec, own=document.written, came_from=came_from)


def _field(path: Iterable[str | int]) -> str:
    return ".".join(["spec", *(str(part) for part in path)])


def _in_order(found: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in the order of the schema: `model` first, as people write it."""
    known = [field.alias or name for name, field in ServerSpec.model_fields.items()]
    return {name: found[name] for name in sorted(found, key=known.index)}


def _put(found: dict[str, Any], above: Mapping[str, Any], path: str, came_from: dict[str, str], name: str) -> None:
    """Lay values over those that are there; `name` is whose they are, empty for the server's own."""
    for key, value in above.items():
        place = f"{path}.{key}"
        if place.removeprefix("spec.") in MERGED and isinstance(value, Mapping):
            below = found.setdefault(key, {})
            if not isinstance(below, dict):
                below = found[key] = {}
            _put(below, value, place, came_from, name)
            continue
        _forget(came_from, place)
        found[key] = value
        if name:
            came_from[place] = name


def _forget(came_from: dict[str, str], place: str) -> None:
    for path in [path for path in came_from if path == place or path.startswith(f"{place}.")]:
        del came_from[path]


def applying(defaults: Mapping[str, DefaultsDocument], server: Document) -> Iterator[DefaultsDocument]:
    """Those that a server takes over, in the order of their names."""
    return (defaults[key] for key in sorted(defaults) if selected_by(defaults[key], server))


def defaults_that_fit(
    before: Mapping[str, DefaultsDocument],
    newest: Mapping[str, DefaultsDocument],
    servers: Collection[Document],
    check: Check,
    problems: Problems,
) -> dict[str, DefaultsDocument]:
    """The newest ones; where a server does not fit them that fitted those in force, who changed gives way."""
    effective = dict(newest)
    changed = {key for key, one in newest.items() if key not in before or not say_the_same(one, before[key])}
    while changed:
        blamed = dict(_blamed(before, effective, changed, servers, check))
        for key, problem in blamed.items():
            problems[key].append(problem)
            changed.discard(key)
            _give_way(key, before, effective)
        if not blamed:
            break
    return effective


def _blamed(
    before: Mapping[str, DefaultsDocument],
    effective: Mapping[str, DefaultsDocument],
    changed: Collection[str],
    servers: Iterable[Document],
    check: Check,
) -> Iterator[tuple[str, Problem]]:
    """Those that a server does not fit: the one without whose change it would, else all that changed."""
    for server in servers:
        misfit = merged(server, applying(effective, server), check)
        if not isinstance(misfit, Misfit) or not _fits(server, before, check):
            continue
        touching = [key for key in changed if _touches(key, (before, effective), server)]
        alone_to_blame = [key for key in touching if _fits(server, _without(key, before, effective), check)]
        for key in alone_to_blame or touching:
            message = f"it does not fit server '{server.name}' ({server.file}:{server.line}): {misfit.message}"
            yield key, problem_of(effective[key], message, misfit.field.replace("spec", "spec.template", 1))


def _fits(server: Document, defaults: Mapping[str, DefaultsDocument], check: Check) -> bool:
    return isinstance(merged(server, applying(defaults, server), check), Document)


def _touches(key: str, sets: Iterable[Mapping[str, DefaultsDocument]], server: Document) -> bool:
    return any(key in each and selected_by(each[key], server) for each in sets)


def _without(
    key: str, before: Mapping[str, DefaultsDocument], effective: Mapping[str, DefaultsDocument]
) -> dict[str, DefaultsDocument]:
    found = dict(effective)
    _give_way(key, before, found)
    return found


def _give_way(key: str, before: Mapping[str, DefaultsDocument], effective: dict[str, DefaultsDocument]) -> None:
    if key in before:
        effective[key] = before[key]
    else:
        del effective[key]
