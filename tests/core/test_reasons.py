"""Every word that is shown as a reason says what it means, whether a retry helps, and what to do."""

import re
import shlex

import pytest

from reconciler.core.causes import CAUSES
from reconciler.core.history import StopReason, Trigger
from reconciler.core.model import Phase
from reconciler.core.reasons import KNOWN, MENDED, PLACES, Mends, Reason, filled, find, meanings
from tests.cli.pasted import faults, parse

ALL = [(place, reason) for place, reasons in PLACES.items() for reason in reasons]
IDS = [f"{reason.word}-{place}" for place, reason in ALL]
HISTORY = ("why it was started", "why it was stopped")
PROGRAMS = (
    "reconciler",
    "ss",
    "nvidia-smi",
    "ps",
    "free",
    "llama-server",
    "uname",
    "file",
    "chmod",
    "ls",
    "mv",
    "head",
    "ldd",
)
"""What the texts tell people to run."""
COMMAND = re.compile(rf"`((?:{'|'.join(PROGRAMS)})\b[^`]*)`")


def needs_doing(reason: Reason) -> bool:
    return reason.mends not in (Mends.PASSES, Mends.NOTHING)


@pytest.mark.parametrize(("place", "reason"), ALL, ids=IDS)
def test_a_reason_says_what_it_means_and_what_to_do(place: str, reason: Reason) -> None:
    assert reason.means.endswith("."), "what it means is whole sentences"
    assert all(way.endswith(".") and way[:1].isupper() for way in reason.do), "ways out are whole sentences"
    assert MENDED[reason.mends]
    if needs_doing(reason) and place not in HISTORY:
        assert any(COMMAND.search(way) for way in reason.do), "name a command that helps"


@pytest.mark.parametrize(("place", "reason"), ALL, ids=IDS)
def test_its_commands_are_understood(place: str, reason: Reason) -> None:
    text = filled("\n".join((reason.means, *reason.do)), server="coder", port="8001")
    assert "{" not in text.replace("{hf: …}", "")
    assert faults(text) == []
    for command in re.findall(r"`reconciler ([^`]+)`", text):
        parse(shlex.split(command))


def test_what_is_wrong_with_a_command_is_found() -> None:
    assert faults(filled("Have it run: `reconciler strat {server}`.")) != []
    assert faults(filled("Set it: `reconciler set server/{server} spec.ctx=4096`.")) == []


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_cause_is_mended_as_the_planner_says(cause: str) -> None:
    (told,) = (reason for reason in PLACES["why it ended"] if reason.word == cause)
    assert str(told.mends) == str(CAUSES[cause].mends)


def test_a_cause_that_a_safer_setting_eases_says_so() -> None:
    told = {reason.word for reason in PLACES["why it ended"] if "fallback.md" in reason.means}
    eased = {name for name, cause in CAUSES.items() if cause.eases}
    assert told == eased - {"GpuUnavailable"}, "that one says which of its two meanings it has"


@pytest.mark.parametrize(("words", "place"), [(Trigger, HISTORY[0]), (StopReason, HISTORY[1])])
def test_every_start_and_stop_is_explained(words: type[Trigger | StopReason], place: str) -> None:
    assert {reason.word for reason in PLACES[place]} == {str(word) for word in words}


def test_every_phase_is_explained() -> None:
    assert {*map(str, Phase)} <= KNOWN


def test_a_word_is_told_once_in_each_place() -> None:
    for place, reasons in PLACES.items():
        words = [reason.word for reason in reasons]
        assert len(words) == len(set(words)), place


def test_the_place_that_is_asked_for_comes_first() -> None:
    ended, blocked = find("PortInUse", "why it ended"), find("PortInUse", "why it does not start")
    assert ended is not None
    assert blocked is not None
    assert ended.means.startswith("It could not listen")
    assert blocked.means.startswith("Another program")
    assert find("PortInUse") == find("PortInUse", "nowhere") == ended
    assert find("Nonsense") is None
    assert not list(meanings("Nonsense"))


def test_a_text_for_a_terminal_has_no_links() -> None:
    assert filled("See [adopt](operating.md#x): `reconciler adopt {server}`, port {port}") == (
        "See adopt: `reconciler adopt NAME`, port PORT"
    )
    assert not [reason.word for _, reason in ALL if "](" in filled(" ".join((reason.means, *reason.do)))]
