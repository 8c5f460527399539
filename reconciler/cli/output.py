"""`-o`: lists as JSON, YAML or names."""

import json
from collections.abc import Sequence
from typing import Any

import click

from reconciler.cli.invocation import Invocation
from reconciler.cli.terminal import clean, clean_json, clean_lines, is_terminal

API_VERSION = "llama.reconciler/v1alpha1"
FORMATS = ("wide", "json", "yaml", "name")
format_option = click.option("-o", "--output", type=click.Choice(FORMATS), help="Output format.  [default: a table]")


def list_of(kind: str, items: Sequence[Any]) -> dict[str, Any]:
    """The list as an object."""
    return {"apiVersion": API_VERSION, "kind": kind, "items": list(items)}


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON; on one line with `indent` None. What a terminal would take for a command stands escaped in it."""
    show(clean_json(json.dumps(value, indent=indent, ensure_ascii=False)))


def print_yaml(value: Any) -> None:
    """YAML, in the order of the keys."""
    _show_data(yaml_text(value))


def yaml_text(value: Any) -> str:
    """Data as YAML, in the order of the keys; without a line break at its end."""
    from io import StringIO  # noqa: PLC0415 - with the import below, which is slow

    from ruamel.yaml import YAML  # noqa: PLC0415

    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(value, text)
    return text.getvalue().rstrip("\n")


def _show_data(text: str) -> None:
    """As it is for programs; on a terminal without what that would take for commands."""
    show(clean_lines(text) if is_terminal() else text)


def show(text: str) -> None:
    """Lines whose content is clean already."""
    print(text, flush=True)


def is_quiet() -> bool:
    """Whether `--quiet` was given."""
    context = click.get_current_context(silent=True)
    invocation = context.find_object(Invocation) if context else None
    return invocation is not None and invocation.quiet


def say(text: str, *, err: bool = False) -> None:
    """A note, a hint or a step of progress, clean already: what `--quiet` leaves out."""
    if not is_quiet():
        click.echo(text, err=err)


def print_problems(texts: Sequence[str]) -> None:
    """One line each, on stderr."""
    for text in texts:
        click.echo(clean(text), err=True)


def plural(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
