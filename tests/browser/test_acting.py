"""What can be done in the dashboard, and that it needs a session."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from reconciler.api.tokens import _session
from tests.browser.conftest import Dashboard, Opens, dashboard_over
from tests.gitops.remotes import BareRemote

MANIFEST = """\
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: coder
spec:
  model: tiny.gguf
  ctx: 256  # enough
  parallel: 1
  threads: 1
  flags: {warmup: false}
"""
PROFILE = """\
apiVersion: llama.reconciler/v1alpha1
kind: Profile
metadata:
  name: night
spec:
  servers: [coder]
"""


@pytest.fixture(scope="module")
def dashboard(folder: Path, llama_server: str, tiny_model: Path, browser_ports: range) -> Iterator[Dashboard]:
    with dashboard_over(folder, llama_server, tiny_model, browser_ports) as made:
        installation = made.installation
        remote = BareRemote(folder / "team.git")
        remote.commit({"batch.yaml": MANIFEST.replace("coder", "batch") + "  suspend: true\n"}, "Work for the night")
        with (folder / "reconciler.toml").open("a") as settings:
            settings.write(f'[source.git]\nurl = "{remote.url}"\ninterval = "1h"\n')
        installation.declare("chat")
        installation.write(installation.manifests / "coder.yaml", MANIFEST)
        installation.write(installation.manifests / "night.yaml", PROFILE)
        installation.start()
        made.wait_served()
        installation.wait_ready("chat", "coder")
        yield made


def confirm(page: Page, name: str) -> None:
    """Press a dialog's button."""
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def test_a_code_begins_a_session_and_is_seen_nowhere_after_that(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/settings", acting=True)
    expect(page.locator("main")).to_contain_text("may look and act")
    assert page.url == f"{dashboard.url}/settings"
    page.reload()
    expect(page.locator("main")).to_contain_text("may look and act")
    page.get_by_role("button", name="End the session").click()
    expect(page.locator("main")).to_contain_text("may look only")


def test_restart_stop_and_start(opened: Opens, dashboard: Dashboard) -> None:
    installation = dashboard.installation
    before = installation.wait_ready("chat", "coder")
    page = opened("/servers/chat", acting=True)
    badge = page.locator(".standing .badge").first
    page.get_by_role("button", name="Restart", exact=True).click()
    confirm(page, "Restart")
    installation.wait_for("another process", lambda: installation.pids().get("chat", before["chat"]) != before["chat"])
    expect(badge).to_have_text("Ready")
    page.get_by_role("button", name="Stop", exact=True).click()
    confirm(page, "Stop")
    expect(badge).to_have_text("Stopped")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(badge).to_have_text("Ready")
    assert installation.wait_ready("chat", "coder")["coder"] == before["coder"]


def test_suspend_and_resume_are_edits(opened: Opens, dashboard: Dashboard) -> None:
    manifest = dashboard.installation.manifests / "chat.yaml"
    page = opened("/servers/chat", acting=True)
    page.get_by_role("button", name="Suspend", exact=True).click()
    confirm(page, "Suspend")
    expect(page.locator(".standing .badge").first).to_have_text("Stopped")
    assert "suspend" in manifest.read_text()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator(".standing .badge").first).to_have_text("Ready")
    assert "suspend" not in manifest.read_text()


def test_a_profile_is_used_after_one_has_seen_what_follows(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/profiles", acting=True)
    page.get_by_role("button", name="Use profile night").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("chat")
    expect(dialog).to_contain_text("stop")
    confirm(page, "Use night")
    dashboard.installation.wait_phase("chat", "Stopped")
    expect(page.locator(".tile")).to_contain_text("active")
    page.get_by_role("button", name="Use none").click()
    confirm(page, "Use none")
    dashboard.installation.wait_ready("chat", "coder")
    expect(page.locator("main")).to_contain_text("No profile is active")


def test_a_text_is_checked_shown_as_a_diff_and_applied(opened: Opens, dashboard: Dashboard) -> None:
    manifest = dashboard.installation.manifests / "coder.yaml"
    page = opened("/servers/coder?tab=manifest", acting=True)
    text = page.get_by_role("textbox", name="Text of coder.yaml")
    expect(text).to_have_value(MANIFEST)
    text.fill(MANIFEST.replace("ctx: 256", "cxt: 512"))
    expect(page.get_by_role("alert")).to_contain_text("did you mean 'ctx'?")
    page.get_by_role("button", name="Review changes").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    text.fill(MANIFEST.replace("ctx: 256", "ctx: 512"))
    expect(page.get_by_role("alert")).to_have_count(0)
    text.press("Control+s")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("+  ctx: 512  # enough")
    expect(dialog).to_contain_text("spec.ctx: 256 → 512")
    assert manifest.read_text() == MANIFEST
    confirm(page, "Apply")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert manifest.read_text() == MANIFEST.replace("ctx: 256", "ctx: 512")
    dashboard.installation.wait_for("generation 2", lambda: dashboard.installation.generation("coder") == 2)


def test_errors_that_a_draft_makes_in_other_files_are_told_as_theirs(opened: Opens) -> None:
    page = opened("/servers/coder?tab=manifest", acting=True)
    page.get_by_role("textbox", name="Text of coder.yaml").fill("a: [\nb")
    first, second = (page.get_by_role("alert").locator("li").nth(place) for place in (0, 1))
    expect(first).to_contain_text("line 2:2 not valid YAML")
    expect(second).to_contain_text("manifests/night.yaml:6 no manifest declares 'coder'")
    expect(page.locator(".editor-gutter .wrong")).to_have_text("2")
    page.evaluate("sessionStorage.clear()")


def test_what_comes_from_git_is_not_offered_for_edits(opened: Opens) -> None:
    page = opened("/servers/batch?tab=manifest", acting=True)
    expect(page.get_by_role("button", name="Resume")).to_be_disabled()
    page.get_by_role("radio", name="Fields").click()
    expect(page.get_by_label("Context")).to_be_disabled()
    expect(page.get_by_role("button", name="Review changes")).to_have_count(0)


def test_a_form_edits_one_field_and_keeps_the_comments(opened: Opens, dashboard: Dashboard) -> None:
    manifest = dashboard.installation.manifests / "coder.yaml"
    before = manifest.read_text()
    page = opened("/servers/coder?tab=manifest", acting=True)
    page.get_by_role("radio", name="Fields").click()
    page.get_by_label("Slots").fill("many")
    page.get_by_role("button", name="Review changes").click()
    expect(page.get_by_role("alert")).to_contain_text("expected a number")
    page.get_by_label("Slots").fill("2")
    page.get_by_role("button", name="Review changes").click()
    expect(page.get_by_role("dialog")).to_contain_text("spec.parallel: 1 → 2")
    confirm(page, "Apply")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert manifest.read_text() == before.replace("parallel: 1", "parallel: 2")


def test_a_source_is_synced_suspended_and_resumed(opened: Opens, dashboard: Dashboard) -> None:
    page = opened("/sources", acting=True)
    expect(page.locator("main")).to_contain_text("Work for the night")
    remote = BareRemote(dashboard.installation.root / "team.git")
    remote.commit({"batch.yaml": MANIFEST.replace("coder", "batch") + "  suspend: true\n# again\n"}, "Another day")
    page.get_by_role("button", name="Sync").click()
    expect(page.locator("main")).to_contain_text("Another day")
    page.get_by_role("button", name="Suspend", exact=True).click()
    expect(page.locator("main")).to_contain_text("Suspended")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("main")).to_contain_text("UpToDate")
    page.goto(f"{dashboard.url}/manifests?file=git:batch.yaml")
    expect(page.locator("main")).to_contain_text("change it there")
    expect(page.get_by_role("button", name="Review changes")).to_have_count(0)


def test_two_who_edit_the_same_file(opened: Opens, dashboard: Dashboard) -> None:
    manifest = dashboard.installation.manifests / "night.yaml"
    page = opened("/manifests?file=night.yaml", acting=True)
    text = page.get_by_role("textbox", name="Text of night.yaml")
    expect(text).to_have_value(re.compile("name: night"))
    theirs = PROFILE.replace("[coder]", "[coder, chat]")
    dashboard.installation.write(manifest, theirs)
    text.fill(PROFILE + "  switch: StartFirst\n")
    expect(page.get_by_role("alert")).to_contain_text("Somebody else has written this file")
    page.get_by_role("button", name="Take theirs").click()
    expect(text).to_have_value(theirs)
    assert manifest.read_text() == theirs


def test_a_manifest_is_made_and_deleted(opened: Opens, dashboard: Dashboard) -> None:
    made = dashboard.installation.manifests / "draft.yaml"
    page = opened("/manifests", acting=True)
    page.get_by_role("button", name="New").click()
    page.get_by_role("textbox", name="File").fill("draft")
    confirm(page, "Write it")
    text = page.get_by_role("textbox", name="Text of draft.yaml")
    text.fill(text.input_value().replace("MODEL.gguf", "tiny.gguf\n  suspend: true"))
    page.get_by_role("button", name="Review changes").click()
    confirm(page, "Apply")
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    assert "name: draft" in made.read_text()
    page.get_by_role("button", name="Delete").click()
    confirm(page, "Delete")
    expect(page.get_by_role("heading", level=1, name="Manifests")).to_be_visible()
    assert not made.exists()


def test_without_a_session_it_says_how_to_get_one(
    opened: Opens, dashboard: Dashboard, context: BrowserContext, faults: list[str]
) -> None:
    before = dashboard.installation.wait_ready("chat", "coder")
    page = opened("/servers/chat")
    page.get_by_role("button", name="Restart", exact=True).click()
    confirm(page, "Restart")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("reconciler ui")
    assert dashboard.installation.pids() == before
    other = context.new_page()
    other.goto(dashboard.code_url("/settings"))
    expect(other.locator("main")).to_contain_text("may look and act")
    expect(dialog).to_have_count(0)
    faults[:] = [fault for fault in faults if "401" not in fault]


def test_a_session_that_has_expired_and_a_code_that_is_used_up(
    opened: Opens, dashboard: Dashboard, faults: list[str]
) -> None:
    page = opened("/profiles")
    token = (dashboard.installation.state / "token").read_text().strip()
    expired = _session(token, "session.1700000000.0123456789abcdef")
    page.evaluate("(token) => localStorage.setItem('reconciler.session', token)", expired)
    page.get_by_role("button", name="Use profile night").click()
    expect(page.get_by_role("dialog", name="The session has expired")).to_contain_text("reconciler ui")
    page.keyboard.press("Escape")
    used = dashboard.code_url("/settings")
    page.goto(used)
    expect(page.locator("main")).to_contain_text("may look and act")
    page.evaluate("localStorage.clear()")
    page.goto("about:blank")
    page.goto(used)
    expect(page.get_by_role("dialog", name="The code is used up or too old")).to_contain_text("reconciler ui")
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    faults[:] = [fault for fault in faults if "401" not in fault]


def test_a_remedy_is_a_button(opened: Opens, dashboard: Dashboard) -> None:
    installation = dashboard.installation
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        manifest = installation.declare("late", port=port)
        page = opened("/servers/late", acting=True)
        expect(page.get_by_role("region", name="Diagnosis")).to_contain_text("PortInUse")
        page.locator("[data-remedy$='/servers/late']").click()
        expect(page.get_by_role("dialog")).to_contain_text(f'-  "port": {port}')
        plan = page.get_by_role("dialog").locator(".plan > li")
        expect(plan).to_have_count(1)
        [follows] = plan.all_inner_texts()
        assert follows.split()[:2] == ["start", "late"]
        confirm(page, "Apply")
        expect(page.locator(".standing .badge").first).to_have_text("Ready")
        assert str(port) not in manifest.read_text()
    manifest.unlink()
    installation.wait_ready("chat", "coder")
