import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from reconciler.api import guard as module
from reconciler.api.guard import NEEDS, Access, Guard
from reconciler.api.pages import Pages
from reconciler.api.problems import ProblemError, problem

pytestmark = pytest.mark.anyio
LOOPBACK = Access()
ANYWHERE = Access(is_loopback=False)
CLOSED = Access(reads_need_token=True)
PROXIED = Access(hosts=frozenset({"models.example.org"}))


async def anything(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"bytes": len(body), **request.scope[NEEDS]})


async def endless(_request: Request) -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield b": there\n\n"
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type="text/event-stream")


async def told(_request: Request, error: Exception) -> Any:
    assert isinstance(error, ProblemError)
    return problem(error)


def guarded(access: Access) -> Guard:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    routes = [
        Route("/api/v1/stream", endless),
        Route("/api/v1/sync", lambda _: JSONResponse({}), methods=["POST"]),
        Route("/{path:path}", anything, methods=methods),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={ProblemError: told}), access)


async def ask(
    access: Access,
    method: str = "GET",
    path: str = "/api/v1/servers",
    content: Any = None,
    guard: Guard | None = None,
    **headers: Any,
) -> httpx.Response:
    transport = httpx.ASGITransport(guard or guarded(access))
    given = {name.replace("_", "-"): value.encode("latin-1") for name, value in headers.items()}
    sent = {"host": b"127.0.0.1:9797", **given}
    async with httpx.AsyncClient(transport=transport) as client:
        url = httpx.URL("http://127.0.0.1:9797").copy_with(raw_path=path.encode())
        return await client.request(method, url, headers=sent, content=content)


LOCAL_HOSTS = (
    "127.0.0.1:9797",
    "localhost:9797",
    "localhost",
    "LocalHost:8080",
    "[::1]:9797",
    "127.8.9.1",
    "localhost.",
)
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:9797",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.168.1.5:9797",
    "0.0.0.0:9797",
    "[::2]",
    "[::1].evil.example",
    "localhost@evil.example",
    "",
)


@pytest.mark.parametrize("host", LOCAL_HOSTS)
async def test_on_loopback_it_is_asked_by_this_machines_own_names(host: str) -> None:
    assert (await ask(LOOPBACK, host=host)).status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/api/v1/servers", "/", "/healthz/x", "/metrics"])
async def test_a_name_that_somebody_led_here_is_refused(host: str, path: str) -> None:
    answer = await ask(LOOPBACK, path=path, host=host)
    assert (answer.status_code, answer.json()["reason"]) == (403, "ForeignHost")
    assert "hosts = [" in answer.json()["canDo"][0]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_told_by_every_name_to_all_but_pages_of_others(path: str) -> None:
    for access in (LOOPBACK, ANYWHERE):
        assert (await ask(access, path=path, host="reconciler:9797")).status_code == 200
        assert (await ask(access, path=path, host="reconciler:9797", method="POST")).status_code == 403
        assert (await ask(access, path=path, host="evil.example", origin="http://evil.example")).status_code == 200
        assert (await ask(access, path=path, host="box.lan", origin="http://evil.example")).status_code == 403


@pytest.mark.parametrize("host", ["192.168.1.5:9797", "[fd00::5]:9797", "10.1.2.3", "localhost:9797"])
async def test_beyond_loopback_addresses_are_good_and_names_have_to_be_told(host: str) -> None:
    token = ANYWHERE.tokens.session()[0]
    assert (await ask(ANYWHERE, host=host, authorization=f"Bearer {token}")).status_code == 200
    answer = await ask(ANYWHERE, host="evil.example", authorization=f"Bearer {token}")
    assert answer.json()["reason"] == "ForeignHost"


@pytest.mark.parametrize(
    ("headers", "path", "passes"),
    [
        ({"origin": "http://127.0.0.1:9797"}, "/api/v1/servers", True),
        ({"origin": "http://evil.example"}, "/api/v1/servers", False),
        ({"origin": "http://127.0.0.1:3000"}, "/api/v1/servers", False),
        ({"origin": "http://localhost:9797"}, "/api/v1/servers", False),
        ({"origin": "null"}, "/api/v1/servers", False),
        ({"origin": "http://127.0.0.1:9797.evil.example"}, "/", False),
        ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}, "/api/v1/servers", True),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, "/api/v1/servers", True),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, "/api/v1/servers", False),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors"}, "/metrics", False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, "/servers/chat", True),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, "/api/v1/servers", False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, "/js/app.js", False),
    ],
)
async def test_pages_of_other_sites_get_nothing(headers: dict[str, Any], path: str, passes: bool) -> None:
    answer = await ask(LOOPBACK, path=path, **headers)
    assert answer.status_code == (200 if passes else 403), answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_acting_needs_the_token(method: str) -> None:
    answer = await ask(LOOPBACK, method)
    assert (answer.status_code, answer.json()["reason"]) == (401, "TokenNeeded")
    assert "reconciler ui" in answer.json()["canDo"][0]
    assert answer.headers["www-authenticate"] == "Bearer"
    token, _ = LOOPBACK.tokens.session()
    assert (await ask(LOOPBACK, method, authorization=f"Bearer {token}")).status_code == 200
    assert (await ask(LOOPBACK, method, authorization=f"bearer  {token}")).status_code == 200
    for wrong in (f"Bearer {token}x", f"Basic {token}", "Bearer ", f"Bearer {token[:-2]}", "Bearer \xe9"):
        answer = await ask(LOOPBACK, method, authorization=wrong)
        assert (answer.status_code, answer.json()["reason"]) == (401, "TokenNeeded"), wrong


async def test_a_session_that_has_ended_is_told_as_such() -> None:
    token, _ = LOOPBACK.tokens.session(wall=1000.0)
    answer = await ask(LOOPBACK, "POST", authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()["reason"]) == (401, "TokenExpired")
    assert (await ask(LOOPBACK, "GET", authorization=f"Bearer {token}")).status_code == 200  # reads need none


@pytest.mark.parametrize(
    ("access", "headers"),
    [
        (ANYWHERE, {"host": "127.0.0.1:9797"}),
        (CLOSED, {}),
        (PROXIED, {"host": "models.example.org"}),
        (LOOPBACK, {"x_forwarded_for": "203.0.113.7"}),
        (LOOPBACK, {"forwarded": "for=203.0.113.7"}),
    ],
    ids=["beyond loopback", "reads = token", "a name of the settings", "a proxy", "a proxy's newer header"],
)
async def test_what_comes_from_beyond_needs_the_token_for_all_but_the_pages(
    access: Access, headers: dict[str, Any]
) -> None:
    token: dict[str, Any] = {"authorization": f"Bearer {access.tokens.session()[0]}"}
    for path in ("/api/v1/servers", "/metrics", "/sd/prometheus", "/v1/models", "/api/v1/stream", "//api/v1/servers"):
        answer = await ask(access, path=path, **headers)
        assert (answer.status_code, answer.json().get("reads")) == (401, True), path
        assert (await ask(access, path=path, **headers, **token)).status_code == 200, path
    for path in ("/", "/servers/chat", "/js/app.js", "/healthz", "/readyz", "/api/v1/session"):
        assert (await ask(access, path=path, **headers)).status_code == 200, path


async def test_a_route_learns_what_needs_a_token() -> None:
    assert (await ask(LOOPBACK)).json() == {"bytes": 0, "readsNeedToken": False, "actsNeedToken": True}
    answer = await ask(CLOSED, path="/api/v1/session")
    assert answer.json()["readsNeedToken"] is True


async def test_bodies_are_bounded_however_they_come() -> None:
    token: dict[str, Any] = {"authorization": f"Bearer {LOOPBACK.tokens.session()[0]}"}
    most = b"x" * module.MOST_BODY

    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 65536):
            yield body[begin : begin + 65536]

    assert (await ask(LOOPBACK, "POST", content=most, **token)).json()["bytes"] == len(most)
    for body in (most + b"x", in_pieces(most + b"x")):
        answer = await ask(LOOPBACK, "POST", content=body, **token)
        assert (answer.status_code, answer.json()["reason"]) == (413, "BodyTooLarge")
    unread = await ask(LOOPBACK, "POST", "/api/v1/sync", content=most + b"x", **token)
    assert (unread.status_code, unread.headers["connection"]) == (413, "close")


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_TIME", 0.05)
    token: dict[str, Any] = {"authorization": f"Bearer {LOOPBACK.tokens.session()[0]}"}
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await never.wait()

    answer = await ask(LOOPBACK, "POST", content=stuck(), **token)
    assert (answer.status_code, answer.json()["reason"]) == (408, "BodyTooSlow")


async def test_streams_are_counted_while_they_last() -> None:
    guard = guarded(Access(streams=1))
    assert (await ask(LOOPBACK, path="/api/v1/stream", guard=guard)).status_code == 200
    guard._streams = 1
    answer = await ask(LOOPBACK, path="/api/v1/stream", guard=guard)
    assert (answer.status_code, answer.json()["reason"]) == (503, "TooManyStreams")
    assert (await ask(LOOPBACK, guard=guard)).status_code == 200
    guard._streams = 0
    assert (await ask(LOOPBACK, path="/api/v1/stream", guard=guard)).status_code == 200
    assert guard._streams == 0


async def test_every_answer_says_what_a_browser_may_do_with_it() -> None:
    good, refused = await ask(LOOPBACK), await ask(LOOPBACK, host="evil.example")
    for answer in (good, refused):
        policy = dict(part.partition(" ")[::2] for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["worker-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers


async def test_hostile_names_come_back_as_text() -> None:
    answer = await ask(LOOPBACK, host='<script>"&')
    assert answer.headers["content-type"] == "application/problem+json"
    assert len((await ask(LOOPBACK, host="x" * 9000)).content) < 1000


async def test_pages_are_no_way_around_the_token() -> None:
    guard = Guard(Pages(), ANYWHERE)
    for path in ("/api/v1/servers", "//api/v1/servers", "/api/../api/v1/servers"):
        assert (await ask(ANYWHERE, path=path, guard=guard)).status_code == 401, path
