"""Whose environment may be read may have its mark copied: only what we could have written ourselves is believed."""

from pathlib import Path

import pytest

from reconciler.runtimes.host import FINGERPRINT, INSTALLATION, PORT, SERVER, UID, Host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

HOSTILE = {
    "a path upward": ("../../etc", "u1"),
    "an absolute path": ("/etc", "u1"),
    "an uid that is a path": ("chat", "../../../etc/passwd"),
    "escape codes": ("chat\x1b[2J", "u1"),
    "a second line": ("chat\nforged", "u1"),
    "bytes that are no text": ("chat\udcff", "u1"),
    "look-alikes": ("ch\N{CYRILLIC SMALL LETTER A}t", "u1"),
    "too long a name": ("a" * 64, "u1"),
    "too long an uid": ("chat", "u" * 65),
    "no name": ("", "u1"),
    "no uid": ("chat", ""),
}


def marks(installation: str, server: str, uid: str) -> dict[str, str]:
    return {INSTALLATION: installation, SERVER: server, UID: uid, FINGERPRINT: "1:abc", PORT: "8001"}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_mark_that_is_not_ours_is_nobodys(host: Host, spawn: Spawn, tmp_path: Path, case: str) -> None:
    home = tmp_path.name
    spawn("/bin/sleep", "60", **marks(home, *HOSTILE[case]))
    spawn("/bin/sleep", "60", **marks(home, "honest-1", "0123456789ab"))
    runtime = LocalRuntime(host, home, Logs(tmp_path / "logs", keep=1, most_bytes=1), lambda: None)
    try:
        # The later one was found, so the earlier was looked at too.
        assert eventually(lambda: runtime.observe(fresh=True)).keys() == {"honest-1"}
    finally:
        runtime.close()
