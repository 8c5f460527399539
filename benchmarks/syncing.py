"""How soon a commit is a process: from the start of `reconciler sync`, over a repository on this machine's disk."""

import subprocess
import sys
import time

from benchmarks.fleet import Options, count_ready, empty, names, ready_again, wait_until
from benchmarks.result import Result, Row
from benchmarks.starts import Starts, sleep_a_little, watched
from tests.e2e.installation import Installation, document
from tests.gitops.remotes import BareRemote

TARGET_MS = 1000.0
COMMITS_A_ROUND = 3


def sync_to_process(options: Options) -> Result:
    """Add servers commit by commit to those that run."""
    count = options.rounds * COMMITS_A_ROUND
    with watched(options) as starts, empty(options, llama_server=starts.llama_server) as made:
        remote = BareRemote(made.root / "remote.git")
        remote.commit({f"{name}.yaml": document(name) for name in names(options.servers)})
        with (made.root / "reconciler.toml").open("a") as settings:
            settings.write(f'[source.git]\nurl = "{remote.url}"\ninterval = "1h"\n[policy.git]\nmax_servers = 0\n')
        made.start(RECONCILER_LOADS="0")
        wait_until(f"{options.servers} Ready", made, lambda: count_ready(made) == options.servers)
        time.sleep(1.0)
        samples = tuple(_added_ms(made, remote, starts, f"added-{number:03}") for number in range(count))
    row = Row(f"`reconciler sync` to new process, beside {options.servers} servers", "ms", samples, TARGET_MS)
    return Result("sync-to-process", (row,), f"The start is {starts.way}.")


def _added_ms(made: Installation, remote: BareRemote, starts: Starts, name: str) -> float:
    remote.commit({f"{name}.yaml": document(name)})
    sleep_a_little()
    starts.arm(made)
    asked = time.monotonic()
    command = [sys.executable, "-m", "reconciler", "sync"]
    with subprocess.Popen(command, cwd=made.root, env=made.environ, stdout=subprocess.DEVNULL) as sync:
        began = starts.next(made, name)
    if sync.returncode != 0:
        raise RuntimeError(f"reconciler sync ended with {sync.returncode}")
    wait_until(f"{name} Ready", made, lambda: ready_again(made, name, 0))
    return (began - asked) * 1000
