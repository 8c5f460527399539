"""What somebody sees in a terminal: live lists, progress, widths, colours; and what a pipe gets instead."""

import json
import os
import signal

import pytest

from reconciler.cli.terminal import cells
from tests.e2e.installation import Installation, document
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.real
LONG = "a-server-with-a-name-as-long-as-names-may-be-for-nobody-forbids"
READING = (
    ("get", "servers"),
    ("get", "events"),
    ("get", "restarts"),
    ("describe", "server", LONG),
    ("diff",),
    ("models",),
    ("top", "--once"),
    ("rollout", "history", LONG),
    ("explain", "server.spec.probes"),
    ("get", "all"),
)
STATES = {"Ready", "Starting", "Stopped", "Stopping", "Failed", "BackOff", "Blocked", "Pending", "Invalid", "Unhealthy"}


@pytest.fixture
def served(installation: Installation) -> Installation:
    """A server that is well, one with a long name that is not, and a controller."""
    installation.declare("chat", labels={"tier": "fast"})
    installation.declare(LONG, model="a/rather/long/path/to/a/model/that/nobody/has-Q4_K_M.gguf")
    installation.start()
    installation.wait_phase("chat", "Ready")
    installation.wait_phase(LONG, "Blocked")
    return installation


def may_be_cut(line: str, columns: int) -> bool:
    """Commands and paths are told whole, or nobody could copy them."""
    return "reconciler " not in line and max(map(len, line.split())) < columns - 25


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_nothing_is_wider_than_the_terminal_and_only_states_have_colour(served: Installation, columns: int) -> None:
    for arguments in READING:
        with Terminal(served, *arguments, columns=columns) as terminal:
            terminal.end()
            assert [line for line in terminal.lines if cells(line) > columns and may_be_cut(line, columns)] == [], (
                arguments
            )
            # A change is painted as a whole: what it does is its state.
            painted = {text.strip() for text in terminal.painted if text[0] not in "~+-!"}
            assert painted <= STATES, arguments


def test_no_colour_where_none_is_wanted(served: Installation) -> None:
    with Terminal(served, "get", "servers") as terminal:
        assert terminal.end() == 0
        assert "Ready" in {text.strip() for text in terminal.painted}
    with Terminal(served, "get", "servers", NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        assert "\x1b[" not in terminal.output
    assert "\x1b[" not in served.cli("get", "servers")


def test_a_list_is_live_until_ctrl_c(served: Installation) -> None:
    with Terminal(served, "get", "servers", "-w", columns=120) as terminal:
        terminal.wait_for("Ready")
        before = served.pids()["chat"]
        os.kill(before, signal.SIGKILL)
        shown = terminal.wait_for(lambda text: "Ready" in text and str(before) not in text)
        assert shown.count("chat ") == 1, shown
        served.cli("stop", "chat")
        terminal.wait_for("Stopped")
        assert terminal.interrupt() == 130
        assert "Traceback" not in terminal.output


def test_apply_shows_how_it_goes(served: Installation) -> None:
    (served.root / "new.yaml").write_text(document("chat", ctx=256) + "---\n" + document("other"))
    with Terminal(served, "apply", "-f", "new.yaml", columns=60) as terminal:
        assert terminal.end() == 0
        assert "chat   Ready" in terminal.text
        assert "1 started, 1 changed, 0 unchanged, 0 stopped, 0 failed" in terminal.text


def test_quiet_leaves_out_all_but_data_and_errors(served: Installation) -> None:
    assert served.cli("-q", "restart", "chat") == ""
    assert served.cli("stop", "chat", "--quiet") == ""
    assert served.cli("start", "chat", "-q", "--no-wait") == ""
    served.wait_phase("chat", "Ready")
    assert served.cli("apply", "chat", "-q") == ""
    assert (
        json.loads(served.cli("get", "servers", "chat", "-o", "json", "-q"))["items"][0]["metadata"]["name"] == "chat"
    )
    assert served.cli("get", "servers", "chat", "-q").startswith("NAME ")
    assert served.cli("restart", "chta", "-q", code=1).startswith("error: no server 'chta', did you mean 'chat'?")
