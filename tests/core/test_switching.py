"""From one profile to the next: who ends first, who waits for whom, and who is not touched."""

from typing import Any

import pytest

from reconciler.core.actions import Terminate
from reconciler.core.history import StopReason, Trigger
from reconciler.core.model import Exit, GateFacts, Identity, Limits, Phase, Problem
from tests.core.states import SHUT, crash, ready
from tests.core.worlds import World

LEFT_OUT = "the active profile 'night' leaves it out"
MISSING = GateFacts("ModelMissing", "no file at /m/n.gguf", identity="b m")


def day(**night: Any) -> World:
    """`both` and `old` run; `new` is declared, and waits for its profile."""
    world = World()
    world.use("both", "old")
    world.declare("both")
    world.declare("old")
    world.declare("new", **night)
    world.settle()
    for name in ("both", "old"):
        ready(world, name)
    assert world.phase("new") is Phase.STOPPED
    return world


def pid(world: World, name: str) -> Identity:
    return world.process(name).identity


def test_without_a_profile_all_run_and_with_one_only_its_own() -> None:
    world = World()
    for name in ("a", "b"):
        world.declare(name)
    world.settle()
    for name in ("a", "b"):
        ready(world, name)
    world.use("a")
    world.settle()
    assert (world.phase("a"), world.phase("b")) == (Phase.READY, Phase.STOPPED)
    assert world.reason("b") == "NotInProfile"
    assert LEFT_OUT in world.status("b").message
    [ended] = world.ended
    assert (ended.server, ended.stop_reason, ended.diagnosis) == ("b", StopReason.PARKED, "NotInProfile")
    world.profile = None
    world.settle()
    assert world.starts[-1].trigger is Trigger.RESUMED
    ready(world, "b")
    assert world.phase("b") is Phase.READY


def test_stop_first_starts_none_before_all_that_leave_are_gone() -> None:
    world = day()
    world.process("old").obeys = False
    both = pid(world, "both")
    world.use("both", "new")
    world.settle()
    assert world.phase("old") is Phase.STOPPING
    assert (world.phase("new"), world.reason("new")) == (Phase.PENDING, "WaitingForSwitch")
    assert world.status("new").message == "the active profile 'night' waits for 'old' to end"
    world.advance(10.0)
    world.settle()
    assert world.phase("old") is Phase.STOPPED
    assert world.phase("new") is Phase.STARTING
    assert pid(world, "both") == both
    assert {action[1] for action in world.sent}.isdisjoint({both})


def test_stop_first_waits_for_leftovers_too() -> None:
    world = day()
    world.add_process("old", "helper", leader=False).killable = False
    world.settle()
    world.use("both", "new")
    world.settle()
    assert not world.alive("old")[0].leader
    assert world.reason("new") == "WaitingForSwitch"
    world.process("old").killable = True
    world.advance(1.0)
    world.settle()
    assert world.phase("new") is Phase.STARTING


def test_a_restart_that_is_asked_for_during_the_switch_waits_with_it() -> None:
    world = day()
    world.process("old").obeys = False
    world.use("both", "new")
    world.ask("restart", "new")
    world.settle()
    assert world.reason("new") == "WaitingForSwitch"
    assert world.requests["restart"] == {"new": 1}
    world.process("old").end(Exit(code=0))
    world.settle()
    assert not world.requests["restart"]
    assert world.starts[-1].server == "new"


def test_one_of_both_profiles_that_crashes_waits_for_nobody() -> None:
    world = day()
    world.process("old").obeys = False
    world.use("both", "new")
    world.settle()
    crash(world, "both")
    world.advance(0.5)
    world.settle()
    assert world.phase("both") is Phase.STARTING
    assert world.phase("old") is Phase.STOPPING


def test_a_request_does_not_override_the_profile() -> None:
    world = day()
    world.ask("restart", "new")
    world.settle()
    assert world.phase("new") is Phase.STOPPED
    assert not world.requests["restart"]
    assert LEFT_OUT in world.told("RestartIgnored")[0]


def test_what_rests_anyway_says_why() -> None:
    world = day(suspend=True)
    assert world.reason("new") == "Suspended"
    world.ask("stop", "old")
    world.settle()
    assert world.reason("old") == "StopRequested"
    world.use("new")
    world.settle()
    assert world.reason("old") == "NotInProfile"
    world.use("old")
    world.settle()
    assert world.reason("old") == "StopRequested"


# ---------------------------------------------------------------- StartFirst


def switching(**night: Any) -> World:
    world = day(**night)
    world.use("both", "new", switch="StartFirst")
    world.settle()
    return world


def test_start_first_lets_those_that_leave_run_until_all_are_ready() -> None:
    world = switching()
    assert (world.phase("old"), world.reason("old", "Reconciled")) == (Phase.READY, "WaitingForSwitch")
    assert world.status("old").message == f"{LEFT_OUT}; it runs on until 'new' is Ready"
    assert not world.told("WaitingForSwitch")
    assert world.phase("new") is Phase.STARTING
    ready(world, "new")
    assert world.phase("new") is Phase.READY
    assert world.phase("old") is Phase.STOPPED


@pytest.mark.parametrize(
    ("night", "gate", "reason"),
    [
        ({}, MISSING, "Blocked (ModelMissing)"),
        ({"dependsOn": ["nobody"]}, None, "Blocked (DependencyUnavailable)"),
        ({"restart": {"policy": "Never"}}, None, "Failed (RestartsExhausted)"),
    ],
)
def test_start_first_keeps_what_runs_while_a_newcomer_cannot(
    night: dict[str, Any], gate: GateFacts | None, reason: str
) -> None:
    world = day(**night)
    if gate is not None:
        world.gates["new"] = gate
    world.use("both", "new", switch="StartFirst")
    world.settle()
    if world.alive("new"):
        crash(world, "new")
    assert (world.phase("old"), world.reason("old", "Reconciled")) == (Phase.READY, "SwitchHeld")
    message = world.status("old").message
    assert f"for 'new' is {reason}" in message
    assert "reconciler describe server new" in message
    assert "reconciler stop old" in message
    assert world.told("SwitchHeld")[-1] == message
    world.ask("stop", "old")
    world.settle()
    assert (world.phase("old"), world.reason("old")) == (Phase.STOPPED, "NotInProfile")
    assert world.requests["stop"]


def test_start_first_waits_for_one_whose_document_was_never_valid() -> None:
    world = day()
    del world.files["new"], world.documents["new"]
    world.problems = (Problem("new.yaml", "is wrong", server="broken"),)
    world.use("both", "broken", switch="StartFirst")
    world.settle()
    assert world.reason("old", "Reconciled") == "SwitchHeld"
    assert "'broken' is Invalid" in world.status("old").message
    world.use("both", switch="StartFirst")
    world.settle()
    assert world.phase("old") is Phase.STOPPED


@pytest.mark.parametrize("shut", [False, True])
def test_one_whose_port_a_newcomer_needs_goes_at_once_unless_that_cannot_start(shut: bool) -> None:
    world = World()
    world.use("old", "other")
    world.declare("old")
    world.declare("other")
    world.settle()
    ready(world, "old")
    ready(world, "other")
    world.declare("new", port=world.ports["old"], host="0.0.0.0")
    if shut:
        world.gates["new"] = SHUT
    world.use("new", switch="StartFirst")
    world.settle()
    if shut:
        assert world.phase("old") is Phase.READY
    else:
        assert (world.phase("old"), world.phase("new")) == (Phase.STOPPED, Phase.STARTING)
    assert world.phase("other") is Phase.READY


def test_as_many_go_at_once_as_newcomers_need_their_places() -> None:
    world = day()
    world.use("new", switch="StartFirst")
    world.gates["new"] = GateFacts("PolicyDenied", "too many", for_leaving=True)
    world.process("both").obeys = False
    world.settle()
    assert (world.phase("new"), world.reason("new")) == (Phase.PENDING, "WaitingForSwitch")
    assert [world.phase(name) for name in ("both", "old")] == [Phase.STOPPING, Phase.READY]
    world.process("both").end(Exit(code=0))
    del world.gates["new"]
    world.settle()
    assert (world.phase("new"), world.phase("old")) == (Phase.STARTING, Phase.READY)


def test_one_that_leaves_is_not_renewed_any_more() -> None:
    world = switching()
    world.declare("old", ctx=512)
    world.ask("restart", "old")
    world.settle()
    assert world.phase("old") is Phase.READY
    assert not [action for action in world.last.actions if isinstance(action, Terminate)]
    assert LEFT_OUT in world.told("RestartIgnored")[0]
    crash(world, "old")
    assert (world.phase("old"), world.reason("old")) == (Phase.STOPPED, "NotInProfile")
    assert world.reason("old", "Reconciled") == "AsDeclared"


def test_a_switch_that_is_taken_back_touches_nobody_that_stays() -> None:
    world = switching()
    old, both = pid(world, "old"), pid(world, "both")
    world.use("both", "old", switch="StartFirst")
    world.settle()
    assert (pid(world, "old"), pid(world, "both")) == (old, both)
    assert world.reason("old", "Reconciled") == "AsDeclared"
    assert world.phase("new") is Phase.STOPPED


def test_one_that_changes_with_the_profile_is_waited_for() -> None:
    world = day()
    world.declare("both", ctx=512)
    world.use("both", switch="StartFirst")
    world.settle()
    assert world.phase("both") is Phase.STARTING
    assert world.phase("old") is Phase.READY
    ready(world, "both")
    assert world.phase("old") is Phase.STOPPED


def test_what_stands_in_the_way_is_told_of_few() -> None:
    world = day()
    world.limits = Limits(loads=0)
    for number in range(6):
        world.declare(f"n{number}")
    world.use(*(f"n{number}" for number in range(6)), switch="StartFirst")
    world.settle()
    assert "until 'n0', 'n1', 'n2', 'n3' and 2 more is Ready" in world.status("old").message
    for number in range(6):
        world.gates[f"n{number}"] = MISSING
        world.process(f"n{number}").end(Exit(code=1))
    world.settle()
    world.advance(0.5)
    world.settle()
    assert "for 'n0' is Blocked (ModelMissing), and 5 more wait for help" in world.status("old").message


def test_a_command_that_acts_on_few_leaves_the_others_alone() -> None:
    world = day()
    world.use("both", "new")
    world.scope = frozenset({"new"})
    world.settle()
    assert world.phase("old") is Phase.READY
    assert world.reason("old", "Reconciled") == "NoController"
    assert (world.phase("new"), world.reason("new")) == (Phase.BLOCKED, "SwitchHeld")
    assert world.status("new").message == (
        "the active profile 'night' waits for 'old' to end, but no controller is running that ends 'old'; "
        "switch with: reconciler apply"
    )
    world.scope = None
    world.settle()
    ready(world, "new")
    assert (world.phase("old"), world.phase("new")) == (Phase.STOPPED, Phase.READY)


def test_a_command_that_acts_on_few_waits_for_what_is_ending() -> None:
    world = day()
    world.process("old").obeys = False
    world.use("both", "new")
    world.settle()
    world.scope = frozenset({"new"})
    world.settle()
    assert (world.phase("new"), world.reason("new")) == (Phase.PENDING, "WaitingForSwitch")
