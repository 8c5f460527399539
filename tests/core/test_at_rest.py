"""The shortcut for servers at rest leaves nothing out: whatever is planned in full for one comes to nothing."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.actions import Plan
from reconciler.core.at_rest import is_at_rest
from reconciler.core.history import History, Instance, Requests, ServerRecord, Stamp, StopReason, Tried
from reconciler.core.model import (
    Desired,
    Effective,
    Exit,
    Health,
    HealthState,
    Limits,
    Now,
    Phase,
    Problem,
    Process,
    Wanted,
)
from reconciler.core.observed import Observed, Stranger
from reconciler.core.plan import plan
from tests.core.worlds import World, document_of, fingerprint_of

EFFECTIVE = Effective(ctx_per_slot=512, slots=4)
Inputs = tuple[Desired, Observed, History, Requests]


def at_rest_world() -> World:
    world = World()
    world.declare("a", port=8001)
    world.settle()
    world.process("a").ready_at = 0.0
    world.let_happen()
    world.settle()
    return world


WORLD = at_rest_world()
DESIRED, OBSERVED, HISTORY, REQUESTS, NOW = WORLD.inputs()
WANTED, RECORD, INSTANCE = DESIRED.servers["a"], HISTORY.servers["a"], HISTORY.instances["a"]
[PROCESS] = OBSERVED.processes["a"]
STAMPS = [None, Stamp.of(NOW), Stamp("other-boot", 5.0, 5.0), Stamp(NOW.boot, NOW.monotonic - 30.0, 0.0)]


def altered(value: Any, **choices: list[Any]) -> st.SearchStrategy[Any]:
    """The value with up to two of its fields changed."""
    change = st.sampled_from(sorted(choices)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(choices[name]))
    )
    return st.lists(change, max_size=2).map(lambda changes: replace(value, **dict(changes)))


HEALTHS = altered(
    PROCESS.health,
    state=list(HealthState),
    verified=[False],
    failures=[1, 3, 6],
    effective=[EFFECTIVE],
    models=[({"id": "m"},)],
    message=["no answer"],
    busy_slots=[0, 1],
    slow=[2.0],
    is_unreachable=[True],
    last_progress=[999.0],
)
PROCESSES = altered(
    PROCESS, alive=[False], leader=[False], uid=["other"], exit=[Exit(code=1)], fingerprint=["1:x"], port=[9]
)
INSTANCES = altered(
    INSTANCE,
    uid=["other"],
    identity=[None, replace(PROCESS.identity, pid=7)],
    ready=STAMPS,
    first_ready=STAMPS,
    stopping=STAMPS,
    stop_reason=list(StopReason),
    terminated=STAMPS,
    fingerprint=["1:x"],
    intent=STAMPS[1:],
    diagnosis=["SpawnFailed"],
    effective=[EFFECTIVE],
    models=[({"id": "m"},)],
    generation=[0, 2],
    port=[9],
    step=[1],
    step_told=["ctx 256"],
    changes=[{"ctx": 256}, {"gpuLayers": 0}],
    hides_gpus=[True],
    spec=[{"model": "other.gguf"}],
)
RECORDS = altered(
    RECORD,
    n=[1],
    restarts=[4],
    generation=[0, 2],
    ended=STAMPS,
    delay=[4.0],
    failed=STAMPS,
    completed=[True],
    was_ready=[False],
    swept=STAMPS,
    starved=STAMPS,
    last_error=["x"],
    last_cause=["Crashed"],
    step=[1],
    tried=[(Tried(0, "as asked", "OomKilled"),)],
    ready_step=[1],
    primary_tries=[2],
    status=[None, *(replace(WORLD.status("a"), phase=phase) for phase in (Phase.STARTING, Phase.UNHEALTHY))],
)
SPECS: list[dict[str, Any]] = [
    {},
    {"suspend": True},
    {"ctx": 512},
    {"restart": {"stabilityWindow": "1s"}},
    {"port": "auto"},
    {"restart": {"retryPrimaryAfter": "30s"}},
    {"fallback": "off"},
]
DOCUMENTS = [
    replace(document_of("a", **{"port": 8001, **fields}), generation=generation)
    for fields in SPECS
    for generation in (1, 2)
]
WANTEDS = st.sampled_from(DOCUMENTS).flatmap(
    lambda document: altered(
        Wanted(document, fingerprint_of(document.spec)),
        problems=[(Problem("a.yaml", "x", server="a"),)],
        held=["x"],
        parked=["the active profile leaves it out"],
    )
)


@st.composite
def inputs(draw: st.DrawFn) -> Inputs:
    health: Health = draw(HEALTHS)
    process: Process = replace(draw(PROCESSES), health=health)
    instance: Instance = draw(INSTANCES)
    record: ServerRecord = draw(RECORDS)
    more = draw(st.sampled_from([(), (), (replace(process, uid="more"),), (replace(process, alive=False),)]))
    kinds: list[dict[str, dict[str, int]]] = [
        {},
        {},
        {"stop": {"a": 1}},
        {"restart": {"a": 1}},
        {"adopt": {"a": 1}},
        {"primary": {"a": 1}},
    ]
    asked = Requests(**draw(st.sampled_from(kinds)))
    sharers = draw(st.sampled_from([{}, {}, {"a": Stranger(PROCESS.identity, "127.0.0.1", 8001, "x")}]))
    servers = draw(st.sampled_from([{"a": draw(WANTEDS)}, {"a": WANTED}, {}]))
    return (
        replace(DESIRED, servers=servers, limits=Limits(cpu_only=draw(st.sampled_from([False, False, True])))),
        replace(OBSERVED, processes={"a": (process, *more)}, sharers=sharers),
        replace(HISTORY, servers={"a": record}, instances={"a": instance}),
        asked,
    )


def after(at: float) -> Now:
    return replace(NOW, monotonic=NOW.monotonic + at, wall=NOW.wall + at)


def in_full(given_inputs: Inputs, at: float) -> Plan:
    with patch("reconciler.core.plan.is_at_rest", return_value=False):
        return plan(*given_inputs, after(at))


@settings(max_examples=1500)
@given(inputs(), st.sampled_from([0.0, 59.0, 1e6]))
def test_at_rest_is_nothing_to_do(given_inputs: Inputs, at: float) -> None:
    if is_at_rest("a", *given_inputs, after(at)):
        in_short = plan(*given_inputs, after(at))
        assert (in_short.actions, in_short.events) == ((), ())
        assert in_full(given_inputs, at) == in_short


def test_a_server_that_is_ready_and_as_declared_is_at_rest() -> None:
    assert is_at_rest("a", DESIRED, OBSERVED, HISTORY, REQUESTS, NOW)
    assert in_full((DESIRED, OBSERVED, HISTORY, REQUESTS), 1e6) == Plan()


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("process", {"alive": False}),
        ("process", {"leader": False}),
        ("health", {"failures": 3}),
        ("health", {"state": HealthState.LOADING}),
        ("health", {"effective": EFFECTIVE}),
        ("instance", {"ready": None}),
        ("instance", {"stopping": Stamp.of(NOW)}),
        ("instance", {"fingerprint": "1:x"}),
        ("record", {"generation": 0}),
        ("record", {"status": None}),
        ("wanted", {"held": "guarded"}),
        ("wanted", {"parked": "the active profile leaves it out"}),
        ("wanted", {"problems": (Problem("a.yaml", "x", server="a"),)}),
        ("wanted", {"document": DOCUMENTS[2]}),
    ],
)
def test_anything_amiss_is_looked_at_in_full(which: str, change: dict[str, Any]) -> None:
    health = replace(PROCESS.health, **change) if which == "health" else PROCESS.health
    process = replace(PROCESS, health=health, **change if which == "process" else {})
    found: Inputs = (
        replace(DESIRED, servers={"a": replace(WANTED, **change if which == "wanted" else {})}),
        replace(OBSERVED, processes={"a": (process,)}),
        History(
            {"a": replace(RECORD, **change if which == "record" else {})},
            {"a": replace(INSTANCE, **change if which == "instance" else {})},
        ),
        REQUESTS,
    )
    assert not is_at_rest("a", *found, NOW)
    assert in_full(found, 0.0) != Plan()


def test_one_that_is_not_stable_yet_rests_until_it_is() -> None:
    found = (DESIRED, OBSERVED, replace(HISTORY, servers={"a": replace(RECORD, n=1)}), REQUESTS)
    assert INSTANCE.ready
    stable_at = INSTANCE.ready.after(60.0)
    assert is_at_rest("a", *found, NOW)
    assert plan(*found, NOW) == Plan(wake_at=stable_at)
    late = replace(NOW, monotonic=stable_at)
    assert not is_at_rest("a", *found, late)
    assert plan(*found, late).actions


@pytest.mark.parametrize("kind", ["stop", "restart", "adopt"])
def test_a_request_wakes_it(kind: str) -> None:
    asked = Requests(**{kind: {"a": 1}})
    assert not is_at_rest("a", DESIRED, OBSERVED, HISTORY, asked, NOW)
