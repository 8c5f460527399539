"""`python -m benchmarks.follower PORT READERS`: reads the stream many times over, until its stdin is closed.

It prints a line once all have their snapshot, and at the end, as JSON, how many are still there and how many of them
saw each restart.
"""

import json
import re
import selectors
import socket
import sys
from collections import Counter

CHUNK = 256 * 1024
RESTART = re.compile(rb"(?:^|\n)event: ?restart\n(?:id:[^\n]*\n)?data: ?(\{[^\n]*)\n\n")
MOST_KEPT = 2 * 1024 * 1024
"""A message has to end within that many bytes."""


class Reader:
    """One that follows."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.sendall(f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self.socket.setblocking(False)
        self.has_snapshot = False
        self.seen = set[str]()
        self._kept = b""

    def take(self) -> bool:
        """Read what has come; whether it goes on."""
        try:
            more = self.socket.recv(CHUNK)
        except OSError:
            return False
        whole, gap, rest = (self._kept + more).rpartition(b"\n\n")
        self._kept = rest[-MOST_KEPT:]
        messages = whole + gap
        self.has_snapshot = self.has_snapshot or b"event: snapshot" in messages
        for found in RESTART.finditer(messages):
            data = json.loads(found[1])
            self.seen.add(str(data.get("uid") or data))
        return bool(more)


def follow(port: int, count: int) -> None:
    """Until nobody wants it any more."""
    selector = selectors.DefaultSelector()
    readers = [Reader(port) for _ in range(count)]
    for one in readers:
        selector.register(one.socket, selectors.EVENT_READ, one)
    selector.register(sys.stdin, selectors.EVENT_READ)
    alive, has_told = count, False
    while True:
        for key, _ in selector.select():
            if key.data is None:
                seen = Counter(uid for one in readers for uid in one.seen)
                print(json.dumps({"alive": alive, "seen": seen}))
                return
            if not key.data.take():
                selector.unregister(key.fileobj)
                alive -= 1
        if not has_told and all(one.has_snapshot for one in readers):
            print("ready", flush=True)
            has_told = True


if __name__ == "__main__":
    follow(int(sys.argv[1]), int(sys.argv[2]))
