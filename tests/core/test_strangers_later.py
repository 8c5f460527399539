"""Strangers of a service, on the port of a server that rests or runs, and requests that come to nothing."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.model import Exit, GateFacts, Identity, Phase
from reconciler.core.observed import Listener, Stranger
from reconciler.core.server import NOT_LOOKED
from tests.core.states import ready
from tests.core.test_strangers import PORT, row, world_with
from tests.core.worlds import World, document_of, health_of

# ---------------------------------------------------------------- of a service


def test_one_of_a_service_is_taken_over_by_request_alone() -> None:
    world = world_with(unit="--user llama.service")
    disable = "systemctl disable --now --user llama.service"
    assert world.status("a").message == (
        "port 8001 is held by pid 101 (llama-server, user anna), a llama-server as declared, which its service may "
        f"start again; take it over as it is with: reconciler adopt a, or end it with: {disable}"
    )
    world.ask("adopt", "a")
    world.settle()
    assert row(world).found == (
        "pid 101 (llama-server, user anna), started by the service --user llama.service: llama-server --port 8001; its "
        f"service may start another one; end that with: {disable}"
    )


def test_who_crashes_again_and_again_under_another_supervisor_is_failed_in_the_end() -> None:
    world = world_with({"restart": {"maxRestarts": 3}})
    for _ in range(4):
        ready(world)
        world.process("a").end(Exit(code=1))
        world.run_by_hand(PORT)
        world.settle()
        world.advance(60.0)
        world.settle()
    assert (world.phase("a"), world.starts) == (Phase.FAILED, [])
    world.ask("adopt", "a")
    world.settle()
    assert (row(world).adopted, world.records["a"].n) == (True, 0)


@pytest.mark.parametrize("rests", ["Suspended", "StopRequested", "BackOff"])
def test_who_comes_on_the_port_of_one_that_rests_is_told(rests: str) -> None:
    world = world_with()
    ready(world)
    if rests == "Suspended":
        world.declare("a", ctx=256, port=PORT, suspend=True)
    elif rests == "StopRequested":
        world.ask("stop", "a")
    else:
        world.process("a").end(Exit(code=1))
    world.settle()
    world.run_by_hand(PORT, unit="llama.service")
    world.settle()
    told = "listens on its port 8001 meanwhile; end that with: sudo systemctl disable --now llama.service"
    assert world.reason("a") == rests
    assert world.status("a").message.endswith(told)
    world.settle()
    assert len(world.told("PortInUse")) == 1


# ---------------------------------------------------------------- requests


def test_a_request_is_not_kept_for_who_comes_once_the_gate_is_open() -> None:
    world = world_with({"ctx": 512})
    world.gates["a"] = GateFacts("ModelMissing", "no file")
    world.ask("adopt", "a")
    world.settle()
    told = ["nothing was taken over: ModelMissing: no file"]
    assert (world.told("AdoptIgnored"), world.requests["adopt"]) == (told, {})
    world.gates.clear()
    world.settle()
    assert world.instances == {}


def test_a_request_is_kept_while_the_gate_is_still_looked_at() -> None:
    world = world_with(unit="llama.service")
    world.gates["a"] = replace(NOT_LOOKED, message="its flags are being held against: llama-server --help")
    world.ask("adopt", "a")
    world.settle()
    assert (world.told("AdoptIgnored"), list(world.requests["adopt"])) == ([], ["a"])
    world.gates.clear()
    world.settle()
    assert row(world).adopted


def test_one_process_is_taken_over_once() -> None:
    world = World()
    world.run_by_hand(PORT, address="0.0.0.0")
    for name, host in (("a", "127.0.0.1"), ("b", "127.0.0.2")):
        world.declare(name, ctx=256, port=PORT, host=host)
        world.ask("adopt", name)
    world.settle()
    assert (list(world.instances), world.requests["adopt"], world.starts) == (["a"], {}, [])
    assert world.told("AdoptRefused")[0].endswith("server 'a' has just taken it over; declare another port")
    world.advance(1.0)
    world.settle()
    assert (world.phase("b"), list(world.instances)) == (Phase.BLOCKED, ["a"])


def test_a_request_is_done_where_nobody_is_to_be_taken_over() -> None:
    world = World(strangers=[Listener("127.0.0.1", PORT, 4242, "thing")])
    world.declare("a", ctx=256, port=PORT)
    world.ask("adopt", "a")
    world.settle()
    assert world.told("AdoptIgnored")[0].startswith("nothing was taken over: port 8001 is held by pid 4242 thing; ")
    assert (world.phase("a"), world.requests["adopt"]) == (Phase.BLOCKED, {})


def test_a_request_revives_a_failed_server() -> None:
    world = World()
    world.declare("a", ctx=512, port=PORT, restart={"maxRestarts": 0})
    world.settle()
    world.process("a").end(Exit(code=1))
    world.settle()
    assert world.phase("a") is Phase.FAILED
    world.run_by_hand(PORT)
    world.ask("adopt", "a")
    world.settle()
    assert (row(world).adopted, world.records["a"].failed, world.records["a"].n) == (True, None, 0)


IGNORED: dict[str, tuple[dict[str, Any], str]] = {
    "nobody is there": ({}, "nothing was taken over: nobody listens on port 8001; it is started as declared"),
    "it is suspended": ({"suspend": True}, "nothing was taken over: it is Suspended: suspended by its manifest"),
    "its port is auto": (
        {"port": "auto"},
        "nothing was taken over: spec.port is auto; write the port; it is started as declared",
    ),
}


@pytest.mark.parametrize("case", IGNORED)
def test_a_request_that_finds_nobody_is_done_with_a_word(case: str) -> None:
    declared, message = IGNORED[case]
    world = World()
    world.files["a"] = document_of("a", **{"port": PORT, **declared})
    world.ask("adopt", "a")
    world.settle()
    assert (world.told("AdoptIgnored"), world.requests["adopt"]) == ([message], {})


def test_a_request_for_one_that_runs_is_done_with_a_word() -> None:
    world = World()
    world.declare("a")
    world.settle()
    ready(world)
    world.ask("adopt", "a")
    world.settle()
    assert (world.told("AdoptIgnored"), world.requests["adopt"]) == (["nothing was taken over: it runs already"], {})


def test_a_request_waits_while_the_one_on_the_port_is_asked() -> None:
    world = world_with({"ctx": 512}, answers=None)
    world.ask("adopt", "a")
    world.settle()
    assert list(world.requests["adopt"]) == ["a"]


# ---------------------------------------------------------------- beside a server that runs


def test_one_that_shares_the_port_of_a_ready_server_takes_its_readiness() -> None:
    world = World()
    world.declare("a", port=PORT)
    world.settle()
    ready(world)
    thief = Stranger(Identity("boot-1", 900, 1), "127.0.0.1", PORT, "thief", user="ben")
    world.sharers["a"] = thief
    world.settle()
    message = "pid 900 (thief, user ben) listens on port 8001 too and gets part of its requests; end it with: "
    assert (world.phase("a"), world.reason("a")) == (Phase.UNHEALTHY, "PortShared")
    assert world.status("a").message == f"{message}sudo kill 900"
    assert world.told("PortShared") == [f"{message}sudo kill 900"]
    assert not next(found.status for found in world.status("a").conditions if found.type == "Ready")
    world.process("a").health = health_of()
    world.advance(600.0)
    world.settle()
    assert (world.sent, len(world.told("PortShared")), world.phase("a")) == ([], 1, Phase.UNHEALTHY)
    world.sharers.clear()
    world.settle()
    assert world.phase("a") is Phase.READY
