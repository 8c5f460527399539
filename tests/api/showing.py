"""A controller that only shows what a store has."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from reconciler.api.app import create_app
from reconciler.api.views import Views
from reconciler.store.trouble import Cause, Trouble
from tests.cli.filling import Filling

Item = dict[str, Any]


class Figures:
    """A meter that knows one thing."""

    def __init__(self) -> None:
        self.asked = 0

    def wanted(self) -> None:
        self.asked += 1

    def latest(self) -> Mapping[str, Mapping[str, Any]]:
        return {"chat": {"memoryBytes": 1024}}

    def series(self, name: str) -> Mapping[str, Any]:
        return {"name": name}


class Showing:
    """What the interface needs of a controller that it only reads from."""

    def __init__(self, filling: Filling) -> None:
        self.filling = filling
        self.meter: Figures | None = None
        self.copies = 0
        self.secret = "hunter2"
        self.trouble = False

    @property
    def folder(self) -> Path:
        return self.filling.state

    def is_writable(self) -> bool:
        return not self.trouble

    def on_commit(self, tell: Callable[[], None]) -> None:
        self.filling.store.on_commit.append(tell)

    def describe(self) -> Item:
        return {"pid": 42, "version": "1", "passes": 7, "conditions": []}

    def database(self) -> bytes:
        self.copies += 1
        return self.filling.store.snapshot()

    def known_names(self) -> frozenset[str]:
        return frozenset(self.filling.store.documents)

    def told(self, _server: str, text: str, spec: Mapping[str, Any]) -> str:
        for secret in (self.secret, str(spec.get("model") or self.secret)):
            text = text.replace(secret, "(hidden)")
        return text

    async def configuration(self) -> Item:
        return {"file": "/dev/null", "settings": {}, "llamaServer": None}

    async def preview(self, texts: Sequence[Mapping[str, str]], _against: str | None = None) -> Item:
        return {"changes": [], "problems": [], "texts": len(texts)}


def views_of(filling: Filling) -> tuple[Showing, Views]:
    """A controller over what is filled in, and what it shows."""
    showing = Showing(filling)
    return showing, Views(showing)  # type: ignore[arg-type]  # it need not act


def client_of(showing: Showing, views: Views | None = None) -> httpx.AsyncClient:
    """Asks it as programs do."""
    transport = httpx.ASGITransport(create_app(showing, views), raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


TROUBLE = Trouble(Cause.DISK_FULL, "no room")


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - whatever it is, it tells nobody
            await asyncio.sleep(0.005)


class _Quiet(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are the test's."""


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """An application on a port of this machine."""
    server = _Quiet(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await serving
