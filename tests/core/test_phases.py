"""The table of states and events: what a server is after something happened, and what was done to its processes."""

import pytest

from reconciler.core.history import Condition
from reconciler.core.model import Phase, Problem
from tests.core.states import EVENTS, STATES
from tests.core.worlds import World

GONE = "gone"
TABLE = """
state     | event         | after    | done
Starting  | 200           | Ready    |
Starting  | 599 s         | Starting |
Starting  | 600 s         | BackOff  | Terminate
Starting  | exit 0        | BackOff  |
Starting  | exit 1        | BackOff  |
Starting  | other boot    | Starting | Start
Starting  | ctx           | Starting | Terminate Start
Starting  | label         | Starting |
Starting  | suspend       | Stopped  | Terminate
Starting  | removed       | gone     | Terminate
Starting  | left out      | Stopped  | Terminate
Starting  | stop          | Stopped  | Terminate
Starting  | restart       | Starting | Terminate Start
Starting  | gate shuts    | Starting |
Ready     | 600 s         | Ready    |
Ready     | 1 probe fails | Ready    |
Ready     | 3 probes fail | Unhealthy |
Ready     | 6 probes fail | BackOff  | Terminate
Ready     | 503           | Ready    |
Ready     | exit 0        | BackOff  |
Ready     | exit 1        | BackOff  |
Ready     | other boot    | Starting | Start
Ready     | ctx           | Starting | Terminate Start
Ready     | label         | Ready    |
Ready     | suspend       | Stopped  | Terminate
Ready     | removed       | gone     | Terminate
Ready     | left out      | Stopped  | Terminate
Ready     | selected      | Ready    |
Ready     | stop          | Stopped  | Terminate
Ready     | restart       | Starting | Terminate Start
Ready     | gate shuts    | Ready    |
Unhealthy | 200           | Ready    |
Unhealthy | 503           | Ready    |
Unhealthy | 1 probe fails | Unhealthy |
Unhealthy | 6 probes fail | BackOff  | Terminate
Unhealthy | exit 1        | BackOff  |
Unhealthy | other boot    | Starting | Start
Unhealthy | ctx           | Starting | Terminate Start
Unhealthy | label         | Unhealthy |
Unhealthy | suspend       | Stopped  | Terminate
Unhealthy | removed       | gone     | Terminate
Unhealthy | left out      | Stopped  | Terminate
Unhealthy | stop          | Stopped  | Terminate
Unhealthy | restart       | Starting | Terminate Start
Stopping  | 9 s           | Stopping |
Stopping  | 10 s          | Starting | Kill Start
Stopping  | exit 0        | Starting | Start
Stopping  | exit 1        | Starting | Start
Stopping  | 6 probes fail | Stopping |
Stopping  | label         | Stopping |
Stopping  | suspend, exit 0 | Stopped |
Stopping  | left out, exit 0 | Stopped |
Stopping  | left out, selected, exit 0 | Starting | Start
Stopping  | stop, exit 1  | Stopped  |
Stopping  | removed, exit 0 | gone   |
Stopping  | restart, exit 0 | Starting | Start
Stopping  | gate shuts, exit 0 | Blocked |
Stopping  | other boot    | Starting | Start
BackOff   | 0.4 s         | BackOff  |
BackOff   | 0.5 s         | Starting | Start
BackOff   | ctx           | Starting | Start
BackOff   | label         | Starting | Start
BackOff   | restart       | Starting | Start
BackOff   | other boot    | Starting | Start
BackOff   | suspend       | Stopped  |
BackOff   | stop          | Stopped  |
BackOff   | removed       | gone     |
BackOff   | left out      | Stopped  |
BackOff   | left out, selected | Starting | Start
BackOff   | gate shuts    | BackOff  |
BackOff   | gate shuts, 0.5 s | Blocked |
Failed    | 299 s         | Failed   |
Failed    | 300 s         | Starting | Start
Failed    | ctx           | Starting | Start
Failed    | label         | Starting | Start
Failed    | restart       | Starting | Start
Failed    | other files   | Starting | Start
Failed    | other boot    | Starting | Start
Failed    | suspend       | Stopped  |
Failed    | stop          | Stopped  |
Failed    | removed       | gone     |
Failed    | left out      | Stopped  |
Failed    | left out, selected | Starting | Start
Failed    | gate shuts, 300 s | Blocked |
Blocked   | 600 s         | Blocked  |
Blocked   | gate opens    | Starting | Start
Blocked   | restart       | Blocked  |
Blocked   | other boot    | Blocked  |
Blocked   | suspend       | Stopped  |
Blocked   | stop          | Stopped  |
Blocked   | removed       | gone     |
Blocked   | left out      | Stopped  |
Suspended | 600 s         | Stopped  |
Suspended | resume        | Starting | Start
Suspended | restart       | Stopped  |
Suspended | stop, resume  | Stopped  |
Suspended | label         | Stopped  |
Suspended | other boot    | Stopped  |
Suspended | removed       | gone     |
Suspended | left out      | Stopped  |
Suspended | left out, resume | Stopped |
Pending   | 9 s           | Pending  |
Pending   | b is loaded   | Starting | Start
Pending   | b stalls      | Starting | Start
Pending   | gate shuts    | Blocked  |
Pending   | suspend       | Stopped  |
Pending   | stop          | Stopped  |
Pending   | removed       | gone     |
Pending   | left out      | Stopped  |
Completed | 600 s         | Stopped  |
Completed | restart       | Starting | Start
Completed | label         | Starting | Start
Completed | suspend, resume | Starting | Start
Completed | removed       | gone     |
Completed | left out      | Stopped  |
Completed | left out, selected | Starting | Start
Parked    | selected      | Starting | Start
Parked    | other boot    | Stopped  |
Parked    | other boot, selected | Starting | Start
Parked    | ctx           | Stopped  |
Parked    | restart       | Stopped  |
Parked    | suspend, selected | Stopped |
Parked    | stop, selected | Stopped |
Parked    | gate shuts, selected | Blocked |
Parked    | removed       | gone     |
"""
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in TABLE.strip().splitlines()[1:]]


def done_to(world: World, name: str, starts: int, sent: int) -> str:
    """In the order in which they were done, as far as the world keeps it."""
    uids = {process.identity: process.server for process in world.seen_processes}
    signals = [kind for kind, identity in world.sent[sent:] if uids[identity] == name]
    return " ".join([*signals, *("Start" for start in world.starts[starts:] if start.server == name)])


@pytest.mark.parametrize(("state", "events", "after", "done"), ROWS, ids=[" + ".join(row[:2]) for row in ROWS])
def test_each_event_leads_where_the_table_says(state: str, events: str, after: str, done: str) -> None:
    world = STATES[state]()
    assert world.phase("a") == {"Suspended": "Stopped", "Completed": "Stopped", "Parked": "Stopped"}.get(state, state)
    starts, sent = len(world.starts), len(world.sent)
    for event in events.split(", "):
        EVENTS[event](world)
        world.settle()
    assert (GONE if "a" not in world.records else world.phase("a")) == after
    assert sorted(done_to(world, "a", starts, sent).split()) == sorted(done.split())


@pytest.mark.parametrize("state", STATES)
def test_each_state_can_be_left_for_good(state: str) -> None:
    world = STATES[state]()
    world.ask("stop", "a")
    world.settle()
    world.advance(10.0)
    world.settle()
    assert world.alive("a") == []
    assert world.phase("a") is Phase.STOPPED
    del world.files["a"]
    world.settle()
    world.advance(2.0)
    assert world.settle().wake_at is None or world.phase("b") is not Phase.READY
    assert "a" not in {*world.records, *world.instances, *world.requests["stop"], *world.documents}


WARNINGS = [
    "Crashed",
    "Failed",
    "Unhealthy",
    "ModelMissing",
    "GateShut",
    "Killed",
    "InvalidManifest",
    "RestartIgnored",
    "Superfluous",
]
NEWS = ["Ready", "Stopping", "Stopped", "Completed", "Adopted", "Swept"]


def test_troubles_are_warnings_and_the_rest_is_news() -> None:
    worlds = [build() for build in STATES.values()]
    for world in worlds:
        world.add_process("a", "other")
        world.settle()
        world.advance(10.0)
        world.ask("stop", "a")
        world.settle()
        world.ask("restart", "a")
        world.problems = (Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a"),)
        world.settle()
    told = {(event.reason, event.warning) for world in worlds for event in world.events}
    assert told == {(reason, True) for reason in WARNINGS} | {(reason, False) for reason in NEWS}


CONDITIONS = """
state     | Ready | Progressing | Degraded | Reconciled
Starting  | no    | yes         | no       | yes
Ready     | yes   | no          | no       | yes
Unhealthy | no    | no          | yes      | yes
Stopping  | no    | yes         | no       | no
BackOff   | no    | yes         | yes      | no
Failed    | no    | no          | yes      | no
Blocked   | no    | no          | no       | no
Suspended | no    | no          | no       | yes
Pending   | no    | yes         | no       | no
Completed | no    | no          | no       | yes
Parked    | no    | no          | no       | yes
"""
CONDITION_ROWS = [[cell.strip() for cell in line.split("|")] for line in CONDITIONS.strip().splitlines()[1:]]


@pytest.mark.parametrize("row", CONDITION_ROWS, ids=[row[0] for row in CONDITION_ROWS])
def test_each_state_has_its_conditions(row: list[str]) -> None:
    found = {condition.type: condition.status for condition in STATES[row[0]]().status("a").conditions}
    assert found == dict(
        zip(("Ready", "Progressing", "Degraded", "Reconciled"), (c == "yes" for c in row[1:]), strict=True)
    )


def condition(world: World, kind: str) -> Condition:
    return next(found for found in world.status("a").conditions if found.type == kind)


def test_a_conditions_time_is_that_of_its_last_change() -> None:
    world = STATES["Ready"]()
    since = condition(world, "Ready").since
    world.advance(100.0)
    EVENTS["label"](world)
    world.settle()
    assert condition(world, "Ready").since == since
    EVENTS["503"](world)
    world.settle()
    assert condition(world, "Ready").since == since + 100.0
    assert condition(world, "Reconciled").since == world.now.wall - 100.0
