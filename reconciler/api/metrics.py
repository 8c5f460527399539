"""Figures: `GET /metrics` for Prometheus, and a server's last hour for charts."""

import asyncio
from types import ModuleType

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api.controller import Controller
from reconciler.api.views import Views
from reconciler.core.refusals import UnknownServersError


def routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """The routes."""

    async def metrics(_request: Request) -> Response:
        await views.fresh()
        exposition = await asyncio.to_thread(_exposition)
        parts = []
        for part in exposition.parts(controller, views):
            parts.append(part)
            # A hundred servers' figures are 0.3 ms: the controller's loop has its turn after each.
            await asyncio.sleep(0)
        return Response(b"".join(parts), media_type=exposition.CONTENT_TYPE)

    async def usage(request: Request) -> Response:
        name, meter = request.path_params["name"], controller.meter
        if name not in controller.known_names():
            raise UnknownServersError([name])
        if meter is None:
            return JSONResponse({"interval": 0, "at": [], "series": {}})
        meter.wanted()
        return JSONResponse(dict(meter.series(name)))

    return [Route("/metrics", metrics), Route("/api/v1/servers/{name}/usage", usage)]


def _exposition() -> ModuleType:
    from reconciler.api import exposition  # noqa: PLC0415 - slow to import, and most are never asked for figures

    return exposition
