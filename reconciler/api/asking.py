"""What stands behind the question mark of a route."""

from typing import NamedTuple

from starlette.requests import Request

from reconciler.api.problems import ProblemError
from reconciler.core.label_selector import LabelSelector, label_selector

USUAL = 100
MOST = 1000
"""Events, or starts, in one answer."""
LONGEST_SELECTOR = 1024
"""Letters."""
MOST_REQUIREMENTS = 32
MOST_SERVERS = 100
"""Names in one question."""
_TRUE = {"true": True, "1": True, "": True, "false": False, "0": False}


class History(NamedTuple):
    """Which of what happened."""

    servers: list[str]
    """None: of all."""
    limit: int


def history_of(request: Request) -> History:
    """`?server=NAME&limit=N`, `server` perhaps more than once. Raises ProblemError."""
    servers = list(dict.fromkeys(request.query_params.getlist("server")))
    if len(servers) > MOST_SERVERS:
        raise _bad(f"server: {len(servers)} names; {MOST_SERVERS} may be asked for at once, or all, with none")
    return History(servers, number_of(request, "limit", USUAL, MOST))


def labels_of(request: Request) -> LabelSelector | None:
    """`?selector=tier=prod`, as `-l` takes it. Raises ProblemError."""
    text = request.query_params.get("selector")
    if not text:
        return None
    if len(text) > LONGEST_SELECTOR:
        raise _bad(f"selector: it has {len(text)} letters, and may have {LONGEST_SELECTOR}")
    try:
        selector = label_selector(text)
    except ValueError as error:
        raise _bad(f"selector: {error}") from None
    if len(selector.requirements) > MOST_REQUIREMENTS:
        raise _bad(f"selector: {len(selector.requirements)} requirements; there may be {MOST_REQUIREMENTS}")
    return selector


def number_of(request: Request, name: str, usual: int, most: int) -> int:
    """A number up to `most`. Raises ProblemError."""
    text = request.query_params.get(name)
    if text is None:
        return usual
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most:
        return int(text)
    raise _bad(f"{name}: expected a number from 0 to {most}, not '{text[:40]}'")


def is_asked(request: Request, name: str) -> bool:
    """`?name=true`. Raises ProblemError."""
    text = request.query_params.get(name, "false")
    if text not in _TRUE:
        raise _bad(f"{name}: expected true or false, not '{text[:40]}'")
    return _TRUE[text]


def _bad(happened: str) -> ProblemError:
    return ProblemError(400, "BadRequest", happened, "see what this route takes in docs/api.md")
