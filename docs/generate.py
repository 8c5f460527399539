"""Writes the generated parts of these documents: `make docs`. With `--check` it only tells which are out of date."""
# ruff: noqa: INP001, T201 - a script

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from sqlite_utils import Database

from chaos import report
from reconciler.cli.invocation import Verb, global_options
from reconciler.cli.main import VERBS, cli
from reconciler.core.durations import format_duration
from reconciler.core.kinds import LlamaServerDefaults, Profile
from reconciler.core.reasons import MENDED, PLACES, UNKNOWN, Mends, Reason
from reconciler.core.spec import LlamaServer
from reconciler.manifests.described import described_schema
from reconciler.manifests.expected import words
from reconciler.manifests.schema import json_schema
from reconciler.settings import ENVIRONMENT, Settings
from reconciler.store.migrations import migrations

DOCS = Path(__file__).parent
_PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)

TABLES: Mapping[str, str] = {
    "meta": "facts: the installation's id, its last controller, what is wrong with the manifests as a whole",
    "documents": "what was last accepted of every manifest: `spec` as in force, `own` as written if that differs",
    "servers": "what is remembered of a server: counters, back-off, status. `record` holds all of it as JSON",
    "instances": "one row for each start: `row` holds its history as JSON, `launch` its command line without secrets",
    "events": "dated lines for people; the same one again within an hour is counted",
    "requests": "what people asked for; `done_at` is empty until it is done or taken back",
    "generations": "what was accepted of each document, the newest 20: `own` as written, `spec` with defaults in it",
    "sources": "what is remembered of a Git source: the revision in force, what waits, the last error; `row` is JSON",
    "ports": "ports given to servers with `port: auto`",
}
"""What each table of the database is for."""


# ---------------------------------------------------------------- fields of manifests and settings


def manifest_fields() -> str:
    """Every field of a server's manifest."""
    return _field_table(LlamaServer, json_schema(), ("metadata", "spec"))


def profile_fields() -> str:
    """Every field of a Profile's spec."""
    return _field_table(Profile, json_schema("Profile"), ("spec",))


def defaults_fields() -> str:
    """The fields of LlamaServerDefaults that are not a server's."""
    table = _field_table(LlamaServerDefaults, json_schema("LlamaServerDefaults"), ("spec",))
    return "\n".join(line for line in table.splitlines() if not line.startswith("| `spec.template."))


def settings_fields() -> str:
    """Every setting."""
    return _field_table(Settings, described_schema(Settings), tuple(Settings.model_fields))


def environment_variables() -> str:
    """Every variable that sets a setting."""
    return _table(("variable", "setting"), [(f"`{name}`", f"`{key}`") for name, key in ENVIRONMENT.items()])


def _field_table(model: type[BaseModel], schema: Mapping[str, Any], fields: Sequence[str]) -> str:
    rows = [row for field in fields for row in _rows(model, schema, schema, (field,))]
    return _table(("field", "value", "default", "meaning"), rows)


def _rows(
    model: type[BaseModel], root: Mapping[str, Any], parent: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[Sequence[str]]:
    field = parent["properties"][path[-1]]
    tables = _reference(field.get("items", {}))
    if reference := tables or _reference(field):
        section = root["$defs"][reference.rpartition("/")[2]]
        for name in section["properties"]:
            yield from _rows(model, root, section, (*path, 0, name) if tables else (*path, name))
        return
    default = "required" if path[-1] in parent.get("required", ()) else _default(field)
    named = ".".join(map(str, path)).replace(".0.", "[].")
    yield f"`{named}`", _value(words(model, path, None)), default, field.get("description", "")


def _value(words: str) -> str:
    """What may stand there; how durations look is said once, above the table."""
    return words.partition(" such as ")[0].replace("'", "`")


def _reference(field: Mapping[str, Any]) -> str:
    """The section that a field is, also one that may be missing; empty for a field that is none."""
    choices = [choice for choice in field.get("anyOf", (field,)) if choice.get("type") != "null"]
    return str(choices[0].get("$ref", "")) if len(choices) == 1 else ""


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if isinstance(value, float) and field.get("type") == "string":
        value = format_duration(value)
    if value in (None, "", []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# ---------------------------------------------------------------- the command line


def commands() -> str:
    """Every verb with its options, examples and exit codes, then the options of all."""
    with click.Context(cli, info_name="reconciler") as above:
        sections = [section for name in VERBS for section in _sections(above, cli.get_command(above, name), name)]
    return "\n\n".join([*sections, "## Options of all commands", _options(global_options(), click.Context(cli))])


def _sections(above: click.Context, command: click.Command | None, name: str) -> Iterator[str]:
    """A verb, or all that are below it."""
    assert command is not None
    context = click.Context(command, info_name=name, parent=above)
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            yield from _sections(context, each, below)
    else:
        yield _command(context)


def _command(context: click.Context) -> str:
    command, path = context.command, context.command_path
    assert isinstance(command, Verb)
    usage = " ".join(piece.replace("[OPTIONS]", "[OPTION]…") for piece in command.collect_usage_pieces(context))
    shared = {option.name for option in global_options()}
    own = [option for option in command.params if option.name not in shared]
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    parts = [f"## {path.removeprefix('reconciler ')}", f"```text\n{path} {usage}\n```", text, _options(own, context)]
    if command.examples:
        rows = [(f"`{line}`", text) for line, text in command.examples]
        parts.append(_table(("example", "what it does"), rows))
    parts.append(_table(("exit code", "meaning"), [(str(code), text) for code, text in command.exit_codes.items()]))
    return "\n\n".join(part for part in parts if part)


def _options(parameters: Sequence[click.Parameter], context: click.Context) -> str:
    records = [parameter.get_help_record(context) for parameter in parameters if isinstance(parameter, click.Option)]
    rows = [(f"`{record[0]}`", re.sub(r" {2,}", " ", record[1])) for record in records if record]
    return _table(("option", "meaning"), rows) if rows else ""


# ---------------------------------------------------------------- the database


def tables() -> str:
    """Every table with its columns."""
    db = Database(memory=True)
    migrations.apply(db)
    names = [name for name in db.table_names() if not name.startswith("_")]
    rows = [(f"`{name}`", ", ".join(column.name for column in db.table(name).columns), TABLES[name]) for name in names]
    return _table(("table", "columns", "holds"), rows)


# ---------------------------------------------------------------- reasons


def reasons(place: str) -> str:
    """The words of one place, with what they mean and what to do."""
    rows = [(f"`{one.word}`", _told(one.means), _way_out(one)) for one in PLACES[place]]
    return _table(("reason", "what it means", "what to do"), rows)


def ends() -> str:
    """The diagnoses."""
    found = PLACES["why it ended"]
    rows = [(f"`{one.word}`", _told(one.means), f"{MENDED[one.mends].capitalize()}.", _way_out(one)) for one in found]
    return _table(("diagnosis", "what it means", "whether a retry helps", "what to do"), rows)


def starts_and_stops() -> str:
    """Triggers, and the reasons of stops, which share words."""
    started, stopped = (
        {one.word: one.means for one in PLACES[f"why it was {what}"]} for what in ("started", "stopped")
    )
    rows = [(f"`{word}`", started.get(word, ""), stopped.get(word, "")) for word in {**started, **stopped}]
    return _table(("word", "started because", "stopped because"), rows)


def _way_out(reason: Reason) -> str:
    """What to do; where there is nothing to be done, why not."""
    nothing = {Mends.PASSES: ("It passes by itself.",), Mends.NOTHING: ("Nothing.",)}
    return _told(" ".join(reason.do or nothing.get(reason.mends, ())))


def _told(text: str) -> str:
    for name, stands_for in UNKNOWN.items():
        text = text.replace(f"{{{name}}}", stands_for)
    return text


# ---------------------------------------------------------------- writing


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(re.sub(r" +\|", " |", f"| {' | '.join(line)} |") for line in lines)


PARTS: Mapping[str, Callable[[], str]] = {
    "manifest-fields": manifest_fields,
    "profile-fields": profile_fields,
    "defaults-fields": defaults_fields,
    "settings-fields": settings_fields,
    "environment-variables": environment_variables,
    "commands": commands,
    "tables": tables,
    "reasons-starts": partial(reasons, "why it does not start"),
    "reasons-running": partial(reasons, "it runs, but not as the file says"),
    "reasons-waiting": partial(reasons, "it is there, but not Ready"),
    "reasons-well": partial(reasons, "how it is"),
    "reasons-ends": ends,
    "reasons-history": starts_and_stops,
    "reasons-sources": partial(reasons, "a source"),
    "reasons-synced": partial(reasons, "a source that is well"),
    "reasons-events": partial(reasons, "an event"),
    "reasons-state": partial(reasons, "an event of the state folder"),
    "reasons-refusals": partial(reasons, "an edit that is refused"),
    "corpus": report.corpus,
    "provoked-shares": report.provoked_shares,
    "provoked": report.provoked,
}
"""What stands between `<!-- generated: NAME -->` and `<!-- end -->`."""


def generated(text: str) -> str:
    """A page with its generated parts written anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found['name']]()}\n{found[3]}", text)


def main() -> None:
    """Write the pages, or with `--check` name those that are out of date and end with 1."""
    checking, stale = "--check" in sys.argv, []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            stale.append(page.relative_to(DOCS.parent))
            if not checking:
                page.write_text(new, encoding="utf-8")
    print(
        "\n".join(f"{'out of date' if '--check' in sys.argv else 'wrote'}: {page}" for page in stale) or "all current"
    )
    sys.exit(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    main()
