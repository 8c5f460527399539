"""Many tabs of one browser, which has six connections to one place for all of them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.stage import Stage, item

MANY = 6
ANSWERED = "fetch('/api/v1/session', { signal: AbortSignal.timeout(10000) }).then((answer) => answer.status)"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage(item()).served() as made:
        yield made


@pytest.fixture
def tabs(context: BrowserContext, faults: list[str], stage: Stage) -> Iterator[list[Page]]:
    del faults, stage
    yield [context.new_page() for _ in range(MANY)]
    for page in context.pages:
        page.close()


def test_all_tabs_share_one_stream(tabs: list[Page], stage: Stage) -> None:
    for tab in tabs:
        tab.goto(stage.url)
        expect(tab.locator(".card")).to_have_count(1)
    stage.say("server", item("second"), 2)
    for tab in tabs:
        expect(tab.locator(".card")).to_have_count(2)
        assert tab.evaluate(ANSWERED) == 200
    tabs.pop(0).close()
    tabs[0].reload()
    expect(tabs[0].locator(".card")).to_have_count(2)
    assert stage.asked == [None]


def test_logs_in_all_tabs_leave_room_for_acts(tabs: list[Page], stage: Stage) -> None:
    logs = [tab.get_by_role("log", name="Log of chat") for tab in tabs]
    for tab, log in zip(tabs, logs, strict=True):
        tab.goto(f"{stage.url}servers/chat?tab=log")
        expect(log).to_contain_text("a line")
    assert tabs[-1].evaluate(ANSWERED) == 200
    looking = [log for log in logs if "other tabs follow logs" in log.inner_text()]
    assert len(looking) == MANY - 3
    followers = [tab for tab, log in zip(tabs, logs, strict=True) if log not in looking]
    followers[0].close()
    for log in looking[:1]:
        expect(log).not_to_contain_text("other tabs follow logs")


def test_without_a_worker_a_tab_reads_for_itself(tabs: list[Page], stage: Stage) -> None:
    tabs[0].add_init_script("delete window.SharedWorker")
    for tab in tabs[:2]:
        tab.goto(stage.url)
        expect(tab.locator(".card")).to_have_count(1)
    assert stage.asked == [None, None]


def test_an_act_without_an_answer_says_so(tabs: list[Page], stage: Stage) -> None:
    page = tabs[0]
    page.clock.install()
    page.route("**/restart", lambda _: None)
    page.goto(stage.url)
    page.locator("[data-act=restart]").click()
    page.get_by_role("dialog").get_by_role("button", name="Restart", exact=True).click()
    page.clock.fast_forward(6500)
    expect(page.locator(".toast")).to_contain_text("No answer to POST servers/chat/restart")
