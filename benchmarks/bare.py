"""The bare loop to compare with: `python -m benchmarks.bare FILE` spawns what FILE lists and polls until all answer.

It remembers nothing, heals nothing and checks nothing but the 200. It prints one JSON object with monotonic times.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE = 60.0
PAUSE = 0.01
"""Seconds between rounds: polling without a pause takes the CPU that the servers load with."""


def main() -> None:
    """Spawn, poll until all are healthy, print when, and kill them."""
    launches: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text())
    began = time.monotonic()
    children: list[subprocess.Popen[bytes]] = []
    try:
        children.extend(spawn(launch) for launch in launches)
        wait_for_all([int(launch["port"]) for launch in launches])
        print(json.dumps({"began": began, "ready": time.monotonic()}))
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def spawn(launch: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start a server as the controller does: a session and a log of its own."""
    with open(launch["log"], "ab") as log:  # noqa: PTH123 - nothing more than is needed
        return subprocess.Popen(
            launch["argv"],
            env=launch["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def wait_for_all(ports: list[int]) -> None:
    """Poll those that have not answered yet, round after round. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while ports := [port for port in ports if not is_healthy(port)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no healthy server within {PATIENCE:g} s on ports {ports}")
        time.sleep(PAUSE)


def is_healthy(port: int) -> bool:
    """One GET over a connection of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


if __name__ == "__main__":
    main()
