"""Whatever stands in manifests, names of files, logs and the database: no verb hands a terminal a command in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.core.history import Condition, Status
from reconciler.core.model import Effective, Exit, Phase
from reconciler.core.source import Revision
from tests.cli.conftest import Call
from tests.cli.filling import COMMIT, NEXT, START, Filling, stamp
from tests.cli.test_watch import Terminal

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202e\u2028\x85\x7fx"
"""A title, a cleared screen, colours, overwriting, another direction, odd line ends."""
NO_CONTROLS = "\x9b2J\u202e\x85x"
"""What a one-line text in a manifest may hold of it."""
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[1A|\x1b\[2K|\r\n")
"""Colours, rich's cursor, and the terminal's own line ends."""


def commands(text: str) -> list[str]:
    return [one for one in OURS.sub("", text) if not one.isprintable() and one not in "\n\t"]


@pytest.fixture
def evil(filling: Filling, root: Path) -> Path:
    """An installation in which everything that can be is hostile."""
    filling.document(
        "coder", file=f"manifests/{EVIL}.yaml", model=f"/m/{NO_CONTROLS}.gguf", flags={"alias": NO_CONTROLS}
    )
    begun = filling.instance("coder", attempt=1)
    filling.end(begun, exit=Exit(code=1), diagnosis="Crashed", evidence=EVIL, log_tail=f"{EVIL}\nsecond {EVIL}")
    filling.instance(
        "coder",
        at=50,
        ready=stamp(2),
        effective=Effective(1024, 4, EVIL, unverified=EVIL),
        models=({"id": EVIL, "size": 1},),
        spec={"model": EVIL, "ctx": 4},
    )
    told = (Condition("Ready", False, "Failing", EVIL, START), Condition("Reconciled", False, "GateShut", EVIL, START))
    filling.record("coder", Status(Phase.UNHEALTHY, EVIL, told), last_error=EVIL)
    filling.event("coder", "Crashed", EVIL, warning=True)
    filling.source(
        path=EVIL,
        applied=Revision(COMMIT, EVIL, START),
        pending=Revision(NEXT, EVIL, START),
        problems=(EVIL, f"{EVIL}.yaml:1:1: {EVIL}"),
        reason="GitFailed",
        error=EVIL,
        error_since=START,
    )
    filling.event("source/git", "RevisionRejected", EVIL, warning=True)
    filling.meta("manifests", '{"folderProblem": "\\u001b[2J\\u009b1m", "problems": ["\\u001b[2J"], "prunable": []}')
    logs = filling.state / "logs" / "coder"
    logs.mkdir(parents=True)
    (logs / "uid2.log").write_text(f"{EVIL}\n" * 3)
    (root / "manifests").mkdir()
    write_manifests(root / "manifests")
    return root


def write_manifests(folder: Path) -> None:
    manifest = (
        "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\n"
        "metadata: {{name: {name}, labels: {{tier: {label}}}}}\nspec: {{model: a}}\n"
    )
    odd = os.fsencode(str(folder)) + b"/odd\x1b[2J\xff\n.yaml"
    Path(os.fsdecode(odd)).write_text(manifest.format(name="odd", label='"\\x9b2J\\u202e"'))
    (folder / "broken.yaml").write_text(manifest.format(name='"\\e[2J"', label='"\\x1b"') + "\n---\nkind: [\x9b")
    (folder / "unknown.yaml").write_text('"\\e[2Jkey\\x9b": "\\e[31m"\n')


VERBS = (
    ("get", "servers"),
    ("get", "servers", "-o", "wide"),
    ("get", "servers", "-o", "json"),
    ("get", "servers", "-o", "yaml"),
    ("get", "events"),
    ("get", "events", "-o", "json"),
    ("get", "restarts", "-o", "wide"),
    ("get", "restarts", "-o", "json"),
    ("get", "restarts", "-o", "yaml"),
    ("describe", "server", "coder"),
    ("get", "sources"),
    ("get", "sources", "-o", "wide"),
    ("get", "sources", "-o", "json"),
    ("get", "sources", "-o", "yaml"),
    ("get", "sources", "-o", "name"),
    ("describe", "source", "git"),
    ("logs", "coder"),
    ("logs", "coder", "--tail", "1"),
    ("validate",),
    ("validate", "-o", "json"),
    ("validate", "--strict"),
    ("validate", "--strict", "-o", "github"),
    ("validate", f"no{EVIL}file"),
    ("diff",),
    ("diff", "-o", "json"),
    ("apply", "--dry-run"),
    ("apply",),
    ("get", f"no{EVIL}list"),
    ("describe", "server", f"no{EVIL}server"),
    (f"no{EVIL}verb",),
    ("get", "servers", f"--no{EVIL}option"),
    ("get", "servers", "--state", f"no{EVIL}folder"),
    ("validate", f"no{EVIL}file", "--debug"),
)


@pytest.mark.parametrize("arguments", VERBS, ids=[f"{number}-{' '.join(v)!a}" for number, v in enumerate(VERBS)])
def test_a_terminal_is_given_no_command(evil: Path, arguments: tuple[str, ...]) -> None:
    terminal = Terminal(evil, *arguments)
    terminal.end()
    assert len(terminal.text) > 5
    assert "unexpected:" not in terminal.text
    assert commands(terminal.text) == []


@pytest.mark.parametrize(
    "arguments", [v for v in VERBS if v[0] != "logs" and "yaml" not in v], ids=lambda v: repr(" ".join(v))
)
def test_nor_is_one_behind_a_pipe(evil: Path, arguments: tuple[str, ...]) -> None:
    """Somebody may well have `| head` behind it; JSON says the same escaped."""
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", *arguments], cwd=evil, capture_output=True, text=True, check=False
    )
    assert commands(done.stdout + done.stderr) == []


def test_an_event_is_kept_as_one_harmless_line(filling: Filling, call: Call) -> None:
    filling.event("coder", "Crashed", f"first {EVIL}\nsecond \udcff")
    filling.event("coder", "Crashed", f"first {EVIL}\nsecond \udcff", at=1)
    ((message, count),) = filling.store._db.execute("select message, count from events").fetchall()
    assert commands(message) == []
    assert message.startswith("first ")
    assert "\n" not in message
    assert count == 2
