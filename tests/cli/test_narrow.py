"""What a terminal of few columns shows."""

import re
import time
from collections.abc import Callable

import pytest

from reconciler.cli import describe_server, explanations, history, listing, sections
from reconciler.cli.folding import fold, fold_behind
from reconciler.cli.terminal import cells
from reconciler.core.history import Trigger
from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import START, Filling, status

PORT_IN_USE = (
    "port 23032 is held by pid 10638 (llama-server, user root), a llama-server with ctx 256, declared 128; "
    "take it over as it is with: reconciler adopt differs, or end it with: kill 10638"
)


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def narrow(number: int) -> None:
        for module in (listing, describe_server, explanations, sections, history):
            monkeypatch.setattr(module, "width", lambda: number)

    return narrow


def fill(filling: Filling) -> None:
    filling.ready("chat-of-the-office", port=8001)
    filling.document("differs", port=23032, model="a-rather-long-name-of-a-model.gguf")
    filling.record("differs", status(Phase.BLOCKED, PORT_IN_USE, "PortInUse", reconciled="PortInUse"))


def test_why_a_server_is_not_ready_stands_in_80_columns(
    filling: Filling, controller: FakeController, call: Call, columns: Callable[[int], None]
) -> None:
    fill(filling)
    columns(80)
    header, chat, differs, why, _ = call("get", "servers").out.splitlines()
    assert header.split() == ["NAME", "PHASE", "REASON", "CTX", "PORT", "PID", "RESTARTS", "UPTIME"]
    assert chat.split()[:3] == ["chat-of-the-office", "Ready", "-"]
    assert differs.split()[:5] == ["differs", "Blocked", "PortInUse", "auto", "23032"]
    assert why == "why: reconciler describe server differs"
    assert max(map(cells, (header, chat, differs))) <= 80


@pytest.mark.parametrize(("number", "shown"), [(120, ["REASON", "CTX"]), (400, ["MODEL", "CTX"])])
def test_the_model_goes_before_the_message(
    filling: Filling,
    controller: FakeController,
    call: Call,
    columns: Callable[[int], None],
    number: int,
    shown: list[str],
) -> None:
    fill(filling)
    columns(number)
    out = call("get", "servers").out
    header = out.splitlines()[0].split()
    assert (header[2:4], header[-1]) == (shown, "MESSAGE")
    assert ("why:" in out) == (number == 120)


@pytest.mark.parametrize(("number", "last"), [(130, "MESSAGE"), (100, "UPTIME")])
def test_what_runs_stays_where_the_message_is_cut(
    filling: Filling,
    controller: FakeController,
    call: Call,
    columns: Callable[[int], None],
    number: int,
    last: str,
) -> None:
    filling.degraded("assistant")
    filling.ready("chat", model="a-rather-long-name-of-a-model.gguf")
    columns(number)
    header, row, _, why, _ = call("get", "servers").out.splitlines()
    assert header.split()[2:6] == ["REASON", "CTX", "NGL", "PORT"]
    assert row.split()[1:5] == ["Ready,Degraded", "GpuOutOfMemory", "16384", "0"]
    assert (header.split()[-1], row.endswith("…")) == (last, last == "MESSAGE")
    assert max(map(cells, (header, row))) <= number
    assert why == "why: reconciler describe server assistant"


@pytest.mark.parametrize(
    ("number", "shown"), [(80, "TRIGGER RAN END DIAGNOSIS EVIDENCE"), (66, "TRIGGER END DIAGNOSIS")]
)
def test_the_causes_of_restarts_stay_whole(
    filling: Filling, call: Call, columns: Callable[[int], None], number: int, shown: str
) -> None:
    filling.failed("reader", diagnosis="SharedLibraryMissing")
    columns(number)
    lines = call("get", "restarts").out.splitlines()
    assert lines[0].split()[2:] == shown.split()
    assert all("SharedLibraryMissing" in line for line in lines[1:])
    assert max(map(cells, lines)) <= number


def test_a_busy_server_says_so(
    filling: Filling, controller: FakeController, call: Call, columns: Callable[[int], None]
) -> None:
    filling.ready("chat")
    filling.record("chat", status(Phase.READY, "/health was not answered for 12 s, but it computes" * 3, "Busy"))
    columns(80)
    assert call("get", "servers").out.splitlines()[1].split()[:3] == ["chat", "Ready", "Busy"]


@pytest.mark.parametrize("room", range(8, 200, 7))
def test_folding_loses_no_word_and_breaks_none(room: int) -> None:
    lines = fold(PORT_IN_USE, room)
    assert " ".join(lines) == PORT_IN_USE
    assert all(cells(line) <= room or " " not in line for line in lines)
    for command in ("reconciler adopt differs", "kill 10638"):
        assert len(command) > room or any(command in line for line in lines)


def test_a_long_path_begins_on_its_own_line_and_stays_whole() -> None:
    path = "/srv/" + "x" * 40
    assert fold_behind("TYPE  REASON  ", f"it is {path}", 50) == ["TYPE  REASON", "    it is", f"    {path}"]


def test_described_in_80_columns(
    filling: Filling, controller: FakeController, call: Call, columns: Callable[[int], None]
) -> None:
    fill(filling)
    filling.event("differs", "PortInUse", PORT_IN_USE, warning=True)
    columns(80)
    lines = call("describe", "server", "differs").out.splitlines()
    assert all(cells(line) <= 80 or re.match("Log: ", line) or len(line.split()) == 1 for line in lines), lines
    told = [line for line in lines if "reconciler adopt differs" in line]
    assert len(told) == 4  # message, event, what happened, what can be done
    folded = [line for line in lines if line.startswith(("take", "root)"))]
    assert folded == []


def test_the_time_of_a_process_that_was_taken_over_is_told_as_such(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.document("chat")
    filling.instance("chat", trigger=Trigger.ADOPTED, adopted=True)
    filling.record("chat", status(Phase.READY))
    assert re.search(r"  >\S+(  adopted)?$", call("get", "servers").out.splitlines()[1])
    described = call("describe", "server", "chat").out
    assert re.search(r"taken over: +\S+Z, .* ago; it ran before", described)
    assert "  started:" not in described


@pytest.mark.parametrize("number", [60, 80])
@pytest.mark.parametrize("verb", [["get", "events"], ["events"]])
def test_a_long_name_does_not_take_the_messages_of_all_events(
    filling: Filling, call: Call, columns: Callable[[int], None], number: int, verb: list[str]
) -> None:
    at = time.time() - START - 12
    filling.event("chat-of-the-office-with-quite-a-long-name-as-some-have-it", "WaitingForLeftovers", "no", at=at)
    filling.event("a", "Ready", "pid 5 is ready after 0.1 s", warning=True, at=at)
    columns(number)
    header, *lines = call(*verb).out.splitlines()
    assert max(map(cells, lines)) <= number
    assert lines[1][header.index("MESSAGE") :].startswith("pid 5 is ready aft")
