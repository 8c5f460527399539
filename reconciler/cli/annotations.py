"""Findings as GitHub's workflow commands, which it shows beside the lines of a pull request.

A line of output that begins with `::` is a command to GitHub, one that has `##[` in it may be: with this format nothing
that a manifest says is printed otherwise than within a command, escaped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli.strict import Refusal
from reconciler.cli.terminal import clean
from reconciler.core.model import Document, Problem

TOLD = ("stop", "restart", "start")
"""Actions that are told, in their order: GitHub shows no more than ten notices of a step."""


def problem_line(problem: Problem, kind: str = "error") -> str:
    """An error that keeps the revision from being applied, or a warning, which does not."""
    message = f"{problem.field}: {problem.message}" if problem.field else problem.message
    title = "invalid manifest" if kind == "error" else "with another profile"
    return command(kind, message, title, problem.file, problem.line, problem.column)


def refusal_line(refusal: Refusal) -> str:
    """A server that would be blocked."""
    document = refusal.document
    title = f"{document.name}: refused by the policy"
    return command("error", refusal.message, title, document.file, refusal.line, refusal.column)


def change_lines(changes: Sequence[Mapping[str, Any]], documents: Mapping[str, Document]) -> list[str]:
    """What would happen to servers."""
    told = sorted((one for one in changes if one["action"] in TOLD), key=lambda one: TOLD.index(one["action"]))
    lines = []
    for change in told:
        document = documents.get(change["server"])
        place = (document.file, document.line) if document else ()
        lines.append(command("notice", change["reason"], f"{change['action']} {change['server']}", *place))
    return lines


def command(kind: str, message: str, title: str, file: str = "", line: int = 0, column: int = 0) -> str:
    """One workflow command; a place that is not known is left out."""
    places = {"file": file, "line": line or "", "col": column or "", "title": title}
    told = ",".join(f"{key}={_property(clean(str(value)))}" for key, value in places.items() if value)
    return f"::{kind} {told}::{_data(clean(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
