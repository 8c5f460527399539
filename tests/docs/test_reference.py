"""The reference names each command, each of its flags, and each of its exit codes; every verb shows how it is used."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from reconciler.cli.invocation import Verb, VerbGroup, global_options
from reconciler.cli.main import VERBS, cli
from tests.cli.pasted import parse
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}


def verbs() -> Iterator[tuple[str, Verb]]:
    with click.Context(cli, info_name="reconciler") as context:
        for name in VERBS:
            command = cli.get_command(context, name)
            if isinstance(command, VerbGroup):
                yield from ((f"{name} {below}", _verb(each)) for below, each in command.commands.items())
            else:
                yield name, _verb(command)


def _verb(command: click.Command | None) -> Verb:
    assert isinstance(command, Verb)
    return command


ALL = dict(verbs())


@pytest.mark.parametrize("name", ALL)
def test_the_reference_has_the_command_with_its_flags_and_exit_codes(name: str) -> None:
    verb, section = ALL[name], SECTIONS[name]
    shared = {parameter.name for parameter in global_options()}
    for option in verb.params:
        if isinstance(option, click.Option) and option.name not in shared:
            for flag in (*option.opts, *option.secondary_opts):
                assert flag in section, flag
            assert option.help
            assert " ".join(option.help.split()) in section.replace(r"\|", "|")
    for code, text in verb.exit_codes.items():
        assert f"| {code} | {text} |" in section


@pytest.mark.parametrize("option", global_options(), ids=lambda option: str(option.name))
def test_the_reference_has_the_options_of_all(option: click.Option) -> None:
    assert all(flag in SECTIONS["Options of all commands"] for flag in option.opts)


@pytest.mark.parametrize("code", [0, 1, 2, 130, 141])
def test_the_reference_has_the_exit_codes_of_all(code: int) -> None:
    assert f"| {code} | " in PAGE.partition("## ")[0]


@pytest.mark.parametrize("name", ALL)
def test_every_verb_shows_examples_that_are_understood(name: str) -> None:
    verb = ALL[name]
    assert verb.examples
    for line, what in verb.examples:
        assert what
        found = re.findall(r"reconciler ((?:'[^']*'|[^|)<>'])+)", line)
        assert any(call.split()[: len(name.split())] == name.split() for call in found), line
        for call in found:
            parse(shlex.split(call))


@pytest.mark.parametrize("name", ALL)
def test_the_help_shows_examples_and_exit_codes(name: str) -> None:
    with click.Context(cli, info_name="reconciler") as above:
        shown = ALL[name].get_help(click.Context(ALL[name], info_name=name, parent=above))
    assert "Examples:" in shown
    assert "Exit codes:" in shown


def test_no_docstring_tells_exit_codes_a_second_time() -> None:
    assert [name for name, verb in ALL.items() if "exit code" in (verb.help or "").lower()] == []
