"""How far a server is that loads."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.api import loading
from reconciler.api.loading import loading_of
from reconciler.cli.judging import up
from reconciler.cli.loading import loading_words, message_of, servers
from reconciler.core.history import Stamp
from reconciler.core.model import Phase
from reconciler.store import read
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, Filling, stamp, status

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("percent", "seconds", "usual", "words"),
    [
        (43, 12.3, 28.2, "loading 43 %, 12s of about 28s"),
        (43, 12.3, None, "loading 43 %, 12s so far"),
        (43, 12.3, 0.4, "loading 43 %, 12s so far"),
        (None, 12.3, 28.2, "loading, 12s of about 28s"),
        (None, 200, 28.2, "loading, 3m20s so far, 28s the last time"),
        (None, 12.3, None, "loading for 12s"),
    ],
)
def test_the_words(percent: int | None, seconds: float, usual: float | None, words: str) -> None:
    assert loading_words({"percent": percent, "seconds": seconds, "usualSeconds": usual}) == words


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", "loading for 12s"),
        ("Loading model", "loading for 12s"),
        ("manifests/a.yaml:1: no such field", "loading for 12s; manifests/a.yaml:1: no such field"),
    ],
)
def test_no_other_message_is_lost(message: str, shown: str) -> None:
    told = {"percent": None, "seconds": 12.0, "usualSeconds": None}
    assert message_of({"message": message, "loading": told}) == shown
    assert message_of({"message": message, "loading": None}) == message
    assert message_of({"message": message}) == message


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_furthest", {})


@pytest.fixture
def large(root: Path) -> Path:
    """A split model of 10 MiB in two parts."""
    for number, size in ((1, 4), (2, 6)):
        with (root / f"m-0000{number}-of-00002.gguf").open("wb") as file:
            file.truncate(size * MIB)
    return root / "m-00001-of-00002.gguf"


def starting(filling: Filling, model: Path, ago: float, phase: Phase = Phase.STARTING) -> str:
    """A server that began to load so many seconds ago; its uid."""
    filling.document("coder", model=str(model))
    began = Stamp(BOOT, 1000.0, time.time() - ago)
    begun = filling.instance("coder", spec={"model": str(model)})
    moved = {"argv": ["llama-server", "--model", str(model), "--port", "8001"], "env": {}}
    with filling.store.transaction():
        filling.store.save_instance(replace(begun, intent=began), moved)
    filling.record("coder", status(phase, "Loading model", "Loading"))
    return begun.uid


def looked(filling: Filling, look: Callable[[int], int | None]) -> Any:
    with read.opened(filling.state) as db:
        (item,) = read.servers(db, None, now=time.time(), controller=True)
        return loading_of(db, item["status"], look)


def test_bytes_are_held_against_all_parts_and_never_fall(filling: Filling, large: Path) -> None:
    starting(filling, large, 12)
    for loaded, percent in ((0, 0), (5 * MIB, 50), (2 * MIB, 50), (10 * MIB, 99), (40 * MIB, 99)):
        found = looked(filling, lambda _, loaded=loaded: loaded)  # type: ignore[misc]
        assert (found["percent"], found["usualSeconds"]) == (percent, None)
        assert found["seconds"] == pytest.approx(12, abs=1)


def test_what_nobody_tells_is_unknown(filling: Filling, large: Path) -> None:
    starting(filling, large, 12)
    assert looked(filling, lambda _: None)["percent"] is None


@pytest.mark.parametrize(("ago", "phase"), [(0.2, Phase.STARTING), (12, Phase.READY), (12, Phase.STOPPING)])
def test_only_a_long_load_is_told_of(filling: Filling, large: Path, ago: float, phase: Phase) -> None:
    starting(filling, large, ago, phase)
    assert looked(filling, lambda _: pytest.fail("looked at")) is None


def test_it_is_in_the_list_in_the_description_and_in_what_apply_says(
    filling: Filling, controller: FakeController, call: Call, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling.end(filling.instance("coder", at=0, first_ready=stamp(28), spec={"model": str(large)}))
    starting(filling, large, 12)
    monkeypatch.setattr(loading.loading_of, "__defaults__", (lambda _: 5 * MIB,))
    assert "loading 50 %, 12s of about 28s" in call("get", "servers").out
    assert "loading 50 %, 12s of about 28s" in call("describe", "server", "coder").out
    assert '"loading": {\n          "percent": 50,' in call("get", "servers", "-o", "json").out
    with read.opened(filling.state) as db:
        (item,) = servers(db, None, now=time.time(), controller=True)
    assert up("coder", item).text == "Starting: loading 50 %, 12s of about 28s"
