"""What `doctor` looks at, as a list of findings: each check by itself, all at once, none of them for long."""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from reconciler.core.clean import clean, clean_lines

if TYPE_CHECKING:
    from reconciler.cli.doctoring_scene import Scene

PATIENCE = 3.0
"""Seconds that a check may take."""
NETWORK_PATIENCE = 15.0
"""The same for one that asks a remote."""
Status = Literal["ok", "warn", "fail"]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    status: Status
    message: str
    remedy: str = ""
    """What to do, with a command that works pasted; only what is ok has none."""
    of_all: bool = False
    """It sums a check up, and is left out where that has found something else."""


@dataclass(frozen=True, slots=True)
class Check:
    """A finding, and the check that it is of."""

    name: str
    status: Status
    message: str
    remedy: str = ""

    @property
    def data(self) -> dict[str, str]:
        """As `-o json` has it."""
        return asdict(self)


Findings = Iterator[Finding]
Examine = Callable[["Scene"], Findings]


def ok(message: str, *, of_all: bool = True) -> Finding:
    """Nothing is wrong."""
    return Finding("ok", message, of_all=of_all)


def warn(message: str, remedy: str) -> Finding:
    """Something may go wrong, or does already for few."""
    return Finding("warn", message, remedy)


def fail(message: str, remedy: str) -> Finding:
    """Something cannot work."""
    return Finding("fail", message, remedy)


def advised(status: Status, text: str, otherwise: str) -> Finding:
    """A finding whose text has its remedy behind a semicolon; `otherwise` where it has none."""
    message, _, remedy = text.partition("; ")
    return Finding(status, message, remedy or otherwise)


class OverdueError(Exception):
    """It took longer than it may."""


def bounded(ask: Callable[[], Answer], seconds: float) -> Callable[[], Answer]:
    """Begin to ask; what is returned waits for the answer. That raises OverdueError, and what was raised by `ask`.

    Whoever hangs, as a file on a dead server's disk has us do, is left behind: nobody waits for it at the end either.
    """
    told: list[Answer] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            told.append(ask())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            raised.append(error)

    thread, until = threading.Thread(target=run, daemon=True), time.monotonic() + seconds
    thread.start()

    def answer() -> Answer:
        thread.join(max(0.0, until - time.monotonic()))
        if raised:
            raise raised[0]
        if not told:
            raise OverdueError
        return told[0]

    return answer


def examined(checks: Mapping[str, Examine], scene: "Scene") -> list[Check]:
    """All findings, in the order of the checks, which look at the same time."""
    seconds = NETWORK_PATIENCE if scene.network else PATIENCE
    begun = {name: _begun(look, scene, seconds) for name, look in checks.items()}
    return [Check(name, *_cleaned(one)) for name, looked in begun.items() for one in _found(*looked, scene, seconds)]


def _begun(look: Examine, scene: "Scene", seconds: float) -> tuple[list[Finding], Callable[[], None]]:
    """Begin a check: its findings so far, and what waits for its end."""
    found: list[Finding] = []

    def run() -> None:
        for one in look(scene):
            found.append(one)  # noqa: PERF402 - one by one: what was found before it hung is told

    return found, bounded(run, seconds)


def _found(so_far: list[Finding], wait: Callable[[], None], scene: "Scene", seconds: float) -> Iterable[Finding]:
    """What a check found, also where it did not come to its end."""
    trouble = []
    try:
        wait()
    except OverdueError:
        what = "it has not come to its end" if so_far else "nothing was found"
        message = f"{what} within {seconds:g} s: a disk or a program does not answer, or all is busy"
        trouble.append(
            warn(message, f"see what the processes wait for: ps -eo pid,stat,wchan,args; then again: {scene.again}")
        )
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others
        if scene.invocation.debug:
            click.echo(clean_lines("".join(traceback.format_exception(error))), err=True, nl=False)
        what = f"{type(error).__name__}: {error}"
        trouble.append(
            warn(f"it could not be looked at: {what}", f"this is a fault of reconciler; tell it with: {scene.again}")
        )
    found = [*so_far, *trouble]
    in_trouble = any(one.status != "ok" for one in found)
    return [one for one in found if not (in_trouble and one.of_all)]


def _cleaned(finding: Finding) -> tuple[Status, str, str]:
    return finding.status, clean(finding.message), clean(finding.remedy)
