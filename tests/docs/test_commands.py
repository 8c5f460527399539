"""Each `reconciler …` in the documents is a command line that the program understands."""

import click
import pytest

from reconciler.cli.main import VERBS
from tests.cli.pasted import parse
from tests.docs.pages import reconciler_commands

COMMANDS = reconciler_commands()


def test_the_documents_show_every_verb() -> None:
    assert {word for _, arguments in COMMANDS for word in arguments} >= set(VERBS)


@pytest.mark.parametrize(("place", "arguments"), COMMANDS, ids=[f"{p}-{' '.join(a)}" for p, a in COMMANDS])
def test_it_is_understood(place: str, arguments: list[str]) -> None:
    try:
        parse(arguments)
    except click.UsageError as error:
        pytest.fail(f"{place}: reconciler {' '.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("line", ["gte servers", "get servers --frobnicate", "logs", "describe server", "stop --al"])
def test_what_is_wrong_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line.split())
