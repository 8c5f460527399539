"""The commands that the dashboard tells people to type."""

import re
from pathlib import Path

import pytest
from click import Context

from reconciler.api.pages import STATIC
from reconciler.cli.main import cli

COMMAND = re.compile(r"(?<=[\"`>: ])reconciler ([a-z]+)(?: (--[a-z-]+))?")


def commands(path: Path) -> set[tuple[str, str]]:
    """Verbs with their first options, of all lines but comments."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(("//", "*", "/*"))]
    return {(found[1], found[2] or "") for line in lines for found in COMMAND.finditer(line)}


SHOWN = sorted(set().union(*map(commands, [STATIC / "index.html", *STATIC.glob("js/**/*.js")])))


@pytest.mark.parametrize(("verb", "option"), SHOWN)
def test_it_is_one_of_ours(verb: str, option: str) -> None:
    command = cli.get_command(Context(cli), verb)
    assert command is not None
    assert not option or any(option in parameter.opts for parameter in command.params)


def test_they_are_found() -> None:
    assert ("ui", "--print") in SHOWN
