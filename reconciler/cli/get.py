"""`get`: lists of servers, profiles, defaults, sources, events and restarts."""

import sqlite3
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from reconciler.cli.failure import Failure, did_you_mean, refuse_unknown
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.kinds import KINDS, Kind, asked_for
from reconciler.cli.listing import Question, listing_of, show_lists
from reconciler.cli.output import format_option
from reconciler.cli.selecting import Choice, choosing
from reconciler.cli.sources import warn_of_old_settings
from reconciler.cli.sources import warnings as source_warnings
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.installation import is_controller_running
from reconciler.store import read

MOST_WARNINGS = 5
_EXIT_CODES = {
    0: "done, also when the list is empty",
    1: "a name is not known, or the database cannot be read",
    2: "the command line has errors",
}
_EXAMPLES = (
    ("reconciler get servers", "all servers"),
    ("reconciler get srv -l 'tier=prod,!gpu' --sort-by phase", "those with these labels, the worst first"),
    ("reconciler get servers --field-selector phase=Failed -o name", "the names of those that have failed"),
    ("reconciler get servers,events coder -w", "a server and what happens to it, until Ctrl-C"),
    ("reconciler get server/coder source/git -o json", "some of several kinds as data"),
    ("reconciler get all", "everything but events and restarts"),
)


@click.command(
    cls=Verb, short_help="List servers, profiles, events and more.", examples=_EXAMPLES, exit_codes=_EXIT_CODES
)
@click.argument("kind", metavar="KIND[,KIND]…|KIND/NAME…")
@click.argument("names", metavar="[NAME]…", nargs=-1)
@choosing
@format_option
@click.option("-w", "--watch", is_flag=True, help="Go on showing what changes, until Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Newest events or restarts to list.  [default: 100 in a table]"
)
@pass_invocation
def get(  # noqa: PLR0913 - what click hands over, each by its name
    invocation: Invocation,
    *,
    kind: str,
    names: tuple[str, ...],
    choice: Choice,
    output: str | None,
    watch: bool,
    limit: int | None,
) -> None:
    """List what there is, or what happened: all, or that of the named ones.

    KIND is servers (srv), profiles (prof), defaults (def), sources (src), events (ev), restarts (rs), or all.
    The labels of an event or a restart are those of its server.
    """
    wanted = _wanted(invocation, kind, names)
    state = invocation.state_folder()
    try:
        with opened(state, warns=True) as db:
            asked = _known(db, wanted, each="/" in kind)
            _refuse_unknown_fields(db, state, asked, choice)
            told = _warn(db, state, asked)
            listings = [
                listing_of(Question(plural, state, some or None, output, limit, told, choice))
                for plural, some in asked.items()
            ]
            if watch:
                from reconciler.cli.watch import watch_lists  # noqa: PLC0415 - only -w needs it

                watch_lists(state, listings, output)
            else:
                show_lists([(listing, listing.read(db)) for listing in listings], output)
    except read.ReadError as error:
        raise Failure(str(error)) from None


def _wanted(invocation: Invocation, kind: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The names asked for by kind. Raises Failure, with a way out where the names of servers stand without theirs."""
    try:
        return asked_for(kind, names)
    except Failure as failure:
        present: Container[str] = ()
        with suppress(Failure, read.ReadError), opened(invocation.state_folder()) as db:
            present = read.names(db)
        if not all(name in present for name in (kind, *names)):
            raise
        hint = f"it is a server; show it with: reconciler get servers {' '.join([kind, *names])}"
        raise Failure(failure.message, hint, exit_code=failure.exit_code) from None


def _refuse_unknown_fields(
    db: sqlite3.Connection, state: Path, asked: Mapping[str, Sequence[str]], choice: Choice
) -> None:
    """Once, over all kinds: what one of them has may be asked of several, and what was right is no mistake later."""
    if choice.named:
        output = "json" if choice.needs_explanations else None
        everything = [listing_of(Question(plural, state, names or None, output)) for plural, names in asked.items()]
        choice.refuse_unknown([item for listing in everything for item in listing.read(db)], list(asked))


def _known(db: sqlite3.Connection, asked: Mapping[str, Sequence[str]], *, each: bool) -> dict[str, Sequence[str]]:
    """The names by kind, each where it is known; none: all. Raises Failure for one that no kind knows.

    `each`: every name was given with its kind, and has to be known there.
    """
    present = {plural: _names(db, plural) for plural, names in asked.items() if names}
    everywhere = {name for known in present.values() for name in known}
    for plural, names in asked.items():
        known = present.get(plural, ())
        _refuse_unknown(KINDS[plural], [name for name in names if name not in (known if each else everywhere)], known)
    kept = {plural: [name for name in names if name in present[plural]] for plural, names in asked.items() if names}
    return {plural: kept.get(plural, ()) for plural in asked if kept.get(plural, True)}


def _names(db: sqlite3.Connection, plural: str) -> Sequence[str]:
    """All names of a kind."""
    if plural == "servers":
        return read.names(db)
    if KINDS[plural].happened:
        # Servers and sources that are gone have a history all the same.
        sources = [f"source/{item['metadata']['name']}" for item in read.sources(db)]
        return sorted({*read.names(db), *read.names_in_history(db), *sources})
    return [item["metadata"]["name"] for item in _ITEMS[plural](db)]


_ITEMS: Mapping[str, Callable[[sqlite3.Connection], list[Any]]] = {
    "profiles": read.profiles,
    "defaults": read.defaults,
    "sources": read.sources,
}


def _refuse_unknown(kind: Kind, names: Sequence[str], known: Sequence[str]) -> None:
    if kind.plural == "servers":
        refuse_unknown(names, known)
    told = [_unknown(kind, name, known) for name in names]
    if told:
        texts = "; ".join(text for _, text in told)
        raise Failure(texts, f"see which there are with: reconciler get {told[0][0]}")


def _unknown(kind: Kind, name: str, known: Sequence[str]) -> tuple[str, str]:
    """The list in which to look for it, and that it is not there."""
    prefix = "source/"
    if kind.happened and name.startswith(prefix):
        known = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
        kind, name = KINDS["sources"], name.removeprefix(prefix)
    elif kind.happened:
        kind = KINDS["servers"]
    return kind.plural, f"no {kind.singular} '{name}'{did_you_mean(name, known)}"


def _warn(db: sqlite3.Connection, state: Path, kinds: Container[str]) -> str:
    """On stderr: that no controller runs, and what is wrong with the manifests as a whole. Returns the latter."""
    if "sources" in kinds:
        warn_of_old_settings(state)
    if "servers" not in kinds:
        return ""
    warnings = [] if is_controller_running(state) else ["no controller is running; start one with: reconciler run"]
    manifests = read.meta(db).get("manifests", {})
    folder_problem = str(manifests.get("folderProblem", ""))
    warnings += [folder_problem] if folder_problem else []
    warnings += source_warnings(read.sources(db), time.time())
    problems = manifests.get("problems", [])
    warnings += problems[:MOST_WARNINGS]
    if len(problems) > MOST_WARNINGS:
        warnings.append(f"{len(problems) - MOST_WARNINGS} more errors; see them with: reconciler validate")
    for warning in warnings:
        click.echo(f"warning: {clean(warning)}", err=True)
    return folder_problem
