"""What acts, asked of a real controller over its own interface."""
# ruff: noqa: ASYNC240 - files are looked at between the steps, while nobody waits

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.api.app import create_app
from reconciler.api.bodies import MOST_BODY
from reconciler.controller.daemon import Daemon
from tests.controller.edited import controlled, profile, server
from tests.gitops.remotes import BareRemote

pytestmark = pytest.mark.anyio
DEFAULTS = (
    "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServerDefaults\nmetadata: {name: all}\n"
    "spec:\n  template: {suspend: true}\n"
)


def declare(folder: Path, **texts: str) -> None:
    """Files that have been there for long."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
        os.utime(folder / f"{name}.yaml", (0, 0))


@asynccontextmanager
async def asked(daemon: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(daemon.interface), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://controller/api/v1") as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    declare(tmp_path / "manifests", chat=server("chat"), runs=server("runs", suspend="false"), day=profile("day"))
    return tmp_path / "manifests"


@pytest.fixture
async def daemon(tmp_path: Path, folder: Path) -> AsyncIterator[Daemon]:
    async with controlled(tmp_path) as made:
        yield made


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(daemon) as made:
        yield made


@pytest.fixture(scope="module")
async def refusing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """One for all that is refused: it changes nothing, which each test that has it is held to."""
    root = tmp_path_factory.mktemp("refusing")
    texts = {"chat": server("chat"), "runs": server("runs", suspend="false"), "day": profile("day")}
    declare(root / "manifests", **texts)
    async with controlled(root) as daemon, asked(daemon) as made:
        yield made
        assert {path.stem: path.read_text() for path in (root / "manifests").iterdir()} == texts
        assert not daemon._store.requests().restart
        assert not daemon._store.requests().stop


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of a problem, which says what to do."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", body
    assert body["happened"], body
    assert body["canDo"], body
    return answer.status_code, body["reason"]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# ---------------------------------------------------------------- servers


async def test_what_is_asked_twice_is_one_request(client: httpx.AsyncClient) -> None:
    first = await client.post("/servers/runs/stop")
    assert (first.status_code, len(first.json()["requests"])) == (202, 1)
    assert (await client.post("/servers/runs/stop", json={})).json() == first.json()
    assert (await client.post("/servers/runs/start")).status_code == 202
    again = await client.post("/servers/runs/stop")
    assert again.json()["requests"] > first.json()["requests"], "it was taken back in between"
    await client.post("/servers/runs/start")
    primary = await client.post("/servers/runs/restart", json={"primary": True})
    plain = await client.post("/servers/runs/restart", json={"primary": False})
    assert primary.json() != plain.json()


@pytest.mark.parametrize(
    ("path", "body", "wanted", "tells"),
    [
        ("servers/rans/restart", {}, (404, "UnknownServer"), "did you mean 'runs'?"),
        ("servers/rans/suspend", {}, (404, "UnknownServer"), "did you mean 'runs'?"),
        ("servers/chat/restart", {}, (409, "Suspended"), "reconciler resume chat"),
        ("servers/chat/start", {}, (409, "Suspended"), "reconciler resume chat"),
        ("servers/runs/restart", {"primary": 1}, (400, "BadRequest"), "primary"),
        ("servers/runs/stop", {"primary": True}, (400, "BadRequest"), "stop takes nothing"),
        ("servers/runs/stop", [], (400, "BadRequest"), "expected a JSON object"),
        ("servers/runs/suspend?dryRun=perhaps", {}, (400, "BadRequest"), "expected true or false"),
        ("profiles/dey/use", {}, (404, "UnknownProfile"), "did you mean 'day'?"),
        ("profiles/use", {"name": 1}, (400, "BadRequest"), "PROFILE"),
        ("plan", {"files": [{"path": 1}]}, (400, "BadRequest"), "coder.yaml"),
        ("plan", {"files": [{"path": "a.yaml", "text": 1}]}, (400, "BadRequest"), "coder.yaml"),
        ("plan", {"files": [{"path": "../a.yaml", "text": ""}]}, (400, "BadPath"), "team/coder.yaml"),
        ("apply", {"documents": ["x"]}, (400, "BadRequest"), "documents"),
        ("sync", {}, (404, "UnknownSource"), "source.git"),
        ("sources/gut/suspend", {}, (404, "UnknownSource"), "source.git"),
    ],
)
async def test_what_cannot_be_done_says_why(
    refusing: httpx.AsyncClient, path: str, body: object, wanted: tuple[int, str], tells: str
) -> None:
    answer = await refusing.post(f"/{path}", json=body)
    assert told(answer) == wanted
    assert tells in answer.text


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"a": "\\ud800"}'])
async def test_a_body_that_is_none(refusing: httpx.AsyncClient, body: bytes) -> None:
    assert told(await refusing.post("/servers/runs/stop", content=body)) == (400, "BadRequest")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/manifests/a.yaml"), ("POST", "/apply"), ("POST", "/plan")])
async def test_a_body_without_end_is_not_read_to_its_end(refusing: httpx.AsyncClient, method: str, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * MOST_BODY:
            sent += 65536
            yield b"#" * 65536

    assert told(await refusing.request(method, path, content=endless())) == (413, "TooLarge")
    assert sent < 2 * MOST_BODY


async def test_what_the_profile_leaves_out_is_not_restarted(client: httpx.AsyncClient, folder: Path) -> None:
    await client.patch("/servers/chat", json={"unset": ["suspend"]})
    await client.put("/manifests/day.yaml", content=profile("day", "chat"))
    await client.post("/profiles/day/use")
    assert told(await client.post("/servers/runs/restart")) == (409, "NotInProfile")
    assert (await client.post("/servers/chat/restart")).status_code == 202


async def test_suspended_and_resumed_by_the_manifest(client: httpx.AsyncClient, daemon: Daemon, folder: Path) -> None:
    foretold = await client.post("/servers/runs/suspend?dryRun=true")
    assert (foretold.json()["written"], "suspend: true" in foretold.json()["diff"]) == (False, True)
    assert (folder / "runs.yaml").read_text() == server("runs", suspend="false")
    assert (await client.post("/servers/runs/suspend")).json()["written"]
    assert (folder / "runs.yaml").read_text() == server("runs", suspend="true")
    await client.post("/servers/runs/resume")
    assert (folder / "runs.yaml").read_text() == server("runs").replace("  suspend: true\n", "")


async def test_what_defaults_suspend_is_resumed_by_its_own_word(client: httpx.AsyncClient, folder: Path) -> None:
    await client.post("/apply", content=DEFAULTS)
    await client.post("/servers/chat/resume")
    assert (folder / "chat.yaml").read_text() == server("chat", suspend="false")


async def test_fields_are_set_and_all_else_stays(client: httpx.AsyncClient, folder: Path) -> None:
    changes = {"set": {"spec.ctx": 8192, "flags.threads-batch": 2, "metadata.labels.a.b": "c"}, "unset": ["suspend"]}
    answer = await client.patch("/servers/chat?dryRun=true", json=changes)
    assert answer.json()["written"] is False
    answer = await client.patch("/servers/chat", json=changes)
    assert answer.status_code == 200, answer.text
    text = (folder / "chat.yaml").read_text()
    assert "# who needs it" in text
    assert "spec: # what runs\n" in text
    assert "suspend" not in text
    body = answer.json()
    assert (body["path"], body["written"], "+  ctx: 8192\n" in body["diff"]) == ("chat.yaml", True, True)
    (change,) = (one for one in body["plan"]["changes"] if one["server"] == "chat")
    assert {"spec.ctx", "spec.flags.threads-batch", "metadata.labels.a.b"} <= {one["path"] for one in change["fields"]}
    again = await client.patch("/servers/chat", json=changes)
    assert (again.json()["written"], again.json()["diff"]) == (False, "")
    await client.patch("/servers/chat", json={"unset": ["flags.tb", "metadata.labels.a.b"]})
    assert "threads-batch" not in (folder / "chat.yaml").read_text(), "one flag has several names"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "BadRequest"),
        ({"set": []}, 400, "BadRequest"),
        ({"unset": "ctx"}, 400, "BadRequest"),
        ({"set": {"ctx": 1}, "more": 1}, 400, "BadRequest"),
        ({"set": {"spec.flags": {f"k{number}": 1 for number in range(501)}}}, 400, "BadRequest"),
        ({"set": {"spec.flags.x": deep(900)}}, 400, "BadRequest"),
        ({"set": {"spec.flags.x": deep(25)}}, 422, "InvalidManifest"),
        ({"unset": ["x"] * 501}, 400, "BadRequest"),
        ({"set": {"spec.ctx": 10**400}}, 409, "EditRefused"),
        ({"set": {"metadata.name": "x"}}, 400, "BadField"),
        ({"set": {"spec..ctx": 1}}, 400, "BadField"),
        ({"set": {"kind": "Pod"}}, 400, "BadField"),
        ({"set": {"spec.ctxx": 1}}, 422, "InvalidManifest"),
        ({"set": {"spec.ctx": "many"}}, 422, "InvalidManifest"),
        ({"set": {"spec.port": 0}}, 422, "InvalidManifest"),
        ({"unset": ["spec.model"]}, 422, "InvalidManifest"),
    ],
)
async def test_a_field_that_cannot_be_set(refusing: httpx.AsyncClient, body: object, status: int, reason: str) -> None:
    answer = await refusing.patch("/servers/chat", json=body)
    assert told(answer) == (status, reason)
    if status == 422:
        (problem,) = answer.json()["problems"]
        assert (
            problem["text"].partition("manifests/")[2].startswith(f"chat.yaml:{problem['line']}:{problem['column']}: ")
        )


# ---------------------------------------------------------------- files


async def test_a_file_is_read_changed_and_removed(client: httpx.AsyncClient, daemon: Daemon, folder: Path) -> None:
    listed = (await client.get("/manifests")).json()
    assert (listed["kind"], [one["path"] for one in listed["items"]]) == (
        "ManifestList",
        ["chat.yaml", "day.yaml", "runs.yaml"],
    )
    read = await client.get("/manifests/chat.yaml")
    assert read.json()["text"] == server("chat")
    mine = {"If-Match": read.headers["etag"]}
    foretold = await client.put("/manifests/chat.yaml?dryRun=true", content=server("chat", ctx=1), headers=mine)
    assert (foretold.status_code, foretold.json()["written"]) == (200, False)
    written = await client.put("/manifests/chat.yaml", content=server("chat", ctx=512), headers=mine)
    assert (written.status_code, written.json()["written"]) == (200, True)
    assert told(await client.put("/manifests/chat.yaml", content=server("chat"), headers=mine)) == (
        412,
        "ManifestChanged",
    )
    assert told(await client.delete("/manifests/chat.yaml", headers=mine)) == (412, "ManifestChanged")
    newest = {"If-Match": f'"other", {written.headers["etag"]}'}
    gone = await client.delete("/manifests/chat.yaml", headers=newest)
    assert (gone.status_code, gone.json()["written"], "etag" in gone.headers) == (200, True, False)
    assert not (folder / "chat.yaml").exists()
    assert told(await client.delete("/manifests/chat.yaml")) == (404, "NoManifest")
    assert told(await client.get("/manifests/chat.yaml")) == (404, "NoManifest")


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("new.yaml", {"If-None-Match": "*"}, 200),
        ("new.yaml", {"If-Match": "*"}, 412),
        ("chat.yaml", {"If-None-Match": "*"}, 412),
        ("chat.yaml", {"If-Match": "*"}, 200),
        ("chat.yaml", {"If-Match": 'W/"0"'}, 412),
        ("chat.yaml", {}, 200),
    ],
)
async def test_conditions_of_a_write(
    client: httpx.AsyncClient, folder: Path, name: str, headers: dict[str, str], status: int
) -> None:
    text = server(name.removesuffix(".yaml"), ctx=2048)
    answer = await client.put(f"/manifests/{name}", content=text, headers=headers)
    assert answer.status_code == status, answer.text
    path = folder / name
    assert (path.read_text() if path.exists() else "") == (
        text if status == 200 else server("chat") if name == "chat.yaml" else ""
    )


async def test_errors_are_told_with_their_places(client: httpx.AsyncClient, folder: Path) -> None:
    text = f"{server('a', ctxx=1)}---\n{server('b', port=0)}"
    answer = await client.put("/manifests/new.yaml", content=text)
    assert told(answer) == (422, "InvalidManifest")
    places = [(one["line"], one["column"], one["field"], one["server"]) for one in answer.json()["problems"]]
    assert places == [(9, 3, "spec.ctxx", "a"), (19, 9, "spec.port", "b")]
    assert not (folder / "new.yaml").exists()
    for blank in ("", "  \n"):
        assert told(await client.put("/manifests/chat.yaml", content=blank)) == (422, "InvalidManifest")
    used = await client.put("/manifests/day.yaml", content=profile("day", "chat"))
    assert used.status_code == 200
    gone = await client.delete("/manifests/chat.yaml")
    assert told(gone) == (422, "InvalidManifest"), "a profile names its server"
    assert "chat" in gone.json()["happened"]


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "a%00.yaml", "%2e%2e/x.yaml", ".git/x.yaml", "x.txt", "~.yaml/"],
)
async def test_paths_that_lead_elsewhere(refusing: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await refusing.request(method, f"/manifests/{path}", content=server("x"))
        assert answer.status_code in (400, 404, 405), answer.text


async def test_what_would_happen_with_other_files(client: httpx.AsyncClient, folder: Path) -> None:
    files = [{"path": "chat.yaml", "text": None}, {"path": "new.yaml", "text": server("new", suspend="false")}]
    plan = (await client.post("/plan", json={"files": files})).json()
    assert {one["server"]: one["action"] for one in plan["changes"]} == {
        "chat": "stop",
        "new": "start",
        "runs": "start",
    }
    wrong = (await client.post("/plan", json={"files": [{"path": "chat.yaml", "text": server("chat", ctxx=1)}]})).json()
    assert [one["field"] for one in wrong["problems"]] == ["spec.ctxx"]
    assert (folder / "chat.yaml").exists()


# ---------------------------------------------------------------- documents


async def test_documents_take_the_place_of_their_namesakes(client: httpx.AsyncClient, folder: Path) -> None:
    (folder / "new.yaml").write_text("# a note\n")
    documents = [{"text": server("chat", ctx=512)}, {"text": server("new")}]
    foretold = await client.post("/apply?dryRun=true", json={"documents": documents})
    assert [one["path"] for one in foretold.json()["files"]] == ["chat.yaml", "new-2.yaml"]
    assert not (folder / "new-2.yaml").exists()
    done = await client.post("/apply", json={"documents": documents})
    assert [one["written"] for one in done.json()["files"]] == [True, True]
    assert (folder / "chat.yaml").read_text() == server("chat", ctx=512)
    assert (folder / "new-2.yaml").read_text() == server("new")
    same = await client.post("/apply", content="---\n".join(one["text"] for one in documents))
    assert (same.status_code, same.json()["written"], same.json()["files"]) == (200, False, [])


async def test_documents_with_errors_change_nothing(client: httpx.AsyncClient, folder: Path) -> None:
    answer = await client.post("/apply", content=f"{server('chat', ctx=512)}---\n{server('new', ctxx=1)}")
    assert told(answer) == (422, "InvalidManifest")
    assert [one["text"].partition(": ")[0] for one in answer.json()["problems"]] == ["<request>:19:3"]
    twice = await client.post("/apply", content=f"{server('new')}---\n{server('new')}")
    assert told(twice) == (422, "InvalidManifest")
    assert sorted(one.name for one in folder.iterdir()) == ["chat.yaml", "day.yaml", "runs.yaml"]


async def test_apply_without_documents_looks_at_what_is_there(client: httpx.AsyncClient, folder: Path) -> None:
    declare(folder, late=server("late"))
    foretold = (await client.post("/apply?dryRun=true")).json()
    assert {one["server"] for one in foretold["changes"]} == {"chat", "late", "runs"}
    assert (await client.post("/apply")).json()["problems"] == []


async def test_a_profile_is_used_and_left(client: httpx.AsyncClient, daemon: Daemon, folder: Path) -> None:
    declare(folder, night=profile("night", "runs"))
    for name, others in (("day", "night"), ("night", "day")):
        answer = await client.post(f"/profiles/{name}/use")
        assert (answer.status_code, answer.json()["written"]) == (200, True), answer.text
        assert "active: true" in (folder / f"{name}.yaml").read_text()
        assert "active: true" not in (folder / f"{others}.yaml").read_text()
        assert daemon.loop.acceptance.selection.profile == name
    foretold = await client.post("/profiles/use?dryRun=true", json={"name": ""})
    assert (foretold.json()["written"], daemon.loop.acceptance.selection.profile) == (False, "night")
    assert (await client.post("/profiles/use", json={"name": ""})).status_code == 200
    assert daemon.loop.acceptance.selection.profile == ""
    assert daemon._store.asked_profile() is None


# ---------------------------------------------------------------- Git


async def test_what_comes_from_git_is_changed_there(tmp_path: Path) -> None:
    remote = BareRemote(tmp_path / "remote.git")
    remote.commit({"far.yaml": server("far"), "week.yaml": profile("week", "far")})
    settings = f'[source.git]\nurl = "{remote.url}"\ninterval = "1h"\n'
    declare(tmp_path / "manifests", near=server("near"))
    async with controlled(tmp_path, settings, follows=True) as daemon, asked(daemon) as client:
        await client.post("/sync")
        origins: dict[str, Any] = {one["path"]: one for one in (await client.get("/manifests")).json()["items"]}
        assert {path: one["origin"] for path, one in origins.items()} == {
            "near.yaml": "local",
            "git:far.yaml": "git",
            "git:week.yaml": "git",
        }
        read = (await client.get("/manifests/git:far.yaml")).json()
        assert (read["text"], read["documents"][0]["name"]) == (None, "far")
        assert told(await client.get("/manifests/git:none.yaml")) == (404, "NoManifest")
        refused = [
            await client.put("/manifests/git:far.yaml", content=server("far")),
            await client.delete("/manifests/git:far.yaml"),
            await client.patch("/servers/far", json={"set": {"ctx": 1}}),
            await client.post("/servers/far/suspend"),
            await client.post("/profiles/week/use"),
        ]
        for answer in refused:
            assert told(answer) == (409, "FromGit")
            assert "reconciler sync" in answer.text
        taken = await client.put("/manifests/far.yaml", content=server("far"))
        assert told(taken) == (409, "FromGit")
        assert told(await client.post("/apply", content=profile("week"))) == (409, "FromGit")
        rests = await client.post("/sources/git/suspend")
        assert (rests.status_code, rests.json()["source"]["status"]["suspended"]) == (200, True)
        assert not (await client.post("/sources/git/resume")).json()["source"]["status"]["suspended"]
