"""A controller that is killed leaves no git behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.gitops.remotes import BareRemote
from tests.runtimes.patience import eventually

LOOK = """
import os, sys
from pathlib import Path
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import Remote
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(int(sys.argv[3]))]
Cache(Path(sys.argv[1]), Remote(sys.argv[2], "refs/heads/main"), os.environ).look()
"""


@pytest.mark.parametrize("descriptors", [0, 30, 200])
def test_git_ends_with_who_started_it(tmp_path: Path, descriptors: int) -> None:
    """However many files the controller has open: shells differ in the numbers of descriptors that they know."""
    remote = BareRemote(tmp_path / "remote.git")
    remote.commit({"a.yaml": "a: 1"})
    (remote.folder / "packed-refs").unlink(missing_ok=True)
    os.mkfifo(remote.folder / "packed-refs")  # git waits for ever to open it
    arguments = [str(tmp_path / "cache.git"), remote.url, str(descriptors)]
    looking = subprocess.Popen([sys.executable, "-c", LOOK, *arguments])
    started: list[psutil.Process] = []

    def hangs() -> bool:
        started[:] = psutil.Process(looking.pid).children(recursive=True)
        return any("upload-pack" in " ".join(process.cmdline()) for process in started)

    eventually(hangs)
    looking.send_signal(signal.SIGKILL)
    looking.wait()
    eventually(
        lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in started)
    )
