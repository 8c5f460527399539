import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.kinds import DEFAULTS, other_document
from reconciler.core.model import Now
from tests.cli.conftest import Call
from tests.cli.filling import BOOT, START, Filling, eventually


@pytest.fixture
def told(filling: Filling) -> Filling:
    filling.document("coder")
    filling.event("coder", "Crashed", "signal 9", warning=True)
    filling.event("coder", "Ready", "pid 7", at=60)
    filling.event("chat", "Ready", "pid 8", at=120)
    filling.event("", "ManifestUnreadable", "junk", at=180, warning=True)
    filling.event("source/git", "SourceSynced", "1a2b", at=240)
    return filling


def reasons(text: str) -> list[tuple[str, ...]]:
    """Reason and server."""
    return [tuple(re.split(r" {2,}", line)[2:4]) for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (
            (),
            [
                ("Crashed", "coder"),
                ("Ready", "coder"),
                ("Ready", "chat"),
                ("ManifestUnreadable", "-"),
                ("SourceSynced", "source/git"),
            ],
        ),
        (("--for", "server/coder"), [("Crashed", "coder"), ("Ready", "coder")]),
        (("--for", "coder", "--for", "srv/chat"), [("Crashed", "coder"), ("Ready", "coder"), ("Ready", "chat")]),
        (("--for", "source/git"), [("SourceSynced", "source/git")]),
        (("--reason", "ready"), [("Ready", "coder"), ("Ready", "chat")]),
        (("--reason", "Crashed", "--reason", "Ready", "--for", "coder"), [("Crashed", "coder"), ("Ready", "coder")]),
        (("--warnings",), [("Crashed", "coder"), ("ManifestUnreadable", "-")]),
        (("--limit", "1"), [("SourceSynced", "source/git")]),
        (("--warnings", "--limit", "1"), [("ManifestUnreadable", "-")]),
    ],
)
def test_events(told: Filling, call: Call, arguments: tuple[str, ...], found: list[tuple[str, ...]]) -> None:
    called = call("events", *arguments)
    assert (called.code, reasons(called.out)) == (0, found)


def test_what_happened_lately(told: Filling, call: Call) -> None:
    told.event("chat", "Failed", "now", at=time.time() - START)
    assert reasons(call("events", "--since", "10m").out) == [("Failed", "chat")]
    assert call("events", "--since", "ten").code == 2


def test_as_data(told: Filling, call: Call) -> None:
    found = json.loads(call("events", "--for", "chat", "-o", "json").out)
    assert (found["kind"], [item["message"] for item in found["items"]]) == ("EventList", ["pid 8"])
    assert call("events", "-o", "yaml").out.startswith("apiVersion:")


def test_nothing_is_no_error(told: Filling, call: Call) -> None:
    called = call("events", "--reason", "Rebooted")
    assert (called.code, called.out) == (0, "")
    assert "nothing of that happened; see all with: reconciler events" in called.err


@pytest.mark.parametrize("kind", ["Profile", "LlamaServerDefaults"])
def test_to_what_is_declared_nothing_need_have_happened(told: Filling, call: Call, kind: str) -> None:
    spec = json.dumps({"template": {"ctx": 1}} if kind == DEFAULTS else {"servers": ["coder"]})
    document = other_document(kind, spec, name="day", file="d.yaml", line=1)
    with told.store.transaction():
        told.store.save_other(document, Now(0, START, BOOT))
    called = call("events", "--for", f"{kind}/day")
    assert (called.code, called.out) == (0, "")
    assert called.err.endswith("nothing of that happened; see all with: reconciler events\n")
    called = call("events", "--for", f"{kind}/dya")
    assert (called.code, called.out) == (1, "")
    assert f"nothing is known of '{kind}/dya', did you mean '{kind}/day'?" in called.err


def test_an_unknown_name_is_refused(told: Filling, call: Call) -> None:
    called = call("events", "--for", "server/codr")
    assert (called.code, called.out) == (1, "")
    assert "nothing is known of 'codr', did you mean 'coder'?" in called.err


class Following:
    """`events -f` in a pipe."""

    def __init__(self, root: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "reconciler", "events", "-f", *arguments]
        self.path = root / "followed.txt"
        with self.path.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=root, stdout=output, stderr=subprocess.STDOUT)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()


@pytest.fixture
def following(told: Filling, root: Path) -> Iterator[Following]:
    found = Following(root, "--for", "coder")
    yield found
    found.process.kill()
    found.process.wait()


def test_following(told: Filling, following: Following) -> None:
    eventually(lambda: len(following.lines()) == 3)
    told.event("chat", "Failed", "not asked for", at=300)
    told.event("coder", "Failed", "gave up", at=310)
    eventually(lambda: len(following.lines()) == 4)
    told.event("coder", "Failed", "gave up", at=320)
    eventually(lambda: len(following.lines()) == 5)
    assert [re.split(r" {2,}", line)[2:] for line in following.lines()[3:]] == [
        ["Failed", "coder", "1", "gave up"],
        ["Failed", "coder", "2", "gave up"],
    ]
    following.process.send_signal(signal.SIGINT)
    assert following.process.wait(10) == 130


def test_what_is_told_once_is_not_told_again_when_others_fall_out_of_the_list(told: Filling, root: Path) -> None:
    for number in range(6):
        told.event("coder", "Ready", f"pid {number}", at=400 + number)
    followed = Following(root, "--limit", "3")
    try:
        eventually(lambda: len(followed.lines()) == 4)
        told.event("coder", "Ready", "pid 99", at=500)
        eventually(lambda: len(followed.lines()) >= 5)
        told.event("chat", "Ready", "pid 100", at=501)
        eventually(lambda: "pid 100" in followed.lines()[-1])
        assert len(followed.lines()) == 6
    finally:
        followed.process.kill()
        followed.process.wait()
