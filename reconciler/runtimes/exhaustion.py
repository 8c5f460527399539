"""The machine has no room: no descriptor, process, memory or disk left. That says nothing about what was to be done."""

import errno
import os
import shlex

from reconciler.runtimes.host import LogUnwritableError, ResourceError

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that mean that nothing could be looked at, and not that nothing is there."""
NO_PROCESS = EXHAUSTED | {errno.EAGAIN}
"""Errors of a spawn that are not the program's."""
NO_ROOM = NO_PROCESS | {errno.ENOSPC, errno.EDQUOT}
_IN_THE_WAY = "see what is in the way with: namei -l {path}"
_REMEDIES = {
    errno.EMFILE: "it has too many files open: raise its limit (LimitNOFILE= in its unit, or `ulimit -n 65536` "
    "before `reconciler run`)",
    errno.ENFILE: "the machine has too many files open; see `sysctl fs.file-nr`, and raise the limit with: "
    "sysctl -w fs.file-max=1000000",
    errno.ENOMEM: "the machine is out of memory; see what takes it with: ps -eo pid,rss,args --sort=-rss | head",
    errno.EAGAIN: "no further process may be begun: raise the limit (TasksMax= or LimitNPROC= in its unit, "
    "`ulimit -u unlimited` before `reconciler run`)",
    errno.ENOSPC: "the disk is full; make room, and see how much there is with: df -h {there}",
    errno.EDQUOT: "the user's share of the disk is used up; see it with: quota -s",
    errno.EROFS: "the file system is read-only; see why with: dmesg | tail; then: "
    'mount -o remount,rw "$(findmnt -no TARGET -T {there})"',
    errno.EACCES: "it may not write there; see which folder forbids it with: namei -l {path}; "
    "then, for that one: chmod u+rwx {there}",
    errno.EPERM: "it may not write there; see whether it is fixed with: lsattr -d {there}; then: chattr -i -a {there}",
    errno.ENOTDIR: f"a file is where a folder should be; {_IN_THE_WAY}; then move it away",
    errno.EISDIR: f"a folder is where a file should be; {_IN_THE_WAY}; then move it away",
    errno.ELOOP: f"a link leads back to itself; {_IN_THE_WAY}; then remove it",
}


def exhausted(error: OSError, doing: str, path: str = "/") -> ResourceError:
    """The error with what the controller was doing, and what to do about it. `path` is what it was about.

    It is a LogUnwritableError where there is room enough, but something is in the way.
    """
    number = error.errno or errno.EIO
    why = _REMEDIES.get(number, f"{_IN_THE_WAY}; df -h {{there}}")
    kind = ResourceError if number in NO_ROOM or is_exhausted(error) else LogUnwritableError
    remedy = why.format(path=shlex.quote(path), there=shlex.quote(_nearest(path)))
    return kind(number, f"the controller cannot {doing} ({error.strerror}): {remedy}")


def _nearest(path: str) -> str:
    """The path, or what there is of it: programs tell nothing of one that does not exist."""
    while not os.path.exists(path) and os.path.dirname(path) != path:  # noqa: PTH110, PTH120 - a Path may raise
        path = os.path.dirname(path)  # noqa: PTH120 - as above
    return path


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says nothing but that one could not look, or ask."""
    return isinstance(error, OSError) and error.errno in EXHAUSTED


def raise_if_exhausted(error: OSError) -> None:
    """Raise ResourceError where the error says that one could not look."""
    if is_exhausted(error):
        raise exhausted(error, "look at processes and ports") from error
