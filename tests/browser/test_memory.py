"""What a page that stands open for days keeps in memory."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, expect

from tests.browser.stage import Stage, item

WARM, TURNS = 250, 100
"""All lists are full after the first; each turn has some thirty nodes."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage(item()).served() as made:
        yield made


def event(number: int) -> dict[str, object]:
    at = f"2026-11-22T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
    told = {"server": "chat", "type": "Warning", "reason": "Crashed", "message": f"it crashed, {number}."}
    return {**told, "count": 1, "firstAt": at, "lastAt": at}


def restart(number: int) -> dict[str, object]:
    at = event(number)["lastAt"]
    return {"uid": f"u{number}", "server": "chat", "startedAt": at, "readyAt": at, "endedAt": at, "trigger": "Crashed"}


def churn(page: Page, stage: Stage, numbers: range) -> None:
    """A server that crashes over and over, each time seen."""
    for number in numbers:
        stage.say("event", [event(number)], number)
        stage.say("restart", [restart(number)])
        stage.say("server", item(phase="Ready" if number % 2 else "Starting", restarts=number))
        if number % 5 == 0:
            expect(page.locator("main").get_by_text(f"it crashed, {number}.")).to_have_count(1)


def nodes(session: CDPSession) -> int:
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return int(next(one["value"] for one in metrics if one["name"] == "Nodes"))


@pytest.mark.long
@pytest.mark.parametrize("path", ["events", "servers/chat"])
def test_what_has_left_the_page_leaves_the_memory(
    path: str, context: BrowserContext, faults: list[str], stage: Stage
) -> None:
    del faults
    page = context.new_page()
    page.goto(stage.url + path)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    churn(page, stage, range(2, WARM))
    before = nodes(session)
    churn(page, stage, range(WARM, WARM + TURNS))
    after = nodes(session)
    page.close()
    assert after < before + 100
