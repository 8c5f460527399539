"""A real controller with real llama-servers, and Debian's chromium that looks at its dashboard."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.e2e.installation import Installation, installed

ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 20_000
"""Milliseconds to wait for what should take one or two hundred, on a machine that is busy with other tests."""
VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


class Dashboard:
    """A dashboard's address, and the installation behind it."""

    def __init__(self, installation: Installation, port: int) -> None:
        self.installation = installation
        self.url = f"http://127.0.0.1:{port}"
        self.port = port

    def code_url(self, path: str = "/") -> str:
        """The address that begins a session, as `reconciler ui` prints it."""
        transport = httpx.HTTPTransport(uds=str(self.installation.state / "controller.sock"))
        with httpx.Client(transport=transport, base_url="http://controller", timeout=30) as client:
            code = client.post("/ui-code").raise_for_status().json()["code"]
        return f"{self.url}{path}#code={code}"

    def wait_served(self) -> None:
        """Wait until TCP answers."""
        self.installation.wait_for("the listener", self._is_served)

    def _is_served(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def dashboard_over(root: Path, llama_server: str, model: Path, ports: range) -> Iterator[Dashboard]:
    """An installation whose controller is to listen on TCP too; `root` must be empty. The controller is not started."""
    with installed(root, llama_server, model, ports[1:]) as installation:
        settings = root / "reconciler.toml"
        listen = f'listen = "127.0.0.1:{ports[0]}"'
        settings.write_text(settings.read_text().replace('listen = ""', listen))
        yield Dashboard(installation, ports[0])


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Its tests are skipped where there is none, but for the gate."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI"):
        pytest.fail("no chromium: install Debian's with apt-get install chromium")
    if found is None:
        pytest.skip("no chromium: install Debian's with apt-get install chromium")
    return found


# Of a module's life, for a playwright that runs would stand in the way of the event loops of other modules' tests.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def browser_ports(request: pytest.FixtureRequest) -> range:
    """Twenty ports, of which the first is free for the dashboard."""
    first = 32_300 - os.getpid() % 60 * 40
    while not _is_free(first):
        first += 1
    return range(first, first + 20)


expect.set_options(timeout=PATIENCE)
Opens = Callable[..., Page]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without memories; whatever goes wrong in its pages fails the test."""
    made = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE)
    made.add_init_script(VIOLATIONS)
    yield made
    made.close()


@pytest.fixture
def faults(context: BrowserContext) -> Iterator[list[str]]:
    """What the pages complained of: a test takes out what it meant to provoke, and what is left fails it."""
    found: list[str] = []
    context.on("console", lambda said: found.append(f"console: {said.text}") if _is_fault(said) else None)
    context.on("weberror", lambda error: found.append(f"exception: {error.error}"))
    yield found
    for page in context.pages:
        if page.url.startswith("http"):
            found += [f"policy: {violation}" for violation in page.evaluate("window.violations")]
    assert not found, "\n".join(found)


@pytest.fixture
def opened(context: BrowserContext, faults: list[str], dashboard: Dashboard) -> Opens:
    """Open a page of the module's `dashboard`; `acting` with a session."""

    def open_page(path: str = "/", *, acting: bool = False) -> Page:
        page = context.new_page()
        page.goto(dashboard.code_url(path) if acting else f"{dashboard.url}{path}")
        page.wait_for_selector("main")
        return page

    return open_page


def _is_fault(said: ConsoleMessage) -> bool:
    """The browser itself complains of each refusal, also of those that are asked for: of a draft, or overtaken."""
    return said.type == "error" and not re.search("status of (412|422)", said.text)


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
