"""`python -m tests.store.take_specimen NAME [--code FOLDER]`: keep what a version writes, for the tests of upgrades.

`--code` is a checkout of the version to run (default: this one). A controller of it supervises real llama-servers
through what a life holds: a crash, an edit, a request, servers Failed, suspended and Blocked; then it is killed.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reconciler.demo.models import write_model
from reconciler.discovery import find_llama_server

SPECIMENS = Path(__file__).parent / "specimens"
HOME = Path("/tmp/reconciler-specimen")
"""The folder that a specimen is taken in: always the same one, as paths of secrets are part of fingerprints."""
BINARY = "/usr/local/bin/llama-server"
"""What stands in a specimen for the binary that was run."""
BOOT = "00000000-1111-4222-8333-444444444444"
"""And for the boot: whoever reads it does so after another one."""
PATIENCE = 30.0
HEAD = "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\nmetadata:\n"
MANIFESTS = {
    "chat.yaml": """  name: chat
  labels: {tier: front}
  annotations: {owner: somebody}
spec:
  model: tiny.gguf
  ctx: 256
  parallel: 2
  threads: 1
  gpuLayers: 0
  port: 9701
  flags: {warmup: false, alias: small, temp: 0.5}
  env: {GREETING: hello, FOLDER: {fromEnv: HOME}, KEY: {fromFile: /tmp/reconciler-specimen/secret.txt}}
  apiKeyFile: /tmp/reconciler-specimen/keys.txt
  probes:
    startup: {initialPeriod: 100ms, maxPeriod: 500ms, timeout: 2s, deadline: 1m}
    liveness: {period: 1s, timeout: 10s, failureThreshold: 5}
  restart: {policy: OnFailure, initialBackoff: 200ms, factor: 1.5, maxBackoff: 5s, maxRestarts: 4, stabilityWindow: 20s}
  stop: {gracePeriod: 5s, drain: 1s}
""",
    "several.yaml": """  name: embedder
spec: {model: tiny.gguf, ctx: 128, threads: 1, flags: {embeddings: true, pooling: mean, warmup: false}}
---
# a comment
"""
    + HEAD
    + """  name: resting
spec: {model: {hf: "user/repo:Q4_K_M"}, suspend: true, gpuLayers: all}
---
"""
    + HEAD
    + """  name: stopped
spec: {model: tiny.gguf, ctx: 128, threads: 1, flags: {warmup: false}, host: 127.0.0.1}
""",
    "broken.yaml": """  name: broken
spec: {model: broken.gguf, restart: {maxRestarts: 1, initialBackoff: 0s, retryFailedAfter: 0s}}
""",
    "blocked.yaml": """  name: blocked
spec: {model: none.gguf, port: 9702}
""",
}
SETTINGS = """manifests = "manifests"
state = "state"
models = "models"
llama_server = ""
binaries = ["/opt/other/llama-server"]
loads = 3
tick = 5
host = "auto"

[ports]
low = 9710
high = 9719

[logs]
keep = 5
max_mib = 8

[history]
instances = 50
events = 500
"""
SETTINGS_WITH_GIT = f"""open_files = 2048
{SETTINGS}
[source.git]
url = "REMOTE"
branch = "main"
path = "servers"
interval = "30s"
timeout = "10s"
max_mib = 8

[source.git.auth]
token_file = "token.txt"
username = "reader"

[policy.local]
max_servers = 20
flags = ["*"]

[policy.git]
models = ["*"]
flags = ["warmup"]
ports = ["9720-9729"]
max_ctx = 4096
"""


class Taking:
    """A version at work in a folder of its own."""

    def __init__(self, root: Path, code: Path, llama_server: str, *, follows_git: bool) -> None:
        self.root, self.llama_server = root, llama_server
        # What the environment says would win over the settings, which are part of what is kept.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
        self._environ = {**kept, "PYTHONPATH": str(code), "LLAMA_SERVER": llama_server, "HOME": str(root)}
        for folder in ("manifests", "models", "state"):
            (root / folder).mkdir()
        write_model(root / "models" / "tiny.gguf")
        (root / "models" / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 64)
        for path in (root / "models").iterdir():
            os.utime(path, (0, 0))
        for name, text in {"keys.txt": "a-key", "secret.txt": "a-secret", "token.txt": "a-token"}.items():
            (root / name).write_text(f"{text}\n")
            (root / name).chmod(0o600)
        settings = SETTINGS_WITH_GIT.replace("REMOTE", self._remote()) if follows_git else SETTINGS
        (root / "reconciler.toml").write_text(settings)
        for name, text in MANIFESTS.items():
            path = root / "manifests" / name
            path.write_text(HEAD + text)

    def _remote(self) -> str:
        """A repository with one server."""
        folder = self.root / "remote"
        (folder / "servers").mkdir(parents=True)
        spec = "spec: {model: tiny.gguf, ctx: 128, threads: 1, port: 9720, flags: {warmup: false}}\n"
        (folder / "servers" / "fetched.yaml").write_text(f"{HEAD}  name: fetched\n{spec}")
        author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        for words in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-q", "-m", "One server"]):
            subprocess.run(["git", *words], cwd=folder, check=True)
        return f"file://{folder}"

    def play(self) -> None:
        """What a life holds; the controller is killed at its end, and its servers run on until they are killed too."""
        command = [sys.executable, "-m", "reconciler"]
        controller = subprocess.Popen([*command, "run"], cwd=self.root, env=self._environ)
        ready = ["chat", "embedder", "stopped", *(["fetched"] if (self.root / "remote").exists() else [])]
        try:
            self._until("Ready", lambda: all(self._phase(name) == "Ready" for name in ready))
            self._until("Failed", lambda: self._phase("broken") == "Failed")
            os.kill(self._pid("embedder"), signal.SIGKILL)
            self._until("a crash", lambda: self._count("embedder") == 2 and self._phase("embedder") == "Ready")
            path = self.root / "manifests" / "chat.yaml"
            path.write_text(path.read_text().replace("ctx: 256", "ctx: 512"))
            self._until("an edit", lambda: self._count("chat") == 2 and self._phase("chat") == "Ready")
            subprocess.run([*command, "stop", "stopped"], cwd=self.root, env=self._environ, check=True)
        finally:
            controller.kill()
            controller.wait()
            self._kill_servers()

    def text(self) -> str:
        """The database as SQL, without what is this machine's."""
        with sqlite3.connect(self.root / "state" / "state.db") as db:
            lines = "\n".join(db.iterdump()) + "\n"
        db.close()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return lines.replace(self.llama_server, BINARY).replace(boot, BOOT)

    def _kill_servers(self) -> None:
        for row in self._ask("select row from instances where ended_at is null"):
            identity = json.loads(row)["identity"]
            with suppress(ProcessLookupError):
                os.kill(identity["pid"], signal.SIGKILL)

    def _ask(self, sql: str, *values: str) -> list[str]:
        with sqlite3.connect(f"file:{self.root}/state/state.db?mode=ro", uri=True) as db:
            rows = db.execute(sql, values).fetchall()
        db.close()
        return [row[0] for row in rows]

    def _phase(self, name: str) -> str:
        return next(iter(self._ask("select phase from servers where name = ?", name)), "")

    def _count(self, name: str) -> int:
        return len(self._ask("select uid from instances where server = ?", name))

    def _pid(self, name: str) -> int:
        return int(self._ask("select pid from instances where server = ? and ended_at is null", name)[0])

    def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(sqlite3.OperationalError):
                if is_so():
                    return
            time.sleep(0.05)
        raise TimeoutError(f"waited in vain for: {what}")


def main() -> None:
    """Take one, and write it where the tests look for it."""
    parser = argparse.ArgumentParser(prog="python -m tests.store.take_specimen", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--code", type=Path, default=Path(__file__).parents[2])
    arguments = parser.parse_args()
    found = find_llama_server(os.environ)
    assert found, "no llama-server: `make test` builds one, or set LLAMA_SERVER to yours"
    code = arguments.code.resolve()
    follows_git = (code / "reconciler" / "gitops").exists()
    HOME.mkdir()
    try:
        taking = Taking(HOME, code, found[0], follows_git=follows_git)
        taking.play()
        keep(taking, SPECIMENS / arguments.name)
    finally:
        shutil.rmtree(HOME)


def keep(taking: Taking, target: Path) -> None:
    """Write what it left where the tests look for it."""
    target.mkdir(parents=True, exist_ok=True)
    (target / "state.sql").write_text(taking.text())
    for path in (HOME / "reconciler.toml", *HOME.glob("manifests/*.yaml"), *HOME.glob("remote/*/*.yaml")):
        kept = target / path.relative_to(HOME)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(path.read_text())
    told = HOME / "state" / "installation"
    if told.exists():
        (target / "installation").write_text(told.read_text())


if __name__ == "__main__":
    main()
