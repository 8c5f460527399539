"""A memory cgroup of our own, of either version, where we may make one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
"""Version 1 where it is mounted, else the unified one."""
LIMITS = ("memory.limit_in_bytes", "memory.max")


@dataclass(frozen=True)
class MemoryGroup:
    """Processes whose memory is limited together."""

    folder: Path

    @property
    def joining(self) -> str:
        """What a shell says to join it."""
        return f"echo $$ > {self.folder}/cgroup.procs"


@contextmanager
def memory_group(name: str, limit: int) -> Iterator[MemoryGroup]:
    """A group of at most `limit` bytes, with its processes ended afterwards. Raises OSError where none can be made."""
    root = next((root for root in ROOTS if (root / "cgroup.procs").exists()), ROOTS[-1])
    group = MemoryGroup(root / f"reconciler-{os.getpid()}-{name}")
    group.folder.mkdir()
    try:
        setting = next((group.folder / one for one in LIMITS if (group.folder / one).exists()), None)
        if setting is None:
            raise PermissionError(f"{root} has no memory controller to give")
        setting.write_text(str(limit))
        yield group
    finally:
        _leave(group.folder)


def _leave(folder: Path) -> None:
    """A group is removed only once it is empty; who is left goes to the one above."""
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (folder.parent / "cgroup.procs").write_text(pid)
    with suppress(OSError):
        folder.rmdir()
