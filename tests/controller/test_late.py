"""Our own lateness, by a loop or a machine that is overloaded, is no server's failure."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import pytest

from reconciler.controller.http_get import NotAskedError, conversation, http_get
from reconciler.controller.progress import LoopStoodStillError, within
from reconciler.core.model import HealthState
from tests.controller.answering import HANG, OK, Scripted, serving, until
from tests.controller.probed import FAST, Computing, probing, server, target

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nConnection: close\r\n\r\n"


@contextmanager
def impatient(patience: float, answers_after: float = 0.0) -> Iterator[int]:
    """A server in threads of its own, which hangs up on who has not asked within `patience` seconds."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(patience)
            try:
                asks_for_slots = connection.recv(65536).startswith(b"GET /slots")
                time.sleep(answers_after)
                connection.sendall(HEAD + (b'[{"is_processing":true}]' if asks_for_slots else b'{"status":"ok"}'))
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.fixture
def stalls(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds for which the loop stands still after each connection is made; the last one stays."""
    connect, seconds = asyncio.open_connection, [0.0]

    async def connect_then_stall(*args: Any, **more: Any) -> Any:
        made = await connect(*args, **more)
        time.sleep(seconds.pop(0) if len(seconds) > 1 else seconds[0])  # noqa: ASYNC251 - that is the point
        return made

    monkeypatch.setattr(asyncio, "open_connection", connect_then_stall)
    return seconds


def stall(after: float, seconds: float) -> None:
    """Let the loop stand still in a while."""
    asyncio.get_running_loop().call_later(after, time.sleep, seconds)


# ---------------------------------------------------------------- hung up on


async def test_a_connection_that_closed_while_we_were_late_says_nothing(stalls: list[float]) -> None:
    """llama-server hangs up on who connects and asks nothing for 5 s."""
    stalls[:] = [1.2]
    with impatient(0.1) as port, pytest.raises(NotAskedError, match=r"asked 1\.\d s after connecting"):
        await http_get("127.0.0.1", port, "/health")


async def test_a_server_that_hangs_up_on_who_asks_in_time_fails() -> None:
    async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with serving(hang_up) as port:
        with pytest.raises(ConnectionResetError, match="the connection was closed before an answer came"):
            await http_get("127.0.0.1", port, "/health")


async def test_late_or_not_garbage_is_garbage(stalls: list[float]) -> None:
    stalls[:] = [1.2]

    async def other(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await asyncio.sleep(3600)

    async with serving(other) as port:
        with pytest.raises(h11.RemoteProtocolError, match="illegal status line"):
            await http_get("127.0.0.1", port, "/health")


async def test_a_late_prober_counts_no_failure(stalls: list[float]) -> None:
    probes = {**FAST, "liveness": {"period": "10ms", "timeout": "5s", "stall": "0s"}}
    with impatient(0.1) as port, probing(target(port, was_ready=True, spec={"probes": probes})) as probed:
        await until(lambda: probed.health.state is HealthState.OK)
        stalls[:] = [1.2, 1.2, 1.2, 1.2, 0.0]
        await until(lambda: len(stalls) == 1)
        assert {health.failures for health in probed.seen} == {0}


async def test_a_drain_that_could_not_ask_does_not_take_its_slots_for_unknown(stalls: list[float]) -> None:
    """Unknown slots are not waited for: SIGTERM would end somebody's request."""
    probes = {**FAST, "liveness": {"period": "10ms", "timeout": "5s"}}
    drained = {"was_ready": True, "draining": True, "spec": {"probes": probes}}
    with impatient(0.1) as port, probing(target(port, **drained)) as probed:
        await until(lambda: probed.health.busy_slots == 1)
        stalls[:] = [*[0.0, 1.2] * 3, 0.0]  # of health and slots in turn
        await until(lambda: len(stalls) == 1)
        assert {health.busy_slots for health in probed.seen} == {1}


# ---------------------------------------------------------------- time to answer


@pytest.mark.parametrize("seconds", [0.5, 20.0])
async def test_an_answer_that_came_while_we_did_not_look_is_taken(seconds: float) -> None:
    """The loop stands still until just after the deadline, which does not come late enough to tell."""
    with impatient(5.0, answers_after=0.2) as port:
        stall(0.1, 0.45)
        async with conversation("127.0.0.1", port) as talk, within(seconds, talk):
            assert (await talk.get("/health")).status == 200


async def test_who_is_asked_late_has_as_long_to_answer(stalls: list[float]) -> None:
    stalls[:] = [0.45]
    with impatient(5.0, answers_after=0.2) as port:
        async with conversation("127.0.0.1", port) as talk, within(0.5, talk):
            assert (await talk.get("/health")).status == 200


@pytest.mark.parametrize("late", [0.0, 0.45, 1.2])
async def test_but_not_longer(late: float, stalls: list[float]) -> None:
    stalls[:] = [late]
    began = time.monotonic()
    async with serving(Scripted({"/health": [HANG]})) as port:
        with pytest.raises(TimeoutError):
            async with conversation("127.0.0.1", port) as talk, within(0.5, talk):
                await talk.get("/health")
    assert late + 0.5 <= time.monotonic() - began < late + 0.95


async def test_a_server_that_cannot_be_connected_to_is_given_up() -> None:
    """Its queue is full: nobody has accepted for long."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as more:
        for waiting in (first, more):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(TimeoutError):
            async with conversation("127.0.0.1", full.getsockname()[1]) as talk, within(0.2, talk):
                await talk.get("/health")


async def test_without_us_for_long_it_is_not_said_to_be_silent() -> None:
    async with serving(Scripted({"/health": [HANG]})) as port:
        stall(0.1, 1.0)
        with pytest.raises(LoopStoodStillError):
            async with conversation("127.0.0.1", port) as talk, within(0.3, talk):
                await talk.get("/health")


async def test_work_that_was_watched_for_a_moment_only_is_not_missed() -> None:
    """The loop stands still from before it would measure until the deadline."""
    probes = {**FAST, "liveness": {"period": "20ms", "timeout": "400ms", "stall": "0s"}}
    asked = server([OK, HANG])
    async with serving(asked) as port:
        with probing(target(port, spec={"probes": probes}), Computing(computes=True)) as probed:
            await until(lambda: asked.asked.count("/health") == 2)
            time.sleep(0.45)  # noqa: ASYNC251 - that is the point
            await until(lambda: asked.asked.count("/health") >= 4)
    assert {health.failures for health in probed.seen} == {0}
