"""The dashboard's own modules, in a browser, over a controller that says what a test wants it to say."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.stage import Stage, item

FORMATS: list[tuple[str, list[Any], Any]] = [
    ("bytes", [None], "\N{EN DASH}"),
    ("bytes", [0], "0 B"),
    ("bytes", [510208], "498 KiB"),
    ("bytes", [19971597926], "18.6 GiB"),
    ("count", [127552], "128 k"),
    ("number", [1234567.25], "1,234,567.3"),
    ("number", [-1234, 0], "-1,234"),
    ("number", [None], "\N{EN DASH}"),
    ("duration", [0.47], "0.47 s"),
    ("duration", [8], "8 s"),
    ("duration", [185], "3 m 5 s"),
    ("duration", [7380], "2 h 3 m"),
    ("duration", [86400 * 4], "4 d"),
    ("milliseconds", [0.0042], "4.2 ms"),
    ("milliseconds", [0.0001, 0.00005], "0.1 ms"),
    ("milliseconds", [0.00015, 0.00005], "0.15 ms"),
    ("places", [0.25], 2),
    ("places", [0.30000000000000004], 1),
    ("places", [20, 1], 1),
    ("commandIn", ["see which there are: reconciler models"], "reconciler models"),
    ("commandIn", ["edit manifests/a.yaml:1"], None),
    ("compare", ["gpu-9", "gpu-10"], -1),
    ("tone", ["Nonsense"], "rest"),
]
ADDRESSES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, "http://here:8001/"),
    ({"host": "0.0.0.0"}, {}, "http://here:8001/"),
    ({"host": "::"}, {}, "http://here:8001/"),
    ({"host": "10.0.0.7"}, {}, "http://10.0.0.7:8001/"),
    ({"host": "fe80::1"}, {}, "http://[fe80::1]:8001/"),
    ({"flags": {"api-prefix": "llm", "ssl-key-file": "k"}}, {}, "https://here:8001/llm/"),
    ({"host": "/run/llama.sock"}, {}, None),
    ({}, {"phase": "Stopping"}, None),
    ({}, {"instance": None}, None),
]
DEGRADED = {"type": "Degraded", "status": "True", "reason": "ContextTooLarge"}
STANDINGS: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "Ready", None),
    ({"conditions": [DEGRADED]}, "Ready, degraded", None),
    ({"phase": "Starting", "backoffAttempt": 4, "maxRestarts": 3}, "Starting", "retry 3/3"),
    ({"phase": "Failed", "backoffAttempt": 4, "maxRestarts": 3, "conditions": [DEGRADED]}, "Failed", "gave up after 3"),
    ({"phase": "Failed", "backoffAttempt": 1, "maxRestarts": 0}, "Failed", "gave up"),
]
PATHS = [
    ("/", "/", {}),
    ("/servers/:name", "/servers/a%20b/", {"name": "a b"}),
    ("/servers/:name", "/servers/%", {"name": "%"}),
    ("/servers/:name", "/servers", None),
    ("/events", "/models", None),
]
STREAM = 'event: server\nid: e-1\ndata: {"a":\ndata: 1}\n\n: still here\n\ndata: x\r\n\r\nevent: lost\n\n'
HEARD = [{"event": "server", "data": '{"a":\n1}', "id": "e-1"}, {"event": "message", "data": "x", "id": None}]
PARSE = """async (sizes) => {
  const { parser } = await import("/js/stream.js");
  return sizes.map((size) => {
    const [text, found] = [%r, []];
    const feed = parser((event) => found.push(event));
    for (let at = 0; at < text.length; at += size) feed(text.slice(at, at + size));
    return found;
  });
}"""
CALL = """async ([path, calls]) => {
  const found = await import(path);
  return calls.map(([name, given]) => found[name](...given));
}"""
CUT_OFF = "Math.max(0, ...[...document.querySelectorAll('.table-wrap')].map((it) => it.scrollWidth - it.clientWidth))"
LABELS_OUTSIDE = """(() => {
  const box = document.querySelector(".timeline svg").getBoundingClientRect();
  return [...document.querySelectorAll(".timeline text")]
    .filter((one) => one.getBoundingClientRect().left < box.left || one.getBoundingClientRect().right > box.right)
    .map((one) => one.textContent);
})()"""
FUTURE = """(() => {
  const box = document.querySelector(".timeline svg").getBoundingClientRect();
  const ends = [...document.querySelectorAll(".timeline rect.end")].map((one) => one.getBoundingClientRect().right);
  return (box.right - Math.max(...ends)) / box.width;
})()"""
TEXT = "<img src=x onerror=alert(1)>"


@pytest.fixture
def stage() -> Iterator[Stage]:
    failed = item("coder", phase="Failed", lastError=TEXT, instance=None)
    with Stage(item(), failed).served() as made:
        yield made


@pytest.fixture
def page(context: BrowserContext, faults: list[str], stage: Stage) -> Page:
    del faults
    made = context.new_page()
    made.goto(stage.url)
    expect(made.locator(".card")).to_have_count(2)
    return made


def test_what_functions_make_of_what_they_are_given(page: Page) -> None:
    asked = [(name, given) for name, given, _ in FORMATS]
    assert page.evaluate(CALL, ["/js/format.js", asked]) == [told for _, _, told in FORMATS]
    servers = [("address", [{**item(**status), "spec": spec}, "here"]) for spec, status, _ in ADDRESSES]
    assert page.evaluate(CALL, ["/js/words.js", servers]) == [told for _, _, told in ADDRESSES]
    asked = [(name, [item(**status)]) for status, *_ in STANDINGS for name in ("standing", "retry")]
    assert page.evaluate(CALL, ["/js/words.js", asked]) == [told for _, *both in STANDINGS for told in both]
    paths = [("match", [pattern, path]) for pattern, path, _ in PATHS]
    assert page.evaluate(CALL, ["/js/router.js", paths]) == [told for _, _, told in PATHS]


def test_a_stream_is_read_in_pieces_of_any_size(page: Page) -> None:
    assert page.evaluate(PARSE % STREAM, [1, 3, 1000]) == [HEARD] * 3


def test_what_the_stream_says_is_seen_and_its_end_is_no_end(page: Page, stage: Stage) -> None:
    card = page.locator("[data-server=coder]")
    expect(card.locator(".trouble")).to_have_text(TEXT)
    stage.say("server", item("coder"), 2)
    expect(card.locator(".badge")).to_have_text("Ready")
    stage.say("server", item("third", phase="Starting", loading={"percent": 41, "seconds": 3, "usualSeconds": 9}), 3)
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "41")
    stage.say("usage", {"at": 1, "servers": {"chat": {"memoryBytes": 1048576, "tokensPerSecond": 12.34}}})
    expect(page.locator("[data-server=chat] .measured")).to_contain_text("1.0 MiB")
    stage.end()
    stage.wait_looked(2)
    stage.say("serverGone", {"name": "third"}, 4)
    expect(page.locator(".card")).to_have_count(2)
    assert stage.asked == [None, "e-3"]


def test_a_silent_stream_is_asked_for_again_from_where_it_fell_silent(page: Page, stage: Stage) -> None:
    page.add_init_script("delete window.SharedWorker")  # whose clock is another
    page.clock.install()
    page.reload()
    expect(page.locator(".card")).to_have_count(2)
    page.clock.fast_forward(20_000)
    expect(page.locator(".pulse")).to_have_text("live")
    looks = len(stage.asked)
    page.clock.fast_forward(6_000)
    stage.wait_looked(looks + 1)
    expect(page.locator(".pulse")).to_have_text("live")
    assert stage.asked[looks:] == ["e-1"]


def test_the_first_look_waits_for_no_chain_of_modules(page: Page) -> None:
    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)")
    links = "[...document.querySelectorAll('link[rel=modulepreload]')].map((one) => new URL(one.href).pathname)"
    assert {path for path in loaded if path.endswith(".js")} == {*page.evaluate(links), "/js/app.js"}
    assert page.evaluate("performance.getEntries().reduce((sum, one) => sum + (one.transferSize ?? 0), 0)") < 250_000


def test_keys(page: Page, stage: Stage) -> None:
    focused = "document.activeElement.dataset.server"
    page.keyboard.press("j")
    assert page.evaluate(focused) == "coder"
    page.keyboard.press("j")
    assert page.evaluate(focused) == "chat"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("chat")
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("cod")
    expect(page.locator(".card")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(2)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("search")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert stage.asked == [None]


def test_events_that_the_stream_does_not_begin_with_are_asked_for(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.url}servers/coder")
    expect(page.locator(".happenings")).to_contain_text("long ago")


def test_labels_of_the_timeline_stay_within_it(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.url}servers/coder")
    expect(page.locator(".happenings")).to_be_visible()
    now = datetime.now(UTC)
    stage.say("restart", [_start(now - timedelta(seconds=seconds)) for seconds in (9, 6, 3, 1)], 2)
    expect(page.locator(".timeline text.cause").first).to_be_visible()
    assert page.evaluate(LABELS_OUTSIDE) == []
    assert page.evaluate(FUTURE) < 0.4


def _start(at: datetime) -> dict[str, Any]:
    began, ended = (moment.isoformat(timespec="milliseconds") for moment in (at, at + timedelta(milliseconds=20)))
    cause = {"diagnosis": "ContextTooLarge", "trigger": "Crashed", "exitCode": 1}
    return {"uid": began, "server": "coder", "startedAt": began, "endedAt": ended, "readyAt": None, **cause}


def test_nothing_stands_beside_the_page(page: Page, stage: Stage) -> None:
    for path in ("", "?view=table", "servers/coder"):
        page.goto(stage.url + path)
        page.wait_for_selector("[data-row], .conditions")
        for width in (360, 768, 1060, 1280, 3840):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert page.evaluate(CUT_OFF) == 0, (path, width)
