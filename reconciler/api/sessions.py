"""One-time codes and sessions of the dashboard."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from reconciler.api.asked import asked_in
from reconciler.api.controller import Controller
from reconciler.api.guard import NEEDS
from reconciler.api.problems import ProblemError
from reconciler.api.tokens import Standing

MOST_CODE = 1024
"""Bytes of the body that has it."""
_OPEN = "open the dashboard with: reconciler ui"
_NONE_NEEDED = {"readsNeedToken": False, "actsNeedToken": False}
"""On the Unix socket."""


def routes(controller: Controller) -> list[BaseRoute]:
    """The routes."""

    async def begin(request: Request) -> JSONResponse:
        code = _code(await _begun(request))
        if not controller.tokens.take_code(code):
            happened = "this code is used up, or older than a minute"
            raise ProblemError(401, "CodeUsed", happened, "open the dashboard anew with: reconciler ui")
        token, expires_at = controller.tokens.session()
        return JSONResponse({"token": token, "expiresAt": expires_at})

    async def tell(request: Request) -> JSONResponse:
        token = asked_in(request.scope).token
        standing = controller.tokens.judge(token) if token else Standing.UNKNOWN
        is_good = standing is Standing.GOOD
        return JSONResponse(
            {
                "valid": is_good,
                "expired": standing is Standing.EXPIRED,
                "expiresAt": controller.tokens.expires_at(token) if is_good else None,
                **request.scope.get(NEEDS, _NONE_NEEDED),
            }
        )

    path = "/api/v1/session"
    return [Route(path, begin, methods=["POST"]), Route(path, tell, methods=["GET"])]


async def _begun(request: Request) -> bytes:
    """The body: anybody may send one, before any token. Raises ProblemError."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MOST_CODE:
            raise ProblemError(413, "BodyTooLarge", f"the body has more than {MOST_CODE} bytes", _OPEN)
    return raw


def _code(raw: bytes) -> str:
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, str):
        raise ProblemError(400, "BadRequest", 'the body is not {"code": …}', "open the dashboard with: reconciler ui")
    return code
