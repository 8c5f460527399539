import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.api import views as module
from reconciler.api.problems import ProblemError
from reconciler.api.shown import Shown, show
from reconciler.api.tables import OfServer, Raw
from reconciler.api.views import Views
from reconciler.core.model import Phase
from reconciler.store import past, read
from reconciler.store.explained import explain_all
from reconciler.store.rows import server_row
from tests.api.showing import Item, Showing, views_of
from tests.cli.filling import Filling, stamp, status

pytestmark = pytest.mark.anyio
HOSTILE = 'it"s <script>\\u0000 "uptimeSeconds":1 \U0001f600'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_IN_TROUBLE", 0.05)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as opened:
        yield opened


def as_listed(filling: Filling) -> list[Item]:
    """As the command line prints servers, but for what moves."""
    with read.opened(filling.state) as db:
        items = read.servers(db, now=time.time(), controller=True)
        explain_all(db, items, controller=True)
    return [without_age({**item, "status": {"loading": None, **item["status"]}}) for item in items]


def without_age(item: Item) -> Item:
    return {**item, "status": {**item["status"], "uptimeSeconds": item["status"]["uptimeSeconds"] is not None}}


def as_shown(views: Views) -> list[Item]:
    shown: list[Item] = json.loads(views.servers_json())["items"]
    return [without_age(item) for item in shown]


async def test_servers_are_shown_as_they_are_listed(filling: Filling) -> None:
    filling.ready("chat")
    filling.failed("coder")
    filling.degraded("embed")
    filling.stopped("rest")
    filling.document("new")
    _, views = views_of(filling)
    await views.fresh()
    assert as_shown(views) == as_listed(filling)
    assert [without_age(item) for item in views.servers()] == as_listed(filling)
    explained = {item["metadata"]["name"]: item["status"]["explanation"] for item in as_shown(views)}
    assert explained["coder"]["reason"] == "Killed"
    assert explained["chat"] is None


async def test_texts_of_all_kinds_stay_what_they_are(filling: Filling) -> None:
    filling.document("chat", env={"A": HOSTILE}, flags={"alias": HOSTILE})
    filling.record("chat", status(Phase.BLOCKED, HOSTILE, "ModelMissing"), last_error=HOSTILE)
    _, views = views_of(filling)
    await views.fresh()
    assert as_shown(views) == as_listed(filling)
    (item,) = as_shown(views)
    assert (item["spec"]["env"]["A"], item["status"]["message"]) == (HOSTILE, HOSTILE)


async def test_only_what_has_changed_is_made_anew(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noted(db: sqlite3.Connection, name: str, of: OfServer) -> Shown:
        made.append(name)
        return show(db, name, of)

    monkeypatch.setattr(module, "show", noted)
    filling.ready("chat")
    filling.ready("embed")
    _, views = views_of(filling)
    await views.fresh()
    assert made == ["chat", "embed"]
    await views.fresh()
    filling.record("embed", status(Phase.UNHEALTHY, "503"))
    await views.fresh()
    assert made == ["chat", "embed", "embed"]
    assert as_shown(views) == as_listed(filling)


async def test_all_that_was_committed_before_is_seen_by_who_asks_after(filling: Filling) -> None:
    _, views = views_of(filling)
    for number in range(5):
        filling.document(f"s{number}")
        await views.fresh()
        assert [item["metadata"]["name"] for item in as_shown(views)] == [f"s{one}" for one in range(number + 1)]
    filling.remove("s3")
    await views.fresh()
    assert [item["metadata"]["name"] for item in as_shown(views)] == ["s0", "s1", "s2", "s4"]


async def test_many_who_ask_at_once_are_given_one_look(filling: Filling) -> None:
    filling.ready("chat")
    _, views = views_of(filling)
    await asyncio.gather(*(views.fresh() for _ in range(50)))
    assert views._looks == 1
    assert views.servers_json() is views.servers_json()


async def test_uptimes_go_on(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH", 0.0)
    filling.ready("chat")
    _, views = views_of(filling)
    await views.fresh()
    version = views.version
    first = json.loads(views.servers_json())["items"][0]["status"]["uptimeSeconds"]
    await asyncio.sleep(0.01)
    assert json.loads(views.servers_json())["items"][0]["status"]["uptimeSeconds"] > first > 1e6
    assert views.version == version


async def test_the_newest_of_what_happened_is_at_hand(filling: Filling) -> None:
    for number in range(130):
        filling.event("chat", "Noted", f"number {number}", at=number)
    filling.failed("coder")
    filling.ready("chat")
    _, views = views_of(filling)
    await views.fresh()
    filling.event("chat", "Noted", "number 60", at=200.0)
    filling.event("chat", "Noted", "number 129", at=300.0)
    await views.fresh()
    with read.opened(filling.state) as db:
        assert [json.loads(one) for one in views.happened.events] == past.events(db, limit=100)
        assert [json.loads(one) for one in views.happened.restarts] == past.restarts(db, limit=100)


async def test_a_cause_that_is_found_later_is_told(filling: Filling) -> None:
    filling.document("chat")
    begun = filling.instance("chat")
    filling.end(begun, after=5.0)
    filling.record("chat", status(Phase.BACKOFF, "ended"), n=1)
    _, views = views_of(filling)
    await views.fresh()
    filling.end(begun, after=5.0, diagnosis="OutOfMemory", evidence="Out of memory: Killed process 7")
    await views.fresh()
    (told,) = (json.loads(one) for one in views.happened.restarts)
    assert told["diagnosis"] == "OutOfMemory"
    assert as_shown(views)[0]["status"]["explanation"]["happened"] == (
        "it ended after 5s (unknown): Out of memory: Killed process 7; its log is empty"
    )


async def test_while_the_state_cannot_be_written_all_that_is_known_is_shown(filling: Filling) -> None:
    filling.ready("chat")
    showing, views = views_of(filling)
    await views.fresh()
    showing.trouble = True
    copy = filling.store.snapshot
    known = filling.store.history().servers["chat"]
    later = replace(known, status=status(Phase.UNHEALTHY, "nobody could write this down"))
    filling.store._mirror.servers["chat"] = later  # what a backlog would bring
    showing.filling.store.snapshot = lambda: _with(copy(), later)  # type: ignore[method-assign]
    await views.fresh()
    assert as_shown(views)[0]["status"]["message"] == "nobody could write this down"
    assert showing.copies == 1
    showing.trouble = False
    await views.fresh()
    assert as_shown(views)[0]["status"]["phase"] == "Ready"


def _with(content: bytes, record: Any) -> bytes:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.deserialize(content)
    server_row(record).run(db)
    return db.serialize()


async def test_a_file_that_is_made_anew_is_opened_anew(filling: Filling, tmp_path: Path) -> None:
    filling.ready("chat")
    showing, views = views_of(filling)
    await views.fresh()
    with Filling(tmp_path / "other") as other:
        other.document("later")
        other.store.close()
        for path in filling.state.glob("state.db*"):
            path.unlink()
        (other.state / "state.db").rename(filling.state / "state.db")
        views._is_behind = True
        await views.fresh()
    assert [item["metadata"]["name"] for item in as_shown(views)] == ["later"]
    assert not showing.copies


async def test_what_cannot_be_read_is_said_and_what_was_is_still_shown(
    filling: Filling, caplog: pytest.LogCaptureFixture
) -> None:
    filling.ready("chat")
    _, views = views_of(filling)
    await views.fresh()
    path = filling.state / "state.db"
    path.rename(path.with_suffix(".away"))
    views._is_behind = True
    await views.fresh()
    await views.fresh()
    assert caplog.text.count("is missing") == 1
    assert [item["metadata"]["name"] for item in as_shown(views)] == ["chat"]
    _, blind = views_of(filling)
    with pytest.raises(ProblemError, match="cannot be read yet"):
        await blind.fresh()
    path.with_suffix(".away").rename(path)
    filling.document("later")
    await views.fresh()
    assert [item["metadata"]["name"] for item in as_shown(views)] == ["chat", "later"]


async def test_a_look_lets_others_in_between(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 0.0)
    for number in range(20):
        filling.ready(f"s{number:02}")
    _, views = views_of(filling)
    turns = began = 0
    look = views.tables.look

    def noted() -> Raw:
        nonlocal began
        began = turns
        return look()

    monkeypatch.setattr(views.tables, "look", noted)

    async def other() -> None:
        nonlocal turns
        while not views._looks:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await views.fresh()
    await beside
    assert turns - began >= 20


async def test_progress_of_a_load_is_looked_at_again(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH", 0.0)
    filling.document("chat")
    filling.instance("chat", at=time.time() - stamp().wall - 5)
    filling.record("chat", status(Phase.STARTING, "Loading model"))
    _, views = views_of(filling)
    await views.fresh()
    first = as_shown(views)[0]["status"]["loading"]["seconds"]
    await views.fresh()
    assert as_shown(views)[0]["status"]["loading"]["seconds"] > first >= 5


async def test_who_waits_when_all_ends_is_let_go(filling: Filling) -> None:
    filling.ready("chat")
    _, views = views_of(filling)
    await views.fresh()
    filling.document("later")
    waiting = asyncio.create_task(views.fresh())
    await asyncio.sleep(0)
    views.close()
    await asyncio.wait_for(waiting, 5)


async def test_a_summary_counts(filling: Filling) -> None:
    filling.ready("chat")
    filling.degraded("embed")
    filling.failed("coder")
    problems = ["manifests/x.yaml:1:1: no kind"]
    filling.meta("manifests", json.dumps({"problems": problems, "folderProblem": "empty", "others": {}, "held": {}}))
    filling.meta("invalid", json.dumps({"chat": ["manifests/chat.yaml:3:7: ctx: expected a number"]}))
    filling.meta("selection", json.dumps({"profile": "day", "names": None, "switch": "StopFirst", "held": ""}))
    filling.meta("controller", json.dumps({"startedAt": 1.5, "models": "models"}))
    showing, views = views_of(filling)
    await views.fresh()
    assert json.loads(views.summary_json()) == {
        "total": 3,
        "ready": 2,
        "running": 2,
        "degraded": 1,
        "restarts": 3,
        "phases": {"Ready": 2, "Failed": 1},
        "problems": [*problems, "manifests/chat.yaml:3:7: ctx: expected a number"],
        "folderProblem": "empty",
        "profile": "day",
        "installation": filling.store.installation,
        "version": "1",
        "controller": {"pid": 42, "startedAt": "1970-01-01T00:00:01.500Z", "passes": 7, "conditions": []},
    }
    assert isinstance(showing, Showing)
