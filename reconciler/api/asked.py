"""What a request says of itself, before anybody believes it."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Scope

FORWARDED = frozenset(
    {
        *(b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-original-host", b"x-cluster-client-ip"),
        *(b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip", b"x-envoy-external-address"),
    }
)
"""Headers of proxies, besides X-Forwarded-…: who asks is somebody else than who connected."""

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)]|([^][:@/]*))(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides over it. Texts are empty where nothing is said."""

    method: str
    path: str
    first: str
    """The path's first part."""
    authority: str
    """Host and port, as the client wrote them, in lower case."""
    name: str
    """The host alone, without brackets; all of it where it is none."""
    origin: str
    site: str
    """Whence a browser says that it comes: `cross-site`, `same-site`, `same-origin` or `none`."""
    mode: str
    token: str
    length: int
    """Bytes of the body, as far as that is said."""
    has_body: bool
    is_forwarded: bool
    is_stream: bool
    """Whether its answer may have no end."""


def asked_in(scope: Scope) -> Asked:
    """The request of a scope (ASGI)."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    path = str(scope["path"])
    authority = _text(headers, b"host").lower()
    length = _text(headers, b"content-length")
    return Asked(
        method=str(scope["method"]),
        path=path,
        first=path.lstrip("/").partition("/")[0],
        authority=authority,
        name=_name(authority),
        origin=_text(headers, b"origin").lower(),
        site=_text(headers, b"sec-fetch-site").lower(),
        mode=_text(headers, b"sec-fetch-mode").lower(),
        token=_token(_text(headers, b"authorization")),
        length=int(length) if length.isdigit() else 0,
        has_body=length not in ("", "0") or b"transfer-encoding" in headers,
        is_forwarded=any(name in FORWARDED or name.startswith(b"x-forwarded") for name in headers),
        is_stream=path == "/api/v1/stream" or (path.endswith("/logs") and _follows(scope["query_string"])),
    )


def _follows(query: bytes) -> bool:
    """Read as the route reads it, whatever is written as `%66`."""
    return any(name == "follow" for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def _text(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _name(authority: str) -> str:
    found = _AUTHORITY.fullmatch(authority)
    return (found[1] or found[2]).removesuffix(".") if found else authority


def _token(authorization: str) -> str:
    scheme, _, given = authorization.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
