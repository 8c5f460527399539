"""`describe`: all that is known of something, for reading."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from reconciler.cli.failure import BAD_INPUT, Failure, database_trouble
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.kinds import KINDS, Kind, asked_for, kind_of
from reconciler.cli.output import API_VERSION, list_of, print_json, print_yaml, show
from reconciler.core.source import GIT

_SOURCES = "sources"
_EXAMPLES = (
    ("reconciler describe coder", "a server: settings, conditions, restarts, events, and what to do"),
    ("reconciler describe profile/day", "a profile: what it selects, and whether it is in force"),
    ("reconciler describe defaults gpu", "what servers share, and which servers do"),
    ("reconciler describe source", "the Git source: its revision and its errors"),
    ("reconciler describe server coder -o json", "as `get servers -o json` has it, with events and restarts"),
)
_EXIT_CODES = {
    0: "done",
    1: "there is no such thing, or the database cannot be read",
    2: "the command line has errors",
}
_METAVAR = "[KIND] NAME…"


def _wanted(context: click.Context, parameter: click.Parameter, words: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Names by kind. Raises Failure and usage errors."""
    del parameter
    if context.resilient_parsing:
        return {}
    if all("/" not in word for word in words) and kind_of(words[0]) is None:
        return {"servers": list(dict.fromkeys(words))}
    asked = asked_for(words[0], words[1:])
    for plural, names in asked.items():
        if KINDS[plural].happened:
            hint = f"what happened is listed by: reconciler get {plural}"
            raise Failure(f"'{words[0]}' cannot be described", hint, exit_code=BAD_INPUT)
        if not names and plural != _SOURCES:
            raise click.UsageError(f"Missing argument 'NAME': name the {KINDS[plural].singular}", context)
    return {plural: names or [GIT] for plural, names in asked.items()}


@click.command(
    cls=Verb,
    short_help="Show all that is known of a server, a profile, defaults or a source.",
    examples=_EXAMPLES,
    exit_codes=_EXIT_CODES,
)
@click.argument("words", metavar=_METAVAR, nargs=-1, required=True, callback=_wanted)
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print it as data.")
@pass_invocation
def describe(invocation: Invocation, words: Mapping[str, Sequence[str]], output: str | None) -> None:
    """Show all that is known of something, and what can be done when it is in trouble.

    KIND is server where it is left out; there are profile, defaults and source too, in all the words of `get`. Several
    are named as there: `server coder chat`, or `server/coder profile/day`. The NAME of a source may be left out.
    """
    wanted = [(plural, name) for plural, names in words.items() for name in names]
    state = invocation.state_folder()
    if output is None:
        for number, (plural, name) in enumerate(wanted):
            show("\n".join([*([""] if number else []), *_lines(state, plural, name)]))
        return
    found = [{"kind": _data_kind(plural), **_data(state, plural, name)} for plural, name in wanted]
    data = {"apiVersion": API_VERSION, **found[0]} if len(found) == 1 else list_of("List", found)
    (print_json if output == "json" else print_yaml)(data)


def _data_kind(plural: str) -> str:
    return KINDS[plural].document or "Source"


def _lines(state: Path, plural: str, name: str) -> Iterable[str]:
    """For people."""
    if plural == _SOURCES:
        from reconciler.cli.describe_source import source_lines  # noqa: PLC0415 - each only where it is asked for

        return source_lines(state, name)
    if plural != "servers":
        from reconciler.cli.describe_documents import document_lines  # noqa: PLC0415

        return document_lines(state, KINDS[plural], name)
    from reconciler.cli.describe_server import known_of, server_lines  # noqa: PLC0415
    from reconciler.cli.standing import opened  # noqa: PLC0415

    with database_trouble(state), opened(state, warns=True) as db:
        return list(server_lines(known_of(db, state, name)))


def _data(state: Path, plural: str, name: str) -> dict[str, Any]:
    """For programs."""
    from reconciler.cli.standing import opened  # noqa: PLC0415 - as above

    with database_trouble(state), opened(state, warns=True) as db:
        return _read(db, state, KINDS[plural], name)


def _read(db: sqlite3.Connection, state: Path, kind: Kind, name: str) -> dict[str, Any]:
    if kind.plural == _SOURCES:
        from reconciler.cli.describe_source import source_data  # noqa: PLC0415 - as above

        return source_data(db, name)
    if kind.plural != "servers":
        from reconciler.cli.describe_documents import document_data  # noqa: PLC0415

        return document_data(db, kind, name)
    from reconciler.cli.describe_server import known_of, server_data  # noqa: PLC0415

    return server_data(known_of(db, state, name))
