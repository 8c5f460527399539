"""On what a folder lies: the kind of its file system (proc(5), mountinfo)."""

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_OVER_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|glusterfs|lustre|beegfs|gpfs|fuse\.(sshfs|s3fs|rclone)"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def mount_of(folder: Path) -> str:
    """The kind of file system of a folder, such as `ext4`; empty where that is not told."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real, kind, longest = Path(os.path.realpath(folder)), "", -1
    for line in lines:
        # `36 35 98:0 / /mnt rw,noatime master:1 - ext4 /dev/root rw`; the last one at a place covers those before.
        fields, _, behind = line.partition(" - ")
        place = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields.split()[4]))
        if real.is_relative_to(place) and len(place.parts) >= longest:
            kind, longest = behind.split()[0], len(place.parts)
    return kind


def is_over_network(kind: str) -> bool:
    """Whether such a file system lies on another machine."""
    return _OVER_NETWORK.fullmatch(kind) is not None
