"""Who may read and write a file: the same people as of the file that it takes the place of."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

ACL = "system.posix_acl_access"
_NONE = (errno.ENODATA, errno.ENOTSUP)


def give_rights_of(source: Path, descriptor: int) -> None:
    """Gives a new file the owner, group, mode, access list and other attributes of an old one, as far as we may.

    Raises PermissionError where its group has rights of its own, and cannot be kept: our own group would get them.
    """
    like = source.stat()
    with suppress(PermissionError):
        os.fchown(descriptor, like.st_uid, -1)
    _give_group(like, descriptor)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
    _give_attributes(source, descriptor)


def _give_group(like: os.stat_result, descriptor: int) -> None:
    if os.fstat(descriptor).st_gid == like.st_gid:
        return
    try:
        os.fchown(descriptor, -1, like.st_gid)
    except PermissionError:
        if (like.st_mode >> 3) & ~like.st_mode & stat.S_IRWXO:
            message = f"you are not in its group {like.st_gid}, which would lose what it may do with the file"
            raise PermissionError(errno.EPERM, message) from None


def _give_attributes(source: Path, descriptor: int) -> None:
    """Extended attributes; the access list that a folder has for new files is none of the old file's."""
    try:
        names = os.listxattr(source)
    except OSError as error:
        if error.errno in _NONE:
            return
        raise
    if ACL not in names:
        with suppress(OSError):
            os.removexattr(descriptor, ACL)
    for name in names:
        # What the system itself keeps there may not be ours to write; who may read the file is no such thing.
        with suppress(*((OSError,) if name != ACL else ())):
            os.setxattr(descriptor, name, os.getxattr(source, name))
