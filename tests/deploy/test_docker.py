"""The image: its files by the tools that know them, and what it would run, run without it.

No image is built here: that takes a registry and a daemon.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from reconciler.settings import ENVIRONMENT, load_settings
from tests.cli.pasted import parse
from tests.e2e.conftest import installation
from tests.e2e.installation import Installation

__all__ = ["installation"]

TOP = Path(__file__).parents[2]
FOLDER = TOP / "deploy" / "docker"
HEALTHCHECK = FOLDER / "healthcheck"
COMPOSE = ("compose.yaml", "compose.gpu.yaml")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, in order; comments are left out."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines()) if name]


def values(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def environment() -> dict[str, str]:
    """What the image sets."""
    (text,) = values("ENV")
    return dict(word.split("=", 1) for word in shlex.split(text))


def command() -> list[str]:
    """What runs in it below its init."""
    words: list[str] = [*json.loads(values("ENTRYPOINT")[0]), *json.loads(values("CMD")[0])]
    assert words[:3] == ["tini", "--", "reconciler"]
    return words[3:]


def tool(name: str) -> str:
    """A program of the environment that runs the tests."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return found or pytest.fail(f"no {name}: `make` installs it")


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint is installed on Linux alone")
def test_hadolint_finds_nothing() -> None:
    ended = subprocess.run(
        [tool("hadolint"), "--no-color", "--failure-threshold", "style", str(FOLDER / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_compose_files_are_valid() -> None:
    ended = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *(str(FOLDER / one) for one in COMPOSE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = [
        line for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert ignored[0] == "*"
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {word for line in values("COPY") if "--from" not in line for word in line.split()[:-1] if word[0] != "-"}
    assert copied == kept
    assert all((TOP / name).exists() for name in copied)
    # What is private or large stays out of the context, whatever it is called.
    secret = ("state/token", "models/a.gguf", ".git/config", ".venv/bin/python", "reconciler.toml")
    assert not [path for path in secret if any(fnmatch.fnmatch(path.split("/")[0], name) for name in kept)]


def test_the_package_needs_nothing_that_is_not_copied() -> None:
    text = (TOP / "pyproject.toml").read_text()
    assert {"README.md", "LICENSE"} <= {word for line in values("COPY") for word in line.split()}
    assert 'readme = "README.md"' in text


def test_the_image_sets_what_the_program_knows() -> None:
    told = {name: value for name, value in environment().items() if name.startswith("RECONCILER_")}
    assert told.keys() <= ENVIRONMENT.keys()
    settings = load_settings(told)
    assert (settings.server_host, settings.on_exit) == ("0.0.0.0", "stop")
    parse(command())
    users = values("USER")
    assert users[-1] == "10001:10001"
    assert "--start-period" in values("HEALTHCHECK")[0]


def test_compose_speaks_of_the_same_places() -> None:
    service = read("compose.yaml")["services"]["reconciler"]
    env = environment()
    mounted = {volume.split(":")[1 if "}" not in volume else 2] for volume in service["volumes"]}
    assert mounted == {env["RECONCILER_MANIFESTS"], env["RECONCILER_MODELS"], str(Path(env["RECONCILER_STATE"]).parent)}
    exposed = set(values("EXPOSE")[0].split())
    assert {port.rpartition(":")[2] for port in service["ports"]} == exposed
    # Reachable by others only where somebody says so.
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["build"]["dockerfile"] == "deploy/docker/Dockerfile"
    assert (FOLDER / service["build"]["context"]).resolve() == TOP
    gpu = read("compose.gpu.yaml")["services"]["reconciler"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert list(gpu["build"]["args"]) == list(service["build"]["args"]) == ["BASE"]
    assert values("ARG")[0].startswith("BASE=")


def read(name: str) -> Mapping[str, Any]:
    data: Mapping[str, Any] = YAML(typ="safe").load((FOLDER / name).read_text())
    return data


def test_the_healthcheck_is_what_the_image_copies() -> None:
    assert os.access(HEALTHCHECK, os.X_OK)
    (line,) = (line for line in values("COPY") if "healthcheck" in line)
    assert line.split()[-1] == f"/usr/local/bin/{json.loads(values('HEALTHCHECK')[0].partition('CMD ')[2])[0]}"
    # The environment that it is called with is the one that was made.
    assert HEALTHCHECK.read_text().startswith("#!/opt/reconciler/bin/python3 -I\n")
    assert any("venv /opt/reconciler" in line for line in values("RUN"))


def healthy(state: Path) -> tuple[int, str]:
    """What the healthcheck says, called as in a container but for the Python."""
    ended = subprocess.run(
        [sys.executable, "-I", str(HEALTHCHECK)],
        env={"RECONCILER_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def contained(installation: Installation, **more: str) -> None:
    """Begin what the image runs, with what it sets; the folders are the installation's."""
    (installation.root / "reconciler.toml").rename(installation.root / "ports.toml")
    folders = {
        "RECONCILER_MANIFESTS": str(installation.manifests),
        "RECONCILER_STATE": str(installation.state),
        "RECONCILER_MODELS": str(installation.models),
    }
    told = {name: value for name, value in environment().items() if name not in ("PATH", "RECONCILER_HTTP")}
    verb, *arguments = command()
    assert verb == "run"
    settings = str(installation.root / "ports.toml")
    installation.start("--config", settings, *arguments, **{**told, **folders, **more})


@pytest.mark.real
def test_what_the_image_runs(installation: Installation) -> None:
    """Servers can be reached from outside, its health is told, and all end with it."""
    installation.declare("open")
    installation.declare("own", host="127.0.0.1")
    contained(installation)
    pids = installation.wait_ready("open", "own")
    assert healthy(installation.state)[0] == 0
    if not installation.is_portable:
        listens = {name: {one.laddr.ip for one in psutil.Process(pid).net_connections()} for name, pid in pids.items()}
        assert listens == {"open": {"0.0.0.0"}, "own": {"127.0.0.1"}}
    (item,) = json.loads(installation.cli("get", "servers", "open", "-o", "json"))["items"]
    assert item["spec"]["host"] == "0.0.0.0"
    assert "open" not in installation.cli("diff")
    assert '"level": "info"' in installation.log()

    assert installation.controller is not None
    installation.controller.send_signal(signal.SIGSTOP)
    assert healthy(installation.state)[0] == 1
    installation.controller.send_signal(signal.SIGCONT)
    installation.wait_for("it is well again", lambda: healthy(installation.state)[0] == 0)

    assert installation.end() == 0
    assert installation.pids() == {}
    code, text = healthy(installation.state)
    assert (code, "does not answer" in text) == (1, True)


@pytest.mark.real
def test_an_image_without_a_llama_server_says_so_and_is_well(installation: Installation) -> None:
    installation.declare("one")
    contained(installation, LLAMA_SERVER="/opt/llama.cpp/llama-server")
    installation.wait_phase("one", "Blocked")
    assert installation.reason("one") == "BinaryMissing"
    installation.wait_for("it is well", lambda: healthy(installation.state)[0] == 0)
