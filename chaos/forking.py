"""Controllers in milliseconds: each is forked from a process that has imported everything already."""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from chaos.injected import run_injected

IMPORTED = (
    "asyncio.unix_events",
    "reconciler.cli.run",
    "reconciler.controller.foreground",
    "reconciler.controller.triggers",
    "reconciler.api.app",
    "reconciler.api.server",
    "reconciler.runtimes.linux",
    "reconciler.gitops.source",
)


class Forked:
    """A controller; what a test uses of Popen."""

    def __init__(self, pid: int, forker: "Forker") -> None:
        self.pid = pid
        self._forker = forker
        self._pidfd = os.pidfd_open(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, once it has ended; minus the signal's number when it was killed."""
        if self.returncode is None and self._ends_within(0):
            self._reap()
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end. Raises TimeoutError."""
        if self.returncode is None:
            if not self._ends_within(timeout):
                raise TimeoutError(f"controller {self.pid} still runs after {timeout:g} s")
            self._reap()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it; one that has ended is no error."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ends_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _reap(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(self._forker.ask(wait=self.pid)["status"])
        os.close(self._pidfd)


class Forker:
    """The process that controllers are forked from."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "chaos.forking"],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # what a terminal sends is for the game: it ends what it began
        )

    def run(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path, fuse: Path) -> Forked:
        """Run `reconciler` with these arguments in a folder; `fuse` lies beside the ledger and the trace."""
        asked = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environ": dict(environ),
            "log": str(log),
            "fuse": str(fuse),
        }
        return Forked(self.ask(**asked)["pid"], self)

    def ask(self, **asked: Any) -> dict[str, Any]:
        """One question, one answer."""
        stdin, stdout = self._popen.stdin, self._popen.stdout
        assert stdin is not None
        assert stdout is not None
        # An end of the game between question and answer would leave a controller that nobody knows.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        try:
            stdin.write(json.dumps(asked).encode() + b"\n")
            stdin.flush()
            return dict(json.loads(stdout.readline()))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """End it; controllers that run go on."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen.wait()


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    # An exception amid a fork would be ignored, and so the signal be lost.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rest = b""
    while read := os.read(0, 1 << 20):
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            answer = {"status": os.waitpid(asked["wait"], 0)[1]} if "wait" in asked else {"pid": _fork(asked)}
            os.write(1, json.dumps(answer).encode() + b"\n")


def _fork(asked: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _become(asked)
    return pid


def _become(asked: Mapping[str, Any]) -> NoReturn:
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for number, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(descriptor, number)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environ"])
        run_injected(Path(asked["fuse"]), asked["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        code = 130  # SIGINT before there was a handler
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
