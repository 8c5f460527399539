"""The controller as a service of systemd: it tells when it is up, looks anew or ends, and that its passes go on."""

import asyncio
from collections import Counter

from reconciler.controller.loop import Loop
from reconciler.controller.sd_notify import Systemd

GLANCE = 5.0
"""Seconds between two words to systemd, where it does not ask for them sooner."""
LONGER = 30.0
"""Seconds by which a start or an end that takes its time is prolonged, again and again."""


class Service:
    """What systemd is told of one controller. Where nobody listens, none of it does anything."""

    def __init__(self, systemd: Systemd, loop: Loop) -> None:
        self._systemd = systemd
        self._loop = loop
        self._period = min(GLANCE, systemd.watchdog / 3) if systemd.watchdog else GLANCE
        self._seen = -1
        self._told = ""
        self._is_ending = False
        self._tasks: list[asyncio.Task[None]] = []

    def up(self) -> None:
        """The first pass is over, and commands are answered."""
        if self._systemd.listens:
            self._told = self.status()
            self._systemd.tell("READY=1", f"STATUS={self._told}")
            self._tasks.append(asyncio.create_task(self._attend()))

    def reload(self) -> None:
        """A new look was asked for."""
        self._loop.poke()
        if self._tasks and not self._is_ending:
            self._systemd.reloading("looking at everything again")
            self._tasks.append(asyncio.create_task(self._reloaded(self._loop.passes)))

    async def _reloaded(self, before: int) -> None:
        while self._loop.passes == before:  # noqa: ASYNC110 - a pass tells nobody
            await asyncio.sleep(0.01)
        self._systemd.tell("READY=1", f"STATUS={self.status()}")

    def end(self) -> None:
        """It was told to end."""
        self._is_ending = True
        self._systemd.tell("STOPPING=1", "STATUS=ending")

    def close(self) -> None:
        """Nothing more is told."""
        for task in self._tasks:
            task.cancel()

    async def _attend(self) -> None:
        """A controller whose passes do not go on is silent: systemd then starts it anew, and the servers run on."""
        while True:
            if self._is_ending:
                self._systemd.extend(LONGER, f"ending: {self.status()}")
            elif self._loop.passes != self._seen:
                self._seen = self._loop.passes
                self._tell_status()
            if self._systemd.watchdog:
                self._loop.poke()
            await asyncio.sleep(self._period)

    def _tell_status(self) -> None:
        status = self.status()
        changed = (f"STATUS={status}",) if status != self._told else ()
        self._told = status
        if lines := (*(("WATCHDOG=1",) if self._systemd.watchdog else ()), *changed):
            self._systemd.tell(*lines)

    def status(self) -> str:
        """How the servers are, on one line."""
        store = self._loop.store
        if store.trouble is not None:
            return str(store.trouble)
        phases = Counter(str(one.status.phase) for one in store.history().servers.values() if one.status)
        told = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
        return f"{(count := phases.total())} server{'s' if count != 1 else ''}: {told}" if told else "no servers"
