"""The prober against the real llama-server, and against fake servers for what the real one cannot be made to do."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller import progress as module
from reconciler.controller.launching import Launcher
from reconciler.controller.prober import Prober
from reconciler.controller.target import Target
from reconciler.core.history import Instance, Stamp
from reconciler.core.model import Document, Effective, Health, HealthState
from reconciler.core.spec import ServerSpec
from reconciler.runtimes.host import Progress, choose_host
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.settings import Settings
from tests.controller.answering import HANG, LOADING, OK, Reply, Scripted, serving, until
from tests.controller.probed import FAST, MODELS, PROPS, SLOTS, Machine, probing, server, target

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- on the way to Ready


async def test_loading_then_ready() -> None:
    asked = server([LOADING, LOADING, OK])
    async with serving(asked) as port:
        with probing(target(port), Machine(log="load_tensors: offloaded 3/5 layers to GPU")) as probed:
            await until(lambda: probed.health.verified)
    assert [health.state for health in probed.seen] == [HealthState.LOADING, HealthState.OK]
    assert probed.seen[0].message == "Loading model"
    assert replace(probed.seen[1], last_progress=None) == Health(
        HealthState.OK,
        verified=True,
        effective=Effective(ctx_per_slot=256, slots=2, gpu_layers="3/5", model="/m/a.gguf", trained=512),
        models=({"id": "a", "size": 10, "parameters": 20, "trainedContext": 512},),
    )
    assert asked.asked[:5] == ["/health", "/health", "/health", "/props", "/v1/models"]


async def test_once_ready_only_health_is_asked() -> None:
    asked = server([OK])
    async with serving(asked) as port:
        with probing(target(port)) as probed:
            await until(lambda: asked.asked.count("/health") >= 4)
            assert len(probed.seen) == 1
    assert (asked.asked.count("/props"), asked.asked.count("/v1/models"), asked.asked.count("/slots")) == (1, 1, 0)


async def test_refused_until_somebody_listens(free_port: int) -> None:
    with probing(target(free_port)) as probed:
        assert (await probed.until(HealthState.REFUSED)).message == ""
        await asyncio.sleep(0.1)
        assert probed.health.failures == 0
    assert len(probed.seen) == 1


async def test_one_that_was_ready_before_need_not_prove_itself() -> None:
    asked = server([OK])
    async with serving(asked) as port:
        with probing(target(port, was_ready=True), Machine(owns=False)) as probed:
            assert probed.health.verified
            await probed.until(HealthState.OK)
    assert set(asked.asked) == {"/health"}


@pytest.mark.parametrize(
    ("scripted", "owns", "message"),
    [
        (server([(200, {"status": "ok"})]), False, "is answered by another process than pid 1"),
        (server([(200, b"hello")]), True, "answers 200 on /health, but not with"),
        (server([(200, b"[" * 100_000)]), True, "answers 200 on /health, but not with"),
        (replace(server([OK]), server="nginx"), True, "'nginx' answers on the port, not llama-server"),
        (server([OK], props=[(200, {"model_path": "/m/other.gguf"})]), True, "serves /m/other.gguf, not /m/a.gguf"),
    ],
)
async def test_strangers_are_never_taken_for_ours(scripted: Scripted, owns: bool, message: str) -> None:
    async with serving(scripted) as port:
        with probing(target(port), Machine(owns=owns)) as probed:
            health = await probed.until(HealthState.STRANGER)
            await asyncio.sleep(0.1)
            assert (probed.health.verified, probed.health.failures) == (False, 0)
    assert message in health.message


async def test_where_ownership_cannot_be_told_the_answers_must_do() -> None:
    async with serving(server([OK])) as port:
        with probing(target(port), Machine(owns=None)) as probed:
            await until(lambda: probed.health.verified)


@pytest.mark.parametrize(
    ("props", "unverified"),
    [
        ((404, {}), "/props answers 404"),
        ((401, {"error": {"message": "Invalid API Key"}}), "/props answers 401"),
        ((200, {}), "/props does not tell: no settings in it"),
        ((200, b"garbage"), "/props does not tell: no settings in it"),
    ],
)
async def test_a_server_that_does_not_tell_its_settings_is_ready_and_says_so(props: Reply, unverified: str) -> None:
    async with serving(server([OK], props=[props], **{"v1/models": [(500, b"")]})) as port:
        with probing(target(port)) as probed:
            await until(lambda: probed.health.verified)
    assert probed.seen[-1].effective == Effective(unverified=unverified)
    assert probed.seen[-1].models == ()


async def test_the_key_is_sent_where_it_is_needed_and_a_prefix_moves_everything() -> None:
    prefixed = Scripted({"/x/health": [OK], "/x/props": [PROPS], "/x/v1/models": [MODELS]})
    one = {"flags": {"api-prefix": "/x"}}
    async with serving(prefixed) as port:
        with probing(target(port, api_key="key", spec=one)) as probed:
            await until(lambda: probed.health.verified)
    assert ["Bearer key" in request for request in prefixed.requests[:3]] == [False, True, True]


async def test_a_key_that_http_cannot_carry_is_told_without_showing_it() -> None:
    async with serving(server([OK])) as port:
        with probing(target(port, api_key="hidden\x00key")) as probed:
            health = await probed.until(HealthState.FAILING)
    assert "cannot carry" in health.message
    assert "hidden" not in str(probed.seen)


# ---------------------------------------------------------------- liveness


async def test_failures_are_counted_one_by_one_and_forgotten_at_an_answer() -> None:
    failing: Reply = (500, {"error": {"message": "broken"}})
    async with serving(server([OK, failing, failing, (429, {}), OK])) as port:
        with probing(target(port)) as probed:
            await until(lambda: len(probed.seen) >= 5)
    assert [(health.state, health.failures) for health in probed.seen[:5]] == [
        (HealthState.OK, 0),
        (HealthState.FAILING, 1),
        (HealthState.FAILING, 2),
        (HealthState.FAILING, 3),
        (HealthState.OK, 0),
    ]
    assert probed.seen[1].message == "/health answers 500: broken"
    assert all(health.verified and health.effective for health in probed.seen)


async def test_loading_again_is_no_failure() -> None:
    async with serving(server([OK, (500, {}), LOADING, OK])) as port:
        with probing(target(port)) as probed:
            await until(lambda: len(probed.seen) >= 4)
    assert [(health.state, health.failures) for health in probed.seen[2:4]] == [
        (HealthState.LOADING, 0),
        (HealthState.OK, 0),
    ]


async def test_silence_is_counted_after_the_timeout() -> None:
    async with serving(server([OK, HANG])) as port:
        with probing(target(port)) as probed:
            health = await probed.until(HealthState.FAILING)
            await until(lambda: probed.health.failures >= 3)
    assert (health.failures, health.message) == (1, "/health: no answer within 0.1 s")


async def test_a_server_that_is_gone_is_counted() -> None:
    async with serving(server([OK])) as port:
        with probing(target(port)) as probed:
            await until(lambda: probed.health.verified)
            health = probed.health
    with probing(replace(target(port), was_ready=True)) as probed:
        await until(lambda: probed.health.failures >= 2)
        assert probed.health.message == "/health: connection refused"
    assert health.failures == 0


@pytest.mark.parametrize("when", ["during the probe", "before the probe"])
async def test_a_loop_that_stood_still_counts_no_failure(when: str) -> None:
    asked = server([OK, HANG, OK])
    async with serving(asked) as port:
        with probing(
            target(port, spec={"probes": {**FAST, "liveness": {"period": "300ms", "timeout": "800ms"}}})
        ) as probed:
            await until(lambda: asked.asked.count("/health") == (2 if when == "during the probe" else 1))
            await asyncio.sleep(0.02)
            time.sleep(1.5)  # noqa: ASYNC251 - that is the point
            await until(lambda: asked.asked.count("/health") >= 4)
    assert [health.failures for health in probed.seen] == [0] * len(probed.seen)


async def test_a_stall_does_not_hide_a_dead_server_for_long() -> None:
    async with serving(server([OK, HANG])) as port:
        with probing(target(port)) as probed:
            await until(lambda: probed.health.verified)
            time.sleep(1.0)  # noqa: ASYNC251 - that is the point
            await until(lambda: probed.health.failures >= 2)


# ---------------------------------------------------------------- draining


async def test_a_drain_asks_for_the_slots_at_once() -> None:
    slow = {"probes": {**FAST, "liveness": {"period": "1h"}}}
    asked = server([OK], slots=[SLOTS, (200, [{"is_processing": False}])])
    async with serving(asked) as port:
        with probing(target(port, spec=slow, api_key="key")) as probed:
            await until(lambda: probed.health.verified)
            assert probed.health.busy_slots is None
            probed.retarget(draining=True)
            await until(lambda: probed.health.busy_slots == 1)
            await until(lambda: probed.health.busy_slots == 0)
    assert "Bearer key" in asked.requests[asked.asked.index("/slots")]


@pytest.mark.parametrize("slots", [(501, {}), (200, {"no": "list"}), (200, b"garbage")])
async def test_slots_that_are_not_told_are_unknown(slots: Reply) -> None:
    asked = server([OK], slots=[slots])
    async with serving(asked) as port:
        with probing(target(port, was_ready=True, draining=True)) as probed:
            await until(lambda: asked.asked.count("/slots") >= 2)
            assert probed.health.busy_slots is None
            assert probed.health.failures == 0


# ---------------------------------------------------------------- progress


async def test_progress_is_noted_while_loading_and_tells_nobody() -> None:
    work = iter([Progress(0.0, 0), Progress(5.0, 0), Progress(9.0, 0), *[Progress(9.0, 0)] * 10_000])
    async with serving(server([LOADING])) as port:
        with probing(target(port), Machine(work=work)) as probed:
            began = probed.health.last_progress
            await until(lambda: probed.health.last_progress != began)
            await asyncio.sleep(0.1)
            noted = probed.health.last_progress
            await asyncio.sleep(0.1)
            assert probed.health.last_progress == noted
            assert len(probed.seen) == 1


async def test_reading_is_progress_and_answering_probes_is_not() -> None:
    reading = (Progress(0.0, number * 1024 * 1024) for number in range(10_000))
    answering = (Progress(number * 0.0001, number * 100) for number in range(10_000))
    async with serving(server([LOADING])) as port:
        with probing(target(port), Machine(work=reading)) as probed:
            began = probed.health.last_progress
            await until(lambda: probed.health.last_progress != began)
        with probing(target(port), Machine(work=answering)) as probed:
            began = probed.health.last_progress
            await probed.until(HealthState.LOADING)
            await asyncio.sleep(0.2)
            assert probed.health.last_progress == began


async def test_who_was_idle_for_long_is_seen_to_work_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averaged since the last sign of work, a burst after minutes of waiting would be nothing."""
    monkeypatch.setattr(module, "SAMPLE", 0.1)
    monkeypatch.setattr(module, "BUSY_SHARE", 0.5)
    began = time.monotonic()

    def work() -> Iterator[Progress]:
        while True:
            yield Progress(0.0 if time.monotonic() < began + 1.0 else 0.3, 0)

    async with serving(server([LOADING])) as port:
        with probing(target(port), Machine(work=work())) as probed:
            await until(lambda: (probed.health.last_progress or 0.0) >= began + 1.0)


# ---------------------------------------------------------------- which are asked


async def test_only_the_targets_are_asked() -> None:
    asked = server([OK])
    async with serving(asked) as port:
        with probing(target(port)) as probed:
            await until(lambda: probed.health.verified)
            same = probed.health
            probed.prober.sync({"u1": probed.target})
            assert probed.health is same
            probed.prober.sync({})
            assert probed.prober.health("u1") is None
            await asyncio.sleep(0.05)
            count = len(asked.asked)
            await asyncio.sleep(0.1)
            assert len(asked.asked) == count


# ---------------------------------------------------------------- the real one


@pytest.fixture
def real(llama_server: str, tiny_model: Path, tmp_path: Path) -> Iterator["Real"]:
    made = Real(llama_server, tiny_model, tmp_path)
    yield made
    made.close()


class Real:
    """A real llama-server, started and probed as the controller does it."""

    def __init__(self, llama_server: str, model: Path, folder: Path) -> None:
        self.launcher = Launcher(Settings(models=str(model.parent), llama_server=llama_server), dict(os.environ))
        logs = Logs(folder / "logs", keep=1, most_bytes=1_000_000)
        self.runtime = LocalRuntime(choose_host(), folder.name, logs, lambda: None)
        self.started: list[int] = []

    def start(self, spec: ServerSpec, port: int) -> Target:
        launch: Launch = self.launcher.launch(Document("LlamaServer", "chat", "chat.yaml", spec), port)
        instance = Instance("u1", "chat", "1:f", 1, port, Stamp("b", 0.0, 0.0))
        self.started.append(self.runtime.start(instance, launch).pid)
        model, key = self.launcher.model_path(spec), self.launcher.api_key(spec)
        return Target("u1", "chat", self.started[-1], port, spec, model, key, was_ready=False, draining=False)

    def close(self) -> None:
        for pid in self.started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.runtime.close()


def real_spec(model: Path, **fields: Any) -> ServerSpec:
    small = {"ctx": 256, "parallel": 1, "threads": 1, "flags": {"warmup": False}, "probes": FAST}
    return ServerSpec.model_validate({"model": model.name, **small, **fields})


@pytest.mark.real
async def test_the_real_server_becomes_ready_and_tells_what_it_is(
    real: Real, tiny_model: Path, free_port: int, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("a-key\nanother\n")
    one = real.start(real_spec(tiny_model, apiKeyFile=str(tmp_path / "keys")), free_port)
    seen: list[Health | None] = []
    prober = Prober(real.runtime, lambda: seen.append(prober.health("u1")))
    prober.sync({"u1": one})
    await until(lambda: (health := prober.health("u1")) and health.verified)
    health = prober.health("u1")
    assert health is not None
    assert health.effective is not None
    assert (health.effective.ctx_per_slot, health.effective.slots, health.effective.unverified) == (256, 1, "")
    assert [model["trainedContext"] for model in health.models] == [512]
    prober.sync({"u1": replace(one, draining=True)})
    await until(lambda: (health := prober.health("u1")) and health.busy_slots == 0)
    prober.close()
    assert not any(health and health.state is HealthState.STRANGER for health in seen)


@pytest.mark.real
async def test_the_real_server_of_another_is_no_match(real: Real, tiny_model: Path, free_port: int) -> None:
    one = real.start(real_spec(tiny_model), free_port)
    by_pid = Prober(real.runtime, lambda: None)
    by_model = Prober(real.runtime, lambda: None)
    by_pid.sync({"u1": replace(one, pid=os.getpid())})
    by_model.sync({"u1": replace(one, model_path="/m/other.gguf")})
    for prober, message in ((by_pid, "answered by another process"), (by_model, "not /m/other.gguf")):
        await until(lambda p=prober: (health := p.health("u1")) and health.state is HealthState.STRANGER)  # type: ignore[misc]
        health = prober.health("u1")
        assert health is not None
        assert message in health.message
        prober.close()


@pytest.mark.real
async def test_the_real_server_frozen_and_thawed(real: Real, tiny_model: Path, free_port: int) -> None:
    one = real.start(real_spec(tiny_model), free_port)
    prober = Prober(real.runtime, lambda: None)
    prober.sync({"u1": one})
    await until(lambda: (health := prober.health("u1")) and health.verified)
    os.kill(one.pid, signal.SIGSTOP)
    await until(lambda: (health := prober.health("u1")) and health.failures >= 2)
    os.kill(one.pid, signal.SIGCONT)
    await until(lambda: (health := prober.health("u1")) and health.failures == 0 and health.state is HealthState.OK)
    prober.close()
