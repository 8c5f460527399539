"""A busy server is told from one that hangs, and one that answers `/health` from one that works."""

import asyncio
import resource
from typing import Any

import pytest

from reconciler.controller import working
from reconciler.core.model import HealthState
from reconciler.runtimes.host import Progress
from tests.controller.answering import HANG, LOADING, OK, Reply, Scripted, serving, until
from tests.controller.probed import FAST, Computing, Probed, probing, server, target

pytestmark = pytest.mark.anyio
IDLE: Reply = (200, [{"id": 0, "is_processing": False}])
DONE: Reply = (200, {"content": "x"})
BROKEN: Reply = (500, {"error": {"message": "Compute error."}})


def busy(read: int) -> Reply:
    return (200, [{"id": 0, "is_processing": True, "id_task": 1, "n_prompt_tokens_processed": read}])


def probes(**liveness: Any) -> dict[str, Any]:
    defaults = {"period": "20ms", "timeout": "100ms", "stall": "0s", "completionPeriod": "30ms"}
    return {"probes": {**FAST, "liveness": {**defaults, **liveness}}}


async def count(asked: Scripted, path: str, more: int) -> None:
    """Let so many more looks happen."""
    enough = asked.asked.count(path) + more
    await until(lambda: asked.asked.count(path) >= enough)


# ---------------------------------------------------------------- silence


async def test_a_server_that_computes_is_busy_and_one_that_does_not_hangs() -> None:
    machine = Computing(computes=True)
    async with serving(server([OK, HANG])) as port:
        with probing(target(port, spec=probes()), machine) as probed:
            health = await probed.until(HealthState.BUSY)
            assert (health.failures, health.verified) == (0, True)
            assert health.message == "/health: no answer within 0.1 s, but it computes"
            seen = len(probed.seen)
            await asyncio.sleep(0.4)
            assert len(probed.seen) == seen, "busy for long is no news"
            machine.computes = False
            await until(lambda: probed.health.failures >= 6)
            assert probed.health.message == "/health: no answer within 0.1 s"
            machine.computes = True
            assert (await probed.until(HealthState.BUSY)).failures == 0


async def test_busy_has_an_end() -> None:
    async with serving(server([OK, HANG])) as port:
        with probing(target(port, spec=probes(busyLimit="500ms")), Computing(computes=True)) as probed:
            await probed.until(HealthState.BUSY)
            health = await probed.until(HealthState.FAILING)
            await until(lambda: probed.health.failures >= 6)
    assert health.message == (
        "/health: no answer within 0.1 s, for 500ms or longer, though it computes; "
        "if it is that slow, raise probes.liveness.busyLimit"
    )


async def test_an_answer_ends_busy_and_sets_its_limit_back() -> None:
    slow = [OK, *[HANG, HANG, OK] * 6, OK]
    async with serving(server(slow)) as port:
        with probing(target(port, spec=probes(busyLimit="400ms")), Computing(computes=True)) as probed:
            await until(lambda: [health.state for health in probed.seen].count(HealthState.BUSY) >= 6)
    assert {health.failures for health in probed.seen} == {0}


@pytest.mark.parametrize("reply", [(500, {"error": {"message": "broken"}}), (200, b"hello")])
async def test_computing_excuses_no_wrong_answer(reply: Reply) -> None:
    async with serving(server([OK, reply])) as port:
        with probing(target(port, spec=probes()), Computing(computes=True)) as probed:
            await until(lambda: probed.health.failures >= 6)


async def test_computing_excuses_nobody_who_does_not_listen() -> None:
    async with serving(server([OK])) as port:
        pass
    with probing(target(port, was_ready=True, spec=probes()), Computing(computes=True)) as probed:
        await until(lambda: probed.health.failures >= 6)


async def test_want_of_descriptors_is_no_failure_of_the_server() -> None:
    asked = server([OK], slots=[IDLE], completion=[DONE])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True)), Computing()) as probed:
            await count(asked, "/completion", 1)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
            try:
                await asyncio.sleep(0.05)  # what was connected before is answered still
                looks = len(asked.asked)
                await asyncio.sleep(0.5)
                assert len(asked.asked) == looks
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await count(asked, "/completion", 1)
    assert {health.failures for health in probed.seen} == {0}


# ---------------------------------------------------------------- slots


async def test_slots_that_stand_still_are_failures_until_they_go_on() -> None:
    asked = server([OK], slots=[IDLE, busy(1), busy(2), busy(2)])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(stall="200ms")), Computing()) as probed:
            await until(lambda: probed.health.failures >= 6)
            health = probed.health
            assert health.state is HealthState.FAILING
            assert (
                health.message == "slots at work: 1, but nothing has moved for 200ms or longer: no counter, no CPU time"
            )
            asked.replies["/slots"].append(busy(3))
            await probed.until(HealthState.OK)
            assert (probed.health.failures, probed.health.message) == (0, "")


async def test_counters_that_move_are_work() -> None:
    asked = server([OK], slots=[busy(number) for number in range(1000)])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(stall="100ms", busyLimit="200ms")), Computing()) as probed:
            await count(asked, "/slots", 15)
    assert {health.failures for health in probed.seen} == {0}


async def test_computing_without_a_counter_is_work_up_to_the_limit() -> None:
    asked = server([OK], slots=[busy(2)])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(stall="100ms")), Computing(computes=True)) as probed:
            await count(asked, "/slots", 15)
            assert {health.failures for health in probed.seen} == {0}
        with probing(target(port, spec=probes(stall="100ms", busyLimit="600ms")), Computing(computes=True)) as probed:
            await until(lambda: probed.health.failures >= 6)
            assert probed.health.message == (
                "slots at work: 1, but no counter has moved for 600ms or longer, though it computes; "
                "if it is that slow, raise probes.liveness.busyLimit"
            )


async def test_a_slow_health_takes_no_work_away_from_the_slots() -> None:
    """What is measured for the one is not what the other is judged by."""
    asked = server([OK], slots=[busy(2)])
    asked.delays["/health"] = 0.14
    machine = Computing(computes=True, share=0.2)
    async with serving(asked) as port:
        with probing(target(port, spec=probes(timeout="400ms", stall="200ms")), machine) as probed:
            await count(asked, "/slots", 8)
    assert {health.failures for health in probed.seen} == {0}


@pytest.mark.parametrize("computes", [True, False])
async def test_slots_that_do_not_answer(computes: bool) -> None:
    """Older builds do not answer while they decode, which takes CPU time."""
    asked = server([OK], slots=[HANG])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(stall="200ms")), Computing(computes=computes)) as probed:
            if computes:
                await count(asked, "/slots", 8)
                assert {health.failures for health in probed.seen} == {0}
            else:
                await until(lambda: probed.health.failures >= 6)
                assert probed.health.message.startswith("/slots does not answer, and nothing has moved for 200ms")


@pytest.mark.parametrize(
    ("reply", "most"),
    [((501, {}), 1), ((401, {}), 1), ((500, {}), 100), ((200, b"garbage"), 100), ((200, b"x" * 2_000_000), 100)],
)
async def test_slots_that_are_not_told_say_nothing(reply: Reply, most: int) -> None:
    asked = server([OK], slots=[reply])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(stall="50ms")), Computing()) as probed:
            await count(asked, "/slots", 1)
            await count(asked, "/health", 15)
    assert {health.failures for health in probed.seen} == {0}
    assert asked.asked.count("/slots") <= most


@pytest.mark.parametrize(
    "one",
    [
        {"spec": {**probes(stall="50ms"), "flags": {"sleep-idle-seconds": 5}}},
        {"spec": probes(stall="0s")},
        {"spec": probes(stall="50ms", completion=True), "adopted": True},
    ],
)
async def test_whose_slots_are_not_looked_at(one: dict[str, Any]) -> None:
    asked = server([OK], slots=[busy(1)])
    async with serving(asked) as port:
        with probing(target(port, **one), Computing()):
            await count(asked, "/health", 15)
    assert set(asked.asked) == {"/health", "/props", "/v1/models"}


async def test_slots_are_looked_at_now_and_then_only() -> None:
    asked = server([OK], slots=[busy(1)])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(stall="2m")), Computing()):
            await count(asked, "/health", 15)
    assert asked.asked.count("/slots") == 0
    assert working.LOOK == 30.0


# ---------------------------------------------------------------- completions


async def test_completions_that_fail_are_failures_until_one_passes() -> None:
    asked = server([OK], slots=[IDLE], completion=[DONE, BROKEN])
    async with serving(asked) as port:
        with probing(target(port, api_key="key", spec=probes(completion=True)), Computing()) as probed:
            await until(lambda: probed.health.failures >= 6)
            assert (probed.health.state, probed.health.message) == (
                HealthState.FAILING,
                "/completion: answers 500: Compute error.",
            )
            failing = [health.failures for health in probed.seen]
            asked.replies["/completion"].append(DONE)
            await probed.until(HealthState.OK)
            assert (probed.health.failures, probed.health.message) == (0, "")
    assert failing == sorted(failing), "a 200 on /health does not set it back"
    first = asked.requests[asked.asked.index("/completion")]
    assert first.startswith("POST /completion")
    assert "Bearer key" in first


@pytest.mark.parametrize("slots", [busy(1), HANG])
async def test_only_an_idle_server_is_asked_for_one(slots: Reply) -> None:
    asked = server([OK], slots=[slots], completion=[BROKEN])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True)), Computing()) as probed:
            await count(asked, "/slots", 5)
    assert "/completion" not in asked.asked
    assert {health.failures for health in probed.seen} == {0}


@pytest.mark.parametrize("computes", [True, False])
async def test_without_slots_cpu_time_tells_who_is_idle(computes: bool) -> None:
    asked = server([OK], slots=[(501, {})], completion=[BROKEN])
    async with serving(asked) as port:
        spec = probes(completion=True, completionPeriod="200ms")
        with probing(target(port, spec=spec), Computing(computes=computes)) as probed:
            if computes:
                await asyncio.sleep(1.0)
                assert asked.asked.count("/completion") <= 1, "of before the first look nothing is known"
            else:
                await until(lambda: probed.health.failures >= 3)


async def test_what_our_own_completion_took_is_nobodys_work() -> None:
    asked = server([OK], slots=[(501, {})], completion=[DONE])

    class Answering(Computing):
        def progress(self, _pid: int) -> Progress:
            return Progress(float(asked.asked.count("/completion")), 0)

    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True, completionPeriod="100ms")), Answering()):
            await count(asked, "/completion", 2)
            began = asyncio.get_running_loop().time()
            await count(asked, "/completion", 4)
    assert asyncio.get_running_loop().time() - began < 0.7, "each second one was left out"


@pytest.mark.parametrize("computes", [True, False])
async def test_a_completion_that_is_not_answered(computes: bool) -> None:
    """Behind somebody else's request it waits; where nothing is computed, nobody's is answered."""
    asked = server([OK], slots=[IDLE], completion=[HANG])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True)), Computing(computes=computes)) as probed:
            await count(asked, "/completion", 4)
            if computes:
                assert {health.failures for health in probed.seen} == {0}
            else:
                await until(lambda: probed.health.failures >= 3)
                assert probed.health.message == "/completion: no answer within 0.1 s"


async def test_one_that_is_refused_is_no_failure_and_is_told() -> None:
    asked = server([OK], slots=[IDLE], completion=[(401, {"error": {"message": "Invalid API Key"}})])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True)), Computing()) as probed:
            await until(lambda: probed.health.message)
            await count(asked, "/completion", 5)
            assert (probed.health.state, probed.health.failures) == (HealthState.OK, 0)
            assert probed.health.message == "no completion can be tried: /completion answers 401: Invalid API Key"


async def test_failures_are_forgotten_when_it_loads_anew_and_when_the_probe_is_taken_out() -> None:
    asked = server([OK], slots=[IDLE], completion=[BROKEN])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True, completionPeriod="1h")), Computing()) as probed:
            await until(lambda: probed.health.failures == 1)
            asked.replies["/health"].extend([LOADING, OK])
            await probed.until(HealthState.LOADING)
            await probed.until(HealthState.OK)
            assert probed.health.failures == 0
        with probing(target(port, spec=probes(completion=True)), Computing()) as probed:
            await until(lambda: probed.health.failures >= 2)
            probed.retarget(spec=target(port, spec=probes()).spec)
            await probed.until(HealthState.OK)


async def test_a_changed_label_sets_nothing_back() -> None:
    asked = server([OK], slots=[IDLE], completion=[BROKEN])
    async with serving(asked) as port:
        with probing(target(port, spec=probes(completion=True)), Computing()) as probed:
            await until(lambda: probed.health.failures >= 2)
            relabelled(probed)
            await count(asked, "/health", 3)
            assert probed.health.failures >= 2


def relabelled(probed: Probed) -> None:
    """Another target that is asked in the same way."""
    probed.retarget(server="chat")


async def test_a_drain_asks_for_no_completion() -> None:
    asked = server([OK], slots=[IDLE], completion=[BROKEN])
    async with serving(asked) as port:
        with probing(target(port, was_ready=True, draining=True, spec=probes(completion=True)), Computing()):
            await count(asked, "/slots", 5)
    assert "/completion" not in asked.asked
