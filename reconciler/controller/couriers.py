"""How one of `[[notify]]` is told: by HTTP, or by a command. Both block, and are used in threads of their own."""

import os
import shutil
import signal
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from reconciler.core.clean import clean
from reconciler.core.notify_settings import Notify, checked_webhook, is_this_machine
from reconciler.engines.environment import inherits

SECONDS = 10.0
"""Most that a receiver may take to answer."""
COMMAND_SECONDS = 30.0
"""Most that a command may take."""
LONGEST_WAIT = 300.0
"""Most seconds that a receiver may ask us to wait."""
LAST_WORDS = 200
"""Characters of a command's complaint that are told."""
LARGEST_SECRET = 8192
_LATER = frozenset({408, 409, 425, 429})
"""Of the refusals, those that another try can help."""


class UntoldError(Exception):
    """It did not arrive. The text says why and what to do, and holds neither address nor token."""

    def __init__(self, why: str, *, again: bool = True, wait: float = 0.0) -> None:
        """`again`: another try can help; `wait`: seconds that the receiver asked for."""
        super().__init__(why)
        self.again = again
        self.wait = wait


class Courier(Protocol):
    """Brings messages to one receiver."""

    def bring(self, body: bytes) -> None:
        """Tell it; returns when it has taken the message. Raises UntoldError."""

    def check(self) -> None:
        """Whether it could be told, as far as that can be seen without telling it. Raises UntoldError."""

    def close(self) -> None:
        """Leave nothing behind; from another thread than the one that brings."""


def courier_of(target: Notify) -> Courier:
    """The one that the settings ask for."""
    return Command(target.command) if target.command else Webhook(target)


class Webhook:
    """Posts JSON. Redirects are refused: a POST would become a GET on its way, and the token go elsewhere."""

    def __init__(self, target: Notify) -> None:
        self._target = target

    def bring(self, body: bytes) -> None:
        """Post it. Raises UntoldError."""
        # Slow to import, and needed where somebody is told by HTTP alone.
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.error import HTTPError, URLError  # noqa: PLC0415
        from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener  # noqa: PLC0415

        class Stay(HTTPRedirectHandler):
            def redirect_request(self, *_: object) -> None:
                return None

        url = self._url()
        request = Request(url, data=body, headers=self._headers(), method="POST")  # noqa: S310 - the scheme was checked
        direct = [ProxyHandler({})] if is_this_machine(urlsplit(url).hostname or "") else []
        try:
            with build_opener(Stay, *direct).open(request, timeout=SECONDS) as answer:
                answer.read(1024)
        except HTTPError as error:
            with error:
                raise _refusal(error.code, error.headers.get("Retry-After", "")) from None
        except URLError as error:
            raise UntoldError(f"it cannot be reached: {_reason(error.reason)}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise UntoldError(f"it did not answer: {_reason(error)}") from None

    def check(self) -> None:
        """Read the files that it needs. Raises UntoldError."""
        self._url()
        self._headers()

    def close(self) -> None:
        """Nothing of it outlives its thread."""

    def _url(self) -> str:
        if not self._target.webhook_file:
            return self._target.webhook
        try:
            return checked_webhook(_secret(self._target.webhook_file))
        except ValueError as error:
            raise UntoldError(f"{self._target.webhook_file}: {error}") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "reconciler"}
        if self._target.token_file:
            token = _secret(self._target.token_file)
            if not (token.isascii() and token.isprintable()):
                raise UntoldError(f"{self._target.token_file} holds more than a token; write the token alone into it")
            headers["Authorization"] = f"Bearer {token}"
        return headers


class Command:
    """Runs a program with the message on stdin."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        self._argv = argv
        self._running: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def check(self) -> None:
        """Look for the program, as it would be found from `/`. Raises UntoldError."""
        if shutil.which(os.path.join("/", self._argv[0]) if "/" in self._argv[0] else self._argv[0]) is None:  # noqa: PTH118
            raise UntoldError(f"{self._argv[0]} cannot be run: there is no such program, or it is not executable")

    def close(self) -> None:
        """End what runs, for nobody would after us."""
        self._is_closed = True
        if (running := self._running) is not None:
            _kill(running)

    def bring(self, body: bytes) -> None:
        """Run it to its end. Raises UntoldError."""
        process = self._begun()
        try:
            _, complaint = process.communicate(body, COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise UntoldError(f"{self._argv[0]} has not ended within {COMMAND_SECONDS:g} s") from None
        finally:
            self._running = None
            _end(process)
        if process.returncode:
            raise UntoldError(f"{self._argv[0]} ended with {_how(process.returncode)}{_words(complaint)}")

    def _begun(self) -> "subprocess.Popen[bytes]":
        """Raises UntoldError."""
        environ = {name: value for name, value in os.environ.items() if inherits(name)}
        try:
            process = subprocess.Popen(
                self._argv,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise UntoldError(f"{self._argv[0]} cannot be run: {_reason(error)}") from None
        self._running = process
        if self._is_closed:  # while it was begun
            _kill(process)
        return process


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has begun in its session, where it has not been waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:
        _kill(process)
        process.wait()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _how(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _words(complaint: bytes) -> str:
    lines = clean(complaint[-4 * LAST_WORDS :].decode("utf-8", "replace"))[-LAST_WORDS:]
    return f": {lines}" if lines else ""


def _refusal(status: int, wait: str) -> UntoldError:
    if 300 <= status < 400:
        return UntoldError(f"it answers {status}, a redirect: write the address that it leads to", again=False)
    seconds = min(float(wait), LONGEST_WAIT) if wait.isascii() and wait.isdigit() else 0.0
    again = status >= 500 or status in _LATER
    hint = "; look at the token and the address" if status in (401, 403, 404, 410) else ""
    return UntoldError(f"it answers {status}{hint}", again=again, wait=seconds)


def _reason(error: object) -> str:
    """Without the address: errors of HTTP quote it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return clean(error.strerror or type(error).__name__)
    return type(error).__name__


def _secret(path: str) -> str:
    """What a file holds. Raises UntoldError."""
    try:
        # A pipe would be waited for.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - as the settings have it
            raise UntoldError(f"{path} is no file; write the secret into one")
        with Path(path).open(encoding="utf-8") as file:
            found = file.read(LARGEST_SECRET).strip()
    except (OSError, ValueError) as error:
        raise UntoldError(f"{path} cannot be read: {_reason(error)}") from None
    if not found:
        raise UntoldError(f"{path} is empty; write the secret into it")
    return found
