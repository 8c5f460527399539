"""Who may ask what on TCP: hosts, origins, tokens and limits, before any route is reached."""

import asyncio
import ipaddress
import shlex
from dataclasses import dataclass, field
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.api.asked import Asked, asked_in
from reconciler.api.headers import HEADERS
from reconciler.api.pages import OTHERS
from reconciler.api.problems import ProblemError, problem
from reconciler.api.tokens import Standing, Tokens

MOST_BODY = 1024 * 1024
"""Bytes."""
BODY_TIME = 30.0
"""Seconds for a body to come in."""
MOST_STREAMS = 256
JUDGED_AGAIN = 5.0
"""Seconds between two looks at whether a stream's token is still good."""
SESSION = "/api/v1/session"
NEEDS = "reconciler.needs"
"""Where a route finds in its scope what needs a token: `readsNeedToken` and `actsNeedToken`."""
_LOOKS = frozenset({"GET", "HEAD"})
_HEALTH = frozenset({"healthz", "readyz"})
_NOT_KEPT = (b"cache-control", b"no-store")
_OPEN_UI = "open the dashboard with: reconciler ui"


@dataclass(frozen=True)
class Access:
    """What the settings say of it."""

    tokens: Tokens = field(default_factory=Tokens)
    is_loopback: bool = True
    """Whether only this machine can reach the address."""
    hosts: frozenset[str] = frozenset()
    """Names by which it may be asked, besides this machine's own."""
    reads_need_token: bool = False
    """Also on loopback."""
    streams: int = MOST_STREAMS
    """At a time."""


class Guard:
    """Wraps the public application."""

    def __init__(self, app: ASGIApp, access: Access | None = None) -> None:
        self._app = app
        self._access = access or Access()
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed; answer the rest with a problem document."""
        if scope["type"] != "http":
            return
        asked = asked_in(scope)
        send = _with_headers(send)
        reads = self._reads_need_token(asked)
        try:
            _refuse_strangers(asked, self._access)
            self._refuse_without_token(asked, reads=reads)
            _refuse_large(asked)
        except ProblemError as error:
            challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            # What is still to come of its body is not waited for.
            await problem(error, {**challenge, "Connection": "close"} if asked.has_body else challenge)(
                scope, receive, send
            )
            return
        scope[NEEDS] = {"readsNeedToken": reads, "actsNeedToken": True}
        if asked.is_stream:
            await self._stream(scope, self._while_good(asked.token, receive) if reads else receive, send)
        else:
            await self._app(scope, _bounded(receive) if asked.has_body else receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams >= self._access.streams:
            happened = f"{self._streams} streams are open already, which is the most there may be"
            remedy = "close other dashboards, or raise `streams` under [http] in reconciler.toml"
            refusal = ProblemError(503, "TooManyStreams", happened, remedy)
            await problem(refusal, {"Retry-After": "5"})(scope, receive, send)
            return
        self._streams += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams -= 1

    def _while_good(self, token: str, receive: Receive) -> Receive:
        """As if the reader had gone, once its session has ended or the token was made anew."""

        async def receiving() -> Message:
            coming = asyncio.ensure_future(receive())
            try:
                while not coming.done():
                    await asyncio.wait({coming}, timeout=JUDGED_AGAIN)
                    if self._access.tokens.judge(token) is not Standing.GOOD:
                        return {"type": "http.disconnect"}
                return coming.result()
            finally:
                coming.cancel()

        return receiving

    def _reads_need_token(self, asked: Asked) -> bool:
        """Beyond this machine, however it comes from there."""
        access = self._access
        return access.reads_need_token or not access.is_loopback or asked.is_forwarded or not is_local(asked.name)

    def _refuse_without_token(self, asked: Asked, *, reads: bool) -> None:
        """Raises ProblemError."""
        acts = asked.method not in _LOOKS
        if asked.path == SESSION or asked.first in _HEALTH or (not acts and (not reads or asked.first not in OTHERS)):
            return
        standing = self._access.tokens.judge(asked.token) if asked.token else None
        if standing is Standing.GOOD:
            return
        what = "to act" if acts else "to read"
        if standing is Standing.EXPIRED:
            raise ProblemError(401, "TokenExpired", "this session has ended", reads=not acts, canDo=self._ways(asked))
        if standing is Standing.UNKNOWN:
            happened = f"this token is not, or no longer, one of this installation; {what} needs one"
        else:
            happened = f"{what} here needs a token"
        raise ProblemError(401, "TokenNeeded", happened, reads=not acts, canDo=self._ways(asked))

    def _ways(self, asked: Asked) -> list[str]:
        """How a token is had. Where the state folder lies is no business of who comes from beyond."""
        path = self._access.tokens.path
        is_told = path is not None and not self._reads_need_token(asked)
        file = shlex.quote(str(path)) if is_told else "state/token"
        return [_OPEN_UI, f'in a script: curl -H "Authorization: Bearer $(cat {file})" …']


@lru_cache(maxsize=256)
def is_local(name: str) -> bool:
    """Whether a host's name can mean this machine alone."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse_strangers(asked: Asked, access: Access) -> None:
    """Pages of other sites, and names that somebody has led here. Raises ProblemError."""
    if not asked.path.startswith("/"):
        raise ProblemError(400, "BadRequest", "the request names no path of this server")
    # Those who watch from beyond know a name of this machine, and health has nothing in it to be led to.
    asks_for_health = asked.path.strip("/") in _HEALTH and asked.method in _LOOKS
    if not asks_for_health and not _may_be_asked_as(asked.name, access):
        shown = asked.name[:100]
        happened = f"this controller does not answer as '{shown}'" if shown else "the request names no host"
        remedy = (
            f'open it as http://127.0.0.1, or allow the name: hosts = ["{shown}"] under [http] in reconciler.toml, '
            "or RECONCILER_HTTP_HOSTS"
        )
        raise ProblemError(403, "ForeignHost", happened, remedy)
    if asked.origin and asked.origin not in (f"http://{asked.authority}", f"https://{asked.authority}"):
        raise ProblemError(403, "ForeignOrigin", "the request comes from a page of another site", _OPEN_UI)
    is_link = asked.mode == "navigate" and asked.method == "GET" and asked.first not in OTHERS
    if asked.site in ("cross-site", "same-site") and not is_link:
        raise ProblemError(403, "ForeignOrigin", "the request comes from a page of another site", _OPEN_UI)


def _may_be_asked_as(name: str, access: Access) -> bool:
    """Whoever leads a name of theirs to our address (DNS rebinding) makes browsers ask as that name."""
    if is_local(name) or name in access.hosts:
        return True
    return not access.is_loopback and _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refuse_large(asked: Asked) -> None:
    if asked.length > MOST_BODY:
        raise _too_large()


def _too_large() -> ProblemError:
    return ProblemError(413, "BodyTooLarge", f"the body has more than {MOST_BODY} bytes", "send less at a time")


def _bounded(receive: Receive) -> Receive:
    """A body that ends, in size and in time."""
    taken, until = 0, asyncio.get_running_loop().time() + BODY_TIME
    is_whole = False

    async def bounded() -> Message:
        nonlocal taken, is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            happened = f"the body has not come in within {BODY_TIME:g} s"
            raise ProblemError(408, "BodyTooSlow", happened, "send it again") from None
        taken += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if taken > MOST_BODY:
            raise _too_large()
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", [])
            names = {name.lower() for name, _ in given}
            kept = [] if names & {b"cache-control", b"etag"} else [_NOT_KEPT]
            message = {**message, "headers": [*given, *HEADERS, *kept]}
        await send(message)

    return sending
