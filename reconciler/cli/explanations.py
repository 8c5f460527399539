"""What happened to servers that are not well, and what can be done about it, as it stands in a terminal."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.asked import runs_with_less
from reconciler.cli.folding import fold_behind, longest_command
from reconciler.cli.output import is_quiet
from reconciler.cli.standing import opened
from reconciler.cli.terminal import cells, clean, paint, width
from reconciler.installation import is_controller_running
from reconciler.runtimes.gpu import on_gpus
from reconciler.store.explained import explained

if TYPE_CHECKING:
    from reconciler.cli.follow import Followed
    from reconciler.core.rendering import Explanation

INDENT, HEADING = 2, 16
"""Columns before and of the headings."""
MOST = 3
"""Servers that are told of behind a verb that has failed."""
COLOUR_OF = {"Degraded": "BackOff", "Ready": "BackOff"}
"""Phases whose colour stands for these."""

Item = Mapping[str, Any]


# ---------------------------------------------------------------- for people


def explanation_lines(found: "Explanation", *, plain: bool = False) -> list[str]:
    """The headline, and below it what happened, what was tried, and what can be done; `plain`: without colour."""
    lines = [*_headline(found, plain=plain)]
    for heading, texts, between in found.rows:
        lines += _row(heading, [clean(text) for text in texts if text], between)
    return lines


def _headline(found: "Explanation", *, plain: bool) -> Iterator[str]:
    """How it stands in its colour; on a line of its own where the name is too long for one."""
    word = found.state.partition(",")[0]
    before, _, after = clean(found.headline).partition(word)
    stands = f"{word if plain else paint(word, COLOUR_OF.get(word, word))}{after}"
    columns = width()
    if columns is None or cells(f"{before}{word}{after}") <= columns:
        yield before + stands
        return
    yield before.rstrip()
    yield f"{'':<{INDENT}}{stands}"


def _row(heading: str, texts: Sequence[str], between: str) -> Iterator[str]:
    """In one line where that fits, else each on its own."""
    head, columns = f"{'':<{INDENT}}{heading:<{HEADING}}", width()
    if not texts:
        return
    joined = between.join(texts)
    if columns is None or cells(head + joined) <= columns:
        yield (head + joined).rstrip()
        return
    if max(map(longest_command, texts)) > columns - INDENT - HEADING:
        yield head.rstrip()
        head = " " * 2 * INDENT
    for text in texts:
        yield from fold_behind(head, text, columns)
        head = " " * len(head)


def tell_troubles(followed: "Followed") -> None:
    """What became of those that failed, or that serve with less than was asked for."""
    degraded = [name for name, item in followed.items.items() if runs_with_less(item)]
    names = dict.fromkeys([*followed.failed, *degraded])
    if troubled := [followed.items[name] for name in names if name in followed.items]:
        tell(followed.state, troubled)


def tell_degraded(state: Path, items: Iterable[Item]) -> None:
    """What runs instead, of those of servers that are Ready which do not run as asked for."""
    if not is_quiet():
        tell(state, [item for item in items if runs_with_less(item)])


def tell_named(state: Path, names: Sequence[str]) -> None:
    """The same of servers of which the names are known."""
    from reconciler.cli import loading  # noqa: PLC0415 - the others have looked already
    from reconciler.store import read  # noqa: PLC0415 - only trouble needs it

    with suppress(read.ReadError), opened(state) as db:
        controller = is_controller_running(state)
        tell(state, loading.servers(db, names, now=time.time(), controller=controller))


def tell(state: Path, items: Sequence[Item]) -> None:
    """On stderr: what is known of the first of these servers that are not well; nothing where it cannot be read."""
    from reconciler.store import read  # noqa: PLC0415 - only trouble needs it

    controller, found = is_controller_running(state), []
    with suppress(read.ReadError), opened(state) as db:
        found = [one for item in items if (one := explained(db, item, controller=controller, on_gpu=on_gpus))]
    # What is held is told of all servers at once.
    for one in [one for one in found if one.reason != "PruneHeld"][:MOST]:
        click.echo("\n".join(explanation_lines(one, plain=True)), err=True)
