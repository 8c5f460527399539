"""How much of its files a process has read, told with the standard library alone."""

from contextlib import suppress

MOST_COUNTED = 2 * 1024**3
"""Bytes of mapped files up to which they are told apart: the kernel walks each page for that."""
KIB = 1024


def bytes_loaded(pid: int) -> int | None:
    """Bytes of a model that are read, or mapped and in memory, whichever is more; None where it is not told.

    From /proc/PID/io (rchar) and the mappings of `.gguf` files (proc(5)).
    """
    read, mapped = _read(pid), _mapped(pid)
    return None if read is None and mapped is None else max(read or 0, mapped or 0)


def _read(pid: int) -> int | None:
    with suppress(OSError, ValueError), open(f"/proc/{pid}/io") as file:  # noqa: PTH123 - as everything of /proc
        for line in file:
            if line.startswith("rchar:"):
                return int(line.split()[1])
    return None


def _mapped(pid: int) -> int | None:
    """Of a large process the pages of its libraries count too: they are few beside those of its model."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status") as file:  # noqa: PTH123 - as above
        for line in file:
            if line.startswith("RssFile:"):
                everything = int(line.split()[1]) * KIB
                return everything if everything > MOST_COUNTED else _mapped_models(pid)
    return None


def _mapped_models(pid: int) -> int | None:
    """Each mapping is a line that ends in its path, and below it lines of its counts."""
    total, is_model = 0, False
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps", "rb") as file:  # noqa: PTH123 - as above
        for line in file:
            if line.startswith(b"Rss:"):
                total += int(line.split()[1]) * KIB if is_model else 0
            elif not line.split(None, 1)[0].endswith(b":"):
                is_model = b".gguf" in line
        return total
    return None
