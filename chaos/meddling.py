"""Somebody who gives a controller no rest: edits, requests, kills, completions, all by chance."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from benchmarks.fleet import kill, open_pids
from tests.e2e.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = tuple(f"worker-{number}" for number in range(6))
LOOPS = ("loop-0", "loop-1")
"""Their model is broken: they crash as long as they are there."""
GUESTS = ("guest-0", "guest-1")
"""They come and go."""
TALKER = "talker"
"""It says much in its log."""
SERVERS = (*WORKERS, *LOOPS, *GUESTS, TALKER)
PROMPT: dict[str, Any] = {
    "restart": {"initialBackoff": "200ms", "maxBackoff": "2s", "maxRestarts": 1_000_000},
    "probes": {"liveness": {"period": "500ms", "timeout": "1s", "failureThreshold": 2}},
}
TALKATIVE = {"warmup": False, "verbose": True}
PAUSE = 0.3
"""Mean seconds between two acts."""


class Meddler:
    """Somebody who edits, restarts, talks and kills, all the time."""

    def __init__(self, made: Installation, chance: random.Random) -> None:
        self.made = made
        self.done: Counter[str] = Counter()
        self._chance = chance
        self._acts: list[tuple[Callable[[], None], int]] = [
            (self.crash, 6),
            (self.edit, 2),
            (self.label, 2),
            (self.ask, 1),
            (self.come_or_go, 1),
            (self.slip, 1),
            (self.stun, 1),
            (self.talk, 3),
            (self.read, 1),
        ]

    def act(self) -> None:
        """One act of all, by chance. A server that is not there at the moment is no matter."""
        chosen = self._chance.choices([act for act, _ in self._acts], [weight for _, weight in self._acts])[0]
        with suppress(ProcessLookupError, psutil.Error, httpx.HTTPError, KeyError):
            chosen()
            self.done[chosen.__name__] += 1

    def pause(self) -> None:
        """A while until the next act."""
        time.sleep(self._chance.expovariate(1 / PAUSE))

    def declare(self, name: str) -> None:
        """A manifest as it is without edits."""
        model = "broken.gguf" if name in LOOPS else "tiny.gguf"
        more: dict[str, Any] = {"flags": TALKATIVE} if name == TALKER else {}
        self.made.declare(name, model=model, **PROMPT, **more)

    def crash(self) -> None:
        """SIGKILL to a server."""
        name = self._chance.choice(WORKERS)
        kill(self.made, name, open_pids(self.made)[name])

    def stun(self) -> None:
        """A server that accepts and does not answer any more."""
        os.kill(open_pids(self.made)[self._chance.choice(WORKERS)], signal.SIGSTOP)

    def edit(self) -> None:
        """A change that restarts a server."""
        ctx = self._chance.choice((128, 256, 384, 512))
        self.made.declare(self._chance.choice(WORKERS), ctx=ctx, **PROMPT)

    def label(self) -> None:
        """A change that restarts nothing."""
        labels = {"round": str(self.done["label"])}
        self.made.declare(TALKER, labels=labels, flags=TALKATIVE, **PROMPT)

    def ask(self) -> None:
        """A request: restart, or stop and start again."""
        name = self._chance.choice(WORKERS)
        for verb in self._chance.choice((("restart",), ("stop", "start"))):
            self.made.cli(verb, name, "--no-wait", code=None)

    def come_or_go(self) -> None:
        """A manifest appears, or is removed."""
        name = self._chance.choice(GUESTS)
        path = self.made.manifests / f"{name}.yaml"
        if path.exists():
            path.unlink()
        else:
            self.declare(name)

    def slip(self) -> None:
        """A mistake in a manifest that was well, mended by the next edit of it."""
        path = self.made.manifests / f"{self._chance.choice(WORKERS)}.yaml"
        self.made.write(path, path.read_text().replace('"ctx"', '"cxt"'))

    def talk(self) -> None:
        """A completion, which fills the talker's log."""
        ((port,),) = self.made.query("select port from ports where server = ?", TALKER) or [(None,)]
        asked = {"prompt": "tell me " * 20, "n_predict": 32}
        httpx.post(f"http://127.0.0.1:{port}/completion", json=asked, timeout=5)

    def read(self) -> None:
        """Commands that read while it writes."""
        words = (("get", "servers"), ("get", "events"), ("describe", "server", TALKER), ("logs", TALKER, "--tail", "5"))
        self.made.cli(*self._chance.choice(words), code=None)

    def mend(self) -> None:
        """Everything as at the beginning."""
        for name in (*WORKERS, TALKER):
            self.declare(name)
        for name in (*LOOPS, *GUESTS):
            (self.made.manifests / f"{name}.yaml").unlink(missing_ok=True)
        self.made.cli("start", "--all", "--no-wait", code=None)
