"""The interface on TCP, as other programs and browsers meet it."""

import json
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.installation import Installation, installed

pytestmark = pytest.mark.real
Served = tuple[Installation, httpx.Client]
READS = ("servers", "events", "restarts", "profiles", "models", "sources", "summary", "plan", "settings", "session")


def serve(installation: Installation, listen: str, more: str = "") -> None:
    """Have the settings say where to listen."""
    path = installation.root / "reconciler.toml"
    path.write_text(path.read_text().replace('listen = ""', f'listen = "{listen}"\n{more}'))


def free() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, llama_server: str, tiny_model: Path, _ports: Iterator[int]
) -> Iterator[Served]:
    """A controller that serves on TCP, with one server that is Ready."""
    first = next(_ports)
    with installed(tmp_path_factory.mktemp("http"), llama_server, tiny_model, range(first, first + 1)) as installation:
        port = free()
        serve(installation, f"127.0.0.1:{port}")
        installation.declare("chat", labels={"role": "chat"}, flags={"warmup": False, "metrics": True})
        installation.start()
        installation.wait_ready("chat")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False, trust_env=False) as client:
            yield installation, client


def token(installation: Installation) -> str:
    return (installation.state / "token").read_text().strip()


def session(installation: Installation, client: httpx.Client) -> str:
    """As the dashboard begins one."""
    address = installation.cli("ui", "--print").strip()
    base, _, code = address.partition("/#code=")
    assert base == str(client.base_url).rstrip("/")
    answer = client.post("/api/v1/session", json={"code": code})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def restart(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post("/api/v1/servers/chat/restart", headers=headers)


def test_reads_are_open_to_this_machine_and_to_no_other_site(served: Served) -> None:
    _, client = served
    for path in ("/api/v1/servers", "/api/v1/settings", "/metrics", "/", "/v1/models"):
        assert client.get(f"{path}").status_code == 200, path
        led_here = client.get(f"{path}", headers={"host": "evil.example"})
        other_site = client.get(f"{path}", headers={"origin": "http://evil.example"})
        assert [answer.json()["reason"] for answer in (led_here, other_site)] == ["ForeignHost", "ForeignOrigin"]


def test_acting_needs_the_token(served: Served) -> None:
    installation, client = served
    pid = installation.pids()["chat"]
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {token(installation)}"}):
        answer = restart(client, **headers)
        assert (answer.status_code, answer.json()["reason"]) == (401, "TokenNeeded")
        assert answer.headers["content-type"] == "application/problem+json"
    from_elsewhere = restart(client, authorization=f"Bearer {token(installation)}", origin="http://127.0.0.1:3000")
    assert from_elsewhere.status_code == 403
    assert installation.pids()["chat"] == pid
    assert restart(client, authorization=f"Bearer {token(installation)}").status_code == 202
    installation.wait_for("another process", lambda: installation.pids().get("chat") not in (None, pid))
    installation.wait_ready("chat")


def test_no_answer_log_or_table_has_the_token(served: Served) -> None:
    installation, client = served
    text, given = token(installation), session(installation, client)
    assert stat.S_IMODE((installation.state / "token").stat().st_mode) == 0o600
    answers = [client.get(f"/api/v1/{path}", headers={"authorization": f"Bearer {given}"}) for path in READS]
    assert [answer.status_code for answer in answers] == [200] * len(READS)
    shown = (
        "".join(answer.text for answer in answers) + installation.log() + repr(installation.query("select * from meta"))
    )
    assert text not in shown
    assert given not in shown
    assert text.encode() not in (installation.state / "state.db").read_bytes()


def test_other_programs_find_the_servers(served: Served) -> None:
    _, client = served
    (group,) = client.get("/sd/prometheus").json()
    labels = group["labels"]
    assert (labels["reconciler_server"], labels["label_role"]) == ("chat", "chat")
    metrics = client.get(f"{labels['__scheme__']}://{group['targets'][0]}{labels['__metrics_path__']}")
    assert "llamacpp:" in metrics.text
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["ready"]) == ("chat", True)
    asked = {"model": model["id"], "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    assert client.post(f"{model['base_url']}/chat/completions", json=asked, timeout=30).status_code == 200


def test_readiness_tells_of_a_state_that_cannot_be_written(served: Served) -> None:
    installation, client = served
    with closing(sqlite3.connect(installation.state / "state.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        refused = restart(client, authorization=f"Bearer {token(installation)}")
        assert (refused.status_code, refused.json()["reason"]) == (503, "StateUnwritable")
        answer = client.get("/readyz")
        assert (answer.status_code, len(answer.json()["why"])) == (503, 1)
        assert client.get("/healthz").status_code == 200
    installation.wait_for("the state to be written", lambda: ready(client))


def test_sessions_outlive_the_controller_and_end_with_the_token(served: Served) -> None:
    installation, client = served
    given, text = session(installation, client), token(installation)
    installation.end()
    installation.start()
    installation.wait_for("the dashboard", lambda: ready(client))

    def is_valid() -> Any:
        return client.get("/api/v1/session", headers={"authorization": f"Bearer {given}"}).json()["valid"]

    assert is_valid()
    assert token(installation) == text
    (installation.state / "token").unlink()
    assert not is_valid()
    assert token(installation) != text
    assert restart(client, authorization=f"Bearer {given}").json()["reason"] == "TokenNeeded"


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_verb_opens_a_browser_where_there_is_one(served: Served) -> None:
    installation, client = served
    opened = installation.root / "opened"
    browser = installation.root / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        installation.environ.pop(name, None)
    assert "its code is good once" in installation.cli("ui")
    installation.environ["BROWSER"] = str(browser)
    for quiet in ("--no-open", "--print"):
        installation.cli("ui", quiet)
    assert not opened.exists()
    printed = installation.cli("ui").strip()
    assert opened.read_text() == printed
    assert printed.startswith(f"{str(client.base_url).rstrip('/')}/#code=")


def test_a_browser_of_the_terminal_is_not_opened(served: Served) -> None:
    installation, _ = served
    folder = installation.root / "browsers"
    folder.mkdir()
    for name in ("lynx", "broken"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {folder}/$(basename $0).was\nexit 1\n")
        (folder / name).chmod(0o755)
    before = dict(installation.environ)
    installation.environ["PATH"] = f"{folder}:{before['PATH']}"
    try:
        for browser in ("lynx", str(folder / "broken")):
            installation.environ["BROWSER"] = browser
            assert "no browser could be started" in installation.cli("ui")
    finally:
        installation.environ.clear()
        installation.environ.update(before)
    assert [path.name for path in folder.glob("*.was")] == ["broken.was"]


def test_a_taken_port_costs_the_dashboard_alone(installation: Installation) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        serve(installation, f"127.0.0.1:{port}")
        installation.declare("chat")
        installation.start()
        installation.wait_ready("chat")
        installation.wait_for("the event", lambda: "ListenFailed" in dict(installation.events()))
        assert f"not served at 127.0.0.1:{port}" in installation.log()
        told = installation.cli("ui", code=1)
        assert f"ss -ltnp 'sport = :{port}'" in told
        assert "9797" not in told  # which may be the very one that is taken
        assert told.endswith("hint: once that is mended, ask again: reconciler ui\n")
        checks = {one["name"]: one for one in json.loads(installation.cli("doctor", "-o", "json", code=None))["items"]}
        assert checks["interface"]["status"] == "warn"
        assert f"not served at 127.0.0.1:{port}" in checks["interface"]["message"]
    assert installation.end() == 0


def test_without_a_dashboard_the_verb_says_what_to_do(installation: Installation) -> None:
    installation.start()
    installation.wait_for("the controller", installation.is_controlled)
    assert 'listen = "127.0.0.1:9797"' in installation.cli("ui", code=1)
    assert not (installation.state / "token").exists()
    installation.end()
    assert "reconciler run" in installation.cli("ui", code=1)
