"""What requests carry: bodies within a bound, as text or as a JSON object."""

import json
from typing import Any

from starlette.requests import Request

from reconciler.api.problems import ProblemError

MOST_BODY = 1024 * 1024
"""Bytes; no manifest is larger."""


async def text_of(request: Request) -> str:
    """The body as text. Raises ProblemError."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BODY:
            happened = f"the body is larger than {MOST_BODY} bytes"
            raise ProblemError(413, "TooLarge", happened, "send less at once: no manifest is larger than 1 MiB")
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise ProblemError(400, "BadRequest", "the body is not UTF-8", "send it in that encoding") from None


async def object_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object; empty where there is none. Raises ProblemError."""
    text = await text_of(request)
    try:
        body = json.loads(text or "{}")
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON") from None
    if not isinstance(body, dict):
        raise bad_request("expected a JSON object")
    return body


async def nothing_of(request: Request, verb: str) -> None:
    """Refuse a body that says something: it would be passed over. Raises ProblemError."""
    only(await object_of(request), verb)


def only(body: dict[str, Any], verb: str, *keys: str) -> None:
    """Refuse what is none of these. Raises ProblemError."""
    if unknown := sorted(set(body) - set(keys)):
        takes = " and ".join(f"'{key}'" for key in keys) if keys else "nothing"
        raise bad_request(f"{verb} takes {takes} in its body, not '{unknown[0][:40]}'")


def bad_request(happened: str) -> ProblemError:
    """What was sent makes no sense."""
    return ProblemError(400, "BadRequest", happened, "see docs/api.md for what the route takes")


def flag(request: Request, name: str) -> bool:
    """`?dryRun=true`. Raises ProblemError."""
    text = request.query_params.get(name, "false")
    if text in ("true", "false", "1", "0", ""):
        return text in ("true", "1", "")
    raise bad_request(f"?{name}={text}: expected true or false")
