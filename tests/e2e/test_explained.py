"""What is told of real servers that are not well, and that what it tells people to type does something."""

import json
import re
import shlex
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.core.trouble import EASED
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
    found: list[dict[str, Any]] = []

    def is_told() -> bool:
        """Not while it is tried again, as one is now and then that waits for the world."""
        item = json.loads(installation.cli("describe", "server", name, "-o", "json"))
        found[:] = filter(None, [item["status"]["explanation"]])
        return bool(found)

    installation.wait_for("an explanation", is_told)
    return list(found[0]["canDo"])


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
    assert not [told for told in answers if told.startswith("restart")], "it would end in the same way"
    (installation.models / "broken.gguf").write_bytes((installation.models / "tiny.gguf").read_bytes())
    installation.reconcile()
    installation.wait_ready("broken", "chat")


# ---------------------------------------------------------------- what is told first brings it back


def mended(installation: Installation, name: str, count: int = 1) -> None:
    """Paste the first of its ways out, with what follows from it."""
    ways = list(pasted([way.removeprefix("then ") for way in can_do(installation, name)]))[:count]
    for arguments in ways:
        installation.cli(*arguments)
    installation.wait_for(f"{name} well", lambda: "✗" not in installation.cli("describe", "server", name))
    assert installation.phases()[name] == "Ready"


def stand_in(installation: Installation, script: str) -> str:
    """A program in place of llama-server that runs a line of a script before it."""
    path = installation.root / "stand-in"
    path.write_text(f'#!/bin/sh\n{script}\nexec {shlex.quote(installation.environ["LLAMA_SERVER"])} "$@"\n')
    path.chmod(0o755)
    settings = installation.root / "reconciler.toml"
    settings.write_text(f'binaries = ["{path}", "{installation.root / "gone"}"]\n{settings.read_text()}')
    return str(path)


GPU_GONE = """\
case "$*" in *--help*) ;; *) [ "${CUDA_VISIBLE_DEVICES-unset}" = "" ] || {
  echo "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected" >&2
  echo "CUDA error: no CUDA-capable device is detected" >&2; kill -ABRT $$; } ;; esac"""


def test_what_runs_on_the_cpu_alone_is_kept_by_what_is_told(installation: Installation) -> None:
    installation.declare("chat", binary=stand_in(installation, GPU_GONE), gpuLayers=99, ctx=128)
    installation.start()
    installation.wait_ready("chat")
    lines = told(installation, "chat")
    assert lines[0] == "✗ chat  Degraded: GpuUnavailable"
    assert "CPU only → Ready" in lines[2]
    mended(installation, "chat")


@pytest.mark.parametrize(
    ("flags", "spec", "first"),
    [
        ({"draft-max": 8}, {}, ("unset server/chat spec.flags.draft-max", "set server/chat spec.flags.spec-draft")),
        ({"ctx-siez": 256}, {}, ("unset server/chat spec.flags.ctx-siez", "set server/chat spec.ctx=256")),
        ({}, {"host": "192.0.2.7"}, ("set server/chat spec.host=127.0.0.1",)),
    ],
)
def test_what_is_told_of_a_field_mends_it(
    installation: Installation, flags: dict[str, Any], spec: dict[str, Any], first: tuple[str, ...]
) -> None:
    installation.declare("chat", flags={"warmup": False, **flags}, **spec)
    installation.start()
    installation.wait_phase("chat", "Blocked")
    ways = can_do(installation, "chat")
    for way, start in zip(ways, first, strict=False):
        assert f"reconciler {start}" in way
    mended(installation, "chat", len(first))


def test_a_program_that_is_not_there_is_told_with_its_field(installation: Installation) -> None:
    stand_in(installation, "")
    installation.declare("chat", binary=str(installation.root / "gone"))
    installation.start()
    installation.wait_phase("chat", "Blocked")
    assert "LLAMA_SERVER" not in "".join(told(installation, "chat"))
    mended(installation, "chat")


def test_more_context_than_there_is_is_asked_for_as_it_is(installation: Installation) -> None:
    installation.declare("chat", ctx=100_000, parallel=2)
    installation.start()
    installation.wait_ready("chat")
    assert told(installation, "chat")[0] == "✗ chat  Ready: ContextCapped"
    mended(installation, "chat")


def test_fallback_that_is_off_is_told_first(installation: Installation) -> None:
    limited = Limited(installation)
    limited.declare(installation, fallback="off", restart={"maxRestarts": 0})
    installation.start()
    installation.wait_phase("coder", "Failed")
    assert installation.conditions("coder")["Ready"]["reason"] in EASED, "the cause, and not that it was given up"
    installation.cli(*next(pasted(can_do(installation, "coder"))), "--wait")
    assert told(installation, "coder")[0].startswith("✗ coder  Degraded: ")
    assert "Runs on fallback step 1:\n" in installation.cli("describe", "server", "coder")


def test_a_start_that_takes_too_long_was_ended_by_the_controller(installation: Installation) -> None:
    program = stand_in(installation, 'case "$*" in *--help*) ;; *) exec sleep 1000 ;; esac')
    startup, restart = {"startup": {"deadline": "1s"}}, {"maxRestarts": 0}
    installation.declare("chat", binary=program, probes=startup, restart=restart)
    installation.start()
    installation.wait_phase("chat", "Failed")
    headline, happened, _, ways = told(installation, "chat")
    assert headline == "✗ chat  Failed: StartupTimeout"
    assert "the controller ended it after " in happened
    assert happened.endswith("no progress for 1s (probes.startup.deadline); its log is empty")
    assert "reconciler logs" not in ways
    assert "signal" not in installation.cli("get", "servers"), "nobody has killed it"


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
