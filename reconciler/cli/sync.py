"""`sync`: ask the Git source's remote now, and tell what came of it."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from reconciler.cli.controller import Controller, open_controller
from reconciler.cli.failure import BAD_INPUT, FAILED, database_trouble, say_error
from reconciler.cli.follow import conclude, follow, snapshot
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.judging import Item, as_declared, begun
from reconciler.cli.output import plural, print_problems, say
from reconciler.cli.sources import held, is_from_git, refuse_without_source, warn_of_old_settings, words
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import BEGIN_TIMEOUT, UNATTENDED, may_wait
from reconciler.installation import holds_one, is_controller_running
from reconciler.store import read


@click.command(
    cls=Verb,
    short_help="Ask the Git source's remote now.",
    examples=[
        ("reconciler sync", "put in force what the remote has"),
        ("reconciler sync --wait", "and wait until the servers are as it says"),
    ],
    exit_codes={
        0: "what the remote has is in force (with --wait: and its servers are as declared)",
        1: "not, or servers that it removes are held by the prune guard",
        2: "it has errors",
    },
)
@may_wait
@pass_invocation
def sync(invocation: Invocation, timeout: float | None) -> int:
    """Ask the remote of the Git source now, and put in force what it has.

    With --wait the servers that it declares are followed until they are as it says. Without a running controller this
    command does a controller's work, and leaves the servers running.
    """
    settings = invocation.existing_or_new()
    state = Path(settings.state)
    refuse_without_source(state, lambda: settings)
    warn_of_old_settings(state)
    before = snapshot(state, None, controller=is_controller_running(state))
    known = revision_known(state)
    with open_controller(state, lambda: settings, "sync", timeout) as controller:
        source = controller.sync()
        stay = removals_held(state)
        code = tell(source, known, stay)
        if is_in_force(source) and timeout is not None:
            code = _follow(controller, before, stay, timeout) or code
        if controller.is_here:
            leave(controller, before, followed=is_in_force(source) and timeout is not None)
    return code


def revision_known(state: Path) -> str:
    """The commit that is in force before, as far as the database knows."""
    if not holds_one(state):
        return ""
    with database_trouble(state), opened(state) as db:
        return next((str(item["status"]["revision"]["commit"]) for item in _with_revision(db)), "")


def _with_revision(db: sqlite3.Connection) -> list[Mapping[str, Any]]:
    return [item for item in read.sources(db) if item["status"]["revision"]]


def removals_held(state: Path) -> Mapping[str, str]:
    """Servers whose documents the revision in force has no more, but which stay: by name, why."""
    found = snapshot(state, None, controller=True)
    return {name: why for name, item in found.items() if is_from_git(item) and (why := held(item))}


def is_in_force(source: Mapping[str, Any]) -> bool:
    """Whether what the remote has is in force."""
    status = source["status"]
    return bool(status["revision"]) and not (status["pending"] or status["lastError"])


def tell(source: Mapping[str, Any], known: str, stay: Mapping[str, str], done: str = "") -> int:
    """One line of what came of a look at the remote, its reasons on stderr. Returns the exit code.

    `known` is the commit that was in force before, `stay` are the removals that are held, `done` is what was asked for.
    """
    name, status = source["metadata"]["name"], source["status"]
    but = f"; still in force: {', '.join(stay)}" if stay and is_in_force(source) else ""
    say(clean(f"{name}: {done}{outcome(name, status, known)}{but}"))
    print_problems(status["problems"])
    for why in sorted(set(stay.values())):
        click.echo(f"held: {clean(why)}", err=True)
    if status["lastError"]:
        say_error(clean(status["lastError"]))
    if status["problems"]:
        say("hint: correct them and push; the next good revision is taken up by itself", err=True)
        return BAD_INPUT
    return 0 if is_in_force(source) and not stay else FAILED


def outcome(name: str, status: Mapping[str, Any], known: str) -> str:
    """What came of a look at the remote, in words."""
    revision = words(status["revision"])
    stands = f"{revision} stays in force" if status["revision"] else "nothing of it is in force"
    if status["suspended"]:
        waits = f", {words(status['pending'])} waits" if status["pending"] else ""
        return f"suspended: {stands}{waits}; go on with: reconciler resume source {name}"
    if status["problems"]:
        return f"refused {words(status['pending'])}: {plural(len(status['problems']), 'error')}; {stands}"
    if status["lastError"] or not status["revision"]:
        return stands
    return f"applied {revision}" if status["revision"]["commit"] != known else f"{revision} is already in force"


def _follow(controller: Controller, before: Mapping[str, Item], stay: Mapping[str, str], timeout: float) -> int:
    """Wait for the servers that the source declares, or declared; those that `stay` do so."""
    controller.reconcile()
    declared = _declared({**before, **snapshot(controller.state, None, controller=True)}, before)
    names = [name for name in declared if name not in stay]
    judge = as_declared({})
    followed = follow(controller.state, names, judge, timeout=timeout, known=before, began=controller.began)
    return conclude(names, before, followed)


def _declared(now: Mapping[str, Item], before: Mapping[str, Item]) -> list[str]:
    """Servers whose documents come from the source now, or did before."""
    return sorted(name for name, item in now.items() if is_from_git(item) or is_from_git(before.get(name)))


def leave(controller: Controller, before: Mapping[str, Item], *, followed: bool = False) -> None:
    """End the controller of this command once all is begun; `followed`: the source's servers were told of already."""
    controller.reconcile()
    every = {**before, **snapshot(controller.state, None, controller=True)}
    names = sorted(every.keys() - set(_declared(every, before) if followed else ()))
    follow(controller.state, names, begun(as_declared({})), timeout=BEGIN_TIMEOUT, known=every)
    say(UNATTENDED, err=True)
