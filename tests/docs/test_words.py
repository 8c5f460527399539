"""Every word that the program shows of a server is explained."""

import ast
import re
from collections.abc import Iterator

import pytest

from reconciler.api import internal
from reconciler.cli.reasons import KNOWN
from reconciler.core.causes import CAUSES
from reconciler.core.history import StopReason, Trigger
from reconciler.core.model import Phase
from reconciler.core.reasons import MENDED, PLACES, UNKNOWN, filled
from reconciler.runtimes.host import MARKS
from tests.docs.pages import ROOT, blocks

ROOMS = ("core", "engines", "controller", "store", "gitops")
WORD = re.compile(r"(?:[A-Z][a-z]+){1,4}")
"""How reasons, triggers and diagnoses are written."""
NOT_SHOWN = {
    "Host Connection Authorization": "headers of HTTP",
    "Progressing Reconciled True False": "conditions and their values",
    "Always Never IfMatching StopFirst StartFirst": "policies",
    "Refused Failing Stranger Ok": "what a probe heard",
    "Normal Warning": "types of events",
    "Retry World Edit": "what can mend a cause",
    "LlamaServer LlamaServerDefaults Profile Event": "kinds of documents",
    "Acceptance Beside Seen Template Argv Blob Cache Database Engine Migrations Tree": "names of types",
    "Explanation Facts": "names of types too",
}
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
PHASES = (ROOT / "docs" / "reference" / "phases.md").read_text()


def _texts(tree: ast.AST) -> Iterator[str]:
    """Text values in code; neither docstrings nor types in quotes."""
    silent = {
        id(part)
        for node in ast.walk(tree)
        for place in (
            [node.annotation] if isinstance(node, ast.AnnAssign | ast.arg) else [],
            [node.returns] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else [],
            [node] if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else [],
        )
        for top in place
        if top is not None
        for part in ast.walk(top)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value


def words_of_the_program() -> set[str]:
    found = {
        text
        for room in ROOMS
        for path in (ROOT / "reconciler" / room).rglob("*.py")
        if path.parent.name != "reasons"  # where they are explained
        for text in _texts(ast.parse(path.read_text()))
        if WORD.fullmatch(text)
    }
    hidden = {word for words in NOT_SHOWN for word in words.split()}
    return (found | {*map(str, StopReason), *map(str, Trigger), *CAUSES}) - hidden - {*map(str, Phase)}


def test_the_search_finds_what_is_known() -> None:
    assert words_of_the_program() >= {"ModelMissing", "GateShut", "RestartsExhausted", "Adopted", "ManifestsHeld"}
    assert len(words_of_the_program()) > 50


@pytest.mark.parametrize("word", sorted(words_of_the_program()))
def test_a_word_is_explained(word: str) -> None:
    assert f"`{word}`" in PAGE, f"explain `{word}` in docs/troubleshooting.md"


def test_the_reasons_that_can_be_asked_for_are_those_of_the_program() -> None:
    found = words_of_the_program() | {*map(str, Phase)}
    assert not found ^ KNOWN, "bring reconciler/core/reasons up to date"


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_diagnosis_stands_with_what_the_program_says_of_it(cause: str) -> None:
    section = PAGE.partition("## Why it ended")[2].partition("\n## ")[0]
    (row,) = (line for line in section.splitlines() if line.startswith(f"| `{cause}` |"))
    (told,) = (one for one in PLACES["why it ended"] if one.word == cause)
    assert filled(row).endswith(f"| {MENDED[told.mends].capitalize()}. | {filled(' '.join(told.do))} |")


def test_no_placeholder_is_left_in_the_page() -> None:
    assert [name for name in UNKNOWN if f"{{{name}}}" in PAGE] == []


def test_nothing_is_explained_that_does_not_exist() -> None:
    explained = {
        word
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`([^`]+)`", line.split("|")[1])
        if WORD.fullmatch(word)
    }
    assert explained <= words_of_the_program() | {*map(str, Phase)}


def test_every_phase_is_in_the_table_and_in_the_diagram() -> None:
    (diagram,) = blocks("mermaid", ROOT / "docs" / "reference" / "phases.md")
    drawn = {word for line in diagram.text.splitlines() for word in re.findall(r"\b[A-Z]\w+(?=\s*(?:-->|:))", line)}
    assert drawn == {*map(str, Phase)}
    assert {
        line.split("`")[1] for line in PHASES.splitlines() if line.startswith("| `") and line.count("|") == 4
    } >= drawn


def test_every_mark_and_every_route_has_its_row() -> None:
    state, socket = ((ROOT / "docs" / "reference" / name).read_text() for name in ("state.md", "socket.md"))
    assert {line.split("`")[1] for line in state.splitlines() if line.startswith("| `RECONCILER_")} == set(MARKS)
    routes = internal.routes(None)  # type: ignore[arg-type]
    served = {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert {line.split("`")[1] for line in socket.splitlines() if line.startswith("| `")} == served
