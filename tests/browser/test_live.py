"""The dashboard while things happen: servers that die, a controller that ends, a log that is written, other tabs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.conftest import Dashboard, Opens, dashboard_over

HOSTILE = "<img src=x onerror=window.hurt=1>\x1b[31m"


@pytest.fixture(scope="module")
def dashboard(folder: Path, llama_server: str, tiny_model: Path, browser_ports: range) -> Iterator[Dashboard]:
    with dashboard_over(folder, llama_server, tiny_model, browser_ports) as made:
        made.installation.declare("chat")
        made.installation.start()
        made.wait_served()
        made.installation.wait_ready("chat")
        yield made


def killed(dashboard: Dashboard) -> int:
    """Kill chat; the pid of its successor."""
    installation = dashboard.installation
    before = installation.wait_ready("chat")["chat"]
    os.kill(before, signal.SIGKILL)
    installation.wait_for("another process", lambda: installation.pids().get("chat", before) != before)
    return installation.pids()["chat"]


def test_a_server_dies_while_two_tabs_look(opened: Opens, dashboard: Dashboard, browser: Browser) -> None:
    page, events = opened("/servers/chat"), opened("/events")
    targets = browser.new_browser_cdp_session().send("Target.getTargets")["targetInfos"]
    assert [one["url"] for one in targets if one["type"] == "shared_worker"] == [f"{dashboard.url}/js/shared.js"]
    expect(page.locator(".standing .badge").first).to_have_text("Ready")
    expect(events.locator("main tbody tr").first).to_be_visible()
    successor = killed(dashboard)
    for one in (page, events):
        expect(one.locator("main")).to_contain_text("KilledByUser")
        expect(one.locator("main")).to_contain_text(f"pid {successor} is ready")
    expect(page.locator(".standing .badge").first).to_have_text("Ready")


def test_what_is_declared_and_removed_appears_and_goes(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/?view=table")
    expect(page.locator("main tbody tr")).to_have_count(1)
    manifest = dashboard.installation.declare("late", suspend=True)
    expect(page.locator("main tbody tr")).to_have_count(2)
    manifest.unlink()
    expect(page.locator("main tbody tr")).to_have_count(1)


def test_log_lines_come_as_they_are_written_and_stay_texts(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/servers/chat?tab=log")
    expect(page.get_by_role("log", name="Log of chat")).to_contain_text("listening")
    newest = max((dashboard.installation.state / "logs").rglob("*.log"), key=lambda path: path.stat().st_mtime)
    with newest.open("a") as log:
        log.write(f"a line of somebody {HOSTILE}\n")
    expect(page.get_by_role("log", name="Log of chat")).to_contain_text("a line of somebody <img src=x")
    assert page.evaluate("window.hurt") is None
    page.get_by_role("searchbox", name="Search the log").fill("of somebody")
    expect(page.get_by_role("status").filter(has_text="of 1")).to_be_visible()


def test_a_controller_that_ends_is_told_and_its_successor_found(
    opened: Opens, dashboard: Dashboard, context: BrowserContext, faults: list[str]
) -> None:
    page = opened("/servers/chat", acting=True)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    dashboard.installation.end(signal.SIGKILL)
    expect(page.get_by_text("not connected", exact=True)).to_be_visible()
    expect(page.locator(".stale")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("reconciler run")
    dashboard.installation.start()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(page.locator(".stale")).to_have_count(0)
    expect(page.locator("main")).to_contain_text(f"pid {killed(dashboard)} is ready")
    expect(page.locator(".standing .badge").first).to_have_text("Ready")
    faults[:] = [fault for fault in faults if "net::ERR" not in fault]
