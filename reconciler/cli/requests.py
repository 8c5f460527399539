"""`restart`, `stop`, `start`, `adopt`: what a person asks for, kept until it is done or taken back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.controller import open_controller
from reconciler.cli.failure import FAILED, Failure, refuse_unknown
from reconciler.cli.follow import Followed, follow, snapshot
from reconciler.cli.invocation import SERVER_NAME, Invocation, Verb, pass_invocation
from reconciler.cli.judging import Item, Judge, adopted, begun, restarted, stopped, uid_of, up
from reconciler.cli.output import plural, say
from reconciler.cli.waiting import BEGIN_TIMEOUT, UNATTENDED, waits
from reconciler.core.durations import describe_duration
from reconciler.installation import is_controller_running

_PAST = {"restart": "restarted", "stop": "stopped", "start": "started", "adopt": "adopted"}


EXIT_CODES = {
    0: "done; with --no-wait, asked for",
    1: "some did not get there within the time, or there is no such server",
    2: "the command line or the settings have errors; nothing was asked for",
}


def _verb(short_help: str, *examples: tuple[str, str]) -> Callable[[Callable[..., Any]], click.Command]:
    """The arguments and options that these take."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for decorator in (
            pass_invocation,
            waits,
            click.option("--all", "everything", is_flag=True, help="All servers."),
            click.argument("names", metavar="NAME…", nargs=-1, type=SERVER_NAME),
        ):
            function = decorator(function)
        return click.command(cls=Verb, short_help=short_help, examples=examples, exit_codes=EXIT_CODES)(function)

    return decorate


@_verb(
    "Restart servers.",
    ("reconciler restart coder", "and wait until it is Ready again"),
    ("reconciler restart --all --no-wait", "only ask for it"),
)
def restart(invocation: Invocation, names: tuple[str, ...], everything: bool, timeout: float | None) -> int:
    """Stop the named servers and start them again, and wait until they are Ready.

    A server that has Failed gets its restarts back.
    """
    return _ask("restart", invocation, _Names(names, everything), timeout)


@_verb(
    "Stop servers until they are started again.",
    ("reconciler stop coder embedder", "until they are started again"),
    ("reconciler stop --all", "before the machine is needed for something else"),
)
def stop(invocation: Invocation, names: tuple[str, ...], everything: bool, timeout: float | None) -> int:
    """Stop the named servers until they are started again. That holds over restarts of the controller."""
    return _ask("stop", invocation, _Names(names, everything), timeout)


@_verb(
    "Start servers that were stopped by request.",
    ("reconciler start coder", "take its stop back, or try again when it has Failed"),
    ("reconciler start --all --timeout 20m", "with time for big models"),
)
def start(invocation: Invocation, names: tuple[str, ...], everything: bool, timeout: float | None) -> int:
    """Take a stop back, or try a server again that has Failed or Completed, and wait until it is Ready."""
    return _ask("start", invocation, _Names(names, everything), timeout)


@click.command(
    cls=Verb,
    short_help="Take over a llama-server that somebody started by hand.",
    examples=[("reconciler adopt coder", "take over what runs on the port of coder")],
    exit_codes=EXIT_CODES,
)
@click.argument("names", metavar="NAME…", nargs=-1, required=True, type=SERVER_NAME)
@waits
@pass_invocation
def adopt(invocation: Invocation, names: tuple[str, ...], timeout: float | None) -> int:
    """Take over the llama-server that runs on the port of the named server, and wait until it is Ready.

    It goes on as it is, even where its model or context is not as declared, and is replaced at the next change of its
    manifest. Programs of other users, and servers of another installation whose folder is there, are left alone.
    """
    return _ask("adopt", invocation, _Names(names, everything=False), timeout)


class _Names:
    """The servers asked for."""

    def __init__(self, names: Sequence[str], everything: bool) -> None:
        if everything and names:
            raise click.UsageError("give names or --all, not both")
        if not everything and not names:
            raise click.UsageError("name the servers, or give --all")
        self._names = None if everything else list(dict.fromkeys(names))

    def among(self, known: Sequence[str]) -> list[str]:
        """The names, all of which are known. Raises Failure."""
        refuse_unknown(self._names or (), known)
        return list(known) if self._names is None else self._names


def _ask(kind: str, invocation: Invocation, asked: _Names, timeout: float | None) -> int:
    """`timeout` is in seconds; None: do not wait."""
    state = invocation.state_folder()
    before = snapshot(state, None, controller=is_controller_running(state))
    names = asked.among(sorted(before))
    if not names:
        raise Failure("no servers are declared", "declare one with: reconciler apply -f FILE")
    with open_controller(state, lambda: invocation.settings_of(state), kind, timeout) as controller:
        controller.request(kind, names)
        judge = _judge(kind, before)
        if timeout is not None:
            followed = follow(state, names, judge, timeout=timeout, began=controller.began)
        elif controller.is_here:
            # What waits for an end or a turn would never be done without it.
            follow(state, names, begun(judge), timeout=BEGIN_TIMEOUT)
            if kind != "stop":
                say(UNATTENDED, err=True)
            return 0
        else:
            say(f"asked for; see how it goes with: reconciler get servers {' '.join(names[:3])} -w")
            return 0
    return _finish(kind, names, followed)


def _judge(kind: str, before: Mapping[str, Item]) -> Judge:
    uids = {name: uid_of(item) for name, item in before.items()}
    judges: dict[str, Judge] = {"stop": stopped, "start": up, "restart": restarted(uids), "adopt": adopted}
    return judges[kind]


def _finish(kind: str, names: Sequence[str], followed: Followed) -> int:
    failed = followed.failed
    if len(names) > 1:
        done = f"{len(names) - len(failed)} {_PAST[kind]} in {describe_duration(followed.seconds)}"
        say(f"{done}, {len(failed)} failed" if failed else done)
    if not failed:
        return 0
    hint = f"hint: see why with: reconciler describe server {failed[0]}"
    click.echo(f"error: {plural(len(failed), 'server')} not {_PAST[kind]}\n{hint}", err=True)
    return FAILED
