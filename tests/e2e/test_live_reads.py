"""What a real controller shows while servers come and go."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_stream import Event, parsed
from tests.e2e.installation import Installation, installed


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, llama_server: str, tiny_model: Path, _ports: Iterator[int]
) -> Iterator[Installation]:
    first = next(_ports)
    with installed(tmp_path_factory.mktemp("live"), llama_server, tiny_model, range(first, first + 8)) as found:
        found.declare("chat", labels={"tier": "prod"}, restart={"initialBackoff": "100ms"})
        found.declare("lost", model="nowhere.gguf")
        found.start()
        found.wait_ready("chat")
        found.wait_phase("lost", "Blocked")
        yield found


@pytest.fixture
def client(running: Installation) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(running.state / "controller.sock"))
    with httpx.Client(transport=transport, base_url="http://controller/api/v1", timeout=20) as opened:
        yield opened


class Listening:
    """The messages of a stream, as they come in on a thread."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self.events: list[tuple[float, Event]] = []
        self._client, self._path = client, path
        self._response: httpx.Response | None = None
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        content = b""
        try:
            with self._client.stream("GET", self._path) as response:
                self._response = response
                for chunk in response.iter_bytes():
                    whole, gap, content = (content + chunk).rpartition(b"\n\n")
                    self.events += [(time.time(), event) for event in (parsed(whole + gap) if whole else ())]
        except (httpx.HTTPError, OSError, httpx.StreamError):
            pass  # the controller has ended

    def of(self, kind: str) -> list[Any]:
        return [event.data for _, event in self.events if event.kind == kind]


@contextmanager
def listening(client: httpx.Client, path: str) -> Iterator[Listening]:
    found = Listening(client, path)
    found._thread.start()
    yield found
    found._thread.join(20)
    assert not found._thread.is_alive()


def still(item: dict[str, Any]) -> dict[str, Any]:
    """Without what moves by itself."""
    return {**item, "status": {**item["status"], "uptimeSeconds": None}}


def test_lists_are_those_of_the_command_line(running: Installation, client: httpx.Client) -> None:
    for kind in ("servers", "restarts"):
        shown = client.get(f"/{kind}").json()
        listed = json.loads(running.cli("get", kind, "-o", "json"))
        if kind == "servers":
            shown["items"], listed["items"] = (list(map(still, one["items"])) for one in (shown, listed))
        assert shown == listed
    shown = client.get("/models").json()
    assert shown == json.loads(running.cli("models", "-o", "json"))
    assert [item["metadata"]["name"] for item in client.get("/servers?selector=tier").json()["items"]] == ["chat"]
    assert client.get("/plan").json()["changes"]
    assert client.get("/settings").json()["llamaServer"]["from"] == "LLAMA_SERVER"


def test_a_death_is_seen_as_it_happens_and_the_end_ends_all(running: Installation, client: httpx.Client) -> None:
    with listening(client, "/stream") as stream, listening(client, "/servers/chat/logs?follow=true") as log:
        running.wait_for("both streams", lambda: stream.of("snapshot") and log.of("line"))
        killed = running.pids()["chat"]
        os.kill(killed, signal.SIGKILL)
        at = time.time()
        running.wait_for("the restart", lambda: len(log.of("instance")) == 2 and log.of("line"))
        running.wait_for("Ready", lambda: any(one["reason"] == "Ready" for one in stream.of("event")))
        assert [one["reason"] for one in stream.of("event")] == ["Crashed", "Started", "Ready"]
        first = next(seen for seen, event in stream.events if event.kind == "event")
        assert first - at < 2, "it is told at once"
        assert log.of("instance")[0]["pid"] == killed
        assert log.of("end")[0]["signal"] == 9
        names = {item["metadata"]["name"] for item in stream.of("server")}
        assert names == {"chat"}
        began = time.monotonic()
        running.end()
    assert time.monotonic() - began < 5, "open streams hold up no end"
    assert "Traceback" not in running.log()
    running.start()
    running.wait_ready("chat")
