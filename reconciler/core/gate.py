"""The checks before a start, judged on what was seen of the files. A shut gate costs no attempt."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.core.clean import clean
from reconciler.core.model import GateFacts

QUIET = 2.0
"""Seconds for which a model's size must stay the same: until then it may still be copied."""
_PART = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was seen of a file."""

    path: str
    exists: bool = False
    readable: bool = False
    executable: bool = False
    """A regular file that may be executed."""
    is_gguf: bool = False
    """It begins with the magic `GGUF`."""
    changed_at: float = float("-inf")
    """Monotonic time of its last change, as far as known."""
    identity: str = ""
    """Changes when the file does."""
    is_file: bool = True
    """An ordinary file, if it exists."""
    barred_by: str = ""
    """The folder on the way there that may not be entered, so that nobody knows whether it exists."""
    field: str = "spec.model"
    """Which field names it."""
    is_model: bool = True
    """It must be a GGUF."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file beside the model that must be there for a start."""

    field: str
    """Which field names it."""
    path: str
    """Absolute."""
    is_model: bool
    """It must be a GGUF."""


def part_paths(path: str) -> Iterator[str]:
    """All files of a split model (`…-00001-of-00003.gguf`), or the one; lazily, for a name can promise 99,999."""
    match = _PART.match(path)
    count = int(match["count"]) if match else 0
    if match is None or not 1 <= int(match["number"]) <= count:
        yield path
        return
    for number in range(1, count + 1):
        yield f"{match['stem']}-{number:05}-of-{match['count']}.gguf"


def judge(binary: FileFacts, files: Sequence[FileFacts], trouble: tuple[str, str], now: float) -> GateFacts:
    """Whether a start can be tried, with the model's files and the others that a spec names.

    `trouble` is a reason and message from elsewhere (secrets, settings).
    """
    identity = " ".join(facts.identity for facts in (binary, *files))
    if trouble[0]:
        return GateFacts(trouble[0], clean(trouble[1]), identity=identity)
    reason, message = _judge_binary(binary)
    if reason:
        return GateFacts(reason, clean(message), identity=identity)
    for facts in files:
        reason, message = _judge_file(facts)
        if reason:
            return GateFacts(reason, clean(message), identity=identity)
    models = [facts for facts in files if facts.is_model]
    settled_at = max((facts.changed_at + QUIET for facts in models), default=now)
    if settled_at > now:
        growing = max(models, key=lambda facts: facts.changed_at)
        message = f"{growing.path} is still being written; it is used once it has not changed for {QUIET:g} s"
        return GateFacts("ModelGrowing", clean(message), retry_at=settled_at, identity=identity)
    return GateFacts(identity=identity)


def _judge_binary(binary: FileFacts) -> tuple[str, str]:
    if binary.barred_by:
        return _barred(binary)
    if not binary.exists or not binary.is_file:
        what = "no program" if not binary.exists else "a folder, and no program,"
        named = "correct spec.binary" if binary.field == "spec.binary" else "name another with LLAMA_SERVER"
        return "BinaryMissing", f"{what} at {binary.path}; install it, or {named}"
    if not binary.executable:
        allow = f"chmod +x {shlex.quote(binary.path)}"
        return "PermissionDenied", f"{binary.path} may not be executed; allow it with: {allow}"
    return "", ""


def _judge_file(file: FileFacts) -> tuple[str, str]:
    if file.barred_by:
        return _barred(file)
    if not file.exists:
        return _missing(file)
    if not file.is_file:
        return _broken(file, f"{file.path} is no ordinary file")
    if not file.readable:
        return "PermissionDenied", f"{file.path} may not be read; allow it with: chmod +r {shlex.quote(file.path)}"
    if file.is_model and not file.is_gguf:
        return _broken(file, f"{file.path} is not a GGUF file")
    return "", ""


def _missing(file: FileFacts) -> tuple[str, str]:
    if not file.is_model:
        return "FileMissing", f"no file at {file.path}; put it there, or correct {file.field}"
    part = _PART.match(file.path)
    if part is not None and int(part["count"]) > 1:
        return "ModelMissing", f"the part {file.path} is missing; copy it there and it is picked up"
    return "ModelMissing", f"no file at {file.path}; copy the model there, or correct {file.field}"


def _broken(file: FileFacts, what: str) -> tuple[str, str]:
    reason = "ModelBroken" if file.is_model else "FileMissing"
    return reason, f"{what}; copy the right file there, or correct {file.field}"


def _barred(file: FileFacts) -> tuple[str, str]:
    allow = f"chmod +x {shlex.quote(file.barred_by)}"
    return "PermissionDenied", f"{file.path} cannot be reached; allow {file.barred_by} to be entered with: {allow}"
