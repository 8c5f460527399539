import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.api import server as module
from reconciler.api.server import SocketServer

pytestmark = pytest.mark.anyio


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def make(path: str) -> SocketServer:
    return SocketServer(Starlette(routes=[Route("/", hello)]), path)


@asynccontextmanager
async def serving(path: str) -> AsyncIterator[SocketServer]:
    server = make(path)
    task = asyncio.create_task(server.serve())
    try:
        yield server
    finally:
        server.stop()
        await asyncio.wait_for(task, 20)


async def ask(path: str) -> str:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path), timeout=20) as client:
        return (await client.get("http://controller/")).text


async def test_it_answers_and_only_its_owner_may_ask(tmp_path: Path) -> None:
    path = tmp_path / "controller.sock"
    before = os.umask(0)
    os.umask(before)
    async with serving(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await ask(str(path)) == "hello"
    assert os.umask(before) == before
    assert not path.exists()


async def test_the_socket_of_a_dead_controller_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "controller.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with serving(path):
        assert await ask(path) == "hello"


async def test_no_signal_handler_is_set(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(str(tmp_path / "s")):
        await ask(str(tmp_path / "s"))
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_it_ends_though_a_client_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with serving(path) as server:
        _, writer = await asyncio.open_unix_connection(path)
        await ask(path)
        server.stop()
    writer.close()


async def test_an_abstract_name_lives_in_no_folder() -> None:
    name = f"\0reconciler-test-{os.getpid()}"
    async with serving(name):
        reader, writer = await asyncio.open_unix_connection(name)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()


async def test_other_users_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s")
    async with serving(path):
        assert await ask(path) == "hello"
        monkeypatch.setattr(module, "_peer", lambda _connection: os.geteuid() + 4242)
        with pytest.raises(httpx.TransportError):
            await ask(path)
        monkeypatch.undo()
        assert await ask(path) == "hello"


async def test_who_connected_is_known(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        assert module._peer(client) == os.geteuid()


async def test_a_path_that_cannot_be_bound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        make(str(tmp_path / ("x" * 200)))


async def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    async with serving(str(folder / "s")) as server:
        with pytest.raises(FileNotFoundError):
            server.put_in_place()
        folder.mkdir()
        server.put_in_place()
        assert await ask(str(folder / "s")) == "hello"
    assert list(folder.iterdir()) == []


async def test_a_socket_that_was_deleted_is_made_anew_and_another_ones_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(str(path)) as server:
        server.put_in_place()
        assert await ask(str(path)) == "hello"
        for _ in range(2):
            path.unlink()
            server.put_in_place()
            assert await ask(str(path)) == "hello"
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"
