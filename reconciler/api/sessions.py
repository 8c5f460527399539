"""One-time codes and sessions of the dashboard."""

from starlette.routing import BaseRoute

from reconciler.api.controller import Controller


def routes(controller: Controller) -> list[BaseRoute]:  # noqa: ARG001 - to be filled
    """The routes."""
    return []
