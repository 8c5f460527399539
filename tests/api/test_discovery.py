import re
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from reconciler.api import discovery
from reconciler.api.app import create_public_app
from reconciler.api.pages import OTHERS

pytestmark = pytest.mark.anyio
LABEL = re.compile(r"(__)?[a-zA-Z_][a-zA-Z0-9_]*")


def item(name: str, phase: str = "Ready", port: int | None = 8001, **spec: Any) -> dict[str, Any]:
    runs = phase in ("Ready", "Unhealthy", "Starting")
    written = {"model": "tiny.gguf", **spec}
    instance = {"uid": "u", "pid": 1, "port": port, "startedAt": "2026-11-21T20:21:51.762Z", "spec": written}
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/role": "chat"}},
        "spec": {"model": "other.gguf", "flags": {"metrics": False}},
        "status": {
            "phase": phase,
            "port": port,
            "instance": instance if runs else None,
            "fallback": None,
            "conditions": [{"type": "Ready", "status": "True" if phase == "Ready" else "False"}],
        },
    }


SHOWS: dict[str, Any] = {"flags": {"metrics": True}}


async def ask(path: str, *items: Any, host: str = "127.0.0.1", why: tuple[str, ...] = ()) -> httpx.Response:
    controller: Any = SimpleNamespace(shortcomings=lambda: list(why))
    views: Any = SimpleNamespace(servers=lambda: list(items))
    app = Starlette(routes=discovery.routes(controller, views))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}:9797") as client:
        return await client.get(path)


async def test_prometheus_is_told_of_the_servers_that_answer_and_show_figures() -> None:
    items = [
        item("chat", **SHOWS),
        item("silent"),
        item("loading", "Starting", **SHOWS),
        item("down", "BackOff", **SHOWS),
        item("sick", "Unhealthy", 8002, flags={"metrics": True, "api-prefix": "/v"}, host="::1", apiKeyFile="key"),
        item("odd", colour="blue", **SHOWS),
        item("tls", port=8003, flags={"metrics": True, "ssl-key-file": "k", "ssl-cert-file": "c"}, host="0.0.0.0"),
        item("by-variable", port=8004, env={"LLAMA_ARG_ENDPOINT_METRICS": "1", "LLAMA_API_KEY": {"fromEnv": "KEY"}}),
    ]
    groups = (await ask("/sd/prometheus", *items)).json()
    found = {group["labels"]["reconciler_server"]: group for group in groups}
    assert {name: group["targets"] for name, group in found.items()} == {
        "chat": ["127.0.0.1:8001"],
        "sick": ["[::1]:8002"],
        "tls": ["127.0.0.1:8003"],
        "by-variable": ["127.0.0.1:8004"],
    }
    assert found["sick"]["labels"]["__metrics_path__"] == "/v/metrics"
    keyed = {name for name, group in found.items() if group["labels"].get("__meta_reconciler_needs_key") == "true"}
    assert keyed == {"sick", "by-variable"}
    assert found["chat"]["labels"]["__scheme__"] == "http"
    assert found["tls"]["labels"]["__scheme__"] == "https"
    assert found["chat"]["labels"]["label_app_kubernetes_io_role"] == "chat"
    assert all(LABEL.fullmatch(name) for group in groups for name in group["labels"])


@pytest.mark.parametrize(
    ("host", "asked", "target"),
    [
        ("0.0.0.0", "192.168.1.5", "192.168.1.5:8001"),
        ("0.0.0.0", "gpu.example.org", "gpu.example.org:8001"),
        ("::", "[fd00::5]", "[fd00::5]:8001"),
        ("10.0.0.1", "192.168.1.5", "10.0.0.1:8001"),
        ("127.0.0.1", "192.168.1.5", "127.0.0.1:8001"),
    ],
)
async def test_who_asks_from_elsewhere_is_told_an_address_of_there(host: str, asked: str, target: str) -> None:
    groups = (await ask("/sd/prometheus", item("chat", host=host, **SHOWS), host=asked)).json()
    assert groups[0]["targets"] == [target]


async def test_models_are_listed_as_openai_does() -> None:
    items = [item("chat", flags={"api-prefix": "/v"}), item("down", "Failed"), item("new", "Pending", None)]
    listed = (await ask("/v1/models", *items)).json()
    assert listed["object"] == "list"
    chat, down, new = listed["data"]
    assert (chat["id"], chat["object"], chat["owned_by"], chat["ready"]) == ("chat", "model", "reconciler", True)
    assert chat["base_url"] == "http://127.0.0.1:8001/v/v1"
    assert chat["created"] == 1795292511
    assert (down["ready"], down["base_url"], down["created"]) == (False, "http://127.0.0.1:8001/v1", 0)
    assert (new["ready"], new["base_url"]) == (False, None)


async def test_a_spec_is_read_once_for_each_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    read = MagicMock(wraps=discovery._place)
    monkeypatch.setattr(discovery, "_place", read)
    chat, other = item("chat", **SHOWS), item("chat", port=8009, host="10.0.0.1", **SHOWS)
    views: Any = SimpleNamespace(servers=lambda: [chat])
    app = Starlette(routes=discovery.routes(MagicMock(), views))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for _ in range(3):
            await client.get("/sd/prometheus")
        assert read.call_count == 1
        views.servers = lambda: [other]
        assert (await client.get("/sd/prometheus")).json()[0]["targets"] == ["10.0.0.1:8009"]


async def test_health_and_readiness() -> None:
    assert (await ask("/healthz", why=("no pass has gone well yet",))).status_code == 200
    good, bad = await ask("/readyz"), await ask("/readyz", why=("no pass has gone well yet",))
    assert (good.status_code, good.json()) == (200, {"status": "ok", "why": []})
    assert (bad.status_code, bad.json()["why"]) == (503, ["no pass has gone well yet"])


def test_every_route_lies_where_the_guard_looks_for_it() -> None:
    guard: Any = create_public_app(MagicMock(), MagicMock())
    paths = [route.path for route in guard._app.routes if isinstance(route, Route)]
    assert len(paths) > 10
    assert {path.split("/")[1] for path in paths} <= OTHERS
