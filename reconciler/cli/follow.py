"""Following servers until they are as wanted, and telling how far they are."""

import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from reconciler.cli import loading
from reconciler.cli.explanations import tell_troubles
from reconciler.cli.failure import FAILED, ControllerEndedError, Failure, database_trouble
from reconciler.cli.judging import Item, Judge, Judgement, Verdict, name_of, uid_of
from reconciler.cli.output import is_quiet, say
from reconciler.cli.standing import opened, state_trouble
from reconciler.cli.terminal import clean, cut, is_terminal, paint, width
from reconciler.core.durations import describe_duration
from reconciler.installation import holds_one, is_controller_running
from reconciler.store import read

LOOK = 0.02
"""Seconds between looks for commits."""
REFRESH = 0.5
"""Seconds after which all is looked at again without a commit."""
PATIENCE = 2.0
"""Seconds for which a server may be stuck before it counts as failed: what it waits for may just be ending."""
UNWRITABLE = "what is asked for is done once that is mended; see how it goes with: reconciler get servers"
OUTCOMES = ("started", "changed", "unchanged", "stopped", "failed")
MOST_LIVE = 12
"""Servers listed one by one while they are on their way."""


@dataclass
class Followed:
    """What became of the servers that were followed."""

    state: Path
    seconds: float = 0.0
    judgements: dict[str, Judgement] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    """Those that still exist."""

    @property
    def failed(self) -> list[str]:
        """Names of those that are not as wanted."""
        return [name for name, found in self.judgements.items() if found.verdict is not Verdict.DONE]


def follow(
    state: Path,
    names: Sequence[str],
    judge: Judge,
    *,
    timeout: float,
    known: Mapping[str, Item] = MappingProxyType({}),
    began: float | None = None,
) -> Followed:
    """Wait until every server is done or has failed, or the time (in seconds, from `began` on) is over.

    Those that are done at once, and as they were `known`, are passed over in silence. Raises ControllerEndedError.
    """
    follower = _Follower(state, judge, time.monotonic() if began is None else began)
    with database_trouble(state), opened(state) as db, Progress(max(map(len, names), default=0)) as progress:
        return follower.run(db, list(names), timeout, progress, known)


@dataclass
class _Follower:
    state: Path
    judge: Judge
    began: float
    stuck_since: dict[str, float] = field(default_factory=dict)
    trouble_since: float | None = None

    def run(
        self, db: sqlite3.Connection, names: list[str], timeout: float, progress: "Progress", known: Mapping[str, Item]
    ) -> Followed:
        followed, waiting, first = Followed(self.state), names, True
        while waiting:
            at = time.monotonic()
            followed.items = {name_of(item): item for item in self._read(db, names)}
            for name in waiting:
                found = followed.judgements[name] = self._judge(name, followed.items.get(name), at)
                as_it_was = _is_same(known.get(name), followed.items.get(name))
                if not (first and as_it_was and found.verdict is Verdict.DONE):
                    progress.tell(name, found, at - self.began)
            waiting = [
                name for name in waiting if followed.judgements[name].verdict in (Verdict.WAITING, Verdict.STUCK)
            ]
            progress.show([(name, followed.judgements[name]) for name in waiting], at - self.began)
            first = False
            if waiting and at - self.began >= timeout:
                for name in waiting:
                    progress.give_up(name, followed.judgements[name], timeout)
                break
            if waiting:
                self._wait(db)
        followed.seconds = time.monotonic() - self.began
        return followed

    def _read(self, db: sqlite3.Connection, names: Sequence[str]) -> list[dict[str, Any]]:
        return loading.servers(db, names, now=time.time(), controller=True)

    def _judge(self, name: str, item: Item | None, now: float) -> Judgement:
        found = self.judge(name, item)
        if found.verdict is not Verdict.STUCK:
            self.stuck_since.pop(name, None)
            return found
        if now - self.stuck_since.setdefault(name, now) >= PATIENCE:
            return Judgement(Verdict.FAILED, found.text)
        return found

    def _wait(self, db: sqlite3.Connection) -> None:
        """Until the next commit, or a moment."""
        seen, until = read.version_of(db), time.monotonic() + REFRESH
        while time.monotonic() < until:
            time.sleep(LOOK)
            if read.version_of(db) != seen:
                return
        if not is_controller_running(self.state):
            message = "the controller ended meanwhile; what was asked for is kept"
            raise ControllerEndedError(message, "go on with: reconciler apply, or reconciler run")
        self._refuse_trouble()

    def _refuse_trouble(self) -> None:
        """Nothing is started or stopped, nor seen here, while the state cannot be written."""
        trouble, now = state_trouble(self.state), time.monotonic()
        self.trouble_since = (self.trouble_since or now) if trouble else None
        if self.trouble_since is not None and now - self.trouble_since >= PATIENCE:
            raise Failure(trouble, UNWRITABLE)


class Progress:
    """One line for each step of a server; on a terminal, those on their way below."""

    def __init__(self, indent: int) -> None:
        self._indent = indent
        self._told: dict[str, str] = {}
        self._live: Any = None

    def __enter__(self) -> Self:
        if is_terminal() and not is_quiet():
            from rich.console import Console  # noqa: PLC0415 - slow to import, and of use on terminals only
            from rich.live import Live  # noqa: PLC0415

            self._live = Live(console=Console(), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, name: str, found: Judgement, seconds: float) -> None:
        """Print what is new about a server."""
        if found.verdict is Verdict.FAILED:
            self._print(name, found.text)
        elif is_quiet():
            return
        elif found.verdict is Verdict.DONE:
            self._print(name, f"{found.text} in {describe_duration(seconds)}")
        elif found.verdict is Verdict.WAITING and self._live is None and self._told.get(name) != _step(found):
            # What is stuck passes, or is told once it has failed.
            self._told[name] = _step(found)
            self._print(name, found.text)

    def give_up(self, name: str, found: Judgement, timeout: float) -> None:
        """Print that the time was too short."""
        self._print(name, f"not done within {describe_duration(timeout)}: {found.text}")

    def show(self, waiting: Sequence[tuple[str, Judgement]], seconds: float) -> None:
        """Redraw the servers that are on their way."""
        if self._live is None:
            return
        from rich.text import Text  # noqa: PLC0415 - as above

        columns = width() or 80
        lines = [self._line(name, cut(found.text, columns - self._indent - 2)) for name, found in waiting[:MOST_LIVE]]
        if waiting:
            lines.append(f"{len(waiting)} on their way, {describe_duration(seconds)}")
        self._live.update(Text.from_ansi("\n".join(lines), no_wrap=True), refresh=True)

    def _print(self, name: str, text: str) -> None:
        line = self._line(name, text)
        if self._live is None:
            print(line, flush=True)
            return
        from rich.text import Text  # noqa: PLC0415 - as above

        self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def _line(self, name: str, text: str) -> str:
        shown = clean(text)
        phase = shown.replace(":", " ").replace(",", " ").partition(" ")[0]
        return f"{name:<{self._indent}}  {paint(phase, phase)}{shown[len(phase) :]}"


def _step(found: Judgement) -> str:
    """What is new when it differs: the words before the details."""
    return found.text.partition(":")[0]


def snapshot(state: Path, names: Sequence[str] | None, *, controller: bool) -> dict[str, Item]:
    """The servers as they are now, by name; none where there is no database yet."""
    if not holds_one(state):
        return {}
    with database_trouble(state), opened(state) as db:
        return {name_of(item): item for item in read.servers(db, names, now=time.time(), controller=controller)}


def conclude(names: Sequence[str], before: Mapping[str, Item], followed: Followed) -> int:
    """The last line: how many came to what, compared with how they were `before`. Returns the exit code."""
    counts = Counter(_outcome(name, before.get(name), followed) for name in names)
    say(", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES))
    tell_troubles(followed)
    worst = next((name for name in followed.failed if name in followed.items), None)
    if worst:
        say(f"hint: reconciler describe server {worst}", err=True)
    return FAILED if followed.failed else 0


def _outcome(name: str, before: Item | None, followed: Followed) -> str:
    """What became of a server, compared with how it was."""
    after = followed.items.get(name)
    if followed.judgements[name].verdict is not Verdict.DONE:
        return "failed"
    if _is_same(before, after):
        return "unchanged"
    ran, runs = (uid_of(item) if item else None for item in (before, after))
    if runs is None:
        return "stopped" if ran or (before and not after) else "unchanged"
    if ran is None:
        return "started"
    return "changed"


def _is_same(before: Item | None, after: Item | None) -> bool:
    """Whether it is what it was: the same process, of the same generation."""
    if before is None or after is None:
        return False
    generations = (item["status"]["generation"] for item in (before, after))
    return uid_of(before) == uid_of(after) and len(set(generations)) == 1
