"""What restarts a running server, when it must go on, and what servers share: ports and load slots."""

from typing import Any

import pytest

from reconciler.core.actions import Plan, Start
from reconciler.core.model import Effective, Exit, GateFacts, Health, HealthState, Limits, Phase
from reconciler.core.observed import Listener
from reconciler.core.plan import STARTS_PER_PASS
from tests.core.states import SHUT, crash, declares, ready, running, starting, unhealthy
from tests.core.worlds import World, document_of, health_of


def two(a: dict[str, Any], b: dict[str, Any], **world_fields: Any) -> World:
    """`a` and `b`, both Ready."""
    world = World(**world_fields)
    world.declare("a", **a)
    world.declare("b", **b)
    world.settle()
    ready(world, "a")
    ready(world, "b")
    return world


def started(plan: Plan) -> dict[str, int]:
    return {action.server: action.port for action in plan.actions if isinstance(action, Start)}


# ---------------------------------------------------------------- what restarts


@pytest.mark.parametrize(
    ("fields", "restarts"),
    [
        ({"ctx": 1024}, True),
        ({"port": 9001}, True),
        ({"host": "0.0.0.0"}, True),
        ({"env": {"A": "1"}}, True),
        ({"binary": "/opt/llama-server"}, True),
        ({"labels": {"team": "x"}}, False),
        ({"probes": {"liveness": {"period": "9s"}}}, False),
        ({"restart": {"maxRestarts": 9}}, False),
        ({"stop": {"gracePeriod": "9s"}}, False),
        ({"file": "elsewhere.yaml"}, False),
        ({"suspend": False}, False),
    ],
    ids=str,
)
def test_only_a_changed_fingerprint_restarts(fields: dict[str, Any], restarts: bool) -> None:
    world = running()
    before = world.process("a").uid
    declares(**fields)(world)
    world.settle()
    assert (world.process("a").uid != before) == restarts
    if restarts:
        assert world.told("Stopping") == [f"instance {before} (pid {world.sent[0][1].pid}): SpecChanged"]


def test_what_nothing_was_changed_of_is_left_in_peace() -> None:
    world = two({}, {})
    declares(ctx=512)(world)
    world.settle()
    assert len(world.sent) == 1
    assert [start.server for start in world.starts] == ["a", "b", "a"]


# ---------------------------------------------------------------- law 6


def test_a_shut_gate_keeps_the_running_one() -> None:
    world = running()
    world.gates["a"] = SHUT
    declares(model="other.gguf")(world)
    assert world.settle().wake_at == world.now.monotonic + 1.0
    assert (world.sent, world.phase("a")) == ([], Phase.READY)
    assert world.reason("a", "Reconciled") == "GateShut"
    assert world.status("a").message == (f"ModelMissing: {SHUT.message}; until then the instance that runs stays")
    del world.gates["a"]
    world.settle()
    assert (world.phase("a"), len(world.sent)) == (Phase.STARTING, 1)


def test_a_restart_waits_for_the_gate_too() -> None:
    world = running()
    world.gates["a"] = SHUT
    world.ask("restart", "a")
    world.settle()
    assert (world.sent, "a" in world.requests["restart"]) == ([], True)


def test_a_change_taken_back_restarts_nothing() -> None:
    world = running()
    world.gates["a"] = SHUT
    declares(ctx=512)(world)
    world.settle()
    world.declare("a")
    world.settle()
    assert (world.sent, world.reason("a", "Reconciled"), world.status("a").message) == ([], "AsDeclared", "")


def test_a_new_port_that_a_stranger_holds_keeps_the_running_one() -> None:
    world = running()
    world.strangers.append(Listener("0.0.0.0", 9001, 77, "nginx"))
    declares(port=9001)(world)
    world.settle()
    assert world.sent == []
    assert world.status("a").message.startswith("the new port is held by pid 77 nginx;")


def test_a_server_keeps_its_own_port_through_a_restart() -> None:
    world = running(port=9001)
    world.ask("restart", "a")
    world.settle()
    assert (world.phase("a"), world.process("a").port) == (Phase.STARTING, 9001)


# ---------------------------------------------------------------- ports


def test_two_servers_swap_ports() -> None:
    world = two({"port": 8001}, {"port": 8002})
    world.process("b").obeys = False
    world.declare("a", port=8002)
    world.declare("b", port=8001)
    world.settle()
    assert (world.phase("a"), world.phase("b")) == (Phase.PENDING, Phase.STOPPING)
    assert world.reason("a") == "WaitingForPort"
    assert world.status("a").message == "port 8002 is still held by server 'b', which is stopping"
    assert world.last.wake_at == world.now.monotonic + 1.0
    world.process("b").end(Exit(code=0))
    world.settle()
    assert (world.process("a").port, world.process("b").port) == (8002, 8001)


def test_a_swap_with_one_that_cannot_start_moves_neither() -> None:
    world = two({"port": 8001}, {"port": 8002}, gates={})
    world.gates["b"] = SHUT
    world.declare("a", port=8002)
    world.declare("b", port=8001)
    world.settle()
    assert world.sent == []
    assert world.status("a").message.startswith("the new port is held by server 'b';")


def test_a_chain_of_moves_is_made_or_not_as_a_whole() -> None:
    world = World()
    for name, port in (("a", 8001), ("b", 8002), ("c", 8003)):
        world.declare(name, port=port)
    world.settle()
    for name in "abc":
        ready(world, name)
    world.strangers.append(Listener("127.0.0.1", 8004, 77, "nginx"))
    for name, port in (("a", 8002), ("b", 8003), ("c", 8004)):
        world.declare(name, port=port)
    world.settle()
    assert world.sent == []
    world.strangers.clear()
    world.settle()
    assert {name: world.process(name).port for name in "abc"} == {"a": 8002, "b": 8003, "c": 8004}


SEE_WHOSE = "declare another port, or see whose it is, and end that: sudo ss -ltnp 'sport = :8001'"


@pytest.mark.parametrize(
    ("listener", "message"),
    [
        (
            Listener("127.0.0.1", 8001, 77, "nginx"),
            f"port 8001 is held by pid 77 nginx; {SEE_WHOSE}",
        ),
        (Listener("::", 8001), f"port 8001 is held by another program; {SEE_WHOSE}"),
    ],
)
def test_a_stranger_on_the_port_is_named(listener: Listener, message: str) -> None:
    world = World(strangers=[listener])
    world.declare("a", port=8001)
    world.settle()
    assert (world.phase("a"), world.reason("a"), world.status("a").message) == (Phase.BLOCKED, "PortInUse", message)
    assert (world.records["a"].n, world.told("PortInUse")) == (0, [message])
    assert world.last.wake_at == world.now.monotonic + 1.0
    world.strangers[:] = [Listener("10.0.0.9", 8001, 77, "nginx")]
    world.settle()
    assert world.phase("a") is Phase.STARTING


def test_an_explicit_port_that_an_automatic_one_took_is_told_with_the_way_out() -> None:
    world = running()
    port = world.process("a").port
    world.declare("c", port=port)
    world.settle()
    assert world.status("c").message == (
        f"port {port} is held by server 'a'; declare another port, or if its port is auto, "
        "move it with: reconciler restart a"
    )
    world.ask("restart", "a")
    world.settle()
    assert (world.process("c").port, world.process("a").port != port) == (port, True)


def test_automatic_ports_are_the_lowest_free_ones_and_kept() -> None:
    world = World(strangers=[Listener("127.0.0.1", 8002, 77)])
    world.declare("a")
    world.declare("b", port=8001)
    world.declare("c")
    world.settle()
    assert {name: world.process(name).port for name in "abc"} == {"a": 8003, "b": 8001, "c": 8004}
    world.files.pop("b")
    world.settle()
    world.advance(2.0)
    world.settle()
    crash(world)
    world.advance(0.5)
    world.settle()
    assert world.process("a").port == 8003


def test_an_automatic_port_that_a_stranger_took_is_given_up() -> None:
    world = running()
    port = world.process("a").port
    crash(world)
    world.strangers.append(Listener("127.0.0.1", port, 77))
    world.advance(0.5)
    world.settle()
    assert world.phase("a") is Phase.STARTING
    assert world.process("a").port != port


def test_an_automatic_port_that_another_server_uses_is_given_up() -> None:
    world = World()
    world.declare("a", suspend=True)
    world.declare("b", port=8001)
    world.settle()
    world.ports["a"] = 8001
    world.declare("b")
    world.settle()
    assert world.process("b").port == 8001
    world.declare("a")
    world.settle()
    assert (world.phase("a"), world.process("a").port) == (Phase.STARTING, 8002)


def test_two_servers_that_kept_one_port_are_not_started_on_it_together() -> None:
    world = World(ports={"a": 8001, "b": 8001})
    world.declare("a")
    world.declare("b")
    assert started(world.run()) == {"a": 8001, "b": 8002}


def test_two_accepted_documents_on_one_port_are_not_started_together() -> None:
    world = World()
    world.declare("a", port=8001)
    world.run()
    world.documents = {"a": world.files["a"], "b": world.declare("b", port=8001)}
    world.instances.clear()
    world.processes.clear()
    assert started(world.run()) == {"a": 8001}
    assert world.phase("b") is Phase.BLOCKED


def test_a_port_is_held_before_its_server_listens() -> None:
    world = starting()
    port, world.process("a").port = world.process("a").port, 0
    world.declare("c", port=port)
    world.settle()
    assert world.phase("c") is Phase.BLOCKED
    world.files["c"] = document_of("c", port=port, host="10.0.0.1")
    world.settle()
    assert world.phase("c") is Phase.STARTING


def test_a_full_range_is_told() -> None:
    world = World(limits=Limits(port_low=8001, port_high=8001))
    world.declare("a")
    world.declare("b")
    world.settle()
    assert (world.reason("b"), world.status("b").message) == (
        "NoFreePort",
        "every port of the range for port: auto is taken; widen it in the settings",
    )


# ---------------------------------------------------------------- load slots


def test_no_more_than_the_limit_load_at_once() -> None:
    world = World(limits=Limits(loads=2))
    for name in "abc":
        world.declare(name)
    world.settle()
    assert (world.phase("c"), world.reason("c")) == (Phase.PENDING, "WaitingForSlot")
    assert world.status("c").message == "2 servers are loading, and 2 may at once"
    assert world.last.wake_at == world.now.monotonic + 60.0
    ready(world, "b")
    assert world.phase("c") is Phase.STARTING


def test_without_a_limit_all_load_at_once_and_are_started_in_turns() -> None:
    world = World(limits=Limits(loads=0))
    wanted = 3 * STARTS_PER_PASS + 1
    for number in range(wanted):
        world.declare(f"s{number}")
    starts: list[int] = []
    while not starts or starts[-1]:
        starts.append(len(started(world.run())))
        waiting = [name for name in world.records if world.reason(name) == "WaitingForTurn"]
        assert (len(waiting), world.last.wake_at == world.now.monotonic) == (wanted - sum(starts), sum(starts) < wanted)
    assert starts == [*[STARTS_PER_PASS] * 3, 1, 0]


def test_those_that_were_ready_go_first() -> None:
    world = World(limits=Limits(loads=1))
    world.declare("z")
    world.settle()
    ready(world, "z")
    crash(world, "z")
    world.declare("a")
    world.declare("b")
    world.advance(0.5)
    assert list(started(world.run())) == ["z"]
    ready(world, "z")
    assert [start.server for start in world.starts] == ["z", "z", "a"]


def test_a_loader_without_progress_gives_its_slot_back_and_one_with_keeps_it() -> None:
    world = World(limits=Limits(loads=1))
    world.declare("a")
    world.settle()
    world.declare("b")
    world.settle()
    world.advance(50.0)
    world.process("a").health = Health(HealthState.LOADING, last_progress=world.now.monotonic)
    world.advance(10.0)
    assert world.settle().wake_at == world.now.monotonic + 50.0
    assert world.phase("b") is Phase.PENDING
    world.advance(50.0)
    world.settle()
    assert (world.phase("a"), world.phase("b")) == (Phase.STARTING, Phase.STARTING)


def test_what_cannot_start_takes_no_slot() -> None:
    world = World(limits=Limits(loads=1), gates={"a": SHUT})
    world.declare("a")
    world.declare("b")
    world.settle()
    assert (world.phase("a"), world.phase("b")) == (Phase.BLOCKED, Phase.STARTING)


# ---------------------------------------------------------------- health


def test_ready_is_told_with_what_the_server_reports() -> None:
    world = starting()
    world.advance(1.5)
    ready(world)
    pid = world.process("a").identity.pid
    assert world.told("Ready")[-1] == f"pid {pid} is ready after 1.5 s"
    instance = world.instances["a"]
    assert instance.ready == instance.first_ready
    assert world.records["a"].was_ready


def test_what_the_server_reports_is_kept() -> None:
    world = running()
    effective, models = Effective(ctx_per_slot=512, slots=4), ({"id": "m"},)
    world.process("a").health = health_of(effective=effective, models=models)
    world.settle()
    assert (world.instances["a"].effective, world.instances["a"].models) == (effective, models)


def test_loading_is_told_from_not_listening_yet() -> None:
    world = starting()
    assert world.reason("a") == "Starting"
    world.process("a").health = Health(HealthState.LOADING, last_progress=world.now.monotonic)
    world.settle()
    assert world.reason("a") == "Loading"


def test_a_503_of_a_ready_server_is_not_a_start() -> None:
    world = running()
    world.process("a").health = health_of(HealthState.LOADING)
    world.settle()
    assert (world.phase("a"), world.reason("a"), world.sent) == (Phase.READY, "Loading", [])
    assert world.status("a").message == "it answers 503: loading again"
    ready(world)
    assert (world.reason("a"), world.told("Ready")[-1]) == ("Ready", "it answers again")


@pytest.mark.parametrize("failures", [0, 1])
def test_what_stopped_answering_is_not_ready_before_it_answers(failures: int) -> None:
    world = unhealthy()
    state = HealthState.FAILING if failures else HealthState.UNKNOWN
    world.process("a").health = health_of(state, failures=failures)
    world.settle()
    assert (world.phase("a"), world.reason("a")) == (Phase.UNHEALTHY, "NotAnswering")
    ready(world)
    assert world.reason("a") == "Ready"


def test_unhealthy_is_told() -> None:
    world = unhealthy()
    assert world.status("a").message == "3 probes failed: no answer"
    assert world.told("Unhealthy") == ["3 probes in a row failed: no answer"]


def test_a_stranger_that_answers_in_its_place_is_not_taken_for_it() -> None:
    world = starting()
    world.process("a").health = Health(HealthState.STRANGER, message="port 8001 is answered by another process")
    world.settle()
    assert (world.phase("a"), world.status("a").message) == (Phase.STARTING, "port 8001 is answered by another process")


def test_without_a_look_at_the_gate_nothing_is_started() -> None:
    world = World(gates={"a": GateFacts("NotLookedYet", "the gate was not looked at yet")})
    world.declare("a")
    assert started(world.settle()) == {}
    assert world.last.wake_at == world.now.monotonic + 1.0
