"""What stands where on the command line: each argument and option with what completes it."""

from collections.abc import Iterator, Mapping

from reconciler.cli import completing as names
from reconciler.cli import completing_fields as fields
from reconciler.cli.completing import Asked, Completer, Word

FILE, FOLDER = Word("", kind="file"), Word("", kind="dir")
SHELLS = ("bash", "zsh", "fish")
DURATIONS = ("30s", "1m", "5m", "10m", "1h")


def _models(asked: Asked) -> Iterator[Word]:
    """The models of the models folder; files where none of them fits."""
    found = [file for file in fields.model_files(asked) if file.startswith(asked.begun)]
    yield from map(Word, found)
    if not found:
        yield FILE


def _one_of(*words: str) -> Completer:
    return lambda asked: () if asked.given else map(Word, words)


def _files(asked: Asked) -> Iterator[Word]:
    del asked
    yield FILE


def _folders(asked: Asked) -> Iterator[Word]:
    del asked
    yield FOLDER


def _durations(asked: Asked) -> Iterator[Word]:
    """Some, to show how they are written."""
    del asked
    yield from map(Word, DURATIONS)


ARGUMENTS: Mapping[str, Completer] = {
    **dict.fromkeys(("apply", "logs", "restart", "stop", "start", "adopt", "wait", "top"), names.servers),
    **dict.fromkeys(("ensure", "rollback", "rollout history"), names.one_server),
    **dict.fromkeys(("suspend", "resume"), names.servers_and_source),
    "get": names.listed,
    "describe": names.described,
    "edit": names.one_target,
    "delete": names.targets,
    "set": fields.assignments,
    "unset": fields.present_fields,
    "explain": fields.explained,
    "profile use": names.profiles,
    "create server": lambda _: (),
    "validate": _files,
    "completion": _one_of(*SHELLS),
}
"""What the arguments of each verb are, by the verb."""
OPTIONS: Mapping[str, Completer] = {
    **dict.fromkeys(("--selector", "-l"), fields.labels),
    "--field-selector": fields.selected_fields,
    "--sort-by": fields.sort_keys,
    "top --sort-by": fields.usage_keys,
    "--timeout": _durations,
    "--since": _durations,
    **dict.fromkeys(("apply -f", "apply --filename", "diff -f", "diff --filename"), _files),
    "--from-model": _models,
    "--model": _models,
    "--set": fields.fields_of_servers,
    "--config": _files,
    **dict.fromkeys(("--state", "--manifests", "--models"), _folders),
    "wait --for": fields.goals,
    "events --for": names.event_objects,
    "events --reason": fields.reasons,
    "rollback --to": fields.generations,
}
"""What the values of options are, by the option; where verbs differ, with the verb before it."""
FLAGS = frozenset(
    {"-q", "--quiet", "--debug", "--dry-run", "--all", "-w", "--watch", "--wait", "--no-wait", "--follow", "--network"}
)
"""Options that take no value, whatever the verb."""
