"""The token of an installation, what is signed with it, and the codes that are exchanged for that."""

import base64
import enum
import hashlib
import hmac
import logging
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("reconciler")
NAME = "token"
"""Its file in the state folder."""
SESSION_TIME = 12 * 3600.0
"""Seconds that a session lasts."""
CODE_TIME = 60.0
"""Seconds that a code can be exchanged."""
MOST_CODES = 32
LEAST_LETTERS = 20
"""Of a token that somebody wrote."""
MOST_BYTES = 4096
OTHERS = 0o077
"""Mode bits of everybody but the owner."""
_PREFIX = "session"


class Standing(enum.Enum):
    """What is known of a token that somebody gives."""

    GOOD = "good"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Tokens:
    """Who may act: whoever has the text of the token's file, or a session signed with it.

    Sessions are not kept anywhere: they hold until they expire, or until the file is deleted and made anew.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Without a path, or where it cannot be written, there is a token that nobody else can read."""
        self._path = path
        self._text = secrets.token_urlsafe(32)
        self._seen: tuple[int, ...] | None = None
        """What the file was when it was read last."""
        self._codes: dict[str, float] = {}

    @property
    def path(self) -> Path | None:
        """Of its file."""
        return self._path

    def put_in_place(self) -> None:
        """Make the file where there is none, and see to it that it is its owner's alone. Raises OSError."""
        if self._path is None:
            return
        try:
            self._look(self._path)
        except FileNotFoundError:
            self._make(self._path)

    def judge(self, given: str, wall: float | None = None) -> Standing:
        """Compared in constant time. `wall`: the Unix time, else now."""
        text = self._current()
        if hmac.compare_digest(given.encode(), text.encode()):
            return Standing.GOOD
        expires_at = _expiry_of(given)
        if expires_at is None or not hmac.compare_digest(given.encode(), _session(text, given).encode()):
            return Standing.UNKNOWN
        return Standing.GOOD if (time.time() if wall is None else wall) < expires_at else Standing.EXPIRED

    def expires_at(self, given: str) -> float | None:
        """Unix time at which a session ends; None for the token itself. Of one that was judged."""
        return _expiry_of(given)

    def session(self, wall: float | None = None) -> tuple[str, float]:
        """A new session, and the Unix time at which it ends."""
        expires_at = float(int((time.time() if wall is None else wall) + SESSION_TIME))
        return _session(self._current(), f"{_PREFIX}.{int(expires_at)}.{secrets.token_hex(8)}"), expires_at

    def new_code(self, monotonic: float | None = None) -> str:
        """Good for one session, once and for a minute. `monotonic`: the time of that clock, else now."""
        self._current()
        now = time.monotonic() if monotonic is None else monotonic
        self._codes = {code: until for code, until in self._codes.items() if until > now}
        while len(self._codes) >= MOST_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(24)
        self._codes[code] = now + CODE_TIME
        return code

    def take_code(self, code: str, monotonic: float | None = None) -> bool:
        """Whether it is good; it is not, after that."""
        self._current()
        now = time.monotonic() if monotonic is None else monotonic
        code = code if code.isascii() else ""
        known = [one for one in self._codes if hmac.compare_digest(one.encode(), code.encode())]
        return any(self._codes.pop(one) > now for one in known)

    # -- the file

    def _current(self) -> str:
        """The token as the file has it now; the last one where it cannot be had."""
        with suppress(OSError):
            self.put_in_place()
        return self._text

    def _look(self, path: Path) -> None:
        """Read the file where it is another than before. Raises OSError."""
        found = path.lstat()
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if seen == self._seen:
            return
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            self._replace(path, "it is no file of this user")
            return
        if found.st_mode & OTHERS:
            path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
            log.warning(
                "%s could be read by others, and is closed now; if anybody may have read it, make it anew: rm %s",
                path,
                path,
            )
        text = _read(path)
        if len(text) < LEAST_LETTERS or not text.isascii() or not text.isprintable() or " " in text:
            self._replace(path, f"it holds no token: {LEAST_LETTERS} letters and digits at least")
            return
        self._renew(text)
        found = path.lstat()
        self._seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _renew(self, text: str) -> None:
        """Take another; codes were given out by whoever had the one before."""
        if text != self._text:
            self._text = text
            self._codes.clear()

    def _replace(self, path: Path, why: str) -> None:
        log.warning("%s is made anew: %s", path, why)
        self._make(path)

    def _make(self, path: Path) -> None:
        """Put another token there, at once and whole."""
        if self._seen is not None:
            # What was signed with one that is gone is over, also where the new one cannot be written.
            self._renew(secrets.token_urlsafe(32))
            self._seen = None
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            draft.unlink()
        opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(opened, "w") as file:
                file.write(f"{self._text}\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
        self._look(path)


def _read(path: Path) -> str:
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(opened, "rb") as file:
        return file.read(MOST_BYTES).decode("ascii", "replace").strip()


def _session(text: str, given: str) -> str:
    """A session with the signature that it should have."""
    claim = ".".join(given.split(".")[:3])
    mac = hmac.new(text.encode(), claim.encode(), hashlib.sha256).digest()
    return f"{claim}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def _expiry_of(given: str) -> float | None:
    """When it would end, if it is a session."""
    parts = given.split(".")
    is_session = len(parts) == 4 and parts[0] == _PREFIX and parts[1].isascii() and parts[1].isdigit()
    return float(parts[1]) if is_session and len(parts[1]) <= 12 else None
