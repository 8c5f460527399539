"""Worlds with a server `a` in a given state, and what can happen to it. A second server, `b`, is only there."""

from collections.abc import Callable
from typing import Any

from reconciler.core.model import Exit, GateFacts, Health, HealthState, Phase
from tests.core.worlds import World, health_of

SHUT = GateFacts("ModelMissing", "no file at /m/a.gguf; copy the model there, or correct spec.model")
CRASH = Exit(code=1)


def ready(world: World, name: str = "a") -> None:
    """Let it load, and be seen as Ready."""
    world.process(name).health = health_of()
    world.settle()


def crash(world: World, name: str = "a", exit_: Exit = CRASH) -> None:
    world.process(name).end(exit_)
    world.settle()


def crash_until_failed(world: World, name: str = "a") -> None:
    for _ in range(10):
        crash(world, name)
        if world.phase(name) is Phase.FAILED:
            return
        world.advance(10.0)
        world.settle()
    raise AssertionError(f"{name} is not Failed after ten crashes, but {world.phase(name)}")


def starting(**fields: Any) -> World:
    world = World()
    world.declare("b", suspend=False)
    world.settle()
    ready(world, "b")
    world.declare("a", **fields)
    world.settle()
    return world


def running(**fields: Any) -> World:
    world = starting(**fields)
    ready(world)
    return world


def unhealthy(**fields: Any) -> World:
    world = running(**fields)
    fail_probes(3)(world)
    world.settle()
    return world


def stopping(**fields: Any) -> World:
    """It was told to end, for another ctx, and has not heard it yet."""
    world = running(**fields)
    world.process("a").obeys = False
    world.declare("a", **{**fields, "ctx": 512})
    world.settle()
    return world


def backing_off(**fields: Any) -> World:
    world = running(**fields)
    crash(world)
    return world


def failed(**fields: Any) -> World:
    world = running(**fields)
    crash_until_failed(world)
    return world


def blocked(**fields: Any) -> World:
    world = World(gates={"a": SHUT})
    world.declare("b")
    world.declare("a", **fields)
    world.settle()
    return world


def suspended(**fields: Any) -> World:
    return starting(**{**fields, "suspend": True})


def pending(**fields: Any) -> World:
    world = World()
    world.limits = type(world.limits)(loads=1)
    world.declare("b")
    world.settle()
    world.declare("a", **fields)
    world.settle()
    return world


def completed(**fields: Any) -> World:
    world = running(**{**fields, "restart": {"policy": "OnFailure"}})
    crash(world, exit_=Exit(code=0))
    return world


def parked(**fields: Any) -> World:
    world = running(**fields)
    left_out(world)
    world.settle()
    return world


STATES: dict[str, Callable[..., World]] = {
    "Starting": starting,
    "Ready": running,
    "Unhealthy": unhealthy,
    "Stopping": stopping,
    "BackOff": backing_off,
    "Failed": failed,
    "Blocked": blocked,
    "Suspended": suspended,
    "Pending": pending,
    "Completed": completed,
    "Parked": parked,
}

# ---------------------------------------------------------------- events


def exits(code: int) -> Callable[[World], None]:
    return lambda world: world.process("a").end(Exit(code=code))


def fail_probes(count: int) -> Callable[[World], None]:
    def event(world: World) -> None:
        world.process("a").health = health_of(HealthState.FAILING, failures=count, message="no answer")

    return event


def answers(state: HealthState) -> Callable[[World], None]:
    def event(world: World) -> None:
        world.process("a").health = health_of(state)

    return event


def waits(seconds: float) -> Callable[[World], None]:
    return lambda world: world.advance(seconds)


def declares(**fields: Any) -> Callable[[World], None]:
    """The file says this in addition to what it said."""

    def event(world: World) -> None:
        before = world.files["a"]
        written = before.spec.model_dump(by_alias=True, exclude_unset=True)
        world.declare("a", **{"labels": dict(before.labels), **written, **fields})

    return event


def removed(world: World) -> None:
    """Two looks agree that the document is gone."""
    del world.files["a"]
    world.settle()
    world.advance(2.0)


def asks(kind: str) -> Callable[[World], None]:
    def event(world: World) -> None:
        world.ask(kind, "a")

    return event


def gate(facts: GateFacts) -> Callable[[World], None]:
    return lambda world: world.gates.update({"a": facts})


def reboots(world: World) -> None:
    world.reboot("boot-2")


def loads(world: World) -> None:
    world.process("b").health = health_of()


def left_out(world: World) -> None:
    """A profile without it is active."""
    world.use("b")


def selected(world: World) -> None:
    """A profile with it is active."""
    world.use("a", "b")


def stalls(world: World) -> None:
    """`b` shows no sign of work for a minute."""
    world.process("b").health = Health(HealthState.LOADING, last_progress=world.now.monotonic)
    world.advance(60.0)


EVENTS: dict[str, Callable[[World], None]] = {
    "exit 0": exits(0),
    "exit 1": exits(1),
    "1 probe fails": fail_probes(1),
    "3 probes fail": fail_probes(3),
    "6 probes fail": fail_probes(6),
    "200": answers(HealthState.OK),
    "503": answers(HealthState.LOADING),
    "0.4 s": waits(0.4),
    "0.5 s": waits(0.5),
    "9 s": waits(9.0),
    "10 s": waits(10.0),
    "299 s": waits(299.0),
    "300 s": waits(300.0),
    "599 s": waits(599.0),
    "600 s": waits(600.0),
    "ctx": declares(ctx=1024),
    "label": declares(labels={"team": "x"}),
    "suspend": declares(suspend=True),
    "resume": declares(suspend=False),
    "removed": removed,
    "stop": asks("stop"),
    "restart": asks("restart"),
    "gate shuts": gate(SHUT),
    "gate opens": gate(GateFacts(identity="binary-1 model-1")),
    "other files": gate(GateFacts(identity="binary-1 model-2")),
    "other boot": reboots,
    "left out": left_out,
    "selected": selected,
    "b is loaded": loads,
    "b stalls": stalls,
}
