"""Under a real systemd, where one can be begun here: as a user's manager in a control group of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.cli.units import NAME
from tests.cli.pasted import parse
from tests.e2e.conftest import installation
from tests.e2e.installation import Installation

__all__ = ["installation"]

PROGRAM = Path("/lib/systemd/systemd")
GROUPS = Path("/sys/fs/cgroup")
# It wants to see that the machine is run by systemd; only it does.
OWN_RUN = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /run; mkdir -p /run/systemd/system; exec "$@"', "sh"]


def why_not() -> str:
    """Why none can be begun here; empty where one can."""
    if not PROGRAM.exists() or shutil.which("systemctl") is None:
        return "systemd is not installed"
    if os.geteuid() != 0 or not os.access(_groups(), os.W_OK):
        return "control groups cannot be made here"
    tried = subprocess.run([*OWN_RUN, "true"], capture_output=True, check=False, timeout=30)
    return "" if tried.returncode == 0 else "nothing can be mounted here"


def _groups() -> Path:
    """The hierarchy by which systemd knows who is whose."""
    return next((path for path in (GROUPS / "systemd", GROUPS) if (path / "cgroup.procs").exists()), GROUPS / "none")


pytestmark = pytest.mark.real


class Manager:
    """A systemd of one user."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        # Not below `root`: a socket's path has 107 bytes at most.
        self._runtime, self.log = tempfile.mkdtemp(prefix="systemd-"), root / "systemd.log"
        folders = {"HOME": str(root), "XDG_CONFIG_HOME": str(root / "config"), "XDG_RUNTIME_DIR": self._runtime}
        self.environ = {**environ, **folders}
        # No journal runs here.
        self.adjust(StandardOutput=f"append:{self.log}", StandardError=f"append:{self.log}")
        self.group = _groups() / f"reconciler-test-{os.getpid()}"
        self.group.mkdir()
        begin = f'echo $$ > "{self.group}/cgroup.procs" && exec {PROGRAM} --user'
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*OWN_RUN, "sh", "-c", begin], env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def adjust(self, **lines: str) -> None:
        """Write a drop-in of the unit beside those that are there."""
        folder = Path(self.environ["XDG_CONFIG_HOME"], "systemd", "user", f"{NAME}.d")
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (folder / f"{next(iter(lines)).lower()}.conf").write_text(f"[Service]\n{text}")

    def call(self, *arguments: str, code: int = 0) -> str:
        """What `systemctl --user` says."""
        command = ["systemctl", "--user", *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}{self.log.read_text()}"
        return done.stdout.strip()

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.call("show", NAME, f"--property={name}", "--value")

    def is_another(self, before: str) -> bool:
        """Whether another controller than this pid's is up."""
        return self.show("SubState") == "running" and self.show("MainPID") not in ("0", before)

    def is_up(self) -> bool:
        """Whether it answers."""
        assert self._process.poll() is None, self.log.read_text()
        command = ["systemctl", "--user", "show", "--property=Version"]
        return subprocess.run(command, env=self.environ, capture_output=True, check=False, timeout=30).returncode == 0

    def close(self) -> None:
        """End it, and leave no group behind."""
        for procs in self.group.rglob("cgroup.procs"):
            for pid in procs.read_text().split():
                with suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._runtime, ignore_errors=True)
        until = time.monotonic() + 5
        while self.group.exists() and time.monotonic() < until:
            for folder in sorted((path for path in self.group.rglob("*") if path.is_dir()), reverse=True):
                with suppress(OSError):
                    folder.rmdir()
            with suppress(OSError):
                self.group.rmdir()


@pytest.fixture
def manager(installation: Installation) -> Iterator[Manager]:
    if why := why_not():
        pytest.skip(why)
    made = Manager(installation.root, installation.environ)
    installation.environ.update(made.environ)
    try:
        installation.wait_for("systemd", made.is_up)
        yield made
    finally:
        made.close()
        assert "Traceback" not in made.log.read_text(), made.log.read_text()


def test_servers_outlive_their_controller(installation: Installation, manager: Manager) -> None:
    """Installed, reloaded, restarted, killed, hung, uninstalled: one process all the time."""
    installation.declare("one")
    settings = str(installation.root / "reconciler.toml")
    installation.cli("install", "--user", "--config", settings)
    # It is not before the first pass that it is active.
    assert (manager.show("ActiveState"), installation.is_controlled()) == ("active", True)
    assert "one" in installation.phases()
    kept = installation.wait_ready("one")
    installation.wait_for("how the servers are", lambda: manager.show("StatusText") == "1 server: 1 Ready")
    # What the unit forbids is forbidden to the servers too.
    confined = Path(f"/proc/{kept['one']}/status").read_text()
    assert "NoNewPrivs:\t1" in confined
    assert "Seccomp:\t2" in confined

    first = manager.show("MainPID")
    manager.call("reload", NAME)
    assert manager.show("MainPID") == first
    manager.call("restart", NAME)
    assert manager.show("MainPID") != first
    assert installation.pids() == kept

    manager.adjust(WatchdogSec="2s", TimeoutAbortSec="1s")
    manager.call("daemon-reload")
    manager.call("restart", NAME)
    for bad in (signal.SIGKILL, signal.SIGSTOP):
        before = manager.show("MainPID")
        os.kill(int(before), bad)
        installation.wait_for("another controller", lambda before=before: manager.is_another(before))  # type: ignore[misc]
    assert installation.pids() == kept
    assert installation.phases() == {"one": "Ready"}

    told = installation.cli("uninstall", "--user")
    assert installation.pids() == kept
    (line,) = (line for line in told.splitlines() if "to stop them: " in line)
    parse(line.partition("to stop them: ")[2].split()[1:])
    assert manager.call("is-enabled", NAME, code=1) == ""


def test_a_service_that_stops_its_servers(installation: Installation, manager: Manager) -> None:
    """`on_exit = "stop"`: longer than systemd's patience, which the controller prolongs."""
    installation.declare("one", stop={"gracePeriod": "4s"})
    settings = installation.root / "reconciler.toml"
    settings.write_text(f'on_exit = "stop"\n{settings.read_text()}')
    manager.adjust(TimeoutStopSec="2s", WatchdogSec="3s")
    installation.cli("install", "--user", "--config", str(settings))
    pid = installation.wait_ready("one")["one"]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    installation.cli("uninstall", "--user")
    assert time.monotonic() - began > 3
    assert manager.show("Result") == "success"
    assert installation.pids() == {}
