"""Whether what is not known yet stands in a manifest all the same: written, and not taken up by a controller."""

import re
from contextlib import suppress
from pathlib import Path

import click

from reconciler.cli.failure import Failure
from reconciler.cli.invocation import Invocation

MOST = 1 << 20
"""Bytes of a file that is looked at."""
_SUFFIXES = (".yaml", ".yml", ".json")


def is_written(name: str) -> bool:
    """Whether a file of the manifests folder names it. That it is read as YAML is left to who takes it up."""
    pattern = re.compile(
        rf"""(?:^|[\s{{,])["']?name["']?\s*:\s*["']?{re.escape(name)}["']?\s*(?:[,}}#]|$)""", re.MULTILINE
    )
    with suppress(Failure, OSError):
        return any(pattern.search(_text(path)) for path in _folder().rglob("*") if path.suffix in _SUFFIXES)
    return False


def _folder() -> Path:
    """The manifests folder of the installation that is asked. Raises Failure."""
    context = click.get_current_context(silent=True)
    invocation = (context.find_object(Invocation) if context else None) or Invocation()
    return Path(invocation.settings_of(invocation.state_folder()).manifests)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MOST).decode(errors="replace")
