"""A controller's socket, with answers that a test chooses."""

import json
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reconciler.installation import socket_path

QUIET = {"pass": 1, "problems": [], "folderProblem": "", "prunable": [], "held": {}}
Answer = tuple[int, Any]


class FakeController:
    """Serves until the context ends; `asked` is all that came in, in its order."""

    def __init__(self, state: Path) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Callable[[Any], Answer]] = {
            "/reconcile": lambda _body: (200, QUIET),
            "/requests": lambda body: (200, {"requests": list(range(len(body["servers"])))}),
            "/preview": lambda _body: (200, {"changes": [], "problems": [], "folderProblem": ""}),
        }
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append((self.path, body))
                status, answer = fake.answers[self.path](body)
                content = json.dumps(answer).encode()
                with suppress(BrokenPipeError):  # who asked may have waited long enough
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def address_string(self) -> str:
                return "socket"

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = socketserver.ThreadingUnixStreamServer(str(socket_path(state)), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Hang up for good."""
        self._server.shutdown()
        self._server.server_close()

    def on(self, path: str, answer: Callable[[Any], Answer]) -> None:
        """Answer so from now on."""
        self.answers[path] = answer
