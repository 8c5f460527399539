"""The controller's HTTP interface: on the Unix socket everything, on TCP what docs/api.md tells, behind a guard."""

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.api import (
    acting,
    discovery,
    internal,
    log_stream,
    metrics,
    pages,
    parameters,
    reading,
    sessions,
    stream,
)
from reconciler.api.controller import Controller
from reconciler.api.guard import Access, Guard
from reconciler.api.problems import handlers
from reconciler.api.views import Views

PUBLIC = ("/api/", "/v1/", "/sd/", "/metrics")
"""What the routes for everybody begin with; on the Unix socket all others are the command line's own."""


def create_app(controller: Controller, views: Views | None = None) -> ASGIApp:
    """What the Unix socket serves: the command line's own routes, and those of the public interface."""
    own = Starlette(routes=internal.routes(controller), exception_handlers=dict(internal.handlers()))
    public = _public(controller, views or Views(controller))

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (public if scope.get("path", "").startswith(PUBLIC) else own)(scope, receive, send)

    return either


def create_public_app(controller: Controller, views: Views | None = None, access: Access | None = None) -> ASGIApp:
    """What TCP serves: the public interface, the dashboard, metrics and lists for other programs."""
    return Guard(_public(controller, views or Views(controller)), access)


def public_routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """All that everybody may ask for; what is none of it is a page of the dashboard."""
    found = [
        *reading.routes(controller, views),
        *stream.routes(controller, views),
        *log_stream.routes(controller, views),
        *acting.routes(controller, views),
        *sessions.routes(controller),
        *discovery.routes(controller, views),
        *metrics.routes(controller, views),
    ]
    return parameters.strict([*found, reading.index(found)])


def _public(controller: Controller, views: Views) -> Starlette:
    app = Starlette(routes=public_routes(controller, views), exception_handlers=dict(handlers(controller)))
    app.router.redirect_slashes = False  # what is not listed is a problem
    app.router.default = pages.Pages()
    return app
