"""Errors as RFC 9457 problem documents, in the three parts that every error here has."""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from reconciler.api.controller import Controller
from reconciler.api.internal import Handler
from reconciler.core.refusals import BadRevisionError, EditRefusedError, NoSourceError, UnknownServersError
from reconciler.store.read import ReadError
from reconciler.store.trouble import StateUnwritableError

MEDIA_TYPE = "application/problem+json"
_HOST = re.compile(r"[\w.:\[\]-]{1,255}")
"""One that can be pasted into a shell."""
_LISTS = {"server": "servers", "profile": "profiles", "source": "sources", "default": "defaults"}
_GONE = 499
"""Nobody reads it."""


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
    return JSONResponse(body, status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def handlers(controller: Controller) -> Mapping[Any, Handler]:
    """How what the public routes raise is answered."""

    async def unknown(_request: Request, error: Exception) -> Response:
        assert isinstance(error, UnknownServersError)
        return problem(_unknown(error, controller.known_names() if error.what == "server" else error.known))

    async def known(_request: Request, error: Exception) -> Response:
        return problem(_known(error))

    kinds = (ProblemError, NoSourceError, BadRevisionError, StateUnwritableError, ReadError, EditRefusedError)
    own = {UnknownServersError: unknown, HTTPException: _http_error, ClientDisconnect: _gone, Exception: _failed}
    return {**dict.fromkeys(kinds, known), **own}


def _unknown(error: UnknownServersError, known: Collection[str]) -> ProblemError:
    name = error.names[0]
    near = difflib.get_close_matches(name, sorted(known), n=1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    reason = f"Unknown{error.what.capitalize()}"
    remedy = f"see which there are with: reconciler get {_LISTS.get(error.what, 'all')}"
    return ProblemError(404, reason, f"{error}{meant}", remedy, unknown=error.names, nearest=near[0] if near else None)


def _known(error: Exception) -> ProblemError:
    """What an error of the rooms below means to who asked."""
    match error:
        case ProblemError():
            return error
        case NoSourceError():
            return ProblemError(404, "UnknownSource", str(error), "see which there are with: reconciler get sources")
        case BadRevisionError():
            return ProblemError(400, "BadRevision", str(error))
        case EditRefusedError():
            return ProblemError(409, error.reason, error.happened, error.do, problems=error.problems)
        case StateUnwritableError():
            remedy = "find out what is in the way with: reconciler doctor"
            return ProblemError(503, "StateUnwritable", f"nothing was done: {error}", remedy)
        case _:
            return ProblemError(
                503, "StateUnreadable", str(error), "find out what is in the way with: reconciler doctor"
            )


async def _http_error(request: Request, error: Exception) -> Response:
    """Wrong addresses and methods, mostly."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.url.path[:200]}"
    reason = {404: "NoSuchRoute", 405: "MethodNotAllowed"}.get(error.status_code, "BadRequest")
    told = f"{asked}: {error.detail[:1].lower()}{error.detail[1:]}"
    return problem(ProblemError(error.status_code, reason, told, _see_routes(request)), error.headers)


def _see_routes(request: Request) -> str:
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        return "see what there is in docs/api.md"
    return f"see what there is with: curl -s http://{host}/api/v1"


async def _failed(request: Request, error: Exception) -> Response:
    """Answered, and then raised again: the controller's log has the trace, and whatever the error tells."""
    happened = f"the controller failed at {request.method} {request.url.path[:200]}: {type(error).__name__}"
    remedy = "its log has the whole of it; what else is wrong is told by: reconciler doctor"
    return problem(ProblemError(500, "ControllerFailed", happened, remedy))


async def _gone(_request: Request, _error: Exception) -> Response:
    """Whoever asked has hung up before all was said."""
    return Response(status_code=_GONE)
