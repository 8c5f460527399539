"""`suspend`, `resume` of servers: one word in their manifests."""

from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling
from tests.cli.test_diff_and_validate import answer, change
from tests.cli.test_set import TEXT


@pytest.fixture
def coder(root: Path) -> Path:
    path = root / "manifests" / "coder.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def test_there_and_back_leaves_the_file_as_it_was(coder: Path, call: Call) -> None:
    code, out, _ = call("suspend", "coder")
    assert (code, out.splitlines()[0]) == (0, "~ coder  update: suspended by its manifest")
    assert coder.read_text() == TEXT + "  suspend: true\n"
    assert call("suspend", "coder").code == 0
    assert call("resume", "server/coder").code == 0
    assert coder.read_text() == TEXT


def test_several_in_one_file(coder: Path, call: Call) -> None:
    coder.write_text(f"{TEXT}---\n{TEXT.replace('coder', 'chat')}")
    assert call("suspend", "coder", "chat").code == 0
    assert coder.read_text().count("  suspend: true\n") == 2
    assert call("resume", "server/chat", "coder").code == 0
    assert coder.read_text() == f"{TEXT}---\n{TEXT.replace('coder', 'chat')}"


def test_one_that_is_unknown_hinders_the_others(coder: Path, call: Call) -> None:
    code, out, err = call("suspend", "coder", "codr")
    assert (code, out) == (1, "")
    assert err.startswith("error: no server 'codr', did you mean 'coder'?\n")
    assert coder.read_text() == TEXT


def test_the_controller_acts_on_it(filling: Filling, controller: FakeController, coder: Path, call: Call) -> None:
    filling.ready("coder", ctx=4096)
    controller.on("/preview", answer(change("coder", "stop", "suspended by its manifest")))
    code, out, err = call("suspend", "coder")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "- coder  stop: suspended by its manifest"
    assert [path for path, _ in controller.asked] == ["/preview", "/reconcile"]


def test_a_dry_run_only_tells(coder: Path, call: Call) -> None:
    assert call("suspend", "coder", "--dry-run").out.endswith("dry run: nothing was written\n")
    assert coder.read_text() == TEXT


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_what_cannot_be_suspended_is_told(coder: Path, call: Call, verb: str) -> None:
    code, out, err = call(verb, "profile/day")
    assert (code, out) == (2, "")
    assert err.startswith("error: profile/day cannot be suspended: only servers and the source can\n")
    assert call(verb).code == 2
    assert call(verb, "source", "git", "other").code == 2


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_a_dry_run_is_for_servers(filling: Filling, controller: FakeController, call: Call, verb: str) -> None:
    filling.source()
    called = call(verb, "source", "--dry-run")
    assert (called.code, called.out) == (2, "")
    assert controller.asked == []
