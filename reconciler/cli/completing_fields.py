"""What a word may go on as: fields of manifests and of lists, and their values."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from reconciler.cli.completing import Asked, Word, database, items, targets
from reconciler.cli.targets import KINDS, SERVER, kind_of
from reconciler.cli.terminal import COLOURS
from reconciler.manifests.fields import Field, every, kinds

CONDITIONS = ("Ready", "Progressing", "Degraded", "Reconciled", "ContextCapped", "Slow", "Adopted")
SORT_KEYS = ("name", "phase", "restarts", "uptime", "port")
USAGE_KEYS = ("name", "cpu", "memory", "gpu", "tokens", "slots")
_FIXED = ("apiVersion", "kind", "metadata.name")
_WORD = re.compile(r"'(\w[^']*)'")


# ---------------------------------------------------------------- fields and their values


@cache
def fields_of(kind: str) -> Mapping[str, Field]:
    """The fields that can be set; a path that ends in a dot goes on with a key of the user's own."""
    found = ((".".join(field.path), field) for field in every(kinds()[kind]) if field.is_leaf)
    return {f"{path}." if field.is_free else path: field for path, field in found if path not in _FIXED}


def choices_of(field: Field | None) -> list[str]:
    """The words that may stand there."""
    if field is None or field.is_free:
        return []
    return [*_WORD.findall(field.value), *(("true", "false") if "true or false" in field.value else ())]


def _target_and_rest(given: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """Kind and name of what `set` is about, and the fields so far; no name where none is there yet."""
    first = given[0] if given else ""
    word, slash, name = first.partition("/")
    if slash:
        return kind_of(word) or SERVER, name, given[1:]
    if first in KINDS.values():
        return kind_of(first), given[1] if len(given) > 1 else "", given[2:]
    return SERVER, first, given[1:]


def assignments(asked: Asked) -> Iterator[Word]:
    """Whose field, then `FIELD=`, then its choices or the value that it has."""
    kind, name, _ = _target_and_rest(asked.given)
    yield from targets(asked) if not name else _assignment(asked, kind, name)


def fields_of_servers(asked: Asked) -> Iterator[Word]:
    """`FIELD=VALUE` for a server that is not there yet."""
    return _assignment(asked, SERVER, "")


def model_files(asked: Asked) -> list[str]:
    """The models of the models folder; of one in parts the first."""
    from reconciler.cli.models import models_folder  # noqa: PLC0415 - for models alone
    from reconciler.runtimes.models import first_files  # noqa: PLC0415

    return first_files(models_folder(asked.invocation))


def _assignment(asked: Asked, kind: str, name: str) -> Iterator[Word]:
    path, equals, _ = asked.begun.partition("=")
    if not equals:
        for field, about in _paths(asked, kind):
            yield Word(field if field.endswith(".") else f"{field}=", about, "open")
        return
    whole = path if path.startswith(("spec.", "metadata.")) else f"spec.{path}"
    choices = choices_of(fields_of(kind).get(whole))
    yield from (Word(f"{path}={choice}") for choice in choices)
    if whole == "spec.model":
        yield from (Word(f"{path}={file}") for file in model_files(asked))
    elif name and not choices:
        yield from (Word(f"{path}={value}", "now") for field, value in _written(asked, kind, name) if field == whole)


def _paths(asked: Asked, kind: str) -> Iterator[tuple[str, str]]:
    """Fields as people write them, without `spec.` unless they began so, and what each means."""
    whole = asked.begun.startswith("spec")
    for path, field in fields_of(kind).items():
        yield path if whole else path.removeprefix("spec."), field.meaning
    before = "spec." if whole else ""
    if kind == SERVER and asked.begun.startswith(f"{before}flags."):
        from reconciler.engines.known_flags import BARE, PATHS, SHORT  # noqa: PLC0415 - slow: it wakes the engines

        yield from ((f"{before}flags.{flag}", "") for flag in sorted({*BARE, *PATHS, *SHORT.values()}))


def _written(asked: Asked, kind: str, name: str) -> list[tuple[str, str]]:
    """The fields of a document that have a value, by their whole paths."""
    with database(asked) as db:
        row = db.execute("select * from documents where kind = ? and name = ?", [kind, name]).fetchone()
    if row is None:
        return []
    columns = row.keys()
    own = row["own"] if "own" in columns and row["own"] else row["spec"]
    parts = {"spec": json.loads(own), "metadata": {"labels": json.loads(row["labels"])}}
    return list(_leaves(parts))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else key)
    elif isinstance(value, bool):
        yield path, str(value).lower()
    elif isinstance(value, str | int | float):
        yield path, str(value)
    else:
        yield path, ""


def present_fields(asked: Asked) -> Iterator[Word]:
    """Whose field, then those that it has."""
    kind, name, rest = _target_and_rest(asked.given)
    if not name:
        yield from targets(asked)
        return
    whole = asked.begun.startswith("spec")
    for field, value in _written(asked, kind, name):
        shown = field if whole else field.removeprefix("spec.")
        if shown not in rest:
            yield Word(shown, "" if field.startswith("spec.env.") else value)


def explained(asked: Asked) -> Iterator[Word]:
    """`KIND.FIELD…`, a server's field alone, or a reason."""
    if asked.given:
        return
    if asked.begun[:1].isupper():
        from reconciler.core.reasons import KNOWN, find  # noqa: PLC0415 - for these alone

        yield from (Word(word, found.means) for word in sorted(KNOWN) if (found := find(word)))
        return
    word, dot, _ = asked.begun.partition(".")
    kind = kind_of(word) if dot and word in KINDS.values() else ""
    if not kind:
        yield from map(Word, KINDS.values())
    for field in every(kinds()[kind or SERVER]):
        path = ".".join(field.path)
        yield Word(f"{word}.{path}" if kind else path.removeprefix("spec."), field.meaning)


# ---------------------------------------------------------------- selecting


def labels(asked: Asked) -> Iterator[Word]:
    """`KEY=`, then the values that there are; several behind commas."""
    before, piece = _last_piece(asked.begun)
    key, equals, _ = piece.partition("=")
    key, sign = (key[:-1], "!=") if key.endswith("!") else (key, "=")
    found = [item["metadata"]["labels"] for item in items(asked)]
    if equals:
        yield from (
            Word(f"{before}{key}{sign}{value}") for value in sorted({each[key] for each in found if key in each})
        )
    else:
        yield from (Word(f"{before}{key}=", kind="open") for key in sorted({key for each in found for key in each}))


def selected_fields(asked: Asked) -> Iterator[Word]:
    """`phase=` and other fields, then the values that there are; several behind commas."""
    before, piece = _last_piece(asked.begun)
    key, equals, _ = piece.partition("=")
    field, sign = (key[:-1], "!=") if key.endswith("!") else (key, "=")
    if equals and field in ("phase", "status.phase"):
        yield from (Word(f"{before}{field}{sign}{phase}") for phase in COLOURS)
        return
    known = [dict(_leaves({"spec": item["spec"], "status": item["status"]})) for item in items(asked)]
    if equals:
        values = {each.get(field, each.get(f"spec.{field}", each.get(f"status.{field}", ""))) for each in known}
        yield from (Word(f"{before}{field}{sign}{value}") for value in sorted(values) if value)
    else:
        paths = sorted({path for each in known for path in each if "conditions" not in path})
        yield from (Word(f"{before}{path}=", kind="open") for path in ["phase", *paths])


def _last_piece(text: str) -> tuple[str, str]:
    """What stands before the last comma, with that, and what behind it."""
    cut = text.rfind(",") + 1
    return text[:cut], text[cut:]


def goals(asked: Asked) -> Iterator[Word]:
    """What `wait` waits for."""
    del asked
    yield from (Word(f"condition={condition}") for condition in CONDITIONS)
    yield Word("condition=Ready=False")
    yield from (Word(f"phase={phase}") for phase in COLOURS if phase != "Unknown")
    yield from (Word("create"), Word("delete"))


def usage_keys(asked: Asked) -> Iterator[Word]:
    """What `top` orders by."""
    del asked
    yield from map(Word, USAGE_KEYS)


def reasons(asked: Asked) -> Iterator[Word]:
    """The reasons of the events that there are."""
    with database(asked) as db:
        found = db.execute("select reason, count(*) from events group by reason order by reason").fetchall()
    yield from (Word(reason, f"{count} times" if count > 1 else "once") for reason, count in found)


def generations(asked: Asked) -> Iterator[Word]:
    """The generations of a document that can be gone back to, the newest first."""
    from reconciler.store import past  # noqa: PLC0415 - for these alone

    kind, name, _ = _target_and_rest(asked.given)
    with database(asked) as db:
        found = past.generations(db, name, kind)
    yield from (
        Word(str(item["generation"]), item["acceptedAt"] or "") for item in reversed(found) if not item["inForce"]
    )


def sort_keys(asked: Asked) -> Iterator[Word]:
    """What lists are ordered by; reversed behind `-`."""
    before = "-" if asked.begun.startswith("-") else ""
    yield from (Word(f"{before}{key}") for key in SORT_KEYS)
