"""`describe`: all that is known of a server, for reading; sources are described elsewhere."""

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reconciler.cli import loading
from reconciler.cli.advice import advice
from reconciler.cli.failure import BAD_INPUT, Failure, refuse_unknown
from reconciler.cli.folding import fold_behind
from reconciler.cli.history import EVENT_HEADERS, RESTART_HEADERS, age, event_row, restart_row
from reconciler.cli.invocation import SERVER_NAME, Invocation, Verb, pass_invocation
from reconciler.cli.output import show
from reconciler.cli.sections import LABEL, field_lines, history_section, section
from reconciler.cli.servers import context_size, is_taken_over, restart_count, running_spec
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean, paint, width
from reconciler.core.durations import describe_duration
from reconciler.core.source import GIT
from reconciler.installation import is_controller_running
from reconciler.store import read

EVENTS, RESTARTS = 10, 5
"""How many of the newest are shown."""
TAIL = 5
"""Lines of the log of the last instance that ended unasked."""
POLICIES = ("probes", "restart", "stop", "suspend")
"""Fields of a spec that are in force at once, whatever the process was started with."""


@dataclass(frozen=True)
class _Known:
    """What the database says of a server."""

    item: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    restarts: Sequence[Mapping[str, Any]]
    launch: Mapping[str, Any] | None
    state: Path
    now: float
    controller: bool
    """Whether one runs."""

    @property
    def status(self) -> Mapping[str, Any]:
        return self.item["status"]  # type: ignore[no-any-return]


def _named(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """There is one source only."""
    if value is None and context.params.get("resource") not in ("source", "sources"):
        raise click.MissingParameter(ctx=context, param=parameter, param_hint="'NAME'")
    return value or GIT


@click.command(
    cls=Verb,
    short_help="Show all that is known of a server or a source.",
    examples=[
        ("reconciler describe server coder", "settings, conditions, restarts, events, and what to do"),
        ("reconciler describe source", "the Git source: its revision and its errors"),
    ],
)
@click.argument("resource", metavar="server|source")
@click.argument("name", type=SERVER_NAME, required=False, callback=_named)
@pass_invocation
def describe(invocation: Invocation, resource: str, name: str) -> None:
    """Show all that is known of a server or a source, and what can be done when it is in trouble.

    NAME is git for a source where it is left out.
    """
    if resource in ("source", "sources"):
        from reconciler.cli.describe_source import source_lines  # noqa: PLC0415 - seldom needed

        show("\n".join(source_lines(invocation.state_folder(), name)))
        return
    if resource not in ("server", "servers"):
        message = f"'{resource}' cannot be described"
        hint = "there are: reconciler describe server NAME, reconciler describe source git"
        raise Failure(message, hint, exit_code=BAD_INPUT)
    state = invocation.state_folder()
    controller = is_controller_running(state)
    try:
        with opened(state, warns=True) as db:
            refuse_unknown([name], read.names(db))
            now = time.time()
            (item,) = loading.servers(db, [name], now=now, controller=controller)
            restarts = read.restarts(db, [name])
            launch = read.launch(db, restarts[-1]["uid"]) if restarts else None
            events = read.events(db, [name], limit=EVENTS)
            known = _Known(item, events, restarts, launch, state, now, controller)
    except read.ReadError as error:
        raise Failure(str(error)) from None
    show("\n".join(_lines(known)))


def _lines(known: _Known) -> Iterable[str]:
    yield from _head(known)
    yield from section("Spec", _tree(known.item["spec"], known.status.get("fromDefaults", {})))
    heading = "Adopted, and not as declared" if _is_adopted(known) else "Runs on an older spec"
    yield from section(heading, _differences(running_spec(known.item), known.item["spec"]))
    yield from section("Conditions", _conditions(known))
    yield from section("Instance", _instance(known))
    yield from section("Models", [clean(_model(model)) for model in known.status["models"]])
    yield from section("Launch of the last instance", _launch(known))
    events = [event_row(one, known.now) for one in known.events]
    yield from section("Events", history_section(EVENT_HEADERS, events))
    starts = [restart_row(one, known.now) for one in known.restarts[-RESTARTS:]]
    yield from section("Restarts", history_section(RESTART_HEADERS, starts))
    yield from section("Last lines of its last log", _tail(known))
    yield from field_lines([("Log", _log(known))])
    yield from field_lines(advice(known.item, known.restarts, controller=known.controller))


def _head(known: _Known) -> Iterable[str]:
    metadata, status = known.item["metadata"], known.status
    source = metadata.get("source")
    declared = f"{source['file']}:{source['line']}, generation {status['generation']}" if source else "never accepted"
    yield from field_lines([("Name", metadata["name"])])
    yield f"{'Phase:':<{LABEL}} {paint(status['phase'], status['phase'])}"
    yield from field_lines(
        [
            ("Message", loading.message_of(status)),
            ("Declared in", declared),
            ("Labels", _pairs(metadata["labels"])),
            ("Annotations", _pairs(metadata["annotations"])),
            ("Restarts", restart_count(status, known.now)),
            ("Last error", status["lastError"]),
        ]
    )


def _pairs(mapping: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in mapping.items())


def _tree(value: Mapping[str, Any], defaults: Mapping[str, str], path: str = "spec", indent: str = "") -> Iterable[str]:
    """A spec as it is in force, one field a line, with the names of the `defaults` that fields come from."""
    for key, found in value.items():
        place = f"{path}.{key}"
        source = f"   (from LlamaServerDefaults {clean(defaults[place])})" if place in defaults else ""
        if isinstance(found, Mapping) and found:
            yield f"{indent}{clean(key)}:{source}"
            yield from _tree(found, defaults, place, indent + "  ")
        elif isinstance(found, list):
            yield f"{indent}{clean(key)}: [{', '.join(clean(_scalar(one)) for one in found)}]{source}"
        else:
            yield f"{indent}{clean(key)}: {clean(_scalar(found))}{source}"


def _differences(runs: Mapping[str, Any], declared: Mapping[str, Any]) -> list[str]:
    """What the process was started with, where another is declared."""
    ours, theirs = (dict(_leaves({k: v for k, v in spec.items() if k not in POLICIES})) for spec in (runs, declared))
    return [
        f"{clean(path)}: {clean(ours.get(path, '(unset)'))} (declared: {clean(theirs.get(path, '(unset)'))})"
        for path in sorted({*ours, *theirs})
        if ours.get(path) != theirs.get(path)
    ]


def _leaves(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, found in value.items():
        if isinstance(found, Mapping) and found:
            yield from _leaves(found, f"{above}{key}.")
        else:
            yield f"{above}{key}", _scalar(found)


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _conditions(known: _Known) -> list[str]:
    found = known.status["conditions"]
    rows = [[c["type"], c["status"], c["reason"], age(c["lastTransitionTime"], known.now), c["message"]] for c in found]
    return history_section(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)


def _instance(known: _Known) -> Iterable[str]:
    instance, spec = known.status["instance"], running_spec(known.item)
    if instance is None:
        return []
    effective = known.status["effective"] or {}
    host = spec.get("host", "127.0.0.1")
    address = f"http://{f'[{host}]' if ':' in host else host}:{instance['port']}"
    fields = [
        ("uid", instance["uid"]),
        ("pid", str(instance["pid"] or "not spawned yet")),
        ("address", address),
        ("taken over" if is_taken_over(known.status) else "started", _since(known.status)),
        ("ready", instance["readyAt"] or "not yet"),
        ("fingerprint", known.status["fingerprint"]),
        ("context", context_size(spec, known.status["effective"])),
        ("slots", str(effective.get("slots") or "")),
        ("gpu layers", str(effective.get("gpuLayers") or "")),
        ("unverified", effective.get("unverified", "")),
    ]
    room = None if (columns := width()) is None else columns - 2
    return [
        line for name, text in fields if text for line in fold_behind(f"{name + ':':<{LABEL - 2}} ", clean(text), room)
    ]


def _since(status: Mapping[str, Any]) -> str:
    ran = "; it ran before" if is_taken_over(status) else ""
    return f"{status['instance']['startedAt']}, {describe_duration(status['uptimeSeconds'])} ago{ran}"


def _model(model: Mapping[str, Any]) -> str:
    known = {"size": "bytes", "parameters": "parameters", "trainedContext": "tokens of trained context"}
    facts = [f"{model[key]:,} {unit}" for key, unit in known.items() if isinstance(model.get(key), int)]
    return ", ".join([str(model.get("id", "")), *facts])


def _launch(known: _Known) -> list[str]:
    """A line for a shell; secrets stand as references, which the shell resolves."""
    if not known.launch:
        return []
    variables = [f"{name}={_shell_value(value)}" for name, value in known.launch.get("env", {}).items()]
    return [clean(" ".join([*variables, shlex.join(known.launch["argv"])]))]


def _shell_value(value: Any) -> str:
    if not isinstance(value, Mapping):
        return shlex.quote(str(value))
    if "from_env" in value:
        return f'"${{{value["from_env"]}}}"'
    return f'"$(cat {shlex.quote(str(value.get("from_file", "")))})"'


def _tail(known: _Known) -> list[str]:
    """The end of the last log, where the end was nobody's wish."""
    ended = [start for start in known.restarts if start["endedAt"]]
    if not ended or ended[-1]["stopReason"] or known.status["instance"]:
        return []
    return [clean(line) for line in ended[-1]["logTail"].splitlines()[-TAIL:]]


def _is_adopted(known: _Known) -> bool:
    return bool(known.restarts) and known.restarts[-1]["adopted"] and not known.restarts[-1]["endedAt"]


def _log(known: _Known) -> str:
    if _is_adopted(known):
        return "it writes where whoever started it chose; the condition Adopted tells, if that is a file"
    return f"reconciler logs {known.item['metadata']['name']} -f   ({_log_path(known)})"


def _log_path(known: _Known) -> Path:
    folder = known.state / "logs" / str(known.item["metadata"]["name"])
    return folder / f"{known.restarts[-1]['uid']}.log" if known.restarts else folder
