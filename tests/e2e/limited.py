"""A llama-server that may use only so much memory, as on a small machine; the limit is a file, and can be lifted."""

from pathlib import Path
from typing import Any

from reconciler.demo.models import write_model
from tests.e2e.installation import Installation

CONTEXT = 2**20
"""Tokens of context that the model was trained with: half a KiB of memory each."""
ASKED = 524288
"""With this much, the server needs 366 MB of writable memory; with each half of it 220, 150, 115, 95 …."""
LIMIT = 300_000
"""KiB."""
SPEC: dict[str, Any] = {
    "model": "long.gguf",
    "ctx": ASKED,
    "flags": {"warmup": False, "batch-size": 32, "ubatch-size": 32, "threads-http": 2},
}
SCRIPT = """#!/bin/sh
ulimit -d "$(cat {limit})" || exit 9
exec {binary} "$@"
"""


class Limited:
    """Limits the memory of the servers of an installation that run this `binary`."""

    def __init__(self, installation: Installation, kib: int | None = LIMIT) -> None:
        self._limit = installation.root / "limit"
        self.binary = str(installation.root / "limited-llama-server")
        self.limit(kib)
        script = SCRIPT.format(limit=self._limit, binary=installation.environ["LLAMA_SERVER"])
        Path(self.binary).write_text(script)
        Path(self.binary).chmod(0o755)
        write_model(installation.models / "long.gguf", context=CONTEXT)
        settings = installation.root / "reconciler.toml"
        settings.write_text(f'binaries = ["{self.binary}"]\n{settings.read_text()}')

    def limit(self, kib: int | None) -> None:
        """From the next start on; None: no limit."""
        self._limit.write_text("unlimited" if kib is None else str(kib))

    def declare(self, installation: Installation, name: str = "coder", **spec: Any) -> None:
        """A server that is asked for more than it may have."""
        installation.declare(name, binary=self.binary, **{**SPEC, **spec})
