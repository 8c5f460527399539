"""Listening TCP sockets by netlink (sock_diag(7)): the kernel walks only the listeners, not every connection there is.

The layouts are those of linux/netlink.h and linux/inet_diag.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
TCP_LISTEN = 10

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states, any socket
_PORT = struct.Struct("!H")
_NUMBER = struct.Struct("=I")
_SOURCE_PORT, _SOURCE, _INODE = 4, 8, 68  # where they are in inet_diag_msg


def dump_listeners() -> Iterator[tuple[bytes, int, int]]:
    """Packed address, port and inode of each. Raises OSError where the kernel does not answer (some containers)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(1.0)
        for family in (socket.AF_INET, socket.AF_INET6):
            yield from _dump(asked, family)


def _dump(asked: socket.socket, family: int) -> Iterator[tuple[bytes, int, int]]:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN)
    head = _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0)
    asked.send(head + body)
    while True:
        data = asked.recv(65536)
        at = 0
        while at < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR or length < _HEADER.size:
                raise OSError(errno.EPROTO, "sock_diag refused the question")
            yield _read(data, at + _HEADER.size, family)
            at += (length + 3) & ~3


def _read(data: bytes, at: int, family: int) -> tuple[bytes, int, int]:
    size = 4 if family == socket.AF_INET else 16
    (port,) = _PORT.unpack_from(data, at + _SOURCE_PORT)
    (inode,) = _NUMBER.unpack_from(data, at + _INODE)
    return data[at + _SOURCE : at + _SOURCE + size], port, inode
