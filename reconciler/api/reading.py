"""What is read: `GET /api/v1/…`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.asking import history_of, labels_of
from reconciler.api.controller import Controller
from reconciler.api.sharing import Shared
from reconciler.api.shown import list_json
from reconciler.api.tables import NEWEST
from reconciler.api.views import Views
from reconciler.core.refusals import UnknownServersError
from reconciler.runtimes.header_cache import HeaderCache
from reconciler.runtimes.listed_models import model_item, used_by
from reconciler.runtimes.models import find_models
from reconciler.store import past
from reconciler.store.items import Item, running_spec

INDEX = "/api/v1"
MODELS_FRESH = 2.0
"""Seconds for which a look at the models folder is good."""
Endpoint = Callable[[Request], Awaitable[Response]]


def routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """The routes."""
    return [
        Route("/api/v1/servers", _servers(views)),
        Route("/api/v1/servers/{name}", _server(views)),
        Route("/api/v1/summary", _shown(views, views.summary_json)),
        Route("/api/v1/events", _happened(views, "EventList", past.events, lambda: views.happened.events)),
        Route("/api/v1/restarts", _happened(views, "RestartList", past.restarts, lambda: views.happened.restarts)),
        Route("/api/v1/profiles", _listed(views, "ProfileList", lambda: views.standing.profiles)),
        Route("/api/v1/defaults", _listed(views, "LlamaServerDefaultsList", lambda: views.standing.defaults)),
        Route("/api/v1/sources", _listed(views, "SourceList", lambda: views.standing.sources)),
        Route("/api/v1/models", _models(views)),
        Route("/api/v1/plan", _told(lambda: controller.preview([]))),
        Route("/api/v1/settings", _told(lambda: controller.configuration())),  # noqa: PLW0108 - a controller need not have it before
    ]


def index(found: Iterable[BaseRoute]) -> BaseRoute:
    """What there is, for those who look around: `GET /api/v1`."""
    there = [route for route in found if isinstance(route, Route)]
    listed = sorted(f"{method} {route.path}" for route in there for method in (route.methods or set()) - {"HEAD"})

    async def endpoint(_request: Request) -> Response:
        return as_json(to_json({"routes": sorted([*listed, f"GET {INDEX}"])}))

    return Route(INDEX, endpoint)


def as_json(content: bytes) -> Response:
    """An answer that is to be asked for anew each time."""
    return Response(content, media_type="application/json", headers={"cache-control": "no-cache"})


def _tagged(request: Request, views: Views, make: Callable[[], bytes]) -> Response:
    """An answer, or that it is as it was but for uptimes."""
    tag = f'W/"{views.version}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if tag in (given.strip() for given in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type="application/json", headers=headers)


def _shown(views: Views, make: Callable[[], bytes]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        await views.fresh()
        return _tagged(request, views, make)

    return endpoint


def _listed(views: Views, kind: str, items: Callable[[], Sequence[Item]]) -> Endpoint:
    return _shown(views, lambda: list_json(kind, map(to_json, items())))


def _told(ask: Callable[[], Awaitable[Item]]) -> Endpoint:
    async def make() -> bytes:
        return to_json(await ask())

    shared = Shared(make)

    async def endpoint(_request: Request) -> Response:
        return as_json(await shared())

    return endpoint


def _servers(views: Views) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        labels = labels_of(request)
        await views.fresh()
        if labels is None:
            return _tagged(request, views, views.servers_json)
        return _tagged(request, views, lambda: list_json("LlamaServerList", views.encoded(labels.fits)))

    return endpoint


def _server(views: Views) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        name = request.path_params["name"]
        await views.fresh()
        if views.server(name) is None:
            raise UnknownServersError([name])
        return _tagged(request, views, lambda: views.server_json(name))

    return endpoint


def _happened(
    views: Views, kind: str, ask: Callable[..., list[Item]], newest: Callable[[], Sequence[bytes]]
) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        asked = history_of(request)
        await views.fresh()
        if not asked.servers and asked.limit <= NEWEST:
            return _tagged(request, views, lambda: list_json(kind, newest()[max(0, len(newest()) - asked.limit) :]))
        found = await views.tables.ask(lambda db: to_json(ask(db, asked.servers or None, limit=asked.limit))[1:-1])
        return _tagged(request, views, lambda: list_json(kind, [found] if found else []))

    return endpoint


def _models(views: Views) -> Endpoint:
    lock, looked, found = asyncio.Lock(), float("-inf"), b""
    cache = HeaderCache()

    async def endpoint(_request: Request) -> Response:
        nonlocal looked, found
        async with lock:  # many at once are given one answer
            if time.monotonic() - looked > MODELS_FRESH:
                await views.fresh()
                folder = Path(str(views.standing.controller.get("models", ".")))
                specs = [
                    (item["metadata"]["name"], spec)
                    for item in views.servers()
                    for spec in (item["spec"], running_spec(item))
                ]
                found = await asyncio.to_thread(_models_json, folder, specs, cache)
                looked = time.monotonic()
        return as_json(found)

    return endpoint


def _models_json(folder: Path, specs: Sequence[tuple[str, Item]], cache: HeaderCache) -> bytes:
    users = used_by(specs, folder)
    return list_json("ModelList", (to_json(model_item(model, folder, users)) for model in find_models(folder, cache)))
