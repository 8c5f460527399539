"""What is learned of a server while it serves: that it is slow, gone, or another; its settings, its slots, its log."""

import time
from typing import Any

import pytest

from reconciler.controller import live_logs, served, slowness
from reconciler.controller import slots as slots_module
from reconciler.controller.live_logs import Heard
from reconciler.core.model import Effective, HealthState
from reconciler.engines.live import TooLarge
from tests.controller.answering import HANG, LOADING, OK, Reply, Scripted, serving, until
from tests.controller.probed import FAST, PROPS, Machine, Probed, probing, server, target

pytestmark = pytest.mark.anyio
IDLE: Reply = (200, [{"id": 0, "is_processing": False}])
BUSY: Reply = (200, [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": True}])
LINE = (
    "0.1 E srv    send_error: task id = 4, error: request ({}) exceeds the available context size (256 tokens), try\n"
)


def patient(**liveness: Any) -> dict[str, Any]:
    """Time enough for an answer that is slow by the patched limit."""
    return {"probes": {**FAST, "liveness": {"period": "20ms", "timeout": "600ms", **liveness}}}


async def looks(asked: Scripted, path: str, more: int) -> None:
    enough = asked.asked.count(path) + more
    await until(lambda: asked.asked.count(path) >= enough)


# ---------------------------------------------------------------- slow


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowness, "LEAST_SECONDS", 0.1)
    monkeypatch.setattr(slowness, "LATE", 0.5)


async def test_slow_is_who_takes_long_three_times_in_a_row(hasty: None) -> None:
    asked = server([OK])
    async with serving(asked) as port:
        with probing(target(port, spec=patient())) as probed:
            await until(lambda: probed.health.verified)
            asked.delays["/health"] = 0.2
            await looks(asked, "/health", 2)
            assert probed.health.slow == 0.0
            await until(lambda: probed.health.slow)
            assert 0.2 <= probed.health.slow < 0.5
            assert (probed.health.state, probed.health.failures) == (HealthState.OK, 0)
            asked.delays.clear()
            await until(lambda: not probed.health.slow)
    slow = [health.slow > 0 for health in probed.seen]
    assert [each for number, each in enumerate(slow) if number == 0 or each != slow[number - 1]] == [False, True, False]


async def test_an_answer_that_does_not_come_in_time_is_slow_too(hasty: None) -> None:
    async with serving(server([OK, HANG])) as port:
        with probing(target(port, spec=patient(timeout="150ms"))) as probed:
            await until(lambda: probed.health.slow)
            assert probed.health.slow == pytest.approx(0.15, abs=0.06)


async def test_a_loader_is_not_called_slow(hasty: None) -> None:
    asked = server([LOADING])
    asked.delays["/health"] = 0.15
    async with serving(asked) as port:
        with probing(target(port, spec=patient())) as probed:
            await looks(asked, "/health", 5)
            assert probed.health.slow == 0.0


async def test_a_loop_that_stood_still_makes_nobody_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowness, "LEAST_SECONDS", 0.1)
    asked = server([OK])
    asked.delays["/health"] = 0.02
    async with serving(asked) as port:
        with probing(target(port, spec=patient(timeout="500ms"))) as probed:
            await until(lambda: probed.health.verified)
            for _ in range(5):
                await looks(asked, "/health", 1)
                time.sleep(0.4)  # noqa: ASYNC251 - that is the point
            await looks(asked, "/health", 1)
            assert probed.health.slow == 0.0


@pytest.mark.parametrize(
    ("taken", "shown"),
    [
        ([2.0, 2.0], 0.0),
        ([2.0, 3.0, 4.0], 3.0),
        ([2.0, 0.1, 2.0, 2.0], 0.0),
        ([2.0, 2.0, 2.0, 0.1, 0.1], 2.0),
        ([2.0, 2.0, 2.0, 0.1, 2.0, 0.1, 0.1], 2.0),
        ([2.0, 2.0, 2.0, 0.1, 0.1, 0.1], 0.0),
        ([2.0, 2.0, 2.0, 2.4, 2.4, 2.4], 2.0),
        ([2.0, 2.0, 2.0, 9.0, 9.0, 9.0], 9.0),
    ],
)
def test_what_is_shown_moves_seldom(taken: list[float], shown: float) -> None:
    one = slowness.Slowness()
    for seconds in taken:
        one.note(seconds, 1.0)
    assert one.seconds == shown


@pytest.mark.parametrize(("timeout", "limit"), [(0.1, 1.0), (5.0, 1.0), (15.0, 3.0), (60.0, 12.0)])
def test_slow_is_a_fifth_of_the_timeout(timeout: float, limit: float) -> None:
    assert slowness.limit_of(timeout) == pytest.approx(limit)


# ---------------------------------------------------------------- gone


async def test_nobody_on_the_port_is_unreachable_and_silence_is_not(free_port: int) -> None:
    with probing(target(free_port, was_ready=True)) as probed:
        await until(lambda: probed.health.failures >= 2)
        assert probed.health.is_unreachable
    async with serving(server([HANG])) as port:
        with probing(target(port, was_ready=True)) as probed:
            await until(lambda: probed.health.failures >= 2)
            assert not probed.health.is_unreachable


async def test_one_that_answers_again_is_reachable(free_port: int) -> None:
    with probing(target(free_port, was_ready=True)) as probed:
        await until(lambda: probed.health.is_unreachable)
        async with serving(server([OK]), port=free_port):
            await probed.until(HealthState.OK)
            assert not probed.health.is_unreachable


async def test_a_loader_that_does_not_listen_yet_is_not_unreachable(free_port: int) -> None:
    with probing(target(free_port)) as probed:
        await probed.until(HealthState.REFUSED)
        assert not probed.health.is_unreachable


# ---------------------------------------------------------------- settings, now and then


def props(**changes: Any) -> Reply:
    return (200, {**PROPS[1], **changes})  # type: ignore[dict-item]


async def test_the_settings_are_read_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "AGAIN", 0.1)
    asked = server([OK], props=[PROPS, PROPS, props(total_slots=3)])
    async with serving(asked) as port:
        with probing(target(port)) as probed:
            await until(lambda: probed.health.effective and probed.health.effective.slots == 3)
            assert probed.health.effective == Effective(256, 3, model="/m/a.gguf", trained=512)
            assert len(probed.seen) == 2, "the same again is no news"
    assert asked.asked.count("/v1/models") == 1


async def test_a_model_that_is_another_by_now_is_a_stranger_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "AGAIN", 0.5)
    other = props(model_path="/m/other.gguf")
    asked = server([OK], props=[PROPS, other, other, other, PROPS])
    async with serving(asked) as port:
        with probing(target(port)) as probed:
            health = await probed.until(HealthState.STRANGER)
            assert health.verified
            assert "serves /m/other.gguf, not /m/a.gguf" in health.message
            before = asked.asked.count("/health")
            await probed.until(HealthState.OK)
            assert asked.asked.count("/health") <= before + 5, "at each look, until it is settled"
            assert probed.health.message == ""
    assert max(health.failures for health in probed.seen) == 3
    assert [health.failures for health in probed.seen][-1] == 0


@pytest.mark.parametrize("between", [(500, {}), LOADING, HANG])
async def test_who_answers_again_is_asked_who_it_is(between: Reply) -> None:
    asked = server([OK, between, OK])
    async with serving(asked) as port:
        with probing(target(port)) as probed:
            await until(lambda: asked.asked.count("/props") == 2)
            await looks(asked, "/health", 4)
            assert probed.health.state is HealthState.OK
    assert asked.asked.count("/props") == 2


@pytest.mark.parametrize("reply", [HANG, (500, b""), (401, {}), (200, b"garbage")])
async def test_settings_that_are_not_told_again_stay_as_they_were(
    monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(served, "AGAIN", 0.05)
    asked = server([OK], props=[PROPS, reply])
    async with serving(asked) as port:
        with probing(target(port)) as probed:
            await looks(asked, "/props", 3)
            await looks(asked, "/health", 2)
            assert (probed.health.state, probed.health.failures) == (HealthState.OK, 0)
            assert probed.health.effective == Effective(256, 2, model="/m/a.gguf", trained=512)
            assert len(probed.seen) == 1


async def test_of_one_that_was_ready_before_all_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "AGAIN", 0.1)
    asked = server([OK])
    log = "load_tensors: offloaded 3/5 layers to GPU\nload_tensors: CUDA0 model buffer size = 9.00 MiB\n"
    async with serving(asked) as port:
        with probing(target(port, was_ready=True), Machine(log=log)) as probed:
            await until(lambda: probed.health.effective)
            await looks(asked, "/props", 2)
            assert probed.health.effective == Effective(256, 2, "3/5", "CUDA0", "/m/a.gguf", 512)
    assert asked.asked.count("/v1/models") == 1


@pytest.mark.parametrize(
    ("devices", "log", "spec", "device"),
    [
        (False, "", {}, "CPU"),
        (True, "", {}, ""),
        (None, "", {}, ""),
        (True, "load_tensors: CUDA0 model buffer size = 9.00 MiB", {}, "CUDA0"),
        (False, "", {"flags": {"rpc": "10.0.0.2:50052"}}, ""),
        (False, "", {"env": {"LLAMA_ARG_RPC": "10.0.0.2:50052"}}, ""),
    ],
)
async def test_where_the_model_is_kept(devices: bool | None, log: str, spec: dict[str, Any], device: str) -> None:
    async with serving(server([OK])) as port:
        with probing(target(port, spec=spec), Machine(devices=devices, log=log)) as probed:
            await until(lambda: probed.health.verified)
            assert probed.health.effective is not None
            assert probed.health.effective.device == device


async def test_a_context_that_was_cut_is_known() -> None:
    log = "W srv    load_model: the slot context (1024) exceeds the training context of the model (512) - capping\n"
    async with serving(server([OK])) as port:
        with probing(target(port), Machine(log=log)) as probed:
            await until(lambda: probed.health.verified)
            assert probed.health.effective is not None
            assert probed.health.effective.is_capped


# ---------------------------------------------------------------- slots


async def test_slots_are_looked_at_where_somebody_wants_to_know() -> None:
    asked = server([OK], slots=[BUSY, BUSY, BUSY, IDLE])
    async with serving(asked) as port:
        with probing(target(port, wants_slots=True)) as probed:
            await until(lambda: probed.health.busy_slots == 2)
            await until(lambda: probed.health.busy_slots == 0)
            probed.retarget(wants_slots=False)
            await until(lambda: probed.health.busy_slots is None)
            count = asked.asked.count("/slots")
            await looks(asked, "/health", 3)
    assert asked.asked.count("/slots") == count
    told = [health.busy_slots for health in probed.seen if health.verified]
    assert told == [None, 2, 0, None], "nothing in between"


@pytest.mark.parametrize(
    "changes", [{"spec": {"flags": {"sleep-idle-seconds": 60}}}, {"adopted": True}, {"wants_slots": False}]
)
async def test_slots_of_one_that_may_sleep_are_left_alone(changes: dict[str, Any]) -> None:
    asked = server([OK], slots=[IDLE])
    async with serving(asked) as port:
        with probing(target(port, **{"wants_slots": True, **changes})) as probed:
            await until(lambda: probed.health.verified)
            await looks(asked, "/health", 4)
            assert probed.health.busy_slots is None
    assert "/slots" not in asked.asked


async def test_one_that_sleeps_is_idle_and_is_left_asleep() -> None:
    awake = props(is_sleeping=False)
    asked = server([OK], slots=[IDLE], props=[awake, awake, awake, props(is_sleeping=True)])
    async with serving(asked) as port:
        with probing(target(port, wants_slots=True, spec={"flags": {"sleep-idle-seconds": 60}})) as probed:
            await until(lambda: probed.health.busy_slots == 0)
            count = asked.asked.count("/props")
            probed.retarget(draining=True)
            await until(lambda: asked.asked.count("/props") > count and probed.health.busy_slots == 0)
    assert count >= 3, "awake it may have been at work"
    assert "/slots" not in asked.asked


@pytest.mark.parametrize(("slots", "hides"), [(HANG, False), ((501, {}), True), ((401, {}), True), ((500, {}), False)])
async def test_who_hides_its_slots_is_told_from_who_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, slots: Reply, hides: bool
) -> None:
    monkeypatch.setattr(slots_module, "MOST_WAIT", 0.05)
    asked = server([OK], slots=[slots])
    async with serving(asked) as port:
        with probing(target(port, wants_slots=True)) as probed:
            await looks(asked, "/slots", 3)
            assert probed.health.hides_slots is hides


@pytest.mark.parametrize("slots", [HANG, (501, {}), (401, {}), (200, b"garbage")])
async def test_slots_that_are_not_told_are_not_idle(monkeypatch: pytest.MonkeyPatch, slots: Reply) -> None:
    monkeypatch.setattr(slots_module, "MOST_WAIT", 0.05)
    asked = server([OK], slots=[slots])
    async with serving(asked) as port:
        with probing(target(port, wants_slots=True)) as probed:
            await looks(asked, "/slots", 3)
            await looks(asked, "/health", 1)
            assert (probed.health.busy_slots, probed.health.state, probed.health.failures) == (None, HealthState.OK, 0)


async def test_the_slots_of_one_that_does_not_answer_are_not_known() -> None:
    asked = server([OK, OK, OK, HANG], slots=[IDLE])
    async with serving(asked) as port:
        with probing(target(port, wants_slots=True)) as probed:
            await until(lambda: probed.health.busy_slots == 0)
            await probed.until(HealthState.FAILING)
            assert probed.health.busy_slots is None


async def test_slots_that_were_idle_before_a_drain_are_not_known_until_they_are_told_again() -> None:
    asked = server([OK], slots=[IDLE])
    async with serving(asked) as port:
        with probing(target(port, wants_slots=True, spec=patient(period="10s", timeout="10s"))) as probed:
            await until(lambda: probed.health.busy_slots == 0)
            asked.delays["/health"] = 0.4
            probed.retarget(draining=True)
            assert probed.health.busy_slots is None
            count = asked.asked.count("/slots")
            await until(lambda: probed.health.busy_slots == 0)
            assert asked.asked.count("/slots") > count


# ---------------------------------------------------------------- the log


def heard(probed: Probed) -> list[Heard]:
    return probed.prober.heard()


async def next_heard(probed: Probed) -> TooLarge:
    found: list[Heard] = []

    def is_heard() -> bool:
        found.extend(heard(probed))
        return bool(found)

    await until(is_heard)
    return found[0].found


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_logs, "PAUSE", 0.2)


async def test_a_request_that_was_too_large_is_heard_once() -> None:
    machine = Machine()
    async with serving(server([OK])) as port:
        with probing(target(port), machine) as probed:
            await until(lambda: probed.health.verified)
            assert heard(probed) == []
            seen = len(probed.seen)
            machine.log += LINE.format("2402 tokens")
            await until(lambda: len(probed.seen) > seen)
            (one,) = heard(probed)
            assert (one.target.server, one.found) == ("chat", TooLarge(2402, 256))
            assert one.effective == probed.health.effective
            assert heard(probed) == []


async def test_more_of_them_are_heard_after_a_while_as_the_largest(soon: None) -> None:
    machine, asked = Machine(log=LINE.format("900 tokens")), server([OK])
    async with serving(asked) as port:
        with probing(target(port), machine) as probed:
            assert (await next_heard(probed)).tokens == 900
            began = time.monotonic()
            for tokens in (800, 700):
                machine.log += LINE.format(f"{tokens} tokens")
                await looks(asked, "/health", 2)
            assert (await next_heard(probed)).tokens == 900, "the same event is counted, not repeated"
            assert time.monotonic() - began >= 0.15
            machine.log += LINE.format("5000 tokens")
            assert (await next_heard(probed)).tokens == 5000


async def test_the_largest_is_forgotten_in_time(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_logs, "MEMORY", 0.0)
    machine = Machine(log=LINE.format("900 tokens"))
    async with serving(server([OK])) as port:
        with probing(target(port), machine) as probed:
            assert (await next_heard(probed)).tokens == 900
            machine.log += LINE.format("800 tokens")
            assert (await next_heard(probed)).tokens == 800


async def test_what_was_there_before_this_controller_was_heard_before() -> None:
    machine, asked = Machine(log=LINE.format("900 tokens")), server([OK])
    async with serving(asked) as port:
        with probing(target(port, was_ready=True), machine) as probed:
            await looks(asked, "/health", 4)
            assert heard(probed) == []
            machine.log += LINE.format("700 tokens")
            assert (await next_heard(probed)).tokens == 700


async def test_the_log_of_one_that_answers_no_more_is_read_too() -> None:
    machine = Machine()
    async with serving(server([OK, (500, {})])) as port:
        with probing(target(port), machine) as probed:
            await until(lambda: probed.health.failures >= 2)
            machine.log += LINE.format("700 tokens")
            assert (await next_heard(probed)).tokens == 700


async def test_the_log_of_a_loader_is_left_for_later() -> None:
    machine, asked = Machine(log=LINE.format("700 tokens")), server([*[LOADING] * 4, OK])
    async with serving(asked) as port:
        with probing(target(port), machine) as probed:
            await looks(asked, "/health", 3)
            assert heard(probed) == []
            assert (await next_heard(probed)).tokens == 700
