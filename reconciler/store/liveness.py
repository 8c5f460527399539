"""Whether a recorded process is still that process, told with the standard library alone."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def is_alive(identity: Mapping[str, Any]) -> bool:
    """Whether the process of an identity (`boot`, `pid`, `start_ticks`) still runs; a zombie does not.

    With /proc the start time is compared (proc(5), field 22). Without it, or for an identity that was not made from
    /proc, the bare pid must do.
    """
    boot = _boot()
    fields = _stat(identity["pid"]) if boot else None
    if boot and (fields is None or fields[0] in ("Z", "X")):
        return False
    if boot is None or fields is None or identity["boot"].startswith("boot-"):
        return _answers(identity["pid"])
    return bool(identity["boot"] == boot and identity["start_ticks"] == int(fields[19]))


def _boot() -> str | None:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state); the second may hold blanks and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
