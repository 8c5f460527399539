"""A llama-server with little memory, for the demo's server that is asked for more than it has room for."""

import shlex
from pathlib import Path

PROGRAM = "llama-server-300MiB"
_KIB = 300_000
SETTINGS = "reconciler.toml"
_SCRIPT = """#!/bin/sh
# Written by `make up`: llama-server with 300 MB of memory at most, as on a small machine (see manifests/reader.yaml).
# Where the system knows no such limit (macOS), it has all there is.
ulimit -d {kib} 2>/dev/null
exec {binary} "$@"
"""
_ALLOWING = """# Written by `make up`, as there was no such file: it may be changed, and is left alone from now on.
# The programs that a manifest may name as `binary`, besides the llama-server in use.
binaries = [{program}]
"""


def write_limited_program(folder: Path, binary: str) -> Path:
    """The program that the demo's `reader` is run with, beside the models; it names the llama-server in use."""
    path = folder / PROGRAM
    text = _SCRIPT.format(kib=_KIB, binary=shlex.quote(binary))
    # One that is the same stays: a new file would let a server that has Failed try again.
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    path.chmod(0o755)
    return path


def allow(program: Path, settings: Path) -> bool:
    """Have the settings allow the program, where there are none yet; whether they were written.

    Settings that somebody wrote are left alone: without the program in them, one server of the demo is Blocked, and
    says what to add.
    """
    if settings.exists():
        return False
    settings.write_text(_ALLOWING.format(program=f'"{program}"'))
    return True
