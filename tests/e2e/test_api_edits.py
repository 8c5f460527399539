"""Acts and edits over the interface, and what becomes of real servers."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.installation import Installation, document

pytestmark = pytest.mark.real


@pytest.fixture
def client(installation: Installation) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(installation.state / "controller.sock"))
    with httpx.Client(transport=transport, base_url="http://controller", timeout=30) as made:
        yield made


def begin(installation: Installation) -> None:
    installation.start()
    installation.wait_for("the interface", installation.is_controlled)


def press(client: httpx.Client, installation: Installation, name: str, verb: str) -> httpx.Response:
    """The first remedy of a server that asks for this, as a button does it."""
    found: list[dict[str, Any]] = []

    def is_told() -> bool:
        status = client.get(f"/api/v1/servers/{name}").json()["status"]
        actions = (status["explanation"] or {}).get("actions", ())
        found[:] = [one["request"] for one in actions if one["command"] and one["command"].startswith(verb)]
        return bool(found)

    installation.wait_for(f"a remedy of {name} with {verb}", is_told)
    return client.request(found[0]["method"], found[0]["path"], json=found[0]["body"])


def test_a_server_from_its_first_text_to_its_removal(installation: Installation, client: httpx.Client) -> None:
    """Each step leads to what the same command would."""
    for name in ("a", "b", "c"):
        installation.declare(name, model="no.gguf")
    begin(installation)
    made = client.put("/api/v1/manifests/team/chat.yml", content=document("chat"), headers={"If-None-Match": "*"})
    assert made.status_code == 200, made.text
    assert {one["server"]: one["action"] for one in made.json()["plan"]["changes"]}["chat"] == "start"
    pids = [installation.wait_ready("chat")["chat"]]

    def renewed() -> None:
        installation.wait_for("another process", lambda: installation.pids().get("chat") not in (None, *pids))
        pids.append(installation.wait_ready("chat")["chat"])

    assert client.post("/api/v1/servers/chat/restart").status_code == 202
    renewed()
    assert client.patch("/api/v1/servers/chat", json={"set": {"ctx": 256}}).json()["written"]
    renewed()
    assert installation.instances("chat")[-1]["trigger"] == "SpecChanged"
    assert client.post("/api/v1/servers/chat/stop").status_code == 202
    installation.wait_phase("chat", "Stopped")
    assert client.post("/api/v1/servers/chat/start").status_code == 202
    renewed()
    assert client.post("/api/v1/servers/chat/suspend").json()["written"]
    installation.wait_phase("chat", "Stopped")
    assert client.post("/api/v1/servers/chat/resume").json()["written"]
    renewed()
    assert client.delete("/api/v1/manifests/team/chat.yml").json()["written"]
    installation.wait_for("its end", lambda: "chat" not in installation.phases())
    assert not installation.pids()


def test_the_buttons_of_a_diagnosis_mend_it(installation: Installation, client: httpx.Client, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        installation.declare("typo", flags={"warmup": False, "thread-batch": 1})
        installation.declare("taken", port=free_port)
        begin(installation)
        installation.wait_for("both Blocked", lambda: list(installation.phases().values()) == ["Blocked"] * 2)
        for name, verb in (("typo", "reconciler unset"), ("taken", "reconciler set")):
            answer = press(client, installation, name, verb)
            assert (answer.status_code, answer.json()["written"]) == (200, True), answer.text
        installation.wait_ready("typo", "taken")
