"""A server that is not well, as `-o json` shows it, and how its manifest is changed."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.core.source import GIT

EASED = frozenset({"GpuOutOfMemory", "GpuUnavailable", "HostOutOfMemory", "OomKilled", "ContextTooLarge"})
"""Causes that a safer setting can ease (see core.causes, which is slow to import)."""
_PLAIN = re.compile(r"[A-Za-z/~][\w./~-]*|\d+(?:\.\d+){3}")
"""Text that YAML reads as such."""


class OnGpu(NamedTuple):
    """A process that has memory of a GPU."""

    pid: int
    program: str
    taken: int
    """Bytes."""
    server: str = ""
    """The server of this installation that it is; empty for others."""


class Facts(NamedTuple):
    """What is known beside the server itself."""

    controller: bool = True
    """Whether one runs: without it nothing is promised that only one would do."""
    on_gpu: Sequence[OnGpu] = ()
    program: str = ""
    """The llama-server that it was last started with; empty where that is not known."""
    now: float = 0.0
    """Unix time; 0: not known."""


class Trouble(NamedTuple):
    """What is wrong with a server."""

    item: Mapping[str, Any]
    state: str
    reason: str
    last: Mapping[str, Any] | None
    """Its last start that ended."""
    message: str = ""
    """It in a line."""

    @property
    def name(self) -> str:
        """The server's."""
        return str(self.item["metadata"]["name"])

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was asked for."""
        found: Mapping[str, Any] = self.item["spec"]
        return found

    @property
    def tried(self) -> Sequence[Mapping[str, Any]]:
        """What was tried since what was asked for was last tried."""
        found: Sequence[Mapping[str, Any]] = (self.item["status"].get("fallback") or {}).get("tried", ())
        return found

    @property
    def changes(self) -> Mapping[str, Any]:
        """What differs in the running fallback step from what was asked for."""
        found: Mapping[str, Any] = (self.item["status"].get("fallback") or {}).get("changes", {})
        return found

    @property
    def is_shown_by_a_start(self) -> bool:
        """It is Blocked by what a start has come to, and not by what was seen before one."""
        return (
            self.state == "Blocked"
            and self.last is not None
            and self.last["diagnosis"] == self.reason
            and (self.reason in self.message or str(self.last["evidence"] or "?") in self.message)
        )


def is_from_git(trouble: Trouble) -> bool:
    """Whether its manifest is changed elsewhere."""
    return (trouble.item["metadata"].get("source") or {}).get("origin") == GIT


def place_of(trouble: Trouble) -> str:
    """Where it is declared, and what follows from a change there."""
    source = trouble.item["metadata"].get("source")
    if not source:
        return "its manifest"
    push = ", commit and push" if is_from_git(trouble) else ""
    return f"{source['file']}:{source['line']}{push}"


def setting(trouble: Trouble, fields: Mapping[str, Any]) -> str:
    """How fields, by their paths below `spec`, are given other values."""
    if is_from_git(trouble):
        return (
            f"write {', '.join(f'{field}: {_yaml(value)}' for field, value in fields.items())} at {place_of(trouble)}"
        )
    values = " ".join(shlex.quote(f"spec.{field}={_yaml(value)}") for field, value in fields.items())
    return f"reconciler set server/{trouble.name} {values}"


def unsetting(trouble: Trouble, field: str) -> str:
    """How a field is taken out."""
    if is_from_git(trouble):
        return f"take {field} out at {place_of(trouble)}"
    return f"reconciler unset server/{trouble.name} {shlex.quote(f'spec.{field}')}"


def _yaml(value: Any) -> str:
    """On one line, and no other value than this."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "null"):
        return value
    return json.dumps(value, ensure_ascii=False)
