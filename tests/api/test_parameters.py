"""What a route does not know is refused: a misspelt `dryRun` would be an act."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.test_acting import asked, declare, told
from tests.controller.edited import controlled, profile, server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    root = tmp_path_factory.mktemp("parameters")
    texts = {"runs": server("runs", suspend="false"), "day": profile("day")}
    declare(root / "manifests", **texts)
    async with controlled(root) as daemon, asked(daemon) as made:
        yield made
        assert {path.stem: path.read_text() for path in (root / "manifests").iterdir()} == texts
        assert not daemon._store.requests().restart


@pytest.mark.parametrize(
    ("path", "body", "wanted", "tells"),
    [
        ("servers/runs/suspend", {"x": 1}, (400, "BadRequest"), "suspend takes nothing"),
        ("servers/runs/resume", ["x"], (400, "BadRequest"), "expected a JSON object"),
        ("servers/runs/restart?dryRun=true", {}, (400, "UnknownParameter"), "no parameter 'dryRun' here"),
        ("servers/runs/suspend?dry_run=true", {}, (400, "UnknownParameter"), "did you mean 'dryRun'?"),
        ("servers/runs/suspend?dryrun=true", {}, (400, "UnknownParameter"), "did you mean 'dryRun'?"),
        ("apply?dry-run=true", {"documents": []}, (400, "UnknownParameter"), "did you mean 'dryRun'?"),
        ("apply", {"documents": [], "dryRun": True}, (400, "BadRequest"), "not 'dryRun'"),
        ("profiles/day/use", {"name": "night"}, (400, "BadRequest"), "use takes nothing"),
        ("sync", {"x": 1}, (400, "BadRequest"), "sync takes nothing"),
    ],
)
async def test_what_is_not_known_is_refused(
    client: httpx.AsyncClient, path: str, body: Any, wanted: tuple[int, str], tells: str
) -> None:
    answer = await client.post(f"/{path}", json=body)
    assert told(answer) == wanted
    assert tells in answer.text


@pytest.mark.parametrize("name", ["a%0ab.yaml", "b.yaml%0a", "%0a/a.yaml"])
async def test_a_name_with_line_breaks_is_a_bad_one(client: httpx.AsyncClient, name: str) -> None:
    assert told(await client.put(f"/manifests/{name}", content=server("a"))) == (400, "BadPath")


@pytest.mark.parametrize("body", [{}, {"primary": True}])
async def test_what_was_stopped_is_started_and_not_restarted(client: httpx.AsyncClient, body: Any) -> None:
    await client.post("/servers/runs/stop")
    answer = await client.post("/servers/runs/restart", json=body)
    assert told(answer) == (409, "Stopped")
    assert answer.json()["canDo"] == ["have it run again with: reconciler start runs"]
    assert (await client.post("/servers/runs/start")).status_code == 202
