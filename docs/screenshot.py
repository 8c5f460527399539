"""Makes docs/images/get-servers.svg from the real output of a real installation: `make screenshot`."""
# ruff: noqa: INP001 - a script

import io
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from reconciler.demo.models import write_model
from reconciler.store import read

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "get-servers.svg"
COLUMNS = 154
PATIENCE = 60.0
"""Seconds to wait for anything."""
NAMES = ("chat", "coder", "embedder", "reranker")
MANIFEST = """\
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: {name}
spec:
  model: tiny-{name}.gguf
  ctx: 512
  parallel: 1
  threads: 1
  gpuLayers: 0
"""
# Without rich's own @font-face, which would have the reader's browser ask a stranger for fonts.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Run four servers, kill one, misspell a field of another, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _declare(root)
        controller = _spawn(root)
        try:
            _wait(root, lambda: _phases(root) == dict.fromkeys(NAMES, "Ready"))
            shown = _play(root)
        finally:
            _run(root, "stop", "--all")
            controller.send_signal(signal.SIGTERM)
            controller.wait(10)
    _export(shown)


def _declare(root: Path) -> None:
    for name in ("manifests", "models"):
        (root / name).mkdir()
    for name in NAMES:
        model = write_model(root / "models" / f"tiny-{name}.gguf", embedding=name == "embedder")
        os.utime(model, (0, 0))  # a fresh file would be waited for, as it may still be copied
        (root / "manifests" / f"{name}.yaml").write_text(MANIFEST.format(name=name))


def _play(root: Path) -> list[tuple[str, str]]:
    """Commands with what they print."""
    victim = _servers(root)["embedder"]["status"]["instance"]["pid"]
    os.kill(victim, signal.SIGKILL)
    _wait(root, lambda: _servers(root)["embedder"]["status"]["restarts"] == 1 and _phases(root)["embedder"] == "Ready")
    _run(root, "stop", "reranker")
    manifest = root / "manifests" / "coder.yaml"
    draft = manifest.with_suffix(".draft")
    draft.write_text(manifest.read_text().replace("ctx:", "cxt:"))
    draft.replace(manifest)
    _wait(root, lambda: _servers(root)["coder"]["status"]["message"])
    commands = [("get", "servers"), ("get", "restarts", "embedder")]
    return [(" ".join(("reconciler", *command)), _run(root, *command)) for command in commands]


def _spawn(root: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "reconciler", "run"]
    return subprocess.Popen(command, cwd=root, env=_environment(root), stdout=subprocess.DEVNULL)


def _environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
    kept.pop("NO_COLOR", None)
    return {**kept, "XDG_STATE_HOME": str(root / "xdg"), "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}


def _run(root: Path, *arguments: str) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "reconciler", *arguments]
    with subprocess.Popen(command, cwd=root, env=_environment(root), stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        output = io.BytesIO()
        try:
            while chunk := os.read(ours, 65536):
                output.write(chunk)
        except OSError:
            pass  # how Linux tells the end of a terminal
        os.close(ours)
        running.wait()
    return output.getvalue().decode().replace("\r\n", "\n")


def _servers(root: Path) -> dict[str, dict[str, Any]]:
    try:
        with read.opened(root / "state") as db:
            return {item["metadata"]["name"]: item for item in read.servers(db, now=time.time(), controller=True)}
    except read.ReadError:
        return {}


def _phases(root: Path) -> dict[str, str]:
    return {name: item["status"]["phase"] for name, item in _servers(root).items()}


def _wait(root: Path, is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"error: it took too long; the servers are {_phases(root)}")
        time.sleep(0.1)


def _export(shown: Sequence[tuple[str, str]]) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="256")
    for command, output in shown:
        console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
        console.print(Text.from_ansi(output.rstrip()), soft_wrap=True)
        console.print()
    PICTURE.parent.mkdir(exist_ok=True)
    svg = console.export_svg(title="reconciler", code_format=FORMAT, unique_id="terminal")
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
