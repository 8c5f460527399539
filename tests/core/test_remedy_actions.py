"""Each way out has a twin to press or to copy."""

import re
import shlex
from typing import Any

import pytest

from reconciler.core.reasons import PLACES, filled
from reconciler.core.remedy_actions import PROGRAMS, actions_of
from reconciler.core.ways_out import _within_a_line
from tests.cli.pasted import parse

SERVERS = "/api/v1/servers"
CPU = "reconciler set server/coder spec.gpuLayers=0 spec.flags.device=none 'spec.env.CUDA_VISIBLE_DEVICES=\"\"'"


def post(path: str, **body: Any) -> dict[str, Any]:
    return {"method": "POST", "path": path, "body": body}


def patch(path: str, **body: Any) -> dict[str, Any]:
    return {"method": "PATCH", "path": path, "body": body}


@pytest.mark.parametrize(
    ("way", "command", "request_"),
    [
        ("reconciler restart coder", None, post(f"{SERVERS}/coder/restart")),
        (
            "try again what was asked for, once there is room: reconciler restart coder --primary",
            "reconciler restart coder --primary",
            post(f"{SERVERS}/coder/restart", primary=True),
        ),
        (
            "free the GPU: reconciler stop chat   (it holds 4.0 GiB)",
            "reconciler stop chat",
            post(f"{SERVERS}/chat/stop"),
        ),
        (
            "reconciler set server/coder spec.ctx=8192",
            None,
            patch(f"{SERVERS}/coder", set={"spec.ctx": 8192}),
        ),
        (
            f"run it on the CPU: {CPU}",
            CPU,
            patch(
                f"{SERVERS}/coder",
                set={"spec.gpuLayers": 0, "spec.flags.device": "none", "spec.env.CUDA_VISIBLE_DEVICES": ""},
            ),
        ),
        (
            "use the llama-server of the others: reconciler unset server/coder spec.binary",
            "reconciler unset server/coder spec.binary",
            patch(f"{SERVERS}/coder", unset=["spec.binary"]),
        ),
        (
            "ask for less: `reconciler set server/coder spec.ctx=4096`, or for fewer slots with `spec.parallel`",
            "reconciler set server/coder spec.ctx=4096",
            patch(f"{SERVERS}/coder", set={"spec.ctx": 4096}),
        ),
        (
            "end it, with the command that the message has, or take it over (adopt): reconciler adopt coder",
            "reconciler adopt coder",
            post(f"{SERVERS}/coder/adopt"),
        ),
        (
            "add it to `binaries` in reconciler.toml, or take it out: `reconciler unset server/coder spec.binary`",
            "reconciler unset server/coder spec.binary",
            patch(f"{SERVERS}/coder", unset=["spec.binary"]),
        ),
        ("free the port; see its owner: ss -ltnp sport = :8001", "ss -ltnp sport = :8001", None),
        (
            "see which this build has: '/opt/llama cpp/llama-server' --help",
            "'/opt/llama cpp/llama-server' --help",
            None,
        ),
        ("allow it: chmod a+r '/srv/my models/a.gguf'", "chmod a+r '/srv/my models/a.gguf'", None),
        ("read the end of its log: reconciler logs coder", "reconciler logs coder", None),
        ("start a controller, which goes on with it: reconciler run", "reconciler run", None),
        ("correct the flag: reconciler edit coder", "reconciler edit coder", None),
        ("then start a controller: reconciler run", "reconciler run", None),
        ("free the GPU: pid 4711 ollama holds 9.8 GiB", "", None),
        ("edit manifests/coder.yaml:7", "", None),
        ("write ctx: 4096 at git:coder.yaml:3, commit and push", "", None),
        ("put right what the message says", "", None),
        ("download the file, and write its path: reconciler set server/coder spec.model=FILE.gguf", "", None),
        ("take another: `reconciler profile use NAME`, or none: `reconciler profile use --none`", "", None),
        (
            "make the whole switch: reconciler profile use day",
            "reconciler profile use day",
            post("/api/v1/profiles/day/use"),
        ),
        (
            "run all: reconciler profile use --none",
            "reconciler profile use --none",
            post("/api/v1/profiles/use", name=""),
        ),
        ("have it run: reconciler resume coder", "reconciler resume coder", post(f"{SERVERS}/coder/resume")),
        ("if the removal is meant: reconciler apply coder --prune", "reconciler apply coder --prune", None),
        (
            "say it with: reconciler set server/coder 'spec.env.NOTE=\"a: b\"'",
            "reconciler set server/coder 'spec.env.NOTE=\"a: b\"'",
            patch(f"{SERVERS}/coder", set={"spec.env.NOTE": "a: b"}),
        ),
    ],
)
def test_a_way_out_and_what_it_does(way: str, command: str | None, request_: dict[str, Any] | None) -> None:
    wanted = way if command is None else command or None
    assert actions_of([way]) == [{"text": way, "command": wanted, "request": request_}]


WAYS = [
    filled(way, server="coder", port="8001", file="/a.gguf", program="llama-server")
    for reasons in PLACES.values()
    for reason in reasons
    for way in reason.do
]


@pytest.mark.parametrize("way", WAYS)
def test_every_command_that_is_known_is_found(way: str) -> None:
    (action,) = actions_of([_within_a_line(way)])
    codes = re.findall(r": `([^`]+)`|`(reconciler [^`]+)`", way)
    meant = [code for code in map("".join, codes) if shlex.split(code)[0] in PROGRAMS]
    if meant and not re.search(r"[A-Z]{4}|…", meant[0]):
        assert action["command"] == meant[0]
    if action["command"] and action["command"].startswith("reconciler "):
        parse(shlex.split(action["command"])[1:])
