"""`events`: what happened, and what happens."""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import click

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean
from reconciler.cli.history import EVENT_HEADERS, event_row, history_table
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.listing import TABLE_LIMIT, Listing, show_list
from reconciler.cli.standing import opened
from reconciler.cli.targets import SERVER, kind_of
from reconciler.cli.waiting import Duration
from reconciler.core.source import event_object
from reconciler.store import past, read

_EXAMPLES = (
    ("reconciler events", "the newest 100, the oldest of them first"),
    ("reconciler events -f", "go on with what happens, until Ctrl-C"),
    ("reconciler events --for server/coder --since 10m", "what happened to a server within ten minutes"),
    ("reconciler events --warnings --reason Crashed --reason Failed", "some of it"),
    ("reconciler events --for source/git -o json", "of the Git source, as data"),
)
_EXIT_CODES = {
    0: "done, also when nothing happened",
    1: "a name is not known, or the database cannot be read",
    2: "the command line has errors",
}


@click.command(cls=Verb, short_help="Show what happened.", examples=_EXAMPLES, exit_codes=_EXIT_CODES)
@click.option("-f", "--follow", "-w", "--watch", "follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--for", "objects", multiple=True, metavar="KIND/NAME", help="Of this server, profile, defaults or source alone."
)
@click.option("--since", type=Duration(), metavar="DURATION", help="What happened within this time, such as 10m.")
@click.option("--reason", "reasons", multiple=True, metavar="REASON", help="Of this reason alone, such as Crashed.")
@click.option("--warnings", is_flag=True, help="Warnings alone.")
@click.option("--limit", type=click.IntRange(min=1), help="The newest so many.  [default: 100 in a table]")
@click.option("-o", "--output", type=click.Choice(["wide", "json", "yaml"]), help="Output format.  [default: a table]")
@pass_invocation
def events(  # noqa: PLR0913 - what click hands over, each by its name
    invocation: Invocation,
    *,
    follow: bool,
    objects: tuple[str, ...],
    since: float | None,
    reasons: tuple[str, ...],
    warnings: bool,
    limit: int | None,
    output: str | None,
) -> None:
    """Show what happened to servers, sources and manifests, the oldest first.

    What happens again within an hour is counted. With --follow it is shown as it happens, over restarts of the
    controller too.
    """
    state, narrowed = invocation.state_folder(), bool(objects or since is not None or reasons or warnings)
    only = past.EventFilter(0.0 if since is None else time.time() - since, reasons, warnings)
    try:
        with opened(state, warns=True) as db:
            names = _known(db, objects)
            _refuse_unknown_reasons(db, reasons)
            most = limit or (None if since is not None or output in ("json", "yaml") else TABLE_LIMIT)
            listing = _listing(names, only, most, is_wide=output == "wide", narrowed=narrowed)
            if not follow:
                show_list(listing, listing.read(db), output)
                return
        from reconciler.cli.watch import watch_list  # noqa: PLC0415 - only --follow needs it

        watch_list(state, listing, output)
    except read.ReadError as error:
        raise Failure(str(error)) from None


def _listing(
    names: Sequence[str] | None, only: past.EventFilter, most: int | None, *, is_wide: bool, narrowed: bool
) -> Listing:
    return Listing(
        "EventList",
        lambda db: past.events(db, names, limit=most, only=only),
        lambda: history_table(EVENT_HEADERS, wide=is_wide),
        lambda item: event_row(item, time.time()),
        _identity,
        empty="nothing of that happened; see all with: reconciler events" if narrowed else "nothing has happened yet",
        happened=True,
    )


def _identity(item: Any) -> str:
    """What stays the same of an event when it is counted, and when others are listed with it."""
    return "/".join(str(item[key]) for key in ("server", "reason", "firstAt", "message"))


def _known(db: sqlite3.Connection, objects: Sequence[str]) -> list[str] | None:
    """What events of these objects stand under; None: those of all. Raises Failure for one that never was."""
    if not objects:
        return None
    known = {*read.names(db), *read.names_in_history(db)}
    known |= {event_object(item["metadata"]["name"]) for item in read.sources(db)}
    known |= {f"Profile/{item['metadata']['name']}" for item in read.profiles(db)}
    known |= {f"LlamaServerDefaults/{item['metadata']['name']}" for item in read.defaults(db)}
    names = [_object(text, known) for text in dict.fromkeys(objects)]
    unknown = [name for name in names if name not in known]
    if unknown:
        message = "; ".join(f"nothing is known of '{name}'{did_you_mean(name, known)}" for name in unknown)
        raise Failure(message, "see what there is with: reconciler get all")
    return names


def _refuse_unknown_reasons(db: sqlite3.Connection, reasons: Sequence[str]) -> None:
    """Raise Failure for one that no event has, nor can have."""
    if not reasons:
        return
    from reconciler.cli.reasons import KNOWN  # noqa: PLC0415 - only --reason needs them

    known = {*KNOWN, *(row[0] for row in db.execute("select distinct reason from events"))}
    folded = {reason.lower() for reason in known}
    unknown = [reason for reason in reasons if reason.lower() not in folded]
    if unknown:
        message = "; ".join(f"no event has the reason '{each}'{did_you_mean(each, known)}" for each in unknown)
        raise Failure(message, "see those that happened with: reconciler events", exit_code=BAD_INPUT)


def _object(text: str, known: set[str]) -> str:
    """A server's events stand under its name alone, those of another document under `Kind/NAME`."""
    word, slash, name = text.partition("/")
    kind = kind_of(word) if slash and text not in known else ""
    return name if kind == SERVER else f"{kind}/{name}" if kind else text
