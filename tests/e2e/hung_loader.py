"""A llama-server that loads for ever: it binds its port, and answers 503 to everything."""

import sys
from pathlib import Path

SCRIPT = """#!{python} -IS
import socket, sys

words = sys.argv
port = int(words[words.index("--port") + 1])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen()
BODY = b'{{"error":{{"message":"Loading model","type":"unavailable_error","code":503}}}}'
HEAD = b"HTTP/1.1 503 Service Unavailable\\r\\nServer: llama.cpp\\r\\nConnection: close\\r\\n"
while True:
    client = listener.accept()[0]
    with client:
        client.recv(4096)
        client.sendall(HEAD + b"Content-Length: %d\\r\\n\\r\\n" % len(BODY) + BODY)
"""
"""Without the site packages, so that a hundred of them are started within a second."""


def write_hung_loader(folder: Path) -> Path:
    """Such a program; the settings have to allow it (`binaries`)."""
    path = folder / "hung-llama-server"
    path.write_text(SCRIPT.format(python=sys.executable))
    path.chmod(0o755)
    return path
