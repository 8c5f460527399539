"""What is dropped is gone at once; what is not, with the next tick, however old it had become."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ruamel.yaml.error import MarkedYAMLError

from reconciler.controller.daemon import SETTLED, Daemon
from reconciler.core.model import HealthState
from reconciler.manifests.nodes import compose
from reconciler.settings import load_settings
from tests.controller.answering import HANG, LOADING, OK, Reply, serving, until
from tests.controller.probed import probing, server, target

pytestmark = pytest.mark.anyio
TEXT = "kind: LlamaServer\nmetadata: {name: a}\nspec: {model: a.gguf, ctx: 128}\n"


class Ring:
    """It refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _nothing_is_collected_by_itself() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    (tmp_path / "state").mkdir()
    folders = {f"RECONCILER_{name.upper()}": str(tmp_path / name) for name in ("state", "manifests", "models")}
    made = Daemon(load_settings(folders), {}, 0o022)
    yield made
    await asyncio.gather(*made._checker.running)
    made.loop.close()
    made._store.close()


@pytest.mark.parametrize("ticks", [0, SETTLED, 1000])
async def test_a_tick_collects_what_is_among_the_oldest(daemon: Daemon, ticks: int) -> None:
    daemon._ticks = ticks
    ring = Ring()
    gone = weakref.ref(ring)
    gc.collect()
    del ring
    assert gone() is not None
    daemon._tick()
    assert gone() is None


@pytest.mark.parametrize(
    ("reply", "state"),
    [(OK, HealthState.OK), (LOADING, HealthState.LOADING), (HANG, HealthState.FAILING)],
    ids=["ready", "loading", "silent"],
)
async def test_a_probe_that_is_stopped_leaves_nothing(reply: Reply, state: HealthState) -> None:
    async with serving(server([reply])) as port:
        with probing(target(port)) as probed:
            await probed.until(state)
            watch = weakref.ref(probed.prober._watches["u1"])
        await until(lambda: watch() is None)


@pytest.mark.parametrize("text", [TEXT, TEXT + "a: [", TEXT + "a: *b"], ids=["well", "cut off", "without an anchor"])
def test_a_manifest_that_was_read_leaves_little(text: str) -> None:
    for _ in range(10):
        with suppress(MarkedYAMLError):
            compose(text)
    assert gc.collect() <= 10 * 20
