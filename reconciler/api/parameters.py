"""Which parameters a route takes behind its question mark; a misspelt one would be passed over, `dryRun` among them."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.problems import ProblemError

if TYPE_CHECKING:
    from reconciler.api.refusing import Endpoint

_LOGS = ("tail", "previous", "uid", "follow")
_HISTORY = ("server", "limit")
_EDIT = ("dryRun",)
TAKEN: Mapping[str, tuple[str, ...]] = {
    "GET /api/v1/servers": ("selector",),
    "GET /api/v1/servers/{name}/logs": _LOGS,
    "GET /api/v1/events": _HISTORY,
    "GET /api/v1/restarts": _HISTORY,
    "GET /api/v1/stream": ("lastEventId",),
    "POST /api/v1/servers/{name}/suspend": _EDIT,
    "POST /api/v1/servers/{name}/resume": _EDIT,
    "PATCH /api/v1/servers/{name}": _EDIT,
    "POST /api/v1/apply": _EDIT,
    "PUT /api/v1/manifests/{path:path}": _EDIT,
    "DELETE /api/v1/manifests/{path:path}": _EDIT,
    "POST /api/v1/profiles/use": _EDIT,
    "POST /api/v1/profiles/{name}/use": _EDIT,
}
"""By route; all others below /api take none."""


def strict(found: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The same routes, which refuse what they do not take."""
    return [_strict(route) if isinstance(route, Route) and route.path.startswith("/api/") else route for route in found]


def _strict(route: Route) -> Route:
    methods = route.methods or set()
    taken = {name for method in methods for name in TAKEN.get(f"{method} {route.path}", ())}
    endpoint: Endpoint = route.endpoint

    async def checked(request: Request) -> Response:
        for name in request.query_params:
            if name not in taken:
                raise _unknown(name, taken)
        return await endpoint(request)

    return Route(route.path, checked, methods=sorted(methods))


def _unknown(name: str, taken: Iterable[str]) -> ProblemError:
    names = sorted(taken)
    folded = {one.lower(): one for one in names}
    near = difflib.get_close_matches(name[:40].lower().replace("_", "").replace("-", ""), folded, n=1)
    nearest = folded[near[0]] if near else None
    meant = f"; did you mean '{nearest}'?" if nearest else ""
    happened = f"there is no parameter '{name[:40]}' here{meant}"
    do = f"this route takes {', '.join(names) if names else 'none'}; see docs/api.md"
    return ProblemError(400, "UnknownParameter", happened, do, nearest=nearest)
