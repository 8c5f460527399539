"""`logs`: what servers wrote."""

import heapq
import re
import shlex
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler.cli.chosen import Chosen, all_option
from reconciler.cli.failure import Failure
from reconciler.cli.following import follow
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.log_files import NotBegunError, log_of, log_that_is_there, newest_logs
from reconciler.cli.names import SERVER_NAME, without_kind
from reconciler.cli.output import say, show
from reconciler.cli.prefixes import Form, Prefixes, as_json, plain
from reconciler.cli.selecting import selector_option
from reconciler.cli.sinks import Lines, Raw, Sink
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import Duration
from reconciler.core.durations import describe_duration
from reconciler.core.label_selector import LabelSelector
from reconciler.runtimes.tailing import CHUNK, Followed, Keep, Line, Log, has_times, past
from reconciler.store import read


@dataclass(frozen=True)
class _Wish:
    """What is to be shown, and how."""

    chosen: Chosen
    back: int
    """0: the last instance; 1: the one before it."""
    tail: int | None
    since: float | None
    """Unix time."""
    keep: Keep | None
    form: Form | None
    """None: as it is."""

    @property
    def is_single(self) -> bool:
        """Whether one server was named, so that it is an error that there is nothing of it."""
        return len(self.chosen.names) == 1

    @property
    def is_raw(self) -> bool:
        """Whether bytes go through as they are."""
        return self.form is None and self.since is None and self.keep is None

    def sink(self) -> Sink:
        """Where a server's log goes that is followed."""
        return Raw() if self.is_raw else Lines(self.form or plain, self.keep)


class _LogsVerb(Verb):
    """It is told which servers in one of three ways."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises a usage error for none of them, and for more than one."""
        rest = super().parse_args(ctx, args)
        ways = [way for way in ("names", "labels", "everything") if ctx.params.get(way)]
        if len(ways) != 1 and not ctx.resilient_parsing:
            raise click.UsageError("name the servers, or give either --all or --selector", ctx)
        return rest


@click.command(
    cls=_LogsVerb,
    short_help="Print the logs of servers.",
    examples=[
        ("reconciler logs chat --tail 50", "the last lines"),
        ("reconciler logs chat -f", "go on with what it writes, over restarts too"),
        ("reconciler logs chat --previous", "what the instance before the last one wrote"),
        ("reconciler logs chat coder -f", "two servers, each line behind its name"),
        ("reconciler logs -l tier=prod --since 10m --grep error -i", "errors of the last minutes, of all with a label"),
    ],
    exit_codes={
        0: "printed, be it nothing",
        1: "there is no such server, or no log of it",
        2: "the command line has errors",
        130: "ended by Ctrl-C, as -f is",
    },
)
@click.argument("names", metavar="[NAME]…", nargs=-1, type=SERVER_NAME, callback=without_kind)
@selector_option
@all_option
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with what is written, over restarts too.")
@click.option("--tail", type=click.IntRange(min=0), help="Begin with the last N lines of each.  [default: all]")
@click.option("--since", type=Duration(), metavar="DURATION", help="Only lines that are not older, such as 10m.")
@click.option("--grep", "pattern", metavar="REGEX", help="Only lines in which this is found.")
@click.option("-i", "--ignore-case", is_flag=True, help="With --grep: upper and lower case are the same.")
@click.option("-p", "--previous", is_flag=True, help="The log of the instance before the last one.")
@click.option("--no-prefix", is_flag=True, help="Do not begin the lines of several servers with their names.")
@click.option("-o", "--output", type=click.Choice(["json"]), help="A JSON object for each line.")
@pass_invocation
def logs(  # noqa: PLR0913 - a function has as many arguments as its verb has options
    invocation: Invocation,
    *,
    names: tuple[str, ...],
    labels: LabelSelector | None,
    everything: bool,
    follows: bool,
    tail: int | None,
    since: float | None,
    pattern: str | None,
    ignore_case: bool,
    previous: bool,
    no_prefix: bool,
    output: str | None,
) -> None:
    """Print what the last instance of each server wrote; of several servers in the order of time.

    With -f servers that appear later are followed too, if they were not named.
    """
    del everything  # which it is where nothing else is named
    if follows and previous:
        raise click.UsageError("an earlier instance writes no more: give --follow or --previous")
    names = tuple(dict.fromkeys(names))
    keep = _matching(pattern, ignore_case=ignore_case)
    form = as_json if output else None if len(names) == 1 else plain if no_prefix else Prefixes()
    since = None if since is None else time.time() - since
    wish = _Wish(Chosen(names, labels), int(previous), tail, since, keep, form)
    state = invocation.state_folder()
    try:
        if follows:
            _follow(state, wish)
        else:
            _print(wish, _found(state, wish))
    except read.ReadError as error:
        raise Failure(str(error)) from None


def _matching(pattern: str | None, *, ignore_case: bool) -> Keep | None:
    if pattern is None:
        return None
    try:
        found = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        told = f"--grep: {pattern} is no regular expression: {error}"
        message = f"{told}; as it stands it is found with: --grep {shlex.quote(re.escape(pattern))}"
        raise click.UsageError(message) from None
    return lambda content: found.search(content.rstrip(b"\r\n").decode(errors="replace")) is not None


# ---------------------------------------------------------------- once


def _found(state: Path, wish: _Wish) -> list[Log]:
    """The logs that there are. Raises Failure where a named server has none; of several it is only said."""
    found, failures = [], []
    with opened(state, warns=True) as db:
        wish.chosen.refuse_unknown(db)
        names = wish.chosen.of(db)
        wish.chosen.tell_of_none(names)
        for name in names:
            try:
                found.append(log_that_is_there(db, state, name, wish.back))
            except Failure as failure:
                failures.append(failure)
    if failures and not found and wish.chosen.names:
        raise failures[0]
    for each in failures:
        say(clean(each.message), err=True)
    return found


def _print(wish: _Wish, found: Sequence[Log]) -> None:
    _warn_of_untimed(wish, found)
    _align(wish, [log.server for log in found])
    if wish.form is None and wish.is_raw and wish.tail is None:
        _copy(found[0])
        return
    sink = Raw()
    for log, line in heapq.merge(*(_lines(log, wish) for log in found), key=lambda one: one[1].at):
        if wish.form is None:
            sink.write(log, line.content)
        else:
            show(wish.form(log, line))
    sink.finish()


def _align(wish: _Wish, names: Sequence[str]) -> None:
    if isinstance(wish.form, Prefixes):
        wish.form.names.update(names)


def _lines(log: Log, wish: _Wish) -> Iterator[tuple[Log, Line]]:
    return ((log, line) for line in past(log, tail=wish.tail, since=wish.since, keep=wish.keep))


def _warn_of_untimed(wish: _Wish, found: Sequence[Log]) -> None:
    """Where --since cannot tell."""
    if wish.since is None:
        return
    for log in found:
        if log.started < wish.since and not has_times(log):
            began = describe_duration(time.time() - log.started)
            told = f"{log.server}: its lines tell no times: if it wrote since, all since its start {began} ago is shown"
            say(f"{told} (with `log-timestamps: true` in spec.flags, llama-server tells them)", err=True)


def _copy(log: Log) -> None:
    """All of it, however large."""
    sink = Raw()
    for part in log.parts():
        with part.open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                sink.write(log, chunk)
    sink.finish()


# ---------------------------------------------------------------- for ever


def _follow(state: Path, wish: _Wish) -> None:
    with opened(state, warns=True) as db:
        wish.chosen.refuse_unknown(db)
        names = wish.chosen.of(db)
        wish.chosen.tell_of_none(names)
        _align(wish, names)
        for name in names:
            _warn_of_adopted(db, state, name, wish)
        _warn_of_untimed(wish, list(newest_logs(db, state, wish.chosen).values()))
    follow(
        state,
        lambda db: newest_logs(db, state, wish.chosen),
        wish.sink,
        lambda: Followed(wish.tail, wish.since, wish.keep),
    )


def _warn_of_adopted(db: sqlite3.Connection, state: Path, name: str, wish: _Wish) -> None:
    try:
        log_of(db, state, name)
    except NotBegunError:
        pass  # it may yet begin
    except Failure as failure:
        if wish.is_single:
            raise
        say(clean(failure.message), err=True)
