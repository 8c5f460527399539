"""The machine has no room: no descriptor, process, memory or disk left. That says nothing about what was to be done."""

import errno

from reconciler.runtimes.host import ResourceError

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that mean that nothing could be looked at, and not that nothing is there."""
NO_PROCESS = EXHAUSTED | {errno.EAGAIN}
"""Errors of a spawn that are not the program's."""
_REMEDIES = {
    errno.EMFILE: "it has too many files open: raise its limit (LimitNOFILE= in its unit, or `ulimit -n 65536` "
    "before `reconciler run`)",
    errno.ENFILE: "the machine has too many files open; see `sysctl fs.file-nr`, and raise the limit with: "
    "sysctl -w fs.file-max=1000000",
    errno.ENOMEM: "the machine is out of memory; see what takes it with: ps -eo pid,rss,args --sort=-rss | head",
    errno.EAGAIN: "no further process may be begun: raise the limit (TasksMax= or LimitNPROC= in its unit, "
    "`ulimit -u unlimited` before `reconciler run`)",
    errno.ENOSPC: "the disk is full; make room, and see how much there is with: df -h {place}",
    errno.EDQUOT: "the user's share of the disk is used up; see it with: quota -s",
    errno.EROFS: "the file system is read-only; see why with: dmesg | tail; then: mount -o remount,rw {place}",
    errno.EACCES: "it may not write there; allow it with: chmod u+rwx {place}",
}


def exhausted(error: OSError, doing: str, place: str = "") -> ResourceError:
    """The error with what the controller was doing, and what to do about it. `place` is the folder it was about."""
    number = error.errno or errno.EIO
    why = _REMEDIES.get(number, "look at that folder and its disk: ls -ld {place}; df -h {place}")
    return ResourceError(number, f"the controller cannot {doing} ({error.strerror}): {why.format(place=place or '/')}")


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says nothing but that one could not look, or ask."""
    return isinstance(error, OSError) and error.errno in EXHAUSTED


def raise_if_exhausted(error: OSError) -> None:
    """Raise ResourceError where the error says that one could not look."""
    if is_exhausted(error):
        raise exhausted(error, "look at processes and ports") from error
