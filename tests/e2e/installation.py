"""A whole installation for a test: manifests, models, state, and a controller over them as a user would run it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from reconciler.installation import is_controller_running

PATIENCE = 30.0
"""Seconds to wait for what should take one or two, on a machine that is busy with other tests."""
SMALL = {"ctx": 128, "parallel": 1, "threads": 1, "flags": {"warmup": False}}
"""What keeps a server light."""


class Installation:
    """Folders below `root`, and the processes that were started over them."""

    def __init__(self, root: Path, llama_server: str, model: Path, ports: range) -> None:
        self.root = root
        self.manifests, self.models, self.state = root / "manifests", root / "models", root / "state"
        for folder in (self.manifests, self.models):
            folder.mkdir()
        shutil.copy2(model, self.models / "tiny.gguf")
        os.utime(self.models / "tiny.gguf", (0, 0))  # long ago: a fresh file is waited for, as it may be growing
        (root / "reconciler.toml").write_text(
            f'[ports]\nlow = {ports.start}\nhigh = {ports.stop - 1}\n[http]\nlisten = ""\n'
        )
        self.ports = ports
        # RECONCILER_HOST=portable runs every test as on a machine without pidfd and /proc.
        ours = {name for name in os.environ if name.startswith("RECONCILER_")} - {"RECONCILER_HOST"}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        folders = {"XDG_STATE_HOME": str(root / "xdg"), "XDG_CACHE_HOME": str(root / "cache")}
        self.environ = {**kept, **folders, "LLAMA_SERVER": llama_server, "COLUMNS": "200"}
        self.is_portable = self.environ.get("RECONCILER_HOST") == "portable"
        """Without /proc, nobody can tell who a stranger is."""
        self.controller: subprocess.Popen[bytes] | None = None
        self._logs = 0

    # -- manifests

    def declare(self, name: str, file: str = "", *, labels: dict[str, str] | None = None, **spec: Any) -> Path:
        """Write a manifest by renaming it into place, as editors do."""
        path = self.manifests / (file or f"{name}.yaml")
        self.write(path, document(name, labels=labels, **spec))
        return path

    def write(self, path: Path, text: str) -> None:
        """Replace a file at once."""
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text)
        draft.replace(path)

    # -- the controller and other commands

    def start(self, *arguments: str, **environ: str) -> None:
        """Run the controller in the background."""
        self._logs += 1
        with (self.root / f"controller-{self._logs}.log").open("wb") as log:
            self.controller = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "run", *arguments],
                cwd=self.root,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Signal the controller, and wait for its end."""
        assert self.controller is not None
        self.controller.send_signal(number)
        code = self.controller.wait(patience)
        self.controller = None
        return code

    def cli(self, *arguments: str, code: int | None = 0, stdin: str | None = None) -> str:
        """Run a command to its end; its output, and its errors behind it."""
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.root,
            env=self.environ,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        output = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"exit {done.returncode}, not {code}:\n{output}"
        return output

    def log(self) -> str:
        """What all controllers so far have logged."""
        return "\n".join(path.read_text() for path in sorted(self.root.glob("controller-*.log")))

    # -- what is

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database, read-only."""
        with closing(sqlite3.connect(f"file:{self.state}/state.db?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def phases(self) -> dict[str, str]:
        """Phase by server, as recorded."""
        return dict(self.query("select name, phase from servers"))

    def conditions(self, name: str) -> dict[str, dict[str, Any]]:
        """Conditions by type."""
        record = json.loads(self.query("select record from servers where name = ?", name)[0][0])
        return {condition["type"]: condition for condition in record["status"]["conditions"]}

    def instances(self, name: str) -> list[dict[str, Any]]:
        """All rows of a server's instances, oldest first."""
        rows = self.query("select row from instances where server = ? order by started_at", name)
        return [json.loads(row) for (row,) in rows]

    def events(self, name: str = "%") -> list[tuple[str, str]]:
        """Reasons and messages, oldest first."""
        return self.query("select reason, message from events where server like ? order by id", name)

    def pids(self) -> dict[str, int]:
        """The live processes that bear this installation's mark, by server; several of one server are an error."""
        found: dict[str, int] = {}
        for process in self.processes():
            try:
                leads, name = os.getsid(process.pid) == process.pid, process.environ()["RECONCILER_SERVER"]
            except (psutil.Error, OSError, KeyError):
                continue  # it has ended meanwhile
            if leads:
                assert name not in found, f"two processes of {name}: {found[name]} and {process.pid}"
                found[name] = process.pid
        return found

    def processes(self) -> Iterator[psutil.Process]:
        """All live processes with this installation's mark."""
        if not (self.state / "state.db").exists():
            return
        marks = {row[0] for row in self.query("select value from meta where key = 'installation'")}
        for process in psutil.process_iter():
            try:
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get("RECONCILER_INSTALLATION") in marks
                ):
                    yield process
            except (psutil.Error, OSError):
                continue

    def passes(self) -> int:
        """How many passes the controller has made."""
        return int(self._ask("GET", "/healthz")["passes"])

    def reconcile(self) -> dict[str, Any]:
        """Have the controller look at everything, and wait for the pass."""
        return self._ask("POST", "/reconcile")

    def is_controlled(self) -> bool:
        """Whether a controller answers."""
        return is_controller_running(self.state)

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        transport = httpx.HTTPTransport(uds=str(self.state / "controller.sock"))
        with httpx.Client(transport=transport, base_url="http://controller", timeout=30) as client:
            return dict(client.request(method, path).raise_for_status().json())

    def reason(self, name: str) -> str:
        """Why what runs is not what is declared."""
        return str(self.conditions(name)["Reconciled"]["reason"])

    def problem(self, name: str) -> str:
        """The message of the same."""
        found = self.query("select record from servers where name = ?", name)
        return str(self.conditions(name)["Reconciled"]["message"]) if found else ""

    def generation(self, name: str) -> int:
        """The accepted generation."""
        return int(self.query("select generation from documents where name = ?", name)[0][0])

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The database, for damaging it while no controller is there."""
        connection = sqlite3.connect(self.state / "state.db")
        with connection:
            yield connection
        connection.close()

    # -- waiting

    def stays(self, is_so: Callable[[], object], seconds: float) -> None:
        """It is so, and still is after a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert is_so(), f"it did not stay so\nphases: {self.phases()}\npids: {self.pids()}\n{self.log()}"
            time.sleep(0.05)

    def wait_for(self, what: str, is_so: Callable[[], object], patience: float = PATIENCE) -> None:
        """Look until it is so; fail with what there is instead."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                if is_so():
                    return
            except sqlite3.OperationalError:
                pass  # the database is not there yet
            if self.controller is not None and self.controller.poll() is not None:
                raise AssertionError(f"the controller ended while waiting for: {what}\n{self.log()}")
            time.sleep(0.02)
        seen = f"phases: {self.phases()}\npids: {self.pids()}" if (self.state / "state.db").exists() else "no state"
        raise AssertionError(f"waited {patience:g} s for: {what}\n{seen}\n{self.log()}")

    def wait_ready(self, *names: str, patience: float = PATIENCE) -> dict[str, int]:
        """Wait until exactly these run and are Ready; their pids."""

        def all_ready() -> bool:
            phases = self.phases()
            ready = all(phases.get(name) == "Ready" and self.conditions(name)["Ready"]["status"] for name in names)
            return ready and set(self.pids()) == set(names)

        self.wait_for(f"{', '.join(names)} Ready", all_ready, patience)
        return self.pids()

    def wait_phase(self, name: str, phase: str, patience: float = PATIENCE) -> None:
        """Wait until a server is in a phase."""
        self.wait_for(f"{name} {phase}", lambda: self.phases().get(name) == phase, patience)

    def close(self) -> None:
        """End all that was started."""
        if self.controller is not None:
            self.controller.kill()
            self.controller.wait()
        with suppress(sqlite3.Error):  # it may be damaged, or on a full disk, by what was tested
            for process in list(self.processes()):
                process.kill()
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("RECONCILER_FOLDER") == os.path.realpath(self.state):
                    process.kill()


def document(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> str:
    """A manifest; JSON is YAML."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    content = {
        "apiVersion": "llama.reconciler/v1alpha1",
        "kind": "LlamaServer",
        "metadata": metadata,
        "spec": {"model": "tiny.gguf", **SMALL, **spec},
    }
    return json.dumps(content, indent=2) + "\n"


@contextmanager
def installed(root: Path, llama_server: str, model: Path, ports: range) -> Iterator[Installation]:
    """An installation that leaves nothing running."""
    installation = Installation(root, llama_server, model, ports)
    try:
        yield installation
        assert "Traceback" not in installation.log(), installation.log()
    finally:
        installation.close()
