"""What the command line asks of the controller, on the Unix socket alone; it may change with any version."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.api.controller import Controller
from reconciler.core.refusals import BadRevisionError, NoSourceError, UnknownServersError
from reconciler.store.trouble import StateUnwritableError

KINDS = frozenset({"stop", "start", "restart", "primary", "adopt", "prune", "profile"})
MOST_BODY = 8 * 1024 * 1024


_Route = tuple[str, Callable[[Request], Awaitable[Response]], str]
"""Path, endpoint, method."""


Handler = Callable[[Request, Exception], Awaitable[Response]]


class BadRequestError(Exception):
    """The body is not what the route takes."""


def routes(controller: Controller) -> list[Route]:
    """The routes; see docs/reference/socket.md."""
    found = (*_server_routes(controller), *_source_routes(controller))
    return [Route(path, endpoint, methods=[method]) for path, endpoint, method in found]


def handlers() -> Mapping[type[Exception], Handler]:
    """How what they raise is answered: `{"error": …}`."""
    return {
        BadRequestError: _bad_request,
        BadRevisionError: _bad_request,
        UnknownServersError: _unknown,
        NoSourceError: _no_source,
        StateUnwritableError: _unwritable,
        HTTPException: _http_error,
        Exception: _failed,
    }


def _server_routes(controller: Controller) -> list[_Route]:
    """What is asked of the controller and of servers."""

    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", **controller.describe(), "dashboard": controller.served()})

    async def ui_code(_request: Request) -> JSONResponse:
        served = controller.served()
        # Where it is served nowhere there is no token either, and none is made.
        return JSONResponse({**served, "code": controller.tokens.new_code() if served["url"] else ""})

    async def database(_request: Request) -> Response:
        return Response(controller.database(), media_type="application/vnd.sqlite3")

    async def reconcile(_request: Request) -> JSONResponse:
        return JSONResponse(await controller.reconcile())

    async def requests(request: Request) -> JSONResponse:
        return JSONResponse({"requests": await controller.request(*_asked(await _body(request)))})

    async def preview(request: Request) -> JSONResponse:
        return JSONResponse(await controller.preview(*_previewed(await _body(request))))

    return [
        ("/healthz", healthz, "GET"),
        ("/database", database, "GET"),
        ("/ui-code", ui_code, "POST"),
        ("/reconcile", reconcile, "POST"),
        ("/requests", requests, "POST"),
        ("/preview", preview, "POST"),
    ]


def _source_routes(controller: Controller) -> list[_Route]:
    """What is asked of sources. How a look at a remote went stands in the source's item, and is no HTTP error."""

    async def sync(_request: Request) -> JSONResponse:
        return JSONResponse({"source": await controller.sync()})

    async def suspend(request: Request) -> JSONResponse:
        return JSONResponse({"source": await controller.suspend_source(request.path_params["name"], True)})

    async def resume(request: Request) -> JSONResponse:
        return JSONResponse({"source": await controller.suspend_source(request.path_params["name"], False)})

    return [
        ("/sync", sync, "POST"),
        ("/sources/{name}/suspend", suspend, "POST"),
        ("/sources/{name}/resume", resume, "POST"),
    ]


async def _body(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BODY:
            raise BadRequestError(f"the body is larger than {MOST_BODY} bytes")
    try:
        body = json.loads(bytes(raw) or b"{}")
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequestError("expected a JSON object")
    return body


def _asked(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    """What is asked for, and of which servers."""
    kind, servers = body.get("kind"), body.get("servers")
    is_known = isinstance(kind, str) and kind in KINDS
    if is_known and isinstance(servers, list) and all(isinstance(name, str) for name in servers):
        return str(kind), servers
    raise BadRequestError(f"expected kind (one of {', '.join(sorted(KINDS))}) and servers (a list of names)")


def _previewed(body: Mapping[str, Any]) -> tuple[list[dict[str, str]], str | None]:
    """The documents to compare with, and the revision that counts as the one in force."""
    documents, against = body.get("documents", []), body.get("against")
    if not isinstance(documents, list) or not all(_is_text_of_file(item) for item in documents):
        raise BadRequestError("expected documents: a list of {file, text}")
    if against is not None and not (isinstance(against, str) and against):
        raise BadRequestError("expected against: a branch, tag or commit")
    return documents, against


def _is_text_of_file(item: object) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("without", ""), str):
        return False
    return isinstance(item.get("file"), str) and isinstance(item.get("text"), str)


async def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse({"error": message}, status_code=error.status_code, headers=error.headers)


async def _failed(_request: Request, error: Exception) -> JSONResponse:
    """Answered, and then raised again: the controller's log has the trace."""
    return JSONResponse({"error": f"the controller failed: {type(error).__name__}: {error}"}, status_code=500)


async def _unknown(_request: Request, error: Exception) -> JSONResponse:
    names = error.names if isinstance(error, UnknownServersError) else []
    return JSONResponse({"error": str(error), "unknown": names}, status_code=404)


async def _unwritable(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": f"nothing was done: {error}"}, status_code=503)


async def _no_source(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=404)
