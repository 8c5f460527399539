"""Commands in messages: found as people would copy them, and parsed without being run."""

import re
import shlex

import click

from reconciler.cli.main import cli

_WORD = r"(?:'[^']*'|[^\s,;`)'\".:]|[.:](?=\S))+"
_COMMAND = re.compile(
    rf"(?:^  |(?<!Usage): |`|, (?:or )?|\bor )reconciler(?P<arguments>(?: {_WORD})+)(?P<end>`?)", re.MULTILINE
)


def commands(text: str) -> list[list[str]]:
    """The arguments of each `reconciler …` in a text. A bare verb in backticks is a mention, and not meant."""
    found = [(shlex.split(match["arguments"]), match["end"]) for match in _COMMAND.finditer(text)]
    return [arguments for arguments, end in found if not (end and len(arguments) == 1)]


def parse(arguments: list[str]) -> None:
    """Parse without running. Raises click.UsageError."""
    try:
        with cli.make_context("reconciler", list(arguments)) as context:
            name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
            assert command is not None
            command.make_context(name, rest, parent=context)
    except click.exceptions.Exit:
        pass  # --help and --version


def faults(text: str) -> list[str]:
    """What the program would answer to each command of a text that it does not understand."""
    wrong = []
    for arguments in commands(text):
        if {"|", "&&"}.intersection(arguments):
            wrong.append(f"reconciler {shlex.join(arguments)}: a shell would take it apart")
        try:
            parse(arguments)
        except click.UsageError as error:
            wrong.append(f"reconciler {shlex.join(arguments)}: {error.format_message()}")
    return wrong
