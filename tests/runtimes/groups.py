"""A real memory cgroup for a test, where one can be made."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryGroup:
    """Its folder, in either version's tree."""

    folder: Path

    @classmethod
    def make(cls, name: str, limit: int) -> "MemoryGroup | None":
        """A group of at most `limit` bytes; None where none can be made."""
        for parent, bound in ((_ROOT / "memory", "memory.limit_in_bytes"), (_ROOT, "memory.max")):
            folder = parent / f"{name}-{os.getpid()}"
            try:
                folder.mkdir()
            except OSError:
                continue
            made = cls(folder)
            try:
                (folder / bound).write_text(str(limit))
            except OSError:
                made.remove()
            else:
                return made
        return None

    def add(self, pid: int) -> None:
        """Move a process into it."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Once its last process is gone, which takes the kernel a moment."""
        for _ in range(100):
            try:
                self.folder.rmdir()
            except OSError:
                time.sleep(0.02)
            else:
                return
