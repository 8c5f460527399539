"""docs/api.md tells of the routes that there are, and of no others."""

import json
import re
from collections.abc import Iterator

import pytest
from starlette.routing import Route

from reconciler.api.app import public_routes
from reconciler.api.log_stream import MOST
from reconciler.api.problems import ProblemError, problem
from reconciler.api.views import Views
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
_ROUTE = re.compile(r"\| `((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`")


def served() -> Iterator[str]:
    routes = public_routes(None, Views(None))  # type: ignore[arg-type]  # nobody asks them
    for route in routes:
        assert isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}:
            yield f"{method} {route.path.replace(':path}', '}')}"


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    told = _ROUTE.findall(PAGE)
    assert sorted(told) == sorted(served())


@pytest.mark.parametrize("kind", ["snapshot", "server", "serverGone", "event", "restart", "usage", "summary"])
def test_every_kind_of_message_is_told(kind: str) -> None:
    assert f"`{kind}`" in PAGE.partition("## The stream")[2].partition("\n## ")[0]


def test_a_problem_has_the_members_that_are_shown() -> None:
    shown = re.findall(r'^  "(\w+)":', PAGE.partition("```json")[2].partition("```")[0], re.MULTILINE)
    error = ProblemError(404, "UnknownServer", "no such server", "look", unknown=[], nearest=None)
    assert list(json.loads(bytes(problem(error).body))) == shown


def test_the_bounds_are_those_of_the_program() -> None:
    assert f"{MOST:,} at most" in PAGE
