"""The memory that processes take of NVIDIA's GPUs, where nvidia-ml-py and a driver are there (NVML)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from reconciler.core.clean import clean
from reconciler.core.trouble import OnGpu


class Gpus:
    """All GPUs of the machine, for as long as somebody looks."""

    def __init__(self) -> None:
        self._nvml = _begun()

    @property
    def are_there(self) -> bool:
        """Whether there is anything to be told."""
        return self._nvml is not None

    def memory(self) -> Mapping[int, int]:
        """Bytes by pid, over all GPUs. A process in another container may not be told by its pid here."""
        found: dict[int, int] = {}
        if self._nvml is not None:
            for handle in _handles(self._nvml):
                for pid, taken in _of_one(self._nvml, handle).items():
                    found[pid] = found.get(pid, 0) + taken
        return found

    def close(self) -> None:
        """Release the driver's library."""
        if self._nvml is not None:
            _quietly(self._nvml, self._nvml.nvmlShutdown)
            self._nvml = None


def _begun() -> ModuleType | None:
    try:
        import pynvml  # noqa: PLC0415 - optional (the extra `gpu`)
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml  # type: ignore[no-any-return, unused-ignore]


def _handles(nvml: ModuleType) -> Iterator[Any]:
    """Each GPU, or its parts where it is divided (MIG)."""
    for index in range(_quietly(nvml, nvml.nvmlDeviceGetCount) or 0):
        handle = _quietly(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            continue
        mode = _quietly(nvml, nvml.nvmlDeviceGetMigMode, handle)
        if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            yield handle
            continue
        for part in range(_quietly(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            found = _quietly(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, part)
            if found is not None:
                yield found


def _of_one(nvml: ModuleType, handle: Any) -> Mapping[int, int]:
    """A process that computes and draws (Vulkan) is listed twice, with the same memory."""
    found: dict[int, int] = {}
    for listing in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        for process in _quietly(nvml, listing, handle) or ():
            found[process.pid] = max(found.get(process.pid, 0), process.usedGpuMemory or 0)
    return found


def _quietly(nvml: ModuleType, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What it answers; None where the driver cannot tell."""
    try:
        return ask(*arguments)
    except nvml.NVMLError:
        return None


def programs_on(gpus: Gpus) -> Mapping[int, tuple[str, int]]:
    """The programs' names and their bytes of GPUs' memory, by pid; without those that are gone meanwhile."""
    taken = gpus.memory()
    if not taken:
        return {}
    import psutil  # noqa: PLC0415 - slow to import, and only needed where there is a GPU

    found: dict[int, tuple[str, int]] = {}
    for pid, memory in taken.items():
        with suppress(psutil.Error):
            found[pid] = psutil.Process(pid).name(), memory
    return found


def on_gpus(ours: Mapping[int, str]) -> Sequence[OnGpu]:
    """Who has memory of a GPU, as the driver tells; `ours` are servers by pid."""
    gpus = Gpus()
    try:
        return [OnGpu(pid, clean(name), held, ours.get(pid, "")) for pid, (name, held) in programs_on(gpus).items()]
    finally:
        gpus.close()
