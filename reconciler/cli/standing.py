"""What a controller says of itself and of what it knows, asked with the standard library: listing must stay fast."""

import json
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from reconciler.cli.terminal import clean
from reconciler.installation import CONNECT_TIMEOUT, socket_path
from reconciler.store import read

CHUNK = 65536
OLD = "what is shown here is as of before"


@contextmanager
def opened(state: Path, *, warns: bool = False) -> Iterator[sqlite3.Connection]:
    """The database of a state folder; while its controller cannot write it, or has none there, what that one knows.

    `warns`: says on stderr that the state cannot be written. Raises ReadError.
    """
    trouble = state_trouble(state)
    db = _known_to_controller(state) if trouble else None
    if trouble and warns:
        click.echo(f"warning: {clean(trouble)}{'' if db else f'; {OLD}'}", err=True)
    if db is None:
        db = _on_disk(state)
    try:
        yield db
    except sqlite3.Error as error:
        raise read.ReadError(read.explain(error, state / read.DATABASE)) from None
    finally:
        db.close()


def state_trouble(state: Path) -> str:
    """Why the controller of a state folder cannot write its state; empty when it can, or does not answer."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        for one in health(state)["conditions"]:
            if one["type"] == "StateWritable" and one["status"] == "False":
                return str(one["message"])
    return ""


def health(state: Path) -> Mapping[str, Any]:
    """What the controller of a state folder says of itself. Raises OSError, ValueError."""
    found: Mapping[str, Any] = json.loads(_asked(state, "/healthz"))
    return found


def _on_disk(state: Path) -> sqlite3.Connection:
    try:
        return read.open_readonly(state)
    except read.ReadError:
        # Deleted or damaged a moment ago, which a controller may not have noticed yet.
        db = _known_to_controller(state)
        if db is None:
            raise
        return db


def _known_to_controller(state: Path) -> sqlite3.Connection | None:
    """All that the controller knows; None where none answers."""
    try:
        content = _asked(state, "/database")
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.deserialize(content)
        return read.as_known(db, state / read.DATABASE)
    except (OSError, ValueError, sqlite3.Error):
        return None


def _asked(state: Path, path: str) -> bytes:
    """The body of an answer. Raises OSError, and ValueError for another than 200."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_TIMEOUT)
        client.connect(str(socket_path(state)))
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: controller\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(CHUNK), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ValueError(head[:200])
    return body
