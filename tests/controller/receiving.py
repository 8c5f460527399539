"""Somebody who is told: a real HTTP server that answers as it is bid."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What it was told, in order, and what it answers next: 200 when nothing is left of `answers`."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.url = ""

    def reasons(self) -> list[str]:
        """Of all that it was told."""
        return [one["reason"] for one in self.told]


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Listens on loopback for as long as the context lasts."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.goes_on.wait(30)
            status, headers = made.answers.pop(0) if made.answers else (200, {})
            if status == 200:
                made.told.append(json.loads(body))
                made.headers.append(dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook-s3cret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.goes_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
