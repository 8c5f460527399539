"""The README's tour, typed as it stands there, into an installation with the demo's own manifests and models."""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.demo.limits import write_limited_program
from reconciler.demo.models import write_demo_models
from tests.docs.pages import ROOT, Block, blocks
from tests.e2e.installation import Installation, installed

pytestmark = pytest.mark.real
README = ROOT / "README.md"
JSON = ROOT / "docs" / "reference" / "json.md"
MOVES = ("reconciler set server/chat ctx=2048", "kill", "reconciler rollback")
"""Lines after which a reader would see something happen."""
SERVERS = ("chat", "embedder", "reader")
STEPS = (
    "A five-minute tour",
    "See a change before it is made",
    "Edit a file, and only that server restarts",
    "Kill it",
    "Make a mistake",
    "Ask for too much",
    "Use one in a script",
    "Look at all of it in a browser",
    "End the controller",
    "Stop and start",
)


class Reader:
    """Somebody who types what the README says, in the order in which it says it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        shutil.copytree(ROOT / "manifests", installation.manifests, dirs_exist_ok=True)
        for path in write_demo_models(installation.models):
            subprocess.run(["touch", "-d", "@0", path], check=True)
        program = write_limited_program(installation.models, installation.environ["LLAMA_SERVER"])
        settings = installation.root / "reconciler.toml"
        listens = settings.read_text().replace('listen = ""', f'listen = "127.0.0.1:{installation.ports.stop - 1}"')
        settings.write_text(f'binaries = ["models/{program.name}"]\n{listens}')
        program = installation.root / ".venv" / "bin" / "reconciler"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def type(self, heading: str) -> None:
        """Everything below a heading; what it prints must be what stands there."""
        typed, printed = "", ""
        for block in _below(heading):
            if block.language == "text":
                assert _shape(printed) == _shape(block.text), f"{block}\n{printed}"
            else:
                printed = ""
                for line in block.text.splitlines():
                    typed = line
                    printed += self._line(line)
        assert typed

    def _line(self, line: str) -> str:
        """One line in a shell; ports are those that the installation may use."""
        first = self.installation.ports.start
        line = line.replace(":8001/", f":{first}/").replace(":8002/", f":{first + 1}/")
        line = line.replace(":9797/", f":{self.installation.ports.stop - 1}/")
        done = subprocess.run(
            ["bash", "-c", f"export PATH=$PWD/.venv/bin:$PATH\n{line}"],
            cwd=self.installation.root,
            env=self.installation.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        # `diff` ends with 1 for changes.
        assert done.returncode == 0 or "diff" in line, f"{line}\n{done.stdout}{done.stderr}"
        # What is less than asked for is told behind the work of every verb.
        assert done.stderr == "" or done.stderr.startswith("✗ reader  Degraded: "), f"{line}\n{done.stderr}"
        if line.startswith(MOVES):
            self.settle()
        return done.stdout

    def settle(self) -> None:
        """What takes a reader a moment."""
        self.installation.reconcile()
        self.installation.wait_ready(*SERVERS)


def _below(heading: str) -> list[Block]:
    """Shell and what it prints, in the order of the page."""
    found = [block for block in blocks("sh", README) + blocks("text", README) if block.heading == heading]
    return sorted(found, key=lambda block: block.line)


def _shape(text: str) -> list[str]:
    """What does not depend on the moment or the machine: words with digits, and paths, may differ."""
    return [
        " ".join("#" if re.search(r"\d", word) or word.startswith("/") else word for word in line.split())
        for line in text.splitlines()
    ]


@pytest.fixture
def reader(tmp_path: Path, llama_server: str, tiny_model: Path, free_port: int) -> Iterator[Reader]:
    with installed(tmp_path, llama_server, tiny_model, range(free_port, free_port + 10)) as installation:
        yield Reader(installation)


def test_the_tour_has_these_steps() -> None:
    tour = README.read_text().partition("## A five-minute tour")[2].partition("### Your own model")[0]
    assert tuple(re.findall(r"^### (.*)$", tour, re.MULTILINE)) == STEPS[1:]


@pytest.mark.early
def test_the_tour_goes_as_it_is_told(reader: Reader) -> None:
    installation = reader.installation
    installation.start()
    begun = installation.wait_ready(*SERVERS)
    for step in STEPS[:3]:
        reader.type(step)
    edited = installation.pids()
    assert edited["embedder"] == begun["embedder"]
    assert edited["chat"] != begun["chat"]
    reader.type("Kill it")
    healed = installation.pids()
    assert healed["embedder"] == begun["embedder"]
    reader.type("Make a mistake")
    assert installation.pids() == healed
    reader.type("Ask for too much")
    assert installation.pids() == healed
    reader.type("Use one in a script")
    reader.type("Look at all of it in a browser")
    assert "tiny-chat.gguf" in (installation.manifests / "chat.yaml").read_text()

    assert installation.end(signal.SIGINT) == 0
    reader.type("End the controller")
    assert installation.pids() == healed
    installation.start()
    installation.wait_for("the controller to answer", installation.is_controlled)
    installation.reconcile()
    assert installation.wait_ready(*SERVERS) == healed

    reader.type("Stop and start")
    installation.wait_ready(*SERVERS)
    _the_documented_json_has_the_real_keys(installation)


def _the_documented_json_has_the_real_keys(installation: Installation) -> None:
    told = {block.heading: json.loads(block.text) for block in blocks("json", JSON)}
    for heading, what in (("Servers", "servers"), ("Restarts", "restarts"), ("Events", "events")):
        real = json.loads(installation.cli("get", what, "-o", "json"))
        assert real["kind"] == told[heading]["kind"]
        spec = ("spec",)
        assert _keys(told[heading], spec) == _keys(real, spec), heading
    changed = (installation.manifests / "chat.yaml").read_text().replace("ctx: 2048", "ctx: 512")
    real = json.loads(installation.cli("diff", "-f", "-", "-o", "json", stdin=changed, code=1))
    assert _keys(told["Changes"]) == _keys(real)


def _keys(value: Any, without: tuple[str, ...] = ()) -> set[str]:
    """Every path of keys in some JSON; of `without` only the key itself."""
    if isinstance(value, list):
        return {path for item in value for path in _keys(item, without)}
    if not isinstance(value, dict):
        return set()
    below = {
        f"{key}.{path}"
        for key, item in value.items()
        if key not in (*without, "labels")
        for path in _keys(item, without)
    }
    return {*value, *below}


@pytest.mark.parametrize("text", ["1 restart, 2 unchanged", "PORT  8001"])
def test_another_shape_is_seen(text: str) -> None:
    assert _shape(text) == _shape(text.replace("8001", "9").replace("2", "7"))
    assert _shape(text) != _shape(text.replace("restart", "update").replace("PORT", "PID"))
