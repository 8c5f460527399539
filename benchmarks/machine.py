"""What the numbers were measured on."""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil


def describe_machine(llama_server: str, scratch: Path) -> str:
    """One line: without it numbers mean little."""
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"{_filesystem(scratch)}, Python {platform.python_version()}, llama-server {_version(llama_server)}, "
        f"load average {load:.1f} at the start"
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    path = str(folder.resolve())
    within = [part for part in psutil.disk_partitions(all=True) if path.startswith(part.mountpoint.rstrip("/") + "/")]
    return max(within, key=lambda part: len(part.mountpoint)).fstype if within else "unknown file system"


def _version(llama_server: str) -> str:
    done = subprocess.run([llama_server, "--version"], capture_output=True, text=True, check=False, timeout=30)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("version:")]
    return lines[0].partition(":")[2].strip() if lines else "of unknown version"
