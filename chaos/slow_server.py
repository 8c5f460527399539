"""A llama-server that takes long to end after SIGTERM, and notes each one that it gets: `term PID` in the file LEDGER.

Run as a script: it stands in for the real one, which ends at once where nobody asks it anything.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TAKES = 0.7
"""Seconds: longer than the next controller takes to come, and shorter than the grace."""


def _value(*flags: str) -> str:
    return next(value for flag, value in zip(sys.argv, sys.argv[1:], strict=False) if flag in flags)


class _Handler(BaseHTTPRequestHandler):
    """What a controller asks."""

    server_version, sys_version = "llama.cpp", ""

    def do_GET(self) -> None:
        """An answer as that of the real one."""
        context = int(_value("--ctx-size", "-c"))
        settings = {"total_slots": 1, "default_generation_settings": {"n_ctx": context}}
        answers: dict[str, Any] = {
            "/health": {"status": "ok"},
            "/props": {**settings, "model_path": _value("--model", "-m")},
            "/v1/models": {"data": [{"id": "slow"}]},
            "/slots": [{"id": 0, "n_ctx": context, "is_processing": False}],
        }
        content = json.dumps(answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _note(ledger: int) -> None:
    os.write(ledger, f"term {os.getpid()}\n".encode())


def main() -> None:
    """Serve until some time after the first SIGTERM."""
    # Waited for instead of handled, with room for the next as soon as one is taken: none is missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
    server = ThreadingHTTPServer(("127.0.0.1", int(_value("--port"))), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    _note(ledger)
    ends = time.monotonic() + TAKES
    while (left := ends - time.monotonic()) > 0:
        if signal.sigtimedwait({signal.SIGTERM}, left):
            _note(ledger)
    os._exit(0)


if __name__ == "__main__":
    main()
