"""For other programs: `/sd/prometheus` and `/v1/models`, `/healthz` and `/readyz`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from reconciler.api.asked import asked_in
from reconciler.api.controller import Controller
from reconciler.api.views import Views
from reconciler.core.listen import authority
from reconciler.core.spec import ServerSpec
from reconciler.engines.llama_server import metrics_path, models_path, scheme, shows_metrics
from reconciler.store.items import Item, running_spec

OWNER = "reconciler"
ANSWERING = ("Ready", "Unhealthy")
"""Phases of servers that have answered: one that loads would count as one that is down."""
KEY_VARIABLE = "LLAMA_API_KEY"
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a server answers, by what it was started with."""

    scheme: str
    host: str
    models: str
    metrics: str
    """Empty where it shows none."""
    needs_key: bool = False
    """To be shown its metrics, too."""


class _Places:
    """Those of all servers; a spec is read once for each instance."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, _Place | None]] = {}

    def of(self, item: Item) -> _Place | None:
        """None where nobody knows."""
        name, spec = item["metadata"]["name"], running_spec(item)
        kept = self._known.get(name)
        if kept is None or kept[0] != spec:
            kept = self._known[name] = (spec, _place(spec))
        return kept[1]

    def forget_others(self, items: list[Item]) -> None:
        """Servers that are there no more."""
        names = {item["metadata"]["name"] for item in items}
        self._known = {name: kept for name, kept in self._known.items() if name in names}


def routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """The routes."""
    places = _Places()

    async def prometheus(request: Request) -> JSONResponse:
        items, asked = views.servers(), asked_in(request.scope).name
        places.forget_others(items)
        found = (_target(item, places.of(item), asked) for item in items if item["status"]["phase"] in ANSWERING)
        return JSONResponse([target for target in found if target is not None])

    async def models(request: Request) -> JSONResponse:
        items, asked = views.servers(), asked_in(request.scope).name
        places.forget_others(items)
        return JSONResponse({"object": "list", "data": [_model(item, places.of(item), asked) for item in items]})

    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> JSONResponse:
        why = list(controller.shortcomings())
        return JSONResponse({"status": "not ready" if why else "ok", "why": why}, status_code=503 if why else 200)

    return [
        Route("/sd/prometheus", prometheus),
        Route("/v1/models", models),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]


def _place(spec: Item) -> _Place | None:
    try:
        read = ServerSpec.model_validate(spec)
    except ValidationError:
        return None  # of a version that knew other fields
    metrics = metrics_path(read) if shows_metrics(read) else ""
    needs_key = read.api_key_file is not None or KEY_VARIABLE in read.env
    return _Place(scheme(read), read.host, models_path(read), metrics, needs_key)


def _target(item: Item, place: _Place | None, asked: str) -> Mapping[str, Any] | None:
    """One group of targets as Prometheus takes them (http_sd_config)."""
    port = item["status"]["port"]
    if place is None or not place.metrics or port is None:
        return None
    own = {f"label_{_NO_LABEL.sub('_', key)}": str(value) for key, value in item["metadata"]["labels"].items()}
    labels = {
        "__metrics_path__": place.metrics,
        "__scheme__": place.scheme,
        "reconciler_server": item["metadata"]["name"],
        # By which a job takes those whose key it has, and leaves the others out; it is no label of what is kept.
        **({"__meta_reconciler_needs_key": "true"} if place.needs_key else {}),
        **own,
    }
    return {"targets": [authority(_reached(place.host, asked), port)], "labels": labels}


def _model(item: Item, place: _Place | None, asked: str) -> Mapping[str, Any]:
    """One server as OpenAI's list has models; what is ours comes after that."""
    status, port = item["status"], item["status"]["port"]
    began = (status["instance"] or {}).get("startedAt")
    is_known = place is not None and port is not None
    url = f"{place.scheme}://{authority(_reached(place.host, asked), port)}" if place and is_known else None
    return {
        "id": item["metadata"]["name"],
        "object": "model",
        "created": int(datetime.fromisoformat(began).timestamp()) if began else 0,
        "owned_by": OWNER,
        "base_url": url + place.models.removesuffix("/models") if place and url else None,
        "ready": any(one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"]),
        "phase": status["phase"],
    }


def _reached(host: str, asked: str) -> str:
    """Where a server is reached that listens on `host`, by somebody who reached us as `asked`."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return host
    except ValueError:
        return host
    # Whoever came by another address or name than loopback would look for it on the wrong machine.
    return asked or ("::1" if ":" in host else "127.0.0.1")
