"""What a running controller says of itself, asked with the standard library: listing must stay fast."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.installation import CONNECT_TIMEOUT, socket_path

MOST = 65536
"""Bytes of an answer."""


def state_warning(state: Path) -> str:
    """Why the controller of a state folder cannot write its state; empty when it can, or does not answer."""
    unwritable = (one for one in _conditions(state) if one["type"] == "StateWritable" and one["status"] == "False")
    message = next((str(one["message"]) for one in unwritable), "")
    return f"{message}; what is shown here is as of before" if message else ""


def _conditions(state: Path) -> list[Mapping[str, Any]]:
    try:
        head, _, body = _ask(state).partition(b"\r\n\r\n")
        return list(json.loads(body)["conditions"]) if b" 200 " in head.partition(b"\r\n")[0] else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _ask(state: Path) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_TIMEOUT)
        client.connect(str(socket_path(state)))
        client.sendall(b"GET /healthz HTTP/1.0\r\nHost: controller\r\n\r\n")
        answer = b""
        while len(answer) < MOST and (chunk := client.recv(MOST)):
            answer += chunk
    return answer
