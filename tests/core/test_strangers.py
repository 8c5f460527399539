"""Who is on a server's port and not ours: taken over, or told with the way out; never taken for ours."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.history import Instance, Trigger
from reconciler.core.likeness import differences
from reconciler.core.model import Exit, GateFacts, Identity, Phase
from reconciler.core.observed import Started, Stranger
from tests.core.states import ready
from tests.core.worlds import World, spec_of

PORT = 8001
AS_DECLARED = Started(model="/m/m.gguf", ctx=256)
OTHER: dict[str, Any] = {"installation": "abc", "folder": "/srv/other/state", "server": "chat"}


def world_with(declared: dict[str, Any] | None = None, **seen: Any) -> World:
    world = World()
    world.run_by_hand(PORT, **seen)
    world.declare("a", **{"ctx": 256, "port": PORT, **(declared or {})})
    world.settle()
    return world


def row(world: World) -> Instance:
    return world.instances["a"]


# ---------------------------------------------------------------- taken over


def test_one_that_is_as_declared_is_taken_over_as_it_is() -> None:
    world = world_with(output="/home/anna/chat.log")
    (_, process), instance = world.by_hand[0], row(world)
    assert (instance.adopted, instance.trigger, instance.identity) == (True, Trigger.ADOPTED, process.identity)
    assert (instance.port, instance.unlike) == (PORT, ())
    assert (world.starts, world.sent, world.phase("a")) == ([], [], Phase.STARTING)
    ready(world)
    assert (world.phase("a"), world.status("a").message) == (Phase.READY, "adopted")
    adopted = next(found for found in world.status("a").conditions if found.type == "Adopted")
    assert adopted.status
    assert adopted.message == (
        "pid 101 (llama-server, user anna), started by hand: llama-server --port 8001; its output goes to "
        "/home/anna/chat.log; replaced at the next change"
    )
    assert world.told("Adopted") == [f"taken over as it runs: {adopted.message.rpartition(';')[0]}"]
    assert world.reason("a", "Reconciled") == "AsDeclared"
    assert world.told("PortInUse") == []


@pytest.mark.parametrize("is_asked_to", [False, True])
def test_one_that_was_taken_over_runs_on_as_it_is_where_no_gpu_may_be_used(is_asked_to: bool) -> None:
    world = world_with()
    ready(world)
    if is_asked_to:
        world.ask("restart", "a")
    world.limits = replace(world.limits, cpu_only=True)
    world.settle()
    if is_asked_to:
        (start,) = world.starts
        assert start.step.hides_gpus
    else:
        assert (world.starts, world.sent, world.phase("a")) == ([], [], Phase.READY)
        assert world.reason("a", "Reconciled") == "AsDeclared"


def test_one_that_was_not_adopted_has_no_such_condition() -> None:
    world = World()
    world.declare("a")
    world.settle()
    ready(world)
    assert "Adopted" not in {condition.type for condition in world.status("a").conditions}


def test_the_next_controller_finds_it_again_by_its_row() -> None:
    world = world_with()
    ready(world)
    world.new_controller()
    world.settle()
    assert (world.starts, world.sent, len(world.told("Adopted"))) == ([], [], 1)
    assert world.process("a") is world.by_hand[0][1]


def test_without_the_database_it_is_adopted_anew() -> None:
    world = world_with()
    ready(world)
    first = row(world).uid
    for table in (world.instances, world.records, world.ports, world.processes):
        table.clear()
    world.advance(1.0)
    world.settle()
    assert (row(world).adopted, row(world).uid != first, world.starts) == (True, True, [])


def test_it_is_replaced_at_the_next_change_and_not_before() -> None:
    world = world_with()
    ready(world)
    world.declare("a", ctx=256, port=PORT, probes={"liveness": {"period": "2s"}})
    world.settle()
    assert world.sent == []
    world.declare("a", ctx=512, port=PORT)
    world.settle()
    assert world.sent == [("Terminate", world.by_hand[0][1].identity)]
    assert not row(world).adopted
    assert [start.trigger for start in world.starts] == [Trigger.SPEC_CHANGED]


def test_its_port_is_told_as_the_servers_to_others() -> None:
    world = world_with()
    ready(world)
    world.gates["a"] = GateFacts("ModelMissing", "no file")
    world.declare("a", ctx=256, port=8002)
    world.declare("b", port=PORT)
    world.settle()
    assert "port 8001 is held by server 'a';" in world.status("b").message


def test_when_it_crashes_it_is_started_as_declared() -> None:
    world = world_with()
    ready(world)
    world.process("a").end(Exit())
    world.settle()
    assert world.phase("a") is Phase.BACKOFF
    world.advance(1.0)
    world.settle()
    assert ([start.trigger for start in world.starts], row(world).adopted) == ([Trigger.CRASHED], False)


def test_one_of_another_boot_is_not_looked_for_by_its_pid() -> None:
    world = world_with()
    world.reboot("boot-2")
    world.settle()
    assert (world.ended[-1].diagnosis, world.starts[-1].trigger) == ("Rebooted", Trigger.REBOOTED)


def test_it_waits_for_the_gate_and_for_no_load_slot() -> None:
    world = World(gates={"a": GateFacts("PolicyDenied", "the port is not allowed")})
    world.limits = replace(world.limits, loads=1)
    world.declare("z", port=8050)
    world.settle()
    world.run_by_hand(PORT)
    world.declare("a", ctx=256, port=PORT)
    world.settle()
    assert (world.phase("a"), world.reason("a")) == (Phase.BLOCKED, "PolicyDenied")
    world.gates.clear()
    world.settle()
    assert row(world).adopted


def test_it_is_asked_first_and_nothing_is_told_meanwhile() -> None:
    world = world_with(answers=None)
    assert (world.phase("a"), world.reason("a")) == (Phase.PENDING, "WaitingForPort")
    assert world.events == []
    seen, process = world.by_hand[0]
    world.by_hand[0] = (replace(seen, answers=True), process)
    world.settle()
    assert row(world).adopted


def test_what_stands_on_a_command_line_cannot_break_what_is_remembered() -> None:
    started = Started(model="/m/\x1b[2J\nm.gguf", ctx=-5, parallel=10**9, flags={"x": "\x00"})
    world = world_with(started=started)
    world.ask("adopt", "a")
    world.settle()
    assert row(world).spec == {"model": "unknown", "port": PORT}
    assert "\x1b" not in world.status("a").message


def test_what_it_was_started_with_is_kept_as_a_manifest_would_write_it() -> None:
    started = replace(AS_DECLARED, gpu_layers="99", threads=2, flags={"warmup": False})
    world = world_with({"stop": {"gracePeriod": "3s"}, "flags": {"jinja": True}}, started=started)
    known = {"model": "m.gguf", "ctx": 256, "gpuLayers": 99, "threads": 2, "flags": {"warmup": False}, "port": PORT}
    assert row(world).spec == {**known, "stop": {"gracePeriod": "3s"}}


# ---------------------------------------------------------------- not as declared


@pytest.mark.parametrize(
    ("declared", "seen", "found"),
    [
        ({}, {}, ()),
        ({"ctx": None}, {"started": replace(AS_DECLARED, ctx=None)}, ()),
        ({"parallel": 2, "flags": {"jinja": True}}, {}, ()),
        ({"host": "0.0.0.0"}, {"address": "::"}, ()),
        ({"host": "localhost"}, {"address": "::1"}, ()),
        ({"ctx": 512}, {}, ("ctx 256, declared 512",)),
        ({"ctx": None}, {}, ("ctx 256, declared unset",)),
        ({"model": {"hf": "a/b:Q4"}}, {}, ("model /m/m.gguf, declared hf:a/b:Q4",)),
        ({"model": {"hf": "a/b"}}, {"started": Started(hf="a/b", ctx=256)}, ()),
        ({}, {"started": Started(ctx=256)}, ("model unknown, declared /m/m.gguf",)),
        ({}, {"address": "0.0.0.0"}, ("host 0.0.0.0, declared 127.0.0.1",)),
        ({"flags": {"api-prefix": "/x"}}, {}, ("api-prefix unset, declared /x",)),
        ({}, {"started": replace(AS_DECLARED, flags={"ssl-cert-file": "c"})}, ("scheme https, declared http",)),
        ({}, {"started": replace(AS_DECLARED, ctx=None, ctx_unread="8k")}, ("ctx unknown (8k), declared 256",)),
    ],
)
def test_what_is_not_as_declared(declared: dict[str, Any], seen: dict[str, Any], found: tuple[str, ...]) -> None:
    known = {"address": "127.0.0.1", "started": AS_DECLARED, **seen}
    stranger = Stranger(Identity("boot-1", 5, 1), port=PORT, name="llama-server", **known)
    assert tuple(map(str, differences(spec_of(**{"ctx": 256, **declared}), "/m/m.gguf", stranger))) == found


BY_ADOPTING = "take it over as it is with: reconciler adopt a, or end it with: kill 101"


@pytest.mark.parametrize(
    ("declared", "seen", "message"),
    [
        ({"ctx": 512}, {}, f", a llama-server with ctx 256, declared 512; {BY_ADOPTING}"),
        ({"adopt": "Never"}, {}, f", a llama-server as declared, but spec.adopt is Never; {BY_ADOPTING}"),
        ({}, OTHER, f", a server of the installation abc, which is no longer in /srv/other/state; {BY_ADOPTING}"),
    ],
)
def test_one_that_could_be_taken_over_is_told_with_the_two_ways(
    declared: dict[str, Any], seen: dict[str, Any], message: str
) -> None:
    world = world_with(declared, **seen)
    told = f"port 8001 is held by pid 101 (llama-server, user anna){message}"
    assert (world.phase("a"), world.reason("a"), world.status("a").message) == (Phase.BLOCKED, "PortInUse", told)
    assert (world.records["a"].n, world.told("PortInUse")) == (0, [told])
    assert world.last.wake_at == world.now.monotonic + 1.0
    world.ask("adopt", "a")
    world.settle()
    ready(world)
    assert (row(world).adopted, world.phase("a"), world.requests["adopt"]) == (True, Phase.READY, {})


def test_what_differs_is_told_while_it_runs() -> None:
    world = world_with({"ctx": 512})
    world.ask("adopt", "a")
    world.settle()
    ready(world)
    assert world.status("a").message == "adopted, with ctx 256, declared 512"
    assert (row(world).unlike, row(world).spec["ctx"]) == (("ctx 256, declared 512",), 256)
    world.advance(3600.0)
    world.settle()
    assert (world.sent, world.starts) == ([], [])


NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "another program": (
        {"name": "nginx", "started": None, "answers": False},
        "(nginx, user anna): no llama-server answers there; end it with: kill 101, or declare another port",
    ),
    "a silent one": (
        {"answers": False},
        "(llama-server, user anna): no llama-server answers there; end it with: kill 101, or declare another port",
    ),
    "another user's": (
        {"user": "ben", "is_same_user": False},
        "(llama-server, user ben): it is another user's; end it with: sudo kill 101, or declare another port",
    ),
    "another installation's": (
        {**OTHER, "folder": "/srv/my state", "is_at_home": True},
        (
            "(llama-server, user anna): it is server 'chat' of the installation in /srv/my state; stop it with: "
            "reconciler --state '/srv/my state' stop chat, or declare another port"
        ),
    ),
    "another installation's in a container": (
        {**OTHER, "folder": "/state", "is_at_home": True, "is_contained": True},
        (
            "(llama-server, user anna): it is server 'chat' of the installation in /state; stop it in its container "
            "with: reconciler --state /state stop chat, or declare another port"
        ),
    ),
    "one of an installation without a folder": (
        {"installation": "abc", "server": "chat"},
        (
            "(llama-server, user anna): it is a server of the installation abc; stop it from that one's folder with: "
            "reconciler stop chat, or end it with: kill 101"
        ),
    ),
}


@pytest.mark.parametrize("case", NEVER)
def test_one_that_nobody_may_take_over_is_told_with_what_helps(case: str) -> None:
    seen, message = NEVER[case]
    world = world_with(**seen)
    assert (world.phase("a"), world.reason("a")) == (Phase.BLOCKED, "PortInUse")
    assert world.status("a").message == f"port 8001 is held by pid 101 {message}"
    world.ask("adopt", "a")
    world.settle()
    assert (world.instances, world.requests["adopt"], world.sent) == ({}, {}, [])
    who, _, why = message.partition("): ")
    assert world.told("AdoptRefused") == [f"pid 101 {who}) is not taken over: {why}"]


def test_what_a_mark_says_is_quoted_where_it_is_to_be_pasted() -> None:
    world = world_with(installation="abc", server="x; rm -rf ~", folder="/srv/$(id)", is_at_home=True)
    assert "reconciler --state '/srv/$(id)' stop 'x; rm -rf ~', or" in world.status("a").message


def test_of_several_on_one_port_none_is_taken_over() -> None:
    world = world_with(answers=None)
    world.run_by_hand(PORT)
    world.settle()
    assert world.status("a").message.endswith("it shares the port with others; end them with: kill 101 102")
