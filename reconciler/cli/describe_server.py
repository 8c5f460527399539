"""`describe server`: all that is known of a server, for reading."""

import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli import loading
from reconciler.cli.asked import context_cell, device, gpu_layers_cell, slots_cell
from reconciler.cli.explanations import explanation_lines
from reconciler.cli.failure import refuse_unknown
from reconciler.cli.folding import fold_behind
from reconciler.cli.history import EVENT_HEADERS, age, event_row, told_starts
from reconciler.cli.sections import EVENTS, LABEL, field_lines, history_section, pairs, scalar, section, tree
from reconciler.cli.servers import is_taken_over, restart_count
from reconciler.cli.terminal import clean, paint, width
from reconciler.core.durations import describe_duration
from reconciler.installation import is_controller_running
from reconciler.runtimes.gpu import on_gpus
from reconciler.store import past, read
from reconciler.store.explained import explained
from reconciler.store.items import running_spec

if TYPE_CHECKING:
    from reconciler.core.rendering import Explanation

RESTARTS = 5
"""How many of the newest are shown."""
TAIL = 5
"""Lines of the log of the last instance that ended unasked."""
POLICIES = ("probes", "restart", "stop", "suspend")
"""Fields of a spec that are in force at once, whatever the process was started with."""


@dataclass(frozen=True)
class Known:
    """What the database says of a server."""

    item: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    restarts: Sequence[Mapping[str, Any]]
    launch: Mapping[str, Any] | None
    state: Path
    now: float
    controller: bool
    """Whether one runs."""
    explanation: "Explanation | None"
    """What is to be told where it is not well."""

    @property
    def status(self) -> Mapping[str, Any]:
        """Of the item."""
        return self.item["status"]  # type: ignore[no-any-return]


def known_of(db: sqlite3.Connection, state: Path, name: str) -> Known:
    """What is known of a server. Raises Failure for one that is not there, and ReadError."""
    controller, now = is_controller_running(state), time.time()
    refuse_unknown([name], read.names(db))
    (item,) = loading.servers(db, [name], now=now, controller=controller)
    restarts = past.restarts(db, [name])
    launch = past.launch(db, restarts[-1]["uid"]) if restarts else None
    events, explanation = (
        past.events(db, [name], limit=EVENTS),
        explained(db, item, controller=controller, on_gpu=on_gpus),
    )
    return Known(item, events, restarts, launch, state, now, controller, explanation)


def server_data(known: Known) -> dict[str, Any]:
    """The server as `get servers -o json` has it, with its newest events and restarts."""
    status = {**known.status, "explanation": known.explanation.data if known.explanation else None}
    history = {"events": list(known.events), "restarts": list(known.restarts[-RESTARTS:])}
    return {**known.item, "status": status, **history}


def server_lines(known: Known) -> Iterable[str]:
    """All of it, for people."""
    yield from _head(known)
    yield from section("Spec", tree(known.item["spec"], known.status.get("fromDefaults", {})))
    yield from section(_unlike(known), _differences(running_spec(known.item), known.item["spec"]))
    yield from section("Conditions", _conditions(known))
    yield from section("Instance", _instance(known))
    yield from section("Models", [clean(_model(model)) for model in known.status["models"]])
    yield from section("Launch of the last instance", _launch(known))
    events = [event_row(one, known.now) for one in known.events]
    yield from section("Events", history_section(EVENT_HEADERS, events))
    starts = told_starts(known.restarts[-RESTARTS:], known.now, runs=known.status["instance"] is not None)
    yield from section("Restarts", history_section(*starts))
    yield from section("Last lines of its last log", _tail(known))
    yield from field_lines([("Log", _log(known))])
    if known.explanation:
        yield from explanation_lines(known.explanation)


def _head(known: Known) -> Iterable[str]:
    metadata, status = known.item["metadata"], known.status
    source = metadata.get("source")
    declared = f"{source['file']}:{source['line']}, generation {status['generation']}" if source else "never accepted"
    yield from field_lines([("Name", metadata["name"])])
    yield f"{'Phase:':<{LABEL}} {paint(status['phase'], status['phase'])}"
    yield from field_lines(
        [
            ("Message", loading.message_of(status)),
            ("Declared in", declared),
            ("Labels", pairs(metadata["labels"])),
            ("Annotations", pairs(metadata["annotations"])),
            ("Restarts", restart_count(status, known.now)),
            ("Last error", "" if status["lastError"] in status["message"] else status["lastError"]),
        ]
    )


def _unlike(known: Known) -> str:
    """Why what runs is not what is declared."""
    if _is_adopted(known):
        return "Adopted, and not as declared"
    fallback = known.status.get("fallback") or {}
    return f"Runs on fallback step {fallback['step']}" if fallback.get("step") else "Runs on an older spec"


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
            yield f"{above}{key}", scalar(found)


def _conditions(known: Known) -> list[str]:
    found = known.status["conditions"]
    told = {known.status["message"], ""}
    rows = [
        [one["type"], one["status"], one["reason"], age(one["lastTransitionTime"], known.now), text]
        for one in found
        for text in ["" if one["message"] in told else one["message"]]
    ]
    return history_section(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)


def _instance(known: Known) -> Iterable[str]:
    instance, spec = known.status["instance"], running_spec(known.item)
    if instance is None:
        return []
    effective = known.status["effective"] or {}
    told_of_gpus = effective.get("gpuLayers") or (effective.get("device") and spec.get("gpuLayers") is not None)
    host = spec.get("host", "127.0.0.1")
    address = f"http://{f'[{host}]' if ':' in host else host}:{instance['port']}"
    fields = [
        ("uid", instance["uid"]),
        ("pid", str(instance["pid"] or "not spawned yet")),
        ("address", address),
        ("taken over" if is_taken_over(known.status) else "started", _since(known.status)),
        ("ready", instance["readyAt"] or "not yet"),
        ("fingerprint", known.status["fingerprint"]),
        ("context", context_cell(known.item)),
        ("slots", slots_cell(known.item) if effective.get("slots") else ""),
        ("gpu layers", gpu_layers_cell(known.item) if told_of_gpus else ""),
        ("device", device(effective)),
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


def _launch(known: Known) -> list[str]:
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


def _tail(known: Known) -> list[str]:
    """The end of the last log, where the end was nobody's wish."""
    ended = [start for start in known.restarts if start["endedAt"]]
    if not ended or ended[-1]["stopReason"] or known.status["instance"]:
        return []
    return [clean(line) for line in ended[-1]["logTail"].splitlines()[-TAIL:]]


def _is_adopted(known: Known) -> bool:
    return bool(known.restarts) and known.restarts[-1]["adopted"] and not known.restarts[-1]["endedAt"]


def _log(known: Known) -> str:
    if _is_adopted(known):
        return "it writes where whoever started it chose; the condition Adopted tells, if that is a file"
    return f"reconciler logs {known.item['metadata']['name']} -f   ({_log_path(known)})"


def _log_path(known: Known) -> Path:
    folder = known.state / "logs" / str(known.item["metadata"]["name"])
    return folder / f"{known.restarts[-1]['uid']}.log" if known.restarts else folder
