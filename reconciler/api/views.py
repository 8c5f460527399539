"""What the interface shows: the store's rows in the shapes of `-o json`, made anew where they have changed."""

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from reconciler.api.controller import Controller
from reconciler.api.feed import Feed
from reconciler.api.happened import Happened
from reconciler.api.problems import ProblemError
from reconciler.api.shown import Shown, list_json, show
from reconciler.api.standing import Standing, summary_of
from reconciler.api.tables import Raw, Tables
from reconciler.store.items import Item
from reconciler.store.read import ReadError, explain

log = logging.getLogger("reconciler")

DELAY = 0.02
"""Seconds for which a commit is left alone: whoever is restarted comes first."""
PAUSE = 0.05
"""Least seconds between two looks."""
PAUSE_IN_TROUBLE = 1.0
"""The same while all that is known is copied for a look."""
SLICE = 0.002
"""Seconds for which the controller's loop is held at most."""
FRESH = 0.25
"""Seconds for which an answer's uptimes are good."""


class Views:
    """One for all who read."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.tables = Tables(controller)
        self.feed = Feed(secrets.token_hex(4))
        self.happened = Happened()
        self.standing = Standing()
        self._servers: dict[str, Shown] = {}
        self._answers: dict[str, tuple[int, float, bytes]] = {}
        """By name: version, time and bytes."""
        self._looks = 0
        self._looked = 0.0
        """Monotonic time of the last look."""
        self._is_behind = True
        self._is_heard = False
        self._are_loading = False
        self._is_reading = False
        self._failure = ""
        """Why the last look failed; empty where it did not."""
        self._was_writable = True
        self._told: Mapping[str, Any] = {}
        self._looking: asyncio.Task[None] | None = None
        self.readers = 0
        """Those who are told of each change."""

    # -- what there is

    def servers(self) -> list[Item]:
        """As `get servers -o json`, explanations among them. Shared by all: never change them."""
        if not self._looks:
            self._hear()
            for _ in self._look():
                pass
        elif self.is_behind():
            self._begin()
        now = time.time()
        for one in self._servers.values():
            one.item["status"]["uptimeSeconds"] = None if one.began is None else round(max(0.0, now - one.began), 3)
        return [one.item for one in self._servers.values()]

    def server(self, name: str) -> Shown | None:
        """One of them, as of the last look."""
        return self._servers.get(name)

    def encoded(self, fits: Callable[[Mapping[str, str]], bool] | None = None) -> list[bytes]:
        """The servers as JSON; all, or those whose labels fit."""
        now, all_of_them = time.time(), self._servers.values()
        return [one.encoded(now) for one in all_of_them if fits is None or fits(one.item["metadata"]["labels"])]

    def servers_json(self) -> bytes:
        """Their list as JSON."""
        return self.answer("servers", lambda: list_json("LlamaServerList", self.encoded()))

    def server_json(self, name: str) -> bytes:
        """One of them as JSON."""
        return b'{"apiVersion":"llama.reconciler/v1alpha1","kind":"LlamaServer",' + self._servers[name].encoded(
            time.time()
        ).removeprefix(b"{")

    def snapshot_message(self) -> bytes:
        """All there is, as the first message of a stream."""
        return self.answer("snapshot", self._snapshot)

    def _snapshot(self) -> bytes:
        name = self.feed.id(self.feed.version)
        parts = {
            b"summary": self.summary_json(),
            b"servers": b"[%s]" % b",".join(self.encoded()),
            b"profiles": to_json(self.standing.profiles),
            b"defaults": to_json(self.standing.defaults),
            b"sources": to_json(self.standing.sources),
            b"events": b"[%s]" % b",".join(self.happened.events),
            b"restarts": b"[%s]" % b",".join(self.happened.brief_restarts),
        }
        data = b",".join(b'"%s":%s' % part for part in parts.items())
        return b'id: %s\nevent: snapshot\ndata: {"version":"%s",%s}\n\n' % (name, name, data)

    @property
    def version(self) -> str:
        """Another one after each change."""
        return self.feed.id(self.feed.version).decode()

    def summary(self) -> dict[str, Any]:
        """How all of it is."""
        return summary_of(self._controller.describe(), self.standing, [one.item for one in self._servers.values()])

    def summary_json(self) -> bytes:
        """The same as JSON."""
        return self.answer("summary", lambda: to_json(self.summary()))

    def answer(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What `make` gives; the same as before for a moment, unless something has changed."""
        version, at, content = self._answers.get(name, (-1, 0.0, b""))
        if version != self.feed.version or time.monotonic() - at > FRESH:
            content = make()
            self._answers[name] = self.feed.version, time.monotonic(), content
        return content

    # -- keeping up

    def is_behind(self) -> bool:
        """Whether something was committed since the last look began."""
        return self._is_behind or self._controller.is_writable() != self._was_writable

    async def fresh(self) -> None:
        """Until all that was committed before is shown. Raises ProblemError where nothing can be."""
        self._hear()
        for _ in range(2 if self._is_reading else 1):  # one that reads already may have begun before the commit
            if self.is_behind() or self._is_stale() or not self._looks:
                self._begin()
            if self._looking is not None:
                await asyncio.wait([self._looking])
            if self._failure:
                break
        if not self._looks:
            raise ProblemError(503, "StateUnreadable", "the state cannot be read yet", "reconciler doctor")

    def _hear(self) -> None:
        if self._is_heard:
            return
        self._is_heard = True
        self._controller.on_commit(self._committed)

    def _committed(self) -> None:
        self._is_behind = True
        if self.readers:
            self._begin()

    def refresh(self) -> None:
        """Look again soon: at what nobody commits, such as how far servers have loaded."""
        if self.is_behind() or self._is_stale():
            self._begin()

    def _is_stale(self) -> bool:
        """Whether something is shown that moves by itself, and was looked at a while ago."""
        return self._are_loading and time.monotonic() - self._looked > FRESH

    def _begin(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_soon())

    async def _look_soon(self) -> None:
        pause = PAUSE if self._controller.is_writable() and not self._failure else PAUSE_IN_TROUBLE
        await asyncio.sleep(max(DELAY, self._looked + pause - time.monotonic()))
        self._is_reading = True
        try:
            for _ in self._look():
                await asyncio.sleep(0)
            self._failure = ""
        except (ReadError, sqlite3.Error) as error:
            self._fail(str(error) if isinstance(error, ReadError) else explain(error, self._controller.folder))
        except Exception as error:  # noqa: BLE001 - nobody waits for its result, and whoever asks next looks again
            self._fail(f"{type(error).__name__}: {error}", error)
        finally:
            self._looked, self._is_reading = time.monotonic(), False
        if self.readers and self._is_behind and not self.feed.is_closed:
            asyncio.get_running_loop().call_soon(self._begin)

    def _fail(self, told: str, error: Exception | None = None) -> None:
        """Try again later, and say it once."""
        self._is_behind = True
        if told != self._failure:
            self._failure = told
            log.warning("the interface shows what was before: %s", told, exc_info=error)

    def _look(self) -> Iterator[None]:
        """Bring all of it up to date; between two parts the loop may do something else."""
        self._is_behind, self._was_writable = False, self._controller.is_writable()
        self.feed.is_silent = not self._looks
        began = time.monotonic()
        for _ in self._take(self.tables.look()):
            if time.monotonic() - began > SLICE:
                yield
                began = time.monotonic()
        self._are_loading = any(one.is_loading for one in self._servers.values())
        self._looks += 1
        self._tell_summary()
        self.feed.wake()

    def _take(self, raw: Raw) -> Iterator[None]:
        """Tell of what has changed, one after the other."""
        if not raw.is_whole:
            self.feed.forget()
        touched = yield from self.happened.take(raw, self.feed)
        for name, of in raw.servers.items():
            before = self._servers.get(name)
            if before is None or before.of != of or name in touched or before.is_loading:
                found = show(self.tables.db, name, of)
                self._servers[name] = found
                if not found.says_the_same(before):
                    self.feed.add("server", found.encoded(time.time()))
            yield
        for name in self._servers.keys() - raw.servers.keys():
            del self._servers[name]
            self.feed.add("serverGone", to_json({"name": name}))
        self._servers = {name: self._servers[name] for name in raw.servers}
        self.standing.take(raw, self.tables.db, self.feed)

    def _tell_summary(self) -> None:
        """Where more than the number of passes has changed."""
        found = self.summary()
        told = {**found, "controller": {**found["controller"], "passes": 0}}
        if told != self._told:
            self._told = told
            self.feed.add("summary", to_json(found))

    def close(self) -> None:
        """Show nothing more."""
        if self._looking is not None:
            self._looking.cancel()
        self.feed.close()
        with suppress(sqlite3.Error):
            self.tables.close()
