"""What must be there before a start, and what happens when it comes."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def test_a_model_copied_in_slowly_is_used_when_it_is_whole(installation: Installation, tiny_model: Path) -> None:
    installation.declare("chat", model="late.gguf")
    installation.start()
    installation.wait_phase("chat", "Blocked")
    assert installation.reason("chat") == "ModelMissing"
    content = tiny_model.read_bytes()
    with (installation.models / "late.gguf").open("wb") as file:
        for begin in range(0, len(content), len(content) // 6):
            file.write(content[begin : begin + len(content) // 6])
            file.flush()
            time.sleep(0.5)
            assert not installation.pids()
    installation.wait_ready("chat")
    assert len(installation.instances("chat")) == 1
    assert installation.query("select n, restarts from servers") == [(0, 0)]


def test_each_missing_thing_is_named_and_costs_no_attempt(installation: Installation, tmp_path: Path) -> None:
    (installation.models / "text.gguf").write_text("not a model")
    (installation.models / "part-00001-of-00002.gguf").write_bytes(b"GGUF")
    (installation.models / "folder.gguf").mkdir()
    old = time.time() - 60
    for path in installation.models.iterdir():
        os.utime(path, (old, old))
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "missing": ({"model": "no.gguf"}, "ModelMissing"),
        "text": ({"model": "text.gguf"}, "ModelBroken"),
        "part": ({"model": "part-00001-of-00002.gguf"}, "ModelMissing"),
        "folder": ({"model": "folder.gguf"}, "ModelBroken"),
        "adapter": ({"flags": {"lora": "no.gguf"}}, "ModelMissing"),
        "projector": ({"flags": {"mmproj": "text.gguf"}}, "ModelBroken"),
        "template": ({"flags": {"chat-template-file": "no.jinja"}}, "FileMissing"),
        "binary": ({"binary": "/bin/true"}, "BinaryNotAllowed"),
        "variable": ({"env": {"KEY_PATH": {"fromEnv": "NOT_SET_ANYWHERE"}}}, "SecretMissing"),
        "secret": ({"env": {"HF_TOKEN": {"fromFile": str(tmp_path / "nothing")}}}, "SecretMissing"),
        "key": ({"apiKeyFile": "keys.txt"}, "SecretMissing"),
    }
    for name, (spec, _) in cases.items():
        installation.declare(name, **spec)
    installation.start()
    installation.wait_for("all Blocked", lambda: set(installation.phases().values()) == {"Blocked"})
    found = {name: installation.reason(name) for name in cases}
    assert found == {name: reason for name, (_, reason) in cases.items()}
    assert installation.query("select count(*) from instances") == [(0,)]


def test_a_stranger_on_the_port_is_named_and_waited_for(installation: Installation, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        installation.declare("chat", port=free_port)
        installation.start()
        installation.wait_phase("chat", "Blocked")
        message = installation.query("select message from servers")[0][0]
        holder = "another program" if installation.is_portable else f"pid {os.getpid()}"
        assert f"port {free_port} is held by {holder}" in message
        assert installation.query("select count(*) from instances") == [(0,)]
    installation.wait_ready("chat")


def test_a_port_of_the_range_that_a_stranger_holds_is_passed_over(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.ports.start)):
        installation.declare("chat")
        installation.start()
        installation.wait_ready("chat")
    assert installation.instances("chat")[0]["port"] == installation.ports.start + 1


def test_a_missing_binary_is_blocked_until_it_is_there(installation: Installation, llama_server: str) -> None:
    link = installation.root / "llama-server"
    installation.environ["LLAMA_SERVER"] = str(link)
    installation.declare("chat")
    installation.start()
    installation.wait_phase("chat", "Blocked")
    assert installation.reason("chat") == "BinaryMissing"
    link.symlink_to(llama_server)
    installation.wait_ready("chat")


def test_secrets_reach_the_server_and_nothing_else(installation: Installation) -> None:
    secret = "correct-horse-battery-staple"
    keys = installation.root / "keys.txt"
    keys.write_text(f"{secret}\n")
    installation.declare("chat", apiKeyFile=str(keys), env={"HF_TOKEN": {"fromFile": str(keys)}})
    installation.start()
    pids = installation.wait_ready("chat")
    environment = Path(f"/proc/{pids['chat']}/environ").read_bytes()
    assert f"HF_TOKEN={secret}".encode() in environment
    assert installation.instances("chat")[0]["effective"]["slots"] == 1  # asked with the key
    written = [Path(f"/proc/{pids['chat']}/cmdline").read_bytes(), installation.log().encode()]
    written += [path.read_bytes() for path in installation.state.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for content in written)
