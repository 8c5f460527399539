"""Runs the `git` command so that nothing of the user, the machine or a repository can run code or ask questions."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_PASSED_ON = ("PATH", "TMPDIR", *(f"{name}_proxy" for name in ("http", "https", "all", "no")))
_PASSED_ON_TOO = tuple(name.upper() for name in _PASSED_ON if name.endswith("_proxy"))
_CERTIFICATES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}
"""Under the second name git hands it to curl, whatever TLS library that was built with."""
_FIXED = {
    "LC_ALL": "C",
    "HOME": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
}
_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.askPass", ""),
    ("core.alternateRefsCommand", ""),
    ("core.bigFileThreshold", "8m"),
    ("credential.helper", ""),
    ("fetch.fsckObjects", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
    ("transfer.bundleURI", "false"),
)
_LIMITED = 'ulimit -f "$0" 2>/dev/null; exec "$@"'
_BLOCK = 512
"""Bytes, the unit of POSIX's `ulimit -f`."""
_MOST_COMPLAINT = 32 * 1024
"""Bytes of a command's standard error that are read."""


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

    @property
    def outgrown(self) -> bool:
        """Whether a file became larger than was allowed."""
        words = (f"signal {int(signal.SIGXFSZ)}", "File size limit exceeded", "File too large")
        return self.code in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ) or any(word in self.complaint for word in words)


@dataclass(frozen=True, slots=True)
class Access:
    """What a command is given to reach a remote."""

    variables: Mapping[str, str] = field(default_factory=dict)
    config: tuple[tuple[str, str], ...] = ()


NO_ACCESS = Access()
"""For commands that stay on this machine: no protocol is allowed."""


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

    def run(self, folder: Path | None, *arguments: str, stdin: bytes = b"", access: Access = NO_ACCESS) -> Ended:
        """Run one command, on the repository in a folder or on none, to its end or to the time limit.

        Output goes to files, not to pipes: so its size is limited too, and a process left over cannot hold us up.
        Raises GitError where it cannot be run at all.
        """
        argv = ["sh", "-c", _LIMITED, str(self._most_bytes // _BLOCK + 1), "git", "--no-pager", *arguments]
        place = self._environ.get("TMPDIR") or None
        try:
            with (
                tempfile.TemporaryFile(dir=place) as asked,
                tempfile.TemporaryFile(dir=place) as out,
                tempfile.TemporaryFile(dir=place) as complaint,
            ):
                asked.write(stdin)
                asked.seek(0)
                code = self._run(argv, (asked, out, complaint), self._environment(folder, access))
                return _ended(code, out, complaint)
        except (OSError, RuntimeError, ValueError) as error:
            raise GitError("GitFailed", f"git cannot be run ({error}): mend that; the next look tries again") from None

    def stop(self) -> None:
        """End the command that runs; each further one raises GitError."""
        with self._guard:
            self._stopped = True
            if self._process is not None:
                _kill(self._process)

    def _run(self, argv: list[str], files: tuple[IO[bytes], IO[bytes], IO[bytes]], env: dict[str, str]) -> int | None:
        """The exit status; None when the time was over. In a session of its own: no terminal, and one group to end."""
        asked, out, complaint = files
        with self._guard:
            if self._stopped:
                raise GitError("Stopped", "the controller is ending: the next one looks again")
            process = self._process = subprocess.Popen(
                argv, stdin=asked, stdout=out, stderr=complaint, cwd="/", env=env, start_new_session=True
            )
        late = threading.Event()
        clock = threading.Timer(self._timeout, self._expire, (process, late))
        try:
            clock.start()
            _await_end(process)
        finally:
            clock.cancel()
            with self._guard:
                _kill(process)  # what it left behind
                self._process = None
                process.wait()
        return None if late.is_set() else process.returncode

    def _expire(self, process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
        with self._guard:
            if self._process is process:
                late.set()
                _kill(process)

    def _environment(self, folder: Path | None, access: Access) -> dict[str, str]:
        known = {name: self._environ[name] for name in (*_PASSED_ON, *_PASSED_ON_TOO) if self._environ.get(name)}
        known |= {theirs: self._environ[ours] for ours, theirs in _CERTIFICATES.items() if self._environ.get(ours)}
        config = (*_CONFIG, *access.config)
        counted = {"GIT_CONFIG_COUNT": str(len(config))}
        for number, (key, value) in enumerate(config):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        where = {"GIT_DIR": os.path.abspath(folder) if folder else "/dev/null"}
        return {"PATH": os.defpath, **known, **_FIXED, **where, **counted, **access.variables}


def _await_end(process: "subprocess.Popen[bytes]") -> None:
    """The process is left unreaped where that can be had: its group is still its own when the rest of it is ended."""
    if sys.platform == "linux":
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _ended(code: int | None, out: IO[bytes], complaint: IO[bytes]) -> Ended:
    out.seek(0)
    complaint.seek(max(0, complaint.seek(0, os.SEEK_END) - _MOST_COMPLAINT))
    return Ended(code or 0, out.read(), complaint.read().decode("utf-8", "replace"), timed_out=code is None)
