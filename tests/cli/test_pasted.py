"""Each `reconciler …` that a message tells people to type is a command line that the program understands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import reconciler.cli.main
from tests.cli.pasted import commands, faults

PROGRAM = Path(reconciler.cli.main.__file__).parents[1]


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """All texts of some code but docstrings, with an x for what is put in."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.lineno, node.value


MESSAGES = [
    (f"{path.relative_to(PROGRAM)}:{line}", text)
    for path in sorted(PROGRAM.rglob("*.py"))
    for line, text in _texts(ast.parse(path.read_text()))
    if commands(text)
]


def test_the_search_finds_what_is_known() -> None:
    places = {place.partition(":")[0] for place, _ in MESSAGES}
    assert places >= {"cli/get.py", "core/guard.py", "core/reasons/ends.py", "store/read.py"}
    assert len(MESSAGES) > 20


@pytest.mark.parametrize(("place", "text"), MESSAGES, ids=[place for place, _ in MESSAGES])
def test_it_is_understood(place: str, text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hint: reconciler get servers, reconciler get events", [["get", "servers"], ["get", "events"]]),
        ("go on: reconciler apply, or reconciler run; then `reconciler logs a`.", [["apply"], ["run"], ["logs", "a"]]),
        ("used:\n  reconciler --state '/a b' get servers\n", [["--state", "/a b", "get", "servers"]]),
        ("See: reconciler logs coder. Then: reconciler restart coder", [["logs", "coder"], ["restart", "coder"]]),
        ("see `reconciler logs`, and the reconciler runs", []),
    ],
)
def test_commands_are_found_as_people_copy_them(text: str, found: list[list[str]]) -> None:
    assert commands(text) == found


@pytest.mark.parametrize(
    "text", ["hint: reconciler gte servers", ": reconciler logs", "`reconciler get servers | events`"]
)
def test_what_is_wrong_is_found(text: str) -> None:
    assert faults(text)
