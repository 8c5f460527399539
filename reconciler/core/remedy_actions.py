"""Ways out as something to press or to copy: the command within a remedy's text, and the request that does the same."""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

PROGRAMS = (
    *("reconciler", "llama-server"),
    *("chmod", "file", "free", "head", "ldd", "ls", "nvidia-smi", "ps", "ss", "uname"),
)
"""What commands in remedies begin with, where not with the path of a program."""
_BEGINS = rf"(?:(?:{'|'.join(PROGRAMS)})(?![\w-])|'?/)"
_IN_MARKS = re.compile(rf"(?:(?:^|: )`(?={_BEGINS})|`(?=reconciler ))([^`]+)`")
"""A command in a sentence that has more than one piece of code: behind a colon, or one of ours."""
_AT_END = re.compile(rf"(?:^(?=reconciler )|: (?={_BEGINS}))(.*?)(?: {{2,}}\(.*\))?$")
"""The only command of a sentence ends it, without marks; a remark may follow."""
_PLACEHOLDER = re.compile(r"\b(?:NAME|FILE|PORT|REVISION)\b|…")
"""What somebody has to write something else for."""
_SERVERS = "/api/v1/servers/"

Request = dict[str, Any]


def actions_of(ways: Iterable[str]) -> list[dict[str, Any]]:
    """A twin of each: its `text`, its `command`, and the `request` that does the same; None where there is none."""
    return [_action(way) for way in ways]


def _action(way: str) -> dict[str, Any]:
    command = _command(way)
    return {"text": way, "command": command, "request": _request(command) if command else None}


def _command(way: str) -> str | None:
    """What can be pasted as it stands."""
    found = (_IN_MARKS if "`" in way else _AT_END).search(way)
    return found[1] if found and not _PLACEHOLDER.search(found[1]) else None


def _request(command: str) -> Request | None:
    """What the interface is asked for in place of a command."""
    words = shlex.split(command) if command.startswith("reconciler ") else []
    if len(words) < 3:
        return None
    _, verb, name, *rest = words
    make = _MADE.get(verb)
    return make(verb, name.removeprefix("server/"), rest) if make else None


def _post(verb: str, name: str, rest: Sequence[str]) -> Request | None:
    body = {"primary": True} if rest == ["--primary"] else {}
    return {"method": "POST", "path": f"{_SERVERS}{name}/{verb}", "body": body} if body or not rest else None


def _use(_verb: str, name: str, rest: Sequence[str]) -> Request | None:
    if name != "use" or len(rest) != 1:
        return None
    if rest == ["--none"]:
        return {"method": "POST", "path": "/api/v1/profiles/use", "body": {"name": ""}}
    return {"method": "POST", "path": f"/api/v1/profiles/{rest[0]}/use", "body": {}}


def _set(_verb: str, name: str, rest: Sequence[str]) -> Request:
    fields = dict(field.split("=", 1) for field in rest)
    return _patch(name, {"set": {field: _value(text) for field, text in fields.items()}})


def _unset(_verb: str, name: str, rest: Sequence[str]) -> Request:
    return _patch(name, {"unset": list(rest)})


def _patch(name: str, body: Mapping[str, Any]) -> Request:
    return {"method": "PATCH", "path": f"{_SERVERS}{name}", "body": dict(body)}


def _value(text: str) -> Any:
    """As core.trouble writes it: JSON, or plain text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_MADE: Mapping[str, Callable[[str, str, Sequence[str]], Request | None]] = {
    **dict.fromkeys(("restart", "stop", "start", "suspend", "resume", "adopt"), _post),
    "profile": _use,
    "set": _set,
    "unset": _unset,
}
