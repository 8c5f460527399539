"""`ensure`: for scripts, before they use a server: it is Ready now, or is made so, or there is an error."""

import io
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.asked import context_size, runs_with_less
from reconciler.cli.failure import Failure, database_trouble
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.names import SERVER_NAME, without_kind
from reconciler.cli.output import is_quiet, print_json, show
from reconciler.cli.servers import condition
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import Duration
from reconciler.installation import is_controller_running

if TYPE_CHECKING:
    from reconciler.cli.ensured import Found
    from reconciler.cli.judging import Item

LOOK = 0.1
"""Seconds between looks at what is about to be replaced."""
PATIENCE = 2.0
"""Seconds for what may be a moment's state."""


def _one(context: click.Context, parameter: click.Parameter, value: Sequence[str]) -> str:
    """A single server's name. Raises a usage error for several."""
    names = without_kind(context, parameter, value)
    if len(names) > 1 and not context.resilient_parsing:
        raise click.UsageError(f"ensure takes one server, not {len(names)}; call it once for each", context)
    return "".join(names[:1])


@click.command(
    cls=Verb,
    short_help="Have a server Ready, and print where it answers.",
    examples=(
        ("reconciler ensure coder", "ask it how it is, restart it if it is unwell, and print its base URL"),
        ("curl $(reconciler ensure coder --url)/v1/models", "the same within a script"),
        ("reconciler ensure coder --ctx 8192 --timeout 1m", "only with that much context, in a minute at most"),
        ("reconciler ensure coder --start", "also when it was stopped by request"),
    ),
    exit_codes={
        0: "it is Ready, and its URL is printed",
        1: "it is not: it was stopped, has failed, has less context, or the time was over",
        2: "the command line or the settings have errors",
    },
)
@click.argument("name", nargs=-1, required=True, type=SERVER_NAME, metavar="NAME", callback=_one)
@click.option("--ctx", type=click.IntRange(min=1), metavar="TOKENS", help="Least context, over all its slots.")
@click.option("--url", is_flag=True, help="Print the URL alone: on stderr no progress, only trouble.")
@click.option("--start", is_flag=True, help="Start it where it was stopped by request.")
@click.option(
    "--timeout", type=Duration(), default="5m", show_default=True, metavar="DURATION", help="Longest wait in all."
)
@click.option("-o", "--output", type=click.Choice(["json"]), help="Print more than the URL.")
@pass_invocation
def ensure(  # noqa: PLR0913 - what click hands over, each by its name
    invocation: Invocation,
    *,
    name: str,
    ctx: int | None,
    url: bool,
    start: bool,
    timeout: float,
    output: str | None,
) -> None:
    """Ask a server itself how it is, restart it if it is unwell, wait until it is Ready, and print its base URL.

    Nothing else stands on stdout. A server that was stopped, is suspended or is left out by the active profile stays
    so, and is an error. Without a running controller this command does a controller's work, and leaves the server
    running.
    """
    from reconciler.cli.ensured import Task  # noqa: PLC0415 - what asks a server is slow to import
    from reconciler.cli.ensuring import until_ready  # noqa: PLC0415

    state = invocation.state_folder()
    task = Task(invocation, state, name, time.monotonic() + timeout, timeout, may_start=start)
    is_quiet_asked = invocation.quiet
    invocation.quiet = invocation.quiet or url
    with database_trouble(state), _stdout_for_data(), _explaining(state, name):
        found = until_ready(task)
        settled = time.monotonic() + PATIENCE
        while ctx and _may_get(ctx, found) and time.monotonic() < min(settled, task.until):
            time.sleep(LOOK)
            found = until_ready(task)
    if not is_quiet_asked and runs_with_less(found.seen.item):
        _tell_less(state, found)
    tokens = _context(found)
    if ctx is not None:
        _refuse_less(state, found, ctx, tokens)
    if output == "json":
        print_json(_as_data(found, tokens))
        return
    show(found.subject.url)


@contextmanager
def _explaining(state: Path, name: str) -> Iterator[None]:
    """Before a failure it is told what is known of the server."""
    try:
        yield
    except Failure:
        from reconciler.cli.explanations import tell_named  # noqa: PLC0415 - for failures alone

        tell_named(state, [name])
        raise


def _tell_less(state: Path, found: "Found") -> None:
    """That something else answers there than was asked for is no progress: it is told with --url too."""
    from reconciler.cli.explanations import tell  # noqa: PLC0415 - only for one that is not well

    tell(state, [found.seen.item])


@contextmanager
def _stdout_for_data() -> Iterator[None]:
    """Progress goes to stderr: what a script takes is the URL."""
    with redirect_stdout(io.StringIO() if is_quiet() else sys.stderr):
        yield


# ---------------------------------------------------------------- what it is like


def _context(found: "Found") -> int | None:
    """Tokens over all slots, as it says itself; None where it does not."""
    effective = found.answer.effective
    known = {"ctxPerSlot": effective.ctx_per_slot}
    if effective.ctx_per_slot is None:
        known = found.seen.item["status"]["effective"] or known
    if known["ctxPerSlot"] is None:
        return None
    return int(context_size(found.subject.spec.model_dump(), known))


def _may_get(ctx: int, found: "Found") -> bool:
    """Whether it has less, and what keeps its manifest from being in force may pass within a moment."""
    return (_context(found) or ctx) < ctx and condition(found.seen.item, "Reconciled")["reason"] == "GateShut"


def _refuse_less(state: Path, found: "Found", ctx: int, tokens: int | None) -> None:
    name = found.seen.item["metadata"]["name"]
    if tokens is None:
        why = found.answer.effective.unverified or "it does not tell"
        raise Failure(
            f"whether {name} has a context of {ctx} is not known: {why}", f"ask without --ctx: reconciler ensure {name}"
        )
    if tokens >= ctx:
        return
    reconciled = condition(found.seen.item, "Reconciled")
    if reconciled["status"] != "True" and reconciled["message"]:
        raise Failure(
            f"{name} has a context of {tokens}, not of {ctx}, and is not as declared: {clean(reconciled['message'])}",
            f"see more with: reconciler describe server {name}",
        )
    trained = [model["trainedContext"] for model in found.seen.item["status"]["models"] if "trainedContext" in model]
    if trained and max(trained) * (found.subject.spec.parallel or 1) < ctx:
        hint = f"its model was trained for {max(trained)}; declare another one with: reconciler edit server {name}"
    else:
        hint = f"give it more with: reconciler set server/{name} spec.ctx={ctx}"
        hint += "" if is_controller_running(state) else ", and then: reconciler apply"
    raise Failure(f"{name} has a context of {tokens}, not of {ctx}", hint)


def _as_data(found: "Found", tokens: int | None) -> dict[str, Any]:
    item = found.seen.item
    instance = item["status"]["instance"]
    return {
        "name": item["metadata"]["name"],
        "url": found.subject.url,
        "model": found.answer.effective.model or None,
        "ctx": tokens,
        "slots": found.answer.effective.slots,
        "pid": instance["pid"],
        "uid": instance["uid"],
        "requested": found.was_asked or None,
        "degraded": _degraded(item) if runs_with_less(item) else None,
    }


def _degraded(item: "Item") -> dict[str, Any]:
    """What runs in place of what was asked for: a fallback step (null: it has none), and why."""
    told, fallback = condition(item, "Degraded"), item["status"].get("fallback") or {}
    step = fallback.get("told") if fallback.get("step") else None
    return {"reason": told["reason"] or fallback.get("cause"), "message": told["message"], "step": step}
