"""Runs the `git` command so that nothing of the user, the machine or a repository can run code or ask questions."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from reconciler.gitops.environment import NO_ACCESS, Access, environment

_LIMITED = (
    '{ read nothing <"/dev/fd/$0"; kill -KILL -$$; } >/dev/null 2>&1 </dev/null & '
    'ulimit -f "$1" 2>/dev/null; ulimit -v "$2" 2>/dev/null; shift 2; exec "$@"'
)
"""Runs a command within limits. Beside it somebody waits for the end of a pipe that we hold: when we are killed, it
ends the command's group, which nobody else would. (`<&12` would not do: dash knows descriptors of one digit.)"""
_BLOCK = 512
"""Bytes, the unit of POSIX's `ulimit -f`."""
_MEMORY = 1024 * 1024 * 1024
"""Bytes of address space that each process gets, beside four times what it may write: git maps whole packs."""
_GLANCE = 0.25
"""Seconds between two looks at what a command has written."""
_MOST_COMPLAINT = 32 * 1024
"""Bytes of a command's standard error that are read."""


_FROM_REMOTE = re.compile(r"\s*(remote:|(fatal|error): remote error)", re.IGNORECASE)
_TOO_MUCH = re.compile(
    rf"signal {int(signal.SIGXFSZ)}\b|file size limit exceeded|file too large|out of memory|cannot allocate memory"
    r"|memory exhausted|unable to allocate",
    re.IGNORECASE,
)


class GitError(Exception):
    """What git could not do: one line for people, with what to do about it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """The same in one word, such as `RemoteUnreachable`."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository elsewhere, and the branch or tag of it that is followed."""

    url: str
    ref: str
    """Full name: `refs/heads/main` or `refs/tags/v1`."""
    token_file: str = ""
    username: str = "x-access-token"
    ssh_key_file: str = ""
    known_hosts_file: str = ""
    timeout: float = 120.0
    """Seconds that one git command may take."""
    most_bytes: int = 64 * 1024 * 1024
    """Most bytes of a file that git writes, of the cache, and of all manifests of a revision."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit status; negative: the signal that ended it."""
    out: bytes
    complaint: str
    """The last of its standard error, as it came."""
    timed_out: bool = False
    swollen: bool = False
    """What it wrote became larger than was allowed, all files together."""

    @property
    def own_words(self) -> str:
        """What was said at this end: no line that git hands on from the remote."""
        lines = re.split(r"[\r\n]+", self.complaint)
        return "\n".join(line for line in lines if not _FROM_REMOTE.match(line))

    @property
    def outgrown(self) -> bool:
        """Whether a file became larger than was allowed, or its memory."""
        if self.swollen or self.code in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ):
            return True
        return self.code != 0 and _TOO_MUCH.search(self.own_words) is not None


@dataclass(slots=True)
class _End:
    """How a process came to its end."""

    over: threading.Event = field(default_factory=threading.Event)
    code: int = 0
    late: bool = False
    swollen: bool = False


class Git:
    """Runs git commands, one at a time."""

    def __init__(self, environ: Mapping[str, str], timeout: float, most_bytes: int) -> None:
        """`environ` is the caller's, of which only the path, proxies and certificates are passed on.

        `timeout` is in seconds; `most_bytes` is what each file may have that a command writes, its output too.
        """
        self._environ = environ
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(
        self,
        folder: Path | None,
        *arguments: str,
        stdin: bytes = b"",
        access: Access = NO_ACCESS,
        most_bytes: int = 0,
        is_swollen: Callable[[], bool] = lambda: False,
    ) -> Ended:
        """Run one command, on the repository in a folder or on none, to its end or to the time limit.

        Output goes to files, not to pipes: so its size is limited too, and a process left over cannot hold us up.
        `most_bytes` is a limit of its own for each file. The command is ended when `is_swollen` says that all that it
        wrote is too much. Raises GitError where it cannot be run at all.
        """
        argv = [*self._limits(most_bytes), "git", "--no-pager", *arguments]
        place = self._environ.get("TMPDIR") or None
        try:
            with (
                tempfile.TemporaryFile(dir=place) as asked,
                tempfile.TemporaryFile(dir=place) as out,
                tempfile.TemporaryFile(dir=place) as complaint,
            ):
                asked.write(stdin)
                asked.seek(0)
                env = environment(self._environ, folder, access)
                with _lifeline() as lifeline:
                    command = ["sh", "-c", _LIMITED, str(lifeline), *argv]
                    end = self._run(command, (lifeline, asked, out, complaint), env, is_swollen)
                return _ended(end, out, complaint)
        except (OSError, RuntimeError, ValueError) as error:
            raise GitError("GitFailed", f"git cannot be run ({error}): mend that; the next look tries again") from None

    def stop(self) -> None:
        """End the command that runs; each further one raises GitError."""
        with self._guard:
            self._stopped = True
            if self._process is not None:
                _kill(self._process)

    def _limits(self, most_bytes: int) -> tuple[str, str]:
        """In the units of `ulimit`: each file's, and the memory's."""
        memory = _MEMORY + 4 * self._most_bytes
        return str((most_bytes or self._most_bytes) // _BLOCK + 1), str(memory // 1024)

    def _run(
        self,
        argv: list[str],
        files: tuple[int, IO[bytes], IO[bytes], IO[bytes]],
        env: dict[str, str],
        is_swollen: Callable[[], bool],
    ) -> "_End":
        with self._guard:
            if self._stopped:
                raise GitError("Stopped", "the controller is ending: the next one looks again")
            process = self._process = _spawn(argv, files, env)
        end = _End()
        overseer = threading.Thread(target=self._oversee, args=(process, end, is_swollen), daemon=True)
        try:
            overseer.start()
            _await_end(process)
        finally:
            end.over.set()
            with self._guard:
                _kill(process)  # what it left behind
                self._process = None
                process.wait()
        end.code = process.returncode
        # Of a child that became too large git says only that it did not do well.
        end.swollen = end.swollen or (end.code != 0 and not end.late and is_swollen())
        return end

    def _oversee(self, process: "subprocess.Popen[bytes]", end: "_End", is_swollen: Callable[[], bool]) -> None:
        last, pause = time.monotonic() + self._timeout, _GLANCE
        while not end.over.wait(max(0.0, min(pause, last - time.monotonic()))):
            began = time.monotonic()
            swollen = is_swollen()
            pause = max(_GLANCE, 10 * (time.monotonic() - began))
            if not swollen and time.monotonic() < last:
                continue
            with self._guard:
                if self._process is process:
                    end.late, end.swollen = not swollen, swollen
                    _kill(process)
            return


def _spawn(
    argv: list[str], files: tuple[int, IO[bytes], IO[bytes], IO[bytes]], env: dict[str, str]
) -> "subprocess.Popen[bytes]":
    """Begin a command in a session of its own: no terminal, and one group to end."""
    lifeline, asked, out, complaint = files
    return subprocess.Popen(
        argv,
        stdin=asked,
        stdout=out,
        stderr=complaint,
        cwd="/",
        env=env,
        start_new_session=True,
        pass_fds=(lifeline,),
    )


@contextmanager
def _lifeline() -> Iterator[int]:
    """The reading end of a pipe that nobody writes to: it ends when we do."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _await_end(process: "subprocess.Popen[bytes]") -> None:
    """The process is left unreaped where that can be had: its group is still its own when the rest of it is ended."""
    if sys.platform == "linux":
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _ended(end: _End, out: IO[bytes], complaint: IO[bytes]) -> Ended:
    out.seek(0)
    complaint.seek(max(0, complaint.seek(0, os.SEEK_END) - _MOST_COMPLAINT))
    said = complaint.read().decode("utf-8", "replace")
    return Ended(end.code, out.read(), said, timed_out=end.late, swollen=end.swollen)
