"""Whether an installation is still in the state folder that its processes name."""

import os

INSTALLATION_FILE = "installation"
"""The file in a state folder whose first line is the installation's id (the store writes it)."""
DATABASE_FILE = "state.db"


def is_at_home(installation: str, folder: str, pid: int | None = None) -> bool:
    """Whether the folder is there and belongs to that installation. What cannot be seen counts as there.

    `pid`: the folder as this process sees it, which may be in a container.
    """
    there = _root(pid) + folder
    try:
        with open(f"{there}/{INSTALLATION_FILE}", "rb", buffering=0) as file:  # noqa: PTH123 - it may hold anything
            found = file.read(200).partition(b"\n")[0].strip()
    except (FileNotFoundError, NotADirectoryError):
        return os.path.lexists(f"{there}/{DATABASE_FILE}")
    except (OSError, ValueError):
        return True
    return not found or found == os.fsencode(installation)


def _root(pid: int | None) -> str:
    return f"/proc/{pid}/root" if pid is not None and os.path.lexists("/proc/self/root") else ""
