"""A llama-server that falls ill on demand: answers as the real one does, but for what the file in SICK says.

The file holds words: `broken` (every completion fails), `stuck` (a slot is at work and nothing moves), `mute` (`/slots`
does not answer), `slow` (`/health` does not answer), `late` (it does after LATE seconds), `deaf` (nobody listens any
more), `spins` (it computes). Without the file it is well. Each request but for `/health` leaves a line in SICK.asked.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SICK = Path(os.environ["SICK"])
LATE = 1.2
ARGUMENTS = dict(zip(sys.argv, sys.argv[1:], strict=False))
SLOT = {"id": 0, "n_ctx": 128, "is_processing": False}
STUCK = {**SLOT, "is_processing": True, "id_task": 1, "n_prompt_tokens_processed": 64, "next_token": [{"n_decoded": 0}]}


def ills() -> set[str]:
    try:
        return set(SICK.read_text().split())
    except FileNotFoundError:
        return set()


class Handler(BaseHTTPRequestHandler):
    server_version = "llama.cpp"
    sys_version = ""

    def do_GET(self) -> None:
        answers: dict[str, Any] = {
            "/health": {"status": "ok"},
            "/props": {
                "total_slots": 1,
                "default_generation_settings": {"n_ctx": 128},
                "model_path": ARGUMENTS["--model"],
            },
            "/v1/models": {"data": [{"id": "sick"}]},
            "/slots": [STUCK if "stuck" in ills() else SLOT],
        }
        ill = {"/health": "slow", "/slots": "mute"}.get(self.path, "")
        self._note()
        while ill in ills():
            time.sleep(0.5)  # each request that hangs has a thread: together they must not look like work
        if self.path == "/health" and "late" in ills():
            time.sleep(LATE)
        self._reply(200, answers[self.path])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._note()
        if "broken" in ills():
            self._reply(500, {"error": {"code": 500, "message": "Compute error.", "type": "server_error"}})
        else:
            self._reply(200, {"content": "x", "tokens_predicted": 1})

    def _note(self) -> None:
        if self.path != "/health":
            with SICK.with_suffix(".asked").open("a") as asked:
                asked.write(f"{self.command} {self.path}\n")

    def _reply(self, status: int, answer: object) -> None:
        content = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            pass  # whoever asked has not waited

    def log_message(self, *_: object) -> None:
        pass


def spin() -> None:
    """Compute when told to, with pauses that let the other threads answer."""
    while True:
        while "spins" not in ills():
            time.sleep(0.2)
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass
        time.sleep(0.02)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = ThreadingHTTPServer((ARGUMENTS["--host"], int(ARGUMENTS["--port"])), Handler)
    threading.Thread(target=spin, daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while "deaf" not in ills():
        time.sleep(0.05)
    server.shutdown()
    server.server_close()
    threading.Event().wait()


main()
