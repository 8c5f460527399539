"""What live logs tell, as it is written down."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.live_logs import Heard, LiveLogs
from reconciler.core.actions import Event
from reconciler.core.history import History, Instance, Stamp
from reconciler.core.model import Effective, Now
from reconciler.engines.live import TooLarge
from reconciler.store.writer import Store
from tests.cli.pasted import faults
from tests.controller.probed import target

NOW = Now(5.0, 1_700_000_000.0, "b")
ASKED = {"model": "/m/a.gguf", "ctx": 32768, "parallel": 4}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def history(**changes: Any) -> History:
    fields: dict[str, Any] = {"effective": Effective(1024, 4), "spec": ASKED, **changes}
    instance = Instance("u1", "chat", "1:f", 1, 8001, Stamp("b", 0.0, 0.0), **fields)
    return History(instances={"chat": instance})


def heard(tokens: int = 2402, *, effective: Effective | None = None, **spec: Any) -> Heard:
    return Heard(target(8001, spec={"parallel": 4, **spec}), TooLarge(tokens, 1024), effective)


def rows(folder: Path) -> list[tuple[str, str, str, int, int]]:
    with closing(sqlite3.connect(f"file:{folder}/state.db?mode=ro", uri=True)) as db:
        return db.execute("select server, reason, message, warning, count from events").fetchall()


def test_it_is_an_event_that_is_counted_when_it_is_the_same_again(store: Store, tmp_path: Path) -> None:
    reported: list[Event] = []
    logs = LiveLogs(store, reported.append)
    for _ in range(3):
        logs.tell([heard(), heard()], history(), NOW)
    logs.tell([], history(), NOW)
    message = (
        "a request of 2402 tokens does not fit into the 1024 of a slot; "
        "send less, or: reconciler set server/chat spec.ctx=12288"
    )
    assert reported == [Event("chat", "RequestTooLarge", message, warning=True)] * 6
    assert rows(tmp_path) == [("chat", "RequestTooLarge", message, 1, 6)]


def test_what_the_row_knows_stands_in_for_what_was_not_asked_again(store: Store) -> None:
    reported: list[Event] = []
    found = history(effective=Effective(1024, 8, trained=2048))
    LiveLogs(store, reported.append).tell([heard(1500)], found, NOW)
    assert "spec.ctx=16384" in reported[0].message, "eight slots of what it was trained with"


def test_on_a_step_what_was_asked_for_may_be_the_remedy(store: Store) -> None:
    reported: list[Event] = []
    found = history(step=1, step_told="ctx 4096", changes={"ctx": 4096})
    LiveLogs(store, reported.append).tell([heard(ctx=4096), heard(9000, ctx=4096)], found, NOW)
    back, more = (event.message for event in reported)
    assert back.endswith("as asked for it would fit: reconciler restart chat --primary")
    assert more.endswith("reconciler set server/chat spec.ctx=45056")
    assert faults(f"{back}\n{more}") == []


def test_of_one_that_is_gone_by_now_it_is_told_by_what_was_known(store: Store) -> None:
    reported: list[Event] = []
    LiveLogs(store, reported.append).tell([heard(ctx=4096)], History(), NOW)
    assert "spec.ctx=12288" in reported[0].message
