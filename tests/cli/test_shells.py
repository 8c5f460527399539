"""Completion in real shells: keys are pressed, and what the shell then runs is looked at."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.cli.filling import Filling

SHELLS = ("bash", "zsh", "fish")
START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "--interactive"],
}
READY = "all-set"
PATIENCE = 30
Press = Callable[..., str]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell that is installed."""
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def begun(shell: str, filling: Filling, root: Path) -> Iterator["pexpect.spawn[str]"]:
    """An interactive shell that has read the completion, in the folder of an installation."""
    filling.ready("coder", ctx=4096)
    filling.failed("chat")
    (root / "models" / "sub").mkdir(parents=True)
    for name in ("tiny.gguf", "sub/two words.gguf"):
        (root / "models" / name).touch()
    (root / "manifests").mkdir()
    # It tells what it was run with, and is the real one where it is asked for completions.
    program = root / "bin" / "reconciler"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'[ -n "$_RECONCILER_COMPLETE" ] && exec {shlex.quote(sys.executable)} -m reconciler "$@"\n'
        "printf 'ran'; printf ' <%s>' \"$@\"; printf ' end\\n'\n"
    )
    program.chmod(0o755)
    script = root / f"completion.{shell}"
    script.write_bytes(subprocess.check_output([sys.executable, "-m", "reconciler", "completion", shell]))
    child = pexpect.spawn(
        shutil.which(shell) or shell,
        START[shell],
        cwd=str(root),
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "xterm", "HOME": str(root)},
        encoding="utf-8",
        timeout=PATIENCE,
        dimensions=(40, 200),
    )
    child.sendline(f"source {script}; echo {READY[:4]}''{READY[4:]}")
    child.expect_exact(READY)
    yield child
    child.close(force=True)


@pytest.fixture
def press(begun: "pexpect.spawn[str]") -> Press:
    """Type a line, press Tab, more of the line, and Enter: what was run."""

    def run(line: str, more: str = "") -> str:
        begun.send(f"{line}\t{more}\r")
        begun.expect(r"ran((?: <[^>]*>)*) end")
        assert isinstance(begun.match, re.Match)
        return begun.match[1].strip()

    return run


CASES = (
    ("reconciler val", "", "<validate>"),
    ("reconciler logs co", "", "<logs> <coder>"),
    ("reconciler logs coder ch", "", "<logs> <coder> <chat>"),
    ("reconciler get servers co", "", "<get> <servers> <coder>"),
    ("reconciler get server/co", "", "<get> <server/coder>"),
    ("reconciler get servers,ev", "", "<get> <servers,events>"),
    ("reconciler get servers --sort", "-x", "<get> <servers> <--sort-by> <-x>"),
    ("reconciler get servers -l ti", "demo", "<get> <servers> <-l> <tier=demo>"),
    ("reconciler get servers -l tier=d", "", "<get> <servers> <-l> <tier=demo>"),
    ("reconciler get servers --field-selector phase=Fa", "", "<get> <servers> <--field-selector> <phase=Failed>"),
    ("reconciler get servers --field-selector=phase=Fa", "", "<get> <servers> <--field-selector=phase=Failed>"),
    ("reconciler wait coder --for=phase=Rea", "", "<wait> <coder> <--for=phase=Ready>"),
    ("reconciler set coder restart.po", "Never", "<set> <coder> <restart.policy=Never>"),
    ("reconciler set coder restart.policy=Al", "", "<set> <coder> <restart.policy=Always>"),
    ("reconciler set server/coder spec.ct", "1", "<set> <server/coder> <spec.ctx=1>"),
    ("reconciler set coder ctx=", "", "<set> <coder> <ctx=4096>"),
    ("reconciler unset coder c", "", "<unset> <coder> <ctx>"),
    ("reconciler create server --from-model sub/", "", "<create> <server> <--from-model> <sub/two words.gguf>"),
    ("reconciler --state sta", " version", "<--state> <state/> <version>"),
    ("reconciler apply -f mani", "", "<apply> <-f> <manifests/>"),
    ("reconciler completion z", "", "<completion> <zsh>"),
    ("reconciler explain server.spec.ct", "", "<explain> <server.spec.ctx>"),
)
"""What is typed before Tab, what behind it, and what runs then."""


def test_words_go_on(press: Press) -> None:
    # One shell for all of them: it takes longer to start than to answer. Zsh takes the slash of a folder back.
    ran = {typed: press(typed, more).replace("/>", ">") for typed, more, _ in CASES}
    assert ran == {typed: wanted.replace("/>", ">") for typed, _, wanted in CASES}


def test_an_alias_is_seen_through(begun: "pexpect.spawn[str]", press: Press, shell: str) -> None:
    more = "; complete -F _reconciler_completion r" if shell == "bash" else ""
    begun.sendline(f"alias r=reconciler{more}; echo {READY[:4]}''{READY[4:]}")
    begun.expect_exact(READY)
    assert press("r logs co") == "<logs> <coder>"


def test_nothing_is_said_where_nothing_can_be_read(press: Press, filling: Filling) -> None:
    assert press("reconciler logs co") == "<logs> <coder>"
    filling.store.close()
    for path in filling.state.glob("state.db*"):
        path.write_bytes(b"no database" * 1000)
    assert press("reconciler logs co") == "<logs> <co>"
    shutil.rmtree(filling.state)
    assert press("reconciler logs co") == "<logs> <co>"


def test_names_that_are_ambiguous_are_shown_with_their_phases(begun: "pexpect.spawn[str]", shell: str) -> None:
    begun.send("reconciler logs c\t\t")
    begun.expect_exact("chat")
    begun.expect_exact("Failed" if shell != "bash" else "coder")
