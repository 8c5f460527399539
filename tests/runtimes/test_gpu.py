"""GPU memory by process, over a driver's library as NVML describes it: machines for tests seldom have a GPU."""

import os
import subprocess
import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from reconciler.runtimes.gpu import Gpus, programs_on

GIB = 1024**3


class LostError(Exception):
    """What all functions of the driver raise."""


class Driver(ModuleType):
    """The functions of pynvml that are asked, over GPUs that a test describes."""

    NVMLError = LostError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, *gpus: dict[str, Any], is_loaded: bool = True) -> None:
        super().__init__("pynvml")
        self.begun = 0
        self.nvmlInit = partial(self._begin, is_loaded=is_loaded)
        self.nvmlShutdown = self._end
        self.nvmlDeviceGetCount = lambda: len(gpus)
        self.nvmlDeviceGetHandleByIndex = lambda index: there(None if gpus[index].get("is_lost") else gpus[index])
        self.nvmlDeviceGetMigMode = lambda gpu: [1, 1] if there(gpu.get("parts")) else None
        self.nvmlDeviceGetMaxMigDeviceCount = lambda gpu: len(gpu["parts"])
        self.nvmlDeviceGetMigDeviceHandleByIndex = lambda gpu, index: there(gpu["parts"][index])
        self.nvmlDeviceGetComputeRunningProcesses = lambda gpu: processes(gpu.get("compute"))
        self.nvmlDeviceGetGraphicsRunningProcesses = lambda gpu: processes(gpu.get("graphics"))

    def _begin(self, *, is_loaded: bool) -> None:
        there(is_loaded or None)
        self.begun += 1

    def _end(self) -> None:
        self.begun -= 1


def there(found: Any) -> Any:
    if found is None:
        raise LostError("not found, or not supported")
    return found


def processes(taken: dict[int, int | None] | None) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in there(taken).items()]


@pytest.mark.parametrize(
    ("gpus", "memory"),
    [
        ([], {}),
        ([{"compute": {1: GIB, 2: 2 * GIB}}], {1: GIB, 2: 2 * GIB}),
        ([{"compute": {1: GIB}}, {"compute": {1: GIB}}], {1: 2 * GIB}),
        ([{"compute": {1: GIB}, "graphics": {1: GIB, 3: 5}}], {1: GIB, 3: 5}),
        ([{"compute": {1: None}}], {1: 0}),
        ([{"is_lost": True}, {"compute": {1: GIB}}], {1: GIB}),
        ([{"parts": [{"compute": {1: GIB}}, None, {"compute": {1: GIB, 2: 3}}]}], {1: 2 * GIB, 2: 3}),
    ],
)
def test_memory_is_added_up_by_process(
    monkeypatch: pytest.MonkeyPatch, gpus: list[dict[str, Any]], memory: dict[int, int]
) -> None:
    driver = Driver(*gpus)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    found = Gpus()
    assert found.are_there
    assert found.memory() == memory
    found.close()
    assert driver.begun == 0
    assert found.memory() == {}


@pytest.mark.parametrize("driver", [None, Driver(is_loaded=False)])
def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch, driver: Driver | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    found = Gpus()
    assert not found.are_there
    assert found.memory() == {}
    found.close()


def test_the_programs_are_named_as_far_as_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setitem(sys.modules, "pynvml", Driver({"compute": {os.getpid(): GIB, gone.pid: GIB}}))
    found = Gpus()
    assert programs_on(found) == {os.getpid(): (psutil.Process().name(), GIB)}
    found.close()
    assert programs_on(found) == {}


def test_the_real_library_has_all_that_is_asked() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    asked = [name for name in (*vars(Driver), *vars(Driver())) if name.startswith(("nvml", "NVML"))]
    assert [name for name in asked if not hasattr(pynvml, name)] == []
