"""What is generated is current: after a change, `make docs`."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from reconciler.core.git_settings import GitAuth, GitSource
from tests.docs.pages import ROOT


def test_the_documents_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run `make docs`\n{done.stdout}{done.stderr}"


def test_every_setting_of_a_source_is_listed() -> None:
    """A section that may be missing altogether is one all the same."""
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| `source.git.")}
    auth = [f"auth.{name}" for name in GitAuth.model_fields]
    assert list(rows) == [f"`source.git.{name}`" for name in (*GitSource.model_fields, *auth) if name != "auth"]
    assert "| required |" in rows["`source.git.url`"]
    assert "| a duration | `1m` |" in rows["`source.git.interval`"]


def test_a_page_out_of_date_is_told(tmp_path: Path) -> None:
    """The test above can fail."""
    script = (ROOT / "docs" / "generate.py").read_text()
    page = (ROOT / "docs" / "settings.md").read_text()
    assert "| `loads` |" in page
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "generate.py").write_text(script)
    (tmp_path / "docs" / "settings.md").write_text(page.replace("| `loads` |", "| `load` |"))
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "out of date: docs/settings.md\n")
    subprocess.run(command[:-1], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "docs" / "settings.md").read_text() == page


def test_the_picture_is_a_picture_that_asks_nobody() -> None:
    text = (ROOT / "docs" / "images" / "get-servers.svg").read_text()
    ET.fromstring(text)
    shown = text.replace("&#160;", " ")
    assert "reconciler get servers" in shown
    assert "Ready" in shown
    assert "@font-face" not in text
    assert "url(http" not in text
