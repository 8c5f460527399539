"""What one works with at the keyboard: where the focus goes, and what was typed."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.stage import Stage, item

TEXT = "kind: LlamaServer\n"
FILES = {"items": [{"path": "chat.yaml", "file": "chat.yaml", "origin": "local", "documents": [], "problems": []}]}


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage(item()).served() as made:
        yield made


@pytest.fixture
def page(context: BrowserContext, faults: list[str], stage: Stage) -> Iterator[Page]:
    del faults
    made = context.new_page()
    made.goto(stage.url)
    expect(made.locator(".card")).to_have_count(1)
    yield made
    made.close()


def test_the_focus_stays_where_one_was(page: Page) -> None:
    stop = page.locator("[data-act=stop]")
    stop.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(stop).to_be_focused()
    page.get_by_role("radio", name="Cards").press("ArrowRight")
    expect(page.get_by_role("radio", name="Table")).to_be_focused()
    expect(page.get_by_role("radio", name="Table")).to_be_checked()
    expect(page.get_by_role("radio", name="Cards")).to_have_attribute("tabindex", "-1")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("chat")
    expect(page.locator("h1")).to_be_focused()


def test_a_draft_outlasts_its_page(page: Page, stage: Stage) -> None:
    page.route("**/api/v1/manifests", lambda route: route.fulfill(json=FILES))
    page.route("**/manifests/chat.yaml*", lambda route: route.fulfill(json={"text": TEXT, "problems": []}))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{stage.url}servers/chat?tab=manifest")
    page.get_by_role("textbox").fill("a: [")
    page.get_by_role("radio", name="Fields").click()
    page.get_by_label("Threads").fill("4")
    page.get_by_role("radio", name="Text").click()
    page.reload()
    expect(page.get_by_role("textbox")).to_have_value("a: [")
    page.get_by_role("radio", name="Fields").click()
    expect(page.get_by_label("Threads")).to_have_value("4")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("radio", name="Text").click()
    page.get_by_role("button", name="Discard").click()
    page.reload()
    expect(page.get_by_role("textbox")).to_have_value(TEXT)


def test_the_pages_are_there_before_the_controller_has_gone(page: Page, faults: list[str]) -> None:
    page.wait_for_function("performance.getEntriesByName(new URL('/js/pages/help.js', location)).length > 0")
    page.route("**/*", lambda route: route.abort())
    page.get_by_role("link", name="Help").click()
    expect(page.locator("h1")).to_have_text("Help")
    faults[:] = [fault for fault in faults if "net::ERR_FAILED" not in fault]
