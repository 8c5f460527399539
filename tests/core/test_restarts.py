"""How often, how late and why a server is started again."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.history import Stamp, Trigger
from reconciler.core.model import Exit, GateFacts, HealthState, Phase
from reconciler.core.plan import plan
from reconciler.core.server import NOT_LOOKED
from tests.core.states import (
    SHUT,
    STATES,
    backing_off,
    blocked,
    crash,
    crash_until_failed,
    declares,
    fail_probes,
    failed,
    ready,
    running,
    starting,
)
from tests.core.worlds import ControllerDied, World, health_of

PATIENT = {"initialBackoff": "1s", "maxBackoff": "30s", "maxRestarts": 5}


def delays_until_failed(world: World) -> list[float]:
    """Seconds from each end to the next start, as they really passed."""
    found: list[float] = []
    crash(world)
    while world.phase("a") is Phase.BACKOFF:
        ended, starts = world.now.monotonic, len(world.starts)
        assert world.last.wake_at is not None
        world.advance(world.last.wake_at - ended)
        world.settle()
        assert len(world.starts) == starts + 1
        found.append(round(world.now.monotonic - ended, 6))
        assert len(found) < 20
        crash(world)
    assert world.phase("a") is Phase.FAILED
    return found


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        ({}, [0.5, 1.0, 2.0]),
        (PATIENT, [1.0, 2.0, 4.0, 8.0, 16.0]),
        ({"maxRestarts": 0}, []),
        ({"initialBackoff": "0s", "maxRestarts": 2}, [0.0, 0.0]),
        ({"maxRestarts": 7}, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]),
    ],
    ids=str,
)
def test_a_crash_loop_is_restarted_ever_later_until_it_is_failed(policy: dict[str, Any], delays: list[float]) -> None:
    world = starting(restart=policy)
    if policy.get("initialBackoff") == "0s":
        for _ in range(3):
            crash(world)
    else:
        assert delays_until_failed(world) == delays
    most = policy.get("maxRestarts", 3)
    last = f"gave up after {most} restarts: exit code 1"
    assert world.status("a").message == f"{last}; try again with: reconciler restart a"
    assert world.records["a"].restarts == most
    assert [start.attempt for start in world.starts if start.server == "a"] == list(range(most + 1))
    assert [start.delay for start in world.starts if start.server == "a"] == [0.0, *delays]
    assert [message.startswith(last) for message in world.told("Failed")] == [True]


def test_the_way_to_failed_is_told_step_by_step() -> None:
    world = starting()
    crash(world, exit_=Exit(signal=9))
    assert world.status("a").message == "signal 9; restart 1 of 3 after 0.5 s"
    assert world.told("Crashed") == ["signal 9; restart 1 of 3"]
    [ended] = world.ended
    assert (ended.exit, ended.log_tail) == (Exit(signal=9), "a line\nthe last line")
    assert world.records["a"].last_error == "signal 9"


def test_the_cause_is_told_with_the_exit() -> None:
    world = starting()
    process = world.process("a")
    process.end(Exit(code=1))
    desired, observed, history, requests, now = world.inputs()
    known = replace(observed.processes["a"][0], diagnosis="PortTaken", evidence="couldn't bind")
    found = {**observed.processes, "a": (known,)}
    world.execute(plan(desired, replace(observed, processes=found), history, requests, now), desired)
    assert (world.ended[-1].diagnosis, world.ended[-1].evidence) == ("PortTaken", "couldn't bind")
    assert world.status("a").message == "exit code 1: PortTaken: couldn't bind; restart 1 of 3 after 0.5 s"


# ---------------------------------------------------------------- n, and what clears it


def test_a_minute_of_ready_forgives() -> None:
    world = running()
    crash(world)
    world.advance(0.5)
    world.settle()
    ready(world)
    assert world.last.wake_at == world.now.monotonic + 60.0
    world.advance(60.0)
    world.settle()
    assert world.records["a"].n == 0
    crash(world)
    assert world.records["a"].n == 1
    assert world.records["a"].restarts == 1


def test_a_minute_that_nobody_watched_forgives_too() -> None:
    world = backing_off()
    world.advance(0.5)
    world.settle()
    ready(world)
    world.advance(60.0)
    crash(world)
    assert (world.records["a"].n, world.records["a"].delay) == (1, 0.5)


@pytest.mark.parametrize("blip", [HealthState.LOADING, HealthState.FAILING])
def test_a_blip_begins_the_minute_anew(blip: HealthState) -> None:
    world = backing_off()
    world.advance(0.5)
    world.settle()
    ready(world)
    world.advance(50.0)
    world.process("a").health = health_of(blip, failures=3 if blip is HealthState.FAILING else 0)
    world.settle()
    world.advance(5.0)
    ready(world)
    assert world.last.wake_at == world.now.monotonic + 60.0
    world.advance(59.0)
    crash(world)
    assert world.records["a"].n == 2


def test_a_blip_of_a_stable_server_costs_nothing() -> None:
    world = running()
    world.advance(3600.0)
    fail_probes(6)(world)
    world.settle()
    assert (world.records["a"].n, world.records["a"].delay) == (1, 0.5)


def test_ends_that_were_asked_for_do_not_count() -> None:
    world = running()
    for ctx in (256, 512, 1024, 2048, 4096):
        declares(ctx=ctx)(world)
        world.settle()
    assert (world.phase("a"), world.records["a"].n, world.records["a"].restarts) == (Phase.STARTING, 0, 0)


def test_what_is_newly_declared_has_a_budget_of_its_own() -> None:
    world = running()
    for pause in (0.5, 1.0, 2.0):
        crash(world)
        world.advance(pause)
        world.settle()
    assert world.records["a"].n == 3
    declares(ctx=1024)(world)
    world.settle()
    assert (world.starts[-1].attempt, world.starts[-1].trigger) == (0, Trigger.SPEC_CHANGED)
    assert delays_until_failed(world) == [0.5, 1.0, 2.0]


def test_the_old_ones_crash_is_not_held_against_its_successor() -> None:
    world = running(restart={"maxRestarts": 0})
    world.gates["a"] = SHUT
    declares(ctx=1024)(world)
    world.settle()
    crash(world)
    assert world.phase("a") is Phase.BLOCKED
    assert world.told("Crashed") == ["exit code 1; it starts again as declared now"]
    assert (world.records["a"].n, world.records["a"].last_error) == (0, "exit code 1")
    del world.gates["a"]
    world.settle()
    assert (world.phase("a"), world.starts[-1].trigger) == (Phase.STARTING, Trigger.SPEC_CHANGED)


def test_a_label_alone_forgives_nothing_that_runs() -> None:
    world = backing_off()
    world.advance(0.5)
    world.settle()
    declares(labels={"team": "x"})(world)
    world.settle()
    assert world.records["a"].n == 1


# ---------------------------------------------------------------- failed, and the ways back


@pytest.mark.parametrize(
    ("way", "trigger", "attempt"),
    [
        (declares(labels={"team": "x"}), Trigger.SPEC_CHANGED, 0),
        (declares(ctx=1024), Trigger.SPEC_CHANGED, 0),
        (lambda world: world.ask("restart", "a"), Trigger.REQUESTED, 0),
        (lambda world: world.gates.update(a=GateFacts(identity="other")), Trigger.RETRIED, 0),
        (lambda world: world.reboot("boot-2"), Trigger.RETRIED, 0),
        (lambda world: world.advance(300.0), Trigger.RETRIED, 3),
    ],
    ids=["label", "ctx", "restart", "files", "boot", "time"],
)
def test_a_failed_server_has_ways_back(way: Any, trigger: Trigger, attempt: int) -> None:
    world = failed()
    way(world)
    world.settle()
    start = next(start for start in reversed(world.starts) if start.server == "a")
    assert (start.trigger, start.attempt) == (trigger, attempt)
    assert world.requests["restart"] == {}
    crash_until_failed(world)
    assert len([start for start in world.starts if start.server == "a"]) == 4 + (4 if attempt == 0 else 1)


def test_after_five_minutes_one_try_is_made_and_then_five_minutes_pass_again() -> None:
    world = failed()
    assert world.last.wake_at == world.now.monotonic + 300.0
    world.advance(300.0)
    world.settle()
    crash(world)
    assert world.phase("a") is Phase.FAILED
    assert world.last.wake_at == world.now.monotonic + 300.0
    assert world.status("a").message.startswith("gave up after 3 restarts: exit code 1; try again with:")


def test_a_try_that_goes_well_is_forgiven_like_any_other() -> None:
    world = failed()
    world.advance(300.0)
    world.settle()
    ready(world)
    world.advance(60.0)
    world.settle()
    assert (world.records["a"].n, world.records["a"].restarts) == (0, 4)
    crash(world)
    assert world.phase("a") is Phase.BACKOFF


def test_a_restart_that_was_asked_for_has_a_budget_of_its_own() -> None:
    world = backing_off()
    world.advance(0.5)
    world.settle()
    world.ask("restart", "a")
    world.settle()
    assert (world.starts[-1].trigger, world.starts[-1].attempt) == (Trigger.REQUESTED, 0)


def test_retrying_can_be_switched_off() -> None:
    world = failed(restart={"retryFailedAfter": "0s"})
    assert world.last.wake_at is None
    world.advance(1e6)
    world.settle()
    assert world.phase("a") is Phase.FAILED


def test_files_that_were_never_looked_at_are_no_other_files() -> None:
    world = failed()
    record = world.records["a"]
    world.records["a"] = replace(record, failed_files="")
    world.settle()
    assert world.phase("a") is Phase.FAILED
    assert world.records["a"].failed_files == "binary-1 model-1"


def test_while_its_flags_are_looked_at_it_is_not_known_whether_its_files_are_others() -> None:
    world = failed()
    world.gates.update(a=replace(NOT_LOOKED, identity="other"))
    world.settle()
    assert world.phase("a") is Phase.FAILED
    world.gates.update(a=GateFacts(identity="other"))
    world.settle()
    assert world.phase("a") is Phase.STARTING


# ---------------------------------------------------------------- policies


@pytest.mark.parametrize(
    ("policy", "exit_", "phase", "reason"),
    [
        ("Always", Exit(code=0), Phase.BACKOFF, "BackOff"),
        ("Always", Exit(code=1), Phase.BACKOFF, "BackOff"),
        ("OnFailure", Exit(code=0), Phase.STOPPED, "Completed"),
        ("OnFailure", Exit(code=1), Phase.BACKOFF, "BackOff"),
        ("OnFailure", Exit(signal=15), Phase.BACKOFF, "BackOff"),
        ("OnFailure", Exit(), Phase.BACKOFF, "BackOff"),
        ("Never", Exit(code=0), Phase.STOPPED, "Completed"),
        ("Never", Exit(code=1), Phase.FAILED, "RestartsExhausted"),
        ("Never", Exit(signal=9), Phase.FAILED, "RestartsExhausted"),
    ],
)
def test_the_policy_decides_what_an_exit_means(policy: str, exit_: Exit, phase: Phase, reason: str) -> None:
    world = running(restart={"policy": policy})
    crash(world, exit_=exit_)
    assert (world.phase("a"), world.reason("a")) == (phase, reason)


def test_completed_says_how_to_run_it_again() -> None:
    world = STATES["Completed"]()
    assert world.status("a").message == "it exited with 0; run it again with: reconciler restart a"
    assert world.told("Completed") == ["it exited with 0, and its restart policy asks for no more"]
    assert (world.records["a"].n, world.records["a"].last_error) == (0, "")


def test_never_is_never_also_after_five_minutes() -> None:
    world = running(restart={"policy": "Never"})
    crash(world)
    assert (
        world.status("a").message == "not restarted (policy Never): exit code 1; try again with: reconciler restart a"
    )
    assert world.last.wake_at is None
    world.advance(1e6)
    world.settle()
    assert world.phase("a") is Phase.FAILED


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_a_hung_server_that_obeys_sigterm_has_not_completed(policy: str) -> None:
    world = running(restart={"policy": policy})
    fail_probes(6)(world)
    world.settle()
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 1)
    assert world.status("a").message == "ended by the controller: Hung: no answer; restart 1 of 3 after 0.5 s"
    world.advance(0.5)
    world.settle()
    assert (world.starts[-1].trigger, world.starts[-1].delay) == (Trigger.UNRESPONSIVE, 0.5)


# ---------------------------------------------------------------- starts that come to nothing


def test_a_spawn_that_fails_counts() -> None:
    def refuse(process: object) -> None:
        raise OSError("/bin/llama-server could not be executed: Exec format error")

    world = World(on_spawn=refuse)
    world.declare("a")
    world.settle()
    assert world.phase("a") is Phase.BACKOFF
    assert world.status("a").message == (
        "SpawnFailed: /bin/llama-server could not be executed: Exec format error; restart 1 of 3 after 0.5 s"
    )
    for pause in (0.5, 1.0, 2.0):
        world.advance(pause)
        world.settle()
    assert world.phase("a") is Phase.FAILED
    assert [ended.diagnosis for ended in world.ended] == ["SpawnFailed"] * 4


def test_a_spawn_that_fails_of_a_server_that_is_gone_is_forgotten() -> None:
    def refuse(process: object) -> None:
        raise OSError("no such program")

    world = starting()
    world.on_spawn = refuse
    crash(world)
    world.advance(0.5)
    world.run()
    assert world.instances["a"].diagnosis == "SpawnFailed"
    world.ask("prune", "a")
    del world.files["a"]
    world.settle()
    assert "a" not in {*world.records, *world.instances}


def test_being_ready_clears_the_last_error_and_the_reason_of_the_start() -> None:
    world = backing_off()
    world.advance(0.5)
    world.settle()
    assert (world.records["a"].last_error, world.records["a"].next_trigger) == ("exit code 1", None)
    ready(world)
    assert world.records["a"].last_error == ""
    world.process("a").health = health_of(HealthState.LOADING)
    world.records["a"] = replace(world.records["a"], last_error="kept")
    world.settle()
    ready(world)
    assert world.records["a"].last_error == "kept"


@pytest.mark.parametrize("state", ["BackOff", "Failed", "Completed"])
def test_a_rest_clears_all_that_was_earned(state: str) -> None:
    world = STATES[state]()
    world.ask("stop", "a")
    world.settle()
    record = world.records["a"]
    assert (record.n, record.ended, record.delay, record.failed, record.completed) == (0, None, 0.0, None, False)
    assert record.last_error == ""
    world.requests["stop"].clear()
    world.settle()
    assert world.phase("a") is Phase.STARTING


def test_a_start_that_was_never_made_costs_nothing_and_is_made() -> None:
    world = backing_off()
    world.advance(0.5)
    world.steps_left = 1
    with pytest.raises(ControllerDied):
        world.run()
    assert world.instances["a"].identity is None
    world.new_controller()
    world.settle()
    assert world.ended[-1].diagnosis == "NotStarted"
    assert (world.phase("a"), world.starts[-1].trigger, world.starts[-1].attempt) == (
        Phase.STARTING,
        Trigger.CRASHED,
        1,
    )
    assert (world.records["a"].n, world.records["a"].restarts) == (1, 1)


def test_a_shut_gate_costs_no_attempt_and_is_looked_at_each_second() -> None:
    world = blocked()
    for _ in range(5):
        assert world.last.wake_at == world.now.monotonic + 1.0
        world.advance(1.0)
        world.settle()
    assert (world.records["a"].n, world.status("a").message) == (0, SHUT.message)
    assert world.told("ModelMissing") == [SHUT.message]


def test_a_gate_may_say_when_to_look_again() -> None:
    world = blocked()
    world.gates["a"] = GateFacts("ModelGrowing", "it grows", retry_at=world.now.monotonic + 0.3)
    assert world.settle().wake_at == world.now.monotonic + 0.3


@pytest.mark.parametrize(
    ("boot", "phase"), [("boot-1", Phase.BACKOFF), ("boot-2", Phase.STARTING)], ids=["this boot", "other boot"]
)
def test_a_delay_is_over_with_the_boot_it_began_in(boot: str, phase: Phase) -> None:
    world = backing_off()
    record = world.records["a"]
    world.records["a"] = replace(record, ended=Stamp(boot, 1e9, 0.0))
    world.settle()
    assert world.phase("a") is phase


def test_a_jump_of_the_wall_clock_is_of_no_matter() -> None:
    world = backing_off()
    for days in (-1, 1):
        world.now = replace(world.now, wall=world.now.wall + days * 86400.0)
        assert world.settle().wake_at == world.now.monotonic + 0.5
    crash_world = failed()
    crash_world.now = replace(crash_world.now, wall=crash_world.now.wall + 86400.0)
    crash_world.settle()
    assert crash_world.phase("a") is Phase.FAILED


def test_after_another_boot_everything_is_started_with_a_clean_slate() -> None:
    world = backing_off()
    world.advance(0.5)
    world.settle()
    world.reboot("boot-2")
    world.settle()
    assert [(start.trigger, start.attempt) for start in world.starts[-2:]] == [(Trigger.REBOOTED, 0)] * 2
    assert {ended.diagnosis for ended in world.ended[-2:]} == {"Rebooted"}
    assert world.records["a"].n == 0
    crash_until_failed(world)
    assert world.phase("a") is Phase.FAILED
