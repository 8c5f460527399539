"""Every way to end with another exit code than 0 says what to do."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import reconciler.cli.main
from reconciler.core.reasons import PLACES, filled
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling

PROGRAM = Path(reconciler.cli.main.__file__).parents[1]
RAISED = ("Failure", "ControllerEndedError", "say_error")
"""What takes a message and a hint. For a usage error main says `see: … --help`."""
WITHIN = re.compile(
    r": [a-z]+|`[^`]+`|\b(?:correct|give|name|write|make|mend|put|set|use|run|must|try|begin|start|see)\b"
)
"""How a text tells what to do: a command, or a sentence that asks for something."""
ELSEWHERE = {
    "read.ReadError": "store/read.py",
    "ReadError": "store/read.py",
    "NewerDatabaseError": "store/opening.py",
    "installation.NotFoundError": "installation.py",
    "HeldError": "controller/lock.py",
    "GitError": "gitops",
    "SettingsError": "settings.py",
}
"""Errors whose own text says what to do, and where those texts are."""
TOLD_BEFORE = {
    ("controller.py", "message"): "the controller's own words, which have theirs",
    ("sync.py", "clean(status['lastError'])"): "the words of a GitError",
}


class Refusal(NamedTuple):
    """A place where a verb gives up."""

    file: str
    line: int
    message: str
    """As it is written in the code."""
    text: str
    """What of it is known without running."""
    hint: bool
    caught: str
    """What error is passed on, where one is."""


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _static(node: ast.AST) -> str:
    return " ".join(str(one.value) for one in ast.walk(node) if isinstance(one, ast.Constant))


def _caught(tree: ast.AST, call: ast.Call) -> str:
    """The type of the handler that a call stands in, where it passes on what was caught."""
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and call in ast.walk(node)]
    if not handlers or handlers[-1].type is None or not re.search(r"\berror\b", ast.unparse(call.args[0])):
        return ""
    return ast.unparse(handlers[-1].type)


def refusals() -> Iterator[Refusal]:
    for path in sorted((PROGRAM / "cli").glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in RAISED and node.args:
                hints = [*node.args[1:2], *(one.value for one in node.keywords if one.arg == "hint")]
                given = any(not (isinstance(one, ast.Constant) and not one.value) for one in hints)
                message = node.args[0]
                yield Refusal(
                    path.name, node.lineno, ast.unparse(message), _static(message), given, _caught(tree, node)
                )


ALL = list(refusals())


def test_the_search_finds_them() -> None:
    assert len(ALL) > 80
    assert {one.file for one in ALL} >= {"failure.py", "applying.py", "requests.py", "editor.py", "main.py"}
    assert sum(one.hint for one in ALL) > 60


@pytest.mark.parametrize("refusal", ALL, ids=[f"{one.file}:{one.line}" for one in ALL])
def test_a_refusal_says_what_to_do(refusal: Refusal) -> None:
    if refusal.hint or (refusal.file, refusal.message) in TOLD_BEFORE:
        return
    told = refusal.caught in ELSEWHERE or "read.explain" in refusal.message or WITHIN.search(refusal.text)
    assert told, f"{refusal.message}: give a hint"


def _raised(error: str, place: Path) -> Iterator[tuple[str, str]]:
    """The texts with which an error is raised."""
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    for path in files:
        raised = [node.exc for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)]
        for call in raised:
            if not isinstance(call, ast.Call) or _name(call.func) != error.rpartition(".")[2] or not call.args:
                continue
            message = call.args[-1]
            if text := "" if isinstance(message, ast.Name | ast.Call) else _texts(message):
                yield f"{path.name}:{call.lineno}", text


def _texts(message: ast.expr) -> str:
    """With an x for what is put in; a variable that is put in may be the advice itself."""
    if isinstance(message, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"<{ast.unparse(part)}>" for part in message.values
        )
    return _static(message)


PASSED_ON = [
    (place, text)
    for error, where in sorted(ELSEWHERE.items())
    for place, text in _raised(error, PROGRAM / where)
    if error != "ReadError"
]
PUT_IN = re.compile(r"<\{?.*(?:advice|remedy|explain|why|hint|error|said|told).*\}?>")
"""Advice that is made elsewhere."""


@pytest.mark.parametrize(("place", "text"), PASSED_ON, ids=[place for place, _ in PASSED_ON])
def test_an_error_that_is_passed_on_says_what_to_do(place: str, text: str) -> None:
    assert WITHIN.search(text) or PUT_IN.search(text), f"{place}: {text}"


def test_those_were_found() -> None:
    assert len(PASSED_ON) > 10


def _ends_badly(function: ast.FunctionDef) -> bool:
    """Whether it returns, or exits with, a code other than 0 by itself."""
    codes = [
        node.value if isinstance(node, ast.Return) else node.args[0]
        for node in ast.walk(function)
        if (isinstance(node, ast.Return) and node.value is not None)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit" and node.args)
    ]
    names = [name for code in codes if code is not None for name in _alternatives(code)]
    return any(isinstance(name, ast.Name) and name.id in CODES for name in names)


def _alternatives(code: ast.expr) -> Iterator[ast.expr]:
    if isinstance(code, ast.IfExp):
        yield from (one for part in (code.body, code.orelse) for one in _alternatives(part))
    elif isinstance(code, ast.BoolOp):
        yield from (one for part in code.values for one in _alternatives(part))
    else:
        yield code


CODES = ("FAILED", "BAD_INPUT")
TELLING = {
    "say_error",
    "conclude",
    "print_problems",
    "print_preview",
    "show_diff",
    "show_verdicts",
    "tell",
    "format_message",
    "show",
}
TOLD_BY = {
    ("follow.py", "conclude"): "the line of each server that failed, tell_troubles, and a hint",
    ("validating.py", "validate"): "each error with its place",
    ("applying.py", "_wait"): "conclude, and the errors that _tell has printed",
}


@pytest.mark.parametrize(
    ("file", "function"),
    [
        (path.name, node)
        for path in sorted((PROGRAM / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and _ends_badly(node)
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_function_that_ends_with_a_code_tells_why(file: str, function: ast.FunctionDef) -> None:
    called = {_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
    assert called & TELLING or (file, function.name) in TOLD_BY, f"{file}: {function.name} says nothing"


# ---------------------------------------------------------------- as it is seen

MISTAKES = (
    ("get", "srvers"),
    ("get", "servers", "nobody"),
    ("get", "servers", "-l", "=="),
    ("get", "servers", "-l", "a in b"),
    ("get", "servers", "--field-selector", "status.nope=1"),
    ("get", "servers", "--sort-by", "nope"),
    ("describe", "server", "nobody"),
    ("describe", "nonsense", "x"),
    ("explain", "nonsense"),
    ("explain", "PortInUs"),
    ("logs", "nobody"),
    ("logs", "coder", "--previous", "--follow"),
    ("restart",),
    ("restart", "nobody"),
    ("restart", "coder", "--all"),
    ("stop", "-l", "tier=none"),
    ("start", "NOBODY"),
    ("set", "coder"),
    ("set", "coder", "ctx=lots"),
    ("set", "coder", "cxt=1"),
    ("set", "nobody", "ctx=1"),
    ("unset", "coder", "nonsense"),
    ("unset", "coder", "ctx=1"),
    ("apply", "-f", "nowhere.yaml"),
    ("apply", "nobody"),
    ("diff", "-f", "nowhere.yaml"),
    ("validate", "nowhere.yaml"),
    ("wait", "coder", "--for=phase=Nope", "--timeout", "0s"),
    ("wait", "coder", "--timeout", "soon"),
    ("wait", "nobody"),
    ("events", "--reason", "Nonsense"),
    ("events", "--for", "server/nobody"),
    ("rollout", "history", "nobody"),
    ("rollback", "nobody"),
    ("profile", "use", "nobody"),
    ("delete", "nobody"),
    ("create", "server", "x"),
    ("ensure", "nobody"),
    ("top", "nobody"),
    ("models", "--nonsense"),
    ("sync",),
    ("suspend", "nobody"),
    ("adopt", "nobody"),
    ("nonsense",),
    ("get", "servers", "--state", "/nowhere"),
    ("get", "servers", "--config", "/nowhere.toml"),
)


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_answered_with_what_to_do(
    filling: Filling, call: Call, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    filling.ready("coder")
    called = call(*arguments)
    assert called.code in (1, 2), called
    lines = called.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors, "nothing is said"
    hints = [line for line in lines if line.startswith("hint: ")]
    assert hints or WITHIN.search(errors[-1]), lines
    assert "Traceback" not in called.err


# ---------------------------------------------------------------- what is told to be typed


def _told_commands() -> list[str]:
    """Each command of all that is said of reasons, about the server coder."""
    ways = [way for reasons in PLACES.values() for reason in reasons for way in reason.do]
    found = {command for way in ways for command in re.findall(r"`reconciler ([^`]+)`", filled(way, server="coder"))}
    return sorted(command for command in found if command.partition(" ")[0] not in ("run", "doctor", "top"))


def _is_about_another_place(command: str) -> bool:
    """It is told where there is a Git source, or a profile that is chosen."""
    return command.endswith((" git", " NAME")) or command in ("sync", "describe source git")


@pytest.mark.parametrize("command", _told_commands())
def test_a_command_that_is_told_of_a_reason_does_something(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    document = {"apiVersion": "llama.reconciler/v1alpha1", "kind": "LlamaServer", "metadata": {"name": "coder"}}
    Path("manifests").mkdir()
    Path("models").mkdir()
    Path("manifests/coder.yaml").write_text(json.dumps({**document, "spec": {"model": "tiny.gguf", "suspend": True}}))
    filling.ready("coder")
    waits = ["--no-wait"] if command.split(maxsplit=1)[0] in ("restart", "start", "stop", "adopt", "apply") else []
    called = call(*shlex.split(command), *waits)
    assert called.code != 2 or _is_about_another_place(command), called
    assert "unexpected" not in called.err
