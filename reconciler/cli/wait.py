"""`wait`: until servers are as a script needs them, however long that takes and whatever becomes of them meanwhile."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler.cli import loading
from reconciler.cli.explanations import tell, tell_degraded
from reconciler.cli.failure import Failure, database_trouble, refuse_unknown
from reconciler.cli.follow import Progress
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.judging import Item, Judgement, Verdict, name_of
from reconciler.cli.looking import looks
from reconciler.cli.names import SERVER_NAME, without_kind
from reconciler.cli.selecting import Parsed, labels_of, phase, selector_option
from reconciler.cli.servers import condition
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import Duration
from reconciler.core.durations import describe_duration
from reconciler.core.label_selector import LabelSelector
from reconciler.installation import is_controller_running

CONDITIONS = ("Ready", "Progressing", "Degraded", "Reconciled", "ContextCapped", "Slow", "Adopted")
MOST_TOLD = 3
"""Servers whose state is told when the time is over."""


@dataclass(frozen=True)
class Goal:
    """What is waited for."""

    text: str
    """As it is told of a server: `Ready`."""
    holds: Callable[[Item | None], bool]
    """Given what is shown of a server; None: there is none of that name."""
    needs_none: bool = False
    """It can be waited for by the name of a server that is not there."""


def goal(text: str) -> Goal:
    """From `condition=Ready`, `condition=Ready=False`, `phase=Failed`, `create`, `delete`. Raises ValueError."""
    what, _, value = text.partition("=")
    if what == "delete" and not value:
        return Goal("gone", lambda item: item is None, needs_none=True)
    if what == "create" and not value:
        return Goal("there", lambda item: item is not None, needs_none=True)
    if what == "phase":
        wanted = phase(value)
        return Goal(wanted, lambda item: item is not None and item["status"]["phase"] == wanted)
    if what == "condition":
        return _condition(*value.partition("=")[::2])
    raise ValueError(f"'{text}' is none of condition=Ready, condition=Ready=False, phase=Failed, create, delete")


def _condition(written: str, value: str) -> Goal:
    kind = next((known for known in CONDITIONS if known.lower() == written.lower()), None)
    if kind is None:
        raise ValueError(f"no condition '{written}'; there are: {', '.join(CONDITIONS)}")
    wanted = (value or "true").capitalize()
    if wanted not in ("True", "False"):
        raise ValueError(f"a condition is True or False, not '{value}'")
    told = kind if wanted == "True" else f"{kind}=False"
    return Goal(told, lambda item: item is not None and condition(item, kind)["status"] == wanted)


@click.command(
    cls=Verb,
    short_help="Wait until servers are Ready, or as else is asked.",
    examples=(
        ("reconciler wait coder chat", "until both are Ready"),
        ("reconciler wait -l tier=prod --timeout 2m", "until all with this label are, at most two minutes"),
        ("reconciler wait coder --for=condition=Ready=False", "until it is not Ready any more"),
        ("reconciler wait coder --for=phase=Failed --timeout 0s", "not at all: only to ask whether it has failed"),
        ("reconciler wait coder --for=delete", "until it is removed, and has ended"),
    ),
    exit_codes={
        0: "all of them are as asked",
        1: "not within the time, or a name is not known; the message of each says why",
        2: "the command line has errors",
    },
)
@click.argument("names", metavar="[NAME]…", nargs=-1, type=SERVER_NAME, callback=without_kind)
@selector_option
@click.option("--all", "everything", is_flag=True, help="All servers.")
@click.option(
    "--for",
    "goal",
    type=Parsed("goal", goal),
    default="condition=Ready",
    show_default=True,
    metavar="GOAL",
    help="condition=NAME, condition=NAME=False, phase=NAME, create or delete.",
)
@click.option(
    "--timeout",
    type=Duration(),
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="Longest wait; 0s: only ask.",
)
@click.option("-o", "--output", type=click.Choice(["json", "name"]), help="Print the servers as they are then.")
@pass_invocation
def wait(  # noqa: PLR0913 - what click hands over, each by its name
    invocation: Invocation,
    *,
    names: tuple[str, ...],
    labels: LabelSelector | None,
    everything: bool,
    goal: Goal,
    timeout: float,
    output: str | None,
) -> None:
    """Wait until the named servers are as asked, whatever becomes of them meanwhile.

    It asks for nothing: a server that has Failed is waited for too, until the time is over. One that is Ready may run
    with less than was asked for: that is told on stderr, and `Degraded` in what -o json prints.
    """
    if bool(names) + everything + (labels is not None) != 1:
        raise click.UsageError("name the servers, or give -l or --all")
    state = invocation.state_folder()
    with database_trouble(state):
        with opened(state) as db:
            chosen = _chosen(db, names, labels, goal)
        met, unmet = _wait(_Wait(state, chosen, goal, timeout, is_silent=output is not None))
        if goal.text == "Ready":
            tell_degraded(state, met)
        if unmet:
            tell(state, [item for item in unmet.values() if item is not None])
            raise _too_late(state, goal, timeout, unmet)
        if output is not None and chosen:
            _print(state, chosen, output)


def _chosen(db: sqlite3.Connection, names: Sequence[str], labels: LabelSelector | None, goal: Goal) -> list[str]:
    """The servers meant. Raises Failure."""
    items = loading.servers(db, None, now=time.time(), controller=True)
    known = [name_of(item) for item in items]
    if names:
        refuse_unknown([] if goal.needs_none else names, known)
        return list(dict.fromkeys(names))
    chosen = [name_of(item) for item in items if labels is None or labels.fits(labels_of(item))]
    if not chosen and not goal.needs_none:
        what = "no server has these labels" if labels else "no servers are declared"
        raise Failure(what, "see which there are with: reconciler get servers -o json" if labels else _DECLARE)
    return chosen


_DECLARE = "declare one with: reconciler apply -f FILE"


@dataclass(frozen=True)
class _Wait:
    """What is waited for, and where."""

    state: Path
    names: Sequence[str]
    goal: Goal
    timeout: float
    is_silent: bool


def _wait(asked: _Wait) -> tuple[Sequence[Item], Mapping[str, Item | None]]:
    """The servers that got to be as asked, and those that were not when the time was over, or one of them gone."""
    began = time.monotonic()
    waiting, found, met = list(asked.names), dict[str, Item | None](), list[Item]()

    def look(db: sqlite3.Connection) -> dict[str, Item]:
        controller = is_controller_running(asked.state)
        return {name_of(item): item for item in loading.servers(db, waiting, now=time.time(), controller=controller)}

    with Progress(max(map(len, waiting), default=0)) as progress:
        for items in looks(asked.state, look, until=began + asked.timeout):
            found = {name: items.get(name) for name in waiting}
            seconds = time.monotonic() - began
            for name in [name for name in waiting if asked.goal.holds(found[name])]:
                waiting.remove(name)
                met += [item] if (item := found[name]) else []
                if not asked.is_silent:
                    progress.tell(name, Judgement(Verdict.DONE, asked.goal.text), seconds)
            progress.show(
                [(name, Judgement(Verdict.WAITING, _stand(found[name], asked.goal))) for name in waiting], seconds
            )
            if not waiting or not (asked.goal.needs_none or all(found.values())):
                break
    return met, {name: found[name] for name in waiting}


def _stand(item: Item | None, goal: Goal) -> str:
    """How a server is, in words."""
    if item is None:
        return "there is no such server yet" if goal.needs_none else "there is no such server any more"
    message = loading.message_of(item["status"])
    return f"{item['status']['phase']}: {message}" if message else str(item["status"]["phase"])


def _too_late(state: Path, goal: Goal, timeout: float, unmet: Mapping[str, Item | None]) -> Failure:
    told = [
        f"{name} is {_stand(item, goal)}" if item else f"{name}: {_stand(item, goal)}" for name, item in unmet.items()
    ]
    more = [f"{len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    within = f" within {describe_duration(timeout)}" if timeout and (goal.needs_none or any(unmet.values())) else ""
    hint = f"see why with: reconciler describe server {next(iter(unmet))}"
    if not is_controller_running(state):
        hint = "no controller is running; start one with: reconciler run"
    elif not all(unmet.values()):
        hint = "see which there are with: reconciler get servers"
    return Failure(clean(f"not {goal.text}{within}: {'; '.join([*told[:MOST_TOLD], *more])}"), hint)


def _print(state: Path, names: Sequence[str], output: str) -> None:
    from reconciler.cli.listing import Question, listing_of, show_list  # noqa: PLC0415 - only data needs it

    listing = listing_of(Question("servers", state, names, output))
    with opened(state) as db:
        show_list(listing, listing.read(db), output)
