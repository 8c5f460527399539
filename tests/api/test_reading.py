import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from reconciler.demo.models import write_model
from reconciler.store import past, read
from tests.api.showing import Showing, client_of, until, views_of
from tests.cli.filling import Filling

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def filling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filling]:
    root = tmp_path_factory.mktemp("reading")
    with Filling(root) as opened:
        opened.ready("chat", env={"SEEN": "<b>"})
        opened.failed("coder")
        opened.source()
        opened.event("chat", "Started", "pid 1")
        opened.event("coder", "Crashed", "signal 9", at=1.0, warning=True)
        opened.meta("controller", json.dumps({"models": str(root / "models"), "startedAt": 1.0}))
        yield opened


@pytest.fixture
async def client(filling: Filling) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(Showing(filling)) as opened:
        yield opened


async def items(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: list[dict[str, Any]] = answer.json()["items"]
    assert answer.json()["apiVersion"] == "llama.reconciler/v1alpha1"
    return found


@pytest.mark.parametrize(
    ("path", "kind", "names"),
    [
        ("servers", "LlamaServerList", ["chat", "coder"]),
        ("servers?selector=tier%3Ddemo", "LlamaServerList", ["chat", "coder"]),
        ("servers?selector=tier!%3Ddemo", "LlamaServerList", []),
        ("profiles", "ProfileList", []),
        ("defaults", "LlamaServerDefaultsList", []),
        ("sources", "SourceList", ["git"]),
        ("models", "ModelList", []),
    ],
)
async def test_lists(client: httpx.AsyncClient, path: str, kind: str, names: list[str]) -> None:
    assert [item["metadata"]["name"] for item in await items(client, path)] == names
    assert (await client.get(f"/api/v1/{path}")).json()["kind"] == kind


async def test_one_server(client: httpx.AsyncClient) -> None:
    found = (await client.get("/api/v1/servers/chat")).json()
    assert (found["kind"], found["metadata"]["name"], found["status"]["phase"]) == ("LlamaServer", "chat", "Ready")


async def test_what_happened_as_it_is_listed(client: httpx.AsyncClient, filling: Filling) -> None:
    with read.opened(filling.state) as db:
        assert await items(client, "events") == past.events(db)
        assert await items(client, "events?limit=1") == past.events(db, limit=1)
        assert await items(client, "events?limit=0") == []
        assert await items(client, "events?limit=1000") == past.events(db)
        assert await items(client, "events?server=coder") == past.events(db, ["coder"])
        assert await items(client, "restarts") == past.restarts(db)
        assert await items(client, "restarts?limit=2") == past.restarts(db, limit=2)
        assert await items(client, "restarts?server=coder&limit=3") == past.restarts(db, ["coder"], limit=3)
        assert await items(client, "restarts?server=chat&server=coder") == past.restarts(db)
        assert await items(client, "restarts?server=nobody") == []


async def test_models_and_who_uses_them(client: httpx.AsyncClient, filling: Filling) -> None:
    folder = filling.state.parent / "models"
    folder.mkdir()
    write_model(folder / "tiny.gguf")
    (found,) = await items(client, "models")
    assert (found["file"], found["usedBy"], found["problem"]) == ("tiny.gguf", ["chat", "coder"], "")


async def test_a_plan_and_the_settings_are_the_controllers(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/plan")).json() == {"changes": [], "problems": [], "texts": 0}
    assert (await client.get("/api/v1/settings")).json()["file"] == "/dev/null"


@pytest.mark.parametrize("path", ["servers", "servers/chat", "summary", "events", "restarts?server=coder", "defaults"])
async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, filling: Filling, path: str) -> None:
    tag = (await client.get(f"/api/v1/{path}")).headers["etag"]
    again = await client.get(f"/api/v1/{path}", headers={"if-none-match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    filling.event("chat", "Ready", f"asked for {path}", at=10.0)
    assert (await client.get(f"/api/v1/{path}", headers={"if-none-match": tag})).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "reason", "told", "remedy"),
    [
        ("servers/chut", 404, "UnknownServer", "no such server: chut; did you mean 'chat'?", "reconciler get servers"),
        ("servers/%2e%2e", 404, "UnknownServer", "no such server: ..", "reconciler get servers"),
        ("nothing", 404, "NoSuchRoute", "GET /api/v1/nothing", "curl -s http://localhost/api/v1"),
        ("events?limit=-1", 400, "BadRequest", "limit: expected a number from 0 to 1000, not '-1'", "docs/api.md"),
        ("events?limit=1001", 400, "BadRequest", "limit: expected", "docs/api.md"),
        ("events?limit=%C2%B2", 400, "BadRequest", "limit: expected", "docs/api.md"),
        ("events?sever=chat", 400, "UnknownParameter", "did you mean 'server'?", "takes limit, server"),
        ("summary?x=1", 400, "UnknownParameter", "no parameter 'x' here", "takes none"),
        ("servers/chat/", 404, "NoSuchRoute", "GET /api/v1/servers/chat/", "curl -s http://localhost/api/v1"),
        ("servers?selector=a(", 400, "BadRequest", "selector: 'a(' is none of key=value", "docs/api.md"),
    ],
)
async def test_refusals_are_problem_documents(
    client: httpx.AsyncClient, path: str, status: int, reason: str, told: str, remedy: str
) -> None:
    answer = await client.get(f"/api/v1/{path}")
    found = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (found["status"], found["reason"], found["title"]) == (status, reason, reason)
    assert told in found["happened"]
    assert found["detail"] == found["happened"]
    assert (found["type"], found["tried"]) == ("about:blank", [])
    assert any(remedy in way for way in found["canDo"])


async def test_a_method_that_a_route_does_not_have(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/v1/summary")
    assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_controller_that_fails_says_so_and_keeps_the_rest_to_itself(filling: Filling) -> None:
    showing = Showing(filling)

    def fails() -> Any:
        raise RuntimeError("the password is hunter2")

    showing.describe = fails  # type: ignore[method-assign]
    async with client_of(showing) as client:
        answer = await client.get("/api/v1/plan")
        assert answer.status_code == 200
        showing.configuration = fails  # type: ignore[method-assign]
        answer = await client.get("/api/v1/settings")
    assert (answer.status_code, answer.json()["reason"]) == (500, "ControllerFailed")
    assert "hunter2" not in answer.text
    assert "reconciler doctor" in answer.json()["canDo"][0]


async def test_a_state_that_cannot_be_read_is_a_problem(filling: Filling) -> None:
    (filling.state / "state.db").rename(filling.state / "away")
    async with client_of(Showing(filling)) as client:
        answer = await client.get("/api/v1/servers")
    assert (answer.status_code, answer.json()["reason"]) == (503, "StateUnreadable")
    (filling.state / "away").rename(filling.state / "state.db")


async def test_one_look_serves_both_doors(filling: Filling) -> None:
    showing, views = views_of(filling)
    async with client_of(showing, views) as one, client_of(showing, views) as other:
        assert (await one.get("/api/v1/servers")).headers["etag"] == (await other.get("/api/v1/summary")).headers[
            "etag"
        ]
    assert views._looks == 1
    await until(lambda: views._looking is None or views._looking.done())


async def test_what_there_is(client: httpx.AsyncClient) -> None:
    routes = (await client.get("/api/v1")).json()["routes"]
    assert {"GET /api/v1", "GET /api/v1/servers", "GET /api/v1/stream", "GET /api/v1/servers/{name}/logs"} <= set(
        routes
    )
