"""How a process that is not our child ended: PIDFD_GET_INFO tells it once its parent has reaped it (Linux 6.15).

The layout and numbers are those of linux/pidfd.h.
"""

import errno
import os
import struct
import sys

from reconciler.core.model import Exit

PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, struct pidfd_info), of the 64 bytes that it had first."""
PIDFD_INFO_EXIT = 1 << 3
_MASK = struct.Struct("=Q")
_STATUS = struct.Struct("=60xi")  # exit_code, behind mask, cgroupid and eleven ids
_SIZE = 64
UNKNOWN = Exit()


def exit_of(pidfd: int) -> Exit | None:
    """How the process behind it ended; `Exit()` where the kernel never tells, None where it may tell soon."""
    if sys.platform != "linux":
        return UNKNOWN
    import fcntl  # noqa: PLC0415 - not everywhere

    info = bytearray(_SIZE)
    _MASK.pack_into(info, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError as error:
        # A kernel that does not keep it says of a reaped one that there is none (ESRCH).
        return None if error.errno in (errno.EINTR, errno.EAGAIN) else UNKNOWN
    (mask,) = _MASK.unpack_from(info)
    if not mask & PIDFD_INFO_EXIT:
        return None
    (status,) = _STATUS.unpack_from(info)
    code = os.waitstatus_to_exitcode(status)
    return Exit(signal=-code) if code < 0 else Exit(code=code)
