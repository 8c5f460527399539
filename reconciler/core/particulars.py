"""Remedies made of what is told of the one server: its flag, its address, its file, its program."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from reconciler.core.reasons import find
from reconciler.core.trouble import Facts, Trouble, setting, unsetting

OF_PROGRAM = frozenset({"BinaryMissing", "WrongArchitecture", "SharedLibraryMissing", "PermissionDenied"})
ANYWHERE = (None, "127.0.0.1", "::1", "localhost", "0.0.0.0", "::")  # noqa: S104 - addresses that every machine has
_REFUSED = re.compile(r"\bspec\.flags\.([\w-]+): ([^`]*?)(?:`([\w-]+)(?:: ([^`]*))?`( or )?|$)")
_TYPED = re.compile(r"--([a-z][\w-]+)")
_FILES = (
    re.compile(r"\bchmod \S+ ('[^']+'|/[^\s;,]+)"),
    re.compile(r"'(/[^']+)'"),
    re.compile(r"(/.*?)(?: is not a GGUF file| is no ordinary file|;|: | \(|$)"),
)
_ALLOWING = re.compile(r"allow .*?with: (chmod .*)$")
_SEEING = re.compile(r"see: (reconciler describe server \S+)$")
_BY_HELP = ", as its help"
_HELP = re.compile(r"\(all that it takes: (.*) --help\)")


def particular_ways(trouble: Trouble) -> Iterator[str]:
    """The most usual one first; none where nothing more is known than of others."""
    if trouble.reason == "InvalidFlag":
        yield from _flag(trouble)
    elif trouble.reason == "PortInUse" and trouble.is_shown_by_a_start:
        if trouble.spec.get("host") not in ANYWHERE:
            yield f"listen on an address of this machine: {setting(trouble, {'host': '127.0.0.1'})}"
    elif trouble.reason in OF_PROGRAM:
        if allowed := _ALLOWING.search(trouble.message):
            yield f"allow it: {allowed[1]}"
        if trouble.spec.get("binary") and _is_about_program(trouble):
            yield f"use the llama-server of the others: {unsetting(trouble, 'binary')}"
    elif trouble.reason == "WaitingForDependency" and (seeing := _SEEING.search(trouble.message)):
        yield f"see what is wrong there: {seeing[1]}"
        yield f"start this one without it: reconciler restart {trouble.name}"
    elif trouble.reason == "ContextCapped" and (ctx := _context_there_is(trouble)):
        yield setting(trouble, {"ctx": ctx})


def does_not_apply(trouble: Trouble, way: str) -> bool:
    """A way out for such a reason in general, which is none for this server."""
    if "spec.port=auto" in way:
        return str(trouble.spec.get("port", "auto")) == "auto"
    if "`spec.host`" in way or way.startswith("Allow it: "):
        return bool([*particular_ways(trouble)]) or "`spec.host`" in way
    if "context in effect" in way:
        return bool(_context_there_is(trouble))
    if "LLAMA_SERVER" in way:
        return bool(trouble.spec.get("binary"))
    if "reconciler logs" in way:
        return trouble.last is not None and not trouble.last["logTail"]
    return False


def fillings(trouble: Trouble, facts: Facts) -> dict[str, str]:
    """What stands for the placeholders of a text: names that are known of this server."""
    told = _told(trouble)
    asked = _HELP.search(told)
    program = asked[1] if asked else shlex.quote(facts.program or trouble.spec.get("binary") or "llama-server")
    found = {"server": trouble.name, "port": str(trouble.item["status"]["port"] or "PORT"), "program": program}
    if file := next((match[1] for pattern in _FILES if (match := pattern.search(told))), ""):
        found["file"] = shlex.quote(file.strip("'"))
    return found


def cause_within(trouble: Trouble) -> str:
    """The reason for which the gate is shut to one that runs: the message begins with it."""
    word = trouble.message.partition(": ")[0]
    return word if trouble.reason == "GateShut" and find(word, "why it does not start") else ""


def _told(trouble: Trouble) -> str:
    evidence = str(trouble.last["evidence"]) if trouble.last else ""
    is_ended = trouble.state in ("Failed", "BackOff") or trouble.is_shown_by_a_start
    return evidence if is_ended and evidence else trouble.message


# ---------------------------------------------------------------- each reason


def _flag(trouble: Trouble) -> Iterator[str]:
    """The flag that is refused is taken out or mended, and its successor set."""
    flags = trouble.spec.get("flags") or {}
    refused = _REFUSED.search(_told(trouble))
    name = refused[1] if refused else next((one for one in _TYPED.findall(_told(trouble)) if one in flags), "")
    if name not in flags or f"spec.flags.{name}" in trouble.item["status"]["fromDefaults"]:
        return
    instead = _instead(refused, flags[name]) if refused else {}
    if set(instead) != {f"flags.{name}"}:
        yield unsetting(trouble, f"flags.{name}")
    if instead:
        yield f"{'' if set(instead) == {f'flags.{name}'} else 'then '}{setting(trouble, instead)}"


def _instead(refused: re.Match[str], value: Any) -> dict[str, Any]:
    """What the refusal says to write, by its path; nothing where it says none, or leaves a choice."""
    told, successor, written, choice = refused[2], refused[3], refused[4], refused[5]
    if not successor or choice or "spec.flags." in told or refused.string[refused.end() :].startswith(_BY_HELP):
        return {}
    if "write " not in told and "nearest" not in told:
        return {}
    path = successor if told.endswith("the field ") else f"flags.{successor}"
    return {path: value if written is None else _value(written)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_about_program(trouble: Trouble) -> bool:
    """And not about a model's file."""
    binary = str(trouble.spec["binary"])
    return trouble.reason != "PermissionDenied" or binary.rpartition("/")[2] in _told(trouble)


def _context_there_is(trouble: Trouble) -> int:
    """Tokens of context over all slots that the model has room for."""
    effective = trouble.item["status"]["effective"] or {}
    per_slot, slots = effective.get("ctxPerSlot"), trouble.spec.get("parallel") or 1
    return int(per_slot) * int(slots) if per_slot else 0
