"""Each page, looked at: what it shows, that it complains of nothing, by pointer and by keyboard."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Dashboard, Opens, dashboard_over

HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
BROKEN = """\
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: broken
spec:
  model: tiny.gguf
  cxt: 4096
"""
PROFILE = """\
apiVersion: llama.reconciler/v1alpha1
kind: Profile
metadata:
  name: night
spec:
  servers: [chat]
"""
MANY = 100


@pytest.fixture(scope="module")
def dashboard(folder: Path, llama_server: str, tiny_model: Path, browser_ports: range) -> Iterator[Dashboard]:
    """One server that runs, hostile texts wherever a text of somebody else can stand, and a hundred that rest."""
    with dashboard_over(folder, llama_server, tiny_model, browser_ports) as made:
        installation = made.installation
        installation.declare("chat", labels={"note": HOSTILE})
        installation.declare("vision", model=f"{HOSTILE.replace('/', '')}.gguf")
        installation.write(installation.manifests / "broken.yaml", BROKEN)
        installation.write(installation.manifests / "night.yaml", PROFILE)
        resting = (
            BROKEN.replace("broken", f"rest-{number:03}").replace("cxt: 4096", "suspend: true")
            for number in range(MANY)
        )
        installation.write(installation.manifests / "rest.yaml", "---\n".join(resting))
        installation.start()
        made.wait_served()
        installation.wait_phase("chat", "Ready")
        installation.wait_for("all of them", lambda: len(installation.phases()) == MANY + 3)
        yield made


PAGES = {
    "Servers": ("/", "rest-099"),
    "Events": ("/events", "ModelMissing"),
    "Profiles": ("/profiles", "night"),
    "Models": ("/models", "tiny.gguf"),
    "Manifests": ("/manifests", "broken.yaml"),
    "Sources": ("/sources", "No Git source"),
    "Settings": ("/settings", "http.listen"),
    "Help": ("/help", "reconciler ui"),
}


def test_each_page_is_reached_and_loaded_anew(opened: Opens, dashboard: Dashboard) -> None:
    page = opened()
    for title, (path, content) in PAGES.items():
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
        assert page.url == f"{dashboard.url}{path}"
        expect(page.locator("main")).to_contain_text(content)
        expect(page).to_have_title(f"{title} · reconciler")
    for path, content in PAGES.values():
        page.goto(f"{dashboard.url}{path}")
        expect(page.locator("main")).to_contain_text(content)
    page.go_back()
    expect(page.locator("main")).to_contain_text("http.listen")
    page.goto(f"{dashboard.url}/nowhere")
    expect(page.locator("main")).to_contain_text("No such page")


def test_each_part_of_a_server(opened: Opens) -> None:
    page = opened("/servers/chat")
    for part, content in (
        ("Overview", "Conditions"),
        ("Restarts", "Created"),
        ("Charts", "memory"),
        ("Log", "listening"),
        ("Manifest", "manifests/chat.yaml"),
    ):
        page.get_by_role("navigation", name="Parts of this page").get_by_role("link", name=part).click()
        expect(page.locator("main")).to_contain_text(content, ignore_case=True)
    page.reload()
    expect(page.get_by_role("textbox", name="Text of chat.yaml")).to_have_value(re.compile('"name": "chat"'))


def test_a_hundred_servers_are_found(opened: Opens) -> None:
    page = opened("/?view=table")
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(MANY + 3)
    page.keyboard.press("/")
    page.keyboard.type("rest-04")
    expect(rows).to_have_count(10)
    page.keyboard.press("Escape")
    expect(rows).to_have_count(MANY + 3)


def test_the_keyboard_alone_is_enough(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/?view=table&sort=name")
    expect(page.locator("main tbody tr").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="chat")).to_be_visible()
    page.keyboard.press("5")
    expect(page.get_by_role("textbox", name="Text of chat.yaml")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.get_by_role("heading", level=1, name="Events")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_texts_of_others_stay_texts(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/servers/vision")
    expect(page.locator("main")).to_contain_text("<img src=x onerror=")
    of_vision = ("/servers/vision?tab=manifest", "/manifests?file=vision.yaml")
    for path in ("/", "/?view=table", "/events", "/servers/chat", *of_vision):
        page.goto(f"{dashboard.url}{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("main .loading")).to_have_count(0)
        assert page.evaluate("window.hurt") is None
        assert page.locator("main img, main script").count() == 0


def test_an_error_stands_at_its_line(opened: Opens) -> None:
    page = opened("/manifests?file=broken.yaml")
    expect(page.locator(".editor-gutter .wrong")).to_have_text("7")
    expect(page.get_by_role("alert")).to_contain_text("did you mean 'ctx'?")
    page.get_by_role("button", name="line 7:3").click()
    place = BROKEN.index("cxt")
    assert page.evaluate("document.activeElement.selectionStart") == place


def test_a_server_of_which_nothing_was_accepted_leads_to_its_file(opened: Opens) -> None:
    page = opened("/servers/broken")
    page.get_by_role("region", name="Diagnosis").get_by_role("link", name="Edit").click()
    expect(page.locator(".editor-gutter .wrong")).to_have_text("7")
    expect(page.get_by_role("textbox", name="Text of broken.yaml")).to_have_value(BROKEN)


def test_settings_say_what_the_absence_of_a_value_means(opened: Opens) -> None:
    page = opened("/settings")
    for name, value in (
        ("policy.local.ports", "any"),
        ("policy.git.max_ctx", "no limit"),
        ("http.hosts", "none"),
        ("logs.max_mib", "64 MiB"),
        ("open_files", "4,096"),
    ):
        row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
        expect(row.get_by_role("cell").nth(1)).to_have_text(value)


def test_nothing_is_cut_off_at_any_width(opened: Opens) -> None:
    page = opened("/servers/vision")
    for title in PAGES:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
        expect(page.locator("main .loading")).to_have_count(0)
        for width in (360, 1280, 3840):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{title} at {width}"
