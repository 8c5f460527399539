"""The dashboard's files."""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""What is served, by its name's end."""
_SQUEEZED = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt", ".webmanifest"})
OTHERS = frozenset({"api", "v1", "sd", "metrics", "healthz", "readyz"})
"""First parts of paths that are never pages."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it is sent."""

    stamp: tuple[int, int]
    """Size and time of change (ns) of what was read."""
    etag: str
    media_type: str
    plain: bytes
    squeezed: bytes | None


class Pages:
    """The files below a folder; what is no file is a page of the dashboard, which is `index.html`."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no route answers."""
        await (await self._answer(Request(scope)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        name = str(request.scope["path"]).removeprefix("/")
        if request.method not in ("GET", "HEAD"):
            raise HTTPException(404 if name.partition("/")[0] in OTHERS else 405)
        first, _, rest = name.partition("/")
        if first in OTHERS:
            raise HTTPException(404, f"there is nothing at /{name}; see what there is in docs/api.md")
        found = await self._file(name) if name else None
        if found is None:
            if rest and (self._folder / first).is_dir():
                raise HTTPException(404, f"there is no file {name}")
            found = await self._file(INDEX)
        if found is None:
            raise HTTPException(404, "this installation has no dashboard: install reconciler anew from its wheel")
        return _sent(found, request)

    async def _file(self, name: str) -> _File | None:
        """None where there is none."""
        path = self._folder / name
        parts = name.split("/")
        is_hidden = any(part.startswith(".") or not part for part in parts)
        if is_hidden or "\0" in name or path.suffix not in TYPES:
            return None
        try:
            seen = path.stat()
            stamp = (seen.st_size, seen.st_mtime_ns)
            kept = self._files.get(name)
            if kept is None or kept.stamp != stamp:
                kept = self._files[name] = await asyncio.to_thread(_read, path, stamp)
        except OSError:
            return None
        return kept


def _read(path: Path, stamp: tuple[int, int]) -> _File:
    """Raises OSError."""
    plain = path.read_bytes()
    squeezed = gzip.compress(plain, 9, mtime=0) if path.suffix in _SQUEEZED else None
    etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return _File(stamp, etag, TYPES[path.suffix], plain, squeezed)


def _sent(found: _File, request: Request) -> Response:
    headers = {"etag": found.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if found.squeezed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.squeezed, headers={**headers, "content-encoding": "gzip"}, media_type=found.media_type)
    return Response(found.plain, headers=headers, media_type=found.media_type)
