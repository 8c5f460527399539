"""Figures: `GET /metrics` for Prometheus, and a server's last hour for charts."""

import asyncio
from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api.controller import Controller
from reconciler.api.own_figures import own_families, source_families
from reconciler.api.server_figures import server_families
from reconciler.api.views import Views
from reconciler.core.refusals import UnknownServersError


def routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """The routes."""

    async def metrics(_request: Request) -> Response:
        await views.fresh()
        parts = []
        for family in _families(controller, views):
            parts.append(generate_latest(Alone(family)))
            # A hundred servers' figures are 0.3 ms: the controller's loop has its turn after each.
            await asyncio.sleep(0)
        return Response(b"".join(parts), media_type=CONTENT_TYPE_LATEST)

    async def usage(request: Request) -> Response:
        name, meter = request.path_params["name"], controller.meter
        if name not in controller.known_names():
            raise UnknownServersError([name])
        if meter is None:
            return JSONResponse({"interval": 0, "at": [], "series": {}})
        meter.wanted()
        return JSONResponse(dict(meter.series(name)))

    return [Route("/metrics", metrics), Route("/api/v1/servers/{name}/usage", usage)]


def _families(controller: Controller, views: Views) -> Iterator[Metric]:
    meter = controller.meter
    yield from own_families(views.summary(), controller.counts)
    yield from source_families(views.standing.sources)
    yield from server_families(views.servers(), meter.latest() if meter else {}, meter.cpu_seconds() if meter else {})


class Alone:
    """One family as a registry has several."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """It."""
        return (self._family,)
