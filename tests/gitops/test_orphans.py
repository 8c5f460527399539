"""A controller that is killed leaves no git behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.gitops.remotes import BareRemote
from tests.runtimes.patience import eventually

LOOK = """
import os, sys
from pathlib import Path
from reconciler.gitops.cache import Cache
from reconciler.gitops.git import Remote
Cache(Path(sys.argv[1]), Remote(sys.argv[2], "refs/heads/main"), os.environ).look()
"""


def test_git_ends_with_who_started_it(tmp_path: Path) -> None:
    remote = BareRemote(tmp_path / "remote.git")
    remote.commit({"a.yaml": "a: 1"})
    (remote.folder / "packed-refs").unlink(missing_ok=True)
    os.mkfifo(remote.folder / "packed-refs")  # git waits for ever to open it
    looking = subprocess.Popen([sys.executable, "-c", LOOK, str(tmp_path / "cache.git"), remote.url])
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
