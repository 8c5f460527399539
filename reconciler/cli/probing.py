"""Asking a server itself how it is, now: what is remembered of it may be old."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11

from reconciler.cli.servers import is_taken_over
from reconciler.controller.http_get import Conversation, conversation
from reconciler.controller.progress import Serving
from reconciler.core.durations import describe_duration
from reconciler.core.model import Effective, HealthState
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.runtimes.host import choose_host
from reconciler.store.items import running_spec

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to find a server bound to all addresses


class Health(Enum):
    """How it is."""

    WELL = "well"
    LOADING = "loading"
    BUSY = "busy"
    """No answer, but it computes."""
    UNWELL = "unwell"
    UNKNOWN = "unknown"
    """No answer so far, but it was given less than its own time for one."""


@dataclass(frozen=True)
class Answer:
    """What it said, or that it did not."""

    health: Health
    why: str = ""
    effective: Effective = field(default_factory=Effective)
    """Its settings, as far as it tells them."""


@dataclass(frozen=True)
class Subject:
    """A process that is asked."""

    spec: ServerSpec
    """What it was started with."""
    pid: int
    port: int
    argv: Sequence[str] = ()
    """What it was started with, as far as that is known; paths in it are absolute."""
    taken_over: bool = False
    """Somebody else started it, in ways that its spec may not tell."""

    @property
    def url(self) -> str:
        """Where its paths begin, as a client on this machine writes it."""
        engine = engine_of(self.spec)
        host = WILDCARDS.get(self.spec.host, self.spec.host)
        # RFC 6874: the zone of an address stands escaped in a URL.
        name = f"[{host.replace('%', '%25')}]" if ":" in host else host
        return f"{engine.scheme(self.spec)}://{name}:{self.port}{engine.health_path(self.spec).removesuffix('/health')}"

    def argument(self, flag: str) -> str | None:
        """What stands behind a flag on its command line."""
        return next((value for name, value in zip(self.argv, self.argv[1:], strict=False) if name == flag), None)


def subject_of(item: Mapping[str, Any], launch: Mapping[str, Any] | None) -> Subject:
    """The process of a server of which one runs."""
    status = item["status"]
    spec = ServerSpec.model_validate(running_spec(item))
    pid, port = status["instance"]["pid"], status["instance"]["port"]
    return Subject(spec, pid, port, (launch or {}).get("argv", ()), is_taken_over(status))


def probe(subject: Subject, seconds: float) -> Answer:
    """Ask it, for at most so many seconds and its own time limit of liveness."""
    return asyncio.run(_probe(subject, min(seconds, subject.spec.probes.liveness.timeout)))


async def _probe(subject: Subject, seconds: float) -> Answer:
    host = choose_host(os.environ.get("RECONCILER_HOST", ""))
    loop, engine = asyncio.get_running_loop(), engine_of(subject.spec)
    serving, tls = Serving(partial(host.progress, subject.pid)), engine.scheme(subject.spec) == "https"
    serving.begin(loop.time())
    try:
        async with asyncio.timeout(seconds), conversation(subject.spec.host, subject.port, tls=tls) as talk:
            if host.listens(subject.pid, subject.spec.host, subject.port) is False:
                why = f"port {subject.port} is answered by another process than pid {subject.pid}"
                return Answer(Health.UNWELL, why)
            return await _ask(subject, talk)
    except TimeoutError:
        why = f"no answer within {describe_duration(seconds)}"
        is_patient = seconds >= subject.spec.probes.liveness.timeout
        silent = Health.UNWELL if is_patient else Health.UNKNOWN
        return Answer(Health.BUSY if serving.worked(loop.time()) else silent, why)
    except (OSError, ValueError, h11.RemoteProtocolError) as error:
        return Answer(Health.UNWELL, str(error) or type(error).__name__)


async def _ask(subject: Subject, talk: Conversation) -> Answer:
    engine, spec = engine_of(subject.spec), subject.spec
    said = await talk.get(engine.health_path(spec))
    if said.status == HTTPStatus.UNAUTHORIZED:
        # Only with `api-prefix`: llama-server exempts the path without it from the key.
        said = await talk.get(engine.health_path(spec), _key(subject))
    state, why = engine.read_health(said.status, said.headers, said.body)
    if state is not HealthState.OK:
        return Answer(Health.LOADING if state is HealthState.LOADING else Health.UNWELL, why)
    said = await talk.get(engine.props_path(spec), _key(subject))
    if said.status != HTTPStatus.OK:
        return Answer(Health.WELL, effective=Effective(unverified=f"{engine.props_path(spec)} answers {said.status}"))
    model = None if subject.taken_over else subject.argument("--model")
    effective, misfit = engine.read_props(said.body, model_path=model)
    return Answer(Health.UNWELL, misfit) if effective is None else Answer(Health.WELL, effective=effective)


def _key(subject: Subject) -> str | None:
    """The first key that it accepts."""
    lines: list[str] = []
    with suppress(OSError, UnicodeDecodeError):
        lines = Path(subject.argument("--api-key-file") or "/dev/null").read_text().splitlines()
    return next((line for line in lines if line), None)
