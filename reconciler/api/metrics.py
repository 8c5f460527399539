"""`GET /metrics`: figures for Prometheus."""

from starlette.routing import BaseRoute

from reconciler.api.controller import Controller
from reconciler.api.views import Views


def routes(controller: Controller, views: Views) -> list[BaseRoute]:  # noqa: ARG001 - to be filled
    """The routes."""
    return []
