"""The check of `doctor` of the clock, as far as this machine can tell by itself."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.cli.doctoring import Findings, ok, warn
from reconciler.cli.doctoring_folders import files_of
from reconciler.cli.doctoring_program import ask
from reconciler.cli.doctoring_scene import Scene, opened
from reconciler.core.durations import describe_duration
from reconciler.store import read

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SKEW = 60.0
"""Seconds that two clocks, or a file's date, may be apart."""


def clock(scene: Scene) -> Findings:
    """Whether the clock is right, as far as this machine can tell by itself."""
    now = time.time()
    ahead = [(age, path) for path in _dated(scene) if (age := _seconds_ahead(path, now)) > SKEW]
    fix = "have it set by the network: sudo timedatectl set-ntp true; see what it is: date"
    for age, path in ahead[:1]:
        yield warn(f"{path} is dated {describe_duration(age)} in the future: the clock was set back, or was wrong", fix)
    if abs(jump := _jump(scene, now)) > SKEW:
        way = "forward" if jump > 0 else "back"
        yield warn(f"the clock was set {way} by {describe_duration(abs(jump))} since the controller began", fix)
    said = ask(["timedatectl", "show", "-p", "NTPSynchronized", "--value"], scene.environ, 1.0)
    if said.code == 0 and said.text.strip() == "no":
        yield warn("nobody sets the clock by the network", fix)
    if said.code == 0 and said.text.strip() == "yes":
        yield ok(f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, set by the network")
        return
    yield ok(time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _dated(scene: Scene) -> Iterator[Path]:
    """Files that were written before now."""
    yield Path(__file__)
    yield scene.state / read.DATABASE
    with suppress(OSError):
        yield from sorted(Path(scene.settings.manifests).iterdir())[:50]
    for server in scene.servers:
        yield from files_of(server.spec, scene.models)


def _seconds_ahead(path: Path, now: float) -> float:
    try:
        return path.stat().st_mtime - now
    except OSError:
        return 0.0


def _jump(scene: Scene, now: float) -> float:
    """Seconds by which the clock went another way than time since the installation's last controller began."""
    if not scene.is_installed or not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    with suppress(read.ReadError, OSError, KeyError, TypeError, AttributeError), opened(scene.state) as db:
        facts = read.meta(db)["controller"]
        if facts["boot"] == BOOT_ID.read_text().strip() and facts["startTicks"]:
            since = time.clock_gettime(time.CLOCK_BOOTTIME) - facts["startTicks"] / os.sysconf("SC_CLK_TCK")
            # It says so when it is up, which takes it a moment.
            return float(now - since - facts["startedAt"])
    return 0.0
