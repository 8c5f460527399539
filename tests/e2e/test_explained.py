"""What is told of real servers that are not well, and that what it tells people to type does something."""

import json
import re
import shlex
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.pasted import commands
from tests.e2e.installation import Installation
from tests.e2e.limited import ASKED, Limited

pytestmark = pytest.mark.real

HEADINGS = ("What happened   ", "What I tried    ", "What you can do ")


def told(installation: Installation, name: str) -> list[str]:
    """The end of its description."""
    out = installation.cli("describe", "server", name)
    return out[out.index("✗") :].splitlines()


def can_do(installation: Installation, name: str) -> list[str]:
    item = json.loads(installation.cli("describe", "server", name, "-o", "json"))
    return list(item["status"]["explanation"]["canDo"])


def pasted(ways: list[str]) -> Iterator[list[str]]:
    """Each command of some ways out, as its words."""
    for way in ways:
        if way.startswith("reconciler "):
            yield shlex.split(way)[1:]
        else:
            yield from commands(way)
            yield from ([verb] for verb in re.findall(r"`reconciler (\w+)`", way))


def paste(installation: Installation, name: str) -> dict[str, str]:
    """What each command that is told of a server answers; none of them is misunderstood."""
    installation.environ["EDITOR"] = "true"
    answers = {}
    for arguments in pasted(can_do(installation, name)):
        answers[" ".join(arguments)] = answer = installation.cli(*arguments, code=None)
        assert "Usage" not in answer, answer
        assert "Traceback" not in answer, answer
        assert "No such" not in answer, answer
    return answers


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens who is no llama-server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_missing_model(installation: Installation, tiny_model: Any) -> None:
    installation.declare("chat", model="no.gguf")
    installation.start()
    installation.wait_phase("chat", "Blocked")
    lines = told(installation, "chat")
    assert lines[0] == "✗ chat  Blocked: ModelMissing"
    assert [line[2:18] for line in lines[1:]] == list(HEADINGS)
    assert f"no file at {installation.models / 'no.gguf'}" in lines[1]
    answers = paste(installation, "chat")
    assert answers["edit chat"].startswith("edit cancelled")
    assert "tiny.gguf" in answers["models"]
    (installation.models / "no.gguf").write_bytes(tiny_model.read_bytes())
    installation.wait_ready("chat")
    assert "✗" not in installation.cli("describe", "server", "chat")


def test_a_port_that_somebody_has(installation: Installation, taken: int) -> None:
    installation.declare("chat", port=taken)
    installation.start()
    installation.wait_phase("chat", "Blocked")
    lines = told(installation, "chat")
    assert lines[0] == "✗ chat  Blocked: PortInUse"
    answers = paste(installation, "chat")
    assert "set server/chat spec.port=auto" in answers
    installation.wait_ready("chat")


def test_a_broken_model_is_told_by_the_verb_that_waited(installation: Installation) -> None:
    (installation.models / "broken.gguf").write_bytes(b"GGUF" + bytes(4096))
    installation.declare("broken", model="broken.gguf", restart={"maxRestarts": 0})
    installation.declare("chat")
    installation.start()
    installation.wait_ready("chat")
    installation.wait_phase("broken", "Failed")
    out = installation.cli("wait", "broken", "chat", "--timeout", "0s", code=1)
    lines = out.splitlines()
    at = lines.index("✗ broken  Failed: ModelBroken")
    assert [line[2:18] for line in lines[at + 1 : at + 4]] == list(HEADINGS)
    assert lines[at + 4].startswith("error: not Ready")
    assert "it ended after " in lines[at + 1]
    answers = paste(installation, "broken")
    assert "restart broken" in answers
    assert "✗ broken  Failed: ModelBroken" in answers["restart broken"]


def test_a_reason_that_is_shown_can_be_explained(installation: Installation) -> None:
    installation.declare("chat", model="no.gguf")
    installation.start()
    installation.wait_phase("chat", "Blocked")
    for condition in installation.conditions("chat").values():
        out = installation.cli("explain", condition["reason"])
        assert out.startswith(f"Reason:          {condition['reason']}\n")


def test_what_is_told_of_a_fallback_step_brings_it_back(installation: Installation) -> None:
    limited = Limited(installation)
    limited.declare(installation)
    installation.start()
    installation.wait_ready("coder")
    lines = told(installation, "coder")
    assert lines[0].startswith("✗ coder  Degraded: ")
    assert f"1. ctx {ASKED} → " in lines[2]
    assert lines[2].endswith(" (running now)")
    again = installation.cli("restart", "coder", "--primary", code=1)
    assert "\n✗ coder  Degraded: " in again, "it is told behind the verb too"
    first, *_, last = list(pasted(can_do(installation, "coder")))
    assert first == ["set", "server/coder", f"spec.ctx={ASKED // 2}"]
    assert last == ["restart", "coder", "--primary"]
    installation.cli(*first, "--wait")
    installation.wait_for("as asked", lambda: "✗" not in installation.cli("describe", "server", "coder"))
    assert installation.phases() == {"coder": "Ready"}
