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


def part_paths(path: str) -> Iterator[str]:
    """All files of a split model (`…-00001-of-00003.gguf`), or the one; lazily, for a name can promise 99,999."""
    match = _PART.match(path)
    count = int(match["count"]) if match else 0
    if match is None or not 1 <= int(match["number"]) <= count:
        yield path
        return
    for number in range(1, count + 1):
        yield f"{match['stem']}-{number:05}-of-{match['count']}.gguf"


def judge(binary: FileFacts, model: Sequence[FileFacts], trouble: tuple[str, str], now: float) -> GateFacts:
    """Whether a start can be tried. `trouble` is a reason and message from elsewhere (secrets, settings)."""
    identity = " ".join(facts.identity for facts in (binary, *model))
    if trouble[0]:
        return GateFacts(trouble[0], clean(trouble[1]), identity=identity)
    reason, message = _judge_binary(binary)
    if reason:
        return GateFacts(reason, clean(message), identity=identity)
    for facts in model:
        reason, message = _judge_model(facts, len(model) > 1)
        if reason:
            return GateFacts(reason, clean(message), identity=identity)
    settled_at = max((facts.changed_at + QUIET for facts in model), default=now)
    if settled_at > now:
        growing = max(model, key=lambda facts: facts.changed_at)
        message = f"{growing.path} is still being written; it is used once it has not changed for {QUIET:g} s"
        return GateFacts("ModelGrowing", clean(message), retry_at=settled_at, identity=identity)
    return GateFacts(identity=identity)


def _judge_binary(binary: FileFacts) -> tuple[str, str]:
    if not binary.exists:
        return "BinaryMissing", f"no program at {binary.path}; install it, or name another with LLAMA_SERVER"
    if not binary.executable:
        allow = f"chmod +x {shlex.quote(binary.path)}"
        return "BinaryNotExecutable", f"{binary.path} may not be executed; allow it with: {allow}"
    return "", ""


def _judge_model(model: FileFacts, is_part: bool) -> tuple[str, str]:
    if not model.exists:
        if is_part:
            return "ModelPartMissing", f"the part {model.path} is missing; copy it there and it is picked up"
        return "ModelMissing", f"no file at {model.path}; copy the model there, or correct spec.model"
    if not model.readable:
        return "ModelUnreadable", f"{model.path} may not be read; allow it with: chmod +r {shlex.quote(model.path)}"
    if not model.is_gguf:
        return "ModelNotGguf", f"{model.path} is not a GGUF file; copy the right file there, or correct spec.model"
    return "", ""
