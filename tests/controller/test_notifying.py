"""Events are told in order, again and again until they arrive, and nobody waits for it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from reconciler.controller import couriers, notifying
from reconciler.controller.notifying import Notifier
from reconciler.core.actions import Event
from reconciler.core.model import Now
from reconciler.core.notify_settings import Notify
from tests.controller.receiving import Receiver, receiver

pytestmark = pytest.mark.anyio
NOW = Now(0.0, 1_700_000_000.25, "boot")
SECRET = "s3cret"
Kept = list[tuple[str, str]]


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notifying, "LONGEST_PAUSE", 0.05)


@asynccontextmanager
async def notifier(*targets: Notify) -> AsyncIterator[tuple[Notifier, Kept]]:
    kept: Kept = []
    made = Notifier(targets, "installation-1", lambda reason, message: kept.append((reason, message)))
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    try:
        yield made, kept
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - threads and processes send no event
            await asyncio.sleep(0.005)


def event(reason: str, server: str = "coder", message: str = "what happened") -> Event:
    return Event(server, reason, message, warning=True)


async def test_what_is_told(there: Receiver) -> None:
    async with notifier(Notify(webhook=there.url)) as (made, kept):
        made.tell(Event("coder", "Crashed", "signal 9\n\x1b[2Jagain", warning=True), NOW)
        await until(lambda: there.told)
    (told,) = there.told
    host, number = told.pop("host"), told.pop("id")
    assert host
    assert len(number) == 32
    assert told == {
        "apiVersion": "llama.reconciler/v1alpha1",
        "kind": "Event",
        "at": "2023-11-14T22:13:20.250Z",
        "server": "coder",
        "type": "Warning",
        "reason": "Crashed",
        "message": "signal 9 \N{REPLACEMENT CHARACTER}[2Jagain",
        "installation": "installation-1",
        "text": f"{host}: coder Crashed: signal 9 \N{REPLACEMENT CHARACTER}[2Jagain",
    }
    assert there.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in there.headers[0]
    assert kept == []


async def test_each_is_told_what_it_wants_and_the_same_but_once(there: Receiver) -> None:
    with receiver() as other:
        narrow = Notify(webhook=there.url, reasons=("Crash*",))
        async with notifier(narrow, Notify(webhook=other.url, severity="normal")) as (made, _):
            for reason in ("Crashed", "Crashed", "Failed"):
                made.tell(event(reason), NOW)
            made.tell(Event("coder", "Ready", ""), NOW)
            made.tell(event("Crashed", "embedder"), NOW)
            await until(lambda: len(there.told) == 2 and len(other.told) == 4)
        assert [(one["server"], one["reason"]) for one in there.told] == [("coder", "Crashed"), ("embedder", "Crashed")]
        assert other.reasons() == ["Crashed", "Failed", "Ready", "Crashed"]


async def test_order_is_kept_over_failures_and_an_outage_is_told_once(
    there: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    there.answers = [(503, {}), (429, {"Retry-After": "0"}), (500, {}), (200, {}), (502, {})]
    async with notifier(Notify(name="chat", webhook=there.url)) as (made, kept):
        for number in range(4):
            made.tell(event(f"Reason{number}"), NOW)
        await until(lambda: len(there.told) == 4)
        await until(lambda: len(kept) == 4)
    assert there.reasons() == [f"Reason{number}" for number in range(4)]
    failed, again = ("NotifyFailed", "chat: it answers 503; it is tried again"), ("NotifiedAgain", "chat: told again")
    assert kept == [failed, again, ("NotifyFailed", "chat: it answers 502; it is tried again"), again]
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "it answers 404; look at the token and the address; this message is given up"),
        (400, "it answers 400; this message is given up"),
        (307, "it answers 307, a redirect: write the address that it leads to; this message is given up"),
    ],
)
async def test_what_is_refused_for_good_does_not_hold_up_the_next(there: Receiver, status: int, told: str) -> None:
    there.answers = [(status, {"Location": there.url})]
    async with notifier(Notify(webhook=there.url)) as (made, kept):
        made.tell(event("First"), NOW)
        made.tell(event("Second"), NOW)
        await until(lambda: there.told and len(kept) == 2)
    assert there.reasons() == ["Second"]
    assert there.told[0]["dropped"] == 1
    assert kept[0] == ("NotifyFailed", f"number 1 of [[notify]]: {told}")


async def test_secrets_are_read_from_files_each_time_and_told_nowhere(
    there: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hook, token = tmp_path / "hook", tmp_path / "token"
    async with notifier(Notify(webhook_file=str(hook), token_file=str(token))) as (made, kept):
        made.tell(event("First"), NOW)
        await until(lambda: kept)
        hook.write_text(f"{there.url}\n")
        token.write_text(f"{SECRET}-token\n")
        await until(lambda: there.told)
        token.write_text("another\n")
        made.tell(event("Second"), NOW)
        await until(lambda: len(there.told) == 2)
    assert [one["Authorization"] for one in there.headers] == [f"Bearer {SECRET}-token", "Bearer another"]
    assert kept[0][1] == f"number 1 of [[notify]]: {hook} cannot be read: No such file or directory; it is tried again"
    assert SECRET not in caplog.text + str(kept)


async def test_nobody_waits_for_a_receiver_that_stands_still_and_the_oldest_give_way(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "MOST_WAITING", 5)
    there.goes_on.clear()
    with receiver() as other:
        async with notifier(Notify(webhook=there.url), Notify(webhook=other.url)) as (made, _):
            made.tell(event("First"), NOW)
            await until(lambda: other.told)  # theirs is not its queue
            began = time.monotonic()
            for number in range(20):
                made.tell(event(f"Reason{number}", "other"), NOW)
            assert time.monotonic() - began < 0.5
            there.goes_on.set()
            await until(lambda: there.told and there.reasons()[-1] == "Reason19")
    assert there.reasons() == ["First", *(f"Reason{number}" for number in range(15, 20))]
    assert there.told[1]["dropped"] == 15
    assert "dropped" not in there.told[2]


async def test_the_end_waits_for_nobody(there: Receiver) -> None:
    there.goes_on.clear()
    async with notifier(Notify(webhook=there.url)) as (made, _):
        made.tell(event("First"), NOW)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    made.tell(event("Second"), NOW)
    assert there.told == []


async def test_what_happens_before_it_is_begun_is_told_then(there: Receiver) -> None:
    kept: Kept = []
    made = Notifier((Notify(webhook=there.url),), "installation-1", lambda *told: kept.append(told))
    made.tell(event("First"), NOW)
    made.tell(event("Second"), NOW)
    running = asyncio.create_task(made.run())
    await until(lambda: there.reasons() == ["First", "Second"])
    running.cancel()
    await asyncio.wait([running])
    assert kept == []


async def test_another_cause_of_the_same_outage_is_told_after_a_while(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.answers = [(503, {}), (429, {}), (429, {}), (404, {})]
    monkeypatch.setattr(notifying, "SAME_AGAIN", 0.0)
    async with notifier(Notify(webhook=there.url)) as (made, kept):
        made.tell(event("First"), NOW)
        made.tell(event("Second"), NOW)
        await until(lambda: len(kept) == 4)
    told = [message.removeprefix("number 1 of [[notify]]: ") for _, message in kept]
    lost = "it answers 404; look at the token and the address; this message is given up"
    assert told == ["it answers 503; it is tried again", "it answers 429; it is tried again", lost, "told again"]


async def test_that_one_fails_is_told_to_the_others_and_not_to_itself(there: Receiver) -> None:
    there.answers = [(400, {})]
    with receiver() as other:
        one, two = Notify(name="one", webhook=there.url), Notify(name="two", webhook=other.url, severity="normal")
        async with notifier(one, two) as (made, kept):
            made.tell(event("First"), NOW)
            await until(lambda: kept)
            for reason, message in kept:
                made.tell(Event("", reason, message, warning=True), NOW)
            made.tell(event("Second"), NOW)
            await until(lambda: "Second" in there.reasons() and "Second" in other.reasons())
        assert there.reasons() == ["Second"]
        assert other.reasons() == ["First", "NotifyFailed", "Second"]


async def test_a_message_that_is_too_old_is_given_up(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "OLDEST", -1.0)
    there.answers = [(503, {})]
    async with notifier(Notify(webhook=there.url)) as (made, kept):
        made.tell(event("First"), NOW)
        made.tell(event("Second"), NOW)
        await until(lambda: there.told)
    assert (there.reasons(), there.told[0]["dropped"]) == (["Second"], 1)
    assert kept[0][1].endswith("it answers 503; this message is given up")


# ---------------------------------------------------------------- commands


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_command_is_given_each_on_stdin_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    told = tmp_path / "told"
    script = program(tmp_path / "tell", 'cat >> "$1"; echo >> "$1"; env >> "$1.env"')
    async with notifier(Notify(command=(script, str(told)))) as (made, _):
        for number in range(3):
            made.tell(event(f"Reason{number}"), NOW)
        await until(lambda: told.exists() and len(told.read_text().splitlines()) == 3)
    assert [json.loads(line)["reason"] for line in told.read_text().splitlines()] == ["Reason0", "Reason1", "Reason2"]
    assert SECRET not in (tmp_path / "told.env").read_text()


async def test_a_command_that_runs_ends_with_us(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = program(tmp_path / "tell", f"sleep 600 & echo $$ $! > {pids}.draft; mv {pids}.draft {pids}; wait")
    async with notifier(Notify(command=(script,))) as (made, kept):
        made.tell(event("First"), NOW)
        await until(pids.exists)
    await until(lambda: not any(_runs(int(pid)) for pid in pids.read_text().split()))
    assert kept == []


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo bad token >&2; exit 3", "{} ended with exit code 3: bad token; it is tried again"),
        ("kill -TERM $$", "{} ended with signal 15; it is tried again"),
        ("sleep 60 & sleep 60", "{} has not ended within 0.2 s; it is tried again"),
        (None, "{} cannot be run: No such file or directory; it is tried again"),
    ],
)
async def test_a_command_that_fails_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, told: str
) -> None:
    monkeypatch.setattr(couriers, "COMMAND_SECONDS", 0.2)
    path = tmp_path / "tell"
    if script is not None:
        program(path, script)
    async with notifier(Notify(command=(str(path), str(tmp_path / "told")))) as (made, kept):
        made.tell(event("First"), NOW)
        await until(lambda: kept)
        program(tmp_path / "draft", 'cat > "$1"')
        (tmp_path / "draft").replace(path)
        await until(lambda: (tmp_path / "told").exists() and len(kept) == 2)
    assert kept == [
        ("NotifyFailed", "number 1 of [[notify]]: " + told.format(path)),
        ("NotifiedAgain", "number 1 of [[notify]]: told again"),
    ]
