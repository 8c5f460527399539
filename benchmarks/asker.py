"""`python -m benchmarks.asker PORT SECONDS RATE PATH…`: asks over a few kept connections, and prints what came as JSON.

A process of its own, so that what it takes is not the controller's. RATE is requests a second; 0: as fast as answers
come. SIGTERM ends it early.
"""

import json
import selectors
import signal
import socket
import sys
import time
from itertools import cycle

CONNECTIONS, MOST_CONNECTIONS = 4, 32
"""As fast as answers come, and at a rate: that is to be kept while some answers wait for what has just changed."""
CHUNK = 1024 * 1024


class Connection:
    """One request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"127.0.0.1:{port}"
        self._came = bytearray()
        self._whole = 0
        self.asked: float | None = None
        """When; None while it waits for nothing."""

    def ask(self, path: str) -> None:
        """Send a request."""
        self._came.clear()
        self._whole = 0
        self.asked = time.perf_counter()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())

    def take(self) -> float | None:
        """Read what has come; the seconds that the answer took once it is whole. Raises OSError for any but 200."""
        more = self.socket.recv(CHUNK)
        if not more:
            raise OSError("the controller closed the connection")
        self._came += more
        if not self._whole and (end := self._came.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._came[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                raise OSError(head.decode("latin-1"))
            self._whole = end + 4 + int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        if not self._whole or len(self._came) < self._whole:
            return None
        took, self.asked = time.perf_counter() - (self.asked or 0.0), None
        return took


class Until:
    """How long it is to go on."""

    def __init__(self, seconds: float) -> None:
        self.at = time.perf_counter() + seconds
        signal.signal(signal.SIGTERM, self._now)

    def _now(self, *_: object) -> None:
        self.at = 0.0


def ask(port: int, until: Until, rate: float, paths: list[str]) -> list[float]:
    """The seconds that each answer took."""
    selector, following, took = selectors.DefaultSelector(), cycle(paths), list[float]()
    connections = [Connection(port) for _ in range(MOST_CONNECTIONS if rate else CONNECTIONS)]
    for one in connections:
        selector.register(one.socket, selectors.EVENT_READ, one)
    began, sent = time.perf_counter(), 0
    while (now := time.perf_counter()) < until.at or any(one.asked is not None for one in connections):
        for one in connections:
            due = rate == 0 or sent < (now - began) * rate
            if one.asked is None and due and now < until.at:
                one.ask(next(following))
                sent += 1
        pause = max(0.0, (sent + 1) / rate - (now - began)) if rate else 0.05
        for key, _ in selector.select(min(pause, 0.05)):
            if (answer := key.data.take()) is not None:
                took.append(answer)
    for one in connections:
        one.socket.close()
    return took


if __name__ == "__main__":
    number, length, most, *wanted = sys.argv[1:]
    print(json.dumps(ask(int(number), Until(float(length)), float(most), wanted)))
