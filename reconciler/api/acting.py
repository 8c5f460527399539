"""What acts: `POST`, `PUT`, `PATCH` and `DELETE` below `/api/v1`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api import editing_routes
from reconciler.api.bodies import bad_request, flag, nothing_of, object_of
from reconciler.api.controller import Controller
from reconciler.api.refusing import told
from reconciler.api.views import Views

ASKED = ("restart", "stop", "start", "adopt")
"""What is asked of the controller; the others are edits."""
_RUN = frozenset({"restart", "start", "primary", "adopt"})

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(controller: Controller, views: Views) -> list[BaseRoute]:  # noqa: ARG001 - as the others' signatures
    """The routes."""
    found = (*_server_routes(controller), *_source_routes(controller), *editing_routes.routes(controller))
    return [Route(path, told(endpoint), methods=[method]) for method, path, endpoint in found]


def _server_routes(controller: Controller) -> list[tuple[str, str, Endpoint]]:
    def asking(verb: str) -> Endpoint:
        async def ask(request: Request) -> Response:
            body = await object_of(request)
            kind = _kind(verb, body)
            name = request.path_params["name"]
            if kind in _RUN:
                controller.refuse_resting(name, kind)
            return JSONResponse({"requests": await controller.request(kind, [name])}, status_code=202)

        return ask

    def suspending(*, suspended: bool) -> Endpoint:
        async def suspend(request: Request) -> Response:
            name, dry_run = request.path_params["name"], flag(request, "dryRun")
            await nothing_of(request, "suspend" if suspended else "resume")
            return JSONResponse(await controller.editing.suspend(name, suspended=suspended, dry_run=dry_run))

        return suspend

    return [
        *(("POST", f"/api/v1/servers/{{name}}/{verb}", asking(verb)) for verb in ASKED),
        ("POST", "/api/v1/servers/{name}/suspend", suspending(suspended=True)),
        ("POST", "/api/v1/servers/{name}/resume", suspending(suspended=False)),
    ]


def _kind(verb: str, body: Mapping[str, Any]) -> str:
    """What is committed for a verb. Raises ProblemError."""
    primary = body.get("primary", False)
    if set(body) - ({"primary"} if verb == "restart" else set()) or not isinstance(primary, bool):
        takes = 'nothing, or {"primary": true}' if verb == "restart" else "nothing"
        raise bad_request(f"{verb} takes {takes}")
    return "primary" if primary else verb


def _source_routes(controller: Controller) -> list[tuple[str, str, Endpoint]]:
    async def sync(request: Request) -> Response:
        await nothing_of(request, "sync")
        return JSONResponse({"source": await controller.sync()})

    def suspending(*, suspended: bool) -> Endpoint:
        async def suspend(request: Request) -> Response:
            name = request.path_params["name"]
            await nothing_of(request, "suspend" if suspended else "resume")
            return JSONResponse({"source": await controller.suspend_source(name, suspended)})

        return suspend

    return [
        ("POST", "/api/v1/sync", sync),
        ("POST", "/api/v1/sources/{name}/suspend", suspending(suspended=True)),
        ("POST", "/api/v1/sources/{name}/resume", suspending(suspended=False)),
    ]
