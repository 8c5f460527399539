"""`rollout history`: what was accepted of a document, what changed each time, and what was started of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.deltas import ABSENT, Delta
from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean
from reconciler.cli.generations import Generation, generations_of, manifest_of
from reconciler.cli.history import age
from reconciler.cli.invocation import Invocation, Verb, VerbGroup, pass_invocation
from reconciler.cli.output import list_of, print_json, print_yaml, show, yaml_text
from reconciler.cli.servers import NOTHING
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.targets import target_of
from reconciler.cli.terminal import clean, clean_lines, width
from reconciler.core.source import SHORT
from reconciler.store import past, read

HEADERS = ("GENERATION", "ACCEPTED", "FROM", "STARTS", "CHANGED")
_GIVES_WAY = (("CHANGED", 24), ("STARTS", 12), ("FROM", 12), ("CHANGED", 8), ("STARTS", 0), ("FROM", 0))
_EXAMPLES = (
    ("reconciler rollout history coder", "what was changed of a server, when, and what was started of it"),
    ("reconciler rollout history coder --generation 3", "the manifest as it was then"),
    ("reconciler rollout history profile/day -o json", "of another document, as data"),
)
_EXIT_CODES = {
    0: "done",
    1: "nothing is known of it, or the database cannot be read",
    2: "the command line has errors, or there is no such generation",
}


_ELSEWHERE = {
    "undo": "reconciler rollback NAME",
    "restart": "reconciler restart NAME",
    "status": "reconciler wait NAME",
}


@click.group(cls=VerbGroup, short_help="Show what was changed, and when.", elsewhere=_ELSEWHERE)
def rollout() -> None:
    """Show what was changed of a manifest, and when."""


@rollout.command("history", cls=Verb, examples=_EXAMPLES, exit_codes=_EXIT_CODES)
@click.argument("name", metavar="NAME")
@click.option("--generation", "--revision", "number", type=click.IntRange(min=1), help="This one alone, in full.")
@click.option("-o", "--output", type=click.Choice(["wide", "json", "yaml"]), help="Output format.  [default: a table]")
@pass_invocation
def history(invocation: Invocation, name: str, number: int | None, output: str | None) -> None:
    """Show the newest 20 accepted generations of a document: what changed, from where, and what was started of each.

    NAME is a server's, or server/NAME, profile/NAME, defaults/NAME. `reconciler rollback NAME` goes back to one.
    """
    target = target_of(name)
    try:
        with opened(invocation.state_folder(), warns=True) as db:
            found = generations_of(db, target)
            known = past.named_in_generations(db, target.kind) if not found else ()
    except read.ReadError as error:
        raise Failure(str(error)) from None
    if not found:
        message = f"nothing was accepted of {target.words}{did_you_mean(target.name, known)}"
        raise Failure(message, "see what there is with: reconciler get all")
    if number is None:
        _show_all(found, output)
    else:
        _show_one(_numbered(found, number), output)


def _numbered(found: Sequence[Generation], number: int) -> Generation:
    """The newest of that number: where the history was lost, a document begins at 1 again. Raises Failure."""
    for generation in reversed(found):
        if generation.number == number:
            return generation
    kept = ", ".join(str(generation.number) for generation in found)
    name = found[0].item["metadata"]["name"]
    hint = f"see them with: reconciler rollout history {name}"
    raise Failure(f"generation {number} of '{name}' is not known; there are: {kept}", hint, exit_code=BAD_INPUT)


def _show_all(found: Sequence[Generation], output: str | None) -> None:
    if output in ("json", "yaml"):
        items = list_of("GenerationList", [_item(generation) for generation in found])
        (print_json if output == "json" else print_yaml)(items)
        return
    table = Table(HEADERS, width=None if output == "wide" else width(), gives_way=_GIVES_WAY)
    show("\n".join(table.lines([_row(generation) for generation in found])))


def _show_one(generation: Generation, output: str | None) -> None:
    if output in ("json", "yaml"):
        (print_json if output == "json" else print_yaml)(_item(generation))
        return
    show("\n".join(f"# {line}" for line in map(clean, _comments(generation))))
    show(clean_lines(yaml_text(manifest_of(generation.item))))


def _comments(generation: Generation) -> Iterator[str]:
    item = generation.item
    yield f"{item['kind']} '{item['metadata']['name']}', generation {_number(generation)}"
    yield f"accepted {item['acceptedAt'] or 'at a time that is not known'}, from {_place(item)}"
    yield f"changed: {_changed(generation)}"
    yield f"starts: {_starts(generation)}"


def _item(generation: Generation) -> dict[str, Any]:
    changes = [{**_change(delta), "source": ", ".join(generation.sources(delta))} for delta in generation.changes]
    return {**generation.item, "changes": changes, "starts": list(generation.starts)}


def _change(delta: Delta) -> dict[str, Any]:
    """As `diff -o json` has it: null where a field is not written."""
    old, new = (None if value is ABSENT else value for value in (delta.old, delta.new))
    return {"path": ".".join(delta.path), "old": old, "new": new}


# ---------------------------------------------------------------- in words


def _row(generation: Generation) -> list[str]:
    accepted = generation.item["acceptedAt"]
    when = age(accepted, time.time()) if accepted else NOTHING
    return [_number(generation), when, _place(generation.item), _starts(generation), _changed(generation)]


def _number(generation: Generation) -> str:
    return f"{generation.number} (in force)" if generation.item["inForce"] else str(generation.number)


def _place(item: Mapping[str, Any]) -> str:
    source = item["source"]
    commit = f" at {source['revision'][:SHORT]}" if source["revision"] else ""
    return f"{source['file']}:{source['line']}{commit}"


def _changed(generation: Generation) -> str:
    if generation.is_first:
        return "declared" if generation.number == 1 else "(what was before it is not kept)"
    words = generation.words
    return f"declared again; {words}".removesuffix("; ") if generation.is_again else words or NOTHING


def _starts(generation: Generation) -> str:
    """`SpecChanged, 2 Crashed (Killed)`: why what was started of it was started."""
    counts: dict[str, int] = {}
    for start in generation.starts:
        why = start["because"]
        told = f"{start['trigger']} ({why})" if why else str(start["trigger"])
        counts[told] = counts.get(told, 0) + 1
    return ", ".join(f"{count} {told}" if count > 1 else told for told, count in counts.items()) or NOTHING
