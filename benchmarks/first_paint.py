"""How soon the dashboard shows something, and how much it has to fetch for that."""

import shutil
import time
from typing import Any

from benchmarks.fleet import PATIENCE, STEP, Options, running
from benchmarks.result import Result, Row

PAINT_TARGET_MS = 300.0
TRANSFER_TARGET_KB = 250.0
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
FILLED = "/server-[0-9]{4}/.test(document.body.innerText)"
OPENINGS_A_ROUND = 2


def first_paint(options: Options) -> Result:
    """Open it with an empty cache, again and again."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        return Result("first-paint", (), "Not measured: there is no chromium here (Debian: apt-get install chromium).")
    from playwright.sync_api import sync_playwright

    with running(options, shown=True) as made, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        url = f"http://127.0.0.1:{made.ports[-1]}/"
        found = [_opened(browser, url) for _ in range(1 + options.rounds * OPENINGS_A_ROUND)][1:]
        browser.close()
    paints, filled, sizes = (tuple(values) for values in zip(*found, strict=True))
    what = f"the dashboard of {options.servers} servers, nothing cached"
    return Result(
        "first-paint",
        (
            Row(f"{what}: first paint", "ms", paints, PAINT_TARGET_MS),
            Row(f"{what}: the first server is seen", "ms", filled),
            Row(f"{what}: transferred, without the stream", "kB", sizes, TRANSFER_TARGET_KB),
        ),
    )


def _opened(browser: Any, url: str) -> tuple[float, float, float]:
    """Milliseconds to the first paint and to the first server, and kB."""
    context = browser.new_context()
    page = context.new_page()
    sizes = list[int]()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda message: sizes.append(message["encodedDataLength"]))
    page.goto(url, wait_until="load")
    _wait(page, PAINTED)
    _wait(page, FILLED)
    filled = page.evaluate("performance.now()")
    paint = page.evaluate(PAINT)
    context.close()
    return float(paint), float(filled), sum(sizes) / 1000


def _wait(page: Any, expression: str) -> None:
    """Looked at from outside: what playwright would leave in the page to look at it is kept out by its policy."""
    until = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        if time.monotonic() > until:
            raise TimeoutError(f"the dashboard never came to: {expression}")
        page.wait_for_timeout(STEP * 1000)
