"""How each failure of the list is brought about."""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.programs import (
    GPU_CONTEXT,
    GPU_GONE,
    GPU_WEIGHTS,
    another_machine,
    copied,
    hangs,
    hangs_at_first,
    headless,
    not_executable,
    not_there,
    remove_binary,
    without_interpreter,
)
from chaos.stage import FAST, LARGE, NOBODY, SOON, After, Before, Stage

LIMIT = "export MALLOC_ARENA_MAX=1; ulimit -v 300000"
"""By themselves threads reserve 64 MiB each for what they allocate, as many as happen to do so at once."""
HANGS: dict[str, Any] = {"probes": FAST, "stop": SOON}
QUIET = {"warmup": False}


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is prepared, and what is done once the subject runs; without that it fails at its start."""

    before: Before
    after: After | None = None
    phase: str = "Ready"
    """The one in which `after` is done."""


def _spec(**spec: Any) -> Before:
    return lambda _: spec


def _flags(**flags: Any) -> Before:
    return _spec(flags={**QUIET, **{name.replace("_", "-"): value for name, value in flags.items()}})


def _file(content: Callable[[bytes], bytes]) -> Before:
    """A model made of the sound one's bytes."""

    def before(stage: Stage) -> dict[str, Any]:
        stage.write("made.gguf", content((stage.house.models / "tiny.gguf").read_bytes()))
        return {"model": "made.gguf"}

    return before


def _script(text: str, **spec: Any) -> Before:
    def before(stage: Stage) -> dict[str, Any]:
        stage.program(text)
        return spec

    return before


def _limited(limit: str, **spec: Any) -> Before:
    return _script(f'{limit}\nexec $REAL "$@"\n', **spec)


def _at_first(text: str, **spec: Any) -> Before:
    def before(stage: Stage) -> dict[str, Any]:
        stage.at_first(text)
        return spec

    return before


def _signal(number: signal.Signals) -> After:
    return lambda stage: stage.signal(number)


def _in_request(number: signal.Signals) -> After:
    def after(stage: Stage) -> None:
        stage.busy()
        stage.signal(number)

    return after


# ---------------------------------------------------------------- files


def _first_part(stage: Stage) -> dict[str, Any]:
    name = "made-00001-of-00002.gguf"
    stage.write(name, (stage.house.models / "tiny.gguf").read_bytes())
    return {"model": name}


def _unreadable(stage: Stage) -> dict[str, Any]:
    stage.write("made.gguf", (stage.house.models / "tiny.gguf").read_bytes()).chmod(0)
    stage.program(f'exec {NOBODY}$REAL "$@"\n')
    return {"model": "made.gguf"}


def _junk_adapter(stage: Stage) -> dict[str, Any]:
    return {"flags": {**QUIET, "lora": str(stage.write("adapter.gguf", b"this is no adapter\n" * 9))}}


def _overwritten(stage: Stage) -> None:
    path, pid = stage.house.models / "tiny.gguf", stage.pid
    content = path.read_bytes()
    path.write_bytes(b"")
    stage.ask(seconds=10)
    stage.wait_ended(pid)
    path.write_bytes(content)


def _remove_model(stage: Stage) -> None:
    (stage.house.models / "tiny.gguf").unlink()
    stage.signal(signal.SIGSEGV)


# ---------------------------------------------------------------- ports


def _taken(stage: Stage) -> dict[str, Any]:
    stage.listen(stage.port)
    return {"port": stage.port}


def _taken_late(stage: Stage) -> dict[str, Any]:
    there = stage.house.root / "there"
    holder = (
        f"import socket,time; s=socket.create_server(('127.0.0.1',{stage.port})); open('{there}','w'); time.sleep(3)"
    )
    # Without our environment it bears no mark, and so it is a stranger.
    text = f'env -i setsid {sys.executable} -c "{holder}" &\nwhile [ ! -e {there} ]; do sleep 0.05; done'
    stage.at_first(text)
    return {"port": stage.port}


# ---------------------------------------------------------------- memory


def _in_group(limit: int, **spec: Any) -> Before:
    def before(stage: Stage) -> dict[str, Any]:
        stage.limited(stage.group(limit).joining)
        return spec

    return before


def _eaten() -> Arrangement:
    groups = []

    def before(stage: Stage) -> dict[str, Any]:
        groups.append(stage.group(400 << 20))
        stage.limited(groups[-1].joining)
        return LARGE

    return Arrangement(before, lambda stage: stage.eat_memory(groups[-1]))


def _for_a_moment(stage: Stage) -> dict[str, Any]:
    began = stage.house.root / "began"
    stage.program(
        f"[ -e {began} ] || touch {began}\nif [ $(( $(date +%s) - $(stat -c %Y {began}) )) -lt 2 ]; then {LIMIT}; fi\n"
        'exec $REAL "$@"\n'
    )
    return {**LARGE, "fallback": "off"}


# ---------------------------------------------------------------- all of them

_ON_GPU: dict[str, Any] = {**LARGE, "gpuLayers": 40}

_HF: dict[str, Any] = {"model": {"hf": "user/repo:Q4_0"}}
_ENDPOINT = {"MODEL_ENDPOINT": "https://127.0.0.1:1/"}
_READY = _spec()
ARRANGEMENTS: Mapping[str, Arrangement] = {
    "model missing": Arrangement(_spec(model="none.gguf")),
    "model cut short": Arrangement(_file(lambda whole: whole[: len(whole) // 2])),
    "model is a web page": Arrangement(_file(lambda _: b"<!doctype html><title>Not found</title>\n" * 9)),
    "model empty": Arrangement(_file(lambda _: b"")),
    "model of an unknown kind": Arrangement(_file(lambda whole: whole.replace(b"llama", b"lxama"))),
    "model without its tensors": Arrangement(_file(lambda _: b"GGUF" + bytes(4096))),
    "part of a split model missing": Arrangement(_first_part),
    "model not readable": Arrangement(_unreadable),
    "adapter missing": Arrangement(_flags(lora="none.gguf")),
    "adapter broken": Arrangement(_junk_adapter),
    "projector missing": Arrangement(_flags(mmproj="none.gguf")),
    "draft model missing": Arrangement(_flags(spec_draft_model="none.gguf")),
    "model gone while it ran": Arrangement(_READY, _remove_model),
    "model overwritten": Arrangement(_READY, _overwritten),
    "port held by a stranger": Arrangement(_taken),
    "port taken at the last moment": Arrangement(_taken_late),
    "address of another machine": Arrangement(_spec(host="192.0.2.1")),
    "flag unknown": Arrangement(_flags(ctx_siez=4096)),
    "flag removed": Arrangement(_flags(draft_max=16)),
    "flag with a wrong value": Arrangement(_flags(flash_attn="maybe")),
    "flags that exclude each other": Arrangement(_flags(cache_type_v="q8_0", flash_attn="off")),
    "flag unknown to a binary without help": Arrangement(
        _script('case " $* " in *" --port "*) exec $REAL "$@" ;; esac\n', flags={**QUIET, "ctx-siez": 4096})
    ),
    "context beyond a limit": Arrangement(_limited(LIMIT, **LARGE)),
    "context beyond a limit, four slots": Arrangement(_limited(LIMIT, **{**LARGE, "parallel": 4})),
    "context beyond a limit, written steps": Arrangement(_limited(LIMIT, **LARGE, fallback={"steps": [{"ctx": 4096}]})),
    "context beyond a limit, no ladder": Arrangement(_limited(LIMIT, **LARGE, fallback="off")),
    "context beyond a limit for a moment": Arrangement(_for_a_moment),
    "context beyond a memory cgroup": Arrangement(_in_group(128 << 20, **LARGE)),
    "weights beyond a limit": Arrangement(_limited(LIMIT, model="fat.gguf")),
    "weights beyond a limit, smaller model": Arrangement(
        _limited(LIMIT, model="fat.gguf", fallback={"steps": [{"model": "tiny.gguf"}]})
    ),
    "memory eaten by another": _eaten(),
    "no more threads for a moment": Arrangement(_at_first(f'exec prlimit --nproc=1 -- {NOBODY}$REAL "$@"', threads=4)),
    "binary missing": Arrangement(not_there),
    "binary not executable": Arrangement(not_executable),
    "binary for another machine": Arrangement(copied(another_machine)),
    "binary is a script without #!": Arrangement(headless),
    "interpreter missing": Arrangement(without_interpreter),
    "instruction unknown": Arrangement(_script("kill -ILL $$\n")),
    "shared library missing": Arrangement(copied(lambda content: content)),
    "binary gone while it ran": Arrangement(_limited(":"), remove_binary),
    "download without HTTPS": Arrangement(_spec(**_HF, env=_ENDPOINT)),
    "download offline": Arrangement(_spec(**_HF, flags={**QUIET, "offline": True})),
    "killed": Arrangement(_READY, _signal(signal.SIGKILL)),
    "killed while it loads": Arrangement(_at_first("kill -STOP $$"), _signal(signal.SIGKILL), "Starting"),
    "terminated": Arrangement(_READY, _signal(signal.SIGTERM)),
    "interrupted": Arrangement(_READY, _signal(signal.SIGINT)),
    "crash while idle": Arrangement(_READY, _signal(signal.SIGSEGV)),
    "crash in a request": Arrangement(_spec(**LARGE), _in_request(signal.SIGSEGV)),
    "abort in a request": Arrangement(_spec(**LARGE), _in_request(signal.SIGABRT)),
    "stands still": Arrangement(_spec(**HANGS), _signal(signal.SIGSTOP)),
    "stands still in a request": Arrangement(_spec(**LARGE, **HANGS), _in_request(signal.SIGSTOP)),
    "listens no more": Arrangement(_spec(**HANGS), Stage.shut_listener),
    "loads for ever": Arrangement(hangs),
    "loads for ever once": Arrangement(hangs_at_first),
    "ends with an unknown error": Arrangement(_script("echo tea is out >&2\nexit 3\n")),
    "ends with 0 at once": Arrangement(_script("exit 0\n")),
    "GPU memory for weights": Arrangement(_script(GPU_WEIGHTS, **{**_ON_GPU, "ctx": 4096})),
    "GPU memory for the context": Arrangement(_script(GPU_CONTEXT, **_ON_GPU)),
    "GPU gone": Arrangement(_script(GPU_GONE, **_ON_GPU)),
    "request too large": Arrangement(_spec(ctx=256), lambda stage: stage.ask(tokens=300)),
    "key file missing": Arrangement(_spec(apiKeyFile="keys.txt")),
}
"""By the failure's name."""
