"""`restart`, `stop`, `start`, `adopt`: what a person asks for, kept until it is done or taken back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.chosen import all_option
from reconciler.cli.controller import open_controller
from reconciler.cli.explanations import tell_troubles
from reconciler.cli.failure import FAILED, Failure, refuse_unknown, say_error
from reconciler.cli.follow import Followed, follow, snapshot
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.judging import (
    LEFT_OUT,
    Item,
    Judge,
    adopted,
    as_asked,
    awake,
    begun,
    name_of,
    restarted,
    resting,
    stopped,
    uid_of,
    up,
    way_out,
)
from reconciler.cli.names import SERVER_NAME, without_kind
from reconciler.cli.output import plural, say
from reconciler.cli.selecting import labels_of, selector_option
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import BEGIN_TIMEOUT, UNATTENDED, waits
from reconciler.core.durations import describe_duration
from reconciler.core.label_selector import LabelSelector
from reconciler.installation import is_controller_running

_PAST = {
    "restart": "restarted",
    "primary": "running as asked for",
    "stop": "stopped",
    "start": "started",
    "adopt": "adopted",
}
_Decorator = Callable[..., Any]
EXIT_CODES = {
    0: "done; with --no-wait, asked for",
    1: "some did not get there within the time, or there is no such server",
    2: "the command line or the settings have errors; nothing was asked for",
}


def _verb(
    short_help: str,
    *examples: tuple[str, str],
    options: Sequence[_Decorator] = (),
) -> Callable[[Callable[..., Any]], click.Command]:
    """The arguments and options that these take, and `options` of its own."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        names = click.argument("names", metavar="NAME…", nargs=-1, type=SERVER_NAME, callback=without_kind)
        taken: Sequence[_Decorator] = (pass_invocation, waits, all_option, selector_option, *options, names)
        for decorator in taken:
            function = decorator(function)
        return click.command(cls=Verb, short_help=short_help, examples=examples, exit_codes=EXIT_CODES)(function)

    return decorate


@_verb(
    "Restart servers.",
    ("reconciler restart coder", "and wait until it is Ready again"),
    ("reconciler restart -l tier=prod", "those with this label, but for those that are stopped"),
    ("reconciler restart coder --primary", "as its manifest says, in place of the fallback step that runs"),
    ("reconciler restart --all --no-wait", "only ask for it"),
    options=[click.option("--primary", is_flag=True, help="As the manifests say, whatever fallback step runs now.")],
)
def restart(
    invocation: Invocation,
    names: tuple[str, ...],
    labels: LabelSelector | None,
    everything: bool,
    timeout: float | None,
    primary: bool,
) -> int:
    """Stop the named servers and start them again, and wait until they are Ready.

    A server that has Failed gets its restarts back. One that runs on a fallback step does so again, unless with
    --primary: then it is tried as its manifest says, and where that does not run, the steps follow anew; to end up with
    less than was asked for is an error then.
    """
    kind = "primary" if primary else "restart"
    return _ask(kind, invocation, _Asked(names, labels, everything=everything), timeout)


@_verb(
    "Stop servers until they are started again.",
    ("reconciler stop coder embedder", "until they are started again"),
    ("reconciler stop --all", "before the machine is needed for something else"),
)
def stop(
    invocation: Invocation,
    names: tuple[str, ...],
    labels: LabelSelector | None,
    everything: bool,
    timeout: float | None,
) -> int:
    """Stop the named servers until they are started again. That holds over restarts of the controller."""
    return _ask("stop", invocation, _Asked(names, labels, everything=everything), timeout)


@_verb(
    "Start servers that were stopped by request.",
    ("reconciler start coder", "take its stop back, or try again when it has Failed"),
    ("reconciler start --all --timeout 20m", "with time for big models"),
)
def start(
    invocation: Invocation,
    names: tuple[str, ...],
    labels: LabelSelector | None,
    everything: bool,
    timeout: float | None,
) -> int:
    """Take a stop back, or try a server again that has Failed or Completed, and wait until it is Ready."""
    return _ask("start", invocation, _Asked(names, labels, everything=everything), timeout)


@click.command(
    cls=Verb,
    short_help="Take over a llama-server that somebody started by hand.",
    examples=[("reconciler adopt coder", "take over what runs on the port of coder")],
    exit_codes=EXIT_CODES,
)
@click.argument("names", metavar="NAME…", nargs=-1, required=True, type=SERVER_NAME, callback=without_kind)
@waits
@pass_invocation
def adopt(invocation: Invocation, names: tuple[str, ...], timeout: float | None) -> int:
    """Take over the llama-server that runs on the port of the named server, and wait until it is Ready.

    It goes on as it is, even where its model or context is not as declared, and is replaced at the next change of its
    manifest. Programs of other users, and servers of another installation whose folder is there, are left alone.
    """
    return _ask("adopt", invocation, _Asked(names), timeout)


class _Asked:
    """The servers asked for."""

    def __init__(self, names: Sequence[str], labels: LabelSelector | None = None, *, everything: bool = False) -> None:
        if everything and names:
            raise click.UsageError("give names or --all, not both")
        if labels is not None and (everything or names):
            raise click.UsageError("give names, --all or -l, and only one of these")
        if labels is None and not everything and not names:
            raise click.UsageError("name the servers, or give --all or -l")
        self._names = list(dict.fromkeys(names))
        self._labels = labels

    @property
    def is_rule(self) -> bool:
        """Whether none was named: those that are not to run are then left out, and are no errors."""
        return not self._names

    def among(self, known: Mapping[str, Item]) -> list[str]:
        """Their names. Raises Failure for one that is not there, and where there are none."""
        refuse_unknown(self._names, known)
        fits = self._labels.fits if self._labels is not None else lambda _labels: True
        names = self._names or sorted(name for name, item in known.items() if fits(labels_of(item)))
        if not names and known:
            raise Failure("no server has these labels", "see which there are with: reconciler get servers -o json")
        if not names:
            raise Failure("no servers are declared", "declare one with: reconciler apply -f FILE")
        return names


def _ask(kind: str, invocation: Invocation, asked: _Asked, timeout: float | None) -> int:
    """`timeout` is in seconds; None: do not wait."""
    state = invocation.state_folder()
    before = snapshot(state, None, controller=is_controller_running(state))
    names = asked.among(before)
    verb = "restart" if kind == "primary" else kind
    with open_controller(state, lambda: invocation.settings_of(state), verb, timeout) as controller:
        known = snapshot(state, names, controller=True)
        if asked.is_rule:
            names = _without_resting(kind, names, known)
        if not names:
            return 0
        controller.request(kind, names)
        judge = _judge(kind, before)
        if timeout is not None:
            followed = follow(state, names, judge, timeout=timeout, began=controller.began)
        elif controller.is_here:
            # What waits for an end or a turn would never be done without it.
            followed = follow(state, names, begun(judge), timeout=BEGIN_TIMEOUT)
            if kind != "stop":
                say(UNATTENDED, err=True)
            return _tell_resting(kind, [followed.items[name] for name in followed.failed if name in followed.items])
        else:
            say(f"asked for; see how it goes with: reconciler get servers {' '.join(names[:3])} -w")
            return _tell_resting(kind, [known[name] for name in names if name in known])
    return _finish(kind, names, followed)


def _without_resting(kind: str, names: Sequence[str], known: Mapping[str, Item]) -> list[str]:
    """Those that can do as they are asked; of the others it is said why they do not."""
    resting_too = LEFT_OUT | {"StopRequested"}
    reasons = {"start": LEFT_OUT, "restart": resting_too, "primary": resting_too}.get(kind, frozenset())
    why = {name: resting(known[name], reasons) for name in names if name in known}
    for name in names:
        if text := why.get(name):
            say(clean(f"{name}  left out: {text}"))
    return [name for name in names if not why.get(name)]


def _tell_resting(kind: str, items: Sequence[Item]) -> int:
    """Without waiting: an error for those that are not going to run all the same."""
    found = [item for item in items if kind in ("start", "restart", "primary") and resting(item, LEFT_OUT)]
    for item in found:
        say_error(f"{name_of(item)} is not {_PAST[kind]}: {resting(item)}", way_out(item))
    return FAILED if found else 0


def _judge(kind: str, before: Mapping[str, Item]) -> Judge:
    uids = {name: uid_of(item) for name, item in before.items()}
    judges: dict[str, Judge] = {
        "stop": stopped,
        "start": up,
        "restart": restarted(uids),
        "primary": as_asked(restarted(uids)),
        "adopt": adopted,
    }
    return judges[kind] if kind == "stop" else awake(judges[kind])


def _finish(kind: str, names: Sequence[str], followed: Followed) -> int:
    failed = followed.failed
    if len(names) > 1:
        done = f"{len(names) - len(failed)} {_PAST[kind]} in {describe_duration(followed.seconds)}"
        say(f"{done}, {len(failed)} failed" if failed else done)
    if kind != "stop":
        tell_troubles(followed)
    if not failed:
        return 0
    worst = followed.items.get(failed[0])
    hint = way_out(worst) if worst and resting(worst) else f"see why with: reconciler describe server {failed[0]}"
    say_error(f"{plural(len(failed), 'server')} not {_PAST[kind]}", hint)
    return FAILED
