"""What processes take of the machine: CPU time and memory, told with the standard library where there is /proc."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/self/stat")


class Taken(NamedTuple):
    """What a process has taken."""

    cpu_seconds: float
    """Since its start, over all cores."""
    memory: int
    """Bytes in memory now (RSS), mapped models among them."""


def taken_by(pid: int) -> Taken | None:
    """What a process takes; None where it is gone, or may not be looked at."""
    return _from_proc(pid) if PROC.exists() else _from_psutil(pid)


def _from_proc(pid: int) -> Taken | None:
    """Fields 14 and 15 (ticks) and 24 (pages) of /proc/PID/stat (proc(5)); those from the third on are split."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
        return Taken(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
    return None


def _from_psutil(pid: int) -> Taken | None:
    import psutil  # noqa: PLC0415 - slow to import

    try:
        process = psutil.Process(pid)
        times, memory = process.cpu_times(), process.memory_info()
    except psutil.Error:
        return None
    return Taken(times.user + times.system, memory.rss)
