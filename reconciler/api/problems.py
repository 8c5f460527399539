"""Errors as RFC 9457 problem documents, in the three parts that every error here has."""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.api.internal import Handler
from reconciler.core.refusals import BadRevisionError, NoSourceError, UnknownServersError
from reconciler.store.trouble import StateUnwritableError


class ProblemError(Exception):
    """Answered as `application/problem+json`."""

    def __init__(self, status: int, reason: str, happened: str, do: str = "", **more: Any) -> None:
        """`reason` is a word such as `UnknownServer`; `do` says what to do, with a command; `more` are members."""
        super().__init__(happened)
        self.status = status
        self.reason = reason
        self.happened = happened
        self.do = do
        self.more = more


def problem(error: ProblemError, headers: Mapping[str, str] | None = None) -> Response:
    """Its document: `type`, `title`, `status`, `detail`, and ours: `reason`, `happened`, `tried`, `canDo`."""
    body = {
        "type": "about:blank",
        "title": error.reason,
        "status": error.status,
        "detail": error.happened,
        "reason": error.reason,
        "happened": error.happened,
        "tried": [],
        "canDo": [error.do] if error.do else [],
        **error.more,
    }
    return JSONResponse(body, status_code=error.status, headers=headers, media_type="application/problem+json")


def handlers() -> Mapping[Any, Handler]:
    """How what the public routes raise is answered."""
    kinds = (ProblemError, UnknownServersError, NoSourceError, BadRevisionError, StateUnwritableError, HTTPException)
    return {**dict.fromkeys(kinds, _answer), Exception: _answer}


async def _answer(_request: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return problem(error)
    if isinstance(error, HTTPException):
        return problem(ProblemError(error.status_code, "HTTPError", error.detail), error.headers)
    return problem(ProblemError(500, type(error).__name__, str(error)))
