"""What a controller's process was left by whoever began it, and what it leaves when it cannot begin."""

import os
import subprocess
import sys
from pathlib import Path

from reconciler.runtimes.host import MARKS

SHED = """
import os, signal, subprocess, sys
from reconciler.controller.inherited import shed_inheritance
shed_inheritance()
child = subprocess.Popen(["/bin/sh", "-c", "env | grep -c ^RECONCILER_; kill -SEGV $$"], stdout=subprocess.PIPE)
print(child.stdout.read().decode().strip(), child.wait())
"""
IGNORING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
RUN = """
import signal, sys
from reconciler.controller import foreground
from reconciler.settings import Settings
folder = sys.argv[1]
try:
    foreground.run(Settings(state=folder, manifests=folder), on_exit="leave", log_format="text")
except Exception:
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


def test_children_are_no_part_of_a_server_and_their_end_is_learned() -> None:
    found = subprocess.run(
        [sys.executable, "-c", IGNORING, sys.executable, "-c", SHED],
        env={**os.environ, **dict.fromkeys(MARKS, "copied")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (found.stdout, found.stderr) == ("0 -11\n", "")


def test_a_state_that_cannot_be_opened_leaves_no_signal_waiting(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    found = subprocess.run([sys.executable, "-c", RUN, tmp_path], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1:] == ["[]"], found.stdout + found.stderr
