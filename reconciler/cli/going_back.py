"""The edit that puts an earlier generation of a document back into its file."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.deltas import ABSENT, document_deltas
from reconciler.cli.documents import check_spec
from reconciler.cli.drafts import Draft
from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean
from reconciler.cli.generations import manifest_of
from reconciler.cli.history import age
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import say, yaml_text
from reconciler.cli.shortfalls import tell_shortfall, way_back
from reconciler.cli.sources import is_from_git
from reconciler.cli.standing import opened
from reconciler.cli.targets import SERVER, Target
from reconciler.cli.terminal import clean
from reconciler.core.source import GIT, PREFIX, SHORT
from reconciler.manifests import edit
from reconciler.manifests.changing import REMOVED, Change
from reconciler.manifests.identity import identify
from reconciler.manifests.nodes import NodeError, compose, plain
from reconciler.manifests.parse import parse
from reconciler.store import past, read

Item = Mapping[str, Any]


def drafted(invocation: Invocation, target: Target, number: int | None) -> Draft:
    """The edit that goes back to a generation; None: to the newest that says something else. Raises Failure."""
    draft = Draft(invocation.existing_or_new())
    known = _known(invocation.state_folder(), target)
    if draft.declaring(target) or _is_followed(draft, target):
        then = _put_back(draft, target, draft.find(target), known, number)
    else:
        then = _write_anew(draft, target, known, number)
    if then is not None:
        say(clean(f"{target} goes back to generation {then['generation']}{_accepted(then)}"))
        tell_shortfall(draft, target, then)
    return draft


def _known(state: Path, target: Target) -> Sequence[Item]:
    """What was accepted of it. Raises Failure where that is nothing."""
    try:
        with opened(state) as db:
            found = past.generations(db, target.name, target.kind)
            names = past.named_in_generations(db, target.kind) if not found else ()
    except read.ReadError as error:
        raise Failure(str(error)) from None
    if not found:
        message = f"nothing was accepted of {target.words}{did_you_mean(target.name, names)}"
        raise Failure(message, "see what there is with: reconciler get all")
    return found


def _is_followed(draft: Draft, target: Target) -> bool:
    """Whether it is a server that comes from Git."""
    item = draft.present().get(target.name) if target.kind == SERVER else None
    return item is not None and is_from_git(item)


def _accepted(item: Item) -> str:
    return f", accepted {age(item['acceptedAt'], time.time())}" if item["acceptedAt"] else ""


def _chosen(known: Sequence[Item], target: Target, number: int | None, present: Item | None) -> Item:
    """The generation that is meant. Raises Failure."""
    if number is not None:
        for item in reversed(known):
            if item["generation"] == number:
                return item
        kept = ", ".join(str(item["generation"]) for item in known)
        hint = f"see them with: reconciler rollout history {target}"
        raise Failure(f"generation {number} of {target} is not known; there are: {kept}", hint, exit_code=BAD_INPUT)
    for item in reversed(known):
        if present is None or document_deltas(present, item):
            return item
    raise Failure(
        f"no generation of {target} that is kept says something else than its file does", way_back(known, target)
    )


# ---------------------------------------------------------------- into its file


def _put_back(draft: Draft, target: Target, path: Path, known: Sequence[Item], number: int | None) -> Item | None:
    """Draft the edit of its file. Returns the generation; None where the file says all of it already."""
    text = draft.text_of(path)
    line, document = _document(text, target)
    present = _said(document, target)
    if present is None:
        then = _chosen(known, target, number, None)
        told = f"{draft.shown(path)}:{line} is no YAML: the whole document is exchanged, its comments too"
        say(clean(told), err=True)
        draft.put(path, edit.splice(text, line, _manifest(then)), about=target)
        return then
    then = _chosen(known, target, number, present)
    if changes := _changes(present, then):
        draft.respec(target, changes)
        return then
    draft.put(path, text, about=target)
    say(f"its file says what generation {then['generation']} said already", err=True)
    tell_shortfall(draft, target, then)
    return None


def _document(text: str, target: Target) -> tuple[int, str]:
    """The text of the document in its file, and the line on which it begins."""
    texts = edit.document_texts(text)
    return next((line, one) for line, one in texts if identify(one) == (target.kind, target.name))


def _said(text: str, target: Target) -> Item | None:
    """What a document's text says, as generations have it; None where it is no YAML."""
    parsed = parse(text, target.name, check_spec)
    for document in (*parsed.documents, *parsed.others):
        return _item(getattr(document, "written", document.spec), document.labels, document.annotations)
    try:
        root = compose(text)
        data = plain(root) if root else None
    except (NodeError, ValueError):
        return None
    except Exception:  # noqa: BLE001 - ruamel raises far more than it declares
        return None
    if not isinstance(data, dict):
        return None
    metadata = _mapping(data, "metadata")
    parts = {part: _mapping(metadata, part) for part in ("labels", "annotations")}
    return {"own": _mapping(data, "spec"), "metadata": parts}


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _item(spec: Any, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Item:
    own = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {"own": own, "metadata": {"labels": dict(labels), "annotations": dict(annotations)}}


def _changes(present: Item, then: Item) -> list[Change]:
    found = [change for delta in document_deltas(present, then) for change in _leaves(delta.path, delta.new)]
    emptied = {
        ("metadata", part)
        for part in ("labels", "annotations")
        if present["metadata"][part] and not then["metadata"][part]
    }
    kept = [(path, value) for path, value in found if path[:2] not in emptied]
    return [*kept, *((path, REMOVED) for path in sorted(emptied))]


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[Change]:
    """A new section field by field, so that it is written as its neighbours are; a single value as one."""
    if isinstance(value, Mapping) and value and path[-1] != "model" and path[-2] != "env":
        for key, below in value.items():
            yield from _leaves((*path, key), below)
    else:
        yield path, REMOVED if value is ABSENT else value


# ---------------------------------------------------------------- as a new file


def _write_anew(draft: Draft, target: Target, known: Sequence[Item], number: int | None) -> Item:
    """Draft a file for a document that is gone. Raises Failure where it came from Git."""
    then = _chosen(known, target, number, None)
    source = then["source"]
    if source["origin"] == GIT:
        commit = f" as of {source['revision'][:SHORT]}" if source["revision"] else ""
        message = f"{target} came from Git; put it back there: {str(source['file']).removeprefix(PREFIX)}{commit}"
        hint = f"see what it said: reconciler rollout history {target} --generation {then['generation']}"
        raise Failure(message, hint, exit_code=BAD_INPUT)
    draft.create(target, _manifest(then))
    return then


def _manifest(item: Item) -> str:
    return yaml_text(manifest_of(item)) + "\n"
