"""The controller's HTTP interface: on the Unix socket everything, on TCP what docs/api.md tells, behind a guard."""

from starlette.applications import Starlette
from starlette.types import ASGIApp

from reconciler.api import acting, discovery, internal, log_stream, metrics, pages, reading, sessions, stream
from reconciler.api.controller import Controller
from reconciler.api.guard import Guard
from reconciler.api.problems import handlers
from reconciler.api.views import Views

PUBLIC = "/api/v1"
"""What the routes for everybody begin with."""


def create_app(controller: Controller, views: Views | None = None) -> Starlette:
    """What the Unix socket serves: the command line's own routes, and those of the public interface."""
    app = Starlette(routes=internal.routes(controller), exception_handlers=dict(internal.handlers()))
    app.mount("/", _public(controller, views or Views(controller)))
    return app


def create_public_app(controller: Controller, views: Views | None = None) -> ASGIApp:
    """What TCP serves: the public interface, the dashboard, metrics and lists for other programs."""
    return Guard(_public(controller, views or Views(controller)), controller)


def _public(controller: Controller, views: Views) -> Starlette:
    found = [
        *reading.routes(controller, views),
        *stream.routes(controller, views),
        *log_stream.routes(controller, views),
        *acting.routes(controller, views),
        *sessions.routes(controller),
        *discovery.routes(controller, views),
        *metrics.routes(controller, views),
        *pages.routes(controller),
    ]
    return Starlette(routes=found, exception_handlers=dict(handlers()))
