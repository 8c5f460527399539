"""Makes docs/images/dashboard-*.webp from a real installation in a real browser: part of `make screenshot`."""
# ruff: noqa: INP001 - a script

import base64
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from reconciler.demo.limits import write_limited_program
from reconciler.demo.models import write_demo_models, write_model
from reconciler.discovery import find_llama_server
from tests.browser.conftest import ARGUMENTS, Dashboard, dashboard_over
from tests.gitops.remotes import BareRemote

IMAGES = Path(__file__).parent / "images"
ROOT = Path(tempfile.gettempdir()) / "llama"
"""Seen in the pictures."""
PORTS = range(9797, 9818)
TRAFFIC = 45.0
"""Seconds of requests, for the charts to have something to show."""
NIGHT = """\
apiVersion: llama.reconciler/v1alpha1
kind: Profile
metadata: {name: night}
spec: {servers: [coder, batch]}
"""
DAY = NIGHT.replace("night", "day").replace("coder, batch", "chat, coder, embedder, reader")
SERVER = """\
# {comment}
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: {name}
  labels: {{role: {name}}}
spec:
  model: {model}
  ctx: 1024         # over all slots
  parallel: 2
  threads: 1
  gpuLayers: 0
  flags:
    warmup: false
    metrics: true
"""
SERVERS = {
    "chat": ("tiny-chat.gguf", "Answers people"),
    "coder": ("tiny-chat.gguf", "Completes code"),
    "embedder": ("tiny-embed.gguf", "Finds what belongs together"),
    "vision": ("qwen2.5-vl-7b-q4_k_m.gguf", "Looks at pictures"),
}
PAGES = ("events", "profiles", "models", "manifests", "sources", "settings", "help")


def main() -> None:
    """Play a day of a machine, and take a picture of each page."""
    found = find_llama_server(os.environ)
    if found is None:
        sys.exit("error: no llama-server: set LLAMA_SERVER to yours, or have one built: make test")
    ROOT.mkdir()
    try:
        program = ROOT / "bin" / "llama-server"
        program.parent.mkdir()
        program.symlink_to(found[0])
        model = write_model(Path(tempfile.mkdtemp()) / "tiny.gguf")
        with dashboard_over(ROOT, str(program), model, PORTS) as dashboard:
            _declare(dashboard)
            dashboard.installation.start()
            dashboard.wait_served()
            _play(dashboard)
            _take(dashboard)
    finally:
        shutil.rmtree(ROOT)


def _declare(dashboard: Dashboard) -> None:
    installation = dashboard.installation
    (installation.models / "tiny.gguf").unlink()
    for path in write_demo_models(installation.models):
        os.utime(path, (0, 0))  # a fresh file would be waited for, as it may still be copied
    for name, (model, comment) in SERVERS.items():
        text = SERVER.format(name=name, model=model, comment=comment)
        (installation.manifests / f"{name}.yaml").write_text(text)
    shutil.copy(Path("manifests/reader.yaml"), installation.manifests)
    (installation.manifests / "day.yaml").write_text(DAY)
    (installation.manifests / "night.yaml").write_text(NIGHT)
    limited = write_limited_program(installation.models, installation.environ["LLAMA_SERVER"])
    remote = BareRemote(ROOT / "team.git")
    batch = SERVER.format(name="batch", model="tiny-chat.gguf", comment="Works by night")
    remote.commit({"batch.yaml": f"{batch}  suspend: true\n"}, "A server for the night")
    with (ROOT / "reconciler.toml").open("r+") as settings:
        text = settings.read()
        settings.seek(0)
        settings.write(f'binaries = ["{limited}"]\n[source.git]\nurl = "{remote.url}"\n{text}')
        settings.write('[policy.git]\nmodels = ["*"]\nflags = ["*"]\n')


def _play(dashboard: Dashboard) -> None:
    """A crash, requests, and a mistake in a file that runs on."""
    installation = dashboard.installation
    for name in ("chat", "coder", "embedder", "reader"):
        installation.wait_phase(name, "Ready", patience=60)
    os.kill(installation.pids()["chat"], signal.SIGKILL)
    installation.wait_for("chat to be back", lambda: len(installation.instances("chat")) == 2)
    installation.wait_phase("chat", "Ready")
    coder = installation.manifests / "coder.yaml"
    installation.write(coder, coder.read_text().replace("ctx:", "cxt:"))
    with _traffic(dashboard):
        threading.Event().wait(TRAFFIC)


@contextmanager
def _traffic(dashboard: Dashboard) -> Iterator[None]:
    """Somebody who asks chat for gibberish."""
    ended = threading.Event()
    [port] = [row["port"] for row in dashboard.installation.instances("chat")[-1:]]

    def ask() -> None:
        length = 0
        while not ended.wait(0.2):
            length = (length + 40) % 200
            with suppress(httpx.HTTPError):
                body = {"prompt": "Once", "n_predict": 40 + length}
                httpx.post(f"http://127.0.0.1:{port}/completion", json=body, timeout=30)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    # The pictures are taken while it is asked.
    dashboard.installation.wait_phase("chat", "Ready")
    try:
        _take_charts(dashboard)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _take_charts(dashboard: Dashboard) -> None:
    with _page(dashboard, "light") as page:
        page.goto(f"{dashboard.url}/servers/chat?tab=charts")
        _shoot(page, "charts", settle=4000)
        page.goto(f"{dashboard.url}/")
        _shoot(page, "servers-light", settle=4000)
    with _page(dashboard, "dark") as page:
        page.goto(f"{dashboard.url}/")
        _shoot(page, "servers-dark", settle=4000)


def _take(dashboard: Dashboard) -> None:
    with _page(dashboard, "light") as page:
        for name in PAGES:
            page.goto(f"{dashboard.url}/{name}")
            _shoot(page, name)
        page.goto(f"{dashboard.url}/?view=table")
        _shoot(page, "table", settle=2500)
        page.goto(f"{dashboard.url}/servers/reader")
        _shoot(page, "server")
        for tab in ("history", "log"):
            page.goto(f"{dashboard.url}/servers/chat?tab={tab}")
            _shoot(page, tab)
        page.goto(f"{dashboard.url}/servers/coder?tab=manifest")
        _shoot(page, "manifest-error")
        page.goto(f"{dashboard.url}/servers/chat?tab=manifest")
        text = page.get_by_role("textbox", name="Text of chat.yaml")
        text.fill(text.input_value().replace("ctx: 1024", "ctx: 2048"))
        page.get_by_role("button", name="Review changes").click()
        page.get_by_role("dialog").wait_for()
        _shoot(page, "review")
    with _page(dashboard, "light", width=360) as page:
        page.goto(f"{dashboard.url}/")
        _shoot(page, "narrow", settle=2500)


@contextmanager
def _page(dashboard: Dashboard, scheme: str, width: int = 1280) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        size = {"width": width, "height": 800}
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.goto(dashboard.code_url("/help"))
        page.get_by_text("live", exact=True).wait_for()
        yield page
        browser.close()


def _shoot(page: Page, name: str, settle: int = 700) -> None:
    page.locator("main h1").wait_for()
    page.locator("main .loading").wait_for(state="detached")
    page.wait_for_timeout(settle)
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 85})
    (IMAGES / f"dashboard-{name}.webp").write_bytes(base64.b64decode(taken["data"]))
    print(f"wrote docs/images/dashboard-{name}.webp")  # noqa: T201 - it is a script


if __name__ == "__main__":
    main()
