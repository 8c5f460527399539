import gzip
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.api.pages import OTHERS, STATIC, TYPES, Pages

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    (static / "js").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>dashboard")
    (static / "js" / "app.js").write_text("export {};\n" * 100)
    (static / "js" / ".hidden.js").write_text("no")
    (static / "notes.py").write_text("no")
    (tmp_path / "secret.js").write_text("PRIVATE")
    return static


async def ask(folder: Path | Pages, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    app = Starlette(routes=[Route("/api/v1/act", lambda _: PlainTextResponse("done"), methods=["POST"])])
    app.router.default = Pages(folder) if isinstance(folder, Path) else folder
    sent = {"accept-encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope_path = httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        return await client.request(method, scope_path, headers=sent)


@pytest.mark.parametrize(
    "path", ["/", "/servers", "/servers/qwen2.5-7b", "/servers/a.js", "/events?server=a", "/nosuch"]
)
async def test_each_page_of_the_dashboard_is_the_dashboard(folder: Path, path: str) -> None:
    answer = await ask(folder, path)
    assert (answer.status_code, answer.text) == (200, "<!doctype html>dashboard")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_files_are_sent_with_their_type_and_only_when_they_are_new(folder: Path) -> None:
    pages = Pages(folder)
    answer = await ask(pages, "/js/app.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    etag = answer.headers["etag"]
    assert (await ask(pages, "/js/app.js", if_none_match=etag)).status_code == 304
    (folder / "js" / "app.js").write_text("export const changed = 1;\n")
    os.utime(folder / "js" / "app.js", (1, 1))
    changed = await ask(pages, "/js/app.js", if_none_match=etag)
    assert (changed.status_code, changed.text) == (200, "export const changed = 1;\n")


async def test_files_are_squeezed_for_who_takes_that(folder: Path) -> None:
    app = Pages(folder)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
        client.stream("GET", "/js/app.js", headers={"accept-encoding": "gzip, br"}) as answer,
    ):
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert len(raw) < 200
    assert gzip.decompress(raw) == b"export {};\n" * 100


@pytest.mark.parametrize(
    "path",
    [
        "/js/nosuch.js",
        "/js/.hidden.js",
        "/js/..%2f..%2fsecret.js",
        "/js//app.js",
        "/js/app.js%00",
        "/js/app.js/",
        *(f"/{first}/nosuch" for first in sorted(OTHERS)),
        *(f"/{first}" for first in sorted(OTHERS)),
    ],
)
async def test_there_is_nothing_else(folder: Path, path: str) -> None:
    assert (await ask(folder, path)).status_code == 404


@pytest.mark.parametrize("path", ["/../secret.js", "/..%2fsecret.js", "/%2e%2e/secret.js", "/notes.py", "//etc/passwd"])
async def test_no_path_leads_out_of_the_folder(folder: Path, path: str) -> None:
    answer = await ask(folder, path)
    assert answer.text in ("<!doctype html>dashboard", "Not Found") or answer.status_code == 404
    assert "PRIVATE" not in answer.text


async def test_other_methods_are_for_other_paths(folder: Path) -> None:
    assert (await ask(folder, "/api/v1/act", "POST")).text == "done"
    assert (await ask(folder, "/api/v1/act")).status_code == 405
    assert (await ask(folder, "/api/v1/nosuch", "POST")).status_code == 404
    assert (await ask(folder, "/servers", "POST")).status_code == 405
    assert (await ask(folder, "/servers", "HEAD")).status_code == 200


async def test_an_installation_without_a_dashboard_says_so(tmp_path: Path) -> None:
    answer = await ask(tmp_path, "/")
    assert answer.status_code == 404
    assert "no dashboard" in answer.text


def test_every_file_of_the_dashboard_can_be_sent() -> None:
    unknown: list[Any] = [
        path.name
        for path in STATIC.rglob("*")
        if path.is_file() and path.suffix not in TYPES and not path.name.endswith(("LICENSE", "SUMS", ".md"))
    ]
    assert unknown == []
