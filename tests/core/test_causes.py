"""What follows from the cause of an end: another try, a wait for the world, or none until it is mended."""

from typing import get_args

import pytest

from reconciler.core.causes import CAUSES, Mends, cause_of
from reconciler.core.model import Exit, GateFacts, HealthState, Phase
from reconciler.core.observed import Listener
from reconciler.core.spec import CauseName
from tests.core.states import ready
from tests.core.worlds import OPEN, Simulated, World, health_of

BY_EDIT = [name for name, cause in CAUSES.items() if cause.mends is Mends.EDIT]
BY_WORLD = [name for name, cause in CAUSES.items() if cause.mends is Mends.WORLD]
BY_RETRY = [name for name, cause in CAUSES.items() if cause.mends is Mends.RETRY]


def ended_by(cause: str, **fields: object) -> World:
    world = World()
    world.declare("a", fallback="off", **fields)
    world.settle()
    dies(world, cause)
    return world


def dies(world: World, cause: str) -> None:
    world.process("a").end(Exit(code=1), cause)
    world.settle()


def test_every_cause_that_a_manifest_may_name_is_known() -> None:
    assert set(CAUSES) == set(get_args(CauseName))
    assert cause_of("of another version").name == "Unknown"


@pytest.mark.parametrize("cause", BY_EDIT)
def test_what_no_retry_mends_is_failed_at_once(cause: str) -> None:
    world = ended_by(cause)
    assert (world.phase("a"), world.reason("a"), world.records["a"].n) == (Phase.FAILED, cause, 0)
    message = f"no restart mends this: exit code 1: {cause}; it is tried again once its manifest or its files change"
    assert world.status("a").message == message
    world.advance(1e5)
    world.settle()
    assert (len(world.starts), world.last.wake_at) == (1, None)


@pytest.mark.parametrize("change", ["generation", "restart", "files", "boot"])
def test_it_is_tried_again_once_the_thing_itself_has_changed(change: str) -> None:
    world = ended_by("ModelBroken")
    match change:
        case "generation":
            world.declare("a", fallback="off", ctx=512)
        case "restart":
            world.ask("restart", "a")
        case "files":
            world.gates["a"] = GateFacts(identity="other")
        case _:
            world.reboot("boot-2")
    world.settle()
    assert len(world.starts) == 2


@pytest.mark.parametrize("cause", BY_WORLD)
def test_what_the_world_must_mend_is_blocked_and_no_restart_is_counted(cause: str) -> None:
    world = ended_by(cause)
    assert (world.phase("a"), world.reason("a"), world.records["a"].n) == (Phase.BLOCKED, cause, 0)
    assert world.status("a").message == f"exit code 1: {cause}; it is tried again by itself"
    pauses: list[float] = []
    for tries in range(2, 11):
        assert world.last.wake_at is not None
        pauses.append(world.last.wake_at - world.now.monotonic)
        world.advance(pauses[-1])
        world.settle()
        assert len(world.starts) == tries
        dies(world, cause)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    assert (world.records["a"].n, world.records["a"].restarts) == (0, 0)
    assert {str(start.trigger) for start in world.starts[1:]} == {"Unblocked"}


@pytest.mark.parametrize("cause", BY_WORLD)
def test_one_that_was_ready_before_it_is_restarted_within_its_budget(cause: str) -> None:
    world = World()
    world.declare("a", fallback="off")
    world.settle()
    for restarts in range(4):
        ready(world)
        dies(world, cause)
        assert world.records["a"].restarts == restarts
        if world.phase("a") is Phase.BACKOFF:
            world.advance(10.0)
            world.settle()
    assert world.phase("a") is Phase.FAILED


@pytest.mark.parametrize("cause", BY_EDIT)
def test_files_that_were_others_at_the_start_are_tried(cause: str) -> None:
    """Such as a model that was whole only when the server had read half of it."""
    world = World(gates={"a": GateFacts(identity="half")})
    world.declare("a", fallback="off")
    world.settle()
    world.gates["a"] = GateFacts(identity="whole")
    dies(world, cause)
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 1)
    world.advance(0.5)
    world.settle()
    ready(world)
    assert world.phase("a") is Phase.READY


def test_files_that_change_with_every_start_are_not_tried_for_ever() -> None:
    world = World()

    def behave(process: Simulated) -> None:
        world.gates["a"] = GateFacts(identity=process.uid)
        process.diagnosis, process.exits_at = "InvalidFlag", world.now.monotonic + 0.1

    world.on_spawn = behave
    world.declare("a")
    while world.follow():
        assert len(world.starts) < 9
    assert (world.phase("a"), len(world.starts)) == (Phase.FAILED, 4)


@pytest.mark.parametrize("cause", BY_WORLD)
def test_one_that_was_blocked_and_is_ready_has_forgotten_it(cause: str) -> None:
    world = ended_by(cause)
    world.advance(0.5)
    world.settle()
    assert world.phase("a") is Phase.BLOCKED or world.alive("a")
    ready(world)
    assert (world.phase("a"), world.records["a"].starved, world.records["a"].starved_times) == (Phase.READY, None, 0)


def test_other_files_end_the_wait_at_once() -> None:
    world = ended_by("PermissionDenied")
    world.gates["a"] = GateFacts(identity=f"{OPEN.identity} chmod")
    world.settle()
    assert len(world.starts) == 2


def test_a_new_generation_ends_the_wait_at_once() -> None:
    world = ended_by("SharedLibraryMissing")
    world.declare("a", fallback="off", ctx=512)
    world.settle()
    assert len(world.starts) == 2


def test_a_port_is_tried_as_soon_as_its_holder_is_gone() -> None:
    world = ended_by("PortInUse", port=8001)
    for _ in range(5):
        world.advance(30.0)
        world.settle()
        dies(world, "PortInUse")
    began = len(world.starts)
    world.strangers.append(Listener("127.0.0.1", 8001, 77, "nginx"))
    world.settle()
    assert world.reason("a") == "PortInUse"
    assert "nginx" in world.status("a").message
    world.strangers.clear()
    world.settle()
    assert len(world.starts) == began + 1


@pytest.mark.parametrize("cause", BY_RETRY)
def test_what_another_try_may_mend_backs_off(cause: str) -> None:
    world = ended_by(cause)
    assert (world.phase("a"), world.records["a"].n, world.records["a"].last_cause) == (Phase.BACKOFF, 1, cause)


@pytest.mark.parametrize("cause", ["ModelBroken", "PortInUse", "Crashed", "GpuOutOfMemory"])
def test_with_policy_never_nothing_is_tried_again(cause: str) -> None:
    world = World()
    world.declare("a", ctx=32768, restart={"policy": "Never"})
    world.settle()
    dies(world, cause)
    assert world.phase("a") is Phase.FAILED
    assert world.status("a").message.startswith(f"not restarted (policy Never): exit code 1: {cause}")
    world.advance(1e5)
    world.settle()
    assert len(world.starts) == 1


@pytest.mark.parametrize(
    ("cause", "phase"),
    [
        ("BinaryMissing", Phase.BLOCKED),
        ("PermissionDenied", Phase.BLOCKED),
        ("WrongArchitecture", Phase.FAILED),
        ("SpawnFailed", Phase.BACKOFF),
    ],
)
def test_a_spawn_that_fails_has_a_cause_too(cause: str, phase: Phase) -> None:
    def fails(process: Simulated) -> None:
        process.diagnosis = cause
        raise OSError("Exec format error")

    world = World(on_spawn=fails)
    world.declare("a")
    world.settle()
    assert world.phase("a") is phase
    assert world.ended[-1].diagnosis == cause
    assert f"{cause}: Exec format error" in world.status("a").message


@pytest.mark.parametrize(
    ("unreachable", "verdict"), [(False, "Hung"), (True, "Unreachable")], ids=["no answer", "nobody listens"]
)
def test_one_that_does_not_answer_hangs_or_cannot_be_reached(unreachable: bool, verdict: str) -> None:
    world = World()
    world.declare("a")
    world.settle()
    ready(world)
    failing = health_of(HealthState.FAILING, failures=6, message="no answer", is_unreachable=unreachable)
    world.process("a").health = failing
    world.settle()
    assert (world.ended[-1].diagnosis, world.ended[-1].evidence) == (verdict, "no answer")
    assert (world.phase("a"), world.records["a"].last_cause) == (Phase.BACKOFF, verdict)


def test_a_start_that_stands_still_is_a_cause() -> None:
    world = World()
    world.declare("a")
    world.settle()
    world.advance(600.0)
    world.settle()
    assert world.ended[-1].diagnosis == "StartupTimeout"


@pytest.mark.parametrize("cause", ["OomKilled", "CrashedInRequest", "Unknown"])
def test_one_that_is_given_up_shows_the_cause_and_not_the_giving_up(cause: str) -> None:
    world = ended_by(cause, restart={"maxRestarts": 0})
    assert (world.phase("a"), world.reason("a")) == (Phase.FAILED, cause)
    assert world.status("a").message.endswith("; try again with: reconciler restart a")
