"""Each failure of a fixed list, provoked once: is its cause named, and is the server back where something can help?"""

import json
import shutil
import sqlite3
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos.arrangements import ARRANGEMENTS
from chaos.failures import FAILURES, Failure
from chaos.scenario import Options, Outcome
from chaos.stage import NAME, NOBODY, Stage, staged, write_models

AT_ONCE = 2
"""Stages played beside one another: each mostly waits."""
PORTS = 12
"""For each stage."""
PATIENCE = 60.0
"""Seconds for an outcome."""
SETTLED = 1.5
"""Seconds after which one that is down is taken to stay so."""
DOWN = frozenset({"Blocked", "Failed", "Stopped", "Invalid"})
WANTED_BACK, WANTED_NAMED = 0.90, 0.95


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one failure."""

    failure: Failure
    said: str
    """What it was called; empty where nothing was said."""
    phase: str
    """In the end."""
    ends: tuple[str, ...] = ()
    """The diagnoses of all its ends, oldest first."""
    step: str = ""
    """The safer setting that runs."""
    seconds: float = 0.0
    """From the deed to the outcome."""
    skipped: str = ""
    """Why it could not be provoked here."""

    @property
    def named(self) -> bool:
        """Whether the true cause was named."""
        return self.said == self.failure.cause

    @property
    def back(self) -> bool:
        """Whether it is Ready, with nothing typed."""
        return self.phase == "Ready"


def play(options: Options) -> Outcome:
    """All of them."""
    results = provoke_all(FAILURES, options)
    (options.scratch.parent.parent / "provoked.json").write_text(to_json(results))
    return judged(results)


def provoke_all(failures: Sequence[Failure], options: Options) -> list[Result]:
    """Provoke these, and wait for what becomes of them."""
    # A server that is not root has to reach its files.
    options.scratch.parent.chmod(0o711)
    models = options.scratch / "models"
    models.mkdir()
    write_models(models)

    def one(number: int) -> Result:
        first = options.ports.start + number * PORTS
        try:
            result = _provoke(failures[number], options, models, range(first, first + PORTS - 2))
        except Exception:  # noqa: BLE001 - the others are provoked all the same
            options.tell(traceback.format_exc())
            result = Result(failures[number], "", "broke off")
        said = result.skipped or f"{result.said or 'nothing said'}, {result.phase} in {result.seconds:.1f} s"
        options.tell(f"{failures[number].name}: {said}")
        return result

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(len(failures))))


def _provoke(failure: Failure, options: Options, models: Path, ports: range) -> Result:
    arranged = ARRANGEMENTS[failure.name]
    if needs := _missing(failure):
        return Result(failure, "", "", skipped=needs)
    root = options.scratch / failure.name.replace(" ", "-").replace("#!", "interpreter")
    with staged(root, options.llama_server, models, ports) as stage:
        try:
            spec = arranged.before(stage)
        except OSError as error:
            return Result(failure, "", "", skipped=f"cannot be provoked here: {error}")
        house = stage.house
        house.declare(NAME, **spec)
        house.start()
        if arranged.after is not None:
            house.wait_for("it to run", lambda: house.phases().get(NAME) == arranged.phase and house.pids())
        began = time.monotonic()
        if arranged.after is not None:
            arranged.after(stage)
        phase = _outcome(stage, failure, began + PATIENCE)
        return _seen(stage, failure, phase, time.monotonic() - began)


def _missing(failure: Failure) -> str:
    user = ("setpriv",) if NOBODY else ()
    programs = {"model not readable": user, "no more threads for a moment": (*user, "prlimit")}
    missing = [program for program in programs.get(failure.name, ()) if not shutil.which(program)]
    return f"needs {', '.join(missing)}" if missing else ""


def _outcome(stage: Stage, failure: Failure, deadline: float) -> str:
    """The phase once it is back, or stays down, or patience is at an end."""
    down_since = None
    while (now := time.monotonic()) < deadline:
        phase = _phase(stage)
        if phase == "Ready" and _is_over(stage, failure):
            return phase
        down_since = (down_since or now) if phase in DOWN else None
        # Where another try can help, only Failed says that none comes soon.
        hopeless = not failure.helps or phase == "Failed"
        if down_since is not None and hopeless and now > down_since + SETTLED:
            return phase
        time.sleep(0.05)
    return _phase(stage)


def _phase(stage: Stage) -> str:
    """As recorded; empty until the controller has begun."""
    with suppress(sqlite3.OperationalError):
        return stage.house.phases().get(NAME, "")
    return ""


def _is_over(stage: Stage, failure: Failure) -> bool:
    """Whether it is back; or, for what is no end, whether it was told."""
    if not failure.helps and failure.cause in {reason for reason, _ in stage.house.events(NAME)}:
        return True
    ended = any(row["ended"] for row in stage.house.instances(NAME))
    return ended and bool(stage.house.conditions(NAME)["Ready"]["status"])


def _seen(stage: Stage, failure: Failure, phase: str, seconds: float) -> Result:
    """What people read of it, by the command line."""
    restarts = json.loads(stage.house.cli("get", "restarts", NAME, "-o", "json"))["items"]
    ends = tuple(row["diagnosis"] for row in sorted(restarts, key=lambda row: str(row["startedAt"])) if row["endedAt"])
    status = json.loads(stage.house.cli("get", "servers", NAME, "-o", "json"))["items"][0]["status"]
    fallback = status.get("fallback") or {"step": 0}
    step = fallback["told"] if fallback["step"] else ""
    return Result(failure, _said(stage, failure, phase, ends, status), phase, ends, step, seconds)


def _said(stage: Stage, failure: Failure, phase: str, ends: tuple[str, ...], status: dict[str, Any]) -> str:
    """Where it is back, the diagnosis of the first end; where it is down, what its status says, or an event."""
    if phase == "Ready":
        events = [reason for reason, _ in stage.house.events(NAME)]
        return ends[0] if ends else failure.cause if failure.cause in events else ""
    ready = next(one["reason"] for one in status["conditions"] if one["type"] == "Ready")
    said = ends[-1] if phase == "Failed" and ends else str(ready)
    told = stage.house.cli("describe", "server", NAME)
    return said if said in told else f"{said}, which `describe` does not show"


# ---------------------------------------------------------------- what was seen


def share(results: Sequence[Result], back: bool) -> tuple[int, int]:
    """How many were brought back of those where something can help, or named of all; and of how many."""
    played = [one for one in results if not one.skipped and (one.failure.helps or not back)]
    return sum(one.back if back else one.named for one in played), len(played)


def judged(results: Sequence[Result]) -> Outcome:
    """The two shares, and each miss."""
    back, hoped = share(results, back=True)
    named, played = share(results, back=False)
    figures: dict[str, int | float | str] = {
        "back to Ready with nothing typed": f"{back} of {hoped}",
        "true cause named": f"{named} of {played}",
    }
    for one in results:
        if one.skipped:
            figures[f"not played: {one.failure.name}"] = one.skipped
        elif not one.named:
            figures[f"misnamed: {one.failure.name}"] = f"{one.said or 'nothing'} for {one.failure.cause}"
        if one.failure.helps and not one.back and not one.skipped:
            figures[f"not back: {one.failure.name}"] = one.phase
    failures = [] if back >= WANTED_BACK * hoped else [f"back: {back} of {hoped} is below {WANTED_BACK:.0%}"]
    failures += [] if named >= WANTED_NAMED * played else [f"named: {named} of {played} is below {WANTED_NAMED:.0%}"]
    return Outcome(figures, failures)


def to_json(results: Sequence[Result]) -> str:
    """For the document: what was provoked, and what became of it."""
    rows = [{**asdict(one), "seconds": round(one.seconds, 1)} for one in results]
    return json.dumps(rows, indent=1) + "\n"
