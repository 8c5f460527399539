"""Which installations live processes belong to that were started over a state folder."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.runtimes.host import FOLDER, INSTALLATION


def installations_over(folder: str) -> set[str]:
    """Ids that processes of this user bear beside the real path of the folder: of use when the folder lost its own."""
    environments = _from_proc() if sys.platform == "linux" and Path("/proc/self/environ").exists() else _from_psutil()
    return {env[INSTALLATION] for env in environments if env.get(FOLDER) == folder and env.get(INSTALLATION)}


def _from_proc() -> Iterator[Mapping[str, str]]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - Paths cost more than the look
        if not entry.isdigit():
            continue
        with suppress(OSError):
            if os.stat(f"/proc/{entry}").st_uid != os.geteuid():  # noqa: PTH116 - as above
                continue
            with open(f"/proc/{entry}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - as above
                raw = file.read()
            if FOLDER.encode() in raw:
                yield dict(os.fsdecode(one).partition("=")[::2] for one in raw.split(b"\0"))


def _from_psutil() -> Iterator[Mapping[str, str]]:
    import psutil  # noqa: PLC0415 - slow to import, and seldom needed

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.uids().effective == os.geteuid():
                yield process.environ()
