"""Whatever the clocks do, nothing is started or stopped for it, and the loop goes on looking."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos.skew import NoCompilerError, Skew
from tests.e2e.installation import Installation

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="clocks are preloaded")]
HOUR, DAY = 3600.0, 86400.0
TICK = 0.5
EAGER = {"liveness": {"period": "200ms", "timeout": "1s", "failureThreshold": 1}}
"""Probes that a controller which stood still for seconds would count as failed, were it not careful."""
BACKOFF = 3.0
RESTART = {"initialBackoff": f"{BACKOFF:g}s", "maxBackoff": f"{BACKOFF:g}s"}


@pytest.fixture
def skew(tmp_path: Path) -> Skew:
    try:
        return Skew(tmp_path)
    except NoCompilerError as error:
        pytest.skip(str(error))


@contextmanager
def nothing_happens(installation: Installation) -> Iterator[None]:
    """What is done within starts and stops nothing, and is no reason for a warning."""

    def seen() -> tuple[object, ...]:
        warnings = installation.query("select server, reason, count from events where warning")
        return installation.pids(), installation.query("select count(*) from instances"), warnings

    before = seen()
    yield
    assert seen() == before, installation.log()


def ticks(installation: Installation, seconds: float = 3.0) -> None:
    """The loop looks at every tick, without anything that would poke it."""
    before, began = installation.passes(), time.monotonic()
    installation.wait_for("three ticks", lambda: installation.passes() >= before + 3, seconds)
    assert time.monotonic() - began >= TICK, "those were no ticks"


@pytest.fixture
def steady(installation: Installation, skew: Skew) -> dict[str, int]:
    """Two servers that are Ready, under a controller whose clocks can be stepped; their pids."""
    if installation.is_portable:
        pytest.skip("it looks several times a second, and ticks cannot be told from that")
    installation.declare("one", probes=EAGER, restart=RESTART)
    installation.declare("two", probes=EAGER)
    installation.start(RECONCILER_TICK=str(TICK), TZ="Europe/Berlin", **skew.environ)
    return installation.wait_ready("one", "two")


def test_steps_of_the_wall_clock_are_no_reason_to_act(
    installation: Installation, skew: Skew, steady: dict[str, int]
) -> None:
    with nothing_happens(installation):
        for step in (HOUR, -HOUR, DAY, -DAY, -DAY, DAY):
            skew.step(wall=step)
            ticks(installation)
    skew.step(wall=-DAY)
    installation.declare("two", ctx=512)
    installation.wait_for("the edit to be used", lambda: installation.pids().get("two", steady["two"]) != steady["two"])
    assert set(installation.wait_ready("one", "two")) == {"one", "two"}


@pytest.mark.parametrize("moment", ["2027-03-28T00:59:59", "2027-10-31T00:59:59"], ids=["begins", "ends"])
def test_summer_time_is_no_reason_to_act(
    installation: Installation, skew: Skew, steady: dict[str, int], moment: str
) -> None:
    with nothing_happens(installation):
        skew.step(wall=datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() - time.time())
        ticks(installation)
        ticks(installation)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_delay_is_as_long_as_it_was_whatever_the_clock_says(
    installation: Installation, skew: Skew, steady: dict[str, int], step: float
) -> None:
    os.kill(steady["one"], signal.SIGKILL)
    began = time.monotonic()
    installation.wait_phase("one", "BackOff")
    skew.step(wall=step)
    installation.wait_for("one again", lambda: installation.pids().get("one", steady["one"]) != steady["one"])
    assert BACKOFF <= time.monotonic() - began < BACKOFF + 2.0
    assert installation.wait_ready("one", "two")["two"] == steady["two"]


def stopped(installation: Installation, seconds: float) -> None:
    assert installation.controller is not None
    installation.controller.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    installation.controller.send_signal(signal.SIGCONT)


def suspended(installation: Installation, seconds: float) -> None:
    """The machine stands still, and the clock goes on: harder than a suspension, which the clock does not count."""
    for pid in installation.pids().values():
        os.kill(pid, signal.SIGSTOP)
    stopped(installation, seconds)
    for pid in installation.pids().values():
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "stall",
    [lambda installation, _: stopped(installation, 6), lambda installation, _: suspended(installation, 6)]
    + [lambda _, skew, by=by: skew.step(monotonic=by) for by in (20.0, HOUR)],
    ids=["controller stopped", "machine suspended", "20 s", "an hour"],
)
def test_a_loop_that_stood_still_blames_nobody(
    installation: Installation, skew: Skew, steady: dict[str, int], stall: Callable[[Installation, Skew], None]
) -> None:
    with nothing_happens(installation):
        stall(installation, skew)
        ticks(installation)
        installation.stays(lambda: set(installation.phases().values()) == {"Ready"}, 1.0)


LOADER = """#!{python}
# Loads for some seconds, and is busy with it.
import os, sys, time
if "--port" in sys.argv:
    until = time.monotonic() + {seconds}
    while time.monotonic() < until:
        pass
os.execv({llama_server!r}, [{llama_server!r}, *sys.argv[1:]])
"""


@pytest.mark.parametrize("by", ["standing still", "jumping"])
def test_a_server_that_loads_meanwhile_is_not_late(installation: Installation, skew: Skew, by: str) -> None:
    loader = installation.root / "llama-server"
    text = LOADER.format(python=sys.executable, llama_server=installation.environ["LLAMA_SERVER"], seconds=7)
    loader.write_text(text)
    loader.chmod(0o755)
    installation.environ["LLAMA_SERVER"] = str(loader)
    installation.declare("slow", probes={"startup": {"deadline": "3s"}})
    installation.start(RECONCILER_TICK=str(TICK), **skew.environ)
    installation.wait_phase("slow", "Starting")
    installation.wait_for("its process", lambda: installation.pids().get("slow"))
    if by == "jumping":
        skew.step(monotonic=HOUR)
    else:
        stopped(installation, 4.5)
    installation.wait_ready("slow")
    assert [row["trigger"] for row in installation.instances("slow")] == ["Created"], installation.log()
