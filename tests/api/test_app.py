import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from reconciler.api.app import create_app
from reconciler.api.internal import MOST_BODY
from reconciler.core.refusals import BadRevisionError, NoSourceError, UnknownServersError

pytestmark = pytest.mark.anyio


SERVED = {"url": "http://127.0.0.1:9797", "problem": ""}


class Fake:
    """A controller that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.fails: Exception | None = None

    def describe(self) -> dict[str, Any]:
        return {"pid": 42, "version": "1"}

    def served(self) -> dict[str, str]:
        return SERVED

    def database(self) -> bytes:
        return b"SQLite format 3"

    async def reconcile(self) -> dict[str, Any]:
        if self.fails:
            raise self.fails
        return {"pass": 7, "problems": []}

    async def request(self, kind: str, servers: Sequence[str]) -> list[int]:
        if unknown := [name for name in servers if name.startswith("un")]:
            raise UnknownServersError(unknown)
        self.asked.append((kind, servers))
        return [1] * len(servers)

    async def preview(self, texts: Sequence[Mapping[str, str]], against: str | None = None) -> dict[str, Any]:
        if against == "nothing":
            raise BadRevisionError("no revision 'nothing' at the remote; name a branch, a tag or a commit")
        self.asked.append(("preview", texts if against is None else (texts, against)))
        return {"changes": [], "problems": []}

    async def sync(self) -> dict[str, Any]:
        if self.fails:
            raise self.fails
        return {"metadata": {"name": "git"}}

    async def suspend_source(self, name: str, suspended: bool) -> dict[str, Any]:
        if name != "git":
            raise NoSourceError(name, ["git"])
        self.asked.append(("suspend", suspended))
        return {"metadata": {"name": name}, "status": {"suspended": suspended}}


@pytest.fixture
def controller() -> Fake:
    return Fake()


@pytest.fixture
async def client(controller: Fake) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(controller), raise_app_exceptions=False)  # type: ignore[arg-type]  # for the routes tried here
    async with httpx.AsyncClient(transport=transport, base_url="http://controller") as opened:
        yield opened


async def test_health_tells_who_answers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ok", "pid": 42, "version": "1", "dashboard": SERVED},
    )


async def test_reconcile_answers_what_the_pass_found(client: httpx.AsyncClient) -> None:
    answer = await client.post("/reconcile")
    assert (answer.status_code, answer.json()) == (200, {"pass": 7, "problems": []})


@pytest.mark.parametrize("kind", ["stop", "start", "restart", "primary", "prune", "profile"])
async def test_requests_are_passed_on(client: httpx.AsyncClient, controller: Fake, kind: str) -> None:
    answer = await client.post("/requests", json={"kind": kind, "servers": ["chat", "embed"]})
    assert (answer.status_code, answer.json()) == (200, {"requests": [1, 1]})
    assert controller.asked == [(kind, ["chat", "embed"])]


async def test_unknown_servers_are_named(client: httpx.AsyncClient, controller: Fake) -> None:
    answer = await client.post("/requests", json={"kind": "stop", "servers": ["chat", "unone", "untwo"]})
    assert answer.status_code == 404
    assert answer.json() == {"error": "no such server: unone, untwo", "unknown": ["unone", "untwo"]}
    assert controller.asked == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "stop"},
        {"kind": "explode", "servers": []},
        {"kind": ["stop"], "servers": []},
        {"kind": {"a": 1}, "servers": []},
        {"kind": None, "servers": []},
        {"kind": "stop", "servers": "chat"},
        {"kind": "stop", "servers": ["chat", 1]},
        {"kind": "stop", "servers": {"chat": 1}},
    ],
)
async def test_a_request_that_makes_no_sense_is_told_what_would(
    client: httpx.AsyncClient, controller: Fake, body: object
) -> None:
    answer = await client.post("/requests", json=body)
    assert answer.status_code == 400
    kinds = "adopt, primary, profile, prune, restart, start, stop"
    message = f"expected kind (one of {kinds}) and servers (a list of names)"
    assert answer.json() == {"error": message}
    assert controller.asked == []


@pytest.mark.parametrize("path", ["/requests", "/preview"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b" " * (MOST_BODY + 1), f"the body is larger than {MOST_BODY} bytes"),
    ],
    ids=["cut off", "no text", "deep", "list", "null", "large"],
)
async def test_a_body_that_cannot_be_used(client: httpx.AsyncClient, path: str, body: bytes, error: str) -> None:
    answer = await client.post(path, content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


async def test_a_body_without_end_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * MOST_BODY:
            sent += 65536
            yield b" " * 65536

    assert (await client.post("/preview", content=endless())).status_code == 400
    assert sent < 2 * MOST_BODY


async def test_a_large_body_within_the_bound_is_taken(client: httpx.AsyncClient, controller: Fake) -> None:
    documents = [{"file": "a.yaml", "text": "x" * (MOST_BODY - 1000)}]
    answer = await client.post("/preview", json={"documents": documents})
    assert answer.status_code == 200
    assert controller.asked == [("preview", documents)]


@pytest.mark.parametrize("body", [b"", b"{}", json.dumps({"documents": []}).encode()])
async def test_a_preview_may_be_of_the_folder_alone(client: httpx.AsyncClient, controller: Fake, body: bytes) -> None:
    answer = await client.post("/preview", content=body)
    assert (answer.status_code, answer.json()) == (200, {"changes": [], "problems": []})
    assert controller.asked == [("preview", [])]


@pytest.mark.parametrize("documents", ["x", {}, [1], [{"file": "a"}], [{"file": "a", "text": 1}], None])
async def test_a_preview_of_what_is_no_document(client: httpx.AsyncClient, documents: object) -> None:
    answer = await client.post("/preview", json={"documents": documents})
    assert (answer.status_code, answer.json()) == (400, {"error": "expected documents: a list of {file, text}"})


async def test_a_preview_against_a_revision(client: httpx.AsyncClient, controller: Fake) -> None:
    answer = await client.post("/preview", json={"documents": [], "against": "v1"})
    assert (answer.status_code, answer.json()) == (200, {"changes": [], "problems": []})
    assert controller.asked == [("preview", ([], "v1"))]


@pytest.mark.parametrize(
    ("against", "error"),
    [
        ("nothing", "no revision 'nothing' at the remote; name a branch, a tag or a commit"),
        ("", "expected against: a branch, tag or commit"),
        (1, "expected against: a branch, tag or commit"),
        (["v1"], "expected against: a branch, tag or commit"),
    ],
)
async def test_a_preview_against_what_is_no_revision(
    client: httpx.AsyncClient, controller: Fake, against: object, error: str
) -> None:
    answer = await client.post("/preview", json={"against": against})
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    assert controller.asked == []


async def test_sync_answers_the_source(client: httpx.AsyncClient) -> None:
    answer = await client.post("/sync", json={})
    assert (answer.status_code, answer.json()) == (200, {"source": {"metadata": {"name": "git"}}})


@pytest.mark.parametrize(("verb", "suspended"), [("suspend", True), ("resume", False)])
async def test_a_source_is_suspended_and_resumed(
    client: httpx.AsyncClient, controller: Fake, verb: str, suspended: bool
) -> None:
    answer = await client.post(f"/sources/git/{verb}", json={})
    assert answer.status_code == 200
    assert answer.json() == {"source": {"metadata": {"name": "git"}, "status": {"suspended": suspended}}}
    assert controller.asked == [("suspend", suspended)]


async def test_a_source_that_is_not_there(client: httpx.AsyncClient, controller: Fake) -> None:
    controller.fails = NoSourceError("git")
    remedy = "set `url` under [source.git] in reconciler.toml, and start the controller anew"
    answer = await client.post("/sync")
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": f"no such source: git: none is configured; {remedy}"},
    )
    answer = await client.post("/sources/gut/suspend")
    assert (answer.status_code, answer.json()) == (404, {"error": "no such source: gut: there is: git"})
    assert controller.asked == []


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "GET /nothing: Not Found"),
        ("GET", "/requests", 405, "GET /requests: Method Not Allowed"),
        ("GET", "/sync", 405, "GET /sync: Method Not Allowed"),
        ("POST", "/sources/git/explode", 404, "POST /sources/git/explode: Not Found"),
        ("DELETE", "/reconcile", 405, "DELETE /reconcile: Method Not Allowed"),
    ],
)
async def test_wrong_addresses_are_answered_in_json(
    client: httpx.AsyncClient, method: str, path: str, status: int, error: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


async def test_a_controller_that_fails_says_why(client: httpx.AsyncClient, controller: Fake) -> None:
    controller.fails = OSError(28, "No space left on device")
    answer = await client.post("/reconcile")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the controller failed: OSError: [Errno 28] No space left on device"}
